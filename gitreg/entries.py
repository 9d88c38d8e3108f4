"""Rows of the index -> what readers see. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from gitreg.catalogued import ModelVersion, ModelVersionStage

_LAST = 253_402_300_799  # the last second of the year 9999


def when(seconds: int) -> datetime:
    """A tagger time; one that no calendar has is the calendar's end."""
    return datetime.fromtimestamp(max(0, min(seconds, _LAST)), timezone.utc)


def version_of(
    model: str, body: Mapping[str, Any], entry: Mapping[str, Any], contents: Mapping[str, Any]
) -> ModelVersion:
    """Returns a version.

    Args:
        body: what the index has of the model, or as much of it: `id`, `latest`, `stays`.
        entry: what it has of the version.
        contents: by the ids of tags.
    """
    return ModelVersion(
        model=model,
        version=entry["version"],
        ordinal=entry["ordinal"],
        id=f"v_{entry['oid'][:12]}",
        model_id=body["id"],
        created=when(entry["time"]),
        by=entry["by"],
        message=entry["message"],
        tag=entry["tag"],
        commit=entry["commit"],
        digest=entry["trailers"].get("Gitreg-Digest", ""),
        gone=when(entry["gone"]) if entry["gone"] is not None else None,
        latest=entry["version"] == body["latest"],
        stages=tuple(entry["stages"]),
        stays=tuple(_stay(said) for said in body["stays"] if said["version"] == entry["version"]),
        trailers=entry["trailers"],
        content=contents.get(entry["oid"], {}),
        odd_tag=tuple(entry["odd"]),
    )


def _stay(said: Mapping[str, Any]) -> ModelVersionStage:
    until = when(said["until"]) if said["until"] is not None else None
    return ModelVersionStage(
        said["stage"], said["version"], when(said["since"]), until, said["by"], said["message"], said["tag"]
    )
