"""`samples: pass`: the version loads and answers its samples. It runs the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitreg.gates.promotion import Promotion, Verdict


def judge(gate: Mapping[str, Any], promotion: Promotion) -> Iterator[Verdict]:
    """One verdict; what `candidate.samples` raises goes through."""
    reason = promotion.candidate.samples()
    yield Verdict("samples", reason is None, "all samples pass" if reason is None else reason)


def describe(gate: Mapping[str, Any], sources: Sequence[str]) -> Iterator[str]:
    """One line."""
    yield "its samples pass"
