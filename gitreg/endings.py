"""Where models that are texts end: JSON, PMML, LightGBM. By content, and no I/O.

A reader of a text stops at its end, or at what is no text; what stands behind is for somebody else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from gitreg.protobufs import At

MOST_JSON = 4 << 20
_TAIL = 1 << 20
_CONTROLS = bytes({*range(9), *range(14, 32)} - {27})
_SPACE = " \t\r\n"


class NoEnd(Exception):
    """A text does not end as it should: it is cut off."""


class More(Exception):
    """Something stands behind a text's end, or is in it that is no text."""


def read_json(data: bytes) -> list[object]:
    """Returns the values of a JSON text, or of one that has one on each line.

    Raises:
        NoEnd: it is cut off.
        More: what follows is no JSON.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise More(True) from error
    decoder, found, place = json.JSONDecoder(), list[object](), 0
    while place := _after_space(text, place):
        place -= 1
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            cut = not found and (error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"))
            raise NoEnd if cut else More(bool(found)) from None
        except (ValueError, RecursionError):
            raise More(bool(found)) from None
        found.append(value)
    return found


def _after_space(text: str, place: int) -> int:
    """Where the next character stands that is no space, plus 1; 0 at the end."""
    while place < len(text) and text[place] in _SPACE:
        place += 1
    return place + 1 if place < len(text) else 0


def makes_layers(values: list[object]) -> bool:
    """Whether a JSON text says which classes are made of it, as Keras's models of layers do."""
    for one in _all(values):
        if isinstance(one, dict) and isinstance(one.get("class_name"), str) and "config" in one:
            return True
    return False


def _all(values: list[object]) -> Iterator[object]:
    waiting = list(values)
    while waiting:
        one = waiting.pop()
        yield one
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()


def lightgbm_ends(text: str) -> bool:
    """Whether a LightGBM text ends with its trees, what they weigh, its parameters, or its categories."""
    last = text.rstrip().rpartition("\n")[2]
    if last.startswith("pandas_categorical:"):
        try:
            json.loads(last.partition(":")[2])
            return True
        except (ValueError, RecursionError):
            return False
    weights = r"end of (trees|parameters)\s*(feature[_ ]importances:\s*([^\n=]+=[\d.]+\r?\n)*\s*)?"
    return bool(re.fullmatch(weights, text[max(0, text.rfind("end of ")) :]))


def pmml_ends(text: str) -> bool:
    """Whether a PMML text ends with its root."""
    return bool(
        re.fullmatch(r"</(\w{1,40}:)?PMML\s*>\s*(<!--[^-]*-->\s*)*", text[max(0, text.rfind("</")) :])
    )


def hold_end(at: At, size: int, ends: Callable[[str], bool], mark: str, code: str = "utf-8") -> None:
    """Holds the end of a text against what it should be.

    Args:
        mark: what says that the end was there, when something follows it.

    Raises:
        NoEnd: neither is there.
        More: something else follows, or is in it.
    """
    start = max(0, size - _TAIL + 1) & ~1
    tail = at(start, _TAIL)
    if start + len(tail) < size:
        return  # a member of an archive, of which only so much is unpacked
    text = tail.decode(code, "replace")
    if code == "utf-8" and len(tail.translate(None, _CONTROLS)) != len(tail):
        raise More
    if not ends(text):
        raise More if mark in text else NoEnd
