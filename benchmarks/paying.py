"""Claim: of a registry of 1,000 models a loader pays for the one that it loads.

What one `load_model` brings to an empty machine, against a registry of 10 models: a clone without contents,
the contents of one model's files, and one artifact. The set-up writes 1,000 models of one version;
`--workdir DIR` keeps them. The models share most of their files, so the whole clone, which is printed
beside it, is smaller than that of a registry of people's.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from common import ENVIRONMENT, GITREG, registry, run, verdict, workplace
from loading import LOAD, publish, share

KIBIBYTES, CONTENTS = 1.0, 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--workdir", type=Path, help="where the registries are kept")
    asked = parser.parse_args()
    with workplace(asked.workdir) as top:
        few, many = (paid(top / str(count), count) for count in (10, asked.models))
    for count, one in ((10, few), (asked.models, many)):
        print(
            f"{count:5} models: clone {one['clone']:7,} KiB and {one['contents']:3} contents, "
            f"artifacts {one['artifacts']} files, {one['seconds']:.2f} s; a whole clone {one['whole']:7,} KiB"
        )
    further = (many["clone"] - few["clone"]) / (asked.models - 10)
    verdict("what each further model costs: its tag and trees", further, KIBIBYTES, "KiB")
    verdict("contents fetched, 1,000 models / 10", many["contents"] / few["contents"], CONTENTS, "x")
    verdict("files of artifacts fetched", many["artifacts"], 1, "")


def paid(place: Path, models: int) -> dict[str, float]:
    if not (place / "up.git").exists():
        place.mkdir(parents=True, exist_ok=True)
        root = registry(place / "registry", models)
        share(root, place)
        run(GITREG, "check", "--fix", cwd=root)
        run("git", "commit", "-qam", "DVC's names", cwd=root)
        run(GITREG, "apply", cwd=root)
        publish(root, place)
    shutil.rmtree(place / "cache", ignore_errors=True)
    shutil.rmtree(place / "whole", ignore_errors=True)
    ENVIRONMENT["GITREG_CACHE"] = str(place / "cache")
    url = (place / "up.git").as_uri()
    seconds = run(sys.executable, "-c", LOAD, "models:/model-0005/1.2.0", url)
    run("git", "clone", "-q", "--bare", url, str(place / "whole"))
    clone = next((place / "cache/clones").glob("*.git"))
    artifacts = [one for one in (place / "cache/artifacts").rglob("*") if one.is_file()]
    return {
        "clone": kibibytes(clone),
        "whole": kibibytes(place / "whole"),
        "contents": contents(clone),
        "artifacts": len(artifacts),
        "seconds": seconds,
    }


def kibibytes(clone: Path) -> int:
    return sum(one.stat().st_size for one in (clone / "objects").rglob("*") if one.is_file()) >> 10


def contents(clone: Path) -> int:
    command = ["git", "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True).stdout.split().count("blob")


if __name__ == "__main__":
    main()
