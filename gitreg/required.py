"""What a team requires of every manifest: `require` in registry.yaml. Pure: no input or output.

- A requirement is a dotted field of a manifest, as `lineage.data` or `metrics.accuracy`.
- Of a list, every entry must have the field.
- What is empty, or a placeholder, is missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitreg.documents import Path
from gitreg.names import did_you_mean

# Fields that may be a file, in which the rest of a requirement is looked for.
IN_FILES = ("params", "metrics")
_PLACEHOLDERS = {"todo", "tbd", "tba", "fixme", "xxx", "n/a", "na", "none", "null", "unknown", "placeholder"}
_DRAFT = re.compile(r"Say in a sentence what \S+ predicts\.\Z")
_NOTHING = re.compile(r"[\W_]*\Z|<[^<>]*>\Z|0{7,}\Z")


def unknown(requirement: str, schema: Mapping[str, Any]) -> str | None:
    """Why no manifest can have a field; None if one can.

    Args:
        schema: the JSON Schema of manifests.
    """
    level, so_far = schema, "a manifest"
    for name in requirement.split("."):
        kinds = list(_kinds(level, schema.get("$defs", {})))
        fields = {key: one for kind in kinds for key, one in kind.get("properties", {}).items()}
        if name in fields:
            level, so_far = fields[name], f"'{name}'"
        elif name and any(_takes_any(kind) for kind in kinds):
            return None
        else:
            listed = f" (known: {', '.join(sorted(fields))})" if 0 < len(fields) <= 12 else ""
            return f"{so_far} has no field '{name}'{did_you_mean(name, fields) or listed}"
    return None


def _kinds(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a value may be; of a list, what its entries may be."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")]
    yield schema
    for one in (*schema.get("anyOf", ()), *filter(None, [schema.get("items")])):
        yield from _kinds(one, definitions)


def _takes_any(schema: Mapping[str, Any]) -> bool:
    """Whether it is a mapping of any keys."""
    is_mapping = schema.get("type") == "object" and "properties" not in schema
    return is_mapping and schema.get("additionalProperties", True) is not False


def lacking(said: Mapping[str, Any], requirement: str) -> Iterator[tuple[Path, bool]]:
    """(place, whether something stands there) of everything that does not meet a requirement.

    Args:
        said: the manifest's data, with what its files hold in the place of their names.
    """
    yield from _lacking(said, requirement.split("."), ())


def _lacking(value: Any, names: Sequence[str], path: Path) -> Iterator[tuple[Path, bool]]:
    if isinstance(value, list) and names and value:
        for i, one in enumerate(value):
            yield from _lacking(one, names, (*path, i))
    elif not names:
        if is_nothing(value):
            yield path, value is not None
    elif not isinstance(value, Mapping):
        yield path, value is not None
    else:
        whole = ".".join(names)
        if whole in value and len(names) > 1:  # a metric may have dots in its name
            yield from _lacking(value[whole], (), (*path, whole))
        elif names[0] in value:
            yield from _lacking(value[names[0]], names[1:], (*path, names[0]))
        else:
            yield (*path, *names), False


def is_nothing(value: Any) -> bool:
    """Whether a value is empty or a placeholder. Zero and false are values."""
    if isinstance(value, str):
        text = value.strip()
        return text.lower().strip(" .!?-_<>[]()") in {"", *_PLACEHOLDERS} or bool(
            _DRAFT.match(text) or _NOTHING.match(text)
        )
    if isinstance(value, Mapping):
        return all(is_nothing(one) for one in value.values())
    if isinstance(value, list):
        return all(is_nothing(one) for one in value)
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def says_nothing(text: str) -> bool:
    """Whether a model card has nothing but headings, comments and placeholders."""
    head = re.match(r"---\n.*?^---$", text, re.DOTALL | re.MULTILINE)
    text = _without_comments(text[head.end() :] if head else text)
    lines = [line for line in text.splitlines() if not re.match(r"\s*(#|[=-]{3,}\s*$)", line)]
    return all(is_nothing(re.sub(r"^[\s>*+-]+|\*\*", "", line)) for line in lines)


def _without_comments(text: str) -> str:
    """Markdown without its comments; one that is not closed is none."""
    kept, at = [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept.append(text[at:start])
        at = end + 3
    return "".join([*kept, text[at:]])


def remedy(requirement: str, model: str) -> str:
    """What would meet a requirement: a command, or an example."""
    field, _, rest = requirement.partition(".")
    if field == "lineage":
        facet = rest.partition(".")[0]
        if facet == "data":
            return f"gitreg trace {model} --data PATH"
        if facet == "code":
            return f"gitreg trace {model} --code DIR"
        return (
            f"gitreg trace {model}" if facet != "run" else "as lineage: {run: {tracker: mlflow, run_id: ...}}"
        )
    if field == "metrics":
        metric = f" --metric {rest}" if rest else ""
        return f"gitreg evaluate {model} --data FILE{metric} --write"
    return _EXAMPLES.get(requirement, f"as {requirement}: ...")


_EXAMPLES = {
    "card": "as card: README.md, a file that says what the model is for",
    "description": "as description: one sentence on what it predicts",
    "owners": 'as owners: ["@team"]',
    "license": "as license: Apache-2.0",
    "tags": "as tags: {domain: billing}",
    "params": "as params: params.json, or params: {learning_rate: 0.1}",
    "sample_data": "as sample_data: samples.json",
}
