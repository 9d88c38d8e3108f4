"""Stages of registry.yaml that no version could ever enter, told before anybody tries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gitreg.documents import Path as Place
from gitreg.errors import Problem
from gitreg.gates import GATES
from gitreg.gates.metric import LIMITS
from gitreg.manifest import REGISTRY_FILE, read_yaml
from gitreg.names import did_you_mean


def mistakes(root: Path, stages: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """What is wrong with the stages, each at its place in registry.yaml."""
    wrong = [
        (("stages", name, *place), why)
        for name, stage in stages.items()
        for place, why in _of(name, stage, stages)
    ]
    if not wrong:
        return []
    document, _ = read_yaml(root, REGISTRY_FILE, None)
    return [document.problem(place, why) for place, why in wrong]


def _of(name: str, stage: Mapping[str, Any], stages: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for i, other in enumerate(stage.get("from", ())):
        if other == name:
            yield (
                ("from", i),
                f"the stage '{name}' follows itself, so no version would ever be the first in it",
            )
        elif other not in stages:
            guess = did_you_mean(other, stages)
            yield ("from", i), f"the stage '{name}' follows '{other}', which there is not{guess}"
    for i, gate in enumerate(stage.get("gates", ())):
        yield from ((("gates", i, *place), why) for place, why in _of_gate(gate))


def _of_gate(gate: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for key in gate:
        if key in LIMITS:
            if "metric" not in gate:
                yield (key,), f"'{key}' needs 'metric: NAME' beside it, so no version would pass"
        elif key not in GATES:
            yield (key,), f"this gitreg has no gate '{key}', so no version would pass"
    low, high = gate.get("min"), gate.get("max")
    if low is not None and high is not None and low > high:
        yield ("min",), f"the minimum {low} is above the maximum {high}, so no version would pass"
    if "format" in gate:
        yield from _of_formats(gate["format"])


def _of_formats(named: list[str]) -> Iterator[tuple[Place, str]]:
    from gitreg.formats import FORMATS, UNKNOWN

    known = {one.key for one in FORMATS if one is not UNKNOWN}
    if not named:
        yield ("format",), "no format is allowed, so no version would pass"
    for i, one in enumerate(named):
        if one.casefold() not in known:
            guess = did_you_mean(one, known)
            yield ("format", i), f"'{one}' is not a format{guess}; they are {', '.join(sorted(known))}"
