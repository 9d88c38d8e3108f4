"""Writes the next version into a manifest: named, or as far as the schema's changes demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitreg import edits, planner, safewrite
from gitreg.compatibility import Change, compare, needed_bump
from gitreg.declared import Manifest
from gitreg.errors import InvalidFiles, Refused
from gitreg.gather import Gathered, content_of
from gitreg.manifest import read_manifest
from gitreg.recorded import ModelRecord, Version
from gitreg.versions import bumped, distance, first, suffices

if TYPE_CHECKING:
    from gitreg.registry import Registry


@dataclass
class Bumped:
    """A version that was written, or stood there already.

    Attributes:
        last: the highest registered version; None when there is none, and nothing to bump.
        before, after: what the manifest said, and says.
        level: how far `after` is from `last`.
        changes: what the schema changes against `last`.
    """

    file: str
    last: str | None
    before: str | None
    after: str | None
    level: str
    changes: list[Change]


def bump(registry: Registry, model: str, level: str = "auto") -> Bumped:
    """Write the next version of a model; see `Registry.bump`."""
    file = registry.manifest_file(model)
    read = read_manifest(registry.root, file)
    if read.manifest is None:
        raise InvalidFiles(read.problems, f"gitreg check {model}")
    manifest, scheme = read.manifest, registry.file.scheme
    known = registry.record(manifest.name)
    if known.last is None:
        return Bumped(file, None, manifest.version, manifest.version, level, [])
    last = known.last.version
    changes = schema_changes(registry, known, known.last, manifest)
    needed = needed_bump(changes)
    wanted = _below_one(last, needed) if level == "auto" else level
    after = bumped(last, wanted, scheme)
    if not suffices(last, after, needed):
        told = "; ".join(change.text for change in changes if change.level == needed)
        raise Refused(
            f"{model}: from {last} to {after} is less than the change: {told}",
            f"gitreg bump {model} {needed}",
        )
    fits = manifest.version is not None and suffices(last, manifest.version, needed)
    if manifest.version == after or (level == "auto" and fits):
        level = distance(last, manifest.version or after) or wanted
        return Bumped(file, last, manifest.version, manifest.version, level, changes)
    path = registry.root / file
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    safewrite.replace(
        registry.root, file, edits.set_version(text, file, after).encode("utf-8", "surrogateescape")
    )
    return Bumped(file, last, manifest.version, after, wanted, changes)


def _below_one(last: str, needed: str) -> str:
    """Below 1.0.0 a breaking change takes a minor step (SemVer, rule 4)."""
    return "minor" if needed == "major" and last.startswith("0.") else needed


def schema_changes(
    registry: Registry, known: ModelRecord, version: Version, manifest: Manifest
) -> list[Change]:
    """What a manifest's schema changes against a registered version's."""
    old = planner.manifest_of(registry, known, version)
    return compare(old.schema, manifest.schema) if old else []


def version_of(registry: Registry, gathered: Gathered) -> tuple[str, int]:
    """The version that a model has as it lies here, and its ordinal; see `Registry.version_of`."""
    manifest = gathered.manifest
    assert manifest
    known = registry.record(manifest.name)
    digest = content_of(gathered).digest
    if manifest.version is None:
        if not known.versions:
            return first(registry.file.scheme), 0
        last = known.last
        assert last
        if registry.trailers(last.tag).get("Gitreg-Digest") != digest:
            old = planner.manifest_of(registry, known, last)
            level = needed_bump(compare(old.schema, manifest.schema) if old else [])
            return bumped(last.version, level, registry.file.scheme), 0
        return last.version, registry.ordinal(last)
    one = known.versions.get(manifest.version)
    if one is None or registry.trailers(one.tag).get("Gitreg-Digest", digest) != digest:
        return manifest.version, 0
    return manifest.version, registry.ordinal(one)
