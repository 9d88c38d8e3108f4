"""What the JSON Schema of manifests cannot say: fields that exclude each other, unsafe addresses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitreg.addresses import registry_mistake, url_mistake
from gitreg.bounds import not_finite
from gitreg.documents import Document
from gitreg.errors import Problem


def mistakes(document: Document) -> list[Problem]:
    """What is wrong with a manifest that its JSON Schema accepts."""
    said = document.data
    numbers = not_finite(document)
    return [*_unclear_artifact(document, said.get("artifact")), *_misplaced(document, said), *numbers]


def twice(document: Document, schema: Any) -> list[Problem]:
    """Inputs, and outputs, of one name. Looks at whatever there is, valid or not."""
    problems = []
    for side in ("inputs", "outputs"):
        seen: set[str] = set()
        items = schema.get(side) if isinstance(schema, Mapping) else None
        for i, item in enumerate(items if isinstance(items, list) else ()):
            name = item.get("name") if isinstance(item, Mapping) else None
            if isinstance(name, str) and name in seen:
                message = f"the {side[:-1]} '{name}' is declared twice"
                problems.append(document.problem(("schema", side, i, "name"), message))
            seen.add(str(name))
    return problems


def _unclear_artifact(document: Document, said: Any) -> list[Problem]:
    if not isinstance(said, Mapping):
        return []
    problems = []
    ways = [n for n in ("stage", "url", "registry") if n in said]
    if len(ways) > 1 or not (ways or "path" in said):
        message = (
            f"names {' and '.join(ways) or 'nothing'}; exactly one of path, stage, url, registry is expected"
        )
        problems.append(document.problem(("artifact",), message))
    for key in [k for k in ("model", "version") if ways == ["registry"] and k not in said]:
        problems.append(
            document.problem(("artifact",), f"'{key}' is missing, which names it in the registry")
        )
    for key in [k for k in ("model", "version", "imported") if "registry" not in said and k in said]:
        message = f"{key} belongs to the model of another registry, and there is no 'registry'"
        problems.append(document.problem(("artifact", key), message, key=True))
    if said.get("imported") is False and "path" in said:
        message = "an artifact that is not imported lies nowhere here"
        problems.append(document.problem(("artifact", "path"), message, key=True))
    return problems + _bad_address(document, said)


def _misplaced(document: Document, said: Mapping[str, Any]) -> list[Problem]:
    names = [] if said["type"] == "template" else [n for n in ("placeholders", "template") if n in said]
    return [document.problem((name,), "belongs to the type 'template' alone", key=True) for name in names]


def _bad_address(document: Document, said: Mapping[str, Any]) -> list[Problem]:
    """Addresses that are not to be given to Git or DVC, or that hold a password."""
    problems = []
    for key, check in (("url", url_mistake), ("registry", registry_mistake)):
        mistake = check(said[key]) if isinstance(said.get(key), str) else None
        if mistake:
            problems.append(document.problem(("artifact", key), mistake))
    return problems
