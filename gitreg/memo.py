"""Remembers the outcome of work over files for as long as none of them changes.

A file counts as unchanged while its size, modification time and inode are the same, as in Git's own
index; what changed too recently to tell apart is not remembered. The memory is one SQLite file
that can be deleted at any time, is shared by many processes, and is rebuilt when it is broken.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gitreg import keeping

Stamp = list[int]
Stamps = dict[str, "Stamp | None"]
# Two writes within one tick of the kernel's clock have one time stamp; ticks last up to 10 ms.
_TICK_NS = 20_000_000
# Another layout of the table gets another name.
_TABLE = "memo_3"

T = TypeVar("T")


def stamp(path: str | Path) -> Stamp | None:
    """[size, mtime in ns, inode] of a file or folder, of a link those of its target, too; None of nothing.

    Of a path with a slash at its end only whether it is a folder, a link or something else counts: what comes
    and goes in a folder does not change what lies behind it, and a link in its place does.
    """
    try:
        if isinstance(path, str) and path.endswith("/"):
            return [stat.S_IFMT(os.lstat(path[:-1]).st_mode), 0, 0]
        status = os.lstat(path)
        found = [status.st_size, status.st_mtime_ns, status.st_ino]
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode):
        with contextlib.suppress(OSError):  # it leads nowhere
            status = os.stat(path)
            found += [status.st_size, status.st_mtime_ns, status.st_ino]
    return found


def stamps(paths: Iterable[str | Path]) -> Stamps:
    """The stamp of each path, to be taken before the files are read."""
    return {str(path): stamp(path) for path in paths}


def _is_text(name: str) -> bool:
    """Whether a name is all characters; those of files may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def lying(root: str | Path, file: str) -> list[str]:
    """Paths whose stamps tell whether a file below a root changed, or a folder above it became a link."""
    parts = file.split("/")
    return [f"{root}/{'/'.join(parts[:depth])}/" for depth in range(1, len(parts))] + [f"{root}/{file}"]


class Memo:
    """One memory.

    Args:
        folder: where its file lies; None remembers nothing.
        version: what else the outcomes depend on; another one forgets everything.
        place: whose outcomes: work trees share one memory, and a copied one brings its own along.
    """

    def __init__(self, folder: Path | None, version: str, place: str = "") -> None:
        self.file = folder / "memo.sqlite" if folder else None
        self.version, self.place = version, place
        self._open: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    def recall(self, kind: str) -> dict[str, Any]:
        """Every outcome of a kind whose files are as they were, by key."""
        query = f"SELECT key, value FROM {_TABLE} WHERE kind = ? AND place = ? AND version = ?"
        return self._use(lambda c: _hold(c.execute(query, (kind, self.place, self.version)))) or {}

    def recall_one(self, kind: str, key: str) -> Any:
        """The outcome of one key, or None."""
        query = f"SELECT key, value FROM {_TABLE} WHERE kind = ? AND place = ? AND version = ? AND key = ?"
        asked = (kind, self.place, self.version, key)
        return (self._use(lambda c: _hold(c.execute(query, asked))) or {}).get(key)

    def remember(self, kind: str, outcomes: Mapping[str, tuple[Stamps, Any]]) -> None:
        """Keep outcomes by key, each with the stamps of the files it depends on."""
        limit = time.time_ns() - _TICK_NS
        rows = [
            (kind, self.place, key, self.version, json.dumps({"files": files, "outcome": outcome}))
            for key, (files, outcome) in outcomes.items()
            if _is_text(key) and all(one is None or max(one[1::3]) < limit for one in files.values())
        ]
        if rows:
            self._use(
                lambda c: c.executemany(f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?, ?, ?, ?)", rows)
            )

    def _use(self, action: Callable[[sqlite3.Connection], T]) -> T | None:
        """Act in a transaction. A memory that cannot be used is a memory that is empty."""
        with self._lock:
            try:
                connection = self._connect()
                if connection is None:
                    return None
                with connection:
                    return action(connection)
            except UnicodeEncodeError:
                pass  # a folder or a file whose name is no text is not remembered
            except sqlite3.OperationalError:
                self.close()  # locked for long, read-only, disk full: go on without
            except sqlite3.DatabaseError:
                self.close()
                if self.file:
                    with contextlib.suppress(OSError):
                        self.file.unlink()
        return None

    def _connect(self) -> sqlite3.Connection | None:
        if self._open is None and self.file is not None:
            try:
                keeping.database(self.file)
            except OSError:
                return None
            self._open = sqlite3.connect(self.file, timeout=10, check_same_thread=False)
            self._open.execute("PRAGMA journal_mode = WAL")
            self._open.execute("PRAGMA synchronous = OFF")
            self._open.execute(
                f"CREATE TABLE IF NOT EXISTS {_TABLE}"
                " (kind TEXT, place TEXT, key TEXT, version TEXT, value TEXT, PRIMARY KEY (kind, place, key))"
            )
        return self._open

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None


def _hold(rows: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The outcomes that still hold, a row at a time: most of a row is the stamps of its files."""
    found: dict[str, Any] = {}
    known: dict[str, Stamp | None] = {}
    for key, text in rows:
        value = json.loads(text)
        if _unchanged(value["files"], known):
            found[key] = value["outcome"]
    return found


def _unchanged(files: Stamps, known: dict[str, Stamp | None]) -> bool:
    for path, was in files.items():
        if path not in known:
            known[path] = stamp(path)
        if known[path] != was:
            return False
    return True
