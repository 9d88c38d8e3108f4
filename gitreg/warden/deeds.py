"""What a registry tag does, held against what is recorded and what the files say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from gitreg import gates
from gitreg.declared import RegistryFile
from gitreg.errors import Refused
from gitreg.names import did_you_mean
from gitreg.recorded import ModelRecord, Tag, Version
from gitreg.snapshot import Snapshot
from gitreg.versions import RULES, is_valid, order
from gitreg.warden.view import View

# What is wrong, and what to do instead.
Wrong = Iterator[tuple[str, "str | None"]]
_NEEDS_MORE = ("samples", "format")  # than Git's objects: a run, or the artifact


@dataclass(frozen=True)
class Case:
    """One tag, and what there is around it.

    Attributes:
        before: what is recorded without the push.
        known: with those tags of the push that come before this one, which are `earlier`.
        later: the tags that come after this one.
    """

    tag: Tag
    before: ModelRecord
    known: ModelRecord
    earlier: Sequence[Tag]
    later: Sequence[Tag]

    @property
    def version(self) -> Version | None:
        """The version that its commit is that of."""
        return _at(self.known, self.tag.commit)

    @property
    def settled(self) -> bool:
        """Whether a later tag has the last word, so that stage files need not agree with this one."""
        for one in (one for one in self.later if one.says.stage == self.tag.says.stage):
            assigns, same = one.says.kind == "assign", one.commit == self.tag.commit
            if (assigns or same) if self.tag.says.kind == "assign" else (assigns and same):
                return True
        return False

    @property
    def instead(self) -> str | None:
        """The version in the stage: what this push merely takes out still counts, as it does in a plan."""
        stage = self.tag.says.stage or ""
        said = self.before.stages.get(stage)
        for one in self.earlier:
            there = _at(self.known, one.commit)
            if one.says.kind == "assign" and one.says.stage == stage and there:
                said = there.version
        return said


def _at(known: ModelRecord, commit: str) -> Version | None:
    """As in `history`: the version that was registered first at a commit."""
    return next((one for one in known.versions.values() if one.tag.commit == commit), None)


def moment(time: int) -> str:
    """`2026-11-28 10:00:05 UTC`; of a time that no calendar has, its number."""
    try:
        return f"{datetime.fromtimestamp(time, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return f"second {time}"


class Deeds:
    """Judges what tags do by one commit's registry.yaml and stage files.

    Args:
        tip: the commit; None where the branch has none.
        now: seconds since 1970.
    """

    def __init__(self, view: View, branch: str, tip: str | None, now: int) -> None:
        self.view, self.branch, self.tip, self.now = view, branch, tip, now

    @cached_property
    def snapshot(self) -> Snapshot:
        """The files that count.

        Raises:
            Refused: the branch has no commit.
        """
        if self.tip is None:
            hint = f"push {self.branch} first; the HEAD of the server's repository names that branch"
            raise Refused(f"there is no branch {self.branch}", hint)
        return self.view.snapshot(self.tip)

    @cached_property
    def policy(self) -> RegistryFile:
        """registry.yaml.

        Raises:
            Refused: there is none, or it is broken.
        """
        return self.snapshot.file

    def judge(self, case: Case) -> Wrong:
        """What is wrong with one tag."""
        rule: Callable[[Case], Wrong] = getattr(self, f"_{case.tag.says.kind}")
        try:
            yield from rule(case)
        except Refused as refused:
            yield f"cannot be judged: {refused.message}", refused.hint

    # Versions -----------------------------------------------------------------------------------

    def _register(self, case: Case) -> Wrong:
        tag, model, version = case.tag, case.tag.says.model, case.tag.says.version
        assert version
        if not is_valid(version, self.policy.scheme):
            yield f"'{version}' is not a version of the scheme: {RULES[self.policy.scheme]}", None
        known, other = case.known.versions.get(version), case.version
        if known:
            what = (
                f"was deregistered, by {known.gone.name}"
                if known.gone
                else f"is registered, by {known.tag.name}"
            )
            yield f"{model}@{version} {what}; versions are not used twice", f"gitreg bump {model}"
        elif other:
            text = (
                f"commit {tag.commit[:12]} is that of {model}@{other.version}; a stage tag means one version"
            )
            yield text, f"gitreg bump {model}, and commit that"
        manifest = self.view.manifest(tag)
        if manifest is None:
            yield f"commit {tag.commit[:12]} has no valid manifest of a model '{model}'", "gitreg check"
        elif manifest.version not in (None, version):
            text = f"{manifest.file} says {manifest.version} at {tag.commit[:12]}, the tag says {version}"
            yield text, f"gitreg bump {model}, merge that, then gitreg register {model} --push"

    def _deregister(self, case: Case) -> Wrong:
        version = case.tag.says.version or ""
        known = case.known.versions.get(version)
        if known is None or known.gone:
            what = (
                f"was deregistered already, by {known.gone.name}"
                if known and known.gone
                else "is not registered"
            )
            yield f"{case.known.name}@{version} {what}{did_you_mean(version, case.known.registered)}", None
            return
        for stage in self.policy.stages:  # a version that is deregistered leaves its stages
            said, file = self._said(case, stage)
            if said == version:
                text = f"{file} of {self.branch} says {said}, the tag takes it out"
                yield text, f"gitreg demote {case.known.name} {stage}"

    def _deprecate(self, case: Case) -> Wrong:
        if not case.known.registered:
            yield f"no version of a model '{case.known.name}' is registered", None

    # Stages -------------------------------------------------------------------------------------

    def _assign(self, case: Case) -> Wrong:
        model, stage, there = case.known.name, case.tag.says.stage or "", self._registered(case)
        if isinstance(there, str):
            yield there, f"gitreg promote {model}@VERSION {stage}, of a version that is registered"
        if stage not in self.policy.stages:
            known = self.policy.stages
            text = f"registry.yaml of {self.branch} has no stage '{stage}'{did_you_mean(stage, known)}"
            yield text, f"stages: {', '.join(known) or 'none'}"
        elif isinstance(there, Version):
            promote = f"gitreg promote {model}@{there.version} {stage}"
            said, file = self._said(case, stage)
            if said != there.version and not case.settled:
                what = f"says {said}" if said else f"does not name {model}"
                yield f"{file} of {self.branch} {what}, the tag says {there.version}", promote
            for other in case.known.active.get(stage, ()):
                if order(other) > order(there.version):
                    text = f"{model}@{other} is still assigned to {stage}, and GTO shows the higher one"
                    yield text, f"{promote} unassigns it"
            for verdict in self._verdicts(case, there, stage):
                if not verdict.passed:
                    what = f"{model}@{there.version} may not enter {stage}"
                    yield f"{what}: {verdict.gate}: {verdict.text}", "registry.yaml has the gates"

    def _unassign(self, case: Case) -> Wrong:
        model, stage, there = case.known.name, case.tag.says.stage or "", self._registered(case)
        if isinstance(there, str):
            yield there, f"gitreg demote {model} {stage}"
            return
        if there.version not in case.known.active.get(stage, ()):
            now = case.known.stages.get(stage, "nothing")
            yield f"{model}@{there.version} is not in {stage}; {now} is", None
        if stage in self.policy.stages and not case.settled:
            said, file = self._said(case, stage)
            if said == there.version:
                text = f"{file} of {self.branch} says {said}, the tag takes it out"
                yield text, f"gitreg demote {model} {stage}"

    def _registered(self, case: Case) -> Version | str:
        """The version of a stage tag's commit, or why there is none."""
        there, name = case.version, case.known.name
        if there is None:
            return f"commit {case.tag.commit[:12]} is that of no registered version of {name}"
        return f"{name}@{there.version} was deregistered, by {there.gone.name}" if there.gone else there

    def _said(self, case: Case, stage: str) -> tuple[str | None, str]:
        """The version that a stage's file says, and the file.

        Raises:
            Refused: the file is broken.
        """
        model, file = case.known.name, f"stages/{stage}.yaml"
        stays, problems = self.snapshot.stays_of(stage, {model})
        if problems:
            raise Refused(str(problems[0]), "gitreg check")
        if not stays:
            return None, file
        if stays[0].version != "latest":
            return stays[0].version, stays[0].file
        # As in a plan: what the manifest says; a blank version cannot be told without the content.
        manifest = self.snapshot.manifest_named(model, [f"models/{model}/model.yaml"])
        highest = max(case.known.registered, key=order, default=None)
        return (manifest.version if manifest and manifest.version else highest), stays[0].file

    # Gates --------------------------------------------------------------------------------------

    def _verdicts(self, case: Case, there: Version, stage: str) -> Sequence[gates.Verdict]:
        """As `Planner.verdicts`, by what Git's objects alone can tell."""
        policy = _light(self.policy.stages[stage] or {})
        if not policy.get("from") and not policy.get("gates"):
            return ()
        instead = case.known.versions.get(case.instead or "")
        now = min(self.now, case.tag.time)
        promotion = gates.Promotion(
            stage=stage,
            now=datetime.fromtimestamp(now, timezone.utc),
            candidate=self._candidate(there),
            incumbent=self._candidate(instead) if instead else None,
            returning=case.known.was_in(stage, there.version),
            stays=tuple(
                gates.Stay(stay.stage, stay.tag.when, stay.until.when if stay.until else None)
                for stay in case.known.stays
                if stay.version == there.version
            ),
            sources=tuple(policy.get("from", ())),
        )
        return gates.judge(policy, promotion)

    def _candidate(self, version: Version) -> gates.Candidate:
        model, commit = version.tag.says.model, version.tag.commit
        manifest = self.view.manifest(version.tag)
        if manifest is None:
            text = f"the manifest of {model}@{version.version} at {commit[:12]} cannot be read"
            raise Refused(text, f"git show {commit[:12]}")
        metrics = self.view.snapshot(commit).values(manifest.metrics)
        return gates.Candidate(model, version.version, metrics, manifest.schema, None, lambda: None)


def _light(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's policy without what needs more than Git's objects."""
    kept = [{k: v for k, v in gate.items() if k not in _NEEDS_MORE} for gate in policy.get("gates", ())]
    return {**policy, "gates": [gate for gate in kept if gate]}
