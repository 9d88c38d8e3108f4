"""The folder that gitreg keeps for all registries of a user, and the locks by which processes share it.

Everything in it can be deleted at any time. Code from it is run, so nobody else may be able to write there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gitreg import keeping
from gitreg.errors import Outside, Refused

# What is kept: a folder, and what it holds for a user.
FOLDERS = {
    "clones": "registries elsewhere, without the content of files",
    "artifacts": "artifacts that were asked for",
    "packages": "raw packages of versions that were loaded",
    "versions": "which package a version is in",
    "environments": "Python environments with what models require",
    "locks": "empty files that processes lock",
    "scratch": "what is laid out for a moment",
}
TAG = "CACHEDIR.TAG"
_SIGNED = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# The cache of gitreg; `gitreg cache clear` empties it.\n"
)


def top() -> Path:
    """The cache: `$GITREG_CACHE`, else where programs of this user keep such things."""
    return Path(os.environ.get("GITREG_CACHE") or _usual()).expanduser().absolute()


def place(name: str) -> Path:
    """One of the folders in the cache.

    Raises:
        Refused: everybody may write there.
        Outside: it cannot be made.
    """
    cache = top()
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = cache.stat().st_mode
        if not cache.is_symlink():
            keeping.mended(cache)
        _tag(cache)
    except OSError as error:
        why = "is no folder" if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP) else error.strerror
        raise Outside(f"the cache {cache}: {why}", "set GITREG_CACHE to a folder of your own") from None
    if mode & stat.S_IWOTH:
        raise Refused(
            f"everybody may write to the cache {cache}, and code in it is run", f"chmod o-w {cache}"
        )
    return keeping.folder(cache / name)


def entry(name: str, key: str) -> Path:
    """The place of a folder in one of the folders of the cache; what is there is a folder, and no link.

    Raises:
        Refused, Outside: as of `place`; or it is neither, and stays.
    """
    return keeping.mended(place(name) / key)


def _tag(cache: Path) -> None:
    """Say to backups, and to who clears it, what the folder is: https://bford.info/cachedir/"""
    tag = cache / TAG
    if not tag.exists() and {one.name for one in cache.iterdir()} <= FOLDERS.keys():
        with suppress(OSError):  # it may be read only
            tag.write_text(_SIGNED)


def _usual() -> str:
    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        return f"{home}/gitreg"
    import platformdirs

    return platformdirs.user_cache_dir("gitreg")


def is_offline(said: bool | None = None) -> bool:
    """Whether no network is to be used: as a caller says, else by `GITREG_OFFLINE`."""
    return said if said is not None else os.environ.get("GITREG_OFFLINE", "0") not in ("", "0")


@contextmanager
def locked(file: Path, seconds: float, shared: bool = False) -> Iterator[bool]:
    """Hold a lock that ends with this process, however it ends.

    Args:
        seconds: how long to wait for it.
        shared: others may hold it, too, if they share it as well.

    Yields:
        Whether it is held.

    Raises:
        Outside: something that is no file is there, or it cannot be opened.
    """
    with open(keeping.opened(file), "a") as stream:
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    yield False
                    return
                time.sleep(0.02)
        yield True
