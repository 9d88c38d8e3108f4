"""What callers send -> the arrays that a model takes. Every mistake is told at once, each by its input.

Nothing is converted that changes a value:

- whole numbers go into any type of numbers that holds them exactly (int64 into int, when they fit);
- float32 goes into double; double is not rounded to float, nor a float made a whole number;
- booleans are booleans, strings are strings;
- Python numbers and nested lists are read as sample data is, where a float is a float of either size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gitreg.elements import array_of, canonical, inexact, whole
from gitreg.errors import Refused
from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.names import did_you_mean
from gitreg.schema import aliases, single

if TYPE_CHECKING:
    from gitreg.schema import Array

_MOST_NAMED = 5


class Asked(NamedTuple):
    """What is asked, as a model takes it.

    Attributes:
        arrays: input name -> array; of a batch with a leading dimension.
        length: the rows of a batch; None for one sample.
        present: of a batch, input name -> which rows have it; all have what is not in here.
    """

    arrays: dict[str, Array]
    length: int | None
    present: dict[str, Array]

    def rows(self) -> Iterator[dict[str, Array]]:
        """The samples of a batch, one by one."""
        for i in range(self.length or 0):
            yield {
                name: array[i]
                for name, array in self.arrays.items()
                if name not in self.present or self.present[name][i]
            }


def read(schema: ModelSchema, inputs: Any) -> Asked:
    """Read what a caller sends: a mapping, a data frame, or one array for a model of one input.

    Raises:
        Refused: names, types or shapes are not the schema's; a line for each mistake.
    """
    if hasattr(inputs, "columns") and hasattr(inputs, "to_numpy"):
        return _frame(schema, inputs)
    said = inputs if isinstance(inputs, Mapping) else _only(schema, inputs)
    if meant := aliases(schema, said):
        said = {meant.get(name, name): value for name, value in said.items()}
    mistakes = _names(schema, said)
    arrays: dict[str, Array] = {}
    for item in schema.input_schema:
        value = said.get(item.name)
        if value is None:
            continue
        try:
            arrays[item.name] = _array(item, value)
        except ValueError as error:
            mistakes.append(f"{item.name}: {error}")
    ranks, wrong = _ranks(schema, arrays)
    mistakes += wrong
    if not mistakes and len(set(ranks.values())) > 1:
        alone = ", ".join(name for name, rank in ranks.items() if not rank)
        batch = ", ".join(name for name, rank in ranks.items() if rank)
        mistakes.append(f"one sample of {alone}, and a batch of {batch}")
    batched = not mistakes and 1 in ranks.values()
    lengths = {name: len(array) for name, array in arrays.items()} if batched else {}
    if len(set(lengths.values())) > 1:
        mistakes.append("batches of different lengths: " + ", ".join(f"{n} {k}" for n, k in lengths.items()))
    _refuse(mistakes)
    return Asked(arrays, next(iter(lengths.values()), None), {})


def _refuse(mistakes: Sequence[str]) -> None:
    if mistakes:
        raise Refused(mistakes)


def _only(schema: ModelSchema, value: Any) -> Mapping[str, Any]:
    """One value, for the one input that there is, or the one that is not optional."""
    wanted = [item for item in schema.input_schema if not item.optional]
    if len(wanted) != 1 or value is None:
        names = ", ".join(item.name for item in schema.input_schema)
        raise Refused(f"expected a mapping of input names to arrays ({names}), got a {type(value).__name__}")
    return {wanted[0].name: value}


def _names(schema: ModelSchema, said: Mapping[str, Any]) -> list[str]:
    known = [item.name for item in schema.input_schema]
    found = [
        f"{item.name}: is missing; expected {item.describe()}"
        for item in schema.input_schema
        if not item.optional and said.get(item.name) is None
    ]
    for name in said:
        if name not in known:
            guess = did_you_mean(str(name), known) or f"; inputs: {', '.join(known)}"
            found.append(f"{name}: is not an input of this model{guess}")
    return found


def _ranks(schema: ModelSchema, arrays: Mapping[str, Array]) -> tuple[dict[str, int], list[str]]:
    """By how many dimensions each array has more than its item, and what does not fit at all."""
    ranks: dict[str, int] = {}
    mistakes: list[str] = []
    for item in schema.input_schema:
        array = arrays.get(item.name)
        if array is None:
            continue
        shape = item.shape or []
        ranks[item.name] = rank = array.ndim - len(shape)
        fits = rank in (0, 1) and all(w in (-1, n) for w, n in zip(shape, array.shape[rank:], strict=True))
        if not fits:
            batch = f"[n, {', '.join(map(str, shape))}]"
            mistakes.append(
                f"{item.name}: expected {item.describe()}, or {batch} for a batch; got {came(array)}"
            )
    return ranks, mistakes


def came(array: Array) -> str:
    """`double [4]`, the way errors write what came."""
    kind = DataType.of(array.dtype)
    return f"{array.dtype.name if kind is DataType.UNKNOWN else kind.value} {list(array.shape)}"


def _array(item: ModelSchemaItem, value: Any) -> Array:
    """One input as an array of its item's type.

    Raises:
        ValueError: what came and what was expected.
    """
    import numpy as np

    if hasattr(value, "__array__") or isinstance(value, np.ndarray):  # of torch, pandas, polars too
        array = _cast(item, np.asarray(value))
    else:
        array = array_of(item, value)
    return single(item, array)


def _cast(item: ModelSchemaItem, array: Array) -> Array:
    """An array in its item's type, if no value changes.

    Raises:
        ValueError: some would.
    """
    if item.data_type is DataType.STRING:
        if array.dtype.kind not in "OSU":
            raise ValueError(f"expected {item.describe()}, got {came(array)}")
        return canonical(item, array)
    wanted = item.data_type.dtype
    if array.dtype == wanted:
        return canonical(item, array)
    kind, into = array.dtype.kind, wanted.kind
    if kind == "O":
        return array_of(item, array.tolist())
    if kind in "iu" and into in "iuf":
        beyond = inexact(array, wanted) if into == "f" else _beyond(array, wanted)
        if beyond is not None:
            raise ValueError(
                f"expected {item.describe()}, got {came(array)} with {beyond}, which it cannot hold"
            )
    elif not (into == kind == "f" and array.dtype.itemsize <= wanted.itemsize):
        rounded = "; .astype(np.float32) would round it" if (kind, into) == ("f", "f") else ""
        raise ValueError(f"expected {item.describe()}, got {came(array)}{rounded}")
    return canonical(item, array.astype(wanted))


def _beyond(array: Array, wanted: Any) -> int | None:
    """A whole number that a type of whole numbers does not hold, if there is one."""
    import numpy as np

    if not array.size:
        return None
    low, high = int(np.iinfo(wanted).min), int(np.iinfo(wanted).max)
    least, most = int(array.min()), int(array.max())
    return least if least < low else most if most > high else None


# Data frames ----------------------------------------------------------------------------------------


def _frame(schema: ModelSchema, frame: Any) -> Asked:
    """A data frame: columns are inputs, rows are samples. A value that is missing is an input not sent."""
    meant = aliases(schema, frame.columns)
    columns = {meant.get(column, str(column)): frame[column] for column in frame.columns}
    mistakes = _names(schema, columns)
    arrays: dict[str, Array] = {}
    present: dict[str, Array] = {}
    for item in schema.input_schema:
        if item.name not in columns:
            continue
        try:
            array, there = _column(item, columns[item.name])
        except ValueError as error:
            mistakes.append(f"{item.name}: {error}")
            continue
        if there is None or there.any():
            arrays[item.name] = array
            if there is not None:
                present[item.name] = there
    mistakes += _ranks(schema, arrays)[1]
    _refuse(mistakes)
    return Asked(arrays, len(frame), present)


def _column(item: ModelSchemaItem, column: Any) -> tuple[Array, Array | None]:
    """A column as a batch, and which of its rows have a value; None for all.

    Raises:
        ValueError: what came and what was expected.
    """
    import numpy as np

    missing = np.asarray(column.is_null() if hasattr(column, "is_null") else column.isna(), dtype=bool)
    floating = item.data_type in (DataType.FLOAT, DataType.DOUBLE)
    if floating and not item.optional and getattr(column.dtype, "kind", "") == "f":
        missing = np.zeros(len(missing), dtype=bool)  # NaN is a number that models may know
    if not missing.any():
        return _filled(item, column.to_numpy()), None
    if not item.optional:
        rows = np.flatnonzero(missing)
        listed = ", ".join(map(str, rows[:_MOST_NAMED])) + (", ..." if len(rows) > _MOST_NAMED else "")
        raise ValueError(f"has no value in row {listed}, and is not optional")
    kept = (column.drop_nulls() if hasattr(column, "drop_nulls") else column.dropna()).to_numpy()
    if item.data_type.dtype.kind in "iu" and kept.dtype.kind == "f":
        try:
            kept = whole(kept)
        except ValueError as error:
            raise ValueError(f"expected {item.describe()}, got {error}") from None
    values = _filled(item, kept)
    array = np.zeros((len(missing), *values.shape[1:]), dtype=values.dtype)
    array[~missing] = values
    return array, ~missing


def _filled(item: ModelSchemaItem, values: Array) -> Array:
    import numpy as np

    first = values[0] if len(values) else None
    if isinstance(first, (list, tuple)):
        return array_of(item, values.tolist())
    if values.dtype.kind == "O" and isinstance(first, np.ndarray):
        try:
            values = np.array([np.asarray(value) for value in values.tolist()])
        except ValueError:
            raise ValueError(f"expected {item.describe()}, got rows of different lengths") from None
    array = _cast(item, values)
    return array.reshape(-1, 1) if array.ndim == 1 and item.shape == [1] else array
