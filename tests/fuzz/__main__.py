"""python -m tests.fuzz [TARGET...] [--seconds N] [--seed N]: each target in turn, and how many inputs it saw."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time

from tests.fuzz import harness
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run some targets: one here, several each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--verbose", action="store_true", help="show a message of each kind of refusal")
    asked = parser.parse_args()
    first = random.SystemRandom().randrange(10**9) if asked.seed is None else asked.seed
    names = asked.targets or [*TARGETS]
    if len(names) > 1:
        command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(asked.seconds), "--seed", str(first)]
        failed = [name for name in names if subprocess.run([*command, name]).returncode]
        print(f"failed: {', '.join(failed)}" if failed else f"{len(names)} targets, none failed")
        return 1 if failed else 0
    started = time.monotonic()
    count = harness.run(TARGETS[names[0]], asked.seconds, first)
    for kind, message in count.last.items() if asked.verbose else ():
        print(f"  {kind}, the last one: {message[:300]!r}")
    print(f"{names[0]}: {count}; seed {first}, {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    # Git and DVC are to read no settings of this machine.
    os.environ.update(GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull, DVC_NO_ANALYTICS="1")
    sys.exit(main())
