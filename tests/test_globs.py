"""Patterns of `models:`: the same paths as pathlib and fnmatch find, and no pattern that takes for ever."""

from __future__ import annotations

import fnmatch
import itertools
import random
import time
from pathlib import Path

import pytest

from gitreg.file_search import matching
from gitreg.globs import Glob
from tests.support import Workshop, run

NAMES = ("a", "b", "ab", "ba.yaml", "model.yaml")
PARTS = ("*", "**", "a", "a*", "*b*", "?", "[ab]", "[!a]*", "model.yaml", "*.yaml", "[z-a]", "[")


def tree(root: Path, depth: int = 3) -> list[str]:
    """Every path of some folders and files, hidden ones among them."""
    paths = []
    for count in range(1, depth + 1):
        for names in itertools.product(("a", "b", ".git"), repeat=count - 1):
            folder = root.joinpath(*names)
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("model.yaml", "ab", "[", ".hidden"):
                (folder / name).touch()
            paths += [f"{'/'.join(names)}/{name}".lstrip("/") for name in ("model.yaml", "ab", "[")]
    return [path for path in paths if ".git" not in path]


def patterns() -> list[str]:
    chance = random.Random(7)
    return ["/".join(chance.choices(PARTS, k=chance.randint(1, 5))) for _ in range(300)]


@pytest.mark.parametrize(
    "text", ["models/*/model.yaml", "**/model.yaml", "./models/**/**/*.yaml", *patterns()]
)
def test_a_pattern_finds_what_pathlib_finds(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.getbasetemp() / "globbed"
    known = tree(root) if not root.exists() else []
    found = sorted(path for path in matching(root, Glob(text)) if (root / path).is_file())
    wanted = {path.relative_to(root).as_posix() for path in root.glob(text) if path.is_file()}
    if not text.endswith("**"):  # pathlib's finds folders alone
        assert found == sorted(p for p in wanted if not any(part.startswith(".") for part in p.split("/")))
    for path in known:
        assert Glob(text).match(path) == (path in found)


@pytest.mark.parametrize("text", patterns())
def test_both_ways_to_match_agree(text: str) -> None:
    one, other = Glob(text), Glob(text)
    other.__dict__["_quick"] = None
    for path in map("/".join, itertools.product(NAMES, repeat=3)):
        assert one.match(path) == other.match(path), path


def test_within_a_name_a_pattern_is_that_of_fnmatch() -> None:
    for part, name in itertools.product(PARTS, (*NAMES, "[", "zz", "[[", "a[", "a[b")):
        if part != "**":
            assert Glob(part).match(name) == fnmatch.fnmatchcase(name, part), (part, name)


class Counting(Glob):
    """Counts the folders that a search looks into."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.looks = 0

    def names(self, places: set[int]) -> set[str] | None:
        self.looks += 1
        return super().names(places)


@pytest.mark.parametrize(
    "text",
    [
        "**/" * 14 + "x.yaml",
        "**/a/" * 14 + "x.yaml",
        "**/*/" * 14 + "x.yaml",
        "*/" * 14 + "x.yaml",
        "**/*a*a*a*a*a*a*a*a*a*a*b",
    ],
)
def test_no_pattern_looks_into_a_folder_twice(text: str, tmp_path: Path) -> None:
    tmp_path.joinpath(*["a"] * 14).mkdir(parents=True)
    tmp_path.joinpath(*["a"] * 6, *["b"] * 6).mkdir(parents=True)
    glob = Counting(text)
    list(matching(tmp_path, glob))
    assert glob.looks <= 21


@pytest.mark.parametrize(
    "text", ["**/a/" * 40 + "x", "**/*/" * 40 + "x", "*a" * 60 + "x", "**/" + "a*" * 60 + "/x"]
)
def test_no_path_takes_a_pattern_for_ever(text: str) -> None:
    glob, began = Glob(text), time.process_time()
    assert not glob.match("a/" * 60 + "y") and not glob.match("a" * 255) and not glob.match("a" * 255 + "/y")
    assert time.process_time() - began < 5, "the old pattern would still run"


@pytest.mark.parametrize(
    "text", ["[" * 50_000, "[]" * 25_000, "[!" * 25_000, "a]" + "[" * 50_000, "[a-" * 20_000]
)
def test_no_pattern_takes_for_ever_to_be_read(text: str) -> None:
    glob, began = Glob(f"{text}/x"), time.process_time()
    assert not glob.match("y/x")
    assert time.process_time() - began < 5, "looking for each `]` up to the end would still run"


def test_a_folder_fifteen_hundred_deep_is_no_recursion(tmp_path: Path) -> None:
    run("mkdir", "-p", "/".join("a" * 1500), cwd=tmp_path)
    try:
        assert list(matching(tmp_path, Glob("**/x.yaml"))) == []
    finally:
        run("rm", "-rf", "a", cwd=tmp_path)  # which pytest's own way to remove folders cannot


def test_nothing_is_searched_for_behind_links_and_what_is_named_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "real" / "m").mkdir(parents=True)
    (tmp_path / "real" / "m" / "model.yaml").touch()
    for name in ("link", "again", "more"):
        (tmp_path / name).symlink_to(".")
    (tmp_path / "real" / "far").symlink_to("m")
    assert sorted(matching(tmp_path, Glob("real/*/model.yaml"))) == [
        "real/far/model.yaml",
        "real/m/model.yaml",
    ]
    assert list(matching(tmp_path, Glob("**/model.yaml"))) == ["real/m/model.yaml"]
    assert list(matching(tmp_path, Glob("*/m/model.yaml"))) == ["real/m/model.yaml"]
    assert list(matching(tmp_path, Glob("link/real/m/model.yaml"))) == ["link/real/m/model.yaml"]
    assert list(matching(tmp_path, Glob("link/*/m/model.yaml"))) == ["link"], (
        "and reading it says that it is a link"
    )
    endless = Counting("*/*/*/*/*/*/*/*/*/model.yaml")
    assert list(matching(tmp_path, endless)) == [] and endless.looks == 3


@pytest.mark.parametrize("text", [".", "./", "./.", "/models/*", "models/../x", "models/\\0/x"])
def test_what_is_no_pattern_is_an_error_at_its_line(text: str, workshop: Workshop) -> None:
    file = workshop.root / "registry.yaml"
    file.write_text(
        file.read_text().replace("models/*/model.yaml", "").rstrip("\n") + f'\nmodels: "{text}"\n'
    )
    lines = [line for line in file.read_text().splitlines() if line.strip() != "models:"]
    file.write_text("\n".join(lines) + "\n")
    for verb in (("check",), ("plan",), ("list",)):
        done = workshop.gitreg(*verb)
        assert done.returncode in (0, 1), done.stderr
    assert "is not a glob" in workshop.gitreg("check").stdout + workshop.gitreg("check").stderr
