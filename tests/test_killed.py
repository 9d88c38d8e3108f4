"""`gitreg build` and `gitreg new` ended in the middle: by kill -9, by ^C, by a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitreg import CustomTritonPackager, DataType, GitregError, ModelSchema, ModelSchemaItem, builder
from tests.support import ADDER_CODE, Workshop, run

MARK = "KILLED_TEST_MARK"
BUILDS, NEWS, INTERRUPTS = 25, 8, 8

# A model that says through a named pipe that it is being asked, and then goes on for ever.
WAITING = ADDER_CODE.replace(
    "return {",
    """import os, subprocess, time
        subprocess.Popen(["sleep", "1000"])
        with open(os.environ["ASKED"], "w") as pipe:
            pipe.write("now")
        time.sleep(1000)
        return {""",
)


class Runner:
    """Starts gitreg in a registry, as a terminal would: in a process group of its own."""

    def __init__(self, shop: Workshop, tmp_path: Path) -> None:
        self.shop, self.mark = shop, uuid.uuid4().hex
        self.asked, self.temporary = tmp_path / "asked", tmp_path / "tmp"
        os.mkfifo(self.asked)
        self.temporary.mkdir()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gitreg", *arguments],
            cwd=self.shop.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={
                **os.environ,
                MARK: self.mark,
                "ASKED": str(self.asked),
                "TMPDIR": str(self.temporary),
            },
        )

    def start_and_wait_until_the_model_is_asked(self, *arguments: str) -> subprocess.Popen[str]:
        self.shop.code(WAITING)
        process = self.start(*arguments)
        assert self.asked.read_text().startswith("now")  # of both packages, where both are asked at once
        return process

    def seconds(self, *arguments: str) -> float:
        """How long a whole run takes here."""
        start = time.monotonic()
        process = self.start(*arguments)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        return time.monotonic() - start

    def nothing_runs(self) -> None:
        lively, end = [], time.monotonic() + 5
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.mark}".encode() not in (process / "environ").read_bytes():
                    continue
                handle = os.pidfd_open(int(process.name))
                if not select.select([handle], [], [], max(0, end - time.monotonic()))[0]:
                    lively.append((process / "cmdline").read_text().replace("\0", " "))
                    os.kill(int(process.name), signal.SIGKILL)
                os.close(handle)
        assert lively == []


@pytest.fixture
def runner(workshop: Workshop, tmp_path: Path) -> Runner:
    with open(workshop.root / "registry.yaml", "a") as stream:
        stream.write(f"build: {{environment: [ASKED, {MARK}]}}\n")
    workshop.commit("models see these")
    return Runner(workshop, tmp_path)


def end_after(process: subprocess.Popen[str], seconds: float, how: signal.Signals) -> tuple[int, str]:
    """Send a signal to a process after some time, if it still runs; its exit code and stderr."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    if process.poll() is None:
        os.killpg(process.pid, how)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


def whole_or_absent(dist: Path) -> dict[str, str]:
    """Version by format of the packages in dist, each of them whole."""
    found = {}
    for package in [*dist.glob("triton/*"), *dist.glob("raw/*")]:
        record = builder.find_record(package)
        assert record is not None, f"{package} is no package: {sorted(package.rglob('*'))}"
        assert builder.differences(package, record, deep=True) == []
        found[package.parent.name] = str(record["version"])
    return found


def left_aside(root: Path) -> list[Path]:
    return list(root.rglob(".gitreg-*"))


# kill -9 --------------------------------------------------------------------------------------------


def test_a_build_killed_at_any_moment_leaves_whole_packages_or_none(runner: Runner) -> None:
    shop, dist = runner.shop, runner.shop.root / "dist"
    whole = runner.seconds("build")
    killed = 0
    for n in range(BUILDS):
        if n % 5 == 0:
            shutil.rmtree(dist, ignore_errors=True)  # sometimes with none there, sometimes over an old one
        before = whole_or_absent(dist)
        shop.manifest(version=f"1.1.{n}")
        begun = time.monotonic()
        code, _ = end_after(runner.start("build"), whole * (0.2 + 0.8 * n / BUILDS), signal.SIGKILL)
        killed += code == -signal.SIGKILL
        if code == 0:  # it was faster than what was timed before: what else runs here differs
            whole = min(whole, time.monotonic() - begun)
        for kind, version in whole_or_absent(dist).items():
            assert version in (f"1.1.{n}", before.get(kind))
        if n % 5 == 4:
            done = shop.gitreg("build")
            assert done.returncode == 0, done.stderr
            assert whole_or_absent(dist) == {"triton": f"1.1.{n}", "raw": f"1.1.{n}"}
            assert left_aside(shop.root) == []
    assert killed > BUILDS / 2, "the moments lie within the run"
    runner.nothing_runs()


def test_a_killed_new_is_no_hindrance_to_the_next(runner: Runner) -> None:
    shop, place = runner.shop, runner.shop.root / "models" / "fresh"
    source = shop.root.parent / "trained"
    shutil.copytree(shop.adder / "artifacts", source)
    code = str(shop.root.parent / "code")
    shutil.copytree(shop.adder / "src", code)
    samples = str(shutil.copy(shop.adder / "samples.json", shop.root.parent))
    command = ["new", "fresh", "--from", str(source), "--class", "adder_model.Adder", "--code", code]
    command += ["--samples", samples]
    whole = runner.seconds(*command)
    for n in range(NEWS):
        shutil.rmtree(place)
        end_after(runner.start(*command), whole * (0.3 + 0.7 * n / NEWS), signal.SIGKILL)
        done = shop.gitreg(*command) if not (place / "model.yaml").exists() else None
        assert done is None or done.returncode == 0, f"killed at moment {n}: {done.stderr}"
        checked = shop.gitreg("check", "--json")
        assert json.loads(checked.stdout)["ok"], checked.stdout
    assert shop.gitreg("build", "fresh").returncode == 0
    assert left_aside(shop.root) == []
    runner.nothing_runs()


def test_a_killed_gitreg_takes_the_model_and_its_children_with_it(runner: Runner) -> None:
    process = runner.start_and_wait_until_the_model_is_asked("build")
    process.kill()
    process.communicate()
    runner.nothing_runs()
    assert whole_or_absent(runner.shop.root / "dist") == {}
    assert list(runner.temporary.glob("gitreg-run-*"))
    done = runner.shop.gitreg("check", env={**os.environ, "TMPDIR": str(runner.temporary)})
    assert list(runner.temporary.iterdir()) == [], done.stderr


def test_a_registry_is_not_harmed_by_a_memory_that_was_cut_off(runner: Runner) -> None:
    """The memo is a cache: whatever a crash did to it, the next build goes on without."""
    shop = runner.shop
    assert shop.gitreg("build").returncode == 0
    for file in (shop.root / ".git" / "gitreg").glob("memo*"):
        file.write_bytes(file.read_bytes()[:100] + os.urandom(4000))
    done = shop.gitreg("build")
    assert done.returncode == 0, done.stderr


# ^C -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["build", "check adder", "predict adder"])
def test_an_interrupt_while_the_model_runs_ends_everything(
    runner: Runner, how: signal.Signals, code: int, command: str
) -> None:
    process = runner.start_and_wait_until_the_model_is_asked(*command.split())
    os.killpg(process.pid, how)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr and "defect" not in stderr
    runner.nothing_runs()
    assert whole_or_absent(runner.shop.root / "dist") == {}
    assert left_aside(runner.shop.root) == [] and list(runner.temporary.iterdir()) == []


def test_an_interrupt_at_any_moment_leaves_whole_packages_or_none(runner: Runner) -> None:
    shop, dist = runner.shop, runner.shop.root / "dist"
    whole = runner.seconds("build")
    for n in range(INTERRUPTS):
        shop.manifest(version=f"1.1.{n}")
        moment = whole * (0.3 + 0.7 * n / INTERRUPTS)
        code, stderr = end_after(runner.start("build"), moment, signal.SIGINT)
        # Before gitreg has come up, Python ends itself by the signal; a shell calls that 130, too.
        assert code in (130, 0, -signal.SIGINT), stderr
        assert "defect" not in stderr
        whole_or_absent(dist)
        assert left_aside(shop.root) == []
    runner.nothing_runs()


NUMPY = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("numpy.") and not sent:
            sent.append(name)
            os.kill(os.getpid(), signal.SIGINT)
sent = []
sys.meta_path.insert(0, Finder())
from gitreg.cli import main
code = main(["predict", "adder"])
print(code, bool(sent), "numpy" in sys.modules and hasattr(sys.modules["numpy"], "zeros"))
"""


def test_an_interrupt_waits_for_the_import_of_numpy_which_would_lose_it_or_crash(workshop: Workshop) -> None:
    done = subprocess.run([sys.executable, "-c", NUMPY], cwd=workshop.root, capture_output=True, text=True)
    assert (done.stdout, done.stderr.strip()) == ("130 True True\n", "interrupted")


def test_an_interrupted_new_leaves_no_model(runner: Runner) -> None:
    shop = runner.shop
    source, code = shop.root.parent / "trained", shop.root.parent / "code"
    shutil.copytree(shop.adder / "artifacts", source)
    shutil.copytree(shop.adder / "src", code)
    (code / "adder_model.py").write_text(WAITING)
    process = runner.start(
        *("new", "fresh", "--from", str(source), "--class", "adder_model.Adder", "--code", str(code)),
        *("--samples", str(shop.adder / "samples.json")),
    )
    assert runner.asked.read_text().startswith("now")
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert not (shop.root / "models" / "fresh").exists()
    runner.nothing_runs()


# A full disk ----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk of the parametrised number of KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "none", place], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs takes root")
    try:
        yield place
    finally:
        run("umount", "-l", place, cwd=tmp_path)


def grow(shop: Workshop) -> None:
    (shop.adder / "artifacts" / "weights.bin").write_bytes(os.urandom(3 << 20))
    run(sys.executable, "-m", "dvc", "add", "-q", "models/adder/artifacts", cwd=shop.root)


@pytest.mark.parametrize("small_disk", [8, 40, 4000], indirect=True)
def test_a_full_disk_is_the_outsides_failure_and_nothing_is_left_on_it(
    workshop: Workshop, small_disk: Path
) -> None:
    grow(workshop)
    done = workshop.gitreg("build", "-o", small_disk)
    assert done.returncode == 4, done.stdout + done.stderr
    assert f"error: no space left on the disk of {small_disk}" in done.stderr and "hint: " in done.stderr
    assert [p for p in small_disk.rglob("*") if p.is_file()] == [] and left_aside(small_disk) == []


@pytest.mark.parametrize("small_disk", [8000], indirect=True)
def test_a_disk_that_is_too_full_for_the_new_package_keeps_the_old_one(
    workshop: Workshop, small_disk: Path
) -> None:
    grow(workshop)
    assert workshop.gitreg("build", "-o", small_disk).returncode == 0
    workshop.manifest(version="1.0.1")
    assert workshop.gitreg("build", "-o", small_disk).returncode == 4
    assert whole_or_absent(small_disk) == {"triton": "1.0.0", "raw": "1.0.0"}
    assert left_aside(small_disk) == []


@pytest.mark.parametrize("small_disk", [4], indirect=True)
def test_a_full_temporary_folder_is_the_outsides_failure(workshop: Workshop, small_disk: Path) -> None:
    done = workshop.gitreg("build", env={**os.environ, "TMPDIR": str(small_disk)})
    assert done.returncode == 4, done.stdout + done.stderr
    assert "no space left" in done.stderr.lower() and str(small_disk) in done.stderr
    assert left_aside(workshop.root) == [] and whole_or_absent(workshop.root / "dist") == {}


@pytest.mark.parametrize("small_disk", [8], indirect=True)
def test_the_packager_says_so_too(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adder_model.py").write_text(ADDER_CODE)
    (tmp_path / "number.txt").write_text("5" + " " * 100_000)
    monkeypatch.syspath_prepend(tmp_path)
    items = [ModelSchemaItem(name, DataType.INT, [2]) for name in "xy"]
    with pytest.raises(GitregError, match="no space left") as error:
        CustomTritonPackager().create_model_package(
            tmp_path / "number.txt",
            "adder_model.Adder",
            ModelSchema(items[:1], items[1:]),
            dest_model_path=small_disk / "package",
        )
    assert error.value.exit_code == 4 and list(small_disk.iterdir()) == []
