"""Writes below a folder whose content may be a stranger's: never through a symbolic link.

Git keeps symbolic links, so a branch or an old commit can put one anywhere in a work tree. Each component of
a path below the folder is opened relative to the one above it, without following links (`openat` with
O_NOFOLLOW), so that what is checked is what is written into. The folder itself is the caller's word.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from gitreg import trees
from gitreg.errors import Refused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def replace(root: Path, file: str | Path, data: bytes, aside: Path | None = None) -> None:
    """Write a file anew, whole or not at all; its mode stays, and folders that are missing are made.

    Args:
        root: the folder that is trusted.
        file: relative to it, or below it.
        aside: where the new content is made first, on the same file system; by default beside the file.

    Raises:
        Refused: the file, or a folder on the way to it, is a link.
    """
    parts = _parts(root, file)
    with _folder(root, parts[:-1], make=True) as folder:
        name, mode = parts[-1], _mode(root, parts, folder)
        if aside is not None and _moved(aside, data, mode, folder, name):
            return
        fresh = f".gitreg-write-{secrets.token_hex(4)}"
        try:
            with open(os.open(fresh, _NEW, 0o666, dir_fd=folder), "wb") as stream:
                _fill(stream, data, mode)
            os.replace(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh, dir_fd=folder)
            raise


def create(root: Path, file: str | Path, data: bytes) -> None:
    """Write a file that is not there yet; folders that are missing are made.

    Raises:
        Refused: there is something at its path, or a folder on the way to it is a link.
    """
    with creating(root, file) as stream:
        stream.write(data)


@contextlib.contextmanager
def creating(root: Path, file: str | Path) -> Iterator[BinaryIO]:
    """A file that is not there yet, open for its content; see `create`."""
    parts = _parts(root, file)
    with _folder(root, parts[:-1], make=True) as folder:
        try:
            descriptor = os.open(parts[-1], _NEW, 0o666, dir_fd=folder)
        except FileExistsError:
            raise _in_the_way(root, parts) from None
    with open(descriptor, "wb") as stream:
        yield stream


def copy(source: Path, root: Path, file: str | Path) -> None:
    """Copy a file to a path where nothing is yet; see `create`."""
    with open(source, "rb") as origin, creating(root, file) as stream:
        shutil.copyfileobj(origin, stream, _CHUNK)


def append(root: Path, file: str | Path, data: bytes) -> None:
    """Add to the end of a file, which is made if there is none.

    Raises:
        Refused: the file, or a folder on the way to it, is a link.
    """
    parts = _parts(root, file)
    with _folder(root, parts[:-1], make=True) as folder:
        _mode(root, parts, folder)
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(parts[-1], how, 0o666, dir_fd=folder), "ab") as stream:
            stream.write(data)


@contextlib.contextmanager
def kept(root: Path, file: str | Path) -> Iterator[IO[str]]:
    """A file that is made if there is none, open to be read and added to; refused as by `append`."""
    parts = _parts(root, file)
    with _folder(root, parts[:-1], make=True) as folder:
        _mode(root, parts, folder)
        how = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(parts[-1], how, 0o666, dir_fd=folder)
    with open(descriptor, "a+") as stream:
        yield stream


def make_folder(root: Path, folder: str | Path) -> None:
    """Make a folder, and those above it that are missing.

    Raises:
        Refused: one of them is a link, or a file.
    """
    with _folder(root, _parts(root, folder), make=True):
        pass


def remove(root: Path, path: str | Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; nothing where there is nothing.

    Raises:
        Refused: a folder on the way to it is a link.
    """
    parts = _parts(root, path)
    try:
        with _folder(root, parts[:-1], make=False) as folder:
            if stat.S_ISDIR(os.lstat(parts[-1], dir_fd=folder).st_mode):
                trees.remove(parts[-1], dir_fd=folder)
            else:
                os.unlink(parts[-1], dir_fd=folder)
    except FileNotFoundError:
        pass


def refuse_links(root: Path, *paths: str | Path) -> None:
    """Raise Refused where a path below a folder, as far as it is there, goes through a link or is one."""
    found = dict.fromkeys(link for path in paths if (link := link_in(root, path)))
    if found:
        raise Refused((_of_link(root.joinpath(link)) for link in found), _hint(root, [*found]))


def link_in(root: Path, path: str | Path) -> str | None:
    """The first part of a path below a folder that is a link, relative to the folder; None without one."""
    parts = _parts(root, path)
    for i in range(1, len(parts) + 1):
        try:
            mode = os.lstat(root.joinpath(*parts[:i])).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(mode):
            return "/".join(parts[:i])
    return None


def _parts(root: Path, path: str | Path) -> tuple[str, ...]:
    """The names that lead from a folder to a path."""
    path = Path(path)
    relative = path.relative_to(root) if path.is_absolute() else path
    if ".." in relative.parts:
        raise Refused(f"{path} leads out of {root}")
    return relative.parts


@contextlib.contextmanager
def _folder(root: Path, parts: tuple[str, ...], make: bool) -> Iterator[int]:
    """A folder, open; each of its parts was opened without following a link."""
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for i, name in enumerate(parts):
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=here)
            try:
                below = os.open(name, _FOLDER, dir_fd=here)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
                    raise _in_the_way(root, parts[: i + 1]) from None
                raise
            os.close(here)
            here = below
        yield here
    except OSError as error:
        if error.errno in _OF_DISKS and not os.path.isabs(os.fsdecode(error.filename or "")):
            error.filename = str(root.joinpath(*parts))  # what was opened was relative to a descriptor
        raise
    finally:
        os.close(here)


def _mode(root: Path, parts: tuple[str, ...], folder: int) -> int | None:
    """The mode of a file; None where there is none.

    Raises:
        Refused: it is a link, or no file.
    """
    try:
        mode = os.lstat(parts[-1], dir_fd=folder).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise _in_the_way(root, parts)
    return stat.S_IMODE(mode)


def _fill(stream: BinaryIO, data: bytes, mode: int | None) -> None:
    stream.write(data)
    if mode is not None:
        os.fchmod(stream.fileno(), mode)


def _moved(aside: Path, data: bytes, mode: int | None, folder: int, name: str) -> bool:
    """Make a file aside and rename it into a folder; whether both are on one file system."""
    with open(aside, "wb") as stream:
        _fill(stream, data, mode)
    try:
        os.replace(aside, name, dst_dir_fd=folder)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _in_the_way(root: Path, parts: tuple[str, ...]) -> Refused:
    """What to say of something that is no file, or no folder, of its own."""
    place = root.joinpath(*parts)
    if place.is_symlink():
        return Refused(_of_link(place), _hint(root, ["/".join(parts)]))
    if place.is_dir():
        return Refused(f"{place} is a folder, and a file goes there", "move it away")
    return Refused(f"{place} exists already", "move it away")


def _of_link(place: Path) -> str:
    return f"{place} is a symbolic link to {os.readlink(place)!r}: gitreg writes through none in a repository"


def _hint(root: Path, links: list[str]) -> str:
    names = " ".join(shlex.quote(str(root.joinpath(link))) for link in links)
    return f"rm {names}, and put a file or folder of its own there"
