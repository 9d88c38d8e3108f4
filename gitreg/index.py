"""The index: what tags and manifests say, in one SQLite file in Git's own folder. Disposable.

It holds what was read from Git's objects, which never change, by their ids; and what follows from them for
each model, by a digest of the references that it follows from. So a row is right or is not asked for. Every
row carries a checksum, as a damaged page may still be a page.

Many processes use it at once. Each holds a shared lock on a file beside it for as long as it has it open; a
broken one is removed under an exclusive lock. Where the file cannot be used (read-only, locked for long, disk
full) the index is in memory, slow and right.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from gitreg import keeping
from gitreg.errors import Outside

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS seen (oid TEXT PRIMARY KEY, body TEXT, crc INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS models
    (name TEXT PRIMARY KEY, digest TEXT, summary TEXT, crc INTEGER, body TEXT, body_crc INTEGER);
CREATE TABLE IF NOT EXISTS standings (name TEXT PRIMARY KEY, digest TEXT, body TEXT, crc INTEGER);
CREATE TABLE IF NOT EXISTS facts (oid TEXT PRIMARY KEY, body TEXT, crc INTEGER);
CREATE TABLE IF NOT EXISTS contents (oid TEXT PRIMARY KEY, body BLOB, crc INTEGER);
CREATE TABLE IF NOT EXISTS others (digest TEXT PRIMARY KEY, body TEXT, crc INTEGER);
"""
_NAMES = ("meta", "seen", "models", "standings", "facts", "contents", "others")
# How long others may hold the file before this process does without.
_PATIENCE = 20.0
_MOST_VARIABLES = 500
# SQLite's words for a file that is sound and cannot be used.
_BUSY = ("locked", "busy", "readonly", "read-only", "unable to open", "is full", "disk i/o")

T = TypeVar("T")


class Broken(Exception):
    """The file is not what was written; it is made anew."""


class Again(sqlite3.OperationalError):
    """Somebody else emptied the index in between: what was there is to be read again."""

    def __init__(self) -> None:
        super().__init__("busy")


class Index:
    """One index, open while the block of its `with` lasts.

    Args:
        folder: where its file lies; None for memory.
        name: of the file.
        version: what else its rows depend on; another one empties it.
    """

    def __init__(self, folder: Path | None, name: str, version: str) -> None:
        self.folder, self.version = folder, version
        self.file = folder / name if folder else None
        self._lock: IO[str] | None = None
        self.connection: sqlite3.Connection | None = None

    def __enter__(self) -> Index:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        if self.file is None:
            self.connection = sqlite3.connect(":memory:", isolation_level=None)
        else:
            keeping.database(self.file)
            self._lock = _locked(self.file.with_suffix(".lock"), fcntl.LOCK_SH)
            self.connection = sqlite3.connect(self.file, timeout=_PATIENCE, isolation_level=None)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
        if self._meta("version") != self.version:
            self._begin_anew()

    def _begin_anew(self) -> None:
        assert self.connection
        with contextlib.contextmanager(self._transaction)("BEGIN IMMEDIATE", False):
            if self._meta("version") != self.version:
                for name in _NAMES:
                    self.connection.execute(f"DROP TABLE IF EXISTS {name}")
                for statement in _TABLES.split(";"):
                    self.connection.execute(statement)
                self._set_meta("version", self.version)

    def close(self) -> None:
        """Let go of the file."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def remove(self) -> None:
        """Remove a broken file, when nobody else has it open.

        Raises:
            sqlite3.OperationalError: somebody has, for long.
        """
        self.close()
        if self.file is None:
            return
        with _locked(self.file.with_suffix(".lock"), fcntl.LOCK_EX):
            for ending in ("", "-wal", "-shm", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self.file}{ending}")

    # Transactions -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """All that is read in the block is of one moment."""
        yield from self._transaction("BEGIN")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """All that is read and written in the block is of one moment; others see all of it, or nothing."""
        yield from self._transaction("BEGIN IMMEDIATE")

    def _transaction(self, begin: str, ours: bool = True) -> Iterator[None]:
        assert self.connection
        self.connection.execute(begin)
        try:
            if ours and self._meta("version") != self.version:
                raise Again
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    # What the whole is of -----------------------------------------------------------------------

    def _meta(self, key: str) -> str | None:
        assert self.connection
        with contextlib.suppress(sqlite3.OperationalError):  # there is no table yet
            row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return str(row[0]) if row else None
        return None

    def _set_meta(self, key: str, value: str) -> None:
        assert self.connection
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @property
    def state(self) -> str | None:
        """The digest of the references that all models' rows follow from; None when they do not."""
        return self._meta("state") or None

    @state.setter
    def state(self, digest: str | None) -> None:
        self._set_meta("state", digest or "")

    # What objects say ---------------------------------------------------------------------------

    def seen(self, oids: Iterable[str]) -> dict[str, list[Any]]:
        """What some objects say, as far as that is known."""
        found = {}
        for oid, body, crc in self._some("SELECT oid, body, crc FROM seen WHERE oid IN", list(oids)):
            _hold(crc, oid, body)
            found[oid] = json.loads(body)
        return found

    def see(self, rows: Mapping[str, Sequence[Any]]) -> None:
        """Keep what objects say."""
        made = []
        for oid, said in sorted(rows.items()):  # in the order of the table, which is faster
            body = json.dumps(said)
            made.append((oid, body, _crc(oid, body)))
        self._write("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", made)

    # Whose tags are whose -----------------------------------------------------------------------

    def others(self, digests: Iterable[str]) -> dict[str, list[str]]:
        """The names among some references that are tags of other registries, as far as that is known.

        Args:
            digests: of the references of a model.
        """
        found = {}
        query = "SELECT digest, body, crc FROM others WHERE digest IN"
        for digest, body, crc in self._some(query, list(digests)):
            _hold(crc, digest, body)
            found[digest] = json.loads(body)
        return found

    def keep_others(self, rows: Mapping[str, Sequence[str]]) -> None:
        """Keep which tags are other registries'."""
        made = []
        for digest, names in rows.items():
            body = json.dumps(names)
            made.append((digest, body, _crc(digest, body)))
        self._write("INSERT OR REPLACE INTO others VALUES (?, ?, ?)", made)

    # What follows for models --------------------------------------------------------------------

    def digests(self) -> dict[str, str]:
        """model -> the digest of the references that its row follows from."""
        assert self.connection
        return dict(self.connection.execute("SELECT name, digest FROM models").fetchall())

    def summaries(self) -> dict[str, Any]:
        """model -> its summary, by name."""
        assert self.connection
        rows = self.connection.execute(
            "SELECT name, digest, summary, crc FROM models ORDER BY name"
        ).fetchall()
        for name, digest, summary, crc in rows:
            _hold(crc, name, digest, summary)
        if self._meta("models") != str(len(rows)):
            raise Broken
        return {name: json.loads(summary) for name, _, summary, _ in rows}

    def bodies(self) -> dict[str, Any]:
        """model -> all that its tags record, by name."""
        assert self.connection
        rows = self.connection.execute("SELECT name, body, body_crc FROM models ORDER BY name").fetchall()
        if self._meta("models") != str(len(rows)):
            raise Broken
        for name, body, crc in rows:
            _hold(crc, name, body)
        return {name: json.loads(body) for name, body, _ in rows}

    def put(self, rows: Mapping[str, tuple[str, Any, Any]], gone: Iterable[str] = ()) -> None:
        """Write models' rows: digest, summary, body of each; and remove those of others.

        Only in a transaction of the caller's.
        """
        assert self.connection
        made = []
        for name, (digest, said, more) in rows.items():
            summary, body = json.dumps(said), json.dumps(more)
            made.append((name, digest, summary, _crc(name, digest, summary), body, _crc(name, body)))
        self.connection.executemany("DELETE FROM models WHERE name = ?", [(name,) for name in gone])
        self.connection.executemany("INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?, ?)", made)
        count = self.connection.execute("SELECT count(*) FROM models").fetchone()[0]
        self._set_meta("models", str(count))

    # Where models stand -------------------------------------------------------------------------

    @property
    def standing_state(self) -> str | None:
        """The digest of the references that all models' standings follow from."""
        return self._meta("standing state")

    def standings(self) -> dict[str, tuple[str, Any]]:
        """model -> the digest of the references that its standing follows from, and the standing."""
        assert self.connection
        rows = self.connection.execute("SELECT name, digest, body, crc FROM standings").fetchall()
        if (self._meta("standings") or "0") != str(len(rows)):
            raise Broken
        for name, digest, body, crc in rows:
            _hold(crc, name, digest, body)
        return {name: (digest, json.loads(body)) for name, digest, body, _ in rows}

    def stand(self, rows: Mapping[str, tuple[str, Any]], gone: Iterable[str], state: str) -> None:
        """Write models' standings, and remove those of others. Only in a transaction of the caller's."""
        assert self.connection
        made = []
        for name, (digest, said) in rows.items():
            body = json.dumps(said)
            made.append((name, digest, body, _crc(name, digest, body)))
        self.connection.executemany("DELETE FROM standings WHERE name = ?", [(name,) for name in gone])
        self.connection.executemany("INSERT OR REPLACE INTO standings VALUES (?, ?, ?, ?)", made)
        count = self.connection.execute("SELECT count(*) FROM standings").fetchone()[0]
        self._set_meta("standings", str(count))
        self._set_meta("standing state", state)

    # What versions' manifests say ---------------------------------------------------------------

    def known(self, oids: Sequence[str]) -> set[str]:
        """Those versions, by the ids of their tags, whose contents are there."""
        assert self.connection
        if len(oids) > 5000:
            wanted = set(oids)
            return {oid for (oid,) in self.connection.execute("SELECT oid FROM facts") if oid in wanted}
        return {row[0] for row in self._some("SELECT oid FROM facts WHERE oid IN", oids)}

    def facts(self, oids: Sequence[str] | None = None) -> Iterator[tuple[str, Any]]:
        """What can be searched for in versions: of some, or of all."""
        assert self.connection
        query = "SELECT oid, body, crc FROM facts"
        rows: Iterable[Any] = self.connection.execute(query)
        if oids is not None:
            rows = self._some(f"{query} WHERE oid IN", oids)
        for oid, body, crc in rows:
            _hold(crc, oid, body)
            yield oid, json.loads(body)

    def contents(self, oids: Sequence[str]) -> dict[str, Any]:
        """All that is known of some versions' manifests."""
        found = {}
        for oid, body, crc in self._some("SELECT oid, body, crc FROM contents WHERE oid IN", oids):
            _hold(crc, oid, body)
            found[oid] = json.loads(zlib.decompress(body))
        return found

    def fill(self, rows: Mapping[str, tuple[Any, Any]]) -> None:
        """Keep facts and contents of versions, by the ids of their tags."""
        facts, contents = [], []
        for oid, (fact, content) in rows.items():
            body, packed = json.dumps(fact), zlib.compress(json.dumps(content).encode(), 1)
            facts.append((oid, body, _crc(oid, body)))
            contents.append((oid, packed, _crc(oid, packed)))
        with self.writing():
            assert self.connection
            self.connection.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", contents)
            self.connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", facts)

    def _some(self, query: str, keys: Sequence[str]) -> Iterator[Any]:
        assert self.connection
        for start in range(0, len(keys), _MOST_VARIABLES):
            part = keys[start : start + _MOST_VARIABLES]
            marks = ", ".join("?" * len(part))
            yield from self.connection.execute(f"{query} ({marks})", part).fetchall()

    def _write(self, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with self.writing():
            assert self.connection
            self.connection.executemany(query, rows)


def using(make: Callable[[Path | None], Index], folder: Path | None, action: Callable[[Index], T]) -> T:
    """Act on an index; one that is broken is made anew, and one that cannot be used is one in memory."""
    places = [folder, folder, None] if folder else [None]
    for last, place in zip([*[False] * (len(places) - 1), True], places, strict=True):
        index = make(place)
        try:
            with index:
                return action(index)
        except (sqlite3.Error, OSError, ValueError, Broken) as error:
            # A ValueError of what is read is a damaged row; one of gitreg's own errors is none of these.
            if last or (isinstance(error, ValueError) and not _is_damage(error)):
                raise
            if isinstance(error, OSError) or any(word in str(error).lower() for word in _BUSY):
                continue
            with contextlib.suppress(sqlite3.Error, OSError):
                index.remove()
    raise AssertionError("unreachable")


def _is_damage(error: ValueError) -> bool:
    return isinstance(error, (json.JSONDecodeError, UnicodeDecodeError))


def _crc(*parts: str | bytes) -> int:
    value = 0
    for part in parts:
        value = zlib.crc32(part.encode() if isinstance(part, str) else part, value)
    return value


def _hold(crc: Any, *parts: Any) -> None:
    """Raise Broken where a row is not what was written."""
    whole = all(isinstance(part, (str, bytes)) for part in parts)
    if not whole or crc != _crc(*parts):
        raise Broken


def _locked(file: Path, how: int) -> IO[str]:
    """A lock, held until the file is closed; waited for a while."""
    try:
        stream = open(keeping.opened(file), "a")  # noqa: SIM115
    except Outside as error:
        raise OSError(error.message) from None
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(stream, how | fcntl.LOCK_NB)
            return stream
        except OSError as error:
            if time.monotonic() > end:
                stream.close()
                raise sqlite3.OperationalError("locked") from error
            time.sleep(0.01)
