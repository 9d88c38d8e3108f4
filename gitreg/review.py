"""What a pull request does: the models it touches, checked; what changed; the plan that its merge applies.

The work grows with the change: a model is touched when a file below its folder changed, when its manifest
names something outside of its folder that changed, or when a stage file's line on it changed. Only a
change of registry.yaml touches all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import checker, demands, doors, git, planner, rules, uncommitted
from gitreg.compatibility import Change, compare
from gitreg.datafiles import flat
from gitreg.declared import Manifest
from gitreg.desired import WantedStay
from gitreg.errors import GitregError, Outside, Problem, Refused
from gitreg.git import refs
from gitreg.manifest import REGISTRY_FILE
from gitreg.planner import Planned
from gitreg.recorded import ModelRecord
from gitreg.reports import CheckReport
from gitreg.snapshot import Snapshot, pattern, stays_in

if TYPE_CHECKING:
    from gitreg.registry import Registry


@dataclass(frozen=True)
class Artifact:
    """An artifact as DVC tracks it; None where that is not known."""

    digest: str | None
    size: int | None


@dataclass
class ModelReview:
    """What a change does to one model.

    Attributes:
        file: its manifest.
        before, after: the versions that the manifest says; None where it is not there, or blank.
        status: "new", "changed", "removed", or "stages" when only its stages change.
        schema: what changes for callers.
        metrics: column ("before", "after" or a stage) -> name -> number.
        columns: what each column of the metrics stands for: the version.
        artifact: before and after.
        files: status letter and path of each changed file of the model.
        stages: stage -> version before and after, in the stage files.
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
    stages: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)


@dataclass
class Review:
    """A check of a change.

    Attributes:
        base: the commit that it starts from: where it left the branch it is to be merged into.
        commit: the last commit of the change.
        uncommitted: files that were checked as they lie here, and are in no commit yet.
        planned: what the merge will record; None where the files are too broken for a plan.
    """

    base: str
    commit: str
    report: CheckReport
    models: list[ModelReview] = field(default_factory=list)
    uncommitted: list[str] = field(default_factory=list)
    planned: Planned | None = None


class Reviewer:
    """Reviews the files of a registry against a base.

    Args:
        committed: the work tree is as HEAD has it: nothing else is looked for.

    Raises:
        Refused: the base is no commit here, or shares no history.
    """

    def __init__(self, registry: Registry, base: str, committed: bool = False) -> None:
        self.registry, self.root = registry, registry.root
        self.uncommitted: list[str] = []
        self.pattern = pattern(registry.file.models)
        self._read_base(base)
        self.changed = git.changes(self.root, self.base, ())
        # Git looks at every file of the work tree, while the models that changed in any case are checked.
        self.pool = ThreadPoolExecutor(1)
        glob, changed = registry.file.models, set(self.changed)
        find = partial(uncommitted.find, self.root, glob, self.commit, changed)
        self.walk = self.pool.submit(find) if not committed else None

    def _walked(self) -> None:
        """Take what is in no commit yet into what changed."""
        if self.walk is None:
            return
        self.uncommitted = self.walk.result()
        if self.uncommitted:
            self.changed = git.changes(self.root, self.base, self.uncommitted)

    def _read_base(self, base: str) -> None:
        self.commit = self.registry.commit("HEAD")
        tip = self.registry.commit(base)
        found = refs.merge_base(self.root, tip, self.commit)
        if found is None:
            hint = "git fetch --unshallow" if refs.is_shallow(self.root) else "git log --graph --oneline"
            raise Refused(f"{base} and HEAD have no commit in common here", hint)
        self.base = found
        self.old: Snapshot = self.registry.snapshot(found)
        self.new: Snapshot = self.registry.snapshot(self.commit)

    def review(
        self, run: bool, timeout: float | None, progress: Callable[[str], None] | None = None
    ) -> Review:
        """Check what changed, and say what it does."""
        report = CheckReport(0)
        review = Review(self.base, self.commit, report)
        found: list[checker.Checked] = []
        try:
            self._examine(self.touched(), found, report, run, timeout, progress)
        finally:
            self._walked()
        touched = self.touched()
        self._examine(touched, found, report, run, timeout, progress)
        files = {one.file for one in found}
        report.models, review.uncommitted = len(files), self.uncommitted
        report.problems += demands.mistakes(self.root, self.registry.file.require)
        report.problems += rules.check_versions(self.registry, found)
        paths = {one.named.name: one.artifact for one in found if one.named and one.content and one.artifact}
        report.problems += doors.mistakes(self.root, paths)
        stages = self.stages(report)
        names = {one.named.name for one in found if one.named}
        gone = {name: file for file in touched if file not in files for name in self._was(file)}
        report.problems += self._names_taken(found)
        records = self.registry.records({*names, *stages, *gone})
        for one in found:
            if one.named:
                review.models.append(self._model(one.named.name, one.file, records, stages))
        for name in sorted({*gone, *stages} - names):
            review.models.append(self._model(name, gone.get(name, ""), records, stages))
        self._plan(review, names | set(stages))
        report.problems = checker.sorted_problems(report.problems)
        return review

    def _examine(
        self,
        touched: Iterable[str],
        found: list[checker.Checked],
        report: CheckReport,
        run: bool,
        timeout: float | None,
        progress: Callable[[str], None] | None,
    ) -> None:
        """Check the manifests that are there and were not yet."""
        done = {one.file for one in found}
        files = [file for file in touched if file not in done and (self.root / file).is_file()]
        self._distrust(report)
        if files:
            seen = self.registry.visible_for(files)
            run = run and not self.distrusted
            found += checker.examine(self.registry, files, report, run, timeout, progress, seen)

    # What is touched ----------------------------------------------------------------------------

    def touched(self) -> list[str]:
        """The manifests that a change concerns, sorted; those that it deletes included."""
        if REGISTRY_FILE in self.changed:
            return sorted({*self.registry.files, *(p for p in self.changed if self.pattern.match(p))})
        found: set[str] = set()
        outside: list[str] = []
        for path in self.changed:
            owners = [path] if self.pattern.match(path) else self._above(path)
            found.update(owners)
            if not owners and not path.startswith("stages/"):
                outside.append(path)
        if outside:
            found.update(self._dependents(outside, found))
        return sorted(found)

    def _above(self, path: str) -> list[str]:
        """Manifests in the folders above a file, here or at the base."""
        parts = path.split("/")[:-1]
        for depth in range(len(parts), -1, -1):
            folder = "/".join(parts[:depth])
            place = self.root / folder
            names = [entry.name for entry in place.iterdir() if entry.is_file()] if place.is_dir() else []
            inside = [f"{folder}/{name}".lstrip("/") for name in names]
            if manifests := [file for file in inside if self.pattern.match(file)]:
                return manifests
        return [
            p for p in self.changed if self.pattern.match(p) and path.startswith(p.rpartition("/")[0] + "/")
        ]

    def _dependents(self, outside: list[str], known: set[str]) -> Iterable[str]:
        """Manifests that reach out of their own folder to a file that changed."""
        for file in git.containing(self.root, r"^[^#]*\.\.(/|[^.a-z]|$)", "^[^#]*stage"):
            if not self.pattern.match(file) or file in known:
                continue
            gathered = self.registry.gather(file, build=False, visible=self.registry.visible)
            inputs = {Path(p) for p in gathered.inputs}
            paths = {self.root / path for path in outside}
            if paths & inputs or any(p in inputs for path in paths for p in path.parents if p != self.root):
                yield file

    def _was(self, file: str) -> list[str]:
        read = self.old.manifest(file)
        return [read.manifest.name] if read and read.manifest else []

    def _names_taken(self, found: list[checker.Checked]) -> list[Problem]:
        """Names that are new here and that another manifest has."""
        problems: list[Problem] = checker.check_names([one.named for one in found if one.named])
        new = [one for one in found if one.named and one.named.name not in self._was(one.file)]
        for one in new:
            assert one.named
            for file in git.containing(self.root, one.named.name):
                if not self.pattern.match(file) or any(file == other.file for other in found):
                    continue
                read = self.registry.read(file)
                if read.named and read.named.name.casefold() == one.named.name.casefold():
                    problems += checker.check_names([read.named, one.named])
        return problems

    @property
    def distrusted(self) -> list[str]:
        """Changed files that say where artifacts come from."""
        return [p for p in self.changed if p.startswith(".dvc/config") or p == ".dvc"]

    def _distrust(self, report: CheckReport) -> None:
        """A change of where artifacts come from is for people to judge: nothing is fetched on its word."""
        message = "changes where artifacts come from: none is fetched, no model run and no gate judged here"
        report.problems += [Problem(path, 0, 0, "", message, "warning") for path in self.distrusted]

    # What it does -------------------------------------------------------------------------------

    def stages(self, report: CheckReport) -> dict[str, dict[str, tuple[str | None, str | None]]]:
        """model -> stage -> version before and after, for the lines of stage files that change."""
        changed: dict[str, dict[str, tuple[str | None, str | None]]] = {}
        touched = [path for path in self.changed if path.startswith("stages/")]
        if not touched:
            return changed
        for file in touched:
            if (self.root / file).is_file():
                report.problems += self.registry.stage_problems(file, file in self.uncommitted)
        for stage in self.registry.file.stages:
            if not any(Path(path).stem == stage for path in touched):
                continue
            old = {s.model: s.version for s in self.old.stays_of(stage)[0]}
            new = {s.model: s.version for s in self._stays_here(stage)}
            for model in sorted({*old, *new}):
                if old.get(model) != new.get(model):
                    changed.setdefault(model, {})[stage] = (old.get(model), new.get(model))
        return changed

    def _stays_here(self, stage: str) -> list[WantedStay]:
        """The lines of a stage's file as it lies here."""
        for file in (f"stages/{stage}.yaml", f"stages/{stage}.yml"):
            if (self.root / file).is_file():
                return stays_in((self.root / file).read_bytes(), file, stage)[0]
        return []

    def _model(
        self,
        name: str,
        file: str,
        records: Mapping[str, ModelRecord],
        stages: Mapping[str, dict[str, tuple[str | None, str | None]]],
    ) -> ModelReview:
        read = self.registry.read(file) if file and (self.root / file).is_file() else None
        now = read.manifest if read else None
        then = self.old.manifest_named(name, [file]) if file else None
        status = "changed" if now and then else "new" if now else "removed" if then else "stages"
        review = ModelReview(name, file, status, stages=stages.get(name, {}))
        review.before, review.after = then.version if then else None, now.version if now else None
        review.schema = compare(then.schema, now.schema) if then and now else []
        folder = file.rpartition("/")[0]
        review.files = [
            (s, p) for p, s in sorted(self.changed.items()) if folder and p.startswith(f"{folder}/")
        ]
        review.artifact = (self._artifact(then, self.old), self._artifact(now, self.new))
        self._metrics(review, now, then, records.get(name, ModelRecord(name)))
        return review

    def _artifact(self, manifest: Manifest | None, snapshot: Snapshot) -> Artifact:
        if manifest is None or manifest.artifact is None or manifest.artifact.path is None:
            return Artifact(None, None)
        return Artifact(*snapshot.tracked(manifest.artifact.path))

    def _metrics(
        self, review: ModelReview, now: Manifest | None, then: Manifest | None, known: ModelRecord
    ) -> None:
        """Metrics now, before, and of the version in each stage."""
        if now is not None:
            said = self.registry.values(now.metrics)
            review.metrics["after"], review.columns["after"] = flat(said), review.after or "next"
        if then is not None:
            review.metrics["before"] = flat(self.old.values(then.metrics))
            review.columns["before"] = review.before or "before"
        for stage, version in known.stages.items():
            there = planner.manifest_of(self.registry, known, known.versions[version])
            if there is not None:
                snapshot = self.registry.snapshot(known.versions[version].tag.commit)
                review.metrics[stage], review.columns[stage] = flat(snapshot.values(there.metrics)), version

    def _plan(self, review: Review, models: set[str]) -> None:
        """The plan of the merge; what it refuses are problems of this change."""
        try:
            files = {one.file for one in review.models if one.file}
            files |= {f"models/{name}/model.yaml" for name in models}
            records = self.registry.records(models)
            with planner.Planner(self.registry, self.commit, records, models, files) as one:
                one.dirty = self.uncommitted
                planned = review.planned = one.planned(judge=not self.distrusted)
        except Outside as error:
            review.report.problems.append(Problem(REGISTRY_FILE, 0, 0, "", error.message, "warning"))
            return
        except GitregError as error:
            review.report.problems.append(Problem(REGISTRY_FILE, 0, 0, "", error.message))
            return
        places = {(s.stage, s.model): s for s in planned.desired.stays}
        told = {(p.file, p.line, p.path) for p in review.report.problems}
        new = [p for p in planned.problems if (p.file, p.line, p.path) not in told]
        for action, verdict in planned.refused:
            stay = places[action.stage, action.model]
            message = planner.refusal(action, verdict)
            new.append(Problem(stay.file, stay.line, stay.column, action.model, message))
        review.report.problems += new


def as_data(review: Review) -> dict[str, Any]:
    """A review as plain data with stable keys."""
    from dataclasses import asdict

    return {
        "base": review.base,
        "commit": review.commit,
        "changes": [asdict(one) for one in review.models],
        "plan": planner.as_data(review.planned) if review.planned else None,
    }
