"""DVC's pipelines: which stages made a file and out of what, as dvc.lock says, and their re-run.

The files are read here as plain YAML. Only `rerun` has DVC run commands, in a folder that the caller made for
the purpose. https://dvc.org/doc/user-guide/project-structure/dvcyaml-files#dvclock-file
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitreg import safewrite
from gitreg.documents import parse
from gitreg.errors import Outside, Refused
from gitreg.store.pointers import Pointers, below, is_plain

_MAX_LOCK = 32 << 20
_SAID = 20


@dataclass(frozen=True)
class Reference:
    """A file or folder that a stage reads or writes.

    Attributes:
        path: relative to the pipeline's root, with forward slashes; or an address.
        md5: hex, `.dir` at the end for a folder; None where DVC keeps another mark of it.
        text: whether DVC took line ends for equal when it hashed it, as versions before 3 did.
        marks: what else says which one it is: `etag`, `version`.
    """

    path: str
    md5: str | None = None
    text: bool = False
    marks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One stage as dvc.lock has it.

    Attributes:
        lock: the dvc.lock, relative to the root.
    """

    name: str
    lock: str
    cmd: str
    deps: tuple[Reference, ...] = ()
    outs: tuple[Reference, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """What `dvc repro` calls it, from the root."""
        file = self.lock.removesuffix("dvc.lock") + "dvc.yaml"
        return self.name if file == "dvc.yaml" else f"{file}:{self.name}"


@dataclass(frozen=True)
class Pipeline:
    """The stages that lead to a file, the last one last."""

    root: Path
    stages: tuple[Stage, ...]

    @property
    def last(self) -> Stage:
        """The stage that makes the file."""
        return self.stages[-1]

    @property
    def sources(self) -> list[Reference]:
        """What the stages read and none of them makes, each once."""
        made = {out.path for stage in self.stages for out in stage.outs}
        read = {dep.path: dep for stage in self.stages for dep in stage.deps}
        return [dep for path, dep in read.items() if not any(p in made for p in (path, *_above(path)))]

    @property
    def params(self) -> dict[str, Any]:
        """Parameters by file, of all stages."""
        found: dict[str, dict[str, Any]] = {}
        for stage in self.stages:
            for file, said in stage.params.items():
                found.setdefault(str(file), {}).update(said if isinstance(said, Mapping) else {})
        return found


def find(root: Path, path: str) -> Pipeline | None:
    """The pipeline that makes a file or folder; None where no dvc.lock at or above it says so.

    Args:
        root: the top of the repository.
        path: relative to it.

    Raises:
        Refused: a dvc.lock is broken.
    """
    seen: dict[str, list[Stage]] = {}
    last = _maker(root, path, seen)
    if last is None:
        return None
    order: list[Stage] = []
    _before(root, last, order, seen, [])
    return Pipeline(root, tuple(order))


def _before(
    root: Path, stage: Stage, order: list[Stage], seen: dict[str, list[Stage]], on: list[Stage]
) -> None:
    """The stages before this one and then itself, each once."""
    if stage in order or stage in on:
        return
    for dep in stage.deps:
        if maker := _maker(root, dep.path, seen):
            _before(root, maker, order, seen, [*on, stage])
    order.append(stage)


def _maker(root: Path, path: str, seen: dict[str, list[Stage]]) -> Stage | None:
    """The stage with an output at or above a path."""
    for lock in _locks(root, path):
        if lock not in seen:
            seen[lock] = _stages(root, lock)
        for stage in seen[lock]:
            if any(out.path == path or out.path in _above(path) for out in stage.outs):
                return stage
    return None


def _locks(root: Path, path: str) -> Iterator[str]:
    for folder in _above(path):
        lock = "/".join(filter(None, [folder, "dvc.lock"]))
        if (root / lock).is_file():
            yield lock


def _above(path: str) -> list[str]:
    """The folders above a path inside the root, the nearest first; the root is empty."""
    if path.startswith(("/", "../")) or "://" in path:
        return []
    parts = path.split("/")[:-1]
    return ["/".join(parts[:n]) for n in range(len(parts), -1, -1)]


def _stages(root: Path, lock: str) -> list[Stage]:
    stages, pointers = _read(root, lock, _MAX_LOCK).get("stages"), Pointers(root)
    return [
        Stage(
            str(name),
            lock,
            _command(said.get("cmd")),
            tuple(_references(lock, said.get("deps"), pointers.wdir(lock, str(name)))),
            tuple(_references(lock, said.get("outs"), pointers.wdir(lock, str(name)))),
            said["params"] if isinstance(said.get("params"), Mapping) else {},
        )
        for name, said in (stages.items() if isinstance(stages, Mapping) else ())
        if isinstance(said, Mapping)
    ]


def _command(said: Any) -> str:
    return "\n".join(map(str, said)) if isinstance(said, list) else str(said or "")


def _read(root: Path, file: str, most: int = 1 << 20) -> Mapping[str, Any]:
    try:
        document, problems = parse((root / file).read_bytes(), file, most, merging=True)
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    if problems:
        raise Refused(str(problems[0]))
    if not isinstance(document.data, Mapping):
        raise Refused(f"{file}: not a DVC file")
    return document.data


def _references(file: str, said: Any, wdir: Any) -> Iterator[Reference]:
    for one in said if isinstance(said, list) and is_plain(wdir) else ():
        if isinstance(one, Mapping) and isinstance(one.get("path"), str):
            yield _reference(file, one, wdir)


def _reference(file: str, one: Mapping[str, Any], wdir: Any = None) -> Reference:
    path, md5 = one["path"], one.get("md5")
    if "://" not in path:
        path = below(file, path, wdir)
    marks = {"etag": one.get("etag"), "version": one.get("version_id")}
    said = {key: str(value) for key, value in marks.items() if isinstance(value, (str, int))}
    return Reference(path, md5 if isinstance(md5, str) else None, md5 is not None and "hash" not in one, said)


def tracked(root: Path, path: str) -> tuple[str, Reference] | None:
    """The .dvc file that tracks a path, or a folder above it, and what it says of it."""
    for place in (path, *_above(path)) if _above(path) else ():
        file = f"{place}.dvc"
        if place and (root / file).is_file():
            said = _read(root, file)
            for out in _references(file, said.get("outs"), said.get("wdir")):
                if out.path == place:
                    return file, out
    return None


def imported(root: Path, file: str) -> dict[str, str]:
    """Where the data of a .dvc file was imported from: `url`, `etag`, `version`; or `repo`, `rev`, `path`."""
    deps = _read(root, file).get("deps")
    for dep in deps if isinstance(deps, list) else ():
        if not isinstance(dep, Mapping) or not isinstance(dep.get("path"), str):
            continue
        repo = dep.get("repo")
        if isinstance(repo, Mapping) and isinstance(repo.get("url"), str):
            rev = repo.get("rev_lock") or repo.get("rev")
            return {"repo": repo["url"], "path": dep["path"], **({"rev": str(rev)} if rev else {})}
        if "://" in dep["path"]:
            return {"url": dep["path"], **_reference(file, dep).marks}
    return {}


# Running --------------------------------------------------------------------------------------------


def commands(root: Path, stage: Stage) -> list[tuple[str, str]]:
    """(stage, command) in the order in which `rerun` runs them, as dvc.yaml says now. Runs none of them.

    Raises:
        Refused: DVC cannot tell.
    """
    done = subprocess.run(
        [*_dvc("repro"), "--dry", "--force", stage.target],
        cwd=root,
        env={**_environment(), **_alone(root)},
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise Refused(f"dvc repro --dry {stage.target}: {_last_error(done.stderr)}")
    found: list[tuple[str, str]] = []
    for line in done.stdout.splitlines():
        if line.startswith("Running stage '"):
            found.append((line.removeprefix("Running stage '").removesuffix("':"), ""))
        elif line.startswith("> ") and found:
            name, before = found[-1]
            found[-1] = (name, f"{before}\n{line[2:]}".strip())
    return found


def checkout(root: Path, files: Sequence[str], tell: Callable[[str], None]) -> None:
    """Put data that .dvc files track into the work tree, from the cache or else from its remote.

    Raises:
        Outside: it cannot be had.
    """
    safewrite.refuse_links(root, *(name for file in files for name in (file, file.removesuffix(".dvc"))))
    alone = _alone(root)
    if files and _run([*_dvc("checkout"), "--quiet", *files], root, None, lambda line: None, alone)[0]:
        code, said = _run([*_dvc("pull"), *files], root, None, tell, alone)
        if code:
            raise Outside(f"dvc pull {' '.join(files)}: {_last_error(said)}", "dvc remote list")


def rerun(root: Path, stage: Stage, timeout: float | None, tell: Callable[[str], None]) -> None:
    """Run the stages that lead to one, and itself: the commands of whoever wrote dvc.yaml.

    Nothing is taken from DVC's run cache.

    Args:
        root: a work tree that was made for this.
        tell: is told each line that the commands print.

    Raises:
        Refused: a command failed, or took too long.
    """
    command = [*_dvc("repro"), "--force", "--no-run-cache", stage.target]
    code, said = _run(command, root, timeout, tell)
    if code is None:
        raise Refused(f"the pipeline did not finish within {timeout:g} s", "--timeout SECONDS")
    if code:
        raise Refused(f"the pipeline failed: {_last_error(said)}", "what it printed is above")


def _dvc(verb: str) -> list[str]:
    return [sys.executable, "-m", "dvc", verb]


def _environment() -> dict[str, str]:
    """The caller's, with this Python first, and without what would point Git or DVC elsewhere."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith("GIT_CONFIG_")}
    here = os.path.dirname(sys.executable)
    return {**kept, "PATH": f"{here}{os.pathsep}{kept.get('PATH', '')}", "DVC_NO_ANALYTICS": "1"}


def _alone(root: Path) -> dict[str, str]:
    """Variables with which DVC knows no configuration but that of a folder, as of `Store.alone`."""
    none = str(root / ".dvc" / "none")
    return {"DVC_SYSTEM_CONFIG_DIR": none, "DVC_GLOBAL_CONFIG_DIR": none}


def _run(
    command: Sequence[str],
    root: Path,
    timeout: float | None,
    tell: Callable[[str], None],
    more: Mapping[str, str] | None = None,
) -> tuple[int | None, str]:
    """Run a program in a session of its own, which ends with it; its exit code (None: too late), and
    the last lines that it printed."""
    lines: deque[str] = deque(maxlen=_SAID)
    process = subprocess.Popen(
        command,
        cwd=root,
        env={**_environment(), **(more or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )

    def listen() -> None:
        for line in process.stdout or ():
            lines.append(line.rstrip("\n"))
            tell(lines[-1])

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    code: int | None = None
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        listener.join(2)
    return code, "\n".join(lines)


def _last_error(said: str) -> str:
    """DVC's own last word."""
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    return errors[-1] if errors else (said.strip().splitlines() or ["no reason given"])[-1]
