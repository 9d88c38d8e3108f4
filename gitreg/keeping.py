"""Folders and files that gitreg keeps for itself, in the cache and in `.git/gitreg`, as they should be.

Nothing in them is needed for ever, and something else may have come into the place of one. A link is removed
and never followed, so that nothing is read or written where it leads. A folder that its owner cannot enter is
opened. Anything else is not from gitreg: it stays, and the error says what to do.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from gitreg.errors import Outside

_TRIES = 5


def folder(place: Path) -> Path:
    """A folder of gitreg's own, which is made if it is not there.

    Raises:
        Outside: something else is there, or it cannot be made.
    """
    for _ in range(_TRIES):
        mended(place)
        try:
            place.mkdir(parents=True, exist_ok=True)
            return place
        except FileExistsError:
            continue  # a link that has just come: nothing else is left by `mended`
        except OSError as error:
            raise _refused(place, error) from None
    raise Outside(f"{place}: something makes links in its place", "look what does")


def mended(place: Path) -> Path:
    """The place of a folder of gitreg's own, at which there is such a folder or nothing.

    Raises:
        Outside: something else is there, or a link cannot be removed.
    """
    try:
        status = os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return place
    except OSError as error:
        raise _refused(place, error) from None
    if stat.S_ISLNK(status.st_mode):
        _remove_link(place)
    elif not stat.S_ISDIR(status.st_mode):
        raise Outside(
            f"{place} is not a folder; gitreg keeps a folder of its own there", f"move {place} away"
        )
    elif status.st_mode & 0o500 != 0o500 and status.st_uid == os.geteuid():
        with suppress(OSError):
            os.chmod(place, stat.S_IMODE(status.st_mode) | 0o700)
    return place


def file(place: Path) -> Path:
    """The place of a file of gitreg's own, at which there is a file or nothing.

    Raises:
        Outside: something else is there, or a link cannot be removed.
    """
    try:
        mode = os.lstat(place).st_mode
    except OSError:
        return place
    if stat.S_ISLNK(mode):
        _remove_link(place)
    elif not stat.S_ISREG(mode):
        raise _no_file(place)
    elif mode & 0o400 == 0:
        _let_in(place)
    return place


def database(place: Path) -> Path:
    """The place of an SQLite file of gitreg's own, in a folder of its own, without links.

    Raises:
        OSError: something else is there, or a link cannot be removed.
    """
    try:
        folder(place.parent)
        for ending in ("", "-wal", "-shm", "-journal"):
            file(place.with_name(place.name + ending))
    except Outside as error:
        raise OSError(error.message) from None
    return place


def opened(place: Path, flags: int = os.O_WRONLY) -> int:
    """A descriptor of a file of gitreg's own, to lock it or to append to it; it is made if it is not there.

    Raises:
        Outside: something else is there, or it cannot be opened.
    """
    flags |= os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for _ in range(_TRIES):
        try:
            descriptor = os.open(place, flags, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP and place.is_symlink():
                _remove_link(place)
                continue
            if error.errno == errno.EACCES and _let_in(place):
                continue
            if error.errno in (errno.EISDIR, errno.ENXIO):
                break
            raise _refused(place, error) from None
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        break
    raise _no_file(place)


def _no_file(place: Path) -> Outside:
    return Outside(f"{place} is not a file; gitreg keeps a file of its own there", f"move {place} away")


def _let_in(place: Path) -> bool:
    """Let the owner of a file read and write it; whether that was not so."""
    try:
        status = os.lstat(place)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o600 == 0o600:
            return False
        os.chmod(place, stat.S_IMODE(status.st_mode) | 0o600)
    except OSError:
        return False
    return True


def _remove_link(place: Path) -> None:
    try:
        os.unlink(place)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused(place, error) from None


def _refused(place: Path, error: OSError) -> Outside:
    said = f"{place}: {error.strerror}"
    return Outside(said, f"look who may write to {place.parent}")
