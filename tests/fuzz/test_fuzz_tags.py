"""Fuzzes some of the targets; see tests/fuzz."""

from __future__ import annotations

import pytest

from tests.fuzz.running import run


@pytest.mark.parametrize("target", ["tag-name", "tag-object", "template"])
def test_target(target: str) -> None:
    run(target)
