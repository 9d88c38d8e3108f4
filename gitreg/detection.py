"""What a file or folder is, by its content. Nothing is loaded, and only heads of files are read."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from gitreg import flavors, folders


def detect(path: Path) -> flavors.Format:
    """The format of a file or folder."""
    if path.is_dir():
        return detect_files({name: path / name for name in folders.tree_files(path)})
    return _detect_file(path)


def detect_files(files: Mapping[str, Path]) -> flavors.Format:
    """The format of an artifact, from its files by their names in it."""
    found = flavors.detect_folder(list(files))
    if found is flavors.UNKNOWN and len(files) == 1:
        return _detect_file(next(iter(files.values())))
    return found


def _detect_file(path: Path) -> flavors.Format:
    with open(path, "rb") as stream:
        head = stream.read(4096)
    members: Sequence[str] = ()
    if head[:2] == b"PK":
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.namelist()[:10_000]
        except (zipfile.BadZipFile, OSError):
            members = ()
    return flavors.detect_file(head, members)
