"""Search: rows of the index, a filter, an order, and pages that hold across processes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitreg import indexer, query, values
from gitreg.catalogued import ModelVersion, Page
from gitreg.errors import Usage
from gitreg.fields import Field
from gitreg.index import Again, Index
from gitreg.names import did_you_mean
from gitreg.query import Order

if TYPE_CHECKING:
    from gitreg.catalog import Catalog

# What every order ends with, so that it is total.
_TIES = (Order(Field("name", "text"), False), Order(Field("version", "version"), True))


@dataclass(frozen=True)
class Asked:
    """What is searched for; see `Catalog.search`."""

    expression: str = ""
    order_by: str = ""
    limit: int | None = None
    token: str | None = None
    latest: bool = False

    @property
    def mark(self) -> str:
        """By which a token is known as one of the same search."""
        said = json.dumps([self.expression, self.order_by, self.latest])
        return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def search(catalog: Catalog, index: Index, asked: Asked) -> Page:
    """See `Catalog.search`."""
    wanted = query.parse(asked.expression)
    order = (*query.parse_order(asked.order_by), *_TIES)
    if asked.limit is not None and asked.limit < 1:
        raise Usage(f"a page of {asked.limit} versions; at least 1 is expected")
    after = _after(asked, len(order)) if asked.token else None
    bodies = indexer.bodies(index, catalog.root, catalog.progress, catalog.space)
    entries = {
        entry["oid"]: (name, entry)
        for name, body in bodies.items()
        for entry in body["versions"]
        if entry["gone"] is None and (not asked.latest or entry["version"] == body["latest"])
    }
    asks = {*wanted.fields, *(key.field for key in order)}
    deep = not all(field.recorded for field in asks)
    if deep:
        catalog._contents(index, entries.values(), all_=True)
    found = list(_rows(index, bodies, entries, deep))
    if len(found) != len(entries):
        raise Again
    rows = query.sorted_rows([row for row in found if wanted.test(row)], order)
    total = len(rows)
    if after is not None:
        rows = [row for row in rows if _is_after(_keys(row, order), after, order)]
    page = rows if asked.limit is None else rows[: asked.limit]
    token = _token(asked, _keys(page[-1], order)) if len(page) < len(rows) else None
    contents = catalog._contents(index, [entries[row["_oid"]] for row in page])
    versions = [_version(bodies, entries, row["_oid"], contents) for row in page]
    return Page(versions, token, total, _notes(index, wanted.fields) if deep and not total else ())


def _rows(
    index: Index, bodies: Mapping[str, Any], entries: Mapping[str, tuple[str, Any]], deep: bool
) -> Iterator[dict[str, Any]]:
    """A row for each version: field -> value. What its author wrote is never taken for what tags record."""
    facts = (
        index.facts(list(entries) if len(entries) < 2000 else None) if deep else ((o, {}) for o in entries)
    )
    for oid, said in facts:
        if oid not in entries:
            continue  # of another moment
        name, entry = entries[oid]
        body = bodies[name]
        said.update(
            _oid=oid,
            name=name,
            version=entry["version"],
            ordinal=entry["ordinal"],
            id=f"v_{oid[:12]}",
            model_id=body["id"],
            created=entry["time"],
            by=entry["by"],
            message=entry["message"],
            commit=entry["commit"],
            digest=entry["trailers"].get("Gitreg-Digest"),
            stage=entry["stages"],
            latest=entry["version"] == body["latest"],
            deprecated=body["deprecated"],
        )
        yield said


def _version(
    bodies: Mapping[str, Any], entries: Mapping[str, tuple[str, Any]], oid: str, contents: Mapping[str, Any]
) -> ModelVersion:
    from gitreg.entries import version_of

    name, entry = entries[oid]
    return version_of(name, bodies[name], entry, contents)


def _notes(index: Index, fields: Sequence[Field]) -> list[str]:
    """Why there may be nothing: keys that no version has."""
    keyed = [field.name for field in fields if "." in field.name and not field.name.startswith("schema.")]
    if not keyed:
        return []
    known = {key for _, said in index.facts() for key in said}
    missing = [name for name in keyed if name not in known]
    return [f"no version has {name}{did_you_mean(name, known)}" for name in missing]


# Pages ------------------------------------------------------------------------------------------


def _keys(row: Mapping[str, Any], order: Sequence[Order]) -> list[Any]:
    """Where a row stands: for each key None, or what it is sorted by."""
    found = []
    for key in order:
        value = row.get(key.field.name)
        found.append(None if values.is_absent(value) else _plain(values.sort_key(key.field, value)))
    return found


def _plain(value: Any) -> Any:
    """As JSON brings it back."""
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _is_after(keys: Sequence[Any], last: Sequence[Any], order: Sequence[Order]) -> bool:
    for mine, its, key in zip(keys, last, order, strict=True):
        if mine == its:
            continue
        if mine is None or its is None:
            return mine is None
        return bool(mine < its) if key.down else bool(mine > its)
    return False


def _token(asked: Asked, keys: Sequence[Any]) -> str:
    said = json.dumps([asked.mark, keys], separators=(",", ":"))
    return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


def _after(asked: Asked, length: int) -> list[Any]:
    assert asked.token
    try:
        padded = asked.token + "=" * (-len(asked.token) % 4)
        mark, keys = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        if not isinstance(keys, list) or len(keys) != length:
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise Usage("this is no token of a page", "a page's token is printed below it") from None
    if mark != asked.mark:
        raise Usage("this token is of another search", "repeat the filter and the order of the page before")
    return keys
