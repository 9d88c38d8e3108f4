"""Where DVC's files have DVC write, and from which remotes: what can fail `dvc pull` for everybody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from gitreg.errors import Refused
from gitreg.names import is_of_git
from gitreg.store.pointers import Pointers

# What Git and DVC obey, wherever it lies, though a commit may not have it yet.
_OBEYED = (".gitmodules", ".gitattributes", ".gitignore", ".dvcignore")


class Output(NamedTuple):
    """An output of one of DVC's files.

    Attributes:
        path: relative to the root.
        remote: that keeps it; empty for the default one.
        cached: whether DVC writes it, and no Git.
    """

    path: str
    remote: str
    cached: bool


def is_read(file: str) -> bool:
    """Whether a file says by hash what DVC writes."""
    return file.endswith((".dvc", "/dvc.lock")) or file == "dvc.lock"


def outputs_of(root: Path, file: str) -> list[Output]:
    """What a `.dvc` file or a dvc.lock has DVC write; nothing of a broken one, which is another problem."""
    pointers = Pointers(root)
    try:
        found = pointers.outputs(file)
        kept = {} if file.endswith(".dvc") else {stage: pointers.kept_by_git(file, stage) for stage in found}
    except Refused:
        return []
    return [
        Output(
            path,
            _text(said.get("remote")),
            said.get("cache") is not False and path not in kept.get(stage, ()),
        )
        for stage, outs in found.items()
        for path, said in outs.items()
        if "://" not in path and not os.path.isabs(path)
    ]


def mistake(output: Output) -> str | None:
    """Why DVC must not write an output, by its name alone."""
    parts = output.path.casefold().split("/")
    if is_of_git(output.path) or ".dvc" in parts:
        return "lies in a folder that Git or DVC works in"
    if parts[0] == "..":
        return "lies outside of the registry"
    if parts[-1] in _OBEYED:
        return f"is a {parts[-1]}, which Git or DVC obeys"
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
