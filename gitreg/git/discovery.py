"""Finds the repository that a folder is in, without Git.

Git takes any folder with `HEAD`, `objects` and `refs` for a bare repository and obeys the `config` in it,
which may name commands. Everybody can commit such files; nobody can commit a `.git`, which Git never checks
out. So only a `.git` counts here, and a bare repository only where gitreg knows that it is one.
See "safe.bareRepository" in `git help config`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gitreg.errors import Refused

# Bare clones that gitreg made: they may have been copied with a cache, as into an image, and then be owned by
# somebody else, of whose repositories Git would read none that it has to find by itself.
CLONES: set[Path] = set()
# Bare repositories that the user named, or that a hook runs for.
BARE: set[Path] = set()

SIGNS = ("HEAD", "objects", "refs")
# Characters that HFS+ leaves out of names; see `core.protectHFS` in `git help config`.
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


class Planted(Refused):
    """A folder of a checkout looks like a repository.

    Args:
        signs: the entries by which it does.
        commit: the commit that the folder was laid out of.
    """

    def __init__(self, folder: Path, signs: Sequence[str] = SIGNS, commit: str = "") -> None:
        found = find(folder) if commit else None
        where = f"commit {commit[:12]}: {_below(folder, found.top)}" if found and found.top else str(folder)
        super().__init__(
            f"{where} holds {', '.join(signs[:-1])} and {signs[-1]}, as a Git repository does: Git, DVC and "
            "your shell would take it for one, and run what its config says",
            "start no Git in that folder; remove them, and find out who committed them",
        )


class Found(NamedTuple):
    """A repository.

    Attributes:
        folder: for Git's `--git-dir`: a bare repository, or the `.git` of a work tree, which may be a file.
        top: the work tree's top folder; None for a bare repository.
    """

    folder: Path
    top: Path | None


def find(root: Path) -> Found | None:
    """Returns the repository of a folder: of the first folder upwards with an entry `.git`; never a bare one
    that is not known to be one."""
    if root in CLONES or root in BARE:
        return Found(Path(os.path.abspath(root)), None)
    for folder in _upwards(root):
        entry = os.path.join(folder, ".git")
        if os.path.lexists(entry):
            return Found(Path(entry), Path(folder))
    return None


def _below(folder: Path, top: Path) -> str:
    return Path(os.path.realpath(folder)).relative_to(top).as_posix()


def is_owned(found: Found) -> bool:
    """Returns whether all that Git itself would look at belongs to whoever runs this: the work tree's top,
    its `.git`, and the folder that a file `.git` names. See "safe.directory" in `git help config`."""
    users = {os.geteuid()}
    if users == {0} and os.environ.get("SUDO_UID", "").isdecimal():
        users.add(int(os.environ["SUDO_UID"]))
    try:
        places = [found.folder, *([found.top] if found.top else [])]
        if os.path.isfile(found.folder):
            with open(found.folder, "rb") as file:
                said = file.read(1 << 16).removeprefix(b"gitdir: ").rstrip(b"\r\n")
            places.append(found.folder.parent / os.fsdecode(said))
        return all(stat.st_uid in users for one in places for stat in (os.lstat(one), os.stat(one)))
    except (OSError, ValueError):
        return False  # Git has a word for it


def looks_bare(folder: Path) -> bool:
    """Returns whether a folder is a bare repository's, by what is in it."""
    return all((folder / name).exists() for name in (*SIGNS, "config"))


def refuse_planted(start: Path, folded: bool = False, commit: str = "") -> None:
    """Raises Planted where a folder looks like a repository: one from `start` up to the work tree's top.

    gitreg's own Git is not misled by it. DVC, other programs and the user's shell are.

    Args:
        folded: whether names count that are the same on other file systems, as those of macOS.
        commit: the commit that the folder was laid out of.
    """
    for folder in _upwards(start):
        top = os.path.lexists(os.path.join(folder, ".git"))
        if signs := _signs(folder, top, folded):
            raise Planted(Path(folder), signs, commit)
        if top:
            return


def _signs(folder: str, top: bool, folded: bool) -> list[str]:
    """The entries by which some program would take a folder for a repository; empty where none would."""
    known: dict[str, str] = {}
    if folded:
        with suppress(OSError):  # a folder above that only lets one through
            known = {_IGNORED.sub("", name).casefold(): name for name in os.listdir(folder)}

    def there(name: str) -> str:
        exact = os.path.lexists(os.path.join(folder, name))
        return name if exact else known.get(name.casefold(), "")

    # Git looks for objects and refs where a file `commondir` says, if there is one. dulwich, with which DVC
    # reads Git, needs no HEAD; what has a `.git` besides is that one to it.
    for wanted in (("HEAD", "commondir"), SIGNS, ("objects", "refs")):
        found = [name for name in map(there, wanted) if name]
        if len(found) == len(wanted) and ("HEAD" in wanted or (_are_folders(folder, found) and not top)):
            return found
    return []


def _are_folders(folder: str, names: Sequence[str]) -> bool:
    return all(os.path.isdir(os.path.join(folder, name)) for name in names)


def _upwards(start: Path) -> Iterator[str]:
    folder = os.path.realpath(start)
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above
