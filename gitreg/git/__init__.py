"""The only room that talks to Git: small questions, argument lists, no inherited variables.

This file runs Git and asks about a work tree; `discovery` finds repositories; `objects` reads and writes
trees, commits and tag objects; `refs` reads, writes, fetches and pushes references; `plain` is for commands
that only read, and in a hurry.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gitreg import printed
from gitreg.errors import Outside
from gitreg.git import discovery

if TYPE_CHECKING:
    import git

_QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
# The files of a commit may say from which server Git LFS takes their content (`.lfsconfig`).
_QUIET["GIT_LFS_SKIP_SMUDGE"] = "1"
# A Git that gitreg's own Git starts is not to search for one either.
_SAFE = ("-c", "safe.bareRepository=explicit")
_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")
# For work trees that gitreg makes: nothing watches them, and what their submodules are is not asked.
ALONE = ("-c", "core.fsmonitor=false", "-c", "submodule.recurse=false", "-c", "gc.auto=0")
# The repositories of submodules are not looked into; nor does `.gitmodules` hide at which commit they are.
_NO_SUBMODULES = "--ignore-submodules=dirty"
# Repositories that are not to reach out to a remote, not even for an object that they lack.
SEALED: set[Path] = set()


class Ran(NamedTuple):
    """What a Git command came to."""

    code: int
    out: str
    err: str


# Words of a command line that say which repository Git is to work in.
Where = Sequence[str]
NOWHERE: Where = ()


def client(root: Path, environment: Mapping[str, str] | None = None) -> git.Git:
    """GitPython's command interface for a folder, sealed off from what a hook leaves behind."""
    said, without = _environment(root, environment)
    one = _sealed()(root)
    one.line = partial(command_line, root, hooks=True)
    one.without = [word for name in sorted(without) for word in ("-u", name)]
    one.update_environment(**said)
    return one


def _environment(root: Path, more: Mapping[str, str] | None) -> tuple[dict[str, str], list[str]]:
    """What Git is to be told by variables, and which ones it is not to inherit."""
    said = {**_QUIET, **_received(root), **(more or {})}
    if root in SEALED or os.environ.get("GITREG_OFFLINE", "0") not in ("", "0"):
        said["GIT_ALLOW_PROTOCOL"] = "none"
    # Variables that a hook or `git rebase --exec` leaves behind would point Git at another repository:
    # https://github.com/pre-commit/pre-commit/issues/300
    return said, [n for n in os.environ if n.startswith("GIT_") and n not in _KEPT and n not in said]


def sealed(root: Path) -> dict[str, str]:
    """The whole environment of a Git that is started elsewhere; as of `run`."""
    told, without = _environment(root, None)
    inherited = {name: value for name, value in os.environ.items() if name not in without}
    return {**inherited, "LANGUAGE": "C", "LC_ALL": "C", **told}


def _received(root: Path) -> dict[str, str]:
    """What a pre-receive hook needs to see the objects of the push that it is to judge.

    They are in quarantine: in a folder beside the repository's own objects, which Git names in these
    variables. They are kept for the very repository that the quarantine is in, and no other.
    See "Quarantine Environment" in `git help receive-pack`.
    """
    if not _is_of_hook(root):
        return {}
    names = ("GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
    # Whoever may push could replace files by others, for the hook alone: no clone fetches refs/replace.
    own = {"GIT_NO_REPLACE_OBJECTS": "1"}
    return {**own, **{name: os.environ[name] for name in names if name in os.environ}}


def _is_of_hook(root: Path) -> bool:
    """Whether a folder is that of the repository that a hook judges a push to."""
    place = os.environ.get("GIT_QUARANTINE_PATH")
    return bool(place) and Path(place or "").resolve().parent == (root / "objects").resolve()


def command_line(
    root: Path, arguments: Sequence[str], where: Where | None = None, hooks: bool = False
) -> list[str]:
    """Returns the whole command line of a Git that is to work in the repository of a folder, and no other.

    Arguments, as variables would also reach what Git starts elsewhere. Git's own search would end at a folder
    that only looks like a repository.

    Args:
        where: another repository; `NOWHERE` for commands that make one.
        hooks: whether the repository's hooks have a say, as when references are written and pushed.
    """
    # Where `core.hooksPath` is a folder of the work tree, they are what is checked out.
    start = ["git", *_SAFE, *([] if hooks else _NO_HOOKS)]
    if where is not None:
        return [*start, *where, *arguments]
    found = discovery.find(root)
    if found is None:  # Git says so, and what is asked of no repository is answered
        return [*start, *bare(root / ".git"), *arguments]
    if root not in discovery.CLONES and not _is_of_hook(root) and not _is_let_in(found):
        return _asking(found)
    within = [f"--work-tree={found.top}"] if found.top else []
    return [*start, f"--git-dir={found.folder}", *within, *arguments]


def bare(folder: Path) -> Where:
    """Returns where a bare repository is that gitreg made; for `where`."""
    return (f"--git-dir={os.path.abspath(folder)}",)  # Git runs elsewhere


def _asking(found: discovery.Found) -> list[str]:
    """A Git that finds a repository by itself, and refuses if it is somebody else's that nothing allows."""
    kept = "explicit" if found.top else "all"
    ask = ["rev-parse", "--path-format=absolute", "--git-dir"]
    return ["git", "-c", f"safe.bareRepository={kept}", "-C", str(found.top or found.folder), *ask]


_LET_IN: set[Path] = set()


def _is_let_in(found: discovery.Found) -> bool:
    """Whether Git works in a repository. Told where it is, it would not ask whose it is."""
    if found.folder not in _LET_IN and not discovery.is_owned(found):
        done = subprocess.run(_asking(found), env=sealed(found.folder), capture_output=True)
        if done.returncode:
            return False
    _LET_IN.add(found.folder)
    return True


def name_bare(folder: Path) -> None:
    """Has a bare repository count that the user named.

    Raises:
        Planted: it is part of a checkout: a commit brought it.
    """
    around = discovery.find(folder)
    if around and around.top and around.folder not in (folder, *folder.parents):
        within = folder.relative_to(around.top).as_posix()
        ran = run(around.top, ["ls-files", "-z", "--", f":(literal){within}"])
        if within == "." or ran.code or ran.out:
            raise discovery.Planted(folder)
    discovery.BARE.add(folder)


@cache
def _sealed() -> Any:
    """GitPython can give a variable to Git and take none away: `update_environment(X=None)` leaves it."""
    import git

    class Sealed(git.Git):  # type: ignore[misc]
        without: Sequence[str] = ()
        line: Callable[[Sequence[str]], list[str]]

        def execute(self, command: Any, *arguments: Any, **options: Any) -> Any:
            whole = self.line(command[1:])
            sealed = ["env", *self.without, *whole] if self.without else whole
            return super().execute(sealed, *arguments, **options)

    return Sealed


def run(
    root: Path,
    arguments: Sequence[str],
    said: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    where: Where | None = None,
    hooks: bool = False,
) -> Ran:
    """Run a Git command.

    Args:
        root: where it runs, which paths are relative to; its repository is the one that counts.
        said: what it reads from its standard input.
        where, hooks: see `command_line`.

    Raises:
        Outside: there is no Git.
    """
    # Without GitPython, whose import costs more than the commands that a loader runs.
    told, without = _environment(root, environment)
    inherited = {name: value for name, value in os.environ.items() if name not in without}
    try:
        done = subprocess.run(
            command_line(root, arguments, where, hooks),
            cwd=root,
            env={**inherited, "LANGUAGE": "C", "LC_ALL": "C", **told},
            input=said,
            stdin=subprocess.DEVNULL if said is None else None,
            capture_output=True,
        )
    except FileNotFoundError as error:
        if not root.is_dir():
            raise
        raise Outside("git is not installed, or not on PATH", "gitreg doctor") from error
    out, err = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    return Ran(done.returncode, out.removesuffix("\n"), err.removesuffix("\n"))


def must(
    root: Path,
    arguments: Sequence[str],
    said: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    where: Where | None = None,
) -> str:
    """Run a Git command that should succeed; what it prints.

    Raises:
        Outside: it failed; the message is Git's own.
    """
    ran = run(root, arguments, said, environment, where)
    if ran.code:
        verb = next((a for a in arguments if not a.startswith("-")), "")
        text = f"git {verb}: {printed.said(ran.err or ran.out or f'exit {ran.code}')}"
        if any(words in ran.err for words in _FULL):
            text = f"no space left on the disk of {root}: {text}"
            raise Outside(text, "free some space and run this again")
        raise Outside(text)
    return ran.out


_FULL = "No space left", "Out of diskspace", "Disk quota exceeded"


_KEPT = {"GIT_SSH", "GIT_SSH_COMMAND", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE"}
_KEPT |= {"GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_DATE", "GIT_EXEC_PATH"}
_KEPT |= {"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_SSL_CAINFO"}
_KEPT |= {"GIT_ASKPASS", "GIT_SSH_VARIANT", "GIT_SSL_CAPATH", "GIT_SSL_NO_VERIFY"}


def git_folder(root: Path) -> Path | None:
    """Git's own folder for this work tree (shared by all work trees), or None outside of a repository."""
    code, out, _ = run(root, ["rev-parse", "--path-format=absolute", "--git-common-dir"])
    return Path(out) if code == 0 else None


def top(root: Path) -> Path | None:
    """The work tree's top folder, or None outside of a repository."""
    code, out, _ = run(root, ["rev-parse", "--show-toplevel"])
    return Path(out) if code == 0 and out else None


def prefix(root: Path) -> str:
    """Where a folder lies below the work tree's top: empty, or a path with a slash at its end."""
    return must(root, ["rev-parse", "--show-prefix"])


def head(root: Path) -> str | None:
    """The commit that is checked out; None before the first one."""
    ran = run(root, ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])
    return ran.out if ran.code == 0 else None


# How Git is asked for files that are not as HEAD has them.
STATUS = ("status", "--porcelain", "-z", "--no-renames", _NO_SUBMODULES)


def changed(root: Path, paths: Sequence[str] = (".",), untracked: bool = True) -> list[str]:
    """Files of the work tree, relative to its top, that are not as HEAD has them; untracked ones too."""
    others = f"--untracked-files={'all' if untracked else 'no'}"
    out = must(root, [*STATUS, others, "--", *paths])
    return [line[3:] for line in out.split("\0") if len(line) > 3]


def known(root: Path, glob: str) -> list[str]:
    """Files that Git tracks, of those that a glob finds; both relative to `root`."""
    return [name for name in must(root, ["ls-files", "-z", "--", f":(glob){glob}"]).split("\0") if name]


def links(root: Path, *pathspecs: str) -> list[str]:
    """Symbolic links and submodules that Git tracks and has laid out; paths relative to `root`."""
    ran = run(root, ["ls-files", "-t", "-s", "-z", "--", *pathspecs])
    entries = (line.partition("\t") for line in ran.out.split("\0") if line)
    # S: left out of a sparse checkout.
    return [path for head, _, path in entries if head[0] != "S" and head.split()[1] in ("120000", "160000")]


def untracked(root: Path, paths: Sequence[str]) -> list[str]:
    """Files below some paths, all relative to `root`, that Git does not know and does not ignore."""
    literal = [f":(literal){path}" for path in paths]
    out = must(root, ["ls-files", "-z", "--others", "--exclude-standard", "--", *literal]) if paths else ""
    return [name for name in out.split("\0") if name]


def changes(root: Path, base: str, uncommitted: Iterable[str]) -> dict[str, str]:
    """path -> A, M or D for every file below `root` that is not as a commit has it.

    Args:
        uncommitted: files, relative to `root`, that are not as HEAD has them either.
    """
    how = ["--name-status", "-z", "--no-renames", "--relative", "--no-ext-diff", "--no-textconv"]
    out = must(root, ["diff", *how, _NO_SUBMODULES, base, "HEAD", "--"])
    words = [word for word in out.split("\0") if word]
    found = dict(zip(words[1::2], words[::2], strict=True))
    for path in uncommitted:
        there = os.path.lexists(root / path)
        was = path in found and found[path] != "A"
        found[path] = "M" if there and was else "A" if there and path in found else "M" if there else "D"
    return found


def containing(root: Path, *patterns: str) -> list[str]:
    """Files of the work tree with a line that matches any of some POSIX extended patterns."""
    wanted = [word for pattern in patterns for word in ("-e", pattern)]
    how = ["-l", "-z", "-E", "-I", "--untracked", "--no-textconv", "--no-recurse-submodules"]
    ran = run(root, ["grep", *how, *wanted, "--", "."])
    return [name for name in ran.out.split("\0") if name]


def clone_at(root: Path, commit: str, place: Path, shared: bool = True) -> None:
    """A work tree of its own for a commit, without its `.dvc`, sharing our objects. No hook runs.

    Args:
        root: a registry's root.
        shared: whether it needs this repository for as long as it lives.

    Raises:
        Outside: the files are not all there.
    """
    from gitreg.git import clones

    clones.complete(root, commit)
    must(
        place.parent,
        [
            *ALONE,
            "-c",
            "protocol.file.allow=always",
            "clone",
            "--quiet",
            *(["--shared"] if shared else []),
            "--no-checkout",
            "--no-tags",
            "--",
            str(top(root)),
            str(place),
        ],
        where=NOWHERE,
    )
    clones.lay_without_settings(place)
    # Git goes on, and exits with 0, where it cannot read a file's content.
    ran = run(place, [*ALONE, "checkout", "--quiet", "--detach", commit])
    if ran.code or ran.err.startswith("error: "):
        shallow = run(root, ["rev-parse", "--is-shallow-repository"]).out == "true"
        hint = "this is a shallow clone: git fetch --unshallow --tags" if shallow else "git fsck"
        raise Outside(f"git checkout {commit[:12]}: {ran.err.splitlines()[0]}", hint)


def init(root: Path) -> None:
    """Make a repository at `root`, on the branch main."""
    code, _, err = run(root, ["init", "--quiet", "--initial-branch=main", "."], where=NOWHERE)
    if code:
        raise Outside(f"git init failed: {err}")


def visible_files(root: Path, paths: Sequence[str] = (".",)) -> set[str] | None:
    """Every file that is in Git or could be added: ignored files are left out. None outside of Git."""
    listed = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    code, out, _ = run(root, listed)
    return {name for name in out.split("\0") if name} if code == 0 else None


def last_commit(root: Path, paths: Sequence[str]) -> str | None:
    """The commit that last changed any of the paths; None when they are changed since, or not in Git."""
    literal = [f":(literal){path}" for path in paths]
    code, out, _ = run(root, [*STATUS, "--untracked-files=all", "--", *literal])
    if code or out:
        return None
    code, out, _ = run(root, ["log", "-1", "--format=%H", "--end-of-options", "HEAD", "--", *literal])
    return out.strip() or None if code == 0 else None


def setting(root: Path, key: str) -> str:
    """A value of Git's configuration as seen from `root`; empty where it is not set."""
    while not root.is_dir():
        root = root.parent
    return run(root, ["config", "--get", key]).out


def version() -> str:
    """Git's version, as 2.39.5."""
    _, out, _ = run(Path.cwd(), ["--version"], where=NOWHERE)
    return out.removeprefix("git version ").split(" ")[0]
