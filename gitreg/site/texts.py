"""Texts and numbers of other people, as pages show them. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import Any

# What is steered by these is the reader. Marks of direction that natural text has (U+200E, U+200F) stay.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_MOST_VALUE = 400


def text(value: Any, most: int = _MOST_VALUE) -> str:
    """A text as it is shown: what could steer is spelled out, and a long one is cut and says so."""
    whole = value if isinstance(value, str) else _spelled(value)
    if len(whole) <= most and whole.isprintable():
        return whole
    cut = whole if len(whole) <= most else f"{whole[:most]}\u2026 ({len(whole):,} characters)"
    return _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else f"\\u{ord(m[0]):04x}", cut)


def _spelled(value: Any) -> str:
    if isinstance(value, (bool, list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, float):
        return f"{value:.10g}"
    return "" if value is None else str(value)


def number(value: Any) -> float | int | str:
    """A number as JSON has it; NaN and infinity, which it lacks, as JavaScript's `Number` reads them."""
    try:
        there = float(value)
    except OverflowError:
        return "Infinity" if value > 0 else "-Infinity"
    if math.isfinite(there):
        return value if isinstance(value, float) or abs(value) < 2**53 else there
    return "NaN" if there != there else "Infinity" if there > 0 else "-Infinity"
