"""The only room that talks to DVC: which hash an artifact has, and where its bytes lie.

`.dvc` files, `dvc.lock` and the cache's folder lists are plain YAML and JSON and are read here; DVC itself
is imported only to fetch from a remote, to add a file, and to make a repository. This file knows the cache;
`pointers` reads what DVC's files say; `remotes` fetches.
"""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

from gitreg import safewrite
from gitreg.declared import Artifact, ArtifactSource, Link
from gitreg.documents import parse
from gitreg.dvckeys import Fault
from gitreg.errors import Outside, Refused
from gitreg.names import is_of_git
from gitreg.store import dvcfiles, fetching, foreign, remotes, settings, urls
from gitreg.store.imports import import_file
from gitreg.store.pointers import MD5, Pointers, Tracked
from gitreg.store.remotes import quiet

__all__ = ["Store", "Tracked", "init"]

Hashes = tuple[str, str]
_WORTH_A_THREAD = 64 << 20
_MOST_THREADS = 4


class Store:
    """The DVC side of one registry.

    Args:
        root: the registry's root, with its `.dvc` folder.
        hashes: gives (md5, sha256) of a file in hex.
        links: tells which symbolic links below `.dvc` came with a commit.
        tracked: tells what Git tracks of `.dvc`.

    Attributes:
        alone: whether no configuration of DVC's counts but the one in `root`.
        left_out: remotes that DVC does not get to see there -> why; under the empty name, why there is none.
    """

    def __init__(
        self,
        root: Path,
        hashes: Callable[[Path], Hashes],
        links: Callable[[], Sequence[str]] = tuple,
        tracked: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.root = root
        self.hashes = hashes
        self.links = links
        self.settings_tracked = tracked
        self.alone = False
        self.left_out: Mapping[str, str] = {}
        self._cache: Path | None = None
        self._tracked: set[str] | None = None
        self._started: dict[Path, Future[Hashes]] = {}

    def tracked(self, source: ArtifactSource, folder: str, look: Callable[[str], object] = str) -> Tracked:
        """Find what DVC says of an artifact; see `Pointers`."""
        return Pointers(self.root, look).tracked(source, folder)

    def measures(self, stage: str, folder: str) -> dict[str, list[str]]:
        """The files of parameters and of metrics of a stage; see `Pointers.measures`."""
        return Pointers(self.root).measures(stage, folder)

    def object_path(self, md5: str) -> Path:
        """Where the cache keeps an object."""
        return self.cache() / md5[:2] / md5[2:]

    def cache(self) -> Path:
        """The cache's folder for MD5 objects, as DVC's configuration says."""
        if self._cache is None:
            self._cache = self.cache_folder() / "files" / "md5"
        return self._cache

    def cache_folder(self) -> Path:
        """DVC's `cache.dir`; see `settings`."""
        return settings.cache_folder(self)

    def is_tracked(self, name: str) -> bool:
        """Whether Git tracks a file of `.dvc`, or what `.dvc` is: then any branch can change it."""
        if self.alone:  # gitreg wrote it
            return False
        if self._tracked is None:
            self._tracked = {path.casefold() for path in self.settings_tracked()}
        return bool({name.casefold(), ".dvc"} & self._tracked)

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
        fetching.fetch(self, wanted)

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
        except (ValueError, KeyError, TypeError, RecursionError):
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
            if is_of_git(name):
                raise Refused(f"{place}: the entry {name!r} is of a Git repository, which DVC never tracks")
            if not MD5.match(md5) or md5.endswith(".dir"):
                raise Refused(f"{place}: the entry {name!r} has no md5 of a file: {md5!r}")
            if any("/".join(parts[:n]) in names for n in range(1, len(parts))):
                raise Refused(f"{place}: the entry {name!r} lies below another entry, which is a file")
        if len(names) < len(entries):
            twice = sorted(name for name in names if [n for n, _ in entries].count(name) > 1)
            raise Refused(f"{place}: the entry {twice[0]!r} stands twice")

    def absent(self, hashes: Collection[str]) -> tuple[dict[str, set[str]], dict[str, str]]:
        """Which artifacts no DVC remote has; see `remotes.absent`."""
        return remotes.absent(self, hashes)

    def listed(self, md5: str) -> set[str] | None:
        """The hashes of a folder's files by the list in the cache, none for a file; None without the list."""
        if not md5.endswith(".dir"):
            return set()
        try:
            return {one for _, one in self._folder(Tracked("", "", md5, None))}
        except (Refused, OSError):
            return None

    def names(self, tracked: Tracked) -> set[str] | None:
        """The names of the files of a folder, by the list in the cache; None without the list."""
        try:
            return {name for name, _ in self._folder(tracked)}
        except (Refused, OSError):
            return None

    def add(self, path: Path) -> str:
        """Track a file or folder with DVC; the .dvc file's path relative to the root.

        Raises:
            Outside: DVC refuses.
        """
        from dvc.exceptions import DvcException

        self.refuse_links()
        if wrong := dvcfiles.submodules_mistake(self.root):
            raise Refused(": ".join(wrong))
        try:
            with quiet(), remotes.opened(self, scm=True) as repo:
                repo.add([str(path)])
        except DvcException as error:
            raise Outside(f"dvc add {path}: {error}") from error
        except UnicodeDecodeError:  # of a .dvcignore anywhere, which DVC reads as it looks for the others
            dvcfiles.refuse_ignores(self.root, self.root.rglob(".dvcignore"))
            raise
        return path.relative_to(self.root).as_posix() + ".dvc"

    def refuse_links(self) -> None:
        """Raise Refused where DVC would write through a link that somebody committed."""
        if found := self.links():
            listed = [f"{self.root / link} is a symbolic link that Git tracks" for link in found]
            raise Refused(
                [*listed[:-1], f"{listed[-1]}: DVC would write where it leads"],
                f"git rm {' '.join(map(shlex.quote, found))}; a link that Git does not track may stay",
            )

    def bring(self, url: str, target: Path, told: urls.Told | None = None) -> dict[str, Any]:
        """Copy what is at an address now to a path; what DVC's `deps` say of it.

        Raises:
            Refused: there is nothing.
            Outside: it cannot be had; what came so far may lie at the path.
        """
        source = urls.Source(self, url)
        there = source.look()
        source.download(there, target, told)
        return there.dependency()

    def said_of(self, url: str) -> dict[str, Any]:
        """What DVC's `deps` would say of an address now."""
        return urls.Source(self, url).look().dependency()

    def imported(self, pointer: Path, origin: Mapping[str, Any]) -> None:
        """Make a .dvc file one of an import, as DVC itself writes it: frozen, and with where it came from."""
        outs = parse(pointer.read_bytes(), pointer.name)[0].data["outs"]
        safewrite.replace(self.root, pointer, import_file(outs, origin))

    def import_file(self, outs: Any, origin: Mapping[str, Any]) -> bytes:
        """A .dvc file of an import; see `imports`."""
        return import_file(outs, origin)

    def lendable(self) -> dict[str, dict[str, Any]]:
        """This registry's remotes, as far as others may use them; see `foreign`."""
        return foreign.lendable(self.root, self.is_tracked)

    def fetch_from(self, lent: Mapping[str, Mapping[str, Any]], wanted: Sequence[Tracked]) -> None:
        """Get artifacts of another registry from its remotes into our cache, by their hashes.

        Raises:
            Outside: they cannot be had.
        """
        foreign.fetch(self, lent, wanted)

    def push(self, wanted: Sequence[Tracked]) -> None:
        """Send what the cache has of some artifacts to our own remotes.

        Raises:
            Outside: a remote cannot be reached, or there is none.
        """
        remotes.push(self, wanted)

    def has_remote(self) -> bool:
        """Whether a default remote is configured.

        Raises:
            Refused: DVC's configuration is broken.
        """
        return bool(settings.config(self).get("core", {}).get("remote"))

    def tracked_files(self) -> list[str]:
        """The files of DVC's configuration here that Git tracks."""
        return [name for name in settings.FILES.values() if self.is_tracked(name)]

    def remote_names(self) -> set[str]:
        """The names of all remotes that DVC knows here, in small letters.

        Raises:
            Refused: DVC's configuration is broken.
        """
        return settings.remote_names(self)

    def faults(self) -> list[tuple[str, Fault]]:
        """What DVC does not get to see of configurations that Git tracks, each with its file."""
        return list(settings.faults(self))


def init(root: Path, subdirectory: bool = False) -> None:
    """Make `root` a DVC repository.

    Args:
        subdirectory: whether the Git repository's top folder lies above `root`.
    """
    from dvc.repo import Repo

    with quiet(), Repo.init(str(root), subdir=subdirectory) as repo, repo.config.edit("repo") as config:
        config["core"].update({"analytics": False, "check_update": False})
