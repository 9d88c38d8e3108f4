"""Git's references: the registry's tags, branches, and what remotes have; fetch and push."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gitreg import printed, tagobjects
from gitreg.errors import Outside, Refused
from gitreg.git import client, must, plain, run, setting
from gitreg.recorded import OddTag, Tag
from gitreg.tagspace import GUARD, Space

# `type`, `object` and `tag` are what the tag itself says: Git need not look at 115,000 commits for them.
_FIELDS = "refname:strip=2", "objecttype", "objectname", "type", "object", "tag", "taggerdate:unix"
_FORMAT = "%00".join(f"%({field})" for field in _FIELDS)
_OWN = Space()
_MANY = 200  # patterns on one command line
# Of a tag object of any size, as much as is looked at.
MOST_TAG = 256 << 10
__all__ = ["GUARD"]


def tags(
    root: Path, models: Iterable[str] | None = None, space: Space = _OWN
) -> tuple[list[Tag], list[OddTag]]:
    """The tags that may be a registry's, or some models'; and those that are like them and record nothing."""
    good: list[Tag] = []
    odd: list[OddTag] = []
    for line in listed(root, models, space):
        found = read(line, space)
        if isinstance(found, Tag):
            good.append(found)
        elif found is not None:
            odd.append(found)
    return good, odd


def listed(root: Path, models: Iterable[str] | None = None, space: Space = _OWN) -> Iterator[str]:
    """A line for each tag of the repository, or of some models, sorted by name; for `read`."""
    asked = models if models is None else [*models]
    patterns, chosen = space.patterns(asked), space.chooser(asked)
    for line in _lines(root, patterns) if patterns else ():
        if chosen is None or chosen(line.partition("\0")[0]):
            yield line


def _lines(root: Path, patterns: Sequence[str]) -> Iterator[str]:
    last = None
    try:
        for line in plain.lines(root, ["for-each-ref", f"--format={_FORMAT}", *patterns]):
            yield line
            last = line
    except Outside:  # one object that Git cannot read ends it
        yield from _one_by_one(root, patterns, last)


def _one_by_one(root: Path, patterns: Sequence[str], last: str | None) -> Iterator[str]:
    """The lines that follow another one, from the objects: one that is damaged or missing is a line, too."""
    raw = plain.tags_by(root, patterns).decode("utf-8", "surrogateescape")
    pairs = [line.partition(" ")[::2] for line in raw.split("\n") if line]
    if last is not None:
        before = last.partition("\0")[0]
        start = next((i for i, (_, name) in enumerate(pairs) if name == before), -1)
        pairs = pairs[start + 1 :]
    objects = plain.objects(root, [oid for oid, _ in pairs], MOST_TAG)
    for (oid, name), one in zip(pairs, objects, strict=True):
        said = tagobjects.read(one.kind if one else None, one.data if one else b"")
        own = said.name.partition("\0")[0]  # Git's own texts end there, too
        yield "\0".join((name, said.kind, oid, said.target, said.commit, own, str(said.time)))


def read(line: str, space: Space = _OWN) -> Tag | OddTag | None:
    """What a line of `listed` says; None where the tag is nothing like one of the registry's."""
    name, kind, oid, target, commit, own, moment = line.split("\0")
    says = space.parse(name)
    if says is None:
        return OddTag(name, oid, "unparsable") if space.concerns(name) else None
    if target != "commit":
        return OddTag(name, oid, tagobjects.nothing(kind, target), says)
    if own != name:  # GTO goes by the name in the object
        return OddTag(name, oid, "renamed", says)
    return Tag(name, oid, commit, int(moment) if 0 < len(moment) <= 18 else 0, says)


def move(root: Path, name: str, new: str, old: str) -> bool:
    """Move a reference if it still is where it was; whether it was."""
    return run(root, ["update-ref", "--end-of-options", name, new, old], hooks=True).code == 0


def delete(root: Path, name: str, old: str) -> None:
    """Delete a reference that we made, if nobody has moved it."""
    run(root, ["update-ref", "-d", "--end-of-options", name, old], hooks=True)


def current_branch(root: Path) -> str | None:
    """The branch that is checked out, or None."""
    # In full: where a tag has the branch's name, --short says `heads/main`.
    ran = run(root, ["symbolic-ref", "--quiet", "HEAD"])
    return ran.out.removeprefix("refs/heads/") if ran.code == 0 else None


def oid(root: Path, ref: str) -> str | None:
    """What a full reference name points at, or None."""
    ran = run(root, ["rev-parse", "--verify", "--quiet", "--end-of-options", ref])
    return ran.out if ran.code == 0 else None


def blocking(root: Path, tags: Sequence[str]) -> dict[str, str]:
    """tag -> another one that is in its way: to Git one is a file where the other needs a folder.

    Args:
        tags: names of tags that are not there.
    """
    found: dict[str, str] = {}
    for start in range(0, len(tags), _MANY):
        some = tags[start : start + _MANY]
        above = {above: tag for tag in some for above in _above(tag)}
        patterns = [f"refs/tags/{name}" for tag in some for name in (f"{tag}/", *_above(tag))]
        there = must(root, ["for-each-ref", "--format=%(refname)", *patterns]).split("\n")
        for name in (ref.removeprefix("refs/tags/") for ref in there if ref):
            below = next((tag for tag in _above(name) if tag in some), None) or above.get(name)
            if below:
                found.setdefault(below, name)
    return found


def twin(root: Path, branch: str) -> str | None:
    """A branch that differs from another one, given in full, in the case of letters alone."""
    there = must(root, ["for-each-ref", "--format=%(refname)", "--ignore-case", branch]).split("\n")
    found = next((ref for ref in there if ref and ref != branch and ref.lower() == branch.lower()), None)
    return found.removeprefix("refs/heads/") if found else None


def _above(name: str) -> list[str]:
    """The names of the folders that a reference's name needs."""
    return [name[: slash.start()] for slash in re.finditer("/", name)]


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
        ran = run(root, ["symbolic-ref", "--quiet", f"refs/remotes/{remote}/HEAD"])
        if ran.code == 0:
            return ran.out.removeprefix(f"refs/remotes/{remote}/")
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


def commits_since(root: Path, old: str, new: str) -> set[str]:
    """The commits of a history that an older commit's does not have."""
    return {one for one in must(root, ["rev-list", f"{old}..{new}", "--"]).split("\n") if one}


def was_at(root: Path, commit: str, tip: str) -> bool:
    """Whether a branch with this tip, of which the commit is a part, once ended there.

    What a merge brings in are its second parents: those were the ends of other branches.
    """
    line = must(root, ["rev-list", "--first-parent", f"{commit}..{tip}", "--"]).split("\n")
    return not line[-1] or oid(root, f"{line[-1]}^1") == commit


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


def fetch(root: Path, remote: str, branch: str, space: Space = _OWN) -> Listed:
    """Get the registry's tags from a remote, and a branch. No tag of ours is ever changed or removed.

    Args:
        space: the names that its tags may have; those of other registries stay as they are.

    Raises:
        Outside: the remote cannot be reached.
        Refused: a tag is not the same there and here.
    """
    from gitreg.git.transactions import check_alive, journal

    for _ in range(20):
        there = _list(root, remote, branch, space)
        listed = must(root, ["for-each-ref", "--format=%(objectname) %(refname:strip=2)", "refs/tags/"])
        here = {name: at for at, _, name in (line.partition(" ") for line in listed.split("\n"))}
        mine = f"{space.prefix}=" if space.prefix else ""
        moved = sorted(
            name for name, at in there.tags.items() if name.startswith(mine) and here.get(name, at) != at
        )
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
            ran = run(root, ["fetch", *_FETCH, "--stdin", "--end-of-options", remote], said, hooks=True)
            check_alive(ran.code, "fetch")
        if ran.code == 0:
            return there
        again = "unable to update local ref", "cannot lock ref", "couldn't find remote ref", "would clobber"
        if not any(word in ran.err for word in again):
            break
        time.sleep(0.05)
    raise _unreachable(remote, ran.err)


def _list(root: Path, remote: str, branch: str, space: Space) -> Listed:
    asked = ["refs/tags/*", f"{space.guard('')}*", f"refs/heads/{branch}"]
    ran = run(root, ["ls-remote", "--quiet", "--refs", "--end-of-options", remote, *asked])
    if ran.code:
        raise _unreachable(remote, ran.err)
    pairs = [line.split("\t") for line in ran.out.split("\n") if line]
    tags = {name.removeprefix("refs/tags/"): at for at, name in pairs if name.startswith("refs/tags/")}
    return Listed(
        {name: at for name, at in tags.items() if space.concerns(name)},
        {model: at for at, name in pairs if (model := space.guarded(name))},
        next((at for at, name in pairs if name == f"refs/heads/{branch}"), None),
    )


def _unreachable(remote: str, said: str) -> Outside:
    return Outside(
        f"git fetch {remote}: {printed.said(said)}",
        "is the remote reachable, and are you allowed to read it?",
    )


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
    from gitreg.git.transactions import ITS_OWN, check_alive, journal

    held = [f"--force-with-lease={name}:{old or ''}" for name, old in (leases or {}).items()]
    command = ["git", "push", *_PUSH, *held, "--end-of-options", remote, *specs]
    # The other end of a remote that is a folder is a child of ours. As a server would, it outlives us.
    own = ITS_OWN if _is_folder(run(root, ["remote", "get-url", "--push", "--", remote]).out) else {}
    with journal(root, [f"push refs/remotes/{remote}/"]):
        code, out, err = client(root).execute(
            command, with_extended_output=True, with_exceptions=False, **own
        )
        check_alive(code, "push")
    if code == 0:
        return
    why = re.findall(r"^remote: ?(.*\S)", str(err), re.MULTILINE) or str(err).splitlines()[-3:]
    refused = re.findall(r"^!\t[^\t]*\t\[(?:remote )?rejected\] \((.*)\)$", str(out), re.MULTILINE)
    # `gitreg hook pre-receive` there sees a race before Git does, and says it in Git's words.
    if any(reason.startswith(_RACES) for reason in refused) or any(": stale info: " in line for line in why):
        raise LostRace(printed.block(why))
    raise Outside(f"git push {remote} was refused:{printed.block(why)}")


def _is_folder(url: str) -> bool:
    """Whether a remote is a folder of this machine: Git's own rule."""
    return url.startswith("file://") or ("://" not in url and ":" not in url.split("/")[0])
