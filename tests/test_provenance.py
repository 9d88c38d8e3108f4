"""Where a model came from: found by real Git and real DVC, written into the manifest, never invented."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitreg.builder import find_record
from gitreg.redaction import cleaned, holds_secret
from tests.support import ADDER_CODE, DVC, Workshop, gitreg, pipeline, run

NUMPY = importlib.metadata.version("numpy")

ADDRESSES = [
    ("https://ada:pw@example.org/a.git", "https://example.org/a.git"),
    ("https://ghp_token@github.com/a/b.git", "https://github.com/a/b.git"),
    ("ssh://git@github.com/a/b.git", "ssh://git@github.com/a/b.git"),
    ("ssh://git:pw@github.com/a/b.git", "ssh://git@github.com/a/b.git"),
    ("git@github.com:a/b.git", "git@github.com:a/b.git"),
    ("s3://bucket/key?versionId=3", "s3://bucket/key?versionId=3"),
    ("https://s3/k?versionId=3&X-Amz-Signature=abc&X-Amz-Expires=9", "https://s3/k?versionId=3"),
    ("https://a.blob/k?sv=2022&sig=abc", "https://a.blob/k"),
    ("https://example.org/get?id=7&page=2", "https://example.org/get?id=7&page=2"),
    ("https://h/x?access_token=abc", "https://h/x"),
    ("/home/ada/a@b", "/home/ada/a@b"),
]


@pytest.mark.parametrize(("said", "kept"), ADDRESSES)
def test_addresses_lose_their_secrets(said: str, kept: str) -> None:
    assert cleaned(said) == kept
    assert holds_secret(said) == (said != kept)
    assert cleaned(kept) == kept


def manifest(shop: Workshop, model: str = "adder") -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((shop.root / "models" / model / "model.yaml").read_text())
    return data


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A repository of training code with a model that it made, which Git ignores."""
    folder = tmp_path / "training"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "adder_model.py").write_text(ADDER_CODE)
    (folder / "train.py").write_text("print('trained')\n")
    (folder / "Dockerfile").write_text("FROM python:3.11\n")
    (folder / "environment.yml").write_text("name: training\n")
    (folder / ".gitignore").write_text("/out\n")
    (folder / "out").mkdir()
    (folder / "out" / "number.txt").write_text("5")
    (folder / "samples.json").write_text(json.dumps([{"x": [1.0, 2.0]}]))
    run("git", "init", "-q", "-b", "main", cwd=folder)
    run("git", "remote", "add", "origin", "https://ada:secret@example.org/training.git", cwd=folder)
    run("git", "add", "-A", cwd=folder)
    run("git", "commit", "-qm", "train", cwd=folder)
    return folder


def new(shop: Workshop, training: Path, *more: str) -> Any:
    done = shop.gitreg("new", "summer", "--from", training / "out", "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_new_knows_the_repository_that_the_artifact_came_from(workshop: Workshop, training: Path) -> None:
    head = run("git", "rev-parse", "HEAD", cwd=training).stdout.strip()
    made = new(workshop, training, "--class", "adder_model.Adder", "--code", str(training / "src"))["made"]
    assert manifest(workshop, "summer")["lineage"] == {
        "code": {"repo": "https://example.org/training.git", "commit": head, "path": "src"},
        "environment": {
            "python": platform.python_version(),
            "packages": {"numpy": NUMPY},
            "dockerfile": "Dockerfile",
            "conda": "environment.yml",
        },
    }
    assert {"models/summer/Dockerfile", "models/summer/environment.yml"} <= set(made)
    assert "secret" not in "".join(p.read_text() for p in (workshop.root / "models").rglob("*.yaml"))
    assert workshop.gitreg("check").returncode == 0


@pytest.mark.parametrize("what", ["changed", "new module", "new notes"])
def test_a_dirty_training_repository_is_said_to_be_dirty(
    workshop: Workshop, training: Path, what: str
) -> None:
    name = {"changed": "train.py", "new module": "more.py", "new notes": "notes.txt"}[what]
    (training / name).write_text("again\n")
    new(workshop, training)
    assert manifest(workshop, "summer")["lineage"]["code"].get("dirty", False) == (what != "new notes")


def test_what_cannot_be_known_is_left_out(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "number.txt").write_text("5")
    done = workshop.gitreg(
        "new", "summer", "--from", tmp_path / "loose", "--type", "custom", "--requirement", "nosuchpackage"
    )
    assert done.returncode == 0, done.stderr
    assert manifest(workshop, "summer")["lineage"] == {"environment": {"python": platform.python_version()}}


def test_an_mlflow_run_is_read_from_its_yaml(workshop: Workshop, training: Path) -> None:
    (training / "out" / "MLmodel").write_text("run_id: 0a1b2c\nflavors: {python_function: {}}\n")
    done = workshop.gitreg("new", "summer", "--from", training / "out", "--type", "custom")
    assert done.returncode == 0, done.stderr
    assert manifest(workshop, "summer")["lineage"]["run"] == {"tracker": "mlflow", "run_id": "0a1b2c"}


def test_trace_reads_a_pipeline_of_the_registry(workshop: Workshop) -> None:
    pipeline(workshop)
    trained = run("git", "rev-parse", "HEAD", cwd=workshop.root).stdout.strip()
    (workshop.root / "README.md").write_text("no part of training\n")
    workshop.commit("later")
    done = workshop.gitreg("trace", "adder", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    lineage = manifest(workshop)["lineage"]
    assert said["lineage"] == lineage
    assert lineage["code"] == {"commit": trained}
    (data,) = lineage["data"]
    assert data == {"name": "numbers.csv", "path": "data/numbers.csv", "md5": data["md5"]}
    assert len(data["md5"]) == 32
    assert set(said["changes"]) == {
        *("lineage.code.commit", "lineage.data", "lineage.environment.python"),
        "lineage.environment.packages",
    }
    again = workshop.gitreg("trace", "adder")
    assert "lineage is as it was" in again.stdout

    (workshop.adder / "train.py").write_text("pass\n")
    assert workshop.gitreg("trace", "adder").returncode == 0
    assert manifest(workshop)["lineage"]["code"]["dirty"] is True


def test_trace_says_what_it_does_not_know_and_keeps_what_people_wrote(workshop: Workshop) -> None:
    written = {
        "data": [{"name": "customers", "url": "s3://data/customers.parquet", "version": "3"}],
        "environment": {"python": "3.9"},
        "run": {"tracker": "wandb", "run_id": "7"},
    }
    file = workshop.manifest(lineage=written)
    text = file.read_text()
    done = workshop.gitreg("trace", "adder")
    assert done.returncode == 0, done.stderr
    assert "not known: code: no DVC pipeline of this repository makes the artifact" in done.stdout
    assert "not known: data: no DVC pipeline says what training read" in done.stdout
    lineage = manifest(workshop)["lineage"]
    assert lineage["data"] == written["data"] and lineage["run"] == written["run"]
    assert lineage["environment"] == {"python": platform.python_version(), "packages": {"numpy": NUMPY}}
    changed = set(file.read_text().splitlines()) - set(text.splitlines())
    assert len(changed) <= 2


def test_trace_takes_the_training_code_and_data_that_people_name(workshop: Workshop, training: Path) -> None:
    (workshop.root / "extra.csv").write_text("1\n")
    run(*DVC, "add", "-q", "extra.csv", cwd=workshop.root)
    done = workshop.gitreg(
        "trace", "adder", "--code", training / "src", "--data", "extra.csv",
        "--data", "https://u:pw@example.org/more.csv?versionId=2&sig=s", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lineage = manifest(workshop)["lineage"]
    assert lineage["code"]["repo"] == "https://example.org/training.git"
    assert lineage["data"] == [
        {"name": "extra.csv", "path": "extra.csv", "md5": "b026324c6904b2a9cb4b88d6d61c81d1"},
        {"name": "more.csv", "url": "https://example.org/more.csv?versionId=2"},
    ]
    assert lineage["environment"]["dockerfile"] == "Dockerfile"
    assert json.loads(done.stdout)["copied"] == ["models/adder/Dockerfile", "models/adder/environment.yml"]
    gone = workshop.gitreg("trace", "adder", "--data", "nothing.csv")
    assert gone.returncode == 1 and "nothing.csv is no file" in gone.stderr


def test_an_import_keeps_where_it_came_from(workshop: Workshop, training: Path) -> None:
    run(*DVC, "init", "-q", cwd=training)
    run("git", "add", "-A", cwd=training)
    run("git", "commit", "-qm", "dvc", cwd=training)
    head = run("git", "rev-parse", "HEAD", cwd=training).stdout.strip()
    run(*DVC, "import", "-q", training, "train.py", "-o", "got.txt", cwd=workshop.root)
    assert workshop.gitreg("trace", "adder", "--data", "got.txt").returncode == 0
    (data,) = manifest(workshop)["lineage"]["data"]
    assert data["repo"] == str(training) and data["rev"] == head and data["path"] == "train.py"


def test_an_unsatisfied_requirement_is_not_recorded(workshop: Workshop) -> None:
    workshop.manifest(requirements=["numpy<1", "pyyaml; python_version < '3'", "click>=1  # yes"])
    done = workshop.gitreg("trace", "adder")
    assert f"numpy {NUMPY} is installed here, and the model requires numpy<1" in done.stdout
    assert manifest(workshop)["lineage"]["environment"]["packages"] == {
        "click": importlib.metadata.version("click")
    }


def test_packages_carry_the_lineage_and_stay_the_same_to_the_byte(workshop: Workshop, tmp_path: Path) -> None:
    workshop.manifest(lineage={"run": {"run_id": "7"}, "data": [{"name": "customers"}]})
    workshop.commit()
    for name in ("one", "two"):
        assert workshop.gitreg("build", "adder", "-o", tmp_path / name).returncode == 0
    raw = tmp_path / "one" / "raw" / "adder"
    wanted = {"run": {"run_id": "7"}, "data": [{"name": "customers"}]}
    assert yaml.safe_load((raw / "0" / "metadata" / "lineage.yaml").read_text()) == wanted
    for kind in ("raw", "triton"):
        record = find_record(tmp_path / "one" / kind / "adder")
        assert record and record["lineage"] == wanted
    files = {
        p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*") if p.is_file()
    }
    assert files == {
        p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*") if p.is_file()
    }
    assert gitreg("verify", tmp_path / "one", cwd=tmp_path).returncode == 0
