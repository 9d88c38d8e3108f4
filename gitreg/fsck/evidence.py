"""What fsck goes by: every tag and what its object says, the remote's tags, the ledger. Read once."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gitreg import history
from gitreg.errors import Outside
from gitreg.fsck.cures import Cures
from gitreg.git import must, objects, refs
from gitreg.ledger import Ledger, Seen
from gitreg.names import is_like_a_tag
from gitreg.recorded import ModelRecord, OddTag, Tag

if TYPE_CHECKING:
    from gitreg.registry import Registry

_TAGGER = re.compile(rb"[^<>\n]*<[^<>\n]*> ([0-9]+) [+-]([0-9]{2})[0-9]{2}\Z")
_END_OF_9999 = 253_402_214_400  # Python's dates, and so GTO's, end there; a day less for time zones


class Said(NamedTuple):
    """What the object of an annotated tag says.

    Attributes:
        type: of the object that it names.
        name: its own name, which its reference may differ from.
        unreadable: why GTO cannot read it; empty where it can.
        previous: the trailer Gitreg-Previous: an id, "none", or empty for a tag that gitreg did not write.
        trailers: all of them, of registrations.
    """

    type: str
    name: str
    unreadable: str = ""
    previous: str = ""
    trailers: Mapping[str, str] = {}


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
        self.cures = Cures(self.remote, self.here, self.there, self.now)
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
    tags, odd = refs.tags(registry.root)
    said_of: dict[str, Said] = {}
    for tag in tags:
        _keep(registry, tag.oid, said_of, tag.says.kind == "register")
    for one in odd:
        _keep(registry, one.oid, said_of, False)
    name = remote or refs.default_remote(registry.root)
    if name and name.startswith("-"):
        name = None  # it would be an option in every command
    there: dict[str, str] | None = None
    silent: Outside | None = None
    if name:
        try:
            there = _listed(registry, name)
        except Outside as error:
            silent = error
    ledger = Ledger(registry.git_folder / "gitreg")
    shallow = refs.is_shallow(registry.root)
    records = history.by_model(tags, odd)
    return Evidence(
        registry, tags, odd, records, said_of, ledger, ledger.seen(), name, there, silent, shallow
    )


def _keep(registry: Registry, oid: str, found: dict[str, Said], registers: bool) -> None:
    if oid not in found:
        raw = registry.reader.read(oid)
        one = said(raw[1], registers) if raw else None
        if one:
            found[oid] = one


def _listed(registry: Registry, remote: str) -> dict[str, str]:
    """The tags of a remote that use a registry's signs.

    Raises:
        Outside: it cannot be reached.
    """
    listed = must(registry.root, ["ls-remote", "--quiet", "--tags", "--end-of-options", remote])
    found = {}
    for line in listed.split("\n"):
        oid, _, full = line.partition("\t")
        name = full.removeprefix("refs/tags/")
        if full and not name.endswith("^{}") and is_like_a_tag(name):
            found[name] = oid
    return found
