"""Carries a plan out: writes its tags as one transaction, pushes them as one, and begins again when
somebody else was faster.

Locally: under a lock, tag objects first, which nobody sees, then all references in one transaction. With a
remote: tag objects, then one atomic push of all references, which also holds a guard for each model, so
that two pushes for one model cannot both succeed; then the same references here. Killed anywhere, the
next run finds what is recorded, and plans what is left.
"""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitreg import folders, git, keeping, overtaken, planner, trees
from gitreg.desired import Action
from gitreg.errors import Outside, Refused
from gitreg.git import objects, refs, transactions
from gitreg.names import Kind, TagName, did_you_mean, parse_tag
from gitreg.planner import Planned
from gitreg.recorded import ModelRecord, Tag
from gitreg.tagspace import Space

if TYPE_CHECKING:
    from gitreg.registry import Registry

TRIES = 60
# So often the remote may refuse as after a race, though it shows the same as before.
TRIES_ALONE = 12


class Applier:
    """Applies plans to one registry.

    Args:
        remote: by default the one that the branch follows, or origin.
        progress: is told what goes on, a line at a time.
    """

    def __init__(
        self, registry: Registry, remote: str | None = None, progress: Callable[[str], None] | None = None
    ) -> None:
        self.registry, self.root = registry, registry.root
        self.asked = remote
        self.tell = progress or (lambda line: None)
        self.only: tuple[str, ...] = ()  # kinds of actions; all when empty
        self.lost, self.alone, self.seen = 0, 0, object()

    def apply(self, push: bool, models: Collection[str] | None = None, before: str | None = None) -> Planned:
        """See `Registry.apply`."""
        commit = self.registry.commit("HEAD")
        if push:
            earlier = self.earlier(before, commit, models) if before else None
            planned = self.pushed(commit, models)
            planned.earlier = earlier
            return planned
        self._whole()
        self._not_behind(commit)
        with self.locked():
            planned = self.plan(commit, models)
            planner.refuse(planned)
            self.write(self.tags(planned))
        return planned

    def register(self, push: bool, models: Collection[str]) -> Planned:
        """See `Registry.register`."""
        commit = self.registry.commit("HEAD")
        if push:
            remote = self.remote()
            refs.fetch(self.root, remote, refs.default_branch(self.root, remote), self.space(commit))
        self.only = ("register",)
        planned = self.plan(commit, models)
        new = {action.model for action in planned.actions}
        for name in models if not planned.problems else ():
            if name in new:
                continue
            if name not in planned.desired.models:
                guess = did_you_mean(name, (m.name for m in self.registry.manifests()))
                raise Refused(f"commit {commit[:12]} has no model '{name}'{guess}", "is it committed?")
            version = planned.desired.models[name].version
            tag = planned.recorded[name].versions[version].tag
            raise Refused(
                f"{name}@{version} is registered already: {tag.when:%Y-%m-%d %H:%M} UTC, {tag.commit[:12]}",
                f"gitreg bump {name}, commit, and register that",
            )
        return self.apply(push, models)

    def remote(self) -> str:
        """The remote to push to.

        Raises:
            Refused: there is none.
        """
        known = refs.remotes(self.root)
        name = self.asked or refs.default_remote(self.root)
        if name is None:
            what = f"which of the remotes {', '.join(known)}?" if known else "there is no remote to push to"
            hint = "--remote NAME" if known else "git remote add origin URL, or leave out --push"
            raise Refused(what, hint)
        if name not in known:
            raise Refused(
                f"there is no remote {name!r}{did_you_mean(name, known)}",
                f"remotes: {', '.join(known) or 'none'}; git remote add NAME URL",
            )
        return name

    def earlier(self, before: str, commit: str, models: Collection[str] | None) -> Planned | None:
        """Register what the commit before says and its own run has not registered yet.

        Whatever is wrong with it is no reason not to go on.
        """
        known = objects.resolve(self.root, before)
        if known is None or known == commit or not refs.is_ancestor(self.root, known, commit):
            return (
                None  # GitHub names the branch's first commit's predecessor 000...; others may be rewritten
            )
        try:
            return self.pushed(known, models)
        except Refused as refused:
            self.tell(f"{known[:12]}, the commit before, is left as it is: {refused}")
            return None

    def pushed(self, commit: str, models: Collection[str] | None) -> Planned:
        """Apply and push, until it is done or cannot be."""
        remote = self.remote()
        branch = refs.default_branch(self.root, remote)
        for _ in range(TRIES):
            there = refs.fetch(self.root, remote, branch, self.space(commit))
            self._whole()
            tip = self.tip(commit, remote, branch)
            with self.locked():
                planned = self.plan(commit, models, judge=tip == commit)
                if tip != commit:
                    self.narrow(planned, tip, f"{remote}/{branch}")
                    if not planned.actions:
                        return planned
                planner.refuse(planned)
                tags = self.tags(planned)
                specs, leases = self.push_of(tags, planned, there, tip)
                if not specs:
                    return planned
                # After a merge in between these may be wrong already, and its run may have been before.
                specs.append(f"{tip}:refs/heads/{branch}")
                leases[f"refs/heads/{branch}"] = tip
                try:
                    refs.push(self.root, remote, specs, leases)
                except refs.LostRace as lost:
                    said = lost
                except Outside as refused:
                    refused.hint = "may you write tags there? CI applies every merge with its own rights"
                    raise
                else:
                    self.write(tags)
                    self.tell_of(len(specs) - len(leases) - len(tags), remote)
                    return planned
            self.wait(remote, said, there)
        raise self.beaten(remote)

    def tell_of(self, others: int, remote: str) -> None:
        """Say that tags were pushed that had been written before."""
        if others:
            tags = f"{others} earlier tag{'s' * (others != 1)}"
            self.tell(f"{tags}, until now only here, pushed to {remote} too")

    def wait(self, remote: str, lost: refs.LostRace, seen: object) -> None:
        """Give others their turn.

        Args:
            seen: what the remote had when the race began.

        Raises:
            Outside: it is no race: the remote has had the same for many tries.
        """
        self.alone = self.alone + 1 if seen == self.seen else 0
        self.seen, self.lost = seen, self.lost + 1
        if self.alone == TRIES_ALONE:
            raise Outside(
                f"git push {remote} fails again and again, though nobody else pushes there:{lost}",
                "a lock that a Git there left behind? if no Git runs there, remove it",
            )
        why = f"{remote} did not take it" if self.alone else f"somebody else pushed to {remote} first"
        self.tell(f"{why}; trying again")
        time.sleep(random.uniform(0.02, 0.2) * min(self.lost, 8))

    @staticmethod
    def beaten(remote: str) -> Outside:
        """The error after so many lost races."""
        return Outside(
            f"others pushed to {remote} first, {TRIES} times in a row", "the same again, a little later"
        )

    def push_of(
        self, tags: dict[str, tuple[TagName, str]], planned: Planned, there: refs.Listed, tip: str
    ) -> tuple[list[str], dict[str, str | None]]:
        """What to push: the references, and the leases that notice somebody else's push.

        Args:
            tip: the commit up to which everything is merged.

        Raises:
            Refused: the plan builds on a tag that is only here, and not of what is merged.
        """
        specs = [f"{oid}:{name}" for name, (_, oid) in tags.items()]
        last = {says.model: oid for says, oid in tags.values()}
        for tag in self.only_here(planned, there, tip, set(last)):
            specs.insert(0, f"{tag.oid}:refs/tags/{tag.name}")
            last.setdefault(tag.says.model, tag.oid)
        space = self.space(planned.commit)
        specs += [f"{oid}:{space.guard(model)}" for model, oid in last.items()]
        leases: dict[str, str | None] = {space.guard(model): there.guards.get(model) for model in last}
        return specs, leases

    def only_here(self, planned: Planned, there: refs.Listed, tip: str, acting: Collection[str]) -> list[Tag]:
        """Tags that the remote has not got, as they were written without --push; the last one first."""
        names = set(planned.recorded) & (set(planned.desired.models) | set(acting))
        found = [t for name in sorted(names) for t in planned.recorded[name].tags if t.name not in there.tags]
        merged = {c: refs.is_ancestor(self.root, c, tip) for c in {tag.commit for tag in found}}
        other = [tag for tag in found if not merged[tag.commit]]
        if wrong := [tag.name for tag in other if tag.says.model in acting]:
            raise Refused(
                f"tags that are only here, and of commits that are not merged: {', '.join(wrong)}",
                f"git tag -d '{wrong[0]}', or merge its commit first",
            )
        apart = {tag.says.model for tag in other}
        return [tag for tag in reversed(found) if tag.says.model not in apart]

    def space(self, commit: str) -> Space:
        """The names that the registry's tags may have, and what those that are written now begin with."""
        return self.registry.space._replace(prefix=self.registry.snapshot(commit).file.prefix)

    def tip(self, commit: str, remote: str, branch: str) -> str:
        """The last commit of the remote's branch: a commit itself, or one that comes after it.

        Raises:
            Refused: the commit is not on that branch.
        """
        there = f"{remote}/{branch}"
        tip = refs.oid(self.root, f"refs/remotes/{there}")
        if tip is None:
            raise Refused(f"{remote} has no branch {branch} yet", f"git push {remote} {branch}")
        if tip == commit or refs.is_ancestor(self.root, commit, tip):
            return tip
        raise Refused(
            f"{commit[:12]} is not on {there}, and tags are written for what is merged",
            f"merge it first, or git push {remote} {branch}; gitreg plan shows what it would do",
        )

    def narrow(self, planned: Planned, tip: str, there: str) -> None:
        """Leave of the plan of a commit that is not the last one what may still be done."""
        overtaken.narrow(self.registry, planned, tip)
        rest = "the rest" if planned.actions else "it all"
        planned.behind = (
            f"{there} is newer than {planned.commit[:12]}; the run of its last commit applies {rest}"
        )

    def plan(self, commit: str, models: Collection[str] | None, judge: bool = True) -> Planned:
        """The plan, by the tags as they are now.

        Args:
            judge: whether gates are asked.
        """
        with planner.Planner(self.registry, commit, self.registry.records(models), models) as one:
            planned = one.planned(judge=judge and not self.only)
        if self.only:  # what stage files say is not looked at
            planned.actions = [a for a in planned.actions if a.kind in self.only]
            planned.problems = [p for p in planned.problems if not p.file.startswith("stages/")]
        return planned

    def _whole(self) -> None:
        if refs.is_shallow(self.root):
            raise Refused(
                "this is a shallow clone: the commits that tags name may be missing",
                "git fetch --unshallow --tags (actions/checkout: fetch-depth: 0)",
            )

    def _not_behind(self, commit: str) -> None:
        """Refuse a commit without what is merged by now: the tags of that would be taken back."""
        remote = self.asked or refs.default_remote(self.root)
        there = f"{remote}/{refs.default_branch(self.root, remote)}"
        tip = refs.oid(self.root, f"refs/remotes/{there}") if remote and not self.only else None
        if tip and not refs.is_ancestor(self.root, tip, commit):
            raise Refused(
                f"{commit[:12]} lacks what is on {there} by now, and would take back the tags of that",
                f"git merge {there}",
            )

    # Tags ---------------------------------------------------------------------------------------

    def tags(self, planned: Planned) -> dict[str, tuple[TagName, str]]:
        """Tag objects for a plan's actions: full reference name -> what it says, object id.

        Each takes the model's next counter, and a time after all earlier tags of the model, even if
        this clock is behind the one that wrote those.
        """
        now, prefix = int(time.time()), self.space(planned.commit).prefix
        chains: dict[str, _Chain] = {}
        rounds: list[list[tuple[TagName, Action]]] = []
        for action in planned.actions:
            known = planned.recorded.get(action.model, ModelRecord(action.model))
            chain = chains.setdefault(action.model, _Chain(known, prefix))
            if chain.length == len(rounds):
                rounds.append([])
            rounds[chain.length].append((chain.next(action), action))
        made: dict[str, tuple[TagName, str]] = {}
        for some in rounds:  # a tag names the one before it, which has to be written first
            todo = []
            for name, action in some:
                chain = chains[action.model]
                chain.time = max(now, chain.time + 1)
                message = f"{self.message(action, planned)}\nGitreg-Previous: {chain.oid or 'none'}"
                todo.append((str(name), action.commit, chain.time, message))
            oids = objects.write_tags(self.root, todo, self.aside)
            for (name, action), oid in zip(some, oids, strict=True):
                chains[action.model].oid = oid
                made[f"refs/tags/{name}"] = (name, oid)
        return made

    def message(self, action: Action, planned: Planned) -> str:
        """A line for people, and trailers that say what a version was without a build."""
        if action.kind == "register":
            content = planned.contents[action.model]
            lines = [f"Register {action.model} {action.version}", ""]
            if content.description:
                lines[1:1] = ["", *_plain(content.description).splitlines()]
            lines += [
                f"Gitreg-Digest: {content.digest}",
                f"Gitreg-Artifact: {content.artifact}",
                f"Gitreg-Schema: {content.schema}",
                f"Gitreg-Manifest: {content.file}",
                f"Gitreg-Ordinal: {self.ordinal(action, planned)}",
            ]
            return "\n".join(lines)
        verb = "Assign" if action.kind == "assign" else "Unassign"
        way = "to" if action.kind == "assign" else "from"
        instead = f", instead of {action.instead}" if action.instead else ""
        lines = [f"{verb} {action.model} {action.version} {way} {action.stage}{instead}", ""]
        lines += [f"Gitreg-Version: {action.version}", f"Gitreg-Commit: {planned.commit}"]
        lines += [f"Gitreg-Gate: {v.gate}: {_plain(v.text)}" for v in planned.verdicts.get(action, ())]
        return "\n".join(lines)

    def ordinal(self, action: Action, planned: Planned) -> int:
        """The next ordinal: above every one that a tag of the model names, or that its place gives it."""
        known = planned.recorded.get(action.model, ModelRecord(action.model))
        taken = [self.registry.ordinal(version) for version in known.versions.values()]
        return max([action.number - 1, *taken]) + 1

    def write(self, tags: dict[str, tuple[TagName, str]]) -> None:
        """Make the references here. After a push they may be here already, by a fetch."""
        there = objects.ids(self.root, tags)
        missing = {name: oid for name, (_, oid) in tags.items() if there.get(name) != oid}
        if missing:
            transactions.create(self.root, missing)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One transaction at a time in this repository; what a killed one left is cleared away first."""
        folder = git.git_folder(self.root)
        assert folder
        with open(keeping.opened(keeping.folder(folder / "gitreg") / "lock"), "a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            transactions.recover(self.root)
            folders.sweep(folder / "gitreg")
            trees.remove(self.aside, ignore_errors=True)
            keeping.folder(self.aside)
            try:
                yield
            finally:
                trees.remove(self.aside, ignore_errors=True)

    @cached_property
    def aside(self) -> Path:
        """A folder to make things in, while this is locked."""
        folder = git.git_folder(self.root)
        assert folder
        return folder / "gitreg" / "aside"


class _Chain:
    """The tags of one model: the next counter and time, and the tag that the next one names.

    So a later tag shows that an earlier one was moved, deleted, or slipped in.
    """

    def __init__(self, known: ModelRecord, prefix: str) -> None:
        self.counter, self.time, self.length = known.counter, known.time, 0
        self.prefix = prefix
        self.oid = known.tags[-1].oid if known.tags else ""

    def next(self, action: Action) -> TagName:
        """The name of the next tag. As GTO has it, registrations take no counter."""
        self.length += 1
        if action.kind == "register":
            return TagName(action.model, "register", action.version, prefix=self.prefix)
        self.counter += 1
        kind: Kind = "assign" if action.kind == "assign" else "unassign"
        name = TagName(action.model, kind, None, action.stage, self.counter, self.prefix)
        if parse_tag(str(name), self.prefix) != name:
            raise Refused(f"{name} would be no registry tag: a counter is out of range", "gitreg doctor")
        return name


def _plain(text: str) -> str:
    """Text that cannot be taken for trailers, a signature or an end of the message."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(("-----", "#")))
