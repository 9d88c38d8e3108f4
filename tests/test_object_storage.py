"""Artifacts from and in object storage, on a real S3 endpoint: `rclone serve s3`, behind a line that breaks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.support import Workshop, run

BIG = os.urandom(5 << 20)


@dataclass
class Line:
    """A TCP line to the endpoint, on which things go wrong.

    Attributes:
        cut: connections end after so many bytes have come back.
        silent: nothing ever comes back.
    """

    target: int
    cut: int | None = None
    silent: bool = False
    cuts: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(near,), daemon=True).start()

    def carry(self, near: socket.socket) -> None:
        if self.silent:
            time.sleep(60)
        try:
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:  # the endpoint has ended meanwhile
            near.close()
            return
        threading.Thread(target=self.pump, args=(near, far, None), daemon=True).start()
        self.pump(far, near, self.cut)

    def pump(self, here: socket.socket, there: socket.socket, cut: int | None) -> None:
        done = 0
        try:
            while data := here.recv(65536):
                there.sendall(data if cut is None else data[: cut - done])
                done += len(data)
                if cut is not None and done >= cut:
                    self.cuts += 1
                    break
        except OSError:
            pass
        for one in (here, there):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """The folder of buckets, and the port."""
    buckets = tmp_path_factory.mktemp("buckets")
    (buckets / "data" / "folder").mkdir(parents=True)
    (buckets / "dvc").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    rclone = Path(sys.executable).with_name("rclone")
    command = [rclone, "serve", "s3", "--auth-key", "KEY,SECRET", "--dir-cache-time", "0s", buckets]
    server = subprocess.Popen([*command, "--addr", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    yield buckets, port
    server.terminate()
    server.wait()


@pytest.fixture
def line(endpoint: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    line = Line(endpoint[1])
    threading.Thread(target=line.serve, daemon=True).start()
    said = {"AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**said, "AWS_ENDPOINT_URL": line.address}.items():
        monkeypatch.setenv(name, value)
    yield line
    line.listener.close()


@pytest.fixture
def data(endpoint: tuple[Path, int]) -> Path:
    place = endpoint[0] / "data"
    (place / "folder" / "number.txt").write_text("5")
    (place / "big.bin").write_bytes(BIG)
    return place


def dvc(shop: Workshop, *arguments: str) -> str:
    return run(sys.executable, "-m", "dvc", *arguments, cwd=shop.root).stdout


def as_custom(shop: Workshop, source: str, name: str = "big") -> subprocess.CompletedProcess[str]:
    return shop.gitreg("new", name, "--from", source, "--type", "custom", "--description", "Weights.")


def test_data_in_a_bucket_becomes_a_model_that_a_fresh_clone_builds_from_its_own_remote(
    workshop: Workshop, line: Line, data: Path
) -> None:
    dvc(workshop, "remote", "add", "-q", "--default", "store", "s3://dvc/store")
    code = ["--class", "adder_model.Adder", "--code", workshop.adder / "src"]
    more = ["--samples", workshop.adder / "samples.json", "--description", "Adds."]
    done = workshop.gitreg("new", "bucket", "--from", "s3://data/folder", *code, *more)
    assert done.returncode == 0 and "dvc push" in done.stdout, done.stderr
    folder = workshop.root / "models" / "bucket"
    said = yaml.safe_load((folder / "model.yaml").read_text())
    assert said["artifact"] == {"url": "s3://data/folder", "path": "folder"}
    ours = (folder / "folder.dvc").read_bytes()
    dvc(workshop, "import-url", "-q", "s3://data/folder", "theirs")
    theirs = yaml.safe_load((workshop.root / "theirs.dvc").read_text())
    assert yaml.safe_load(ours)["deps"] == theirs["deps"], "as DVC itself records an import"
    (workshop.root / "theirs.dvc").unlink()
    assert "up to date" in dvc(workshop, "status", str(folder / "folder.dvc"))
    workshop.commit("from a bucket")
    assert workshop.gitreg("check", "bucket").returncode == 0
    assert workshop.gitreg("apply").returncode == 0
    dvc(workshop, "push", "-q")
    (data / "folder" / "number.txt").write_text("666")  # nobody goes back to where it came from
    run("git", "clone", "-q", workshop.root, workshop.root.parent / "clone", cwd=workshop.root)
    there = Workshop(workshop.root.parent / "clone")
    done = there.gitreg("build", "bucket")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (there.root / "dist/raw/bucket/1/model/number.txt").read_text() == "5"
    assert there.gitreg("verify", "dist").returncode == 0


def test_a_line_that_breaks_again_and_again_brings_all_of_it(
    workshop: Workshop, line: Line, data: Path
) -> None:
    line.cut = 1 << 20
    done = as_custom(workshop, "s3://data/big.bin")
    assert done.returncode == 0, done.stderr
    assert line.cuts > 3 and (workshop.root / "models/big/big.bin").read_bytes() == BIG
    said = yaml.safe_load((workshop.root / "models/big/big.bin.dvc").read_text())
    assert said["deps"][0]["etag"] == said["outs"][0]["md5"] == hashlib.md5(BIG).hexdigest()


@pytest.mark.parametrize("trouble", ["lost", "silent", "down", "credentials", "none"])
def test_an_endpoint_in_trouble_is_told_and_leaves_nothing(
    workshop: Workshop, line: Line, data: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trouble == "lost":
        line.cut = 20_000  # less than the smallest piece that is asked for
    elif trouble == "silent":
        line.silent = True
        dvc(workshop, "remote", "add", "-q", "other", "s3://data/elsewhere")
        dvc(workshop, "remote", "modify", "-q", "other", "read_timeout", "1")
        workshop.commit("patience")
    elif trouble == "down":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    elif trouble == "credentials":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "WRONG")
    else:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    done = as_custom(workshop, "s3://data/big.bin")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "s3://data/big.bin" in done.stderr
    hint = "AWS_ACCESS_KEY_ID" if trouble in ("credentials", "none") else "AWS_ENDPOINT_URL"
    assert hint in done.stderr.partition("hint: ")[2], done.stderr
    assert not (workshop.root / "models" / "big").exists()
    assert run("git", "status", "--porcelain", cwd=workshop.root).stdout == ""


def test_the_endpoint_of_a_dvc_remote_holds_for_what_lies_in_its_bucket(
    workshop: Workshop, line: Line, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    dvc(workshop, "remote", "add", "-q", "store", "s3://data/dvc")
    dvc(workshop, "remote", "modify", "-q", "store", "endpointurl", line.address)
    assert as_custom(workshop, "s3://data/big.bin").returncode == 0
    assert as_custom(workshop, "remote://store/../big.bin", "climbs").returncode == 1
    shutil.copy(data / "big.bin", data / "dvc.bin")
    for wrong in ("s3://data/nothing.bin", "file:///etc/passwd", "https://me:secret@127.0.0.1:9/x"):
        done = as_custom(workshop, wrong, "wrong")
        assert done.returncode == 1 and "secret" not in done.stderr, done.stderr
        assert not (workshop.root / "models" / "wrong").exists()


def test_a_bucket_brings_no_repository_of_git(workshop: Workshop, line: Line, data: Path) -> None:
    (data / "trap" / ".git").mkdir(parents=True)
    for name in ("weights.bin", ".git/config"):
        (data / "trap" / name).write_text("[core]\n")
    done = as_custom(workshop, "s3://data/trap", "trap")
    assert done.returncode == 1 and "'.git/config' is of a Git repository" in done.stderr, done.stderr
    assert not (workshop.root / "models" / "trap").exists()


def test_a_newer_object_is_brought_by_update(workshop: Workshop, line: Line, data: Path) -> None:
    assert as_custom(workshop, "s3://data/big.bin").returncode == 0
    workshop.commit("big")
    assert workshop.gitreg("apply").returncode == 0
    assert workshop.gitreg("update", "--check").returncode == 0
    (data / "big.bin").write_bytes(b"newer")
    assert workshop.gitreg("update", "--check").returncode == 1
    line.silent = True
    dvc(workshop, "remote", "add", "-q", "other", "s3://data/elsewhere")
    dvc(workshop, "remote", "modify", "-q", "other", "read_timeout", "1")
    workshop.commit("patience")
    assert workshop.gitreg("update", "big").returncode == 4
    assert run("git", "status", "--porcelain", cwd=workshop.root).stdout == ""
    line.silent = False
    done = workshop.gitreg("update", "big")
    assert done.returncode == 0 and "updated" in done.stdout, done.stderr
    folder = workshop.root / "models" / "big"
    assert (folder / "big.bin").read_bytes() == b"newer"
    said = yaml.safe_load((folder / "big.bin.dvc").read_text())
    assert said["deps"][0]["etag"] == said["outs"][0]["md5"] == hashlib.md5(b"newer").hexdigest()
    assert "version: 1.0.1" in (folder / "model.yaml").read_text()
    assert workshop.gitreg("check", "big").returncode == 0


@pytest.mark.parametrize("trouble", ["down", "silent", "lost", "credentials", "bucket", "cut"])
def test_a_remote_in_trouble_is_told_and_only_what_it_does_not_have_is_lost(
    workshop: Workshop, line: Line, endpoint: tuple[Path, int], trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = endpoint[0] / "dvc" / trouble
    (workshop.adder / "artifacts" / "more.bin").write_bytes(os.urandom(100_000))
    dvc(workshop, "add", "-q", "models/adder/artifacts")
    cache = workshop.root / ".dvc" / "cache"
    shutil.copytree(cache, store, dirs_exist_ok=True)
    shutil.rmtree(cache)
    bucket = "nowhere" if trouble == "bucket" else "dvc"
    lines = ["[core]", "remote = here", "['remote \"here\"']", f"url = s3://{bucket}/{trouble}"]
    (workshop.root / ".dvc" / "config").write_text("\n".join([*lines, "read_timeout = 1"]))
    if trouble == "down":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    elif trouble == "silent":
        line.silent = True
    elif trouble == "credentials":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "WRONG")
    elif trouble == "lost":
        (lost,) = [p for p in store.rglob("*") if p.is_file() and p.stat().st_size == 100_000]
        lost.unlink()
    elif trouble == "cut":
        line.cut = 20_000
    begun = time.monotonic()
    done = workshop.gitreg("build")
    assert done.returncode == 4 and "'models/adder/artifacts' needs" in done.stderr, done.stderr
    assert ("nor does the remote" in done.stderr) == (trouble == "lost")
    hints = {"lost": "dvc push", "credentials": "credentials", "bucket": "is the address right"}
    assert hints.get(trouble, "run it again") in done.stderr.partition("hint: ")[2], done.stderr
    assert time.monotonic() - begun < 60
    if trouble == "cut":
        line.cut = None
        assert workshop.gitreg("build").returncode == 0
