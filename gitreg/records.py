"""What the tags record, model by model, as a plan needs it: where each model stands is kept in the index, and
only a model for which something may be to do has its tags read.

All of it is of the one moment at which the references were listed: what they name never changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, ItemsView, Iterator, Mapping, ValuesView
from pathlib import Path
from typing import Any

from gitreg import history, indexer
from gitreg.git import plain, refs
from gitreg.index import Index
from gitreg.recorded import ModelRecord, OddTag, Standing, Tag, uncollected

# So many models' tags are read one by one; of more, all tags are listed with what they say.
_MANY = 100

# model -> (digest of its references, the versions that are registered and what is in each stage; or nothing).
Rows = dict[str, tuple[str, Any]]


class Records(Mapping[str, ModelRecord]):
    """The record of every model that has a tag.

    Attributes:
        standings: where each of them stands.
    """

    def __init__(self, root: Path, raw: bytes, rows: Rows, known: Mapping[str, ModelRecord]) -> None:
        self.standings = {
            name: Standing(frozenset(said[0].split()), said[1]) for name, (_, said) in rows.items() if said
        }
        self._root, self._raw, self._known = root, raw, dict(known)

    def read(self, models: Collection[str]) -> None:
        """Have the records of some models at hand, as far as there are any: all at once."""
        new = [name for name in models if name in self.standings and name not in self._known]
        if new:
            self._known.update(_records(self._root, _lines(self._raw, new)))

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


def read(index: Index, root: Path) -> Records:
    """What the tags record now."""
    while True:
        with index.reading():
            first = index.standing_state is None
        if first:
            return _listed(index, root)
        raw = plain.tags(root)
        now = indexer.digest(raw)
        with index.reading():
            rows = index.standings()
            if index.standing_state == now:
                return Records(root, raw, rows, {})
        groups, digests = _grouped(raw)
        stale = [model for model, of in digests.items() if rows.get(model, ("",))[0] != of]
        if len(stale) > _MANY:
            return _listed(index, root)
        known = _records(root, {model: groups[model] for model in stale})
        fresh = {model: (digests[model], _row(known.get(model))) for model in stale}
        with index.writing():
            rows = index.standings()
            if any(model not in fresh and rows.get(model, ("",))[0] != of for model, of in digests.items()):
                continue  # somebody else saw other references in between
            index.stand(fresh, rows.keys() - digests.keys(), now)
        return Records(root, raw, {model: fresh.get(model) or rows[model] for model in digests}, known)


def _listed(index: Index, root: Path) -> Records:
    """As `read`, of what all tags say."""
    named: list[str] = []
    tags: list[Tag | OddTag] = []
    with uncollected():
        for line in refs.listed(root):
            name, _, oid, _ = line.split("\0", 3)
            named.append(f"{oid} {name}\n")
            if found := refs.read(line):
                tags.append(found)
        known = history.by_model(
            (tag for tag in tags if isinstance(tag, Tag)), (tag for tag in tags if isinstance(tag, OddTag))
        )
    raw = "".join(named).encode("utf-8", "surrogateescape")
    rows = {model: (digest, _row(known.get(model))) for model, digest in _grouped(raw)[1].items()}
    with index.writing():
        index.stand(rows, index.standings().keys() - rows.keys(), indexer.digest(raw))
    return Records(root, raw, rows, known)


def _grouped(raw: bytes) -> tuple[indexer.Lines, dict[str, str]]:
    groups = indexer.grouped(raw)
    return groups, {model: indexer.digest_of(lines) for model, lines in groups.items()}


def _row(known: ModelRecord | None) -> list[Any] | None:
    return [" ".join(known.registered), known.stages] if known else None


def _lines(raw: bytes, models: Collection[str]) -> indexer.Lines:
    """model -> (name, object id) of its tags, for some models; `raw` is sorted by name."""
    lines = raw.split(b"\n")[:-1]
    found: indexer.Lines = {}
    for model in models:
        ends = (
            bisect_left(lines, f"{model}{sign}".encode(), key=lambda line: line.partition(b" ")[2])
            for sign in ("#", "$", "@", "A")  # each sign of a tag, and the character after it
        )
        a, b, c, d = ends
        found.update(indexer.grouped(b"\n".join(lines[a:b] + lines[c:d])))
    return found


def _records(root: Path, groups: indexer.Lines) -> dict[str, ModelRecord]:
    """The records of models whose tags record anything, from their objects."""
    oids = [oid for lines in groups.values() for _, oid in lines]
    objects = plain.objects(root, oids, indexer.MOST_TAG)
    seen = {oid: indexer.read(said) for oid, said in zip(oids, objects, strict=True)}
    found = {model: indexer.record(model, lines, seen) for model, lines in groups.items()}
    return {model: known for model, known in found.items() if known.tags or known.taken}
