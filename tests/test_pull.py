"""gitreg pull: a version's artifact, or its tested package, in a folder; never over what is somebody else's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitreg import Registry, dvcsettings, load_raw_model
from gitreg.errors import Outside, Refused, Usage
from tests.support import Workshop, run
from tests.upstream import Upstream

NO_GIT = {**os.environ, "DVC_NO_ANALYTICS": "1"}


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_artifact_is_pulled_from_an_address(up: Upstream) -> None:
    shop = Workshop(up.place)
    done = shop.gitreg("pull", "adder#production", "--registry", up.url, "-o", "out")
    assert (done.returncode, done.stdout) == (0, "adder@1.0.0: the artifact is in out\n"), done.stderr
    assert "fetching models/adder/artifacts, 1 bytes" in done.stderr
    assert (up.place / "out/number.txt").read_text() == "5"
    assert (up.place / "out/number.txt").stat().st_mode & 0o777 == 0o644
    again = shop.gitreg("pull", "models:/adder/production", "--registry", str(up.bare), "-o", "out", "--json")
    said = json.loads(again.stdout)
    assert (said["status"], said["version"], said["kind"]) == ("unchanged", "1.0.0", "artifact")


def test_a_configuration_elsewhere_lends_its_addresses_and_no_commands(tmp_path: Path) -> None:
    """AWS's own configuration may name a `credential_process`; DVC's, a command that prints a token."""
    root = tmp_path / "laid"
    root.mkdir()
    committed = (
        "[core]\n    remote = store\n    site_cache_dir = /tmp/x\n[cache]\n    dir = /home/ada/.ssh\n"
        "['remote \"store\"']\n    url = s3://bucket/models\n    endpointurl = http://127.0.0.1:9\n"
        "    configpath = ../models/aws\n    credentialpath = ../models/aws\n    ssl_verify = false\n"
        "    access_key_id = theirs\n['remote \"dav\"']\n    url = webdavs://host/x\n    endpointurl = http://evil\n"
        "    bearer_token_command = touch evil\n    keyfile = /home/ada/.ssh/id\n[plots]\n    auto_open = true\n"
        "['remote \"filled\"']\n    url = s3://bucket/%(access_key_id)s\n"
    )
    left = dvcsettings.settle(root, committed.encode(), tmp_path / "cache", None)
    assert list(left) == ["filled"] and "%(access_key_id)s" in left["filled"]
    said = run(sys.executable, "-m", "dvc", "config", "--list", "--project", cwd=root, env=NO_GIT).stdout
    assert set(said.split()) == {
        "remote.store.url=s3://bucket/models",
        "remote.store.endpointurl=http://127.0.0.1:9",
        "remote.dav.url=webdavs://host/x",
        "core.remote=store",
        "core.no_scm=true",
        "core.analytics=false",
        f"core.site_cache_dir={root}/.dvc/site",
        f"cache.dir={tmp_path}/cache",
    }


def test_without_a_folder_it_goes_into_one_of_the_models_name(up: Upstream) -> None:
    done = Workshop(up.work().root).gitreg("pull", "adder", "-o", "../adder")
    assert done.returncode == 0, done.stderr
    done = Workshop(up.place).gitreg("pull", "adder", "--registry", up.url, "--json")
    assert json.loads(done.stdout)["path"] == str(up.place / "adder"), done.stderr
    assert json.loads(done.stdout)["status"] == "unchanged"


def test_the_next_version_replaces_what_was_pulled(up: Upstream, tmp_path: Path) -> None:
    one = Registry(up.url)
    assert one.pull("adder@1.0.0", tmp_path / "out").status == "pulled"
    assert one.pull("adder@1.1.0", tmp_path / "out").status == "pulled"
    assert (tmp_path / "out/number.txt").read_text() == "7"
    (tmp_path / "out/number.txt").unlink()
    assert one.pull("adder@1.1.0", tmp_path / "out").status == "pulled", "what is lost comes back"
    assert names(tmp_path / "out") == {"number.txt", ".gitreg-pull.json"}


@pytest.mark.parametrize("what", ["a file more", "a changed file", "somebody's folder", "a file", "a link"])
def test_what_is_somebody_elses_stays_as_it_is(up: Upstream, tmp_path: Path, what: str) -> None:
    one, out = Registry(up.url), tmp_path / "out"
    if what in ("a file more", "a changed file"):
        one.pull("adder@1.0.0", out)
        (out / ("notes.txt" if what == "a file more" else "number.txt")).write_text("mine")
    elif what == "a file":
        out.write_text("mine")
    else:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/number.txt").write_text("mine")
        out.symlink_to("mine") if what == "a link" else (tmp_path / "mine").rename(out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    for package in (None, "raw"):
        with pytest.raises(Refused):
            one.pull("adder@1.1.0", out, package)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert not [*tmp_path.glob(".gitreg-aside-*")]


def test_the_current_folder_is_not_replaced(up: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(up.place)
    for place in (".", "..", "/"):
        with pytest.raises(Usage, match="as a whole"):
            Registry(up.url).pull("adder", place)


def test_packages_are_those_that_build_makes(up: Upstream, tmp_path: Path) -> None:
    one = Registry(up.url)
    pulled = one.pull("adder#production", tmp_path / "raw/adder", "raw")
    assert (pulled.status, pulled.ordinal) == ("pulled", 1)
    assert one.pull("adder#production", tmp_path / "raw/adder", "raw").status == "unchanged"
    one.pull("adder#production", tmp_path / "triton/adder", "triton")
    load_raw_model(tmp_path / "raw/adder")
    done = up.work().gitreg("build", "adder@1.0.0", "-o", tmp_path / "built")
    assert done.returncode == 0, done.stderr
    run("diff", "-r", tmp_path / "built/raw/adder", tmp_path / "raw/adder", cwd=tmp_path)
    run("diff", "-r", tmp_path / "built/triton/adder", tmp_path / "triton/adder", cwd=tmp_path)
    with pytest.raises(Usage, match="named as the model"):
        one.pull("adder", tmp_path / "other", "triton")


def test_a_pull_that_is_killed_leaves_nothing_and_goes_on(up: Upstream, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gitreg", "pull", "adder", "--registry", up.url, "-o", "out"]
    for after in (0.3, 0.6, 0.9):
        one = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after)
        one.send_signal(signal.SIGKILL)
        one.wait()
        assert not (tmp_path / "out").exists() or names(tmp_path / "out") == {
            "number.txt",
            ".gitreg-pull.json",
        }
    done = Workshop(tmp_path).gitreg("pull", "adder", "--registry", up.url, "-o", "out")
    assert done.returncode == 0 and (tmp_path / "out/number.txt").read_text() == "7", done.stderr
    assert not [*tmp_path.glob(".gitreg-aside-*")]


def test_what_was_fetched_is_not_fetched_again(up: Upstream, tmp_path: Path) -> None:
    Registry(up.url).pull("adder", tmp_path / "one")
    shutil.rmtree(up.remote)
    Registry(up.url).pull("adder", tmp_path / "two")
    assert names(tmp_path / "one") == names(tmp_path / "two")
    with pytest.raises(Outside, match="models/adder/artifacts"):
        Registry(up.url).pull("adder@1.0.0", tmp_path / "three")
    assert not (tmp_path / "three").exists()


def test_what_is_not_registered_is_not_pulled(up: Upstream, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is not registered"):
        Registry(up.url).pull("adder@9.0.0", tmp_path / "out")
    with pytest.raises(Refused, match="there is no model"):
        Registry(up.url).pull("substractor", tmp_path / "out")
