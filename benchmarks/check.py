"""Claim: `gitreg check` of 1,000 manifests takes at most 3 s, a second run with nothing changed at most
1 s, and memory stays flat: 1,000 manifests need hardly more than 100."""

import argparse
import shutil
from pathlib import Path

from common import GITREG, launched, registry, verdict, workplace

ROUNDS = 5
FIRST, SECOND, FLAT = 3.0, 1.0, 1.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--workdir", type=Path, help="where the registries are kept")
    asked = parser.parse_args()
    sizes = (asked.models // 10, asked.models)
    first: dict[int, list[dict]] = {size: [] for size in sizes}
    second: dict[int, list[dict]] = {size: [] for size in sizes}
    with workplace(asked.workdir) as place:
        roots = {size: place / f"check-{size}" for size in sizes}
        for size, root in roots.items():
            if not (root / ".git").exists():
                registry(root, size)
        for _ in range(ROUNDS):
            for size, root in roots.items():
                shutil.rmtree(root / ".git" / "gitreg", ignore_errors=True)
                first[size].append(launched(GITREG, "check", cwd=root))
                second[size].append(launched(GITREG, "check", cwd=root))
    for name, runs in (("first", first), ("second", second)):
        for size, of_size in runs.items():
            seconds, cpu, peak = (min(run[key] for run in of_size) for key in ("seconds", "cpu", "peak_mib"))
            print(
                f"{name:6} run, {size:5} manifests: {seconds:.2f} s ({cpu:.2f} s of CPU), peak {peak:.0f} MiB"
            )
    most, few = max(sizes), min(sizes)
    verdict(f"first check of {most}", min(r["seconds"] for r in first[most]), FIRST, "s")
    verdict(f"second check of {most}", min(r["seconds"] for r in second[most]), SECOND, "s")
    for name, runs in (("first", first), ("second", second)):
        peaks = {size: min(run["peak_mib"] for run in runs[size]) for size in sizes}
        verdict(f"peak memory of the {name} run, {most} / {few}", peaks[most] / peaks[few], FLAT, "x")


if __name__ == "__main__":
    main()
