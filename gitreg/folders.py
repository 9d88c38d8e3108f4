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
import shlex
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gitreg import trees
from gitreg.errors import Outside, Refused

ASIDE = ".gitreg-aside-"
_STARTING = ".gitreg-starting-"
# Not hidden: who looks for what fills a disk finds it.
TEMPORARY = "gitreg-run-"
_TEMPORARY_STARTING = "gitreg-starting-"
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
    with disk(beside):
        beside.mkdir(parents=True, exist_ok=True)
        folder, lock = _begun(beside, _STARTING, ASIDE)
    with disk(beside), _gone_after(folder, lock):
        yield folder / "new"


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """A new empty folder below `$TMPDIR` that is gone when the block ends, or else with the next one.

    Raises:
        Outside: there is no place for temporary files.
        OSError: the disk is full.
    """
    try:
        folder, lock = _begun(Path(tempfile.gettempdir()), _TEMPORARY_STARTING, TEMPORARY)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = error.filename or "temporary files"
        raise Outside(
            f"{where}: {error.strerror}", "have TMPDIR name a folder that you can write to"
        ) from None
    with _gone_after(folder, lock):
        yield folder / "new"


def _begun(beside: Path, starting: str, name: str) -> tuple[Path, IO[str]]:
    """Make a folder with a lock that lasts as long as this process, or until it is closed."""
    _sweep(beside, starting, name)
    made = Path(tempfile.mkdtemp(prefix=starting, dir=beside))
    folder = made
    try:
        lock = open(made / "lock", "w")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Named as a builder's only once it is locked, so that no sweep takes it for a dead one's.
            folder = beside / made.name.replace(starting, name)
            os.rename(made, folder)
            (folder / "new").mkdir()
        except BaseException:
            lock.close()
            raise
    except BaseException:
        remove(folder)
        raise
    return folder, lock


@contextlib.contextmanager
def _gone_after(folder: Path, lock: IO[str]) -> Iterator[None]:
    try:
        with lock:
            yield
    finally:
        remove(folder)


@contextlib.contextmanager
def disk(where: Path) -> Iterator[None]:
    """Raises Outside for a disk that is full or refuses."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(where) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO):
            place = where / os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else where
            hint = f"may you write there? ls -ld {shlex.quote(str(where))}"
            raise Outside(f"{place}: {error.strerror}", hint) from error
        raise


def no_space(where: Path) -> Outside:
    """The error of a disk that is full."""
    return Outside(f"no space left on the disk of {where}", "free some space and run this again")


def sweep(beside: Path) -> None:
    """Remove the hidden folders of builders that are no longer alive."""
    _sweep(beside, _STARTING, ASIDE)


def sweep_temporary() -> None:
    """Remove what killed processes of this user left below `$TMPDIR`, if there is such a folder."""
    with contextlib.suppress(OSError):
        _sweep(Path(tempfile.gettempdir()), _TEMPORARY_STARTING, TEMPORARY)


def _sweep(beside: Path, starting: str, name: str) -> None:
    """Remove what killed processes of this user left; others may write beside it, and names prove nothing."""
    try:
        names = os.listdir(beside)  # once: a folder for temporary files may be large
    except OSError:
        return
    for folder in [beside / one for one in names if one.startswith((name, starting))]:
        if folder.name.startswith(name):
            if is_dead(folder):
                remove(folder)
            continue
        with contextlib.suppress(OSError):
            if is_own(folder) and time.time() - folder.lstat().st_mtime > _STARTED_BY_NOW:
                remove(folder)


def is_own(folder: Path) -> bool:
    """Whether a path is a folder, and no link to one, of the user who runs this."""
    try:
        said = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(said.st_mode) and said.st_uid == os.geteuid()


def is_dead(folder: Path) -> bool:
    """Whether a folder of this user's is a builder's that no longer lives."""
    return is_own(folder) and _lock_is_free(folder) is True


def is_held(folder: Path) -> bool:
    """Whether a builder lives that has a hidden folder."""
    return _lock_is_free(folder) is False


def _lock_is_free(folder: Path) -> bool | None:
    """Whether a hidden folder's lock is free; None where that cannot be told."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        top = os.open(folder, flags | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        with open(os.open("lock", flags | os.O_NONBLOCK, dir_fd=top)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where a builder lives
    except FileNotFoundError:
        return True  # it has a lock for as long as it has its name: somebody was, or is, removing it
    except BlockingIOError:
        return False
    except OSError:
        return None
    finally:
        os.close(top)
    return True


def remove(folder: Path) -> None:
    """Remove a folder and what is in it, as far as it can be, if need be by opening closed folders first."""
    trees.remove(folder, ignore_errors=True)


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
    if not exchange(new, destination):
        old = new.with_name(new.name + ".old")
        os.rename(destination, old)
        os.rename(new, destination)
        new = old
    trees.remove(new)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two paths in one step; whether that was done, which only Linux can."""
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
        with _scanned(current) as entries:
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


@contextlib.contextmanager
def _scanned(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            yield entries
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise Refused(f"{str(folder)[:200]}...: its path is longer than this machine can open") from None
