"""Where the paths that a manifest names may lie: in the registry, and not in Git's own folder."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

# Where DVC keeps an object, whose hash is its name: files/md5/d3/b07384..., in a cache of DVC 2 d3/b07384...
_CACHED = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}\Z")


def contain(root: Path | None, folder: str, text: str) -> tuple[str, str | None]:
    """Resolve a path that a manifest names: the one place where such paths are judged.

    Args:
        root: the registry's root; None judges the text alone, as for files of a commit.
        folder: the manifest's folder, relative to the root.
        text: what the manifest says.

    Returns:
        The path relative to the root, and why it is refused (None when it is not).
    """
    if "\\" in text or "\0" in text:
        return "", f"{text!r}: write paths with forward slashes"
    if text.startswith("/") or (len(text) > 1 and text[1] == ":"):
        return "", f"{text!r} is an absolute path; it must be relative to the manifest"
    relative = os.path.normpath(os.path.join(folder, text))
    if relative == ".." or relative.startswith("../"):
        return "", f"{text!r} leaves the repository"
    if root is None:
        inside = relative.split("/")[0] == ".git"
        return relative, f"{text!r} lies in Git's own folder" if inside else None
    real_root = _real(str(root))
    real = os.path.realpath(os.path.join(real_root, relative))
    if real != real_root and not real.startswith(real_root + os.sep):
        return "", f"{text!r} leaves the repository through a symbolic link"
    if ".git" in (relative.split("/")[0], os.path.relpath(real, real_root).split(os.sep)[0]):
        return "", f"{text!r} lies in Git's own folder"
    return relative, None


def is_from_cache(root: Path, folder: str, text: str) -> bool:
    """Returns whether a path is a link that DVC made to its cache, as with `cache.type symlink`.

    Of such an artifact the cache is read, by its hash, and never what the link leads to.
    """
    above, name = os.path.split(os.path.join(folder, text))
    parent, refused = contain(root, "", above or ".")
    place = os.path.join(root, parent, name)
    return not refused and os.path.islink(place) and bool(_CACHED.search(os.readlink(place)))


@lru_cache(maxsize=16)
def _real(root: str) -> str:
    """A root without symbolic links. Of one that is moved while we run, paths are refused from then on."""
    return os.path.realpath(root)
