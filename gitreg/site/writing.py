"""Writes a site's files into a folder that may hold other people's, too.

The folder has a record of what was written there, by digest. A file that is not in it, or is not as it was
written, is somebody's: it is never overwritten or deleted, and the run ends before it writes anything. Files
whose content is the same are not touched. Each file is made aside and renamed. What is about to be
written is in the record first, so that a run that was killed is known as our own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitreg import safewrite
from gitreg.errors import Refused

RECORD = "gitreg-site.json"
_ASIDE = ".gitreg-site-new"
_SHOWN = 3


@dataclass
class Record:
    """What was written into a folder.

    Attributes:
        files: path -> digest.
        models: model -> digest of what its pages were made from.
        writing: what a run was about to write; empty when it came to its end.
    """

    files: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    writing: dict[str, str] = field(default_factory=dict)

    def knows(self, path: str, digest: str) -> bool:
        """Whether a file is as it was written."""
        return digest in (self.files.get(path), self.writing.get(path))


@dataclass(frozen=True)
class Written:
    """What a run did: paths written anew, removed, and how many are as they were."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    same: int


def digest(data: bytes) -> str:
    """Of a file's content."""
    return hashlib.sha256(data).hexdigest()


class Folder:
    """A folder that a site is written into. One run at a time, while its block lasts.

    Raises:
        Refused: another run is writing there; it is no folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = Record()

    @contextlib.contextmanager
    def open(self) -> Iterator[Folder]:
        """Lock the folder and read its record."""
        if self.path.exists() and not self.path.is_dir():
            raise Refused(f"{self.path} is no folder", "-o DIR")
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused(f"another gitreg is writing into {self.path}", "wait for it") from None
            self.record = _read(self.path / RECORD)
            (self.path / _ASIDE).unlink(missing_ok=True)
            yield self
        finally:
            os.close(descriptor)

    def is_whole(self, paths: Mapping[str, str] | list[str]) -> bool:
        """Whether files are there as they were written."""
        return all(self._there(path) == self.record.files.get(path, "") for path in paths)

    def put(self, new: Mapping[str, bytes], kept: set[str], models: Mapping[str, str]) -> Written:
        """Make the folder hold these files and those that are kept, and no others of ours.

        Args:
            new: path -> content.
            kept: paths that stay as they are.
            models: as of `Record`.

        Raises:
            Refused: a file in the way is not ours.
        """
        wanted = {path: digest(data) for path, data in new.items()}
        there = {path: self._there(path) for path in wanted}
        stale = sorted((self.record.files.keys() | self.record.writing.keys()) - wanted.keys() - kept)
        gone = {path: found for path in stale if (found := self._there(path))}
        changed = [path for path in wanted if there[path] != wanted[path]]
        theirs = [p for p in changed if there[p] and not self.record.knows(p, there[p])]
        if theirs:
            listed = ", ".join(theirs[:_SHOWN]) + (", ..." if len(theirs) > _SHOWN else "")
            what = "is" if len(theirs) == 1 else "are"
            raise Refused(
                f"{self.path}: {listed} {what} not as gitreg wrote it, or not from gitreg",
                "move it away, or write elsewhere with -o DIR",
            )
        removed = [path for path, found in gone.items() if self.record.knows(path, found)]
        if not changed and not removed and self.record.models == dict(models) and not self.record.writing:
            return Written((), (), len(wanted) + len(kept))
        files = {**{path: self.record.files[path] for path in kept}, **wanted}
        before = Record(self.record.files, self.record.models, {path: wanted[path] for path in changed})
        self._save(before)
        for path in changed:
            self._write(path, new[path])
        for path in removed:
            (self.path / path).unlink(missing_ok=True)
            self._prune(path)
        self._save(Record(files, dict(models)))
        return Written(tuple(changed), tuple(removed), len(wanted) + len(kept) - len(changed))

    def _there(self, path: str) -> str:
        """The digest of what is at a path; empty for nothing.

        Raises:
            Refused: a link leads out of the folder.
        """
        self._contain(path)
        try:
            return digest((self.path / path).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except IsADirectoryError:
            raise Refused(f"{self.path / path} is a folder; a page goes there", "-o DIR") from None

    def _contain(self, path: str) -> None:
        place = self.path
        for part in path.split("/"):
            place = place / part
            if place.is_symlink():
                raise Refused(f"{place} is a link, and pages are not written through links", "-o DIR")

    def _write(self, path: str, data: bytes) -> None:
        aside, file = self.path / _ASIDE, self.path / path
        safewrite.create(self.path, _ASIDE, data)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise Refused(f"{file.parent} is no folder; pages go there", "-o DIR") from None
        os.replace(aside, file)

    def _prune(self, path: str) -> None:
        for above in Path(path).parents:
            if above != Path():
                with contextlib.suppress(OSError):
                    (self.path / above).rmdir()

    def _save(self, record: Record) -> None:
        said: dict[str, Any] = {
            "about": "Made by gitreg site build, which knows its own files by this.",
            "files": dict(sorted(record.files.items())),
            "models": dict(sorted(record.models.items())),
        }
        if record.writing:
            said["writing"] = dict(sorted(record.writing.items()))
        self._write(RECORD, json.dumps(said, indent=0).encode())


def _read(file: Path) -> Record:
    """The record; an empty one where there is none, or it is broken: nothing is known as ours then."""
    try:
        said = json.loads(file.read_bytes())
        parts = [said.get(key, {}) for key in ("files", "models", "writing")]
        if all(map(_is_plain, parts)) and not any(_leads_out(path) for path in (*parts[0], *parts[2])):
            return Record(*parts)
    except (OSError, ValueError, AttributeError, RecursionError):
        pass
    return Record()


def _leads_out(path: str) -> bool:
    return path.startswith("/") or "\\" in path or any(p in ("", ".", "..") for p in path.split("/"))


def _is_plain(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(value, str) for value in part.values())
