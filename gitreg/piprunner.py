"""Runs a copy of pip by the interpreter of an environment; started by its path, and imported by nothing.

    python -I piprunner.py PLACE wheels|sources ARGUMENT...

`--only-binary :all:` binds what pip takes from an index. It binds no address that the metadata of a wheel
names (`Requires-Dist: x @ file:///...`), of which pip would take an archive, a folder or a repository and
run its build code. With `wheels`, two things hold whatever the metadata names:

- pip prepares nothing but wheels: the one method by which it fetches and unpacks anything refuses the rest.
- This process starts no other but the few programs of the machine that pip asks something: an audit hook of
  Python refuses them, so that no way to build anything is left, in whatever release of pip.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

# Credentials of an index; and what pip tells an index of the machine, or finds out of its C library.
_ASKED = frozenset({"keyring", "lsb_release", "rustc", "sw_vers", "uname"})
_STARTS = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn"}
    | {"subprocess.Popen"}
)


class _Finder:
    """Finds pip, and nothing else, where it is: what lies beside it is not installed in the environment."""

    def __init__(self, place: str) -> None:
        self.place = place

    def find_spec(self, name: str, path: object = None, target: Any = None) -> ModuleSpec | None:
        """Finds the package `pip` itself; its modules are found by its own path."""
        return PathFinder.find_spec(name, [self.place], target) if name == "pip" else None


def _watch(event: str, arguments: Sequence[Any]) -> None:
    """Refuses to start a process; an audit hook."""
    if event not in _STARTS:
        return
    program = ""
    if event in ("subprocess.Popen", "os.posix_spawn"):
        program = os.path.basename(os.fsdecode(arguments[0]))
    if program not in _ASKED and not program.startswith("ld-musl-"):
        raise PermissionError(f"only wheels are installed: {program or event} would run to build a package")


def _mistake(requirement: Any) -> str | None:
    """Returns why pip may not prepare a requirement, which has a link, or None."""
    link = requirement.link
    if not link.is_wheel or link.is_vcs:
        return f"{link} is no wheel, and its build code would run"
    remote = str(link.comes_from or "").startswith(("http:", "https:"))
    if link.scheme not in ("http", "https") and (requirement.is_direct or remote or link.scheme != "file"):
        return f"{link} is no address of a package index or of a web server"
    return None


def _guard() -> None:
    """Has pip refuse what is no wheel before it fetches it."""
    kind = importlib.import_module("pip._internal.operations.prepare").RequirementPreparer
    error = importlib.import_module("pip._internal.exceptions").InstallationError
    prepare: Callable[..., Any] | None = getattr(kind, "prepare_linked_requirement", None)
    if prepare is None:  # a release that does it by another name; the hook is there
        return

    def checked(self: Any, requirement: Any, *arguments: Any, **named: Any) -> Any:
        if mistake := _mistake(requirement):
            source = f", which {parent} requires" if (parent := _parent(requirement)) else ""
            raise error(f"only wheels are installed: {requirement.name}{source}: {mistake}")
        return prepare(self, requirement, *arguments, **named)

    kind.prepare_linked_requirement = checked


def _parent(requirement: Any) -> str:
    """Returns the name of the package whose metadata names a requirement; empty where there is none."""
    return str(getattr(requirement.comes_from, "name", None) or "")


def _main() -> None:
    place, kind = sys.argv[1:3]
    del sys.argv[1:3]
    sys.meta_path.insert(0, _Finder(place))
    if kind == "wheels":
        sys.addaudithook(_watch)
        _guard()
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
