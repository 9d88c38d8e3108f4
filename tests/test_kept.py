"""What gitreg keeps, in the cache and in `.git/gitreg`, after something else came into the place of it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gitreg import Registry, load_model, memo
from gitreg.errors import Outside
from gitreg.virtualenvs import Environments, Unreachable
from tests.support import Workshop
from tests.upstream import LOAD, Upstream

LINKS = ("link to a folder", "link to a file", "link to nothing", "link to itself", "link to what was there")
TOPS = ("clones", "artifacts", "packages", "versions", "locks")
ENTRIES = ("clones/*.git", "clones/*.lock", "artifacts/*", "packages/*", "versions/*.json", "locks/*.lock")


def replace(place: Path, what: str, outside: Path) -> dict[str, str]:
    """Put something else into a place; what lies outside of it then."""
    outside.mkdir()
    (outside / "folder").mkdir()
    (outside / "folder" / "mine").write_text("mine")
    (outside / "file").write_text("mine")
    moved = outside / "moved"
    place.rename(moved)
    targets = {
        "link to a folder": outside / "folder",
        "link to a file": outside / "file",
        "link to nothing": outside / "nothing",
        "link to itself": place,
        "link to what was there": moved,
    }
    if what in targets:
        place.symlink_to(targets[what])
    elif what == "file":
        place.write_text("mine")
    elif what == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    return everything(outside)


def everything(folder: Path) -> dict[str, str]:
    """Sizes and times of all files below a folder."""
    found = {}
    for path in folder.rglob("*"):
        said = path.lstat()
        kept = (said.st_size, said.st_mtime_ns) if stat.S_ISREG(said.st_mode) else ()
        found[str(path.relative_to(folder))] = f"{stat.S_IFMT(said.st_mode)} {kept}"
    return found


def answer(up: Upstream) -> list[int]:
    return list(load_model("models:/adder/production", registry=up.url).predict([1, 2])["y"])


def entry(up: Upstream, pattern: str) -> Path:
    return next(iter(sorted(up.cache.glob(pattern))))


@pytest.mark.parametrize("what", LINKS)
@pytest.mark.parametrize("name", [*TOPS, *ENTRIES])
def test_a_link_in_the_cache_is_removed_and_never_followed(
    up: Upstream, tmp_path: Path, name: str, what: str
) -> None:
    assert answer(up) == [6, 7]
    place = entry(up, name)
    kind = stat.S_IFMT(place.stat().st_mode)
    before = replace(place, what, tmp_path / "outside")
    if name.startswith(("artifacts", "locks")):  # or it is not looked at
        shutil.rmtree(up.cache / "versions")
    assert answer(up) == [6, 7]
    assert stat.S_IFMT(place.lstat().st_mode) == kind
    assert everything(tmp_path / "outside") == before


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (name, what)
        for name in (*TOPS, *ENTRIES)
        for what in ("pipe", "folder" if name.endswith((".lock", ".json")) else "file")
    ],
)
def test_what_is_no_link_stays_and_the_error_says_what_to_do(
    up: Upstream, tmp_path: Path, name: str, what: str
) -> None:
    assert answer(up) == [6, 7]
    place = entry(up, name)
    assert what == "pipe" or place.is_dir() is (what == "file"), "something else is put there"
    before = replace(place, what, tmp_path / "outside")
    if name.startswith(("artifacts", "locks")):
        shutil.rmtree(up.cache / "versions")
    with pytest.raises(Outside, match="gitreg keeps a") as error:
        answer(up)
    assert str(place) in error.value.message and f"move {place} away" == error.value.hint
    assert everything(tmp_path / "outside") == before and os.path.lexists(place)


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root enters everywhere")
def test_a_closed_folder_or_file_is_opened_by_its_owner(up: Upstream) -> None:
    assert answer(up) == [6, 7]
    own = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*own, sys.executable, "-c", LOAD, "models:/adder/production", up.url]
    for names in (
        ["clones", "packages", "versions"],
        ["clones/*.lock", "versions/*.json"],
        [*TOPS, *ENTRIES],
    ):
        places = [entry(up, name) for name in names]
        if "locks" in names:
            shutil.rmtree(up.cache / "versions")
        places = [place for place in places if place.exists()]
        for place in reversed(places):
            place.chmod(0)
        done = subprocess.run(command, cwd=up.place, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "[6 7]\n"), done.stderr
        assert all(place.lstat().st_mode & 0o400 for place in places)


@pytest.mark.parametrize("what", ["file", "link to nothing", "link to itself"])
def test_the_cache_itself_is_the_users(
    up: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    place = tmp_path / "cache"
    if what == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path / "nothing" if "nothing" in what else place)
    monkeypatch.setenv("GITREG_CACHE", str(place))
    with pytest.raises(Outside, match=f"the cache {place}: is no folder"):
        answer(up)
    assert os.path.lexists(place) and not (tmp_path / "nothing").exists()


def test_clearing_the_cache_removes_links_and_not_what_they_lead_to(up: Upstream, tmp_path: Path) -> None:
    assert answer(up) == [6, 7]
    before = replace(up.cache / "packages", "link to what was there", tmp_path / "outside")
    (up.cache / "clones" / "x.git").symlink_to(tmp_path / "outside" / "folder")
    entry(up, "artifacts/*").chmod(0)
    done = Workshop(up.place).gitreg("cache", "clear")
    assert done.returncode == 0, done.stderr
    assert everything(tmp_path / "outside") == before
    assert not [path for path in up.cache.glob("*/*") if path.suffix != ".lock"]


@pytest.mark.parametrize("what", LINKS)
def test_a_link_in_the_place_of_git_gitreg_is_removed(workshop: Workshop, tmp_path: Path, what: str) -> None:
    assert workshop.gitreg("check").returncode == 0
    place = workshop.root / ".git" / "gitreg"
    before = replace(place, what, tmp_path / "outside")
    for command in (["check"], ["list"], ["apply"], ["build", "-o", tmp_path / "dist"]):
        done = workshop.gitreg(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert everything(tmp_path / "outside") == before
    assert place.is_dir() and not place.is_symlink()


@pytest.mark.parametrize("what", ["link to a file", "link to nothing", "link to itself"])
def test_links_in_git_gitreg_are_removed(workshop: Workshop, tmp_path: Path, what: str) -> None:
    assert workshop.gitreg("apply").returncode == 0 and workshop.gitreg("list").returncode == 0
    place = workshop.root / ".git" / "gitreg"
    outside = tmp_path / "outside"
    outside.mkdir()
    sqlite3.connect(outside / "file").execute("CREATE TABLE mine (x)")
    names = {"memo.sqlite", "memo.sqlite-wal", "index.sqlite", "index.lock", "lock", "transaction", "aside"}
    for name in names | {"index-lock"}:
        (place / name).unlink(missing_ok=True)
        (place / name).symlink_to({"link to a file": outside / "file"}.get(what, outside / name))
        if what == "link to itself":
            (place / name).unlink()
            (place / name).symlink_to(place / name)
    before = everything(outside)
    workshop.manifest(version="1.0.1")
    workshop.commit("again")
    for command in (["check"], ["apply"], ["list"], ["promote", "adder", "staging", "--apply"]):
        done = workshop.gitreg(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert everything(outside) == before
    assert not [path for path in place.iterdir() if path.is_symlink()]


def test_a_file_in_the_place_of_git_gitreg_stays(workshop: Workshop, tmp_path: Path) -> None:
    place = workshop.root / ".git" / "gitreg"
    shutil.rmtree(place, ignore_errors=True)
    place.write_text("mine")
    for command in (["check"], ["apply"], ["build", "-o", tmp_path / "dist"]):
        done = workshop.gitreg(*command)
        assert done.returncode == 4, done.stdout + done.stderr
        assert f"{place} is not a folder" in done.stderr and f"hint: move {place} away" in done.stderr
    assert place.read_text() == "mine"


def test_a_memory_that_is_a_link_is_another_one(tmp_path: Path) -> None:
    """Not even where it leads to a database."""
    (tmp_path / "other").mkdir()
    sqlite3.connect(tmp_path / "other" / "db").execute("CREATE TABLE mine (x)")
    before = everything(tmp_path / "other")
    (tmp_path / "gitreg").mkdir()
    (tmp_path / "gitreg" / "memo.sqlite").symlink_to(tmp_path / "other" / "db")
    one = memo.Memo(tmp_path / "gitreg", "1")
    one.remember("kind", {"key": ({}, 1)})
    assert one.recall("kind") == {"key": 1} and everything(tmp_path / "other") == before


def test_a_registry_is_read_where_its_folder_is_no_folder(workshop: Workshop) -> None:
    assert workshop.gitreg("apply").returncode == 0
    place = workshop.root / ".git" / "gitreg"
    shutil.rmtree(place)
    place.write_text("mine")
    assert [one.name for one in Registry(workshop.root).models()] == ["adder"]


@pytest.mark.parametrize("what", ["believed", *LINKS[:4]])
def test_a_link_in_the_place_of_an_environment_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("GITREG_CACHE", str(tmp_path / "cache"))
    made = Environments("own", offline=True)
    home = tmp_path / "cache" / "environments" / made.digest(["numpy"])
    home.mkdir(parents=True)
    if what == "believed":  # all that is looked at, but for the link
        (home / "x").mkdir()
        (home / "x" / "python").symlink_to(sys.executable)
        said = {"layout": 1, "folder": "x", "executable": str(home / "x" / "python"), "keep": [], "by": "uv"}
        (home / "complete").write_text(json.dumps(said))
        with made.of("adder", ["numpy"]) as python:
            assert python.executable == str(home / "x" / "python")
        what = "link to what was there"
    before = replace(home, what, tmp_path / "outside")
    with pytest.raises(Unreachable, match="offline"), made.of("adder", ["numpy"]):
        pass
    assert everything(tmp_path / "outside") == before and not os.path.lexists(home)
