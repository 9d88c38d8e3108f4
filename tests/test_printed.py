"""Nothing of other people's that gitreg prints steers a terminal, or is a command to what reads the log."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitreg import marking, printed, rendering
from gitreg.effects import ModelReview
from gitreg.errors import Problem
from gitreg.reports import CheckReport
from gitreg.review import Review
from tests.support import ADDER_CODE, Workshop, run
from tests.support import gitreg as command
from tests.test_catalog import Shelf
from tests.test_promote import ok

EVIL = (
    "x\n::error file=a.yaml,line=1::approved by security\n  ::add-mask::a\r::stop-commands::zzz\r\n"
    "##[error]forged ##vso[task.complete]done ##teamcity[x] \u2028::warning::u\u2029::warning::v\x85::notice::w"
    "\x0b::debug::y\x0c::debug::z\x1c::debug::q\ufeff::error::b\u00a0::error::n\u3000"
    "\x1b[31mred\x1b]8;;http://e.example\x07link\x1b\\ \u202egnp.exe\u2066\u200f\u200b\u00ad\U000e0041\x9b2J\x7f\x00"
)
WRITABLE = EVIL.replace("\x00", "")  # in names of files and arguments
TEXT = EVIL.replace("\U000e0041", "")  # as JSON that is YAML, too
# The same examples in every run.
SAME = settings(derandomize=True, database=None, deadline=None)
STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0001-\U000e007f]"
)
PASSED = re.compile("[\xad\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f]")


def lines_of(text: str) -> list[str]:
    """Lines as GitHub's runner reads them, and as Python does."""
    return [one for line in re.split("\r\n|\r|\n", text) for one in (line, *line.splitlines())]


def commands(text: str) -> list[str]:
    """The lines that GitHub's runner obeys, or others like it.

    After ActionCommand.cs: white space is trimmed from the start; `::` begins a command, its name goes to the
    next space or `::`; `##[name]` is one anywhere in a line. .NET compares by culture, as if what has no
    width were not there. Not even what has no command's name is let through.
    """
    found = []
    for line in lines_of(text):
        plain = PASSED.sub("", line)
        if plain.lstrip().startswith("::") or re.search(r"##[\w.-]*\[", plain) or "section_start:" in plain:
            found.append(line)
    return found


def test_the_scan_finds_commands() -> None:
    assert commands("a\r  ::error::b") == ["  ::error::b"] * 2
    assert commands("x ##[group]y") and commands("\u200b:\u200d:debug::x") and commands("a\x85\u3000::x::y")
    assert not commands("a ::error::b\n# [x] ::\n")


def steering(text: str) -> list[str]:
    """Characters that steer a terminal or a reader."""
    return [ascii(c) for c in STEERS.findall(text)]


def harmless(*texts: str) -> None:
    for text in texts:
        assert commands(text) == []
        assert steering(text) == []


def printed_by(done: subprocess.CompletedProcess[str], *codes: int) -> None:
    assert done.returncode in (codes or (0, 1)), done.stderr
    assert "defect" not in done.stderr, done.stderr
    harmless(done.stdout, done.stderr)


# What it looks like -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "naïve Zürich 漢字 かな 한국어 العربية עברית ไทย हिन्दी Ελληνικά",
        "क्‍ष می‌خواهم PDF‌ها",  # noqa: RUF001  # joiners within words
        "👩‍💻 👨‍👩‍👧‍👦 ❤️ ❤️‍🔥 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪 葛󠄀",
        "a\tb  c\u00a0d",
        "C:\\new, a::b, # [x], ##, 50 %, $x, <b>, `c`",
        "a :: b",
    ],
)
def test_honest_text_stays(text: str) -> None:
    assert printed.line(text) == text and printed.shown(text) == text
    assert json.loads(printed.in_json(json.dumps(text, ensure_ascii=False))) == text
    assert printed.in_json(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\nc", r"a\nb\r\nc"),
        ("::error::x", r"\x3a:error::x"),
        (" \t\u3000::x", " \t\u3000\\x3a:x"),
        ("\ufeff::x", r"\ufeff::x"),
        ("##[error]x", r"\x23#[error]x"),
        ("a ##vso[x] b", r"a \x23#vso[x] b"),
        ("\x1b[31m\x9b2J\u202e", r"\x1b[31m\x9b2J\u202e"),
        ("\U000e0041\udc80", r"\U000e0041\udc80"),
        ("a\u200db\ufe0f", r"a\u200db\ufe0f"),  # what would have no width
        ("\u200d::x", r"\u200d::x"),
        ("a\n    | b\n::c", "a\n    | b\\n::c"),
        ("a: " + printed.said("b\n::c\rd\n"), "a: b\n    | ::c\n    | d"),
    ],
)
def test_what_is_spelled_out(text: str, shown: str) -> None:
    assert printed.shown(text) == shown


@settings(SAME, max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=8),
            st.sampled_from(
                [":", "::", "#", "##[", "vso[", "]", "\n", "\r", printed.BAR, "\u200d", "\ufe0f", " "]
            ),
        )
    )
)
def test_no_text_is_a_command_or_steers(parts: list[str]) -> None:
    text = "".join(parts)
    shown = printed.shown(text)
    assert not commands(shown)
    assert not re.search("[\r\x0b\x0c\x1b\x85\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    assert shown.count("\n") == text.count(f"\n{printed.BAR}")
    assert printed.shown(shown) == shown, "what is printed once may be printed again"
    whole = json.dumps([text, {text: text}], indent=2, ensure_ascii=False)
    told = printed.in_json(whole)
    assert json.loads(told) == json.loads(whole) and not commands(told)


# A registry in which everything is an attack -------------------------------------------------------

SAID: dict[str, Any] = {
    "description": TEXT,
    "title": TEXT[:200],
    "owners": [TEXT],
    "license": TEXT,
    "tags": {TEXT: TEXT},
    "params": {TEXT: TEXT, "rate": 1},
    "metrics": {TEXT: 0.5, "accuracy": 0.9},
    "lineage": {
        "code": {"repo": "https://example.com/x", "commit": "0f3c1d2"},
        "data": [{"name": TEXT, "url": "https://e.example/x"}],
        "run": {"pipeline": TEXT, "step": TEXT},
    },
}
READING = [
    ["list"],
    ["show", "evil"],
    ["show", "evil@1.0.0"],
    ["history", "evil"],
    ["search", "name = 'evil'"],
    ["compare", "evil@1.0.0", "evil@1.1.0"],
    ["diff", "evil@1.0.0", "evil@1.1.0"],
]


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A registered model whose every text is an attack, and files whose names are."""
    shelf = Shelf(tmp_path_factory.mktemp("evil") / "shelf")
    shelf.register("evil", "1.0.0", **SAID)
    (
        shelf.root
        / "models"
        / "evil"
        / WRITABLE.replace("/", "|")[:120].encode()[:200].decode("utf-8", "ignore")
    ).write_text("x")
    os.close(os.open(os.fsencode(shelf.root / "models" / "evil") + b"/\xff\n::error::x", os.O_CREAT))
    shelf.register("evil", "1.1.0", **{**SAID, "metrics": {TEXT: 0.6}, "params": {TEXT: "other"}})
    assert "0.5" in command("show", "evil@1.0.0", cwd=shelf.root).stdout, "else no text of its is shown"
    shelf.tag("evil#production#1", "evil@v1.1.0", f"{WRITABLE}\n\nGitreg-Gate: {WRITABLE}")
    return shelf


@pytest.mark.parametrize("how", ["table", "csv", "md", "json"])
def test_readers(evil: Shelf, how: str) -> None:
    for words in READING:
        done = command(*words, "--format", how, cwd=evil.root)
        printed_by(done, 0)
        assert done.stdout.strip(), words
        if how == "json":
            json.loads(done.stdout)
        if how == "csv":
            assert len({len(row) for row in csv.reader(io.StringIO(done.stdout))}) == 1


def test_other_readers(evil: Shelf) -> None:
    for words in (
        *(["lineage", "evil@1.0.0", "--format", how] for how in ("tree", "dot", "mermaid", "json")),
        ["doctor"],
        ["doctor", "--json"],
        ["plan"],
        ["plan", "--json"],
        ["plan", "--matrix"],
        ["inspect", *sorted(map(str, (evil.root / "models" / "evil").iterdir()))],
        ["requirements", "evil"],
        ["hook", "verify-tags", "--", f"evil@v1.0.0{chr(0x202E)}", "evil#production#1"],
        ["site", "build", "-o", str(evil.root.parent / "site")],
    ):
        printed_by(command(*words, cwd=evil.root), 0, 1, 2, 4)


@pytest.mark.parametrize(
    "words",
    [
        ["show", WRITABLE],
        ["show", f"churn@{WRITABLE}"],
        [WRITABLE],
        ["show", f"--{WRITABLE}"],
        ["check", "--format", WRITABLE],
        ["-C", WRITABLE, "check"],
        ["search", f"name = '{WRITABLE}"],
        ["search", WRITABLE],
        ["check", "--base", WRITABLE],
        ["bump", "x", WRITABLE],
        ["inspect", WRITABLE],
        ["new", WRITABLE, "--from", WRITABLE],
        ["list", "--registry", WRITABLE],
        ["list", "--registry", f"file:///nowhere/{WRITABLE}"],
    ],
)
def test_words_of_the_command_line(evil: Shelf, words: list[str]) -> None:
    done = command(*words, cwd=evil.root)
    printed_by(done, 1, 2, 4)
    assert "error: " in done.stderr
    for line in done.stderr.splitlines():
        assert line.startswith(("error: ", "hint: ", printed.BAR, "  ")), done.stderr


def test_a_missing_word_is_told_on_one_line(evil: Shelf) -> None:
    done = command("completion", cwd=evil.root)
    assert done.returncode == 2 and re.match(r"error: .*bash, zsh, fish", done.stderr), done.stderr


# check, build and all that runs a model -------------------------------------------------------------

LOUD = f"""
import sys
print({WRITABLE!r})
print({WRITABLE!r}, file=sys.stderr)
"""
FAILING = ADDER_CODE.replace(
    "        return {",
    f"        print({WRITABLE!r})\n        raise ValueError({WRITABLE!r})\n        return {{",
)
FORMATS = (["--json"], [], ["--format", "github"], ["--format", "sarif"], ["--format", "markdown"])


def own(text: str) -> tuple[str, list[str]]:
    """What is printed but for annotations, and these."""
    annotations = [one for one in text.split("\n") if re.match(r"::(error|warning|notice) file=", one)]
    return "\n".join(one for one in text.split("\n") if one not in annotations), annotations


def test_check_and_build(workshop: Workshop) -> None:
    workshop.code(LOUD + FAILING)
    workshop.manifest(**SAID, **{TEXT: TEXT, "schemas": 1})
    for words in FORMATS[:4]:
        done = workshop.gitreg("check", *words)
        rest, annotations = own(done.stdout)
        assert done.returncode == 1 and bool(annotations) == ("github" in words)
        harmless(rest, done.stderr)
        assert not steering("".join(annotations))
    workshop.manifest(**SAID)
    workshop.commit()
    for words in (["check", "adder"], ["check", "adder", "--json"], ["build", "adder"], ["predict", "adder"]):
        done = workshop.gitreg(*words)
        printed_by(done, 1)
        if words == ["check", "adder"]:
            assert "\n    | Value" in done.stderr and "\n    | the model printed:\n    | " in done.stderr
            ours = ("models/adder/model.yaml: ", "error: ", "hint: ", printed.BAR)
            assert all(line.startswith(ours) for line in done.stderr.splitlines()), done.stderr
    workshop.code(LOUD + ADDER_CODE)
    workshop.commit()
    for words in (
        ["build", "adder"],
        ["verify", "dist"],
        ["predict", "adder"],
        ["register", "adder"],
        ["pull", "adder"],
    ):
        printed_by(workshop.gitreg(*words), 0)


def test_check_base(workshop: Workshop, tmp_path: Path) -> None:
    run("git", "switch", "-qc", "change", cwd=workshop.root)
    workshop.code(LOUD + FAILING)
    (workshop.adder / "src" / "a\n::error::b\u202e").write_text("x")
    workshop.manifest(**SAID)
    workshop.commit()
    summary = tmp_path / "summary.md"
    for words in FORMATS:
        done = workshop.gitreg(
            "check", "--base", "main", *words, *(["--summary", str(summary)] if not words else [])
        )
        rest, annotations = own(done.stdout)
        assert done.returncode == 1 and bool(annotations) == ("github" in words)
        harmless(rest, done.stderr)
        assert not steering("".join(annotations))
    assert not steering(summary.read_text())


def test_a_folder_that_steers_is_refused(workshop: Workshop) -> None:
    folders = ["evil\n::stop-commands::zzz", "a\u202eb", "a\rb", "a##[error]b"]
    for folder in folders:
        workshop.manifest(folder)
    for words in FORMATS[:4]:
        done = workshop.gitreg("check", *words)
        rest, _ = own(done.stdout)
        assert done.returncode == 1
        harmless(rest, done.stderr)
        if not words:
            for folder in folders:
                assert f"models/{printed.line(folder)}/model.yaml: its path has characters" in done.stderr
    for words in (["plan"], ["build"]):
        printed_by(workshop.gitreg(*words), 0, 1)


def test_folders_that_are_no_text(workshop: Workshop) -> None:
    """In SARIF, too, whose addresses are made of bytes."""
    folder = os.fsencode(workshop.root / "models") + b"/a\xffb"
    os.mkdir(folder)
    with open(folder + b"/model.yaml", "w") as file:
        file.write("name: x")
    for words in FORMATS[:4]:
        done = workshop.gitreg("check", *words)
        rest, _ = own(done.stdout)
        assert done.returncode == 1 and "defect" not in done.stderr
        harmless(rest, done.stderr)
    assert "/a%FFb/model.yaml" in workshop.gitreg("check", "--format", "sarif").stdout


def test_a_folder_at_the_top_that_begins_like_a_command(workshop: Workshop) -> None:
    file = workshop.root / "registry.yaml"
    file.write_text(file.read_text().replace("models/*/model.yaml", "'*/model.yaml'"))
    place = workshop.root / "::stop-commands::zzz"
    place.mkdir()
    (place / "model.yaml").write_text("name: 1\n")
    for words in FORMATS[:4]:
        done = workshop.gitreg("check", *words)
        rest, annotations = own(done.stdout)
        assert done.returncode == 1
        harmless(rest, done.stderr)
        assert all(
            one.startswith("::error file=%3A%3Astop-commands%3A%3Azzz/model.yaml,") for one in annotations
        )
    assert r"\x3a:stop-commands::zzz/model.yaml: '::stop" in workshop.gitreg("check").stderr


# What is not printed by gitreg itself ---------------------------------------------------------------

PROGRAM = """
import sys
from gitreg import cli
from gitreg.cli import output

evil = {evil!r}

def catalog(where=None):
    import logging, threading, warnings
    warnings.warn(evil)
    logging.getLogger("dvc.x").warning(evil)
    print(evil, file=sys.stderr)
    sys.stderr.write("begun " + evil)
    thread = threading.Thread(target=lambda: 1 / 0, name=evil)
    thread.start()
    thread.join()
    raise {error}

output.catalog = catalog
sys.exit(cli.main(["show", evil]))
"""


@pytest.mark.parametrize(("error", "code"), [("RuntimeError(evil)", 3), ("OSError(28, evil, evil)", 4)])
def test_defects_warnings_and_logs_of_libraries(tmp_path: Path, error: str, code: int) -> None:
    program = PROGRAM.format(evil=WRITABLE, error=error).replace('["show", evil]', '["show", "x"]')
    done = subprocess.run(
        [sys.executable, "-c", program, WRITABLE], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == code and done.stdout == "", done.stderr
    harmless(done.stderr)
    ours = ("error: ", "hint: ", "gitreg ", "command: ", "Traceback", printed.BAR)
    assert all(line.startswith(ours) for line in done.stderr.splitlines() if line), done.stderr
    for said in (
        "UserWarning: x\\n::error",
        "| begun x",
        "| ZeroDivisionError",
        "| x\\n" if code == 9 else "error: ",
    ):
        assert said in done.stderr, done.stderr


def test_what_git_and_a_remote_say(workshop: Workshop, tmp_path: Path) -> None:
    hub = tmp_path / "hub.git"
    run("git", "clone", "-q", "--bare", workshop.root, hub, cwd=tmp_path)
    run("git", "remote", "add", "origin", hub, cwd=workshop.root)
    run("git", "fetch", "-q", "origin", cwd=workshop.root)
    hook = hub / "hooks" / "pre-receive"
    hook.write_text(f"#!{sys.executable}\nimport sys\nprint({WRITABLE!r}, file=sys.stderr)\nsys.exit(1)\n")
    hook.chmod(0o755)
    done = workshop.gitreg("apply", "--push")
    printed_by(done, 4)
    assert f"was refused:\n{printed.BAR}x\n" in done.stderr, done.stderr


# Markdown ---------------------------------------------------------------------------------------------

HOSTILE = [
    "@team", "a @team/x, b", "#123", "GH-1", "o/r#1", "o/r@0f3c1d2e", "0f3c1d2e4b5a69788796a5b4c3d2e1f001234567",
    "https://e.example/x", "www.e.example", "a@e.example", "mailto:a@e.example", "<script>x</script>", "<!-- x -->",
    "<details><summary>x", "&lt;b&gt;", "a | b", "|---|", "# head", "===", "---", "- - -", "* * *", "+ x", "- [ ] x", "1. x",
    "1) x", "> [!NOTE]", "[x](y)", "![x](y)", "[x]: y", "[^1]", "`", "``", "a`b", "```", "~~~", "~~x~~", "**x**", "__init__",
    "_x_", "$x$ $$y$$", "$`x`$", ":+1:", "x\\", "a\n\nb", "a  \nb", "\ta", "    a", "a\n# b", "\u202ex", "a\n```\n::b", WRITABLE,
]  # fmt: skip
values = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=4)), max_size=4).map(" ".join),
    st.text(alphabet="ab1 @#|`$*_[]()<>!&\\~:/.-+=\n\r\t", max_size=12),
)


def parsed(text: str) -> list[Any]:
    from markdown_it import MarkdownIt

    return MarkdownIt("gfm-like", {"html": True}).parse(text)


def shape(text: str) -> list[tuple[str, str]]:
    """The structure of a page, without its texts and without what is code in it."""
    found = []
    for token in parsed(text):
        found.append((token.type, token.tag))
        if token.type == "html_block":
            raise AssertionError(token.content)
        for child in token.children or ():
            if child.type == "html_inline":
                assert child.content in ("<code>", "</code>"), child.content
            elif child.type not in ("text", "code_inline", "text_special"):
                found.append((child.type, child.tag))
    return found


def live(text: str) -> list[str]:
    """What a forge makes something of in the texts of a page: not in code."""
    found = []
    for token in parsed(text):
        inside, said = False, ""
        for child in token.children or ():
            if child.type == "html_inline":
                inside = child.content == "<code>"
            if child.type in ("text", "text_special") and not inside:
                said += child.content
            else:
                said += "\0"
        found += re.findall(
            r"(?<![\w`])@\w+|#\d+|\bGH-\d+|\b[0-9a-f]{7,40}\b|\w+://\S+|www\.\S+|:[\w+-]+:|\$\S.*\$", said
        )
    return found


def report(value: str) -> str:
    """A report in which a value is everywhere."""
    block = f"{value}{printed.block(value or 'x')}"
    problems = [Problem(value, 1, 2, value, value), Problem(value, 0, 0, "", block, "warning")]
    model = ModelReview(value, value)
    model.before, model.after = value, value
    model.stages = {value: (value, value)}
    model.metrics = {"after": {value: 0.5, "another one": 1.0}, "before": {value: 0.5, "another one": 1.0}}
    model.columns = {"before": value, "after": value}
    model.files = [("A", value), ("M", value)]
    review = Review("0" * 40, "1" * 40, CheckReport(1, problems), [model])
    review.uncommitted = [value]
    return rendering.markdown(review)


@settings(SAME, max_examples=150)
@given(values.filter(lambda v: v.strip() and not v.startswith(printed.BAR)))
@example("`|`")
@example("a$ `$")
def test_a_report_has_the_same_shape_whatever_it_tells_of(value: str) -> None:
    plain = shape(report("harmless"))
    page = report(value)
    assert shape(page) == plain
    assert live(page) == []
    assert not steering(page)


@settings(SAME, max_examples=300)
@given(values)
def test_text_in_markdown_is_text(value: str) -> None:
    for made in (marking.text(value), marking.code(value)):
        for page, empty in (
            (f"{made}\n", "x\n"),
            (f"x\n{made}\n", "x\nx\n"),
            (f"| a |\n|---|\n| {made} |\n", "| a |\n|---|\n| x |\n"),
        ):
            if made:
                assert shape(page) == shape(empty), made
            assert live(page) == []


@settings(SAME, max_examples=200)
@given(st.lists(values))
def test_a_block_in_markdown_is_one(lines: list[str]) -> None:
    page = "\n".join(["- x", *marking.block(lines, "  "), "- y"])
    assert shape(page) == shape("- x\n  ```text\n  x\n  ```\n- y")


def test_what_a_word_looks_like_in_markdown() -> None:
    assert marking.text("register churn@1.0.0, (or 'a@b')") == "register `churn@1.0.0`, (or '`a@b`')"
    assert marking.text("output 'y': a_b, 3 < 4, é") == "output 'y': a_b, 3 &#60; 4, é"
    assert marking.code("a`b") == "``a`b``" and marking.code("a|b") == "<code>a&#124;b</code>"


def test_the_text_of_a_pull_request(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What `gh` is given, by a `gh` that writes it down."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "gh").write_text("#!/bin/sh\ncat > body.md\necho https://github.com/o/r/pull/1\n")
    (tools / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    file = workshop.root / "registry.yaml"
    file.write_text(
        file.read_text().replace("staging: {}", "staging: {gates: [{metric: '@team #1', min: 0.1}]}")
    )
    workshop.manifest(metrics={"@team #1": 0.5})
    workshop.commit()
    hub = tmp_path / "github.git"
    run("git", "clone", "-q", "--bare", workshop.root, hub, cwd=tmp_path)
    run("git", "remote", "add", "origin", hub, cwd=workshop.root)
    ok(workshop.gitreg("apply", "--push"))
    ok(workshop.gitreg("promote", "adder", "staging", "--push"))
    body = (workshop.root / "body.md").read_text()
    assert "`@team`" in body and live(body) == [], body
