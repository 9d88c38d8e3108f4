"""Claim: `gitreg search` with a metric filter over 20,000 versions, as a whole process, takes less time than
MLflow's `search_model_versions` on SQLite, imports included.

MLflow's filter for versions knows no metrics: it is asked for a tag of the same distribution, which it can
filter in its database. Its store is ready made: 20,000 versions of 1,000 models, with two tags each.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

from common import ENVIRONMENT, GITREG, fastest, registry, run, verdict, workplace
from plan import BEGIN, WHO, data, tag

ROUNDS = 5
BOUND = 1.0
MODELS, VERSIONS = 1000, 20


def accuracy(model: int, version: int) -> float:
    """Spread over 0.5 to 1; one in twenty is above 0.975."""
    return round(0.5 + (model * 7919 + version * 104729) % 10_000 / 20_000, 5)


def make(root: Path) -> None:
    """A registry with 20,000 versions, a commit each."""
    registry(root, MODELS)
    names = [f"model-{i:04}" for i in range(MODELS)]
    manifests = {name: (root / "models" / name / "model.yaml").read_text() for name in names}
    importing = subprocess.Popen(
        ["git", "fast-import", "--quiet"], cwd=root, env=ENVIRONMENT, stdin=subprocess.PIPE, text=True
    )
    assert importing.stdin
    with importing.stdin as stream:
        stream.write("reset refs/heads/main\nfrom refs/heads/main^0\n\n")
        for number in range(VERSIONS):
            for i, name in enumerate(names):
                mark, moment = number * MODELS + i + 1, BEGIN + number * MODELS + i
                text = manifests[name].replace("version: 1.2.0", f"version: 1.{number}.0")
                text = text.replace(
                    "metrics: metrics.json", f"metrics: {{accuracy: {accuracy(i, number)}, auc: 0.9}}"
                )
                stream.write(f"commit refs/heads/main\nmark :{mark}\ncommitter {WHO} {moment} +0000\n")
                stream.write(
                    data(f"{name} 1.{number}.0") + f"M 100644 inline models/{name}/model.yaml\n{data(text)}\n"
                )
                message = f"Register {name} 1.{number}.0\n\nGitreg-Manifest: models/{name}/model.yaml\n"
                stream.write(tag(f"{name}@v1.{number}.0", mark, moment, message))
    if importing.wait():
        raise SystemExit("git fast-import fails")
    run("git", "pack-refs", "--all", cwd=root)


def make_mlflow(file: Path) -> None:
    """MLflow's own tables, made by MLflow, filled by SQL: its API takes minutes for as many rows."""
    code = (
        f"from mlflow import MlflowClient; MlflowClient('sqlite:///{file}').create_registered_model('seed')"
    )
    run(sys.executable, "-c", code)
    with sqlite3.connect(file) as store:
        columns = [row[1] for row in store.execute("PRAGMA table_info(model_versions)")]
        known = {"workspace": "default"} if "workspace" in columns else {}
        spaces, marks = "".join(f", {k}" for k in known), "".join(f", '{v}'" for v in known.values())
        for i in range(MODELS):
            name = f"model-{i:04}"
            store.execute(
                f"INSERT INTO registered_models (name, creation_time, last_updated_time{spaces})"
                f" VALUES (?, ?, ?{marks})",
                (name, BEGIN * 1000, BEGIN * 1000),
            )
            for number in range(VERSIONS):
                store.execute(
                    "INSERT INTO model_versions (name, version, creation_time, last_updated_time,"
                    f" current_stage, source, status{spaces})"
                    f" VALUES (?, ?, ?, ?, 'None', 's3://b/m', 'READY'{marks})",
                    (name, number + 1, BEGIN * 1000 + number, BEGIN * 1000 + number),
                )
                high = "yes" if accuracy(i, number) > 0.975 else "no"
                for key, value in (("high", high), ("accuracy", str(accuracy(i, number)))):
                    store.execute(
                        f"INSERT INTO model_version_tags (name, version, key, value{spaces})"
                        f" VALUES (?, ?, ?, ?{marks})",
                        (name, number + 1, key, value),
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, help="where the registries are kept")
    asked = parser.parse_args()
    with workplace(asked.workdir) as place:
        root, store = place / "search", place / "mlflow.db"
        if not (root / ".git").exists():
            make(root)
        if not store.exists():
            make_mlflow(store)
        theirs = (
            "from mlflow import MlflowClient\n"
            f"client = MlflowClient('sqlite:///{store}')\n"
            "found = client.search_model_versions(\"tags.high = 'yes'\", max_results=100)\n"
            "assert len(found) == 100, len(found)\n"
        )
        ours = [GITREG, "search", "metrics.accuracy > 0.975", "--json", "--limit", "100"]
        print(f"first search, which reads {MODELS * VERSIONS:,} manifests: {run(*ours, cwd=root):.2f} s")
        said = subprocess.run(
            ours, cwd=root, env=ENVIRONMENT, capture_output=True, text=True, check=True
        ).stdout
        expected = sum(accuracy(i, n) > 0.975 for i in range(MODELS) for n in range(VERSIONS))
        assert json.loads(said)["total"] == expected, (json.loads(said)["total"], expected)
        best = fastest(
            {
                "import mlflow": lambda: run(sys.executable, "-c", "import mlflow"),
                "MLflow": lambda: run(sys.executable, "-c", theirs),
                "gitreg search": lambda: run(*ours, cwd=root),
                "with an order": lambda: run(*ours, "--order-by", "metrics.accuracy DESC", cwd=root),
            },
            ROUNDS,
        )
        for name, seconds in best.items():
            print(f"{name:13} {seconds:.2f} s")
        verdict("gitreg search / MLflow", best["gitreg search"] / best["MLflow"], BOUND, "x")


if __name__ == "__main__":
    main()
