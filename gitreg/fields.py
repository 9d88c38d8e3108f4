"""What can be searched for: the fields of a version, their kinds, and MLflow's names for them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gitreg.names import did_you_mean

Kind = Literal["text", "texts", "number", "version", "time", "boolean", "any"]

# What tags record.
RECORDED: dict[str, Kind] = {
    "name": "text",
    "version": "version",
    "ordinal": "number",
    "id": "text",
    "model_id": "text",
    "created": "time",
    "by": "text",
    "message": "text",
    "commit": "text",
    "digest": "text",
    "stage": "texts",
    "latest": "boolean",
    "deprecated": "boolean",
}
# What the manifest said, and the files that it names.
DECLARED: dict[str, Kind] = {
    "title": "text",
    "description": "text",
    "release_description": "text",
    "owner": "texts",
    "type": "text",
    "format": "text",
    "license": "text",
    "file": "text",
    "image": "text",
    "artifact": "text",
    "size": "number",
    "requirement": "texts",
    "valid": "boolean",
    "pipeline_name": "text",
    "pipeline_run_id": "text",
    "step_name": "text",
    "run_id": "text",
}
# Each with keys of the user's own below it.
KEYED: dict[str, Kind] = {"tags": "any", "params": "any", "metrics": "number", "lineage": "texts"}
SCHEMA = {
    f"schema.{side}.{what}": kind
    for side in ("inputs", "outputs")
    for what, kind in (("name", "texts"), ("data_type", "texts"))
}
ALIASES = {
    "model": "name",
    "version_number": "ordinal",
    "creation_timestamp": "created",
    "last_updated_timestamp": "created",
    "creation_time": "created",
    "author": "by",
    "user_id": "by",
    "current_stage": "stage",
    "stages": "stage",
    "owners": "owner",
    "requirements": "requirement",
    "source": "artifact",
    "source_path": "artifact",
    "pipeline": "pipeline_name",
    "step": "step_name",
}
KEYED_ALIASES = {
    "tag": "tags",
    "param": "params",
    "parameter": "params",
    "parameters": "params",
    "metric": "metrics",
}
# MLflow's word before a field that has no keys.
_ATTRIBUTES = ("attribute", "attributes", "attr")


@dataclass(frozen=True)
class Field:
    """One field of a version: as `tags.domain`.

    Attributes:
        name: what its value lies under in a row.
        kind: what may be asked of it.
    """

    name: str
    kind: Kind

    @property
    def recorded(self) -> bool:
        """Whether tags alone say it."""
        return self.name in RECORDED


def field(parts: list[str]) -> Field | str:
    """The field that dotted words name, or why there is none."""
    first, rest = parts[0].lower(), parts[1:]
    if first in _ATTRIBUTES and rest:
        first, rest = rest[0].lower(), rest[1:]
    first = KEYED_ALIASES.get(first, first)
    if first in KEYED:
        if not rest:
            return f"which of the {first}? write {first}.NAME"
        return Field(".".join([first, *rest]), KEYED[first])
    whole = ".".join([first, *rest])
    if first == "schema":
        whole = whole.lower()
        whole = f"{whole}.name" if whole in ("schema.inputs", "schema.outputs") else whole
        if whole in SCHEMA:
            return Field(whole, "texts")
    elif not rest:
        whole = ALIASES.get(whole, whole)
        kind = RECORDED.get(whole) or DECLARED.get(whole)
        if kind:
            return Field(whole, kind)
    known = [*RECORDED, *DECLARED, *ALIASES, *SCHEMA, *(f"{key}.NAME" for key in KEYED)]
    guess = did_you_mean(whole, known)
    if not guess and rest:
        guess = did_you_mean(first, [*KEYED, "schema"]) or did_you_mean(rest[-1], known)
    return f"there is no field '{whole[:80]}'{guess}"


def facts(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a version's content says, by the names of fields."""
    said: dict[str, Any] = {key: content[key] for key in DECLARED if isinstance(content.get(key), str)}
    artifact = content.get("artifact") or {}
    release = content.get("release") or {}
    run = (content.get("lineage") or {}).get("run")
    run = run if isinstance(run, dict) else {}
    more: dict[str, Any] = {
        "release_description": release.get("description"),
        "owner": content.get("owners"),
        "requirement": content.get("requirements"),
        "artifact": artifact.get("hash"),
        "size": artifact.get("size"),
        "pipeline_name": run.get("pipeline"),
        "pipeline_run_id": run.get("pipeline_run_id"),
        "step_name": run.get("step"),
        "run_id": run.get("run_id"),
        "valid": not content.get("problems"),
    }
    said.update({key: value for key, value in more.items() if value not in (None, "", [])})
    for key, value in {**(content.get("tags") or {}), **(release.get("tags") or {})}.items():
        said[f"tags.{key}"] = value
    for key, value in (content.get("params") or {}).items():
        said[f"params.{key}"] = value
    for key, value in (content.get("metrics") or {}).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            said[f"metrics.{key}"] = value
    for side, items in (content.get("schema") or {}).items():
        if items:
            said[f"schema.{side}.name"] = [item["name"] for item in items]
            said[f"schema.{side}.data_type"] = [item["data_type"] for item in items]
    for key, values in _leaves(content.get("lineage") or {}, "lineage").items():
        said[key] = values
    return said


def _leaves(value: Any, above: str) -> dict[str, list[Any]]:
    """Texts and numbers by dotted name; those of lists together."""
    found: dict[str, list[Any]] = {}
    todo = [(above, value)]
    while todo:
        name, one = todo.pop()
        if isinstance(one, dict):
            todo += [(f"{name}.{key}", inner) for key, inner in one.items()]
        elif isinstance(one, list):
            todo += [(name, inner) for inner in reversed(one)]
        elif one is not None:
            found.setdefault(name, []).append(one)
    return found
