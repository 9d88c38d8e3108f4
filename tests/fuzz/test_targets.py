"""The harness itself: what it lets pass and what it does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from gitreg.errors import Refused
from tests.fuzz import harness
from tests.fuzz.targets import TARGETS


def test_every_target_is_run_by_one_of_the_tests() -> None:
    said = [path.read_text() for path in sorted(Path(__file__).parent.glob("test_fuzz_*.py"))]
    named = [name for text in said for name in re.findall(r'"([\w-]+)"', text.partition("parametrize(")[2])]
    assert sorted(name for name in named if name != "target") == sorted(TARGETS)


def _ended(judge: harness.Judge) -> harness.Count:
    return harness.run(harness.Target("x", lambda: st.integers(0, 10**6), lambda folder: judge), 3.0, 1)


def test_what_is_refused_by_gitreg_is_counted_and_the_rest_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(one: Any) -> bool:
        if one:
            raise Refused("no")
        return True

    count = _ended(refuses)
    assert 0 < count.seen == count.read + count.refused["Refused"]

    def breaks(one: Any) -> bool:
        return bool(1 / one)

    with pytest.raises(ZeroDivisionError):
        _ended(breaks)
    monkeypatch.setattr(harness, "MOST_SECONDS", 0.05)

    def turns(one: Any) -> bool:
        while one:
            pass
        return True

    with pytest.raises(AssertionError, match="for one input"):
        _ended(turns)


def test_what_takes_much_memory_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "MOST_BYTES", 1 << 20)

    def takes(one: Any) -> bool:
        return bool(bytearray(64 << 20))

    with pytest.raises(harness.TooLarge):
        _ended(takes)
