"""What DVC's files say of an artifact: `.dvc` files and `dvc.lock`, plain YAML, read without DVC."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitreg.declared import ArtifactSource
from gitreg.documents import parse
from gitreg.errors import Refused

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
    """

    path: str
    by: str
    md5: str
    size: int | None
    remote: str | None = None

    @property
    def name(self) -> str | None:
        """The file's own name; None for a folder."""
        return None if self.md5.endswith(".dir") else self.path.rpartition("/")[2]


class Pointers:
    """DVC's files of one registry.

    Args:
        root: the registry's root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def tracked(self, source: ArtifactSource, folder: str) -> Tracked:
        """Find what DVC says of an artifact.

        Args:
            source: the manifest's `artifact`.
            folder: the manifest's folder, relative to the root.

        Raises:
            Refused: DVC does not track it, or its file is broken.
            NotImplementedError: the source is not a local path or stage.
        """
        if source.stage:
            return self._stage(source.stage, folder, source.path)
        if source.path is None:
            raise Refused("only artifacts at a path or from a dvc.yaml stage can be built yet")
        beside = f"{source.path}.dvc"
        if os.path.isfile(self.root / beside):
            return self._from_outs(beside, self._read(beside).get("outs"), source.path)
        for lock in self._locks(folder):
            for stage in _mappings(self._read(lock).get("stages", {})):
                for out in stage.get("outs") or ():
                    if _below(lock, str(out.get("path"))) == source.path:
                        return self._entry(lock, out, source.path)
        raise Refused(f"'{source.path}' is not tracked by DVC", f"dvc add {source.path}")

    def _stage(self, name: str, folder: str, path: str | None) -> Tracked:
        for lock in self._locks(folder):
            stage = (self._read(lock).get("stages") or {}).get(name)
            if isinstance(stage, Mapping):
                outs = [
                    o for o in stage.get("outs") or () if path in (None, _below(lock, str(o.get("path"))))
                ]
                if len(outs) != 1:
                    said = ", ".join(str(o.get("path")) for o in outs) or "none"
                    raise Refused(
                        f"{lock}: the stage '{name}' has {len(outs)} fitting outputs ({said}), not one"
                    )
                return self._entry(lock, outs[0], _below(lock, str(outs[0].get("path"))))
        raise Refused(
            f"no dvc.lock at or above '{folder or '.'}' has the stage '{name}'", "dvc repro, then dvc push"
        )

    def _locks(self, folder: str) -> list[str]:
        parts = folder.split("/") if folder else []
        candidates = ["/".join([*parts[:n], "dvc.lock"]) for n in range(len(parts), -1, -1)]
        return [lock for lock in candidates if os.path.isfile(self.root / lock)]

    def _read(self, file: str) -> Mapping[str, Any]:
        document, problems = parse((self.root / file).read_bytes(), file, _MAX_LOCK)
        if problems:
            raise Refused(str(problems[0]))
        if not isinstance(document.data, Mapping):
            raise Refused(f"{file}: not a DVC file")
        return document.data

    def _from_outs(self, file: str, outs: Any, path: str) -> Tracked:
        for out in outs if isinstance(outs, list) else ():
            if isinstance(out, Mapping) and _below(file, str(out.get("path"))) == path:
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


def _below(file: str, path: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(file), path))


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value.values() if isinstance(v, Mapping)] if isinstance(value, Mapping) else []
