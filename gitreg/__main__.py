"""python -m gitreg"""

import sys

from gitreg.cli import main

if __name__ == "__main__":
    sys.exit(main())
