"""Promotions that meet, and promotions that are killed: on real repositories, with real processes.

The same with 32 processes is benchmarks/race.py; with more moments of death:
`GITREG_MOMENTS=100 pytest tests/test_races.py -k killed`.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitreg.git import transactions

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import race
from race import GITREG, clone, git

MOMENTS = int(os.environ.get("GITREG_MOMENTS", "12"))
MARK = "GITREG_RACE_MARK"


# Together --------------------------------------------------------------------------------------------


def test_promotions_at_once_are_each_recorded_once_or_refused(tmp_path: Path) -> None:
    race.field(tmp_path, 2)
    before = git(tmp_path / "remote.git", "rev-parse", "main")
    tried = race.race(tmp_path, race.promotions(8, 2))
    outcome = race.judge(tmp_path, before, tried)
    assert outcome.total() == 8 and outcome["recorded"] > 1


def test_one_merge_applied_at_once_in_many_clones_is_written_once(tmp_path: Path) -> None:
    root = race.field(tmp_path, 2)
    new = race.merge(tmp_path, root)
    before = race.tags(tmp_path / "remote.git")
    clones = [clone(tmp_path, f"clone-{i}") for i in range(8)]
    tried = race.together([(folder, ["apply", "--push", "--json"]) for folder in clones])
    assert race.judge_merge(tmp_path, before, new, tried) == {"wrote": 1, "nothing to do": 7}


@pytest.fixture(scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("field")
    race.field(place, 1)
    return place


@pytest.fixture
def one(_template: Path, tmp_path: Path) -> Path:
    """A registry of one model with a remote."""
    shutil.copytree(_template, tmp_path, dirs_exist_ok=True, symlinks=True)
    git(tmp_path / "seed", "remote", "set-url", "origin", str(tmp_path / "remote.git"))
    git(tmp_path / "seed", "status")  # which brings the index up to date
    return tmp_path / "seed"


def between(folder: Path, script: str) -> None:
    """Let something happen when a clone pushes for the first time: after it has fetched and planned, before
    it sees what the remote has by then."""
    place = folder.parent / f"between-{folder.name}"
    place.write_text(
        f'#!/bin/sh\n[ -e "$0.done" ] || {{ touch "$0.done"; {script}; }} >&2\nexec git-receive-pack "$@"\n'
    )
    place.chmod(0o755)
    git(folder, "config", "remote.origin.receivepack", str(place))


def test_a_push_that_is_overtaken_by_other_tags_of_its_model_begins_again(tmp_path: Path, one: Path) -> None:
    """No name of a tag collides: without the guard both would get in, with one counter and one of them
    against the files."""
    (one / "stages" / "staging.yaml").write_text("model-0000: 1.2.2\n")
    git(one, "commit", "-qam", "stage it")
    git(one, "push", "-q", "origin", "main")
    slow, fast = clone(tmp_path, "slow"), clone(tmp_path, "fast")
    (fast / "stages" / "staging.yaml").write_text("model-0000: 1.2.1\n")
    (fast / "stages" / "archived.yaml").write_text("model-0000: 1.2.0\n")
    git(fast, "commit", "-qam", "rather not")
    between(slow, f"cd {fast} && git push -q origin main && {GITREG} apply --push")
    done = race.gitreg(slow, "apply", "--push")
    assert (done.code, (tmp_path / "between-slow.done").exists()) == (0, True), done.err
    assert "trying again" in done.err and "nothing done: origin/main is newer" in done.out
    race.judge_order(tmp_path / "remote.git")
    assert [t.name for t in race.tags(tmp_path / "remote.git")][-1] == "model-0000#archived#3"


def test_a_merge_between_plan_and_push_has_the_last_word(tmp_path: Path, one: Path) -> None:
    """Its own run finds nothing to do, as the tags say what it says: nobody would take the others back."""
    (one / "stages" / "staging.yaml").write_text("model-0000: 1.2.2\n")
    git(one, "commit", "-qam", "stage it")
    git(one, "push", "-q", "origin", "main")
    slow, fast = clone(tmp_path, "slow"), clone(tmp_path, "fast")
    before = race.tags(tmp_path / "remote.git")
    git(fast, "revert", "--no-edit", "HEAD")
    between(slow, f"cd {fast} && git push -q origin main && {GITREG} apply --push")
    done = race.gitreg(slow, "apply", "--push")
    assert (done.code, (tmp_path / "between-slow.done").exists()) == (0, True), done.err
    assert "trying again" in done.err and "nothing done: origin/main is newer" in done.out
    assert race.judge_order(tmp_path / "remote.git") == before


def test_a_promotion_that_is_overtaken_goes_on_top(tmp_path: Path, one: Path) -> None:
    slow, fast, remote = clone(tmp_path, "slow"), clone(tmp_path, "fast"), tmp_path / "remote.git"
    between(slow, f"cd {fast} && {GITREG} promote model-0000@1.2.0 production --apply")
    before = git(remote, "rev-parse", "main")
    done = race.gitreg(slow, "promote", "model-0000@1.2.1", "production", "--apply", "--json")
    assert done.code == 0 and "trying again" in done.err, done.err
    assert done.data["changes"] == [{"model": "model-0000", "before": "1.2.0", "after": "1.2.1"}]
    assert git(remote, "log", "--format=%s", f"{before}..main").splitlines() == [
        "Promote model-0000 1.2.1 to production",
        "Promote model-0000 1.2.0 to production",
    ]
    race.judge_order(remote)


# Killed ----------------------------------------------------------------------------------------------


class Scene:
    """A clone in which gitreg is killed, and the remote, if there is one.

    Args:
        session: of the processes that serve the remote, where they are no children of gitreg's.
    """

    def __init__(self, clone: Path, remote: Path | None, session: int = 0) -> None:
        self.clone, self.remote, self.session = clone, remote, session
        self.mark, self.temporary = uuid.uuid4().hex, clone.parent / f"tmp-{clone.name}"
        self.temporary.mkdir()
        self.idle = set(self.serving())
        self.branches = git(clone, "branch", "--list")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**race.ENVIRONMENT, MARK: self.mark, "TMPDIR": str(self.temporary)}
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            [GITREG, *arguments], cwd=self.clone, env=environment, start_new_session=True, **output
        )

    def run(self, *arguments: str) -> float:
        """Run to the end, which must be a good one; the seconds it took."""
        start = time.monotonic()
        process = self.start(*arguments)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return time.monotonic() - start

    def kill(self, arguments: tuple[str, ...], seconds: float, everything: bool) -> bool:
        """Start a command and kill its process group after some time, or all that it has started; whether
        it was still running."""
        process = self.start(*arguments)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        while everything and (left := self.left()):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            until_gone(left)
        process.communicate()
        until_gone(self.left())
        while serving := set(self.serving()) - self.idle:
            until_gone(list(serving))
        return process.returncode == -signal.SIGKILL

    def left(self) -> list[int]:
        """The processes that gitreg has started and that still run."""
        return [p for p in pids() if f"{MARK}={self.mark}".encode() in proc(p, "environ")]

    def serving(self) -> list[int]:
        """The processes that serve the remote."""
        said = {p: proc(p, "stat").rpartition(b") ")[2].split() for p in pids() if self.session}
        return [
            p for p, words in said.items() if words and int(words[3]) == self.session and words[0] != b"Z"
        ]

    def seen(self, repository: Path) -> tuple[str, list[str]]:
        """What a repository's main is, and its tags in their order."""
        return git(repository, "rev-parse", "main"), [tag.name for tag in race.tags(repository)]

    def is_tidy(self) -> None:
        folder = self.clone / ".git"
        assert [*folder.rglob("*.lock"), *folder.glob("packed-refs.new")] == []
        # A folder that had no lock yet may still be somebody's: it goes after a minute.
        left = [p for p in (folder / "gitreg").iterdir() if p.is_dir() and "starting" not in p.name]
        assert left == []
        # Python itself tries the folder out with a file of four letters, which a kill may leave.
        left = [p for p in self.temporary.iterdir() if p.is_dir() or p.read_bytes() not in (b"", b"blat")]
        assert left == []
        assert git(self.clone, "branch", "--list") == self.branches
        assert git(self.clone, "status", "--porcelain") == ""
        if self.remote:
            assert list(self.remote.rglob("*.lock")) == []
            assert git(self.remote, "for-each-ref", "--format=%(refname)", "refs/heads/") == "refs/heads/main"

    def dies(self, arguments: tuple[str, ...], seconds: float, everything: bool) -> bool:
        """Kill a command, look at what is there, and do it again to the end; whether it was killed."""
        places = {name: place for name, place in (("here", self.clone), ("there", self.remote)) if place}
        before = {name: self.seen(place) for name, place in places.items()}
        killed = self.kill(arguments, seconds, everything)
        middle = {name: self.seen(place) for name, place in places.items()}
        self.run(*arguments)
        after = {name: self.seen(place) for name, place in places.items()}
        for name in places:
            new = after[name][1][len(before[name][1]) :]
            done = middle[name][1][len(before[name][1]) :]
            assert new, arguments
            if everything and name == "here":  # the machine went down: in order, and the files first
                assert done == new[: len(done)]
            else:
                assert done in ([], new), f"half a transaction {name}: {done} of {new}"
            if after[name][0] != before[name][0]:
                moved = middle[name][0] == after[name][0]
                assert moved if done else True, f"tags without their files {name}"
                assert moved == bool(done) or (everything and name == "here"), name
        self.is_tidy()
        return killed


def pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def proc(pid: int, file: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{file}").read_bytes()
    return b""


def until_gone(some: list[int]) -> None:
    for pid in some:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            assert select.select([handle], [], [], 30)[0], f"still runs: {proc(pid, 'cmdline')!r}"
            os.close(handle)


def die_often(scene: Scene, commands: Callable[[int], tuple[str, ...]], seed: int, everything: bool) -> None:
    """Kill commands at moments that are spread over the time that a whole one takes."""
    dice = random.Random(seed)
    whole = scene.run(*commands(0))
    count = MOMENTS // 4
    killed = [scene.dies(commands(n), dice.uniform(0, whole), everything) for n in range(1, count + 1)]
    assert any(killed), "the moments lie within the run"
    race.judge_order(scene.remote or scene.clone)


def promotion(n: int) -> tuple[str, ...]:
    """Up and down in turn; down takes two tags."""
    return "promote", f"model-0000@{race.VERSIONS[n % 2]}", "staging", "--apply"


def test_killed_without_a_remote(one: Path) -> None:
    git(one, "remote", "remove", "origin")
    die_often(Scene(one, None), promotion, 1, everything=True)


def test_a_killed_group_without_a_remote(one: Path) -> None:
    git(one, "remote", "remove", "origin")
    die_often(Scene(one, None), promotion, 2, everything=False)


def test_killed_with_a_remote_that_is_a_folder(tmp_path: Path, one: Path) -> None:
    scene = Scene(clone(tmp_path, "killed"), tmp_path / "remote.git")
    die_often(scene, promotion, 3, everything=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A Git server: its address, and the session of its processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["git", "daemon", "--export-all", "--enable=receive-pack", "--reuseaddr", "--listen=127.0.0.1"]
    command += [f"--port={port}", f"--base-path={tmp_path}", str(tmp_path)]
    process = subprocess.Popen(
        command, env=race.ENVIRONMENT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None and time.monotonic() < until, "git daemon does not start"
        yield f"git://127.0.0.1:{port}", process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_killed_with_a_server(tmp_path: Path, one: Path, server: tuple[str, int]) -> None:
    """All of a merge's tags, and everything that belongs to gitreg dies; the server lives."""
    root = clone(tmp_path, "killed")
    git(root, "remote", "set-url", "origin", f"{server[0]}/remote.git")
    git(root, "fetch", "-q")

    def merged(n: int) -> tuple[str, ...]:
        if n == merged.done + 1:
            merged.done = n
            file = root / "models" / "model-0000" / "model.yaml"
            file.write_text(
                re.sub("^version: .*$", f"version: 2.0.{n}", file.read_text(), flags=re.MULTILINE)
            )
            for stage in ("staging", "archived"):
                (root / "stages" / f"{stage}.yaml").write_text(f"model-0000: 2.0.{n}\n")
            git(root, "commit", "-qam", f"merge {n}")
            git(root, "push", "-q", "origin", "main")
            git(root, "status")  # which brings the index up to date
        return "apply", "--push"

    merged.done = -1
    die_often(Scene(root, tmp_path / "remote.git", server[1]), merged, 4, everything=True)


# Left behind -----------------------------------------------------------------------------------------


def hook(root: Path, script: str) -> None:
    """Let something happen once, in Git, between the locks of a transaction and its references."""
    file = root / ".git" / "hooks" / "reference-transaction"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        f'#!/bin/sh\n[ "$1" = prepared ] && [ ! -e "$0.done" ] && {{ touch "$0.done"; {script}; }}\nexit 0\n'
    )
    file.chmod(0o755)


@pytest.mark.parametrize("made", range(3))
def test_a_machine_that_goes_down_in_a_transaction_does_no_harm(one: Path, made: int) -> None:
    """Git has taken its locks, and has renamed some of them to references."""
    git(one, "remote", "remove", "origin")
    scene = Scene(one, None)
    hook(one, "kill -9 $(cat $0.pid) $PPID")
    pid = one / ".git" / "hooks" / "reference-transaction.pid"
    before = scene.seen(one)
    died = subprocess.run(
        ["sh", "-c", f'echo $$ > "{pid}"; exec "$@"', "sh", GITREG, *promotion(0)],
        cwd=one,
        env=race.ENVIRONMENT,
        capture_output=True,
    )
    assert died.returncode == -signal.SIGKILL
    assert scene.seen(one) == before
    order = ["refs/heads/main", "refs/tags/model-0000#staging!#3", "refs/tags/model-0000#staging#4"]
    left = {p.relative_to(one / ".git").as_posix() for p in (one / ".git").rglob("*.lock")}
    assert left == {"HEAD.lock", *(f"{name}.lock" for name in order)}
    for name in order[:made]:
        os.rename(one / ".git" / f"{name}.lock", one / ".git" / name)
    scene.run(*promotion(0))
    scene.is_tidy()
    assert scene.seen(one)[1][-2:] == [name.removeprefix("refs/tags/") for name in order[1:]]
    assert git(one, "rev-list", "--count", f"{before[0]}..main") == "1"
    race.judge_order(one)


def test_a_remote_that_is_a_folder_ends_its_work_without_gitreg(tmp_path: Path, one: Path) -> None:
    """What serves it is a child of gitreg, and no more killed with its group than a server would be."""
    remote, pid, hook = tmp_path / "remote.git", tmp_path / "pid", tmp_path / "remote.git/hooks/pre-receive"
    scene = Scene(clone(tmp_path, "killed"), remote)
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\nkill -9 -$(cat "{pid}")\nexit 0\n')
    hook.chmod(0o755)
    before = scene.seen(remote)
    process = scene.start(*promotion(0))
    pid.write_text(str(process.pid))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    until_gone(scene.left())
    after = scene.seen(remote)
    assert after[0] != before[0] and after[1] == [*before[1], "model-0000#staging!#3", "model-0000#staging#4"]
    hook.unlink()
    scene.run(*promotion(0))
    scene.is_tidy()
    assert scene.seen(remote) == after and scene.seen(scene.clone)[1] == after[1]


def test_a_git_that_is_killed_alone_is_an_error_and_leaves_no_lock(one: Path) -> None:
    git(one, "remote", "remove", "origin")
    scene = Scene(one, None)
    hook(one, "kill -9 $PPID")
    before = scene.seen(one)
    done = race.gitreg(one, *promotion(0))
    assert (done.code, done.err) == (4, "error: git update-ref was ended by signal 9\nhint: the same again\n")
    assert scene.seen(one) == before
    scene.is_tidy()
    scene.run(*promotion(0))
    race.judge_order(one)


@pytest.mark.parametrize("name", ["refs/tags/model-0000#staging!#3", "refs/heads/main", "index"])
def test_a_lock_of_somebody_else_stays(one: Path, name: str) -> None:
    git(one, "remote", "remove", "origin")
    before = git(one, "for-each-ref")
    lock = one / ".git" / f"{name}.lock"
    lock.touch()
    done = race.gitreg(one, *promotion(0))
    assert done.code == 4 and f"rm {lock}" in done.err, done.err
    assert lock.exists() and git(one, "for-each-ref") == before
    lock.unlink()
    assert git(one, "status", "--porcelain") == ""
    assert race.gitreg(one, *promotion(0)).code == 0


def test_a_lock_that_is_older_than_the_note_of_it_stays(one: Path) -> None:
    """It was there before, and so was not made by the gitreg that was killed."""
    lock = one / ".git" / "refs" / "tags" / "model-0000#staging#4.lock"
    lock.touch()
    os.utime(lock, ns=(0, time.time_ns() - 10**9))
    (one / ".git" / "gitreg" / "transaction").write_text("create refs/tags/model-0000#staging#4\n")
    transactions.recover(one)
    assert lock.exists()


def test_a_transaction_that_a_hook_refuses_leaves_the_files_as_they_were(one: Path) -> None:
    git(one, "remote", "remove", "origin")
    before = git(one, "for-each-ref")
    hook(one, "echo not today >&2; exit 1")
    done = race.gitreg(one, *promotion(0))
    assert done.code == 4 and "not today" in done.err, done.err
    Scene(one, None).is_tidy()
    assert git(one, "for-each-ref") == before


def test_many_tags_are_packed_and_a_kill_in_it_is_no_harm(one: Path) -> None:
    """A loose reference takes a file each, which every later command would read."""
    git(one, "remote", "remove", "origin")
    commit = git(one, "rev-parse", "HEAD")
    some = {f"refs/tags/other#staging#{n}": commit for n in range(1, 601)}
    transactions.create(one, some)
    assert not (one / ".git" / "refs" / "tags" / "other#staging#1").exists()
    assert len(git(one, "for-each-ref", "refs/tags/other*").splitlines()) == 600
    (one / ".git" / "gitreg" / "transaction").write_text("pack packed-refs\npack refs/\n")
    for name in ("packed-refs.lock", "packed-refs.new", "refs/tags/other#staging#1.lock"):
        (one / ".git" / name).touch()
    transactions.recover(one)
    Scene(one, None).is_tidy()
