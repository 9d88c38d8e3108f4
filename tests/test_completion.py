"""Completion as shells ask for it: bash for real, the others by what click hears from them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import run
from tests.test_catalog import Shelf, shelf

__all__ = ["shelf"]

BIN = Path(sys.executable).parent

# What bash does with the words of a line: it takes them apart at the signs in COMP_WORDBREAKS, and puts an
# answer in the place of what stands after the last one.
BASH = r"""
source <(gitreg completion bash)
compopt() { :; }
COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
COMP_LINE="$LINE"; COMP_POINT=${#LINE}
_gitreg_completion gitreg "" ""
printf '%s\n' "${COMPREPLY[@]}"
"""


def completed(line: str, cwd: Path) -> list[str]:
    """What the last word of a line becomes in bash."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "LINE": line}
    done = run("bash", "--noprofile", "--norc", "-c", BASH, cwd=cwd, env=environment)
    assert done.stderr == ""
    word = line.rpartition(" ")[2]
    kept = word[: max(word.rfind(sign) for sign in "@:=") + 1]
    return [f"{kept}{answer}" for answer in done.stdout.split("\n") if answer]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gitreg his", ["history"]),
        ("gitreg show ", ["churn", "drift", "forecast"]),
        ("gitreg show ch", ["churn"]),
        ("gitreg show churn@", ["churn@1.1.0", "churn@1.0.0", "churn@latest"]),
        ("gitreg show churn@1.0", ["churn@1.0.0"]),
        ("gitreg show churn#", ["churn#production", "churn#staging"]),
        ("gitreg show models:/churn/p", ["models:/churn/production"]),
        ("gitreg diff churn@1.0.0 forecast@2", ["forecast@2.0.0"]),
        ("gitreg compare churn forecast dr", ["drift"]),
        ("gitreg promote churn@1.0.0 sta", ["staging"]),
        ("gitreg rollback churn prod", ["production"]),
        ("gitreg bump fore", ["forecast"]),
        ("gitreg list --reg", ["--registry"]),
        ("gitreg show nothing@", ["nothing@latest"]),
        ("gitreg show 'unclosed", []),
        ("gitreg show $(touch x)@", []),
    ],
)
def test_bash_completes(shelf: Shelf, line: str, expected: list[str]) -> None:
    shelf.write("drift")
    assert completed(line, shelf.root) == expected
    assert not (shelf.root / "x").exists()


def test_a_place_without_a_registry_completes_nothing_and_says_nothing(tmp_path: Path) -> None:
    assert completed("gitreg show ", tmp_path) == []
    assert completed("gitreg show --registry https://example.com/x ch", tmp_path) == []


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("zsh", {"COMP_WORDS": "gitreg show ch", "COMP_CWORD": "2"}),
        ("fish", {"COMP_WORDS": "gitreg show", "COMP_CWORD": "ch"}),
    ],
)
def test_zsh_and_fish_get_the_same(shelf: Shelf, shell: str, words: dict[str, str]) -> None:
    said = run(BIN / "gitreg", "completion", shell, cwd=shelf.root).stdout
    assert "_GITREG_COMPLETE" in said
    asked = {**os.environ, **words, "_GITREG_COMPLETE": f"{shell}_complete"}
    done = subprocess.run([BIN / "gitreg"], env=asked, cwd=shelf.root, capture_output=True, text=True)
    assert "churn" in done.stdout and "forecast" not in done.stdout


def test_no_tag_gets_into_a_shell_that_is_no_version(shelf: Shelf) -> None:
    for name in ("churn@v1.$(id)", "churn#`id`#1", "x;id@v1.0.0", "churn@v9.9.9;id"):
        run("git", "update-ref", f"refs/tags/{name}", "HEAD", cwd=shelf.root)
    found = [*completed("gitreg show ", shelf.root), *completed("gitreg show churn@", shelf.root)]
    found += completed("gitreg show churn#", shelf.root)
    assert not any(set(word) & set(";`$()") for word in found)


def test_it_loads_nothing_heavy(shelf: Shelf) -> None:
    code = (
        "import os, sys, atexit\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from gitreg.cli import main\nmain([])\n"
    )
    asked = {**os.environ, "COMP_LINE": "gitreg show ch", "_GITREG_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=asked, cwd=shelf.root, capture_output=True, text=True
    )
    assert done.stdout.strip() == "plain,churn"
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert not {"dvc", "git", "numpy", "jsonschema", "yaml", "rich", "sqlite3"} & loaded
