"""How filters compare: numbers as numbers, versions by precedence, times by the clock. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from gitreg.fields import Field
from gitreg.names import VERSION
from gitreg.versions import order

Row = Mapping[str, Any]
Test = Callable[[Row], bool]
Number = (int, float)


class Unfit(Exception):
    """A value that a field cannot be compared with; says why."""


def is_absent(value: Any) -> bool:
    """Whether there is nothing: no value, or no values."""
    return value is None or value == []


def compared(field: Field, sign: str, value: Any) -> Test:
    """`field sign value`.

    Raises:
        Unfit: the field cannot be compared with it.
    """
    fits = _comparison(field, sign.replace("!=", "="), value)
    return _any(field, fits, sign == "!=")


def within(field: Field, wanted: Sequence[Any], negated: bool) -> Test:
    """`field IN (...)`."""
    tests = [_comparison(field, "=", value) for value in wanted]
    return _any(field, lambda found: any(test(found) for test in tests), negated)


def like(field: Field, pattern: str, fold: bool, negated: bool) -> Test:
    """`field LIKE pattern`: `%` is any text, `_` any character."""
    match = _pattern(pattern.casefold() if fold else pattern)

    def fits(found: Any) -> bool:
        text = _text(found, field)
        return match(text.casefold() if fold else text)

    return _any(field, fits, negated)


def _any(field: Field, fits: Callable[[Any], bool], negated: bool) -> Test:
    """A test of a row: one value that fits will do; negated, there are values and none fits."""
    name = field.name

    def test(row: Row) -> bool:
        found = row.get(name)
        if is_absent(found):
            return False
        many = found if isinstance(found, list) else (found,)
        return any(fits(one) for one in many) is not negated

    return test


def _comparison(field: Field, sign: str, value: Any) -> Callable[[Any], bool]:
    if field.kind == "version":
        if not isinstance(value, str) or not VERSION.match(value):
            raise Unfit(f"versions are compared with versions in quotes, as '1.2.0'; {value!r:.60} is none")
        wanted = order(value)
        return lambda found: _holds(sign, order(found), wanted)
    if field.kind == "time":
        start, end = moment(value)
        return lambda found: _in_time(sign, found, start, end)
    if field.kind == "boolean":
        wanted_truth = {"true": True, "false": False}.get(str(value).lower())
        if wanted_truth is None or sign != "=":
            raise Unfit(f"{field.name} is TRUE or FALSE")
        return lambda found: found is wanted_truth
    if field.kind == "number":
        if isinstance(value, bool) or not isinstance(value, Number):
            raise Unfit(f"{field.name} is a number; write it without quotes")
        return lambda found: isinstance(found, Number) and _holds(sign, found, value)
    if field.kind == "any" or field.name.startswith("lineage."):
        return _loose(sign, value)
    if not isinstance(value, str):
        raise Unfit(f"{field.name} is a text; write it in quotes")
    return lambda found: _holds(sign, _text(found), value)


def _loose(sign: str, value: Any) -> Callable[[Any], bool]:
    """Params and tags are what people wrote: numbers compare as numbers where both sides are some."""
    number = _number(value)
    text = _text(value)

    def fits(found: Any) -> bool:
        other = _number(found) if number is not None else None
        if number is not None and other is not None:
            return _holds(sign, other, number)
        if not isinstance(value, (str, bool)):
            return False  # a number is asked for
        return _holds(sign, _text(found), text)

    return fits


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, Number):
        return value
    if isinstance(value, str) and re.fullmatch(
        r"[-+]?[0-9]{1,15}(\.[0-9]{1,15})?([eE][-+]?[0-9]{1,3})?", value
    ):
        return float(value)
    return None


def _holds(sign: str, found: Any, wanted: Any) -> bool:
    if sign == "=":
        return bool(found == wanted)
    if sign == "<":
        return bool(found < wanted)
    if sign == "<=":
        return bool(found <= wanted)
    return bool(found > wanted) if sign == ">" else bool(found >= wanted)


def _text(value: Any, field: Field | None = None) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if field is not None and field.kind == "time" and isinstance(value, int):
        return datetime.fromtimestamp(max(0, min(value, 253_402_300_799)), timezone.utc).isoformat()
    return value if isinstance(value, str) else str(value)


# Times ------------------------------------------------------------------------------------------

_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)


def moment(value: Any) -> tuple[float, float]:
    """The time that a literal means, [from, until), in seconds since 1970: a day, a second, a millisecond.

    Raises:
        Unfit: it is no time.
    """
    if isinstance(value, Number) and not isinstance(value, bool) and abs(value) < 1e16:
        return value / 1000, math.floor(value / 1000) + 1  # milliseconds, as MLflow has them
    try:
        text = str(value)
        found = datetime.fromisoformat(text.removesuffix("Z") + "+00:00" * text.endswith("Z"))
        if found.tzinfo is None:
            found = found.replace(tzinfo=timezone.utc)
        span = timedelta(days=1) if _DATE.match(text) else timedelta(seconds=1)
        return found.timestamp(), found.timestamp() + span.total_seconds()
    except (ValueError, OverflowError):
        raise Unfit(
            f"{value!r:.60} is no time; write '2026-11-21' or '2026-11-21T14:30:00Z', or milliseconds"
        ) from None


def _in_time(sign: str, found: Any, start: float, end: float) -> bool:
    if sign == "=":
        return bool(start <= found < end)
    if sign == "<":
        return bool(found < start)
    if sign == "<=":
        return bool(found < end)
    return bool(found >= end) if sign == ">" else bool(found >= start)


# Patterns ---------------------------------------------------------------------------------------


def _pattern(pattern: str) -> Callable[[str], bool]:
    """Matches whole texts in time linear in them: pieces between `%` are found one after another."""
    pieces = pattern.split("%")
    tests = [re.compile("".join("." if c == "_" else re.escape(c) for c in p), re.DOTALL) for p in pieces]
    if len(pieces) == 1:
        return lambda text: tests[0].fullmatch(text) is not None
    last = len(pieces[-1])

    def match(text: str) -> bool:
        first = tests[0].match(text)
        if not first:
            return False
        at = first.end()
        for test in tests[1:-1]:
            found = test.search(text, at)
            if not found:
                return False
            at = found.end()
        return len(text) - last >= at and tests[-1].match(text, len(text) - last) is not None

    return match


# Order ------------------------------------------------------------------------------------------


def sort_key(field: Field, value: Any) -> tuple[Any, ...]:
    """A key by which values of any kind can be sorted: numbers, then NaN, then texts."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else ", ".join(map(_text, value))
    if field.kind == "version" and isinstance(value, str) and VERSION.match(value):
        return (0, order(value))
    if isinstance(value, bool) or not isinstance(value, Number):
        return (2, _text(value))
    return (1, 0) if value != value else (0, value)
