"""What GTO makes of tags, as its version 1.10 does: which it reads, which it fails on, what it shows. Pure.

https://github.com/iterative/gto/blob/main/gto/constants.py and tag.py, base.py beside it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from gitreg.fsck.evidence import Said
from gitreg.recorded import ModelRecord
from gitreg.versions import order

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9-/_]*[a-zA-Z0-9])?"
_WORD = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_BUILD = r"[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*"
_SEMVER = rf"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-{_WORD}(?:\.{_WORD})*)?(?:\+{_BUILD})?"
_TAG = re.compile(
    rf"(?:[a-zA-Z0-9-_./]+=)?{_NAME}(?:(?:#{_NAME}|@v{_SEMVER})!?|@(?:deprecated|(?P<created>created)))(?:#[0-9]+)?\Z"
)


def reads(name: str) -> bool:
    """Whether GTO takes a tag's name for a registry's."""
    return bool(_TAG.match(name))


def fails_on(name: str, said: Said | None) -> str:
    """Why `gto show` fails for the whole repository as long as a tag is there; empty if it does not.

    GTO looks at the names of all tags, and at the objects of the annotated ones whose names it reads.

    Args:
        said: what its object says; None for a lightweight tag.
    """
    found = _TAG.match(name)
    if not found:
        return ""
    if found["created"]:
        return "GTO reads '@created' and knows no action for it"
    if said is None:
        return ""
    inner = _TAG.match(said.name)
    if not inner or inner["created"]:
        return f"its object calls itself {said.name!r}, which GTO cannot act on"
    if said.type in ("tree", "blob"):
        return f"it names a {said.type}, not a commit"
    return said.unreadable


def clashes(known: ModelRecord) -> dict[str, list[str]]:
    """commit -> versions, where several were registered at one: GTO fails on a stage tag there."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for tag in known.tags:
        if tag.says.kind in ("register", "deregister") and tag.says.version:
            found[tag.commit][tag.says.version] = None
    return {commit: list(versions) for commit, versions in found.items() if len(versions) > 1}


class Shown(NamedTuple):
    """What GTO says is in a stage.

    Attributes:
        last: by the time of assignment: `gto show`.
        highest: by precedence: `gto show --sort semver`, and GTO's own `which`.
    """

    last: str | None = None
    highest: str | None = None


def shown(known: ModelRecord) -> Mapping[str, Shown]:
    """stage -> what is in it. Versions at commits where none is registered are left out."""
    # Its latest event counts; of two in one second, the one that ends.
    registered: dict[tuple[str, str], tuple[int, bool]] = {}
    born: dict[tuple[str, str], int] = {}
    at: dict[str, tuple[str, str]] = {}
    for tag in known.tags:
        if tag.says.kind in ("register", "deregister") and tag.says.version:
            key = tag.says.version, tag.commit
            event = tag.time, tag.says.kind == "deregister"
            registered[key] = max(registered.get(key, event), event)
            at[tag.commit] = key
            if tag.says.kind == "register":
                born[key] = max(born.get(key, 0), tag.time)
    assigned: dict[tuple[str, tuple[str, str]], tuple[int, bool]] = {}
    since: dict[tuple[str, tuple[str, str]], int] = {}
    for tag in known.tags:
        if tag.says.stage and tag.commit in at:
            stay = tag.says.stage, at[tag.commit]
            event = tag.time, tag.says.kind == "unassign"
            assigned[stay] = max(assigned.get(stay, event), event)
            if tag.says.kind == "assign":
                since[stay] = max(since.get(stay, 0), tag.time)
    stays: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for (stage, key), (_, ended) in assigned.items():
        if not ended and not registered[key][1]:
            stays[stage].append(key)
    return {
        stage: Shown(
            max((since[stage, key], -born[key], key[0]) for key in keys)[2],
            max((key[0] for key in keys), key=order),
        )
        for stage, keys in stays.items()
    }
