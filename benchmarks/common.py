"""What the benchmarks share: a sealed environment, timing, generated registries, verdicts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitreg.scaffold import init

GITREG = str(Path(sys.executable).with_name("gitreg"))
# Neither the developer's Git configuration nor a running hook may decide what is measured, and no start
# may compile modules again that an installation has compiled.
ENVIRONMENT = {
    **{k: v for k, v in os.environ.items() if not k.startswith("GIT_") and k != "PYTHONDONTWRITEBYTECODE"},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": "bench@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


def verdict(claim: str, measured: float, bound: float, unit: str, at_least: bool = False) -> None:
    """Print one line: the claim, what was measured, the bound, and whether it holds."""
    holds = measured >= bound if at_least else measured <= bound
    sign = ">=" if at_least else "<="
    print(f"{'ok' if holds else 'MISSED':7} {claim}: {measured:.3g} {unit} (bound {sign} {bound:g} {unit})")


def run(*command: str, cwd: Path | None = None) -> float:
    """Run a command, which must succeed; its wall time in seconds."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)
    elapsed = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} exits {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return elapsed


def launched(*command: str, cwd: Path) -> dict[str, Any]:
    """Run a command through launch.py; what it cost. It must succeed."""
    launcher = [sys.executable, "-I", str(Path(__file__).with_name("launch.py"))]
    done = subprocess.run([*launcher, *command], cwd=cwd, env=ENVIRONMENT, capture_output=True, check=True)
    cost: dict[str, Any] = json.loads(done.stdout)
    if cost["code"]:
        raise SystemExit(f"{' '.join(command)} exits {cost['code']}:\n{cost['said']}")
    return cost


def fastest(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The least of several timings of each candidate, taken in turn so that noise hits all alike."""
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(rounds):
        for name, measure in candidates.items():
            best[name] = min(best[name], measure())
    return best


@contextmanager
def workplace(said: Path | None) -> Iterator[Path]:
    """The folder to work in: a named one, which is kept, or a temporary one."""
    if said is not None:
        said.mkdir(parents=True, exist_ok=True)
        yield said.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="gitreg-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def registry(root: Path, models: int) -> Path:
    """A committed registry of realistic models, whose artifacts lie in the DVC cache."""
    init(root, "bench")
    for i in range(models):
        write_model(root, f"model-{i:04}", json.dumps({"bias": i}).encode())
    commit(root)
    return root


def commit(root: Path) -> None:
    run("git", "add", "--all", cwd=root)
    run("git", "commit", "--quiet", "--message", "Models", cwd=root)


def write_model(root: Path, name: str, artifact: bytes) -> None:
    folder, package = root / "models" / name, name.replace("-", "_")
    code = folder / "src" / package
    code.mkdir(parents=True)
    (code / "__init__.py").write_text("")
    (code / "model.py").write_text(_MODEL)
    (code / "features.py").write_text(_FEATURES)
    (code / "labels.json").write_text('["stays", "leaves"]\n')
    (folder / "model.yaml").write_text(_MANIFEST.format(name=name, package=package))
    (folder / "samples.json").write_text(json.dumps(_SAMPLES))
    (folder / "metrics.json").write_text('{"accuracy": 0.93, "auc": 0.97, "rows": 12000}\n')
    (folder / "README.md").write_text(
        f"# {name}\n\nA card of some length.\n{'It says what it is for. ' * 40}\n"
    )
    md5 = hashlib.md5(artifact).hexdigest()
    store(root, md5).write_bytes(artifact)
    store(root, md5).chmod(0o444)
    point(folder / "weights.json", md5, len(artifact))


def store(root: Path, md5: str) -> Path:
    """Where the DVC cache keeps an object; its folder is made."""
    place = root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def point(artifact: Path, md5: str, size: int) -> None:
    """Write the .dvc file of an artifact, as `dvc add` does."""
    artifact.with_name(artifact.name + ".dvc").write_text(
        f"outs:\n- md5: {md5}\n  size: {size}\n  hash: md5\n  path: {artifact.name}\n"
    )
    artifact.with_name(".gitignore").write_text(f"/{artifact.name}\n")


_MANIFEST = """\
# yaml-language-server: $schema=../../schemas/model.schema.json
name: {name}
version: 1.2.0
description: Probability that a customer leaves within 30 days.
owners: ["@risk-team", "@growth-team"]
tags: {{domain: billing, tier: gold}}
type: custom-python
model_class: {package}.model.Churn
code: src
artifact: weights.json
schema:
  inputs:
    - {{name: amounts, data_type: float, shape: [4]}}
    - {{name: counts, data_type: int, shape: [3]}}
    - {{name: country, data_type: string, shape: [1]}}
    - {{name: age, data_type: long, shape: [1], optional: true}}
  outputs:
    - {{name: probability, data_type: float, shape: [1]}}
    - {{name: label, data_type: string, shape: [1]}}
sample_data: samples.json
requirements: ["numpy>=1.24"]
batching: {{custom: false, max_batch_size: 256}}
params: {{learning_rate: 0.1, depth: 6, rounds: 300}}
metrics: metrics.json
lineage:
  code: {{repo: "https://git.example.com/risk/churn", commit: 0f3c1d2e4b5a69788796a5b4c3d2e1f001234567}}
  data:
    - {{name: customers, url: "s3://warehouse/customers/2024-05", version: "2024-05"}}
  environment: {{python: "3.11"}}
license: Apache-2.0
card: README.md
"""

_MODEL = '''\
"""A small model of a usual make: weights from a file, features from a module, labels beside it."""

import json
from pathlib import Path

import numpy as np

from gitreg import Model

from .features import score


class Churn(Model):
    def __init__(self, bias):
        self.bias = bias
        self.labels = json.loads((Path(__file__).parent / "labels.json").read_text())

    def save(self, path):
        Path(path).write_text(json.dumps({"bias": self.bias}))

    @classmethod
    def load(cls, path):
        return cls(json.loads(Path(path).read_text())["bias"])

    def predict(self, inputs):
        p = 1 / (1 + np.exp(-score(inputs) - self.bias))
        return {
            "probability": np.array([p], np.float32),
            "label": np.array([self.labels[int(p > 0.5)]], object),
        }
'''

_FEATURES = '''\
"""Features of one customer."""


def score(inputs):
    age = int(inputs["age"][0]) if "age" in inputs else 40
    home = inputs["country"][0] == b"DE"
    return float(inputs["amounts"].sum()) * 0.01 + int(inputs["counts"].sum()) * 0.1 + home - age * 0.02
'''

_SAMPLES = [
    {"amounts": [i + 0.5, 2.25, 3.0, 4.75], "counts": [i, 2, 3], "country": [c], "age": [30 + i]}
    for i, c in enumerate(["DE", "FR", "NL", "PL", "SE"])
]
