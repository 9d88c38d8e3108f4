"""Reads what the files of a commit say and what the tags record; makes the plan and has its gates judged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from gitreg import gates, neighbours, plan
from gitreg.declared import Manifest
from gitreg.desired import Action, Desired, WantedModel, WantedStay
from gitreg.errors import InvalidFiles, Problem, Refused
from gitreg.gather import Content, Gathered, content_of
from gitreg.git import refs
from gitreg.globs import Glob
from gitreg.names import TagName, did_you_mean
from gitreg.recorded import ModelRecord, Version
from gitreg.records import Records
from gitreg.snapshot import Manifested, unknown_model

if TYPE_CHECKING:
    from gitreg.registry import Registry


@dataclass
class Planned:
    """A plan with all that is known around it.

    Attributes:
        commit: whose files say what should be.
        verdicts: what the gates say of each assignment.
        contents: model -> what the version is that is to be registered.
        behind: why not all is done: a newer commit's own run does it.
        late: registrations that came too late, each with a version of a later commit that is registered.
        earlier: what was done of the commit before.
    """

    commit: str
    desired: Desired
    recorded: Mapping[str, ModelRecord]
    actions: list[Action] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    verdicts: dict[Action, list[gates.Verdict]] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    behind: str = ""
    late: list[tuple[Action, str]] = field(default_factory=list)
    earlier: Planned | None = None

    @property
    def refused(self) -> list[tuple[Action, gates.Verdict]]:
        """The gates that did not pass."""
        return [(action, v) for action, found in self.verdicts.items() for v in found if not v.passed]

    @property
    def ok(self) -> bool:
        """Whether it could be applied."""
        return not self.problems and not self.refused


class Planner:
    """Plans for one commit.

    Args:
        commit: a full id.
        models: plan for these alone; None for all.
        files: the manifests of these models, where they are known: no others are read then.
    """

    def __init__(
        self,
        registry: Registry,
        commit: str,
        recorded: Mapping[str, ModelRecord],
        models: Collection[str] | None = None,
        files: Collection[str] | None = None,
    ) -> None:
        self.registry, self.commit, self.recorded = registry, commit, recorded
        self.models, self.files = models, files
        self.snapshot = registry.snapshot(commit)
        self.open = ExitStack()
        self._at: dict[str, Registry] = {}
        self.dirty: list[str] | None = None  # files that are not as HEAD has them, where that is known

    def __enter__(self) -> Planner:
        return self

    def __exit__(self, *_: object) -> None:
        self.open.close()

    def planned(self, now: datetime | None = None, judge: bool = True) -> Planned:
        """The plan, with the content of what is registered and the verdicts on what is promoted.

        Args:
            now: for soak times.
            judge: whether gates are asked.
        """
        desired, problems = self.desired()
        self._expect(desired)
        models = self.models
        if isinstance(self.recorded, Records):
            models = plan.unsettled(desired, self.recorded.standings, models)
            self.recorded.read(models)
        made = plan.make(desired, self.recorded, models)
        made.problems += self._in_the_way(made.actions, desired)
        whole = Planned(self.commit, desired, self.recorded, made.actions, problems + made.problems)
        for action in whole.actions:
            if action.kind == "register":
                self.content(action, whole)
        for action in whole.actions if judge and not whole.problems else ():
            if action.kind == "assign":
                found = self.verdicts(action, now or datetime.now(timezone.utc))
                if found:
                    whole.verdicts[action] = found
        return whole

    def _expect(self, desired: Desired) -> None:
        """Refuse to plan for a model that there is not, rather than find nothing to do."""
        known = desired.models.keys() | {stay.model for stay in desired.stays}
        for name in sorted(set(self.models or ()) - known) if self.files is None else ():
            one = self.recorded.get(name)
            if one is not None and (one.tags or one.taken):
                continue
            names = self.snapshot.named()[0]
            if name not in names:  # with a problem of its own, which is told
                raise unknown_model(name, names)

    def desired(self) -> tuple[Desired, list[Problem]]:
        """What the commit's files say, blank versions filled in."""
        named, problems = self.snapshot.named(self.files)
        wanted: dict[str, WantedModel] = {}
        for name, said in named.items():
            if self.models is not None and name not in self.models:
                continue
            version = said.version
            if version is None:
                try:
                    version = self.next(said)
                except InvalidFiles as invalid:
                    problems += invalid.problems
                    continue
            wanted[name] = WantedModel(name, version, said.file, *said.place)
        stays, wrong = self.snapshot.stays(self.models)
        stages = tuple(self.snapshot.file.stages)
        known = wanted.keys() | self.recorded.keys()
        lost = self.files is not None and any(stay.model not in known for stay in stays)
        names = tuple(self.snapshot.named()[0]) if lost else ()
        scheme = self.snapshot.file.scheme
        misplaced = self.snapshot.misplaced(self.files is None)
        told = {problem.file for problem in misplaced}
        wrong = misplaced + [problem for problem in wrong if problem.file not in told]
        # What a broken file would have said is not known: that it says nothing is no plan to empty its stage.
        broken = {problem.file for problem in wrong}
        read = tuple(s for s in stages if not {"stages", f"stages/{s}.yaml", f"stages/{s}.yml"} & broken)
        prefix = self.snapshot.file.prefix
        desired = Desired(self.commit, wanted, read, self._latest(stays, wanted), scheme, names, prefix)
        return desired, problems + wrong + self._unknown_files(stages) + self._clash()

    def _in_the_way(self, actions: Iterable[Action], desired: Desired) -> Iterator[Problem]:
        """Tags that keep Git from having those of new versions: `apply` would fail as a whole."""
        fresh = {
            str(TagName(a.model, "register", a.version, prefix=desired.prefix)): desired.models[a.model]
            for a in actions
            if a.kind == "register"
        }
        for tag, other in refs.blocking(self.registry.tags_of, list(fresh)).items() if fresh else ():
            model = fresh[tag]
            yield Problem(model.file, model.line, model.column, "version", plan.in_the_way(tag, other))

    def _clash(self) -> list[Problem]:
        """Another registry in this repository whose tags could be taken for those of this one."""
        file = self.snapshot.file
        own, root = self.snapshot.prefix.removesuffix("/"), self.snapshot.root
        found = neighbours.tracked(root, own, file.ignore, self.registry.bare)
        if file.prefix:
            found = neighbours.twins(own, found)
        problem = neighbours.clash(own, file.prefix, neighbours.at(root, self.commit, found))
        return [problem] if problem else []

    def _latest(self, stays: list[WantedStay], wanted: Mapping[str, WantedModel]) -> tuple[WantedStay, ...]:
        """`latest` in a stage file is the version that the manifest says."""
        return tuple(
            WantedStay(s.stage, s.model, wanted[s.model].version, s.file, s.line, s.column)
            if s.version == "latest" and s.model in wanted
            else s
            for s in stays
        )

    def _unknown_files(self, stages: Collection[str]) -> list[Problem]:
        """Stage files of no stage: a typing mistake would leave what they say undone."""
        found = []
        for path in self.snapshot.stage_files:
            stage, dot, ending = path.removeprefix("stages/").rpartition(".")
            if dot and "/" not in stage and ending in ("yaml", "yml") and stage not in stages:
                guess = did_you_mean(stage, stages)
                found.append(Problem(path, 0, 0, "", f"registry.yaml has no stage '{stage}'{guess}"))
        return found

    # Versions -----------------------------------------------------------------------------------

    def next(self, said: Manifested) -> str:
        """The version of a manifest that leaves it blank: the last one if its content is the same.

        Raises:
            InvalidFiles: the manifest, or what it names, has problems.
        """
        return self.at(self.commit).version_of(self.gathered(said.file))[0]

    # Content ------------------------------------------------------------------------------------

    def content(self, action: Action, whole: Planned) -> None:
        """Take what a new version is into the plan."""
        model = whole.desired.models[action.model]
        try:
            whole.contents[action.model] = content_of(self.gathered(model.file))
        except InvalidFiles as invalid:
            whole.problems += invalid.problems

    def gathered(self, file: str) -> Gathered:
        """A model as the planned commit has it.

        Raises:
            InvalidFiles: it has problems.
        """
        there = self.at(self.commit)
        visible = there.visible if self.files is None else there.visible_for([file])
        gathered = there.gather(file, build=False, visible=visible)
        if gathered.errors or gathered.manifest is None:
            raise InvalidFiles(gathered.errors, "gitreg check")
        return gathered

    def at(self, commit: str) -> Registry:
        """The registry as a commit has it, on disk."""
        if commit not in self._at:
            within = ["."]
            if self.files is not None and commit == self.commit:
                within = self.registry.folders_of(self.files)
            self._at[commit] = self.open.enter_context(self.registry.at(commit, within, self.dirty))
        return self._at[commit]

    # Gates --------------------------------------------------------------------------------------

    def verdicts(self, action: Action, now: datetime) -> list[gates.Verdict]:
        """What the gates of a stage say of an assignment."""
        policy = self.snapshot.file.stages.get(action.stage) or {}
        if not policy.get("from") and not policy.get("gates"):
            return []
        known = self.recorded.get(action.model, ModelRecord(action.model))
        promotion = gates.Promotion(
            stage=action.stage,
            now=now,
            candidate=self.candidate(action.model, action.version, action.commit, policy),
            incumbent=self.candidate(action.model, action.instead, "", policy) if action.instead else None,
            returning=known.was_in(action.stage, action.version),
            stays=tuple(
                gates.Stay(stay.stage, stay.tag.when, stay.until.when if stay.until else None)
                for stay in known.stays
                if stay.version == action.version
            ),
            sources=tuple(policy.get("from", ())),
        )
        return gates.judge(policy, promotion)

    def candidate(self, model: str, version: str, commit: str, policy: Mapping[str, Any]) -> gates.Candidate:
        """A version as gates see it."""
        known = self.recorded.get(model, ModelRecord(model))
        recorded = known.versions.get(version)
        if recorded:
            manifest = manifest_of(self.registry, known, recorded)
            commit = recorded.tag.commit
        else:
            manifest = self.snapshot.manifest_named(model, [f"models/{model}/model.yaml"])
        if manifest is None:
            raise Refused(
                f"{model}@{version}: its manifest at {commit[:12]} cannot be read, so no gate can pass",
                f"git show {commit[:12]}",
            )
        snapshot = self.registry.snapshot(commit)
        asks = {key for gate in policy.get("gates", ()) for key in gate}
        return gates.Candidate(
            model,
            version,
            snapshot.values(manifest.metrics),
            manifest.schema,
            self.format(commit, manifest.file) if "format" in asks else None,
            lambda: self.samples(commit, manifest.file),
        )

    def format(self, commit: str, file: str) -> str | None:
        """The serialization format of a version's artifact, by its content; None when it is not known."""
        from gitreg.formats import UNKNOWN

        found = self.at(commit).workbench.format_of(file)
        return found.key if found is not UNKNOWN else None

    def samples(self, commit: str, file: str) -> str | None:
        """Load a version and ask it its samples; None when all pass, else why not."""
        try:
            problems = self.at(commit).workbench.run_samples(file, None)
        except InvalidFiles as invalid:
            return str(invalid.problems[0])
        wrong = [p for p in problems if p.level == "error"]
        return wrong[0].message.splitlines()[0] if wrong else None


def manifest_of(registry: Registry, known: ModelRecord, version: Version) -> Manifest | None:
    """The manifest of a registered version, from its own commit."""
    said = registry.trailers(version.tag).get("Gitreg-Manifest")
    wanted = Glob(registry.file.models)  # a tag made by hand may name any file
    guesses = [file for file in (said, f"models/{known.name}/model.yaml") if file and wanted.match(file)]
    return registry.snapshot(version.tag.commit).manifest_named(known.name, guesses)


def refusals(planned: Planned) -> Iterator[str]:
    """Why a plan cannot be applied, a line for each reason."""
    yield from map(str, planned.problems)
    yield from (refusal(*one) for one in planned.refused)


def refusal(action: Action, verdict: gates.Verdict) -> str:
    """Why a version may not enter a stage."""
    what = f"{action.model}@{action.version} may not enter {action.stage}"
    return f"{what}: {verdict.gate}: {verdict.text}"


def refuse(planned: Planned) -> None:
    """Raise what keeps a plan from being applied.

    Raises:
        InvalidFiles: the files have problems.
        Refused: a gate did not pass.
    """
    if planned.problems:
        raise InvalidFiles(planned.problems, "gitreg check")
    if planned.refused:
        raise Refused(refusals(planned), "registry.yaml has the gates of each stage")


def as_data(planned: Planned) -> dict[str, Any]:
    """A plan as plain data with stable keys."""
    return {
        "commit": planned.commit,
        "ok": planned.ok,
        "behind": planned.behind or None,
        "late": [{"model": a.model, "version": a.version, "later": later} for a, later in planned.late],
        "earlier": as_data(planned.earlier) if planned.earlier else None,
        "actions": [
            {
                "kind": a.kind,
                "model": a.model,
                "version": a.version,
                "stage": a.stage or None,
                "instead": a.instead or None,
                "commit": a.commit,
                "gates": [asdict(v) for v in planned.verdicts.get(a, ())],
            }
            for a in planned.actions
        ],
        "problems": [asdict(p) for p in planned.problems],
    }
