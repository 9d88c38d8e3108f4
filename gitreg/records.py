"""What the tags record, model by model, as a plan needs it: where each model stands is kept in the index, and
only a model for which something may be to do has its tags read.

All of it is of the one moment at which the references were listed: what they name never changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, ItemsView, Iterator, Mapping, ValuesView
from pathlib import Path
from typing import Any, NamedTuple

from gitreg import history, indexer, ownership
from gitreg.git import plain, refs
from gitreg.index import Index
from gitreg.recorded import ModelRecord, OddTag, Standing, Tag, uncollected
from gitreg.tagspace import Space

# So many models' tags are read one by one; of more, all tags are listed with what they say.
_MANY = 100

# model -> (digest of its references, the versions that are registered and what is in each stage; or nothing).
Rows = dict[str, tuple[str, Any]]


class Reading(NamedTuple):
    """Of whose tags records are read.

    Attributes:
        root: the registry's, or the folder of a bare repository.
        others: tells which tags are another registry's.
    """

    root: Path
    space: Space
    others: indexer.Others


class Records(Mapping[str, ModelRecord]):
    """The record of every model that has a tag.

    Attributes:
        standings: where each of them stands.
    """

    def __init__(self, reading: Reading, raw: bytes, rows: Rows, known: Mapping[str, ModelRecord]) -> None:
        self.standings = {
            name: Standing(frozenset(said[0].split()), said[1]) for name, (_, said) in rows.items() if said
        }
        self._reading, self._raw, self._known = reading, raw, dict(known)

    def read(self, models: Collection[str]) -> None:
        """Have the records of some models at hand, as far as there are any: all at once."""
        new = [name for name in models if name in self.standings and name not in self._known]
        if new:
            groups = _lines(self._raw, new, self._reading.space)
            self._known.update(_records(self._reading, groups))

    def __getitem__(self, model: str) -> ModelRecord:
        self.read([model])
        return self._known[model]

    def __contains__(self, model: object) -> bool:
        return model in self.standings

    def __iter__(self) -> Iterator[str]:
        return iter(self.standings)

    def __len__(self) -> int:
        return len(self.standings)

    def values(self) -> ValuesView[ModelRecord]:
        """All records."""
        self.read(self.standings)
        return super().values()

    def items(self) -> ItemsView[str, ModelRecord]:
        """All models and their records."""
        self.read(self.standings)
        return super().items()


def read(index: Index, reading: Reading) -> Records:
    """What the tags record now."""
    root, space = reading.root, reading.space
    while True:
        with index.reading():
            first = index.standing_state is None
        if first:
            return _listed(index, reading)
        raw = plain.tags(root)
        now = indexer.digest(raw)
        with index.reading():
            rows = index.standings()
            if index.standing_state == now:
                return Records(reading, raw, rows, {})
        groups, digests = _grouped(raw, space)
        stale = [model for model, of in digests.items() if rows.get(model, ("",))[0] != of]
        if len(stale) > _MANY:
            return _listed(index, reading)
        known = _records(reading, {model: groups[model] for model in stale})
        fresh = {model: (digests[model], _row(known.get(model))) for model in stale}
        with index.writing():
            rows = index.standings()
            if any(model not in fresh and rows.get(model, ("",))[0] != of for model, of in digests.items()):
                continue  # somebody else saw other references in between
            index.stand(fresh, rows.keys() - digests.keys(), now)
        kept = {model: fresh.get(model) or rows[model] for model in digests}
        return Records(reading, raw, kept, known)


def _listed(index: Index, reading: Reading) -> Records:
    """As `read`, of what all tags say."""
    space = reading.space
    named: list[str] = []
    tags: list[Tag] = []
    odd: list[OddTag] = []
    with uncollected():
        for line in refs.listed(reading.root):
            name, _, oid, _ = line.split("\0", 3)
            named.append(f"{oid} {name}\n")
            found = refs.read(line, space)
            if isinstance(found, Tag):
                tags.append(found)
            elif found is not None:
                odd.append(found)
        raw = "".join(named).encode("utf-8", "surrogateescape")
        digests = _grouped(raw, space)[1]
        groups: dict[str, list[Tag]] = defaultdict(list)
        for tag in tags:
            groups[digests[tag.says.model]].append(tag)
        foreign = set().union(*reading.others(groups).values())
        mine, others = ownership.apart(space, tags, foreign) if foreign else (tags, [])
        known = history.by_model(mine, [*odd, *others])
    rows = {model: (digest, _row(known.get(model))) for model, digest in digests.items()}
    with index.writing():
        index.stand(rows, index.standings().keys() - rows.keys(), indexer.digest(raw))
    return Records(reading, raw, rows, known)


def _grouped(raw: bytes, space: Space) -> tuple[indexer.Lines, dict[str, str]]:
    groups = indexer.grouped(raw, space)
    return groups, {model: indexer.digest_of(lines) for model, lines in groups.items()}


def _row(known: ModelRecord | None) -> list[Any] | None:
    return [" ".join(known.registered), known.stages] if known else None


def _lines(raw: bytes, models: Collection[str], space: Space) -> indexer.Lines:
    """model -> (name, object id) of its tags, for some models; `raw` is sorted by name."""
    lines = raw.split(b"\n")[:-1]
    found: indexer.Lines = {}
    for model in models:
        some: list[bytes] = []
        for start in space.artifacts(model):
            ends = (
                bisect_left(lines, f"{start}{sign}".encode(), key=lambda line: line.partition(b" ")[2])
                for sign in ("#", "$", "@", "A")  # each sign of a tag, and the character after it
            )
            a, b, c, d = ends
            some += [*lines[a:b], *lines[c:d]]
        found.update(indexer.grouped(b"\n".join(some), space))
    return found


def _records(reading: Reading, groups: indexer.Lines) -> dict[str, ModelRecord]:
    """The records of models whose tags record anything, from their objects."""
    oids = [oid for lines in groups.values() for _, oid in lines]
    objects = plain.objects(reading.root, oids, indexer.MOST_TAG)
    seen = {oid: indexer.read(said) for oid, said in zip(oids, objects, strict=True)}
    found = indexer.records_of(groups, seen, reading.space, reading.others)
    return {model: known for model, known in found.items() if known.tags or known.taken or known.foreign}
