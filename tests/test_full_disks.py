"""A disk that is full, or may not be written: every command says which place, and exits with 4."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitreg import Registry
from gitreg.cli import main
from tests.support import Workshop, mounted, run

VERBS = [
    "check adder",
    "build -o dist",
    "predict adder",
    "pull adder -o out",
    "site build -o public",
    "init another",
    "new fresh --from {trained} --type custom --description d",
    "promote adder staging",
]
FINE = ("check", "list", "show adder", "history adder", "search")


def fill(disk: Path) -> None:
    """Leave no room on a disk."""
    file = os.open(disk / "all", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space"):
        while os.write(file, bytes(4096)):
            pass
    os.close(file)


@pytest.fixture
def applied(workshop: Workshop, tmp_path: Path) -> Workshop:
    shutil.copytree(workshop.adder / "artifacts", tmp_path / "trained")
    assert workshop.gitreg("apply").returncode == 0
    return workshop


@pytest.fixture(params=["full", "read-only"])
def poor(request: pytest.FixtureRequest, applied: Workshop, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A registry on a disk that is full or read-only; and what the system says of it."""
    disk = tmp_path / "disk"
    with mounted(disk, "size=4m"):
        shutil.copytree(applied.root, disk / "registry", symlinks=True)
        if request.param == "full":
            fill(disk)
        else:
            run("mount", "-o", "remount,ro", disk, cwd=tmp_path)
        yield disk / "registry", "no space left on" if request.param == "full" else "read-only file system"


@pytest.mark.parametrize("verb", VERBS)
def test_a_command_that_cannot_write_says_where_and_exits_with_4(
    poor: tuple[Path, str],
    verb: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    root, why = poor
    monkeypatch.chdir(root)
    code = main(verb.format(trained=tmp_path / "trained").split())
    said = capfd.readouterr().err
    assert code == 4, said
    assert why in said.lower() and str(root) in said and "hint: " in said, said


def test_what_writes_nothing_works(
    poor: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root, _ = poor
    monkeypatch.chdir(root)
    for verb in FINE:
        assert main(verb.split()) == 0, capfd.readouterr().err


def test_check_tells_the_other_models_too(applied: Workshop, tmp_path: Path) -> None:
    """A disk that is full is no fault of the files; what is wrong with those is told all the same."""
    with mounted(tmp_path / "disk", "size=4m"):
        root = tmp_path / "disk" / "registry"
        shutil.copytree(applied.root, root, symlinks=True)
        (root / "models" / "broken").mkdir()
        (root / "models" / "broken" / "model.yaml").write_text("name: broken\n")
        fill(tmp_path / "disk")
        report = Registry(root).check(["adder", "broken"], run=True)
        assert report.exit_code == 1 and report.outside and report.hints
        assert {one.file for one in report.problems} >= {
            "models/adder/model.yaml",
            "models/broken/model.yaml",
        }
        assert os.statvfs(root).f_bavail == 0
