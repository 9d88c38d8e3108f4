"""Edits of YAML: the concerned bytes change, and no others; or the edit is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from gitreg.documents import parse
from gitreg.edits import set_artifacts, set_entries, set_fields, set_version
from gitreg.errors import GitregError, InvalidFiles, Refused

FILE = "stages/production.yaml"


def data(text: str) -> Any:
    document, problems = parse(text.encode(), FILE)
    assert [str(p) for p in problems] == []
    return document.data


ENTRIES: list[tuple[str, dict[str, str | None], str]] = [
    # An empty document.
    ("", {"churn": "1.2.0"}, "churn: 1.2.0\n"),
    ("", {"fraud": "2.0.0", "churn": "1.2.0"}, "churn: 1.2.0\nfraud: 2.0.0\n"),
    ("\n", {"churn": "1.2.0"}, "\nchurn: 1.2.0\n"),
    ("# top\n", {"churn": "1.2.0"}, "# top\nchurn: 1.2.0\n"),
    ("# top", {"churn": "1.2.0"}, "# top\nchurn: 1.2.0"),
    ("# top\r\n", {"churn": "1.2.0"}, "# top\r\nchurn: 1.2.0\r\n"),
    ("# top\n\n", {"churn": "1.2.0"}, "# top\n\nchurn: 1.2.0\n"),
    ("\ufeff# top\n", {"churn": "1.2.0"}, "\ufeff# top\nchurn: 1.2.0\n"),
    ("---\n", {"churn": "1.2.0"}, "---\nchurn: 1.2.0\n"),
    ("---", {"churn": "1.2.0"}, "---\nchurn: 1.2.0"),
    ("--- # top\n# more\n", {"churn": "1.2.0"}, "--- # top\n# more\nchurn: 1.2.0\n"),
    ("---\n...\n", {"churn": "1.2.0"}, "---\nchurn: 1.2.0\n...\n"),
    ("---\n# a\n...\n# b\n", {"churn": "1.2.0"}, "---\n# a\nchurn: 1.2.0\n...\n# b\n"),
    ("%YAML 1.2\n---\n", {"churn": "1.2.0"}, "%YAML 1.2\n---\nchurn: 1.2.0\n"),
    # `{}` and null.
    ("{}", {"churn": "1.2.0"}, "churn: 1.2.0"),
    ("{}\n", {"fraud": "2.0.0", "churn": "1.2.0"}, "churn: 1.2.0\nfraud: 2.0.0\n"),
    ("# top\n{}\n# end\n", {"churn": "1.2.0"}, "# top\nchurn: 1.2.0\n# end\n"),
    ("# top\r\n{ }  # none\r\n", {"churn": "1.2.0"}, "# top\r\n# none\r\nchurn: 1.2.0\r\n"),
    ("--- {}\n", {"churn": "1.2.0"}, "---\nchurn: 1.2.0\n"),
    ("--- {}  # none\n...\n", {"churn": "1.2.0"}, "--- # none\nchurn: 1.2.0\n...\n"),
    ("{\n}\n", {"churn": "1.2.0"}, "churn: 1.2.0\n"),
    ("~\n", {"churn": "1.2.0"}, "churn: 1.2.0\n"),
    ("--- null\n", {"churn": "1.2.0"}, "---\nchurn: 1.2.0\n"),
    # Replace: the style and all around it stay.
    ("churn: 1.0.0\n", {"churn": "1.2.0"}, "churn: 1.2.0\n"),
    ("churn:   1.0.0   # best\n", {"churn": "1.2.0"}, "churn:   1.2.0   # best\n"),
    ("churn: '1.0.0'  # best\n", {"churn": "1.2.0"}, "churn: '1.2.0'  # best\n"),
    ('churn: "1.0.0"\r\nfraud: 1.0.0\r\n', {"churn": "1.2.0"}, 'churn: "1.2.0"\r\nfraud: 1.0.0\r\n'),
    ('"churn" : 1.0.0', {"churn": "1.2.0"}, '"churn" : 1.2.0'),
    ("churn:\t1.0.0\t# tab\n", {"churn": "1.2.0"}, "churn:\t1.2.0\t# tab\n"),
    ("churn:\n  # why\n  1.0.0\n", {"churn": "1.2.0"}, "churn:\n  # why\n  1.2.0\n"),
    ("churn: 1.0\n", {"churn": "1.2.0"}, "churn: 1.2.0\n"),
    ("churn:\n", {"churn": "1.2.0"}, "churn: 1.2.0\n"),
    ("churn:  # which?\nfraud:\n", {"churn": "1.2.0"}, "churn: 1.2.0  # which?\nfraud:\n"),
    ("churn: one\n  two\nfraud: 1.0.0\n", {"churn": "1.2.0"}, "churn: 1.2.0\nfraud: 1.0.0\n"),
    ("churn: |\n  1.0.0\nfraud: 1.0.0\n", {"churn": "1.2.0"}, "churn: 1.2.0\nfraud: 1.0.0\n"),
    ("churn: >-\r\n  1.0.0", {"churn": "1.2.0"}, "churn: 1.2.0"),
    ("churn: {a: b}\n", {"churn": "1.2.0"}, "churn: 1.2.0\n"),
    ("churn:\n  a: b\nfraud: 1.0.0\n", {"churn": "1.2.0"}, "churn: 1.2.0\nfraud: 1.0.0\n"),
    ("churn: !!str 1.0\n", {"churn": "1.1"}, 'churn: !!str "1.1"\n'),
    ("? churn\n: 1.0.0\n", {"churn": "1.2.0"}, "? churn\n: 1.2.0\n"),
    ("x: &v 1.0.0\ny: *v\nchurn: 1.0.0\n", {"churn": "1.2.0"}, "x: &v 1.0.0\ny: *v\nchurn: 1.2.0\n"),
    # Add: in order if there is one, else at the end.
    ("b: 1.0.0\nd: 1.0.0\n", {"c": "1.2.0"}, "b: 1.0.0\nc: 1.2.0\nd: 1.0.0\n"),
    ("b: 1.0.0\nd: 1.0.0\n", {"a": "1.2.0"}, "a: 1.2.0\nb: 1.0.0\nd: 1.0.0\n"),
    ("b: 1.0.0\nd: 1.0.0", {"e": "1.2.0"}, "b: 1.0.0\nd: 1.0.0\ne: 1.2.0"),
    ("d: 1.0.0\nb: 1.0.0\n", {"c": "1.2.0"}, "d: 1.0.0\nb: 1.0.0\nc: 1.2.0\n"),
    ("b: 1.0.0  # b\n# d\nd: 1.0.0\n", {"c": "1.2.0"}, "b: 1.0.0  # b\nc: 1.2.0\n# d\nd: 1.0.0\n"),
    ("# top\nb: 1.0.0\n", {"a": "1.2.0"}, "# top\na: 1.2.0\nb: 1.0.0\n"),
    ("b: 1.0.0\n\n# end\n", {"c": "1.2.0"}, "b: 1.0.0\nc: 1.2.0\n\n# end\n"),
    ("b: 1.0.0\n...\n", {"c": "1.2.0"}, "b: 1.0.0\nc: 1.2.0\n...\n"),
    ("---\n  b: 1.0.0\n", {"c": "1.2.0", "a": "1.0.0"}, "---\n  a: 1.0.0\n  b: 1.0.0\n  c: 1.2.0\n"),
    ("x: &v 1.0.0\ny: *v  # as x\n", {"z": "1.2.0"}, "x: &v 1.0.0\ny: *v  # as x\nz: 1.2.0\n"),
    ("b: |\n  text\n\n\nd: x\n", {"c": "1.2.0"}, "b: |\n  text\nc: 1.2.0\n\n\nd: x\n"),
    ("b: |+\n  text\n\n\nd: x\n", {"c": "1.2.0"}, "b: |+\n  text\n\n\nc: 1.2.0\nd: x\n"),
    ("b: |\r\n  text  \r\n \r\n# d\r\nd: x", {"c": "1"}, 'b: |\r\n  text  \r\nc: "1"\r\n \r\n# d\r\nd: x'),
    ("größe: 1.0.0 # 😀\n", {"z": "1.2.0"}, "größe: 1.0.0 # 😀\nz: 1.2.0\n"),
    # Remove: with its own comment, without those above.
    ("a: 1.0.0\nb: 1.0.0\n", {"a": None}, "b: 1.0.0\n"),
    ("# a\na: 1.0.0  # mine\n# b\nb: 1.0.0\n", {"a": None}, "# a\n# b\nb: 1.0.0\n"),
    ("a: 1.0.0\r\nb: 1.0.0 # b", {"b": None}, "a: 1.0.0"),
    ("a: 1.0.0\nb: |\n  x\n  y\nc: z\n", {"b": None}, "a: 1.0.0\nc: z\n"),
    ("a: 1.0.0\nb:\nc: z\n", {"b": None}, "a: 1.0.0\nc: z\n"),
    ("# a\na: 1.0.0 # mine\n# end\n", {"a": None}, "# a\n{}\n# end\n"),
    ("---\na: 1.0.0", {"a": None}, "---\n{}"),
    # Flow.
    ("{churn: 1.0.0, fraud: 2.0.0}\n", {"churn": "1.2.0"}, "{churn: 1.2.0, fraud: 2.0.0}\n"),
    ("{churn: 1.0.0, fraud: 2.0.0}\n", {"digits": "1.2.0"}, "{churn: 1.0.0, digits: 1.2.0, fraud: 2.0.0}\n"),
    ("{churn: 1.0.0, } # x", {"a": "1.2.0", "z": "1.2.0"}, "{a: 1.2.0, churn: 1.0.0, z: 1.2.0, } # x"),
    ("{churn: 1.0.0, fraud: 2.0.0}", {"churn": None}, "{fraud: 2.0.0}"),
    ("{churn: 1.0.0, fraud: 2.0.0,}", {"fraud": None}, "{churn: 1.0.0,}"),
    ("--- { churn: 1.0.0, } # x\n", {"churn": None}, "--- {} # x\n"),
    ("{churn, fraud: , 'x':}\n", {"churn": "1", "fraud": "2.0.0"}, "{churn: \"1\", fraud: 2.0.0, 'x':}\n"),
    ("{'x':}\n", {"x": "2.0.0"}, "{'x': 2.0.0}\n"),
    (
        "{\n  b: 1.0.0,  # b\n  d: 1.0.0\n}\n",
        {"c": "1.2.0"},
        "{\n  b: 1.0.0,  # b\n  c: 1.2.0,\n  d: 1.0.0\n}\n",
    ),
    ("{\n  b: 1.0.0  # b\n}\n", {"c": "1.2.0"}, "{\n  b: 1.0.0,  # b\n  c: 1.2.0\n}\n"),
    ("{\n  b: 1.0.0,\n}\n", {"a": "1.2.0"}, "{\n  a: 1.2.0,\n  b: 1.0.0,\n}\n"),
    ("{\n  b: 1.0.0,  # b\n  # c\n  c: 1.0.0\n}\n", {"b": None}, "{\n  # c\n  c: 1.0.0\n}\n"),
    # What needs quotes gets them.
    ("", {"churn": "1.0"}, 'churn: "1.0"\n'),
    ("", {"no": "1.2.0", "null": "on"}, '"no": 1.2.0\n"null": "on"\n'),
    ("", {"churn": "1e3"}, 'churn: "1e3"\n'),
    ("", {"churn": "2026-01-01"}, 'churn: "2026-01-01"\n'),
    ("", {"churn": "2026-99-01"}, 'churn: "2026-99-01"\n'),
    ("", {"churn": ""}, 'churn: ""\n'),
    ("", {"churn": "a: b #c"}, 'churn: "a: b #c"\n'),
    ("", {"churn": "[a"}, 'churn: "[a"\n'),
    ("", {"churn": "a, b"}, 'churn: "a, b"\n'),
    ("", {"churn": 'say "ü"\n\x85😀'}, 'churn: "say \\"ü\\"\\n\\u0085😀"\n'),
    ("", {"a: b": "x", "*c": "x", "k": "k"}, '"*c": x\n"a: b": x\nk: k\n'),
    ("churn: 'x'\n", {"churn": "it's"}, "churn: 'it''s'\n"),
    ("churn: 'x'\n", {"churn": "a\nb"}, 'churn: "a\\nb"\n'),
    ("", {"churn": "1.0.0-rc.1"}, "churn: 1.0.0-rc.1\n"),
    # Nothing to do.
    ("# x\n{ } # y", {"churn": None}, "# x\n{ } # y"),
    ("churn: '1.2.0'", {"churn": "1.2.0"}, "churn: '1.2.0'"),
    ("x: &v 1.2.0\nchurn: *v", {"churn": "1.2.0"}, "x: &v 1.2.0\nchurn: *v"),
    ("\ufeff\r\n", {}, "\ufeff\r\n"),
]


@pytest.mark.parametrize(("before", "changes", "after"), ENTRIES)
def test_entries_of_a_stage(before: str, changes: dict[str, str | None], after: str) -> None:
    assert set_entries(before, FILE, changes) == after
    assert set_entries(after, FILE, changes) == after
    wanted = {**(data(before) or {}), **changes}
    assert (data(after) or {}) == {
        name: value for name, value in wanted.items() if changes.get(name, 1) is not None
    }


MULTI = "description: |\n  version: 0.0.1\n  name: x\nname: churn\n"
VERSIONS = [
    ("name: churn\nversion: 1.0.0\n", "name: churn\nversion: 1.2.0\n"),
    ('version: "1.0.0"  # comment\nname: churn', 'version: "1.2.0"  # comment\nname: churn'),
    ("version:\nname: churn\n", "version: 1.2.0\nname: churn\n"),
    ("version:   # which?\r\nname: churn\r\n", "version: 1.2.0   # which?\r\nname: churn\r\n"),
    ("name: churn # c\ntype: x\n", "name: churn # c\nversion: 1.2.0\ntype: x\n"),
    ("name: churn", "name: churn\nversion: 1.2.0"),
    ("\ufeffname: churn\r\ntype: x", "\ufeffname: churn\r\nversion: 1.2.0\r\ntype: x"),
    ("# version: 0.0.1\nname: churn\n", "# version: 0.0.1\nname: churn\nversion: 1.2.0\n"),
    (MULTI, MULTI + "version: 1.2.0\n"),
    ("version: 1.0.0\n" + MULTI, "version: 1.2.0\n" + MULTI),
    ("a:\n  version: 0.0.1\nname: churn\n", "a:\n  version: 0.0.1\nname: churn\nversion: 1.2.0\n"),
    ("a: {version: 0.0.1}\nversion: 1.0.0\n", "a: {version: 0.0.1}\nversion: 1.2.0\n"),
    ("a: some\n  version words\nversion: 1.0.0\n", "a: some\n  version words\nversion: 1.2.0\n"),
    ("name: >-\n  long\n  name\n\ntype: x\n", "name: >-\n  long\n  name\nversion: 1.2.0\n\ntype: x\n"),
    ("type: x\n", "version: 1.2.0\ntype: x\n"),
    ("{name: churn, type: x}\n", "{name: churn, version: 1.2.0, type: x}\n"),
    ("---\nname: churn\n...\n", "---\nname: churn\nversion: 1.2.0\n...\n"),
    ("", "version: 1.2.0\n"),
    ("version: '1.2.0'", "version: '1.2.0'"),
    ("&a\nname: churn\n", "&a\nname: churn\nversion: 1.2.0\n"),
]


@pytest.mark.parametrize(("before", "after"), VERSIONS)
def test_the_version_of_a_manifest(before: str, after: str) -> None:
    assert set_version(before, "model.yaml", "1.2.0") == after
    assert data(after) == {**(data(before) or {}), "version": "1.2.0"}


CHURN = {"path": "models/churn/artifacts", "type": "model"}
BLOCK = "artifacts:\n  churn:\n    path: models/churn/artifacts\n    type: model\n"
FRAUD = "  fraud:\n    path: f\n    type: model\n"
STAGES = "stages:\n  train:\n    cmd: echo ${x} {a}\n    # why\n"
ARTIFACTS: list[tuple[str, dict[str, dict[str, Any] | None], str]] = [
    ("", {"churn": CHURN}, BLOCK),
    ("", {"churn": None}, ""),
    ("artifacts:\n", {"churn": None}, "artifacts:\n"),
    ("", {"fraud": {"path": "f", "type": "model"}, "churn": CHURN}, BLOCK + FRAUD),
    ("# dvc\n{}\n", {"churn": CHURN}, "# dvc\n" + BLOCK),
    (BLOCK, {"churn": CHURN}, BLOCK),
    (STAGES, {"churn": CHURN}, STAGES.replace("    # why\n", BLOCK + "    # why\n")),
    ("plots:\n- a.csv\n\n# end\n", {"churn": CHURN}, "plots:\n- a.csv\n" + BLOCK + "\n# end\n"),
    ("stages:\r\n    a: {}\r\n", {"x": {"path": "p"}}, "stages:\r\n    a: {}\r\nartifacts:\r\n    x:\r\n        path: p\r\n"),
    ("artifacts:\n" + FRAUD + "stages: {}", {"churn": CHURN}, BLOCK + FRAUD + "stages: {}"),
    ("artifacts:  # ours\nplots: []\n", {"churn": CHURN}, BLOCK.replace(":", ":  # ours", 1) + "plots: []\n"),
    ("artifacts: {}  # ours\n", {"churn": CHURN}, BLOCK.replace(":", ":  # ours", 1)),
    ("artifacts: {a: {path: p}}\n", {"b": {"path": "q"}}, "artifacts: {a: {path: p}, b: {path: q}}\n"),
    # Entries: what is equal or the user's stays.
    (BLOCK + "    labels: [a]\n    meta:\n      k: v\n", {"churn": CHURN}, BLOCK + "    labels: [a]\n    meta:\n      k: v\n"),
    (BLOCK + "    labels: [a]  # l\n", {"churn": {**CHURN, "desc": "Who leaves: soon"}}, BLOCK + '    labels: [a]  # l\n    desc: "Who leaves: soon"\n'),
    (BLOCK.replace("model\n", "'old'  # t\n"), {"churn": CHURN}, BLOCK.replace("model\n", "'model'  # t\n")),
    (BLOCK + "    desc: |\n      a\n      b\nplots: []\n", {"churn": {"desc": "Words"}}, BLOCK + "    desc: Words\nplots: []\n"),
    (BLOCK + "    desc: Words\n", {"churn": {**CHURN, "desc": None}}, BLOCK),
    (BLOCK, {"churn": {"labels": ["a", "1"], "meta": {"k": {"l": True}}}}, BLOCK + '    labels: [a, "1"]\n    meta:\n      k:\n        l: true\n'),
    ("artifacts:\n  churn:\n", {"churn": {**CHURN, "desc": None}}, BLOCK),
    ("artifacts:\n  churn: {}\n", {"churn": CHURN}, BLOCK),
    ("artifacts:\n  churn: {path: p}\n", {"churn": {"path": "q", "type": "model"}}, "artifacts:\n  churn: {path: q, type: model}\n"),
    # Remove.
    (BLOCK + FRAUD, {"fraud": None}, BLOCK),
    (BLOCK + FRAUD + "plots: []\n", {"churn": None}, "artifacts:\n" + FRAUD + "plots: []\n"),
    (STAGES + BLOCK, {"churn": None}, STAGES + "artifacts: {}\n"),
    ("artifacts:  # ours\n\n  # best\n  churn:\n    path: p\nplots: []\n", {"churn": None}, "artifacts: {}  # ours\n\n  # best\nplots: []\n"),
    ("artifacts: {a: {path: p}}\n", {"a": None}, "artifacts: {}\n"),
    (BLOCK + FRAUD, {"churn": None, "fraud": None, "x": None}, "artifacts: {}\n"),
    (BLOCK, {"churn": None, "fraud": {"path": "f", "type": "model"}}, "artifacts:\n" + FRAUD),
]  # fmt: skip


@pytest.mark.parametrize(("before", "entries", "after"), ARTIFACTS)
def test_artifacts_of_dvc_yaml(before: str, entries: dict[str, dict[str, Any] | None], after: str) -> None:
    assert set_artifacts(before, "dvc.yaml", entries) == after
    assert set_artifacts(after, "dvc.yaml", entries) == after


ALIAS = "cannot set 'churn': its value is an alias, or has an anchor"


@pytest.mark.parametrize(
    ("text", "value", "why"),
    [
        ("x: &v 1.0.0\nchurn: *v\n", "1.2.0", ALIAS),
        ("churn: &v 1.0.0\nx: *v\n", "1.2.0", ALIAS),
        ("churn: !!str &v 1.0.0\nx: *v\n", "1.2.0", ALIAS),
        ("churn: &v {a: b}\n", "1.2.0", ALIAS),
        ("&v {}\n", "1.2.0", ALIAS),
        ("churn: &v 1.0.0\nx: *v\n", None, "cannot remove 'churn': the way this file is written"),
        (
            "x: &k churn\n*k : 1.0.0\n",
            "1.2.0",
            "cannot set 'churn': the way this file is written does not allow it",
        ),
        ("x: &k churn\n*k : 1.0.0\n", None, "cannot remove 'churn': it stands here through an alias"),
        ("{  # none\n}\n", "1.2.0", "cannot set 'churn': a comment would be lost"),
        ("churn: | # c\n  x\n", "1.2.0", "cannot set 'churn': a comment would be lost"),
        ("{churn: 1.0.0, # c\n x: y}\n", None, "cannot remove 'churn': a comment would be lost"),
        ("? x\n: y\n", "1.2.0", "cannot set 'churn': its lines hold more than keys and values"),
        ("a: |\n  x", "1.2.0", "cannot set 'churn': other data of the file would change too"),
        ("churn: x\n", "\ud800", "cannot set 'churn': the way this file is written does not allow it"),
    ],
)
def test_what_cannot_be_done_cleanly_is_refused(text: str, value: str | None, why: str) -> None:
    with pytest.raises(Refused) as caught:
        set_entries(text, FILE, {"churn": value})
    assert not isinstance(caught.value, InvalidFiles)
    assert caught.value.message.startswith(f"{FILE}: {why}")
    assert caught.value.hint == f"edit {FILE} by hand"


@pytest.mark.parametrize(
    "text",
    [
        "artifacts: &a\n  x:\n    path: p\nplots: *a\n",
        "plots: &a\n  x:\n    path: p\nartifacts: *a\n",
        "artifacts:\n  y: &a\n    path: q\n  x: *a\n",
        "artifacts:\n  x: &a\n    path: q\n  y: *a\n",
    ],
)
def test_an_edit_never_reaches_elsewhere_through_an_alias(text: str) -> None:
    for entry in ({"path": "new"}, {"type": "model"}, None):
        try:
            after = set_artifacts(text, "dvc.yaml", {"x": entry})
        except Refused:
            continue
        old, new = data(text), data(after)
        assert old.get("plots") == new.get("plots")
        assert old["artifacts"].get("y") == new["artifacts"].get("y")


EDITS: list[Callable[[str], str]] = [
    lambda text: set_entries(text, FILE, {"churn": "1.2.0"}),
    lambda text: set_entries(text, FILE, {}),
    lambda text: set_version(text, FILE, "1.2.0"),
    lambda text: set_artifacts(text, FILE, {"churn": CHURN}),
]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2\n", f"{FILE}:2:1: a: the key 'a' stands twice (first in line 1)"),
        ("a: [\n", f"{FILE}:2:1: not YAML"),
        ("a: 1\n\tb: 2\n", f"{FILE}:2:1: not YAML"),
        ("a: 1\n---\nb: 2\n", f"{FILE}:2:1: a second YAML document"),
        ("- churn\n", f"{FILE}:1:1: expected a mapping"),
        ("churn\n", f"{FILE}:1:1: expected a mapping"),
        ("a: \ud800\n", f"{FILE}: not UTF-8"),
        ("a: \x00\n", f"{FILE}: not YAML"),
        ("[" * 500, f"{FILE}:1:41: nested more than 40 deep"),
        ("a: 1\n<<<<<<< ours\nb: 1\n=======\nb: 2\n>>>>>>> theirs\n", f"{FILE}:2:1: a merge conflict is left in this file"),
        ("a: 1\r\n=======\r\nb: 2\r\n", f"{FILE}:2:1: a merge conflict is left in this file"),
        ("\ufeffa: 1\n\n>>>>>>> theirs\n", f"{FILE}:3:1: a merge conflict is left in this file"),
        ("||||||| base\n", f"{FILE}:1:1: a merge conflict is left in this file"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("edit", EDITS)
def test_broken_files_are_not_edited(edit: Callable[[str], str], text: str, said: str) -> None:
    with pytest.raises(InvalidFiles) as caught:
        edit(text)
    (problem,) = caught.value.problems
    assert str(problem).startswith(said)


def test_artifacts_that_are_no_mapping() -> None:
    with pytest.raises(InvalidFiles, match=r"dvc\.yaml:1:12: artifacts: expected a mapping"):
        set_artifacts("artifacts: [a]\n", "dvc.yaml", {"churn": CHURN})


def test_what_only_looks_like_a_merge_conflict_is_text() -> None:
    text = "a: |\n  <<<<<<< ours\n  =======\n# =======\n"
    assert set_entries(text, FILE, {"b": "1.2.0"}) == text.replace("# ", "b: 1.2.0\n# ")


NAMES = ["churn", "fraud", "größe", "no", "digits", "a-b", "x1", "\U0001f600", "null", "12"]
NOTES = ["", "  # best: {of} 'all'", " # größe 😀", "\t# tab", "   "]


def stage(rng: random.Random) -> tuple[list[str], dict[str, str], str]:
    """The lines of a stage's file, the lines of its entries by name, and what stands before it."""
    names = rng.sample(NAMES, rng.randint(1, 6))
    if rng.random() < 0.5:
        names.sort()
    lines, own = [], {}
    if rng.random() < 0.3:
        lines.append("---")
    for name in names:
        lines += rng.choices(["# fraud: 0.0.1", "", "  # in", "#"], k=rng.choice([0, 0, 1, 2]))
        key = rng.choice([f"'{name}'", f'"{name}"', *([name] * 3 if name.isalpha() else [])])
        version = f"{rng.randint(0, 9)}.{rng.randint(0, 9)}.0"
        value = rng.choice([version, f"'{version}'", f'"{version}"'])
        own[name] = f"{key}{rng.choice(['', ' '])}:{rng.choice([' ', '   '])}{value}{rng.choice(NOTES)}"
        lines.append(own[name])
    lines += rng.choice([[], ["# end"], [""], ["..."], ["...", "# end"]])
    return lines, own, rng.choice(["", "\ufeff"])


def test_random_stages_keep_every_other_byte() -> None:
    rng = random.Random(0)
    for _ in range(1500):
        lines, own, bom = stage(rng)
        newline, final = rng.choice(["\n", "\r\n"]), rng.random() < 0.8
        text = bom + newline.join(lines) + newline * final
        newline = newline if newline in text else "\n"
        changes = {name: rng.choice([None, "10.0.0", "1.0"]) for name in rng.sample(NAMES, rng.randint(0, 4))}
        after = set_entries(text, FILE, changes)
        old = data(text)
        wanted = {**old, **changes}
        touched = {own[name] for name in changes if name in own}
        assert data(after) == {n: v for n, v in wanted.items() if v is not None}
        assert after.startswith(bom)
        if lines[-1] not in touched:
            assert after.endswith(newline) == text.endswith(newline)
        if "\r" in after:
            assert after.count("\n") == after.count("\r\n")
        kept = [line for line in lines if line not in touched]
        rest = iter(after.removeprefix(bom).split(newline))
        assert all(line in rest for line in kept), (text, changes, after)
        removed = sum(1 for name, value in changes.items() if value is None and name in own)
        added = sum(1 for name, value in changes.items() if value is not None and name not in own)
        empty = not data(after)
        assert len(after.split(newline)) == len(text.split(newline)) - removed + added + empty
        if list(old) == sorted(old):
            assert list(data(after)) == sorted(data(after))


PIECES = ["churn", "version", ":", ": ", "\n", "\n  ", "1.0.0", "{", "}", ", ", "[", "]", "# c\n", "&a ", "*a", "'", '"', "|\n  x\n",
          "? ", "- ", "---\n", "...\n", "!!str ", "\r\n", "artifacts:\n  churn:\n    path: p\n", "name: x\n", "x: y\n", " ", "\t", "ü"]  # fmt: skip


def test_random_text_is_edited_rightly_or_refused() -> None:
    rng = random.Random(0)
    edited = 0
    for _ in range(20_000):
        text = "".join(rng.choices(PIECES, k=rng.randint(1, 12)))
        changes: dict[str, str | None] = {
            "churn": rng.choice([None, "1.2.0"]),
            "x": rng.choice([None, "1.0"]),
        }
        try:
            after = set_entries(text, FILE, changes)
        except GitregError:
            continue
        wanted = {**(data(text) or {}), **changes}
        assert (data(after) or {}) == {n: v for n, v in wanted.items() if v is not None or n not in changes}
        edited += after != text
        set_again = set_entries(after, FILE, changes)
        assert set_again == after
    assert edited > 500


def test_many_entries_at_once() -> None:
    changes = {f"model-{number:04}": "1.2.0" for number in range(300)}
    assert data(set_entries("# top\n", FILE, changes)) == changes


FIELDS: list[tuple[str, str, dict[tuple[str, ...], Any], str]] = [
    ("m.yaml", "name: a\n", {("metrics", "mae"): 1.5}, "name: a\nmetrics:\n  mae: 1.5\n"),
    ("m.yaml", "metrics: {mae: 2} # old\n", {("metrics", "mae"): 1.5}, "metrics: {mae: 1.5} # old\n"),
    (
        "m.yaml",
        "name: a\n",
        {("lineage", "data"): [{"name": "x", "md5": "0"}, {"name": "y"}]},
        'name: a\nlineage:\n  data:\n    - {name: x, md5: "0"}\n    - {name: y}\n',
    ),
    ("m.json", '{"mae": 0.50, "b": [1]}\n', {("mae",): 0.25}, '{"mae": 0.25, "b": [1]}\n'),
    (
        "m.json",
        '{\n  "b": 1e-5\n}\n',
        {("mae",): 0.25, ("t", "é"): "x"},
        '{\n  "b": 1e-5,\n  "mae": 0.25,\n  "t": {"é": "x"}\n}\n',
    ),
    ("m.json", "{}\n", {("mae",): 0.25}, '{\n  "mae": 0.25\n}\n'),
    ("m.json", '{\n\t"b": 1\n}', {("mae",): 0.25}, '{\n\t"b": 1,\n\t"mae": 0.25\n}'),
]


@pytest.mark.parametrize(("file", "text", "changes", "expected"), FIELDS)
def test_fields_of_yaml_and_json(
    file: str, text: str, changes: dict[tuple[str, ...], Any], expected: str
) -> None:
    assert set_fields(text, file, changes) == expected
    assert set_fields(expected, file, changes) == expected


def test_a_field_below_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(Refused, match="'metrics' is not a mapping"):
        set_fields("metrics: m.json\n", "m.yaml", {("metrics", "mae"): 1.0})
