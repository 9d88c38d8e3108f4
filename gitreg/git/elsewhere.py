"""Other people's repositories: whether they still have a commit."""

from __future__ import annotations

from pathlib import Path

from gitreg import printed
from gitreg.errors import Outside
from gitreg.git import NOWHERE, bare, must, run
from gitreg.redaction import cleaned

_SLOW = ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30", "-c", "protocol.file.allow=always"]
_FETCH = ["fetch", "--quiet", "--no-write-fetch-head", "--no-recurse-submodules", "--filter=tree:0"]
_FULL = (40, 64)


def has_commit(url: str, commit: str, place: Path) -> bool:
    """Whether a repository has a commit, by its id or the start of it. No file of it is fetched.

    Args:
        place: an empty folder, for what is fetched.

    Raises:
        Outside: the repository cannot be reached.
    """
    place.mkdir(parents=True, exist_ok=True)
    must(place, ["init", "--quiet", "--bare", "--template=", "."], where=NOWHERE)
    here = bare(place)
    if len(commit) in _FULL:
        ran = run(
            place, [*_SLOW, *_FETCH, "--depth=1", "--no-tags", "--end-of-options", url, commit], where=here
        )
        if ran.code == 0:
            return True
        if not _is_answer(ran.err):
            raise _unreachable(url, ran.err)
    # Its branches and tags with all that they lead to, for a short id, or a server that gives no others.
    ran = run(place, [*_SLOW, *_FETCH, "--end-of-options", url, "+refs/*:refs/there/*"], where=here)
    if ran.code:
        raise _unreachable(url, ran.err)
    asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"]
    return run(place, asked, where=here).code == 0


def _is_answer(said: str) -> bool:
    """Whether the server answered, and has no such commit or does not give it by its id."""
    return any(word in said for word in ("not our ref", "unadvertised object", "couldn't find remote ref"))


def _unreachable(url: str, said: str) -> Outside:
    return Outside(
        f"{cleaned(url)} cannot be read: {printed.said(said.replace(url, cleaned(url)))}", "git ls-remote URL"
    )
