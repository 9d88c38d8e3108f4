"""Folders that people name for what gitreg makes: `-o DIR`, or `dist` where they name none."""

from __future__ import annotations

import os
from pathlib import Path

from gitreg import git, safewrite
from gitreg.errors import Refused


def claim(place: Path, *below: str) -> Path:
    """An output folder, absolute. Links of the user's may lead to it, and none that Git tracks.

    Such a link came with somebody's commit, and would have a build write where that commit says.

    Args:
        below: paths in the folder that are about to be written: gitreg's own, so none of them may be a link.

    Raises:
        Refused: there is such a link.
    """
    place = place.absolute()
    link = next((one for one in (*reversed(place.parents), place) if one.is_symlink()), None)
    if link is not None and git.links(link.parent, f":(literal){link.name}"):
        raise Refused(
            f"{link} is a symbolic link to {os.readlink(link)!r} that Git tracks, and is not written through",
            "-o DIR names another folder",
        )
    safewrite.refuse_links(place, *below)
    return place
