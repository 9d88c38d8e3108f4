"""Brings the index up to date with Git's references: reads only what is new, as one moment has it.

References change under us. They are read once, and the answer is theirs: what the index holds for a model is
used when it follows from just these references, and is made anew when not.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from gitreg import history, ownership, tagobjects
from gitreg.git import plain
from gitreg.index import Index
from gitreg.names import NAME
from gitreg.recorded import ModelRecord, OddTag, Tag, Version, uncollected
from gitreg.tagspace import Space
from gitreg.version import __version__
from gitreg.versions import order

# Another layout, or another reading of what manifests say, gets another number.
_LAYOUT = 4
_CHUNK = 5000
# Of a tag object of any size, as much as is looked at.
MOST_TAG = 256 << 10

# (what is done, how many of them are, how many there are)
Progress = Callable[[str, int, int], None]
Lines = dict[str, list[tuple[str, str]]]
# digest of a model's references -> its tags; the names of those that are another registry's.
Others = Callable[[Mapping[str, Sequence[Tag]]], dict[str, set[str]]]
_OWN = Space()


def version(space: Space) -> str:
    """What the index's rows depend on besides Git's objects."""
    from gitreg.manifest import schema_folder

    schema = zlib.crc32((schema_folder() / "model.schema.json").read_bytes())
    return f"{_LAYOUT} {__version__} {schema}{f' {space.prefix}' if space.prefix else ''}"


def digest(raw: bytes) -> str:
    """Of references, as `plain.tags` lists them."""
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def grouped(raw: bytes, space: Space = _OWN) -> Lines:
    """model -> (name, object id) of its tags. Tags of no model's name are none of ours."""
    groups: Lines = defaultdict(list)
    for oid, name, model in _line(space.folder).findall(raw.decode("utf-8", "surrogateescape")):
        groups[model].append((name, oid))
    return {model: lines for model, lines in groups.items() if NAME.match(model)}


@cache
def _line(folder: str) -> re.Pattern[str]:
    """A line of `plain.tags`. A name with a slash behind the prefix is in none of its patterns."""
    prefix = f"(?:{re.escape(folder)}=)?" if folder else ""
    return re.compile(rf"^([0-9a-f]+) ({prefix}([^@#/=\n]+)[@#][^/\n]*)$", re.MULTILINE)


def digest_of(lines: Sequence[tuple[str, str]]) -> str:
    """Of the references of one model."""
    return digest("\n".join(f"{oid} {name}" for name, oid in lines).encode("utf-8", "surrogateescape"))


def summaries(index: Index, root: Path, progress: Progress, space: Space = _OWN) -> dict[str, Any]:
    """model -> its summary, as the references are now."""
    return _whole(index, root, progress, space, index.summaries)


def bodies(index: Index, root: Path, progress: Progress, space: Space = _OWN) -> dict[str, Any]:
    """model -> all that its tags record, as the references are now."""
    return _whole(index, root, progress, space, index.bodies)


def _whole(
    index: Index, root: Path, progress: Progress, space: Space, read: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    while True:
        raw = plain.tags(root)
        now = digest(raw)
        with index.reading():
            if index.state == now:
                return read()
            known = index.digests()
        groups = grouped(raw, space)
        wanted = {model: digest_of(lines) for model, lines in groups.items()}
        stale = [model for model, of in wanted.items() if known.get(model) != of]
        rows = _rows(index, root, {model: groups[model] for model in stale}, wanted, progress, space)
        with index.writing():
            known = index.digests()
            if any(known.get(model) != of and model not in rows for model, of in wanted.items()):
                continue  # somebody else saw other references in between
            index.put(rows, known.keys() - wanted.keys())
            index.state = now
            return read()


class Told(NamedTuple):
    """What the tags of one model record, at one moment.

    Attributes:
        body: the same as plain data.
        words: tag object's id -> who wrote it, and its message.
        odd: tag object's id -> what is odd about it.
    """

    record: ModelRecord
    body: dict[str, Any]
    words: dict[str, tuple[str, str]]
    odd: dict[str, str]


def told(index: Index, root: Path, model: str, progress: Progress, space: Space = _OWN) -> Told:
    """What the tags of one model record, tag by tag; no other model's are read."""
    lines = grouped(plain.tags(root, [model], space), space).get(model, [])
    seen = _seen(index, root, [oid for _, oid in lines], progress)
    (known,) = records_of({model: lines}, seen, space, partial(others, index, root, space)).values()
    words = {oid: (said[4], said[5]) for oid, said in seen.items()}
    return Told(known, _body(known, seen), words, {oid: said[7] for oid, said in seen.items()})


# Objects ----------------------------------------------------------------------------------------


def _seen(index: Index, root: Path, oids: Sequence[str], progress: Progress) -> dict[str, list[Any]]:
    """What objects say, as `TagObject` has it, by their ids; kept as it goes, what is odd about them, too."""
    known = index.seen(oids)
    new = [oid for oid in dict.fromkeys(oids) if oid not in known]
    for start in range(0, len(new), _CHUNK):
        part = new[start : start + _CHUNK]
        fresh = {oid: read(said) for oid, said in zip(part, plain.objects(root, part, MOST_TAG), strict=True)}
        index.see(fresh)
        known.update(fresh)
        progress("tags read", start + len(part), len(new))
    return known


def read(said: plain.Object | None) -> list[Any]:
    """What the index keeps of a tag object: the fields of a `TagObject`."""
    return list(tagobjects.read(said.kind if said else None, said.data if said else b""))


def records_of(
    groups: Lines, seen: Mapping[str, list[Any]], space: Space, others: Others
) -> dict[str, ModelRecord]:
    """What the tags of models record of them, but for those that are another registry's.

    Args:
        groups: model -> name and id of each tag.
        seen: id to what `read` gave.
        others: tells which of them are another registry's.
    """
    read = {model: _parsed(lines, seen, space) for model, lines in groups.items()}
    digests = {model: digest_of(lines) for model, lines in groups.items()}
    foreign = others({digests[model]: good for model, (good, _) in read.items()})
    found = {}
    for model, (good, odd) in read.items():
        mine, theirs = ownership.apart(space, good, foreign[digests[model]])
        found[model] = history.by_model(mine, [*odd, *theirs]).get(model, ModelRecord(model))
    return found


def others(
    index: Index, root: Path, space: Space, groups: Mapping[str, Sequence[Tag]]
) -> dict[str, set[str]]:
    """The names of tags that are another registry's; what is asked once is kept.

    Args:
        groups: the digest of a model's references -> its tags.
    """
    found = {digest: set(names) for digest, names in index.others(groups).items()}
    rest = {digest: tags for digest, tags in groups.items() if digest not in found}
    if rest:
        names = ownership.Owner(root, space).foreign([tag for tags in rest.values() for tag in tags])
        fresh = {
            digest: {tag.name for tag in tags} & names if names else set() for digest, tags in rest.items()
        }
        index.keep_others({digest: sorted(some) for digest, some in fresh.items()})
        found.update(fresh)
    return found


def _parsed(
    lines: Sequence[tuple[str, str]], seen: Mapping[str, list[Any]], space: Space
) -> tuple[list[Tag], list[OddTag]]:
    """The tags of a model, and those that record nothing."""
    good: list[Tag] = []
    odd: list[OddTag] = []
    for name, oid in lines:
        says = space.parse(name)
        kind, target, commit, moment, _, _, own, _ = seen[oid]
        if says is not None and kind == "tag" and target == "commit" and own == name:
            good.append(Tag(name, oid, commit, moment, says))
        elif says is not None and kind == "tag" and target == "commit":  # GTO goes by the name in the object
            odd.append(OddTag(name, oid, "renamed", says))
        elif says is not None:
            odd.append(OddTag(name, oid, tagobjects.nothing(kind, target), says))
    return good, odd


# Rows -------------------------------------------------------------------------------------------


def _rows(
    index: Index,
    root: Path,
    groups: Lines,
    digests: Mapping[str, str],
    progress: Progress,
    space: Space,
) -> dict[str, tuple[str, Any, Any]]:
    rows = {}
    with uncollected():
        seen = _seen(index, root, [oid for lines in groups.values() for _, oid in lines], progress)
        for model, known in records_of(groups, seen, space, partial(others, index, root, space)).items():
            made = _body(known, seen)
            rows[model] = (digests[model], summary(known, made), made)
    return rows


def trailers(message: str) -> dict[str, str]:
    """The trailers of a tag's message."""
    if "\nGitreg-" not in message:
        return {}
    if "\r" in message or "-----BEGIN " in message:
        from gitreg.git.objects import trailers as read

        return read(message)
    return {key: value.strip() for key, value in _TRAILER.findall(message.rstrip().rpartition("\n\n")[2])}


_TRAILER = re.compile(r"^([A-Za-z][A-Za-z0-9-]*): ([^\n]*)$", re.MULTILINE)


def _body(known: ModelRecord, seen: Mapping[str, list[Any]]) -> dict[str, Any]:
    """A model's record as plain data; `catalog` makes objects of it."""
    latest = max(known.registered.values(), key=_precedence, default=None)
    stages = sorted(known.stages.items(), key=lambda one: _since(known, *one))
    return {
        "id": known.id,
        "latest": latest.version if latest else None,
        "deprecated": known.deprecated is not None,
        "updated": known.time,
        "odd": _oddities(known, seen),
        "versions": [_version(one, stages, seen) for one in known.versions.values()],
        "stays": [
            {
                "stage": stay.stage,
                "version": stay.version,
                "tag": stay.tag.name,
                "since": stay.tag.time,
                "by": seen[stay.tag.oid][4],
                "message": _first(seen[stay.tag.oid][5]),
                "until": stay.until.time if stay.until else None,
            }
            for stay in known.stays
        ],
    }


def _oddities(known: ModelRecord, seen: Mapping[str, list[Any]]) -> list[str]:
    """What is odd about a model's tags, a sentence each."""
    found = [f"{tag.name}: {seen[tag.oid][7]}" for tag in known.tags if seen[tag.oid][7]]
    return [*found, *known.reasons]


def _version(
    one: Version, stages: Iterable[tuple[str, str]], seen: Mapping[str, list[Any]]
) -> dict[str, Any]:
    who, message = seen[one.tag.oid][4:6]
    said = trailers(message)
    given = said.get("Gitreg-Ordinal", "")
    return {
        "version": one.version,
        "ordinal": int(given) if given.isdigit() and len(given) < 10 else one.number,
        "oid": one.tag.oid,
        "tag": one.tag.name,
        "commit": one.tag.commit,
        "time": one.tag.time,
        "by": who,
        "message": _first(message),
        "trailers": said,
        "odd": [f"{one.tag.name}: {seen[one.tag.oid][7]}"] if seen[one.tag.oid][7] else [],
        "gone": one.gone.time if one.gone else None,
        "stages": [stage for stage, version in stages if version == one.version],
    }


def summary(known: ModelRecord, made: Mapping[str, Any]) -> dict[str, Any]:
    """What `list` shows: the model, and the version whose words hold for it."""
    versions = made["versions"]
    about = max(versions, key=lambda v: (v["gone"] is None, _precedence_of(v["version"])), default=None)
    return {
        "id": made["id"],
        "latest": made["latest"],
        "deprecated": made["deprecated"],
        "updated": made["updated"],
        "created": known.first.time if known.first else 0,
        "odd": made["odd"],
        "count": len(known.registered),
        "stages": known.stages,
        "about": about,
    }


def _precedence(one: Version) -> tuple[Any, ...]:
    return _precedence_of(one.version)


@lru_cache(maxsize=100_000)
def _precedence_of(version: str) -> tuple[Any, ...]:
    return order(version)


def _since(known: ModelRecord, stage: str, version: str) -> int:
    return max((s.tag.time for s in known.stays if (s.stage, s.version) == (stage, version)), default=0)


def _first(message: str) -> str:
    return message.strip().partition("\n")[0][:1000]
