"""What pages tell of models and versions, as plain data that is safe to show: no objects,
no text that is endless or steers what shows it. Pure.

Data files and templates take the same data, so a page and the script on it never disagree.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from gitreg import formats, graph
from gitreg.catalogued import ModelVersion, ModelVersionStage, RegisteredModel
from gitreg.comparison import Directions
from gitreg.site import snippets
from gitreg.site.extras import Samples
from gitreg.site.texts import number, text

# Characters: of a text, of what the registry's table says of a model, of a word in it.
_MOST_TEXT, _MOST_SHORT, _MOST_WORD = 5_000, 140, 60
_MOST_ROWS, _MOST_TAGS, _MOST_OWNERS, _MOST_NODES = 500, 12, 8, 60
_FORMATS = {one.key: one for one in formats.FORMATS}
_MOST_KNOWN = 20_000
# Keys whose values versions of a model often share: they are written once.
POOLED = ("inputs", "outputs", "requirements", "samples", "tags", "params", "owners", "problems", "artifact")

T = TypeVar("T")


class Once:
    """Remembers what was made of the same: versions of a model, and models, often say the same things."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], Any] = {}

    def __call__(self, make: Callable[[Any], T], said: Any) -> T:
        """`make(said)`; `said` is plain data."""
        key = make.__name__, marshal.dumps(said, 2)  # whose bytes are equal where the data is
        if key not in self._known:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            self._known[key] = make(said)
        found: T = self._known[key]
        return found


def seconds(moment: datetime) -> int:
    """Since 1970."""
    return int(moment.timestamp())


def _pairs(values: Mapping[str, Any], most: int = _MOST_ROWS) -> list[list[str]]:
    shown = [[text(name, 200), text(value)] for name, value in list(values.items())[:most]]
    return shown + _more(len(values), most)


def _more(count: int, most: int) -> list[list[str]]:
    return [["\u2026", f"{count - most:,} more: gitreg show --json"]] if count > most else []


def _without_nothing(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if value not in (None, "", [], {}, False)}


# Models -----------------------------------------------------------------------------------------


def row(one: RegisteredModel) -> dict[str, Any]:
    """A model's line in the registry's table."""
    tags = list(one.tags.items())[:_MOST_TAGS]
    found = _without_nothing(
        {
            "name": one.name,
            "title": text(one.title, _MOST_WORD),
            "latest": one.latest,
            "stages": dict(one.stages),
            "owners": [text(owner, _MOST_WORD) for owner in one.owners[:_MOST_OWNERS]],
            "type": text(one.type, _MOST_WORD),
            "tags": [[text(name, _MOST_WORD), text(value, _MOST_WORD)] for name, value in tags],
            "about": text(" ".join(one.description[:1000].split()), _MOST_SHORT),
            "count": one.count,
            "deprecated": one.deprecated,
            "problems": bool(one.problems),
            "odd": bool(one.odd),
        }
    )
    return {**found, "updated": seconds(one.updated)}


def model(
    one: RegisteredModel,
    versions: Sequence[ModelVersion],
    stages: Sequence[str],
    ways: Directions,
    samples: Samples,
    place: str,
    once: Once,
) -> dict[str, Any]:
    """A model with its versions.

    Args:
        versions: the highest first.
        stages: in the order of registry.yaml.
        place: the registry, as snippets name it.
        once: for all models of a run.
    """
    told = [version(v, samples, place, once) for v in versions]
    metrics = dict.fromkeys(name for v in told for name, _ in v["metrics"])
    stays = {stay.tag: stay for v in versions for stay in v.stays}
    used = {stay.stage for stay in stays.values()}
    return {
        "name": one.name,
        "id": one.id,
        "title": text(one.title),
        "description": text(one.description, _MOST_TEXT),
        "tags": _pairs(one.tags),
        "owners": [text(owner) for owner in one.owners[:_MOST_ROWS]],
        "type": text(one.type),
        "latest": one.latest,
        "stages": [[s, one.stages[s]] for s in ordered(one.stages, stages)],
        "lanes": ordered(used, stages),
        "stays": [_stay(stay) for stay in sorted(stays.values(), key=lambda stay: stay.since)],
        "count": one.count,
        "created": seconds(one.created),
        "updated": seconds(one.updated),
        "deprecated": one.deprecated,
        "problems": _problems(one),
        **_odd(one.odd),
        "ways": {name: way for name in metrics if (way := ways.of(name))},
        "versions": told,
    }


def ordered(names: Iterable[str], stages: Sequence[str]) -> list[str]:
    """Names of stages: in registry.yaml's order, then those that it does not know."""
    there = set(names)
    return [s for s in stages if s in there] + sorted(there - set(stages))


def _stay(one: ModelVersionStage) -> dict[str, Any]:
    return {
        "stage": one.stage,
        "version": one.version,
        "since": seconds(one.since),
        "until": seconds(one.until) if one.until else None,
        "by": text(_name(one.by)),
        "message": text(one.message),
    }


def _name(who: str) -> str:
    """Without the address: a page is more public than a repository."""
    return who.rpartition(" <")[0] or who.partition("@")[0].lstrip("<")


# Versions ---------------------------------------------------------------------------------------


def version(one: ModelVersion, samples: Samples, place: str, once: Once) -> dict[str, Any]:
    """All that a page tells of a version."""
    asked = samples.of(one)
    return {
        "version": one.version,
        "ordinal": one.ordinal,
        "id": one.id,
        "uri": one.uri,
        "created": seconds(one.created),
        "by": text(_name(one.by)),
        "message": text(one.message),
        "tag": one.tag,
        "commit": one.commit,
        "gone": seconds(one.gone) if one.gone else None,
        "latest": one.latest,
        "stages": list(one.stages),
        "stays": [_stay(stay) for stay in one.stays],
        "about": text(one.release_description, _MOST_TEXT),
        "description": text(one.description, _MOST_SHORT * 4),
        "type": text(one.type),
        "license": text(one.license),
        "file": text(one.file or ""),
        "problems": once(_texts, _problems(one)),
        **_odd(one.odd),
        "owners": once(_texts, list(one.owners)),
        "tags": once(_pairs, dict(one.tags)),
        "params": once(_pairs, dict(one.params)),
        "metrics": [[text(n, 200), number(v)] for n, v in list(one.metrics.items())[:_MOST_ROWS]],
        "inputs": once(_items, list(one.inputs)),
        "outputs": once(_items, list(one.outputs)),
        "requirements": once(_texts, list(one.requirements)),
        "samples": asked.shown,
        "artifact": _artifact(one),
        "size": one.size,
        "hash": text(one.artifact_hash),
        "digest": text(one.digest),
        "trailers": [[k, text(v)] for k, v in one.trailers.items() if k.startswith("Gitreg-")][:50],
        "lineage": _lineage(one, once),
        "snippets": snippets.of(one, asked.first, place),
    }


def _problems(one: RegisteredModel | ModelVersion) -> list[str]:
    """What is wrong with a manifest, without what is told as odd."""
    return [text(problem) for problem in one.problems if problem not in one.odd]


def _odd(said: Sequence[str]) -> dict[str, list[str]]:
    return {"odd": _texts(said)} if said else {}


def _texts(said: Sequence[str]) -> list[str]:
    return [text(one) for one in said[:_MOST_ROWS]]


def _items(said: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_item(one) for one in said[:_MOST_ROWS]]


def _item(said: Mapping[str, Any]) -> dict[str, Any]:
    about = {"optional": said.get("optional") is True, "about": text(said.get("description", ""))}
    return {
        "name": text(said["name"]),
        "type": text(said["data_type"]),
        "shape": f"[{', '.join(text(n, 40) for n in said['shape'][:16])}]",
        **_without_nothing(about),
    }


def _artifact(one: ModelVersion) -> list[list[str]]:
    found = _FORMATS.get(one.format)
    said = one.artifact
    lines = {
        "path": said.get("path"),
        "pipeline stage": said.get("stage"),
        "address": said.get("url"),
        "registry": said.get("registry"),
        "image": one.image,
        "format": found.name if found else one.format,
        "loading it": f"{formats.risk(found)} (by its file name)" if found else "",
        "files": said.get("files"),
    }
    return [[name, text(value)] for name, value in lines.items() if value not in (None, "")]


def _lineage(one: ModelVersion, once: Once) -> dict[str, Any]:
    made = graph.of(one)
    nodes = made.nodes[:_MOST_NODES]
    kept = {node.id for node in nodes}
    return {
        "nodes": [once(_node, [node.id, node.kind, node.label, dict(node.details)]) for node in nodes],
        "edges": [[e.source, e.target, e.label] for e in made.edges if e.source in kept and e.target in kept],
    }


def _node(said: tuple[str, str, str, Mapping[str, str]]) -> dict[str, Any]:
    id, kind, label, details = said
    shown = ((k, _name(v) if k == "by" else v) for k, v in list(details.items())[:20])
    told = [[text(k, 60), text(v, 200)] for k, v in shown]
    return {"id": id, "kind": kind, "label": text(label, 200), "details": told}


# Files of data ----------------------------------------------------------------------------------


def script(function: str, *arguments: Any) -> str:
    """A script that hands data over: JSON that neither ends the script nor the page it may be put into."""
    said = ",".join(
        json.dumps(a, ensure_ascii=True, separators=(",", ":"), allow_nan=False) for a in arguments
    )
    return f"gitregSite.{function}({said.replace('<', chr(92) + 'u003c')});\n"


def pooled(told: Mapping[str, Any]) -> dict[str, Any]:
    """A model's data with what versions share written once: places in `pool` instead."""
    pool: list[Any] = []
    at: dict[bytes, int] = {}

    def put(value: Any) -> int:
        key = marshal.dumps(value, 2)
        if key not in at:
            at[key] = len(pool)
            pool.append(value)
        return at[key]

    versions = [{k: put(v) if k in POOLED else v for k, v in one.items()} for one in told["versions"]]
    return {**told, "versions": versions, "pool": pool}
