"""`from: [staging]`: the version is, or was, in one of these stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitreg.gates.promotion import Promotion, Stay, Verdict, moment, utc


def judge(policy: Mapping[str, Any], promotion: Promotion) -> Iterator[Verdict]:
    """One verdict, or none when versions may come from anywhere."""
    if not promotion.sources:
        return
    version = promotion.candidate.version
    stays = [stay for stay in promotion.stays if stay.stage in promotion.sources]
    if stays:
        yield Verdict("from", True, f"{version} {_latest(stays)}")
    else:
        yield Verdict("from", False, f"{version} was never in {' or '.join(promotion.sources)}")


def describe(policy: Mapping[str, Any], sources: Sequence[str]) -> Iterator[str]:
    """One line, or none when versions may come from anywhere."""
    if sources:
        yield f"from {' or '.join(sources)}"


def _latest(stays: list[Stay]) -> str:
    for stay in stays:
        if stay.until is None:
            return f"is in {stay.stage}"
    until, stage = max((utc(stay.until), stay.stage) for stay in stays if stay.until)
    return f"was in {stage} until {moment(until)}"
