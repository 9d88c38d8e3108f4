"""DVC's own door: the `artifacts:` section of the root dvc.yaml, so that `dvc artifacts get` works.

https://dvc.org/doc/user-guide/project-structure/dvcyaml-files#artifacts
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import edits, safewrite
from gitreg.documents import parse
from gitreg.errors import Problem

if TYPE_CHECKING:
    from gitreg.registry import Registry

FILE = "dvc.yaml"


def mistakes(root: Path, artifacts: Mapping[str, str]) -> list[Problem]:
    """Entries that say something else than the manifests (errors), or are missing (warnings).

    Args:
        artifacts: model -> path of its artifact.
    """
    text = read(root)
    artifacts = {name: path for name, path in artifacts.items() if not _plainly(text, name, path)}
    if not artifacts:
        return []
    document, problems = parse(text.encode("utf-8", "surrogateescape"), FILE)
    if problems:
        return problems
    data = document.data if isinstance(document.data, Mapping) else {}
    said = data.get("artifacts")
    found = []
    for name, path in sorted(artifacts.items()):
        entry = said.get(name) if isinstance(said, Mapping) else None
        there = entry.get("path") if isinstance(entry, Mapping) else None
        if there == path:
            continue
        place = ("artifacts", name)
        if there is None:
            message = f"is missing, so `dvc artifacts get` will not find {name}: gitreg check --fix"
            found.append(document.problem(place, message, "warning"))
        else:
            message = f"says {there!r}; the artifact of {name} is '{path}': gitreg check --fix"
            found.append(document.problem(place, message))
    return found


def _plainly(text: str, name: str, path: str) -> bool:
    """Whether the section has an entry as gitreg writes it: no need to read thousands of others."""
    begin = re.search(r"^artifacts:\n", text, re.MULTILINE)
    entry = f"\n  {name}:\n    path: {path}\n"
    if not begin or text.count(entry) != 1 or text.count(f"\n  {name}:") != 1:
        return False
    at = text.index(entry)
    outside = re.compile(r"^[^ #\n]", re.MULTILINE).search(text, begin.end(), at + 1)
    return at >= begin.end() - 1 and outside is None


def fixed(root: Path, artifacts: Mapping[str, str]) -> str | None:
    """What dvc.yaml should be; None if it is so. What others wrote in it stays.

    Raises:
        InvalidFiles: it is broken.
        Refused: it cannot be edited without losing something.
    """
    text = read(root)
    entries: dict[str, Mapping[str, Any] | None] = {
        name: {"path": path, "type": "model"} for name, path in sorted(artifacts.items())
    }
    new = edits.set_artifacts(text, FILE, entries) if entries else text
    return new if new != text else None


def read(root: Path) -> str:
    """dvc.yaml as it is; empty where there is none."""
    file = root / FILE
    return file.read_bytes().decode("utf-8", "surrogateescape") if file.is_file() else ""


def fix(registry: Registry) -> list[str]:
    """Bring dvc.yaml in step with a registry's models; the files that were written."""
    paths = {m.name: m.artifact.path for m in registry.manifests() if m.artifact and m.artifact.path}
    text = fixed(registry.root, paths)
    if text is None:
        return []
    safewrite.replace(registry.root, FILE, text.encode("utf-8", "surrogateescape"))
    return [FILE]
