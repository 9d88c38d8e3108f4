"""Claims: `gitreg list` of 11,500 tags takes at most 0.3 s, and 1/50 of `gto show`; the first one, which
makes the index, 3 s. Of 115,000 tags it takes at most 2 times `git for-each-ref`, plus start-up; the first
one 20 s."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from common import ENVIRONMENT, GITREG, fastest, run, verdict, workplace
from plan import STAYS, VERSIONS, make

ROUNDS = 7
FIRST_ROUNDS = 2
SMALL, LARGE = 100, 1000
WARM, TIMES_GTO, FIRST, FIRST_LARGE, TIMES_GIT = 0.3, 50.0, 3.0, 20.0, 2.0


def first(root: Path) -> float:
    """A list without an index."""
    shutil.rmtree(root / ".git" / "gitreg", ignore_errors=True)
    return run(GITREG, "list", cwd=root)


def interrupted(root: Path, after: float) -> tuple[int, float]:
    """A first list that ^C ends, and the seconds that the next one takes."""
    shutil.rmtree(root / ".git" / "gitreg", ignore_errors=True)
    process = subprocess.Popen(
        [GITREG, "list"], cwd=root, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    return process.wait(), run(GITREG, "list", cwd=root)


def measure(root: Path) -> dict[str, float]:
    run(GITREG, "list", cwd=root)
    return fastest(
        {
            "for-each-ref": lambda: run("git", "for-each-ref", "refs/tags/", cwd=root),
            "start-up": lambda: run(GITREG, "--version", cwd=root),
            "list": lambda: run(GITREG, "list", cwd=root),
            "list --json": lambda: run(GITREG, "list", "--json", cwd=root),
            "show MODEL": lambda: run(GITREG, "show", "model-0003", cwd=root),
            "show REF": lambda: run(GITREG, "show", "model-0003#production", cwd=root),
        },
        ROUNDS,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, help="where the registries are kept")
    parser.add_argument("--without-gto", action="store_true", help="leave out gto show, which takes long")
    parser.add_argument("--only", choices=["small", "large"], help="one of the two registries")
    asked = parser.parse_args()
    with workplace(asked.workdir) as place:
        for models in [n for n, word in ((SMALL, "small"), (LARGE, "large")) if asked.only in (None, word)]:
            root = place / f"plan-{models}"
            if not (root / ".git").exists():
                make(root, models)
            print(f"-- {models * (VERSIONS + STAYS):,} tags")
            started = min(first(root) for _ in range(FIRST_ROUNDS))
            best = measure(root)
            for name, seconds in best.items():
                print(f"{name:13} {seconds:.3f} s")
            verdict("the first list", started, FIRST if models == SMALL else FIRST_LARGE, "s")
            if models == SMALL:
                verdict("list", best["list"], WARM, "s")
                if not asked.without_gto:
                    gto = run(os.path.join(os.path.dirname(sys.executable), "gto"), "show", cwd=root)
                    print(f"gto show      {gto:.1f} s")
                    verdict("gto show / list", gto / best["list"], TIMES_GTO, "x", at_least=True)
            else:
                times = (best["list"] - best["start-up"]) / best["for-each-ref"]
                verdict("list without start-up / for-each-ref", times, TIMES_GIT, "x")
            after = started * 0.6
            code, resumed = interrupted(root, after)
            print(f"interrupted after {after:.1f} s: exit {code}; then {resumed:.1f} s, of {started:.1f}")


if __name__ == "__main__":
    main()
