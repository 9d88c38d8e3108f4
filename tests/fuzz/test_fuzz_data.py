"""Fuzzes some of the targets; see tests/fuzz."""

from __future__ import annotations

import pytest

from tests.fuzz.running import run


@pytest.mark.parametrize("target", ["samples", "samples-npz", "metrics"])
def test_target(target: str) -> None:
    run(target)
