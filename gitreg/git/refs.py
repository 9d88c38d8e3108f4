"""Git's references: the registry's tags, and how new ones come to be - all at once, and never moved."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from gitreg.errors import GitregError, Outside, Refused
from gitreg.git import client, git_folder, must, run, setting
from gitreg.names import is_like_a_tag, parse_tag
from gitreg.recorded import OddTag, Tag

_FIELDS = "refname:strip=2", "objecttype", "objectname", "*objecttype", "*objectname", "taggerdate:unix"
_FORMAT = "%00".join(f"%({field})" for field in _FIELDS)
_MANY = 500  # loose references take a file each, and every command reads them all
# One per model, moved with every push of its tags: two pushes at once cannot both succeed, though the
# names of their tags differ. It can be deleted at any time.
GUARD = "refs/gitreg/models/"


def tags(root: Path, models: Iterable[str] | None = None) -> tuple[list[Tag], list[OddTag]]:
    """The registry's tags, or those of some models; and those that are like them and record nothing."""
    patterns = ["refs/tags/"]
    if models is not None:
        patterns = [f"refs/tags/{name}{sign}*" for name in models for sign in "@#"]
        if not patterns:
            return [], []
    good: list[Tag] = []
    odd: list[OddTag] = []
    for line in must(root, ["for-each-ref", f"--format={_FORMAT}", *patterns]).split("\n"):
        if not line:
            continue
        name, kind, oid, target, commit, moment = line.split("\0")
        says = parse_tag(name)
        if says is not None and target == "commit":
            good.append(Tag(name, oid, commit, int(moment or 0), says))
        elif says is not None:
            odd.append(OddTag(name, oid, "lightweight" if kind == "commit" else f"of a {target or kind}"))
        elif is_like_a_tag(name):
            odd.append(OddTag(name, oid, "unparsable"))
    return good, odd


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
        for attempt in range(50):
            code, err = _run_whole(root, ["update-ref", "--create-reflog", "--stdin"], stream)
            if code == 0:
                break
            if "already exists" in err or "but expected" in err:
                raise Refused(f"git update-ref: {err.splitlines()[0]}")
            lock = re.search(r"Unable to create '(.*\.lock)'", err)
            if not lock or attempt == 49:
                hint = f"if no Git runs here: rm {lock[1]}" if lock else None
                raise Outside(f"git update-ref: {err}", hint)
            time.sleep(0.1)
    if len(steps) >= _MANY:
        with journal(root, ["pack packed-refs", "pack refs/"]) as stream:
            _run_whole(root, ["pack-refs", "--all"], stream)


# Not of the process group that ^C or a killed terminal ends: what is to be done wholly goes on.
_ITS_OWN: Mapping[str, Any] = {"start_new_session": True}


def _run_whole(root: Path, arguments: Sequence[str], stream: FileIO) -> tuple[int, str]:
    """Run Git in a journal: its exit code, and what it says is wrong."""
    stream.seek(0)
    code, _, err = client(root).execute(
        ["git", *arguments], istream=stream, with_extended_output=True, with_exceptions=False, **_ITS_OWN
    )
    _check_alive(code, arguments[0])
    return int(code), str(err)


# What a kill leaves -----------------------------------------------------------------------------------


@contextmanager
def journal(root: Path, lines: Sequence[str]) -> Iterator[FileIO]:
    """One transaction at a time in this repository; and a note of which references Git is about to lock.

    Git has no way to end the locks of a Git that was killed. By the note the next transaction knows which
    were ours. No lock that anybody else may hold is touched.

    Args:
        lines: the second word of each names a reference, or with a slash at its end all below it.

    Yields:
        A file with the lines. A command that has it as its input holds up the next transaction for as long
        as it runs, even if gitreg itself is killed.
    """
    folder = git_folder(root)
    assert folder
    (folder / "gitreg").mkdir(exist_ok=True)
    with open(folder / "gitreg" / "transaction", "a+b", buffering=0) as stream:
        _take(stream)
        _end_locks(folder, stream)
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


def _check_alive(code: int, verb: str) -> None:
    if code < 0:
        raise _Killed(f"git {verb} was ended by signal {-code}", "the same again")


def recover(root: Path) -> None:
    """End what a killed gitreg left locked. To be called by the only gitreg that writes here."""
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
    mine.touch()
    for attempt in range(50):
        try:
            os.link(mine, lock)
            break
        except FileExistsError:
            if attempt == 49:
                raise Outside(f"another Git has locked {lock}", f"if no Git runs here: rm {lock}") from None
            time.sleep(0.1)
    try:
        if index.exists():
            shutil.copy2(index, aside)
        literal = [f":(literal){path}" for path in paths]
        must(top, ["add", "--all", "--", *literal], environment={"GIT_INDEX_FILE": str(aside)})
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
        locks |= {*(folder / name).rglob("*.lock")} if name.endswith("/") else {folder / f"{name}.lock"}
        locks |= {folder / "packed-refs.new"} if name == "packed-refs" else set()
        if name.startswith("refs/heads/"):  # the branch that is checked out, here or in another work tree
            locks |= {folder / "HEAD.lock", *folder.glob("worktrees/*/HEAD.lock")}
    held = {lock: one for lock in locks if (one := _stamp(lock)) and one[1] >= since}
    if held:
        time.sleep(1)  # whoever took one of these just now is done with it by then
    for lock in (lock for lock, one in held.items() if _stamp(lock) == one):
        lock.unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def move(root: Path, name: str, new: str, old: str) -> bool:
    """Move a reference if it still is where it was; whether it was."""
    return run(root, ["update-ref", "--end-of-options", name, new, old]).code == 0


def delete(root: Path, name: str, old: str) -> None:
    """Delete a reference that we made, if nobody has moved it."""
    run(root, ["update-ref", "-d", "--end-of-options", name, old])


def current_branch(root: Path) -> str | None:
    """The branch that is checked out, or None."""
    ran = run(root, ["symbolic-ref", "--quiet", "--short", "HEAD"])
    return ran.out if ran.code == 0 else None


def oid(root: Path, ref: str) -> str | None:
    """What a full reference name points at, or None."""
    ran = run(root, ["rev-parse", "--verify", "--quiet", "--end-of-options", ref])
    return ran.out if ran.code == 0 else None


def oids(root: Path, names: Iterable[str]) -> dict[str, str]:
    """What full reference names point at; those that there are not are left out."""
    asked = list(names)
    said = "".join(f"{name}\n" for name in asked).encode()
    lines = must(root, ["cat-file", "--batch-check=%(objectname)"], said).split("\n") if asked else []
    return {name: at for name, at in zip(asked, lines, strict=True) if not at.endswith(" missing")}


def remotes(root: Path) -> list[str]:
    """The names of the remotes."""
    return [name for name in run(root, ["remote"]).out.split("\n") if name]


def default_remote(root: Path) -> str | None:
    """The remote that the current branch follows; else origin; else the only one; else None."""
    names = remotes(root)
    branch = current_branch(root)
    followed = setting(root, f"branch.{branch}.remote") if branch else ""
    if followed in names:
        return followed
    if "origin" in names:
        return "origin"
    return names[0] if len(names) == 1 else None


def checked_out(root: Path, branch: str) -> Path | None:
    """The work tree that has a branch checked out: this one or another."""
    said = must(root, ["for-each-ref", "--format=%(worktreepath)", f"refs/heads/{branch}"])
    return Path(said) if said else None


def default_branch(root: Path, remote: str | None) -> str:
    """The branch whose files count: the remote's HEAD, as last fetched; else main or master; else this."""
    if remote:
        ran = run(root, ["symbolic-ref", "--quiet", "--short", f"refs/remotes/{remote}/HEAD"])
        if ran.code == 0:
            return ran.out.removeprefix(f"{remote}/")
    spaces = [f"refs/remotes/{remote}/"] if remote else []
    for space in [*spaces, "refs/heads/"]:
        for name in ("main", "master"):
            if oid(root, f"{space}{name}"):
                return name
    return current_branch(root) or "main"


def is_shallow(root: Path) -> bool:
    """Whether history is cut off."""
    return run(root, ["rev-parse", "--is-shallow-repository"]).out == "true"


def is_ancestor(root: Path, old: str, new: str) -> bool:
    """Whether a commit is, or comes before, another."""
    return run(root, ["merge-base", "--is-ancestor", old, new]).code == 0


def merge_base(root: Path, one: str, other: str) -> str | None:
    """The last commit that two have in common."""
    ran = run(root, ["merge-base", "--end-of-options", one, other])
    return ran.out if ran.code == 0 else None


# What the user's configuration may ask for besides, and would not be ours to do.
_FETCH = ["--quiet", "--atomic", "--no-tags", "--no-prune", "--no-prune-tags", "--no-recurse-submodules"]
_FETCH += ["--no-write-fetch-head", "--no-auto-maintenance"]
_PUSH = ["--atomic", "--porcelain", "--no-follow-tags", "--no-recurse-submodules"]


class Listed(NamedTuple):
    """What a remote has, at one moment.

    Attributes:
        tags: name -> id of every tag that is, or is like, a registry's.
        guards: model -> id.
        tip: of the branch that was asked for.
    """

    tags: dict[str, str]
    guards: dict[str, str]
    tip: str | None


def fetch(root: Path, remote: str, branch: str) -> Listed:
    """Get the registry's tags from a remote, and a branch. No tag of ours is ever changed or removed.

    Raises:
        Outside: the remote cannot be reached.
        Refused: a tag is not the same there and here.
    """
    for _ in range(20):
        there = _list(root, remote, branch)
        listed = must(root, ["for-each-ref", "--format=%(objectname) %(refname:strip=2)", "refs/tags/"])
        here = {name: at for at, _, name in (line.partition(" ") for line in listed.split("\n"))}
        moved = sorted(name for name, at in there.tags.items() if here.get(name, at) != at)
        if moved:
            raise Refused(
                f"tags that are not the same on {remote} and here: {', '.join(moved)}",
                "gitreg doctor tells which of the two was there first",
            )
        models = {re.split("[@#]", name)[0] for name in there.tags if name not in here}
        wanted = [f"refs/tags/{m}{sign}*:refs/tags/{m}{sign}*" for m in sorted(models) for sign in "@#"]
        tracked = f"refs/remotes/{remote}/{branch}"
        if there.tip and oid(root, tracked) != there.tip:
            wanted.append(f"+refs/heads/{branch}:{tracked}")
        if not wanted:
            return there
        with journal(root, ["fetch refs/tags/", f"fetch refs/remotes/{remote}/"]):
            said = "".join(f"{one}\n" for one in wanted).encode()
            ran = run(root, ["fetch", *_FETCH, "--stdin", "--end-of-options", remote], said)
            _check_alive(ran.code, "fetch")
        if ran.code == 0:
            return there
        again = "unable to update local ref", "cannot lock ref", "couldn't find remote ref", "would clobber"
        if not any(word in ran.err for word in again):
            break
        time.sleep(0.05)
    raise _unreachable(remote, ran.err)


def _list(root: Path, remote: str, branch: str) -> Listed:
    asked = ["refs/tags/*", f"{GUARD}*", f"refs/heads/{branch}"]
    ran = run(root, ["ls-remote", "--quiet", "--refs", "--end-of-options", remote, *asked])
    if ran.code:
        raise _unreachable(remote, ran.err)
    pairs = [line.split("\t") for line in ran.out.split("\n") if line]
    tags = {name.removeprefix("refs/tags/"): at for at, name in pairs if name.startswith("refs/tags/")}
    return Listed(
        {name: at for name, at in tags.items() if is_like_a_tag(name)},
        {name.removeprefix(GUARD): at for at, name in pairs if name.startswith(GUARD)},
        next((at for at, name in pairs if name == f"refs/heads/{branch}"), None),
    )


def _unreachable(remote: str, said: str) -> Outside:
    return Outside(f"git fetch {remote}: {said}", "is the remote reachable, and are you allowed to read it?")


class LostRace(Exception):
    """Somebody else pushed in between; says what the remote said."""


# What Git says of a reference when somebody else was there in between. What a hook of the remote says
# goes to other lines.
_RACES = (
    "stale info",
    "already exists",
    "fetch first",
    "non-fast-forward",
    "needs force",
    "remote ref updated since checkout",
    "cannot lock ref",
    "failed to update ref",
    "failed to lock",
    "incorrect old value provided",
    "atomic transaction failed",
)


def push(
    root: Path, remote: str, specs: Sequence[str], leases: Mapping[str, str | None] | None = None
) -> None:
    """Push references: all or none.

    Args:
        specs: `<oid>:<full name>` of each. A `+` would defeat its lease.
        leases: full name -> what it must still be on the remote; None for not there.

    Raises:
        LostRace: what is on the remote is not what it was.
        Outside: the remote refuses for another reason, or cannot be reached.
    """
    held = [f"--force-with-lease={name}:{old or ''}" for name, old in (leases or {}).items()]
    command = ["git", "push", *_PUSH, *held, "--end-of-options", remote, *specs]
    # The other end of a remote that is a folder is a child of ours. As a server would, it outlives us.
    own = _ITS_OWN if _is_folder(run(root, ["remote", "get-url", "--push", "--", remote]).out) else {}
    with journal(root, [f"push refs/remotes/{remote}/"]):
        code, out, err = client(root).execute(
            command, with_extended_output=True, with_exceptions=False, **own
        )
        _check_alive(code, "push")
    if code == 0:
        return
    why = re.findall(r"^remote: ?(.*\S)", str(err), re.MULTILINE) or str(err).splitlines()[-3:]
    said = "\n".join(f"  {line}" for line in why)
    refused = re.findall(r"^!\t[^\t]*\t\[(?:remote )?rejected\] \((.*)\)$", str(out), re.MULTILINE)
    if any(reason.startswith(_RACES) for reason in refused):
        raise LostRace(said)
    raise Outside(f"git push {remote} was refused:\n{said}", "git remote -v tells where it goes")


def _is_folder(url: str) -> bool:
    """Whether a remote is a folder of this machine: Git's own rule."""
    return url.startswith("file://") or ("://" not in url and ":" not in url.split("/")[0])
