"""Reads the data files that a manifest names: samples (JSON, YAML, .npz), params and metrics."""

from __future__ import annotations

import json
import re
import reprlib
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import bounds, documents, numerals, treefiles
from gitreg.documents import Document
from gitreg.errors import InvalidFiles, Problem
from gitreg.model import ModelSchema
from gitreg.schema import read_sample

if TYPE_CHECKING:
    from gitreg.schema import Sample

_MAX_SAMPLES = 64 << 20
# What a check can ask in seconds: each sample is a question of its own to the model, and each value a line of
# its package. Two images of [3, 416, 416] are within.
MOST_SAMPLES, MOST_VALUES = 10_000, 1 << 20
_ENDINGS = (".json", ".yaml", ".yml", ".npz")
_MOST_PROBLEMS = 100
_DOTTED = re.compile(r"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){40}""")


def read_values(file: Path, name: str, root: Path | None = None, finite: bool = False) -> Mapping[str, Any]:
    """A mapping from a JSON, YAML or TOML file.

    Args:
        root: of the registry that the file belongs to: it is read from commits, too, and may be no link.
        finite: whether every number in it has to be one that is finite, and of a sane length.

    Raises:
        InvalidFiles: it is none of these, or not a mapping; or a number is not as it has to be.
    """
    raw = _raw(file, name, documents.MAX_BYTES) if root is None else treefiles.read(root, name)
    return values_of(raw, name, finite)


def _odd_numbers(text: str, name: str, finite: bool = True) -> list[Problem]:
    """A problem for each number that is too long, too large, or none, of a JSON or TOML text that is one."""
    if not numerals.is_suspect(text, finite):
        return []
    found = numerals.in_toml(text) if name.endswith(".toml") else numerals.in_json(text, finite)
    problems = [Problem(name, *mistake[:2], "", mistake[2]) for mistake in islice(found, _MOST_PROBLEMS + 1)]
    if len(problems) > _MOST_PROBLEMS:
        problems[-1] = Problem(name, 0, 0, "", f"more such numbers; the first {_MOST_PROBLEMS} are listed")
    return problems


def values_or_none(root: Path, said: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    """Values that are inline, or in a file; empty where it cannot be read."""
    if not isinstance(said, str):
        return said or {}
    try:
        return read_values(root / said, said, root)
    except InvalidFiles:
        return {}


def values_of(raw: bytes, name: str, finite: bool = False) -> Mapping[str, Any]:
    """A mapping from what a JSON, YAML or TOML file holds.

    Args:
        finite: as of `read_values`.

    Raises:
        InvalidFiles: it is none of these, or not a mapping; or a number is not as it has to be.
    """
    document, problems = Document(name), list[Problem]()
    try:
        if name.endswith((".yaml", ".yml")):
            document, problems = documents.parse(raw, name)
        elif name.endswith(".toml"):
            document.data = _toml(raw, name, finite)
        else:
            document.data = _json(raw, name, finite or None)
    except InvalidFiles:
        raise
    except (ValueError, RecursionError) as error:
        problems = [Problem(name, 0, 0, "", f"cannot be read: {error}")]
    data = document.data
    if not problems and not isinstance(data, Mapping):
        problems = [Problem(name, 1, 1, "", f"expected a mapping, got {type(data).__name__}")]
    elif not problems and bounds.is_deep(data):
        problems = [Problem(name, 0, 0, "", f"nested more than {documents.MAX_DEPTH} deep")]
    elif not problems and finite:
        problems = bounds.not_finite(document)
    if problems:
        raise InvalidFiles(problems)
    values: Mapping[str, Any] = data
    return values


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, float]:
    """Numbers by dotted name: `{"test": {"auc": 0.9}}` is `{"test.auc": 0.9}`."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"{above}{name}"] = value
    return found


def read_text(file: Path, name: str) -> str:
    """A small text file.

    Raises:
        InvalidFiles: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        return _raw(file, name, documents.MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFiles([Problem(name, 0, 0, "", f"not UTF-8: byte {error.start}")]) from None


def _toml(raw: bytes, name: str, finite: bool) -> Any:
    """The data of a TOML text.

    Raises:
        ValueError: it is none.
        InvalidFiles: a number in it is not as it has to be.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    text = raw.decode()
    if _DOTTED.search(text):  # the parser takes quadratic time for these
        raise ValueError("a dotted key of more than 40 parts")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # of Python itself, which converts no text of some thousand digits
        if problems := _odd_numbers(text, name):
            raise InvalidFiles(problems) from None
        raise
    if problems := _odd_numbers(text, name):
        if finite:
            raise InvalidFiles(problems)
        _spell_long(data)
    return data


def _spell_long(data: Any) -> None:
    """Makes whole numbers of too many digits texts, as those of JSON are: nothing computes with them."""
    todo = [data]
    for one in todo:
        for key, value in one.items() if isinstance(one, dict) else enumerate(one):
            if isinstance(value, (dict, list)):
                todo.append(value)
            elif isinstance(value, int) and abs(value) >= 10**numerals.MOST_DIGITS:
                one[key] = hex(value)


def _raw(file: Path, name: str, most: int) -> bytes:
    return treefiles.follow(file, name, most)


def _json(raw: bytes, name: str, finite: bool | None = None) -> Any:
    """The data of a JSON text.

    Args:
        finite: whether NaN and infinity are refused, besides numbers that are too long or too large; None
            takes all of them.

    Raises:
        InvalidFiles: it is none, or a number in it is not as it has to be.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(pairs)
        if len(seen) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = next(key for key, count in counts.items() if count > 1)
            raise InvalidFiles([Problem(name, 0, 0, "", f"the key {twice!r} stands twice")])
        return seen

    try:
        text = raw.decode("utf-8-sig")
        data = json.loads(text, object_pairs_hook=once, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise InvalidFiles([Problem(name, error.lineno, error.colno, "", f"not JSON: {error.msg}")]) from None
    except UnicodeDecodeError as error:
        raise InvalidFiles([Problem(name, 0, 0, "", f"not UTF-8: byte {error.start}")]) from None
    except RecursionError:
        raise InvalidFiles([Problem(name, 0, 0, "", "nested too deep")]) from None
    if finite is not None and (problems := _odd_numbers(text, name, finite)):
        raise InvalidFiles(problems)
    return data


def _whole(text: str) -> int | str:
    """A whole number; one of too many digits stays a text, with which nobody computes."""
    return text if len(text) > numerals.MOST_DIGITS + 1 else int(text)


def read_samples(
    file: Path, name: str, schema: ModelSchema, custom: bool, scale: int = 1
) -> tuple[list[Sample], list[Problem]]:
    """Read a file of samples (JSON, YAML or .npz) as a schema says, with every mistake in it.

    Args:
        name: what the file is called in problems.
        custom: whether samples may be batches.
        scale: how many times as much is read as a check asks.
    """
    try:
        data = plain_samples(file, name, scale)
    except InvalidFiles as invalid:
        return [], list(invalid.problems)
    samples: list[Sample] = []
    mistakes: list[tuple[int, str, str]] = []
    left = scale * MOST_VALUES
    for i, said in enumerate(data):
        sample, found = read_sample(schema, said, custom)
        samples.append(sample)
        mistakes += [(i, field, mistake) for field, mistake in found]
        left -= sum(array.size for array in sample.values())
        if left < 0:
            return [], [_too_much(name, "values", scale * MOST_VALUES)]
        if len(mistakes) > _MOST_PROBLEMS:
            break
    return samples, _sample_problems(file, name, mistakes) if mistakes else []


def _too_much(name: str, what: str, most: int) -> Problem:
    return Problem(name, 0, 0, "", f"more than {most:,} {what}; keep a few typical samples")


def plain_samples(file: Path, name: str, scale: int | None = None) -> list[Any]:
    """Samples as plain data: a list of mappings of input name to (nested) values.

    Args:
        scale: as of `read_samples`; None for any number, as of held-out rows.

    Raises:
        InvalidFiles: the file is not one of samples.
    """
    if name.endswith(".npz"):
        return _npz_samples(file, name, scale or 1)
    if name.endswith((".yaml", ".yml")):
        document, problems = documents.parse(_raw(file, name, documents.MAX_BYTES), name)
        if problems:
            raise InvalidFiles(problems)
        data = document.data
    else:
        data = _json_samples(file, name)
    if isinstance(data, Mapping):
        return [data]
    if not isinstance(data, list):
        message = f"expected a list of {{input name: array}}, got {type(data).__name__}"
        raise InvalidFiles([Problem(name, 1, 1, "", message)])
    if scale and len(data) > scale * MOST_SAMPLES:
        raise InvalidFiles([_too_much(name, "samples", scale * MOST_SAMPLES)])
    return data


def _json_samples(file: Path, name: str) -> Any:
    """The data of a file that is JSON, whatever it is called.

    Raises:
        InvalidFiles: it is none; another ending than those of samples may be why.
    """
    try:
        # NaN is what models take for a missing number.
        return _json(_raw(file, name, _MAX_SAMPLES), name, finite=False)
    except InvalidFiles as invalid:
        ending = Path(name).suffix
        if not ending or ending in _ENDINGS or len(invalid.problems) > 1:
            raise
        why = f"{ending} is read as JSON (samples are .json, .yaml or .npz): {invalid.problems[0].message}"
        raise InvalidFiles([replace(invalid.problems[0], message=why)]) from None


def _npz_samples(file: Path, name: str, scale: int) -> list[dict[str, Any]]:
    """Samples from an .npz: an array per input, with the samples along its first axis."""
    from gitreg import npz

    try:
        with open(file, "rb") as stream:
            arrays = npz.read(stream, most=scale * MOST_VALUES)
    except OSError as error:
        raise InvalidFiles([Problem(name, 0, 0, "", f"cannot be read: {error.strerror}")]) from None
    except ValueError as error:
        raise InvalidFiles([Problem(name, 0, 0, "", str(error))]) from None
    lengths = {len(a) if a.ndim else 0 for a in arrays.values()}
    if len(lengths) != 1:
        message = f"arrays with different numbers of samples: {reprlib.repr(sorted(lengths))}"
        raise InvalidFiles([Problem(name, 0, 0, "", message)])
    count = lengths.pop()
    if count > scale * MOST_SAMPLES:
        raise InvalidFiles([_too_much(name, "samples", scale * MOST_SAMPLES)])
    return [
        {key: a[i].tolist() if a.dtype.kind in "SU" else a[i] for key, a in arrays.items()}
        for i in range(count)
    ]


def _sample_problems(file: Path, name: str, mistakes: list[tuple[int, str, str]]) -> list[Problem]:
    """Mistakes in samples, (number, input, what), with line and column where the text has them."""
    listed = mistakes[:_MOST_PROBLEMS]
    paths: list[tuple[documents.Path, str]] = [
        ((i, field) if field else (i,), said) for i, field, said in listed
    ]
    more = f"more mistakes; the first {_MOST_PROBLEMS} are listed"
    rest = [Problem(name, 0, 0, "", more)] if len(mistakes) > _MOST_PROBLEMS else []
    # JSON is YAML; reading it again as such, now that it is known to be wrong, finds the places.
    readable = not name.endswith(".npz") and file.stat().st_size <= documents.MAX_BYTES
    document = documents.parse(file.read_bytes(), name)[0] if readable else Document(name)
    if document.data is None:
        return [Problem(name, 0, 0, documents.dotted(path), mistake) for path, mistake in paths] + rest
    alone = isinstance(document.data, Mapping)
    return [document.problem(path[1:] if alone else path, mistake) for path, mistake in paths] + rest
