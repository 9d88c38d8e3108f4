"""A manifest's `triton` fragment: held against the list of what it may set, and the files that it names."""

from __future__ import annotations

from pathlib import Path

from gitreg import flavors
from gitreg.declared import Manifest
from gitreg.documents import Document
from gitreg.errors import Problem
from gitreg.inside import contain

_MOST = 64 << 20  # bytes of a file that a package carries for it


def judge(root: Path, manifest: Manifest, document: Document) -> tuple[list[Problem], dict[str, str]]:
    """What is wrong with a manifest's `triton` fragment, and the files beside the manifest that it names.

    Returns:
        The problems; and each file's path in the package -> its path from the root, be it there or not.
    """
    if not manifest.triton:
        return [], {}
    from gitreg.packages.triton import carried_files, mistakes

    flavor = flavors.FLAVORS.get(manifest.type)
    native = flavor.native if flavor and manifest.backend == "native" else "python"
    found = mistakes(manifest.triton, native)
    files: dict[str, str] = {}
    for place, path in () if found else carried_files(manifest.triton):
        files[path], refused = contain(root, manifest.folder, path)
        if refused := refused or _not_carried(root / files[path], files[path]):
            found.append((place, refused))
    problems = [document.problem(("triton", *place), why) for place, why in found]
    return problems, {path: file for path, file in files.items() if file}


def _not_carried(file: Path, name: str) -> str | None:
    if not file.is_file():
        return f"'{name}' is not a file; the package carries files of this folder beside the manifest"
    size = file.stat().st_size
    return None if size <= _MOST else f"'{name}' has {size:,} bytes; at most {_MOST:,} are carried"
