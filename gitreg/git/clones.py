"""Clones that are only read: bare, without the content of files until somebody asks for it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from gitreg import printed
from gitreg.addresses import redacted
from gitreg.errors import Outside
from gitreg.git import ALONE, NOWHERE, bare, must, plain, run

# One branch, whatever the remote's default one is called and wherever it moves; the tags as they are there.
_WANTED = ["+HEAD:refs/heads/main", "+refs/tags/*:refs/tags/*"]
_FETCH = ["--prune", "--atomic", "--no-write-fetch-head", "--no-recurse-submodules", "--no-tags"]
_SLOW = ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"]
_CONFIG = """\
[core]
	repositoryformatversion = 1
	filemode = true
	bare = true
	hooksPath = /dev/null
[extensions]
	partialClone = origin
[gc]
	autoDetach = false
[remote "origin"]
	url = "{url}"
	promisor = true
	partialclonefilter = blob:none
"""
# `.DVC` is the same folder on file systems that do not tell case apart.
_SETTINGS_OF_DVC = "!.[dD][vV][cC]"
_SPARSE = """\
[core]
	sparseCheckout = true
	sparseCheckoutCone = false
[sparse]
	expectFilesOutsideOfPatterns = true
"""
# What Git says when it is the clone that is broken, and not the remote.
_BROKEN = re.compile(
    r"\.lock'|not a git repository|corrupt|bad (object|config|tree|ref)|broken|packfile|inflate"
    r"|unable to read|cannot lock ref|does not point to a valid object|Not a directory|is empty",
)


class Damaged(Outside):
    """The clone cannot be used any more; it can be made again."""


def make(url: str, place: Path) -> None:
    """Clone a repository without the content of its files; with it where the server cannot leave it out.

    Raises:
        Outside: it cannot be reached, or is empty.
    """
    place.mkdir(parents=True)
    must(place, ["init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."], where=NOWHERE)
    escaped = url.replace("\\", "\\\\").replace('"', '\\"')
    (place / "config").write_text(_CONFIG.format(url=escaped))
    refresh(place)


def refresh(place: Path) -> list[str]:
    """Bring the tags and the default branch up to date; the tags that were there and are others now.

    Raises:
        Damaged: the clone is broken, or was left locked by a Git that was killed.
        Outside: the remote cannot be reached.
    """
    command = [*_SLOW, "fetch", *_FETCH, "--filter=blob:none", "--end-of-options", "origin", *_WANTED]
    ran = run(place, command, where=bare(place))
    if ran.code:
        said = printed.said(redacted(ran.err)) or f"git fetch: exit {ran.code}"
        if "couldn't find remote ref HEAD" in ran.err:
            raise Outside("git fetch: the repository is empty, or its default branch is", "git push there")
        if _BROKEN.search(ran.err) or ran.code < 0:
            raise Damaged(f"git fetch: {said}")
        raise Outside(f"git fetch: {said}", "is the address right, and are you allowed to read it?")
    return re.findall(r"\[tag update\]\s+(\S+)", ran.err)


def is_whole(place: Path) -> bool:
    """Whether a clone is there and its default branch can be read."""
    if not (place / "HEAD").is_file():
        return False
    return run(place, ["cat-file", "-e", "refs/heads/main^{tree}"], where=bare(place)).code == 0


def obtain(root: Path, wanted: Iterable[str], below: Iterable[str]) -> int:
    """Get objects that a clone lacks from its remote, all at once; how many were lacking.

    Git itself would fetch them one by one, each when it is read. Does nothing in a repository that has all.

    Args:
        wanted: ids of blobs.
        below: trees or commits below which they are.

    Raises:
        Outside: the remote cannot be reached.
    """
    remote = promisor(root)
    if remote is None:
        return 0
    said = "".join(f"{one}\n" for one in below).encode()
    out = must(root, ["rev-list", "--objects", "--no-walk", "--missing=print", "--stdin"], said)
    asked = set(wanted)
    lacking = sorted(asked & {line[1:] for line in out.split("\n") if line.startswith("?")})
    _fetch(root, remote, lacking)
    return len(lacking)


def promisor(root: Path) -> str | None:
    """The remote that has what a partial clone lacks; None in a clone that has all."""
    said = run(root, ["config", "--get-regexp", r"^remote\..*\.promisor$", "^true$"]).out
    found = re.match(r"remote\.(.*)\.promisor true", said)
    return found[1] if found else None


def complete(root: Path, commit: str) -> None:
    """Get what a partial clone lacks of a commit's files: a clone that shares its objects cannot ask for it.

    Raises:
        Outside: the remote cannot be reached.
    """
    remote = promisor(root)
    if remote is not None:
        listed = must(root, ["ls-tree", "-r", "--full-tree", commit]).split("\n")
        _get(root, remote, (line.split()[2] for line in listed if " blob " in line))


def gather(root: Path, files: Collection[tuple[str, str]]) -> None:
    """Get what a partial clone lacks of some files, at once. Git itself would ask for one after the other.

    Args:
        files: (commit, path) of each. Those that there are not are passed over.

    Raises:
        Outside: the remote cannot be reached.
    """
    remote = gather_trees(root, {commit for commit, _ in files})
    if remote is not None:
        _get(root, remote, plain.blobs(root, list(files)))


def gather_trees(root: Path, commits: Collection[str]) -> str | None:
    """Get what a partial clone lacks of the trees of some commits, at once; the remote that has the rest.

    Raises:
        Outside: the remote cannot be reached.
    """
    remote = promisor(root) if commits else None
    if remote is not None:
        asked = "".join(f"{commit}\n" for commit in sorted(commits)).encode()
        told = ["rev-list", "--no-walk", "--no-commit-header", "--format=%T", "--stdin"]
        _get(root, remote, must(root, told, asked).split("\n"))
    return remote


def _get(root: Path, remote: str, wanted: Iterable[str]) -> None:
    there = must(root, ["cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)"])
    _fetch(root, remote, set(wanted) - {"", *there.split("\n")})


def _fetch(root: Path, remote: str, oids: Collection[str]) -> None:
    """Fetch objects by their ids, and with trees what is below them but for the content of files."""
    if not oids:
        return
    how = [
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-recurse-submodules",
        "--no-auto-maintenance",
    ]
    command = [
        "-c",
        "fetch.negotiationAlgorithm=noop",
        *_SLOW,
        "fetch",
        *how,
        "--filter=blob:none",
        "--stdin",
    ]
    told = "".join(f"{oid}\n" for oid in sorted(oids)).encode()
    ran = run(root, [*command, "--end-of-options", remote], told)
    if ran.code:
        raise Outside(f"git fetch: {printed.said(redacted(ran.err))}", "is the remote reachable?")


def lay_without_settings(place: Path, folders: Sequence[str] | None = None) -> None:
    """Have a clone that is not checked out yet leave out every `.dvc`: the commit's, file, folder or link.

    What is made there instead is no change of the commit's: Git neither shows nor adds it.

    Args:
        folders: lay out these alone, and the files of the folders above them; None for all.
    """
    lines = ["/*"]
    if folders is not None:
        wanted = {*folders}
        whole = {one for one in wanted if not any(one.startswith(f"{other}/") for other in wanted)}
        above = {"/".join(one.split("/")[:n]) for one in whole for n in range(1, one.count("/") + 1)}
        lines.append("!/*/")
        for name in sorted({*above, *whole}):
            lines += [f"/{_literal(name)}/", *([f"!/{_literal(name)}/*/"] if name in above else [])]
    info = place / ".git" / "info"
    info.mkdir(exist_ok=True)
    lines.append(_SETTINGS_OF_DVC)
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    (info / "sparse-checkout").write_bytes(text)
    (info / "exclude").write_text(f"{_SETTINGS_OF_DVC[1:]}\n")
    with open(place / ".git" / "config", "a") as stream:
        stream.write(_SPARSE)


def _literal(name: str) -> str:
    """A path in a pattern of Git's that means just this path."""
    # No line of patterns can hold a line break: `?` stands for it, and for any other character.
    return re.sub(r"[\\*?\[\]]| \Z", lambda found: f"\\{found[0]}", name).replace("\n", "?")


def check_out(root: Path, commit: str, place: Path, folders: Sequence[str] | None) -> None:
    """A work tree of its own for a commit of a bare repository, which keeps all objects. No hook runs.

    Args:
        folders: those that are needed; the files of the folders above them come with them. None for all.

    Raises:
        Outside: an object cannot be fetched.
    """
    place.mkdir(parents=True)
    must(place, ["init", "--quiet", "--template=", "--initial-branch=main", "."], where=NOWHERE)
    git = place / ".git"
    (git / "objects" / "info").rmdir()
    (git / "objects" / "pack").rmdir()
    (git / "objects").rmdir()
    # What is fetched meanwhile belongs to the clone, and not to this folder, which goes away.
    (git / "objects").symlink_to(root.resolve() / "objects")
    config = (root / "config").read_text()
    (git / "config").write_text(re.sub(r"(?m)^(\s*bare\s*=).*$", r"\1 false", config))
    lay_without_settings(place, folders)
    must(place, [*ALONE, "checkout", "--quiet", "--detach", commit])
