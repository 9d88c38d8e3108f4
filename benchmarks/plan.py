"""Claim: `gitreg plan` of 1,000 models with 115,000 tags takes at most 4 times `git for-each-ref`, plus
start-up, and less than 300 MiB.

The first time the tags themselves are read: that is held against a for-each-ref that prints what they say."""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from common import ENVIRONMENT, GITREG, fastest, launched, registry, run, verdict, workplace

from gitreg.git import refs

ROUNDS = 5
TIMES, MEMORY = 4.0, 300.0
VERSIONS, STAYS = 100, 15
# When the first commit was made; every later commit and tag is some seconds after it.
BEGIN = 1_600_000_000
WHO = "Bench <bench@example.com>"


def version(number: int) -> str:
    """The nth version of every model."""
    return f"{1 + number // 50}.{number % 50}.0"


def stay(number: int) -> tuple[str, int]:
    """Where a model's nth assignment puts which version: up, in two stages in turn."""
    return ("staging", "production")[number % 2], (number // 2 + 1) * VERSIONS // 8 - 1


def data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"


def history(root: Path, models: int) -> Iterator[str]:
    """What `git fast-import` reads: a commit for each version of each model, and all of their tags."""
    names = [f"model-{i:04}" for i in range(models)]
    manifests = {name: (root / "models" / name / "model.yaml").read_text() for name in names}
    stays = [stay(n) for n in range(STAYS)]
    moment = BEGIN
    yield "reset refs/heads/main\nfrom refs/heads/main^0\n\n"
    for number in range(VERSIONS):
        for i, name in enumerate(names):
            moment += 1
            text = manifests[name].replace("version: 1.2.0", f"version: {version(number)}")
            yield f"commit refs/heads/main\nmark :{number * models + i + 1}\ncommitter {WHO} {moment} +0000\n"
            yield (
                data(f"{name} {version(number)}")
                + f"M 100644 inline models/{name}/model.yaml\n{data(text)}\n"
            )
    for stage in ("staging", "production"):
        last = max(number for place, number in stays if place == stage)
        text = "".join(f"{name}: {version(last)}\n" for name in names)
        yield f"commit refs/heads/main\ncommitter {WHO} {moment} +0000\n" + data(f"{stage} is full")
        yield f"M 100644 inline stages/{stage}.yaml\n{data(text)}\n"
    for i, name in enumerate(names):
        for number in range(VERSIONS):
            trailers = f"Gitreg-Digest: sha256:{number:064}\nGitreg-Artifact: md5:{i:032}\n"
            trailers += f"Gitreg-Manifest: models/{name}/model.yaml\nGitreg-Ordinal: {number + 1}\n"
            message = f"Register {name} {version(number)}\n\n{trailers}"
            yield tag(f"{name}@v{version(number)}", number * models + i + 1, moment + number, message)
        for n, (stage, number) in enumerate(stays):
            message = f"Assign {name} {version(number)} to {stage}\n\nGitreg-Version: {version(number)}\n"
            of = number * models + i + 1
            yield tag(f"{name}#{stage}#{n + 1}", of, moment + VERSIONS + n, message)


def tag(name: str, mark: int, moment: int, message: str) -> str:
    return f"tag {name}\nfrom :{mark}\ntagger {WHO} {moment} +0000\n{data(message)}"


def make(root: Path, models: int) -> None:
    """A registry with that history, its references packed as in a fresh clone; one version is new."""
    registry(root, models)
    importing = subprocess.Popen(
        ["git", "fast-import", "--quiet"], cwd=root, env=ENVIRONMENT, stdin=subprocess.PIPE, text=True
    )
    assert importing.stdin
    with importing.stdin:
        importing.stdin.writelines(history(root, models))
    if importing.wait():
        raise SystemExit("git fast-import fails")
    run("git", "pack-refs", "--all", cwd=root)
    run("git", "reset", "--quiet", "--hard", cwd=root)
    file = root / "models" / "model-0000" / "model.yaml"
    file.write_text(file.read_text().replace(f"version: {version(VERSIONS - 1)}", "version: 9.0.0"))
    run("git", "commit", "--quiet", "--all", "--message", "A new version", cwd=root)


def profile(root: Path) -> None:
    """Print where the time of a second run goes."""
    from gitreg import Registry

    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k.startswith("GIT_")})
    one = cProfile.Profile()
    one.runcall(lambda: Registry(root).plan())
    pstats.Stats(one, stream=sys.stdout).sort_stats("tottime").print_stats(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--workdir", type=Path, help="where the registry is kept")
    parser.add_argument("--profile", action="store_true", help="also print where the time goes")
    asked = parser.parse_args()
    with workplace(asked.workdir) as place:
        root = place / f"plan-{asked.models}"
        if not (root / ".git").exists():
            make(root, asked.models)
        git = ["git", "for-each-ref"]
        count = asked.models * (VERSIONS + STAYS)
        costs: dict[str, list[dict]] = {"first": [], "second": []}

        def plan(kind: str) -> float:
            if kind == "first":
                shutil.rmtree(root / ".git" / "gitreg", ignore_errors=True)
            costs[kind].append(launched(GITREG, "plan", cwd=root))
            return float(costs[kind][-1]["seconds"])

        best = fastest(
            {
                "for-each-ref": lambda: run(*git, "refs/tags/", cwd=root),
                "same fields": lambda: run(*git, f"--format={refs._FORMAT}", "refs/tags/", cwd=root),
                "start-up": lambda: run(GITREG, "--version", cwd=root),
                "first plan": lambda: plan("first"),
                "second plan": lambda: plan("second"),
            },
            ROUNDS,
        )
        for name, seconds in best.items():
            print(f"{name:13} {seconds:.2f} s")
        said = costs["second"][0]["said"].strip()
        assert said == "would register model-0000@9.0.0", said
        for kind, floor in (("first", "same fields"), ("second", "for-each-ref")):
            took = best[f"{kind} plan"] - best["start-up"]
            what = "for-each-ref with its fields" if floor == "same fields" else "a plain for-each-ref"
            verdict(
                f"{kind} plan of {count} tags, less start-up, in {what}", took / best[floor], TIMES, "times"
            )
            peak = min(cost["peak_mib"] for cost in costs[kind])
            verdict(f"peak memory of the {kind} plan", peak, MEMORY, "MiB")
        if asked.profile:
            profile(root)


if __name__ == "__main__":
    main()
