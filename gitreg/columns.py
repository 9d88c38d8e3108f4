"""Held-out data, column by column -> what a model is asked, and what it should have answered. No I/O.

An input is a column of its name; an input of several values also columns `x[0]`, `x[1]`, ... (or `x.0`,
`x_0`); the only input that a model needs also all columns that are no targets, in their order. What stands in
no column, or is empty there, is a row that does not send an optional input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from gitreg.elements import are_whole, array_of, canonical, not_whole, whole
from gitreg.errors import Refused, Usage
from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.names import did_you_mean
from gitreg.schema import aliases

if TYPE_CHECKING:
    from gitreg.schema import Array

# Columns that hold the targets of a model's only or main output, if no column has the name of an output.
USUAL = ("target", "label", "y")
# Of several outputs, the one that these are the targets of: what a ready-made model predicts.
_MAIN = ("label", "prediction")
_FLOATS = (DataType.FLOAT, DataType.DOUBLE)
Column = Any  # an array with the rows along its first axis, or a list in which None is nothing


@dataclass
class Table:
    """Columns by name, of one length; an array of inputs that has no name is under the empty string."""

    rows: int
    columns: dict[str, Column] = field(default_factory=dict)

    @property
    def listed(self) -> str:
        """What there is, for a hint."""
        names = [name for name in self.columns if name]
        return f"columns: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"


class Rows(NamedTuple):
    """Rows that have the same inputs, of the same shapes."""

    numbers: Array
    inputs: dict[str, Array]


def parsed(said: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(output, column) of each `OUTPUT=COLUMN`.

    Raises:
        Usage: one is not of that form.
    """
    for text in said:
        output, _, column = text.partition("=")
        if not output or not column:
            raise Usage(f"{text!r} is not OUTPUT=COLUMN")
        yield output, column


# Targets --------------------------------------------------------------------------------------------


def targets_of(schema: ModelSchema, table: Table, said: Mapping[str, str]) -> dict[str, str]:
    """Output -> the column with its targets.

    Args:
        said: what the user says of it.

    Raises:
        Refused: there is no such output or column, or none can be told.
    """
    outputs = [item.name for item in schema.output_schema]
    inputs = {item.name for item in schema.input_schema}
    for output, column in said.items():
        if output not in outputs:
            guess = did_you_mean(output, outputs)
            raise Refused(f"there is no output '{output}'{guess}", f"outputs: {', '.join(outputs)}")
        if column not in table.columns:
            guess = did_you_mean(column, table.columns)
            raise Refused(f"there is no column '{column}'{guess}", table.listed)
    found = dict(said) or {name: name for name in outputs if name in table.columns and name not in inputs}
    main = outputs[0] if len(outputs) == 1 else next((name for name in _MAIN if name in outputs), "")
    if not found and main:
        usual = [name for name in USUAL if name in table.columns and name not in inputs]
        found = {main: usual[0]} if usual else {}
    if not found:
        names = dict.fromkeys([*outputs, *(USUAL if main else ())])
        hint = f"--target {main or outputs[0]}=COLUMN; {table.listed}"
        raise Refused(f"no column has targets: none is called {', '.join(names)}", hint)
    return found


def target(table: Table, column: str) -> tuple[Array, Array]:
    """The targets of a column, and which rows have one. Strings are str, and nothing is NaN.

    Raises:
        Refused: they are of several kinds.
    """
    import numpy as np

    data = table.columns[column]
    if isinstance(data, np.ndarray) and data.dtype.kind in "biuf":
        there = ~np.isnan(data) if data.dtype.kind == "f" else np.ones(data.shape, bool)
        return _flat(data), there.reshape(len(there), -1).all(axis=1)
    there = np.array([not _is_nothing(one) for one in data], bool)
    kept = [_text(one) for one in data if not _is_nothing(one)]
    try:
        values = np.array(kept) if kept else np.array([], float)
    except ValueError:
        raise Refused(f"the targets in '{column}' have different lengths") from None
    if values.dtype.kind == "U" and all(isinstance(one, str) for one in kept):
        values = values.astype(object)
    elif values.dtype.kind not in "biuf":
        raise Refused(f"the targets in '{column}' are neither numbers nor strings throughout")
    whole = np.full((len(there), *values.shape[1:]), "" if values.dtype.kind == "O" else 0, values.dtype)
    whole[there] = values
    return _flat(whole), there


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return _text(value[0]) if isinstance(value, list) and len(value) == 1 else value


def _flat(array: Array) -> Array:
    """One value per row where there is one."""
    return array.reshape(len(array)) if array.ndim > 1 and array[:1].size == 1 else array


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


# Inputs ---------------------------------------------------------------------------------------------


def rows_of(schema: ModelSchema, table: Table, targets: Sequence[str]) -> list[Rows]:
    """What a model is asked: every row, in groups of the same inputs and shapes.

    Raises:
        Refused: a column is missing, or a value is not as the schema says; with the column and the row.
    """
    import numpy as np

    found = {item.name: _column(schema, item, table, targets) for item in schema.input_schema}
    items = {item.name: item for item in schema.input_schema}
    read = {name: _read(items[name], column) for name, column in found.items() if column is not None}
    if all(isinstance(arrays, np.ndarray) for arrays in read.values()):
        return [Rows(np.arange(table.rows), read)]
    groups: dict[Any, list[int]] = {}
    for i in range(table.rows):
        key = tuple((name, arrays[i].shape) for name, arrays in read.items() if arrays[i] is not None)
        groups.setdefault(key, []).append(i)
    return [
        Rows(np.array(some), {name: np.stack([read[name][i] for i in some]) for name, _ in key})
        for key, some in groups.items()
    ]


def _column(schema: ModelSchema, item: ModelSchemaItem, table: Table, targets: Sequence[str]) -> Column:
    """The column, or columns put together, of an input; None where an optional one has none."""
    if item.name in table.columns:
        return table.columns[item.name]
    for column, name in aliases(schema, [one for one in table.columns if one not in targets]).items():
        if name == item.name:
            return table.columns[column]
    shape = list(item.shape or [1])
    count = shape[0] if len(shape) == 1 else 0
    for pattern in ("{}[{}]", "{}.{}", "{}_{}"):
        names = [pattern.format(item.name, i) for i in range(count)]
        if names and all(name in table.columns for name in names):
            return _together(item, table, names)
    if item.optional:
        return None
    rest = [name for name in table.columns if name not in targets and name]
    needed = [one for one in schema.input_schema if not one.optional]
    if needed == [item] and "" in table.columns:
        return table.columns[""]
    if needed == [item] and count == len(rest):
        return _together(item, table, rest)
    many = f", nor {count} columns that are no targets (there are {len(rest)})" if count > 1 else ""
    hint = f"{table.listed}; an input of several values is '{item.name}', or '{item.name}[0]' and so on"
    raise Refused(f"there is no column '{item.name}'{did_you_mean(item.name, rest)}{many}", hint)


def _together(item: ModelSchemaItem, table: Table, names: Sequence[str]) -> Column:
    """Columns of one value per row as one column."""
    import numpy as np

    strings = item.data_type is DataType.STRING
    parts = []
    for name in names:
        part = table.columns[name]
        if not isinstance(part, np.ndarray):
            wrong = (i for i, one in enumerate(part) if not strings and not isinstance(one, (int, float)))
            if (row := next(wrong, None)) is not None:
                shown = "nothing" if part[row] is None else repr(part[row])
                raise Refused(f"column '{name}', row {row}: {shown} is no number")
            part = np.array(part, dtype=object if strings else None)
        if part.dtype.kind in "OUS" and not strings:
            raise Refused(f"column '{name}' holds strings; the input '{item.name}' is {item.describe()}")
        parts.append(part)
    return np.stack(parts, axis=1)


def _read(item: ModelSchemaItem, column: Column) -> Any:
    """An array of all rows; or a list of arrays, with None for a row that does not have the input."""
    import numpy as np

    if isinstance(column, np.ndarray) and column.dtype.kind != "O":
        missing = np.isnan(column).reshape(len(column), -1).all(axis=1) if column.dtype.kind == "f" else None
        if missing is None or not missing.any() or (item.data_type in _FLOATS and not item.optional):
            return _whole(item, column)
        if _is_whole(item):
            _refuse_odd(item, column, missing)
            column = np.where(missing.reshape(-1, *[1] * (column.ndim - 1)), 0, column).astype(np.int64)
        plain = column.tolist()
        column = [None if gone else value for gone, value in zip(missing, plain, strict=True)]
    values = [None if _is_nothing(value) else value for value in column]
    if not any(value is None for value in values):
        try:
            return _whole(item, values)
        except Refused:
            pass  # rows of different lengths, perhaps; or one of them is wrong, which is found below
    return [_one(item, value, i) for i, value in enumerate(values)]


def _is_whole(item: ModelSchemaItem) -> bool:
    return item.data_type is not DataType.STRING and item.data_type.dtype.kind in "iu"


def _refuse_odd(item: ModelSchemaItem, floats: Array, missing: Array | None = None) -> None:
    """Refuses floats that are no whole numbers, where an input takes those alone.

    Args:
        missing: rows that have none.

    Raises:
        Refused: with the row and its value.
    """
    import numpy as np

    odd = ~are_whole(floats)
    if missing is not None:
        odd[missing] = False
    if odd.any():
        row = np.flatnonzero(odd.reshape(len(odd), -1).any(axis=1))[0]
        came = not_whole(float(floats[odd].ravel()[0]))
        raise Refused(f"column '{item.name}', row {row}: expected {item.describe()}, got {came}")


def _whole(item: ModelSchemaItem, values: Any) -> Array:
    """All rows at once."""
    import numpy as np

    if isinstance(values, np.ndarray) and values.dtype.kind in "US":
        values = values.tolist()
    if isinstance(values, np.ndarray) and values.dtype.kind == "f" and _is_whole(item):
        _refuse_odd(item, values)
        values = whole(values)  # pandas keeps whole numbers as floats where some are missing
    try:
        array = array_of(item, values)
    except ValueError as error:
        raise Refused(f"column '{item.name}': {error}") from None
    if array.ndim == 1 and list(item.shape or []) in ([1], [-1]):
        array = array.reshape(len(array), 1)
    if mistake := item.mismatch(array, True):
        raise Refused(f"column '{item.name}': {mistake}")
    return canonical(item, array)


def _one(item: ModelSchemaItem, value: Any, number: int) -> Array | None:
    """One row."""
    where = f"column '{item.name}', row {number}"
    if value is None:
        if item.optional:
            return None
        raise Refused(f"{where}: nothing is there; {item.describe()} is expected")
    try:
        array: Array = _whole(item, [value])[0]
        return array
    except Refused as refused:
        raise Refused(f"{where}: {refused.message.removeprefix(f'column {item.name!r}: ')}") from None
