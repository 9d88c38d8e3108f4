"""Merges that follow each other faster than their runs: what each run still does, in whatever order they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import Workshop, run
from tests.test_git_trouble import Team


@pytest.fixture
def team(workshop: Workshop, tmp_path: Path) -> Team:
    """A clone and its hub, with adder 1.0.0 registered."""
    run("git", "clone", "-q", "--bare", workshop.root, "hub.git", cwd=tmp_path)
    team = Team(workshop.root, tmp_path / "hub.git")
    team.git("remote", "add", "origin", team.hub)
    team.git("fetch", "-q", "origin")
    team.done("apply", "--push")
    return team


def merge(team: Team, version: str | None, **said: object) -> str:
    """A merge commit on the hub's main that has adder say a version; its id."""
    team.git("switch", "-qc", "change")
    team.manifest(version=version, **said)
    team.git("commit", "-qam", f"adder {version}")
    team.git("switch", "-q", "main")
    team.git("merge", "-q", "--no-ff", "-m", f"Merge adder {version}", "change")
    team.git("branch", "-qD", "change")
    team.git("push", "-q", "origin", "main")
    return team.git("rev-parse", "HEAD")


def apply_at(team: Team, commit: str, *options: str) -> dict[str, Any]:
    """What a run of a commit does, in a clone of its own."""
    place = team.clone(f"run-{len(list(team.hub.parent.iterdir()))}")
    place.git("checkout", "-q", commit)
    place.git("remote", "set-head", "origin", "main")
    data: dict[str, Any] = json.loads(place.done("apply", "--push", "--json", *options).stdout)
    return data


def versions(team: Team) -> list[tuple[str, str]]:
    """(version, commit) of what is registered on the hub, in the order of time."""
    form = "--format=%(refname:strip=2) %(object)"
    listed = run("git", "for-each-ref", "--sort=taggerdate", form, "refs/tags/adder@*", cwd=team.hub).stdout
    return [(line.split()[0].removeprefix("adder@v"), line.split()[1]) for line in listed.splitlines()]


def ordinals(team: Team) -> list[str]:
    form = "--format=%(contents:trailers:key=Gitreg-Ordinal,valueonly)"
    return run(
        "git", "for-each-ref", "--sort=taggerdate", form, "refs/tags/adder@*", cwd=team.hub
    ).stdout.split()


def test_the_run_of_an_overtaken_merge_registers_what_only_its_files_said(team: Team) -> None:
    (team.root / "stages" / "staging.yaml").write_text("adder: latest\n")
    first = merge(team, "1.2.0")
    second = merge(team, "1.3.0")
    said = apply_at(team, first)
    assert [(a["kind"], a["version"], a["commit"]) for a in said["actions"]] == [("register", "1.2.0", first)]
    assert said["behind"].endswith("; the run of its last commit applies the rest")
    assert apply_at(team, first)["actions"] == []
    said = apply_at(team, second)
    assert [(a["kind"], a["version"]) for a in said["actions"]] == [
        ("register", "1.3.0"),
        ("assign", "1.3.0"),
    ]
    assert versions(team)[1:] == [("1.2.0", first), ("1.3.0", second)]
    assert ordinals(team) == ["1", "2", "3"]
    assert apply_at(team, second, "--before", first)["actions"] == []


def test_the_run_that_was_faster_registers_first_what_the_merge_before_it_says(team: Team) -> None:
    first, second = merge(team, "1.2.0"), merge(team, "1.3.0")
    said = apply_at(team, second, "--before", first)
    assert [a["version"] for a in said["earlier"]["actions"]] == ["1.2.0"]
    assert versions(team)[1:] == [("1.2.0", first), ("1.3.0", second)]
    again = apply_at(team, first)
    assert (again["actions"], again["late"]) == ([], [])


def test_what_comes_after_a_later_commits_version_is_too_late(team: Team) -> None:
    first, second = merge(team, "1.2.0"), merge(team, "1.3.0")
    apply_at(team, second)
    said = apply_at(team, first)
    assert (said["actions"], said["late"]) == ([], [{"model": "adder", "version": "1.2.0", "later": "1.3.0"}])
    place = team.clone("again")
    place.git("checkout", "-q", first)
    done = place.done("apply", "--push")
    assert "adder@1.2.0 comes too late: 1.3.0 of a later commit is registered" in done.stdout
    assert versions(team)[1:] == [("1.3.0", second)]


def test_what_the_last_commit_says_too_is_left_to_its_run(team: Team) -> None:
    """It may have been mended under its number, as long as that was not registered."""
    first = merge(team, "1.2.0")
    second = merge(team, "1.2.0", batching={"max_batch_size": 8})
    assert apply_at(team, first)["actions"] == []
    assert apply_at(team, second, "--before", first)["earlier"]["actions"] == []
    assert versions(team)[1:] == [("1.2.0", second)]


def test_a_commit_that_the_branch_never_ended_at_registers_nothing(team: Team) -> None:
    merge(team, "1.2.0")
    inside = team.git("rev-parse", "HEAD^2")
    merge(team, "1.3.0")
    assert apply_at(team, inside)["actions"] == []
    assert [version for version, _ in versions(team)] == ["1.0.0"]


def test_a_blank_version_is_left_to_the_last_commit(team: Team) -> None:
    first = merge(team, None, batching={"max_batch_size": 8})
    second = merge(team, None, batching={"max_batch_size": 16})
    assert apply_at(team, first)["actions"] == []
    apply_at(team, second, "--before", first)
    assert versions(team)[1:] == [("1.0.1", second)]


@pytest.mark.parametrize("before", ["0" * 40, "no-such-branch", "-x", "HEAD", "adder@v1.0.0"])
def test_a_commit_before_that_is_none_is_no_hindrance(team: Team, before: str) -> None:
    commit = merge(team, "1.2.0")
    assert [a["version"] for a in apply_at(team, commit, f"--before={before}")["actions"]] == ["1.2.0"]


def test_a_commit_before_that_is_broken_is_no_hindrance(team: Team) -> None:
    first = merge(team, "1.2.0", batching="nothing")
    second = merge(team, "1.3.0", batching={"max_batch_size": 8})
    place = team.clone("broken")
    done = place.done("apply", "--push", "--before", first)
    assert f"{first[:12]}, the commit before, is left as it is: " in done.stderr
    assert versions(team)[1:] == [("1.3.0", second)]


def test_before_goes_with_push(team: Team) -> None:
    assert team.gitreg("apply", "--before", "HEAD~1").returncode == 2


def test_the_matrix_of_apply_has_what_was_registered_and_nothing_else(team: Team) -> None:
    first, second = merge(team, "1.2.0"), merge(team, "1.3.0")
    place = team.clone("matrix")
    done = place.done("apply", "--push", "--matrix", "--before", first)
    entries = json.loads(done.stdout)["include"]
    assert [(one["model"], one["version"]) for one in entries] == [("adder", "1.2.0"), ("adder", "1.3.0")]
    assert "register adder@1.2.0" in done.stderr and "register adder@1.3.0" in done.stderr
    assert json.loads(place.done("apply", "--push", "--matrix").stdout) == {"include": []}
    assert second == team.git("rev-parse", "HEAD")
