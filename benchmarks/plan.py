"""Claim: `gitreg plan` in a registry of 1,000 models and 115,000 tags takes at most 4 times `git
for-each-ref` plus start-up, and at most 300 MiB.

100 versions and 15 stage tags of each model; at HEAD one model has a version that is new. The yardstick reads
what any reader of the tags has to: name, object, target and time of each.
"""

import argparse
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from common import ENVIRONMENT, GITREG, launched, run, verdict, workplace

from gitreg.scaffold import init

MODELS, VERSIONS, STAGED = 1000, 100, 15
ROUNDS = 5
TIMES, MEMORY = 4.0, 300.0
WHO = "bench <bench@example.com>"
FIELDS = "%(refname) %(objecttype) %(objectname) %(*objecttype) %(*objectname) %(taggerdate:unix)"


def prepare(root: Path) -> None:
    """A registry whose history is written by `git fast-import`."""
    init(root, "bench")
    names = [f"model-{i:04}" for i in range(MODELS)]
    for i, name in enumerate(names):
        folder = root / "models" / name
        folder.mkdir(parents=True)
        version = f"1.0.{VERSIONS - 1}" if i else "1.1.0"
        (folder / "model.yaml").write_text(
            f"name: {name}\nversion: {version}\ntype: custom\ndescription: One of many.\n"
            "schema:\n  inputs: [{name: x, data_type: float, shape: [4]}]\n"
            "  outputs: [{name: y, data_type: float, shape: [1]}]\n"
        )
    lines = "".join(f"{name}: 1.0.{VERSIONS - 1}\n" for name in names)
    (root / "stages" / "staging.yaml").write_text(lines)
    subprocess.run(["git", "fast-import", "--quiet"], cwd=root, input=b"".join(history(names)), check=True)
    run("git", "symbolic-ref", "HEAD", "refs/heads/main", cwd=root)
    run("git", "add", "--all", cwd=root)
    run("git", "commit", "--quiet", "--message", "Models", cwd=root)
    run("git", "pack-refs", "--all", cwd=root)
    run("git", "repack", "--quiet", "-a", "-d", cwd=root)


def history(names: list[str]) -> Iterator[bytes]:
    """A commit per version, its tags, and stage tags of the last versions."""
    start = 1_700_000_000
    for v in range(VERSIONS):
        head = f"commit refs/heads/main\nmark :{v + 1}\ncommitter {WHO} {start + v} +0000\n"
        yield f"{head}data 1\n.\n".encode()
    for name in names:
        for v in range(VERSIONS):
            yield _tag(f"{name}@v1.0.{v}", v + 1, start + 1000 + v, f"Gitreg-Ordinal: {v + 1}")
        for n in range(STAGED):
            v = VERSIONS - STAGED + n
            yield _tag(f"{name}#staging#{n + 1}", v + 1, start + 2000 + n, f"Gitreg-Version: 1.0.{v}")


def _tag(name: str, mark: int, when: int, trailer: str) -> bytes:
    text = f"{name}\n\n{trailer}\nGitreg-Digest: sha256:{'0' * 64}\n"
    return f"tag {name}\nfrom :{mark}\ntagger {WHO} {when} +0000\ndata {len(text)}\n{text}\n".encode()


def read_tags(root: Path) -> float:
    """Seconds that `git for-each-ref` takes."""
    start = time.perf_counter()
    command = ["git", "for-each-ref", f"--format={FIELDS}", "refs/tags/"]
    subprocess.run(command, cwd=root, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, help="where the registry is kept")
    asked = parser.parse_args()
    with workplace(asked.workdir) as place:
        root = place / "plan-registry"
        if not root.exists():
            prepare(root)
        floor, start, first, again = [], [], [], []
        for _ in range(ROUNDS):
            shutil.rmtree(root / ".git" / "gitreg", ignore_errors=True)
            floor.append(read_tags(root))
            start.append(launched(GITREG, "--version", cwd=root)["seconds"])
            first.append(launched(GITREG, "plan", cwd=root))
            again.append(launched(GITREG, "plan", cwd=root))
    tags, startup = min(floor), min(start)
    print(
        f"git for-each-ref of {MODELS * (VERSIONS + STAGED):,} tags: {tags:.2f} s; start-up {startup:.3f} s"
    )
    for name, runs in (("first", first), ("again", again)):
        seconds, peak = min(r["seconds"] for r in runs), min(r["peak_mib"] for r in runs)
        print(f"gitreg plan, {name}: {seconds:.2f} s, peak {peak:.0f} MiB")
        ratio = (seconds - startup) / tags
        verdict(f"plan ({name}), less start-up / for-each-ref", ratio, TIMES, "x")
        verdict(f"plan ({name}), peak memory", peak, MEMORY, "MiB")


if __name__ == "__main__":
    main()
