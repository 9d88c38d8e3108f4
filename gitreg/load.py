"""load_model: from a URI to an object with `predict`. Imports next to nothing for what is on the shelf."""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from gitreg import places, resolver, shelf
from gitreg.errors import Outside, Refused
from gitreg.loaded import LoadedModel
from gitreg.loader import load_class
from gitreg.names import parse_reference
from gitreg.pins import pin
from gitreg.recorded import ModelRecord, Version
from gitreg.repository import Repository
from gitreg.schema import schema_of

if TYPE_CHECKING:
    from gitreg.registry import Registry


def load_model(
    uri: str,
    registry: Registry | str | os.PathLike[str] | None = None,
    *,
    digest: str | None = None,
    formats: Collection[str] | str | None = None,
    offline: bool | None = None,
) -> LoadedModel:
    """Load a registered version, whatever it was made with.

    Its code runs in this process, as that of anything you import: load from registries that you trust, and
    pin what was reviewed by its digest.

    Args:
        uri: `models:/churn/production`, `models:/churn/1.2.0`, `models:/churn/3` (the third one that was
            registered), `models:/churn/latest`, `models:/churn@production`; a reference as
            `churn#production`, `churn@1.2.0` or `churn`; or an id.
        registry: a `Registry`; a folder in one; or the address of a Git repository. By default what
            `GITREG_REGISTRY` says, else the one around the current folder.
        digest: the version's content digest, as `gitreg show` and `LoadedModel.digest` have it. Anything else
            is refused before anything of it is loaded, whatever tags, stages and caches say.
        formats: the only formats that files of the artifact may have, by their content: "onnx",
            "safetensors", ..., as `gitreg inspect --json` calls them.
        offline: use no network; by default as `GITREG_OFFLINE` says.

    Raises:
        Usage: `uri` is no reference; `digest` is none, or not whole; there is no such format.
        Refused: there is no such version, or its files are not what its tag says; it is not what `digest` and
            `formats` expect.
        NotSupported: its type has no loader. It is a NotImplementedError.
        Outside: the registry or the artifact cannot be fetched.
    """
    wanted = pin(digest, formats)
    if isinstance(registry, Repository):
        source: Repository = registry
        place = registry.place
    else:
        place = places.find(registry or os.environ.get("GITREG_REGISTRY") or ".", offline)
        source = Repository(place.root, place.bare, place.prefix)
    model, version = resolver.resolve(source, parse_reference(uri))
    name = f"{model.name}@{version.version}"
    if wanted.digest and (said := source.trailers(version.tag).get("Gitreg-Digest")):
        wanted.hold_digest(name, said, "its tag")
    entry = shelf.find(source, version) or _fetched(source, place, model, version)
    if wanted.digest:
        found = shelf.proven(entry)
        if found is None:
            found, entry = _anew(source, place, model, version)
        wanted.hold_digest(name, found, "what is to be loaded")
    if wanted.formats:
        wanted.hold_files(name, entry.files)
    return _loaded(entry, place, model, version)


def _anew(
    source: Repository, place: places.Place, model: ModelRecord, version: Version
) -> tuple[str, shelf.Entry]:
    """A version whose package was not what it should be, laid out once more; its digest and entry."""
    entry = _fetched(source, place, model, version, anew=True)
    found = shelf.proven(entry)
    if found is None:
        raise Refused(
            f"{model.name}@{version.version}: its package in the cache is not what it was made of",
            "gitreg cache clear",
        )
    return found, entry


def _fetched(
    source: Repository, place: places.Place, model: ModelRecord, version: Version, anew: bool = False
) -> shelf.Entry:
    from gitreg.registry import Registry

    whole = source if isinstance(source, Registry) else Registry(place)
    try:
        return shelf.put(whole, model, version, anew)
    except Outside as error:
        if not place.offline:
            raise
        name = f"{model.name}@{version.version}"
        why = "its package in the cache cannot be used" if anew else "was never loaded here"
        text = f"offline, and {name}: {why}" if anew else f"offline, and {name} {why}"
        raise Outside(f"{text}: {error.message}", error.hint) from error


def _loaded(entry: shelf.Entry, place: places.Place, model: ModelRecord, version: Version) -> LoadedModel:
    known = entry.known
    metadata = {
        **known["metadata"],
        "stages": sorted(stage for stage, there in model.stages.items() if there == version.version),
        "deprecated": model.deprecated is not None,
        "registry": place.shown,
        "as_of": datetime.fromtimestamp(place.as_of, timezone.utc).isoformat() if place.as_of else None,
        "package": str(entry.package),
    }
    loaded = load_class(entry.folder, known["class"], known["artifact"])
    return LoadedModel(loaded, schema_of(known["schema"]), known["custom_batching"], metadata)
