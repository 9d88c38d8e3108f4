"""A model directory as ModelArts has it: `config.json`, `customize_service.py`, and the model's own files.

Dependencies become requirements, metrics metrics, the API the schema, as far as a schema can say it; what it
cannot say is kept in `serving`. The service's code is kept as it is, and is never imported here.
https://support.huaweicloud.com/intl/en-us/usermanual-standard-modelarts/inference-modelarts-0057.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from gitreg import builder, detection, folders, treefiles
from gitreg.datafiles import values_of
from gitreg.errors import Refused
from gitreg.origins.desk import Brought, Desk, absolute

_CONFIG, _SERVICE = "config.json", "customize_service.py"
_MOST = 1 << 20
_TYPES = {
    "tensorflow": "tensorflow",
    "mxnet": "mxnet",
    "caffe": "caffe",
    "spark_mllib": "spark-mllib",
    "scikit_learn": "scikit-learn",
    "xgboost": "xgboost",
    "image": "image",
    "pytorch": "pytorch",
    "custom": "custom",
}
_RESTRAINTS = {"EXACT": "==", "ATLEAST": ">=", "ATMOST": "<="}
_NUMBERS = {"number": "float", "integer": "long", "string": "string", "boolean": "boolean"}


def matches(text: str) -> bool:
    """Whether a SOURCE is a folder with such a configuration."""
    folder = absolute(text)
    return os.path.isfile(folder / _CONFIG) and _is_config(folder / _CONFIG)


def _is_config(file: Path) -> bool:
    try:
        said = json.loads(file.read_bytes()) if file.stat().st_size <= _MOST else None
    except (ValueError, OSError, RecursionError):
        return file.with_name(_SERVICE).is_file()  # `bring` says what is wrong with it
    return (
        isinstance(said, Mapping)
        and "model_type" in said
        and bool({"apis", "model_algorithm", "dependencies", "metrics"} & {*said})
    )


def bring(desk: Desk, text: str) -> Brought:
    """Take the directory; see `origins`.

    Raises:
        Refused: it has no files of a model.
    """
    origin = absolute(text)
    said = configuration(origin / _CONFIG, f"{text}/{_CONFIG}")
    own = [name for name in folders.tree_files(origin) if "/" not in name and name.endswith(".py")]
    left = [origin / name for name in [_CONFIG, *own]]
    brought = Brought(fields=_fields(said), taken=[origin], made_elsewhere=True)
    image = said.get("swr_location")
    if isinstance(image, str) and "@sha256:" in image:
        brought.fields["image"] = image
    files = [f for f in folders.tree_files(origin) if origin / f not in left]
    if files:
        place = brought.place = _artifact(desk, origin, files, left)
        brought.artifact, brought.track = desk.below(place), True
        brought.format, brought.bytes = detection.detect(place), lambda: builder.local_artifact(place)
    elif "image" not in brought.fields:
        raise Refused(f"{text} has a {_CONFIG}, and no file of a model")
    if _SERVICE in own:
        for name in own:
            desk.take(origin / name, f"service/{name}")
        brought.fields.setdefault("serving", {})["code"] = "service"
    brought.todo += _unsaid(said, brought.fields)
    return brought


def configuration(file: Path, name: str) -> Mapping[str, Any]:
    """Returns what a configuration says.

    Args:
        name: what problems call it.

    Raises:
        InvalidFiles: it is no JSON, or no mapping.
    """
    return values_of(treefiles.follow(file, name, _MOST), name)


def _artifact(desk: Desk, origin: Path, files: list[str], left: list[Path]) -> Path:
    if len(files) == 1:
        return desk.take(origin / files[0], files[0].rpartition("/")[2])
    return desk.take(origin, "artifacts", left)


def _fields(said: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    kind = _TYPES.get(str(said.get("model_type")).lower())
    if kind:
        fields["type"] = kind
    if isinstance(said.get("model_algorithm"), str):
        fields["tags"] = {"algorithm": said["model_algorithm"]}
    metrics = said.get("metrics")
    if isinstance(metrics, Mapping):
        numbers = {str(k): number for k, v in metrics.items() if (number := _number(v)) is not None}
        fields["metrics"] = numbers or None
    fields["requirements"] = list(_requirements(said.get("dependencies"))) or None
    fields["schema"], apis = _schema(said.get("apis"))
    serving: dict[str, Any] = {"install": _install(said.get("install_type"))}
    serving["runtime"] = said.get("runtime") if isinstance(said.get("runtime"), str) else None
    serving["dynamic_load"] = "single" if str(said.get("dynamic_load_mode")).lower() == "single" else None
    serving["prebuilt"] = said.get("prebuilt") if isinstance(said.get("prebuilt"), bool) else None
    config = said.get("initial_config")
    serving["config"] = dict(config) if isinstance(config, Mapping) else None
    health = said.get("health")
    if isinstance(health, Mapping):
        serving["config"] = {**(serving["config"] or {}), "health": dict(health)}
    serving["apis"] = apis or None
    fields["serving"] = {key: value for key, value in serving.items() if value is not None} or None
    return {key: value for key, value in fields.items() if value is not None}


def _number(value: Any) -> float | int | None:
    """ModelArts writes metrics as numbers, or as texts of numbers."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _install(said: Any) -> list[str] | None:
    names = {"real-time": "real_time", "real_time": "real_time", "edge": "edge", "batch": "batch"}
    found = [names[str(one).lower()] for one in said if str(one).lower() in names] if _is_list(said) else []
    return list(dict.fromkeys(found)) or None


def _requirements(said: Any) -> Iterator[str]:
    groups = said if _is_list(said) else []
    for group in groups:
        if not isinstance(group, Mapping) or str(group.get("installer")).lower() != "pip":
            continue
        packages = group.get("packages")
        for one in packages if _is_list(packages) else []:
            if not isinstance(one, Mapping):
                continue
            name, version = str(one.get("package_name", "")), one.get("package_version")
            sign = _RESTRAINTS.get(str(one.get("restraint", "EXACT")).upper(), "==")
            yield f"{name}{sign}{version}" if version else name


def _is_list(said: Any) -> TypeGuard[list[Any]]:
    return isinstance(said, list)


# The API -----------------------------------------------------------------------------------------


def _schema(apis: Any) -> tuple[dict[str, Any] | None, list[Any]]:
    """The schema that an API's JSON Schemas say, where one can; and the APIs that it does not say."""
    said = [one for one in apis if isinstance(one, Mapping)] if _is_list(apis) else []
    if len(said) == 1:
        sides = [_items(said[0].get(side)) for side in ("request", "response")]
        if all(sides):
            return {"inputs": sides[0], "outputs": sides[1]}, []
    return None, [dict(one) for one in said]


def _items(message: Any) -> list[dict[str, Any]] | None:
    """Tensors for the properties of an object; None where one of them is none."""
    data = message.get("data", message) if isinstance(message, Mapping) else None
    data = _unwrapped(data)
    properties = data.get("properties") if isinstance(data, Mapping) else None
    if not isinstance(properties, Mapping) or not properties:
        return None
    required = data.get("required") if isinstance(data, Mapping) else None
    items = []
    for name, one in properties.items():
        found = _tensor(one)
        if found is None:
            return None
        optional = _is_list(required) and name not in required
        items.append({"name": str(name), **found, **({"optional": True} if optional else {})})
    return items


def _unwrapped(data: Any) -> Any:
    """`{data: {req_data: [{...}]}}`, as the frameworks' own templates have it, is a list of requests."""
    for _ in range(4):
        inside = data.get("properties") if isinstance(data, Mapping) else None
        if not isinstance(inside, Mapping) or len(inside) != 1:
            return data
        one = next(iter(inside.values()))
        one = one.get("items") if isinstance(one, Mapping) and one.get("type") == "array" else one
        one = one[0] if _is_list(one) and len(one) == 1 else one
        if not isinstance(one, Mapping) or one.get("type") != "object":
            return data
        data = one
    return data


def _tensor(said: Any) -> dict[str, Any] | None:
    shape: list[int] = []
    while isinstance(said, Mapping) and said.get("type") == "array":
        least, most = said.get("minItems"), said.get("maxItems")
        shape.append(least if isinstance(least, int) and least == most and least > 0 else -1)
        said = said.get("items")
        said = said[0] if _is_list(said) and said and all(one == said[0] for one in said) else said
    kind = _NUMBERS.get(str(said.get("type"))) if isinstance(said, Mapping) else None
    return {"data_type": kind, "shape": shape or [1]} if kind else None


def _unsaid(said: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[str]:
    if "apis" in said and "schema" not in fields:
        yield "declare the schema: what config.json says of the API is no tensors; serving.apis keeps it"
    if "schema" in fields:
        yield "look at the schema: numbers of config.json were taken for float, whole ones for long"
    if said.get("model_type") and "type" not in fields:
        yield f"the model type {said['model_type']!r} is none of gitreg's: declare the type"
    if isinstance(said.get("swr_location"), str) and "image" not in fields:
        yield f"pin the image {said['swr_location']} by its digest, and declare it as image"
    groups = said.get("dependencies")
    installers = [g.get("installer") for g in groups if isinstance(g, Mapping)] if _is_list(groups) else []
    other = {str(one) for one in installers} - {"pip"}
    if other:
        yield f"dependencies of {', '.join(sorted(other))} are not carried over"
