"""Model cards: Markdown -> HTML that holds nothing but what this file lets through. Pure.

HTML in a card is shown as the text it is. Links go to http, https and mailto; pictures become links, as a
page loads nothing from elsewhere; headings are below the page's own, and have no ids that could stand in for
something of the page's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from gitreg.site.texts import text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_MOST = 200_000
_SCHEMES = ("http", "https", "mailto")
_DEEPEST_HEADING = 6
# Task lists as forges show them, `- [x] reviewed`. Text is escaped, so these tags are the parser's.
_TASK = re.compile(r"(<li>\n?(?:<p>)?)\[([ xX])\] ")
_BOXES = {" ": "\u2610", "x": "\u2611"}


def html(card: str, files: str | None = None) -> str:
    """A card as HTML.

    Args:
        files: the address below which files that it links to are shown; None where there is none, and
            such links become texts.
    """
    shown = text(card.replace("\r\n", "\n").replace("\r", "\n"), _MOST)
    shown = re.sub(r"\A---\n.*?\n---\n", "", shown, count=1, flags=re.DOTALL)  # front matter
    tokens = _parser().parse(shown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + 2, _DEEPEST_HEADING)}"
        token.attrs = _plain(token.attrs)
        if token.children:
            token.children = _inline(token.children, files)
    made: str = _parser().renderer.render(tokens, _parser().options, {})
    made = _TASK.sub(lambda m: f'{m[1]}<span class="task">{_BOXES[m[2].lower()]}</span> ', made)
    # What is wide scrolls by itself, and by keyboard too.
    made = made.replace("<pre>", '<pre tabindex="0">')
    return made.replace(
        "<table>", '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>'
    ).replace("</table>", "</table></div>")


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(["table", "strikethrough"])
    made.validateLink = lambda url: True  # type: ignore[method-assign]  # judged in `_inline`
    return made


def _plain(attributes: Mapping[str, str | int | float]) -> dict[str, str | int | float]:
    """No styles: the policy of pages lets none through. A column's alignment becomes a class."""
    kept = {name: value for name, value in attributes.items() if name == "start"}
    aligned = re.fullmatch(r"text-align:(right|center)", str(attributes.get("style", "")))
    return {**kept, "class": aligned[1]} if aligned else kept


def _inline(tokens: list[Token], files: str | None) -> list[Token]:
    """Links and pictures as they may be."""
    from markdown_it.token import Token

    found: list[Token] = []
    open_links: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            address = _address(token.attrGet("href"), files)
            open_links.append(address is not None)
            if address is None:
                continue
            token.attrs = {"href": address, "rel": "noopener noreferrer nofollow"}
        elif token.type == "link_close":
            if not open_links.pop():
                continue
        elif token.type == "image":
            found += _picture(token, files if not any(open_links) else None, any(open_links))
            continue
        token.attrs = {k: v for k, v in token.attrs.items() if k in ("href", "rel")}
        found.append(token)
    return found or [Token("text", "", 0)]


def _picture(token: Token, files: str | None, linked: bool) -> list[Token]:
    from markdown_it.token import Token

    said = Token("text", "", 0)
    said.content = f"[picture: {token.content}]" if token.content else "[picture]"
    address = None if linked else _address(token.attrGet("src"), files)
    if address is None:
        return [said]
    start = Token("link_open", "a", 1, attrs={"href": address, "rel": "noopener noreferrer nofollow"})
    return [start, said, Token("link_close", "a", -1)]


def _address(said: Any, files: str | None) -> str | None:
    """Where a link may go; None for nowhere."""
    address = str(said or "")
    if re.search(r"[\x00-\x20\x7f\\]", address):
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if parts.scheme:
        return address if parts.scheme.lower() in _SCHEMES else None
    if address.startswith(("//", "/", "#", "?")) or not address or files is None:
        return None
    if ":" in address.split("/")[0] or ".." in parts.path.split("/"):
        return None
    return files + quote(parts.path, safe="/%-._~()@!$&'*+,;=")
