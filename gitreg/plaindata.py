"""Models, versions and their histories as plain data with stable keys: what `--json`
prints. Times are ISO 8601."""

from __future__ import annotations

from typing import Any

from gitreg.catalogued import ModelEvent, ModelVersion, ModelVersionStage, RegisteredModel


def version_data(one: ModelVersion) -> dict[str, Any]:
    """A version as plain data."""
    return {
        "model": one.model,
        "version": one.version,
        "ordinal": one.ordinal,
        "id": one.id,
        "model_id": one.model_id,
        "uri": one.uri,
        "created": one.created.isoformat(),
        "by": one.by,
        "message": one.message,
        "tag": one.tag,
        "commit": one.commit,
        "digest": one.digest,
        "gone": one.gone.isoformat() if one.gone else None,
        "latest": one.latest,
        "stages": list(one.stages),
        "stays": [stay_data(stay) for stay in one.stays],
        "file": one.file,
        "problems": list(one.problems),
        "odd": list(one.odd),
        "title": one.title,
        "description": one.description,
        "release_description": one.release_description,
        "tags": dict(one.tags),
        "model_tags": dict(one.model_tags),
        "release_tags": dict(one.release_tags),
        "owners": list(one.owners),
        "type": one.type,
        "format": one.format,
        "license": one.license,
        "image": one.image,
        "params": dict(one.params),
        "metrics": dict(one.metrics),
        "schema": {"inputs": list(one.inputs), "outputs": list(one.outputs)},
        "requirements": list(one.requirements),
        "artifact": dict(one.artifact),
        "artifact_hash": one.artifact_hash,
        "size": one.size,
        "card": one.card,
        "lineage": dict(one.lineage),
        "pipeline_name": one.pipeline_name,
        "pipeline_run_id": one.pipeline_run_id,
        "step_name": one.step_name,
        "run_id": one.run_id,
        "trailers": dict(one.trailers),
    }


def stay_data(one: ModelVersionStage) -> dict[str, Any]:
    """A stay as plain data."""
    return {
        "stage": one.stage,
        "version": one.version,
        "since": one.since.isoformat(),
        "until": one.until.isoformat() if one.until else None,
        "by": one.by,
        "message": one.message,
        "tag": one.tag,
    }


def model_data(one: RegisteredModel) -> dict[str, Any]:
    """A model as plain data, without its versions."""
    return {
        "name": one.name,
        "id": one.id,
        "title": one.title,
        "latest": one.latest,
        "stages": dict(one.stages),
        "count": one.count,
        "type": one.type,
        "description": one.description,
        "tags": dict(one.tags),
        "owners": list(one.owners),
        "created": one.created.isoformat(),
        "updated": one.updated.isoformat(),
        "deprecated": one.deprecated,
        "problems": list(one.problems),
        "odd": list(one.odd),
    }


def event_data(one: ModelEvent) -> dict[str, Any]:
    """A line of a history as plain data."""
    return {
        "kind": one.kind,
        "version": one.version,
        "stage": one.stage,
        "when": one.when.isoformat(),
        "by": one.by,
        "message": one.message,
        "tag": one.tag,
        "commit": one.commit,
        "odd": one.odd,
    }
