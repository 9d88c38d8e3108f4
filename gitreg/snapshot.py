"""The registry's files as a commit has them, read from Git's objects: no checkout, and no code of anybody."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from gitreg import git, neighbours, stagefile
from gitreg.datafiles import values_of
from gitreg.declared import Manifest, RegistryFile
from gitreg.desired import WantedStay
from gitreg.errors import InvalidFiles, Problem, Refused
from gitreg.git import clones, objects
from gitreg.globs import Glob
from gitreg.manifest import REGISTRY_FILE, Read, judged, manifest_of, registry_of
from gitreg.memo import Memo
from gitreg.names import NAME, NAME_RULE, did_you_mean, models_here

_LINK = "120000"
_ELSEWHERE = {_LINK: "symbolic link", "160000": "submodule"}
# What a manifest says of itself, by the id of its blob: name, version, and the place of each.
_KIND = "blob named"


class Snapshot:
    """A commit of the repository that a registry lies in.

    Args:
        root: the registry's root.
        commit: a full id.
        memo: remembers what blobs say, which never changes.
        prefix: where the registry lies in the repository; by default as its root does.

    Raises:
        Refused: there is no registry.yaml at that commit.
    """

    def __init__(self, root: Path, commit: str, memo: Memo, prefix: str | None = None) -> None:
        self.root, self.commit, self.memo = root, commit, memo
        self.prefix = git.prefix(root) if prefix is None else prefix
        self.reader = objects.Reader(root)

    def read(self, file: str) -> bytes | None:
        """A file's content; None where there is none, or it is no plain file."""
        found = self.reader.read(f"{self.commit}:{self.prefix}{file}")
        return found[1] if found else None

    def dvc_config(self) -> tuple[bytes | None, str | None]:
        """`.dvc/config`, read through no link; and why there is none, where it or `.dvc` is a link."""
        asked = [f":(literal){self.prefix}{name}" for name in (".dvc", ".dvc/config")]
        entries = {
            path.removeprefix(self.prefix): entry
            for path, entry in objects.tree(self.root, self.commit, asked).items()
        }
        for name in (".dvc", ".dvc/config"):
            if name in entries and not entries[name].mode.startswith("100"):
                what = "a symbolic link" if entries[name].mode == _LINK else "a submodule"
                return None, f"{name} is {what} in commit {self.commit[:12]}, and is not followed"
        found = self.reader.read(entries[".dvc/config"].oid) if ".dvc/config" in entries else None
        return (found[1] if found else None), None

    def obtain(self, oids: Iterable[str]) -> None:
        """Fetch contents that are about to be read, all at once, where a clone has been made without them."""
        asked = set(oids)
        if len(asked) > 1:
            clones.obtain(self.root, asked, [self.commit])

    @cached_property
    def tree(self) -> dict[str, objects.Entry]:
        """Every file below the root."""
        under = [f":(literal){self.prefix}"] if self.prefix else []
        entries = objects.tree(self.root, self.commit, under)
        return {path.removeprefix(self.prefix): entry for path, entry in entries.items()}

    @cached_property
    def file(self) -> RegistryFile:
        """registry.yaml.

        Raises:
            Refused: there is none, or it is broken.
        """
        raw = self.read(REGISTRY_FILE)
        if raw is None:
            raise Refused(f"commit {self.commit[:12]} has no {REGISTRY_FILE}", self._elsewhere())
        return registry_of(*judged(raw, REGISTRY_FILE, "registry"), self.prefix.removesuffix("/"))

    def _elsewhere(self) -> str:
        found = [path for path in objects.tree(self.root, self.commit) if path.endswith(f"/{REGISTRY_FILE}")]
        return f"#subdirectory={found[0].rpartition('/')[0]}" if found else "is it committed?"

    @cached_property
    def manifests(self) -> dict[str, str]:
        """manifest -> id of its blob, sorted by path."""
        wanted, inner = Glob(self.file.models), self._inner()
        return {
            path: entry.oid
            for path, entry in sorted(self.tree.items())
            if wanted.match(path) and entry.mode != _LINK and not _hidden(path) and not path.startswith(inner)
        }

    def _inner(self) -> tuple[str, ...]:
        """The folders of registries inside of this one's: their manifests are theirs."""
        if not any(path.endswith(f"/{REGISTRY_FILE}") for path in self.tree):
            return ()
        paths = [f"{self.prefix}{path}" for path in self.tree]
        found = neighbours.folders(paths, self.prefix.removesuffix("/"), self.file.ignore)
        others = neighbours.at(self.root, self.commit, found)
        return tuple(f"{one.folder.removeprefix(self.prefix)}/" for one in others)

    def named(self, files: Iterable[str] | None = None) -> tuple[dict[str, Manifested], list[Problem]]:
        """name -> what its manifest says of itself; and what is wrong with names.

        Args:
            files: look at these manifests alone.
        """
        known = self.memo.recall(_KIND) if files is None else {}
        fresh: dict[str, tuple[dict[str, Any], Any]] = {}
        found: dict[str, Manifested] = {}
        problems: list[Problem] = []
        some = self.manifests if files is None else self._some(files)
        self.obtain(oid for oid in some.values() if oid not in known)
        for file, oid in some.items():
            if oid not in known:
                known[oid] = _said(self.reader.read(oid), file)
                fresh[oid] = ({}, known[oid])
            said = known[oid]
            line, column = said["places"]["name"]
            if said["broken"]:
                problems.append(Problem(file, *said["broken"]))
            elif not isinstance(said["name"], str) or not NAME.match(said["name"]):
                problems.append(
                    Problem(file, line, column, "name", f"{said['name']!r} is not a model name: {NAME_RULE}")
                )
            elif said["name"] in found:
                message = f"'{said['name']}' is taken by {found[said['name']].file}"
                problems.append(Problem(file, line, column, "name", message))
            else:
                found[said["name"]] = Manifested(file, said)
        self.memo.remember(_KIND, fresh)
        return found, problems

    def _some(self, files: Iterable[str]) -> dict[str, str]:
        """Some manifests, as `manifests` has them."""
        asked = {f"{self.prefix}{file}" for file in files}
        paths = [f":(literal){path}" for path in sorted(asked)]
        found = objects.tree(self.root, self.commit, paths) if paths else {}
        return {
            path.removeprefix(self.prefix): entry.oid
            for path, entry in sorted(found.items())
            if entry.mode not in _ELSEWHERE and path in asked  # a folder of that name holds others
        }

    @cached_property
    def stage_files(self) -> dict[str, objects.Entry]:
        """The files in `stages/`; or `stages` itself, where it is a link or a submodule."""
        found = objects.tree(self.root, self.commit, [f":(literal){self.prefix}stages"])
        return {path.removeprefix(self.prefix): entry for path, entry in found.items()}

    def misplaced(self, whole: bool) -> list[Problem]:
        """Links and submodules where stage files or, with `whole`, manifests should be."""
        asked = dict(self.stage_files)
        if whole:
            wanted, name = Glob(self.file.models), self.file.models.rpartition("/")[2]
            modes = {path: entry for path, entry in self.tree.items() if entry.mode in _ELSEWHERE}
            asked |= {p: e for p, e in modes.items() if wanted.match(p) or wanted.match(f"{p}/{name}")}
        return [
            Problem(path, 0, 0, "", f"is a {_ELSEWHERE[entry.mode]}, which leads nowhere in a commit")
            for path, entry in asked.items()
            if entry.mode in _ELSEWHERE
        ]

    def stays(self, models: Collection[str] | None = None) -> tuple[list[WantedStay], list[Problem]]:
        """Every line of every stage file, in the order of registry.yaml's stages.

        Args:
            models: only the lines on these.
        """
        found: list[WantedStay] = []
        problems: list[Problem] = []
        for stage in self.file.stages:
            some, wrong = self.stays_of(stage, models)
            found += some
            problems += wrong
        return found, problems

    def stays_of(
        self, stage: str, models: Collection[str] | None = None
    ) -> tuple[list[WantedStay], list[Problem]]:
        """Every line of one stage's file, or those on some models."""
        for ending in ("yaml", "yml"):
            file = f"stages/{stage}.{ending}"
            raw = self.read(file)
            if raw is not None:
                return stays_in(raw, file, stage, models)
        return [], []

    def manifest(self, file: str) -> Read | None:
        """A manifest; None where there is none."""
        raw = self.read(file)
        return manifest_of(*judged(raw, file, "model"), None) if raw is not None else None

    def manifest_named(self, name: str, guesses: Iterable[str] = ()) -> Manifest | None:
        """The manifest of a model, valid or None.

        Args:
            guesses: files in which it may be, before all are looked through.
        """
        for file in guesses:
            read = self.manifest(file)
            if read and read.manifest and read.manifest.name == name:
                return read.manifest
        try:
            said = self.named()[0].get(name)
        except Refused:  # the registry was not there yet, or somewhere else
            return None
        read = self.manifest(said.file) if said else None
        return read.manifest if read else None

    def values(self, said: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
        """Params or metrics: inline, or of a file. What cannot be read is empty: `check` tells."""
        if not isinstance(said, str):
            return said or {}
        raw = self.read(said)
        try:
            return values_of(raw, said) if raw is not None else {}
        except InvalidFiles:
            return {}


def stays_in(
    raw: bytes, file: str, stage: str, models: Collection[str] | None = None
) -> tuple[list[WantedStay], list[Problem]]:
    """The lines of a stage file, or those on some models."""
    lines = stagefile.entries(raw, models)
    if lines is None:
        document, problems = judged(raw, file, "stage")
        if problems:
            return [], problems
        data: Mapping[str, str] = document.data or {}
        lines = {name: (version, document.values[(name,)]) for name, version in data.items()}
    return [
        WantedStay(stage, name, version, file, *place)
        for name, (version, place) in lines.items()
        if models is None or name in models
    ], []


class Manifested:
    """What a manifest says of itself."""

    def __init__(self, file: str, said: Mapping[str, Any]) -> None:
        self.file = file
        self.version: str | None = said["version"]
        self.place: tuple[int, int] = tuple(said["places"]["version"])


def _said(found: tuple[str, bytes] | None, file: str) -> dict[str, Any]:
    document, problems = judged(found[1] if found else b"", file, None)
    data = document.data if isinstance(document.data, Mapping) else {}
    broken = None
    if problems:
        broken = [problems[0].line, problems[0].column, problems[0].path, problems[0].message]
    elif not data or "name" not in data:
        broken = [1, 1, "", "'name' is missing"]
    version = data.get("version")
    if version is not None and not isinstance(version, str):
        broken = [*document.values[("version",)], "version", f"expected a string, got {version!r}"]
    return {
        "name": data.get("name"),
        "version": version if isinstance(version, str) else None,
        "places": {key: list(document.values.get((key,), (0, 0))) for key in ("name", "version")},
        "broken": broken,
    }


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def unknown_model(name: str, names: Iterable[str]) -> Refused:
    """The error for a model that there is not."""
    known = sorted(names)
    return Refused(f"there is no model '{name}'{did_you_mean(name, known)}", models_here(known))
