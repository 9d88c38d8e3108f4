"""A site's files: what is written, what is left alone, and that other people's words stay words."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitreg import site
from gitreg.catalog import Catalog
from gitreg.errors import Refused
from gitreg.site import cards, opening, pages, snippets, telling, texts
from gitreg.site.writing import RECORD
from tests.support import Workshop, run
from tests.support import gitreg as command
from tests.test_catalog import Shelf

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """`churn` with two versions and a card; `forecast` with one."""
    one = Shelf(tmp_path / "shelf")
    folder = one.root / "models" / "churn"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("# Churn\n\nWho *leaves*.\n")
    (folder / "samples.json").write_text('[{"x": [1.5, 2]}, {"x": [3, 4]}]')
    schema = {
        "inputs": [{"name": "x", "data_type": "float", "shape": [2]}],
        "outputs": [{"name": "p", "data_type": "float", "shape": [1]}],
    }
    said: dict[str, Any] = {"card": "README.md", "sample_data": "samples.json", "schema": schema}
    for version, accuracy in (("1.0.0", 0.9), ("1.1.0", 0.95)):
        one.register("churn", version, metrics={"accuracy": accuracy, "loss": 0.3}, owners=["@risk"], **said)
    one.tag("churn#production#3", "churn@v1.0.0")
    one.register("forecast", "2.0.0", description="Demand.")
    return one


def build(shelf: Shelf, folder: Path) -> site.Built:
    return site.build(Catalog(shelf.root), folder)


def data_of(file: Path) -> Any:
    """What a data file hands over: the last argument."""
    text = file.read_text()
    return json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]")[-1]


# What is written ------------------------------------------------------------------------------------


def test_a_page_for_the_registry_each_model_and_the_rest(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    built = build(shelf, out)
    there = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert there >= {"index.html", "version.html", "compare.html", "models/churn/index.html", ".nojekyll"}
    assert there >= {"models/forecast/data.js", "data/models-0.js", "assets/site.css", RECORD}
    assert not {"assets/live.js", "assets/deeds.js"} & there
    assert set(built.files.written) == there - {RECORD}
    page = (out / "models/churn/index.html").read_text()
    assert "Who <em>leaves</em>." in page
    assert "0.95" in page
    told = data_of(out / "models/churn/data.js")
    assert [one["version"] for one in told["versions"]] == ["1.1.0", "1.0.0"]
    assert told["ways"] == {"accuracy": "higher", "loss": "lower"}
    assert told["pool"][told["versions"][0]["samples"]]["count"] == 2


def test_a_second_build_writes_nothing_and_a_change_only_its_pages(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(shelf, out)
    stamps = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    built = build(shelf, out)
    assert (built.made, built.files.written, built.files.removed) == (0, (), ())
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == stamps
    shelf.tag("churn#staging#9", "churn@v1.1.0")
    built = build(shelf, out)
    assert built.made == 1
    assert set(built.files.written) == {
        "index.html",  # there is a new column
        "data/models-0.js",
        "models/churn/data.js",
        "models/churn/index.html",
    }


def test_what_a_site_was_made_from_is_more_than_tags(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    build(shelf, out)
    (shelf.root / "registry.yaml").write_text("registry: renamed\nstages: {staging: {}, production: {}}\n")
    assert build(shelf, out).made == 2
    assert "renamed" in (out / "models/forecast/index.html").read_text()
    assert build(shelf, out).made == 0
    monkeypatch.setattr(pages, "_code", lambda: "another gitreg of the same version")
    assert build(shelf, out).made == 2


def test_pages_of_models_that_are_gone_go(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(shelf, out)
    run("git", "tag", "-d", "forecast@v2.0.0", cwd=shelf.root)
    built = build(shelf, out)
    assert set(built.files.removed) == {"models/forecast/data.js", "models/forecast/index.html"}
    assert not (out / "models/forecast").exists()


def test_a_page_that_was_deleted_is_made_again(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(shelf, out)
    (out / "models/churn/data.js").unlink()
    assert build(shelf, out).files.written == ("models/churn/data.js",)


def test_other_peoples_files_stay_and_stop_nothing(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "models" / "churn").mkdir(parents=True)
    (out / "CNAME").write_text("models.example.org")
    (out / "models" / "churn" / "notes.txt").write_text("mine")
    build(shelf, out)
    run("git", "tag", "-d", "churn#production#3", "churn@v1.0.0", "churn@v1.1.0", cwd=shelf.root)
    build(shelf, out)
    assert (out / "CNAME").read_text() == "models.example.org"
    assert [file.name for file in (out / "models" / "churn").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("path", ["index.html", "models/churn/data.js", "assets/site.css"])
def test_a_file_in_the_way_is_never_overwritten(shelf: Shelf, tmp_path: Path, path: str) -> None:
    out = tmp_path / "out"
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    (out / path).write_text("mine")
    with pytest.raises(Refused, match=re.escape(path)):
        build(shelf, out)
    assert [file for file in out.rglob("*") if file.is_file()] == [out / path]
    assert (out / path).read_text() == "mine"


def test_a_page_that_somebody_edited_is_theirs(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(shelf, out)
    (out / "models/churn/index.html").write_text("edited")
    with pytest.raises(Refused, match="not as gitreg wrote it"):
        build(shelf, out)
    assert (out / "models/churn/index.html").read_text() == "edited"


def test_nothing_is_written_through_a_link(shelf: Shelf, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "models").symlink_to(elsewhere)
    with pytest.raises(Refused, match="is a link"):
        build(shelf, out)
    assert not [*elsewhere.iterdir()]


def test_a_record_that_names_other_files_deletes_none(shelf: Shelf, tmp_path: Path) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine.txt"
    mine.write_text("mine")
    out.mkdir()
    from gitreg.site.writing import digest

    (out / RECORD).write_text(json.dumps({"files": {"../mine.txt": digest(b"mine")}, "models": {}}))
    build(shelf, out)
    assert mine.read_text() == "mine"


def test_the_registry_itself_is_no_place_for_its_pages(shelf: Shelf) -> None:
    with pytest.raises(Refused, match="has the registry itself in it"):
        build(shelf, shelf.root)
    with pytest.raises(Refused, match="has the registry itself in it"):
        build(shelf, shelf.root.parent)


KILLED = """
import os, sys
from dataclasses import replace
from pathlib import Path
from gitreg import site
from gitreg.catalog import Catalog
from gitreg.site import writing
left = int(sys.argv[2])
replace = os.replace
def dying(one, other):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    replace(one, other)
os.replace = dying
site.build(Catalog(Path.cwd()), Path(sys.argv[1]))
"""


@pytest.mark.parametrize("after", [0, 1, 2, 6, 14])
def test_a_build_that_is_killed_is_finished_by_the_next(shelf: Shelf, tmp_path: Path, after: int) -> None:
    out = tmp_path / "out"
    build(shelf, tmp_path / "whole")
    done = subprocess.run([sys.executable, "-c", KILLED, str(out), str(after)], cwd=shelf.root)
    assert done.returncode == -9
    build(shelf, out)
    assert contents(out) == contents(tmp_path / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_two_builds_at_once_do_not_mix(shelf: Shelf, tmp_path: Path) -> None:
    from gitreg.site.writing import Folder

    with Folder(tmp_path / "out").open(), pytest.raises(Refused, match="another gitreg"):
        build(shelf, tmp_path / "out")


def test_from_a_git_address_as_from_a_folder(shelf: Shelf, tmp_path: Path) -> None:
    url = f"file://{shelf.root}"
    home = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = command(
        "site", "build", "--registry", url, "-o", tmp_path / "there", "--json", cwd=tmp_path, env=home
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["models"], said["removed"]) == (2, [])
    build(shelf, tmp_path / "here")
    there, here = contents(tmp_path / "there"), contents(tmp_path / "here")
    assert there["models/churn/index.html"] == here["models/churn/index.html"]
    assert there.keys() == here.keys()


def test_an_empty_registry_has_a_page(tmp_path: Path) -> None:
    one = Shelf(tmp_path / "shelf")
    one.commit()
    build(one, tmp_path / "out")
    assert "No version is registered yet." in (tmp_path / "out" / "index.html").read_text()


def test_the_first_page_is_small_however_many_models_there_are(tmp_path: Path) -> None:
    one = Shelf(tmp_path / "shelf")
    for i in range(1000):
        one.write(
            f"model-{i:04}",
            description="Some words on what it is for. " * 20,
            owners=["@team", "@other"],
            tags={"a": "b", "c": "d"},
        )
    commit = one.commit()
    lines = []
    for i in range(1000):
        name = f"model-{i:04}@v1.0.0"
        lines.append(f"tag {name}\nfrom {commit}\ntagger A <a@b> {1_700_000_000 + i} +0000\ndata 1\nx\n")
    subprocess.run(["git", "fast-import", "--quiet"], cwd=one.root, input="".join(lines).encode(), check=True)
    out = tmp_path / "out"
    build(one, out)
    page = (out / "index.html").read_text()
    asked = re.findall(r'(?:src|href)="((?:assets|data)/[^"]+)"', page)
    assert "data/models-0.js" in asked and "data/models-1.js" not in asked
    assert sum((out / path).stat().st_size for path in ["index.html", *asked]) < 300_000
    assert sum(len(data_of(file)) for file in (out / "data").iterdir()) == 1000


# Other people's words --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with whatever manifests can say to do harm."""
    one = evil_shelf(tmp_path_factory.mktemp("evil") / "shelf")
    out = tmp_path_factory.mktemp("evil") / "out"
    site.build(Catalog(one.root), out)
    return out


def evil_shelf(root: Path) -> Shelf:
    one = Shelf(root)
    for model in ("constructor", "prototype"):
        folder = one.root / "models" / model
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.md").write_text(
            f"# {EVIL}\n\n[go](javascript:alert(1)) {EVIL}\n\n| a |\n|--:|\n| {EVIL} |\n"
        )
        (folder / "metrics.json").write_text(
            '{"nan": NaN, "inf": Infinity, "low": -Infinity, "big": 1e999, "__proto__": 1, "accuracy": 0.5}'
        )
        (folder / "samples.json").write_text(json.dumps([{EVIL: EVIL, "__proto__": [1]}]))
        (folder / "requirements.txt").write_text(f"numpy # x\n{EVIL}\n")
        one.register(
            model,
            "1.0.0",
            title=EVIL,
            description=f"{EVIL} \x1b[31mred \u202egpj.exe \u05e9\u05dc\u05d5\u05dd " + "long " * 20_000,
            owners=[EVIL, "\u05e9\u05dc\u05d5\u05dd"],
            tags={EVIL: EVIL, "__proto__": "x", "constructor": "y"},
            license=EVIL,
            metrics="metrics.json",
            params={"__proto__": EVIL, EVIL: {"a": EVIL}, "list": [EVIL]},
            sample_data="samples.json",
            requirements="requirements.txt",
            card="README.md",
            lineage={"code": {"repo": EVIL, "commit": EVIL}, "data": [{"name": EVIL, "url": EVIL}]},
            schema={"inputs": [{"name": EVIL, "data_type": EVIL, "shape": [1, -1]}], "outputs": []},
            release={"description": EVIL, "tags": {EVIL: EVIL}},
            unknown=EVIL,
        )
        one.tag(f"{model}#production#2", f"{model}@v1.0.0", f"{EVIL}\n\n{EVIL}")
    return one


def test_no_markup_of_theirs_is_in_any_file(evil: Path) -> None:
    for file in (*evil.rglob("*.html"), *evil.glob("data/*.js"), *evil.glob("models/*/*.js")):
        text = file.read_text()
        assert "<script>alert" not in text and "<img" not in text, file
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), file
        assert len(text) < 100_000, file
        if file.suffix == ".js":
            assert "<" not in text, file
            json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]", parse_constant=pytest.fail)


def test_pages_have_a_strict_policy_and_nothing_inline(evil: Path) -> None:
    for file in evil.rglob("*.html"):
        text = html.unescape(file.read_text())
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in text
        assert "unsafe" not in text
        text = file.read_text()
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=[\"']", text), file
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//(?!www\.w3\.org)", text), file


@pytest.mark.parametrize(
    ("markdown", "wanted"),
    [
        ("[x](javascript:alert(1))", "<p>x</p>\n"),
        ("[x](JaVaScRiPt:alert(1))", "<p>x</p>\n"),
        ("[x](&#106;avascript:alert(1))", "<p>x</p>\n"),
        ("[x](data:text/html,hi)", "<p>x</p>\n"),
        ("[x](//elsewhere.example)", "<p>x</p>\n"),
        ("[x](#main)", "<p>x</p>\n"),
        ("[x](file.md)", "<p>x</p>\n"),
        ("<javascript:alert(1)>", "<p>javascript:alert(1)</p>\n"),
        ("<b onclick=x>hi</b>", "<p>&lt;b onclick=x&gt;hi&lt;/b&gt;</p>\n"),
        ("<!-- hidden -->", "<p>&lt;!-- hidden --&gt;</p>\n"),
        (
            "![x](https://tracker.example/p.png)",
            '<p><a href="https://tracker.example/p.png" rel="noopener noreferrer nofollow">[picture: x]</a></p>\n',
        ),
        ("![x](javascript:alert(1))", "<p>[picture: x]</p>\n"),
        (
            "[![x](https://a.b/c.png)](https://d.e)",
            '<p><a href="https://d.e" rel="noopener noreferrer nofollow">[picture: x]</a></p>\n',
        ),
        ("# Title", "<h3>Title</h3>\n"),
        ("###### Deep", "<h6>Deep</h6>\n"),
        ("---\ntitle: x\n---\nhi", "<p>hi</p>\n"),
        ("a\x1b[31m\u202eb", "<p>a\\x1b[31m\\u202eb</p>\n"),
        (
            '[x](https://a.b "title")',
            '<p><a href="https://a.b" rel="noopener noreferrer nofollow">x</a></p>\n',
        ),
        (
            "- [x] a\n- [ ] b [ ] c",
            '<ul>\n<li><span class="task">\u2611</span> a</li>\n<li><span class="task">\u2610</span> b [ ] c</li>\n</ul>\n',
        ),
        ("    code", '<pre tabindex="0"><code>code\n</code></pre>\n'),
        ("[x](mailto:a@b.c)", '<p><a href="mailto:a@b.c" rel="noopener noreferrer nofollow">x</a></p>\n'),
    ],
)
def test_cards_are_what_this_lets_through(markdown: str, wanted: str) -> None:
    assert cards.html(markdown) == wanted


def test_cards_link_to_files_at_the_forge() -> None:
    files = "https://github.com/acme/models/blob/0123/models/churn/"
    made = cards.html("[x](docs/a b.md) [y](../../secret) [z](./c.md)", files)
    assert f'href="{files}./c.md"' in made and "secret" not in made
    assert "<style" not in cards.html("| a |\n|--:|\n| 1 |") and 'class="right"' in cards.html(
        "| a |\n|--:|\n| 1 |"
    )


def test_a_card_of_any_depth_and_length_is_soon_done() -> None:
    for card in ("> " * 50_000, "[" * 50_000, "*a" * 50_000, "![" * 30_000, "- " * 20_000, "|" * 60_000):
        assert len(cards.html(card)) < 2_000_000


def test_numbers_that_json_lacks_are_javascripts_words() -> None:
    assert [texts.number(v) for v in (float("nan"), float("inf"), -float("inf"), 10**400, 2**60, 5, 0.1)] == [
        "NaN", "Infinity", "-Infinity", "Infinity", float(2**60), 5, 0.1,
    ]  # fmt: skip


def test_texts_are_cut_and_cannot_steer() -> None:
    assert texts.text("a" * 500) == "a" * 400 + "\u2026 (500 characters)"
    assert texts.text("\x1b[2J\u202e\u200f") == "\\x1b[2J\\u202e\u200f"
    assert texts.text({"a": [1, None]}) == '{"a": [1, null]}'


def test_snippets_quote_what_people_wrote(shelf: Shelf) -> None:
    (one, *_) = Catalog(shelf.root).model("churn").versions()
    found = {title: text for title, _, text in snippets.of(one, {"x": [1.5, 2]}, "https://a.b/c; rm -rf /")}
    assert "dvc artifacts get 'https://a.b/c; rm -rf /' churn --rev v1.1.0 -o churn" in found["DVC"]
    body = '{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2]}]}'
    assert f"-d '{body}'" in found["Triton over HTTP"]
    assert 'gitreg.load_model("models:/churn/1.1.0"' in found["Python"]
    assert "Triton over HTTP" not in [title for title, *_ in snippets.of(one, {"x": [[1], 2]}, ".")]
    unread = replace(one, content={"problems": ["not YAML"]})
    assert snippets.of(unread, None, ".") == [["Command line", "shell", "gitreg show churn@1.1.0"]]


def test_versions_share_what_is_the_same(shelf: Shelf) -> None:
    told = telling.pooled({"versions": [{"inputs": [1], "tag": "a"}, {"inputs": [1], "tag": "b"}]})
    assert told["pool"] == [[1]]
    assert [one["inputs"] for one in told["versions"]] == [0, 0]


def test_snippets_do_what_they_say(workshop: Workshop) -> None:
    assert workshop.gitreg("apply").returncode == 0
    catalog = Catalog(workshop.root)
    (one,) = catalog.model("adder").versions()
    found = {
        title: text
        for title, _, text in snippets.of(one, pages.Extras(catalog).samples([one]).of(one).first, ".")
    }
    said = run(sys.executable, "-c", found["Python"], cwd=workshop.root).stdout
    assert "6, 7" in said and "'y'" in said
    for line in found["Command line"].splitlines():
        assert workshop.gitreg(*line.split()[1:]).returncode == 0, line
    run(sys.executable, "-m", *found["DVC"].split(), cwd=workshop.root)
    assert (workshop.root / "adder" / "number.txt").read_text() == "5"


def test_what_is_deregistered_is_told_and_not_offered(shelf: Shelf, tmp_path: Path) -> None:
    shelf.tag("churn@v1.1.0!#9")
    shelf.tag("forecast@v2.0.0!#2")
    build(shelf, tmp_path / "out")
    churn, forecast = (tmp_path / "out" / f"models/{name}/index.html" for name in ("churn", "forecast"))
    assert "models:/churn/1.0.0" in churn.read_text() and "models:/churn/1.1.0" not in churn.read_text()
    assert "every version is deregistered" in forecast.read_text()
    assert "How to load it" not in forecast.read_text()


# Addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "page"),
    [
        ("", "index.html"),
        ("churn", "models/churn/index.html"),
        ("churn@1.0.0", "version.html#churn@1.0.0"),
        ("churn@latest", "version.html#churn@1.1.0"),
        ("churn#production", "version.html#churn@1.0.0"),
        ("models:/churn/2", "version.html#churn@1.1.0"),
    ],
)
def test_open_prints_where_a_reference_is(shelf: Shelf, tmp_path: Path, reference: str, page: str) -> None:
    assert opening.page_of(Catalog(shelf.root), reference) == page
    build(shelf, tmp_path / "out")
    said = ["open", *([reference] if reference else []), "--site", tmp_path / "out", "--print"]
    done = command(*said, cwd=shelf.root)
    assert done.stdout.strip() == f"{(tmp_path / 'out').as_uri()}/{page}", done.stderr


def test_open_by_id_and_of_a_published_site(shelf: Shelf) -> None:
    one = Catalog(shelf.root).version("churn@1.0.0")
    assert opening.page_of(Catalog(shelf.root), one.id) == "version.html#churn@1.0.0"
    assert opening.page_of(Catalog(shelf.root), one.model_id) == "models/churn/index.html"
    done = command("open", "churn", "--site", "https://acme.example/models/", "--json", cwd=shelf.root)
    assert json.loads(done.stdout) == {"url": "https://acme.example/models/models/churn/index.html"}


def test_open_refuses_what_is_not_there(shelf: Shelf, tmp_path: Path) -> None:
    assert command("open", "nothing", "--site", tmp_path, "--print", cwd=shelf.root).returncode == 1
    done = command("open", "churn", "--site", tmp_path, "--print", cwd=shelf.root)
    assert done.returncode == 1 and "gitreg site build" in done.stderr


# Colours ---------------------------------------------------------------------------------------------


def _luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_every_text_has_a_contrast_of_at_least_four_and_a_half_in_both_themes() -> None:
    css = pages.asset("site.css").decode()
    light, dark, chosen = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in (
        css[css.index(":root {") : css.index("@media (prefers-color-scheme: dark)")],
        css[css.index("@media (prefers-color-scheme: dark)") : css.index(':root[data-theme="dark"]')],
        css[css.index(':root[data-theme="dark"]') : css.index("* { box-sizing")],
    ))  # fmt: skip
    assert dark == chosen and dark.keys() == light.keys()
    pairs = [
        (text, on)
        for text in ("text", "muted", "accent", "bad", "good", "warn")
        for on in ("bg", "surface", "raised")
    ]
    pairs += [("on-accent", "accent"), ("accent", "tint"), ("text", "tint"), ("warn", "warn-tint")]
    for theme in (light, dark):
        poor = {
            pair: round(ratio, 2)
            for pair in pairs
            if (ratio := _contrast(theme[pair[0]], theme[pair[1]])) < 4.5
        }
        assert not poor
