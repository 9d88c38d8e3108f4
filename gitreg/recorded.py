"""What Git's tags record of a registry: versions, what is and was in each stage. Frozen, and free of Git."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import MappingProxyType
from typing import NamedTuple

from gitreg.names import TagName
from gitreg.tagobjects import why_nothing
from gitreg.versions import order

_LAST = 253_402_300_799  # the last second of the year 9999


@contextmanager
def uncollected() -> Iterator[None]:
    """Make a great many records: the garbage collector would look at all of them again and again.

    That took a third of the time; what it looks for, cycles, is not in them.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Tag(NamedTuple):
    """One annotated tag whose name is a registry's.

    Attributes:
        name: as in `refs/tags/<name>`.
        oid: the tag object's id.
        commit: the commit that it names.
        time: its tagger time, seconds since 1970.
        says: its name, read.
    """

    name: str
    oid: str
    commit: str
    time: int
    says: TagName

    @property
    def when(self) -> datetime:
        """Its tagger time; one that no calendar has is the calendar's end."""
        return datetime.fromtimestamp(max(0, min(self.time, _LAST)), timezone.utc)


class OddTag(NamedTuple):
    """A tag that uses a registry's signs and records nothing.

    Attributes:
        kind: "lightweight", "unparsable" (its name), "renamed" (it bears the object of another tag),
            "missing" (its object cannot be read), "broken" (that does not say what it names), "foreign"
            (another registry's), or "of a tree" and the like.
        says: its name, read; None for one that cannot be.
    """

    name: str
    oid: str
    kind: str
    says: TagName | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version.

    Attributes:
        number: counts the model's registrations from 1, in their order.
        tag: the one that registered it.
        gone: the tag that deregistered it.
    """

    version: str
    number: int
    tag: Tag
    gone: Tag | None = None

    @property
    def id(self) -> str:
        """Stable for ever: registry tags are never moved."""
        return f"v_{self.tag.oid[:12]}"


@dataclass(frozen=True, slots=True)
class Stay:
    """A time for which a version was in a stage.

    Attributes:
        version: None where the tag names a commit of no registered version.
        until: the tag that ended it; None while it lasts.
    """

    stage: str
    version: str | None
    tag: Tag
    until: Tag | None = None


class Standing(NamedTuple):
    """Where a model stands: as much of its record as tells that there is nothing to do.

    Attributes:
        registered: the versions that are not deregistered.
        stages: stage -> the version in it.
    """

    registered: frozenset[str] = frozenset()
    stages: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class ModelRecord:
    """All that is recorded of one model.

    Attributes:
        versions: in order of registration, deregistered ones included.
        stays: in order of their beginning.
        active: stage -> versions that GTO counts as in it, by time of assignment; the last one is what
            is in the stage.
        counter: the highest of any of its tags.
        tags: all of them, as they took effect.
        first: the tag that registered its first version.
        deprecated: the tag that says so, if it is the last of all.
        taken: names of its tags that record nothing: lightweight ones, renamed ones, or those of a tree.
        foreign: names that tags of another registry in this repository have.
        odd: name and kind of each tag that records nothing.
    """

    name: str
    versions: Mapping[str, Version] = field(default_factory=dict)
    stays: tuple[Stay, ...] = ()
    active: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counter: int = 0
    tags: tuple[Tag, ...] = ()
    first: Tag | None = None
    deprecated: Tag | None = None
    taken: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    odd: tuple[tuple[str, str], ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why tags of it record nothing, a sentence each."""
        return tuple(f"{name} records nothing: {why_nothing(kind)}" for name, kind in self.odd)

    @property
    def time(self) -> int:
        """The tagger time of its last tag."""
        return self.tags[-1].time if self.tags else 0

    @property
    def stages(self) -> dict[str, str]:
        """stage -> the version in it."""
        return {stage: versions[-1] for stage, versions in self.active.items() if versions}

    @property
    def id(self) -> str:
        """Stable for ever: registry tags are never moved."""
        return f"m_{self.first.oid[:12]}" if self.first else ""

    @property
    def registered(self) -> dict[str, Version]:
        """The versions that are not deregistered."""
        return {name: v for name, v in self.versions.items() if v.gone is None}

    @property
    def last(self) -> Version | None:
        """The highest version that was ever registered."""
        return max(self.versions.values(), key=lambda v: order(v.version), default=None)

    @property
    def standing(self) -> Standing:
        """Where it stands."""
        return Standing(frozenset(self.registered), self.stages)

    def was_in(self, stage: str, version: str) -> bool:
        """Whether a version is, or ever was, in a stage."""
        return any(stay.stage == stage and stay.version == version for stay in self.stays)
