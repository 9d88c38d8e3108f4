"""Judges tags by what they say themselves: names, objects, times, counters, stages, ordinals.

A tag that should not be is deleted - if nothing was built upon it. Where a later tag names it as the one
before, it is a part of the chain and stays; what it did is mended by one more tag.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from functools import partial

from gitreg import tagobjects
from gitreg.fsck import gto
from gitreg.fsck.cures import full, shown
from gitreg.fsck.evidence import Evidence
from gitreg.history import record
from gitreg.names import did_you_mean
from gitreg.recorded import ModelRecord, OddTag, Tag
from gitreg.reports import Finding

SKEW = 600  # seconds by which honest clocks may differ
_EXPECTED = "registry tags are churn@v1.2.0, churn#production#4, churn#production!#5, churn@v1.2.0!#6"
_COMMITTER = re.compile(rb"^committer [^\n]*> ([0-9]+) ", re.MULTILINE)


class Judge:
    """Judges the tags of one repository.

    Attributes:
        findings: in the order in which they were found.
        wrong: names of tags whose cure is to be deleted, or may be.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence, self.cures = evidence, evidence.cures
        self.findings: list[Finding] = []
        self.wrong: set[str] = set()
        self._blamed: set[str] = set()
        self._made: dict[str, int] = {}

    def judge(self, stages: Collection[str], leave: Collection[str], moved: Collection[str]) -> None:
        """Judge everything.

        Args:
            stages: that registry.yaml knows.
            leave: models of which tags were moved or deleted: what is left of them misleads.
            moved: names of those tags: they are to be what they were, whatever they are now.
        """
        for odd in self.evidence.odd:
            if odd.name not in moved:
                self._odd(odd)
        self._on_the_remote()
        for name, known in sorted(self.evidence.records.items()):
            if name not in leave:
                self._model(known)
        self._unknown_stages(stages)

    def blame(
        self,
        tag: Tag,
        kind: str,
        text: str,
        level: str = "error",
        mend: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Report a tag; of one tag only what was found first.

        Args:
            mend: the command for a tag that has to stay; where it gives None, the tag is history, and that
                is only noted.
        """
        if tag.name in self._blamed:
            return
        self._blamed.add(tag.name)
        text = f"{tag.name} {text}"
        namer = self.evidence.namers.get(tag.oid)
        if namer is None:
            self.wrong.add(tag.name)
            self.findings.append(Finding(kind, level, text, self.cures.delete(tag.name)))
            return
        command = mend()
        text += f"; {namer} names it as the tag before it"
        if command == self.cures.delete(tag.name):
            text += ", so deleting it leaves a gap in the chain"
        self.findings.append(Finding(kind, level if command else "note", text, command))

    def note(self, tag: Tag, kind: str, text: str, level: str = "note", hint: str | None = None) -> None:
        """Report a tag that may stay as it is; of one tag only what was found first."""
        if tag.name not in self._blamed:
            self._blamed.add(tag.name)
            self.findings.append(Finding(kind, level, f"{tag.name} {text}", hint))

    # Tags that record nothing -------------------------------------------------------------------

    def _odd(self, odd: OddTag) -> None:
        said = self.evidence.said.get(odd.oid)
        name = shown(odd.name)
        self.wrong.add(odd.name)
        delete = self.cures.delete(odd.name)
        if why := gto.fails_on(odd.name, said):
            text = f"{name}: `gto show` fails for everybody while this tag is there: {why}"
            self.findings.append(Finding("tag breaks gto", "error", text, delete))
        elif odd.kind in ("missing", "broken"):
            text = f"{name} records nothing: {tagobjects.why_nothing(odd.kind)}; Git's own commands end at it"
            hint = f"git update-ref -d {full(odd.name)}"  # `git tag -d` wants to read it
            if (self.evidence.there or {}).get(odd.name) == odd.oid:
                push = f"git push --delete {self.cures.remote} {full(odd.name)}"
                hint += f" && {self.cures.fetch() if odd.kind == 'missing' else push}"
            self.findings.append(Finding("tag damaged", "error", text, hint))
        elif said is None and odd.kind != "unparsable":
            text = f"{name} records nothing: it is lightweight, and GTO and gitreg read annotated tags only"
            self.findings.append(Finding("tag lightweight", "warning", text, delete))
        elif odd.kind == "renamed" and said:
            text = f"{name} records nothing: it bears the object of {shown(said.name)}"
            text += ", and GTO takes it for that"
            self.findings.append(Finding("tag renamed", "error", text, delete))
        elif odd.kind != "unparsable":
            text = f"{name} records nothing: it is a tag {odd.kind}, not of a commit"
            self.findings.append(Finding("tag not of a commit", "warning", text, delete))
        else:
            prefix = f"{self.evidence.space.folder}="
            ours = re.split("[@#]", odd.name.removeprefix(prefix))[0] in self.evidence.records
            text = f"{name} records nothing, for GTO and for gitreg"
            if gto.reads(odd.name):
                text = f"{name} is read by GTO and not by gitreg, so they disagree"
            level = "warning" if ours or gto.reads(odd.name) else "note"
            # Other tools have tags of their own: `npm`'s are pkg@1.2.3.
            hint = delete if ours else f"if it was a mistake: {delete}"
            self.findings.append(Finding("tag unparsable", level, f"{text}; {_EXPECTED}", hint))

    def _on_the_remote(self) -> None:
        for name in sorted({*(self.evidence.there or ())} - {*self.evidence.here}):
            if why := gto.fails_on(name, None):
                text = (
                    f"{shown(name)} on {self.evidence.remote}: `gto show` fails for whoever fetches it: {why}"
                )
                self.findings.append(Finding("tag breaks gto", "error", text, self.cures.delete(name)))

    # Of one model -------------------------------------------------------------------------------

    def _model(self, known: ModelRecord) -> None:
        self._objects(known)
        known = record(known.name, [tag for tag in known.tags if tag.name not in self.wrong])
        self._order(known)
        self._counters(known)
        self._slipped_in(known)
        self._clocks(known)
        self._stage_tags(known)
        self._clashes(known)
        self._ordinals(known)
        if not any(tag.name in self.wrong for tag in known.tags):
            self._views(self.evidence.records[known.name])

    def _objects(self, known: ModelRecord) -> None:
        for tag in known.tags:
            said = self.evidence.said.get(tag.oid)
            if said is None:
                continue
            if why := gto.fails_on(tag.name, said):
                text = f"makes `gto show` fail for everybody: {why}"
                self.blame(tag, "tag breaks gto", text, mend=partial(self.cures.delete, tag.name))
            elif said.odd:
                hint = f"if it was a mistake: {self.cures.delete(tag.name)}"
                self.note(tag, "tag odd", f"is odd: {said.odd}", "warning", hint)

    def _order(self, known: ModelRecord) -> None:
        """Counters and times go up together: GTO orders by time, people read counters."""
        counted = sorted(
            (t for t in known.tags if t.says.counter), key=lambda t: (t.says.counter or 0, t.time)
        )
        latest: Tag | None = None
        for tag in counted:
            if latest and tag.time < latest.time and tag.says.counter != latest.says.counter:
                worse, other = self._worse(tag, latest)
                than = "lower" if worse is tag else "higher"
                text = f"is dated {_when(worse)}, and {other.name}, whose counter is {than}, {_when(other)}"
                self.blame(worse, "tag back-dated", f"{text}: GTO orders by date, so it changed what was")
                latest = other
            elif latest is None or tag.time > latest.time:
                latest = tag
        for one, other in zip(known.tags, known.tags[1:], strict=False):
            if one.time == other.time:
                self._same_second(one, other)

    def _worse(self, one: Tag, other: Tag) -> tuple[Tag, Tag]:
        """Of two tags that cannot both be right, the one that less speaks for, and the other."""

        def trust(tag: Tag) -> tuple[bool, bool, bool]:
            evidence = self.evidence
            return tag.oid in evidence.namers, bool(evidence.of(tag).previous), tag.name in evidence.seen

        return (other, one) if trust(one) > trust(other) else (one, other)

    def _same_second(self, one: Tag, other: Tag) -> None:
        same = (one.says.stage or one.says.version) == (other.says.stage or other.says.version)
        worse, better = self._worse(other, one)
        text = f"has the same second as {better.name}, {_when(better)}"
        if same:
            text += ", and which of them counts is chance"
            self.blame(worse, "tags in one second", text, "warning")
        elif worse.name not in self._blamed:
            text = f"{worse.name} {text}; it is harmless"
            self.findings.append(Finding("tags in one second", "note", text))

    def _slipped_in(self, known: ModelRecord) -> None:
        """Tags that lie between two that follow each other by the chain."""
        place = {tag.oid: i for i, tag in enumerate(known.tags)}
        for i, tag in enumerate(known.tags):
            previous = self.evidence.of(tag).previous
            start = -1 if previous == "none" else place.get(previous, i) if previous else i
            for between in known.tags[start + 1 : i]:
                if self.evidence.of(between).previous:
                    self._note_fork(between, tag)
                    continue
                text = (
                    f"is dated {_when(between)}, before {tag.name}, which was written when it was not there"
                )
                self.blame(between, "tag back-dated", text)

    def _note_fork(self, one: Tag, other: Tag) -> None:
        if one.name not in self._blamed:
            self._blamed.add(one.name)
            text = f"{one.name} and {other.name} were written at once, in two clones: neither names the other"
            self.findings.append(Finding("tags at once", "note", text))

    def _clocks(self, known: ModelRecord) -> None:
        for tag in known.tags:
            ours = bool(self.evidence.of(tag).previous)
            if tag.time > self.evidence.now + SKEW:
                text = (
                    f"is dated {_when(tag)}, in the future: later tags of {known.name} must be dated after it"
                )
                if ours:
                    text += "; the clock of who wrote it was ahead"
                    self.note(tag, "tag in the future", text, "warning", "date -u")
                else:
                    self.blame(tag, "tag in the future", text, "warning")
                continue
            made = self._commit_time(tag.commit)
            if tag.time < made - SKEW:
                text = f"is dated {_when(tag)}, and its commit {tag.commit[:12]} was made later, {_at(made)}"
                if ours:
                    self.note(tag, "tag back-dated", f"{text}; the clock of who wrote it was behind")
                else:
                    self.blame(tag, "tag back-dated", text, "warning")

    def _commit_time(self, commit: str) -> int:
        """When a commit was made; 0 where it is not here."""
        if commit not in self._made:
            raw = self.evidence.registry.reader.read(commit)
            found = _COMMITTER.search(raw[1].partition(b"\n\n")[0]) if raw else None
            self._made[commit] = int(found[1]) if found else 0
        return self._made[commit]

    # Stages, versions, numbers ------------------------------------------------------------------

    def _stage_tags(self, known: ModelRecord) -> None:
        """Stage tags at commits that no registered version has."""
        at = {v.tag.commit: v for v in known.versions.values()}
        last = {tag.says.stage: tag for tag in known.tags if tag.says.kind == "assign"}
        for tag in known.tags:
            version = at.get(tag.commit)
            gone = version is not None and version.gone is not None and version.gone.time < tag.time
            if tag.says.stage is None or (version and not gone) or (gone and tag.says.kind == "unassign"):
                continue
            why = (
                f"whose version {version.version} was deregistered" if version else "where none is registered"
            )
            assigns = tag.says.kind == "assign"
            text = f"names commit {tag.commit[:12]} of {known.name}, {why}"
            if assigns:
                text += f": GTO and DVC take that for what is in {tag.says.stage}"
            stays = assigns and last[tag.says.stage] is tag
            mend = partial(self._reassign, known, tag.says.stage) if stays else lambda: None
            self.blame(tag, "stage without version", text, "error" if assigns else "warning", mend)

    def _reassign(self, known: ModelRecord, stage: str) -> str | None:
        """Say once more what is in a stage, after the tag that confuses GTO and DVC."""
        known = self.evidence.records[known.name]
        version = known.registered.get(known.stages.get(stage, ""))
        if version is None:
            return f"gitreg promote {known.name} {stage}" if known.registered else None
        message = f"Assign {known.name} {version.version} to {stage}, as before"
        return self.cures.append(known, "assign", version.tag.commit, message, stage=stage)

    def _clashes(self, known: ModelRecord) -> None:
        staged = {tag.commit for tag in known.tags if tag.says.stage}
        for commit in gto.clashes(known):
            there = [tag for tag in known.tags if tag.commit == commit and tag.says.version]
            first, *others = {tag.says.version: tag for tag in reversed(there)}.values()
            for other in others:
                worse, better = self._worse(other, first)
                text = (
                    f"names commit {commit[:12]}, which {better.name} says is another version: a stage tag "
                )
                text += "there cannot say which it means"
                if commit in staged:
                    text += ", and `gto show` fails for everybody"
                self.blame(worse, "versions of one commit", text, mend=partial(self.cures.delete, worse.name))

    def _counters(self, known: ModelRecord) -> None:
        by_counter: dict[int, list[Tag]] = defaultdict(list)
        for tag in known.tags:
            if tag.says.counter:
                by_counter[tag.says.counter].append(tag)
        for counter, tags in sorted(by_counter.items()):
            for tag in tags[1:]:
                worse, other = self._worse(tag, tags[0])
                text = f"has the counter {counter}, as {other.name} has"
                if self.evidence.of(worse).previous:
                    self.note(worse, "counter twice", f"{text}: written at once; their dates order them")
                else:
                    self.blame(worse, "counter twice", text, "warning")

    def _ordinals(self, known: ModelRecord) -> None:
        """Ordinals name versions in URIs and in Triton's folders: each once, and none left out."""
        taken: dict[int, Tag] = {}
        for version in known.versions.values():
            said = self.evidence.of(version.tag).trailers.get("Gitreg-Ordinal", "")
            number = int(said) if said.isascii() and said.isdigit() and len(said) < 10 else version.number
            if number not in taken:
                taken[number] = version.tag
                continue
            worse, other = self._worse(version.tag, taken[number])
            text = f"has the ordinal {number}, as {other.name} has: models:/{known.name}/{number} names two"
            self.blame(worse, "ordinal twice", text)
        missing = (
            sorted({*range(1, max(taken, default=0) + 1)} - {*taken}) if max(taken, default=0) < 10**6 else []
        )
        if missing:
            listed = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            text = (
                f"no version of {known.name} has the ordinal {listed}: a tag that registered one was deleted"
            )
            hint = self.cures.fetch() if self.evidence.there is not None else None
            self.findings.append(Finding("ordinal missing", "warning", text, hint))

    def _views(self, known: ModelRecord) -> None:
        """Stages of which GTO says something else."""
        if gto.clashes(known) or known.deprecated:
            return
        theirs = gto.shown(known)
        for stage in sorted({*theirs, *known.stages}):
            ours, (last, highest) = known.stages.get(stage), theirs.get(stage, gto.Shown())
            if last != ours:
                command, version = "gto show", last
            elif highest != ours:
                command, version = "gto show --sort semver", highest
            else:
                continue
            text = (
                f"`{command}` says that {known.name} {version or 'nothing'} is in {stage}; gitreg says "
                f"{ours or 'nothing'}, which was assigned last"
            )
            if ours and command == "gto show":
                hint = self._reassign(known, stage)
            elif version:
                message = f"Unassign {known.name} {version} from {stage}"
                commit = known.versions[version].tag.commit
                hint = self.cures.append(known, "unassign", commit, message, stage=stage)
            self.findings.append(Finding("gto differs", "warning", text, hint))

    def _unknown_stages(self, stages: Collection[str]) -> None:
        found: dict[str, list[str]] = defaultdict(list)
        for tag in self.evidence.tags:
            if tag.says.stage and tag.says.stage not in stages and tag.name not in self.wrong:
                found[tag.says.stage].append(tag.name)
        for stage, names in sorted(found.items()):
            listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            text = f"registry.yaml has no stage '{stage}'{did_you_mean(stage, stages)}, and {listed} name it"
            self.findings.append(Finding("stage unknown", "note", text))


def _when(tag: Tag) -> str:
    return _at(tag.time)


def _at(moment: int) -> str:
    try:
        return f"{datetime.fromtimestamp(moment, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"second {moment}"
