"""Holds a model that was gathered against what its team requires: `require` in registry.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gitreg import required
from gitreg.datafiles import read_text, values_or_none
from gitreg.documents import Document
from gitreg.errors import InvalidFiles, Problem
from gitreg.gather import Gathered
from gitreg.manifest import REGISTRY_FILE, model_schema, read_yaml


def mistakes(root: Path, require: Sequence[str]) -> list[Problem]:
    """Requirements that no manifest can meet."""
    schema = model_schema() if require else {}
    wrong = [(i, why) for i, one in enumerate(require) if (why := required.unknown(one, schema))]
    document = read_yaml(root, REGISTRY_FILE, None)[0] if wrong else Document(REGISTRY_FILE)
    return [document.problem(("require", i), why) for i, why in wrong]


def problems(root: Path, gathered: Gathered, require: Sequence[str]) -> Iterator[Problem]:
    """What a model lacks, at the place in its manifest, and what would meet it."""
    manifest, document = gathered.manifest, gathered.document
    if manifest is None or document is None:
        return
    schema = model_schema() if require else {}
    files = {name: said for name in required.IN_FILES if isinstance(said := getattr(manifest, name), str)}
    whole = {**document.data, **{name: values_or_none(root, file) for name, file in files.items()}}
    for one in require:
        if required.unknown(one, schema):
            continue  # an error of registry.yaml
        help = f"and registry.yaml requires it: {required.remedy(one, manifest.name)}"
        for path, there in required.lacking(whole, one):
            file = files.get(str(path[0]))
            yield document.problem(path, f"{_why(path, file, there, _at(whole, path))}, {help}")
        if one == "card" and manifest.card and _is_draft(root, manifest.card):
            yield document.problem(("card",), f"'{manifest.card}' says nothing yet, {help}")


def _why(path: Sequence[str | int], file: str | None, there: bool, value: Any) -> str:
    if not there:
        return f"is not in '{file}'" if file and len(path) > 1 else "is missing"
    where = f" in '{file}'" if file else ""
    shown = value if isinstance(value, (str, float)) and value != "" else None
    return f"{shown!r}{where} is a placeholder" if shown is not None else f"is empty{where}"


def _at(whole: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        try:
            whole = whole[part]
        except (KeyError, IndexError, TypeError):
            return None
    return whole


def _is_draft(root: Path, card: str) -> bool:
    try:
        return required.says_nothing(read_text(root / card, card))
    except InvalidFiles:
        return False  # a PDF, say
