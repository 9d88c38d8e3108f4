"""Remembers what every registry tag was when it was first seen: one SQLite file in Git's own folder.

Git lets anybody with the right to push move or delete a tag, and keeps no record of it. The ledger is that
record, for one repository and all of its work trees. A clone has none; it begins one from what its remote
has. Deleting the file loses what was seen before, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from gitreg import keeping

FILE = "ledger.sqlite"
_TABLE = "CREATE TABLE IF NOT EXISTS seen (name TEXT PRIMARY KEY, oid TEXT, shared INTEGER) WITHOUT ROWID"

T = TypeVar("T")


class Seen(NamedTuple):
    """What a tag was when it was first seen.

    Attributes:
        oid: the id of its object.
        shared: whether a remote had it so, then or later.
    """

    oid: str
    shared: bool = False


class Change(NamedTuple):
    """A tag that is not what it was.

    Attributes:
        first: the id of its object when it was first seen.
        now: the id of what it names now; None where it is gone.
    """

    name: str
    first: str
    now: str | None


class Ledger:
    """One ledger.

    Args:
        folder: where its file lies: `gitreg` in Git's own folder, which all work trees share.

    Attributes:
        trouble: why nothing is remembered; None while all is well.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self.trouble: str | None = None

    def seen(self) -> dict[str, Seen]:
        """Every tag that was ever noted, by name."""
        if not self.file.is_file() or self.file.parent.is_symlink() or self.file.is_symlink():
            return {}
        found = self._use(lambda c: c.execute("SELECT name, oid, shared FROM seen").fetchall())
        return {name: Seen(oid, bool(shared)) for name, oid, shared in found or ()}

    def changes(self, tags: Mapping[str, str]) -> Iterator[Change]:
        """Tags that were moved or deleted since they were first seen. Reads one file, and never writes.

        Args:
            tags: name -> object id of every tag that is here now.
        """
        for name, seen in self.seen().items():
            if tags.get(name) != seen.oid:
                yield Change(name, seen.oid, tags.get(name))

    def note(self, tags: Mapping[str, str], shared: Iterable[str] = ()) -> None:
        """Remember tags: those that were noted before stay as they were then.

        Args:
            tags: name -> object id; names that `names.parse_tag` reads.
            shared: names of tags that a remote has as they were first seen.
        """
        rows = [(name, oid) for name, oid in tags.items()]
        known = [(name,) for name in shared]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, 0)", rows)
            connection.executemany("UPDATE seen SET shared = 1 WHERE name = ? AND shared = 0", known)

        if rows or known:
            self._use(write)

    def forget(self, names: Iterable[str]) -> None:
        """Remember nothing of tags that should never have been: their end is no loss."""
        rows = [(name,) for name in names]
        if rows:
            self._use(lambda connection: connection.executemany("DELETE FROM seen WHERE name = ?", rows))

    def _use(self, action: Callable[[sqlite3.Connection], T]) -> T | None:
        """Act in a transaction. A ledger that cannot be used is empty, and says so."""
        try:
            keeping.database(self.file)
            with contextlib.closing(sqlite3.connect(self.file, timeout=10)) as connection, connection:
                connection.execute(_TABLE)
                return action(connection)
        except (sqlite3.OperationalError, OSError) as error:
            self.trouble = f"{self.file} cannot be used ({error}), so tags that move later are not noticed"
        except sqlite3.DatabaseError as error:
            aside = self.file.with_suffix(".broken")
            with contextlib.suppress(OSError):
                os.replace(self.file, aside)
            self.trouble = f"{self.file} was broken ({error}); it is {aside.name} now, and a new one begins"
        return None
