"""Filter strings: tokens, a parser whose errors point at the column, and evaluation. Pure.

    expression = conjunction {OR conjunction}
    conjunction = term {AND term}
    term       = NOT term | "(" expression ")" | test
    test       = field ("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=") value
               | field [NOT] IN "(" value {"," value} ")"
               | field [NOT] LIKE text | field [NOT] ILIKE text
               | field IS [NOT] NULL
    field      = word {"." (word | "`any text`" | '"any text"')}
    value      = 'text' | "text" | number | TRUE | FALSE

A text holds its own quote twice. In LIKE, `%` is any text and `_` any character. A test of what a version
does not have is false, `IS NULL` alone is true; of a field with many values one that fits will do, and for
`!=` and NOT none may fit. Nothing is ever handed to SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from gitreg import fields, numerals, values
from gitreg.errors import Usage
from gitreg.fields import Field

Row = Mapping[str, Any]
Test = Callable[[Row], bool]

_MOST_DEPTH = 60
_MOST_LENGTH = 200_000
_SHOWN = 70
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![\w.]))
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    |(?P<word>[A-Za-z_0-9][\w/@:-]*)
    |(?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|,|\.)""",
    re.VERBOSE,
)
_KEYWORDS = ("AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "IS", "NULL", "TRUE", "FALSE", "ASC", "DESC")
_SIGNS = ("=", "!=", "<", "<=", ">", ">=")


@dataclass(frozen=True)
class Token:
    """One word of an expression.

    Attributes:
        kind: "number", "text", "quoted", "word", "sign" or "end".
        text: as it is written, keywords in upper case.
        at: where, counted from 0.
    """

    kind: str
    text: str
    at: int

    @property
    def value(self) -> str:
        """What stands between quotes."""
        return self.text[1:-1].replace(self.text[0] * 2, self.text[0])


@dataclass(frozen=True)
class Query:
    """An expression that was read.

    Attributes:
        fields: all that it asks for.
        test: whether a row, field name to value, is meant.
    """

    fields: tuple[Field, ...]
    test: Test


@dataclass(frozen=True)
class Order:
    """One key of an order."""

    field: Field
    down: bool


def parse(text: str) -> Query:
    """Read a filter; an empty one is for everything.

    Raises:
        Usage: it is none; the message has the place.
    """
    reader = _Reader(text)
    if reader.here.kind == "end":
        return Query((), lambda row: True)
    test = reader.expression(0)
    if reader.here.kind != "end":
        reader.fail("AND or OR is expected here")
    return Query(tuple(reader.asked), test)


def parse_order(text: str) -> tuple[Order, ...]:
    """Read an order, as `metrics.accuracy DESC, name`.

    Raises:
        Usage: it is none; the message has the place.
    """
    reader = _Reader(text)
    found: list[Order] = []
    while reader.here.kind != "end":
        if found and not reader.take(","):
            reader.fail("ASC, DESC or ',' is expected here")
        one = reader.field()
        down = reader.take("DESC")
        if not down:
            reader.take("ASC")
        found.append(Order(one, down))
    return tuple(found)


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: dict[Field, None] = {}
        if len(text) > _MOST_LENGTH:
            raise Usage(f"a filter of {len(text):,} characters; at most {_MOST_LENGTH:,} are read")
        self.tokens = list(self._tokens())
        self.next = 0

    def _tokens(self) -> Iterator[Token]:
        at = 0
        while at < len(self.text):
            found = _TOKEN.match(self.text, at)
            if not found:
                char = self.text[at]
                what = "this quote is not closed" if char in "'\"`" else f"{char!r} means nothing here"
                self.fail(what, at)
            kind = str(found.lastgroup)
            word = found[0]
            if kind == "word" and word.upper() in _KEYWORDS and self.text[max(at - 1, 0) : at] != ".":
                yield Token("keyword", word.upper(), at)
            elif kind != "space":
                yield Token(kind, {"==": "=", "<>": "!="}.get(word, word), at)
            at = found.end()
        yield Token("end", "", len(self.text))

    @property
    def here(self) -> Token:
        return self.tokens[self.next]

    def take(self, *texts: str) -> bool:
        """Go on if one of some signs or keywords stands here."""
        fits = self.here.kind in ("sign", "keyword") and self.here.text in texts
        self.next += fits
        return fits

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        """Raise, pointing at a place: by default where reading is."""
        at = self.here.at if at is None else at
        start = max(0, at - _SHOWN // 2)
        shown = "".join(c if c.isprintable() else "?" for c in self.text[start : start + _SHOWN])
        dots = "..." if start else ""
        after = "..." if start + _SHOWN < len(self.text) else ""
        caret = " " * (len(dots) + at - start)
        raise Usage([f"column {at + 1}: {message}", f"  {dots}{shown}{after}", f"  {caret}^"])

    # Grammar ------------------------------------------------------------------------------------

    def expression(self, depth: int) -> Test:
        tests = [self.conjunction(depth)]
        while self.take("OR"):
            tests.append(self.conjunction(depth))
        return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)

    def conjunction(self, depth: int) -> Test:
        tests = [self.term(depth)]
        while self.take("AND"):
            tests.append(self.term(depth))
        return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)

    def term(self, depth: int) -> Test:
        if depth > _MOST_DEPTH:
            self.fail(f"nested more than {_MOST_DEPTH} deep")
        if self.take("NOT"):
            inner = self.term(depth + 1)
            return lambda row: not inner(row)
        if self.take("("):
            test = self.expression(depth + 1)
            if not self.take(")"):
                self.fail("')' is expected here")
            return test
        return self.test()

    def test(self) -> Test:
        one = self.field()
        self.asked[one] = None
        at, sign = self.here.at, self.here.text
        if self.take("IS"):
            wanted = not self.take("NOT")
            if not self.take("NULL"):
                self.fail("NULL is expected here")
            return lambda row: values.is_absent(row.get(one.name)) is wanted
        negated = self.take("NOT")
        if self.take("IN"):
            return self._refusing(lambda: values.within(one, self._list(), negated), at)
        for word in ("LIKE", "ILIKE"):
            if self.take(word):
                pattern = self.value()
                if not isinstance(pattern, str):
                    self.fail(f"{word} takes a text in quotes", self.tokens[self.next - 1].at)
                return values.like(one, pattern, word == "ILIKE", negated)
        if negated:
            self.fail("IN, LIKE or ILIKE is expected here")
        if not self.take(*_SIGNS):
            self.fail("=, !=, <, <=, >, >=, IN, LIKE, ILIKE or IS is expected here")
        where = self.here.at
        value = self.value()
        return self._refusing(lambda: values.compared(one, sign, value), where)

    def _refusing(self, make: Callable[[], Test], at: int) -> Test:
        try:
            return make()
        except values.Unfit as unfit:
            self.fail(str(unfit), at)

    def _list(self) -> list[Any]:
        if not self.take("("):
            self.fail("'(' is expected here, and values: IN ('a', 'b')")
        found = [self.value()]
        while self.take(","):
            found.append(self.value())
        if not self.take(")"):
            self.fail("',' or ')' is expected here")
        return found

    def field(self) -> Field:
        start = self.here
        parts = [self._part()]
        while self.take("."):
            parts.append(self._part())
        found = fields.field(parts)
        if isinstance(found, str):
            self.fail(found, start.at)
        return found

    def _part(self) -> str:
        token = self.here
        if token.kind == "keyword" and self.next and self.tokens[self.next - 1].text == ".":
            self.next += 1
            return self.text[token.at : token.at + len(token.text)]
        if token.kind not in ("word", "quoted", "number") or (token.kind == "number" and not self.next):
            self.fail("a field is expected here, as name, stage, tags.domain or metrics.accuracy")
        self.next += 1
        return token.value if token.kind == "quoted" else token.text

    def value(self) -> Any:
        token = self.here
        self.next += token.kind != "end"
        if token.kind in ("text", "quoted") and token.text[0] != "`":
            return token.value
        if token.kind == "number":
            if mistake := numerals.mistake(token.text):
                self.next -= 1
                self.fail(mistake)
            plain = re.fullmatch(r"[-+]?[0-9]+", token.text)
            return int(token.text) if plain else float(token.text)
        if token.text in ("TRUE", "FALSE") and token.kind == "keyword":
            return token.text == "TRUE"
        self.next -= token.kind != "end"
        if token.kind == "word":
            self.fail(f"a value is expected here; texts are in quotes: '{token.text[:40]}'")
        self.fail("a value is expected here: a text in quotes, a number, TRUE or FALSE")


def sorted_rows(rows: Sequence[Row], order: Sequence[Order]) -> list[Row]:
    """Rows in an order; what has no value comes last in any direction, ties are kept as they are."""
    found = list(rows)
    for key in reversed(order):
        there = [row for row in found if not values.is_absent(row.get(key.field.name))]
        gone = [row for row in found if values.is_absent(row.get(key.field.name))]
        there.sort(key=lambda row: values.sort_key(key.field, row.get(key.field.name)), reverse=key.down)
        found = there + gone
    return found
