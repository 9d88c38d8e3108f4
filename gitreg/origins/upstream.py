"""A version of another registry: held against its tag, and what of it a subscription takes over."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import clones, folders
from gitreg.addresses import registry_mistake
from gitreg.documents import Path as DocumentPath
from gitreg.errors import InvalidFiles, Outside, Refused
from gitreg.gather import Gathered, content_of
from gitreg.manifest import named_paths
from gitreg.recorded import ModelRecord, Version
from gitreg.store import Tracked

if TYPE_CHECKING:
    from gitreg.registry import Registry

# What is of the other registry alone; and `trust`, which everybody gives for himself.
_THEIRS = ("name", "version", "owners", "release", "artifact", "trust", "title")


@dataclass
class Taken:
    """What a subscription takes over of a version.

    Attributes:
        fields: of the manifest, with paths as they are here.
        files: path below the model's folder here -> content.
        tracked: its artifact, as DVC tracks it there.
        remotes: DVC's remotes there, as far as they may be used: name -> settings.
        source: `lineage.source`.
        trusts: what the manifest there lets its loader unpickle.
    """

    fields: dict[str, Any]
    files: dict[str, bytes]
    tracked: Tracked | None
    remotes: dict[str, dict[str, Any]]
    source: dict[str, Any]
    trusts: bool = False
    tag: str = ""
    todo: list[str] = field(default_factory=list)


class Upstream:
    """Another registry.

    Args:
        address: as the manifest names it: what Git takes, or a folder.

    Raises:
        Refused: Git should not be given this address, or there is no registry.
        Outside: it cannot be reached now.
    """

    def __init__(self, address: str) -> None:
        from gitreg.registry import Registry

        mistake = registry_mistake(address)
        if mistake:
            raise Refused(mistake if mistake.startswith("'") else f"the registry's address {mistake}")
        self.address = address
        with warnings.catch_warnings():
            warnings.simplefilter("error", clones.Stale)  # what it was earlier is not what it is
            try:
                self.registry: Registry = Registry(address)
            except clones.Stale as stale:
                raise Outside(
                    f"{address} cannot be asked now: {stale}", "is the address still right?"
                ) from None

    def find(self, reference: str) -> tuple[ModelRecord, Version]:
        """A registered version there; of a model's name, the highest.

        Raises:
            Refused: there is none, or it was deregistered.
        """
        try:
            return self.registry.resolve(reference)
        except Refused as refused:
            raise Refused(f"{self.address}: {refused.message}", refused.hint) from None

    def take(self, known: ModelRecord, version: Version) -> Taken:
        """What a subscription takes over of a version.

        Raises:
            Refused: it is not what its tag says, or its files are broken.
            Outside: its files cannot be fetched.
        """
        with self._laid(known, version) as (there, gathered):
            manifest = gathered.manifest
            assert manifest
            content = content_of(gathered)
            said = self.registry.trailers(version.tag)
            for key, now in (("Gitreg-Digest", content.digest), ("Gitreg-Artifact", content.artifact)):
                if said.get(key, now) != now:
                    what = f"{known.name}@{version.version} of {self.address}"
                    raise Refused(
                        f"{what} is not what its tag says: {key} {said[key]}, and it is {now}",
                        "gitreg doctor, there",
                    )
            data = dict(there.read(gathered.file).document.data)
            trusts = "trust" in data
            fields = {key: value for key, value in data.items() if key not in _THEIRS}
            files = _files(there.root, manifest.folder, fields, bool(manifest.model_class))
            lineage = fields.get("lineage")
            source = {
                "registry": self.address,
                "model": known.name,
                "version": version.version,
                "commit": version.tag.commit,
                "tag": version.tag.oid,
                "digest": content.digest,
            }
            fields["lineage"] = {**(lineage if isinstance(lineage, Mapping) else {}), "source": source}
            remotes = there.store.lendable()
        return Taken(fields, files, gathered.tracked, remotes, source, trusts, version.tag.name)

    @contextmanager
    def _laid(self, known: ModelRecord, version: Version) -> Iterator[tuple[Registry, Gathered]]:
        with self.registry.at(version.tag.commit, model=known.name) as there:
            gathered = there.gather(there.manifest_file(known.name), build=False)
            if gathered.errors or gathered.manifest is None:
                raise InvalidFiles(
                    gathered.errors, f"{known.name}@{version.version} of {self.address} is broken"
                )
            yield there, gathered


def _files(root: Path, folder: str, fields: dict[str, Any], code: bool) -> dict[str, bytes]:
    """The files that a manifest names, by their places here; the fields are changed to name these."""
    found: dict[str, bytes] = {}
    named: list[tuple[DocumentPath, str]] = list(named_paths(fields))
    for path, text in named:
        place = Path(_normal(f"{folder}/{text}"))
        inside = place.as_posix() == folder or place.is_relative_to(folder)
        below = place.relative_to(folder) if inside else Path("upstream") / place
        _set(fields, path, below.as_posix())
        found |= _read(root / place, below)
    if code and "code" not in fields:
        found |= _read(root / folder, Path())
    kept = {name: data for name, data in found.items() if not _own(name)}
    return dict(sorted(kept.items()))


def _normal(text: str) -> str:
    import os

    return os.path.normpath(text)


def _own(name: str) -> bool:
    """Whether a file is one that DVC, Git or gitreg keeps in a model's folder."""
    return name == "model.yaml" or name.rpartition("/")[2] == ".gitignore" or name.endswith(".dvc")


def _read(place: Path, below: Path) -> dict[str, bytes]:
    if place.is_file() and not place.is_symlink():
        return {below.as_posix(): place.read_bytes()}
    return {(below / name).as_posix(): (place / name).read_bytes() for name in folders.tree_files(place)}


def _set(data: Any, path: DocumentPath, value: str) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value
