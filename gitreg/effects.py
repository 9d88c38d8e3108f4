"""What a change does to one model: version, schema, artifact, files, metrics, stages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitreg import planner
from gitreg.compatibility import Change, compare
from gitreg.datafiles import flat
from gitreg.declared import Manifest
from gitreg.errors import Refused
from gitreg.locked import Committed
from gitreg.recorded import ModelRecord
from gitreg.snapshot import Snapshot
from gitreg.store.pointers import Files, OnDisk, Pointers

if TYPE_CHECKING:
    from gitreg.registry import Registry

# stage -> the versions before and after
Moves = Mapping[str, "tuple[str | None, str | None]"]


@dataclass(frozen=True)
class Artifact:
    """An artifact by its hash, or an image by its name; None where that is not known."""

    digest: str | None
    size: int | None


@dataclass
class ModelReview:
    """What a change does to one model.

    Attributes:
        file: its manifest.
        before, after: the versions that the manifest says; None where it is not there, or blank.
        status: "new", "changed", "removed", "invalid" when the manifest is there and cannot be read, or
            "stages" when only its stages change.
        schema: what changes for callers.
        metrics: column ("before", "after" or a stage) -> name -> number.
        columns: what each column of the metrics stands for: the version.
        artifact: before and after.
        files: status letter and path of each changed file of the model.
        stages: stage -> version before and after, in the stage files.
        registers: the version that the merge registers; None for none.
    """

    name: str
    file: str
    status: str = "changed"
    before: str | None = None
    after: str | None = None
    schema: list[Change] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    artifact: tuple[Artifact, Artifact] = (Artifact(None, None), Artifact(None, None))
    files: list[tuple[str, str]] = field(default_factory=list)
    stages: Moves = field(default_factory=dict)
    registers: str | None = None

    @property
    def same(self) -> bool:
        """Whether it was only looked at: nothing of it changes."""
        moved = self.schema or self.files or self.stages or self.registers or self.before != self.after
        measured = self.metrics.get("before") != self.metrics.get("after")
        return self.status == "changed" and not moved and not measured and len(set(self.artifact)) == 1


class Effects:
    """Says what a change does to models, one by one.

    Args:
        old: the files before.
        changed: path -> Git's status letter.
        stages: model -> what changes in its stages.
    """

    def __init__(
        self,
        registry: Registry,
        old: Snapshot,
        changed: Mapping[str, str],
        records: Mapping[str, ModelRecord],
        stages: Mapping[str, Moves],
    ) -> None:
        self.registry, self.root, self.old = registry, registry.root, old
        self.changed, self.records, self.stages = changed, records, stages

    def of(self, name: str, file: str) -> ModelReview:
        """What it does to a model.

        Args:
            file: its manifest; empty where it has none.
        """
        there = bool(file) and os.path.lexists(self.root / file)
        read = self.registry.read(file) if there else None
        now = read.manifest if read else None
        then = self.old.manifest_named(name, [file]) if file else None
        review = ModelReview(name, file, stages=self.stages.get(name, {}))
        if now is None:
            review.status = "invalid" if there else "removed" if then else "stages"
        elif then is None:
            review.status = "new"
        review.before, review.after = then.version if then else None, now.version if now else None
        review.schema = compare(then.schema, now.schema) if then and now else []
        folder = file.rpartition("/")[0]
        review.files = [
            (s, p) for p, s in sorted(self.changed.items()) if folder and p.startswith(f"{folder}/")
        ]
        review.artifact = (self._artifact(then, Committed(self.old)), self._artifact(now, OnDisk(self.root)))
        self._metrics(review, now, then, self.records.get(name, ModelRecord(name)))
        return review

    def _artifact(self, manifest: Manifest | None, files: Files) -> Artifact:
        if manifest is None or manifest.artifact is None:
            return Artifact(manifest.image if manifest else None, None)
        try:
            tracked = Pointers(files).tracked(manifest.artifact, manifest.folder)
        except Refused:  # `check` tells why
            return Artifact(None, None)
        return Artifact(tracked.md5, tracked.size)

    def _metrics(
        self, review: ModelReview, now: Manifest | None, then: Manifest | None, known: ModelRecord
    ) -> None:
        """Metrics now, before, and of the version in each stage, in the order of registry.yaml's stages."""
        if now is not None:
            said = self.registry.values(now.metrics)
            review.metrics["after"], review.columns["after"] = flat(said), review.after or "next"
        if then is not None:
            review.metrics["before"] = flat(self.old.values(then.metrics))
            review.columns["before"] = review.before or "before"
        for stage in sorted(known.stages, key=[*self.registry.file.stages, *known.stages].index):
            version = known.stages[stage]
            there = planner.manifest_of(self.registry, known, known.versions[version])
            if there is not None:
                snapshot = self.registry.snapshot(known.versions[version].tag.commit)
                review.metrics[stage], review.columns[stage] = flat(snapshot.values(there.metrics)), version
