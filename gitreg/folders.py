"""Folders that appear whole or not at all, and files that are linked where they can be.

A folder is built aside, in a hidden folder of the same file system, and renamed into place. The
hidden folder holds a lock for as long as its builder lives; what a killed builder left is found by its
free lock and removed by the next one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from gitreg.errors import Outside, Refused

ASIDE = ".gitreg-aside-"
_STARTING = ".gitreg-starting-"
_STARTED_BY_NOW = 60.0
_FICLONE = 0x40049409
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_CHUNK = 1 << 20


@contextlib.contextmanager
def aside(beside: Path) -> Iterator[Path]:
    """A new empty folder, hidden in `beside`, that is gone when the block ends.

    Move what should stay out of it with `put`. Raises Outside when the disk is full or refuses.
    """
    with _disk(beside):
        beside.mkdir(parents=True, exist_ok=True)
        sweep(beside)
        starting = Path(tempfile.mkdtemp(prefix=_STARTING, dir=beside))
    folder = starting
    try:
        with _disk(beside), open(starting / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Named as a builder's only once it is locked, so that no sweep takes it for a dead one's.
            folder = beside / starting.name.replace(_STARTING, ASIDE)
            os.rename(starting, folder)
            (folder / "new").mkdir()
            yield folder / "new"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _disk(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Outside(
                f"no space left on the disk of {where}", "free some space and run this again"
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise Outside(f"{error.filename or where}: {error.strerror}") from error
        raise


def sweep(beside: Path) -> None:
    """Remove the hidden folders of builders that are no longer alive."""
    for folder in beside.glob(f"{ASIDE}*"):
        if is_dead(folder):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in beside.glob(f"{_STARTING}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STARTED_BY_NOW:
                shutil.rmtree(folder, ignore_errors=True)


def is_dead(folder: Path) -> bool:
    """Whether nobody builds in a hidden folder any more."""
    try:
        with open(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where a builder lives
    except FileNotFoundError:
        return True  # it has a lock for as long as it has its name: somebody was, or is, removing it
    except OSError:
        return False
    return True


def put(new: Path, destination: Path) -> None:
    """Rename a folder into place; one that stands there is exchanged for it and removed.

    The caller has made sure that what stands there is gitreg's own. The exchange is one system call
    on Linux; elsewhere there is a moment without the folder, never one with half of it.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(new, destination)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    if not _exchange(new, destination):
        old = new.with_name(new.name + ".old")
        os.rename(destination, old)
        os.rename(new, destination)
        new = old
    shutil.rmtree(new)


def _exchange(one: Path, other: Path) -> bool:
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def write(file: Path, data: bytes) -> None:
    """Write a small file with a fixed mode, whatever the umask."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    file.chmod(0o644)


def replace(file: Path, data: bytes) -> None:
    """Write a file of the user's anew, whole or not at all; its mode stays."""
    mode = file.stat().st_mode & 0o7777 if file.exists() else 0o666 & ~_umask()
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(descriptor, "wb") as stream:
            stream.write(data)
        os.chmod(name, mode)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def link(source: Path, target: Path, share: bool) -> None:
    """Make `target` hold the bytes of `source`: reflink, hard link, copy, in that order; mode 0444.

    Args:
        share: whether a hard link is allowed at all. Even then it is made only when `source` is
            read-only for all, so that nobody can write into it through the link.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if can_reflink(source, target):
        target.chmod(0o444)
        return
    status = source.stat()
    if share and status.st_mode & 0o777 == 0o444:
        try:
            os.link(source, target)
            return
        except OSError as error:
            # Another file system, or no hard links here (or no more of them): copy.
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                raise
    shutil.copyfile(source, target)
    target.chmod(0o444)


def can_reflink(source: Path, target: Path) -> bool:
    """Make `target` a reflink of `source`, where the file system has them; whether it did."""
    if sys.platform != "linux":
        return False
    with open(source, "rb") as src, open(target, "xb") as dst:
        try:
            fcntl.ioctl(dst.fileno(), _FICLONE, src.fileno())
            return True
        except OSError:
            pass
    os.unlink(target)
    return False


def digests(file: Path) -> tuple[str, str]:
    """(md5, sha256) of a file in hex, both computed in one pass over it on two threads."""
    if file.stat().st_size < _CHUNK:
        data = file.read_bytes()
        return hashlib.md5(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest()
    found: dict[str, str] = {}

    def compute() -> None:
        found["sha256"] = _digest(file, hashlib.sha256())

    other = threading.Thread(target=compute)
    other.start()
    md5 = _digest(file, hashlib.md5(usedforsecurity=False))
    other.join()
    return md5, found["sha256"] if "sha256" in found else sha256(file)


def sha256(file: Path) -> str:
    """The SHA-256 of a file in hex."""
    return _digest(file, hashlib.sha256())


def _digest(file: Path, state: hashlib._Hash) -> str:
    buffer = memoryview(bytearray(_CHUNK))
    with open(file, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            state.update(buffer[:count])
    return state.hexdigest()


def tree_files(folder: Path, bytecode: bool = False) -> list[str]:
    """Every file below a folder, relative, with forward slashes, sorted.

    Args:
        bytecode: whether what Python itself keeps in `__pycache__` counts.

    Raises:
        Refused: something below is neither a file nor a folder (a link, a device).
    """
    found: list[str] = []
    todo = [folder]
    while todo:
        current = todo.pop()
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(Path(entry.path))
                elif not bytecode and entry.name.endswith(".pyc") and current.name == "__pycache__":
                    continue
                elif entry.is_file(follow_symlinks=False):
                    found.append(Path(entry.path).relative_to(folder).as_posix())
                else:
                    raise Refused(f"{entry.path} is neither a file nor a folder")
    return sorted(found)
