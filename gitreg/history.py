"""Tags -> what is recorded. Pure, and of one mind with GTO:

- state follows tagger time; tags of one second follow their counters;
- an assignment holds until its own version is unassigned from that stage, or deregistered;
- a stage tag means the version that was registered at its commit;
- lightweight tags record nothing. Neither does one whose object has another name: GTO takes it for that one.

Where several versions of a model are assigned to one stage, the one that was assigned last is in it. So
says `gto show`; with `--sort semver` it names the highest, and so `plan` unassigns higher ones before a
lower one returns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gitreg.names import TagName, parse_tag
from gitreg.recorded import ModelRecord, OddTag, Stay, Tag, Version


def by_model(tags: Iterable[Tag], odd: Iterable[OddTag] = ()) -> dict[str, ModelRecord]:
    """The record of every model that has a tag.

    Args:
        odd: tags that record nothing; their names and counters are taken all the same.
    """
    groups: dict[str, list[Tag]] = defaultdict(list)
    taken: dict[str, list[TagName]] = defaultdict(list)
    foreign: dict[str, list[TagName]] = defaultdict(list)
    for tag in tags:
        groups[tag.says.model].append(tag)
    kinds: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for one in odd:
        says = one.says or parse_tag(one.name)
        if says is not None and one.kind == "foreign":
            foreign[says.model].append(says)
        elif says is not None:
            taken[says.model].append(says)
            kinds[says.model].append((one.name, one.kind))
    names = {**groups, **taken, **foreign}
    found = {
        name: record(name, groups.get(name, ()), taken.get(name, ()), foreign.get(name, ())) for name in names
    }
    return {
        name: replace(one, odd=tuple(kinds[name])) if name in kinds else one for name, one in found.items()
    }


def in_order(tags: Iterable[Tag]) -> list[Tag]:
    """Tags as they took effect."""
    return sorted(tags, key=lambda t: (t.time, t.says.counter or 0, t.name))


def record(
    name: str, tags: Iterable[Tag], taken: Sequence[TagName] = (), foreign: Sequence[TagName] = ()
) -> ModelRecord:
    """What the tags of one model record.

    Args:
        taken: names of its tags that record nothing.
        foreign: names of tags of another registry: these and their counters are no more free.
    """
    ordered = in_order(tags)
    story = _Story(ordered)
    for tag in ordered:
        story.take(tag)
    return ModelRecord(
        name,
        story.versions,
        _ended(story.past),
        story.active(),
        max([0, *(says.counter or 0 for says in (*(tag.says for tag in ordered), *taken, *foreign))]),
        tuple(ordered),
        next((tag for tag in ordered if tag.says.kind == "register"), None),
        ordered[-1] if ordered and ordered[-1].says.kind == "deprecate" else None,
        tuple(str(says) for says in taken),
        tuple(str(says) for says in foreign),
    )


class _Story:
    """Tags of one model, taken one by one."""

    def __init__(self, ordered: Sequence[Tag]) -> None:
        self.versions: dict[str, Version] = {}
        self.at: dict[str, str] = {}
        self.past: list[Stay] = []
        self.open: dict[tuple[str, str | None], int] = {}
        self.assigned: dict[str, list[str]] = {}
        for tag in ordered:
            version = tag.says.version
            if tag.says.kind == "register" and version and version not in self.versions:
                self.versions[version] = Version(version, len(self.versions) + 1, tag)
                self.at.setdefault(tag.commit, version)

    def active(self) -> dict[str, tuple[str, ...]]:
        """stage -> the registered versions that are assigned to it, by time."""
        found = {
            s: tuple(v for v in named if not self.versions[v].gone) for s, named in self.assigned.items()
        }
        return {stage: names for stage, names in found.items() if names}

    def take(self, tag: Tag) -> None:
        """What one tag changes."""
        kind, version, stage = tag.says.kind, tag.says.version, tag.says.stage
        if kind in ("register", "deregister") and version in self.versions:
            one = self.versions[version]
            if kind == "deregister":
                self.versions[version] = Version(one.version, one.number, one.tag, tag)
                for key in [key for key in self.open if key[1] == version]:
                    self._end(key, tag)
            elif one.gone:  # GTO lets a version be registered again, and it is where it was
                self.versions[version] = Version(one.version, one.number, one.tag)
                for there in [s for s, named in self.assigned.items() if version in named]:
                    self._begin((there, version), tag)
        elif stage:
            key = (stage, self.at.get(tag.commit))
            self._end(key, tag)
            if key[1] and key[1] in self.assigned.get(stage, ()):
                self.assigned[stage].remove(key[1])
            if kind == "assign":
                self._begin(key, tag)
                if key[1]:
                    self.assigned.setdefault(stage, []).append(key[1])

    def _begin(self, key: tuple[str, str | None], tag: Tag) -> None:
        self.open[key] = len(self.past)
        self.past.append(Stay(*key, tag))

    def _end(self, key: tuple[str, str | None], tag: Tag) -> None:
        index = self.open.pop(key, None)
        if index is not None:
            self.past[index] = Stay(*key, self.past[index].tag, tag)


def _ended(past: list[Stay]) -> tuple[Stay, ...]:
    """Stays as people see them: one ends when the next version comes into its stage."""
    following: dict[str, Tag] = {}
    whole: list[Stay] = []
    for stay in reversed(past):
        ends = [tag for tag in (stay.until, following.get(stay.stage)) if tag is not None]
        until = min(ends, key=lambda t: (t.time, t.says.counter or 0)) if ends else None
        whole.append(stay if until is stay.until else Stay(stay.stage, stay.version, stay.tag, until))
        following[stay.stage] = stay.tag
    return tuple(reversed(whole))
