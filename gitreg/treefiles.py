"""Reads the files of a registry that gitreg also reads from commits: plain files, with no link on the way.

A commit holds of a symbolic link the name that it leads to, of a submodule an id, and of a file in Git LFS a
pointer. `plan`, `apply` and `list` read commits without a checkout, and would see other content there than
what lies on disk. So such files are refused wherever the work tree is read. Nothing here waits for a named
pipe.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

from gitreg.errors import InvalidFiles, Problem

MOST = 1 << 20
MOST_POINTER = 1024
_POINTER = re.compile(rb"version https://(git-lfs\.github\.com|hawser\.github\.com)/spec/")
_WHY = "gitreg reads this file from commits, where links lead nowhere"
SUBMODULE = "is a submodule, of which a commit holds only an id; put the files themselves there"
_SIZE = "{size:,} bytes; at most {most:,} are read"


def read(root: Path, file: str, most: int = MOST, rule: str = _SIZE) -> bytes:
    """Returns the content of a file that gitreg also reads from commits.

    Args:
        root: the registry's root.
        file: relative to it; what problems call the file.
        most: bytes; a longer file is refused.
        rule: what is said of a longer one, with places for `size` and `most`.

    Raises:
        InvalidFiles: it is a link, lies behind one, or is no file that can be read.
    """
    if mistake := link_mistake(root, file):
        raise InvalidFiles([Problem(file, 0, 0, "", mistake)])
    return _content(f"{root}/{file}", file, most, rule, os.O_NOFOLLOW)


def follow(path: Path, file: str, most: int, rule: str = _SIZE) -> bytes:
    """Returns the content of a file that a manifest names; it may be a link.

    Args:
        file: what problems call it.

    Raises:
        InvalidFiles: it is no file that can be read.
    """
    return _content(path, file, most, rule, 0)


def link_mistake(root: Path, file: str) -> str | None:
    """Returns why a path may not be read from commits: it is a link, or lies behind one; None if neither."""
    top, at = f"{root}/", -1
    while at < len(file):
        at = file.find("/", at + 1)
        at = at if at >= 0 else len(file)
        try:
            if not stat.S_ISLNK(os.lstat(top + file[:at]).st_mode):
                continue
        except OSError:  # there is nothing, or it cannot be told: reading it says so
            return None
        if at < len(file):
            return f"lies behind the symbolic link '{file[:at]}'; {_WHY}: put the folder itself there"
        return f"is a symbolic link to {os.readlink(top + file)!r}; {_WHY}: put the file itself there"
    return None


def is_pointer(raw: bytes) -> bool:
    """Whether a file's content is what Git LFS puts in the place of the real one."""
    return len(raw) < MOST_POINTER and bool(_POINTER.match(raw))


def pointer_mistake() -> str:
    """Returns what is wrong with a file of which only the pointer of Git LFS is there."""
    return "is a pointer of Git LFS, not the file: keep the file in Git itself, or track it with DVC"


def submodules_of(root: Path, paths: Iterable[str], submodules: Collection[str]) -> list[str]:
    """The submodules that some files, by their whole paths, lie in: relative to the root, sorted."""
    top = f"{root}/"
    files = [path.removeprefix(top) for path in paths if path.startswith(top)]
    every = {file[: found.start()] for file in files for found in re.finditer("/", file)} | {*files}
    return sorted(every & {*submodules})


def _content(path: str | Path, file: str, most: int, rule: str, flags: int) -> bytes:
    mistake = None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                mistake = "is neither a file nor a folder"
            else:
                raw = stream.read(most + 1)
                size = max(status.st_size, len(raw))
    except OSError as error:
        special = error.errno in (errno.ENXIO, errno.EOPNOTSUPP)  # a socket
        mistake = "is neither a file nor a folder" if special else f"cannot be read: {error.strerror}"
    if not mistake and size > most:
        mistake = rule.format(size=size, most=most)
    if not mistake and is_pointer(raw):
        mistake = pointer_mistake()
    if mistake:
        raise InvalidFiles([Problem(file, 0, 0, "", mistake)])
    return raw
