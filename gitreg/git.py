"""The only file that talks to Git: small questions, argument lists, no inherited variables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gitreg.errors import Outside

_QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}


def _run(root: Path, arguments: Sequence[str]) -> tuple[int, str, str]:
    import git

    # Variables that a hook or `git rebase --exec` leaves behind would point Git at another repository:
    # https://github.com/pre-commit/pre-commit/issues/300
    inherited = {name: None for name in os.environ if name.startswith("GIT_") and name not in _KEPT}
    client = git.Git(root)
    client.update_environment(**_QUIET, **inherited)
    try:
        code, out, err = client.execute(["git", *arguments], with_extended_output=True, with_exceptions=False)
    except git.GitCommandNotFound as error:
        raise Outside("git is not installed, or not on PATH", "gitreg doctor") from error
    return code, str(out), str(err)


_KEPT = {"GIT_SSH", "GIT_SSH_COMMAND", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE"}
_KEPT |= {"GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_DATE", "GIT_EXEC_PATH"}
_KEPT |= {"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_SSL_CAINFO"}


def git_folder(root: Path) -> Path | None:
    """Git's own folder for this work tree (shared by all work trees), or None outside of a repository."""
    code, out, _ = _run(root, ["rev-parse", "--path-format=absolute", "--git-common-dir"])
    return Path(out) if code == 0 else None


def top(root: Path) -> Path | None:
    """The work tree's top folder, or None outside of a repository."""
    code, out, _ = _run(root, ["rev-parse", "--show-toplevel"])
    return Path(out) if code == 0 and out else None


def init(root: Path) -> None:
    """Make a repository at `root`, on the branch main."""
    code, _, err = _run(root, ["init", "--quiet", "--initial-branch=main", "."])
    if code:
        raise Outside(f"git init failed: {err}")


def visible_files(root: Path) -> set[str] | None:
    """Every file that is in Git or could be added: ignored files are left out. None outside of Git."""
    code, out, _ = _run(root, ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "."])
    return {name for name in out.split("\0") if name} if code == 0 else None


def last_commit(root: Path, paths: Sequence[str]) -> str | None:
    """The commit that last changed any of the paths; None when they are changed since, or not in Git."""
    literal = [f":(literal){path}" for path in paths]
    code, out, _ = _run(root, ["status", "--porcelain", "--untracked-files=all", "--", *literal])
    if code or out:
        return None
    code, out, _ = _run(root, ["log", "-1", "--format=%H", "--end-of-options", "HEAD", "--", *literal])
    return out.strip() or None if code == 0 else None


def setting(root: Path, key: str) -> str:
    """A value of Git's configuration as seen from `root`; empty where it is not set."""
    while not root.is_dir():
        root = root.parent
    return _run(root, ["config", "--get", key])[1]


def version() -> str:
    """Git's version, as 2.39.5."""
    _, out, _ = _run(Path.cwd(), ["--version"])
    return out.removeprefix("git version ").split(" ")[0]
