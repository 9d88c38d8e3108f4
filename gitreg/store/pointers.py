"""What DVC's files say of an artifact: `.dvc` files and `dvc.lock`, plain YAML, read without DVC."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from gitreg import treefiles
from gitreg.declared import ArtifactSource
from gitreg.documents import parse
from gitreg.errors import Refused
from gitreg.names import did_you_mean

MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?\Z")
# A dvc.lock lists every file of every stage, and so outgrows what people write.
_MAX_LOCK = 32 << 20


@dataclass(frozen=True)
class Tracked:
    """An artifact as DVC tracks it.

    Attributes:
        path: relative to the root.
        by: the .dvc file or dvc.lock that says so, relative to the root.
        md5: hex; ends in `.dir` for a folder.
        size: bytes, or None where DVC did not write it.
        remote: the name of the DVC remote that keeps it; None for the default one.
        origin: of what was imported, what its .dvc file says of that: `path`, `etag`, `repo` and the like,
            in `deps`, or from another registry in `meta`.
    """

    path: str
    by: str
    md5: str
    size: int | None
    remote: str | None = None
    origin: Mapping[str, Any] | None = None

    @property
    def name(self) -> str | None:
        """The file's own name; None for a folder."""
        return None if self.md5.endswith(".dir") else self.path.rpartition("/")[2]


class Files(Protocol):
    """Where DVC's files are read from. Paths are relative to the registry's root."""

    def has(self, file: str) -> bool:
        """Whether there is something of this name."""

    def read(self, file: str) -> bytes | None:
        """What is in a file; None where there is none.

        Raises:
            Refused: it is no plain file.
        """

    def names(self, folder: str) -> list[str]:
        """The names of what lies in a folder."""


class OnDisk:
    """The files of a folder as they lie there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, file: str) -> bool:
        """See `Files`."""
        return os.path.lexists(self.root / file)

    def read(self, file: str) -> bytes | None:
        """See `Files`."""
        return treefiles.read(self.root, file, _MAX_LOCK)

    def names(self, folder: str) -> list[str]:
        """See `Files`."""
        return os.listdir(self.root / folder)


class Pointers:
    """DVC's files of one registry.

    Args:
        files: the registry's files, or its root. Each file is read once.
        look: is called with each file before it is looked for, whether it is there or not.
    """

    def __init__(self, files: Files | Path, look: Callable[[str], object] = str) -> None:
        self.files: Files = OnDisk(files) if isinstance(files, Path) else files
        self.look = look
        self._said: dict[str, Mapping[str, Any]] = {}

    def tracked(self, source: ArtifactSource, folder: str) -> Tracked:
        """Find what DVC says of an artifact.

        Args:
            source: the manifest's `artifact`.
            folder: the manifest's folder, relative to the root.

        Raises:
            Refused: DVC does not track it, or its file is broken.
        """
        if source.stage:
            return self._stage(source.stage, folder, source.path)
        if source.address:
            return self._imported(source, folder)
        assert source.path
        beside = f"{source.path}.dvc"
        if self._has(beside):
            return self._from_file(beside, source.path)
        for lock in self._locks(folder):
            for name, stage in self._stages(lock).items():
                wdir = self.wdir(lock, name)
                for out in _mappings_in(stage.get("outs")) if is_plain(wdir) else ():
                    if below(lock, str(out.get("path")), wdir) == source.path:
                        return self._entry(lock, out, source.path)
        raise Refused(f"'{source.path}' is not tracked by DVC", f"dvc add {source.path}")

    def _imported(self, source: ArtifactSource, folder: str) -> Tracked:
        """What was brought from elsewhere: the .dvc file beside the manifest has to say so, too.

        A manifest that names no path means the one file that is an import from its address.
        """
        if source.path:
            found = self._from_file(f"{source.path}.dvc", source.path)
            return _agreed(found, source)
        names = sorted(n for n in self.files.names(folder) if n.endswith(".dvc")) if folder else []
        paths = [f"{folder}/{name.removesuffix('.dvc')}" for name in names if len(name) > len(".dvc")]
        every = [self._from_file(f"{path}.dvc", path) for path in paths]
        fitting = [one for one in every if address_of_import(one.origin) == source.address]
        if len(fitting) == 1:
            return _agreed(fitting[0], source)
        said = ", ".join(one.by for one in fitting) or "none"
        raise Refused(
            f"one .dvc file beside the manifest should be an import from {source.address}; {said} is",
            "artifact: {path: ...} beside the address names it",
        )

    def _from_file(self, file: str, path: str) -> Tracked:
        if not self._has(file):
            raise Refused(f"'{path}' is not tracked by DVC", f"is {file} committed?")
        said = self._read(file)
        deps, meta = said.get("deps"), said.get("meta")
        origin = deps[0] if isinstance(deps, list) and deps and isinstance(deps[0], Mapping) else None
        if origin is None and isinstance(meta, Mapping) and isinstance(meta.get("import"), Mapping):
            origin = meta["import"]
        return replace(self._from_outs(file, said, path), origin=origin)

    def _stage(self, name: str, folder: str, path: str | None) -> Tracked:
        known: list[str] = []
        for lock in self._locks(folder):
            stages = self._stages(lock)
            known += stages
            if name in stages:
                outs = {self._place(lock, name, out): out for out in _mappings_in(stages[name].get("outs"))}
                wanted = [path] if path else [one for one in outs if one not in self._measured(lock, name)]
                fitting = [one for one in wanted if one in outs]
                if len(fitting) != 1:
                    raise Refused(
                        f"{lock}: the stage '{name}' has {len(fitting)} fitting outputs "
                        f"({', '.join(outs) or 'none'}), not one",
                        f"artifact: {{stage: {name}, path: ...}}, or --from stage:{name}:OUT",
                    )
                return self._entry(lock, outs[fitting[0]], fitting[0])
        raise Refused(
            f"no dvc.lock at or above '{folder or '.'}' has the stage '{name}'{did_you_mean(name, known)}",
            "dvc repro, then dvc push",
        )

    def _stages(self, lock: str) -> dict[str, Mapping[str, Any]]:
        """The stages of a dvc.lock, by name."""
        said = self._read(lock).get("stages")
        every = said.items() if isinstance(said, Mapping) else ()
        return {str(name): stage for name, stage in every if isinstance(stage, Mapping)}

    def outputs(self, lock: str) -> dict[str, dict[str, Any]]:
        """stage -> output, relative to the root -> what a dvc.lock says of it; none without a dvc.lock.

        Of a .dvc file the stage is empty.

        Raises:
            Refused: it is broken, or the dvc.yaml beside it is.
        """
        found: dict[str, dict[str, Any]] = {}
        if lock.endswith(".dvc"):
            said = self._read(lock)
            outs = _mappings_in(said.get("outs"))
            return {"": {below(lock, str(out.get("path")), said.get("wdir")): dict(out) for out in outs}}
        for name, stage in self._stages(lock).items() if self._has(lock) else ():
            wdir = self.wdir(lock, name)
            outs = _mappings_in(stage.get("outs")) if is_plain(wdir) else []
            found[name] = {below(lock, str(out.get("path")), wdir): dict(out) for out in outs}
        return found

    def wdir(self, lock: str, stage: str) -> Any:
        """What dvc.yaml says of the folder that a stage's paths are relative to; None for its own."""
        return self._declared(lock, stage).get("wdir")

    def _place(self, lock: str, stage: str, out: Mapping[str, Any]) -> str:
        """Where an output of a stage lies."""
        return below(lock, str(out.get("path")), self.wdir(lock, stage))

    def _measured(self, lock: str, stage: str) -> set[str]:
        """The outputs of a stage that dvc.yaml says are metrics or plots."""
        said = self._declared(lock, stage)
        names = [one for key in ("metrics", "plots") for one in _names(said.get(key))]
        return {below(lock, one, said.get("wdir")) for one in names}

    def kept_by_git(self, lock: str, stage: str) -> set[str]:
        """The outputs of a stage that dvc.yaml does not have DVC cache, and its metrics and plots."""
        said = self._declared(lock, stage)
        outs = said.get("outs")
        single = [one for one in outs if isinstance(one, Mapping)] if isinstance(outs, list) else []
        names = [
            str(name)
            for one in single
            for name, how in one.items()
            if isinstance(how, Mapping) and how.get("cache") is False
        ]
        wdir = said.get("wdir")
        return self._measured(lock, stage) | {below(lock, name, wdir) for name in names}

    def _declared(self, lock: str, stage: str) -> Mapping[str, Any]:
        """What the dvc.yaml beside a dvc.lock says of a stage; of one of many, what it says of them all."""
        file = f"{lock.removesuffix('dvc.lock')}dvc.yaml"
        if file not in self._said and not self._has(file):
            return {}
        stages = self._read(file).get("stages")
        every: Mapping[str, Any] = stages if isinstance(stages, Mapping) else {}
        said = _merged(every.get(stage, every.get(stage.partition("@")[0])))
        return _merged(said["do"]) if isinstance(said.get("do"), Mapping) else said

    def measures(self, stage: str, folder: str) -> dict[str, list[str]]:
        """The files of `params` and `metrics` that dvc.yaml names for a stage, relative to the root."""
        for lock in self._locks(folder):
            stages = self._stages(lock)
            if stage in stages:
                said = self._declared(lock, stage)
                named = {"params": _params(stages[stage]), "metrics": _names(said.get("metrics"))}
                return {
                    key: [below(lock, one, said.get("wdir")) for one in files] for key, files in named.items()
                }
        return {}

    def _locks(self, folder: str) -> Iterator[str]:
        """The dvc.lock files at and above a folder; none behind the one that is wanted is looked for."""
        parts = folder.split("/") if folder else []
        candidates = ("/".join([*parts[:n], "dvc.lock"]) for n in range(len(parts), -1, -1))
        return (lock for lock in candidates if self._has(lock))

    def _has(self, file: str) -> bool:
        self.look(file)
        return self.files.has(file)

    def _read(self, file: str) -> Mapping[str, Any]:
        if file not in self._said:
            self.look(file)
            document, problems = parse(self.files.read(file) or b"", file, _MAX_LOCK, merging=True)
            if problems:
                raise Refused(str(problems[0]))
            said = {} if document.data is None and file.endswith("dvc.yaml") else document.data
            if not isinstance(said, Mapping):
                raise Refused(f"{file}: not a DVC file")
            self._said[file] = said
        return self._said[file]

    def _from_outs(self, file: str, said: Mapping[str, Any], path: str) -> Tracked:
        for out in _mappings_in(said.get("outs")):
            if below(file, str(out.get("path")), said.get("wdir")) == path:
                return self._entry(file, out, path)
        raise Refused(f"{file}: does not track '{path}'", f"dvc add {path}")

    def _entry(self, file: str, out: Mapping[str, Any], path: str) -> Tracked:
        md5 = out.get("md5")
        if not isinstance(md5, str) or not MD5.match(md5):
            raise Refused(f"{file}: '{path}' has no md5 of 32 hex digits (got {md5!r})", f"dvc commit {file}")
        size = out.get("size")
        remote = out.get("remote")
        if remote is not None and not isinstance(remote, str):
            raise Refused(f"{file}: '{path}' names no remote: {remote!r}")
        return Tracked(path, file, md5, size if isinstance(size, int) else None, remote)


def _mappings_in(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _params(stage: Mapping[str, Any]) -> list[str]:
    """The files of parameters that a stage of a dvc.lock read."""
    params = stage.get("params")
    return [str(name) for name in params] if isinstance(params, Mapping) else []


def _names(said: Any) -> list[str]:
    """The paths in a list of dvc.yaml's, in which each may be a text, or a mapping of it to its settings."""
    found: list[str] = []
    for one in said if isinstance(said, list) else ():
        found += [str(key) for key in one] if isinstance(one, Mapping) else [str(one)]
    return found


def _agreed(found: Tracked, source: ArtifactSource) -> Tracked:
    """Raise Refused where the manifest and DVC say that an artifact came from different places."""
    said, other = source.address, address_of_import(found.origin)
    repo = (found.origin or {}).get("repo")
    if source.registry and other == said and isinstance(repo, Mapping):
        said, other = f"{source.model}@v{source.version}", str(repo.get("rev"))
    if other != said:
        raise Refused(
            f"{found.by} was imported from {other or 'nowhere'}, and the manifest says {said}",
            "gitreg update brings both in step",
        )
    return found


def address_of_import(origin: Mapping[str, Any] | None) -> str | None:
    """Where a .dvc file's `deps` entry says that its output came from; None where it does not say."""
    repo = (origin or {}).get("repo")
    said = repo.get("url") if isinstance(repo, Mapping) else (origin or {}).get("path")
    return str(said) if said is not None else None


def _merged(said: Any) -> dict[str, Any]:
    """A mapping with what its merge key (`<<`) adds to it."""
    if not isinstance(said, Mapping):
        return {}
    added = said.get("<<")
    found: dict[str, Any] = {}
    for one in reversed(added if isinstance(added, list) else [added]):
        found |= _merged(one)
    return {**found, **{key: value for key, value in said.items() if key != "<<"}}


def is_plain(wdir: Any) -> bool:
    """Whether a `wdir` is there as it is, and is not made by DVC of variables."""
    return wdir is None or (isinstance(wdir, str) and "${" not in wdir)


def below(file: str, path: str, wdir: Any = None) -> str:
    """A path of a DVC file, relative to the root; DVC counts it from `wdir`, by default the file's folder.

    Raises:
        Refused: only DVC itself can tell what `wdir` is.
    """
    if not is_plain(wdir):
        raise Refused(f"{file}: gitreg cannot tell which folder `wdir: {wdir}` is", "write out the folder")
    return os.path.normpath(os.path.join(os.path.dirname(file), wdir or "", path))
