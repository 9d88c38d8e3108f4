"""What a change does to the outputs in dvc.lock files: which of them are others than before."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from gitreg.errors import Refused
from gitreg.git import objects
from gitreg.manifest import read_manifest
from gitreg.snapshot import Snapshot
from gitreg.store.pointers import Pointers

_NAMES = ("dvc.lock", "dvc.yaml")


class Locks:
    """The dvc.lock files whose outputs a change may have changed.

    Args:
        old: the files before.
        changed: paths.
    """

    def __init__(self, root: Path, old: Snapshot, changed: Iterable[str]) -> None:
        self.root = root
        folders = {p.rpartition("/")[0] for p in changed if p.rpartition("/")[2] in _NAMES}
        self._locks = sorted("/".join(filter(None, [folder, "dvc.lock"])) for folder in folders)
        self._now, self._then = Pointers(root), Pointers(Committed(old))

    @cached_property
    def _changes(self) -> dict[str, dict[str, set[str]]]:
        """lock -> stage that is not as it was -> its outputs, before and after."""
        found = {}
        for lock in self._locks:
            now, then = _stages(self._now, lock), _stages(self._then, lock)
            names = {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}
            if names:
                found[lock] = {name: {*now.get(name, {}), *then.get(name, {})} for name in names}
        return found

    @property
    def stages(self) -> dict[str, set[str]]:
        """folder, with a slash at its end -> the stages of its dvc.lock that are not as they were."""
        return {lock.removesuffix("dvc.lock"): set(stages) for lock, stages in self._changes.items()}

    @property
    def outputs(self) -> set[str]:
        """The outputs of these stages, relative to the root."""
        return {path for stages in self._changes.values() for paths in stages.values() for path in paths}

    def concern(self, file: str) -> bool:
        """Whether DVC says something else of a model's artifact than before."""
        if not self._changes:
            return False
        manifest = read_manifest(self.root, file).manifest
        if manifest is None or manifest.artifact is None:
            return False
        before, after = (_said(one, manifest.artifact, manifest.folder) for one in (self._then, self._now))
        return bool(before != after)


class Committed:
    """The files of a commit, for `Pointers`."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def has(self, file: str) -> bool:
        """See `pointers.Files`."""
        return self.snapshot.read(file) is not None

    def read(self, file: str) -> bytes | None:
        """See `pointers.Files`."""
        return self.snapshot.read(file)

    def names(self, folder: str) -> list[str]:
        """See `pointers.Files`."""
        place = f"{self.snapshot.prefix}{folder}/"
        found = objects.tree(self.snapshot.root, self.snapshot.commit, [f":(literal){place}"])
        return [path.removeprefix(place) for path in found if "/" not in path.removeprefix(place)]


def _stages(pointers: Pointers, lock: str) -> dict[str, dict[str, Any]]:
    """stage -> output -> what a dvc.lock says of it; none of one that cannot be read."""
    try:
        return pointers.outputs(lock)
    except Refused:
        return {}


def _said(pointers: Pointers, source: Any, folder: str) -> Any:
    try:
        return pointers.tracked(source, folder)
    except Refused as refused:
        return refused.message
