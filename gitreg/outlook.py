"""What Git says of a registry's whole work tree for `check --base`, asked while gitreg itself still starts.

Each question takes longer the more models there are. On a second core they cost no time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from gitreg import reach, uncommitted
from gitreg.git.listing import Lines, Listing

_FILE = "registry.yaml"
_MODELS = re.compile(rb"^models:[ \t]*([^\s\"'#]+)[ \t]*\r?$", re.MULTILINE)
_USUAL = "models/*/model.yaml"


class Outlook:
    """What Git says of a registry's work tree.

    Args:
        root: the registry's root.
        walk: whether Git looks for files that are not as HEAD has them.
        glob: where manifests are; by default as registry.yaml seems to say.
    """

    def __init__(self, root: Path, walk: bool, glob: str | None = None) -> None:
        self.root, self.glob = root, glob or _guessed(root)
        self.listing = Listing(root)
        self._lines = self._asked(self.glob)
        self.walk = uncommitted.Walk(root) if walk else None

    def _asked(self, glob: str) -> Lines:
        return Lines(self.root, glob.removeprefix("./"), reach.PERL, reach.POSIX)

    def reaching(self, glob: str) -> Iterator[tuple[str, bytes]]:
        """(manifest, line) of those manifests that may name a path outside of their folders.

        Args:
            glob: where manifests are, as registry.yaml does say.
        """
        return iter(self._lines if glob == self.glob else self._asked(glob))

    @cached_property
    def links(self) -> list[str]:
        """The symbolic links that Git tracks."""
        return self.listing.links


def begin(folder: Path, walk: bool) -> Outlook | None:
    """An outlook on the registry that a folder is in; None where there is none."""
    roots = (above for above in (folder, *folder.parents) if (above / _FILE).is_file())
    root = next(roots, None)
    return Outlook(root, walk) if root else None


def _guessed(root: Path) -> str:
    with open(root / _FILE, "rb") as stream:
        found = _MODELS.search(stream.read(1 << 20))
    return found[1].decode("utf-8", "surrogateescape") if found else _USUAL
