"""The only file that talks to DVC: which hash an artifact has, and where its bytes lie.

`.dvc` files, `dvc.lock` and the cache's folder lists are plain YAML and JSON and are read here; DVC itself
is imported only to fetch from a remote, to add a file, and to make a repository.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gitreg.declared import Artifact, ArtifactSource, Link
from gitreg.documents import parse
from gitreg.errors import Outside, Refused

_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?\Z")
Hashes = tuple[str, str]
# A dvc.lock lists every file of every stage, and so outgrows what people write.
_MAX_LOCK = 32 << 20
_WORTH_A_THREAD = 64 << 20
_MOST_THREADS = 4
_PUSH = "dvc push, where the artifact was made"


@dataclass(frozen=True)
class Tracked:
    """An artifact as DVC tracks it.

    Attributes:
        path: relative to the root.
        by: the .dvc file or dvc.lock that says so, relative to the root.
        md5: hex; ends in `.dir` for a folder.
        size: bytes, or None where DVC did not write it.
        remote: the name of the DVC remote that keeps it; None for the default one.
    """

    path: str
    by: str
    md5: str
    size: int | None
    remote: str | None = None

    @property
    def name(self) -> str | None:
        """The file's own name; None for a folder."""
        return None if self.md5.endswith(".dir") else self.path.rpartition("/")[2]


class Store:
    """The DVC side of one registry.

    Args:
        root: the registry's root, with its `.dvc` folder.
        hashes: gives (md5, sha256) of a file in hex.
    """

    def __init__(self, root: Path, hashes: Callable[[Path], Hashes]) -> None:
        self.root = root
        self.hashes = hashes
        self._cache: Path | None = None
        self._started: dict[Path, Future[Hashes]] = {}

    def tracked(self, source: ArtifactSource, folder: str) -> Tracked:
        """Find what DVC says of an artifact.

        Args:
            source: the manifest's `artifact`.
            folder: the manifest's folder, relative to the root.

        Raises:
            Refused: DVC does not track it, or its file is broken.
            NotImplementedError: the source is not a local path or stage.
        """
        if source.stage:
            return self._stage(source.stage, folder, source.path)
        if source.path is None:
            raise Refused("only artifacts at a path or from a dvc.yaml stage can be built yet")
        beside = f"{source.path}.dvc"
        if os.path.isfile(self.root / beside):
            return self._from_outs(beside, self._read(beside).get("outs"), source.path)
        for lock in self._locks(folder):
            for stage in _mappings(self._read(lock).get("stages", {})):
                for out in stage.get("outs") or ():
                    if _below(lock, str(out.get("path"))) == source.path:
                        return self._entry(lock, out, source.path)
        raise Refused(f"'{source.path}' is not tracked by DVC", f"dvc add {source.path}")

    def _stage(self, name: str, folder: str, path: str | None) -> Tracked:
        for lock in self._locks(folder):
            stage = (self._read(lock).get("stages") or {}).get(name)
            if isinstance(stage, Mapping):
                outs = [
                    o for o in stage.get("outs") or () if path in (None, _below(lock, str(o.get("path"))))
                ]
                if len(outs) != 1:
                    said = ", ".join(str(o.get("path")) for o in outs) or "none"
                    raise Refused(
                        f"{lock}: the stage '{name}' has {len(outs)} fitting outputs ({said}), not one"
                    )
                return self._entry(lock, outs[0], _below(lock, str(outs[0].get("path"))))
        raise Refused(
            f"no dvc.lock at or above '{folder or '.'}' has the stage '{name}'", "dvc repro, then dvc push"
        )

    def _locks(self, folder: str) -> list[str]:
        parts = folder.split("/") if folder else []
        candidates = ["/".join([*parts[:n], "dvc.lock"]) for n in range(len(parts), -1, -1)]
        return [lock for lock in candidates if os.path.isfile(self.root / lock)]

    def _read(self, file: str) -> Mapping[str, Any]:
        document, problems = parse((self.root / file).read_bytes(), file, _MAX_LOCK)
        if problems:
            raise Refused(str(problems[0]))
        if not isinstance(document.data, Mapping):
            raise Refused(f"{file}: not a DVC file")
        return document.data

    def _from_outs(self, file: str, outs: Any, path: str) -> Tracked:
        for out in outs if isinstance(outs, list) else ():
            if isinstance(out, Mapping) and _below(file, str(out.get("path"))) == path:
                return self._entry(file, out, path)
        raise Refused(f"{file}: does not track '{path}'", f"dvc add {path}")

    def _entry(self, file: str, out: Mapping[str, Any], path: str) -> Tracked:
        md5 = out.get("md5")
        if not isinstance(md5, str) or not _MD5.match(md5):
            raise Refused(f"{file}: '{path}' has no md5 of 32 hex digits (got {md5!r})", f"dvc commit {file}")
        size = out.get("size")
        remote = out.get("remote")
        if remote is not None and not isinstance(remote, str):
            raise Refused(f"{file}: '{path}' names no remote: {remote!r}")
        return Tracked(path, file, md5, size if isinstance(size, int) else None, remote)

    def object_path(self, md5: str) -> Path:
        """Where the cache keeps an object."""
        return self.cache() / md5[:2] / md5[2:]

    def cache(self) -> Path:
        """The cache's folder for MD5 objects, as DVC's configuration says."""
        if self._cache is None:
            self._cache = self._configured_cache() / "files" / "md5"
        return self._cache

    def _configured_cache(self) -> Path:
        """DVC's `cache.dir`: the last of its configuration files that sets it, relative to that file.

        Read without DVC, whose own configuration module loads its HTTP client (0.1 s and more):
        https://dvc.org/doc/user-guide/project-structure/configuration
        """
        import platformdirs
        from configobj import ConfigObj, ConfigObjError

        system = os.environ.get("DVC_SYSTEM_CONFIG_DIR") or platformdirs.site_config_dir("dvc", "iterative")
        user = os.environ.get("DVC_GLOBAL_CONFIG_DIR") or platformdirs.user_config_dir("dvc", "iterative")
        own = self.root / ".dvc"
        place = own / "cache"
        for file in (Path(system) / "config", Path(user) / "config", own / "config", own / "config.local"):
            try:
                said = ConfigObj(str(file)).get("cache", {}).get("dir") if file.is_file() else None
            except (ConfigObjError, OSError, UnicodeDecodeError) as error:
                raise Refused(f"{file}: not a DVC configuration: {error}", "dvc config --list") from None
            if said:
                place = Path(os.path.normpath(file.parent / said))
        return place

    def missing(self, tracked: Tracked) -> list[str]:
        """Hashes of an artifact that the cache does not have."""
        place = self.object_path(tracked.md5)
        if not place.is_file():
            return [tracked.md5]
        if not tracked.md5.endswith(".dir"):
            return []
        entries = self._folder(tracked)
        return [md5 for _, md5 in entries if not self.object_path(md5).is_file()]

    def fetch(self, wanted: Sequence[Tracked]) -> None:
        """Get artifacts from their DVC remote into the cache: the default one, or what their file names.

        Raises:
            Outside: the remote is not configured, not reachable, or does not have them.
        """
        if not wanted:
            return
        from dvc.repo import Repo
        from dvc_data.hashfile.hash_info import HashInfo

        try:
            with _quiet(), Repo(str(self.root)) as repo:
                # By hash, from configured remotes alone. `dvc fetch` would go to wherever an imported
                # artifact's .dvc file says that it once came from, which a pull request may say.
                for _ in range(2):  # a folder's list of files comes first, and then what it lists
                    for remote in sorted({t.remote for t in wanted}, key=str):
                        hashes = [md5 for t in wanted if t.remote == remote for md5 in self.missing(t)]
                        if hashes:
                            repo.cloud.pull([HashInfo("md5", md5) for md5 in hashes], remote=remote)
            failed = None
        except Exception as error:  # each kind of remote has errors of its own
            failed = error
        lacking = [(t, missing) for t in wanted if (missing := self.missing(t))]
        if lacking:
            raise Outside(
                "\n".join(_lack(t, missing, failed) for t, missing in lacking), _remote_hint(failed)
            ) from failed

    def start_hashing(self, tracked: Tracked) -> None:
        """Hash the large files of an artifact on threads of their own, for `artifact` to find done."""
        if (tracked.size or 0) < _WORTH_A_THREAD or self.missing(tracked):
            return
        single = not tracked.md5.endswith(".dir")
        for md5 in [tracked.md5] if single else [md5 for _, md5 in self._folder(tracked)]:
            place = self.object_path(md5)
            if len(self._started) == _MOST_THREADS:
                return
            if place not in self._started and place.stat().st_size >= _WORTH_A_THREAD:
                future: Future[Hashes] = Future()
                self._started[place] = future
                # A daemon: an interrupt does not wait for gigabytes.
                threading.Thread(target=self._hash_into, args=(future, place), daemon=True).start()

    def _hash_into(self, future: Future[Hashes], place: Path) -> None:
        try:
            future.set_result(self.hashes(place))
        except BaseException as error:
            future.set_exception(error)

    def artifact(self, tracked: Tracked) -> Artifact:
        """An artifact's files in the cache; each is held against what DVC says when it is hashed.

        Raises:
            Refused: the list of its files is corrupt.
        """
        entries = [(tracked.name, tracked.md5)] if tracked.name else self._folder(tracked)
        files = {name: self._link(md5, tracked) for name, md5 in sorted(entries)}
        if not files:
            raise Refused(f"{tracked.by}: '{tracked.path}' is an empty folder")
        return Artifact(f"md5:{tracked.md5}", files, tracked.name)

    def _link(self, md5: str, tracked: Tracked) -> Link:
        place = self.object_path(md5)

        @cache
        def verified() -> str:
            started = self._started.pop(place, None)
            found, sha256 = started.result() if started else self.hashes(place)
            if found != md5:
                self._corrupt(place, f"its content hashes to {found}", tracked)
            return sha256

        return Link(place, place.stat().st_size, md5, verified, share=True)

    def _corrupt(self, place: Path, why: str, tracked: Tracked) -> None:
        raise Refused(
            f"the DVC cache object {place} of '{tracked.path}' is corrupt: {why}",
            f"rm -f {place} && dvc fetch {tracked.by if tracked.by.endswith('.dvc') else tracked.path}",
        )

    def _folder(self, tracked: Tracked) -> list[tuple[str, str]]:
        """(path, md5) of each file in a folder object; its paths come from a remote and are not trusted."""
        place = self.object_path(tracked.md5)
        if f"{self.hashes(place)[0]}.dir" != tracked.md5:
            self._corrupt(place, "its list of files was changed", tracked)
        try:
            entries = [(str(e["relpath"]), str(e["md5"])) for e in json.loads(place.read_bytes())]
        except (ValueError, KeyError, TypeError):
            self._corrupt(place, "it is not a list of files", tracked)
        self._sound(place, entries)
        return entries

    def _sound(self, place: Path, entries: list[tuple[str, str]]) -> None:
        """Refuse a list of files that names a place outside of its folder, or one place twice."""
        names = {name for name, _ in entries}
        for name, md5 in entries:
            parts = name.split("/")
            if "\\" in name or "\0" in name or not all(parts) or {".", ".."} & set(parts):
                raise Refused(f"{place}: the entry {name!r} is not a path below its folder")
            if not _MD5.match(md5) or md5.endswith(".dir"):
                raise Refused(f"{place}: the entry {name!r} has no md5 of a file: {md5!r}")
            if any("/".join(parts[:n]) in names for n in range(1, len(parts))):
                raise Refused(f"{place}: the entry {name!r} lies below another entry, which is a file")
        if len(names) < len(entries):
            twice = sorted(name for name in names if [n for n, _ in entries].count(name) > 1)
            raise Refused(f"{place}: the entry {twice[0]!r} stands twice")

    def absent(self, hashes: Collection[str]) -> tuple[dict[str, set[str]], dict[str, str]]:
        """Which artifacts no DVC remote has; of a folder also which of its files, where its list is known.

        Args:
            hashes: of whole artifacts; one that ends in `.dir` is a folder.

        Returns:
            hash -> what of it no remote has, without those that are whole; and remote -> why it could not
            be asked. Without any remote, nothing is asked.

        Raises:
            Outside: DVC's configuration is broken.
        """
        from dvc.repo import Repo

        lists = {one: self._listed(one) for one in hashes}
        lacking = {*hashes}.union(*(files for files in lists.values() if files))
        silent: dict[str, str] = {}
        try:
            with _quiet(), Repo(str(self.root)) as repo:
                first = repo.config["core"].get("remote")
                remotes = sorted(repo.config["remote"], key=lambda name: name != first)
                for name in remotes:
                    try:
                        lacking = _still(repo, name, lacking, lists)
                    except Exception as error:  # each kind of remote has errors of its own
                        silent[name] = str(error) or type(error).__name__
        except Exception as error:
            raise Outside(f"DVC: {error}", "dvc config --list") from error
        found = {one: lacking & {one, *(files or ())} for one, files in lists.items() if remotes}
        return {one: missing for one, missing in found.items() if missing}, silent

    def _listed(self, md5: str) -> set[str] | None:
        """The hashes of a folder's files by the list in the cache, none for a file; None without the list."""
        if not md5.endswith(".dir"):
            return set()
        try:
            return {one for _, one in self._folder(Tracked("", "", md5, None))}
        except (Refused, OSError):
            return None

    def add(self, path: Path) -> str:
        """Track a file or folder with DVC; the .dvc file's path relative to the root.

        Raises:
            Outside: DVC refuses.
        """
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            with _quiet(), Repo(str(self.root)) as repo:
                repo.add([str(path)])
        except DvcException as error:
            raise Outside(f"dvc add {path}: {error}") from error
        return path.relative_to(self.root).as_posix() + ".dvc"

    def lend(self, other: Path) -> None:
        """Let a clone of this repository use its cache, and its remotes from where they are.

        Addresses in DVC's configuration are relative to its file, and local ones are not committed.
        """
        from configobj import ConfigObj

        lent = ConfigObj(str(other / ".dvc" / "config.local"))
        for name in ("config", "config.local"):
            for section, said in ConfigObj(str(self.root / ".dvc" / name)).items():
                lent.setdefault(section, {}).update(said)
                for key in ("url", "keyfile", "credentialpath"):
                    value = said.get(key, "") if isinstance(said, Mapping) else ""
                    if value and "://" not in value and (key != "url" or not re.match(r"[\w.-]+:", value)):
                        lent[section][key] = os.path.normpath(self.root / ".dvc" / value)
        lent.setdefault("cache", {})["dir"] = str(self._configured_cache())
        lent.write()

    def has_remote(self) -> bool:
        """Whether a default remote is configured."""
        from dvc.config import Config

        return bool(Config(str(self.root / ".dvc"), validate=False).get("core", {}).get("remote"))


def init(root: Path, subdirectory: bool = False) -> None:
    """Make `root` a DVC repository.

    Args:
        subdirectory: whether the Git repository's top folder lies above `root`.
    """
    from dvc.repo import Repo

    with _quiet(), Repo.init(str(root), subdir=subdirectory) as repo, repo.config.edit("repo") as config:
        config["core"].update({"analytics": False, "check_update": False})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """DVC reports to stdout, where gitreg's own answer belongs; its errors come as exceptions."""
    with contextlib.redirect_stdout(io.StringIO()):
        for name in ("dvc", "dvc_data", "dvc_objects"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        yield


def _still(repo: Any, name: str, lacking: set[str], lists: dict[str, set[str] | None]) -> set[str]:
    """What is still lacking when a remote was asked; `lists` is told what only it knows of folders."""
    held, files = _held(repo, name, lacking), set[str]()
    odb = repo.cloud.get_remote_odb(name, "status -c")
    for one in (one for one in held if lists.get(one, held) is None):
        listed = json.loads(odb.fs.cat_file(odb.oid_to_path(one)))
        lists[one] = {str(entry["md5"]) for entry in listed}
        files.update(lists[one] or ())
    return (lacking - held) | (files - _held(repo, name, files))


def _held(repo: Any, name: str, hashes: set[str]) -> set[str]:
    """The hashes that a remote has. Its objects are not read: DVC would delete those that are corrupt."""
    if not hashes:
        return hashes
    odb = repo.cloud.get_remote_odb(name, "status -c")
    if odb.fs.protocol != "local":
        return {*odb.oids_exist(hashes)}
    if not os.path.isdir(place := repo.cloud.get_remote(name).path):
        raise FileNotFoundError(f"there is no folder {place}")
    return {one for one in hashes if os.path.isfile(odb.oid_to_path(one))}


def _lack(tracked: Tracked, missing: list[str], failed: Exception | None) -> str:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    text = f"{tracked.by}: '{tracked.path}' needs {missing[0]}{more}, which the DVC cache does not have"
    if failed is None:
        return f"{text}, nor does the remote"
    return f"{text}, and DVC cannot fetch it: {str(failed) or type(failed).__name__}"


def _remote_hint(error: Exception | None) -> str:
    """What helps with a remote that did not answer as it should."""
    if error is None or "failed to download" in str(error) or "Missing cache" in str(error):
        return _PUSH
    plugin = re.search(r"requires '(dvc-[a-z0-9]+)'", str(error))
    if plugin:
        return f"pip install {plugin[1]}"
    return "dvc remote list shows where DVC looked; are its address and the credentials right?"


def _below(file: str, path: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(file), path))


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value.values() if isinstance(v, Mapping)] if isinstance(value, Mapping) else []
