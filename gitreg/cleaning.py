"""What the cache holds and takes, and emptying it while nobody is at work in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gitreg import caches, folders, keeping, trees
from gitreg.errors import Outside, Refused


@dataclass(frozen=True)
class Kept:
    """One of the cache's folders.

    Attributes:
        name: as of `caches.FOLDERS`.
        entries: how many clones, packages, ... are in it.
        size: bytes on disk; what two folders share by hard links counts in the first of them.
    """

    name: str
    entries: int
    size: int


def kept() -> list[Kept]:
    """What is in the cache; nothing where there is none."""
    seen: set[tuple[int, int]] = set()
    found = []
    for name in caches.FOLDERS:
        entries = list(_entries(caches.top() / name))
        size = sum(_size(file, seen) for entry in entries for file in _files(entry))
        found.append(Kept(name, len(entries), size))
    return found


def clear() -> list[Kept]:
    """Delete all that is in the cache; it comes back by itself as it is needed.

    Models that are loaded already go on working. What gitreg did not put there stays.

    Returns:
        What was there.

    Raises:
        Refused: the folder is not known to be a cache of gitreg's.
        Outside: another process is at work in it; nothing was deleted then.
    """
    top = caches.top()
    if not top.is_dir():
        return []
    if not _is_ours(top):
        raise Refused(
            f"{top} is not known to be a cache of gitreg's; nothing is deleted",
            "GITREG_CACHE says which folder it is",
        )
    with ExitStack() as held:
        for name in caches.FOLDERS:
            keeping.mended(top / name)
        for lock in sorted([*top.glob("locks/*.lock"), *top.glob("clones/*.lock")]):
            if not held.enter_context(caches.locked(lock, 0)):
                raise _busy()
        if any(folders.is_held(one) for one in top.glob(f"*/{folders.ASIDE}*")):
            raise _busy()
        before = kept()
        with folders.aside(top) as bin_:
            for name in caches.FOLDERS:
                (bin_ / name).mkdir()
                for entry in _entries(top / name):
                    if entry.is_dir():
                        keeping.mended(entry)  # only who may write into a folder can move it
                    if os.path.lexists(entry):
                        entry.rename(bin_ / name / entry.name)
    return before


def _busy() -> Outside:
    return Outside("another process is at work in the cache; nothing was deleted", "the same again, later")


def _is_ours(top: Path) -> bool:
    try:
        return "gitreg" in (top / caches.TAG).read_text()
    except OSError:
        return False


def _entries(folder: Path) -> Iterator[Path]:
    """Without locks, which processes may be waiting for, and without what is being made."""
    if folder.is_dir() and not folder.is_symlink():
        yield from (one for one in sorted(folder.iterdir()) if one.suffix != ".lock" and one.name[0] != ".")


def _files(entry: Path) -> Iterator[Path]:
    if entry.is_dir() and not entry.is_symlink():
        for where, _, names in trees.walk(entry):
            yield from (Path(where, name) for name in names)
    else:
        yield entry


def _size(file: Path, seen: set[tuple[int, int]]) -> int:
    try:
        said = file.lstat()
    except OSError:  # gone meanwhile
        return 0
    if stat.S_ISREG(said.st_mode) and (said.st_dev, said.st_ino) in seen:
        return 0
    seen.add((said.st_dev, said.st_ino))
    return said.st_size
