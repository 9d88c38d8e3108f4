"""Numbers as files write them: how long they may be, and where one stands that is not allowed. Pure.

A number may be as large as a float, and be written with at most 64 digits: nothing that is measured needs
more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

MOST_DIGITS = 64
# What can be too much: found at the speed of a search, so that files of good numbers are parsed as ever.
_SUSPECT = re.compile(r"[0-9._]{65}|[eE][-+]?[0-9_]{3}|NaN|nan|[iI]nf")
# Texts are passed over; a number begins where no word goes on.
_TOKEN = re.compile(r"""
    "(?:[^"\\\n]|\\.)*" | '[^'\n]*' | \#[^\n]*
    | (?<![\w.])(?P<number>[-+]?(?:NaN|nan|Infinity|inf|\.?[0-9][0-9._]*(?:[eE][-+]?[0-9_]+)?))(?!\w)
    """, re.VERBOSE)  # fmt: skip


def mistake(text: str, finite: bool = True) -> str | None:
    """Returns what is wrong with a number as it is written; None where nothing is.

    Args:
        finite: whether NaN and infinity are wrong as well, as in metrics.
    """
    digits = sum(map(str.isdigit, text))
    if digits > MOST_DIGITS:
        return f"a number of {digits:,} digits; at most {MOST_DIGITS} are read"
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


def is_suspect(text: str) -> bool:
    """Whether a text has anything that `mistakes` could name."""
    return _SUSPECT.search(text) is not None


def mistakes(text: str, finite: bool = True, comments: bool = False) -> Iterator[tuple[int, int, str]]:
    """Returns (line, column, what is wrong) for each number of a JSON or TOML text that is not allowed.

    Args:
        comments: whether `#` begins one.
    """
    for token in _TOKEN.finditer(text):
        number = token["number"]
        if number is None or (token[0][0] == "#" and not comments):
            continue
        if said := mistake(number, finite):
            start = token.start("number")
            line = text.count("\n", 0, start) + 1
            yield line, start - text.rfind("\n", 0, start), said
