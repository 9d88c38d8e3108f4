"""Claim: `load_model` in a fresh process takes at most 1.5 times the framework's own import and load.

The cache is warm: the version was loaded on this machine before. NumPy alone is the hard case, as nothing
else is as fast to import. Also printed: by an address, with the fetch that it costs to know what is in
production now.
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from common import ENVIRONMENT, GITREG, commit, fastest, point, run, store, verdict, workplace

from gitreg.scaffold import init

BOUND = 1.5

_MANIFEST = """\
name: {name}
version: 1.0.0
type: custom-python
model_class: its_model.Its
code: src
artifact: weights.bin
schema:
  inputs: [{{name: x, data_type: float, shape: [20]}}]
  outputs: [{{name: p, data_type: float, shape: [1]}}]
sample_data: samples.json
"""
_CLASS = """\
import numpy as np
from gitreg import Model
{imports}

class Its(Model):
    def __init__(self, it):
        self.it = it

    def save(self, path):
        with open(path, "wb") as file:
            {save}

    @classmethod
    def load(cls, path):
        return cls({load})

    def predict(self, inputs):
        return {{"p": np.asarray({ask}, np.float32).reshape(1)}}
"""
# imports; how it is saved, loaded and asked.
MODELS = {
    "numpy": ("", "np.save(file, self.it)", "np.load(path)", 'inputs["x"] @ self.it'),
    "scikit-learn": (
        "import joblib",
        "joblib.dump(self.it, file)",
        "joblib.load(path)",
        'self.it.predict_proba(inputs["x"][None])[:, 1]',
    ),
    "torch": (
        "import torch",
        "torch.save(self.it, file)",
        "torch.load(path, weights_only=True)",
        'torch.from_numpy(inputs["x"]) @ self.it["w"]',
    ),
}
BARE = "import numpy as np, sys; path = sys.argv[1]\n{imports}\n{load}"
LOAD = "import gitreg, sys; gitreg.load_model(sys.argv[1], registry=sys.argv[2])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workdir", type=Path, help="where the registry is kept")
    asked = parser.parse_args()
    with workplace(asked.workdir) as place:
        ENVIRONMENT["GITREG_CACHE"] = str(place / "cache")
        if not (place / "up.git").exists():
            set_up(place)
        for name, (imports, _, load, _) in MODELS.items():
            bare = [sys.executable, "-c", BARE.format(imports=imports, load=load), str(place / f"{name}.bin")]
            best = measured(bare, f"models:/its-{name}/latest", place, asked.rounds)
            for how, seconds in best.items():
                print(f"{name:13} {how:17} {seconds * 1e3:7.1f} ms")
            for how in ("folder", "address, offline"):
                verdict(f"load_model of {name}, {how} / bare", best[how] / best["bare"], BOUND, "x")
            print(f"        by address, with a fetch / bare: {best['address, fetched'] / best['bare']:.3g} x")


def measured(bare: list[str], uri: str, place: Path, rounds: int) -> dict[str, float]:
    root, url = str(place / "registry"), (place / "up.git").as_uri()
    candidates: dict[str, Callable[[], float]] = {
        "bare": lambda: run(*bare),
        "folder": lambda: run(sys.executable, "-c", LOAD, uri, root),
        "address, fetched": lambda: run(sys.executable, "-c", LOAD, uri, url),
        "address, offline": lambda: offline(LOAD, uri, url),
    }
    for candidate in candidates.values():
        candidate()
    return fastest(candidates, rounds)


def offline(*command: str) -> float:
    ENVIRONMENT["GITREG_OFFLINE"] = "1"
    try:
        return run(sys.executable, "-W", "ignore", "-c", *command)
    finally:
        del ENVIRONMENT["GITREG_OFFLINE"]


def set_up(place: Path) -> None:
    """A registry of one model per framework, its remotes, and the artifacts by themselves."""
    import hashlib
    import io

    import joblib
    import numpy as np
    import torch
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression

    root = place / "registry"
    init(root, "bench")
    x, y = make_classification(400, 20, random_state=0)
    trained = {
        "numpy": lambda file: np.save(file, np.arange(20, dtype=np.float32) / 400),
        "scikit-learn": lambda file: joblib.dump(LogisticRegression().fit(x, y), file),
        "torch": lambda file: torch.save({"w": torch.arange(20, dtype=torch.float32) / 400}, file),
    }
    for name, (imports, save, load, ask) in MODELS.items():
        data = io.BytesIO()
        trained[name](data)
        folder = root / "models" / f"its-{name}"
        (folder / "src").mkdir(parents=True)
        text = _CLASS.format(imports=imports, save=save, load=load, ask=ask)
        (folder / "src" / "its_model.py").write_text(text)
        (folder / "model.yaml").write_text(_MANIFEST.format(name=f"its-{name}"))
        (folder / "samples.json").write_text('[{"x": [' + ", ".join(["0.5"] * 20) + "]}]")
        (place / f"{name}.bin").write_bytes(data.getvalue())
        md5 = hashlib.md5(data.getvalue()).hexdigest()
        store(root, md5).write_bytes(data.getvalue())
        store(root, md5).chmod(0o444)
        point(folder / "weights.bin", md5, len(data.getvalue()))
    share(root, place)
    run(GITREG, "check", "--fix", cwd=root)
    commit(root)
    run(GITREG, "apply", cwd=root)
    publish(root, place)


def share(root: Path, place: Path) -> None:
    """A DVC remote beside the registry, with all that its cache has."""
    run(sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "here", str(place / "remote"), cwd=root)
    shutil.copytree(root / ".dvc/cache/files", place / "remote/files")


def publish(root: Path, place: Path) -> None:
    """A bare remote of the registry, on a server that leaves contents out when it is asked to."""
    run("git", "clone", "--quiet", "--bare", str(root), str(place / "up.git"))
    run("git", "config", "uploadpack.allowFilter", "true", cwd=place / "up.git")


if __name__ == "__main__":
    main()
