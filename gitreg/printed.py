r"""Other people's text as it may be printed: it steers no terminal, and no line of it is a command. Pure.

Names, keys and values of files, what a model prints, Git, remotes and other programs: none of it is ours,
and terminals, GitHub's runner and Azure's obey what they are shown. So:

- A value stays on one line. What ends a line anywhere, control characters (tabs stay), marks of direction
  and what cannot be seen are spelled out as in Python: `\n`, `\r`, `\x1b`, `\u202e`, `\U000e0041`. Letters
  of all languages and emoji stay, with the joiners and selectors that belong to them.
- A text of several lines (a traceback, what a program said) is a block: after its first line, each line
  begins with `    | `. So nobody's line looks like ours, or is taken for a command or for Python's traceback.
- GitHub's runner obeys a line that begins with `::`, white space before it or not, and `##[` wherever it is;
  Azure's `##vso[`, TeamCity `##teamcity[`. There the first sign is spelled out: `\x3a:`, `\x23#[`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

BAR = "    | "

# What is not seen, or ends a line, or turns it around.
_CONTROL = (
    "\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
# Joiners and selectors, which belong to what is beside them.
_SEEN = f"[^{_CONTROL}\x00-\x7f\xa0\u2000-\u200f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
_JOINER = f"(?<!{_SEEN})(?<!{_SEEN}\ufe0f)[\u200c\u200d](?!{_SEEN})"
_SELECTOR = f"(?<![0-9#*])(?<!{_SEEN})[\ufe00-\ufe0f]"
_IDEOGRAPHIC = "(?<![\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]"
# The flags of England, Scotland and Wales, and others that are made so.
_FLAG = "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)"
_HIDDEN = f"{_FLAG}|[{_CONTROL}]|{_JOINER}|{_SELECTOR}|{_IDEOGRAPHIC}"
# .NET compares texts by culture, which passes over these.
_PASSED = "[\u200c\u200d\ufe00-\ufe0f]*"
_COMMAND = rf"#(?={_PASSED}#{_PASSED}[\w.-]*\[)"
_START = rf"\A((?:\s|[\u200c\u200d\ufe00-\ufe0f])*):(?={_PASSED}:)"
_SHORT = {"\n": "\\n", "\r": "\\r"}


def line(value: object) -> str:
    """A value on one line, of which no part steers what shows it."""
    text = str(value)
    if text.isascii() and text.isprintable() and "##" not in text:
        return text
    return _made(_COMMAND).sub(r"\\x23", _made(_HIDDEN).sub(_spelled, text))


def shown(text: object) -> str:
    """A message as it is printed: one line, and a line for each that a block has."""
    first, *others = str(text).split(f"\n{BAR}")
    return "\n".join([whole_line(first), *(BAR + line(other) for other in others)])


def whole_line(value: object) -> str:
    """A value that is a line of its own."""
    plain = line(value)
    return _made(_START).sub(r"\1\\x3a", plain) if plain.lstrip()[:1] in _STARTS else plain


# The start of a line that could be a command: a colon, or what is passed over before it.
_STARTS = frozenset((":", "\u200c", "\u200d", *map(chr, range(0xFE00, 0xFE10))))


def block(text: str | Iterable[str]) -> str:
    """Lines that follow a message, each behind a bar."""
    lines = text.rstrip().splitlines() if isinstance(text, str) else text
    return "".join(f"\n{BAR}{line(one)}" for one in lines)


def said(text: str) -> str:
    """What another program said, to follow a colon: the first line as it is, others behind bars."""
    first, *others = text.strip().splitlines() or [""]
    return line(first) + block(others)


def in_json(text: str) -> str:
    """JSON with the same values, in which nothing steers what shows it."""
    if text.isascii() and "\x7f" not in text and "##" not in text:
        return text
    lines = (_made(_HIDDEN).sub(_as_json, one) for one in text.split("\n"))
    return _made(_COMMAND).sub(r"\\u0023", "\n".join(lines))


@cache
def _made(pattern: str) -> re.Pattern[str]:
    """A pattern, made when it is first needed: most of what is printed is plain."""
    return re.compile(pattern)


def _spelled(found: re.Match[str]) -> str:
    if found[1]:
        return found[1]
    number = ord(found[0])
    if number < 0x100:
        return _SHORT.get(found[0], f"\\x{number:02x}")
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _as_json(found: re.Match[str]) -> str:
    if found[1]:
        return found[1]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
