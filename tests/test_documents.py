"""YAML as hostile input: what is read, and what is refused where."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gitreg.documents import MAX_BYTES, dotted, parse


def read(text: str) -> Any:
    document, problems = parse(text.encode(), "a.yaml")
    assert [str(p) for p in problems] == []
    return document.data


def refusal(raw: str | bytes) -> str:
    document, problems = parse(raw.encode() if isinstance(raw, str) else raw, "a.yaml")
    assert document.data is None
    (problem,) = problems
    return str(problem)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("''", ""),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-1.5E-3", -0.0015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1.2.0", "1.2.0"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("=", "="),
        ("'12'", "12"),
        ('"no"', "no"),
        ("!!str 12", "12"),
        ("! 12", "12"),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    data = read(f"key: {text}")["key"]
    assert (data, type(data)) == (value, type(value))


def test_nan_is_a_float() -> None:
    assert math.isnan(read(".nan"))


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_document_is_nothing(text: str) -> None:
    assert read(text) is None


def test_a_byte_order_mark_is_not_part_of_the_first_key() -> None:
    assert read("\ufeffname: churn") == {"name": "churn"}


def test_json_with_tabs_is_yaml() -> None:
    assert read('{\n\t"a": [1, 2.5, null, true],\n\t"b": {"c": "\\u00e9\\/"}\n}') == {
        "a": [1, 2.5, None, True],
        "b": {"c": "é/"},
    }


def test_a_few_anchors_are_fine() -> None:
    assert read("a: &x {n: 1}\nb: *x\nc: [*x, &y word, *y]") == {
        "a": {"n": 1},
        "b": {"n": 1},
        "c": [{"n": 1}, "word", "word"],
    }


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("a: 1\nb: {x: 1, x: 2}\n", "2:11: b.x: the key 'x' stands twice (first in line 2)"),
        ("a: 1\n'a': 2\n", "2:1: a: the key 'a' stands twice (first in line 1)"),
        ("a: 1\n---\nb: 2\n", "2:1: a second YAML document; one is expected"),
        ("a: {x: 1}\nb:\n  <<: {y: 1}\n", "3:3: merge keys ('<<') are not part of a registry's YAML"),
        (
            "a: !!python/object:os.system x",
            "1:4: the tag 'tag:yaml.org,2002:python/object:os.system' is refused",
        ),
        ("a: !!python/name:os.system", "1:4: the tag 'tag:yaml.org,2002:python/name:os.system' is refused"),
        ("!!python/object/new:type {}", "1:1: the tag 'tag:yaml.org,2002:python/object/new:type' is refused"),
        ("a: !!binary aGk=", "1:4: the tag 'tag:yaml.org,2002:binary' is refused"),
        ("a: !!set {b}", "1:4: the tag 'tag:yaml.org,2002:set' is refused"),
        ("a: !own 1", "1:4: the tag '!own' is refused"),
        ("a: *x", "1:4: the alias '*x' names no finished anchor"),
        ("a: &x [*x]", "1:8: the alias '*x' names no finished anchor"),
        ("? [a]\n: 1", "1:3: a key must be a string"),
        ("a: &x [1]\n*x : 1", "2:1: a key must be a string"),
        ("a: " + "1" * 500, "1:4: a number of 500 digits; at most 64 are read"),
        ("a: [" + "1," * 100_001 + "]", "1:199999: more than 100,000 values"),
    ],
)
def test_refused_with_its_place(raw: str, told: str) -> None:
    assert refusal(raw) == f"a.yaml:{told}"


@pytest.mark.parametrize(
    ("raw", "place"),
    [("a: [1,\n", "2:1"), ("a: 'x\n", "2:1"), ("a: b: c\n", "1:5"), ("a:\n\t- b\n", "2:1"), ("a: @x", "1:4")],
)
def test_broken_yaml_is_refused_with_its_place(raw: str, place: str) -> None:
    assert refusal(raw).startswith(f"a.yaml:{place}: not YAML: ")


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    assert refusal(b"a: caf\xe9\n") == "a.yaml: not UTF-8: byte 6 is 0xe9"
    assert refusal("a: 1".encode("utf-16")) == "a.yaml: not UTF-8: byte 0 is 0xff"


def test_control_characters_are_refused() -> None:
    assert refusal(b"a: \x00").startswith("a.yaml: not YAML: ")


def test_a_file_of_one_byte_too_many_is_refused() -> None:
    comment = b"#" * MAX_BYTES
    assert parse(comment, "a.yaml")[1] == []
    assert (
        refusal(comment + b"#") == "a.yaml: 1,048,577 bytes; a YAML file of a registry has at most 1,048,576"
    )


@pytest.mark.parametrize("one", ["[", "{a: ", "- ", "? "])
def test_100_000_deep_nesting_is_refused(one: str) -> None:
    assert refusal(one * 100_000).endswith((": nested more than 40 deep", ": a key must be a string"))


def test_forty_levels_are_read() -> None:
    data = read("[" * 40 + "]" * 40)
    for _ in range(39):
        (data,) = data
    assert data == []


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [ha, ha, ha]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    assert refusal("\n".join(lines)) == "a.yaml:4:20: more than 20 aliases"


def test_few_aliases_of_something_large_are_refused_too() -> None:
    assert refusal("a: &a [" + "1," * 20_000 + "]\nb: [*a, *a, *a, *a, *a]") == (
        "a.yaml:2:17: more than 100,000 values"
    )


def test_problems_find_the_place_of_a_value_a_key_or_what_is_above() -> None:
    document, _ = parse(b"a: 1\nb:\n  - {c: 2,\n     d: 3}\ne: &e {f: 1}\ng: *e\n", "a.yaml")

    def place(*path: str | int, key: bool = False) -> tuple[int, int]:
        problem = document.problem(path, "wrong", key=key)
        return problem.line, problem.column

    assert place("b", 0, "d") == (4, 9)
    assert place("b", 0, "d", key=True) == (4, 6)
    assert place("b", 0, "missing") == (3, 5)
    assert place("b", 7) == (3, 3)
    assert place("g", "f") == (6, 4)
    assert place("nowhere") == (1, 1)


def test_columns_count_characters_and_not_bytes() -> None:
    document, _ = parse('{"é€😀": 1, b: 2}'.encode(), "a.yaml")
    assert str(document.problem(("b",), "wrong")) == "a.yaml:1:15: b: wrong"


def test_paths_are_written_with_dots_and_brackets() -> None:
    assert dotted(("schema", "inputs", 0, "data_type")) == "schema.inputs[0].data_type"
    assert dotted((2, "x")) == "[2].x"
    assert dotted(()) == ""
