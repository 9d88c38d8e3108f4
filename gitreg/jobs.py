"""CI's jobs for building what a plan registers: one for each version, or for a few where they are many."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitreg.planner import Planned

# GitHub refuses a matrix with more:
# https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstrategymatrix
MOST = 256
# What a build takes besides copying its artifact, as if of so many bytes more.
_FIXED = 1 << 30


def matrix(planned: Planned) -> dict[str, Any]:
    """GitHub's `strategy.matrix` for building the versions that are registered.

    Each entry has a `name` and the `references` to build, with spaces between them. Up to 256 versions have
    an entry each, which also has their `model`, `version`, `manifest` and `digest`.
    """
    found = [one for part in (planned.earlier, planned) if part for one in _versions(part)]
    if len(found) <= MOST:
        return {"include": [{**_entry(f"{one['model']}-{one['version']}", [one]), **one} for one, _ in found]}
    return {"include": [_entry(f"models-{i:03}", job) for i, job in enumerate(_balanced(found), 1)]}


def _entry(name: str, versions: Sequence[dict[str, str]]) -> dict[str, str]:
    return {"name": name, "references": " ".join(f"{one['model']}@{one['version']}" for one in versions)}


def _balanced(found: Sequence[tuple[dict[str, str], int]]) -> list[list[dict[str, str]]]:
    """Lists of about the same size, the largest version first to where least is; in the order of the plan."""
    lists: list[list[int]] = [[] for _ in range(MOST)]
    least = [(0, i) for i in range(MOST)]
    for at in sorted(range(len(found)), key=lambda at: -found[at][1]):
        size, i = heapq.heappop(least)
        lists[i].append(at)
        heapq.heappush(least, (size + found[at][1] + _FIXED, i))
    return [[found[at][0] for at in sorted(one)] for one in lists]


def _versions(planned: Planned) -> Iterator[tuple[dict[str, str], int]]:
    """The versions that are registered, each with the bytes of its artifact."""
    for action in planned.actions:
        if action.kind == "register":
            content = planned.contents.get(action.model)
            yield (
                {
                    "model": action.model,
                    "version": action.version,
                    "manifest": planned.desired.models[action.model].file,
                    "digest": content.digest if content else "",
                },
                content.size if content else 0,
            )
