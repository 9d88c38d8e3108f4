"""What Git's index holds below a folder, and lines of its files: asked early, while gitreg itself starts.

A registry has ten entries for each model: the list is searched as it was printed, and no object is made of
each.
"""

from __future__ import annotations

import mmap
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from gitreg.errors import Outside
from gitreg.git import must, plain, run

_MANY = 200
_LINK, _SUBMODULE = b"120000", b"160000"
# A mode, an id, a number, and behind a tab the path. All begin in one way but the first.
_FIRST = re.compile(rb"(120000|160000) [0-9a-f]+ [0-3]\t([^\0]+)")
_ENTRY = re.compile(rb"\0(120000|160000) [0-9a-f]+ [0-3]\t([^\0]+)")


class Answer:
    """A Git command that began, and what it prints.

    Args:
        fine: the exit codes of a command that succeeds.
    """

    def __init__(self, root: Path, arguments: Sequence[str], fine: Sequence[int] = (0,)) -> None:
        self._arguments, self._fine = arguments, fine
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self._process = plain.started(root, arguments, subprocess.DEVNULL, self._err, self._out)

    @cached_property
    def raw(self) -> bytes | mmap.mmap:
        """All that it prints: not copied, as it may be much.

        Raises:
            Outside: it fails.
        """
        self._process.wait()
        with self._out, self._err:
            if self._process.returncode not in self._fine:
                self._err.seek(0)
                said = self._err.read().decode("utf-8", "replace").strip()
                raise Outside(f"git {self._arguments[0]}: {said}")
            empty = os.fstat(self._out.fileno()).st_size == 0
            return b"" if empty else mmap.mmap(self._out.fileno(), 0, access=mmap.ACCESS_READ)


class Listing:
    """The entries of Git's index below a folder; paths are relative to it."""

    def __init__(self, root: Path) -> None:
        self._answer = Answer(root, ["ls-files", "--stage", "-z", "--", "."])

    @property
    def links(self) -> list[str]:
        """The symbolic links."""
        return self._special[_LINK]

    @property
    def submodules(self) -> list[str]:
        """The submodules: of what is in them, a commit holds nothing."""
        return self._special[_SUBMODULE]

    @cached_property
    def _special(self) -> dict[bytes, list[str]]:
        """mode -> paths, of the few entries that are no plain files. One search finds them all."""
        text = self._answer.raw
        found: dict[bytes, list[str]] = {_LINK: [], _SUBMODULE: []}
        for entry in (_FIRST.match(text), *_ENTRY.finditer(text)):
            if entry:
                found[entry[1]].append(os.fsdecode(entry[2]))
        return found


class Lines:
    """Lines of files that Git tracks, as they lie in the work tree.

    Args:
        glob: of the files, in Git's words.
        pattern: as Perl has them.
        basic: much the same in POSIX's extended patterns, for a Git that knows no others.
    """

    def __init__(self, root: Path, glob: str, pattern: str, basic: str) -> None:
        self._root, self._glob, self._basic = root, glob, basic
        self._answer = self._ask("-P", pattern)

    def _ask(self, kind: str, pattern: str) -> Answer:
        # In one thread: it works beside gitreg, and is not to take its place.
        words = ["grep", "--threads=1", "-a", "-z", kind, "-e", pattern, "--", f":(glob){self._glob}"]
        return Answer(self._root, words, (0, 1))

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        try:
            raw = self._answer.raw
        except Outside:
            raw = self._ask("-E", self._basic).raw
        for found in re.finditer(rb"([^\0]+)\0([^\n]*)\n?", raw):
            yield os.fsdecode(found[1]), found[2]


def containing(root: Path, glob: str, words: Sequence[str]) -> list[str]:
    """Files that Git tracks, by a glob, with any of some words; all where the words are many.

    Those with a backslash, which may hide a word, too; and capital letters are as small ones.
    """
    if not words:
        return []
    asked = [word for one in (*words, "\\") for word in ("-e", one)] if len(words) < _MANY else ["-e", ""]
    ran = run(root, ["grep", "-l", "-a", "-z", "-i", "-F", *asked, "--", f":(glob){glob.removeprefix('./')}"])
    return _names(ran.out)


def tracked(root: Path, places: Sequence[str]) -> list[str]:
    """Files that Git tracks, by pathspecs."""
    return _names(must(root, ["ls-files", "-z", "--", *places])) if places else []


def ignored(root: Path, name: str, places: Sequence[str]) -> list[str]:
    """Files that Git tracks, by pathspecs, and that files of a name (`.gitignore`) tell it to ignore."""
    words = ["ls-files", "-z", "--cached", "--ignored", f"--exclude-per-directory={name}", "--", *places]
    return _names(must(root, words)) if places else []


def filters(root: Path, files: Sequence[str]) -> dict[str, str]:
    """file -> the filter that .gitattributes gives it; those without one are left out."""
    said = "".join(f"{file}\0" for file in files).encode("utf-8", "surrogateescape")
    words = must(root, ["check-attr", "-z", "--stdin", "filter"], said).split("\0")
    every = zip(words[::3], words[2::3], strict=False)
    return {file: value for file, value in every if value not in ("unspecified", "unset", "set", "")}


def _names(said: str) -> list[str]:
    return [name for name in said.split("\0") if name]
