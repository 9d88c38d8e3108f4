"""What a change of a schema means for callers: the table of the module's docstring, case by case."""

from __future__ import annotations

import itertools
import random

import pytest

from gitreg.compatibility import Change, compare, compatible, needed_bump
from gitreg.model import DataType, ModelSchema, ModelSchemaItem

KINDS = [kind for kind in DataType if kind is not DataType.UNKNOWN]
KEPT_INPUT = ModelSchemaItem("kept", DataType.LONG, [1])
KEPT_OUTPUT = ModelSchemaItem("score", DataType.FLOAT, [1])


def item(name: str = "x", kind: str = "float", *shape: int, optional: bool | None = None) -> ModelSchemaItem:
    return ModelSchemaItem(name, DataType(kind), list(shape) or [1], optional)


def inputs(*items: ModelSchemaItem) -> ModelSchema:
    return ModelSchema([KEPT_INPUT, *items], [KEPT_OUTPUT])


def outputs(*items: ModelSchemaItem) -> ModelSchema:
    return ModelSchema([KEPT_INPUT], [KEPT_OUTPUT, *items])


def said(old: ModelSchema | None, new: ModelSchema | None) -> list[tuple[str, str]]:
    return [(change.level, change.text) for change in compare(old, new)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (inputs(item("age")), inputs(), [("major", "input 'age' was removed")]),
        (inputs(item("age", optional=True)), inputs(), [("major", "input 'age' was removed")]),
        (inputs(), inputs(item("y", "float", 2)), [("major", "new required input 'y' (float [2])")]),
        (
            inputs(),
            inputs(item("y", "string", -1, optional=True)),
            [("minor", "new optional input 'y' (string [-1])")],
        ),
        (
            inputs(item()),
            inputs(item("x", "double")),
            [("major", "input 'x': data_type float became double")],
        ),
        (inputs(item()), inputs(item(optional=True)), [("minor", "input 'x' became optional")]),
        (inputs(item(optional=True)), inputs(item()), [("major", "input 'x' became required")]),
        (inputs(item(optional=True)), inputs(item(optional=False)), [("major", "input 'x' became required")]),
        (inputs(item(optional=False)), inputs(item()), []),
        (outputs(item("p")), outputs(), [("major", "output 'p' was removed")]),
        (outputs(), outputs(item("p", "double", 2)), [("minor", "new output 'p' (double [2])")]),
        (
            outputs(item("p")),
            outputs(item("p", "double")),
            [("major", "output 'p': data_type float became double")],
        ),
        # An output cannot be optional, which check says; it is no change of the schema.
        (outputs(item("p")), outputs(item("p", optional=True)), []),
        # A renamed input is another input.
        (
            inputs(item("age")),
            inputs(item("years")),
            [("major", "input 'age' was removed"), ("major", "new required input 'years' (float [1])")],
        ),
    ],
)
def test_items(old: ModelSchema, new: ModelSchema, expected: list[tuple[str, str]]) -> None:
    assert said(old, new) == expected


SHAPES = [
    # old, new, for an input, for an output
    ([4], [4], None, None),
    ([4], [-1], "minor", "major"),
    ([-1], [4], "major", "minor"),
    ([4], [5], "major", "major"),
    ([4], [4, 1], "major", "major"),
    ([4, 1], [4], "major", "major"),
    ([-1], [-1, -1], "major", "major"),
    ([-1, -1], [4], "major", "major"),
    ([2, 3], [-1, 3], "minor", "major"),
    ([2, 3], [-1, -1], "minor", "major"),
    ([-1, 3], [2, 3], "major", "minor"),
    ([-1, 3], [-1, -1], "minor", "major"),
    ([-1, 3], [2, -1], "major", "major"),
    ([-1, 3], [-1, 4], "major", "major"),
    ([2, 3], [3, 2], "major", "major"),
    (None, [1], "major", "major"),
    (None, None, None, None),
    (None, [], None, None),
]


@pytest.mark.parametrize(("old", "new", "for_input", "for_output"), SHAPES)
def test_shapes(
    old: list[int] | None, new: list[int] | None, for_input: str | None, for_output: str | None
) -> None:
    before, after = ModelSchemaItem("x", DataType.INT, old), ModelSchemaItem("x", DataType.INT, new)
    text = f"shape {old or []} became {new or []}"
    assert said(inputs(before), inputs(after)) == ([(for_input, f"input 'x': {text}")] if for_input else [])
    assert said(outputs(before), outputs(after)) == (
        [(for_output, f"output 'x': {text}")] if for_output else []
    )


@pytest.mark.parametrize(("old", "new"), [*itertools.product(KINDS, KINDS)])
def test_every_other_data_type_is_major_on_both_sides(old: DataType, new: DataType) -> None:
    levels = [] if old is new else ["major"]
    before, after = ModelSchemaItem("x", old, [1]), ModelSchemaItem("x", new, [1])
    for side in (inputs, outputs):
        assert [change.level for change in compare(side(before), side(after))] == levels


def test_one_item_can_change_in_several_ways() -> None:
    old, new = inputs(item("x", "float", 4, optional=True)), inputs(item("x", "double", -1))
    assert compare(old, new) == [
        Change("major", "input", "x", "input 'x': data_type float became double"),
        Change("minor", "input", "x", "input 'x': shape [4] became [-1]"),
        Change("major", "input", "x", "input 'x' became required"),
    ]


def test_a_name_on_both_sides_is_two_things() -> None:
    old = ModelSchema([item("x")], [item("x")])
    new = ModelSchema([item("x")], [item("x", "double")])
    assert [(change.side, change.name) for change in compare(old, new)] == [("output", "x")]


def test_a_tuple_is_the_same_shape_as_a_list() -> None:
    odd = ModelSchemaItem("x", DataType.FLOAT, (4,))  # type: ignore[arg-type]
    assert compare(inputs(item("x", "float", 4)), inputs(odd)) == []


def test_names_are_quoted() -> None:
    assert said(inputs(item("a\nb")), inputs()) == [("major", "input 'a\\nb' was removed")]


def test_a_schema_that_appears_or_disappears() -> None:
    schema = inputs(item())
    assert compare(None, None) == []
    assert compare(None, schema) == [Change("minor", "schema", "", "a schema where there was none")]
    assert compare(schema, None) == [Change("major", "schema", "", "the schema was removed")]
    assert compatible(None, schema) and not compatible(schema, None) and compatible(None, None)


def change(level: str) -> Change:
    return Change(level, "input", "x", "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("levels", "bump"),
    [
        ("", "patch"),
        ("patch", "patch"),
        ("minor", "minor"),
        ("minor patch", "minor"),
        ("patch minor", "minor"),
        ("minor major minor", "major"),
        ("major", "major"),
    ],
)
def test_the_needed_bump_is_the_largest_level(levels: str, bump: str) -> None:
    assert needed_bump(change(level) for level in levels.split()) == bump


def some_schema(dice: random.Random) -> ModelSchema:
    def some(names: str) -> list[ModelSchemaItem]:
        chosen = dice.sample(names, dice.randint(1, len(names)))
        return [
            ModelSchemaItem(
                name,
                dice.choice([DataType.FLOAT, DataType.DOUBLE]),
                [dice.choice([-1, 2, 3]) for _ in range(dice.randint(1, 2))],
                dice.choice([True, False, None]),
            )
            for name in chosen
        ]

    return ModelSchema(some("abcd"), some("pqr"))


def takes(item: ModelSchemaItem, shape: tuple[int, ...]) -> bool:
    wanted = item.shape or []
    return len(wanted) == len(shape) and all(w in (-1, n) for w, n in zip(wanted, shape, strict=True))


def lengths(rank: int) -> list[tuple[int, ...]]:
    return list(itertools.product([2, 3, 7], repeat=rank))


def a_caller_breaks(old: ModelSchema, new: ModelSchema) -> bool:
    """The rules once more, by trying out what a caller may send and may get."""
    sent = {i.name: i for i in old.input_schema}
    taken = {i.name: i for i in new.input_schema}
    read = {i.name: i for i in old.output_schema}
    given = {i.name: i for i in new.output_schema}
    if sent.keys() - taken.keys() or read.keys() - given.keys():
        return True
    if any(not i.optional and (name not in sent or sent[name].optional) for name, i in taken.items()):
        return True
    shapes = [*lengths(1), *lengths(2)]
    return any(
        i.data_type != taken[name].data_type
        or any(takes(i, shape) and not takes(taken[name], shape) for shape in shapes)
        for name, i in sent.items()
    ) or any(
        i.data_type != given[name].data_type
        or any(takes(given[name], shape) and not takes(i, shape) for shape in shapes)
        for name, i in read.items()
    )


@pytest.mark.parametrize("seed", range(20))
def test_random_schemas(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(50):
        old, new = some_schema(dice), some_schema(dice)
        changes = compare(old, new)
        assert compare(old, old) == compare(new, new) == []
        assert compatible(old, new) is not a_caller_breaks(old, new)
        shuffled = ModelSchema(
            dice.sample(new.input_schema, len(new.input_schema)),
            dice.sample(new.output_schema, len(new.output_schema)),
        )
        assert compare(old, shuffled) == changes and compare(new, shuffled) == []
        # What changed one way changed the other way too, in the same places.
        assert {(c.side, c.name) for c in compare(new, old)} == {(c.side, c.name) for c in changes}
        sides = [c.side for c in changes]
        assert sides == sorted(sides)
