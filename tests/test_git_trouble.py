"""What goes wrong around Git, met as a user meets it: the exit code, the words, the command that helps; and
never a lost, moved or half-written tag, here or there."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gitreg import cli
from tests.support import Workshop, gitreg, run

GTO = Path(sys.executable).with_name("gto")
Done = subprocess.CompletedProcess[str]


@dataclass
class Team(Workshop):
    """A clone, and the bare repository `hub` that it came from: adder 1.0.0 and 1.1.0 are registered."""

    hub: Path

    def git(self, *arguments: str | Path, **options: Any) -> str:
        return str(run("git", *arguments, cwd=self.root, **options).stdout.strip())

    def there(self) -> str:
        """Every reference of the hub."""
        return str(run("git", "for-each-ref", cwd=self.hub).stdout)

    def here(self) -> str:
        """Every reference of the clone."""
        return self.git("for-each-ref")

    def tags(self) -> list[str]:
        """The tags of the hub, in the order of their times."""
        listed = run("git", "tag", "--sort=taggerdate", cwd=self.hub).stdout
        return [name for name in listed.splitlines() if "#" in name]

    def done(self, *arguments: str, **options: Any) -> Done:
        """Run gitreg, which must succeed."""
        done = self.gitreg(*arguments, **options)
        assert done.returncode == 0, done.stderr
        return done

    def stage(self, stage: str, text: str, push: bool = True) -> None:
        """Write a stage file and commit it, as a merge does."""
        (self.root / "stages" / f"{stage}.yaml").write_text(text)
        self.git("commit", "-qam", f"edit {stage}")
        if push:
            self.git("push", "-q", "origin", "HEAD:main")

    def hook(self, name: str, script: str, folder: Path | None = None) -> None:
        """A hook of the hub, or in another folder."""
        file = (folder or self.hub / "hooks") / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def clone(self, name: str, *options: str) -> Team:
        run("git", "clone", "-q", *options, f"file://{self.hub}", name, cwd=self.hub.parent)
        return Team(self.hub.parent / name, self.hub)

    def staged(self, stage: str = "staging") -> str | None:
        """What is in a stage, as GTO reads the hub."""
        said = run(GTO, "show", f"adder#{stage}", "--version", cwd=self.hub).stdout
        return said.strip() or None


@pytest.fixture(scope="module")
def _team(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("team")
    shutil.copytree(_template, place / "seed", symlinks=True)
    shop = Workshop(place / "seed")
    assert shop.gitreg("register", "adder").returncode == 0
    shop.manifest(version="1.1.0")
    shop.commit("next")
    assert shop.gitreg("register", "adder").returncode == 0
    run("git", "clone", "-q", "--bare", "seed", "hub.git", cwd=place)
    run("git", "clone", "-q", "hub.git", "mine", cwd=place)
    return place


@pytest.fixture
def team(_team: Path, tmp_path: Path) -> Team:
    shutil.copytree(_team, tmp_path, dirs_exist_ok=True, symlinks=True)
    team = Team(tmp_path / "mine", tmp_path / "hub.git")
    team.git("remote", "set-url", "origin", team.hub)
    return team


def refused(done: Done, code: int, *words: str) -> None:
    """A command did not do it, and said why and what helps."""
    assert done.returncode == code, (done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, done.stderr
    assert done.stderr.startswith("error: ") and "\nhint: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def untouched(team: Team, here: str, there: str) -> None:
    assert (team.here(), team.there()) == (here, there)
    assert team.git("status", "--porcelain") == ""


# Names ------------------------------------------------------------------------------------------------

COMMANDS = [
    (["promote", "--apply", "--", "NAME", "staging"], "is not a model name"),
    (["promote", "--apply", "--", "adder@NAME", "staging"], "is not a version"),
    (["promote", "--apply", "--", "adder", "NAME"], "registry.yaml has no stage"),
    (["demote", "--apply", "--", "NAME", "staging"], "is not a model name"),
    (["demote", "--apply", "--", "adder", "NAME"], "registry.yaml has no stage"),
    (["rollback", "--apply", "--to=NAME", "--", "adder", "staging"], "was never in staging"),
    (["apply", "--push", "--", "NAME"], "is not a model name"),
    (["register", "--push", "--", "NAME"], "is not a model name"),
    (["plan", "--", "NAME"], "is not a model name"),
    (["promote", "--branch=NAME", "--", "adder", "staging"], "cannot be the name of a branch"),
    (["promote", "--apply", "--remote=NAME", "--", "adder", "staging"], "there is no remote"),
    (["apply", "--remote=NAME"], "there is no remote"),
    (["plan", "--at=NAME"], "is not a commit here"),
    (["check", "--base=NAME"], "is not a commit here"),
]


@pytest.mark.parametrize("name", ["--upload-pack=touch evil", "-x", "adder\n", "adder\nx", "../x"])
@pytest.mark.parametrize(("command", "words"), COMMANDS, ids=[" ".join(c) for c, _ in COMMANDS])
def test_names_that_are_options_or_lines_are_names(
    team: Team, command: list[str], words: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(team.root)
    here, there = team.here(), team.there()
    code = cli.main([word.replace("NAME", name) for word in command])
    error = capsys.readouterr().err
    assert code in (1, 2) and error.startswith("error: "), error
    assert words in error, error
    untouched(team, here, there)
    assert not [*team.root.glob("evil*"), *team.root.glob("*upload*")]


def test_a_hostile_default_branch_of_the_remote_is_a_branch(team: Team) -> None:
    """Git's plumbing lets a server have it, though `git branch` does not."""
    name = "--upload-pack=touch evil".replace(" ", "-")
    run("git", "update-ref", f"refs/heads/{name}", "main", cwd=team.hub)
    run("git", "symbolic-ref", "HEAD", f"refs/heads/{name}", cwd=team.hub)
    team.git("fetch", "-q")
    team.git("remote", "set-head", "origin", "--auto")
    done = team.done("promote", "adder", "staging", "--apply")
    assert f"on origin/{name}, 1 tag written" in done.stdout
    assert run("git", "log", "-1", "--format=%s", f"refs/heads/{name}", cwd=team.hub).stdout.startswith(
        "Promote"
    )
    team.done("promote", "adder", "archived", "--push")


def test_a_remote_whose_name_is_an_option(team: Team) -> None:
    """Not by `git remote add`, but by a hand in .git/config."""
    team.git("config", "remote.--mirror.url", team.hub)
    team.git("config", "remote.--mirror.fetch", "+refs/heads/*:refs/remotes/--mirror/*")
    done = team.done("promote", "adder", "staging", "--apply", "--remote=--mirror")
    assert "on --mirror/main, 1 tag written" in done.stdout
    team.done("promote", "adder", "archived", "--push", "--remote=--mirror")
    assert team.tags() == ["adder#staging#1"] and "refs/heads/promote/adder-1.1.0-archived" in team.there()


@pytest.mark.parametrize("name", ["--upload-pack=x", "-x", "a b", "a\nb", "a/b", "x@y", "x#1"])
def test_files_with_names_that_tags_could_not_hold_are_refused(team: Team, name: str) -> None:
    team.manifest(name=name)
    file = team.root / "registry.yaml"
    text = file.read_text()
    file.write_text(text.replace("archived:", f"{json.dumps(name)}:"))
    team.commit("names")
    refused(team.gitreg("apply"), 1, "registry.yaml:", "is not a stage name")
    file.write_text(text)
    team.commit("the model alone")
    refused(team.gitreg("apply"), 1, "models/adder/model.yaml:2:11: name: ", "is not a model name")
    assert team.git("tag").split() == ["adder@v1.0.0", "adder@v1.1.0"]


@pytest.mark.parametrize(
    "name", ["-x@v1.0.0", "adder@v1.0.0;touch evil", "$(touch evil)#staging#1", "a@b@c", "nightly"]
)
def test_strange_tags_of_the_remote_are_no_hindrance(team: Team, name: str) -> None:
    run("git", "update-ref", f"refs/tags/{name.replace(' ', '-')}", "main", cwd=team.hub)
    team.done("promote", "adder", "staging", "--apply")
    assert team.tags()[-1] == "adder#staging#1"
    assert not [*team.root.glob("evil*"), *team.hub.glob("evil*")]


def test_a_counter_that_is_used_up_is_refused_before_anything_is_written(team: Team) -> None:
    name = f"adder#staging#{10**18 - 1}"
    team.git("tag", "-a", "-m", "the last", name, "adder@v1.0.0^{}")
    team.git("push", "-q", "origin", f"refs/tags/{name}")
    here, there = team.here(), team.there()
    refused(
        team.gitreg("promote", "adder", "staging", "--apply"), 1, "a counter is out of range", "gitreg doctor"
    )
    untouched(team, here, there)


# Files ------------------------------------------------------------------------------------------------

CONFLICT = "<<<<<<< HEAD\nadder: 1.0.0\n=======\nadder: 1.1.0\n>>>>>>> other\n"
FILES = {
    "unknown model": ("churn: 1.0.0\n", "stages/staging.yaml:1:8: churn: there is no model 'churn'"),
    "unregistered": ("adder: 9.0.0\n", "stages/staging.yaml:1:8: adder: adder@9.0.0 is not registered"),
    "conflict": (CONFLICT, "stages/staging.yaml:1:1: a merge conflict is left in this file"),
    "newline": ('"adder\\n": 1.0.0\n', "stages/staging.yaml:1:"),
    "option": ("-x: 1.0.0\n", "stages/staging.yaml:1:"),
    "version": ("adder: --force\n", "stages/staging.yaml:1:8: adder:"),
    "twice": ("adder: 1.0.0\nadder: 1.1.0\n", "stages/staging.yaml:2:1:"),
}


@pytest.mark.parametrize(("text", "words"), FILES.values(), ids=FILES)
def test_a_stage_file_that_is_wrong_is_never_applied(team: Team, text: str, words: str) -> None:
    team.stage("staging", text)
    here, there = team.here(), team.there()
    planned = team.gitreg("plan")
    assert planned.returncode == 1 and words in planned.stderr, planned.stderr
    refused(team.gitreg("apply"), 1, words, "hint: gitreg check")
    refused(team.gitreg("apply", "--push"), 1, words, "hint: gitreg check")
    untouched(team, here, there)


def test_a_stage_file_with_a_conflict_is_not_edited(team: Team) -> None:
    team.stage("staging", CONFLICT)
    here, there = team.here(), team.there()
    for how in ("--apply", "--push"):
        done = team.gitreg("promote", "adder", "staging", how)
        refused(
            done, 1, "stages/staging.yaml:1:1: a merge conflict is left in this file", "hint: gitreg check"
        )
    untouched(team, here, there)


def test_a_broken_stage_file_does_not_look_like_an_empty_one(team: Team) -> None:
    team.done("promote", "adder@1.0.0", "staging", "--apply")
    team.git("pull", "-q")
    team.stage("staging", CONFLICT)
    planned = team.gitreg("plan")
    assert planned.returncode == 1 and "a merge conflict" in planned.stderr
    assert "unassign" not in planned.stdout


def test_two_manifests_of_one_name_stop_everything(team: Team) -> None:
    shutil.copytree(team.adder, team.root / "models" / "other", ignore=shutil.ignore_patterns("artifacts"))
    team.commit("a copy")
    team.git("push", "-q", "origin", "main")
    here, there = team.here(), team.there()
    words = "name: 'adder' is taken by models/adder/model.yaml"
    commands = ["apply", "apply --push", "register adder", "promote adder staging --apply"]
    for command in commands:
        refused(team.gitreg(*command.split()), 1, words, "models/other/model.yaml", "hint: gitreg check")
    untouched(team, here, there)


# What is checked out ----------------------------------------------------------------------------------


def test_a_shallow_clone_is_told_what_to_fetch(team: Team) -> None:
    team.stage("staging", "adder: 1.1.0\n")
    shallow = team.clone("shallow", "--depth=1")
    there = team.there()
    for command in (["apply"], ["apply", "--push"]):
        refused(shallow.gitreg(*command), 1, "this is a shallow clone", "hint: git fetch --unshallow --tags")
    assert team.there() == there
    hint = "hint: this is a shallow clone, which may lack tags and commits: git fetch --unshallow --tags\n"
    assert shallow.gitreg("plan").stderr.endswith(hint)
    shallow.git("fetch", "-q", "--unshallow", "--tags")
    assert hint not in shallow.gitreg("plan").stderr
    shallow.done("apply", "--push")
    assert team.staged() == "v1.1.0"


def test_a_shallow_clone_promotes_what_it_does_not_hold(team: Team) -> None:
    shallow = team.clone("shallow", "--depth=1", "--no-tags")
    shallow.done("promote", "adder@1.0.0", "staging", "--apply")
    assert team.staged() == "v1.0.0"


def test_a_detached_head_promotes_and_applies_the_tip(team: Team) -> None:
    team.git("checkout", "-q", "--detach")
    team.done("promote", "adder", "staging")
    team.done("promote", "adder", "staging", "--apply")
    team.git("fetch", "-q")
    team.git("checkout", "-q", "--detach", "origin/main")
    team.stage("archived", "adder: 1.0.0\n")
    assert "1 tag written" in team.done("apply", "--push").stdout
    assert (team.staged(), team.staged("archived")) == ("v1.1.0", "v1.0.0")


def test_what_is_not_merged_is_not_pushed_and_what_is_old_is_left_to_the_new(team: Team) -> None:
    team.stage("staging", "adder: 1.0.0\n")
    team.git("checkout", "-q", "--detach", "HEAD~1")
    done = team.done("apply", "--push")
    assert "nothing done: origin/main is newer" in done.stdout
    refused(team.gitreg("apply"), 1, "lacks what is on origin/main by now", "hint: git merge origin/main")
    team.stage("archived", "adder: 1.0.0\n", push=False)
    here, there = team.here(), team.there()
    refused(team.gitreg("apply", "--push"), 1, "is not on origin/main", "merge it first", "gitreg plan")
    refused(team.gitreg("apply"), 1, "lacks what is on origin/main by now")
    untouched(team, here, there)


def dirty(team: Team) -> dict[str, bytes]:
    """Changes that are staged, changes that are not, and files that nobody knows."""
    (team.root / "stages" / "staging.yaml").write_text("adder: 0.0.1 # mine\n")
    (team.root / "registry.yaml").write_text((team.root / "registry.yaml").read_text() + "# staged\n")
    team.git("add", "registry.yaml")
    (team.root / "registry.yaml").write_text((team.root / "registry.yaml").read_text() + "# and not\n")
    (team.root / "junk").write_text("junk")
    (team.adder / "samples.json").unlink()
    return state(team.root)


def state(root: Path) -> dict[str, bytes]:
    """The work tree and the index, byte for byte."""
    files = [p for p in root.rglob("*") if p.is_file() and ".git" not in p.relative_to(root).parts]
    found = {str(p.relative_to(root)): p.read_bytes() + bytes([p.stat().st_mode & 0o77]) for p in files}
    listed = run("git", "ls-files", "--stage", cwd=root).stdout
    return {**found, "the index": listed.encode()}


@pytest.mark.parametrize("how", ["--apply", "--push", None])
def test_a_dirty_tree_is_left_byte_for_byte(team: Team, how: str | None) -> None:
    before = dirty(team)
    team.done("promote", "adder", "staging", *([how] if how else []))
    assert state(team.root) == before
    planned = team.done("plan", "--at", "origin/main" if how == "--apply" else "HEAD")
    assert "nothing to do" in planned.stdout, "the plan says what is committed"


def test_without_a_remote_only_the_edit_comes_into_the_tree(team: Team) -> None:
    team.git("remote", "remove", "origin")
    before = dirty(team)
    here = team.here()
    done = team.gitreg("promote", "adder", "staging", "--apply")
    refused(
        done, 1, "stages/staging.yaml has changes that are not committed", "git restore stages/staging.yaml"
    )
    assert (state(team.root), team.here()) == (before, here)
    team.git("restore", "stages/staging.yaml")
    before = state(team.root)
    team.done("promote", "adder", "staging", "--apply")
    after = state(team.root)
    assert {path for path in after if after[path] != before.get(path)} == {"stages/staging.yaml", "the index"}
    assert b"adder: 1.1.0" in after["stages/staging.yaml"]
    assert team.git("diff", "--cached", "--name-only") == "registry.yaml"
    assert team.git("diff", "--name-only").split() == ["models/adder/samples.json", "registry.yaml"]


def test_a_stage_file_keeps_its_mode(team: Team) -> None:
    team.git("remote", "remove", "origin")
    file = team.root / "stages" / "staging.yaml"
    file.chmod(0o755)
    team.commit("executable")
    team.done("promote", "adder", "staging", "--apply")
    assert stat.S_IMODE(file.stat().st_mode) == 0o755
    assert team.git("ls-tree", "HEAD", "stages/staging.yaml").startswith("100755")
    assert team.git("status", "--porcelain") == ""


# Remotes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "pattern"),
    [("pre-receive", "refs/heads/main"), ("pre-receive", "refs/tags/*"), ("update", "refs/tags/*")],
)
def test_a_remote_that_refuses_gets_nothing_and_nothing_is_written_here(
    team: Team, hook: str, pattern: str
) -> None:
    """The words of the hook are those of a lost race, and are not taken for one."""
    say = f"case $ref in {pattern}) echo 'protected: already exists, non-fast-forward' >&2; exit 1;; esac"
    each = f"ref=$1; {say}" if hook == "update" else f"while read old new ref; do {say}; done"
    team.hook(hook, each)
    here, there = team.here(), team.there()
    done = team.gitreg("promote", "adder", "staging", "--apply")
    refused(done, 4, "git push origin was refused", "protected: already exists", "--push instead of --apply")
    assert "trying again" not in done.stderr
    untouched(team, here, there)
    if pattern != "refs/heads/main":
        team.done("promote", "adder", "staging", "--push")
        team.stage("staging", "adder: 1.1.0\n")
        here, there = team.here(), team.there()
        refused(team.gitreg("apply", "--push"), 4, "protected: already exists", "may you write tags there?")
        untouched(team, here, there)


def test_a_lock_that_a_git_left_on_the_remote_is_no_race_for_ever(team: Team) -> None:
    (team.hub / "refs" / "heads" / "main.lock").touch()
    here, there = team.here(), team.there()
    done = team.gitreg("promote", "adder", "staging", "--apply")
    assert done.returncode == 4, done.stderr
    for words in ("nobody else pushes there", "refs/heads/main.lock': File exists", "hint: a lock"):
        assert words in done.stderr, done.stderr
    untouched(team, here, there)


def test_no_remote(team: Team) -> None:
    team.git("remote", "remove", "origin")
    here, there = team.here(), team.there()
    hint = "hint: git remote add origin URL, or leave out --push"
    for command in ("apply --push", "register adder --push", "promote adder staging --push"):
        refused(team.gitreg(*command.split()), 1, "there is no remote to push to", hint)
    refused(team.gitreg("apply", "--remote", "origin"), 1, "there is no remote 'origin'")
    for name in "ab":
        team.git("remote", "add", name, team.hub)
    refused(team.gitreg("apply", "--push"), 1, "which of the remotes a, b?", "hint: --remote NAME")
    untouched(team, here, there)


@pytest.mark.parametrize(
    "url",
    [
        "/nowhere/hub.git",
        "git://127.0.0.1:1/x.git",
        "https://127.0.0.1:1/x",
        "ext::touch evil",
        "ssh://-oProxyCommand=touch+evil/x",
    ],
)
def test_a_remote_that_cannot_be_reached(team: Team, url: str) -> None:
    team.git("remote", "set-url", "origin", url)
    here, there = team.here(), team.there()
    for command in ("apply --push", "promote adder staging --apply", "promote adder staging --push"):
        done = team.gitreg(*command.split())
        refused(done, 4, "git fetch origin: fatal: ", "hint: is the remote reachable")
    untouched(team, here, there)
    assert not [*team.root.glob("evil*")]


def test_guards_can_be_deleted_or_moved_at_any_time(team: Team) -> None:
    """They are no state: what is recorded stays, and the next push makes them anew."""
    team.done("promote", "adder", "staging", "--apply")
    guard = "refs/gitreg/models/adder"
    assert guard in team.there()
    run("git", "update-ref", "-d", guard, cwd=team.hub)
    team.done("promote", "adder", "production", "--apply")
    run("git", "update-ref", guard, "main", cwd=team.hub)
    done = team.done("promote", "adder@1.0.0", "staging", "--apply")
    assert "again" not in done.stderr
    assert team.tags() == [
        f"adder#{rest}" for rest in ("staging#1", "production#2", "staging!#3", "staging#4")
    ]


@pytest.mark.parametrize("where", ["there", "here"])
def test_a_moved_tag_stops_everything_and_is_not_moved_again(team: Team, where: str) -> None:
    folder = team.hub if where == "there" else team.root
    run("git", "tag", "-f", "-a", "-m", "moved", "adder@v1.0.0", "main", cwd=folder)
    here, there = team.here(), team.there()
    for command in ("apply --push", "promote adder staging --apply", "promote adder staging --push"):
        done = team.gitreg(*command.split())
        refused(done, 1, "tags that are not the same on origin and here: adder@v1.0.0", "hint: gitreg doctor")
    untouched(team, here, there)


def test_other_tags_may_move_as_they_like(team: Team) -> None:
    team.git("tag", "nightly", "main~1")
    run("git", "tag", "nightly", "main", cwd=team.hub)
    team.done("promote", "adder", "staging", "--apply")
    assert team.git("rev-parse", "nightly") == team.git("rev-parse", "main~1")


def test_settings_that_prune_or_push_more_do_not_count(team: Team) -> None:
    """`fetch.prune` would delete what was registered here and is not pushed yet."""
    team.clone("other").done("promote", "adder@1.0.0", "archived", "--apply")
    team.git("pull", "-q", "--no-tags")
    for key in ("fetch.prune", "fetch.pruneTags", "push.followTags"):
        team.git("config", key, "true")
    team.manifest(version="1.2.0")
    team.commit("another")
    team.git("tag", "-a", "-m", "mine", "private")
    team.git("tag", "light@v1.0.0")
    team.git("push", "-q", "--no-follow-tags", "origin", "main")
    team.done("register", "adder")
    registered = team.git("rev-parse", "adder@v1.2.0")
    assert "adder#archived#1" not in team.git("tag").split(), "there is something to fetch"
    team.done("promote", "adder@1.0.0", "staging", "--apply")
    assert {"adder@v1.2.0", "private", "light@v1.0.0"} <= set(team.git("tag").split())
    assert team.git("rev-parse", "adder@v1.2.0") == registered
    assert "private" not in team.there() and "light" not in team.there()


def test_what_was_recorded_here_alone_is_pushed_with_what_builds_on_it(team: Team) -> None:
    """Else the remote would have a stage with a version that it does not know."""
    team.manifest(version="1.2.0")
    team.commit("another")
    team.git("push", "-q", "origin", "main")
    team.done("register", "adder")
    assert "adder@v1.2.0" not in team.there()
    done = team.done("promote", "adder", "staging", "--apply")
    assert "1 earlier tag, until now only here, pushed to origin too" in done.stderr
    assert "adder@v1.2.0" in team.there() and team.staged() == "v1.2.0"


def test_apply_pushes_what_was_recorded_here_alone(team: Team) -> None:
    team.stage("staging", "adder: 1.0.0\n")
    team.done("apply")
    assert team.staged() is None
    done = team.done("apply", "--push")
    assert "1 earlier tag" in done.stderr and team.staged() == "v1.0.0"
    assert "earlier" not in team.done("apply", "--push").stderr


def test_tags_of_what_is_not_merged_stay_here(team: Team) -> None:
    team.git("checkout", "-q", "-b", "feature")
    team.manifest(version="2.0.0")
    team.commit("not merged")
    team.done("register", "adder")
    there = team.there()
    words = "only here, and of commits that are not merged: adder@v2.0.0"
    refused(team.gitreg("promote", "adder", "staging", "--apply"), 1, words, "git tag -d 'adder@v2.0.0'")
    assert team.there() == there
    team.git("checkout", "-q", "main")
    assert "nothing to do" in team.done("apply", "--push").stdout
    assert team.there() == there


# Branches ---------------------------------------------------------------------------------------------


def test_local_main_behind_ahead_and_diverged(team: Team) -> None:
    """--apply goes on top of the remote's main and leaves ours alone."""
    other = team.clone("other")
    other.done("promote", "adder", "staging", "--apply")
    ours = team.git("rev-parse", "main")
    team.done("promote", "adder", "archived", "--apply")
    assert team.git("rev-parse", "main") == ours, "behind"
    team.git("pull", "-q")
    team.git("commit", "-q", "--allow-empty", "-m", "ahead")
    ours = team.git("rev-parse", "main")
    team.done("promote", "adder@1.0.0", "archived", "--apply")
    assert team.git("rev-parse", "main") == ours, "ahead, and diverged from now on"
    team.done("promote", "adder@1.0.0", "staging", "--apply")
    assert team.git("rev-parse", "main") == ours
    subjects = run("git", "log", "--format=%s", "main", cwd=team.hub).stdout.splitlines()
    assert subjects[:4] == [
        f"Promote adder {what}"
        for what in ("1.0.0 to staging", "1.0.0 to archived", "1.1.0 to archived", "1.1.0 to staging")
    ]
    assert (team.staged(), team.staged("archived")) == ("v1.0.0", "v1.0.0")


def test_a_branch_that_is_there_already(team: Team) -> None:
    first = team.done("promote", "adder", "staging", "--json").stdout
    again = team.done(
        "promote",
        "adder",
        "staging",
        "--json",
        env={**os.environ, "GIT_COMMITTER_DATE": "2030-01-01T00:00:00Z"},
    )
    assert again.stdout == first, "the same change is the same commit"
    team.git("branch", "-f", "promote/adder-1.1.0-staging", "main")
    here, there = team.here(), team.there()
    words = "the branch promote/adder-1.1.0-staging exists and holds something else"
    for how in ([], ["--push"]):
        done = team.gitreg("promote", "adder", "staging", *how)
        refused(done, 1, words, "git branch -D promote/adder-1.1.0-staging, or --branch NAME")
    words = "main is the branch that counts"
    refused(team.gitreg("promote", "adder", "staging", "--branch", "main"), 1, words, "--apply commits to it")
    inside = ["--branch", "promote/adder-1.1.0-staging/x"]
    refused(
        team.gitreg("promote", "adder", "staging", *inside), 1, "exists; cannot create", "hint: --branch NAME"
    )
    untouched(team, here, there)


def test_a_branch_that_is_on_the_remote_with_something_else(team: Team) -> None:
    other = team.clone("other")
    other.git("commit", "-q", "--allow-empty", "-m", "something else")
    other.git("push", "-q", "origin", "HEAD:promote/adder-1.1.0-staging")
    there = team.there()
    done = team.gitreg("promote", "adder", "staging", "--push")
    refused(
        done, 1, "origin has a branch promote/adder-1.1.0-staging that holds something else", "--branch NAME"
    )
    assert team.there() == there


# People and clocks ------------------------------------------------------------------------------------


def nobody(*kept: str) -> dict[str, str]:
    """An environment in which Git knows no name."""
    names = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    return {key: value for key, value in os.environ.items() if key not in names or key.startswith(kept)}


@pytest.mark.parametrize("kept", [(), ("GIT_COMMITTER",)], ids=["nobody", "no author"])
def test_no_name_is_an_error_before_anything_is_made(team: Team, kept: tuple[str, ...]) -> None:
    team.stage("archived", "adder: 1.0.0\n")
    here, there = team.here(), team.there()
    objects = sorted((team.root / ".git" / "objects").rglob("*"))
    commands = ["promote adder staging", "promote adder staging --apply", "promote adder staging --push"]
    for command in commands + ([] if kept else ["apply", "apply --push"]):
        done = team.gitreg(*command.split(), env=nobody(*kept or ("none",)))
        refused(done, 1, "Git does not know who you are", "hint: git config --global user.name")
    untouched(team, here, there)
    assert sorted((team.root / ".git" / "objects").rglob("*")) == objects


@pytest.fixture
def signing(team: Team) -> Team:
    """SSH signing is on for tags and commits."""
    key = team.root.parent / "key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key, cwd=team.root)
    allowed = team.root.parent / "allowed"
    allowed.write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    for name, value in {
        "gpg.format": "ssh",
        "user.signingkey": f"{key}.pub",
        "gpg.ssh.allowedSignersFile": allowed,
        "tag.gpgSign": "true",
        "commit.gpgSign": "true",
    }.items():
        team.git("config", name, str(value))
    return team


def test_signed_tags_and_commits(signing: Team) -> None:
    signing.done("promote", "adder", "staging", "--apply")
    signing.done("promote", "adder@1.0.0", "staging", "--apply")
    for name in signing.tags():
        assert (
            'Good "git" signature for ada@example.org'
            in run("git", "tag", "-v", name, cwd=signing.root).stderr
        )
    signing.git("fetch", "-q")
    assert signing.git("log", "-2", "--format=%G?", "origin/main").split() == ["G", "G"]
    assert signing.tags() == ["adder#staging#1", "adder#staging!#2", "adder#staging#3"]
    assert signing.staged() == "v1.0.0"
    message = signing.git("cat-file", "tag", "adder#staging#3")
    assert "\nGitreg-Version: 1.0.0\n" in message.partition("-----BEGIN SSH SIGNATURE-----")[0]
    assert [p.name for p in (signing.root / ".git" / "gitreg").iterdir() if p.is_dir()] == []


def test_signing_in_a_linked_work_tree_without_the_hooks_of_the_user(signing: Team) -> None:
    """The tag that Git signs aside is nobody's business until all of them are there."""
    log = signing.root.parent / "log"
    signing.hook("reference-transaction", f'sed "s/^/$1 /" >> {log}', signing.root.parent / "hooks")
    signing.git("config", "core.hooksPath", signing.root.parent / "hooks")
    signing.git("worktree", "add", "-q", "../linked", "-b", "linked")
    log.unlink()
    linked = Team(signing.root.parent / "linked", signing.hub)
    linked.done("promote", "adder", "staging", "--apply")
    assert [line.split()[-1] for line in log.read_text().splitlines() if line.startswith("committed")] == [
        "refs/remotes/origin/main",
        "refs/tags/adder#staging#1",
    ]


def test_a_key_that_is_not_there_leaves_nothing_behind(signing: Team) -> None:
    signing.git("config", "user.signingkey", "/nowhere/key.pub")
    here, there = signing.here(), signing.there()
    done = signing.gitreg("promote", "adder", "staging", "--apply")
    refused(done, 4, "/nowhere/key.pub", "hint: git config --get-regexp gpg")
    signing.git("config", "commit.gpgSign", "false")
    done = signing.gitreg("promote", "adder", "staging", "--apply")
    refused(done, 4, "cannot sign adder#staging#1", "/nowhere/key.pub")
    untouched(signing, here, there)


LATE = """
import sys, time
real = time.time
time.time = lambda: real() - 3600
from gitreg.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_tags_of_a_clock_that_is_an_hour_behind_are_the_last(team: Team) -> None:
    late = team.clone("late")
    team.done("promote", "adder", "staging", "--apply")
    for arguments in (
        ["promote", "adder@1.0.0", "staging", "--apply"],
        ["promote", "adder", "archived", "--apply"],
    ):
        past = {**os.environ, "GIT_COMMITTER_DATE": f"{int(late_clock())} +0000"}
        run(sys.executable, "-c", LATE, *arguments, cwd=late.root, env=past)
    assert team.tags() == [f"adder#{rest}" for rest in ("staging#1", "staging!#2", "staging#3", "archived#4")]
    assert (team.staged(), team.staged("archived")) == ("v1.0.0", "v1.1.0")
    times = run(
        "git", "for-each-ref", "--format=%(taggerdate:unix)", "refs/tags/adder*", cwd=team.hub
    ).stdout.split()
    assert len(set(times)) == len(times)


def late_clock() -> float:
    return time.time() - 3600


# Repositories -----------------------------------------------------------------------------------------


def test_a_registry_in_a_folder_of_a_repository(team: Team, tmp_path: Path) -> None:
    mono = Team(tmp_path / "mono", tmp_path / "mono.git")
    (mono.root / "ml").mkdir(parents=True)
    run("git", "init", "-q", "-b", "main", cwd=mono.root)
    run(sys.executable, "-m", "gitreg", "init", mono.root / "ml" / "registry", cwd=tmp_path)
    inside = Team(mono.root / "ml" / "registry", mono.hub)
    shutil.copytree(team.adder, inside.adder, ignore=shutil.ignore_patterns("artifacts"))
    shutil.copy(team.root / "dvc.yaml", inside.root)
    shutil.copytree(team.root / "stages", mono.root / "stages")
    mono.commit("everything")
    run("git", "clone", "-q", "--bare", mono.root, mono.hub, cwd=tmp_path)
    mono.git("remote", "add", "origin", mono.hub)
    mono.git("fetch", "-q")
    assert "register adder@1.1.0" in inside.done("apply", "--push").stdout
    inside.done("promote", "adder", "staging", "--apply")
    assert mono.staged() == "v1.1.0"
    mono.git("merge", "-q", "origin/main")
    assert mono.git("show", "--name-only", "--format=") == "ml/registry/stages/staging.yaml"
    mono.git("remote", "remove", "origin")
    done = gitreg("promote", "adder", "archived", "--apply", cwd=inside.root / "stages")
    assert done.returncode == 0, done.stderr
    assert mono.git("show", "--name-only", "--format=") == "ml/registry/stages/archived.yaml"
    assert mono.git("status", "--porcelain") == ""
    assert "adder: 1.1.0" in (inside.root / "stages" / "archived.yaml").read_text()


def test_linked_work_trees(team: Team) -> None:
    team.git("worktree", "add", "-q", "../linked", "-b", "linked")
    linked = Team(team.root.parent / "linked", team.hub)
    linked.done("promote", "adder", "staging", "--apply")
    team.git("pull", "-q")
    team.git("remote", "remove", "origin")
    here = team.here()
    done = linked.gitreg("promote", "adder", "archived", "--apply")
    refused(done, 1, f"main is checked out in {team.root}", f"gitreg -C {team.root}")
    assert team.here() == here
    team.git("checkout", "-q", "-b", "aside")
    linked.git("checkout", "-q", "main")
    linked.done("promote", "adder", "archived", "--apply")
    for tree in (team, linked):
        assert tree.git("status", "--porcelain") == ""
    assert "adder: 1.1.0" in (linked.root / "stages" / "archived.yaml").read_text()
    assert [*(team.root / ".git").rglob("*.lock")] == []


def test_hooks_of_the_user_see_each_transaction_once(team: Team) -> None:
    log = team.root.parent / "log"
    folder = team.root.parent / "hooks"
    for name in ("pre-commit", "commit-msg", "post-commit", "post-checkout", "pre-push", "post-index-change"):
        team.hook(name, f"echo {name} >> {log}; exit 0", folder)
    team.hook("reference-transaction", f'sed "s/^/$1 /" >> {log}', folder)
    team.git("config", "core.hooksPath", folder)
    team.done("promote", "adder", "staging", "--apply")
    said = log.read_text().splitlines()
    assert said[0] == "pre-push" and not [s for s in said if s.startswith(("pre-commit", "post-"))]
    assert [s.split()[-1] for s in said if s.startswith("committed")] == [
        "refs/remotes/origin/main",
        "refs/tags/adder#staging#1",
    ]


def test_a_hook_that_refuses_the_tags_here_is_told_and_asked_again(team: Team) -> None:
    """They are on the remote by then: the next run gets them."""
    team.hook(
        "reference-transaction",
        '[ "$1" != prepared ] || ! grep -q refs/tags/ || { echo no tags >&2; exit 1; }',
        team.root / ".git" / "hooks",
    )
    refused_ = team.gitreg("promote", "adder", "staging", "--apply")
    assert refused_.returncode == 4 and "no tags" in refused_.stderr
    (team.root / ".git" / "hooks" / "reference-transaction").unlink()
    assert "nothing to do" in team.done("promote", "adder", "staging", "--apply").stdout
    assert "adder#staging#1" in team.git("tag").split()


def test_packed_references(team: Team) -> None:
    for folder in (team.root, team.hub):
        run("git", "pack-refs", "--all", cwd=folder)
    team.done("promote", "adder", "staging", "--apply")
    for folder in (team.root, team.hub):
        run("git", "gc", "-q", cwd=folder)
    team.done("promote", "adder@1.0.0", "staging", "--apply")
    assert team.tags() == ["adder#staging#1", "adder#staging!#2", "adder#staging#3"]
    assert team.staged() == "v1.0.0"


def test_objects_that_dvc_cannot_read_are_named(team: Team) -> None:
    shutil.rmtree(team.root / ".git")
    team.git("init", "-q", "-b", "main", "--object-format=sha256")
    team.commit("all")
    for command in ("plan", "apply", "register adder"):
        refused(team.gitreg(*command.split()), 1, "SHA-256 objects", "hint: git init --object-format=sha1")
    assert team.git("tag") == ""


def test_the_variables_of_a_hook_do_not_lead_elsewhere(team: Team, tmp_path: Path) -> None:
    run("git", "init", "-q", "victim", cwd=tmp_path)
    victim = tmp_path / "victim"
    run("git", "commit", "-q", "--allow-empty", "-m", "first", cwd=victim)
    before = run("git", "for-each-ref", cwd=victim).stdout
    folder = victim / ".git"
    led = {
        "GIT_DIR": folder,
        "GIT_WORK_TREE": victim,
        "GIT_INDEX_FILE": folder / "index",
        "GIT_OBJECT_DIRECTORY": folder / "objects",
    }
    team.done(
        "promote", "adder", "staging", "--apply", env={**os.environ, **{k: str(v) for k, v in led.items()}}
    )
    team.done("promote", "adder", "archived", env={**os.environ, "GIT_DIR": str(folder)})
    assert run("git", "for-each-ref", cwd=victim).stdout == before
    assert team.staged() == "v1.1.0" and "promote/adder-1.1.0-archived" in team.here()
