"""The memory of earlier work: it may forget at any time, and never tells what is not so."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gitreg.memo import Memo, stamp, stamps
from tests.support import Workshop

LONG_AGO = 1_700_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was last changed long ago."""
    return written(tmp_path / "file", "one")


def written(file: Path, text: str, when: int = LONG_AGO) -> Path:
    file.write_text(text)
    os.utime(file, (when, when))
    return file


def remembered(folder: Path, *files: Path, outcome: Any = "done") -> Memo:
    memo = Memo(folder, "1")
    memo.remember("check", {"key": (stamps(files), outcome)})
    assert memo.recall("check") == {"key": outcome}
    return memo


def test_an_outcome_is_remembered_across_processes(tmp_path: Path, file: Path) -> None:
    remembered(tmp_path, file, outcome={"deep": [1, None, "é"]}).close()
    again = Memo(tmp_path, "1")
    assert again.recall("check") == {"key": {"deep": [1, None, "é"]}}
    assert again.recall_one("check", "key") == {"deep": [1, None, "é"]}


def test_what_is_unknown_is_nothing(tmp_path: Path, file: Path) -> None:
    memo = remembered(tmp_path, file)
    assert memo.recall("other") == {}
    assert memo.recall_one("check", "other") is None


def test_a_change_of_content_is_noticed(tmp_path: Path, file: Path) -> None:
    memo = remembered(tmp_path, file)
    written(file, "other")
    assert memo.recall("check") == {}
    assert memo.recall_one("check", "key") is None


def test_a_change_of_time_alone_is_noticed(tmp_path: Path, file: Path) -> None:
    memo = remembered(tmp_path, file)
    os.utime(file, (LONG_AGO, LONG_AGO + 1))
    assert memo.recall("check") == {}


def test_another_file_of_the_same_size_and_time_is_noticed(tmp_path: Path, file: Path) -> None:
    memo = remembered(tmp_path, file)
    written(tmp_path / "new", "two").replace(file)
    assert memo.recall("check") == {}


def test_a_deleted_file_is_noticed(tmp_path: Path, file: Path) -> None:
    memo = remembered(tmp_path, file)
    file.unlink()
    assert memo.recall("check") == {}


def test_a_file_that_appears_is_noticed(tmp_path: Path, file: Path) -> None:
    memo = remembered(tmp_path, file, tmp_path / "absent")
    written(tmp_path / "absent", "")
    assert memo.recall("check") == {}


def test_a_file_that_appears_in_a_folder_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.utime(folder, (LONG_AGO, LONG_AGO))
    memo = remembered(tmp_path, folder)
    (folder / "new.py").touch()
    assert memo.recall("check") == {}


def test_one_of_two_files_is_enough_to_forget(tmp_path: Path, file: Path) -> None:
    other = written(tmp_path / "other", "x")
    memo = remembered(tmp_path, file, other)
    written(other, "xy")
    assert memo.recall("check") == {}


def test_another_version_knows_nothing_and_takes_over(tmp_path: Path, file: Path) -> None:
    remembered(tmp_path, file)
    newer = Memo(tmp_path, "2")
    assert newer.recall("check") == {}
    newer.remember("check", {"key": (stamps([file]), "newer")})
    assert newer.recall("check") == {"key": "newer"}
    assert Memo(tmp_path, "1").recall("check") == {}


def test_a_file_that_was_changed_just_now_is_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "file"
    memo = Memo(tmp_path, "1")
    for _ in range(5):
        file.write_text("x")
        memo.remember("check", {"key": (stamps([file]), "early")})
        assert memo.recall("check") == {}


def test_without_a_folder_nothing_is_remembered(file: Path) -> None:
    memo = Memo(None, "1")
    memo.remember("check", {"key": (stamps([file]), "x")})
    assert memo.recall("check") == {}
    assert memo.recall_one("check", "key") is None


def test_the_memory_can_be_deleted_at_any_time(tmp_path: Path, file: Path) -> None:
    remembered(tmp_path / "memory", file).close()
    for left in (tmp_path / "memory").iterdir():
        left.unlink()
    (tmp_path / "memory").rmdir()
    remembered(tmp_path / "memory", file)


@pytest.mark.parametrize("first", ["recall", "recall_one", "remember"])
@pytest.mark.parametrize("damage", ["garbage", "half", "middle", "empty", "other table"])
def test_a_broken_memory_is_rebuilt_silently(tmp_path: Path, file: Path, damage: str, first: str) -> None:
    remembered(tmp_path, file, outcome="x" * 100_000).close()
    database = tmp_path / "memo.sqlite"
    raw = database.read_bytes()
    if damage == "other table":
        database.unlink()
        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE memo (something TEXT)")
        connection.close()
    else:
        kept = {"garbage": b"garbage" * 999, "half": raw[: len(raw) // 2], "empty": b""}
        database.write_bytes(kept.get(damage, raw[:4096] + b"\xff" * 8192 + raw[12288:]))
    memo = Memo(tmp_path, "1")
    if first == "recall":
        assert memo.recall("check") == {}
    elif first == "recall_one":
        assert memo.recall_one("check", "key") is None
    outcome = {"key": (stamps([file]), "new")}
    memo.remember("check", outcome)
    memo.remember("check", outcome)
    assert Memo(tmp_path, "1").recall("check") == {"key": "new"}


def test_a_memory_that_cannot_be_opened_is_empty(tmp_path: Path, file: Path) -> None:
    (tmp_path / "memo.sqlite").mkdir()
    memo = Memo(tmp_path, "1")
    assert memo.recall("check") == {}
    memo.remember("check", {"key": (stamps([file]), "x")})
    assert memo.recall_one("check", "key") is None


def test_a_folder_that_cannot_be_made_is_no_memory(file: Path) -> None:
    memo = Memo(file / "below", "1")
    memo.remember("check", {"key": (stamps([file]), "x")})
    assert memo.recall("check") == {}


WRITER = """
import sys
from gitreg.memo import Memo, stamps
memo = Memo(__import__("pathlib").Path(sys.argv[1]), "1")
for i in range(20):
    memo.remember("check", {f"{sys.argv[2]}-{i}": (stamps([sys.argv[3]]), i)})
    memo.recall("check")
"""


@pytest.mark.parametrize("before", [None, b"garbage" * 999])
def test_many_processes_share_one_memory(tmp_path: Path, file: Path, before: bytes | None) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    if before:
        (folder / "memo.sqlite").write_bytes(before)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, folder, str(n), file], stderr=subprocess.PIPE, text=True
        )
        for n in range(6)
    ]
    assert [(w.communicate()[1], w.returncode) for w in writers] == [("", 0)] * 6
    found = Memo(folder, "1").recall("check")
    if before is None:
        assert found == {f"{n}-{i}": i for n in range(6) for i in range(20)}
    else:
        assert set(found) <= {f"{n}-{i}" for n in range(6) for i in range(20)}


def test_the_stamp_of_nothing_is_none(tmp_path: Path) -> None:
    assert stamp(tmp_path / "absent") is None


def test_a_copied_registry_does_not_believe_what_was_found_in_the_original(workshop: Workshop) -> None:
    assert workshop.gitreg("check").returncode == 0
    copy = workshop.root.with_name("copy")
    shutil.copytree(workshop.root, copy, symlinks=True)
    (copy / "models" / "adder" / "model.yaml").write_text("name: adder\ntype: nonsense\n")
    assert Workshop(copy).gitreg("check").returncode == 1
