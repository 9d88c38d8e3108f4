"""Other people's text in GitHub-flavoured Markdown, where it is shown as it is and does nothing. Pure.

What a parser of Markdown takes for a mark becomes an entity. That does not help against what a forge looks
for in the finished page: mentions, issues, commits, addresses, `:emoji:`, `$math$`. In code it does not look,
so a word that could be one of these is shown as code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gitreg import printed

_MARKS = re.compile(r"[\\`*\[\]<>#|~&@]|(?<![^\W_])_|_(?![^\W_])")
_LIST = re.compile(r"[-+=]+|[0-9]+[.)]")
# Every look is for what makes something of it: where it begins in a word does not matter.
_LOOKED_FOR = re.compile(
    r"@|#[0-9]|\bGH-[0-9]|://|\bwww\.|\b(?:mailto|xmpp):|:[\w+-]+:|\$"
    r"|(?<![0-9a-z])[0-9a-f]{7,}(?![0-9a-z])",
    re.IGNORECASE,
)
_BEFORE, _AFTER = "('\"", ",.;:?)'\""
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def text(value: object) -> str:
    """Text that means nothing but itself, on one line or in a cell of a table."""
    words = plain(value).split(" ")
    shown = [_framed(word) if _LOOKED_FOR.search(word) else _MARKS.sub(_entity, word) for word in words]
    if _LIST.fullmatch(shown[0]):  # or an underline, which makes a heading of the line before
        shown[0] = f"{shown[0][:-1]}&#{ord(shown[0][-1])};"
    return " ".join(shown)


def code(value: object) -> str:
    """Text as code, whatever is in it, on one line or in a cell of a table."""
    shown = plain(value)
    if not shown:
        return ""
    if re.search(r"[|$]", shown):  # end a cell, and begin formulas, in code too
        return f"<code>{_PUNCTUATION.sub(_apart, shown)}</code>"
    fence = "`" * (_longest([shown]) + 1)
    room = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{room}{shown}{room}{fence}"


def block(lines: Iterable[str], indent: str = "") -> list[str]:
    """Lines of a fenced block of code."""
    shown = [printed.line(one) for one in lines]
    fence = "`" * max(3, _longest(shown) + 1)
    return [f"{indent}{fence}text", *(f"{indent}{one}" for one in shown), f"{indent}{fence}"]


def plain(value: object) -> str:
    """A value on one line, its words apart by one space."""
    return printed.line(" ".join(str(value).split()))


def _framed(word: str) -> str:
    """A word as code, without the brackets, quotes and points around it."""
    rest = word.lstrip(_BEFORE)
    core = rest.rstrip(_AFTER)
    return f"{word[: len(word) - len(rest)]}{code(core)}{rest[len(core) :]}"


def _longest(texts: Iterable[str]) -> int:
    return max((len(run) for one in texts for run in re.findall("`+", one)), default=0)


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"


def _apart(found: re.Match[str]) -> str:
    """A sign with a space of no width after it, so that no address and no name goes over it."""
    return f"&#{ord(found[0])};" + "&#8203;" * (found[0] in "@:.#")
