"""Desired minus recorded is a list of actions. Pure; the order is that in which the tags are written.

- A manifest's version that is not registered is registered, at the commit whose files are read.
- A version that was deregistered is not registered again: versions are used once.
- A stage file's entry that is not what is in the stage is assigned; a version that is assigned there and
  higher is unassigned first, so that `gto show --sort semver` sees the lower one.
- What is in a stage and not in its file is unassigned.
- Stages that registry.yaml does not know are left alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from gitreg.desired import Action, Desired, WantedModel, WantedStay
from gitreg.errors import Problem
from gitreg.names import TagName, did_you_mean
from gitreg.recorded import ModelRecord, Standing
from gitreg.versions import RULES, cased, is_valid, order


@dataclass
class Plan:
    """What `apply` would do, and why it could not.

    Attributes:
        actions: in order.
        problems: with any of them nothing is applied.
    """

    actions: list[Action] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def unsettled(
    desired: Desired, standings: Mapping[str, Standing], only: Collection[str] | None = None
) -> set[str]:
    """The models that something is to be done for, or may be; a plan for these alone is the whole plan.

    Args:
        only: of these alone.
    """
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for stay in desired.stays:
        if stay.stage in desired.stages:
            wanted[stay.model][stay.stage] = stay.version
    names = desired.models.keys() | wanted.keys() | standings.keys()
    found = set()
    for name in names if only is None else names & set(only):
        model, stands = desired.models.get(name), standings.get(name, Standing())
        registered = model is None or (
            model.version in stands.registered and is_valid(model.version, desired.scheme)
        )
        there = {stage: version for stage, version in stands.stages.items() if stage in desired.stages}
        if not registered or there != wanted.get(name, {}):
            found.add(name)
    return found


def make(desired: Desired, recorded: Mapping[str, ModelRecord], only: Collection[str] | None = None) -> Plan:
    """The plan for a commit.

    Args:
        only: plan for these models alone.
    """
    plan = Plan()
    fresh: dict[str, str] = {}
    for name, model in sorted(desired.models.items()):
        if only is not None and name not in only:
            continue
        known = recorded.get(name, ModelRecord(name))
        place = (model.file, model.line, model.column, "version")
        if not is_valid(model.version, desired.scheme):
            message = f"'{model.version}' is not a version of the scheme: {RULES[desired.scheme]}"
            plan.problems.append(Problem(*place, message))
        elif hindrance := _hindrance(model.version, desired, known):
            plan.problems.append(Problem(*place, hindrance))
        elif model.version not in known.versions:
            fresh[name] = model.version
            number = max((v.number for v in known.versions.values()), default=0) + 1
            plan.actions.append(Action(name, "register", model.version, desired.commit, number=number))
        elif known.versions[model.version].gone:
            message = f"{name}@{model.version} was deregistered; versions are not used twice"
            plan.problems.append(Problem(*place, message))
    wanted = {(s.stage, s.model): s for s in desired.stays if only is None or s.model in only}
    for stage in desired.stages:
        for entry in (s for s in wanted.values() if s.stage == stage):
            for step in _towards(entry, desired, recorded, fresh):
                (plan.problems if isinstance(step, Problem) else plan.actions).append(step)  # type: ignore[arg-type]
        for name in sorted(recorded if only is None else set(only) & set(recorded)):
            if (stage, name) not in wanted:
                plan.actions += _out(recorded[name], stage)
    return plan


def _hindrance(version: str, desired: Desired, known: ModelRecord) -> str | None:
    """Why a version cannot be registered at a commit, though no tag says that it is."""
    if version in known.versions:
        return None
    commit, tag = desired.commit, str(TagName(known.name, "register", version, prefix=desired.prefix))
    if tag in known.foreign:
        return (
            f"the tag {tag} is there and is another registry's: its commit has no manifest of {known.name} "
            "here; `tags: {prefix: FOLDER}` in registry.yaml keeps the tags of several registries apart"
        )
    if tag in known.taken:
        return (
            f"the tag {tag} is there and records nothing, as it is no annotated tag of a commit with "
            f"that name: git tag -d {tag}, and git push REMOTE :refs/tags/{tag}"
        )
    if twin := cased(version, known.versions):
        return f"{known.name}@{version} differs from the registered {twin} in the case of letters alone"
    other = next((v.version for v in known.versions.values() if v.tag.commit == commit), None)
    if other:
        return f"commit {commit[:12]} is registered as {other}: the next version needs a commit of its own"
    return None


def in_the_way(tag: str, other: str) -> str:
    """What to say of a tag that keeps Git from having another one."""
    return (
        f"Git cannot have the tag {tag} beside {other}, as one is a file where the other needs a folder: "
        f"git push --delete REMOTE 'refs/tags/{other}', and git tag -d '{other}'"
    )


def _towards(
    entry: WantedStay, desired: Desired, recorded: Mapping[str, ModelRecord], fresh: Mapping[str, str]
) -> Iterator[Action | Problem]:
    known = recorded.get(entry.model, ModelRecord(entry.model))
    now = known.stages.get(entry.stage, "")
    if now == entry.version:
        return
    if fresh.get(entry.model) == entry.version:
        commit = desired.commit
    elif entry.version in known.registered:
        same = [
            v.version
            for v in known.versions.values()
            if v.tag.commit == known.versions[entry.version].tag.commit
        ]
        if len(same) > 1:
            place = (entry.file, entry.line, entry.column, entry.model)
            message = (
                f"{' and '.join(same)} are registered at one commit, and a stage tag cannot tell them apart"
            )
            yield Problem(*place, message)
            return
        commit = known.versions[entry.version].tag.commit
    else:
        yield _unknown(entry, desired, known)
        return
    for other in known.active.get(entry.stage, ()):
        if order(other) > order(entry.version):
            yield Action(entry.model, "unassign", other, known.versions[other].tag.commit, entry.stage)
    yield Action(entry.model, "assign", entry.version, commit, entry.stage, instead=now)


def _unknown(entry: WantedStay, desired: Desired, known: ModelRecord) -> Problem:
    if not known.versions and entry.model not in desired.models:
        place, names = (entry.file, entry.line, entry.column, entry.model), {*desired.models, *desired.names}
        return Problem(*place, f"there is no model '{entry.model}'{did_you_mean(entry.model, names)}")
    return unregistered(entry, known, desired.models.get(entry.model))


def unregistered(entry: WantedStay, known: ModelRecord, coming: WantedModel | None = None) -> Problem:
    """Why a version that a stage file names cannot be in a stage: it is not registered (any more).

    Args:
        coming: what the model's manifest says, which is registered with the same merge.
    """
    place = (entry.file, entry.line, entry.column, entry.model)
    if entry.version in known.versions:
        help = f"gitreg demote {entry.model} {entry.stage}, or promote another version"
        return Problem(*place, f"{entry.model}@{entry.version} was deregistered: {help}")
    versions = sorted(known.registered, key=order)
    there = f"registered: {', '.join(versions[-5:])}" if versions else "none is registered yet"
    if coming and coming.version not in known.versions:
        there += f"; {coming.file} says {coming.version}"
    guess = did_you_mean(entry.version, versions)
    return Problem(*place, f"{entry.model}@{entry.version} is not registered{guess}; {there}")


def _out(known: ModelRecord, stage: str) -> list[Action]:
    """Unassign every version, lest GTO sees an earlier one come back; the current one last, for DVC."""
    return [
        Action(known.name, "unassign", version, known.versions[version].tag.commit, stage)
        for version in known.active.get(stage, ())
    ]
