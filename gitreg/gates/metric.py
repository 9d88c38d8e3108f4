"""`metric: accuracy` with `min`, `max` (inclusive), `max_drop`, `max_rise` (against what is in the stage).

Numbers are compared as the decimals that people wrote. In binary floats 0.9 - 0.01 is more than 0.89, so
a model that dropped by just what is allowed would be refused.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any

from gitreg.gates.promotion import Candidate, Promotion, Verdict, a_return, nothing_there
from gitreg.names import did_you_mean

LIMITS = ("min", "max", "max_drop", "max_rise")
_RELATIVE = ("max_drop", "max_rise")
# Enough digits for the difference of the largest and the smallest float, so nothing is rounded.
_EXACT = Context(prec=1500)
_LISTED = 10


def judge(gate: Mapping[str, Any], promotion: Promotion) -> Iterator[Verdict]:
    """One verdict for each limit, or one when there is none or the candidate has no such number.

    A return passes what compares with the version in the stage. So does a promotion into an empty
    stage, or where the version in the stage has no such number.
    """
    label, limits = f"metric {gate['metric']}", [key for key in LIMITS if key in gate]
    if promotion.returning:
        relative = [key for key in limits if key in _RELATIVE]
        yield from (Verdict(label, True, a_return(promotion)) for _ in relative)
        if relative and relative == limits:
            return
        limits = [key for key in limits if key not in _RELATIVE]
    new, mistake = _number(gate["metric"], promotion.candidate)
    if new is None:
        yield Verdict(label, False, mistake)
    elif not limits:
        yield Verdict(label, True, f"{gate['metric']} is {_text(new)}")
    else:
        for key in limits:
            yield Verdict(label, *_compare(key, gate, new, promotion))


def describe(gate: Mapping[str, Any], sources: Sequence[str]) -> Iterator[str]:
    """A line for each limit, or one when there is none."""
    words = {
        "min": "at least {}",
        "max": "at most {}",
        "max_drop": "may drop by at most {} below what is in the stage",
        "max_rise": "may rise by at most {} above what is in the stage",
    }
    said = [text.format(_shown(gate[key])) for key, text in words.items() if key in gate]
    yield from (f"{gate['metric']} {text}" for text in said or ["is there"])


def _compare(key: str, gate: Mapping[str, Any], new: Decimal, promotion: Promotion) -> tuple[bool, str]:
    limit = _decimal(gate[key])
    if limit is None:
        return False, f"{key} is {_shown(gate[key])}; a finite number is expected"
    name = gate["metric"]
    if key in _RELATIVE:
        return _against(key, name, new, limit, promotion)
    if key == "min":
        ok, sign, off = new >= limit, ">=", "below the minimum"
    else:
        ok, sign, off = new <= limit, "<=", "above the maximum"
    return ok, f"{name} {_text(new)} {sign if ok else f'is {off}'} {_text(limit)}"


def _against(key: str, name: str, new: Decimal, limit: Decimal, promotion: Promotion) -> tuple[bool, str]:
    """The comparison with the version that is in the stage."""
    if promotion.incumbent is None:
        return True, f"{nothing_there(promotion)}; {name} is {_text(new)}"
    old, mistake = _number(name, promotion.incumbent)
    if old is None:
        return True, f"nothing in {promotion.stage} to compare {name} {_text(new)} with: {mistake}"
    moved = _EXACT.subtract(new, old)
    # The operator `-` would round to the 28 digits of the thread's own context.
    worse = moved.copy_negate() if key == "max_drop" else moved
    verb = "fell" if moved < 0 else "rose"
    if not moved:
        text = f"{name} stayed at {_text(new)}"
    else:
        text = f"{name} {verb} from {_text(old)} to {_text(new)}, by {_text(moved.copy_abs())}"
    if worse > 0:
        return worse <= limit, f"{text}; at most {_text(limit)} is allowed"
    return True, f"{text}; it may {'drop' if key == 'max_drop' else 'rise'} by {_text(limit)}"


def _number(name: str, candidate: Candidate) -> tuple[Decimal | None, str]:
    """The metric as an exact decimal, or None and why it is not one."""
    metrics = _leaves(candidate.metrics)
    if name not in metrics:
        return None, _absent(name, candidate.version, sorted(metrics))
    number = _decimal(metrics[name])
    if number is None:
        return None, f"{name} of {candidate.version} is {_shown(metrics[name])}; a finite number is expected"
    return number, ""


def _leaves(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """All metrics by dotted name. Level by level, so that a flat key comes before a nested one."""
    leaves: dict[str, Any] = {}
    todo: list[tuple[str, Mapping[str, Any]]] = [("", metrics)]
    for prefix, level in todo:
        for key, value in level.items():
            if isinstance(value, Mapping):
                todo.append((f"{prefix}{key}.", value))
            else:
                leaves.setdefault(f"{prefix}{key}", value)
    return leaves


def _absent(name: str, version: str, known: list[str]) -> str:
    if not known:
        return f"{version} has no metrics, so no {name}"
    shown = [one if one.isprintable() else repr(one) for one in known[:_LISTED]]
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"{version} has no metric {name}{did_you_mean(name, known)}; it has {', '.join(shown)}{more}"


def _decimal(value: Any) -> Decimal | None:
    """The decimal that `value` is written as; None for what is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int):
        return Decimal(value)
    return Decimal(float.__repr__(value)) if math.isfinite(value) else None


def _text(number: Decimal) -> str:
    """A number as people write it: `0.02`, `5`, `1e-07`."""
    if number == number.to_integral_value() and number.copy_abs() < 10**21:
        return str(int(number))
    short = float(number)
    return repr(short) if math.isfinite(short) else f"{number:.0e}"


def _shown(value: Any) -> str:
    number = _decimal(value)
    return reprlib.repr(value) if number is None else _text(number)
