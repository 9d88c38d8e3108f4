"""Whether a manifest may name a path outside of its folder, told from its text, without reading it as YAML.

Thousands of manifests are asked at each pull request. A text that only might is read properly afterwards;
none that does may be passed over. YAML has many ways to write two dots, and many ends of lines in a comment.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections.abc import Collection

# A line that is no comment, with `..` between other characters than those of names; or dots in an escape.
PERL = (
    r"^(?![ \t]*#[ -~\t]*\r?$).*(?<![\w.])\.\.(?![\w.-])"
    r"|\\(?:x2[eE]|u002[eE]|U0000002[eE]|[ \t]*\r?$)"
)
# About the same for a Git that knows POSIX's patterns alone: comments, too.
POSIX = r"(^|[^.[:alnum:]_])\.\.($|[^.[:alnum:]_-])|\\(x2[eE]|u002[eE]|U0000002[eE]|[[:space:]]*$)"
_OUT = re.compile(PERL.encode(), re.MULTILINE)
_DOTS = re.compile(rb"(?<![\w.])\.\.(?![\w.-])")
_PATH = re.compile(rb"[\w./@+~=-]*\Z"), re.compile(rb"[\w./@+~=-]*")
_BEFORE = re.compile(rb"(?:[:-][ \t]+|[\[{,][ \t]*)([\"']?)\Z")
_AFTER = re.compile(rb"[ \t]*(?:[,\]}]|#|\r?\Z)")


def reaches(raw: bytes) -> bool:
    """Whether a manifest may name a path outside of its folder."""
    return _OUT.search(raw) is not None


class Changed:
    """Paths that changed.

    Args:
        paths: relative to the registry's root.
    """

    def __init__(self, paths: Collection[str]) -> None:
        self._paths = sorted(paths)
        self._set = set(paths)

    def concern(self, folder: str, line: bytes) -> bool:
        """Whether any may be what a line of a manifest reaches; true as well where that cannot be told.

        Args:
            folder: the manifest's.
        """
        if b"\\" in line:
            return True
        for found in _DOTS.finditer(line):
            start, end = _ends(line, found.start(), found.end())
            before, after = _BEFORE.search(line[:start]), line[end:]
            if not before:
                return True
            quote = before[1]
            if not (after.startswith(quote) and _AFTER.match(after[len(quote) :])):
                return True
            said = line[start:end].decode("utf-8", "surrogateescape")
            place = posixpath.normpath(posixpath.join(folder, said))
            if self.touch("" if place == "." else place):
                return True
        return False

    def touch(self, place: str) -> bool:
        """Whether a path changed, something below it, or something above it that is a file or a link now.

        What begins with it counts, too: `a` may be the first line of `a b`, and `a.dvc` tracks it.
        """
        at = bisect_left(self._paths, place)
        if at < len(self._paths) and self._paths[at].startswith(place):
            return True
        parts = place.split("/")
        return any("/".join(parts[:depth]) in self._set for depth in range(1, len(parts)))


def _ends(line: bytes, start: int, end: int) -> tuple[int, int]:
    left, right = _PATH[0].search(line[:start]), _PATH[1].match(line[end:])
    assert left and right
    return left.start(), end + right.end()
