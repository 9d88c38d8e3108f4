"""Claim: both packages of a 1 GiB artifact that is in the DVC cache take at most 1.3 times hashing it
once (MD5, as DVC does), and write less than 10 MiB. Baseline: copying it into both, as Michelangelo's
packager does."""

import argparse
import hashlib
import os
import shutil
import time
from pathlib import Path

from common import GITREG, commit, init, launched, point, store, verdict, workplace, write_model

ROUNDS = 5
RATIO, MIB = 1.3, 10.0
CHUNK = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the artifact")
    parser.add_argument("--workdir", type=Path, help="where it is made and removed again")
    asked = parser.parse_args()
    with workplace(asked.workdir) as place:
        root = place / "link"
        shutil.rmtree(root, ignore_errors=True)
        big = made(root, asked.mib)
        times: dict[str, list[float]] = {"hash": [], "build": [], "copy": []}
        written: dict[str, list[float]] = {"build": [], "copy": []}
        for _ in range(ROUNDS):
            shutil.rmtree(root / ".git" / "gitreg", ignore_errors=True)
            shutil.rmtree(root / "dist", ignore_errors=True)
            times["hash"].append(hashed(big))
            cost = launched(GITREG, "build", "big", cwd=root)
            times["build"].append(cost["seconds"])
            written["build"].append(max(cost["written"], own_bytes(root / "dist")))
            shutil.rmtree(place / "copies", ignore_errors=True)
            start = time.perf_counter()
            for package in ("triton", "raw"):
                shutil.copytree(big.parent, place / "copies" / package)
            times["copy"].append(time.perf_counter() - start)
            written["copy"].append(own_bytes(place / "copies"))
        shutil.rmtree(place / "copies")
        shutil.rmtree(root)
    for name, all_of_them in times.items():
        extra = f", {max(written[name]) / CHUNK:8.2f} MiB written" if name in written else ""
        print(
            f"{name:5} {min(all_of_them):6.2f} s, {min(all_of_them) / min(times['hash']):5.2f} x hash{extra}"
        )
    verdict("both packages / hashing once", min(times["build"]) / min(times["hash"]), RATIO, "x")
    verdict("written by both packages", max(written["build"]) / CHUNK, MIB, "MiB")


def made(root: Path, mib: int) -> Path:
    """A registry with a model whose artifact is that large; the artifact's object in the DVC cache."""
    init(root, "bench")
    write_model(root, "big", b"{}")
    block, md5 = os.urandom(CHUNK), hashlib.md5()
    temporary = root / ".dvc" / "object"
    with open(temporary, "wb") as stream:
        for i in range(mib):
            chunk = i.to_bytes(8, "big") + block[8:]
            md5.update(chunk)
            stream.write(chunk)
    place = store(root, md5.hexdigest())
    temporary.rename(place)
    place.chmod(0o444)
    folder = root / "models" / "big"
    (folder / "weights.json.dvc").unlink()
    point(folder / "weights.bin", md5.hexdigest(), mib * CHUNK)
    manifest = folder / "model.yaml"
    manifest.write_text(manifest.read_text().replace("weights.json", "weights.bin"))
    model = folder / "src" / "big" / "model.py"
    # It looks at its artifact, and reads it no more than a model that maps its weights.
    loads = 'cls(json.loads(Path(path).read_text())["bias"])'
    assert loads in model.read_text()
    model.write_text(model.read_text().replace(loads, "cls(0.5) if Path(path).exists() else None"))
    commit(root)
    os.sync()
    return place


def hashed(file: Path) -> float:
    """Seconds to hash a file as DVC does: MD5 in chunks of 1 MiB."""
    start, md5 = time.perf_counter(), hashlib.md5()
    with open(file, "rb") as stream:
        while chunk := stream.read(CHUNK):
            md5.update(chunk)
    return time.perf_counter() - start


def own_bytes(folder: Path) -> int:
    """Bytes on disk of the files that are not hard links to something else."""
    files = [path.lstat() for path in folder.rglob("*") if path.is_file()]
    return sum(status.st_blocks * 512 for status in files if status.st_nlink == 1)


if __name__ == "__main__":
    main()
