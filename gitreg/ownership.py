"""Whose tags are whose, where a Git repository has, or had, several registries.

A name with a registry's own folder as its prefix is its own, and one with another prefix never is. A tag
without a prefix is a registry's own when the commit that it names has the registry's manifest of that model.

- Where two registries have a manifest of the model there, the tag is of the one that has no prefix there; if
  neither has, of the one that has none now.
- Where a commit has no manifest of the model, the tag is of the registry that has no prefix, if there is no
  other registry in that commit: so it was before there were prefixes.
- A registry that was moved in its repository keeps its tags, known by its name: its folder was no registry in
  that commit, and the folder that was is none now.

What a commit holds never changes, so the index keeps the answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from gitreg.errors import GitregError, Outside
from gitreg.git import clones, plain
from gitreg.recorded import OddTag, Tag
from gitreg.tagspace import Space

_FILE = "registry.yaml"
_CHUNK = 5000
# Of so many tags each is asked for. Of more only the first and the last of each model, as long as there is
# one registry: a hundred thousand questions take longer than all else.
MANY = 2000
_PREFIX = re.compile(rb"^tags:(?: *\{|[ \t]*\r?\n +)prefix: *([A-Za-z0-9_./-]+) *(?:[},]|\r?$)", re.MULTILINE)
_ENTRY = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)
# Trees are hostile input: one may be below itself in effect, a thousand times at each level.
_DEEPEST, _MOST_FILES = 64, 1000
_MOST = 1 << 20  # bytes that a registry.yaml has
# What Git keeps as a folder.
_TREE = b"40000"


def space_of(root: Path, folder: str) -> Space:
    """The names that the tags of a registry may have, by its registry.yaml: the one here, else that of HEAD.

    Args:
        root: its own folder; or that of a bare repository.
        folder: where it lies in its repository; empty for the top.
    """
    if not folder:
        return Space()
    raw = _registry_file(root, folder)
    if b"prefix" not in raw:
        return Space(folder)
    found = _PREFIX.search(raw)
    if found:
        return Space(folder, folder if found[1].decode() == folder else "")
    from gitreg.neighbours import prefix_in

    return Space(folder, prefix_in(raw, folder))


def _registry_file(root: Path, folder: str) -> bytes:
    file = root / _FILE
    if file.is_file():
        with open(file, "rb") as stream:
            return stream.read(_MOST)
    found = next(plain.objects(root, [f"HEAD:{folder}/{_FILE}".replace(":/", ":")]), None)
    return found.data if found else b""


def divided(root: Path, space: Space, tags: Sequence[Tag]) -> tuple[list[Tag], list[OddTag]]:
    """A registry's own tags of those whose names may be its, and the others."""
    return apart(space, tags, Owner(root, space).foreign(tags))


def apart(space: Space, tags: Iterable[Tag], foreign: set[str]) -> tuple[list[Tag], list[OddTag]]:
    """The tags that are not among some names; and those that are, where their names could be in the way."""
    mine, others = [], []
    for tag in tags:
        if tag.name not in foreign:
            mine.append(tag)
        elif not space.prefix:
            others.append(OddTag(tag.name, tag.oid, "foreign", tag.says))
    return mine, others


class Owner:
    """Tells the tags of one registry from those of others.

    Args:
        root: its folder, or that of a bare repository.
    """

    def __init__(self, root: Path, space: Space) -> None:
        self.root, self.space = root, space
        self.below = f"{space.folder}/" if space.folder else ""
        self._walker = _Walker(root)

    def foreign(self, tags: Iterable[Tag]) -> set[str]:
        """The names of tags that are other registries'. All tags of each model are to be there."""
        asked = [tag for tag in tags if not tag.says.prefix]
        if len(asked) > MANY and self.alone:
            asked = self._doubtful(asked)
        found: set[str] = set()
        for start in range(0, len(asked), _CHUNK):
            found |= self._foreign(asked[start : start + _CHUNK], asked)
        return found

    def _doubtful(self, tags: Sequence[Tag]) -> list[Tag]:
        """The tags of models whose first or last one names a commit without their manifest."""
        first: dict[str, Tag] = {}
        last: dict[str, Tag] = {}
        for tag in tags:
            model = tag.says.model
            if model not in first or tag.time < first[model].time:
                first[model] = tag
            if model not in last or tag.time >= last[model].time:
                last[model] = tag
        ends = [*first.values(), *last.values()]
        there = self._usual(ends)
        models = {tag.says.model for tag in ends if (tag.commit, tag.says.model) not in there}
        return [tag for tag in tags if tag.says.model in models]

    # What is here now ---------------------------------------------------------------------------

    @cached_property
    def now(self) -> bytes:
        """This registry's registry.yaml."""
        return _registry_file(self.root, self.space.folder)

    @cached_property
    def ignored(self) -> tuple[str, ...]:
        """Patterns of folders whose registry.yaml is no registry's."""
        if b"ignore" not in self.now:
            return ()
        from gitreg.neighbours import ignored_in

        return ignored_in(self.now)

    @cached_property
    def others(self) -> list[str]:
        """The folders of the other registries that there are now."""
        from gitreg import neighbours

        try:
            bare = not (self.root / _FILE).is_file()
            return neighbours.tracked(self.root, self.space.folder, self.ignored, bare)
        except Outside:  # there is no commit yet
            return []

    @property
    def alone(self) -> bool:
        """Whether this is the only registry of its repository now."""
        return not self.others

    # What there was -----------------------------------------------------------------------------

    def _foreign(self, tags: Sequence[Tag], whole: Sequence[Tag]) -> set[str]:
        """As `foreign`, of some of the tags."""
        there = self._usual(tags)
        doubtful = [tag for tag in tags if (tag.commit, tag.says.model) not in there]
        if doubtful:
            there |= self._unusual(doubtful, whole)
        lost = [tag for tag in tags if (tag.commit, tag.says.model) not in there]
        found = {tag.name for tag in tags} & self._shared(
            [tag for tag in tags if (tag.commit, tag.says.model) in there]
        )
        return found | {tag.name for tag in lost}

    def _usual(self, tags: Iterable[Tag]) -> set[tuple[str, str]]:
        """(commit, model) of those tags whose commit has the manifest in its usual place."""
        pairs = dict.fromkeys((tag.commit, tag.says.model) for tag in tags)
        paths = {(commit, f"{self.below}models/{model}/model.yaml"): model for commit, model in pairs}
        clones.gather_trees(self.root, {commit for commit, _ in pairs})
        return {(commit, paths[commit, path]) for commit, path in plain.blobs_at(self.root, list(paths))}

    def _unusual(self, tags: Sequence[Tag], whole: Sequence[Tag]) -> set[tuple[str, str]]:
        """Those that are this registry's though the manifest is not in its usual place."""
        found = set() if self.space.prefix else self._of_no_other(tags)
        rest = [tag for tag in tags if (tag.commit, tag.says.model) not in found]
        said = self._said(rest, whole) if rest else {}
        for tag in rest:
            pair = tag.commit, tag.says.model
            if pair in found:
                continue
            file = said.get(pair)
            if self._has(tag.commit, tag.says.model, file):
                found.add(pair)
        return found

    def _of_no_other(self, tags: Sequence[Tag]) -> set[tuple[str, str]]:
        """Those whose commits have no other registry, or this one at the place where it was before."""
        commits = list(dict.fromkeys(tag.commit for tag in tags))
        paths = [(commit, _file_in(folder)) for commit in commits for folder in self.others]
        taken = {commit for commit, _ in plain.blobs_at(self.root, paths)} if paths else set()
        for commit in (commit for commit in commits if commit not in taken):
            if self._another(commit):
                taken.add(commit)
        return {(tag.commit, tag.says.model) for tag in tags if tag.commit not in taken}

    def _another(self, commit: str) -> bool:
        """Whether a commit has another registry than this one, here or where it was before."""
        from gitreg import neighbours

        files = self._walker.files(commit)
        own = f"{self.below}{_FILE}"
        for folder in neighbours.folders(files, self.space.folder, self.ignored):
            try:
                one = next(plain.objects(self.root, [files[_file_in(folder)]]), None)
            except Outside:  # a clone that lacks the file, and cannot fetch it now
                return True
            said = neighbours.said(one.data, folder) if one else None
            if said is None:
                continue
            mine = neighbours.said(self.now, self.space.folder)
            moved = own not in files and mine is not None and mine.name == said.name
            if not moved or folder in self.others:
                return True
        return False

    def _said(self, tags: Sequence[Tag], whole: Sequence[Tag]) -> dict[tuple[str, str], str]:
        """(commit, model) -> the manifest, by the tag that registered a version there."""
        from gitreg import indexer

        pairs = {(tag.commit, tag.says.model) for tag in tags}
        registering = [
            tag for tag in whole if tag.says.kind == "register" and (tag.commit, tag.says.model) in pairs
        ]
        found: dict[tuple[str, str], str] = {}
        objects = plain.objects(self.root, [tag.oid for tag in registering], indexer.MOST_TAG)
        for tag, said in zip(registering, objects, strict=True):
            file = indexer.trailers(indexer.read(said)[5]).get("Gitreg-Manifest")
            if file:
                found[tag.commit, tag.says.model] = file
        return found

    def _has(self, commit: str, model: str, file: str | None) -> bool:
        """Whether a commit has this registry's manifest of a model, wherever it lies.

        Args:
            file: where it should be; None looks through all.
        """
        from gitreg.globs import Glob
        from gitreg.memo import Memo
        from gitreg.snapshot import Snapshot

        if file == f"models/{model}/model.yaml":
            return False
        snapshot = Snapshot(self.root, commit, Memo(None, ""), self.below)
        try:
            if file is None:
                return model in snapshot.named()[0]
            read = snapshot.manifest(file) if Glob(snapshot.file.models).match(file) else None
            return bool(read and read.named and read.named.name == model)
        except GitregError:
            return False
        finally:
            snapshot.reader.close()

    # Two manifests of one model -----------------------------------------------------------------

    def _shared(self, tags: Sequence[Tag]) -> set[str]:
        """The names of tags whose commits have this registry's manifest, and that are another one's."""
        if not self.space.folder or not tags:
            return set()
        own = f"{self.below}{_FILE}"
        blobs = plain.blobs_at(self.root, [(commit, own) for commit in {tag.commit for tag in tags}])
        oids = sorted(set(blobs.values()))
        said = {
            oid: bool(one and self._prefixed(one.data))
            for oid, one in zip(oids, plain.objects(self.root, oids), strict=True)
        }
        then = {commit: said[oid] for (commit, _), oid in blobs.items()}
        now = bool(self.space.prefix)
        found = {tag.name for tag in tags if now and then.get(tag.commit)}
        unsure = [tag for tag in tags if now != then.get(tag.commit, False)]
        paths = {
            (tag.commit, f"{folder}/models/{tag.says.model}/model.yaml".removeprefix("/")): None
            for tag in unsure
            for folder in self.others
        }
        theirs = {
            (commit, path.split("/")[-2])
            for commit, path in (plain.blobs_at(self.root, list(paths)) if paths else ())
        }
        return found | {tag.name for tag in unsure if (tag.commit, tag.says.model) in theirs}

    def _prefixed(self, raw: bytes) -> bool:
        if b"prefix" not in raw:
            return False
        from gitreg.neighbours import prefix_in

        return bool(prefix_in(raw, self.space.folder))


def _file_in(folder: str) -> str:
    return f"{folder}/{_FILE}" if folder else _FILE


class _Walker:
    """Finds the files registry.yaml of commits; what two commits share is looked at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._below: dict[str, dict[str, str]] = {}

    def files(self, commit: str) -> dict[str, str]:
        """path -> id of every registry.yaml in a commit."""
        asking = plain.Asking(self.root)
        try:
            found = asking.object(f"{commit}^{{tree}}")
            return self._in(asking.object, found.oid, found) if found else {}
        finally:
            asking.close()

    def _in(
        self,
        ask: Callable[[str], plain.Object | None],
        oid: str,
        tree: plain.Object | None = None,
        deep: int = 0,
    ) -> dict[str, str]:
        known = self._below.get(oid)
        if known is not None:
            return known
        said = tree or ask(oid)
        found: dict[str, str] = {}
        for mode, name, inner in _ENTRY.findall(said.data if said else b""):
            text = name.decode("utf-8", "surrogateescape")
            if mode == _TREE and deep < _DEEPEST and len(found) < _MOST_FILES:
                below = self._in(ask, inner.hex(), None, deep + 1)
                found.update({f"{text}/{path}": blob for path, blob in below.items()})
            elif text == _FILE and mode.startswith(b"100"):
                found[text] = inner.hex()
        self._below[oid] = found
        return found
