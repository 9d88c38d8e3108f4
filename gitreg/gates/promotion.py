"""What gates judge and what they answer. `gitreg.gates` exports these names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from gitreg.model import ModelSchema


@dataclass(frozen=True)
class Stay:
    """A time that a version was in a stage; `until` is None while it is there."""

    stage: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class Candidate:
    """A version, as gates see it.

    Attributes:
        metrics: as declared; `{"test": {"auc": 0.9}}` and `{"test.auc": 0.9}` are both "test.auc".
        schema: None when the model has none.
        format: of the artifact by its content, as "onnx"; None when it is not known.
        samples: loads the version and asks it its samples; None when all pass, else why not. What it
            raises goes through.
    """

    model: str
    version: str
    metrics: Mapping[str, Any]
    schema: ModelSchema | None
    format: str | None
    samples: Callable[[], str | None]


@dataclass(frozen=True)
class Promotion:
    """One version that is to enter one stage. Times without a zone are read as UTC.

    Attributes:
        stage: where the candidate goes.
        incumbent: the version that is in the stage now, or None.
        returning: whether the candidate was in this stage before, which makes this a rollback.
        stays: all stays of the candidate, in any stage and any order.
        sources: the stage's `from`; what the policy says comes first.
    """

    stage: str
    now: datetime
    candidate: Candidate
    incumbent: Candidate | None
    returning: bool
    stays: tuple[Stay, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What one gate says.

    Attributes:
        gate: as "metric accuracy", "from", "schema", "samples", "soak", "format".
        text: what was compared, with both sides of the comparison.
    """

    gate: str
    passed: bool
    text: str


def a_return(promotion: Promotion) -> str:
    """Why a comparison with the version in the stage is no hindrance to a rollback.

    A rollback is there to leave a version that proved bad, whatever it declares of itself.
    """
    return f"a return: {promotion.candidate.version} was in {promotion.stage} before"


def nothing_there(promotion: Promotion) -> str:
    """Why a comparison with the version in the stage passes when there is none."""
    return f"there is nothing in {promotion.stage} to compare with"


def utc(when: datetime) -> datetime:
    """A time in UTC; one without a zone is UTC already."""
    return when.replace(tzinfo=timezone.utc) if when.tzinfo is None else when.astimezone(timezone.utc)


def moment(when: datetime) -> str:
    """`2026-11-28 10:00 UTC`."""
    return f"{utc(when):%Y-%m-%d %H:%M} UTC"
