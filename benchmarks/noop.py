"""Claim: `gitreg build --all` takes at most 2 s for 1,000 models of which nothing has changed.

The set-up builds them once, which takes minutes; `--workdir DIR` keeps it for the next run.
"""

import argparse
from pathlib import Path

from common import GITREG, fastest, registry, run, verdict, workplace

ROUNDS = 7
BOUND = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--workdir", type=Path, help="where the built registry is kept")
    asked = parser.parse_args()
    with workplace(asked.workdir) as place:
        root = place / f"noop-{asked.models}"
        if not (root / ".git").exists():
            registry(root, asked.models)
        # In a folder that was kept only what its last build did not finish is built now.
        setup = run(GITREG, "build", "--all", "-j", "2", cwd=root)
        print(f"set-up: {asked.models} models built or found in {setup:.1f} s")
        best = fastest({"build": lambda: run(GITREG, "build", "--all", cwd=root)}, ROUNDS)["build"]
        told = run_status(root)
    print(f"{told} of {asked.models} unchanged")
    verdict(f"build --all, {asked.models} unchanged models", best, BOUND, "s")


def run_status(root: Path) -> int:
    """How many models the command itself calls unchanged."""
    import json
    import subprocess

    from common import ENVIRONMENT

    done = subprocess.run(
        [GITREG, "build", "--all", "--json"], cwd=root, env=ENVIRONMENT, capture_output=True, check=True
    )
    return sum(report["status"] == "unchanged" for report in json.loads(done.stdout))


if __name__ == "__main__":
    main()
