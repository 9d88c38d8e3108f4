"""Filter strings: what they mean, and how mistakes in them are told."""

from __future__ import annotations

import math
import random
import sqlite3
import string
from typing import Any

import pytest

from gitreg import fields, query
from gitreg.errors import GitregError, Usage

ROW: dict[str, Any] = {
    "name": "churn",
    "version": "1.10.0",
    "ordinal": 3,
    "created": 1_763_700_000,  # 2025-11-21 04:40 UTC
    "stage": ["staging", "production"],
    "owner": ["@risk", "@growth"],
    "latest": True,
    "valid": False,
    "description": "Who leaves, 100% sure_ly",
    "metrics.accuracy": 0.93,
    "metrics.bad": math.nan,
    "metrics.huge": math.inf,
    "metrics.test.auc": 0.97,
    "params.depth": 6,
    "params.rate": "0.1",
    "params.mode": "fast",
    "params.flag": True,
    "tags.domain": "billing",
    "tags.a b": 1,
    "tags.o'hara": "x",
    "tags.in": "y",
    "schema.inputs.name": ["x", "age"],
    "lineage.code.commit": ["0f3c1d"],
    "size": 77,
}

TRUE = """
name = 'churn'
name == "churn"
NAME = 'churn'
attributes.name = 'churn'
name != 'x'
name <> 'x'
name LIKE 'ch%'
name like '%u%n'
name LIKE '_hurn'
name ILIKE 'CHURN'
name NOT LIKE 'x%'
name IN ('a', 'churn')
name NOT IN ('a', 'b')
name > 'ch' AND name < 'd'
description LIKE '%100%% sure_ly'
version = '1.10.0'
version > '1.9.0'
version >= '1.10.0' and version < '1.10.1'
version > '1.10.0-rc.1'
ordinal = 3
version_number >= 3
created > '2025-11-20'
created = '2025-11-21'
created >= '2025-11-21T04:40:00Z'
created <= '2025-11-21'
created < '2025-11-22'
created > 1763600000000
creation_timestamp < 1763800000000
stage = 'production'
stage IN ('production', 'x')
stage IN ('staging') AND stage IN ('production')
NOT stage = 'archived'
stage != 'archived'
current_stage = 'staging'
owner = '@risk'
owner LIKE '@g%'
latest = TRUE
latest = 'true'
valid = false
metrics.accuracy > 0.9
metrics.accuracy >= 93e-2
metric.accuracy = 0.93
metrics."accuracy" < 1
metrics.test.auc = 0.97
metrics.`test.auc` = 0.97
metrics.huge > 1e308
metrics.bad IS NOT NULL
NOT metrics.bad > 0
params.depth = 6
params.depth = '6'
params.depth > '5'
param.depth >= 5.5
params.rate < 0.2
params.mode = 'fast'
params.flag = 'true'
params.flag = TRUE
tags.domain = 'billing'
tag.domain = 'billing'
tags.`a b` = 1
tags."a b" = '1'
tags."o'hara" = 'x'
tags.in = 'y'
tags.nothing IS NULL
tags.domain IS NOT NULL
schema.inputs.name = 'age'
schema.inputs = 'x'
lineage.code.commit LIKE '0f3%'
size < 100
(name = 'x' OR name = 'churn') AND size = 77
name = 'x' AND size = 1 OR size = 77
NOT (name = 'x' OR size = 1)
NOT NOT name = 'churn'
license IS NULL
""".strip().splitlines()

FALSE = """
name = 'CHURN'
name LIKE 'CHURN'
name LIKE 'chur'
name LIKE '_churn'
name = 'x' OR size = 1
version < '1.9.0'
stage = 'archived'
stage != 'production'
stage NOT IN ('production')
NOT stage = 'production'
metrics.bad > 0
metrics.bad = 0
metrics.bad <= 0
metrics.huge < 1
metrics.none > 0
tags.none = 'a'
tags.none != 'a'
tags.none NOT IN ('a')
tags.none LIKE '%'
params.mode > 1
params.mode = 1
description LIKE '%sureXly%'
created > '2025-11-21'
created = '2025-11-22'
name IS NULL
latest = false
""".strip().splitlines()


@pytest.mark.parametrize("text", TRUE)
def test_true(text: str) -> None:
    assert query.parse(text).test(ROW)


@pytest.mark.parametrize("text", FALSE)
def test_false(text: str) -> None:
    assert not query.parse(text).test(ROW)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("metrics.accuracy >> 0.9", 19, "a value is expected here"),
        ("metrics.accuracy > '0.9'", 20, "metrics.accuracy is a number"),
        ("name = churn", 8, "texts are in quotes: 'churn'"),
        ("nme = 'x'", 1, "there is no field 'nme' (did you mean 'name'?)"),
        ("stge = 'x'", 1, "did you mean 'stage'"),
        ("metric = 1", 1, "which of the metrics? write metrics.NAME"),
        ("metrcs.auc > 1", 1, "did you mean 'metrics.NAME'"),
        ("name = 'x", 8, "this quote is not closed"),
        ("name = 'x' name = 'y'", 12, "AND or OR is expected"),
        ("(name = 'x'", 12, "')' is expected"),
        ("name IN 'x'", 9, "'(' is expected"),
        ("name IN ('x' 'y')", 14, "',' or ')' is expected"),
        ("name IN ()", 10, "a value is expected"),
        ("name LIKE 5", 11, "LIKE takes a text in quotes"),
        ("name NOT = 'x'", 10, "IN, LIKE or ILIKE is expected"),
        ("name IS 'x'", 9, "NULL is expected"),
        ("name 'x'", 6, "=, !=, <"),
        ("name = 5", 8, "name is a text; write it in quotes"),
        ("version > 1.0", 11, "versions are compared with versions in quotes"),
        ("version > '1'", 11, "versions are compared with versions"),
        ("created > 'yesterday'", 11, "is no time"),
        ("latest = 'maybe'", 10, "latest is TRUE or FALSE"),
        ("0.9 < metrics.accuracy", 1, "a field is expected here"),
        ("name = 'x'; DROP TABLE models", 11, "';' means nothing here"),
        ("AND", 1, "a field is expected"),
        ("(" * 100 + "name = 'x'", 62, "nested more than 60 deep"),
        ("NOT " * 5000 + "name = 'x'", 245, "nested more than 60 deep"),
        ("", None, ""),
    ],
)
def test_mistakes_are_told_where_they_are(text: str, column: int | None, message: str) -> None:
    if column is None:
        assert query.parse(text).test({})
        return
    with pytest.raises(Usage) as error:
        query.parse(text)
    first, shown, caret = error.value.message.split("\n")
    assert first.startswith(f"column {column}: ") and message in first
    if column <= len(text) and len(text) < 60:
        assert shown[caret.index("^")] == text[column - 1]


@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", "name = '' OR ''=''", "x' UNION SELECT * FROM seen --", '"; DROP']
)
def test_what_is_written_to_inject_is_a_mistake_or_a_text(text: str) -> None:
    with pytest.raises(Usage):
        query.parse(text)
    quoted = text.replace("'", "''")
    assert query.parse(f"tags.domain = '{quoted}'").test({"tags.domain": text})
    assert not query.parse(f"tags.domain LIKE '{quoted}'").test(ROW)


def test_control_characters_in_a_filter_are_not_shown() -> None:
    with pytest.raises(Usage) as error:
        query.parse("name = \x1b[31m\u202e'x'")
    assert "\x1b" not in error.value.message and "\u202e" not in error.value.message.replace("\\u202e", "")


def test_no_text_makes_the_parser_fail_otherwise() -> None:
    chance = random.Random(1)
    words = [
        "name",
        "metrics.a",
        "=",
        "<",
        "(",
        ")",
        "AND",
        "OR",
        "NOT",
        "IN",
        "'x'",
        "5",
        "IS",
        "NULL",
        "LIKE",
        ",",
        ".",
        "`",
        '"',
    ]
    for _ in range(3000):
        text = " ".join(chance.choice(words) for _ in range(chance.randint(0, 12)))
        if chance.random() < 0.3:
            text += "".join(chance.choice(string.printable) for _ in range(5))
        try:
            query.parse(text).test(ROW)
        except GitregError as error:
            assert isinstance(error, Usage)


def test_it_agrees_with_sqlite_where_both_have_a_meaning() -> None:
    """Comparisons, AND, OR, parentheses, LIKE and IN over values that are all there."""
    chance = random.Random(5)
    database = sqlite3.connect(":memory:")
    database.execute("PRAGMA case_sensitive_like = ON")
    database.execute("CREATE TABLE t (name TEXT, size REAL, title TEXT)")
    rows = [
        {"name": n, "size": s, "title": t}
        for n in ("a", "ab", "B%", "")
        for s in (-1, 0, 2.5)
        for t in ("x", "y_z")
    ]
    database.executemany("INSERT INTO t VALUES (:name, :size, :title)", rows)

    def test() -> str:
        column = chance.choice(["name", "size", "title"])
        if column == "size":
            return f"size {chance.choice(['=', '!=', '<', '<=', '>', '>='])} {chance.choice([-1, 0, 2.5, 7])}"
        kind = chance.random()
        if kind < 0.3:
            return f"{column} {chance.choice(['', 'NOT '])}LIKE '{chance.choice(['%', 'a%', '_', '%b', 'y__', '%%', 'B%'])}'"
        if kind < 0.5:
            return f"{column} {chance.choice(['', 'NOT '])}IN ('a', 'x')"
        return f"{column} {chance.choice(['=', '!=', '<', '>='])} '{chance.choice(['a', 'x', 'B%', 'zz'])}'"

    def expression(depth: int) -> str:
        if depth == 0 or chance.random() < 0.3:
            return test()
        word = chance.choice(["AND", "OR"])
        return f"({expression(depth - 1)}) {word} {'NOT ' * (chance.random() < 0.2)}({expression(depth - 1)})"

    for _ in range(300):
        text = expression(3)
        expected = database.execute(
            f"SELECT name, size, title FROM t WHERE {text} ORDER BY 1, 2, 3"
        ).fetchall()
        found = [r for r in rows if query.parse(text).test(r)]
        assert sorted((r["name"], r["size"], r["title"]) for r in found) == expected, text


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("metrics.a", [1, 4, 2, 3, 0]),
        ("metrics.a DESC", [3, 2, 4, 1, 0]),
        ("version desc", [2, 1, 0, 3, 4]),
        ("stage, version", [4, 0, 1, 3, 2]),
        ("tags.t", [1, 2, 0, 3, 4]),
    ],
)
def test_order(order: str, expected: list[int]) -> None:
    rows: list[dict[str, Any]] = [
        {"version": "1.9.0", "stage": ["a"], "tags.t": "x"},
        {"version": "1.10.0", "stage": ["a", "b"], "metrics.a": -1, "tags.t": 2},
        {"version": "2.0.0", "metrics.a": math.inf, "stage": [], "tags.t": 10},
        {"version": "1.0.0", "metrics.a": math.nan, "stage": ["b"]},
        {"version": "1.0.0-rc.1", "metrics.a": 5, "stage": ["a"]},
    ]
    found = query.sorted_rows(rows, query.parse_order(order))
    assert [rows.index(row) for row in found] == expected


@pytest.mark.parametrize(
    ("text", "column"), [("nme", 1), ("name foo", 6), ("name,", 6), ("name DESC name", 11)]
)
def test_mistakes_in_an_order_are_told_where_they_are(text: str, column: int) -> None:
    with pytest.raises(Usage, match=f"column {column}:"):
        query.parse_order(text)


def test_long_patterns_take_linear_time() -> None:
    text = "a" * 100_000
    assert not query.parse("title LIKE '" + "%a" * 200 + "b'").test({"title": text})
    assert query.parse("title LIKE '" + "%a_" * 200 + "%'").test({"title": text})


def test_facts_of_nothing_are_none() -> None:
    assert fields.facts({"file": None, "problems": ["x"]}) == {"valid": False}
