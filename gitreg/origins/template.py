"""A template of this registry with its placeholders filled in: `--template NAME`, or `template:NAME`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from gitreg import patterns
from gitreg.declared import Manifest
from gitreg.documents import Path as DocumentPath
from gitreg.errors import InvalidFiles, Refused
from gitreg.manifest import named_paths
from gitreg.names import did_you_mean
from gitreg.origins.desk import Brought, Desk

_WORD = "template:"


def matches(text: str) -> bool:
    """Whether a SOURCE names a template."""
    return text.startswith(_WORD)


def bring(desk: Desk, text: str) -> Brought:
    """Fill a template in; see `origins`.

    Raises:
        Refused: there is no such template; or with every value that is missing, unknown or ill-typed.
        InvalidFiles: the template is broken.
    """
    template = _find(desk, text.removeprefix(_WORD))
    values = patterns.values_of(template.placeholders, desk.given)
    data: dict[str, Any] = patterns.filled(template.template, values)
    if desk.sourced:
        data.pop("artifact", None)
    _bring_files(desk, template, data)
    brought = Brought(data.pop("artifact", None), fields=data)
    path = brought.artifact.get("path") if isinstance(brought.artifact, Mapping) else brought.artifact
    brought.place = desk.folder / path if isinstance(path, str) else None
    made = {"model": template.name, "version": template.version, "values": values}
    lineage = data.get("lineage") if isinstance(data.get("lineage"), Mapping) else {}
    data["lineage"] = {**(lineage or {}), "template": {k: v for k, v in made.items() if v}}
    return brought


def _find(desk: Desk, name: str) -> Manifest:
    registry = desk.registry
    known = [one.name for one in registry.manifests() if one.type == "template"]
    if name not in known:
        for file in (file for file in registry.files if file.split("/")[-2:-1] == [name]):
            if (read := registry.read(file)).manifest is None:  # it may be one
                raise InvalidFiles(read.problems, f"gitreg check {name}")
        listed = f"templates here: {', '.join(known)}" if known else "a model of type template is one"
        raise Refused(f"there is no template {name!r}{did_you_mean(name, known)}", listed)
    gathered = registry.gather(registry.manifest_file(name), build=False)
    if gathered.errors or gathered.manifest is None:
        raise InvalidFiles(gathered.errors, f"gitreg check {name}")
    return gathered.manifest


def _bring_files(desk: Desk, template: Manifest, data: dict[str, Any]) -> None:
    """Copy what lies in the template's folder, and name what lies elsewhere in the registry."""
    root = desk.registry.root
    for path, text in list(named_paths(data)):
        place = os.path.normpath(os.path.join(template.folder, text))
        if path[0] == "artifact":
            _set(data, path, desk.share(root / place))
        elif place == template.folder or place.startswith(f"{template.folder}/"):
            _set(data, path, desk.copy(root / template.folder, root / place))
        else:
            _set(data, path, desk.below(root / place))


def _set(data: Any, path: DocumentPath, value: str) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value
