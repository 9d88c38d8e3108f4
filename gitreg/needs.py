"""What must be installed before models are loaded: for CI, which starts on an empty machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gitreg.errors import GitregError
from gitreg.requirements import parsed

if TYPE_CHECKING:
    from gitreg.registry import Registry


def requirements(
    registry: Registry, base: str | None = None, models: Iterable[str] | None = None
) -> list[str]:
    """What must be installed for the models that a command loads, as lines of a requirements.txt.

    What cannot be read requires nothing here: the command that comes next tells what is wrong with it.

    Args:
        base: for `check --base BASE`: the models that changed, and those that a gate loads. Lines with an
            address are left out: pip would run the setup.py behind it, whatever it is told of wheels.
        models: for `build` of these. Without both, for `apply`: the models that a gate loads.
    """
    asked = [_named(registry, models)] if models is not None else [_gated(registry)]
    if base is not None:
        asked.append(_changed(registry, base))
    lines: list[str] = []
    for some in asked:
        with contextlib.suppress(GitregError):
            lines.extend(some)
    return [one.line for one in parsed(lines) if base is None or one.address is None]


def _named(registry: Registry, models: Iterable[str]) -> Iterator[str]:
    for name in models:
        gathered = registry.gather(registry.manifest_file(name), build=False)
        if not gathered.errors:  # options of pip's are errors
            yield from gathered.requirements


def _changed(registry: Registry, base: str) -> Iterator[str]:
    yield from _named(registry, registry.changed_since(base))


def _gated(registry: Registry) -> Iterator[str]:
    """Of the versions that are to enter a stage whose gates ask them their samples."""
    for action, verdicts in registry.plan().verdicts.items():
        if any(verdict.gate == "samples" for verdict in verdicts):
            with registry.at(action.commit) as then:
                yield from _named(then, [action.model])
