"""Real Git, real DVC, real folders; sealed off from the developer's own HOME and configuration."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support import Workshop, make_registry
from tests.upstream import Upstream, make_upstream
from tests.wheelhouse import numpy_wheel

# A shell that starts the suite in the background has it ignore ^C, and what it starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Kills, races, object storage, the largest frameworks, attacks, fuzzing: `make slow`, which CI runs as well.
SLOW = {"test_convert", "test_frameworks", "test_killed", "test_mlflow", "test_races"}
SLOW |= {"test_object_storage", "test_pmml"}
# Attacks and bad luck, by every reader and every command: environments are made, each verb is run many times.
SLOW |= {
    "test_child_environment",
    "test_environments",
    "test_full_disks",
    "test_git_trouble",
    "test_hostile_branch",
    "test_hostile_models",
    "test_kept",
    "test_leading_out",
    "test_links",
    "test_live",
    "test_monorepo",
    "test_network",
    "test_planted",
    "test_printed",
    "test_sandbox",
    "test_touched",
}
# The files that take longest, begun first: a file is done by one of two workers, and neither is to end alone.
LONG = ("test_promote", "test_object_storage", "test_workflows", "test_subscriptions", "test_flavors")
LONG += (
    "test_fsck",
    "test_git_trouble",
    "test_review",
    "test_pmml",
    "test_hook",
    "test_gto",
    "test_environments",
    "test_links",
    "test_printed",
    "test_artifacts",
    "test_monorepo",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones, and put the long ones first."""
    for item in items:
        if item.path.stem in SLOW or item.path.stem.startswith("test_fuzz_"):
            item.add_marker("slow")
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(autouse=True, scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No configuration from outside, one author, no network."""
    home = tmp_path_factory.mktemp("home")
    outside = ("GIT_", "DVC_", "GITREG_", "XDG_")
    for name in [n for n in os.environ if n == "CI" or n.startswith(outside) or n.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ.update(
        HOME=str(home),
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=str(home / ".gitconfig"),
        GIT_AUTHOR_NAME="Ada",
        GIT_AUTHOR_EMAIL="ada@example.org",
        GIT_COMMITTER_NAME="Ada",
        GIT_COMMITTER_EMAIL="ada@example.org",
        DVC_NO_ANALYTICS="1",
        NO_COLOR="1",
        # Two workers and their children share the cores: threads that wait for each other spin.
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
    )


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "registry"
    make_registry(folder)
    return folder


@pytest.fixture
def workshop(_template: Path, tmp_path: Path) -> Workshop:
    """A fresh registry, committed, with one working model `adder` whose artifact is in DVC's cache."""
    folder = tmp_path / "registry"
    shutil.copytree(_template, folder, symlinks=True)
    return Workshop(folder)


@pytest.fixture(scope="session")
def numpy_house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip can take NumPy from."""
    return numpy_wheel(tmp_path_factory.mktemp("numpy")).parent


@pytest.fixture
def house(numpy_house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that pip takes packages from, with NumPy in it; and an empty cache."""
    folder = tmp_path / "house"
    folder.mkdir()
    for file in numpy_house.iterdir():
        os.link(file, folder / file.name)
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("GITREG_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture(scope="session")
def _upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upstream")
    make_upstream(folder)
    return folder


@pytest.fixture
def up(_upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """A registry elsewhere: adder 1.0.0 in production, 1.1.0 in staging; and an empty cache."""
    one = Upstream(_upstream, tmp_path)
    monkeypatch.setenv("GITREG_CACHE", str(one.cache))
    return one
