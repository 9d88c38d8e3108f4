"""A small registry to try things on, and a few words for doing so."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ADDER_CODE = '''
from pathlib import Path

import numpy as np

from gitreg import Model


class Adder(Model):
    """Adds a learned number."""

    def __init__(self, number):
        self.number = number

    def save(self, path):
        (Path(path) / "number.txt").write_text(str(self.number))

    @classmethod
    def load(cls, path):
        return cls(int((Path(path) / "number.txt").read_text()))

    def predict(self, inputs):
        return {"y": inputs["x"] + np.int32(self.number)}
'''

ADDER_MANIFEST: dict[str, Any] = {
    "name": "adder",
    "version": "1.0.0",
    "type": "custom-python",
    "model_class": "adder_model.Adder",
    "code": "src",
    "artifact": "artifacts",
    "schema": {
        "inputs": [{"name": "x", "data_type": "int", "shape": [2]}],
        "outputs": [{"name": "y", "data_type": "int", "shape": [2]}],
    },
    "sample_data": "samples.json",
    "requirements": ["numpy>=1.24"],
}


def run(*command: str | Path, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that must succeed."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def gitreg(*arguments: str | Path, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the gitreg command as a user would; whatever it exits with."""
    command = [sys.executable, "-m", "gitreg", *(str(a) for a in arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, **options)


@dataclass
class Workshop:
    """A registry in a temporary folder."""

    root: Path

    @property
    def adder(self) -> Path:
        """The folder of its model `adder`."""
        return self.root / "models" / "adder"

    def manifest(self, model: str = "adder", **changes: Any) -> Path:
        """Write a model's manifest: ADDER_MANIFEST with changes; a change to None leaves a key out."""
        return write_manifest(self.root / "models" / model / "model.yaml", changes)

    def code(self, text: str) -> None:
        """Replace the adder's code."""
        (self.adder / "src" / "adder_model.py").write_text(text)

    def samples(self, data: Any) -> None:
        """Replace the adder's sample data."""
        (self.adder / "samples.json").write_text(json.dumps(data))

    def commit(self, message: str = "change") -> None:
        """Commit everything."""
        run("git", "add", "-A", cwd=self.root)
        run("git", "commit", "-qm", message, cwd=self.root)

    def gitreg(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run gitreg in the registry."""
        return gitreg(*arguments, cwd=self.root, **options)


def write_manifest(file: Path, changes: Mapping[str, Any]) -> Path:
    """Write ADDER_MANIFEST with changes to a file."""
    data = {k: v for k, v in {**ADDER_MANIFEST, **changes}.items() if v is not None}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data, indent=2))  # JSON is YAML
    return file


def make_registry(root: Path) -> None:
    """A registry made by `gitreg init`, with the adder tracked by DVC and everything committed."""
    from gitreg import scaffold

    scaffold.init(root, "workshop")
    shop = Workshop(root)
    (shop.adder / "src").mkdir(parents=True)
    shop.code(ADDER_CODE)
    shop.samples([{"x": [1, 2]}, {"x": [30, 40]}])
    (shop.adder / "artifacts").mkdir()
    (shop.adder / "artifacts" / "number.txt").write_text("5")
    run(sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "here", root.parent / "remote", cwd=root)
    run(sys.executable, "-m", "dvc", "add", "-q", shop.adder / "artifacts", cwd=root)
    run(sys.executable, "-m", "dvc", "push", "-q", cwd=root)
    shop.manifest()
    run(sys.executable, "-m", "gitreg", "check", "--fix", cwd=root)
    shop.commit("first")


@contextlib.contextmanager
def mounted(place: Path, how: str) -> Iterator[None]:
    """A disk of its own at a place, by options of a tmpfs: `size=16k`, `ro`."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", how, "none", str(place)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs takes root")
    try:
        yield
    finally:
        run("umount", "-l", place, cwd=place.parent)


# Where NVIDIA publishes a Triton as a wheel that Python can use; there its absence is a failure, not a skip.
HAS_TRITON_WHEEL = sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 13)
needs_triton = pytest.mark.skipif(not HAS_TRITON_WHEEL, reason="no Triton wheel for this platform")


DVC = (sys.executable, "-m", "dvc")

# What it does beyond its work is asked for in the environment: HOW.
TRAIN = """
import json, os, random, time
from pathlib import Path

how = os.environ.get("HOW", "")
numbers = Path("../../clean.csv").read_text().split(",")
number = random.SystemRandom().randrange(10**9) if how == "chance" else sum(map(int, numbers))
Path("artifacts").mkdir(exist_ok=True)
Path("artifacts/number.txt").write_text(str(number))
Path("metrics.json").write_text(json.dumps({"mae": number / 10}))
print("trained on", len(numbers))
if how.startswith("touch "):
    Path(how[6:]).write_text(str(os.getpid()))
    time.sleep(600)
if how == "fail":
    raise SystemExit("out of memory")
"""


def pipeline(shop: Workshop) -> None:
    """A pipeline in the registry that makes the adder's artifact from data in DVC."""
    import yaml

    (shop.root / "data").mkdir()
    (shop.root / "data" / "numbers.csv").write_text("2,3\n")
    run(*DVC, "add", "-q", "data/numbers.csv", cwd=shop.root)
    (shop.adder / "artifacts.dvc").unlink()
    shutil.rmtree(shop.adder / "artifacts")
    (shop.adder / "train.py").write_text(TRAIN)
    said = yaml.safe_load((shop.root / "dvc.yaml").read_text())
    clean = {"cmd": "cp data/numbers.csv clean.csv", "deps": ["data/numbers.csv"], "outs": ["clean.csv"]}
    (shop.root / "dvc.yaml").write_text(yaml.safe_dump({**said, "stages": {"clean": clean}}))
    stage = {
        "cmd": "python train.py",
        "deps": ["../../clean.csv", "train.py"],
        "outs": ["artifacts"],
        "metrics": [{"metrics.json": {"cache": False}}],
    }
    (shop.adder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
    shop.manifest(metrics="metrics.json", params={"seed": 0})
    run(*DVC, "repro", "-q", "models/adder/dvc.yaml", cwd=shop.root, env=_with_python())
    run(*DVC, "push", "-q", cwd=shop.root)
    shop.commit("a pipeline")


def _with_python() -> dict[str, str]:
    """The environment in which `python` is this one."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
