"""`schema: compatible`: callers of the version in the stage keep working."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitreg.compatibility import compare
from gitreg.gates.promotion import Candidate, Promotion, Verdict, a_return, nothing_there


def judge(gate: Mapping[str, Any], promotion: Promotion) -> Iterator[Verdict]:
    """One verdict, which names every major change; a return passes."""
    if promotion.returning:
        yield Verdict("schema", True, a_return(promotion))
    elif promotion.incumbent is None:
        yield Verdict("schema", True, nothing_there(promotion))
    else:
        yield _against(promotion.incumbent, promotion)


def describe(gate: Mapping[str, Any], sources: Sequence[str]) -> Iterator[str]:
    """One line."""
    yield "schema compatible with what is in the stage"


def _against(incumbent: Candidate, promotion: Promotion) -> Verdict:
    changes = compare(incumbent.schema, promotion.candidate.schema)
    major = [change.text for change in changes if change.level == "major"]
    place = f"{incumbent.version} in {promotion.stage}"
    if major:
        return Verdict("schema", False, f"not compatible with {place}: {'; '.join(major)}")
    what = "; ".join(change.text for change in changes) or "no change"
    return Verdict("schema", True, f"compatible with {place}: {what}")
