"""The registry as web pages: static files (`build`), or a server of the working tree (`serving`).

    catalog + commits -> telling (plain data) -> pages (Jinja, data scripts) -> writing (a folder) | serving

A model's pages are made anew only when its tags, or what all pages depend on, are others than those that its
pages there were made from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitreg import folders, indexer, outputs
from gitreg.catalog import Catalog
from gitreg.catalogued import ModelVersion, RegisteredModel
from gitreg.errors import Refused
from gitreg.git import plain
from gitreg.site.pages import Pages
from gitreg.site.writing import Folder, Written
from gitreg.versions import order

# With more models to make than this, all versions are read at once: each model's alone costs a Git.
_FEW = 50
_CHUNK = 50

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Built:
    """A site that was built.

    Attributes:
        folder: where.
        models: how many there are; `made` of them anew.
        files: written, removed, the same.
    """

    folder: Path
    models: int
    made: int
    files: Written


def build(catalog: Catalog, folder: Path, progress: Progress | None = None) -> Built:
    """Write a registry's pages into a folder.

    Args:
        folder: may hold other files, which are left alone.
        progress: is told what is done: what, how many, of how many.

    Raises:
        Refused: a file is in the way that gitreg did not write.
    """
    folder = outputs.claim(folder)
    if folder.resolve() in (catalog.root, *catalog.root.parents):
        raise Refused(f"{folder} has the registry itself in it", "-o DIR, a folder of its own")
    pages = Pages(catalog)
    with folders.disk(folder), Folder(folder).open() as place:
        keys = _keys(catalog, pages)
        models = catalog.models()
        names = {one.name for one in models}
        keys = {name: key for name, key in keys.items() if name in names}
        fresh = [one for one in models if not _is_made(place, one.name, keys)]
        new: dict[str, bytes] = dict(pages.fixed())
        new["index.html"] = pages.registry(models)
        new.update(pages.rows(models))
        new.update(_of_models(pages, fresh, progress))
        stay = names - {one.name for one in fresh}
        kept = {path for name in stay for path in _paths(name)}
        written = place.put(new, kept, keys)
    return Built(folder, len(models), len(fresh), written)


def _paths(name: str) -> list[str]:
    return [f"models/{name}/data.js", f"models/{name}/index.html"]


def _is_made(place: Folder, name: str, keys: Mapping[str, str]) -> bool:
    return place.record.models.get(name) == keys.get(name, "") and place.is_whole(_paths(name))


def _keys(catalog: Catalog, pages: Pages) -> dict[str, str]:
    """model -> digest of all that its pages are made from: its tags, which name its commits, and the rest."""
    common = json.dumps(pages.key(), sort_keys=True, default=str)
    groups = indexer.grouped(plain.tags(catalog.root), catalog.space)
    said = {name: f"{common}\n{indexer.digest_of(lines)}" for name, lines in groups.items()}
    return {name: hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() for name, text in said.items()}


def _of_models(
    pages: Pages, models: Sequence[RegisteredModel], progress: Progress | None
) -> dict[str, bytes]:
    """Pages and data of models."""
    found: dict[str, bytes] = {}
    many = _versions(pages.catalog) if len(models) > _FEW else {}
    for start in range(0, len(models), _CHUNK):
        some = models[start : start + _CHUNK]
        versions = {one.name: many.get(one.name) or one.versions() for one in some}
        samples = pages.extras.samples([v for them in versions.values() for v in them])
        texts = pages.extras.cards([one.about for one in some])
        for one in some:
            card = texts.get(one.about.id)
            found.update(pages.pages_of(one, versions[one.name], samples, card))
        if progress:
            progress("pages made", start + len(some), len(models))
    return found


def _versions(catalog: Catalog) -> dict[str, list[ModelVersion]]:
    found: dict[str, list[ModelVersion]] = {}
    for one in catalog.versions():
        found.setdefault(one.model, []).append(one)
    for versions in found.values():
        versions.sort(key=lambda one: order(one.version), reverse=True)
    return found


def data_of(built: Built) -> dict[str, Any]:
    """What was built, as plain data with stable keys."""
    return {
        "folder": str(built.folder),
        "page": (built.folder / "index.html").as_uri(),
        "models": built.models,
        "made": built.made,
        "written": list(built.files.written),
        "removed": list(built.files.removed),
        "same": built.files.same,
    }
