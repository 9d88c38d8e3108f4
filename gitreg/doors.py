"""DVC's own door: the `artifacts:` section of the root dvc.yaml, so that `dvc artifacts get` works.

https://dvc.org/doc/user-guide/project-structure/dvcyaml-files#artifacts
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import edits, safewrite, treefiles
from gitreg.documents import Document, parse
from gitreg.errors import InvalidFiles, Problem

if TYPE_CHECKING:
    from gitreg.registry import Registry

FILE = "dvc.yaml"
_MOST = 32 << 20
# Without these, every line of a YAML file that begins like an entry is one: there are no texts of several
# lines, no aliases, no second document.
_TEXTS = (*"\"'|>&*{}[]!%?`@\r\x85\u2028\u2029", "\n---", "\n...")
_COMMENT = re.compile(r"^[ \t]*#[ -~\t]*$", re.MULTILINE)


def mistakes(root: Path, artifacts: Mapping[str, str], whole: bool = True) -> list[Problem]:
    """Entries that say something else than the manifests (errors), or are missing (warnings).

    Args:
        artifacts: model -> path of its artifact.
        whole: also say what is wrong with the file itself where it has no entry of these.
    """
    if not artifacts and not whole:
        return []
    try:
        text = read(root)
    except InvalidFiles as invalid:
        return list(invalid.problems)
    plain = _is_plain(_COMMENT.sub("", text) if "#" in text else text)
    artifacts = {name: path for name, path in artifacts.items() if not (plain and _plainly(text, name, path))}
    if not artifacts and (plain or not whole):
        return []
    document, problems = _parsed(text)
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


def changed(before: bytes, root: Path) -> set[str]:
    """The models whose entries in dvc.yaml are others than before; all of them where it is broken now."""
    old = _entries(before.decode("utf-8", "surrogateescape"))
    try:
        new = _entries(read(root))
    except InvalidFiles:
        new = {}
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def _entries(text: str) -> Mapping[str, Any]:
    """model -> its entry."""
    data = _parsed(text)[0].data
    said = data.get("artifacts") if isinstance(data, Mapping) else None
    return said if isinstance(said, Mapping) else {}


def _parsed(text: str) -> tuple[Document, list[Problem]]:
    return parse(text.encode("utf-8", "surrogateescape"), FILE, _MOST, merging=True)


def _is_plain(text: str) -> bool:
    """Whether what looks like an entry is one: each of these is looked for at the speed of memory."""
    return not text.startswith(("---", "...")) and not any(sign in text for sign in _TEXTS)


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
    """dvc.yaml as it is; empty where there is none.

    Raises:
        InvalidFiles: it is a link, or cannot be read.
    """
    if not os.path.lexists(root / FILE):
        return ""
    return treefiles.read(root, FILE, _MOST).decode("utf-8", "surrogateescape")


def fix(registry: Registry) -> list[str]:
    """Bring dvc.yaml in step with a registry's models; the files that were written."""
    paths = {m.name: m.artifact.path for m in registry.manifests() if m.artifact and m.artifact.path}
    text = fixed(registry.root, paths)
    if text is None:
        return []
    safewrite.replace(registry.root, FILE, text.encode("utf-8", "surrogateescape"))
    return [FILE]
