"""Tags, commits and manifests that somebody wrote by hand, or that a disk lost: told, and all else is shown."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gitreg import Registry, load_model, site
from gitreg.catalog import Catalog
from gitreg.doctor import examine
from gitreg.errors import GitregError, Refused
from gitreg.git import plain
from tests.support import Workshop, run

SANE = b"tagger Ada <ada@example.org> 1700000000 +0000\n"


WORDS = b"\n" + b"words " * 900  # so many that a part of the object is a part of them


class Hand:
    """Writes objects and references as nobody should."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.head = self.git("rev-parse", "HEAD")
        self.tree = self.git("rev-parse", "HEAD^{tree}")
        (root / ".git" / "refs" / "tags").mkdir(parents=True, exist_ok=True)

    def git(self, *words: str, said: bytes = b"") -> str:
        done = subprocess.run(["git", *words], cwd=self.root, input=said, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def object(self, kind: str, data: bytes) -> str:
        return self.git("hash-object", "-t", kind, "--literally", "-w", "--stdin", said=data)

    def tag(
        self, name: str, tagger: bytes = SANE, of: str = "", kind: str = "commit", gap: bytes = b"\n"
    ) -> str:
        head = f"object {of or self.head}\ntype {kind}\ntag {name}\n".encode()
        return self.at(name, self.object("tag", head + tagger + gap + b"by hand\n"))

    def at(self, name: str, oid: str) -> str:
        """A reference: Git itself would not write each of them."""
        (self.root / ".git" / "refs" / "tags" / name).write_text(f"{oid}\n")
        return oid

    def commit(self, tree: str) -> str:
        who = "Ada <ada@example.org> 1700000000 +0000"
        return self.object("commit", f"tree {tree}\nauthor {who}\ncommitter {who}\n\nby hand\n".encode())

    def entry(self, mode: str, name: str, oid: str) -> bytes:
        return f"{mode} {name}\0".encode() + bytes.fromhex(oid)

    def manifest(self, model: str, oid: str, mode: str = "100644") -> str:
        """A commit in which a model's manifest is an object."""
        folder = self.object("tree", self.entry(mode, "model.yaml", oid))
        models = self.object("tree", self.entry("40000", model, folder))
        file = self.git("rev-parse", "HEAD:registry.yaml")
        top = self.entry("40000", "models", models) + self.entry("100644", "registry.yaml", file)
        return self.commit(self.object("tree", top))

    def blob(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", said=data)

    def damaged(self, oid: str, keep: int = 0) -> str:
        """An object whose file is not what it was: of it only so many bytes are left."""
        file = self.root / ".git" / "objects" / oid[:2] / oid[2:]
        file.chmod(0o644)
        file.write_bytes(file.read_bytes()[:keep] or b"no zlib")
        return oid


@pytest.fixture
def hand(workshop: Workshop) -> Hand:
    assert workshop.gitreg("apply").returncode == 0
    return Hand(workshop.root)


def read_everything(root: Path, tmp_path: Path) -> None:
    """Every reader shows the adder, whatever else there is."""
    catalog = Catalog(root)
    assert "adder" in [one.name for one in catalog.models()]
    assert "adder@1.0.0" in [str(one) for one in catalog.versions()]
    assert "adder@1.0.0" in map(str, catalog.search("type = 'custom-python'"))
    assert catalog.version("adder").commit
    assert next(one.kind for one in catalog.history("adder")) == "register"
    registry = Registry(root)
    assert not [one for one in registry.plan().actions if one.model == "adder"]
    assert registry.check().ok
    assert registry.apply() is not None
    assert catalog.compare("adder@1.0.0", "adder@1.0.0")
    catalog.lineage("adder")
    for n in range(2):  # anew, and by what the index keeps
        built = site.build(Catalog(root), tmp_path / "site", lambda *_: None)
        assert (tmp_path / "site/models/adder/index.html").exists() and built.models, n


def reasons(root: Path, model: str) -> tuple[str, ...]:
    """What is odd about a model, as its list, its version, its history and its JSON agree."""
    catalog = Catalog(root)
    (listed,) = [one for one in catalog.models() if one.name == model]
    version = catalog.version(f"{model}@1.0.0")
    assert listed.odd == version.odd
    return listed.odd


TAGGERS = {
    "none": (b"", "it has no tagger"),
    "zero": (b"tagger Ada <a@b> 0 +0000\n", "its time is 0"),
    "minus": (b"tagger Ada <a@b> -1 +0000\n", "its tagger is 'Ada <a@b> -1 +0000'"),
    "abc": (b"tagger Ada <a@b> abc +0000\n", "its tagger is 'Ada <a@b> abc +0000'"),
    "far": (b"tagger Ada <a@b> 999999999999 +0000\n", "after the year 9999"),
    "farther": (b"tagger Ada <a@b> 99999999999999999999999 +0000\n", "its tagger is"),
    "zone": (b"tagger Ada <a@b> 1700000000 +9999\n", "its tagger is"),
    "zoneless": (b"tagger Ada <a@b> 1700000000\n", "its tagger is"),
    "mailless": (b"tagger Ada 1700000000 +0000\n", "its tagger is"),
    "bare": (b"tagger\n", "its tagger is ''"),
    "nul": (b"tagger A\0da <a@b> 1700000000 +0000\n", "its tagger is 'A\\x00da"),
    "latin": (b"tagger J\xf6rg <a@b> 1700000000 +0000\n", "it is not UTF-8"),
}


def test_taggers_that_are_none_are_told_and_their_versions_shown(
    workshop: Workshop, hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, (tagger, _) in TAGGERS.items():
        hand.tag(f"{kind}@v1.0.0", tagger)
    hand.tag("gapless@v1.0.0", gap=b"")
    read_everything(workshop.root, tmp_path)
    monkeypatch.chdir(workshop.root)
    found = list(examine(workshop.root, None, False))
    for kind, (_, why) in {**TAGGERS, "gapless": (b"", "it has no empty line before its message")}.items():
        said = reasons(workshop.root, kind)
        assert any(one.startswith(f"{kind}@v1.0.0: ") and why in one for one in said), said
        (event,) = Catalog(workshop.root).history(kind)
        assert why in event.odd
        assert "Odd tags, or what they name" in (tmp_path / f"site/models/{kind}/index.html").read_text()
        (finding,) = [one for one in found if f"{kind}@v1.0.0 " in one.detail]
        assert finding.hint and f"git tag -d {kind}@v1.0.0" in finding.hint


COMMITS: dict[str, tuple[Callable[[Hand], str], str]] = {
    "missing": (lambda h: "1" * 40, "commit 111111111111, which the tag names, is not in this repository"),
    "lie": (lambda h: h.tree, "is a tree and no commit"),
    "garbage": (lambda h: h.object("commit", b"garbage"), "its tree is damaged"),
    "treeless": (lambda h: h.commit("2" * 40), "its tree is damaged"),
    "damaged": (lambda h: h.damaged(h.commit(h.tree)), "is not in this repository, or is damaged"),
    "gone": (lambda h: h.manifest("gone", "3" * 40), "is missing from this repository"),
    "torn": (
        lambda h: h.manifest("torn", h.damaged(h.blob(b"name: odd\n" * 900), 30)),
        "is missing from this repository, or damaged",
    ),
    "big": (
        lambda h: h.manifest("big", h.blob(b"name: odd\n" + b"# much\n" * 2_000_000)),
        "14,000,010 bytes, of at most 1,048,576",
    ),
    "folder": (
        lambda h: h.manifest("folder", h.git("rev-parse", "HEAD:models/adder"), "40000"),
        "is a folder",
    ),
}


def test_commits_and_manifests_that_cannot_be_read_are_told(
    workshop: Workshop, hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, (make, _) in COMMITS.items():
        hand.tag(f"{kind}@v1.0.0", of=make(hand))
    read_everything(workshop.root, tmp_path)
    monkeypatch.chdir(workshop.root)
    found = list(examine(workshop.root, None, False))
    for kind, (_, why) in COMMITS.items():
        assert why in " ".join(reasons(workshop.root, kind))
        (finding,) = [one for one in found if f"{kind}@v1.0.0 " in one.detail]
        assert why in finding.detail and f"git tag -d {kind}@v1.0.0" in str(finding.hint)
        with pytest.raises(GitregError):
            load_model(f"models:/{kind}/1.0.0", registry=workshop.root)


def test_a_commit_with_an_odd_committer_is_read(workshop: Workshop, hand: Hand, tmp_path: Path) -> None:
    odd = hand.object("commit", f"tree {hand.tree}\nauthor A <a> abc\ncommitter\n\nm".encode())
    hand.tag("adder@v1.0.1", of=odd)
    read_everything(workshop.root, tmp_path)
    assert Catalog(workshop.root).version("adder@1.0.1").type == "custom-python"


NOTHING: dict[str, tuple[Callable[[Hand, str], str], str]] = {
    "empty": (lambda h, tag: h.at(tag, h.object("tag", b"")), "does not say what it names"),
    "aimless": (
        lambda h, tag: h.at(tag, h.object("tag", f"type commit\ntag {tag}\n".encode() + SANE + b"\nm\n")),
        "does not say what it names",
    ),
    "tree": (lambda h, tag: h.tag(tag, of=h.tree, kind="tree"), "it is a tag of a tree"),
    "blob": (lambda h, tag: h.tag(tag, of=h.blob(b"x"), kind="blob"), "it is a tag of a blob"),
    "nested": (
        lambda h, tag: h.tag(tag, of=h.tag("t2", of=h.tag("t1"), kind="tag"), kind="tag"),
        "it is a tag of a tag",
    ),
    "missing": (lambda h, tag: h.at(tag, "4" * 40), "its object is missing or damaged"),
    "torn": (lambda h, tag: h.damaged(h.tag(tag, gap=WORDS), 40), "its object is missing or damaged"),
    "light": (lambda h, tag: h.at(tag, h.head), "it is lightweight"),
    "renamed": (lambda h, tag: h.at(tag, h.tag("other@v1.0.0")), "its object has another name"),
}


def test_tags_that_record_nothing_are_told_by_list_page_show_and_doctor(
    workshop: Workshop, hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, (make, _) in NOTHING.items():
        make(hand, f"{kind}@v1.0.0")
    read_everything(workshop.root, tmp_path)
    assert "Tags that record nothing" in (tmp_path / "site/index.html").read_text()
    monkeypatch.chdir(workshop.root)
    found = list(examine(workshop.root, None, False))
    for kind, (_, why) in NOTHING.items():
        catalog = Catalog(workshop.root)
        assert kind not in [one.name for one in catalog.models()]
        (reason,) = catalog.stray[kind]
        assert reason.startswith(f"{kind}@v1.0.0 records nothing: ") and why in reason
        for ask in (catalog.model, catalog.history, Registry(workshop.root).resolve):
            with pytest.raises(Refused, match="though it has tags") as caught:
                ask(kind)
            assert why in caught.value.message and caught.value.hint == "gitreg doctor tells what helps"
        (finding,) = [one for one in found if one.detail.startswith(f"{kind}@v1.0.0")]
        assert finding.level in ("warning", "error") and finding.hint
        run(*shlex.split(finding.hint), cwd=workshop.root)
    assert not Catalog(workshop.root).stray


def test_an_odd_tag_of_a_model_that_has_others_marks_it(workshop: Workshop, hand: Hand) -> None:
    hand.at("adder@v2.0.0", hand.head)
    hand.tag("adder#staging#5", b"")
    done = workshop.gitreg("list")
    assert done.returncode == 0 and "odd" in done.stdout.split()
    done = workshop.gitreg("show", "adder")
    assert "adder@v2.0.0 records nothing: it is lightweight" in done.stdout
    assert "adder#staging#5: it has no tagger" in done.stdout
    done = workshop.gitreg("history", "adder")
    assert "into staging (odd: it has no tagger)" in done.stdout
    said = json.loads(workshop.gitreg("list", "--json").stdout)
    assert len(said[0]["odd"]) == 2
    said = json.loads(workshop.gitreg("show", "adder", "--json").stdout)
    assert len(said["odd"]) == 2 and said["versions"][0]["odd"] == []


def test_list_names_the_tags_of_models_without_versions(workshop: Workshop, hand: Hand) -> None:
    for n in range(7):
        hand.at(f"m{n}@v1.0.0", hand.head)
    done = workshop.gitreg("list", "--json")
    assert [one["name"] for one in json.loads(done.stdout)] == ["adder"]
    assert "odd: m0@v1.0.0 records nothing: it is lightweight" in done.stderr
    assert "2 more; gitreg doctor tells what helps" in done.stderr


def test_what_is_known_of_odd_tags_is_not_read_again(
    workshop: Workshop, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand.tag("odd@v1.0.0", b"")
    hand.tag("far@v1.0.0", of="1" * 40)
    hand.at("none@v1.0.0", hand.object("tag", b""))
    first = [(one.name, one.odd) for one in Catalog(workshop.root).models()]
    asked: list[str] = []
    objects = plain.objects
    monkeypatch.setattr(
        plain, "objects", lambda root, names, *more: asked.extend(names) or objects(root, names, *more)
    )
    catalog = Catalog(workshop.root)
    assert [(one.name, one.odd) for one in catalog.models()] == first and "none" in catalog.stray
    assert asked == []


def test_many_damaged_objects_end_no_reader(workshop: Workshop, hand: Hand, tmp_path: Path) -> None:
    for n in range(12):
        hand.damaged(hand.tag(f"m{n}@v1.0.0", gap=WORDS), 40)
        hand.tag(f"n{n}@v1.0.0")
    read_everything(workshop.root, tmp_path)
    names = {one.name for one in Catalog(workshop.root).models()}
    assert {f"n{n}" for n in range(12)} <= names
    assert set(Catalog(workshop.root).stray) == {f"m{n}" for n in range(12)}
