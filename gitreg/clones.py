"""Clones of registries elsewhere: made once, shared by many processes, brought up to date by whoever asks."""

from __future__ import annotations

import os
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from gitreg import caches, git, keeping
from gitreg.addresses import Address
from gitreg.errors import GitregError, Outside
from gitreg.git import clones, discovery
from gitreg.tagspace import prefix_of

_FETCHED = "gitreg-fetched"
# A clone of ten thousand versions takes minutes on a slow line; one that is there can be used meanwhile.
_FIRST, _AGAIN = 1800.0, 60.0


class Stale(UserWarning):
    """A registry was read as it was fetched earlier, because it could not be asked now."""


@dataclass(frozen=True)
class Clone:
    """A clone that can be read.

    Attributes:
        folder: a bare repository.
        as_of: when its remote was last asked, in seconds since 1970.
    """

    folder: Path
    address: Address
    as_of: float


def opened(address: Address, offline: bool | None = None) -> Clone:
    """The clone of a registry, as its remote is now; made if there is none.

    Warns with `Stale` where it is as it was earlier: offline, or when the remote cannot be reached.

    Raises:
        Outside: the remote cannot be reached, and there is no clone.
    """
    folder = caches.entry("clones", f"{address.key}.git")
    discovery.CLONES.add(folder)
    if caches.is_offline(offline):
        git.SEALED.add(folder)
        if not _as_of(folder):
            raise Outside(f"offline, and {address.shown} was never fetched here", "once with a network")
        _tell(address, folder, "offline")
    else:
        git.SEALED.discard(folder)
        _bring_up_to_date(address, folder)
    return Clone(folder, address, _as_of(folder))


def _bring_up_to_date(address: Address, folder: Path) -> None:
    asked = time.time()
    if _as_of(folder) > asked - _fresh_for() and clones.is_whole(folder):
        return
    there = (folder / "HEAD").is_file()
    with caches.locked(folder.with_suffix(".lock"), _AGAIN if there else _FIRST) as held:
        # Who waited takes what another process has fetched since: 32 that start at once fetch twice.
        if _as_of(folder) > asked - _fresh_for() and clones.is_whole(folder):
            return
        if not held:
            if not clones.is_whole(folder):
                raise Outside(f"another process clones {address.shown}, and does not end")
            _tell(address, folder, "another process fetches it, and does not end")
            return
        try:
            _fetch(address, folder)
        except Outside as error:
            if not clones.is_whole(folder):
                raise Outside(f"{address.shown}: {error.message}", error.hint) from None
            _tell(address, folder, error.message.partition("\n")[0])


def _fetch(address: Address, folder: Path) -> None:
    began = time.time()
    try:
        if not clones.is_whole(folder):
            raise clones.Damaged("there is none")
        own = (None, address.prefix.removesuffix("/"))
        moved = [tag for tag in clones.refresh(folder) if "@v" in tag and prefix_of(tag) in own]
    except clones.Damaged:
        from gitreg import folders

        moved = []
        with folders.aside(folder.parent) as new:
            clones.make(address.url, new / "clone")
            folders.put(new / "clone", folder)
    for tag in moved:
        warnings.warn(
            f"{address.shown}: the tag {tag} was moved, which no registry does", stacklevel=_caller()
        )
    keeping.file(folder / _FETCHED).touch()
    os.utime(folder / _FETCHED, (began, began))


def _fresh_for() -> float:
    """For how many seconds an answer of the remote is good: `GITREG_REFRESH`; by default, ask every time."""
    try:
        return max(0.0, float(os.environ.get("GITREG_REFRESH", "0")))
    except ValueError:
        raise GitregError("GITREG_REFRESH is not a number of seconds") from None


def _as_of(folder: Path) -> float:
    with suppress(OSError):
        return (folder / _FETCHED).stat().st_mtime
    return 0.0


def _tell(address: Address, folder: Path, why: str) -> None:
    when = datetime.fromtimestamp(_as_of(folder), timezone.utc)
    text = f"{address.shown} is read as it was on {when:%Y-%m-%d %H:%M} UTC: {why}"
    warnings.warn(text, Stale, stacklevel=_caller())


def _caller() -> int:
    """The stack level, for a warning of the function that calls this, of the code that called gitreg."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "gitreg":
        frame, level = frame.f_back, level + 1
    return level
