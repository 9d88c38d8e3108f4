"""The pre-receive hook of a bare repository: what Git tells it, and how it gets there."""

from __future__ import annotations

import itertools
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from gitreg import folders, git
from gitreg.errors import Refused
from gitreg.git import discovery
from gitreg.warden.view import Update

NAME = "pre-receive"
MARK = "# Written by `gitreg hook install`."


def updates(lines: Iterable[bytes]) -> list[Update]:
    """What Git writes to a pre-receive hook: `<old> <new> <reference>` in each line.

    Raises:
        Refused: it is something else.
    """
    found = []
    for line in lines:
        words = os.fsdecode(line.rstrip(b"\n")).split(" ", 2)
        if len(words) != 3:
            raise Refused(f"not a line that Git gives a {NAME} hook: {os.fsdecode(line)!r}", "git help hooks")
        found.append(Update(words[2], words[0], words[1]))
    return found


def here() -> Path:
    """The repository that a hook runs for, as Git tells; not run by Git, the one in the current folder."""
    folder = Path(os.environ.get("GIT_DIR", ".")).resolve()
    if "GIT_DIR" in os.environ:
        discovery.BARE.add(folder)
    elif discovery.looks_bare(folder):
        git.name_bare(folder)
    return folder


def command(*prefixes: str) -> str:
    """The shell command of the hook, by the Python that runs this."""
    known = prefixes if any(prefixes) else ()
    within = "".join(f" --within {shlex.quote(prefix or '.')}" for prefix in known)
    return f"{shlex.quote(sys.executable)} -m gitreg hook {NAME}{within}"


def _installed(file: Path) -> list[str]:
    """The registries that a hook is for already, each as `command` takes it."""
    line = file.read_text("utf-8", "replace").splitlines()[-1:]
    words = shlex.split(line[0]) if line else []
    if NAME not in words:
        return []
    given = [word for before, word in itertools.pairwise(words) if before == "--within"]
    return ["" if one == "." else f"{one.rstrip('/')}/" for one in given] or [""]


def install(folder: Path, *prefixes: str) -> Path:
    """Write the hook into a bare repository, or anew what was written so before; its file.

    Args:
        prefixes: folders of registries in the repository; empty for its top, as without any. Those that the
            hook is for already stay.

    Raises:
        Refused: there is no bare repository, its hooks are elsewhere, or another hook is there.
    """
    root = folder.resolve()
    if discovery.looks_bare(root):
        git.name_bare(root)
    asked = ["rev-parse", "--is-bare-repository", "--git-path", "hooks"]
    said = git.run(root, asked, hooks=True).out.split("\n")
    if said[0] != "true":
        hint = "run it where others push to, on the server; git init --bare makes such a repository"
        raise Refused(f"{folder} is not a bare repository", hint)
    place = root / said[1]
    if place.resolve() != (root / "hooks").resolve():
        hint = f"git -C {shlex.quote(str(root))} config core.hooksPath hooks"
        raise Refused(f"core.hooksPath has Git look for the hooks of {root} in {place}", hint)
    file = root / "hooks" / NAME
    ours = file.is_file() and not file.is_symlink() and MARK in file.read_text("utf-8", "replace")
    if os.path.lexists(file) and not ours:
        hint = f"have it run this too, with the same standard input: {command(*prefixes)}"
        raise Refused(f"{file} is there, and not gitreg's", hint)
    wanted = prefixes or ("",)
    if ours:
        wanted = tuple(dict.fromkeys([*_installed(file), *wanted]))
    fresh = file.with_name(f".{NAME}.{os.getpid()}")
    folders.write(fresh, f"#!/bin/sh\n{MARK}\nexec {command(*wanted)}\n".encode("utf-8", "surrogateescape"))
    fresh.chmod(0o755)
    os.replace(fresh, file)
    return file
