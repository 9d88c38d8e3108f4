"""`soak: 7d`: the version spent that long, in one stay, in a stage that this one is reached from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from gitreg.gates.promotion import Promotion, Stay, Verdict, moment, utc

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1, "w": 7 * 86400}


def judge(gate: Mapping[str, Any], promotion: Promotion) -> Iterator[Verdict]:
    """One verdict: how long it has been and, while it is there, when it will be enough.

    Stays in any of the sources count; without sources, in any stage but the promotion's own.
    """
    wanted, now = str(gate["soak"]).strip(), utc(promotion.now)
    stays = [stay for stay in promotion.stays if _counts(stay, promotion)]
    if not stays:
        where = " or ".join(promotion.sources) or f"a stage other than {promotion.stage}"
        yield Verdict("soak", False, f"0s of {wanted}: {promotion.candidate.version} was never in {where}")
        return
    longest = max(stays, key=lambda stay: _spent(stay, now))
    if _spent(longest, now) >= _seconds(wanted):
        yield Verdict("soak", True, f"{_span(_spent(longest, now))} of {wanted} in {longest.stage}")
    else:
        yield Verdict("soak", False, _too_short(stays, wanted, now))


def describe(gate: Mapping[str, Any], sources: Sequence[str]) -> Iterator[str]:
    """One line."""
    yield f"at least {str(gate['soak']).strip()} in {' or '.join(sources) or 'another stage'}, in one stay"


def _counts(stay: Stay, promotion: Promotion) -> bool:
    if promotion.sources:
        return stay.stage in promotion.sources
    return stay.stage != promotion.stage


def _seconds(duration: str) -> float:
    """`7d` in seconds. A float, because it takes any number of digits: too many are infinity."""
    return float(duration[:-1]) * _SECONDS[duration[-1]]


def _spent(stay: Stay, now: datetime) -> float:
    """Seconds of a stay up to now; a clock that runs behind the tags' makes none of them negative."""
    end = now if stay.until is None else min(utc(stay.until), now)
    return max(0.0, (end - utc(stay.since)).total_seconds())


def _too_short(stays: list[Stay], wanted: str, now: datetime) -> str:
    """Only a stay that goes on can become enough, so it is the one to tell of."""
    best = max(stays, key=lambda stay: (stay.until is None, _spent(stay, now)))
    text = f"{_span(_spent(best, now))} of {wanted} in {best.stage}"
    if best.until is not None:
        return f"{text}, which it left at {moment(best.until)}"
    return f"{text}; {_enough(utc(best.since), _seconds(wanted))}"


def _enough(since: datetime, seconds: float) -> str:
    """When it will be enough, to the minute and rounded up, so that it is enough then."""
    try:
        end = since + timedelta(seconds=seconds)
        if end.second or end.microsecond:
            end = end.replace(second=0, microsecond=0) + timedelta(minutes=1)
    except OverflowError:
        return "enough after the year 9999"
    return f"enough at {moment(end)}"


def _span(seconds: float) -> str:
    """`2d 3h`: the two largest units, rounded down."""
    rest = int(seconds)
    counts: list[tuple[int, str]] = []
    for unit in "dhms":
        count, rest = divmod(rest, _SECONDS[unit])
        if count or counts:
            counts.append((count, unit))
    return " ".join(f"{count}{unit}" for count, unit in counts[:2] if count) or "0s"
