"""Which models a change concerns: those that read a file which it changes, wherever that lies.

A file belongs to the manifest nearest above it. A model reads more when its manifest names a path outside of
its folder, when a link leads there, when a dvc.lock in a folder above has its artifact, or when a
.gitattributes makes other bytes of what a commit holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from gitreg import locked, reach
from gitreg.errors import GitregError
from gitreg.git.listing import containing
from gitreg.globs import Glob
from gitreg.manifest import REGISTRY_FILE

if TYPE_CHECKING:
    from gitreg.outlook import Outlook
    from gitreg.registry import Registry
    from gitreg.snapshot import Snapshot

# Of .gitattributes, what decides which bytes a checkout gets.
_CONTENT = re.compile(
    rb"(?:^|[\s!-])(?:text|eol|crlf|ident|filter|working-tree-encoding|binary)\b|^\s*\[attr\]"
)
_MOST_ALIASES = 100_000


class Touched:
    """The models that a change concerns.

    Args:
        old: the files before.
        changed: path -> Git's status letter.
        beyond: whether a .gitattributes above the registry's root changed which bytes a checkout gets.
    """

    def __init__(
        self,
        registry: Registry,
        old: Snapshot,
        changed: Mapping[str, str],
        outlook: Outlook,
        beyond: bool = False,
    ) -> None:
        self.registry, self.root, self.old, self.outlook = registry, registry.root, old, outlook
        self.changed, self.beyond = changed, beyond
        self.glob = Glob(registry.file.models)

    @cached_property
    def paths(self) -> dict[str, str]:
        """What changed, also by the names that it has behind links."""
        found = dict(self.changed)
        leads = [(link, to) for link in self._links() for to in self._targets(link)]
        new = found if leads else {}
        while new and len(found) < _MOST_ALIASES:
            aliases = {alias: letter for path, letter in new.items() for alias in _aliases(path, leads)}
            new = {alias: letter for alias, letter in aliases.items() if alias not in found}
            found |= new
        return found

    def _links(self) -> Iterator[str]:
        yield from self.outlook.links
        yield from (path for path in self.changed if os.path.islink(self.root / path))

    def _targets(self, link: str) -> set[str]:
        """Where a link leads, relative to the root: what it says, and what comes of it; nothing outside."""
        place = self.root / link
        try:
            said = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(place)))
        except OSError:  # it is none (any more)
            return set()
        found = {said, os.path.relpath(os.path.realpath(place), os.path.realpath(self.root))}
        return {"" if to == "." else to for to in found if not to.startswith(("..", "/"))}

    @cached_property
    def folders(self) -> list[str]:
        """Folders below which a checkout may get other bytes than before."""
        own = [path for path in self.paths if path.rpartition("/")[2] == ".gitattributes"]
        found = [path.rpartition("/")[0] for path in own if self._attributes_now(path) != self._before(path)]
        return [*found, *([""] if self.beyond else [])]

    def _attributes_now(self, path: str) -> list[bytes]:
        try:
            return attributes((self.root / path).read_bytes())
        except OSError:
            return []

    def _before(self, path: str) -> list[bytes]:
        return attributes(self.old.read(path) or b"")

    # Manifests ------------------------------------------------------------------------------------

    def nearest(self) -> list[str]:
        """The manifests nearest above what changed: they are concerned in any case, and found at once."""
        found = ([path] if self.glob.match(path) else next(self._owners(path), []) for path in self.changed)
        return sorted({file for files in found for file in files})

    def manifests(self) -> list[str]:
        """The manifests that are concerned, sorted; those that the change deletes included."""
        if REGISTRY_FILE in self.changed or "" in self.folders:
            return sorted({*self.registry.files, *(path for path in self.changed if self.glob.match(path))})
        found: set[str] = set()
        outer: set[str] = set()
        for path in self.paths:
            owners = list(self._owners(path))
            found.update([path] if self.glob.match(path) else owners[0] if owners else [])
            outer.update(*owners)
        found.update(self._below(self.folders))
        found.update(self._below(self._replaced()))
        locks = locked.Locks(self.root, self.old, self.paths)
        asked = outer | self._reaching(locks) | self._locked(locks)
        found.update(file for file in sorted(asked - found) if self._reads(file) or locks.concern(file))
        return sorted(found)

    @cached_property
    def _own(self) -> dict[str, set[str]]:
        """folder, with a slash at its end -> the names of manifests in it that changed, or are gone."""
        found: dict[str, set[str]] = {}
        for path in filter(self.glob.match, self.changed):
            folder, slash, name = path.rpartition("/")
            found.setdefault(folder + slash, set()).add(name)
        return found

    def _owners(self, path: str) -> Iterator[list[str]]:
        """Manifests in the folders above a file, here or at the base; the nearest first."""
        parts = path.split("/")[:-1]
        for depth in range(len(parts), -1, -1):
            folder = "".join(f"{part}/" for part in parts[:depth])
            if here := [f"{folder}{name}" for name in self._names(folder)]:
                yield here

    def _names(self, folder: str) -> list[str]:
        """The names of manifests in a folder."""
        places = self.glob.start()
        for part in folder.split("/")[:-1]:
            places = self.glob.follow(places, part)
        last = {at for at in places if at < self.glob.end and at == self.glob.end - 1}
        if not last:
            return []
        only = self.glob.names(last)
        try:
            names = os.listdir(self.root / folder) if only is None else only
        except OSError:
            names = []
        here = {name for name in names if os.path.lexists(self.root / folder / name)}
        return sorted(name for name in here | self._own.get(folder, set()) if self.glob.match(folder + name))

    def _below(self, folders: Iterable[str]) -> Iterator[str]:
        """The manifests below some folders."""
        every = list(folders)
        for file in self.registry.files if every else ():
            if any(file == folder or file.startswith(f"{folder}/") for folder in every):
                yield file

    def _replaced(self) -> list[str]:
        """Links and submodules in the place of folders: what lies behind them came with them."""
        there = (path for path, letter in self.changed.items() if letter != "D")
        return [path for path in there if (self.root / path).is_dir() or (self.root / path).is_symlink()]

    # Manifests that read files elsewhere ------------------------------------------------------------

    def _reaching(self, locks: locked.Locks) -> set[str]:
        """Manifests that name a path outside of their folders where something changed, by their text."""
        changed = reach.Changed({*self.paths, *locks.outputs, *self.folders})
        lines = self.outlook.reaching(self.registry.file.models)
        return {
            file
            for file, line in lines
            if self.glob.match(file) and changed.concern(file.rpartition("/")[0], line)
        }

    def _locked(self, locks: locked.Locks) -> set[str]:
        """Manifests whose artifact may be an output, or of a stage, that a dvc.lock has otherwise now."""
        found = {one for path in locks.outputs for owners in self._owners(path) for one in owners}
        for folder, stages in locks.stages.items():
            found |= {
                file
                for file in containing(self.root, self.registry.file.models, sorted(stages))
                if self.glob.match(file) and file.startswith(folder)
            }
        return found

    def _reads(self, file: str) -> bool:
        """Whether a model reads any file that changed."""
        try:
            gathered = self.registry.gather(file, build=False, visible=self.registry.visible)
        except GitregError:  # nothing that this change did
            return False
        top = f"{self.root}/"
        inputs = {one.removeprefix(top) for one in gathered.inputs if one.startswith(top)}
        inputs |= {""} if str(self.root) in gathered.inputs else set()
        above = {one[: found.start()] for one in inputs for found in re.finditer("/", one)}
        if any(one.startswith(f"{folder}/") for folder in self.folders for one in inputs):
            return True
        return any(
            path in inputs or path in above or (letter != "M" and not inputs.isdisjoint(self._listed(path)))
            for path, letter in self.paths.items()
        )

    def _listed(self, path: str) -> Iterator[str]:
        """The folder that something came into, or went out of; and above one that is gone, where that was."""
        folder = path.rpartition("/")[0]
        yield folder
        while folder and not (self.root / folder).is_dir():
            folder = folder.rpartition("/")[0]
            yield folder


def attributes(raw: bytes) -> list[bytes]:
    """The lines of a .gitattributes that decide which bytes a checkout gets."""
    return [line.strip() for line in raw.splitlines() if _CONTENT.search(line) and line.strip()[:1] != b"#"]


def _aliases(path: str, leads: Iterable[tuple[str, str]]) -> Iterator[str]:
    for link, to in leads:
        if path == to or to == "" or path.startswith(f"{to}/"):
            yield link + path[len(to) :] if to else f"{link}/{path}"
