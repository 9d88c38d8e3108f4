"""Patterns of paths, as `models:` in registry.yaml: `*`, `?` and `[...]` within a name, `**` for any folders.

A pattern comes from a file that anybody may send. Matching a path takes time in proportion to the path and
to the pattern, whatever they are.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from functools import cached_property

ANY_FOLDERS = "**"
_WILD = re.compile(r"[*?[]")
# Regular expressions are faster than `follow`, and take longer the more places there are to try.
_FEW = 2


class Glob:
    """A pattern of relative paths.

    Args:
        text: the pattern, with `/` between folders.

    Attributes:
        parts: of the pattern.
        end: the place behind all of them, where a path has matched.

    Raises:
        ValueError: it can match no path.
    """

    def __init__(self, text: str) -> None:
        parts = [part for part in text.split("/") if part not in ("", ".")]
        # One `**` after another says nothing more.
        self.parts = [
            p for p, before in zip(parts, ["", *parts], strict=False) if not (p == before == ANY_FOLDERS)
        ]
        if not self.parts or text.startswith("/") or "\0" in text or ".." in self.parts:
            raise ValueError(f"{text!r} is no pattern of relative paths")
        self.end = len(self.parts)

    @cached_property
    def _tests(self) -> list[Callable[[str], object]]:
        # What `fnmatch` makes of a pattern tries no place twice.
        return [re.compile(fnmatch.translate(_closed(part))).match for part in self.parts]

    @cached_property
    def _quick(self) -> re.Pattern[str] | None:
        """The same as a regular expression, where that has little to try."""
        few = all(part.count("*") <= _FEW and "[" not in part for part in self.parts)
        if not few or self.parts.count(ANY_FOLDERS) > 1 or self.parts[-1] == ANY_FOLDERS:
            return None
        said = ["(?:[^/]+/)*" if part == ANY_FOLDERS else f"{_expression(part)}/" for part in self.parts]
        return re.compile("".join(said).removesuffix("/") + r"\Z")

    def match(self, path: str) -> bool:
        """Whether a relative path, with `/` between folders, is one of the pattern's."""
        if self._quick is not None:
            return self._quick.match(path) is not None
        at = self._open({0})
        for name in path.split("/"):
            at = self.follow(at, name)
        return self.end in at

    def _open(self, places: set[int]) -> set[int]:
        """Places in the pattern, and those behind each `**`, which may stand for no folder."""
        behind = {at + 1 for at in places if at < self.end and self.parts[at] == ANY_FOLDERS}
        return places | behind

    def follow(self, places: set[int], name: str) -> set[int]:
        """Returns the places in the pattern that the name of a folder or file leads to."""
        found = set()
        for at in places:
            if at == self.end:
                continue
            if self.parts[at] == ANY_FOLDERS:
                found.add(at)
            elif self._tests[at](name):
                found.add(at + 1)
        return self._open(found)

    def start(self) -> set[int]:
        """Returns the places in the pattern at which a search begins."""
        return self._open({0})

    def names(self, places: set[int]) -> set[str] | None:
        """Returns the only names that lead on from some places; None where it takes a look at all."""
        parts = {self.parts[at] for at in places if at < self.end}
        return None if any(map(_WILD.search, parts)) else parts

    def rest(self, place: int, name: str) -> list[str]:
        """Returns the parts of the pattern behind a place that a name matches; none where it does not."""
        if place == self.end or self.parts[place] == ANY_FOLDERS or not self._tests[place](name):
            return []
        return self.parts[place + 1 :]


def is_plain(part: str) -> bool:
    """Whether a part of a pattern is a name."""
    return not _WILD.search(part)


def _closed(part: str) -> str:
    """A part in which no `[` lacks its `]`: `fnmatch` would look for it up to the end, from each."""
    end = part.rfind("]") + 1
    return part[:end] + part[end:].replace("[", "[[]")


def _expression(part: str) -> str:
    wild = {"*": "[^/]*", "?": "[^/]"}
    return "".join(wild.get(piece) or re.escape(piece) for piece in re.split(r"([*?])", part))
