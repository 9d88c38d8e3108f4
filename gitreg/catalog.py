"""The read side of a registry: its models and versions, found, listed, searched, as its references are now.

It needs a Git repository and no work tree. Everything comes through the index, which is brought up to date
first; the index can be deleted at any time.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from gitreg import git, index, indexer, ownership, resolver
from gitreg.catalogued import ModelEvent, ModelVersion, Page, RegisteredModel
from gitreg.entries import version_of, when
from gitreg.errors import InvalidFiles, Outside, Refused, Usage
from gitreg.git import discovery, plain
from gitreg.indexer import Progress
from gitreg.names import Reference, parse_reference
from gitreg.tagspace import Space

if TYPE_CHECKING:
    from gitreg.comparison import Comparison, Diff
    from gitreg.graph import Graph
    from gitreg.recorded import Tag
    from gitreg.records import Records

_REGISTRY_FILE = "registry.yaml"

T = TypeVar("T")


def _quiet(what: str, done: int, total: int) -> None:
    pass


class Catalog:
    """What can be read of one registry.

    Args:
        root: the registry's root, or the folder of a bare repository.
        progress: is told what is read for the index: what, how many, of how many.
        bare: whether it is a bare repository's, which may lack the content of files.
        prefix: where the registry lies in a bare repository.
    """

    def __init__(
        self, root: Path, progress: Progress | None = None, bare: bool = False, prefix: str = ""
    ) -> None:
        self.root, self.bare, self.prefix = root, bare, prefix
        self.progress = progress or _quiet
        self._stray: dict[str, tuple[str, ...]] | None = None

    @cached_property
    def place(self) -> plain.Place:
        """Where the registry lies.

        Raises:
            Refused: in no Git repository.
        """
        found = plain.place(self.root)
        if found is None and discovery.looks_bare(self.root):  # in no checkout, so nobody planted it there
            git.name_bare(self.root)
            found = plain.place(self.root)
        if found is None:
            raise Refused(f"{self.root} is not in a Git repository", "git init, or gitreg init")
        return plain.Place(found.folder, self.prefix) if self.bare else found

    @cached_property
    def space(self) -> Space:
        """The names that the registry's tags may have."""
        return ownership.space_of(self.root, self.place.prefix.removesuffix("/"))

    def _use(self, action: Callable[[index.Index], T]) -> T:
        name, version = "index.sqlite", indexer.version(self.space)
        if self.place.prefix:  # several registries in one repository
            mark = hashlib.sha256(self.place.prefix.encode("utf-8", "replace")).hexdigest()
            name = f"index-{mark[:12]}.sqlite"
        make = lambda folder: index.Index(folder, name, version)  # noqa: E731
        return index.using(make, self.place.folder / "gitreg", action)

    # Models -------------------------------------------------------------------------------------

    def models(self) -> list[RegisteredModel]:
        """Every model that has, or had, a registered version; by name."""

        def read(one: index.Index) -> list[RegisteredModel]:
            found = indexer.summaries(one, self.root, self.progress, self.space)
            abouts = {name: said["about"] for name, said in found.items() if said["about"]}
            self._stray = _stray(found)
            contents = self._contents(one, abouts.items())
            return [self._model(name, found[name], contents) for name in abouts]

        return self._use(read)

    @property
    def stray(self) -> dict[str, tuple[str, ...]]:
        """What is odd about the tags of models that never had a version, as `models` saw them last."""
        if self._stray is None:
            found = self._use(lambda one: indexer.summaries(one, self.root, self.progress, self.space))
            self._stray = _stray(found)
        return self._stray

    def names(self) -> list[str]:
        """The names of the same."""
        found = self._use(lambda one: indexer.summaries(one, self.root, self.progress, self.space))
        return [name for name, said in found.items() if said["about"]]

    def model(self, reference: str) -> RegisteredModel:
        """One model, by its name, by its id, or by a reference to any version of it.

        Raises:
            Usage: it is no reference.
            Refused: there is no such model.
        """
        name = self._named(parse_reference(reference))

        def read(one: index.Index) -> RegisteredModel | None:
            found = indexer.told(one, self.root, name, self.progress, self.space)
            if not found.record.versions:
                return None
            summary = indexer.summary(found.record, found.body)
            return self._model(name, summary, self._contents(one, [(name, summary["about"])]))

        return self._use(read) or self._refuse(name)

    def versions(self, model: str | None = None) -> list[ModelVersion]:
        """All versions of a model, or of every model; in order of registration."""
        if model is not None:
            return self.model(model).versions()[::-1]

        def read(one: index.Index) -> list[ModelVersion]:
            bodies = indexer.bodies(one, self.root, self.progress, self.space)
            entries = [(name, entry) for name, body in bodies.items() for entry in body["versions"]]
            contents = self._contents(one, entries)
            return [version_of(name, bodies[name], entry, contents) for name, entry in entries]

        return self._use(read)

    def version(self, reference: str) -> ModelVersion:
        """The registered version that a reference, a URI or an id names; of a model's name, the highest.

        Raises:
            Usage: it is no reference.
            Refused: there is no such version, or nothing is in that stage.
        """
        wanted = parse_reference(reference)
        if wanted.id:
            wanted = self._by_id(wanted.id)

        def read(one: index.Index) -> tuple[indexer.Told, dict[str, Any]] | None:
            found = indexer.told(one, self.root, wanted.model, self.progress, self.space)
            if not found.record.versions:
                return None
            version = resolver.among(found.record, wanted, _ordinals(found.body))
            entry = next(e for e in found.body["versions"] if e["version"] == version.version)
            return found, {"entry": entry, "contents": self._contents(one, [(wanted.model, entry)])}

        said = self._use(read)
        if said is None:
            self._refuse(wanted.model)
        return version_of(wanted.model, said[0].body, said[1]["entry"], said[1]["contents"])

    def foreign(self, tags: Iterable[Tag]) -> set[str]:
        """The names of tags that are another registry's. All tags of each model are to be there."""
        models: dict[str, list[Tag]] = defaultdict(list)
        for tag in tags:
            models[tag.says.model].append(tag)
        groups = {indexer.digest_of([(t.name, t.oid) for t in some]): some for some in models.values()}
        return set().union(*self._others(groups).values())

    def _others(self, groups: Mapping[str, Sequence[Tag]]) -> dict[str, set[str]]:
        return self._use(lambda one: indexer.others(one, self.root, self.space, groups))

    def records(self) -> Records:
        """What the tags record of every model."""
        from gitreg import records

        reading = records.Reading(self.root, self.space, self._others)
        return self._use(lambda one: records.read(one, reading))

    def history(self, reference: str) -> list[ModelEvent]:
        """What the tags of a model did, in order.

        Raises:
            Refused: there is no such model.
        """
        name = self._named(parse_reference(reference))
        found = self._use(lambda one: indexer.told(one, self.root, name, self.progress, self.space))
        if not found.record.tags:
            self._refuse(name)
        at = {v.tag.commit: v.version for v in reversed([*found.record.versions.values()])}
        return [
            ModelEvent(
                tag.says.kind,
                tag.says.version or (at.get(tag.commit) if tag.says.stage else None),
                tag.says.stage,
                tag.when,
                found.words[tag.oid][0],
                found.words[tag.oid][1].strip(),
                tag.name,
                tag.commit,
                found.odd.get(tag.oid, ""),
            )
            for tag in found.record.tags
        ]

    def search(
        self,
        expression: str = "",
        order_by: str = "",
        limit: int | None = None,
        token: str | None = None,
        latest: bool = False,
    ) -> Page:
        """Registered versions that a filter is true for; see `gitreg.query` for what it may say.

        Args:
            order_by: as `metrics.accuracy DESC, name`; by default by name, the highest version first.
            limit: of a page; None for all.
            token: of the page before.
            latest: only the latest version of each model.

        Raises:
            Usage: the filter, the order or the token is none; the message has the place.
        """
        from gitreg import searcher

        asked = searcher.Asked(expression, order_by, limit, token, latest)
        return self._use(lambda one: searcher.search(self, one, asked))

    # Side by side -------------------------------------------------------------------------------

    def compare(self, *references: str) -> Comparison:
        """Versions side by side, in the order given.

        Raises:
            Usage: fewer than two are named.
            Refused: there is no such version.
        """
        from gitreg import comparison

        if len(references) < 2:
            raise Usage("two versions or more are compared", "gitreg compare churn#production churn")
        found = [self.version(reference) for reference in references]
        return comparison.compare(found, comparison.directions(self.stages()))

    def diff(self, old: str, new: str) -> Diff:
        """What changed from one version to another.

        Raises:
            Refused: there is no such version.
        """
        from gitreg import comparison

        before, after = self.version(old), self.version(new)
        files = self._changed(before, after)
        return comparison.diff(before, after, comparison.directions(self.stages()), files)

    def _changed(self, old: ModelVersion, new: ModelVersion) -> list[tuple[str, str]]:
        """Status letter and path of files of the model that differ between two commits."""
        folders = {v.file.rpartition("/")[0] for v in (old, new) if v.file}
        if not folders or "" in folders or old.commit == new.commit:
            return []
        return plain.changes(self.root, old.commit, new.commit, sorted(folders))

    def lineage(self, reference: str) -> Graph:
        """Where a version comes from, and where it went.

        Raises:
            Refused: there is no such version.
        """
        from gitreg import graph

        return graph.of(self.version(reference))

    def stages(self) -> Mapping[str, Mapping[str, Any]]:
        """stage -> what registry.yaml says of it: the file here, else that of HEAD; empty if it is broken."""
        file = self.root / _REGISTRY_FILE
        if file.is_file():
            raw: bytes | None = file.read_bytes()
        else:
            found = next(plain.objects(self.root, [f"HEAD:{self.place.prefix}{_REGISTRY_FILE}"]))
            raw = found.data if found else None
        # The validator takes longer to import than the index to answer.
        key = f"stages {hashlib.sha256(raw or b'').hexdigest()}"

        def read(one: index.Index) -> Mapping[str, Mapping[str, Any]]:
            known = one.seen([key])
            if key not in known:
                known = {key: [_stages(raw or b"")]}
                one.see(known)
            stages: Mapping[str, Mapping[str, Any]] = known[key][0]
            return stages

        return self._use(read)

    # Parts --------------------------------------------------------------------------------------

    def _contents(
        self, one: index.Index, entries: Iterable[tuple[str, Mapping[str, Any]]], all_: bool = False
    ) -> dict[str, Any]:
        """Contents of versions by the ids of their tags; what is new is read first.

        Args:
            entries: (model, version as the index has it).
            all_: only make sure that all of them are in the index.

        Raises:
            Outside: `all_` are wanted, and a clone lacks some that it cannot fetch now.
        """
        wanted = {entry["oid"]: (model, entry) for model, entry in entries}
        known = one.known(list(wanted))
        new = [oid for oid in wanted if oid not in known]
        lacking: dict[str, Any] = {}
        try:
            if new:
                self._fill(one, [(oid, *wanted[oid]) for oid in new])
        except Outside as outside:
            if all_ or not self.bare:
                raise
            problem = f"what its manifest says was not fetched yet: {outside.message}"
            lacking = {oid: {"file": None, "problems": [problem]} for oid in new}
        if all_:
            return {}
        found = {**lacking, **one.contents(list(wanted))}
        if len(found) != len(wanted):
            raise index.Again
        return found

    def _fill(self, one: index.Index, new: Sequence[tuple[str, str, Mapping[str, Any]]]) -> None:
        from gitreg import contents, fields

        wanted = [
            contents.Wanted(oid, model, entry["commit"], entry["trailers"].get("Gitreg-Manifest", ""))
            for oid, model, entry in new
        ]
        told = lambda done: self.progress("manifests read", done, len(wanted))  # noqa: E731
        for found in contents.read(self.root, self.place.prefix, wanted, told, self.bare):
            one.fill({oid: (fields.facts(content), content) for oid, content in found.items()})

    def _model(self, name: str, said: Mapping[str, Any], contents: Mapping[str, Any]) -> RegisteredModel:
        about = {"id": said["id"], "latest": said["latest"], "stays": []}
        return RegisteredModel(
            name,
            said["id"],
            said["latest"],
            said["stages"],
            said["count"],
            when(said["created"]),
            when(said["updated"]),
            said["deprecated"],
            version_of(name, about, said["about"], contents),
            lambda: self._versions_of(name),
            tuple(said["odd"]),
        )

    def _versions_of(self, name: str) -> list[ModelVersion]:
        def read(one: index.Index) -> list[ModelVersion]:
            body = indexer.told(one, self.root, name, self.progress, self.space).body
            contents = self._contents(one, [(name, entry) for entry in body["versions"]])
            return [version_of(name, body, entry, contents) for entry in body["versions"]]

        return self._use(read)

    # Names --------------------------------------------------------------------------------------

    def _named(self, wanted: Reference) -> str:
        return self._by_id(wanted.id).model if wanted.id else wanted.model

    def _by_id(self, wanted: str) -> Reference:
        """A reference by names for an id."""
        kind, _, start = wanted.partition("_")
        bodies = self._use(lambda one: indexer.bodies(one, self.root, self.progress, self.space))
        if kind == "m":
            found = [
                Reference(name) for name, body in bodies.items() if body["id"].startswith(f"m_{start[:12]}")
            ]
        else:
            found = [
                Reference(name, entry["version"])
                for name, body in bodies.items()
                for entry in body["versions"]
                if entry["oid"].startswith(start)
            ]
        if len(found) != 1:
            what = "models" if kind == "m" else "versions"
            raise Refused(f"{wanted}: {len(found) or 'no'} {what} have this id", "gitreg list")
        return found[0]

    def _refuse(self, name: str) -> NoReturn:
        self._stray = None
        folders = [path.parent.name for path in self.root.glob("models/*/model.yaml")]
        raise resolver.no_model(Reference(name), folders, self.names(), self.stray.get(name, ()))


def _stray(summaries: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(s["odd"]) for name, s in summaries.items() if s["odd"] and not s["about"]}


def _stages(raw: bytes) -> dict[str, Any]:
    from gitreg.manifest import judged, registry_of

    try:
        return dict(registry_of(*judged(raw, _REGISTRY_FILE, "registry")).stages)
    except InvalidFiles:
        return {}


def _ordinals(body: Mapping[str, Any]) -> Callable[[Any], int]:
    ordinals = {entry["version"]: entry["ordinal"] for entry in body["versions"]}
    return lambda version: int(ordinals[version.version])
