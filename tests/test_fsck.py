"""`gitreg doctor` on registries that were damaged with plain Git: what it finds, and that its cures cure."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import gto.api
import gto.constants
import pytest
from gto.constants import VersionSort
from gto.exceptions import GTOException

from gitreg import fsck
from gitreg.fsck import gto as own_gto
from gitreg.fsck.cures import quoted
from gitreg.git import refs
from gitreg.history import by_model
from gitreg.ledger import Ledger, Seen
from gitreg.registry import Registry
from gitreg.reports import Finding
from tests.support import Workshop, gitreg, make_registry, run

GTO = [sys.executable, "-c", "from gto.cli import app; app()"]
TOOLS = Path(sys.executable).parent
HOUR = 3600
_LATER = itertools.count(10)


class Shop(Workshop):
    """A registry with a bare Git remote `origin` and a DVC remote beside it, all applied and pushed."""

    @property
    def origin(self) -> Path:
        return self.root.parent / "origin.git"

    @property
    def dvc_remote(self) -> Path:
        return self.root.parent / "remote"

    def git(self, *arguments: str | Path, cwd: Path | None = None, **options: object) -> str:
        return run("git", *arguments, cwd=cwd or self.root, **options).stdout.strip()  # type: ignore[arg-type]

    def tag(self, name: str, at: str = "HEAD", when: int | None = None, message: str = "by hand") -> str:
        """Write an annotated tag by hand; its object's id.

        Args:
            when: by default a little later than all others, as far as honest clocks may differ.
        """
        moment = int(time.time()) + next(_LATER) if when is None else when
        date = {"GIT_COMMITTER_DATE": f"@{moment} +0000"}
        self.git("tag", "-a", "-m", message, "--", name, at, env={**os.environ, **date})
        return self.oid(name)

    def forge(self, name: str, lines: str, body: bytes = b"x\n", inner: str | None = None) -> None:
        """Write a tag object that `git tag` would not."""
        commit = self.git("rev-parse", "HEAD")
        head = f"object {commit}\ntype commit\ntag {inner or name}\n{lines}\n"
        command = ["git", "hash-object", "-t", "tag", "-w", "--literally", "--stdin"]
        done = subprocess.run(
            command, cwd=self.root, input=head.encode() + body, capture_output=True, check=True
        )
        self.git("update-ref", f"refs/tags/{name}", done.stdout.decode().strip())

    def oid(self, name: str, cwd: Path | None = None) -> str:
        return self.git("rev-parse", f"refs/tags/{name}", cwd=cwd)

    def time(self, name: str) -> int:
        return int(self.git("for-each-ref", "--format=%(taggerdate:unix)", f"refs/tags/{name}"))

    def examine(self, **how: bool) -> list[Finding]:
        return fsck.examine(Registry(self.root), **how)  # type: ignore[arg-type]

    def only(self, name: str, **how: bool) -> Finding:
        """The one finding that is not good; it has this name."""
        found = [f for f in self.examine(**how) if f.level != "ok"]
        assert [f.name for f in found] == [name], found
        return found[0]

    def found(self, name: str) -> Finding:
        """The one finding of this name, among others."""
        found = [f for f in self.examine() if f.name == name]
        assert len(found) == 1, found
        return found[0]

    def cure(self, finding: Finding) -> None:
        """Run a hint as a user would paste it."""
        assert finding.hint
        path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
        run("bash", "-c", finding.hint, cwd=self.root, env={**os.environ, "PATH": path}, errors="replace")

    def sound(self) -> None:
        assert [f.level for f in self.examine()] == ["ok"], self.examine()

    def cured(self, finding: Finding) -> None:
        self.cure(finding)
        self.sound()

    def clone(self) -> Shop:
        """Another clone, of a colleague."""
        folder = self.root.parent / "clone"
        run("git", "clone", "-q", self.origin, folder, cwd=self.root.parent)
        return Shop(folder)

    def release(self, version: str) -> None:
        """Merge a new version of the adder, registered."""
        self.manifest(version=version)
        self.commit(version)
        self.git("push", "-q", "origin", "main")
        done = self.gitreg("apply", "--push")
        assert done.returncode == 0, done.stderr

    def stage(self, stage: str, reference: str = "adder") -> None:
        """Promote at once."""
        done = self.gitreg("promote", reference, stage, "--apply")
        assert done.returncode == 0, done.stderr
        self.git("pull", "-q", "--ff-only")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fsck")
    shop = Shop(folder / "registry")
    make_registry(shop.root)
    run("git", "init", "-q", "--bare", "--initial-branch=main", shop.origin, cwd=folder)
    shop.git("remote", "add", "origin", shop.origin)
    shop.git("push", "-q", "-u", "origin", "main")
    done = shop.gitreg("apply", "--push")
    assert done.returncode == 0, done.stderr
    shop.stage("staging")
    return folder


@pytest.fixture
def shop(template: Path, tmp_path: Path) -> Shop:
    """One model `adder`, 1.0.0, in staging."""
    shutil.copytree(template, tmp_path / "all", symlinks=True)
    shop = Shop(tmp_path / "all" / "registry")
    shop.git("remote", "set-url", "origin", shop.origin)
    run(
        sys.executable,
        "-m",
        "dvc",
        "remote",
        "modify",
        "--local",
        "here",
        "url",
        shop.dvc_remote,
        cwd=shop.root,
    )
    return shop


def gto_show(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GTO, "show"], cwd=root, capture_output=True, text=True)


def meant(finding: Finding) -> Finding:
    """The finding of what was a mistake indeed."""
    assert finding.hint
    return replace(finding, hint=finding.hint.removeprefix("if it was a mistake: "))


# A sound one ----------------------------------------------------------------------------------------------


def test_a_sound_registry_has_one_line(shop: Shop) -> None:
    assert [(f.name, f.level, f.detail) for f in shop.examine(deep=True)] == [
        ("tags", "ok", "2 tags of 1 model")
    ]
    shop.release("1.1.0")
    shop.stage("staging")
    shop.stage("production")
    done = shop.gitreg("rollback", "adder", "staging", "--apply")
    assert done.returncode == 0, done.stderr
    shop.git("pull", "-q")
    assert shop.gitreg("demote", "adder", "production", "--apply").returncode == 0
    shop.git("pull", "-q")
    shop.sound()
    shop.sound()
    assert shop.clone().examine()[0].level == "ok"


def test_outside_of_git_there_is_nothing_to_find(shop: Shop) -> None:
    shutil.rmtree(shop.root / ".git")
    assert shop.examine() == []
    done = gitreg("doctor", "--json", cwd=shop.root)
    assert "tags" not in {f["name"] for f in json.loads(done.stdout)}
    assert done.returncode == 0


def test_outside_of_a_registry_only_the_machine_is_looked_at(tmp_path: Path) -> None:
    done = gitreg("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)[-1]["name"] == "registry"


def test_before_the_first_commit(tmp_path: Path) -> None:
    run("git", "init", "-q", ".", cwd=tmp_path)
    (tmp_path / "registry.yaml").write_text("registry: acme\nstages: {}\n")
    assert [(f.level, f.detail) for f in fsck.examine(Registry(tmp_path))] == [("ok", "0 tags of 0 models")]


# Moved and deleted ----------------------------------------------------------------------------------------


def test_a_tag_that_was_moved_is_known_from_the_ledger(shop: Shop) -> None:
    shop.git("remote", "remove", "origin")
    shop.sound()
    was = shop.oid("adder#staging#1")
    shop.git("tag", "-f", "-a", "-m", "x", "adder#staging#1", "HEAD~1")
    finding = shop.only("tag moved")
    assert finding.level == "error"
    assert finding.detail.startswith("adder#staging#1 was moved here: ")
    assert f"it was {was[:12]} when it was first seen here" in finding.detail
    shop.cured(finding)
    assert shop.oid("adder#staging#1") == was


def test_a_tag_that_was_deleted_is_known_from_the_ledger(shop: Shop) -> None:
    shop.git("remote", "remove", "origin")
    shop.sound()
    shop.git("tag", "-d", "adder#staging#1")
    finding = shop.only("tag deleted")
    assert "adder#staging#1 was deleted here" in finding.detail
    shop.cured(finding)


def test_without_a_ledger_the_chain_tells(shop: Shop) -> None:
    shop.git("remote", "remove", "origin")
    was = shop.oid("adder@v1.0.0")
    for damage in (
        ["-d", "adder@v1.0.0"],
        ["-f", "-a", "-m", "x", "adder@v1.0.0", "HEAD~1"],
        ["-f", "adder@v1.0.0"],
    ):
        shop.git("tag", *damage)
        finding = shop.only("tag deleted" if damage[0] == "-d" else "tag moved")
        assert f"adder#staging#1 names {was[:12]} as the tag before it" in finding.detail
        assert "first seen" not in finding.detail
        shop.cured(finding)
        (shop.root / ".git" / "gitreg" / "ledger.sqlite").unlink()


def test_a_tag_moved_on_the_remote_is_found_by_whoever_saw_it_before(shop: Shop) -> None:
    shop.sound()
    other = shop.clone()
    other.git("tag", "-f", "-a", "-m", "x", "adder@v1.0.0", "HEAD~1")
    other.git("push", "-q", "-f", "origin", "refs/tags/adder@v1.0.0")
    finding = shop.only("tag moved")
    assert "adder@v1.0.0 was moved on origin: " in finding.detail
    shop.git("fetch", "-q", "-f", "--tags")
    finding = shop.only("tag moved")
    assert "adder@v1.0.0 was moved here and on origin: " in finding.detail
    shop.cured(finding)
    # The other clone still has the moved one; the ledger that it begins goes by the remote.
    finding = other.only("tag moved")
    assert "moved here" in finding.detail
    other.cure(finding)
    other.sound()


def test_a_fresh_clone_without_the_object_learns_it_from_the_remote(shop: Shop) -> None:
    was = shop.oid("adder@v1.0.0")
    shop.git("tag", "-f", "-a", "-m", "x", "adder@v1.0.0", "HEAD~1")
    shop.git("push", "-q", "-f", "origin", "refs/tags/adder@v1.0.0")
    fresh = shop.root.parent / "fresh"
    run("git", "clone", "-q", f"file://{shop.origin}", fresh, cwd=shop.root.parent)
    other = Shop(fresh)
    finding = other.only("tag deleted")
    assert finding.detail.startswith(f"adder#staging#1 names {was} as the tag of adder before it")
    other.cure(finding)
    finding = other.only("tag moved")
    assert "adder@v1.0.0 was moved here and on origin" in finding.detail
    other.cure(finding)
    other.sound()
    assert shop.oid("adder@v1.0.0", cwd=shop.origin) == was


def test_a_tag_deleted_on_the_remote_is_no_tag_that_was_never_pushed(shop: Shop) -> None:
    shop.sound()
    shop.git("push", "-q", "--delete", "origin", "refs/tags/adder#staging#1")
    finding = shop.only("tag deleted")
    assert "adder#staging#1 was deleted on origin" in finding.detail
    shop.cured(finding)


def test_a_tag_that_was_taken_back_before_anybody_had_it_is_no_loss(shop: Shop) -> None:
    for again in (False, True):
        shop.tag("adder@v1.0.0!#7", "adder@v1.0.0^{}")
        assert "tag not pushed" in {f.name for f in shop.examine()}
        shop.git("tag", "-d", "adder@v1.0.0!#7")
        if again:  # and another one of its name is pushed, as after a look at what `apply` would write
            shop.tag("adder@v1.0.0!#7", "adder@v1.0.0^{}", message="again")
            shop.git("push", "-q", "origin", "refs/tags/adder@v1.0.0!#7")
        finding = shop.found("tag taken back")
        assert finding.level == "note" and "never on origin" in finding.detail
        assert bool(finding.hint) is not again
        assert "tag taken back" not in {f.name for f in shop.examine()}
    shop.git("tag", "-d", "adder@v1.0.0!#7")
    assert shop.found("tag deleted").level == "error"


def test_tags_that_only_one_side_has_are_pushed_and_fetched(shop: Shop) -> None:
    other = shop.clone()
    shop.git("config", "remote.pushDefault", "origin")
    shop.git("push", "-q", "--delete", "origin", "refs/tags/adder@v1.0.0", "refs/tags/adder#staging#1")
    finding = shop.only("tag not pushed")
    assert finding.level == "warning"
    assert "origin does not have adder#staging#1, adder@v1.0.0 of adder" in finding.detail
    shop.cured(finding)
    other.git("tag", "-d", "adder@v1.0.0", "adder#staging#1")
    found = {f.name: f for f in other.examine()}
    assert (
        "origin has adder#staging#1, adder@v1.0.0, which this repository has not"
        in found["tag not fetched"].detail
    )
    assert found["tag not fetched"].hint == "git fetch --tags origin"
    other.cure(found["tag not fetched"])
    other.sound()


@pytest.mark.parametrize("honest", [True, False])
def test_where_ledger_and_chain_contradict_each_other_people_decide(shop: Shop, honest: bool) -> None:
    """Moved here before the first look, or by a forger who wrote a tag upon it: the tags are the same."""
    shop.git("tag", "-d", "adder#staging#1")
    was = shop.oid("adder@v1.0.0")
    shop.git("tag", "-f", "-a", "-m", "x", "adder@v1.0.0", "adder@v1.0.0^{}")
    moved = shop.oid("adder@v1.0.0")
    Ledger(shop.root / ".git" / "gitreg").note({"adder@v1.0.0": moved})
    shop.git("fetch", "-q", "origin", "refs/tags/adder#staging#1:refs/tags/adder#staging#1")
    finding = shop.only("tag moved")
    assert f"it was {moved[:12]} when it was first seen here" in finding.detail
    assert f"adder#staging#1 names {was[:12]} as the tag before it" in finding.detail
    assert finding.hint and finding.hint.startswith(
        "if adder#staging#1 is honest: git update-ref refs/tags/adder@v1.0.0 "
    )
    first, _, second = finding.hint.removeprefix("if adder#staging#1 is honest: ").partition(
        "; if it is not: "
    )
    shop.cure(replace(finding, hint=first if honest else second))
    if honest:
        shop.sound()
        assert shop.oid("adder@v1.0.0") == was
    else:
        assert {f.name for f in shop.examine()} == {"not applied"}
        assert shop.oid("adder@v1.0.0", cwd=shop.origin) == moved
        assert shop.git("tag", cwd=shop.origin) == "adder@v1.0.0"


def test_a_tag_that_lies_about_the_one_before_it(shop: Shop) -> None:
    shop.sound()
    true = shop.oid("adder@v1.0.0")
    shop.git("tag", "-f", "-a", "-m", "x", "adder@v1.0.0", "adder@v1.0.0^{}")
    other = shop.oid("adder@v1.0.0")
    shop.git("update-ref", "refs/tags/adder@v1.0.0", true)
    shop.tag("adder#production#2", "adder@v1.0.0^{}", message=f"x\n\nGitreg-Previous: {other}\n")
    finding = shop.only("tag forged")
    assert (
        f"adder#production#2 names {other[:12]} as the tag before it, as if adder@v1.0.0 were that"
        in finding.detail
    )
    shop.cured(finding)


def test_how_far_the_chain_reaches_where_gto_wrote_tags(shop: Shop) -> None:
    """The next tag of gitreg's names the last of GTO's, and nothing names the others."""
    shop.git("remote", "remove", "origin")
    run(*GTO, "assign", "adder", "--version", "v1.0.0", "--stage", "production", cwd=shop.root)
    before = max(shop.time("adder#production#2"), shop.time("adder#staging#1"))
    shop.tag("adder#staging#3", "adder@v1.0.0^{}", before + 1)
    shop.manifest(version="1.1.0")
    shop.commit()
    assert shop.gitreg("apply").returncode == 0
    first, last = shop.oid("adder#production#2"), shop.oid("adder#staging#3")
    shop.git("tag", "-d", "adder#production#2")
    assert "tag deleted" not in {f.name for f in shop.examine()}
    shop.git("update-ref", "refs/tags/adder#production#2", first)
    shop.examine()
    shop.git("tag", "-d", "adder#production#2")
    assert "adder#production#2 was deleted here" in shop.found("tag deleted").detail
    shop.cure(shop.found("tag deleted"))
    (shop.root / ".git" / "gitreg" / "ledger.sqlite").unlink()
    shop.git("tag", "-d", "adder#staging#3")
    finding = shop.found("tag deleted")
    assert f"adder@v1.1.0 names {last[:12]} as the tag before it" in finding.detail
    shop.cure(finding)
    assert "tag deleted" not in {f.name for f in shop.examine()}


def test_the_ledger_keeps_what_it_saw_first_and_begins_anew_when_it_is_broken(shop: Shop) -> None:
    folder = shop.root / ".git" / "gitreg"
    shop.sound()
    mine = Ledger(folder)
    assert mine.seen()["adder@v1.0.0"] == Seen(shop.oid("adder@v1.0.0"), shared=True)
    mine.note({"adder@v1.0.0": "0" * 40, "b@v1.0.0": "1" * 40})
    assert mine.seen()["adder@v1.0.0"].oid == shop.oid("adder@v1.0.0"), "what was seen first stays"
    now = {tag.name: tag.oid for tag in refs.tags(shop.root)[0]}
    assert list(mine.changes(now)) == [("b@v1.0.0", "1" * 40, None)]
    (folder / "ledger.sqlite").write_bytes(b"no database" * 100)
    finding = shop.only("ledger")
    assert finding.level == "warning"
    assert "was broken" in finding.detail
    assert (folder / "ledger.broken").is_file()
    shop.sound()
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        assert len(connection.execute("SELECT * FROM seen").fetchall()) == 2


def test_a_remote_that_is_not_there_is_a_warning(shop: Shop) -> None:
    shop.git("remote", "set-url", "origin", shop.root.parent / "nowhere")
    finding = shop.only("git remote")
    assert finding.level == "warning"
    assert "origin cannot be asked for its tags: git ls-remote: " in finding.detail
    done = shop.gitreg("doctor", "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    shop.git("remote", "set-url", "origin", shop.origin)
    shop.cured(finding)
    shop.git("remote", "add", "other", shop.root.parent / "nowhere")
    finding = next(f for f in shop.examine(remote="other") if f.name == "git remote")  # type: ignore[arg-type]
    assert finding.detail.startswith("other cannot be asked")


def test_a_shallow_clone_says_what_to_fetch(shop: Shop) -> None:
    folder = shop.root.parent / "shallow"
    run("git", "clone", "-q", "--depth=1", f"file://{shop.origin}", folder, cwd=shop.root.parent)
    other = Shop(folder)
    finding = other.found("shallow clone")
    assert finding.level == "warning"
    other.cure(finding)
    other.sound()


# Tags that record nothing ---------------------------------------------------------------------------------


def test_created_breaks_gto_for_everybody_until_it_is_deleted_everywhere(shop: Shop) -> None:
    assert gto_show(shop.root).returncode == 0
    shop.tag("m@created#9")
    shop.git("push", "-q", "origin", "refs/tags/m@created#9")
    assert gto_show(shop.root).returncode == 1
    finding = shop.only("tag breaks gto")
    assert finding.level == "error"
    assert "m@created#9: `gto show` fails for everybody while this tag is there" in finding.detail
    assert finding.hint == "git tag -d 'm@created#9' && git push --delete origin 'refs/tags/m@created#9'"
    shop.cured(finding)
    assert gto_show(shop.root).returncode == 0


def test_a_tag_that_breaks_gto_is_found_on_the_remote_before_it_is_fetched(shop: Shop) -> None:
    other = shop.clone()
    other.git("tag", "m@created")
    other.git("push", "-q", "origin", "refs/tags/m@created")
    finding = shop.only("tag breaks gto")
    assert finding.hint == "git push --delete origin refs/tags/m@created"
    assert "m@created on origin: `gto show` fails for whoever fetches it" in finding.detail
    shop.cured(finding)


# name -> how it is made -> whether GTO fails, and what the finding is.
ODD = [
    ("adder@v2.0.0", ["HEAD"], False, "tag lightweight", "warning", "it is lightweight"),
    ("adder@v2.0.0", ["HEAD^{tree}"], False, "tag lightweight", "warning", "it is lightweight"),
    ("m@created#9", ["HEAD"], True, "tag breaks gto", "error", "knows no action"),
    ("a/b@created", ["HEAD"], True, "tag breaks gto", "error", "knows no action"),
    (
        "adder@v2.0.0",
        ["-am", "x", "HEAD^{tree}"],
        True,
        "tag breaks gto",
        "error",
        "it names a tree, not a commit",
    ),
    (
        "adder#staging#2",
        ["-am", "x", "HEAD:registry.yaml"],
        True,
        "tag breaks gto",
        "error",
        "it names a blob",
    ),
    (
        "adder@v2.0.0",
        ["-am", "x", "adder@v1.0.0"],
        False,
        "tag not of a commit",
        "warning",
        "it is a tag of a tag",
    ),
    ("adder@2.0.0", ["-am", "x", "HEAD"], False, "tag unparsable", "warning", "for GTO and for gitreg"),
    ("adder@V2.0.0", ["HEAD"], False, "tag unparsable", "warning", "registry tags are churn@v1.2.0"),
    (
        "adder#Prod#3",
        ["-am", "x", "HEAD"],
        False,
        "tag unparsable",
        "warning",
        "is read by GTO and not by gitreg",
    ),
    ("adder#staging#01", ["-am", "x", "HEAD"], False, "tag unparsable", "warning", "is read by GTO and not"),
    ("other@1.0.0", ["-am", "x", "HEAD"], False, "tag unparsable", "note", "records nothing"),
]


@pytest.mark.parametrize(("name", "made", "breaks", "kind", "level", "words"), ODD)
def test_odd_tags(
    shop: Shop, name: str, made: list[str], breaks: bool, kind: str, level: str, words: str
) -> None:
    shop.git("tag", *made[:-1], name, made[-1])
    finding = shop.only(kind)
    assert (finding.level, words in finding.detail, name in finding.detail) == (level, True, True), finding
    known = name.startswith("adder") or breaks
    assert finding.hint == "if it was a mistake: " * (not known) + f"git tag -d {quoted(name)}"
    assert (gto_show(shop.root).returncode != 0) == breaks
    shop.cured(meant(finding))


FORGED = [
    ("adder@v2.0.0", "tagger A <a@b> 1700000000 +0000\n", b"x\n", "plain", "its object calls itself 'plain'"),
    (
        "adder@v2.0.0",
        "tagger A <a@b> 1700000000 +0000\n",
        b"x\n",
        "m@created",
        "its object calls itself 'm@created'",
    ),
    ("adder@v2.0.0", "", b"x\n", None, "it has no tagger"),
    ("adder@v2.0.0", "tagger A 1700000000 +0000\n", b"x\n", None, "its tagger is 'A 1700000000 +0000'"),
    (
        "adder@v2.0.0",
        "tagger A <a@b> 99999999999999 +0000\n",
        b"x\n",
        None,
        "its time is 99999999999999, after",
    ),
    ("adder@v2.0.0", "tagger A <a@b> 1700000000 +9900\n", b"x\n", None, "its tagger is"),
    ("adder#staging#2", "tagger A <a@b> 1700000000 +0000\n", b"\xff\xfe\n", None, "it is not UTF-8"),
]


@pytest.mark.parametrize(("name", "lines", "body", "inner", "words"), FORGED)
def test_forged_tags_that_break_gto(
    shop: Shop, name: str, lines: str, body: bytes, inner: str | None, words: str
) -> None:
    shop.forge(name, lines, body, inner)
    assert gto_show(shop.root).returncode != 0
    finding = shop.only("tag breaks gto")
    assert finding.level == "error"
    assert (
        finding.detail.startswith(name)
        and f"for everybody{' while this tag is there' * bool(inner)}: {words}" in finding.detail
    )
    shop.cured(finding)
    assert gto_show(shop.root).returncode == 0


@pytest.mark.parametrize("name", ["adder@v9.0.0", "adder#production#9"])
def test_a_tag_with_the_object_of_another_one_records_nothing(shop: Shop, name: str) -> None:
    before = gto_show(shop.root).stdout
    shop.git("update-ref", f"refs/tags/{name}", shop.oid("adder@v1.0.0"))
    finding = shop.only("tag renamed")
    assert f"{name} records nothing: it bears the object of adder@v1.0.0, and GTO" in finding.detail
    assert gto_show(shop.root).stdout == before
    assert name not in {tag.name for tag in refs.tags(shop.root)[0]}
    shop.cured(finding)


def test_a_version_whose_name_a_renamed_tag_has_taken_is_not_registered_over_it(shop: Shop) -> None:
    shop.git("update-ref", "refs/tags/adder@v9.0.0", shop.oid("adder@v1.0.0"))
    shop.manifest(version="9.0.0")
    shop.git("commit", "-qam", "nine")
    done = shop.gitreg("plan")
    assert done.returncode == 1
    assert "the tag adder@v9.0.0 is there and records nothing" in done.stderr + done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "-x@v1",
        "a'b@v1",
        "a$(touch${IFS}x)@v1",
        "ä@v1.0.0",
        "\u202eb@v1",
        "a;b#c",
        "a b".replace(" ", "&") + "@1",
    ],
)
def test_names_of_tags_do_nothing_in_a_shell(shop: Shop, name: str) -> None:
    shop.git("update-ref", f"refs/tags/{name}", "HEAD")
    shop.git("push", "-q", "origin", f"refs/tags/{name}")
    finding = shop.only("tag unparsable")
    assert finding.hint and finding.hint.isprintable()
    shop.cured(meant(finding))
    assert not (shop.root / "x").exists()


def test_a_name_that_is_no_utf8_is_shown_and_deleted(shop: Shop) -> None:
    command = ["git", "update-ref", b"refs/tags/a\xff@v1", "HEAD"]
    subprocess.run(command, cwd=shop.root, check=True)
    done = shop.gitreg("doctor")
    assert done.returncode == 0
    assert r"$'a\xff@v1' records nothing" in done.stdout
    assert (
        json.loads(shop.gitreg("doctor", "--json").stdout)[-1]["hint"]
        == r"if it was a mistake: git tag -d $'a\xff@v1'"
    )
    shop.cured(meant(shop.only("tag unparsable")))


@pytest.mark.parametrize("seed", range(4))
def test_gtos_grammar_is_the_one_here(seed: int) -> None:
    """Words that are nearly tags, read by GTO's own expression and by ours."""
    chance = random.Random(seed)
    parts = [
        "a",
        "-",
        "/",
        "_",
        "Z9",
        "@",
        "#",
        "v",
        "1",
        "0",
        ".",
        "!",
        "=",
        "+",
        "deprecated",
        "created",
        "v1.0.0",
        "#1",
        "@v1.2.3",
    ]
    read = 0
    for _ in range(20_000):
        name = "".join(chance.choice(parts) for _ in range(chance.randrange(1, 7)))
        theirs = gto.constants.tag_re.search(name)
        assert own_gto.reads(name) == bool(theirs), name
        read += bool(theirs)
        assert bool(own_gto.fails_on(name, None)) == bool(theirs and theirs["created"]), name
    assert read > 200


# Times ----------------------------------------------------------------------------------------------------


def test_a_back_dated_tag_is_deleted(shop: Shop) -> None:
    shop.tag("adder#staging#2", "adder@v1.0.0^{}", shop.time("adder#staging#1") - 5)
    finding = shop.only("tag back-dated")
    assert finding.level == "error"
    assert "adder#staging#2 is dated 20" in finding.detail
    assert ", and adder#staging#1, whose counter is lower, " in finding.detail
    shop.cured(finding)


def test_a_tag_that_is_pushed_between_two_is_the_wrong_one(shop: Shop) -> None:
    """A later date under a lower counter must not make doctor ask for the end of an honest tag."""
    shop.stage("production")
    shop.tag("adder#production#1", "adder@v1.0.0^{}", int(time.time()) + 30)
    finding = shop.only("tag back-dated")
    assert "adder#production#1 is dated" in finding.detail
    assert "adder#production#2, whose counter is higher" in finding.detail
    shop.cured(finding)


def test_a_registration_that_slipped_in_is_known_by_the_chain(shop: Shop) -> None:
    shop.tag("adder@deprecated", "HEAD", shop.time("adder@v1.0.0") - 100)
    finding = shop.only("tag back-dated")
    assert "before adder@v1.0.0, which was written when it was not there" in finding.detail
    shop.cured(finding)


def test_a_tag_before_its_commit_was_made(shop: Shop) -> None:
    made = int(time.time()) + 2 * HOUR
    date = f"@{made} +0000"
    shop.git("commit", "-q", "--allow-empty", "-m", "x", env={**os.environ, "GIT_COMMITTER_DATE": date})
    shop.git("push", "-q", "origin", "main")
    shop.tag("adder@deprecated#2")
    finding = shop.only("tag back-dated")
    assert finding.level == "warning"
    assert "and its commit " in finding.detail and "was made later" in finding.detail
    shop.cured(finding)


def test_a_clone_whose_clock_is_behind_writes_tags_that_are_only_noted(shop: Shop) -> None:
    made = int(time.time()) + 2 * HOUR
    shop.manifest(version="1.1.0")
    run("git", "add", "-A", cwd=shop.root)
    date = f"@{made} +0000"
    shop.git("commit", "-q", "-m", "x", env={**os.environ, "GIT_COMMITTER_DATE": date})
    shop.git("push", "-q", "origin", "main")
    assert shop.gitreg("apply", "--push").returncode == 0
    ok, note = shop.examine()
    assert (ok.level, note.level, note.hint) == ("ok", "note", None)
    assert "adder@v1.1.0 is dated" in note.detail and "the clock of who wrote it was behind" in note.detail


def test_a_tag_of_tomorrow(shop: Shop) -> None:
    shop.tag("adder#production#2", "adder@v1.0.0^{}", int(time.time()) + 24 * HOUR)
    found = {f.name: f for f in shop.examine()}
    assert set(found) == {"tag in the future", "not applied"}
    finding = found["tag in the future"]
    assert finding.level == "warning"
    assert "later tags of adder must be dated after it" in finding.detail
    shop.cured(finding)
    soon = int(time.time()) + 300
    shop.tag("adder@deprecated#2", "HEAD", soon)
    assert "tag in the future" not in {f.name for f in shop.examine()}, "clocks may differ by ten minutes"


def test_two_tags_in_one_second(shop: Shop) -> None:
    moment = shop.time("adder#staging#1") + 1
    shop.tag("adder#staging!#2", "adder@v1.0.0^{}", moment)
    shop.tag("adder#staging#3", "adder@v1.0.0^{}", moment)
    finding = shop.found("tags in one second")
    assert finding.level == "warning"
    assert "adder#staging#3 has the same second as adder#staging!#2" in finding.detail
    shop.cure(finding)
    assert "tags in one second" not in {f.name for f in shop.examine()}


def test_a_registration_and_a_stage_in_one_second_are_only_noted(shop: Shop) -> None:
    """GTO looks at all versions before it looks at stages."""
    moment = shop.time("adder#staging#1") + 1
    shop.tag("adder#staging#2", "adder@v1.0.0^{}", moment)
    shop.tag("adder@deprecated", "adder@v1.0.0^{}", moment)
    finding = shop.found("tags in one second")
    assert (finding.level, finding.hint) == ("note", None)


# Stages, counters, ordinals -------------------------------------------------------------------------------


def test_a_stage_tag_on_a_commit_without_a_version(shop: Shop) -> None:
    shop.tag("adder#production#2")
    finding = shop.only("stage without version")
    assert finding.level == "error"
    assert "adder#production#2 names commit" in finding.detail
    assert "where none is registered" in finding.detail
    shop.cured(finding)
    shop.tag("adder#production!#2")
    finding = shop.only("stage without version")
    assert finding.level == "warning"
    shop.cured(finding)


def test_a_stage_tag_that_others_were_built_upon_is_followed_by_another(shop: Shop) -> None:
    shop.tag("adder#staging#2")
    shop.git("push", "-q", "origin", "refs/tags/adder#staging#2")
    shop.manifest(version="1.1.0")
    shop.commit()
    shop.git("push", "-q", "origin", "main")
    assert shop.gitreg("apply", "--push").returncode == 0
    finding = shop.only("stage without version")
    assert finding.level == "error"
    assert "adder@v1.1.0 names it as the tag before it" in finding.detail
    assert finding.hint and "'adder#staging#3'" in finding.hint
    shop.cure(finding)
    ok, note = shop.examine()
    assert (ok.level, note.level, note.name) == ("ok", "note", "stage without version")
    assert "#staging" in gto_show(shop.root).stdout and "v1.0.0" in gto_show(shop.root).stdout


def test_a_stage_that_registry_yaml_does_not_know(shop: Shop) -> None:
    shop.tag("adder#prodction#2", "adder@v1.0.0^{}")
    finding = shop.found("stage unknown")
    assert finding.level == "note"
    assert "registry.yaml has no stage 'prodction' (did you mean 'production'?)" in finding.detail
    assert "adder#prodction#2 name" in finding.detail


def test_a_counter_twice(shop: Shop) -> None:
    shop.tag("adder#production#1", "adder@v1.0.0^{}")
    finding = shop.found("counter twice")
    assert finding.level == "warning"
    assert "adder#production#1 has the counter 1, as adder#staging#1 has" in finding.detail
    shop.cured(finding)


def test_two_clones_that_wrote_at_once_are_only_noted(shop: Shop) -> None:
    """Both by gitreg, without --push, and pushed with plain Git: neither names the other."""
    other = shop.clone()
    other.git("remote", "remove", "origin")
    shop.git("remote", "remove", "origin")
    (other.root / "stages" / "production.yaml").write_text("adder: 1.0.0\n")
    other.commit()
    assert other.gitreg("apply").returncode == 0
    shop.manifest(version="1.1.0")
    shop.commit()
    assert shop.gitreg("apply").returncode == 0
    shop.git("fetch", "-q", other.root, "refs/tags/*:refs/tags/*")
    finding = shop.found("tags at once")
    assert (finding.level, finding.hint) == ("note", None)
    assert "were written at once, in two clones: neither names the other" in finding.detail
    assert {f.name for f in shop.examine()} <= {"tags at once", "tags in one second", "not applied"}


def test_an_ordinal_twice_and_one_that_is_missing(shop: Shop) -> None:
    shop.git("remote", "remove", "origin")
    shop.manifest(version="1.1.0")
    shop.commit()
    message = "Register adder 1.1.0\n\nGitreg-Ordinal: 1\n"
    shop.tag("adder@v1.1.0", message=message)
    finding = shop.only("ordinal twice")
    assert "adder@v1.1.0 has the ordinal 1, as adder@v1.0.0 has: models:/adder/1 names two" in finding.detail
    shop.cure(finding)
    shop.tag("adder@v1.1.0", message=message.replace("1\n", "3\n").replace("1.1.3", "1.1.0"))
    finding = shop.only("ordinal missing")
    assert (finding.level, "no version of adder has the ordinal 2" in finding.detail) == ("warning", True)


def test_two_versions_at_one_commit_break_gto(shop: Shop) -> None:
    shop.tag("adder@v1.0.1", "adder@v1.0.0^{}")
    assert gto_show(shop.root).returncode == 1
    finding = shop.only("versions of one commit")
    assert finding.level == "error"
    assert "which adder@v1.0.0 says is another version" in finding.detail
    assert "`gto show` fails for everybody" in finding.detail
    shop.cured(finding)
    assert gto_show(shop.root).returncode == 0


# What versions say of files -------------------------------------------------------------------------------


def test_a_version_that_its_manifest_does_not_say(shop: Shop) -> None:
    shop.tag("adder@v1.1.0")
    finding = shop.only("version by hand")
    assert finding.level == "error"
    assert "adder@v1.1.0 registers adder 1.1.0, and models/adder/model.yaml at " in finding.detail
    assert " says version 1.0.0: it was written by hand" in finding.detail
    shop.cured(finding)
    shop.tag("ghost@v1.0.0")
    finding = shop.only("version by hand")
    assert finding.level == "warning"
    assert "ghost@v1.0.0 was not written by gitreg, and its commit " in finding.detail
    assert " has no models/ghost/model.yaml: there is nothing to build" in finding.detail
    shop.cured(meant(finding))
    shop.tag("ghost@v1.0.0", message="x\n\nGitreg-Ordinal: 1\nGitreg-Previous: none\n")
    finding = shop.only("version by hand")
    assert finding.level == "error"
    assert "models/ghost/model.yaml at " in finding.detail and "is not there: it was" in finding.detail
    shop.cured(finding)


def test_a_version_by_hand_that_others_were_built_upon_is_deregistered(shop: Shop) -> None:
    shop.tag("adder@v1.1.0")
    shop.git("push", "-q", "origin", "refs/tags/adder@v1.1.0")
    shop.manifest(version="1.2.0")
    shop.commit()
    shop.git("push", "-q", "origin", "main")
    assert shop.gitreg("apply", "--push").returncode == 0
    finding = shop.only("version by hand")
    assert finding.level == "error"
    assert finding.hint and "'adder@v1.1.0!#2'" in finding.hint
    shop.cured(finding)
    assert gto_show(shop.root).returncode == 0


def test_an_artifact_that_is_not_what_the_commit_has(shop: Shop) -> None:
    shop.git("remote", "remove", "origin")
    shop.manifest(version="1.1.0")
    shop.commit()
    wrong = "0" * 32 + ".dir"
    shop.tag("adder@v1.1.0", message=f"x\n\nGitreg-Artifact: md5:{wrong}\nGitreg-Ordinal: 2\n")
    finding = shop.found("artifact differs")
    assert finding.level == "error"
    assert f"adder@v1.1.0 says that the artifact is {wrong}" in finding.detail
    said = (shop.adder / "artifacts.dvc").read_text().partition("md5: ")[2].split()[0]
    assert f"models/adder/artifacts.dvc says {said}" in finding.detail
    shop.cure(finding)
    assert shop.only("not applied")


def test_other_ways_to_write_a_manifest_are_read_too(shop: Shop) -> None:
    """YAML, JSON, without a version, elsewhere: the version and the artifact are found in each."""
    shop.git("remote", "remove", "origin")
    data = json.loads((shop.adder / "model.yaml").read_text())
    texts = {
        "1.1.0": json.dumps(data | {"version": "1.1.0", "artifact": {"path": "artifacts"}}),
        "1.2.0": "\n".join(f"{k}: {json.dumps(v)}" for k, v in (data | {"version": "1.2.0"}).items()),
        "1.3.0": "\n".join(
            f"{k}: {v if isinstance(v, str) else json.dumps(v)}"
            for k, v in (data | {"version": "1.3.0"}).items()
        ),
        "1.4.0": "\n".join(f"{k}: {json.dumps(v)}" for k, v in data.items() if k != "version")
        + "\nrelease: {description: new}\n",
    }
    for version, text in texts.items():
        (shop.adder / "model.yaml").write_text(text)
        if version == "1.4.0":
            shop.code((shop.adder / "src/adder_model.py").read_text() + "\n# another\n")
        shop.commit()
        done = shop.gitreg("apply")
        assert done.returncode == 0, done.stderr
    assert len([t for t in shop.git("tag").split() if "@v" in t]) == 5
    shop.sound()
    shop.sound()  # by what is remembered of the manifests


def test_deep_computes_what_versions_contain(shop: Shop) -> None:
    shop.git("remote", "remove", "origin")
    message = shop.git("for-each-ref", "--format=%(contents)", "refs/tags/adder@v1.0.0")
    digest = message.partition("Gitreg-Digest: ")[2].split()[0]
    shop.manifest(version="1.1.0")
    shop.commit()
    shop.tag(
        "adder@v1.1.0",
        message=f"x\n\nGitreg-Digest: sha256:{'0' * 64}\nGitreg-Manifest: models/adder/model.yaml\nGitreg-Ordinal: 2\n",
    )
    (shop.root / "stages" / "staging.yaml").write_text("adder: 1.1.0\n")
    shop.commit()
    assert shop.gitreg("apply").returncode == 0
    assert "content differs" not in {f.name for f in shop.examine()}
    found = [f for f in shop.examine(deep=True) if f.name == "content differs"]
    assert len(found) == 1
    assert f"adder@v1.1.0 says that the content is sha256:{'0' * 64}" in found[0].detail
    assert f" has {digest}" in found[0].detail
    shop.cure(found[0])
    assert "content differs" not in {f.name for f in shop.examine(deep=True)}


def dvc(shop: Shop, *arguments: str) -> None:
    run(sys.executable, "-m", "dvc", *arguments, "-q", cwd=shop.root)


def test_an_artifact_that_no_remote_has_is_pushed(shop: Shop) -> None:
    def objects() -> list[Path]:
        return [p for p in (shop.dvc_remote / "files" / "md5").rglob("*") if p.is_file()]

    for path in objects():
        if path.name.endswith(".dir"):
            md5 = path.parent.name + path.name
            path.unlink()
    finding = shop.only("artifact missing")
    assert finding.level == "error"
    assert f"adder@1.0.0, which is in staging, needs {md5}, which is in no DVC remote" in finding.detail
    assert finding.hint == "dvc push models/adder/artifacts.dvc"
    shop.cured(finding)
    next(path for path in objects() if not path.name.endswith(".dir")).unlink()
    finding = shop.only("artifact missing")
    assert f"needs 1 of the files in {md5}" in finding.detail
    assert finding.hint
    first, _, command = finding.hint.partition("; then ")
    assert first == f"take files/md5/{md5[:2]}/{md5[2:]} away from the remote, lest DVC skip its files"
    (shop.dvc_remote / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    shop.cured(replace(finding, hint=command))
    # Of a folder that is not in the cache here, the remote itself has the list.
    shutil.rmtree(shop.root / ".dvc" / "cache")
    shop.sound()
    next(path for path in objects() if not path.name.endswith(".dir")).unlink()
    finding = shop.only("artifact missing")
    assert finding.hint and finding.hint.startswith("dvc push, where the artifact was made")


def test_the_artifact_of_an_older_version_is_pushed_by_its_tag(shop: Shop) -> None:
    (shop.adder / "artifacts" / "number.txt").write_text("6")
    dvc(shop, "add", "models/adder/artifacts")
    dvc(shop, "push")
    shop.release("1.1.0")
    shutil.rmtree(shop.dvc_remote)
    shop.dvc_remote.mkdir()
    found = [f for f in shop.examine() if f.name == "artifact missing"]
    hints = ["dvc push --all-tags models/adder/artifacts.dvc", "dvc push models/adder/artifacts.dvc"]
    assert sorted(f.hint or "" for f in found) == hints
    for finding in found:
        shop.cure(finding)
    shop.sound()


def test_only_deep_asks_for_versions_that_nobody_uses(shop: Shop) -> None:
    for version in ("1.1.0", "1.2.0"):
        (shop.adder / "artifacts" / "number.txt").write_text(version[2])
        dvc(shop, "add", "models/adder/artifacts")
        dvc(shop, "push")
        shop.release(version)
    md5 = shop.git("show", "adder@v1.1.0^{}:models/adder/artifacts.dvc").partition("md5: ")[2].split()[0]
    (shop.dvc_remote / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    shop.sound()
    finding = shop.only("artifact missing", deep=True)
    assert f"adder@1.1.0 needs {md5}" in finding.detail


def test_a_dvc_remote_that_cannot_be_reached_is_a_warning_that_names_it(shop: Shop) -> None:
    away = shop.dvc_remote.rename(shop.dvc_remote.with_name("away"))
    found = {f.name: f for f in shop.examine()}
    assert set(found) == {"dvc remote", "artifact missing"}
    assert found["dvc remote"].level == "warning"
    assert (
        f"the DVC remote 'here' cannot be asked: there is no folder {shop.dvc_remote}"
        in found["dvc remote"].detail
    )
    assert found["artifact missing"].level == "warning"
    # Another remote that has it is enough; one that does not answer is not needed then.
    dvc(shop, "remote", "add", "there", str(away))
    assert [f.name for f in shop.examine() if f.level != "ok"] == ["dvc remote"]
    dvc(shop, "remote", "default", "there")
    shop.sound()
    dvc(shop, "remote", "default", "here")
    dvc(shop, "remote", "modify", "there", "url", "ssh://nowhere.invalid/x")
    assert {f.detail.split("'")[1] for f in shop.examine() if f.name == "dvc remote"} == {"here", "there"}


def test_a_registry_without_dvc_and_one_whose_dvc_is_broken(shop: Shop) -> None:
    (shop.root / ".dvc" / "config.local").write_text("['remote \"x\"']\nnonsense = 1\n")
    finding = shop.only("contents")
    assert (finding.level, finding.hint) == ("warning", "dvc config --list")
    assert finding.detail.startswith("DVC: ")
    shutil.rmtree(shop.root / ".dvc")
    shop.sound()
    shop.tag("m@created#9")
    listed = {f["name"] for f in json.loads(shop.gitreg("doctor", "--json").stdout)}
    assert {"dvc repository", "tag breaks gto"} <= listed


def test_a_corrupt_object_on_a_remote_is_left_where_it_is(shop: Shop) -> None:
    """DVC's own way to ask a local remote deletes it."""
    place = next(p for p in (shop.dvc_remote / "files" / "md5").rglob("*") if p.is_file())
    place.chmod(0o644)
    place.write_text("corrupt")
    shop.examine(deep=True)
    assert place.read_text() == "corrupt"


# Files against tags ---------------------------------------------------------------------------------------


def test_stage_files_that_are_not_applied(shop: Shop) -> None:
    shop.release("1.1.0")
    (shop.root / "stages" / "staging.yaml").write_text("adder: 1.1.0\n")
    shop.commit()
    shop.sound()  # it is not on the branch that counts
    shop.git("push", "-q", "origin", "main")
    finding = shop.only("not applied")
    assert finding == Finding(
        "not applied",
        "warning",
        "stages/staging.yaml says adder 1.1.0, the tags say 1.0.0",
        "gitreg apply --push",
    )
    shop.git("switch", "-q", "-c", "work")
    shop.git("commit", "-q", "--allow-empty", "-m", "work")
    finding = shop.only("not applied")
    assert finding.hint == "git switch main && gitreg apply --push"
    shop.cured(finding)
    (shop.root / "stages" / "staging.yaml").write_text("# none\n{}\n")
    shop.manifest(version="1.2.0")
    shop.commit()
    shop.git("push", "-q", "origin", "main")
    details = [f.detail for f in shop.examine()]
    assert details == [
        "models/adder/model.yaml says adder 1.2.0, which no tag registers",
        "stages/staging.yaml does not have adder, the tags say 1.1.0",
    ]
    shop.cure(shop.examine()[0])
    shop.sound()


def test_files_that_cannot_be_applied_are_errors(shop: Shop) -> None:
    (shop.root / "stages" / "staging.yaml").write_text("adder: 1.0.0\nadderr: 1.0.0\n")
    shop.commit()
    shop.git("push", "-q", "origin", "main")
    finding = shop.only("not applicable")
    assert finding.level == "error"
    assert "stages/staging.yaml:2:9: adderr: there is no model 'adderr'" in finding.detail
    (shop.root / "registry.yaml").write_text("registry: [\n")
    shop.commit()
    shop.git("push", "-q", "origin", "main")
    (shop.root / "registry.yaml").write_text("registry: acme\nstages: {staging: {}, production: {}}\n")
    finding = shop.only("not applicable")
    assert finding.detail.startswith("main: registry.yaml:")


def test_what_is_missing_is_mended_before_anything_is_applied_over_it(shop: Shop) -> None:
    """A deleted registration must not be written anew, at another commit."""
    shop.sound()
    was = shop.oid("adder@v1.0.0")
    shop.git("tag", "-d", "adder@v1.0.0")
    shop.git("push", "-q", "--delete", "origin", "refs/tags/adder@v1.0.0")
    finding = shop.only("tag deleted")
    shop.cured(finding)
    assert shop.oid("adder@v1.0.0") == was


# GTO's view -----------------------------------------------------------------------------------------------


def test_gto_that_sees_a_higher_version_is_told(shop: Shop) -> None:
    shop.release("1.1.0")
    shop.tag("adder#staging#2", "adder@v1.1.0^{}", shop.time("adder@v1.1.0") + 1)
    shop.tag("adder#staging#3", "adder@v1.0.0^{}", shop.time("adder@v1.1.0") + 2)
    shop.git("push", "-q", "origin", "refs/tags/adder#staging#2", "refs/tags/adder#staging#3")
    view = gto.api.show(str(shop.root), sort=VersionSort.SemVer)
    assert view["adder"]["stage"]["staging"] == "v1.1.0"
    finding = shop.only("gto differs")
    assert finding.level == "warning"
    assert (
        "`gto show --sort semver` says that adder 1.1.0 is in staging; gitreg says 1.0.0, which was assigned last"
        in finding.detail
    )
    shop.cured(finding)
    view = gto.api.show(str(shop.root), sort=VersionSort.SemVer)
    assert view["adder"]["stage"]["staging"] == "v1.0.0"


def test_gto_that_sees_another_version_by_date_is_told(shop: Shop) -> None:
    """Of two assignments in one second GTO shows the older version, gitreg the higher counter."""
    shop.release("1.1.0")
    moment = shop.time("adder@v1.1.0") + 1
    before = shop.tag("adder#staging#2", "adder@v1.0.0^{}", moment)
    shop.tag("adder#staging#3", "adder@v1.1.0^{}", moment, f"x\n\nGitreg-Previous: {before}\n")
    (shop.root / "stages" / "staging.yaml").write_text("adder: 1.1.0\n")
    shop.manifest(version="1.2.0")
    shop.commit()
    shop.git("push", "-q", "origin", "main", "refs/tags/adder#staging#2", "refs/tags/adder#staging#3")
    assert shop.gitreg("apply", "--push").returncode == 0
    assert gto.api.show(str(shop.root))["adder"]["stage"]["staging"] == "v1.0.0"
    finding = shop.found("gto differs")
    assert "`gto show` says that adder 1.0.0 is in staging; gitreg says 1.1.0" in finding.detail
    shop.cure(finding)
    assert gto.api.show(str(shop.root))["adder"]["stage"]["staging"] == "v1.1.0"
    assert {f.name: f.level for f in shop.examine()} == {"tags": "ok", "tags in one second": "note"}


@pytest.mark.parametrize("seed", range(8))
def test_gtos_view_is_foreseen_whatever_hands_wrote(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    shop = Shop(tmp_path)
    shop.git("init", "-q", "--initial-branch=main", ".")
    for number in range(4):
        shop.git("commit", "-q", "--allow-empty", "-m", str(number))
    commits = shop.git("rev-list", "HEAD").split()
    versions = ["1.0.0", "1.1.0", "2.0.0-rc.1"]
    lines = []
    for i, version in enumerate(versions):
        lines.append((f"mo@v{version}", commits[i], 100 + chance.randrange(5)))
    for counter in range(1, 13):
        i = chance.randrange(4 if counter > 9 else 3)
        bang = chance.choice(["", "", "!"])
        what = f"#{chance.choice(['dev', 'prod'])}{bang}"
        if chance.random() < 0.15 and i < 3:
            what = f"@v{versions[i]}{bang}"
        lines.append((f"mo{what}#{counter}", commits[i], 102 + chance.randrange(20)))
    for name, commit, moment in lines:
        shop.tag(name, commit, moment)
    known = by_model(refs.tags(tmp_path)[0])["mo"]
    foreseen = own_gto.shown(known)
    for sort, which in ((VersionSort.Timestamp, 0), (VersionSort.SemVer, 1)):
        try:
            shown = gto.api.show(str(tmp_path), sort=sort)["mo"]["stage"]
        except GTOException as error:
            raise AssertionError(f"GTO: {error}: {lines}") from error
        for stage, version in shown.items():
            if version and version.startswith("v"):
                assert foreseen[stage][which] == version[1:], (stage, sort, lines)
            elif version is None:
                assert stage not in foreseen, (stage, sort, lines)


# Leftovers ------------------------------------------------------------------------------------------------


def test_what_dead_processes_left(shop: Shop) -> None:
    git_folder = shop.root / ".git"
    lock = git_folder / "refs" / "tags" / "adder#production#2.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    fresh = git_folder / "refs" / "heads" / "x.lock"
    fresh.touch()
    packed = git_folder / "packed-refs.lock"
    packed.touch()
    old = time.time() - 2 * HOUR
    for path in (lock, packed):
        os.utime(path, (old, old))
    dead = git_folder / "gitreg" / ".gitreg-aside-dead"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    ok, *notes = shop.examine()
    assert ok.level == "ok"
    assert {(f.name, f.level) for f in notes} == {("leftover", "note")}
    assert {f.detail.split(" is left ")[0] for f in notes} == {str(lock), str(packed), str(dead)}
    for finding in notes:
        shop.cure(finding)
    shop.sound()
    assert fresh.exists()


def test_a_scratch_folder_in_use_is_no_leftover(shop: Shop) -> None:
    with Registry(shop.root).scratch():
        shop.sound()


def test_branches_that_were_merged(shop: Shop) -> None:
    assert shop.gitreg("promote", "adder", "production").returncode == 0
    shop.sound()
    shop.git("merge", "-q", "--ff-only", "promote/adder-1.0.0-production")
    shop.sound()
    shop.git("push", "-q", "origin", "main")
    assert shop.gitreg("apply", "--push").returncode == 0
    finding = shop.only("leftover")
    assert finding == Finding(
        "leftover",
        "note",
        "the branch promote/adder-1.0.0-production is merged into main",
        "git branch -D promote/adder-1.0.0-production",
    )
    shop.cured(finding)


# The command ----------------------------------------------------------------------------------------------


def test_the_command_exits_with_1_for_an_error_and_says_what_helps(shop: Shop) -> None:
    shop.tag("m@created#9")
    done = shop.gitreg("doctor")
    assert done.returncode == 1
    assert "hint: tag breaks gto: git tag -d 'm@created#9'\n" in done.stdout
    assert "`gto show` fails for everybody" in done.stdout
    shop.cure(shop.only("tag breaks gto"))
    done = shop.gitreg("doctor", "--deep", "--remote", "origin")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^tags +ok +2 tags of 1 model$", done.stdout, re.MULTILINE)


def test_many_findings_of_a_kind_are_summed_up_for_people_only(shop: Shop) -> None:
    lines = "".join(f"create refs/tags/x@{i} {shop.git('rev-parse', 'HEAD')}\n" for i in range(1, 31))
    run("git", "update-ref", "--stdin", cwd=shop.root, input=lines)
    done = shop.gitreg("doctor")
    assert done.stdout.count("hint: tag unparsable: if it was a mistake: git tag -d x@") == 3
    assert "tag unparsable: 27 more; gitreg doctor --json lists them all\n" in done.stdout
    listed = json.loads(shop.gitreg("doctor", "--json").stdout)
    assert len([f for f in listed if f["name"] == "tag unparsable"]) == 30
