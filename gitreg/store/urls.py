"""Data at addresses: what is there now, and a copy of it that is whole. Through DVC's own file systems.

A file is read in ranges: when a connection is lost, the next try goes on where the last one ended. What was
read is of one object: its etag is asked before and after. Credentials and endpoints are those of DVC and of
the cloud's own environment variables; a remote of DVC's configuration that lies at the address lends its
settings.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg.errors import GitregError, Outside, Refused
from gitreg.names import is_of_git
from gitreg.store import settings
from gitreg.store.remotes import quiet
from gitreg.store.troubles import explain, is_lost

if TYPE_CHECKING:
    from gitreg.store import Store

_CHUNK = 8 << 20
_LEAST = 128 << 10
_TRIES, _PAUSE = 6, 0.1
_CONNECT, _READ = 10, 30  # seconds, where nothing says otherwise
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class There:
    """What is at an address now.

    Attributes:
        files: path below the address -> (size in bytes or None, etag or None, version or None); the empty
            path where the address is a file.
    """

    url: str
    files: Mapping[str, tuple[int | None, str | None, str | None]] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        """Whether it is one file and no folder."""
        return list(self.files) == [""]

    @property
    def size(self) -> int:
        """Bytes of what has a known size."""
        return sum(size or 0 for size, _, _ in self.files.values())

    def dependency(self) -> dict[str, Any]:
        """The entry in `deps` that DVC itself writes for an import."""
        if self.is_file:
            size, etag, version = self.files[""]
            key = "checksum" if self.url.startswith(("http:", "https:")) else "etag"
            said = {key: etag, "version_id": version, "size": size, "hash": "md5", "path": self.url}
            return {name: value for name, value in said.items() if value is not None}
        entries = [{"etag": etag, "relpath": path} for path, (_, etag, _) in sorted(self.files.items())]
        listed = json.dumps(entries, sort_keys=True).encode()
        md5 = f"{hashlib.md5(listed, usedforsecurity=False).hexdigest()}.dir"
        return {"md5": md5, "size": self.size, "nfiles": len(self.files), "hash": "md5", "path": self.url}


class Source:
    """One address.

    Args:
        store: of the registry, whose DVC configuration counts.

    Raises:
        Outside: there is no plugin for such an address, or DVC's configuration is broken.
    """

    def __init__(self, store: Store, url: str) -> None:
        self.url = url
        with _outside(url):
            self.fs, self.path = _file_system(store, url)

    def look(self) -> There:
        """What is there now.

        Raises:
            Refused: nothing is.
            Outside: it cannot be told.
        """
        with _outside(self.url):
            info = _again(lambda: self.fs.info(self.path))
            if info.get("type") != "directory":
                return There(self.url, {"": _facts(info)})
            found = _again(lambda: self.fs.fs.find(self.path, detail=True))
        top = self.path.rstrip("/") + "/"
        files = {name.removeprefix(top): _facts(one) for name, one in found.items() if name.startswith(top)}
        for name in files:
            if {"", ".", ".."} & set(name.split("/")) or "\\" in name:
                raise Refused(f"{self.url}: the name {name!r} is not a path below it")
            if is_of_git(name):
                raise Refused(f"{self.url}: {name!r} is of a Git repository, and no part of a model")
        if not files:
            raise Refused(f"there is nothing at {self.url}")
        return There(self.url, files)

    def download(self, there: There, target: Path, told: Told | None = None) -> None:
        """Copy what is there to a path that is not there yet.

        Args:
            told: is told the bytes that are done, and all.

        Raises:
            Outside: it cannot be had, whole and as it was.
        """
        done = 0

        def step(count: int) -> None:
            nonlocal done
            done += count
            if told:
                told(done, there.size)

        for name, (size, _, _) in there.files.items():
            place = target / name if name else target
            place.parent.mkdir(parents=True, exist_ok=True)
            path = f"{self.path.rstrip('/')}/{name}" if name else self.path
            with _outside(self.url):
                self._copy(path, size, place, step)
        if self.look().dependency() != there.dependency():
            raise Outside(f"{self.url} was changed while it was read", "run this again")

    def _copy(self, path: str, size: int | None, place: Path, step: Callable[[int], None]) -> None:
        with open(place, "wb") as out:
            if size is None:  # a server that does not say how much there is
                data = _again(lambda: self.fs.fs.cat_file(path))
                out.write(data)
                return step(len(data))
            chunk, left = _CHUNK, _TRIES
            while out.tell() < size:
                start = out.tell()
                try:
                    data = self._range(path, start, min(start + chunk, size), size)
                except Exception as error:
                    left -= 1
                    if not left or not _may_pass(error):
                        raise
                    chunk = max(_LEAST, chunk // 2)  # on a line that breaks often, less comes in one piece
                    time.sleep(_PAUSE * 2 ** (_TRIES - left))
                    continue
                out.write(data)
                left = _TRIES
                step(len(data))

    def _range(self, path: str, start: int, end: int, size: int) -> bytes:
        data: bytes = self.fs.fs.cat_file(path, start=start, end=end)
        if len(data) == size and end - start < size:  # a server that knows no ranges
            data = data[start:end]
        if len(data) != end - start:
            raise ConnectionError(f"the connection ended at byte {start + len(data):,} of {size:,}")
        return data


def _facts(info: Mapping[str, Any]) -> tuple[int | None, str | None, str | None]:
    etag = info.get("ETag") or info.get("etag") or info.get("checksum")
    version = info.get("VersionId") or info.get("version_id")
    size = info.get("size")
    return (
        int(size) if size is not None else None,
        str(etag).strip('"') if etag else None,
        str(version) if version and version != "null" else None,
    )


def _again(function: Callable[[], Any]) -> Any:
    """Try what may fail for a moment, with a pause; what will not get better is not tried again."""
    for last in (False, False, True):
        try:
            return function()
        except Exception as error:
            if last or not _may_pass(error):
                raise
        time.sleep(4 * _PAUSE)


def _may_pass(error: Exception) -> bool:
    if is_lost(error) or isinstance(error, (PermissionError, GitregError)):
        return False
    names = " ".join(kind.__name__ for kind in type(error).__mro__)
    lasting = "Credentials|Profile|Config|ParamValidation|Certificate|SSL|InvalidRegion|NoRegion|TypeError"
    return not re.search(lasting, names) and "Forbidden" not in str(error)


class _outside:
    """Turns what a cloud's library raises into errors of gitreg's."""

    def __init__(self, url: str) -> None:
        self.url, self.quiet = url, quiet()

    def __enter__(self) -> None:
        self.quiet.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.quiet.__exit__(kind, error, trace)
        if error is None or isinstance(error, GitregError) or not isinstance(error, Exception):
            return
        if is_lost(error):
            raise Refused(f"there is nothing at {self.url}", "is the address right?") from error
        if isinstance(error, OSError) and error.filename and os.path.isabs(str(error.filename)):
            return  # the disk's, and not the cloud's
        trouble = explain(error)
        web = self.url.startswith(("http:", "https:"))
        hint = trouble.hint if web else _hint(error, trouble.why)
        raise Outside(f"{self.url}: {trouble.why}", hint) from error


def _hint(error: Exception, text: str) -> str:
    name = type(error).__name__
    plugin = re.search(r"requires '?(dvc-[a-z0-9]+)", text) or re.search(
        r"pip install '?dvc\[([a-z0-9]+)", text
    )
    if plugin:
        wanted = plugin[1] if plugin[1].startswith("dvc-") else f"dvc-{plugin[1]}"
        return f"pip install {wanted}"
    wrong = "Credentials", "Forbidden", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "401"
    if isinstance(error, PermissionError) or any(word in f"{name} {text}" for word in wrong):
        return (
            "are the credentials right? For S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    return "is the endpoint up, and is it the right one? AWS_ENDPOINT_URL, or `endpointurl` of a DVC remote"


def _file_system(store: Store, url: str) -> tuple[Any, str]:
    """DVC's file system for an address, and the path in it."""
    from dvc.fs import get_cloud_fs

    config = settings.config(store)
    near = _nearest(config.get("remote", {}), url)
    config.check(near or (url.split("/")[2] if url.startswith("remote://") else ""))
    cls, said, path = get_cloud_fs(config, url=url, **(_settings(config["remote"][near]) if near else {}))
    if cls.protocol == "local" or "local" in cls.protocol:
        raise Refused(f"{url} is a place on this machine", "gitreg new --from PATH copies it")
    if "s3" not in cls.protocol:
        return cls(**said), path
    fs = cls(**{"connect_timeout": _CONNECT, "read_timeout": _READ, **said})
    # Ours are the tries that go on where the last one ended; below them they would be multiplied.
    fs.fs_args.setdefault("config_kwargs", {})["retries"] = {"max_attempts": 0}
    fs.fs.retries = 1
    return fs, path


def _nearest(remotes: Mapping[str, Mapping[str, Any]], url: str) -> str | None:
    """The remote in whose bucket, or on whose server, this address is."""
    parts = url.split("/")

    def shared(remote: Mapping[str, Any]) -> int:
        other = str(remote.get("url", "")).rstrip("/").split("/")
        both = enumerate(zip(parts, other, strict=False))
        return next((i for i, (a, b) in both if a != b), min(len(parts), len(other)))

    near = [(shared(one), name) for name, one in remotes.items() if shared(one) >= 3]
    return max(near)[1] if near and parts[0] != "remote:" else None


def _settings(found: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in found.items() if k not in {"url", "worktree", "version_aware", "verify"}}
