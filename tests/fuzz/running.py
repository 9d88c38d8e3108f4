"""Runs a target in a process of its own: what it takes is measured, and what it breaks breaks nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SECONDS, _SEED = "20", "20261201"


def run(target: str) -> None:
    """Run a target for 20 s, or as FUZZ_SECONDS says. Its seed is fixed, unless FUZZ_SEED says another."""
    seed, seconds = (os.environ.get(f"FUZZ_{what}") for what in ("SEED", "SECONDS"))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz",
            target,
            "--seconds",
            seconds or _SECONDS,
            "--seed",
            seed or _SEED,
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-20_000:]}"
