"""Judges the data of a document: numbers that no float holds, and nesting that nothing reads. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gitreg import numerals
from gitreg.documents import MAX_DEPTH, Document, Path, dotted
from gitreg.errors import Problem

_SPELLED = re.compile(r"\s*[-+]?(?:[0-9][0-9_,]*\.?[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*%?\s*\Z")
_MOST_SPELLED = 20


def not_finite(document: Document, keys: Sequence[str] | None = None) -> list[Problem]:
    """A problem for each number of a document that is NaN or infinite, or has too many digits.

    Args:
        keys: look at the values of these alone, at the top.
    """
    whole = document.data if isinstance(document.data, Mapping) else {}
    # A path is a pair of the path above and a key, and is put together where it is needed alone.
    todo: list[tuple[Any, Any]] = [
        ((None, key), one) for key, one in whole.items() if keys is None or key in keys
    ]
    found = []
    for link, value in todo:
        if isinstance(value, Mapping):
            todo += [((link, key), one) for key, one in value.items() if _may_be_odd(one)]
        elif isinstance(value, list):
            todo += [((link, i), one) for i, one in enumerate(value) if _may_be_odd(one)]
        elif said := _odd(value):
            found.append(document.problem(_path(link), said))
    return found


def _may_be_odd(value: Any) -> bool:
    return isinstance(value, (Mapping, list)) or _odd(value) is not None


_TOO_LONG = 10**numerals.MOST_DIGITS


def _odd(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number"
    if isinstance(value, int) and abs(value) >= _TOO_LONG:
        return f"a number of more than {numerals.MOST_DIGITS} digits"
    return None


def _path(link: Any) -> Path:
    parts = []
    while link is not None:
        link, part = link
        parts.append(part)
    return tuple(reversed(parts))


def spelled(file: str, values: Mapping[str, Any]) -> list[Problem]:
    """A warning for each metric that is a text which a person reads as a number."""
    found = []
    todo: list[tuple[Any, Any]] = [((None, key), one) for key, one in values.items()]
    for link, value in todo:
        if isinstance(value, Mapping):
            todo += [((link, key), one) for key, one in value.items()]
        elif isinstance(value, str) and len(value) <= numerals.MOST_DIGITS and _SPELLED.match(value):
            why = f"the text {value!r} is no number, so no metric; write it without quotes, `_`, `,` or %"
            found.append(Problem(file, 0, 0, dotted(_path(link)), why, "warning"))
    return found[:_MOST_SPELLED]


def is_deep(data: Any, most: int = MAX_DEPTH) -> bool:
    """Whether collections lie in each other deeper than any that is read."""
    level = [data]
    for _ in range(most):
        level = [
            one
            for each in level
            for one in (each.values() if isinstance(each, Mapping) else each)
            if isinstance(one, (Mapping, list))
        ]
        if not level:
            return False
    return True
