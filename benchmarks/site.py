"""Claims: `gitreg site build` of 1,000 models with 20 versions each takes at most 20 s when the index is
warm; the first page is less than 300 KB; after a change of one model only its pages are written."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from common import _MANIFEST, _SAMPLES, ENVIRONMENT, GITREG, launched, run, verdict, workplace

SECONDS, PAGE = 20.0, 300.0
VERSIONS = 20
BEGIN = 1_600_000_000
WHO = "Bench <bench@example.com>"
REGISTRY = "registry: bench\nstages: {staging: {}, production: {}}\n"
CARD = "# A card of some length\n\n" + "It says what it is for. " * 40
STAGES = ("staging", "production")


def data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"


def history(models: int) -> Iterator[str]:
    """What `git fast-import` reads: a commit for each version of each model, and tags."""
    yield f"commit refs/heads/main\ncommitter {WHO} {BEGIN} +0000\n{data('begin')}"
    yield f"M 100644 inline registry.yaml\n{data(REGISTRY)}\n"
    moment, mark = BEGIN, 0
    for number in range(1, VERSIONS + 1):
        for i in range(models):
            name = f"model-{i:04}"
            moment, mark = moment + 600, mark + 1
            text = _MANIFEST.format(name=name, package="p").replace(
                "version: 1.2.0", f"version: 1.{number}.0"
            )
            metrics = {
                "accuracy": 0.9 + (number * 7 + i) % 50 / 1000,
                "auc": 0.95 + number / 1000,
                "loss": 1 / number,
            }
            yield f"commit refs/heads/main\nmark :{mark}\ncommitter {WHO} {moment} +0000\n{data(name)}"
            yield f"M 100644 inline models/{name}/model.yaml\n{data(text)}"
            yield f"M 100644 inline models/{name}/metrics.json\n{data(json.dumps(metrics))}"
            if number == 1:
                yield f"M 100644 inline models/{name}/samples.json\n{data(json.dumps(_SAMPLES))}"
                yield f"M 100644 inline models/{name}/README.md\n{data(CARD)}"
            yield f"\ntag {name}@v1.{number}.0\nfrom :{mark}\ntagger {WHO} {moment + 1} +0000\n"
            trailers = f"Gitreg-Digest: sha256:{i:064x}\nGitreg-Ordinal: {number}"
            yield data(f"Register {name} 1.{number}.0\n\n{trailers}\n")
            if number % 4 == 0:
                stage = STAGES[number // 4 % 2]
                yield f"tag {name}#{stage}#{number * 2}\nfrom :{mark}\n"
                yield f"tagger {WHO} {moment + 2} +0000\n{data(stage)}"


def prepare(root: Path, models: int) -> None:
    if (root / ".git").is_dir():
        return
    root.mkdir(parents=True)
    run("git", "init", "--quiet", "--initial-branch=main", ".", cwd=root)
    with subprocess.Popen(
        ["git", "fast-import", "--quiet"], cwd=root, env=ENVIRONMENT, stdin=subprocess.PIPE
    ) as process:
        assert process.stdin
        for part in history(models):
            process.stdin.write(part.encode())
    if process.returncode:
        raise SystemExit("git fast-import failed")
    run("git", "pack-refs", "--all", cwd=root)
    run("git", "reset", "--quiet", "--hard", cwd=root)


def build(root: Path, site: Path) -> tuple[float, dict[str, list[str]]]:
    start = time.perf_counter()
    command = [GITREG, "site", "build", "-o", str(site), "--json"]
    done = subprocess.run(command, cwd=root, env=ENVIRONMENT, capture_output=True, check=True)
    return time.perf_counter() - start, json.loads(done.stdout)


def first_page(site: Path) -> float:
    """KB of index.html and of all that it asks for before it is shown."""
    text = (site / "index.html").read_text()
    asked = re.findall(r'(?:src|href)="((?:assets|data)/[^"]+)"', text)
    return sum(os.path.getsize(site / path) for path in ["index.html", *dict.fromkeys(asked)]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--workdir", type=Path, help="keep the registry here")
    said = parser.parse_args()
    with workplace(said.workdir) as folder:
        root, site = folder / "registry", folder / "site"
        prepare(root, said.models)
        run(GITREG, "search", "metrics.accuracy > 2", cwd=root)  # the index
        run("rm", "-rf", str(site))
        cost = launched(GITREG, "site", "build", "-o", str(site), cwd=root)
        size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) / 1e6
        print(f"{size:,.0f} MB; {cost['cpu']:.1f} s of CPU, peak {cost['peak_mib']:.0f} MiB")
        verdict(f"site build, {said.models:,} models of {VERSIONS} versions", cost["seconds"], SECONDS, "s")
        verdict("the first page and what it needs", first_page(site), PAGE, "KB")
        again, built = build(root, site)
        print(f"again: {again:.2f} s, {len(built['written'])} files written")
        count = len(subprocess.run(["git", "tag"], cwd=root, capture_output=True, text=True).stdout.split())
        run(
            "git", "tag", "-a", "-m", "x", f"model-0007#production#{count}", "model-0007@v1.20.0^{}", cwd=root
        )
        after, built = build(root, site)
        print(f"after a change of model-0007: {after:.2f} s, written: {', '.join(built['written'])}")
        other = [
            p
            for p in built["written"]
            if "model-0007" not in p and p not in ("index.html", "data/models-0.js")
        ]
        verdict("pages of other models written after it", len(other), 0, "files")


if __name__ == "__main__":
    main()
