"""What a pull request does: the models it touches, checked; what changed; the plan that its merge applies.

The work grows with the change: a model is touched when a file that it reads changed (see `touched`), or when
a stage file's line on it changed. Only a change of registry.yaml touches all. What `check` refuses of what is
touched is refused here, too, by the same functions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import checker, demands, doors, gates, git, planner, rules, uncommitted
from gitreg.declared import RegistryFile
from gitreg.effects import Effects, ModelReview
from gitreg.errors import GitregError, NoSandbox, Outside, Problem, Refused
from gitreg.git import discovery, listing, refs
from gitreg.globs import Glob
from gitreg.layout import Layout
from gitreg.manifest import REGISTRY_FILE
from gitreg.outlook import Outlook
from gitreg.planner import Planned
from gitreg.reports import CheckReport
from gitreg.snapshot import Snapshot
from gitreg.touched import Touched, attributes

if TYPE_CHECKING:
    from gitreg.registry import Registry


@dataclass(frozen=True)
class PolicyReview:
    """What a stage asks of versions before and after, a line for each condition; None for no such stage."""

    stage: str
    before: list[str] | None
    after: list[str] | None


@dataclass
class Review:
    """A check of a change.

    Attributes:
        base: the commit that it starts from: where it left the branch it is to be merged into.
        commit: the last commit of the change.
        policies: what changes in registry.yaml's stages.
        build: what changes in its `build` of what models may see, a line each.
        uncommitted: files that were checked as they lie here, and are in no commit yet.
        planned: what the merge will record; None where the files are too broken for a plan.
    """

    base: str
    commit: str
    report: CheckReport
    models: list[ModelReview] = field(default_factory=list)
    policies: list[PolicyReview] = field(default_factory=list)
    build: list[str] = field(default_factory=list)
    uncommitted: list[str] = field(default_factory=list)
    planned: Planned | None = None


class Reviewer:
    """Reviews the files of a registry against a base.

    Args:
        committed: the work tree is as HEAD has it: nothing else is looked for.

    Raises:
        Refused: the base is no commit here, or shares no history.
    """

    def __init__(
        self, registry: Registry, base: str, committed: bool = False, outlook: Outlook | None = None
    ) -> None:
        self.registry, self.root = registry, registry.root
        glob = registry.file.models
        self.outlook = outlook or Outlook(self.root, not committed, glob)
        self.uncommitted: list[str] = []
        self._read_base(base)
        self.changed = git.changes(self.root, self.base, ())
        # Git looks at every file of the work tree, while the models that changed in any case are checked.
        self.pool = ThreadPoolExecutor(1)
        walk, changed = self.outlook.walk, set(self.changed)
        self.walk = self.pool.submit(uncommitted.find, self.root, glob, changed, walk) if walk else None
        self._touched = self._concerned()

    def _walked(self) -> None:
        """Take what is in no commit yet into what changed."""
        if self.walk is None:
            return
        self.uncommitted = self.walk.result()
        if self.uncommitted:
            self.changed = git.changes(self.root, self.base, self.uncommitted)
            self._touched = self._concerned()

    def _concerned(self) -> Touched:
        return Touched(self.registry, self.old, self.changed, self.outlook, self._attributes_above())

    def _attributes_above(self) -> bool:
        """Whether a .gitattributes above the registry's root is another than before."""
        folders = self.registry.prefix.split("/")[:-1]
        for depth, above in enumerate(reversed(self.root.parents[: len(folders)])):
            name = "".join(f"{folder}/" for folder in folders[:depth]) + ".gitattributes"
            before = self.old.reader.read(f"{self.base}:{name}")
            now = (above / ".gitattributes").read_bytes() if (above / ".gitattributes").is_file() else b""
            if attributes(before[1] if before else b"") != attributes(now):
                return True
        return False

    def touched(self) -> list[str]:
        """The manifests that the change concerns, sorted; those that it deletes included."""
        return self._touched.manifests()

    def _read_base(self, base: str) -> None:
        discovery.refuse_planted(self.root, folded=True)
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
        """Check what changed, and say what it does.

        A change cannot let its own models see more: they are passed the variables that the base names, too,
        and run in a sandbox if the base says so.
        """
        whole, sandboxed = self.registry.passed, self.registry.sandboxed
        here = self.registry.file.environment
        said = [name for name in here if name in self._base_file().environment]
        self.registry.passed = tuple(dict.fromkeys((*self.registry.pass_env, *said)))
        self.registry.sandboxed = sandboxed or (REGISTRY_FILE in self.changed and self._base_file().sandbox)
        try:
            return self._review(run, timeout, progress)
        finally:
            self.registry.passed, self.registry.sandboxed = whole, sandboxed

    def _review(self, run: bool, timeout: float | None, progress: Callable[[str], None] | None) -> Review:
        report = CheckReport(0)
        review = Review(self.base, self.commit, report)
        found: list[checker.Checked] = []
        try:
            self._examine(self._touched.nearest(), found, report, run, timeout, progress)
        finally:
            self._walked()
        touched = self.touched()
        self._examine(touched, found, report, run, timeout, progress)
        files = {one.file for one in found}
        report.models, review.uncommitted = len(files), self.uncommitted
        report.problems += demands.mistakes(self.root, self.registry.file.require)
        report.problems += rules.check_versions(self.registry, found)
        layout = Layout(self.registry, self.outlook.listing.submodules)
        report.problems += layout.changed(self.changed, found, self._touched.folders)
        report.problems += doors.mistakes(self.root, self._artifacts(found), doors.FILE in self.changed)
        stages = self.stages(report)
        names = {one.named.name for one in found if one.named}
        gone = {name: file for file in touched for name in self._was(file) if name not in names}
        report.problems += self._names_taken(found)
        report.problems += self._stays(found, gone)
        records = self.registry.records({*names, *stages, *gone})
        effects = Effects(self.registry, self.old, self.changed, records, stages)
        told = {(one.named.name, one.file) for one in found if one.named}
        told |= {(name, gone.get(name, "")) for name in {*gone, *stages} - names}
        review.models = [effects.of(*one) for one in sorted(told)]
        review.policies, review.build = self._policies(), self._build()
        self._plan(review, {*names, *stages, *gone})
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
        files = [file for file in touched if file not in done and os.path.lexists(self.root / file)]
        self._distrust(report)
        if files:
            seen = self.registry.visible_for(files)
            run = run and not self.distrusted
            kept = self.outlook.listing.submodules
            found += checker.examine(self.registry, files, report, run, timeout, progress, seen, kept)

    # What is touched ----------------------------------------------------------------------------

    def _artifacts(self, found: list[checker.Checked]) -> dict[str, str]:
        """model -> path of its artifact: of those that are touched, themselves or in dvc.yaml."""
        paths = {one.named.name: one.artifact for one in found if one.named and one.artifact}
        if doors.FILE not in self.changed:
            return paths
        names = doors.changed(self.old.read(doors.FILE) or b"", self.root) - {*paths}
        for file in self._naming(names):
            read = self.registry.read(file)
            manifest = read.manifest
            if manifest and manifest.name in names and manifest.artifact and manifest.artifact.path:
                paths[manifest.name] = manifest.artifact.path
        return paths

    def _naming(self, names: Collection[str]) -> list[str]:
        """The manifests that may say one of some names."""
        glob = self.registry.file.models
        return [f for f in listing.containing(self.root, glob, sorted(names)) if Glob(glob).match(f)]

    def _stays(self, found: list[checker.Checked], gone: Mapping[str, str]) -> list[Problem]:
        """Lines of stage files, as they lie here, that what is touched makes wrong."""
        if REGISTRY_FILE in self.changed:
            return rules.check_stays(self.registry, {one.named.name: one.file for one in found if one.named})
        own = {one.named.name: one.file for one in found if one.named} if self.uncommitted else {}
        problems = rules.check_stays(self.registry, own, {*own, *gone}) if own or gone else []
        stages = [file for file in self._stage_files() if file in self.uncommitted]
        if stages:
            every = {manifest.name: manifest.file for manifest in self.registry.manifests()}
            problems += [one for one in rules.check_stays(self.registry, every) if one.file in stages]
        return problems

    def _stage_files(self) -> list[str]:
        """The stage files that are there and changed, or that lie beside one of the same stage that did."""
        moved = "stages" in self.changed
        stems = {path.rpartition(".")[0] for path in self.changed if path.startswith("stages/")}
        return [file for file in checker.stage_files(self.root) if moved or file.rpartition(".")[0] in stems]

    def _was(self, file: str) -> list[str]:
        read = self.old.manifest(file)
        return [read.manifest.name] if read and read.manifest else []

    def _names_taken(self, found: list[checker.Checked]) -> list[Problem]:
        """Names that are new here and that another manifest has."""
        problems: list[Problem] = checker.check_names([one.named for one in found if one.named])
        new = [one for one in found if one.named and one.named.name not in self._was(one.file)]
        for one in new:
            assert one.named
            for file in self._naming([one.named.name]):
                if any(file == other.file for other in found):
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
        touched = [path for path in self.changed if path.startswith("stages/") or path == "stages"]
        if not touched:
            return changed
        for file in self._stage_files():
            report.problems += self.registry.stage_problems(file, file in self.uncommitted)
        for stage in self.registry.file.stages:
            here, broken = self.registry.stays_here(stage)
            # What a broken file would say is not known: that it says nothing is no change.
            if broken or not any(Path(path).stem == stage for path in touched):
                continue
            old = {s.model: s.version for s in self.old.stays_of(stage)[0]}
            new = {s.model: s.version for s in here}
            for model in sorted({*old, *new}):
                if old.get(model) != new.get(model):
                    changed.setdefault(model, {})[stage] = (old.get(model), new.get(model))
        return changed

    def _policies(self) -> list[PolicyReview]:
        """Stages of registry.yaml that come, go, or ask for something else."""
        if REGISTRY_FILE not in self.changed:
            return []
        try:
            old = self.old.file.stages
        except GitregError:  # there was none, or it was broken
            return []
        new = self.registry.file.stages
        said = {
            stage: [gates.describe(some[stage] or {}) if stage in some else None for some in (old, new)]
            for stage in {**new, **old}
        }
        return [PolicyReview(stage, *both) for stage, both in said.items() if both[0] != both[1]]

    def _base_file(self) -> RegistryFile:
        """registry.yaml of the base; an empty one where there was none, or it was broken."""
        try:
            return self.old.file
        except GitregError:
            return RegistryFile("")

    def _build(self) -> list[str]:
        """What models may see from the merge on, and may not any more."""
        if REGISTRY_FILE not in self.changed:
            return []
        old, new = self._base_file(), self.registry.file
        sees, saw = new.environment, old.environment
        lines = [f"models see the variable {name} from the merge on" for name in sees if name not in saw]
        lines += [f"models no longer see the variable {name}" for name in saw if name not in sees]
        if new.sandbox != old.sandbox:
            word = "run in a sandbox from the merge on" if new.sandbox else "no longer run in a sandbox"
            lines.append(f"models {word}")
        return lines

    def _plan(self, review: Review, models: set[str]) -> None:
        """The plan of the merge; what it refuses are problems of this change."""
        try:
            files = {one.file for one in review.models if one.file}
            files |= {f"models/{name}/model.yaml" for name in models}
            records = self.registry.records(models)
            with planner.Planner(self.registry, self.commit, records, models, files) as one:
                one.dirty = self.uncommitted
                planned = review.planned = one.planned(judge=not self.distrusted)
        except NoSandbox:
            raise
        except Outside as error:
            review.report.problems.append(Problem(REGISTRY_FILE, 0, 0, "", error.message, "warning"))
            return
        except GitregError as error:
            review.report.problems.append(Problem(REGISTRY_FILE, 0, 0, "", error.message))
            return
        fresh = {action.model: action.version for action in planned.actions if action.kind == "register"}
        for model in review.models:
            model.registers = fresh.get(model.name)
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
        "policies": [asdict(one) for one in review.policies],
        "build": review.build,
        "plan": planner.as_data(review.planned) if review.planned else None,
    }
