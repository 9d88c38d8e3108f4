"""The raw packages of registered versions, kept for loading: made once for all processes of a user.

    versions/<tag>.json     what is known of a version, and where its package is
    packages/<digest>/      its raw package, by the digest of the package's own record

A version is known by the id of the tag that registered it, which stands for all of its files. A package
appears whole, and is held against its record before it does. Later only sizes, times and inodes of its files
are looked at; where one is another than it was, everything is hashed, and a package that is not as its record
says is made anew. A consumer who pinned a content digest has all files hashed each time, and held against
that digest alone: nothing in the cache is taken for true then.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import caches, keeping
from gitreg.errors import Outside, Refused
from gitreg.recorded import ModelRecord, Version

if TYPE_CHECKING:
    from gitreg.packages import Parts
    from gitreg.registry import Registry
    from gitreg.repository import Repository

_LAYOUT = 1
# How long to wait for another process that fetches the same version: as large as artifacts are.
_PATIENCE = 4 * 3600.0


@dataclass(frozen=True)
class Entry:
    """A version on the shelf.

    Attributes:
        package: its raw package.
        known: what `_describe` says of it.
    """

    package: Path
    known: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The package's version folder."""
        return self.package / str(self.known["folder"])

    @property
    def files(self) -> dict[str, Path]:
        """The artifact's files, by their names in it."""
        from gitreg import folders

        top = self.folder / "model"
        return {name: top / name for name in folders.tree_files(top, bytecode=True)}


def find(repository: Repository, version: Version) -> Entry | None:
    """A version that is on the shelf, as it was put there; None where it is not."""
    file = _file(repository, version)
    try:
        said = json.loads(file.read_bytes())
        if said["layout"] != _LAYOUT:
            return None
        entry = Entry(caches.place("packages") / os.path.basename(said["package"]), said["known"])
        if entry.package.is_symlink():  # it is not read where that leads, and made anew
            return None
        if _stamps(entry.package, said["files"]) == said["files"]:
            return entry
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _examined(file, entry)


def proven(entry: Entry) -> str | None:
    """The content digest of a package as its files are now.

    None where these, or what a loader goes by, are not what it was made of: then it is to be made anew.
    """
    from gitreg import builder, folders, packages

    try:
        content = entry.known["content"]
        parts = packages.parts_in(content)
        expected = {**content["code"], **_beside(parts)}
        defs, place = entry.folder / "defs", parts.artifact.place
        if {path: folders.sha256(defs / path) for path in folders.tree_files(defs)} != expected:
            return None
        if parts.artifact.name and folders.tree_files(entry.folder / "model", True) != [parts.artifact.name]:
            return None
        if builder.local_artifact(entry.folder / place).digest != parts.artifact.digest:
            return None
    except (KeyError, TypeError, ValueError, AttributeError, OSError):  # a Refused is a ValueError
        return None
    digest = packages.digest_of(content)
    said = {
        "class": parts.entry,
        "artifact": place,
        "schema": content["schema"],
        "custom_batching": parts.batching.custom,
    }
    if any(entry.known.get(key) != value for key, value in said.items()):
        return None
    return digest if entry.known["metadata"].get("digest") == digest else None


def _beside(parts: Parts) -> dict[str, str]:
    """path -> SHA-256 of what a raw package has beside the modules of a model, as this gitreg writes it."""
    from gitreg.packages import carried

    files = {"model_class.txt": (parts.entry or "").encode(), **carried(parts, str)}
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items() if isinstance(data, bytes)}


def put(registry: Registry, model: ModelRecord, version: Version, anew: bool = False) -> Entry:
    """A version on the shelf; it is fetched and laid out if it is not there.

    Args:
        anew: lay it out in any case.

    Raises:
        InvalidFiles: its manifest, or what it names, has problems.
        Refused: its files are not what its tag says, or its artifact is corrupt.
        NotSupported: its type has no loader.
        Outside: something cannot be fetched.
    """
    with caches.locked(caches.place("locks") / f"{_key(registry, version)}.lock", _PATIENCE) as held:
        if not anew and (entry := find(registry, version)):
            return entry
        if not held:
            raise Outside(f"another process fetches {model.name}@{version.version}, and does not end")
        return _made(registry, model, version)


def _made(registry: Registry, model: ModelRecord, version: Version) -> Entry:
    from gitreg import builder, folders
    from gitreg.packages import content_data

    said = registry.trailers(version.tag).get("Gitreg-Digest")
    packages = caches.place("packages")
    with registry.at(version.tag.commit, model=model.name) as there, folders.aside(packages) as new:
        number = registry.ordinal(version)
        parts = there.workbench.registered(model.name, version.version, number, said)
        builder.whole("raw", parts, new / "package")
        record = builder.find_record(new / "package")
        assert record
        if wrong := builder.differences(new / "package", record, deep=_copied(new / "package")):
            raise Outside(f"{model.name}@{version.version} was not written as it should be: {wrong[0]}")
        known = _describe(there, model, version, number, record)
        known["class"] = parts.entry
        known["content"] = content_data(parts)
        target = caches.entry("packages", str(record["record"]).removeprefix("sha256:"))
        folders.put(new / "package", target)
    entry = Entry(target, known)
    _note(_file(registry, version), entry, record)
    return entry


def _describe(
    there: Registry, model: ModelRecord, version: Version, number: int, record: dict[str, Any]
) -> dict[str, Any]:
    """What a loader needs of a version, and what `LoadedModel.metadata` says of it."""
    manifest = there.read(there.manifest_file(model.name)).manifest
    assert manifest
    return {
        "folder": str(number),
        "artifact": record["artifact"]["path"],
        "type": manifest.type,
        "custom_batching": record["custom_batching"],
        "schema": record["schema"],
        "metadata": {
            "name": model.name,
            "version": version.version,
            "id": version.id,
            "model_id": model.id,
            "ordinal": number,
            "type": manifest.type,
            "description": manifest.release.get("description") or manifest.description,
            "owners": list(manifest.owners),
            "tags": {**manifest.tags, **manifest.release.get("tags", {})},
            "params": dict(there.values(manifest.params)),
            "metrics": dict(there.values(manifest.metrics)),
            "lineage": dict(manifest.lineage),
            "license": manifest.license,
            "registered": version.tag.when.isoformat(),
            "tag": version.tag.name,
            "commit": version.tag.commit,
            "digest": record["digest"],
            "artifact": {key: record["artifact"][key] for key in ("digest", "size", "files")},
        },
    }


def _copied(package: Path) -> bool:
    """Whether a file is not simply another name of one whose content was hashed already."""
    from gitreg import folders

    paths = (package / path for path in folders.tree_files(package) if "/model/" in path)
    return any(path.stat().st_nlink == 1 for path in paths)


def _key(repository: Repository, version: Version) -> str:
    """A name for a version: its tag's id, which stands for its commit; of one in a subdirectory, that too."""
    within = repository.prefix.encode("utf-8", "surrogateescape")
    return version.tag.oid + (f"-{hashlib.sha256(within).hexdigest()[:8]}" if within else "")


def _file(repository: Repository, version: Version) -> Path:
    return keeping.file(caches.place("versions") / f"{_key(repository, version)}.json")


def _note(file: Path, entry: Entry, record: dict[str, Any]) -> None:
    from gitreg import folders

    paths = [*folders.tree_files(entry.package)]
    inner = {str(parent) for path in paths for parent in Path(path).parents}
    stamps = _stamps(entry.package, [*paths, *sorted(inner)])
    said = {"layout": _LAYOUT, "package": entry.package.name, "known": entry.known, "files": stamps}
    folders.replace(file, json.dumps(said, default=str).encode())


def _stamps(package: Path, paths: Any) -> dict[str, list[int]]:
    """Size, time and inode of files and folders; the time alone tells of what is new in a folder.

    Raises:
        OSError: one is not there.
    """
    top, found = f"{package}/", {}
    for path in paths:
        one = os.stat(top + path)
        found[path] = [one.st_size, one.st_mtime_ns, one.st_ino]
    return found


def _examined(file: Path, entry: Entry) -> Entry | None:
    """A package whose files have other times or inodes, as after a copy: as it should be, or None."""
    from gitreg import builder

    try:
        record = builder.find_record(entry.package)
        if record is None or builder.differences(entry.package, record, deep=True):
            return None
    except (OSError, Refused):
        return None
    if str(record["record"]).removeprefix("sha256:") != entry.package.name:
        return None
    with suppress(OSError):  # the cache may be part of an image that nobody can write to
        _note(file, entry, record)
    return entry
