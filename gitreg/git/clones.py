"""Clones that are only read: bare, without the content of files until somebody asks for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from gitreg.addresses import redacted
from gitreg.errors import Outside
from gitreg.git import must, run

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
    must(place, ["init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."])
    escaped = url.replace("\\", "\\\\").replace('"', '\\"')
    (place / "config").write_text(_CONFIG.format(url=escaped))
    refresh(place)


def refresh(place: Path) -> list[str]:
    """Bring the tags and the default branch up to date; the tags that were there and are others now.

    Raises:
        Damaged: the clone is broken, or was left locked by a Git that was killed.
        Outside: the remote cannot be reached.
    """
    ran = run(place, [*_SLOW, "fetch", *_FETCH, "--filter=blob:none", "--end-of-options", "origin", *_WANTED])
    if ran.code:
        said = redacted(ran.err) or f"git fetch: exit {ran.code}"
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
    return run(place, ["--git-dir=.", "cat-file", "-e", "refs/heads/main^{tree}"]).code == 0


def obtain(root: Path, wanted: Iterable[str], below: Iterable[str]) -> int:
    """Get objects that a clone lacks from its remote, all at once; how many were lacking.

    Git itself would fetch them one by one, each when it is read. Does nothing in a repository that has all.

    Args:
        wanted: ids of blobs.
        below: trees or commits below which they are.

    Raises:
        Outside: the remote cannot be reached.
    """
    try:
        if "promisor = true" not in (root / "config").read_text("utf-8", "replace"):
            return 0
    except OSError:
        return 0
    said = "".join(f"{one}\n" for one in below).encode()
    out = must(root, ["rev-list", "--objects", "--no-walk", "--missing=print", "--stdin"], said)
    asked = set(wanted)
    lacking = sorted(asked & {line[1:] for line in out.split("\n") if line.startswith("?")})
    if lacking:
        how = [
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--filter=blob:none",
        ]
        told = "".join(f"{oid}\n" for oid in lacking).encode()
        command = ["-c", "fetch.negotiationAlgorithm=noop", *_SLOW, "fetch", *how]
        command += ["--filter=blob:none", "--stdin", "origin"]
        ran = run(root, command, told)
        if ran.code:
            raise Outside(f"git fetch: {redacted(ran.err)}", "is the remote reachable?")
    return len(lacking)


def check_out(root: Path, commit: str, place: Path, folders: Sequence[str] | None) -> None:
    """A work tree of its own for a commit of a bare repository, which keeps all objects. No hook runs.

    Args:
        folders: those that are needed; the files of the folders above them come with them. None for all.

    Raises:
        Outside: an object cannot be fetched.
    """
    place.mkdir(parents=True)
    safe = ["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "submodule.recurse=false"]
    must(place, ["init", "--quiet", "--template=", "--initial-branch=main", "."])
    git = place / ".git"
    (git / "objects" / "info").rmdir()
    (git / "objects" / "pack").rmdir()
    (git / "objects").rmdir()
    # What is fetched meanwhile belongs to the clone, and not to this folder, which goes away.
    (git / "objects").symlink_to(root.resolve() / "objects")
    config = (root / "config").read_text()
    (git / "config").write_text(re.sub(r"(?m)^(\s*bare\s*=).*$", r"\1 false", config))
    if folders is not None:
        names = "".join(f"{name}\n" for name in folders).encode("utf-8", "surrogateescape")
        must(place, [*safe, "sparse-checkout", "set", "--cone", "--stdin"], names)
    must(place, [*safe, "checkout", "--quiet", "--detach", commit])
