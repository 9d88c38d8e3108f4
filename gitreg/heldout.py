"""Held-out data -> columns: from JSON, YAML, npz, CSV and Parquet, or from a function of the user's."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import isolation, numerals, printed
from gitreg.columns import Table
from gitreg.datafiles import plain_samples
from gitreg.errors import InvalidFiles, ModelFailed, NotSupported, Problem, Refused
from gitreg.isolated import arrays

if TYPE_CHECKING:
    from gitreg.schema import Array

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+|inf|nan|infinity)(?:e[-+]?[0-9]+)?\Z", re.IGNORECASE)
_TABLES = (".csv", ".parquet")


def is_function(text: str) -> bool:
    """Whether this names a function, as `package.module:name`, and no file."""
    return bool(_FUNCTION.match(text)) and not Path(text).exists()


def read(file: Path) -> Table:
    """The columns of a file.

    Raises:
        InvalidFiles: it is no file of data.
        NotSupported: it is a table, and pandas is not installed.
    """
    if not file.is_file():
        raise Refused(f"{file} is no file", "--data FILE, or --data package.module:function")
    ending = file.suffix.lower()
    if ending == ".npz":
        return _table(_npz(file), str(file))
    if ending in _TABLES:
        return _table(_by_pandas(file, ending), str(file))
    if ending not in (".json", ".yaml", ".yml"):
        raise Refused(f"{file}: {ending or 'no ending'}; .json, .yaml, .npz, .csv or .parquet is expected")
    rows = plain_samples(file, str(file))
    wrong = next((i for i, row in enumerate(rows) if not isinstance(row, Mapping)), None)
    if wrong is not None:
        message = f"row {wrong} is a {type(rows[wrong]).__name__}; a mapping of column to value is expected"
        raise InvalidFiles([Problem(str(file), 0, 0, "", message)])
    names = dict.fromkeys(str(name) for row in rows for name in row)
    return _table({name: [row.get(name) for row in rows] for name in names}, str(file))


def _table(columns: Mapping[str, Any], where: str) -> Table:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name or 'inputs'} {count}" for name, count in lengths.items())
        raise Refused(f"{where}: columns of different lengths: {told}")
    rows = next(iter(lengths.values()), 0)
    if not rows:
        raise Refused(f"{where} has no rows")
    return Table(rows, dict(columns))


def _npz(file: Path) -> dict[str, Any]:
    from gitreg import npz

    try:
        with open(file, "rb") as stream:
            found: dict[str, Array] = npz.read(stream, bounded=False)
    except (OSError, ValueError) as error:
        raise InvalidFiles([Problem(str(file), 0, 0, "", str(error))]) from None
    if scalar := next((name for name, array in found.items() if not array.ndim), None):
        raise Refused(f"{file}: '{scalar}' is one value; the rows are along the first axis")
    return {name: array.tolist() if array.dtype.kind in "US" else array for name, array in found.items()}


def _by_pandas(file: Path, ending: str) -> dict[str, Any]:
    try:
        import pandas
    except ImportError:
        raise NotSupported(f"{file}: {ending} is read by pandas", "pip install pandas pyarrow") from None
    try:
        if ending == ".csv":
            _judge_numbers(file, pandas)
            frame = pandas.read_csv(file, keep_default_na=False, na_values=[""], float_precision="round_trip")
        else:
            frame = pandas.read_parquet(file)
    except ImportError:
        raise NotSupported(f"{file}: {ending} needs pyarrow", "pip install pyarrow") from None
    except InvalidFiles:
        raise
    except (ValueError, OverflowError, OSError) as error:  # pandas' and pyarrow's own are ValueErrors
        raise InvalidFiles([Problem(str(file), 0, 0, "", f"cannot be read: {error}")]) from None
    return {str(name): _series(frame[name]) for name in frame.columns}


def _judge_numbers(file: Path, pandas: Any) -> None:
    """Refuses numbers of a CSV file that pandas would read as others: 1e999 as infinity, 1e-999 as 0.

    Raises:
        InvalidFiles: there are such, in a column of numbers.
    """
    if file.stat().st_size == 0:
        return
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        if not numerals.may_overflow(raw):
            return
    problems = []
    for name, cells in pandas.read_csv(file, keep_default_na=False, dtype=str).items():
        texts = [cell.strip() for cell in cells]
        if not all(_NUMBER.match(text) for text in texts if text):
            continue
        found = (
            (i, said) for i, text in enumerate(texts) if text and (said := numerals.mistake(text, False))
        )
        problems += [
            Problem(str(file), 0, 0, "", f"column '{name}', row {i}: {said}") for i, said in islice(found, 20)
        ]
    if problems:
        raise InvalidFiles(problems)


def _series(series: Any) -> Any:
    """A column as an array of numbers; else as a list, with None for what is missing."""
    import numpy as np

    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return series.to_numpy()
    missing = series.isna().tolist()
    values = [value.tolist() if hasattr(value, "tolist") else value for value in series.tolist()]
    return [None if gone else value for gone, value in zip(missing, values, strict=True)]


def call(function: str, paths: Sequence[Path], folder: Path, conditions: isolation.Conditions) -> Table:
    """The columns that a function gives, called in an isolated process.

    Args:
        folder: an empty one, for its arrays.

    Raises:
        ModelFailed: it could not be imported, failed, or gave something else.
    """
    outcome = run(isolation.Call(function, tuple(paths), None, folder), conditions)
    columns: dict[str, Any] = {}
    for i, (_, name, _) in enumerate(outcome.described["columns"]):
        if name in columns:
            raise Refused(f"{function}: '{name}' is among the inputs and among the targets")
        array = load(folder / str(i))
        columns[str(name)] = array.tolist() if array.dtype.kind == "O" else array
    return _table(columns, function)


def run(call: isolation.Call, conditions: isolation.Conditions) -> isolation.Outcome:
    """Call a function of the user's.

    Raises:
        ModelFailed: it failed; the message has its traceback, and what it printed.
    """
    outcome = isolation.run(call, conditions)
    if not outcome.error:
        return outcome
    text = outcome.error
    if outcome.traceback:
        text += printed.block(outcome.traceback.rstrip().splitlines()[-12:])
    if outcome.printed.strip():
        text += printed.block(["it printed:", *outcome.printed.rstrip().splitlines()[-8:]])
    late = "did not finish" in outcome.error
    raise ModelFailed(text, "--timeout SECONDS" if late else None)


def load(file: Path) -> Array:
    """An array that a child wrote.

    Raises:
        Refused: it wrote something else.
    """
    import zipfile

    try:
        if file.is_symlink() or not file.is_file():
            raise ValueError("no file")
        array: Array = arrays.read(file)
        return array
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise Refused(f"{file.name}: no array was written: {error}") from None
