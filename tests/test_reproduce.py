"""reproduce: what is known of how a version was made, and making it again by real DVC in a clean clone."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitreg import Registry
from tests.support import TRAIN, Workshop, pipeline, run


@pytest.fixture(scope="module")
def _made(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "registry"
    shutil.copytree(_template, folder, symlinks=True)
    shop = Workshop(folder)
    pipeline(shop)
    assert shop.gitreg("trace", "adder").returncode == 0
    shop.commit("lineage")
    done = shop.gitreg("register", "adder")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def made(_made: Path, tmp_path: Path) -> Workshop:
    """A registry whose adder was made by a pipeline, and is registered."""
    folder = tmp_path / "registry"
    shutil.copytree(_made, folder, symlinks=True)
    shutil.copytree(folder / ".dvc" / "cache", tmp_path / "remote")
    (folder / ".dvc" / "config.local").write_text(f"['remote \"here\"']\n    url = {tmp_path / 'remote'}\n")
    return Workshop(folder)


def how(word: str) -> dict[str, str]:
    """What train.py is to do beyond its work."""
    return {**os.environ, "HOW": word}


def said(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def facts(shop: Workshop) -> dict[str, tuple[str, str]]:
    """facet, or facet and name -> status, text."""
    done = Registry(shop.root).reproduce("adder")
    return {f"{f.facet} {f.name}".strip(): (f.status, f.text) for f in done.facts}


def state(shop: Workshop) -> tuple[str, list[str]]:
    """What a reproduction must not change."""
    files = sorted(p.as_posix() for p in shop.root.rglob("*") if ".git/" not in p.as_posix())
    return run("git", "status", "--porcelain", "--ignored", cwd=shop.root).stdout, files


def test_a_deterministic_pipeline_gives_the_same_hash(made: Workshop, tmp_path: Path) -> None:
    known = facts(made)
    assert {key: status for key, (status, _) in known.items()} == {
        "code": "known",
        "data data/numbers.csv": "known",
        "code models/adder/train.py": "known",
        "environment": "known",
        "params": "known",
        "seed": "known",
        "pipeline": "known",
    }
    assert known["pipeline"][1] == "models/adder/dvc.yaml:train, after clean"
    # Another state of the work tree is none of its business, and stays.
    (made.adder / "train.py").write_text("raise SystemExit(9)\n")
    (made.root / "clean.csv").unlink()
    before = state(made)
    kept = tmp_path / "kept"
    done = made.gitreg("reproduce", "adder@1.0.0", "--run", "-o", kept)
    assert done.returncode == 0, done.stderr
    assert "mae: 0.5 was recorded, 0.5 now" in done.stdout
    assert "reproduced: the artifact is the same to the byte" in done.stdout
    shown = done.stderr.index("models/adder/dvc.yaml:train: python train.py")
    assert shown < done.stderr.index("trained on 2")
    assert state(made) == before
    assert (kept / "models" / "adder" / "artifacts" / "number.txt").read_text() == "5"
    assert not (kept / ".dvc" / "config.local").exists()
    assert not (kept / ".git" / "objects" / "info" / "alternates").exists()
    refused = made.gitreg("reproduce", "adder", "-o", kept)
    assert refused.returncode == 1 and "is there, and not empty" in refused.stderr


def test_a_pipeline_with_chance_in_it_is_compared(made: Workshop) -> None:
    done = made.gitreg("reproduce", "adder", "--run", "--json", env=how("chance"))
    assert done.returncode == 1, done.stderr
    data = said(done)
    rerun = data["run"]
    assert data["registered"] and not data["ok"] and not rerun["same"]
    assert data["stages"][-1] == {"name": "models/adder/dvc.yaml:train", "command": "python train.py"}
    assert rerun["got"].endswith(".dir") and rerun["got"] != rerun["expected"]
    assert rerun["metrics"]["mae"]["recorded"] == 0.5 != rerun["metrics"]["mae"]["now"]
    answers = rerun["predictions"]["y"]
    assert answers["differing"] == answers["samples"] == 2 and answers["most"] > 0
    assert rerun["notes"] == []


def test_nothing_runs_without_the_word(made: Workshop, tmp_path: Path) -> None:
    assert made.gitreg("reproduce", "adder", env=how(f"touch {tmp_path / 'ran'}")).returncode == 0
    assert not (tmp_path / "ran").exists()


def test_a_command_that_fails_is_told_and_leaves_the_work_tree_alone(made: Workshop, tmp_path: Path) -> None:
    before = state(made)
    done = made.gitreg("reproduce", "adder", "--run", "-o", tmp_path / "kept", env=how("fail"))
    assert done.returncode == 1
    assert "out of memory" in done.stderr and "error: the pipeline failed: failed to reproduce" in done.stderr
    assert state(made) == before
    assert (tmp_path / "kept" / "models" / "adder" / "train.py").is_file()


def test_a_pipeline_that_hangs_is_ended_with_all_that_it_started(made: Workshop, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    done = made.gitreg("reproduce", "adder", "--run", "--timeout", "12", env=how(f"touch {file}"))
    assert done.returncode == 1 and "the pipeline did not finish within 12 s" in done.stderr
    status = Path(f"/proc/{file.read_text()}/stat")
    assert not status.exists() or ") Z " in status.read_text()


def test_what_is_gone_is_found_and_nothing_is_run(made: Workshop) -> None:
    md5 = _md5_of(made, "data/numbers.csv.dvc")
    for place in (made.root / ".dvc" / "cache", made.root.parent / "remote"):
        (place / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    status, text = facts(made)["data data/numbers.csv"]
    assert (status, text) == ("gone", "is neither in the DVC cache here nor in a DVC remote")
    done = made.gitreg("reproduce", "adder", "--run")
    assert done.returncode == 1 and "nothing was run" in done.stderr
    shutil.rmtree(made.root.parent / "remote")
    assert facts(made)["data data/numbers.csv"][0] == "unreachable"
    assert made.gitreg("reproduce", "adder", "--run").returncode == 4


def _md5_of(shop: Workshop, file: str) -> str:
    import yaml

    return str(yaml.safe_load((shop.root / file).read_text())["outs"][0]["md5"])


def test_code_that_is_not_what_was_trained_is_found(made: Workshop) -> None:
    (made.adder / "train.py").write_text(TRAIN + "# another\n")
    made.commit("changed, and not trained again")
    run("git", "tag", "-d", "adder@v1.0.0", cwd=made.root)
    assert facts(made)["code models/adder/train.py"][0] == "changed"


def lineage(shop: Workshop, **said: Any) -> dict[str, tuple[str, str]]:
    shop.manifest(lineage=said, params={})
    shop.commit("lineage")
    return facts(shop)


def test_what_a_manifest_does_not_say_is_missing(workshop: Workshop) -> None:
    found = facts(workshop)
    assert {key: status for key, (status, _) in found.items()} == {
        **dict.fromkeys(["code", "data", "environment", "params", "pipeline"], "missing"),
        "seed": "note",
    }
    done = workshop.gitreg("reproduce", "adder", "--run")
    assert done.returncode == 1 and "there is nothing to run" in done.stderr
    assert workshop.gitreg("reproduce", "nosuch").returncode == 1


def test_commits_are_looked_for_where_they_are_said_to_be(workshop: Workshop, tmp_path: Path) -> None:
    head = run("git", "rev-parse", "HEAD", cwd=workshop.root).stdout.strip()
    other = tmp_path / "other"
    run("git", "init", "-q", other, cwd=tmp_path)
    run("git", "commit", "-q", "--allow-empty", "-m", "one", cwd=other)
    there = run("git", "rev-parse", "HEAD", cwd=other).stdout.strip()
    assert lineage(workshop, code={"commit": head})["code"][0] == "known"
    assert lineage(workshop, code={"commit": head, "dirty": True})["code"][0] == "missing"
    assert lineage(workshop, code={"commit": "0123456789"})["code"][0] == "gone"
    assert lineage(workshop, code={"commit": there, "repo": str(other)})["code"][0] == "known"
    assert lineage(workshop, code={"commit": there[:10], "repo": str(other)})["code"][0] == "known"
    assert lineage(workshop, code={"commit": "1" * 40, "repo": str(other)})["code"][0] == "gone"
    gone = lineage(workshop, code={"commit": there, "repo": str(tmp_path / "nowhere")})
    assert gone["code"][0] == "unreachable"
    evil = lineage(workshop, code={"commit": there, "repo": "ext::touch /tmp/evil"})
    assert evil["code"][0] == "unreachable"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A web server with one file that has an ETag."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200 if self.path.startswith("/there") else 404)
            self.send_header("ETag", '"abc"')
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_data_is_looked_for_where_it_is_said_to_be(workshop: Workshop, site: str, tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "data.csv").write_text("1")
    found = lineage(
        workshop,
        data=[
            {"name": "same", "url": f"{site}/there", "etag": '"abc"'},
            {"name": "other", "url": f"{site}/there", "etag": "def"},
            {"name": "lost", "url": f"{site}/gone"},
            {"name": "down", "url": "http://127.0.0.1:9/x"},
            {"name": "odd", "url": "nosuch://x/y"},
            {"name": "git", "path": "registry.yaml"},
            {"name": "nowhere", "path": "../../etc/passwd"},
            {"name": "named"},
        ],
    )
    assert {key.removeprefix("data "): s for key, (s, _) in found.items() if key.startswith("data")} == {
        **{"same": "known", "other": "changed", "lost": "gone", "down": "unreachable"},
        **{"odd": "unreachable", "git": "known", "nowhere": "missing", "named": "missing"},
    }


def test_everything_that_is_known_is_enough_without_a_run(workshop: Workshop) -> None:
    head = run("git", "rev-parse", "HEAD", cwd=workshop.root).stdout.strip()
    told = {
        "code": {"commit": head},
        "data": [{"name": "registry", "path": "registry.yaml"}],
        "environment": {"python": "3.8.1", "packages": {"numpy": "1.24.0"}},
        "run": {"tracker": "mlflow", "run_id": "7"},
    }
    found = lineage(workshop, **told)
    assert found["environment numpy"][0] == found["environment python"][0] == "note"
    done = workshop.gitreg("reproduce", "adder")
    assert done.returncode == 0, done.stdout
    assert "everything is known" in done.stdout and "not registered" in done.stdout


def test_an_unreachable_source_alone_is_exit_4(workshop: Workshop) -> None:
    head = run("git", "rev-parse", "HEAD", cwd=workshop.root).stdout.strip()
    workshop.manifest(
        params={},
        lineage={
            "code": {"commit": head},
            "data": [{"name": "down", "url": "http://127.0.0.1:9/x"}],
            "environment": {"python": "3", "packages": {"numpy": "1"}},
            "run": {"run_id": "7"},
        },
    )
    workshop.commit("lineage")
    assert workshop.gitreg("reproduce", "adder").returncode == 4
