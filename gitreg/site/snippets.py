"""How to load a version, ready to copy: Python, the command line, Triton over HTTP, DVC. Pure.

What people wrote gets into them as JSON or a quoted word of a shell, and in no other way.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from gitreg.catalogued import ModelVersion

# KServe's names: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
_KINDS = {
    "boolean": "BOOL",
    "string": "BYTES",
    "byte": "INT8",
    "char": "UINT8",
    "short": "INT16",
    "int": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
}
_MOST_VALUES, _MOST_LENGTH, _MOST_SHOWN = 64, 2000, 300


def of(one: ModelVersion, sample: Mapping[str, Any] | None, place: str) -> list[list[str]]:
    """(title, language, text) of each.

    Args:
        sample: the first one of the model's own, if it can be shown.
        place: the registry's path or address.
    """
    if not one.type:  # its manifest cannot be read: nothing can be loaded by it
        return [["Command line", "shell", f"gitreg show {one}"]]
    found = [["Python", "python", _python(one, sample, place)], ["Command line", "shell", _commands(one)]]
    body = _request(one, sample) if sample is not None else None
    if body:
        found.append(["Triton over HTTP", "shell", _curl(one, body)])
    if one.artifact.get("path") or one.artifact.get("stage"):
        found.append(["DVC", "shell", _dvc(one, place)])
    return found


def _python(one: ModelVersion, sample: Mapping[str, Any] | None, place: str) -> str:
    names = ", ".join(f"{item['name'][:80]!r}: ..." for item in one.inputs[:6])
    inputs = f"{{{names}}}" if names else "..."
    if (
        sample is not None
        and len(said := repr(sample)) <= _MOST_SHOWN
        and not re.search(r"\b(nan|inf)\b", said)
    ):
        inputs = said
    return (
        "import gitreg\n\n"
        f"model = gitreg.load_model({json.dumps(one.uri)}, registry={json.dumps(place)})\n"
        f"print(model.predict({inputs}))"
    )


def _commands(one: ModelVersion) -> str:
    return f"gitreg show {one}\ngitreg predict {one}\ngitreg build {one} -o dist"


def _curl(one: ModelVersion, body: str) -> str:
    return f"gitreg serve {one}\n\ncurl -s localhost:8000/v2/models/{one.model}/infer -d {shlex.quote(body)}"


def _dvc(one: ModelVersion, place: str) -> str:
    return f"dvc artifacts get {shlex.quote(place)} {one.model} --rev v{one.version} -o {one.model}"


def _request(one: ModelVersion, sample: Mapping[str, Any]) -> str | None:
    """The body of an inference request with the sample in it; None where it would be long, or is odd."""
    batching = one.content.get("batching")
    said = batching.get("max_batch_size") if isinstance(batching, Mapping) else None
    inputs = []
    for item in one.inputs:
        if item["name"] not in sample and item.get("optional"):
            continue
        values = [*_leaves(sample.get(item["name"]))]
        kind = _KINDS.get(item["data_type"])
        shape = _shape(sample.get(item["name"]))
        if kind is None or not 0 < len(values) <= _MOST_VALUES or shape is None:
            return None
        batched = shape if said == 0 else [1, *(shape or [1])]
        inputs.append({"name": item["name"], "shape": batched, "datatype": kind, "data": values})
    text = json.dumps({"inputs": inputs})
    return text if inputs and len(text) <= _MOST_LENGTH and "\\u00" not in text else None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value[: _MOST_VALUES + 1]:
            yield from _leaves(one)
    elif isinstance(value, (str, int, float, bool)) and value == value and abs(_size(value)) != float("inf"):
        yield value


def _size(value: Any) -> float:
    return value if isinstance(value, float) else 0.0


def _shape(value: Any) -> list[int] | None:
    """Of nested lists; None where they are ragged."""
    if not isinstance(value, list):
        return []
    inner = [_shape(one) for one in value[: _MOST_VALUES + 1]]
    if any(one != inner[0] or one is None for one in inner):
        return None
    return [len(value), *(inner[0] or [])] if inner else [0]
