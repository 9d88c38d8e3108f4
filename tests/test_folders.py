"""Folders that appear whole or not at all, on real file systems."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gitreg import folders
from gitreg.errors import Outside, Refused


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_put_appears_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    with folders.aside(tmp_path) as new:
        folders.write(new / "package" / "deep" / "a.txt", b"a")
        assert not (tmp_path / "package").exists()
        folders.put(new / "package", tmp_path / "out" / "package")
    assert everything(tmp_path) == ["out", "out/package", "out/package/deep", "out/package/deep/a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_what_fails_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), folders.aside(tmp_path / "dist") as new:
        folders.write(new / "package" / "a.txt", b"a")
        raise error
    assert everything(tmp_path) == ["dist"]


def test_a_folder_that_stands_there_is_exchanged(tmp_path: Path) -> None:
    folders.write(tmp_path / "package" / "old.txt", b"old")
    with folders.aside(tmp_path) as new:
        folders.write(new / "package" / "new.txt", b"new")
        folders.put(new / "package", tmp_path / "package")
    assert everything(tmp_path) == ["package", "package/new.txt"]


def test_a_reader_of_the_old_folder_never_misses_it(tmp_path: Path) -> None:
    folders.write(tmp_path / "package" / "version", b"0")
    watch = "import sys, os\nprint(flush=True)\nwhile os.path.exists(sys.argv[2]):\n    open(sys.argv[1]).read()\n"
    (tmp_path / "running").touch()
    command = [sys.executable, "-c", watch, tmp_path / "package" / "version", tmp_path / "running"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout and watcher.stderr
        watcher.stdout.readline()
        for i in range(50):
            with folders.aside(tmp_path) as new:
                folders.write(new / "package" / "version", b"%d" % i)
                folders.put(new / "package", tmp_path / "package")
        (tmp_path / "running").unlink()
        assert watcher.stderr.read() == ""
    assert (tmp_path / "package" / "version").read_text() == "49"


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    with folders.aside(tmp_path) as new:
        folders.write(new / "package" / "a", b"")
        folders.put(new / "package", tmp_path / "package")
    assert everything(tmp_path) == ["package", "package/a"]


def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    for share in (True, False):
        folders.link(source, tmp_path / f"link-{share}", share)
        assert mode(tmp_path / f"link-{share}") == 0o444
    folders.write(tmp_path / "file", b"x")
    assert mode(tmp_path / "file") == 0o644


def test_nobody_else_sees_into_a_folder_under_construction(tmp_path: Path, umask: int) -> None:
    with folders.aside(tmp_path) as new:
        assert mode(new.parent) == 0o700


def shares(one: Path, other: Path) -> bool:
    return one.stat().st_ino == other.stat().st_ino


def test_a_writable_source_is_never_linked(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"mine")
    folders.link(source, tmp_path / "target", share=True)
    assert not shares(source, tmp_path / "target")
    source.write_bytes(b"changed")
    assert (tmp_path / "target").read_bytes() == b"mine"


def test_a_read_only_source_is_shared_and_stays_read_only(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    source.write_bytes(b"cached")
    source.chmod(0o444)
    folders.link(source, target, share=True)
    assert target.read_bytes() == b"cached"
    assert (mode(source), mode(target)) == (0o444, 0o444)
    if not shares(source, target):
        assert folders.can_reflink(source, tmp_path / "probe"), "neither a hard link nor a reflink"


@pytest.mark.parametrize("source_mode", [0o400, 0o440, 0o555])
def test_the_mode_is_0444_whatever_the_modes_of_a_read_only_source(tmp_path: Path, source_mode: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"cached")
    source.chmod(source_mode)
    folders.link(source, tmp_path / "target", share=True)
    assert (mode(source), mode(tmp_path / "target")) == (source_mode, 0o444)


def test_a_source_that_may_not_be_shared_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"mine")
    source.chmod(0o444)
    folders.link(source, tmp_path / "target", share=False)
    assert not shares(source, tmp_path / "target")


def test_a_target_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    for name in ("source", "target"):
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        folders.link(tmp_path / "source", tmp_path / "target", share=False)
    assert (tmp_path / "target").read_text() == "target"


BUILDER = """
import pathlib, sys
from gitreg import folders
with folders.aside(pathlib.Path(sys.argv[1])) as new:
    folders.write(new / "half", b"x")
    print("building", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a folder aside in `tmp_path`, until its input ends."""
    command = [sys.executable, "-c", BUILDER, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "building\n"
        yield process
        process.kill()


def test_what_a_killed_builder_left_is_swept_by_the_next(
    tmp_path: Path, builder: subprocess.Popen[str]
) -> None:
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert len(list(tmp_path.glob(".gitreg-*"))) == 1
    with folders.aside(tmp_path) as new:
        assert list(tmp_path.glob(".gitreg-*")) == [new.parent]
    assert everything(tmp_path) == []


def test_what_one_left_that_was_killed_as_it_removed_its_folder_is_swept_too(
    tmp_path: Path, builder: subprocess.Popen[str]
) -> None:
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    next(tmp_path.glob(".gitreg-*/lock")).unlink()  # `rmtree` takes files in no order
    folders.sweep(tmp_path)
    assert everything(tmp_path) == []


def test_a_living_builder_is_left_alone(tmp_path: Path, builder: subprocess.Popen[str]) -> None:
    folders.sweep(tmp_path)
    (kept,) = tmp_path.glob(".gitreg-*")
    assert (kept / "new" / "half").read_text() == "x"
    builder.communicate("")
    assert (builder.returncode, everything(tmp_path)) == (0, [])


def test_a_folder_that_is_just_being_started_is_left_alone_and_an_old_one_swept(tmp_path: Path) -> None:
    for name, age in (("young", 0), ("old", 3600)):
        folder = tmp_path / f".gitreg-starting-{name}"
        folder.mkdir()
        when = folder.stat().st_mtime - age
        os.utime(folder, (when, when))
    folders.sweep(tmp_path)
    assert everything(tmp_path) == [".gitreg-starting-young"]


def test_a_sweep_touches_nobody_elses_folders(tmp_path: Path) -> None:
    for name in (".gitreg", ".hidden", "gitreg-aside-x"):
        (tmp_path / name).mkdir()
    folders.sweep(tmp_path)
    assert everything(tmp_path) == [".gitreg", ".hidden", "gitreg-aside-x"]


# Runs on a disk of 1 MiB of its own, in a mount namespace that ends with the process.
FULL = """
import pathlib, sys
from gitreg import folders
from gitreg.errors import Outside
disk, source, how = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
folders.write(disk / "package" / "mine", b"mine")
if how == "already":
    try:
        (disk / "ballast").write_bytes(b"x" * (2 << 20))
    except OSError:
        pass
try:
    with folders.aside(disk) as new:
        folders.write(new / "package" / "small", b"x")
        if how == "copy":
            folders.link(source, new / "package" / "large", share=True)
        else:
            folders.write(new / "package" / "large", source.read_bytes())
        folders.put(new / "package", disk / "package")
except Outside as error:
    print(error.message, "|", error.hint)
(disk / "ballast").unlink(missing_ok=True)
print(sorted(p.relative_to(disk).as_posix() for p in disk.rglob("*")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a disk of its own")
@pytest.mark.parametrize("how", ["write", "copy", "already"])
def test_a_full_disk_is_an_outside_failure_and_leaves_nothing(tmp_path: Path, how: str) -> None:
    disk, source = tmp_path / "disk", tmp_path / "source"
    disk.mkdir()
    source.write_bytes(b"x" * (2 << 20))
    source.chmod(0o444)
    own = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    if os.geteuid() and subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    script = 'mount -t tmpfs -o size=1m,nr_inodes=99 tmpfs "$1" && shift && exec "$@"'
    command = [*own, "sh", "-c", script, "-", disk, sys.executable, "-c", FULL, disk, source, how]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"no space left on the disk of {disk} | free some space and run this again",
        "['package', 'package/mine']",
    ]


def test_digests_are_those_of_the_standard_library(tmp_path: Path) -> None:
    for size in (0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 7):
        data = os.urandom(size)
        (tmp_path / "file").write_bytes(data)
        expected = hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest()
        assert folders.digests(tmp_path / "file") == expected
        assert folders.sha256(tmp_path / "file") == expected[1]


def test_files_of_a_tree_are_listed_without_pythons_caches(tmp_path: Path) -> None:
    for name in ("b/c.txt", "a.txt", "b/__pycache__/c.pyc", ".hidden"):
        folders.write(tmp_path / name, b"")
    assert folders.tree_files(tmp_path) == [".hidden", "a.txt", "b/c.txt"]


@pytest.mark.parametrize("what", ["link", "pipe"])
def test_what_is_neither_a_file_nor_a_folder_is_refused(tmp_path: Path, what: str) -> None:
    if what == "link":
        (tmp_path / "odd").symlink_to("/etc/passwd")
    else:
        os.mkfifo(tmp_path / "odd")
    with pytest.raises(Refused, match="odd is neither a file nor a folder"):
        folders.tree_files(tmp_path)


def test_a_folder_may_vanish_under_a_builder(tmp_path: Path) -> None:
    """Somebody cleans up `dist/` while a build runs: an error, and no crash of the clean-up."""
    with pytest.raises(FileNotFoundError), folders.aside(tmp_path / "dist") as new:
        shutil.rmtree(tmp_path / "dist")
        (new / "file").write_text("x")


# Below $TMPDIR, where others write too ---------------------------------------------------------------

TEMPORARY = """
import sys
import threading
import time
from gitreg import folders
with folders.temporary() as new:
    folders.write(new / "closed" / "half", b"x")
    (new / "closed").chmod(0)
    print(new.parent, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    return place


@pytest.fixture
def runner(temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in a folder below `$TMPDIR`, until its input ends."""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", TEMPORARY]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout and process.stdout.readline().startswith(str(temporary / "gitreg-run-"))
        yield process
        process.kill()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_what_a_killed_run_left_below_tmpdir_is_swept_by_the_next(
    temporary: Path, runner: subprocess.Popen[str]
) -> None:
    with folders.temporary():
        assert len(os.listdir(temporary)) == 2  # the other one lives
    kill(runner)
    with folders.temporary() as new:
        assert os.listdir(temporary) == [new.parent.name] and mode(new.parent) == 0o700
    assert os.listdir(temporary) == []


@pytest.mark.parametrize(
    "what", ["link", "another user's", "file", "no lock", "lock is a link", "lock is a pipe"]
)
def test_names_below_tmpdir_prove_nothing(
    temporary: Path, tmp_path: Path, runner: subprocess.Popen[str], what: str
) -> None:
    (left,) = temporary.iterdir()
    kill(runner)
    if what == "link":
        left.rename(tmp_path / "elsewhere")
        left.symlink_to(tmp_path / "elsewhere")
    elif what == "another user's":
        if os.geteuid():
            pytest.skip("giving files away takes root")
        os.chown(left, 12345, 12345)
    elif what == "file":
        shutil.rmtree(left)
        left.write_text("mine")
    elif what == "no lock":  # another program's, or a package that a caller of the library keeps
        left = left.rename(temporary / "gitreg-abcdefgh")
        (left / "lock").unlink()
    else:
        (left / "lock").unlink()
        (left / "lock").symlink_to(tmp_path / "lock") if "link" in what else os.mkfifo(left / "lock")
    with folders.temporary():
        pass
    assert os.listdir(temporary) == ([] if what == "lock is a pipe" else [left.name])
    assert not (tmp_path / "lock").exists()


def test_two_that_sweep_at_once_remove_what_is_left_and_nothing_else(temporary: Path) -> None:
    command = [sys.executable, "-c", TEMPORARY]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    left = [subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) for _ in range(4)]
    end = time.monotonic() + 60
    while len([*temporary.glob("gitreg-run-*/new/closed")]) < 4 and time.monotonic() < end:
        os.sched_yield()
    for one in left[1:]:
        one.kill()
        one.communicate()
    gate = threading.Barrier(4)

    def sweep() -> None:
        gate.wait()
        with folders.temporary() as new:
            folders.write(new / "a", b"a")
            gate.wait()
            assert (new / "a").read_bytes() == b"a"

    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(sweep) for _ in range(4)]:
            one.result()
    assert len(os.listdir(temporary)) == 1
    left[0].communicate(b"")
    assert os.listdir(temporary) == []


def test_a_package_of_the_library_without_a_destination_stays(temporary: Path, tmp_path: Path) -> None:
    (temporary / "gitreg-starting-x").mkdir()
    (temporary / "gitreg-package1").mkdir()
    (temporary / "gitreg-package1" / "adder").mkdir()
    os.utime(temporary / "gitreg-package1", (0, 0))
    os.utime(temporary / "gitreg-starting-x", (0, 0))
    with folders.temporary():
        pass
    assert os.listdir(temporary) == ["gitreg-package1"]


@pytest.mark.parametrize("what", ["nothing", "file"])
def test_without_a_folder_for_temporary_files_the_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    place = tmp_path / "tmp"
    if what == "file":
        place.write_text("mine")
    monkeypatch.setattr("tempfile.tempdir", str(place))
    folders.sweep_temporary()
    with pytest.raises(Outside, match=str(place)) as error, folders.temporary():
        pass
    assert "TMPDIR" in str(error.value.hint)
