"""May this version enter this stage? One module per gate; `GATES` lists them. No I/O.

    policy (the stage's entry of registry.yaml) + promotion -> verdicts: from, the gates in order, samples

A gate that gitreg does not have fails: a policy never passes because nobody looked. `samples` runs the
model, so it comes last, and only when all else passed; no other gate costs anything.

A new gate is a module with `judge(gate, promotion)` and `describe(gate, sources)`, a line in `GATES` and
its key in `schemas/registry.schema.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from gitreg.gates import format, metric, path, samples, schema, soak
from gitreg.gates.promotion import Candidate, Promotion, Stay, Verdict

__all__ = ["GATES", "Candidate", "Gate", "Promotion", "Stay", "Verdict", "describe", "judge"]


class Gate(Protocol):
    """What the module of a gate offers; `gate` is one mapping of the policy's `gates`."""

    def judge(self, gate: Mapping[str, Any], promotion: Promotion) -> Iterable[Verdict]:
        """One verdict for each comparison that the gate asks for."""

    def describe(self, gate: Mapping[str, Any], sources: Sequence[str]) -> Iterable[str]:
        """What the gate asks for, a line each."""


GATES: Mapping[str, Gate] = {
    "metric": metric,
    "schema": schema,
    "samples": samples,
    "soak": soak,
    "format": format,
}


def judge(policy: Mapping[str, Any], promotion: Promotion) -> list[Verdict]:
    """Judge a promotion by the policy of its stage.

    Args:
        policy: `from` and `gates`, valid by schemas/registry.schema.json. Its `from`, where there is
            one, counts instead of `promotion.sources`.

    Returns:
        The verdicts: `from` where the stage has one, the gates in the policy's order, and `samples`
        last and once. The promotion may happen when all passed.
    """
    if "from" in policy:
        promotion = replace(promotion, sources=tuple(policy["from"]))
    gates = policy.get("gates", [])
    verdicts = [*path.judge(policy, promotion)]
    for gate in gates:
        verdicts += _cheap(gate, promotion)
    if any("samples" in gate for gate in gates):
        if all(verdict.passed for verdict in verdicts):
            verdicts += samples.judge({"samples": "pass"}, promotion)
        else:
            verdicts.append(Verdict("samples", False, "not run: other gates failed"))
    return verdicts


def describe(policy: Mapping[str, Any]) -> list[str]:
    """What a stage asks of versions, a line for each condition, in the policy's order."""
    sources = policy.get("from", [])
    lines = [*path.describe(policy, sources)]
    for gate in policy.get("gates", []):
        for key in gate:
            if missing := _missing(key, gate):
                lines.append(f"{missing}, so no version passes")
            elif key in GATES:
                lines += GATES[key].describe(gate, sources)
    return lines


def _cheap(gate: Mapping[str, Any], promotion: Promotion) -> Iterator[Verdict]:
    """The verdicts of one mapping, which may hold several gates, but for `samples`."""
    for key in gate:
        if missing := _missing(key, gate):
            yield Verdict(key, False, missing)
        elif key in GATES and key != "samples":
            yield from GATES[key].judge(gate, promotion)


def _missing(key: str, gate: Mapping[str, Any]) -> str | None:
    """What a key lacks to be judged, or None. The limits of a metric are judged with the metric."""
    if key in metric.LIMITS:
        return None if "metric" in gate else f"the gate '{key}' has no 'metric' beside it"
    return None if key in GATES else f"the gate '{key}' is not available in this gitreg"
