"""Clones that lack what nobody has read yet: everything works, and nothing is asked for file by file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import Workshop, run
from tests.test_git_trouble import Team

VERSIONS = 6


@pytest.fixture
def team(workshop: Workshop, tmp_path: Path) -> Team:
    """A clone and its hub, which serves partial clones; adder 1.0.0 to 1.5.0 are registered there."""
    for minor in range(VERSIONS):
        workshop.manifest(version=f"1.{minor}.0", batching={"max_batch_size": 8 + minor})
        workshop.commit(f"1.{minor}.0")
        assert workshop.gitreg("apply").returncode == 0
    run("git", "clone", "-q", "--bare", workshop.root, "hub.git", cwd=tmp_path)
    run("git", "config", "uploadpack.allowFilter", "true", cwd=tmp_path / "hub.git")
    return Team(workshop.root, tmp_path / "hub.git")


def fetches(team: Team) -> int:
    """How often a partial clone has fetched: each fetch brings a pack."""
    return len(list((team.root / ".git" / "objects" / "pack").glob("*.pack")))


@pytest.mark.parametrize("lacks", ["blob:none", "tree:0"])
def test_every_verb_works_in_a_partial_clone(team: Team, lacks: str) -> None:
    cache = team.root / ".dvc" / "cache"
    part = team.clone("part", f"--filter={lacks}")
    run("cp", "-r", cache, part.root / ".dvc" / "cache", cwd=team.root)
    before = fetches(part)
    assert json.loads(part.done("plan", "--json").stdout)["actions"] == []
    assert part.gitreg("doctor").returncode == 0
    # For all versions: their trees, if those are lacking, their manifests, what tracks their artifacts.
    assert fetches(part) - before <= 4 < VERSIONS
    part.done("build", "adder@1.1.0", "-o", "old")
    record = part.root / "old" / "raw" / "adder" / "2" / "metadata" / "download.yaml"
    assert "version: 1.1.0" in record.read_text()
    part.git("switch", "-qc", "change")
    part.manifest(version="1.6.0", batching={"max_batch_size": 20})
    part.commit("1.6.0")
    said = json.loads(part.done("check", "--base", "origin/main", "--no-run", "--json").stdout)
    assert [(a["kind"], a["version"]) for a in said["plan"]["actions"]] == [("register", "1.6.0")]
    part.done("promote", "adder@1.2.0", "staging", "--push")
    part.done("promote", "adder@1.0.0", "archived", "--apply")
    part.git("switch", "-q", "main")
    part.git("pull", "-q")
    part.manifest(version="1.6.0")
    part.commit("1.6.0")
    part.git("push", "-q", "origin", "main")
    part.done("apply", "--push")
    assert part.tags() == ["adder#archived#1"]
    assert "refs/tags/adder@v1.6.0" in part.there() and "promote/adder-1.2.0-staging" in part.there()


def test_a_partial_clone_that_cannot_ask_says_so(team: Team) -> None:
    part = team.clone("part", "--filter=blob:none")
    team.hub.rename(team.hub.with_name("gone"))
    done = part.gitreg("build", "adder@1.1.0", "-o", "old")
    assert done.returncode == 4 and done.stderr.startswith("error: git fetch: "), done.stderr
    assert not (part.root / "old").exists()


def test_a_shallow_clone_says_what_to_fetch(team: Team) -> None:
    part = team.clone("part", "--depth=1")
    part.git("fetch", "-q", "--depth=1", "origin", "refs/tags/*:refs/tags/*")
    for command, code in (
        (["apply"], 1),
        (["apply", "--push"], 1),
        (["check", "--base", "origin/main~1", "--no-run"], 1),
        (["build", "adder@1.1.0", "-o", "old"], 4),
    ):
        done = part.gitreg(*command)
        assert done.returncode == code and "git fetch --unshallow --tags" in done.stderr, done.stderr
    assert json.loads(part.done("plan", "--json").stdout)["actions"] == []
