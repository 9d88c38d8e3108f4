"""Rules over arrays: read samples as a schema says, check them, infer a schema from them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gitreg.elements import are_whole, array_of, whole
from gitreg.errors import Refused
from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.names import input_name

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Sample = dict[str, Array]

# More names that a schema does not have are not told one by one.
_MOST_UNKNOWN = 1000


def schema_mistakes(schema: ModelSchema) -> list[str]:
    """Everything that makes a schema unfit for packaging."""
    found: list[str] = []
    for side, items in (("input", schema.input_schema), ("output", schema.output_schema)):
        if not items:
            found.append(f"model_schema has no {side}; at least one is required")
        names = [item.name for item in items]
        for name in sorted({n for n in names if names.count(n) > 1}):
            found.append(f"{side} {name!r} is declared twice")
        for item in items:
            found += [f"{side} {item.name!r}: {mistake}" for mistake in _item_mistakes(item, side)]
    return found


def _item_mistakes(item: ModelSchemaItem, side: str) -> Iterator[str]:
    if not isinstance(item.name, str) or not item.name:
        yield "a name is required"
    if not isinstance(item.data_type, DataType):
        yield f"data_type is {item.data_type!r}; a DataType is expected"
    elif item.data_type is DataType.UNKNOWN:
        yield "data_type is UNKNOWN; name one, as DataType.FLOAT"
    if not item.shape:
        yield "shape is required, as [4], [-1] for a variable length, [1] for a scalar"
    elif not all(isinstance(n, int) and (n > 0 or n == -1) for n in item.shape):
        yield f"shape {list(item.shape)}: each dimension is a positive length, or -1"
    if item.optional and side == "output":
        yield "an output cannot be optional"


def schema_of(data: Mapping[str, Any]) -> ModelSchema:
    """The schema that a record or schema.yaml holds as plain data."""

    def items(side: str) -> list[ModelSchemaItem]:
        return [
            ModelSchemaItem(
                str(i["name"]), DataType[i["data_type"]], [int(n) for n in i["shape"]], i.get("optional")
            )
            for i in data.get(side, ())
        ]

    return ModelSchema(items("input_schema"), items("output_schema"))


def aliases(schema: ModelSchema, names: Iterable[Any]) -> dict[Any, str]:
    """name that came -> the input that it means, for columns whose names no input can have."""
    came = [*names]
    known = {item.name for item in schema.input_schema}
    taken = known.intersection(one for one in came if isinstance(one, str))
    found: dict[Any, str] = {}
    for one in came:
        name = input_name(str(one)) if one not in taken else ""
        if name in known - taken:
            found[one] = name
            taken.add(name)
    return found


def single(item: ModelSchemaItem, array: Array) -> Array:
    """A value by itself, where the schema has one value, is that one; other arrays as they are."""
    return array.reshape(1) if array.ndim == 0 and item.shape == [1] else array


def read_sample(schema: ModelSchema, said: Any, custom: bool) -> tuple[Sample, list[tuple[str, str]]]:
    """Read one sample of plain data; inputs may be called as the columns that they stand for.

    Returns:
        The sample's arrays, and (input name, mistake) for each mistake; a name is empty when the
        sample as a whole is meant. An input that is null is not sent.
    """
    if not isinstance(said, Mapping):
        return {}, [("", f"expected a mapping of input name to array, got {type(said).__name__}")]
    if len(said) > len(schema.input_schema) + _MOST_UNKNOWN:
        return {}, [("", f"has {len(said):,} inputs; the schema has {len(schema.input_schema):,}")]
    meant = aliases(schema, said)
    said = {meant.get(name, name): value for name, value in said.items()}
    known = {item.name for item in schema.input_schema}
    said = {name: value for name, value in said.items() if value is not None or name not in known}
    mistakes: list[tuple[str, str]] = []
    sample: Sample = {}
    for item in schema.input_schema:
        if item.name in said:
            try:
                sample[item.name] = single(item, array_of(item, said[item.name]))
            except ValueError as error:
                mistakes.append((item.name, str(error)))
    read = {name for name, _ in mistakes}
    mistakes += [m for m in sample_mistakes(schema, sample, custom, set(said)) if m[0] not in read]
    return sample, mistakes


def sample_mistakes(
    schema: ModelSchema, sample: Mapping[str, Any], custom: bool, sent: set[str] | None = None
) -> list[tuple[str, str]]:
    """(input name, mistake) for everything in which a sample's arrays break the schema.

    With custom batching a sample is one row of the schema's shape, or a batch with one more
    dimension in front; all of its inputs must be the same of the two.
    """
    names = sent if sent is not None else set(sample)
    mistakes: list[tuple[str, str]] = []
    known = {item.name for item in schema.input_schema}
    batched = custom and is_batch(schema, sample)
    for item in schema.input_schema:
        if item.name not in names and not item.optional:
            mistakes.append((item.name, f"is missing; expected {item.describe()}"))
        elif item.name in sample and (mistake := item.mismatch(sample[item.name], batched)):
            mistakes.append((item.name, mistake))
    mistakes += [(name, "is not an input of the schema") for name in sorted(names - known)]
    lengths = {len(a) for name, a in sample.items() if name in known and getattr(a, "ndim", None)}
    if batched and not mistakes and len(lengths) > 1:
        mistakes.append(("", f"inputs with different batch lengths: {sorted(lengths)}"))
    return mistakes


def is_batch(schema: ModelSchema, sample: Mapping[str, Any]) -> bool:
    """Whether a sample's arrays have one dimension more than the schema says."""
    shapes = {item.name: item.shape or [] for item in schema.input_schema}
    ranks = [getattr(a, "ndim", 0) - len(shapes[name]) for name, a in sample.items() if name in shapes]
    return bool(ranks) and all(rank == 1 for rank in ranks)


def rows(schema: ModelSchema, sample: Sample, custom: bool) -> Sample:
    """A sample as Triton would send it: each array with a leading batch dimension."""
    if custom and is_batch(schema, sample):
        return sample
    return {name: array[None, ...] for name, array in sample.items()}


def infer_schema(inputs: Any, outputs: Any = None) -> ModelSchema:
    """The schema that sample data suggests.

    Args:
        inputs: a mapping of name to array for one sample, or a list of such mappings; a pandas or polars
            data frame, whose columns are inputs and whose rows are samples; or one array, for a model
            whose one input is `x`. With several samples a dimension that differs between them becomes
            -1, and an input that only some of them have becomes optional. Nested lists of Python values
            are read as NumPy reads them, with floats as FLOAT and integers as LONG.
        outputs: the same for the outputs, where one array is `y`; without it the schema has none.

    Raises:
        Refused: an array has no data type in gitreg, or samples disagree on type or rank.
    """
    given = _sides("output", outputs, "y") if outputs is not None else []
    return ModelSchema(_sides("input", inputs, "x"), given)


def _sides(side: str, data: Any, name: str) -> list[ModelSchemaItem]:
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return [_column(side, str(column), data[column]) for column in data.columns]
    if hasattr(data, "shape") and not isinstance(data, Mapping):
        return _items(side, {name: data})
    return _items(side, data)


def _column(side: str, name: str, column: Any) -> ModelSchemaItem:
    """A column of a data frame: one value per row. Missing values make it optional, not a float."""
    kept = column.drop_nulls() if hasattr(column, "drop_nulls") else column.dropna()
    array = kept.to_numpy()
    if array.dtype.kind == "O" and any(
        isinstance(v, (list, tuple)) or hasattr(v, "shape") for v in array[:1]
    ):
        rows = [_as_array(side, name, value) for value in array]
        return replace(_items(side, [{name: row} for row in rows])[0], optional=_some(side, column, kept))
    if array.dtype.kind == "f" and len(kept) < len(column) and are_whole(array).all():
        array = whole(array)
    array = _as_array(side, name, array)
    kind = DataType.of(array.dtype)
    if kind is DataType.UNKNOWN:
        raise Refused(f"{side} {name!r}: no data type for a column of {array.dtype.name}")
    return ModelSchemaItem(name, kind, [1], _some(side, column, kept))


def _some(side: str, column: Any, kept: Any) -> bool | None:
    return True if side == "input" and len(kept) < len(column) else None


def _items(side: str, data: Any) -> list[ModelSchemaItem]:
    samples: Sequence[Mapping[str, Any]] = data if isinstance(data, (list, tuple)) else [data]
    if not samples or not all(isinstance(s, Mapping) for s in samples):
        raise Refused(f"{side}s: expected a mapping of name to array, or a list of them")
    names = list(dict.fromkeys(name for sample in samples for name in sample))
    if not names:
        raise Refused(f"{side}s: there are none; at least one is expected")
    items = []
    for name in names:
        values = [sample[name] for sample in samples if name in sample]
        arrays = [_as_array(side, name, value) for value in values]
        kinds = {DataType.of(a.dtype) for a in arrays}
        if kinds == {DataType.LONG, DataType.FLOAT} and not any(hasattr(value, "dtype") for value in values):
            kinds = {DataType.FLOAT}  # a whole number is how people write a float that is one
        if len(kinds) > 1 or DataType.UNKNOWN in kinds:
            came = " and ".join(sorted({a.dtype.name for a in arrays}))
            raise Refused(f"{side} {name!r}: no {'one ' if len(kinds) > 1 else ''}data type for {came}")
        shapes = [a.shape or (1,) for a in arrays]
        if len({len(shape) for shape in shapes}) > 1:
            raise Refused(f"{side} {name!r}: samples of different ranks: {sorted(set(shapes))}")
        columns = list(zip(*shapes, strict=True))
        shape = [int(column[0]) if len(set(column)) == 1 and column[0] else -1 for column in columns]
        optional = True if side == "input" and len(arrays) < len(samples) else None
        items.append(ModelSchemaItem(name, kinds.pop(), shape, optional))
    return items


def _as_array(side: str, name: str, value: Any) -> Array:
    import numpy as np

    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return value
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        raise Refused(f"{side} {name!r}: rows of different lengths") from None
    if array.dtype.kind == "O":
        odd = next((e for e in array.ravel().tolist() if not isinstance(e, (str, bytes))), "")
        if odd != "":
            raise Refused(f"{side} {name!r}: no data type for values of type {type(odd).__name__}")
    return (
        array.astype(np.float32) if array.dtype == np.float64 and not isinstance(value, np.ndarray) else array
    )
