"""Folders thousands deep, and paths longer than the system opens: removed, walked, and refused with a reason."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitreg import detection, folders, safewrite, trees
from gitreg.errors import Refused
from tests.support import Workshop

DEEP = 3000


@pytest.fixture(autouse=True)
def cleared(tmp_path: Path) -> Iterator[None]:
    """Pytest removes what tests leave, and recurses to do so."""
    yield
    for one in tmp_path.iterdir():
        if one.is_dir() and not one.is_symlink():
            trees.remove(one)


def deep(place: Path, depth: int = DEEP, name: str = "d") -> Path:
    """A folder with folders in each other, a file in the last of them, and a link out of it."""
    place.mkdir()
    here = os.open(place, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.symlink(place.parent, "link", dir_fd=here)
    os.close(here)
    return place


@pytest.mark.parametrize(("depth", "name"), [(DEEP, "d"), (200, "d" * 100), (20, "d" * 255)])
def test_a_tree_of_any_depth_is_removed_and_nothing_behind_its_links(
    depth: int, name: str, tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("kept")
    place = deep(tmp_path / "tree", depth, name)
    (place / "beside").write_text("")
    trees.remove(place)
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]


def test_a_wide_tree_with_deep_ones_in_it_is_removed(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    for i in range(5):
        deep(tmp_path / "top" / str(i), 300)
    safewrite.remove(tmp_path, "top")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no way to it without its name")
def test_folders_that_are_closed_to_their_owner_are_opened_and_removed(tmp_path: Path) -> None:
    place = tmp_path / "tree"
    (place / "a" / "b").mkdir(parents=True)
    (place / "a" / "b" / "file").write_text("")
    for one in (place / "a" / "b", place / "a", place):
        one.chmod(0)
    trees.remove(place)
    assert not place.exists()


def test_a_link_is_not_followed_and_what_is_not_there_is_told_or_left(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    with pytest.raises(OSError):
        trees.remove(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        trees.remove(tmp_path / "none")
    trees.remove(tmp_path / "none", ignore_errors=True)
    assert (tmp_path / "kept").is_dir()


def test_a_folder_that_is_built_aside_is_gone_whatever_was_made_in_it(tmp_path: Path) -> None:
    with folders.aside(tmp_path) as new:
        deep(new / "tree")
    assert not list(tmp_path.iterdir())
    new = deep(tmp_path / "new", 1500)
    old = deep(tmp_path / "old", 1500)
    folders.put(new, old)
    assert [one.name for one in tmp_path.iterdir()] == ["old"]


def test_a_tree_is_walked_without_recursion_and_what_is_too_long_is_told(tmp_path: Path) -> None:
    place = deep(tmp_path / "tree", 1500)
    assert sum(1 for _ in trees.walk(place)) == 1501
    with pytest.raises(Refused, match="neither a file nor a folder"):
        folders.tree_files(place)
    refused: list[OSError] = []
    long = deep(tmp_path / "long", 40, "d" * 200)
    walked = sum(1 for _ in trees.walk(long, refused.append))
    assert 10 < walked < 40 and len(refused) == 1


def test_inspect_says_what_it_could_not_look_at(tmp_path: Path) -> None:
    seen = detection.inspect(deep(tmp_path / "long", 40, "d" * 200), "long")
    assert seen.runs_code
    assert [one.warnings for one in seen.inside] == [["a folder that cannot be read: File name too long"]]


def test_a_source_that_is_too_deep_is_refused_by_new(workshop: Workshop, tmp_path: Path) -> None:
    deep(tmp_path / "long", 40, "d" * 200)
    done = workshop.gitreg("new", "fresh", "--from", tmp_path / "long")
    assert done.returncode == 1, done.stderr
    assert "its path is longer than this machine can open" in done.stderr
    assert not (workshop.root / "models" / "fresh").exists()


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "d/" * 1000 + "\udcff"])
def test_a_source_whose_name_no_system_has_does_not_exist(name: str, workshop: Workshop) -> None:
    done = workshop.gitreg("new", "fresh", "--from", name)
    assert done.returncode == 1, done.stderr
    assert "does not exist" in done.stderr


def test_an_artifact_with_names_that_no_system_has_is_refused_wherever_it_is_laid_out(
    workshop: Workshop,
) -> None:
    md5 = hashlib.md5(b"5", usedforsecurity=False).hexdigest()
    for name in ("a" * 300, "a/" * 2500 + "a"):
        raw = json.dumps([{"md5": md5, "relpath": name}]).encode()
        oid = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        place = workshop.root / ".dvc" / "cache" / "files" / "md5" / oid[:2] / f"{oid[2:]}.dir"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(raw)
        pointer = f"outs:\n- md5: {oid}.dir\n  size: 1\n  nfiles: 1\n  hash: md5\n  path: artifacts\n"
        (workshop.adder / "artifacts.dvc").write_text(pointer)
        done = workshop.gitreg("build", "adder", "-o", workshop.root.parent / "dist")
        assert done.returncode == 1, done.stderr
        assert "File name too long" in done.stderr or "is not a path" in done.stderr
