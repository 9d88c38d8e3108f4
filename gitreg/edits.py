"""Edits of people's YAML files, as people would make them: see sheet.py. Text in, text out; no I/O.

Pass text as it is in the file, without translation of line ends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from gitreg.errors import InvalidFiles
from gitreg.sheet import Sheet, last


def set_entries(text: str, file: str, changes: Mapping[str, str | None]) -> str:
    """A stage's file with these models at these versions; None takes a model out.

    Raises:
        InvalidFiles: the text is broken, or holds a merge conflict.
        Refused: the change cannot be made without touching more than it.
    """
    sheet = Sheet(text, file)
    for name, version in changes.items():
        sheet.want((name,), version, _in_order)
    return sheet.result()


def set_version(text: str, file: str, version: str) -> str:
    """A manifest with this version, in a new line below `name` when it had none.

    Raises:
        InvalidFiles, Refused: as for set_entries.
    """
    sheet = Sheet(text, file)
    sheet.want(("version",), version, _below_name)
    return sheet.result()


def set_fields(text: str, file: str, changes: Mapping[tuple[str, ...], Any]) -> str:
    """A YAML or JSON file with values at some paths, the last below what is there; None takes one out.

    Raises:
        InvalidFiles, Refused: as for set_entries.
    """
    sheet = Sheet(text, file)
    for path, value in changes.items():
        sheet.want(path, value, last)
    return sheet.result()


def set_artifacts(text: str, file: str, entries: Mapping[str, Mapping[str, Any] | None]) -> str:
    """A dvc.yaml that declares these artifacts; None takes one out.

    Of an entry, the keys that are not given stay as they are, and a None takes its key out.

    Raises:
        InvalidFiles, Refused: as for set_entries.
    """
    sheet = Sheet(text, file)
    old = sheet.data.get("artifacts")
    if old is not None and not isinstance(old, dict):
        raise InvalidFiles([sheet.document.problem(("artifacts",), "expected a mapping")])
    for name, entry in entries.items():
        if entry is not None and isinstance((old or {}).get(name), dict):
            for key, value in entry.items():
                sheet.want(("artifacts", name, key), value, last)
        else:
            kept = None if entry is None else {k: v for k, v in entry.items() if v is not None}
            sheet.want(("artifacts", name), kept, _in_order)
    return sheet.result()


def _in_order(names: list[str], key: str) -> int:
    return bisect_left(names, key) if names == sorted(names) else len(names)


def _below_name(names: list[str], key: str) -> int:
    return names.index("name") + 1 if "name" in names else 0
