"""Runs a target in a process of its own: what it takes is measured, and what it breaks breaks nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

_SECONDS = 20


def run(target: str) -> None:
    """Run a target for 20 s. Its seed is today's date, unless FUZZ_SEED says another."""
    seed = os.environ.get("FUZZ_SEED") or time.strftime("%Y%m%d", time.gmtime())
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(_SECONDS), "--seed", seed],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-20_000:]}"
