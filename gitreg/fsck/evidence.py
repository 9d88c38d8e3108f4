"""What fsck goes by: every tag and what its object says, the remote's tags, the ledger. Read once."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gitreg import history, ownership, tagobjects
from gitreg.errors import Outside
from gitreg.fsck.cures import Cures
from gitreg.git import must, objects, plain, refs
from gitreg.ledger import Ledger, Seen
from gitreg.recorded import ModelRecord, OddTag, Tag
from gitreg.tagspace import prefix_of

if TYPE_CHECKING:
    from gitreg.registry import Registry

_TAGGER = re.compile(rb"[^<>\n]*<[^<>\n]*> ([0-9]+) [+-]([0-9]{2})[0-9]{2}\Z")
_COMMIT = re.compile(rb"object ([0-9a-f]+)\ntype commit\n")
_END_OF_9999 = 253_402_214_400  # Python's dates, and so GTO's, end there; a day less for time zones


class Said(NamedTuple):
    """What the object of an annotated tag says.

    Attributes:
        type: of the object that it names.
        name: its own name, which its reference may differ from.
        unreadable: why GTO cannot read it; empty where it can.
        previous: the trailer Gitreg-Previous: an id, "none", or empty for a tag that gitreg did not write.
        trailers: all of them, of registrations.
        odd: what is odd about it, for gitreg's readers.
    """

    type: str
    name: str
    unreadable: str = ""
    previous: str = ""
    trailers: Mapping[str, str] = {}
    odd: str = ""


def said(data: bytes, registers: bool) -> Said | None:
    """Read a tag object; None when it is none.

    Args:
        registers: whether its trailers are wanted.
    """
    head, _, body = data.partition(b"\n\n")
    lines: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        lines.setdefault(key, value)
    if not data.startswith(b"object ") or b"tag" not in lines or b"type" not in lines:
        return None
    trailers = objects.trailers(objects.message_of(data)) if b"\nGitreg-" in body else {}
    return Said(
        lines[b"type"].decode("utf-8", "replace"),
        lines[b"tag"].decode("utf-8", "surrogateescape"),
        _unreadable(lines.get(b"tagger"), body),
        trailers.get("Gitreg-Previous", ""),
        trailers if registers else {},
        tagobjects.read("tag", data).odd,
    )


def _unreadable(tagger: bytes | None, body: bytes) -> str:
    if tagger is None:
        return "it has no tagger"
    found = _TAGGER.match(tagger)
    if not found or int(found[2]) > 23:
        return f"its tagger is {tagger.decode('utf-8', 'backslashreplace')!r}"
    if int(found[1]) > _END_OF_9999:
        return f"its time is {found[1].decode()}, after the year 9999"
    try:
        (tagger + body).decode("utf-8")
    except UnicodeDecodeError:
        return "it is not UTF-8"
    return ""


@dataclass
class Evidence:
    """All that is known of a registry's tags.

    Attributes:
        tags: those that record something.
        odd: those that use a registry's signs, and record nothing.
        said: object id -> what the tag object says; without an entry, it is no tag object.
        remote: the remote that counts; None without one.
        there: name -> object id of its tags; None where it is not known.
        silent: why the remote could not be asked.
        shallow: whether commits that tags name may be missing here.
    """

    registry: Registry
    tags: list[Tag]
    odd: list[OddTag]
    records: Mapping[str, ModelRecord]
    said: Mapping[str, Said]
    ledger: Ledger
    seen: Mapping[str, Seen]
    remote: str | None = None
    there: Mapping[str, str] | None = None
    silent: Outside | None = None
    shallow: bool = False
    now: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.good = {tag.name: tag for tag in self.tags}
        self.here = {tag.name: tag.oid for tag in self.tags} | {odd.name: odd.oid for odd in self.odd}
        self.space = self.registry.space
        self.cures = Cures(self.remote, self.here, self.there, self.now, self.space.prefix)
        # Object id -> the first tag that names it as the one before: that is what makes the chain.
        self.namers: dict[str, str] = {}
        for tag in self.tags:
            if previous := self.of(tag).previous:
                self.namers.setdefault(previous, tag.name)

    def of(self, tag: Tag) -> Said:
        """What the object of a tag says."""
        return self.said.get(tag.oid, _NOTHING)


_NOTHING = Said("", "")


def gather(registry: Registry, remote: str | None) -> Evidence:
    """Read everything.

    Args:
        remote: whose tags are compared; by default the one that the branch follows, or origin.

    Raises:
        Outside: Git cannot read its own references.
    """
    assert registry.git_folder
    tags, odd, foreign = _own(registry)
    said_of = _read(registry, {t.oid: t.says.kind == "register" for t in tags} | {o.oid: False for o in odd})
    name = remote or refs.default_remote(registry.root)
    if name and name.startswith("-"):
        name = None  # it would be an option in every command
    there: dict[str, str] | None = None
    silent: Outside | None = None
    if name:
        try:
            there = _listed(registry, name, {t.name for t in tags} | {o.name for o in odd}, foreign)
        except Outside as error:
            silent = error
    ledger = Ledger(registry.git_folder / "gitreg")
    shallow = refs.is_shallow(registry.root)
    records = history.by_model(tags, odd)
    here = {tag.name for tag in tags} | {one.name for one in odd}
    seen = _seen(registry, ledger.seen(), here, foreign)
    return Evidence(registry, tags, odd, records, said_of, ledger, seen, name, there, silent, shallow)


def _own(registry: Registry) -> tuple[list[Tag], list[OddTag], set[str]]:
    """The registry's tags, those that are like them, and the names of those that are another registry's."""
    space = registry.space
    tags, odd = refs.tags(registry.root, None, space)
    owner = ownership.Owner(registry.root, space)
    light = [Tag(o.name, o.oid, o.oid, 0, o.says) for o in odd if o.says and o.kind == "lightweight"]
    foreign = owner.foreign([*tags, *light])
    if space.prefix:
        foreign |= {one.name for one in odd if not one.name.startswith(f"{space.prefix}=")}
    elif not owner.alone:
        models = {tag.says.model for tag in tags if tag.name not in foreign}
        foreign |= {o.name for o in odd if o.says is None and re.split("[@#]", o.name)[0] not in models}
    odd += _strays(registry, owner)
    mine = [tag for tag in tags if tag.name not in foreign]
    return mine, [one for one in odd if one.name not in foreign], foreign


def _strays(registry: Registry, owner: ownership.Owner) -> list[OddTag]:
    """Tags with the prefix of no registry that make GTO fail, so that somebody is told of them."""
    from gitreg.fsck import gto

    raw = plain.tags(registry.root)
    if b"=" not in raw or b"@created" not in raw:
        return []
    lines = (line.partition(" ") for line in raw.decode("utf-8", "surrogateescape").split("\n"))
    return [
        OddTag(name, oid, "unparsable")
        for oid, _, name in lines
        if (prefix := prefix_of(name))
        and prefix != registry.space.folder
        and prefix not in owner.others
        and gto.fails_on(name, None)
    ]


def _seen(
    registry: Registry, seen: Mapping[str, Seen], here: Collection[str], foreign: Collection[str]
) -> dict[str, Seen]:
    """What was seen of this registry's tags: the ledger is that of all registries of a repository."""
    space = registry.space
    kept = {name: one for name, one in seen.items() if space.concerns(name) and name not in foreign}
    gone: list[Tag] = []
    for name, one in kept.items():
        says = space.parse(name)
        if name not in here and says and not says.prefix:
            raw = registry.reader.read(one.oid)
            found = _COMMIT.match(raw[1]) if raw else None
            if found:
                gone.append(Tag(name, one.oid, found[1].decode(), 0, says))
    others = ownership.Owner(registry.root, space).foreign(gone) if gone else set()
    return {name: one for name, one in kept.items() if name not in others}


def _read(registry: Registry, registers: Mapping[str, bool]) -> dict[str, Said]:
    """What tag objects say, by their ids, of those that are some and can be read.

    Args:
        registers: id -> whether its trailers are wanted.
    """
    objects = plain.objects(registry.root, [*registers], refs.MOST_TAG)
    pairs = zip(registers.items(), objects, strict=True)
    found = {oid: said(one.data, wanted) for (oid, wanted), one in pairs if one is not None}
    return {oid: one for oid, one in found.items() if one is not None}


def _listed(
    registry: Registry, remote: str, own: Collection[str], foreign: Collection[str]
) -> dict[str, str]:
    """The tags of a remote that may be this registry's.

    Args:
        own, foreign: names of tags that are here: this registry's, and others'.

    Raises:
        Outside: it cannot be reached.
    """
    listed = must(registry.root, ["ls-remote", "--quiet", "--tags", "--end-of-options", remote])
    found = {}
    space = registry.space
    start = f"{space.prefix}=" if space.prefix else ""
    for line in listed.split("\n"):
        oid, _, full = line.partition("\t")
        name = full.removeprefix("refs/tags/")
        if not full or name.endswith("^{}") or name in foreign:
            continue
        if name in own or (name.startswith(start) and space.concerns(name)):
            found[name] = oid
    return found
