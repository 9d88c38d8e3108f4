"""Packages that are pulled into a model repository which a server watches: whole models there, or none."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitreg import Registry, builder, live
from gitreg.errors import Refused
from tests.upstream import Upstream

# Notes what a server would see in a repository at each step that changes a file system.
WATCHED = """
import os, sys
repository, log = sys.argv[1], open(sys.argv[2], "w")
STEPS = ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "open", "ctypes.dlsym", "tempfile.mkdtemp")
def look(event, arguments):
    if event in STEPS and not log.closed:
        models = sorted(os.listdir(repository))
        seen = {m: sorted(os.listdir(os.path.join(repository, m))) for m in models}
        print(seen, file=log, flush=True)
sys.addaudithook(look)
from gitreg.cli import main
sys.argv = ["gitreg", *sys.argv[3:]]
main()
"""

# Starts a process for each line, which is killed before its nth step; answers whether it was.
KILLED = """
import os, signal, sys
from pathlib import Path
STEPS = ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "ctypes.dlsym", "shutil.copyfile")
from gitreg import builder, live
def put(left, new, place):
    def count(event, arguments):
        nonlocal left
        if event in STEPS:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    builder.claim(place, "triton")
    live.put(new, place)
    os._exit(0)
for line in sys.stdin:
    left, new, place = line.split()
    if (child := os.fork()) == 0:
        put(int(left), Path(new), Path(place))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Killer:
    """Puts packages into place in processes that are killed before one of their steps."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def put(self, step: int, new: Path, place: Path) -> bool:
        """Whether it was killed before it came to its end."""
        assert self.process.stdin and self.process.stdout
        print(step, new, place, file=self.process.stdin, flush=True)
        return {0: False, -9: True}[int(self.process.stdout.readline())]


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Killer(process)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def is_whole(place: Path) -> str:
    """The version of the package in a folder, which is as gitreg made it."""
    record = builder.find_record(place)
    assert record, names(place)
    assert builder.differences(place, record, deep=True) == []
    return str(record["version"])


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system."""
    place = Path("/dev/shm") / f"gitreg-tests-{os.getpid()}"
    if not place.parent.is_dir():
        pytest.skip("there is no other file system that anybody may write to")
    place.mkdir()
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, _upstream: Path) -> Path:
    """Triton packages of two versions, whose ordinals differ; and `same`, a second one of the later version."""
    place = tmp_path_factory.mktemp("made")
    up = Upstream(_upstream, place)
    one = Registry(up.bare)
    for version in ("1.0.0", "1.1.0"):
        one.pull(f"adder@{version}", place / version / "adder", "triton")
    one.pull("adder@1.1.0", place / "same" / "adder", "triton")
    return place


def test_a_repository_sees_no_folder_but_the_models(up: Upstream, tmp_path: Path) -> None:
    repository, log = tmp_path / "live", tmp_path / "log"
    repository.mkdir()
    for version in ("1.0.0", "1.1.0"):
        command = [sys.executable, "-c", WATCHED, repository, log, "pull", f"adder@{version}"]
        more = ["--registry", up.url, "--package", "triton", "-o", repository / "adder"]
        done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        seen = [ast.literal_eval(line) for line in log.read_text().splitlines()]
        whole = [{"adder": [str(n), "config.pbtxt"]} for n in (1, 2)]
        assert all(one in ({}, *whole) for one in seen) and len(seen) > 50
        assert is_whole(repository / "adder") == version
    assert not [*tmp_path.glob(".gitreg-*")]


def test_where_it_is_laid_out(tmp_path: Path, elsewhere: Path) -> None:
    assert live.above(tmp_path / "live" / "m") == tmp_path
    assert live.above(tmp_path / "new" / "live" / "m") == tmp_path / "new"
    assert live.above(Path("/m")) is None
    # The repository is a mount of its own.
    assert live.above(Path("/dev/shm/m")) is None
    # A link to a repository counts as the repository.
    (elsewhere / "live").mkdir()
    (tmp_path / "linked").symlink_to(elsewhere / "live")
    assert live.above(tmp_path / "linked" / "m") == elsewhere
    # The folder above is a repository itself.
    (elsewhere / "model").mkdir()
    (elsewhere / "model" / "config.pbtxt").touch()
    assert live.above(elsewhere / "live" / "m") is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs a disk of its own")
def test_a_repository_that_is_a_disk_of_its_own_gets_whole_models_piece_by_piece(
    up: Upstream, tmp_path: Path
) -> None:
    repository, log = tmp_path / "live", tmp_path / "log"
    repository.mkdir()
    script = """
mount -t tmpfs tmpfs "$1" || exit 77
shift
for version in 1.0.0 1.1.0; do
    "$@" pull adder@$version --registry "$URL" --package triton -o "$LIVE/adder" >&2 || exit 1
    cat "$LOG"
done
ls -A "$LIVE" "$LIVE/adder"
"$1" -m gitreg verify "$LIVE/adder" >&2
"""
    environment = {**os.environ, "URL": up.url, "LIVE": str(repository), "LOG": str(log)}
    own = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    command = [*own, "sh", "-c", script, "-", repository, sys.executable, "-c", WATCHED, repository, log]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = [ast.literal_eval(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.stdout.split()[-2:] == ["2", "config.pbtxt"], done.stdout
    assert {model for one in seen for model in one} == {"adder"}
    for one in seen:
        there = set(one.get("adder", [])) - {live.HIDDEN}
        # Never a config.pbtxt without its version folder; a new folder comes before the old one goes.
        assert there in (
            set(),
            {"1"},
            {"1", "config.pbtxt"},
            {"1", "2", "config.pbtxt"},
            {"2", "config.pbtxt"},
        )


@pytest.mark.parametrize(("before", "after"), [(None, "1.0.0"), ("1.0.0", "1.1.0"), ("1.1.0", "same")])
def test_it_is_killed_at_any_step_and_the_next_run_ends_it(
    made: Path, elsewhere: Path, tmp_path: Path, killer: Killer, before: str | None, after: str
) -> None:
    wanted = "1.1.0" if after == "same" else after
    for step in range(200):
        place = elsewhere / str(step) / "adder"
        place.parent.mkdir()
        if before:
            shutil.copytree(made / before / "adder", place)
        new = tmp_path / str(step)
        shutil.copytree(made / after / "adder", new)
        if not killer.put(step, new, place):
            break
        if (place / "config.pbtxt").exists():
            folder = sorted(p for p in place.iterdir() if p.name.isdigit())[-1]
            version = {"1": "1.0.0", "2": "1.1.0"}[folder.name]
            assert names(folder) == names(made / version / "adder" / folder.name)
        builder.claim(place, "triton")  # ends what was begun, and what is there may be replaced
        assert not (place / live.HIDDEN).exists()
        assert not place.exists() or not os.listdir(place) or is_whole(place) in (before, wanted)
        again = tmp_path / f"{step}-again"
        shutil.copytree(made / after / "adder", again)
        live.put(again, place)
        assert is_whole(place) == wanted and sorted(os.listdir(place))[-1] == "config.pbtxt"
    else:
        pytest.fail("it never ends")
    assert step > 8 and is_whole(place) == wanted
    assert sorted(os.listdir(place)) == [{"1.0.0": "1", "1.1.0": "2"}[wanted], "config.pbtxt"]


def test_what_was_changed_after_a_kill_is_not_lost(
    made: Path, elsewhere: Path, tmp_path: Path, killer: Killer
) -> None:
    place = elsewhere / "adder"
    shutil.copytree(made / "1.0.0" / "adder", place)
    for step in range(200):  # up to the first step after which both versions are there
        new = tmp_path / str(step)
        shutil.copytree(made / "1.1.0" / "adder", new)
        killer.put(step, new, place)
        if (place / "1").exists() and (place / "2").exists():
            break
        shutil.rmtree(place)
        shutil.copytree(made / "1.0.0" / "adder", place)
    (place / "1" / "notes.txt").write_text("mine")
    before = names(place)
    with pytest.raises(Refused, match=r"half replaced.*1/notes.txt"):
        builder.claim(place, "triton")
    assert names(place) == before
    (place / "1" / "notes.txt").unlink()
    builder.claim(place, "triton")
    assert is_whole(place) == "1.1.0"


@pytest.mark.parametrize("what", ["file", "link", "fifo", "lock is a link"])
def test_a_hidden_folder_that_is_not_ours_is_left_alone(made: Path, tmp_path: Path, what: str) -> None:
    place, other = tmp_path / "adder", tmp_path / "other"
    shutil.copytree(made / "1.0.0" / "adder", place)
    other.mkdir()
    hidden = place / live.HIDDEN
    if what == "file":
        hidden.write_text("mine")
    elif what == "link":
        hidden.symlink_to(other)
    elif what == "fifo":
        os.mkfifo(hidden)
    else:
        hidden.mkdir()
        (hidden / "lock").symlink_to(other / "lock")
    with pytest.raises(Refused):
        builder.claim(place, "triton")
    assert os.listdir(other) == [] and os.path.lexists(hidden)


def test_a_living_process_is_left_alone(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "adder"
    shutil.copytree(made / "1.0.0" / "adder", place)
    (place / live.HIDDEN).mkdir()
    with live._locked(place / live.HIDDEN), pytest.raises(Refused, match="another gitreg is writing"):
        builder.claim(place, "triton")
    builder.claim(place, "triton")
    assert not (place / live.HIDDEN).exists()


@pytest.mark.parametrize(
    "said", ["{}", "no JSON", '{"was": {"../x": null}, "new": {}}', '{"was": 1, "new": []}']
)
def test_a_plan_that_is_damaged_moves_nothing(made: Path, tmp_path: Path, said: str) -> None:
    place = tmp_path / "adder"
    shutil.copytree(made / "1.0.0" / "adder", place)
    (tmp_path / "x").touch()
    (place / live.HIDDEN / "new").mkdir(parents=True)
    (place / live.HIDDEN / "plan.json").write_text(said)
    before = names(tmp_path)
    with pytest.raises(Exception, match=r"plan.json is damaged"):
        builder.claim(place, "triton")
    assert {*before} == {*names(tmp_path)} - {f"adder/{live.HIDDEN}/lock"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs a disk of its own")
@pytest.mark.parametrize("kind", ["artifact", "raw", "triton"])
def test_a_folder_that_is_a_disk_of_its_own_is_filled(up: Upstream, tmp_path: Path, kind: str) -> None:
    """As a volume of a container is; nothing can be renamed into its place."""
    place = tmp_path / "out" / "adder"
    place.mkdir(parents=True)
    script = """
mount -t tmpfs tmpfs "$1" || exit 77
shift
for version in 1.0.0 1.1.0; do
    "$@" pull adder@$version --registry "$URL" --package "$KIND" -o "$PLACE" || exit 1
    "$@" pull adder@$version --registry "$URL" --package "$KIND" -o "$PLACE" || exit 1
done
ls -A "$PLACE"
"""
    kept = {"URL": up.url, "PLACE": str(place), "KIND": kind}
    if kind == "artifact":
        script = script.replace(' --package "$KIND"', "")
    own = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    command = [*own, "sh", "-c", script, "-", place, sys.executable, "-m", "gitreg"]
    done = subprocess.run(command, env={**os.environ, **kept}, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {"artifact": [".gitreg-pull.json", "number.txt"], "raw": ["2"], "triton": ["2", "config.pbtxt"]}
    assert done.stdout.splitlines()[4:] == wanted[kind]
    assert done.stderr.count("it was there already") == 2, done.stderr
