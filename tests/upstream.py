"""A registry elsewhere: a bare repository, a DVC remote beside it, and an empty cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import Workshop, make_registry, run

LOAD = "import gitreg, sys; m = gitreg.load_model(sys.argv[1], registry=sys.argv[2]); print(m.predict([1, 2])['y'])"


def make_upstream(top: Path) -> None:
    """A registry with adder 1.0.0 in production and 1.1.0 in staging, its bare remote, and its DVC remote."""
    make_registry(top / "registry")
    shop = Workshop(top / "registry")
    config = shop.root / ".dvc/config"
    config.write_text(config.read_text().replace(str(top / "remote"), "../../remote"))
    shop.commit("a remote beside the repository")
    for command in (
        ["apply"],
        ["promote", "adder", "staging", "--apply"],
        ["promote", "adder", "production", "--apply"],
    ):
        done = shop.gitreg(*command)
        assert done.returncode == 0, done.stderr
    (shop.adder / "artifacts/number.txt").unlink()
    (shop.adder / "artifacts/number.txt").write_text("7")
    dvc(shop, "add", "-q", "models/adder/artifacts")
    dvc(shop, "push", "-q")
    shop.manifest(
        version="1.1.0", description="Adds seven.", tags={"domain": "sums"}, metrics={"accuracy": 0.9}
    )
    shop.commit("seven")
    for command in (["apply"], ["promote", "adder", "staging", "--apply"]):
        done = shop.gitreg(*command)
        assert done.returncode == 0, done.stderr
    run("git", "clone", "-q", "--bare", shop.root, top / "up.git", cwd=top)
    run("git", "config", "uploadpack.allowFilter", "true", cwd=top / "up.git")


def dvc(shop: Workshop, *arguments: str) -> None:
    run(sys.executable, "-m", "dvc", *arguments, cwd=shop.root)


class Upstream:
    """A bare repository that is the registry's remote, with its own DVC remote and an empty cache."""

    def __init__(self, made: Path, place: Path) -> None:
        shutil.copytree(made / "up.git", place / "up.git")
        shutil.copytree(made / "remote", place / "remote")
        self.place, self.bare = place, place / "up.git"
        self.url = self.bare.as_uri()
        self.remote, self.cache = place / "remote", place / "le caché"  # as in the home of José

    def work(self) -> Workshop:
        """A clone to change it from."""
        if not (self.place / "work").exists():
            run("git", "clone", "-q", self.bare, "work", cwd=self.place)
        return Workshop(self.place / "work")

    def push(self) -> None:
        run("git", "push", "-q", "origin", "HEAD", "--tags", cwd=self.work().root)

    def load(
        self, uri: str = "models:/adder/production", url: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """In a process of its own."""
        command = [sys.executable, "-c", LOAD, uri, url or self.url]
        return subprocess.run(command, cwd=self.place, capture_output=True, text=True, timeout=120)

    def clone(self) -> Path:
        (found,) = (self.cache / "clones").glob("*.git")
        return found
