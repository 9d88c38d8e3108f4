"""Claim: `gitreg check --base` costs what the change costs: of one changed model the same in a registry of
10 models and in one of 5,000, within 20 %.

As CI runs it, on a clean checkout; and where Git looks at all files for changes in no commit. All versions
are registered, and every model is in a stage."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

from common import ENVIRONMENT, GITREG, commit, launched, registry, run, verdict, workplace

ROUNDS = 7
BOUND = 1.2
FEW, MANY = 10, 5000
HOWS = ("--committed", "--no-committed")


def prepare(root: Path, models: int) -> None:
    """A registry with everything registered and in staging, and a branch that changes one model."""
    registry(root, models)
    names = sorted(path.name for path in (root / "models").iterdir() if path.is_dir())
    (root / "stages" / "staging.yaml").write_text("".join(f"{name}: 1.2.0\n" for name in names))
    (root / "dvc.yaml").write_text(
        "artifacts:\n"
        + "".join(f"  {n}:\n    path: models/{n}/weights.json\n    type: model\n" for n in names)
    )
    commit(root)
    run(GITREG, "apply", cwd=root)
    run("git", "pack-refs", "--all", cwd=root)  # as in any clone
    run("git", "switch", "--quiet", "--create", "change", cwd=root)
    manifest = root / "models" / names[3] / "model.yaml"
    manifest.write_text(
        manifest.read_text().replace("1.2.0", "1.3.0", 1).replace("shape: [3]", "shape: [-1]")
    )
    (root / "models" / names[3] / "samples.json").write_text(
        (root / "models" / names[3] / "samples.json").read_text() + "\n"
    )
    commit(root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, help="where the registries are kept")
    asked = parser.parse_args()
    costs: dict[tuple[int, str], list[dict]] = {(n, how): [] for n in (FEW, MANY) for how in HOWS}
    with workplace(asked.workdir) as place:
        roots = {size: place / f"base-{size}" for size in (FEW, MANY)}
        for size, root in roots.items():
            if not root.exists():
                prepare(root, size)
        said = {}
        for _ in range(ROUNDS):
            for size, root in roots.items():
                for how in HOWS:
                    shutil.rmtree(root / ".git" / "gitreg", ignore_errors=True)
                    command = (GITREG, "check", "--base", "main", "--no-run", how)
                    costs[size, how].append(launched(*command, cwd=root))
        for size, root in roots.items():
            done = subprocess.run(
                [GITREG, "check", "--base", "main", "--no-run", "--json"],
                cwd=root,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                check=True,
            )
            said[size] = [model["name"] for model in json.loads(done.stdout)["changes"]]
    assert said[FEW] == ["model-0003"] and said[MANY] == ["model-0003"], said
    for (size, how), runs in costs.items():
        seconds, cpu, peak = (min(one[key] for one in runs) for key in ("seconds", "cpu", "peak_mib"))
        print(f"check --base {how:14} {size:5} models: {seconds:.3f} s ({cpu:.2f} s of CPU), {peak:.0f} MiB")
    least = {key: min(one["seconds"] for one in runs) for key, runs in costs.items()}
    for how, what in zip(HOWS, ("as CI runs it", "with a walk of 50,000 files"), strict=True):
        ratio = least[MANY, how] / least[FEW, how]
        verdict(f"check --base {what}, one model of {MANY} / of {FEW}", ratio, BOUND, "x")


if __name__ == "__main__":
    main()
