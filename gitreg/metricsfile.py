"""Writes metrics where a manifest keeps them: its file (JSON, YAML, TOML) or itself. All else stays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gitreg import edits, safewrite
from gitreg.datafiles import read_values
from gitreg.errors import Refused
from gitreg.store import pipelines

if TYPE_CHECKING:
    from gitreg.declared import Manifest
    from gitreg.registry import Registry


def write(registry: Registry, manifest: Manifest, values: Mapping[str, float]) -> tuple[str, list[str]]:
    """Write metrics by dotted name; the file, and what its owner should know.

    Raises:
        Refused: one is no finite number; or the file cannot be edited without losing something.
        InvalidFiles: the file is broken.
    """
    odd = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if odd:
        raise Refused(f"{', '.join(odd)}: nothing was written", "a gate could never compare it")
    file = manifest.metrics if isinstance(manifest.metrics, str) else manifest.file
    place = registry.root / file
    own = file == manifest.file
    data = manifest.metrics if own else read_values(place, file)
    known = data if isinstance(data, Mapping) else {}
    changes = {("metrics", *_path(known, n)) if own else _path(known, n): v for n, v in values.items()}
    raw = place.read_bytes().decode("utf-8", "surrogateescape")
    text = _toml(raw, changes) if file.endswith(".toml") else edits.set_fields(raw, file, changes)
    if text != raw:
        safewrite.replace(registry.root, file, text.encode("utf-8", "surrogateescape"))
    return file, [] if own else _notes(registry, file)


def _path(known: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Where a metric stands: under its whole name, if that is there; else a mapping for each part of it."""
    return (name,) if name in known else tuple(name.split("."))


def _toml(text: str, changes: Mapping[tuple[str, ...], float]) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    for path, value in changes.items():
        table: Any = document
        for part in path[:-1]:
            table = table.setdefault(part, tomlkit.table())
            if not isinstance(table, Mapping):
                raise Refused(f"'{'.'.join(path)}' cannot be set: '{part}' is not a table")
        table[path[-1]] = value
    return tomlkit.dumps(document)


def _notes(registry: Registry, file: str) -> list[str]:
    """A pipeline that writes the file will write it again."""
    try:
        made = pipelines.find(registry.root, file)
    except Refused:
        return []
    if made is None:
        return []
    return [f"{file} is an output of the DVC stage {made.last.target}: dvc commit {made.last.target}"]
