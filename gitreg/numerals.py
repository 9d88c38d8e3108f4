"""Numbers as files write them: how long they may be, and where one stands that is not allowed. Pure.

A number may be as large as a float, and be written with at most 64 digits: nothing that is measured needs
more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

MOST_DIGITS = 64
# What can be too much: found at the speed of a search, so that files of good numbers are parsed as ever.
_SUSPECT = re.compile(r"[0-9._]{65}|[eE][-+]?[0-9_]{3}|0[xXoObB][0-9a-fA-F_]{65}")
_SUSPECT_BYTES = re.compile(_SUSPECT.pattern.encode())
_ENDLESS = re.compile(r"NaN|nan|[iI]nf")
_BASED = re.compile(r"[-+]?0[xXoObB]")
# Both read texts that their parser has taken. A string that never ends takes all the rest: no search begins
# twice at one place.
_JSON = re.compile(r'"(?:[^"\\]|\\.)*"?|(?P<number>-?(?:[0-9][0-9.eE+-]*|Infinity)|NaN)', re.DOTALL)
_TOML = re.compile(r'''
    """ (?: [^"\\] | \\. | "{1,2}(?!") )* (?: "{3,5} | \Z )
    | \'\'\' (?: [^'] | '{1,2}(?!') )* (?: '{3,5} | \Z )
    | " (?: [^"\\\n] | \\. )* "? | ' [^'\n]* '? | \# [^\n]*
    | (?P<sign> [][{}=,\n] ) | (?P<word> [^][{}=,\#"'\s]+ )
    ''', re.VERBOSE | re.DOTALL)  # fmt: skip
_TOML_NUMBER = re.compile(
    r"[-+]?(?:inf|nan|0[xob][0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9_]+)?(?:[eE][-+]?[0-9_]+)?)\Z"
)

Mistake = tuple[int, int, str]


def mistake(text: str, finite: bool = True) -> str | None:
    """Returns what is wrong with a number as it is written; None where nothing is, or it is none.

    Args:
        finite: whether NaN and infinity are wrong as well, as in metrics.
    """
    based = _BASED.match(text)
    digits = sum(map(str.isalnum, text[based.end() :]) if based else map(str.isdigit, text))
    if digits > MOST_DIGITS:
        return f"a number of {digits:,} digits; at most {MOST_DIGITS} are read"
    if based:
        return None
    if not digits:
        return f"{text} is not a finite number" if finite else None
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        return None  # no number: whoever parses the text says so
    if math.isinf(value):
        return f"{text} is beyond what a float holds (about 1.8e308)"
    if value == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        return f"{text} is nearer to 0 than a float can be (about 5e-324)"
    return None


def is_suspect(text: str, finite: bool = True) -> bool:
    """Whether a text has anything that `in_json` or `in_toml` could name."""
    return _SUSPECT.search(text) is not None or (finite and _ENDLESS.search(text) is not None)


def may_overflow(raw: Any) -> bool:
    """Whether bytes, or a mapped file, may hold a number that is too long, too large or too small."""
    return _SUSPECT_BYTES.search(raw) is not None


def in_json(text: str, finite: bool = True) -> Iterator[Mistake]:
    """Returns (line, column, what is wrong) for each number of a JSON text that is not allowed."""
    place = _places(text)
    for token in _JSON.finditer(text):
        if (number := token["number"]) and (said := mistake(number, finite)):
            yield (*place(token.start()), said)


def in_toml(text: str) -> Iterator[Mistake]:
    """Returns (line, column, what is wrong) for each number of a TOML text that is not allowed."""
    place = _places(text)
    is_value = False
    open_: list[str] = []
    for token in _TOML.finditer(text):
        sign, word = token["sign"], token["word"]
        if sign:
            is_value = _is_value_after(sign, is_value, open_)
        elif word and is_value and _TOML_NUMBER.match(word) and (said := mistake(word)):
            yield (*place(token.start()), said)


def _is_value_after(sign: str, is_value: bool, open_: list[str]) -> bool:
    """Whether values, and no keys, follow a sign of TOML; `open_` has the brackets around it."""
    if sign == "=":
        return True
    if sign == "\n":
        return is_value and bool(open_)
    if sign == ",":
        return open_[-1:] == ["["]
    if sign in "]}":
        if open_:
            open_.pop()
        return is_value or sign == "}"
    if is_value:  # else it is the header of a table
        open_.append(sign)
    return is_value and sign == "["


def _places(text: str) -> Callable[[int], tuple[int, int]]:
    """Line and column of positions that only grow, counted once over."""
    line, seen, begun = 1, 0, 0

    def place(at: int) -> tuple[int, int]:
        nonlocal line, seen, begun
        line += text.count("\n", seen, at)
        begun = max(begun, text.rfind("\n", seen, at) + 1)
        seen = at
        return line, at - begun + 1

    return place
