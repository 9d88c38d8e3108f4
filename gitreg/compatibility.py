"""What a change of a model's schema means for its callers. No I/O.

A caller sends inputs and reads outputs. A change that can break one is major, one that gives more is
minor:

    what changed              | input                              | output
    --------------------------+------------------------------------+------------------------------------
    removed                   | major                              | major
    added                     | required: major, optional: minor   | minor
    data_type                 | major                              | major
    shape: fixed length to -1 | minor, it takes all that it took   | major, callers may get other lengths
    shape: -1 to fixed length | major, it refuses what it took     | minor, callers handle any length
    shape: anything else      | major                              | major
    optional to required      | major                              | -
    required to optional      | minor                              | -
    order of the items        | no change                          | no change

A shape whose dimensions change in both directions is major. A schema that appears where there was none
is minor, and one that disappears is major.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from gitreg.model import ModelSchema, ModelSchemaItem

Level = Literal["major", "minor", "patch"]
Side = Literal["input", "output", "schema"]


@dataclass(frozen=True)
class Change:
    """One difference between two schemas.

    Attributes:
        level: the smallest bump that says it to callers.
        side: where it is; "schema" when a whole schema appeared or disappeared.
        name: of the input or output; empty when `side` is "schema".
        text: for a person, as "input 'age' was removed".
    """

    level: Level
    side: Side
    name: str
    text: str


def compare(old: ModelSchema | None, new: ModelSchema | None) -> list[Change]:
    """Every difference, inputs before outputs and each by name; the rules are in the module's docstring.

    Names are unique on each side, as `gitreg.schema.schema_mistakes` demands.
    """
    if old is None and new is None:
        return []
    if old is None:
        return [Change("minor", "schema", "", "a schema where there was none")]
    if new is None:
        return [Change("major", "schema", "", "the schema was removed")]
    return [
        *_side("input", old.input_schema, new.input_schema),
        *_side("output", old.output_schema, new.output_schema),
    ]


def needed_bump(changes: Iterable[Change]) -> Level:
    """The smallest bump that covers all changes; "patch" when there are none."""
    levels = {change.level for change in changes}
    return "major" if "major" in levels else "minor" if "minor" in levels else "patch"


def compatible(old: ModelSchema | None, new: ModelSchema | None) -> bool:
    """Whether callers of `old` keep working with `new`: no change is major."""
    return needed_bump(compare(old, new)) != "major"


def _side(side: Side, old: list[ModelSchemaItem], new: list[ModelSchemaItem]) -> Iterator[Change]:
    before, after = {item.name: item for item in old}, {item.name: item for item in new}
    for name in sorted({*before, *after}):
        if name not in after:
            yield Change("major", side, name, f"{side} {name!r} was removed")
        elif name not in before:
            yield _added(side, after[name])
        else:
            yield from _differences(side, before[name], after[name])


def _added(side: Side, item: ModelSchemaItem) -> Change:
    what = f"{item.name!r} ({item.describe()})"
    if side == "output":
        return Change("minor", side, item.name, f"new output {what}")
    if item.optional:
        return Change("minor", side, item.name, f"new optional input {what}")
    return Change("major", side, item.name, f"new required input {what}")


def _differences(side: Side, old: ModelSchemaItem, new: ModelSchemaItem) -> Iterator[Change]:
    place, name = f"{side} {new.name!r}", new.name
    if old.data_type != new.data_type:
        text = f"{place}: data_type {old.data_type.value} became {new.data_type.value}"
        yield Change("major", side, name, text)
    before, after = list(old.shape or []), list(new.shape or [])
    if before != after:
        # An input must take all that it took; an output must give nothing that it never gave.
        safe = _covers(after, before) if side == "input" else _covers(before, after)
        yield Change("minor" if safe else "major", side, name, f"{place}: shape {before} became {after}")
    # None and False both mean required.
    if side == "input" and bool(old.optional) != bool(new.optional):
        yield (
            Change("minor", side, name, f"{place} became optional")
            if new.optional
            else Change("major", side, name, f"{place} became required")
        )


def _covers(wide: list[int], narrow: list[int]) -> bool:
    """Whether every array of the narrow shape also has the wide shape."""
    return len(wide) == len(narrow) and all(w in (-1, n) for w, n in zip(wide, narrow, strict=True))
