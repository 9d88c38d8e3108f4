"""How references come to be here: all of one transaction or none, whoever is killed, and never moved unseen.

Git's own transaction takes a lock for each reference, then renames one file after the other. A Git that is
killed leaves its locks and, in the worst case, some of its references. So every command that writes
references is noted in a journal first: by that the next one knows which locks were ours, and finishes what
was half done.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from gitreg import keeping, trees
from gitreg.errors import GitregError, Outside, Refused
from gitreg.git import client, git_folder, must, run
from gitreg.git.objects import ids

_MANY = 500  # loose references take a file each, and every command reads them all
_TRIES = 20  # at a lock of another Git's


def create(root: Path, refs: Mapping[str, str], moves: Mapping[str, tuple[str, str]] | None = None) -> None:
    """Make references that are not there yet, and move others: all or none.

    Git moves them first, and makes the others in their order. It goes on when gitreg is killed.

    Args:
        moves: reference -> (new, old) of those that are there.

    Raises:
        Refused: one to be made is there, or one to be moved is not where it was.
        Outside: Git, or a hook of this repository, refuses.
    """
    steps = [f"update {name} {new} {old}" for name, (new, old) in (moves or {}).items()]
    steps += [f"create {name} {oid}" for name, oid in refs.items()]
    if not steps:
        return
    with journal(root, ["start", *steps, "prepare", "commit"]) as stream:
        for attempt in range(_TRIES):
            code, err = _run_whole(root, ["update-ref", "--create-reflog", "--stdin"], stream)
            if code == 0:
                break
            if any(words in err for words in ("already exists", "but expected", "exists; cannot create")):
                raise Refused(f"git update-ref: {err.splitlines()[0]}")
            lock = re.search(r"Unable to create '(.*\.lock)'", err)
            if not lock or attempt == _TRIES - 1:
                hint = f"if no Git runs here: rm {lock[1]}" if lock else None
                raise Outside(f"git update-ref: {err}", hint)
            time.sleep(0.1)
    if len(steps) >= _MANY:
        with journal(root, ["pack packed-refs", "pack refs/"]) as stream:
            _run_whole(root, ["pack-refs", "--all"], stream)


# Not of the process group that ^C or a killed terminal ends: what is to be done wholly goes on.
ITS_OWN: Mapping[str, Any] = {"start_new_session": True}


def _run_whole(root: Path, arguments: Sequence[str], stream: FileIO) -> tuple[int, str]:
    """Run Git in a journal: its exit code, and what it says is wrong."""
    stream.seek(0)
    code, _, err = client(root).execute(
        ["git", *arguments], istream=stream, with_extended_output=True, with_exceptions=False, **ITS_OWN
    )
    check_alive(code, arguments[0])
    return int(code), str(err)


@contextmanager
def journal(root: Path, lines: Sequence[str]) -> Iterator[FileIO]:
    """One transaction at a time in this repository, noted before it begins; the one before is ended first.

    No lock that anybody else may hold is touched.

    Args:
        lines: the second word of each names a reference, or with a slash at its end all below it.

    Yields:
        A file with the lines. A command that has it as its input holds up the next transaction for as long
        as it runs, even if gitreg itself is killed.
    """
    folder = git_folder(root)
    assert folder
    journal = keeping.folder(folder / "gitreg") / "transaction"
    with open(keeping.opened(journal, os.O_RDWR), "a+b", buffering=0) as stream:
        _take(stream)
        _end_locks(folder, stream)
        _finish(root, stream)
        stream.truncate(0)
        stream.write("".join(f"{line}\n" for line in lines).encode())
        try:
            yield stream
        except _Killed:
            _end_locks(folder, stream)
            stream.truncate(0)
            raise
        except GitregError:
            stream.truncate(0)  # Git has ended by itself
            raise
        stream.truncate(0)


class _Killed(Outside):
    """Git was ended by a signal, and has left its locks."""


def check_alive(code: int, verb: str) -> None:
    """Raise when Git was ended by a signal: it has left its locks."""
    if code < 0:
        raise _Killed(f"git {verb} was ended by signal {-code}", "the same again")


def recover(root: Path) -> None:
    """End what a killed gitreg left. To be called by the only gitreg that writes here."""
    with journal(root, []):
        pass
    folder = git_folder(root)
    assert folder
    for lock in (folder / "index.lock", *folder.glob("worktrees/*/index.lock")):
        if _same(lock, folder / "gitreg" / _INDEX_LOCK):
            lock.unlink()


_INDEX_LOCK = "index-lock"


def add(top: Path, paths: Sequence[str], aside: Path) -> None:
    """`git add`, with a lock of the index that the next run can tell from anybody else's: a link to a file of
    ours.

    Args:
        paths: relative to the work tree's top.
        aside: where the new index is made, on the same file system.

    Raises:
        Outside: another Git has the index locked for long.
    """
    folder = git_folder(top)
    assert folder
    index = Path(must(top, ["rev-parse", "--path-format=absolute", "--git-path", "index"]))
    lock, mine = index.with_name("index.lock"), folder / "gitreg" / _INDEX_LOCK
    command = ["add", "--all", "--", *(f":(literal){path}" for path in paths)]
    os.close(keeping.opened(mine))
    for attempt in range(_TRIES):
        try:
            os.link(mine, lock)
            break
        except FileExistsError:
            if attempt == _TRIES - 1:
                raise Outside(f"another Git has locked {lock}", f"if no Git runs here: rm {lock}") from None
            time.sleep(0.1)
        except OSError:  # no links on this file system
            must(top, command)
            return
    try:
        if index.exists():
            shutil.copy2(index, aside)
        must(top, command, environment={"GIT_INDEX_FILE": str(aside)})
        os.replace(aside, index)
    finally:
        lock.unlink()


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _take(stream: FileIO) -> None:
    for _ in range(600):
        try:
            return fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
    raise Outside("another gitreg writes references in this repository, and does not end", "ps -ef")


def _end_locks(folder: Path, stream: FileIO) -> None:
    """Remove the locks that a journal tells of: made after it, and by nobody who still lives."""
    stream.seek(0)
    words = [line.split() for line in stream.read().decode().splitlines()]
    since = os.fstat(stream.fileno()).st_mtime_ns
    locks: set[Path] = set()
    for name in (line[1] for line in words if len(line) > 1):
        locks |= {*_locks_in(folder / name)} if name.endswith("/") else {folder / f"{name}.lock"}
        locks |= {folder / "packed-refs.new"} if name == "packed-refs" else set()
        if name.startswith("refs/heads/"):  # the branch that is checked out, here or in another work tree
            locks |= {folder / "HEAD.lock", *folder.glob("worktrees/*/HEAD.lock")}
    held = {lock: one for lock in locks if (one := _stamp(lock)) and one[1] >= since}
    if held:
        time.sleep(1)  # whoever took one of these just now is done with it by then
    for lock in (lock for lock, one in held.items() if _stamp(lock) == one):
        lock.unlink(missing_ok=True)


def _locks_in(folder: Path) -> Iterator[Path]:
    for where, _, names in trees.walk(folder):
        yield from (Path(where, name) for name in names if name.endswith(".lock"))


def _finish(root: Path, stream: FileIO) -> None:
    """Make the rest of a transaction of which some references were made: Git makes them in their order.

    Of which none was made, or all, nothing is done: the next plan knows what is left.
    """
    stream.seek(0)
    words = [line.split() for line in stream.read().decode().splitlines()]
    wanted = {line[1]: line[2] for line in words if line[0] == "create" and len(line) == 3}
    there = ids(root, wanted)
    if there and all(wanted[name] == oid for name, oid in there.items()):
        rest = "".join(f"create {name} {oid}\n" for name, oid in wanted.items() if name not in there)
        run(root, ["update-ref", "--create-reflog", "--stdin"], rest.encode(), hooks=True)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
