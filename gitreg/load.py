"""load_model: from a URI to an object with `predict`. Imports next to nothing for what is on the shelf."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from gitreg import places, resolver, shelf
from gitreg.errors import Outside
from gitreg.loaded import LoadedModel
from gitreg.loader import load_class
from gitreg.names import parse_reference
from gitreg.recorded import ModelRecord, Version
from gitreg.repository import Repository
from gitreg.schema import schema_of

if TYPE_CHECKING:
    from gitreg.registry import Registry


def load_model(
    uri: str,
    registry: Registry | str | os.PathLike[str] | None = None,
    *,
    offline: bool | None = None,
) -> LoadedModel:
    """Load a registered version, whatever it was made with.

    Its code runs in this process, as that of anything you import: load from registries that you trust.

    Args:
        uri: `models:/churn/production`, `models:/churn/1.2.0`, `models:/churn/3` (the third one that was
            registered), `models:/churn/latest`, `models:/churn@production`; a reference as
            `churn#production`, `churn@1.2.0` or `churn`; or an id.
        registry: a `Registry`; a folder in one; or the address of a Git repository. By default what
            `GITREG_REGISTRY` says, else the one around the current folder.
        offline: use no network; by default as `GITREG_OFFLINE` says.

    Raises:
        Usage: `uri` is no reference.
        Refused: there is no such version, or its files are not what its tag says.
        NotSupported: its type has no loader. It is a NotImplementedError.
        Outside: the registry or the artifact cannot be fetched.
    """
    if isinstance(registry, Repository):
        source: Repository = registry
        place = registry.place
    else:
        place = places.find(registry or os.environ.get("GITREG_REGISTRY") or ".", offline)
        source = Repository(place.root, place.bare, place.prefix)
    model, version = resolver.resolve(source, parse_reference(uri))
    entry = shelf.find(source, version) or _fetched(source, place, model, version)
    return _loaded(entry, place, model, version)


def _fetched(source: Repository, place: places.Place, model: ModelRecord, version: Version) -> shelf.Entry:
    from gitreg.registry import Registry

    whole = source if isinstance(source, Registry) else Registry(place)
    try:
        return shelf.put(whole, model, version)
    except Outside as error:
        if not place.offline:
            raise
        name = f"{model.name}@{version.version}"
        raise Outside(f"offline, and {name} was never loaded here: {error.message}", error.hint) from error


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
