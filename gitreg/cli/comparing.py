"""compare, diff, lineage: versions side by side, what changed between two, and where one comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from gitreg.cli import output, tables
from gitreg.cli.reading import formatted, number

if TYPE_CHECKING:
    from gitreg.comparison import Comparison, Diff, Row

_WORDS = {"A": "added", "M": "changed", "D": "removed", "T": "changed"}
_MOST_FILES = 50


@click.command()
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option("--differences", is_flag=True, help="Only the lines in which the versions differ.")
@output.of_registry
@output.in_folder
@formatted(*tables.FORMATS)
def compare(
    references: tuple[str, ...], differences: bool, where: str | None, how: str | None, json_: bool
) -> None:
    """Put versions side by side: metrics with the best one marked, params, schema, requirements, size.

    The last line says whether the last version is better than the first.
    """
    found = output.catalog(where).compare(*references)
    if json_ or how == "json":
        output.print_json(_compared(found))
        return
    heads = [str(one) for one in found.versions]
    lines = [(kind, row) for kind, some in _groups(found) for row in some if not (differences and row.same)]
    if how in ("csv", "md"):
        rows = [[kind, row.name, *_cells(row), row.direction or ""] for kind, row in lines]
        tables.show(["", "name", *heads, "better"], rows, how)
        return
    there = [(kind, row) for kind, row in lines if any(value not in (None, "") for value in row.values)]
    tables.show(["", "name", *heads], [[kind, row.name, *map(_brief, _cells(row))] for kind, row in there])
    output.say()
    _schema_verdict(found.compatible, found.changes)
    output.say(found.verdict.text)


def _groups(found: Comparison) -> list[tuple[str, Sequence[Row]]]:
    return [
        ("metric", found.metrics),
        ("param", found.params),
        ("schema", found.schema),
        ("requires", found.requirements),
        ("tag", found.tags),
        ("", found.facts),
    ]


def _cells(row: Row) -> list[str]:
    """Values; the best ones get a star."""
    return [f"{_value(value)} *" if i in row.best else _value(value) for i, value in enumerate(row.values)]


def _value(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else number(value)


def _brief(text: str) -> str:
    """Hashes and times as people read them."""
    text = re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\+00:00$", r"\1 \2", text)
    return re.sub(r"\b((?:sha256:|md5:)?[0-9a-f]{12})[0-9a-f]{20,}\b", r"\1", text)


def _schema_verdict(compatible: bool, changes: Iterable[Any]) -> None:
    changes = list(changes)
    if not changes:
        output.say("schema: unchanged")
        return
    output.say(
        f"schema: {'compatible: callers keep working' if compatible else 'incompatible: callers break'}"
    )
    for change in changes:
        output.say(f"  {change.level:5}  {change.text}")


def _compared(found: Comparison) -> dict[str, Any]:
    return {
        "versions": [str(one) for one in found.versions],
        "metrics": _data(found.metrics),
        "params": _data(found.params),
        "schema": _data(found.schema),
        "requirements": _data(found.requirements),
        "tags": _data(found.tags),
        "facts": _data(found.facts),
        **_judged(found),
    }


def _judged(found: Comparison | Diff) -> dict[str, Any]:
    verdict = found.verdict
    return {
        "compatible": found.compatible,
        "changes": [
            {"level": one.level, "side": one.side, "name": one.name, "text": one.text}
            for one in found.changes
        ],
        "verdict": {
            "word": verdict.word,
            "text": verdict.text,
            "better": verdict.better,
            "worse": verdict.worse,
            "same": verdict.same,
        },
    }


def _data(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "values": row.values,
            "same": row.same,
            "direction": row.direction,
            "best": row.best,
        }
        for row in rows
    ]


@click.command()
@click.argument("old", metavar="REF")
@click.argument("new", metavar="REF")
@output.of_registry
@output.in_folder
@formatted(*tables.FORMATS)
def diff(old: str, new: str, where: str | None, how: str | None, json_: bool) -> None:
    """Show what changed from one version to another, and whether callers of the first keep working."""
    found = output.catalog(where).diff(old, new)
    if json_ or how == "json":
        output.print_json(_differing(found))
        return
    brief = (lambda text: text) if how in ("csv", "md") else _brief
    rows = [
        [kind, row.name, *(brief(_value(value)) for value in row.values), _step(row)]
        for kind, some in _changed(found)
        for row in some
    ]
    rows += [[f"schema {one.level}", one.name, "", "", one.text] for one in found.changes]
    files = found.files if how in ("csv", "md") else found.files[:_MOST_FILES]
    rows += [["file", path, "", "", _WORDS.get(letter, "changed")] for letter, path in files]
    tables.show(["", "name", str(found.old), str(found.new), ""], rows, how or "table")
    if how in ("csv", "md"):
        return
    if len(found.files) > _MOST_FILES:
        output.say(f"... {len(found.files) - _MOST_FILES} more files")
    output.say()
    words = {"major": "incompatible: callers break", "minor": "compatible, and gives more"}
    output.say(f"schema: {words.get(found.level, 'unchanged')}")
    output.say(found.verdict.text)


def _changed(found: Diff) -> list[tuple[str, Sequence[Row]]]:
    return [
        ("metric", found.metrics),
        ("param", found.params),
        ("requires", found.requirements),
        ("tag", found.tags),
        ("", found.facts),
    ]


def _step(row: Row) -> str:
    """How far a number went."""
    old, new = row.values
    numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in row.values)
    if not numbers:
        return ""
    word = "" if len(row.best) != 1 else ", better" if row.best[0] == 1 else ", worse"
    whole = isinstance(old, int) and isinstance(new, int)
    return f"{new - old:+,}{word}" if whole else f"{float(new) - float(old):+.6g}{word}"


def _differing(found: Diff) -> dict[str, Any]:
    return {
        "old": str(found.old),
        "new": str(found.new),
        "metrics": _data(found.metrics),
        "params": _data(found.params),
        "requirements": _data(found.requirements),
        "tags": _data(found.tags),
        "facts": _data(found.facts),
        "level": found.level,
        **_judged(found),
        "files": [{"status": letter, "path": path} for letter, path in found.files],
    }


@click.command()
@click.argument("reference", metavar="REF")
@output.of_registry
@output.in_folder
@formatted("tree", "dot", "mermaid", "json")
def lineage(reference: str, where: str | None, how: str | None, json_: bool) -> None:
    """Show where a version comes from: code, data, environment, run; and which stages it went to."""
    found = output.catalog(where).lineage(reference)
    if json_ or how == "json":
        output.print_json(found.data())
    elif how in ("dot", "mermaid"):
        output.lines((found.dot() if how == "dot" else found.mermaid()).split("\n"))
    else:
        lines = list(found.tree())
        for i, (depth, text) in enumerate(lines):
            output.say(_branches([d for d, _ in lines], i) + tables.cell_text(text) if depth else text)


def _branches(depths: Sequence[int], at: int) -> str:
    """The lines that lead to a line of a tree."""
    drawn = ""
    for depth in range(1, depths[at] + 1):
        following = next((d for d in depths[at + 1 :] if d <= depth), 0)
        more = following == depth
        if depth == depths[at]:
            drawn += "├── " if more else "└── "
        else:
            drawn += "│   " if more else "    "
    return drawn
