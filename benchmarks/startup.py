"""Claim: `gitreg --version` and `gitreg --help` take at most 2 times `python -c "import click"`."""

import sys

from common import GITREG, fastest, run, verdict

ROUNDS = 25
BOUND = 2.0


def main() -> None:
    best = fastest(
        {
            "import click": lambda: run(sys.executable, "-c", "import click"),
            "--version": lambda: run(GITREG, "--version"),
            "--help": lambda: run(GITREG, "--help"),
        },
        ROUNDS,
    )
    for name, seconds in best.items():
        print(f"{name:13} {seconds * 1e3:6.1f} ms")
    for option in ("--version", "--help"):
        verdict(f"gitreg {option} / import click", best[option] / best["import click"], BOUND, "x")


if __name__ == "__main__":
    main()
