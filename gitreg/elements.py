"""Plain data (numbers, strings, nested lists) as an array of a declared type, and back; no value changes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gitreg.model import DataType, ModelSchemaItem

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def array_of(item: ModelSchemaItem, value: Any) -> Array:
    """Read one array of plain data (numbers, strings, nested lists) as an item declares it.

    Only what loses nothing is converted: whole numbers into types that hold them exactly. A float is the
    nearest one of its type.

    Raises:
        ValueError: what came and what was expected. The shape is not judged here.
    """
    import numpy as np

    kind = item.data_type
    if kind is DataType.STRING:
        return _strings(value)
    wanted = kind.dtype.kind
    try:
        plain = np.asarray(value)
    except (ValueError, OverflowError):
        raise ValueError(f"expected {item.describe()}, got rows of different lengths") from None
    if plain.size == 0 and plain.dtype.kind == "f":
        return plain.astype(kind.dtype)
    fits = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[wanted]
    if plain.dtype.kind not in fits:
        raise ValueError(f"expected {item.describe()}, got {_odd_element(value, fits) or _came(plain)}")
    if plain.dtype.kind in "iuf" and (odd := _misread(value, kind.dtype)):
        raise ValueError(f"expected {item.describe()}, got {odd}")
    with np.errstate(over="ignore"):
        array = plain.astype(kind.dtype, copy=False)
    if plain.size and plain.dtype != array.dtype and (lost := _out_of_range(plain, array)):
        raise ValueError(f"expected {item.describe()}, got {lost}")
    return array


def _misread(value: Any, wanted: Any) -> str | None:
    """What NumPy reads as another value than it is: a boolean as a number, a whole number rounded."""
    import numpy as np

    floats = wanted.kind == "f"
    most = _consecutive(wanted) if floats else 0

    def is_fine(numbers: Sequence[Any]) -> bool:
        # Nearly all lists hold floats alone, or small whole numbers: those are looked at as a whole.
        kinds = {*map(type, numbers)}
        if not kinds <= {float, int}:
            return False
        whole = numbers if kinds == {int} else [one for one in numbers if type(one) is int]
        return not floats or not whole or (-most <= min(whole) and max(whole) <= most)

    def judge(one: Any) -> str | None:
        if isinstance(one, (bool, np.bool_)) or (isinstance(one, np.ndarray) and one.dtype.kind == "b"):
            return "a boolean{at}, among numbers"
        if floats and (lost := inexact(one, wanted)) is not None:
            more = f"; {lost}.0 would be the nearest that it holds" if isinstance(one, int) else ""
            return f"{lost}{{at}}, which it cannot hold exactly{more}"
        return None

    found = _first(value, judge, is_fine)
    return found[1].format(at=f" at {found[0]}" if found[0] else "") if found else None


def _first(
    value: Any, judge: Callable[[Any], str | None], is_fine: Callable[[Sequence[Any]], bool]
) -> tuple[str, str] | None:
    """The place (`[1][0]`) of the first element in nested lists that is judged to be odd, and why.

    Args:
        is_fine: whether no element of a list can be odd.
    """
    if not isinstance(value, (list, tuple)):
        said = judge(value)
        return ("", said) if said else None
    if is_fine(value):
        return None
    for i, one in enumerate(value):
        if found := _first(one, judge, is_fine):
            return f"[{i}]{found[0]}", found[1]
    return None


def _consecutive(wanted: Any) -> int:
    """Up to where a type of floats holds all whole numbers."""
    import numpy as np

    return int(2 ** (np.finfo(wanted).nmant + 1))


def inexact(value: Any, wanted: Any) -> int | None:
    """A whole number that a type of floats does not hold exactly, if there is one."""
    import numpy as np

    most = _consecutive(wanted)
    if isinstance(value, int):
        size = abs(value)
        return value if size > most and size // (size & -size) > most else None
    if not isinstance(value, (np.ndarray, np.integer)) or value.dtype.kind not in "iu" or not value.size:
        return None
    array = np.asarray(value)
    beyond = array[(array > most) | (array < -most if array.dtype.kind == "i" else False)]
    return next((one for one in beyond.tolist() if inexact(one, wanted) is not None), None)


# Below this a float holds all whole numbers; from here on it may be the nearest to another one.
_ROUNDED = 1 << 53


def are_whole(floats: Array) -> Array:
    """Which floats are whole numbers, and not so large that they may have been rounded."""
    import numpy as np

    fine: Array = (np.floor(floats) == floats) & (np.abs(floats) < _ROUNDED)
    return fine


def whole(floats: Array) -> Array:
    """Floats as the whole numbers that they are: data frames keep those so where some are missing.

    Raises:
        ValueError: one is none; its message is what came.
    """
    import numpy as np

    fine = are_whole(floats)
    if not fine.all():
        raise ValueError(not_whole(float(floats[~fine].ravel()[0])))
    return floats.astype(np.int64)


def not_whole(value: float) -> str:
    """What is wrong with a float in the place of a whole number."""
    if not value.is_integer():
        return f"{value}, which is no whole number"
    return f"{value}, of which a float does not hold every digit"


def _odd_element(value: Any, fits: str) -> str | None:
    """The first element that is not of the kinds that fit, where others are: `nothing (null) at [1]`."""
    if not isinstance(value, (list, tuple)):
        return None

    def judge(one: Any) -> str | None:
        kind = _kind(one)
        if kind in fits:
            return None
        return (
            f"{one}, out of its range,"
            if kind == "O" and isinstance(one, int)
            else _KINDS.get(kind, _named(one))
        )

    odd = _first(value, judge, lambda numbers: False)
    if odd is None or not _first(value, lambda one: "" if judge(one) else "good", lambda numbers: False):
        return None
    return f"{odd[1]} at {odd[0]}"


def _kind(one: Any) -> str:
    """The kind of type in which NumPy keeps an element."""
    import numpy as np

    if type(one) is int:
        return "i" if -(1 << 63) <= one < 1 << 63 else "u" if 0 <= one < 1 << 64 else "O"
    if known := _OWN_KINDS.get(type(one)):
        return known
    return np.asarray(one).dtype.kind if isinstance(one, (int, float, str, bytes, np.generic)) else "O"


_OWN_KINDS: dict[type, str] = {float: "f", bool: "b", str: "U", bytes: "S", type(None): "O"}


_KINDS = {
    "b": "a boolean",
    "i": "an integer",
    "u": "an integer",
    "f": "a float",
    "U": "a string",
    "S": "a string",
}


def _named(one: Any) -> str:
    known = {type(None): "nothing (null)", bool: "a boolean", int: "an integer", float: "a float"}
    return known.get(type(one), f"a {type(one).__name__}")


def _out_of_range(plain: Array, array: Array) -> str | None:
    """The value that a type cannot hold, if there is one."""
    import numpy as np

    if array.dtype.kind in "iu":
        info = np.iinfo(array.dtype)
        low, high = int(plain.min()), int(plain.max())
        if info.min <= low and high <= info.max:
            return None
        return f"{low if low < info.min else high}, out of its range [{info.min}, {info.max}]"
    if array.dtype.kind == "f" and plain.dtype.kind in "iuf":
        lost = np.isinf(array) & ~np.isinf(plain)
        if lost.any():
            return f"{plain[lost].ravel()[0]}, out of its range"
    return None


def _came(plain: Array) -> str:
    """What came, for a person; NumPy keeps as objects what it cannot put into one array."""
    if plain.dtype.kind == "O":
        elements = plain.ravel().tolist()
        if any(isinstance(e, (list, tuple)) for e in elements):
            return "rows of different lengths"
        if any(isinstance(e, int) and abs(e) >= 1 << 63 for e in elements):
            return (
                f"{next(e for e in elements if isinstance(e, int) and abs(e) >= 1 << 63)}, out of its range"
            )
        odd = next((e for e in elements if not isinstance(e, (int, float))), None)
        return "nothing (null)" if odd is None else f"a {type(odd).__name__}"
    words = {"U": "strings", "S": "strings", "b": "booleans", "f": "floats", "i": "integers", "u": "integers"}
    return f"{words.get(plain.dtype.kind, plain.dtype.name)} of shape {list(plain.shape)}"


def _strings(value: Any) -> Array:
    import numpy as np

    shape: list[int] = []
    level = value
    while isinstance(level, (list, tuple)):
        shape.append(len(level))
        level = level[0] if level else None
    flat = _flatten(value, shape)
    array = np.empty(len(flat), dtype=object)
    try:
        array[:] = [*map(_bytes, flat)]
    except ValueError:
        i, why = next((i, said) for i, one in enumerate(flat) if (said := _no_string(one)))
        at = "".join(f"[{n}]" for n in np.unravel_index(i, shape)) if shape else ""
        raise ValueError(f"{why} at {at}" if at else why) from None
    return array.reshape(shape)


def _flatten(value: Any, shape: list[int]) -> Sequence[Any]:
    if not shape:
        return [value]
    if not isinstance(value, (list, tuple)) or len(value) != shape[0]:
        raise ValueError("expected strings in rows of one length")
    if len(shape) == 1:
        return value
    flat: list[Any] = []
    for one in value:
        flat += _flatten(one, shape[1:])
    return flat


def _no_string(element: Any) -> str | None:
    try:
        _bytes(element)
    except ValueError as error:
        return str(error)
    return None


def _bytes(element: Any) -> bytes:
    """A string as bytes; `{base64: ...}` writes bytes that are not UTF-8."""
    if isinstance(element, bytes):
        return element
    if isinstance(element, str):
        try:
            return element.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            odd = f"U+{ord(element[error.start]):04X}"
            raise ValueError(f"expected a string, got one with {odd}, half of a character") from None
    if isinstance(element, Mapping) and list(element) == ["base64"]:
        try:
            return base64.b64decode(element["base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ValueError(f"{element['base64']!r} is not base64") from None
    raise ValueError(f"expected a string, got {_named(element)}")


def canonical(item: ModelSchemaItem, array: Array) -> Array:
    """An array as models receive it: strings as an object array of bytes, the rest C-contiguous."""
    import numpy as np

    if item.data_type is DataType.STRING:
        flat = np.empty(array.size, dtype=object)
        flat[:] = [_bytes(e) for e in array.ravel().tolist()]
        return flat.reshape(array.shape)
    return np.ascontiguousarray(array) if array.ndim else array


def plain(array: Array) -> Any:
    """An array as nested lists of Python values that read back to the same array.

    float32 values are written in their own shortest form (0.1, not 0.10000000149011612).
    """
    import numpy as np

    if array.dtype == np.float32:
        flat = [float(str(v)) for v in array.ravel()]
        return np.array(flat, dtype=object).reshape(array.shape).tolist() if array.size else array.tolist()
    if array.dtype.kind in "OS":
        return _map(array.tolist(), _text)
    return array.tolist()


def _text(element: Any) -> Any:
    if not isinstance(element, bytes):
        return element
    try:
        return element.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(element).decode()}


def _map(value: Any, change: Any) -> Any:
    return [_map(v, change) for v in value] if isinstance(value, list) else change(value)
