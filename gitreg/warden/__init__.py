"""Judges registry tags that somebody pushes, or pushed, by hand. Reads Git's objects, and runs no code.

Every tag whose name has a registry's signs, `@` or `#`:

- says what a registry tag says (`names.parse_tag`). GTO reads more than it understands: one `m@created#9`
  makes `gto show` fail for everybody;
- is annotated, bears its own name, and names a commit;
- is never moved, and never deleted. One that records nothing (unparsable, lightweight) may be deleted: that
  is its cure;
- has a time after that of every earlier tag of the model: GTO goes by time, so a back-dated tag changes what
  was. It is not more than ten minutes ahead of the clock here, or of the model's last tag;
- has a counter that no other tag of the model has, and that leaves numbers for others. Only stage tags need
  one: GTO itself writes the others without.

By what it does:

- register: the commit is on the default branch; its manifest says that version, or none; the version is one
  of the scheme, was never registered, and is the only one of the model at that commit, since a stage tag
  means the version of its commit;
- assign: the commit is that of a registered version; registry.yaml knows the stage; the stage's file says
  that version; no higher one is still assigned, which GTO would show instead; the gates pass, but for
  `samples`, which runs the model, and `format`, which reads the artifact;
- unassign: the version is in the stage, and the stage's file does not say it;
- deregister: the version is registered;
- deprecate: the model has a registered version.

What a version contains (`Gitreg-Digest`) needs a checkout and is not looked at. registry.yaml and the stage
files are those of the default branch's tip as it is after the push. All tags of a push are judged together,
in the order of their times, each upon those before it; by stage files only the last word on a version. A push
that others were faster than is refused in the words by which gitreg knows that it should try again.
"""

from __future__ import annotations

import re
import shlex
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gitreg import history
from gitreg.errors import Refused
from gitreg.names import NAME_RULE, is_like_a_tag
from gitreg.recorded import Tag
from gitreg.tagspace import prefix_of
from gitreg.warden.deeds import Case, Deeds, Wrong, moment
from gitreg.warden.view import TAGS, Update, View, nothing

__all__ = ["Finding", "Update", "View", "concerns", "judge", "undo", "verify"]

AHEAD = 600  # seconds that a clock may be ahead
ROOM = 10_000  # how far a counter may be above the highest: `parse_tag` reads 18 digits
_TAG = re.compile(
    rb"object ([0-9a-f]{40}|[0-9a-f]{64})\ntype ([a-z]+)\ntag ([^\n]+)\n"
    rb"tagger [^<>\n]*<[^<>\n]*> ([0-9]{1,11}) [+-][0-9]{4}\n"
)
_EXAMPLES = (
    "registry tags are churn@v1.2.0, churn#production#4, churn#production!#5, churn@v1.2.0!#6 and "
    f"churn@deprecated#7, and names are {NAME_RULE}; other tags do without '@' and '#'"
)


class Finding(NamedTuple):
    """Why a reference is refused, and what to do instead."""

    ref: str
    text: str
    hint: str | None = None


def concerns(ref: str) -> bool:
    """Whether a full reference name is one to judge."""
    return ref.startswith(TAGS) and is_like_a_tag(ref.removeprefix(TAGS))


def undo(ref: str, remote: str = "origin") -> str:
    """The command that takes a bad tag away from where it was pushed to."""
    return f"git push --delete {shlex.quote(remote)} {shlex.quote(ref)}"


def judge(view: View, updates: Sequence[Update], now: int | None = None) -> list[Finding]:
    """Everything that is wrong with the registry tags of a push.

    Args:
        view: the repository as it is before the push.
        updates: all of the push, branches included.
        now: seconds since 1970; by default this clock's.
    """
    if not any(concerns(update.ref) for update in updates):
        return []
    return stale(view, updates) or Warden(view, updates, now, standing=False).judge()


def verify(view: View, names: Iterable[str], now: int | None = None) -> list[Finding]:
    """Everything that is wrong with registry tags that are here already.

    What was written after one of them is no reason against it.

    Args:
        names: with or without `refs/tags/`. Those without a registry's signs are nobody's business.

    Raises:
        Refused: there is no such tag here.
    """
    wanted = [TAGS + name.removeprefix(TAGS) for name in names]
    found = view.oids(wanted)
    for ref in wanted:
        if ref not in found:
            hint = f"git fetch origin {shlex.quote(f'{ref}:{ref}')}"
            raise Refused(f"there is no tag {ref.removeprefix(TAGS)!r} here", hint)
    updates = [Update(ref, "", found[ref]) for ref in dict.fromkeys(wanted) if concerns(ref)]
    return Warden(view, updates, now, standing=True).judge() if updates else []


def stale(view: View, updates: Sequence[Update]) -> list[Finding]:
    """References that are not where whoever pushes believes that they are.

    Git finds out too, but later, and by then the tags of a race that was lost would have been refused for
    counters and times that are taken. `stale info`, Git's own words, tell `refs.push` that it is a race.
    """
    here = view.oids([update.ref for update in updates])
    return [
        Finding(
            update.ref,
            f"stale info: here it is at {here.get(update.ref, 'nothing')[:12]}; somebody else was faster",
            "git fetch, then again",
        )
        for update in updates
        if here.get(update.ref, "") != ("" if nothing(update.old) else update.old)
    ]


class Warden:
    """Judges tags, all of one push.

    Args:
        now: seconds since 1970; None for this clock's.
        standing: they are here already.
    """

    def __init__(self, view: View, updates: Sequence[Update], now: int | None, standing: bool) -> None:
        self.view, self.standing = view, standing
        self.now = int(time.time()) if now is None else now
        self.branch, self.tip = view.tip(updates)
        view.settle(self.tip)
        like = [update for update in updates if concerns(update.ref)]
        self.updates = [update for update in like if view.concerns(update.ref, self.tip)]
        self.found: dict[str, list[Finding]] = {update.ref: [] for update in self.updates}
        self.kinds = view.kinds(oid for u in self.updates for oid in (u.old, u.new) if not nothing(oid))
        self.deeds = Deeds(view, self.branch, self.tip, self.now)

    def judge(self) -> list[Finding]:
        """What is wrong, in the order of the push."""
        clash = self.view.clash(self.tip) if self.updates else None
        if clash:
            return [Finding(update.ref, f"cannot be judged: {clash}") for update in self.updates]
        pushed: dict[str, list[Tag]] = defaultdict(list)
        for tag in self._merged([tag for update in self.updates if (tag := self._read(update))]):
            pushed[tag.says.model].append(tag)
        there = self.view.tags(pushed, self.found)
        for model, tags in pushed.items():
            self._model(history.in_order(tags), there[model])
        return [finding for findings in self.found.values() for finding in findings]

    def _wrong(self, ref: str, text: str, hint: str | None = None) -> None:
        self.found[ref].append(Finding(ref, text, hint))

    # What a tag is ------------------------------------------------------------------------------

    def _read(self, update: Update) -> Tag | None:
        """The tag that an update makes; None where it makes none: then what is wrong has been said."""
        ref, name = update.ref, update.ref.removeprefix(TAGS)
        if not nothing(update.old):
            self._lost(update)
            return None
        says = self.view.space.parse(name)
        write = f"git tag -a -m MESSAGE {shlex.quote(name)} COMMIT"
        kind, raw = self.kinds.get(update.new), self.view.reader.read(update.new)
        read = _TAG.match(raw[1]) if raw and kind == "tag" else None
        target, of, own, when = (b.decode("utf-8", "replace") for b in read.groups()) if read else [""] * 4
        if re.search(r"@created(#[0-9]+)?\Z", name):
            text = "a tag of GTO's that GTO cannot read: while it is there, `gto show` fails for everybody"
            self._wrong(ref, text, _EXAMPLES)
        elif says is None:
            text = "not a registry tag, though its name has '@' or '#'"
            prefix = prefix_of(name)
            if prefix and prefix != self.view.space.folder:
                text += f": no registry lies in {prefix}"
            self._wrong(ref, text, _EXAMPLES)
        elif kind != "tag":
            text = "lightweight" if kind == "commit" else f"of a {kind or 'missing object'}"
            self._wrong(ref, f"{text}; registry tags are annotated: they say by whom, when and why", write)
        elif not read:
            self._wrong(ref, "its tag object is not as Git writes them", write)
        elif own != name:
            self._wrong(ref, f"its tag object is that of another tag, {own!r}", write)
        elif of != "commit":
            hint = f"{write}; the commit of a tag is 'TAG^{{commit}}'"
            self._wrong(ref, f"it names a {of}; registry tags name the commit of a version", hint)
        else:
            return Tag(name, update.new, target, int(when), says)
        return None

    def _lost(self, update: Update) -> None:
        """A tag that is moved or deleted."""
        ref, says = update.ref, self.view.space.parse(update.ref.removeprefix(TAGS))
        if not nothing(update.new):
            text = f"registry tags are never moved; it stays at {update.old[:12]}"
            back = shlex.quote(f"+{ref}:{ref}")
            self._wrong(ref, text, f"git fetch origin {back} brings it back here; then write a new one")
        elif says and self.kinds.get(update.old) == "tag":
            way = f"gitreg demote {says.model} {says.stage}" if says.stage else f"gitreg bump {says.model}"
            self._wrong(
                ref, "registry tags are never deleted: they are the record", f"{way} writes a new one"
            )

    def _merged(self, tags: Sequence[Tag]) -> list[Tag]:
        """Those tags whose commits there are; and what registers versions of what is not merged is told."""
        kinds = self.view.kinds(tag.commit for tag in tags)
        good = [tag for tag in tags if kinds.get(tag.commit) == "commit"]
        new = [tag for tag in good if tag.says.kind == "register"]
        outside = self.view.outside((tag.commit for tag in new), self.tip) if self.tip else set()
        for tag in (tag for tag in tags if kinds.get(tag.commit) != "commit"):
            self._wrong(TAGS + tag.name, f"what it names, {tag.commit[:12]}, is no commit here")
        for tag in (tag for tag in new if tag.commit in outside):
            text = f"commit {tag.commit[:12]} is not on {self.branch}, and versions are of what is merged"
            self._wrong(
                TAGS + tag.name, text, f"merge it first; then gitreg register {tag.says.model} --push"
            )
        return good

    # When, and what it does ---------------------------------------------------------------------

    def _model(self, pushed: Sequence[Tag], there: Sequence[Tag]) -> None:
        """Judge the tags of one model, each upon those before it."""
        recorded = history.record(pushed[0].says.model, there)
        for number, tag in enumerate(pushed):
            after = self._after(tag, there) if self.standing else set()
            before = [one for one in there if one.oid not in after]
            case = Case(
                tag,
                history.record(tag.says.model, before) if after else recorded,
                history.record(tag.says.model, [*before, *pushed[:number]]),
                pushed[:number],
                [*pushed[number + 1 :], *(one for one in there if one.oid in after)],
            )
            for text, hint in (*self._when(case), *_counter(case), *self.deeds.judge(case)):
                self._wrong(TAGS + tag.name, text, hint)

    def _after(self, tag: Tag, there: Sequence[Tag]) -> set[str]:
        """The ids of the tags that were written after one."""
        times = {one.oid: one.time for one in (*there, tag)}
        return {one.oid for one in there if one.time > tag.time and not self._did_not_see(one, tag, times)}

    def _did_not_see(self, one: Tag, tag: Tag, times: Mapping[str, int]) -> bool:
        """Whether a tag with a later time shows that it was written when the other was not there yet.

        gitreg's tags name the one before; of others, the counters tell.
        """
        previous = self.view.trailers(one).get("Gitreg-Previous")
        if previous is not None:
            return previous == "none" or times.get(previous, tag.time) < tag.time
        counters = one.says.counter, tag.says.counter
        return None not in counters and counters[0] < counters[1]  # type: ignore[operator]

    def _when(self, case: Case) -> Wrong:
        when = case.tag.time
        last = case.known.tags[-1] if case.known.tags else None
        again = f"git tag -d {shlex.quote(case.tag.name)}; then write it again, by a clock that is right"
        if last and when <= last.time:
            text = f"its time, {moment(when)}, is not after that of {last.name}, {moment(last.time)}"
            yield f"{text}; GTO goes by time, so it would change what was", again
        if when > max(self.now, case.before.time) + AHEAD:
            text = f"its time, {moment(when)}, is more than {AHEAD // 60} minutes in the future"
            yield f"{text}; here it is {moment(self.now)}", again


def _counter(case: Case) -> Wrong:
    counter, highest = case.tag.says.counter, case.known.counter
    next_one = f"the next is {case.tag.says._replace(counter=highest + 1)}"
    if counter is None:
        if case.tag.says.stage:
            yield "its name has no counter", next_one
        return
    same = next((one.name for one in case.known.tags if one.says.counter == counter), None)
    if same:
        yield f"its counter, {counter}, is that of {same} too; each tag of a model has its own", next_one
    elif counter > highest + ROOM:
        yield f"its counter, {counter}, is far above the model's highest, {highest}", next_one
