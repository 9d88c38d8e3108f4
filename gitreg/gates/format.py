"""`format: [onnx, safetensors]`: the artifact is, by its content, in one of these formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitreg.gates.promotion import Promotion, Verdict


def judge(gate: Mapping[str, Any], promotion: Promotion) -> Iterator[Verdict]:
    """One verdict; a format that is not known fails. Upper and lower case are the same."""
    found, listed = promotion.candidate.format, _listed(gate)
    if found is None:
        yield Verdict("format", False, f"the format is not known; allowed: {listed}")
    elif found.casefold() in {one.casefold() for one in gate["format"]}:
        yield Verdict("format", True, f"{found} is allowed")
    else:
        yield Verdict("format", False, f"{found} is not allowed; allowed: {listed}")


def describe(gate: Mapping[str, Any], sources: Sequence[str]) -> Iterator[str]:
    """One line."""
    yield f"format {_listed(gate)}"


def _listed(gate: Mapping[str, Any]) -> str:
    return " or ".join(gate["format"]) or "none"
