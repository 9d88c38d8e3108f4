"""Removes and walks folders of any depth: a commit, an archive or a model can make them thousands deep.

What recurses ends in a RecursionError at about a thousand folders, and the names of about four thousand bytes
of path are refused by the system. So nothing here recurses without a bound, and what is removed is reached by
open folders and not by paths. No link is followed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# So many folders are open at once; what lies deeper is moved up first.
_DEEPEST = 50

Failed = Callable[[OSError], None]


def remove(folder: str | Path, dir_fd: int | None = None, ignore_errors: bool = False) -> None:
    """Remove a folder and all that is in it, whatever its depth; closed folders of one's own are opened.

    Args:
        dir_fd: the open folder that `folder` is relative to.
        ignore_errors: leave what cannot be removed, and say nothing.

    Raises:
        OSError: something cannot be removed; or `folder` is none, or a link.
    """

    def failed(error: OSError) -> None:
        if not ignore_errors:
            raise error

    try:
        top = _opened(folder, dir_fd)
        try:
            while _emptied(top, top, 0, failed):
                pass
        finally:
            os.close(top)
        os.rmdir(folder, dir_fd=dir_fd)
    except OSError as error:
        failed(error)


def walk(top: str | Path, failed: Failed | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder at and below a path, its folders, and all else in it, links too.

    As `os.walk`, which recurses before Python 3.12.

    Args:
        failed: is told of folders that cannot be read; by default they are left out.
    """
    todo = [os.fspath(top)]
    while todo:
        where = todo.pop()
        try:
            with os.scandir(where) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError as error:
            if failed:
                failed(error)
            continue
        below = [name for name, is_folder in found if is_folder]
        yield where, below, [name for name, is_folder in found if not is_folder]
        todo += [os.path.join(where, name) for name in reversed(below)]


def _emptied(folder: int, top: int, depth: int, failed: Failed) -> bool:
    """Remove what is in an open folder; whether some of it was moved up to the top, to be removed next."""
    moved = False
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        try:
            if not is_folder:
                os.unlink(name, dir_fd=folder)
            elif depth == _DEEPEST:
                os.rename(name, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=top)
                moved = True
            else:
                inside = _opened(name, folder)
                try:
                    moved |= _emptied(inside, top, depth + 1, failed)
                finally:
                    os.close(inside)
                os.rmdir(name, dir_fd=folder)
        except FileNotFoundError:
            continue  # somebody else removes it, too
        except OSError as error:
            failed(error)
    return moved


def _opened(folder: str | Path, dir_fd: int | None) -> int:
    """A folder, open to be emptied; one that is closed to its owner is opened first."""
    try:
        opened = os.open(folder, _FOLDER, dir_fd=dir_fd)
    except PermissionError:
        if sys.platform != "linux":
            raise
        place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            os.chmod(f"/proc/self/fd/{place}", 0o700)  # the folder itself, whatever has its name by now
        finally:
            os.close(place)
        return os.open(folder, _FOLDER, dir_fd=dir_fd)
    if os.fstat(opened).st_mode & 0o300 != 0o300:
        with contextlib.suppress(OSError):
            os.fchmod(opened, 0o700)
    return opened
