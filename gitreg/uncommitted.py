"""Files that are in no commit yet, as far as they can matter to a change.

To find tracked files that changed, Git looks at each once. To find those that it does not know, it would read
every folder of every model, which takes as long as the check itself where there are thousands. So they are
looked for where a change may be: in the folders of models of which something else changed, in folders that no
commit has, and everywhere outside of the models' folders.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from gitreg import git
from gitreg.errors import Outside
from gitreg.git import plain

# What most registries say: folders beside each other, a manifest in each.
_PLAIN = re.compile(r"(?P<above>(?:[^/*?\[\\]+/)*)\*/(?P<name>[^/*?\[\\]+)\Z")
_MANY = 200  # places to name: a command line is not endless


class Walk:
    """Git's look at every file of a registry that it tracks; begun early, while a core has nothing to do.

    Args:
        root: the registry's root.
    """

    def __init__(self, root: Path) -> None:
        command = [*git.STATUS, "--untracked-files=no", "--", "."]
        self._process = plain.started(root, command, subprocess.DEVNULL, subprocess.PIPE)

    def modified(self) -> list[str]:
        """The files that are not as HEAD has them, relative to the work tree's top.

        Raises:
            Outside: Git cannot tell.
        """
        out, err = self._process.communicate()
        if self._process.returncode:
            raise Outside(f"git status: {err.decode('utf-8', 'replace').strip()}")
        return [os.fsdecode(line[3:]) for line in out.split(b"\0") if len(line) > 3]


def find(root: Path, glob: str, changed: Collection[str], walk: Walk) -> list[str]:
    """The files below a registry's root that are not as HEAD has them, relative to it.

    Args:
        glob: where manifests are, as registry.yaml says.
        changed: files that the change touches in any case.
    """
    here = git.prefix(root)
    places, quiet = _places(root, glob, changed)
    found = set(git.untracked(root, places))
    modified = {path.removeprefix(here) for path in walk.modified() if path.startswith(here)}
    loud = {folder for path in modified for folder in _above(path)} & quiet
    return sorted({*found, *modified, *git.untracked(root, sorted(loud))})


def _places(root: Path, glob: str, changed: Collection[str]) -> tuple[list[str], set[str]]:
    """Where to look for files that Git does not know; and the models' folders where there is no reason to."""
    plain = _PLAIN.match(glob.removeprefix("./"))
    if not plain:
        return ["."], set()
    above = plain["above"]
    # One question to Git: as many to the file system would each wait for the other thread's turn to end.
    known = {path.rpartition("/")[0] for path in git.known(root, f"{above}*/{plain['name']}")}
    quiet = known - {folder for path in changed for folder in _above(path)}
    places = [one for one in _beside(root, above) if one not in quiet]
    return (places, quiet) if len(places) <= _MANY else (["."], set())


def _above(path: str) -> Iterator[str]:
    """The folders that a file is in."""
    return (path[: found.start()] for found in re.finditer("/", path))


def _beside(root: Path, above: str) -> Iterator[str]:
    """Everything in the folder that models are in, and in those above it."""
    folder = ""
    for part in [*above.split("/")[:-1], ""]:
        place = root / folder
        if place.is_dir() and not place.is_symlink():  # Git does not look behind links
            yield from (f"{folder}{entry.name}" for entry in os.scandir(place) if entry.name != part)
        folder += f"{part}/"
