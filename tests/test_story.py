"""The whole story, as a user lives it: an empty folder, a registry, a model, packages, answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitreg import load_raw_model
from tests.support import gitreg, needs_triton, run

CODE = """
import json
from pathlib import Path

import numpy as np

from gitreg import Model
from house_prices.scale import scaled


class Prices(Model):
    def __init__(self, weights):
        self.weights = np.asarray(weights, np.float32)

    def save(self, path):
        (Path(path) / "weights.json").write_text(json.dumps(self.weights.tolist()))

    @classmethod
    def load(cls, path):
        return cls(json.loads((Path(path) / "weights.json").read_text()))

    def predict(self, inputs):
        return {"price": scaled(inputs["rooms"] @ self.weights).reshape(1)}
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`gitreg init` in an empty folder, a trained model beside it, `gitreg new`, a commit."""
    folder = tmp_path_factory.mktemp("story")
    training = folder / "training"
    (training / "src" / "house_prices").mkdir(parents=True)
    (training / "src" / "house_prices" / "model.py").write_text(CODE)
    (training / "src" / "house_prices" / "scale.py").write_text(
        "import numpy as np\n\n\ndef scaled(x):\n    return np.asarray(x * 1000, np.float32)\n"
    )
    (training / "out").mkdir()
    (training / "out" / "weights.json").write_text("[1.5, 0.25]")
    (training / "samples.json").write_text(json.dumps([{"rooms": [3.0, 1.0]}, {"rooms": [5.0, 2.0]}]))

    assert gitreg("init", "registry", cwd=folder).returncode == 0
    registry = folder / "registry"
    assert gitreg("check", cwd=registry).returncode == 0
    run(sys.executable, "-m", "dvc", "remote", "add", "-d", "shared", folder / "remote", cwd=registry)
    added = gitreg(
        *("new", "prices", "--from", training / "out", "--class", "house_prices.model.Prices"),
        *("--code", training / "src", "--samples", training / "samples.json"),
        *("--description", "What a house costs."),
        cwd=registry,
    )
    assert added.returncode == 0, added.stderr
    run(sys.executable, "-m", "dvc", "push", "-q", cwd=registry)
    run("git", "add", "-A", cwd=registry)
    run("git", "commit", "-qm", "prices 1.0.0", cwd=registry)
    return registry


def test_the_new_model_passes_check_and_its_schema_was_inferred_from_what_it_answers(story: Path) -> None:
    assert gitreg("check", cwd=story).stdout == "ok: 1 model\n"
    schema = yaml.safe_load((story / "models" / "prices" / "model.yaml").read_text())["schema"]
    assert schema == {
        "inputs": [{"name": "rooms", "data_type": "float", "shape": [2]}],
        "outputs": [{"name": "price", "data_type": "float", "shape": [1]}],
    }


def test_a_clone_builds_the_same_packages_to_the_byte(story: Path, tmp_path: Path) -> None:
    run("git", "clone", "-q", story, tmp_path / "clone", cwd=tmp_path)
    trees = []
    for place, umask in ((story, 0o022), (tmp_path / "clone", 0o077)):
        done = gitreg("build", "--all", "-o", tmp_path / f"dist-{umask}", cwd=place, umask=umask)
        assert done.returncode == 0, done.stderr
        trees.append(tree(tmp_path / f"dist-{umask}"))
    assert trees[0] == trees[1]
    assert "raw/prices/0/defs/house_prices/scale.py" in trees[0]


def test_the_raw_package_answers_without_the_source_tree(story: Path, tmp_path: Path) -> None:
    import numpy as np

    assert gitreg("build", "-o", tmp_path / "dist", "--format", "raw", cwd=story).returncode == 0
    model = load_raw_model(tmp_path / "dist" / "raw" / "prices")
    assert model.predict({"rooms": np.array([2, 0], np.float32)})["price"].tolist() == [3000.0]


@needs_triton
def test_a_real_triton_answers_what_predict_answers(story: Path) -> None:
    predicted = json.loads(gitreg("predict", "prices", "--json", cwd=story).stdout)["predictions"]
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    command = [sys.executable, "-m", "gitreg", "serve", "prices", *ports, "--json"]
    server = subprocess.Popen(command, cwd=story, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        ready = json.loads("".join(iter(server.stdout.readline, "}\n")) + "}")
        url = f"http://{ready['address']}:{ready['http']}/v2/models/prices/infer"
        tensor = {"name": "rooms", "shape": [2, 2], "datatype": "FP32", "data": [3, 1, 5, 2]}
        answer = ask(url, {"inputs": [tensor]})
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 130
    assert answer["outputs"][0]["data"] == [p["price"][0] for p in predicted] == [4750.0, 8000.0]


def test_what_did_not_change_is_not_built_again(story: Path, tmp_path: Path) -> None:
    statuses = []
    for _ in range(2):
        done = gitreg("build", "-o", tmp_path / "dist", "--json", cwd=story)
        statuses.append(json.loads(done.stdout)[0]["status"])
    assert statuses == ["built", "unchanged"]


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its mode and bytes."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): (p.stat().st_mode, p.read_bytes()) for p in files}


def ask(url: str, body: dict[str, Any]) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())) as answer:
        return json.load(answer)
