"""Looks at the machine and at the registry's surroundings: what works, what does not, what to do."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from gitreg import folders, git, isolation, outputs, server
from gitreg.errors import GitregError, NoSandbox
from gitreg.git.discovery import Planted
from gitreg.registry import Registry
from gitreg.reports import Finding


def examine(folder: Path, remote: str | None = None, deep: bool = False) -> Iterator[Finding]:
    """Everything the environment needs, then the registry at `folder` if there is one: see `fsck.examine`."""
    yield Finding("gitreg", "ok", f"{metadata.version('gitreg')} ({Path(__file__).parent})")
    yield _python()
    yield _git(folder)
    for name in ("dvc", "numpy", "protobuf", "tritonclient", "jsonschema"):
        yield _package(name)
    yield _triton()
    yield from _models()
    try:
        registry = Registry(folder)
    except GitregError as error:
        level = "error" if isinstance(error, Planted) else "warning"
        yield Finding("registry", level, error.message, error.hint)
        return
    found = list(_registry(registry))
    yield from found
    if found[0].level == "ok":
        from gitreg import fsck

        yield from fsck.examine(registry, remote, deep)


def _python() -> Finding:
    detail = f"{platform.python_version()} ({sys.executable}, {platform.system()} {platform.machine()})"
    return Finding("python", "ok", detail)


def _git(folder: Path) -> Finding:
    try:
        version = git.version()
    except GitregError as error:
        return Finding("git", "error", error.message, "install git")
    missing = [key for key in ("user.name", "user.email") if not git.setting(folder, key)]
    if missing:
        hint = f"git config --global {missing[0]} ..."
        return Finding(
            "git", "warning", f"{version}; {' and '.join(missing)} not set, so commits will fail", hint
        )
    return Finding("git", "ok", version)


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, "error", "not installed", f"pip install {name}")


def _triton() -> Finding:
    try:
        found = server.find()
    except GitregError as error:
        return Finding("triton", "warning", f"{error.message}; `gitreg serve` will not work", error.hint)
    reason = server.unfit(found)
    if reason:
        return Finding("triton", "warning", reason, "pip install 'numpy<2'")
    return Finding("triton", "ok", str(found))


def _models() -> Iterator[Finding]:
    """What keeps models from the rest of this machine."""
    if isolation.keeps_apart():
        yield Finding("model processes", "ok", "cannot look at other processes (Landlock)")
    else:
        detail = "can read the environment of your other processes: Linux 5.19 with Landlock prevents that"
        yield Finding("model processes", "warning", detail)
    try:
        isolation.try_sandbox()
    except NoSandbox as error:
        yield Finding("sandbox", "warning", f"none for models here: {error.why}", error.hint)
    else:
        yield Finding("sandbox", "ok", "can be had: `build: {sandbox: true}` in registry.yaml")


def _registry(registry: Registry) -> Iterator[Finding]:
    try:
        many = len(registry.files)
        what = "1 model" if many == 1 else f"{many:,} models"
        yield Finding("registry", "ok", f"{registry.file.name}: {what} in {registry.root}")
    except GitregError as error:
        yield Finding("registry", "error", error.message, "gitreg check")
        return
    if not (registry.root / ".dvc").is_dir():
        yield Finding("dvc repository", "error", f"no .dvc in {registry.root}", "gitreg init")
        return
    yield from _dvc(registry)
    if registry.sandboxed:
        yield _asked()


def _dvc(registry: Registry) -> Iterator[Finding]:
    """DVC's configuration, and how artifacts get here."""
    store = registry.store
    try:
        for file, fault in store.faults():
            yield Finding(
                "dvc configuration", "error", f"{file}: {fault.line}", f"if it is meant: {fault.hint}"
            )
        has_remote, cache = store.has_remote(), store.cache()
    except GitregError as error:
        yield Finding("dvc configuration", "error", error.message, error.hint)
        return
    if has_remote:
        yield Finding("dvc remote", "ok", "a default remote is configured")
    else:
        detail = "no default remote: others cannot get the artifacts"
        yield Finding("dvc remote", "warning", detail, "dvc remote add --default NAME URL")
    yield _links(registry, cache)


def _asked() -> Finding:
    """Whether the sandbox that registry.yaml asks for can be had."""
    try:
        isolation.try_sandbox()
    except NoSandbox as error:
        return Finding("build.sandbox", "error", error.message, error.hint)
    return Finding("build.sandbox", "ok", "models run in a sandbox")


def _links(registry: Registry, cache: Path) -> Finding:
    """How artifacts get from the DVC cache into packages here."""
    there = next(p for p in (cache, *cache.parents) if p.exists())
    dist = registry.root / "dist"
    try:
        with folders.aside(outputs.claim(dist)) as here:
            (here / "a").write_bytes(b"x")
            (here / "a").chmod(0o444)
            folders.link(here / "a", here / "b", share=True)
            same_disk = os.stat(here).st_dev == os.stat(there).st_dev
            linked = os.stat(here / "a").st_ino == os.stat(here / "b").st_ino
            cloned = not linked and folders.can_reflink(here / "a", here / "c")
    except (GitregError, OSError) as error:
        return Finding("artifact links", "error", str(error))
    finally:
        if dist.is_dir() and not dist.is_symlink() and not any(dist.iterdir()):
            dist.rmdir()
    if same_disk and (linked or cloned):
        return Finding("artifact links", "ok", "hard links" if linked else "reflinks")
    return Finding(
        "artifact links", "warning", "packages copy artifacts: the DVC cache is on another file system"
    )
