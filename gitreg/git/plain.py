"""What every reading command asks Git, without GitPython, whose import takes longer than the answers."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from gitreg import printed
from gitreg.errors import Outside
from gitreg.git import command_line, sealed
from gitreg.tagspace import Space

_FORMAT = "--format=%(objectname) %(refname:strip=2)"
_CHUNK = 1 << 20
# What would be two lines, or what Git would look for from the folder that it is run in, and end on.
_UNASKED = re.compile(r"[\n\0]|^[^:]*:\.\.?/")
_MOST_TREE = 64 << 20
_NO_OBJECT = "0" * 40
# What Git says of an object that it cannot read; so many of them are passed over.
_DAMAGE = (
    b"is corrupt",
    b"cannot be read",
    b"unable to unpack",
    b"unable to stream",
    b"inflate",
    b"bad object",
)
_MOST_BROKEN = 100


class Place(NamedTuple):
    """Where a registry lies.

    Attributes:
        folder: Git's own folder, which all work trees share.
        prefix: of the registry below the work tree's top: empty, or a path with a slash at its end.
    """

    folder: Path
    prefix: str


class Object(NamedTuple):
    """An object: `commit`, `tree`, `blob` or `tag`; of a large one, its size and its beginning."""

    oid: str
    kind: str
    size: int
    data: bytes


def place(root: Path) -> Place | None:
    """Where a registry lies; None outside of a repository.

    Raises:
        Outside: Git refuses to look, as into a folder of somebody else.
    """
    command = ["rev-parse", "--path-format=absolute", "--git-common-dir", "--show-prefix"]
    done = _run(root, command)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        if "not a git repository" in said:
            return None
        raise Outside(f"git rev-parse: {printed.said(said)}")
    folder, _, prefix = os.fsdecode(done.stdout).removesuffix("\n").partition("\n")
    return Place(Path(folder), prefix)


def tags(root: Path, models: Iterable[str] | None = None, space: Space | None = None) -> bytes:
    """A line for each tag, sorted by name: its object's id, a space, its name. No object is read.

    Args:
        models: only the tags of these.
        space: the names that their tags may have.
    """
    asked, names = models if models is None else [*models], space or Space()
    patterns, chosen = names.patterns(asked), names.chooser(asked)
    raw = tags_by(root, patterns) if patterns else b""
    if not chosen:
        return raw
    named = raw.splitlines(keepends=True)
    return b"".join(line for line in named if chosen(os.fsdecode(line[:-1].partition(b" ")[2])))


def tags_by(root: Path, patterns: Sequence[str]) -> bytes:
    """As `tags`, by patterns of Git's; at least one."""
    done = _run(root, ["for-each-ref", _FORMAT, *patterns])
    if done.returncode:
        raise Outside(f"git for-each-ref: {printed.said(done.stderr.decode('utf-8', 'replace'))}")
    return done.stdout


def lines(root: Path, arguments: Sequence[str]) -> Iterator[str]:
    """What a Git command prints, line by line, while it still works.

    Raises:
        Outside: it failed.
    """
    with tempfile.TemporaryFile() as said:
        with started(root, arguments, subprocess.DEVNULL, said) as process:
            assert process.stdout
            for line in process.stdout:
                yield line[:-1].decode("utf-8", "surrogateescape")
        if process.returncode:
            said.seek(0)
            raise Outside(f"git {arguments[0]}: {said.read().decode('utf-8', 'replace').strip()}")


def changes(root: Path, old: str, new: str, folders: Sequence[str]) -> list[tuple[str, str]]:
    """(A, M or D, path) of files in some folders that differ between two commits.

    Args:
        root: what paths are relative to.
        old, new: full ids.
    """
    options = ["--name-status", "-z", "--no-renames", "--relative", "--no-ext-diff", "--no-textconv"]
    options += ["--ignore-submodules=dirty"]
    literal = [f":(literal){folder}" for folder in folders]
    done = _run(root, ["diff-tree", "-r", *options, old, new, "--", *literal])
    words = [os.fsdecode(word) for word in done.stdout.split(b"\0") if word]
    return list(zip(words[::2], words[1::2], strict=False)) if done.returncode == 0 else []


def objects(root: Path, names: Sequence[str], most: int = _CHUNK) -> Iterator[Object | None]:
    """Objects by id or `<commit>:<path>`, in the order asked; None where there is none.

    Args:
        most: bytes of each that are kept.
    """
    asked = [_NO_OBJECT if _UNASKED.search(name) else name for name in names]
    done = broken = 0
    while done < len(asked):
        with tempfile.TemporaryFile() as said:
            with _asking(root, ["cat-file", "--batch"], asked[done:], said) as answers:
                for _ in asked[done:]:
                    try:
                        found = _object(answers, most)
                    except Outside:
                        break
                    done += 1
                    yield found
                else:
                    return
            broken += 1
            if broken > _MOST_BROKEN or not _is_damage(said):
                raise Outside("git cat-file ended early", "git fsck")
            done += 1
            yield None


def _is_damage(said: IO[bytes]) -> bool:
    """Whether Git ended at a damaged object, and not for another reason, as a remote that is down."""
    said.seek(0)
    text = said.read(_CHUNK)
    return b"promisor" not in text and any(word in text for word in _DAMAGE)


def sizes(root: Path, names: Sequence[str]) -> list[tuple[str, int] | None]:
    """(id, size) of each blob by id or `<commit>:<path>`; None where there is no blob."""
    return [(one.oid, one.size) if one and one.kind == "blob" else None for one in heads(root, names)]


def heads(root: Path, names: Sequence[str]) -> list[Object | None]:
    """Objects by id or `<commit>:<path>` without their content; None where there is none."""
    asked = [_NO_OBJECT if _UNASKED.search(name) else name for name in names]
    found: list[Object | None] = []
    broken = 0
    while len(found) < len(asked):
        with tempfile.TemporaryFile() as said:
            with _asking(root, ["cat-file", "--batch-check"], asked[len(found) :], said) as answers:
                lines = answers.read().decode("utf-8", "replace").split("\n")[:-1]
            words = (line.split(" ") for line in lines)
            found += [
                Object(w[0], w[1], int(w[2]), b"") if len(w) == 3 and w[2].isdigit() else None for w in words
            ]
            if len(found) < len(asked):
                broken += 1
                if broken > _MOST_BROKEN or not _is_damage(said):
                    raise Outside("git cat-file ended early", "git fsck")
                found.append(None)
    return found


def blobs(root: Path, paths: Sequence[tuple[str, str]]) -> set[str]:
    """The ids of files by (commit, path), from trees alone: a clone may lack the files themselves."""
    return set(blobs_at(root, paths).values())


def blobs_at(root: Path, paths: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(commit, path) -> the id of that file, of those that there are; from trees alone."""
    folders = dict.fromkeys((commit, path.rpartition("/")[0]) for commit, path in paths)
    trees = [f"{commit}:{folder}" for commit, folder in folders]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for one, said in zip(folders, objects(root, trees, _MOST_TREE), strict=True):
        found[one] = dict(_entries(said.data)) if said and said.kind == "tree" else {}
    named = ((commit, path, *path.rpartition("/")[::2]) for commit, path in paths)
    return {
        (commit, path): oid
        for commit, path, folder, name in named
        if (oid := found[commit, folder].get(name))
    }


def _entries(tree: bytes) -> Iterator[tuple[str, str]]:
    """(name, id) of the plain files in a tree."""
    for found in re.finditer(rb"([0-7]+) ([^\0]+)\0(.{20})", tree, re.DOTALL):
        if found[1].startswith(b"100"):
            yield os.fsdecode(found[2]), found[3].hex()


def _object(answers: IO[bytes], most: int) -> Object | None:
    head = answers.readline()
    words = head.rstrip(b"\n").split(b" ")
    if len(words) != 3 or not words[2].isdigit():
        if not head:
            raise Outside("git cat-file ended early", "git fsck")
        return None  # `<name> missing`, and the like
    size = int(words[2])
    data = answers.read(min(size, most))
    left = size - len(data)
    while left > 0 and (more := answers.read(min(left, _CHUNK))):
        left -= len(more)
    if not answers.read(1):
        raise Outside("git cat-file ended early", "git fsck")
    return Object(words[0].decode(), words[1].decode(), size, data)


class Asking:
    """A `git cat-file` that answers for as long as this is kept; one that ended is started again."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None

    def object(self, name: str, most: int = sys.maxsize) -> Object | None:
        """All of an object, by id or `<commit>:<path>`; None where there is none, or it is damaged.

        Args:
            most: bytes of it that are kept.

        Raises:
            Outside: the process ended: a clone lacks the object, and cannot fetch it now.
        """
        if _UNASKED.search(name):
            return None
        if self._process is None:
            self._said = tempfile.TemporaryFile()  # noqa: SIM115
            self._process = started(self._root, ["cat-file", "--batch"], subprocess.PIPE, self._said)
        asks, answers = self._process.stdin, self._process.stdout
        assert asks and answers
        try:
            asks.write(f"{name}\n".encode("utf-8", "surrogateescape"))
            asks.flush()
            return _object(answers, most)
        except (BrokenPipeError, Outside):
            said = self._said
            self.close()
            if said is not None and _is_damage(said):
                return None
            hint = "is the remote reachable?"
            raise Outside(f"{name} is not in this clone, and cannot be fetched now", hint) from None

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin and process.stdout
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
            process.wait()
        self._said = None

    def __del__(self) -> None:
        self.close()


@contextlib.contextmanager
def _asking(
    root: Path, arguments: Sequence[str], lines: Sequence[str], errors: IO[bytes] | int = subprocess.DEVNULL
) -> Iterator[IO[bytes]]:
    """The answers of a Git command that is asked lines from a file: a pipe would have to be fed meanwhile."""
    with tempfile.TemporaryFile() as asked:
        asked.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        asked.seek(0)
        with started(
            root, arguments, asked, errors
        ) as process:  # at its end one that still writes ends by SIGPIPE
            assert process.stdout
            yield process.stdout


def started(
    root: Path,
    arguments: Sequence[str],
    asked: IO[bytes] | int,
    errors: IO[bytes] | int = subprocess.DEVNULL,
    answers: IO[bytes] | int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """A Git command that works while others do; what it prints is to be read.

    Args:
        answers: where it prints; into a file, it need not wait for its reader.

    Raises:
        Outside: there is no Git.
    """
    try:
        return subprocess.Popen(
            command_line(root, arguments),
            cwd=root,
            env=sealed(root),
            stdin=asked,
            stdout=answers,
            stderr=errors,
            bufsize=_CHUNK,
        )
    except FileNotFoundError as error:
        raise _no_git(root) from error


def _run(root: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command_line(root, arguments),
            cwd=root,
            env=sealed(root),
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise _no_git(root) from error


def _no_git(root: Path) -> Outside:
    if not root.is_dir():
        return Outside(f"{root} is gone")
    return Outside("git is not installed, or not on PATH", "gitreg doctor")
