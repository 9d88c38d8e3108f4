"""The wheel, installed outside of the checkout, is all that a user needs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import ADDER_CODE, run

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (found,) = folder.glob("gitreg-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, wheel, cwd=target)
    return target


def user(installed: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed gitreg, not the checkout's."""
    command = [sys.executable, "-m", "gitreg", *(str(a) for a in arguments)]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def test_it_holds_the_schemas_the_templates_and_what_packages_carry(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"gitreg/schemas/{p.name}" for p in (ROOT / "schemas").iterdir()}
    wanted |= {f"gitreg/templates/{p.name}" for p in (ROOT / "gitreg" / "templates").iterdir()}
    for kind in ("assets", "templates"):
        wanted |= {f"gitreg/site/{kind}/{p.name}" for p in (ROOT / "gitreg" / "site" / kind).iterdir()}
    wanted |= {
        "gitreg/isolated/child.py",
        "gitreg/isolated/triton_model.py",
        "gitreg/py.typed",
        "gitreg/model.py",
    }
    assert wanted <= names
    assert not [n for n in names if n.startswith(("tests/", "models/", "docs/"))]


def test_it_makes_checks_and_builds_a_registry_far_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert str(installed) in user(installed, "doctor", cwd=tmp_path).stdout
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "number.txt").write_text("7")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "adder_model.py").write_text(ADDER_CODE)
    (tmp_path / "samples.yaml").write_text("- x: [1, 2]\n")
    done = user(installed, "init", "registry", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    model = ["new", "adder", "--from", "../out", "--class", "adder_model.Adder", "--code", "../src"]
    done = user(installed, *model, "--samples", "../samples.yaml", cwd=tmp_path / "registry")
    assert done.returncode == 0, done.stderr
    done = user(installed, "build", cwd=tmp_path / "registry")
    assert done.returncode == 0, done.stderr
    assert "built" in done.stdout
