"""list, show, history, search, compare, diff, lineage: what people and programs see, also of hostile models."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import gitreg as command
from tests.test_catalog import Shelf, shelf

__all__ = ["shelf"]

EVIL = "<script>alert(1)</script>\x1b[31mred\x1b]0;title\x07\u202egnp.exe\u2066\u200f\x9b2J|`$(id)`\"';--"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
COMMANDS = [
    ["list"],
    ["show", "evil"],
    ["show", "evil@1.0.0"],
    ["history", "evil"],
    ["search", "name = 'evil'", "--order-by", "metrics.nan"],
    ["search", "tags.`=cmd()` IS NOT NULL OR description LIKE '%a%'"],
    ["compare", "evil@1.0.0", "evil@1.1.0"],
    ["diff", "evil@1.0.0", "evil@1.1.0"],
    ["lineage", "evil@1.0.0"],
]


@pytest.fixture
def evil(shelf: Shelf) -> Shelf:
    """A model whose every text is an attack, and whose metrics are no numbers."""
    said: dict[str, Any] = {
        "description": f"=HYPERLINK({EVIL}) " + "a" * 3000,
        "title": EVIL,
        "owners": [EVIL, "-@x"],
        "tags": {EVIL: EVIL, "=cmd()": "+1+1", "long": "x" * 100_000},
        "license": EVIL,
        "lineage": {
            "code": {"repo": f"https://{EVIL}", "commit": "0f3c1d2"},
            "data": [{"name": EVIL, "url": '\\"]; evil -> x'}],
            "run": {"pipeline": EVIL, "step": "\u202e"},
        },
        "requirements": [EVIL],
    }
    file = shelf.root / "models" / "evil" / "metrics.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"nan": float("nan"), "inf": float("inf"), EVIL: 1}))
    shelf.register("evil", "1.0.0", metrics="metrics.json", **said)
    file.write_text(json.dumps({"nan": 1.0, "inf": float("-inf")}))
    shelf.register("evil", "1.1.0", metrics="metrics.json", params={EVIL: EVIL}, **said)
    shelf.tag("evil#production#9", "evil@v1.0.0", f"{EVIL}\n\n{EVIL}")
    return shelf


@pytest.mark.parametrize("how", ["table", "csv", "md", "json", "terminal"])
def test_hostile_texts_are_shown_harmlessly(evil: Shelf, how: str) -> None:
    for words in COMMANDS:
        if how == "terminal":
            said = on_terminal(words, evil.root)
        else:
            kind = "tree" if words[0] == "lineage" and how == "table" else how
            if words[0] == "lineage" and how in ("csv", "md"):
                kind = {"csv": "dot", "md": "mermaid"}[how]
            done = command(*words, "--format", kind, cwd=evil.root)
            assert done.returncode == 0 and done.stderr == "", done.stderr
            said = done.stdout
        assert said.strip() and not STEERING.search(said.replace("\r\n", "\n")), words
        if how == "json":
            json.loads(said)
        if how == "csv" and words[0] != "lineage":
            rows = list(csv.reader(io.StringIO(said)))
            assert len({len(row) for row in rows}) == 1
            assert not any(re.match(r"[=@\t]|[-+][^0-9.in]", cell) for row in rows for cell in row)
        if how == "md" and words[0] != "lineage":
            assert "<script" not in said and len({line.count("|") for line in said.splitlines()}) == 1
        if how in ("table", "terminal") and words[0] != "lineage":
            assert max(map(len, said.splitlines())) < 4000


def on_terminal(words: list[str], cwd: Path, columns: int = 100) -> str:
    """What a terminal gets."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gitreg", *words], cwd=cwd, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait() == 0, said
    return said.decode()


@pytest.mark.parametrize("words", [["list"], ["search"], ["show", "churn"], ["history", "churn"]])
def test_tables_fit_the_terminal(shelf: Shelf, words: list[str]) -> None:
    shelf.register("drift", "1.0.0", description="Wörter und 漢字 " * 20)
    said = on_terminal(words, shelf.root).replace("\r\n", "\n")
    from rich.cells import cell_len

    assert max(cell_len(line) for line in said.splitlines()) <= 100


def test_a_narrow_terminal_gets_fewer_columns_and_a_narrower_one_lines(shelf: Shelf) -> None:
    shelf.register("customer-churn-of-small-businesses", "1.0.0-rc.1", description="Who leaves. " * 9)
    shelf.tag("customer-churn-of-small-businesses#shadow#2")
    said = on_terminal(["list"], shelf.root, 80)
    assert "production" in said.splitlines()[0] and "1.0.0-rc.1" in said
    assert "(left out for want of room: type, changed, description)" in said
    assert re.search(r"^customer-churn-[a-z-]*-\s", said, re.MULTILINE)  # a name is broken where it may be
    said = on_terminal(["list"], shelf.root, 40)
    assert "churn\r\n  latest        1.1.0\r\n  staging       1.1.0\r\n" in said
    for words in (
        ["list"],
        ["compare", "churn@1.0.0", "churn"],
        ["diff", "churn@1.0.0", "churn"],
        ["show", "churn"],
    ):
        for columns in (40, 60, 80):
            lines = on_terminal(words, shelf.root, columns).splitlines()
            table = [line for line in lines if "   " in line]
            assert max(map(len, table)) <= columns, (words, columns)


def test_tables_note_what_one_should_know(shelf: Shelf) -> None:
    assert "note" not in command("list", cwd=shelf.root).stdout.splitlines()[0]
    shelf.register("churn", "1.2.0", type="onnyx", params={"fast": True, "layers": [8, 4]})
    shelf.tag("forecast@deprecated#9", "HEAD")
    said = command("list", cwd=shelf.root).stdout
    assert "manifest problems" in said and "deprecated" in said
    said = command("show", "churn", cwd=shelf.root).stdout
    assert len(re.findall("^1.2.0 .* manifest problems", said, re.MULTILINE)) == 1
    assert "manifest problems" in command("search", "valid = false", cwd=shelf.root).stdout
    assert re.search(
        r"params +fast true, layers \[8, 4\]", command("show", "churn@1.2.0", cwd=shelf.root).stdout
    )
    assert (
        command("list", "--format", "csv", cwd=shelf.root).stdout.splitlines()[0].endswith("note,description")
    )


def test_numbers_that_are_none_are_found_and_sorted(evil: Shelf) -> None:
    done = command("search", "metrics.inf > 1e300", "--json", cwd=evil.root)
    found = json.loads(done.stdout)
    assert [one["version"] for one in found["versions"]] == ["1.0.0"]
    assert found["versions"][0]["metrics"]["nan"] == "nan" and found["versions"][0]["metrics"]["inf"] == "inf"
    done = command("compare", "evil@1.0.0", "evil@1.1.0", "--json", cwd=evil.root)
    assert json.loads(done.stdout)["verdict"]["word"] == "unknown"


def test_a_filter_written_to_inject_harms_nothing(shelf: Shelf) -> None:
    for text in ["'; DROP TABLE models; --", "name = 'x'; DELETE FROM facts", "name = '' OR 1=1"]:
        done = command("search", text, cwd=shelf.root)
        assert done.returncode == 2 and re.search(r"^ *\^$", done.stderr, re.MULTILINE), done.stderr
    done = command("search", "tags.domain = 'x'' OR ''1''=''1'", cwd=shelf.root)
    assert (done.returncode, done.stdout) == (0, "no version is found\n")
    assert command("search", "--json", "metrics.accuracy > 0", cwd=shelf.root).stdout.count('"churn"') == 2


def test_mistakes_exit_with_2_and_point_at_the_column(shelf: Shelf) -> None:
    done = command("search", "metrics.accuracy > 0.9 AND stge = 'production'", cwd=shelf.root)
    assert done.returncode == 2
    assert done.stderr == (
        "error: column 28: there is no field 'stge' (did you mean 'stage'?)\n"
        "  metrics.accuracy > 0.9 AND stge = 'production'\n"
        "                             ^\n"
    )
    done = command("search", "metrics.acuracy > 0.9", cwd=shelf.root)
    assert done.stdout == (
        "no version is found; no version has metrics.acuracy (did you mean 'metrics.accuracy'?)\n"
    )


def test_compare_marks_the_better_metric_and_says_which_version_is(shelf: Shelf) -> None:
    done = command("compare", "churn#production", "churn", cwd=shelf.root)
    assert re.search(r"accuracy +0\.93 +0\.95 \*", done.stdout)
    assert done.stdout.endswith("schema: unchanged\nchurn@1.1.0 is better than churn@1.0.0 by accuracy\n")
    data = json.loads(command("compare", "churn@1.0.0", "churn@1.1.0", "--json", cwd=shelf.root).stdout)
    accuracy, *_ = data["metrics"]
    assert accuracy == {
        "name": "accuracy", "values": [0.93, 0.95], "same": False, "direction": "higher", "best": [1],
    }  # fmt: skip
    assert data["verdict"]["word"] == "better" and data["compatible"] is True


def test_a_gate_says_which_way_is_better(shelf: Shelf) -> None:
    def word() -> str:
        done = command("compare", "churn@1.0.0", "churn@1.1.0", "--json", cwd=shelf.root)
        return str(json.loads(done.stdout)["verdict"]["word"])

    stages = "registry: shelf\nstages: {production: {gates: [{metric: accuracy, %s: 0.9}]}}\n"
    (shelf.root / "registry.yaml").write_text(stages % "max_rise")
    assert word() == "worse"
    (shelf.root / "registry.yaml").write_text(stages % "min")
    assert word() == "better"
    (shelf.root / "registry.yaml").write_text("registry: [broken")
    assert word() == "better"


def test_diff_says_who_breaks(shelf: Shelf) -> None:
    schema = {
        "inputs": [{"name": "y", "data_type": "float", "shape": [3]}],
        "outputs": [{"name": "p", "data_type": "float", "shape": [1]}],
    }
    shelf.register("churn", "2.0.0", schema=schema, metrics={"accuracy": 0.5}, params={"depth": 9})
    done = command("diff", "churn#production", "churn", cwd=shelf.root)
    assert "schema: incompatible: callers break" in done.stdout
    assert "input 'x' was removed" in done.stdout and "-0.43, worse" in done.stdout
    assert "models/churn/model.yaml" in done.stdout
    data = json.loads(command("diff", "churn@1.0.0", "churn@2.0.0", "--json", cwd=shelf.root).stdout)
    assert (data["level"], data["compatible"], data["verdict"]["word"]) == ("major", False, "worse")
    assert {"status": "M", "path": "models/churn/model.yaml"} in data["files"]


def test_lineage_as_a_tree_dot_and_mermaid(shelf: Shelf) -> None:
    tree = command("lineage", "churn@1.0.0", cwd=shelf.root).stdout
    assert "├── trained by code https://git.example/churn\n│   └── commit: 0f3c1d2e4b5a\n" in tree
    assert "is in stage production" in tree
    dot = command("lineage", "churn@1.0.0", "--format", "dot", cwd=shelf.root).stdout
    assert dot.startswith("digraph lineage {") and '-> "version" [label="trained on"];' in dot
    mermaid = command("lineage", "churn@1.0.0", "--format", "mermaid", cwd=shelf.root).stdout
    assert mermaid.startswith("flowchart LR\n") and "run: abc" in mermaid


def test_lineage_names_the_models_that_one_was_made_from(shelf: Shelf) -> None:
    source = {"registry": "https://git.example/up", "model": "base", "version": "3.2.1", "commit": "a" * 40}
    template = {"model": "blank", "version": "1.0.0", "values": {"depth": 3}}
    shelf.register("leaf", "1.0.0", lineage={"source": source, "template": template})
    said = command("lineage", "leaf", cwd=shelf.root).stdout
    assert "taken from model base@3.2.1\n│   ├── registry: https://git.example/up" in said
    assert "made from template blank@1.0.0\n│   └── values: depth: 3" in said
    shelf.register("leaf", "1.1.0", lineage={"source": {"model": "churn", "version": "1.0.0"}})
    assert "converted from model churn@1.0.0" in command("lineage", "leaf", cwd=shelf.root).stdout


def test_dot_stays_one_graph_whatever_texts_say(evil: Shelf) -> None:
    """Every quote of a label is escaped: taken out, with what is between them, the frame is left."""
    dot = command("lineage", "evil@1.0.0", "--format", "dot", cwd=evil.root).stdout
    frame = re.sub(r'"(?:[^"\\]|\\.)*"', "_", dot)
    assert "evil" not in frame and '"' not in frame
    for line in frame.splitlines()[3:-1]:
        assert re.fullmatch(r"  _ \[label=_(, style=_)?\];|  _ -> _ \[label=_\];|\}|", line), line


def test_a_registry_without_versions_says_what_helps(tmp_path: Path) -> None:
    one = Shelf(tmp_path / "empty")
    one.write("churn")
    done = command("list", cwd=one.root)
    assert done.returncode == 0 and "no model is registered yet" in done.stdout
    assert json.loads(command("list", "--json", cwd=one.root).stdout) == []
    assert command("search", cwd=one.root).stdout == "no version is found\n"
    done = command("show", "churn", cwd=one.root)
    assert done.returncode == 1 and "no version of churn is registered yet" in done.stderr


def test_registry_option_reads_another_folder(shelf: Shelf, tmp_path: Path) -> None:
    done = command("list", "--registry", shelf.root / "models", "--json", cwd=tmp_path)
    assert [one["name"] for one in json.loads(done.stdout)] == ["churn", "forecast"]
