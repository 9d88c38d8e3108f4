"""The server-side hook and `verify-tags`: real clones push to a real bare repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gitreg import git
from gitreg.git import objects
from gitreg.warden import View
from gitreg.warden import hook as hook_rules
from tests.support import Workshop, gitreg, make_registry, run

GTO = Path(sys.executable).with_name("gto")
Done = subprocess.CompletedProcess[str]

REGISTRY = """
registry: workshop
models: models/*/model.yaml
stages:
  staging: {}
  production:
    from: [staging]
    gates:
      - metric: accuracy
        min: 0.9
  archived:
    gates:
      - samples: pass
        format: [onnx]
"""


@dataclass
class Team(Workshop):
    """A clone of a registry, and the bare repository with the hook that it pushes to."""

    hub: Path

    def git(self, *words: str, **variables: str) -> Done:
        """Run Git in the clone; whatever it exits with."""
        return subprocess.run(
            ["git", *words], cwd=self.root, capture_output=True, text=True, env={**os.environ, **variables}
        )

    def push(self, *specs: str, **variables: str) -> Done:
        return self.git("push", "origin", *specs, **variables)

    def at(self, revision: str) -> str:
        return run("git", "rev-parse", revision, cwd=self.root).stdout.strip()

    def later(self, seconds: int = 1) -> str:
        """A time after that of every tag here, for GIT_COMMITTER_DATE."""
        times = run("git", "for-each-ref", "--format=%(taggerdate:unix)", "refs/tags", cwd=self.root).stdout
        return f"@{max(int(t) for t in times.split()) + seconds} +0000"

    def tag(self, name: str, commit: str = "HEAD", when: str = "", message: str = "by hand") -> str:
        """Write a tag by hand, later than all others; its full name."""
        oid = self.at(f"{commit}^{{commit}}") if ":" not in commit and "^" not in commit else self.at(commit)
        made = self.git("tag", "-a", "-m", message, name, oid, GIT_COMMITTER_DATE=when or self.later())
        assert made.returncode == 0, made.stderr
        return f"refs/tags/{name}"

    def gto(self, *words: str) -> set[str]:
        """Have GTO write tags; their names. It takes the time from the clock, which is too early for us."""
        here = set(run("git", "tag", cwd=self.root).stdout.split())
        after = self.later()[1:]
        run(GTO, *words, cwd=self.root)
        new = set(run("git", "tag", cwd=self.root).stdout.split()) - here
        for name in new:
            text = run("git", "cat-file", "tag", f"refs/tags/{name}", cwd=self.root).stdout
            text, changed = re.subn(r"(?m)^(tagger .*>) .*$", rf"\1 {after}", text)
            oid = run("git", "hash-object", "-t", "tag", "-w", "--stdin", cwd=self.root, input=text).stdout
            run("git", "update-ref", f"refs/tags/{name}", oid.strip(), cwd=self.root)
            assert changed == 1
        return new

    def edit(self, file: str, text: str) -> str:
        """Commit a file; the commit."""
        (self.root / file).write_text(text)
        self.commit(f"edit {file}")
        return self.at("HEAD")

    def tags(self) -> set[str]:
        """What the bare repository has."""
        return set(run("git", "tag", cwd=self.hub).stdout.split("\n")) - {""}

    def done(self, *arguments: str | Path) -> None:
        """Run gitreg, which must succeed."""
        ran = self.gitreg(*arguments)
        assert ran.returncode == 0, ran.stderr


def errors(done: Done) -> dict[str, list[str]]:
    """tag -> what the hook said of it."""
    found: dict[str, list[str]] = {}
    for line in done.stderr.splitlines():
        said = re.match(r"(?:remote: )?error: refs/tags/(\S+): (.*?) *$", line)
        if said:
            found.setdefault(said[1], []).append(said[2])
    return found


def refused(done: Done, tag: str, *words: str) -> None:
    """A push was refused for one reason, and it is this one."""
    assert done.returncode, done.stderr
    assert list(errors(done)) == [tag], done.stderr
    assert len(errors(done)[tag]) == 1, done.stderr
    for word in words:
        assert word in errors(done)[tag][0], done.stderr


@pytest.fixture(scope="module")
def _team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """adder@1.0.0 in staging, all of it pushed through the hook."""
    folder = tmp_path_factory.mktemp("team")
    make_registry(folder / "clone")
    team = Team(folder / "clone", folder / "hub.git")
    run("git", "init", "-q", "--bare", "-b", "main", team.hub, cwd=folder)
    assert gitreg("hook", "install", team.hub, cwd=folder).returncode == 0
    (team.root / "registry.yaml").write_text(REGISTRY)
    team.manifest(metrics={"accuracy": 0.95})
    team.commit("gates")
    run("git", "remote", "add", "origin", team.hub, cwd=team.root)
    run("git", "push", "-q", "-u", "origin", "main", cwd=team.root)
    team.done("register", "adder", "--push")
    team.done("promote", "adder", "staging", "--apply")
    run("git", "pull", "-q", "--ff-only", cwd=team.root)
    return folder


@pytest.fixture
def team(_team: Path, tmp_path: Path) -> Team:
    shutil.copytree(_team, tmp_path / "team", symlinks=True)
    one = Team(tmp_path / "team" / "clone", tmp_path / "team" / "hub.git")
    run("git", "remote", "set-url", "origin", one.hub, cwd=one.root)
    return one


def promoted(team: Team, stage: str, version: str) -> str:
    """Commit what a stage's file should say; the commit."""
    return team.edit(f"stages/{stage}.yaml", f"adder: {version}\n")


def versioned(team: Team, version: str, **changes: Any) -> str:
    """Commit the manifest of another version; the commit."""
    team.manifest(version=version, **{"metrics": {"accuracy": 0.95}, **changes})
    team.commit(f"version {version}")
    return team.at("HEAD")


# What gitreg pushes --------------------------------------------------------------------------------


def test_all_that_gitreg_pushes_passes(team: Team) -> None:
    team.done("promote", "adder", "production", "--apply")
    team.git("pull", "-q", "--ff-only")
    versioned(team, "1.1.0")
    assert team.push("main").returncode == 0
    team.done("apply", "--push")
    for stage in ("staging", "production"):
        team.done("promote", "adder", stage, "--apply")
    team.done("rollback", "adder", "production", "--apply")
    team.done("demote", "adder", "production", "--apply")
    team.git("pull", "-q", "--ff-only")
    assert team.tags() == {
        "adder@v1.0.0",
        "adder#staging#1",
        "adder#production#2",
        "adder@v1.1.0",
        "adder#staging#3",
        "adder#production#4",
        "adder#production!#5",
        "adder#production#6",
        "adder#production!#7",
    }
    assert team.at("HEAD") == run("git", "rev-parse", "main", cwd=team.hub).stdout.strip()
    # The hook is there, and it is that hook which let all of these in.
    done = team.push(team.tag("adder#production#8", "adder@v1.1.0"))
    refused(done, "adder#production#8", "stages/production.yaml of main does not name adder")


def test_a_version_and_its_stage_are_pushed_by_one_apply(team: Team) -> None:
    versioned(team, "1.1.0")
    promoted(team, "staging", "1.1.0")
    assert team.push("main").returncode == 0
    team.done("apply", "--push")
    assert {"adder@v1.1.0", "adder#staging#2"} <= team.tags()


def test_what_was_applied_here_is_pushed_later_with_its_branch(team: Team) -> None:
    """Two assignments to one stage: only the last one has to be what the file says now."""
    for version in ("1.1.0", "1.2.0"):
        versioned(team, version)
        promoted(team, "staging", version)
        team.done("apply")
    mine = ["adder@v1.1.0", "adder@v1.2.0", "adder#staging#2", "adder#staging#3"]
    assert set(errors(team.push(*(f"refs/tags/{name}" for name in mine)))) == set(mine[:2]) | {mine[3]}
    assert team.push("main", *(f"refs/tags/{name}" for name in mine)).returncode == 0
    assert set(mine) <= team.tags()


def test_a_race_that_is_lost_in_the_hook_is_run_again(team: Team) -> None:
    """While the first push is before the hook, another one lands: gitreg takes that for a race."""
    other = Team(team.root.parent / "other", team.hub)
    run("git", "clone", "-q", team.hub, other.root, cwd=team.root.parent)
    shutil.copytree(team.root / ".dvc", other.root / ".dvc", dirs_exist_ok=True)
    promoted(other, "archived", "1.0.0")
    mark, hook = team.root.parent / "mark", team.hub / "hooks" / "pre-receive"
    name, when = "adder#archived#2", other.later(5)
    first = f"""#!/bin/sh
if [ ! -e {mark} ]; then
    touch {mark}
    (unset $(git rev-parse --local-env-vars) GIT_QUARANTINE_PATH
     cd {other.root} && GIT_COMMITTER_DATE='{when}' git tag -a -m other '{name}' adder@v1.0.0^{{}} &&
     git push -q origin main 'refs/tags/{name}') </dev/null
fi
"""
    text = hook.read_text()
    hook.write_text(first + text.partition("\n")[2])
    done = team.gitreg("promote", "adder", "production", "--apply")
    assert done.returncode == 0, done.stderr
    assert "trying again" in done.stderr
    assert {"adder#archived#2", "adder#production#3"} <= team.tags()


# What the hook refuses -----------------------------------------------------------------------------


def test_moved(team: Team) -> None:
    was = team.at("refs/tags/adder@v1.0.0")
    team.git("tag", "-f", "-a", "-m", "again", "adder@v1.0.0", "HEAD")
    done = team.push("-f", "refs/tags/adder@v1.0.0")
    refused(done, "adder@v1.0.0", f"registry tags are never moved; it stays at {was[:12]}")
    (command,) = re.findall(r"hint: (git fetch .*) brings it back", done.stderr)
    subprocess.run(["sh", "-c", command], check=True, cwd=team.root, capture_output=True)
    assert team.at("refs/tags/adder@v1.0.0") == was


def test_deleted(team: Team) -> None:
    done = team.push("--delete", "refs/tags/adder#staging#1")
    refused(done, "adder#staging#1", "registry tags are never deleted")
    assert "gitreg demote adder staging" in done.stderr
    assert "adder#staging#1" in team.tags()


def test_lightweight(team: Team) -> None:
    team.git("tag", "adder@v1.1.0")
    done = team.push("refs/tags/adder@v1.1.0")
    refused(done, "adder@v1.1.0", "lightweight; registry tags are annotated")
    assert "hint: git tag -a -m MESSAGE adder@v1.1.0 COMMIT" in done.stderr


@pytest.mark.parametrize("name", ["adder@created#9", "adder@created"])
def test_created_breaks_gto_for_everybody(team: Team, name: str) -> None:
    refused(team.push(team.tag(name)), name, "`gto show` fails for everybody")
    broken = subprocess.run([GTO, "show"], cwd=team.root, capture_output=True, text=True)
    assert broken.returncode, "GTO reads it now: the rule can go"


@pytest.mark.parametrize(
    "name", ["adder@1.1.0", "Adder@v1.1.0", "adder@v1.1", "adder#Prod#3", "adder#prod#0", "x/adder@v1.1.0", "@", "#"]
)  # fmt: skip
def test_unparsable(team: Team, name: str) -> None:
    done = team.push(team.tag(name))
    refused(done, name, "not a registry tag, though its name has '@' or '#'")
    assert "registry tags are churn@v1.2.0, churn#production#4" in done.stderr


@pytest.mark.parametrize(
    ("what", "text"),
    [("HEAD^{tree}", "a tree"), ("HEAD:registry.yaml", "a blob"), ("adder@v1.0.0^{tag}", "a tag")],
)
def test_what_is_not_of_a_commit(team: Team, what: str, text: str) -> None:
    done = team.push(team.tag("adder#staging#2", what))
    refused(done, "adder#staging#2", f"it names {text}; registry tags name the commit")


def test_a_tag_of_another_object(team: Team) -> None:
    tree = team.at("HEAD^{tree}")
    run("git", "update-ref", "refs/tags/adder#staging#2", tree, cwd=team.root)
    refused(
        team.push("refs/tags/adder#staging#2"), "adder#staging#2", "of a tree; registry tags are annotated"
    )


def test_the_tag_object_of_another_name(team: Team) -> None:
    """Ids of models and versions are those of their tag objects: one object may not be two tags."""
    done = team.push("refs/tags/adder@v1.0.0:refs/tags/adder@v1.1.0")
    refused(done, "adder@v1.1.0", "its tag object is that of another tag, 'adder@v1.0.0'")


@pytest.mark.parametrize(
    "tagger",
    [
        "",
        "tagger Ada <a@b.c> 99999999999999999999 +0000\n",
        "tagger Ada <a> <b> 1800000000 +0000\n",
        "tagger Ada <a@b.c>\n",
    ],
)
def test_a_tag_object_that_git_would_not_write(team: Team, tagger: str) -> None:
    text = f"object {team.at('HEAD')}\ntype commit\ntag adder#staging#2\n{tagger}\nx\n"
    oid = run("git", "hash-object", "-t", "tag", "-w", "--literally", "--stdin", cwd=team.root, input=text)
    run("git", "update-ref", "refs/tags/adder#staging#2", oid.stdout.strip(), cwd=team.root)
    refused(team.push("refs/tags/adder#staging#2"), "adder#staging#2", "not as Git writes them")


def test_back_dated(team: Team) -> None:
    promoted(team, "staging", "1.0.0")
    done = team.push(team.tag("adder#staging#2", "adder@v1.0.0", when="2020-01-01T00:00:00Z"))
    refused(done, "adder#staging#2", "2020-01-01 00:00:00 UTC, is not after that of adder#staging#1, ")
    done = team.push(team.tag("adder#staging#3", "adder@v1.0.0", when=team.later(0)))
    refused(done, "adder#staging#3", "is not after that of adder#staging#1", "GTO goes by time")


def test_future_dated(team: Team) -> None:
    far = int(time.time()) + 660
    done = team.push(team.tag("adder#staging#2", "adder@v1.0.0", when=f"@{far} +0000"))
    refused(done, "adder#staging#2", "is more than 10 minutes in the future; here it is 20")


def test_tags_of_the_future_that_are_there_do_not_stop_gitreg(team: Team) -> None:
    """They came before the hook did. What follows them has to be later still."""
    name = team.tag("adder#staging#2", "adder@v1.0.0", when=f"@{int(time.time()) + 86400} +0000")
    without_hook(team, name)
    team.done("promote", "adder", "production", "--apply")
    assert "adder#production#3" in team.tags()


def without_hook(team: Team, *specs: str) -> None:
    """Push past the hook."""
    hook, away = team.hub / "hooks" / "pre-receive", team.hub / "hooks" / "away"
    hook.rename(away)
    assert team.push(*specs).returncode == 0
    away.rename(hook)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("adder#staging#1000000000000", "its counter, 1000000000000, is far above the model's highest, 1"),
        ("adder#staging", "its name has no counter"),
    ],
)
def test_counters(team: Team, name: str, text: str) -> None:
    done = team.push(team.tag(name, "adder@v1.0.0"))
    refused(done, name, text)
    assert "hint: the next is adder#staging#2" in done.stderr


def test_a_counter_is_of_one_tag_though_stages_differ(team: Team) -> None:
    done = team.push(team.tag("adder#archived#1", "adder@v1.0.0"))
    assert "its counter, 1, is that of adder#staging#1 too; each tag of a model has its own" in done.stderr
    promoted(team, "archived", "1.0.0")
    team.git("tag", "-d", "adder#archived#1")
    done = team.push("main", team.tag("adder#archived#1", "adder@v1.0.0"))
    refused(done, "adder#archived#1", "is that of adder#staging#1 too")
    assert "hint: the next is adder#archived#2" in done.stderr


def test_a_stage_tag_of_no_registered_version(team: Team) -> None:
    done = team.push(team.tag("adder#staging#2", "HEAD"))
    commit = team.at("HEAD")[:12]
    refused(done, "adder#staging#2", f"commit {commit} is that of no registered version of adder")


def test_a_stage_tag_of_no_model(team: Team) -> None:
    refused(team.push(team.tag("nobody#staging#1")), "nobody#staging#1", "no registered version of nobody")


def test_an_unknown_stage(team: Team) -> None:
    done = team.push(team.tag("adder#prodution#2", "adder@v1.0.0"))
    refused(done, "adder#prodution#2", "of main has no stage 'prodution' (did you mean 'production'?)")
    assert "hint: stages: staging, production, archived" in done.stderr


def test_a_stage_file_that_says_otherwise(team: Team) -> None:
    versioned(team, "1.1.0")
    team.push("main")
    team.done("register", "adder", "--push")
    done = team.push(team.tag("adder#staging#2", "adder@v1.1.0"))
    refused(done, "adder#staging#2", "stages/staging.yaml of main says 1.0.0, the tag says 1.1.0")
    assert "hint: gitreg promote adder@1.1.0 staging" in done.stderr
    done = team.push(team.tag("adder#archived#3", "adder@v1.1.0"))
    refused(done, "adder#archived#3", "stages/archived.yaml of main does not name adder, the tag says 1.1.0")


def test_a_gate_that_fails_a_version_that_gto_assigns(team: Team) -> None:
    versioned(team, "1.1.0", metrics={"accuracy": 0.87})
    promoted(team, "staging", "1.1.0")
    team.push("main")
    team.done("apply", "--push")
    promoted(team, "production", "1.1.0")
    team.push("main")
    (name,) = team.gto("assign", "adder", team.at("adder@v1.1.0^{commit}"), "--stage", "production")
    assert name == "adder#production#3"
    done = team.push(f"refs/tags/{name}")
    text = "adder@1.1.0 may not enter production: metric accuracy: accuracy 0.87 is below the minimum 0.9"
    refused(done, name, text)


def test_a_gate_that_names_where_versions_come_from(team: Team) -> None:
    commit = versioned(team, "1.1.0")
    promoted(team, "production", "1.1.0")
    names = [team.tag("adder@v1.1.0", commit), team.tag("adder#production#2", commit)]
    done = team.push("main", *names)
    refused(done, "adder#production#2", "may not enter production: from: 1.1.0 was never in staging")


def test_gates_that_need_a_run_or_the_artifact_are_left_to_gitreg(team: Team) -> None:
    """`archived` asks for samples and a format, which this artifact has not."""
    promoted(team, "archived", "1.0.0")
    assert team.gitreg("plan").returncode == 1
    done = team.push("main", team.tag("adder#archived#2", "adder@v1.0.0"))
    assert done.returncode == 0, done.stderr


def test_a_drop_is_measured_against_what_was_in_the_stage_before_the_push(team: Team) -> None:
    """Taking the version out in the same push leaves something to compare with."""
    gates = "registry: w\nstages:\n  staging:\n    gates:\n      - metric: accuracy\n        max_drop: 0.01\n"
    team.edit("registry.yaml", gates)
    versioned(team, "1.1.0", metrics={"accuracy": 0.5})
    promoted(team, "staging", "1.1.0")
    out = team.tag("adder#staging!#2", "adder@v1.0.0")
    names = [team.tag("adder@v1.1.0"), out, team.tag("adder#staging#3")]
    done = team.push("main", *names)
    assert done.returncode
    assert "metric accuracy: accuracy fell from 0.95 to 0.5" in done.stderr


def test_a_manifest_that_says_another_version(team: Team) -> None:
    commit = team.at("HEAD")[:12]
    done = team.push(team.tag("adder@v2.0.0"))
    text = f"models/adder/model.yaml says 1.0.0 at {commit}, the tag says 2.0.0"
    refused(done, "adder@v2.0.0", text)
    assert "hint: gitreg bump adder" in done.stderr


def test_a_manifest_that_leaves_the_version_blank(team: Team) -> None:
    team.manifest(version=None)
    team.commit("blank")
    done = team.push("main", team.tag("adder@v1.0.1"))
    assert done.returncode == 0, done.stderr
    refused(
        team.push(team.tag("adder@v1.0.2")), "adder@v1.0.2", "is that of adder@1.0.1; a stage tag means one"
    )


def test_a_commit_without_the_model(team: Team) -> None:
    done = team.push(team.tag("nobody@v1.0.0"))
    refused(done, "nobody@v1.0.0", "has no valid manifest of a model 'nobody'")


def test_a_manifest_where_a_tag_alone_says_that_one_is(team: Team) -> None:
    """Only files that registry.yaml takes for manifests are: nobody reviews the others as such."""
    team.edit("notes.yaml", (team.adder / "model.yaml").read_text().replace("1.0.0", "6.6.6"))
    team.push("main")
    for place in ("notes.yaml", "../notes.yaml", "models/../notes.yaml", "/etc/passwd"):
        team.git("tag", "-d", "adder@v6.6.6")
        message = f"x\n\nGitreg-Manifest: {place}"
        team.git("tag", "-a", "-m", message, "adder@v6.6.6", GIT_COMMITTER_DATE=team.later())
        done = team.push("refs/tags/adder@v6.6.6")
        refused(done, "adder@v6.6.6", "models/adder/model.yaml says 1.0.0")


def test_an_unmerged_branch(team: Team) -> None:
    team.git("switch", "-q", "-c", "feature")
    commit = versioned(team, "1.1.0")
    assert team.push("feature").returncode == 0
    done = team.push(team.tag("adder@v1.1.0"))
    refused(done, "adder@v1.1.0", f"commit {commit[:12]} is not on main, and versions are of what is merged")
    assert "hint: merge it first; then gitreg register adder --push" in done.stderr
    assert team.push("feature:main", "refs/tags/adder@v1.1.0").returncode == 0


def test_a_branch_that_is_rewritten_in_the_same_push_does_not_count(team: Team) -> None:
    """The server may let the tag in and refuse the branch."""
    run("git", "config", "receive.denyNonFastForwards", "true", cwd=team.hub)
    team.git("commit", "-q", "--amend", "-m", "other")
    versioned(team, "1.1.0")
    done = team.push("+main", team.tag("adder@v1.1.0"))
    refused(done, "adder@v1.1.0", "is not on main")


@pytest.mark.parametrize("name", ["adder@v1.0.0#2", "adder@v1.0.0!#2"])
def test_a_version_is_registered_once(team: Team, name: str) -> None:
    first = team.push(team.tag(name, "adder@v1.0.0"))
    if "!" in name:
        refused(first, name, "stages/staging.yaml of main says 1.0.0, the tag takes it out")
        team.edit("stages/staging.yaml", "{}\n")
        first = team.push("main", f"refs/tags/{name}")
        assert first.returncode == 0, first.stderr
        refused(
            team.push(team.tag("adder@v1.0.0!#3")), "adder@v1.0.0!#3", "was deregistered already, by adder@v1"
        )
        name = team.tag("adder@v1.0.0#4", "adder@v1.0.0").removeprefix("refs/tags/")
        refused(
            team.push(f"refs/tags/{name}"),
            name,
            "was deregistered, by adder@v1.0.0!#2; versions are not used",
        )
        name = team.tag("adder#staging#5", "adder@v1.0.0").removeprefix("refs/tags/")
        refused(team.push(f"refs/tags/{name}"), name, "adder@1.0.0 was deregistered, by adder@v1.0.0!#2")
    else:
        refused(first, name, "adder@1.0.0 is registered, by adder@v1.0.0; versions are not used twice")


def test_the_scheme_of_versions(team: Team) -> None:
    team.edit("registry.yaml", REGISTRY + "versions: {scheme: triplet}\n")
    versioned(team, "1.0.1")
    done = team.push("main", team.tag("adder@v1.0.1"))
    refused(done, "adder@v1.0.1", "'1.0.1' is not a version of the scheme: three numbers from 1 to 99")


def test_unassign(team: Team) -> None:
    done = team.push(team.tag("adder#staging!#2", "adder@v1.0.0"))
    refused(done, "adder#staging!#2", "stages/staging.yaml of main says 1.0.0, the tag takes it out")
    assert "hint: gitreg demote adder staging" in done.stderr
    done = team.push(team.tag("adder#archived!#3", "adder@v1.0.0"))
    refused(done, "adder#archived!#3", "adder@1.0.0 is not in archived; nothing is")
    team.edit("stages/staging.yaml", "{}\n")
    assert team.push("main", "refs/tags/adder#staging!#2").returncode == 0


def test_a_lower_version_under_a_higher_one(team: Team) -> None:
    versioned(team, "1.1.0")
    promoted(team, "staging", "1.1.0")
    team.push("main")
    team.done("apply", "--push")
    promoted(team, "staging", "1.0.0")
    done = team.push("main", team.tag("adder#staging#3", "adder@v1.0.0"))
    refused(done, "adder#staging#3", "adder@1.1.0 is still assigned to staging, and GTO shows the higher one")
    out = team.tag("adder#staging!#4", "adder@v1.1.0")
    assert team.push("main", out, team.tag("adder#staging#5", "adder@v1.0.0")).returncode == 0


def test_a_version_may_leave_and_return_in_one_push(team: Team) -> None:
    """The file says 1.0.0 all the time: the last word on it counts, whatever is said of others after it."""
    versioned(team, "1.1.0")
    out = team.tag("adder#staging!#2", "adder@v1.0.0")
    back = team.tag("adder#staging#3", "adder@v1.0.0")
    assert team.push("main", out, back).returncode == 0
    out = team.tag("adder#staging!#4", "adder@v1.0.0")
    done = team.push(out, team.tag("adder#staging!#5", "adder@v1.0.0"))
    assert "stages/staging.yaml of main says 1.0.0, the tag takes it out" in errors(done)["adder#staging!#4"]
    # A file that says nothing of it has nothing against a stay that is over, either.
    stay = [team.tag(f"adder#archived{sign}", "adder@v1.0.0") for sign in ("#6", "!#7")]
    assert team.push(*stay).returncode == 0


def test_two_tags_of_one_second(team: Team) -> None:
    when = team.later()
    names = [team.tag(f"adder@deprecated#{n}", "adder@v1.0.0", when=when) for n in (2, 3)]
    refused(team.push(*names), "adder@deprecated#3", "is not after that of adder@deprecated#2")


def test_soak_is_measured_by_the_clock_here(team: Team) -> None:
    """A tag may be ahead by some minutes; no version becomes older by that."""
    soak = "stages:\n  staging: {}\n  production: {from: [staging], gates: [{soak: 5m}]}\n"
    team.edit("registry.yaml", f"registry: w\n{soak}")
    promoted(team, "production", "1.0.0")
    done = team.push(
        "main", team.tag("adder#production#2", "adder@v1.0.0", when=f"@{int(time.time()) + 400} +0000")
    )
    refused(done, "adder#production#2", "may not enter production: soak: ", "of 5m in staging")


@pytest.mark.parametrize(("says", "latest", "other"), [("1.0.0", "1.0.0", "1.1.0"), (None, "1.1.0", "1.0.0")])
def test_a_stage_file_that_says_latest(team: Team, says: str | None, latest: str, other: str) -> None:
    """That is what the manifest says; where it says nothing, the highest that is registered."""
    commits = {"1.0.0": "adder@v1.0.0", "1.1.0": versioned(team, "1.1.0")}
    team.manifest(version=says)
    team.commit("another manifest")
    promoted(team, "staging", "latest")
    new = team.tag("adder@v1.1.0", commits["1.1.0"])
    done = team.push("main", new, team.tag("adder#staging#2", commits[other]))
    text = f"stages/staging.yaml of main says {latest}, the tag says {other}"
    refused(done, "adder#staging#2", text)
    done = team.push("main", new, team.tag("adder#staging#3", commits[latest]))
    assert done.returncode == 0, done.stderr


def test_a_stage_file_that_is_broken(team: Team) -> None:
    promoted(team, "staging", "[1.0")
    done = team.push("main", team.tag("adder#staging#2", "adder@v1.0.0"))
    refused(done, "adder#staging#2", "cannot be judged: stages/staging.yaml:")


def test_what_gto_writes(team: Team) -> None:
    team.edit("stages/staging.yaml", "{}\n")
    team.push("main")
    for words in (["v1.0.0", "staging"], ["v1.0.0"], []):
        (name,) = team.gto("deprecate", "adder", *words)
        done = team.push(f"refs/tags/{name}")
        if words:
            assert done.returncode == 0, done.stderr
        else:
            refused(done, name, "no version of a model 'adder' is registered")


def test_a_branch_that_goes_in_the_same_push_does_not_count(team: Team) -> None:
    done = team.push(":main", team.tag("adder#staging#2", "adder@v1.0.0"))
    refused(done, "adder#staging#2", "cannot be judged: there is no branch main")


def test_a_tag_that_calls_a_tree_a_commit(team: Team) -> None:
    """Git would not send it; what asks the hook need not be Git."""
    tree = team.at("HEAD^{tree}")
    text = f"object {tree}\ntype commit\ntag adder@v2.0.0\ntagger A <a> {int(time.time())} +0000\n\nx\n"
    oid = run("git", "hash-object", "-t", "tag", "-w", "--literally", "--stdin", cwd=team.hub, input=text)
    line = f"{'0' * 40} {oid.stdout.strip()} refs/tags/adder@v2.0.0\n"
    done = gitreg("hook", "pre-receive", cwd=team.hub, input=line)
    refused(done, "adder@v2.0.0", f"what it names, {tree[:12]}, is no commit here")


def test_deregister_and_deprecate(team: Team) -> None:
    done = team.push(team.tag("adder@v1.0.1!#2", "adder@v1.0.0"))
    refused(done, "adder@v1.0.1!#2", "adder@1.0.1 is not registered (did you mean '1.0.0'?)")
    done = team.push(team.tag("nobody@deprecated#1"))
    refused(done, "nobody@deprecated#1", "no version of a model 'nobody' is registered")
    assert team.push(team.tag("adder@deprecated#3", "adder@v1.0.0")).returncode == 0


def test_everything_that_is_wrong_is_told_at_once_and_nothing_gets_in(team: Team) -> None:
    versioned(team, "1.1.0")
    good = team.tag("adder@v1.1.0")
    bad = [team.tag("adder#nowhere#2"), team.tag("adder@created#9"), team.tag("nobody@v1.0.0")]
    before = team.tags()
    done = team.push("main", good, *bad)
    assert done.returncode
    assert set(errors(done)) == {name.removeprefix("refs/tags/") for name in bad}
    assert team.tags() == before
    # One tag may be wrong in several ways.
    done = team.push(team.tag("adder#nowhere#1", "HEAD", when="2020-01-01T00:00:00Z"))
    said = " ".join(errors(done)["adder#nowhere#1"])
    assert all(word in said for word in ("is not after", "its counter", "no registered version", "no stage"))
    assert team.push("main", good).returncode == 0


def test_registry_yaml_has_to_be_there_and_to_be_valid(team: Team) -> None:
    done = team.push(team.tag("adder@deprecated#2", "adder@v1.0.0"), "main:refs/heads/other")
    assert done.returncode == 0, done.stderr
    team.edit("registry.yaml", "stages: [\n")
    done = team.push("main", team.tag("adder#staging#3", "adder@v1.0.0"))
    refused(done, "adder#staging#3", "cannot be judged: registry.yaml:")
    run("git", "symbolic-ref", "HEAD", "refs/heads/elsewhere", cwd=team.hub)
    done = team.push("refs/tags/adder#staging#3")
    refused(done, "adder#staging#3", "cannot be judged: there is no branch elsewhere")


def test_a_registry_in_a_folder_of_its_repository(team: Team) -> None:
    team.git("switch", "-q", "--orphan", "fresh")
    team.git("checkout", "-q", "main", "--", ".")
    (team.root / "ml").mkdir()
    for name in ("registry.yaml", "models", "stages"):
        team.git("mv", name, f"ml/{name}")
    team.commit("moved")
    hub = team.root.parent / "sub.git"
    run("git", "init", "-q", "--bare", "-b", "main", hub, cwd=team.root)
    assert gitreg("hook", "install", hub, "--within", "./ml/", cwd=team.root).returncode == 0
    name = team.tag("adder@v1.0.0#1", "HEAD")
    done = team.git("push", hub.as_posix(), "fresh:main", name)
    assert done.returncode == 0, done.stderr
    done = team.git("push", hub.as_posix(), team.tag("adder#nowhere#2", "HEAD"))
    refused(done, "adder#nowhere#2", "has no stage 'nowhere'")
    for bad in ("../x", "/x"):
        assert gitreg("hook", "install", hub, "--within", bad, cwd=team.root).returncode == 2


# What is not its business --------------------------------------------------------------------------


def test_other_references_pass_untouched(team: Team) -> None:
    team.git("tag", "v1.0")
    team.git("tag", "-a", "-m", "x", "release-2024", GIT_COMMITTER_DATE="2001-01-01T00:00:00Z")
    team.git("branch", "adder@v9.9.9")
    refs_ = ["v1.0", "release-2024", "refs/heads/adder@v9.9.9", "HEAD:refs/notes/x"]
    assert team.push(*refs_).returncode == 0
    team.git("tag", "-f", "v1.0", "HEAD~1")
    assert team.push("-f", "v1.0").returncode == 0
    assert team.push("--delete", "v1.0", "release-2024", "refs/heads/adder@v9.9.9").returncode == 0


def test_a_push_without_registry_tags_costs_no_imports(team: Team) -> None:
    line = f"{'0' * 40} {team.at('HEAD')} refs/heads/x\n{'0' * 40} {team.at('HEAD')} refs/tags/v1.0\n"
    code = (
        "import sys; from gitreg.cli import main; code = main(['hook', 'pre-receive']);"
        "print(code, *{m.partition('.')[0] for m in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=team.hub, capture_output=True, text=True, input=line, check=True
    )
    code_, *loaded = done.stdout.split()
    assert code_ == "0"
    assert not {"dvc", "git", "numpy", "jsonschema", "yaml", "rich", "google"} & set(loaded)


def test_tags_that_record_nothing_may_be_deleted(team: Team) -> None:
    """They came before the hook did; deletion is their cure."""
    team.git("tag", "adder@v3.0.0")
    odd = ["refs/tags/adder@v3.0.0", team.tag("adder@created#9")]
    without_hook(team, *odd)
    done = team.push("--delete", *odd)
    assert done.returncode == 0, done.stderr
    assert not {"adder@v3.0.0", "adder@created#9"} & team.tags()


@pytest.mark.parametrize(
    "name", ["a@$(touch${IFS}owned)", "a@`touch${IFS}owned`;'\"", "-d@x", "--help#1", "a@é\u202e"]
)
def test_names_with_characters_of_shells_and_terminals(team: Team, name: str) -> None:
    ref = f"refs/tags/{name}"
    run("git", "update-ref", ref, team.at("adder@v1.0.0"), cwd=team.root)
    done = team.push(f"{ref}:{ref}")
    assert done.returncode and "not a registry tag" in done.stderr
    assert not [line for line in done.stderr.splitlines() if "remote:" in line and "\u202e" in line]
    without_hook(team, f"{ref}:{ref}")
    done = team.gitreg("hook", "verify-tags", "--", name)
    assert done.returncode == 1
    (command,) = re.findall(r"to undo it: (.*)", done.stderr)
    if name.isascii():
        subprocess.run(["sh", "-c", command], cwd=team.root, check=True, capture_output=True)
        assert name not in team.tags()
    assert not list(team.root.rglob("owned"))


def test_a_name_that_is_no_text(team: Team) -> None:
    ref = b"refs/tags/a@\xff"
    subprocess.run([b"git", b"update-ref", ref, b"adder@v1.0.0"], cwd=team.root, check=True)
    done = subprocess.run([b"git", b"push", b"origin", ref + b":" + ref], cwd=team.root, capture_output=True)
    assert done.returncode and b"not a registry tag" in done.stderr
    line = b"0" * 40 + b" " + team.at("adder@v1.0.0").encode() + b" " + ref + b"\n"
    ran = subprocess.run(
        [sys.executable, "-m", "gitreg", "hook", "pre-receive", "--json"], cwd=team.root / ".git", input=line,
        capture_output=True,
    )  # fmt: skip
    assert json.loads(ran.stdout)["findings"][0]["ref"] == "refs/tags/a@\\udcff"


def test_what_is_no_line_of_a_hook_is_refused(team: Team) -> None:
    done = gitreg("hook", "pre-receive", cwd=team.hub, input="hello\n")
    assert done.returncode == 1 and "not a line that Git gives a pre-receive hook: 'hello" in done.stderr


# Where it runs -------------------------------------------------------------------------------------


def test_the_hook_finds_its_repository_however_git_is_configured(team: Team) -> None:
    """`safe.bareRepository` forbids to find a bare repository by its folder; Git tells hooks where it is."""
    settings = {"GIT_CONFIG_GLOBAL": str(team.root.parent / "config")}
    run(
        "git",
        "config",
        "--file",
        settings["GIT_CONFIG_GLOBAL"],
        "safe.bareRepository",
        "explicit",
        cwd=team.root,
    )
    assert team.push(team.tag("adder@deprecated#2", "adder@v1.0.0"), **settings).returncode == 0
    refused(team.push(team.tag("adder#x1#3", "adder@v1.0.0"), **settings), "adder#x1#3", "has no stage")


def test_variables_of_a_hook_lead_to_no_other_repository(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    run("git", "init", "-q", "-b", "main", other, cwd=tmp_path)
    oid = run("git", "hash-object", "-w", "--stdin", cwd=other, input="secret").stdout.strip()
    git.name_bare(team.hub)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / "index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other / ".git" / "objects"))
    assert git.git_folder(team.root) == team.root / ".git"
    assert objects.Reader(team.root).read(oid) is None
    # A quarantine is believed for the repository that it is in, and for no other.
    monkeypatch.setenv("GIT_QUARANTINE_PATH", str(other / ".git" / "objects" / "incoming"))
    assert objects.Reader(team.hub).read(oid) is None
    assert git.git_folder(team.hub) == team.hub
    monkeypatch.setenv("GIT_QUARANTINE_PATH", str(team.hub / "objects" / "incoming"))
    assert objects.Reader(team.hub).read(oid) == (oid, b"secret")
    assert objects.Reader(team.root).read(oid) is None


def test_an_object_that_is_replaced_is_read_as_it_is(team: Team) -> None:
    """Whoever may push could give the hook another registry.yaml, which no clone would ever see."""
    lax = run(
        "git", "hash-object", "-w", "--stdin", cwd=team.root, input="registry: w\nstages: {nowhere: {}}\n"
    )
    run("git", "replace", team.at("HEAD:registry.yaml"), lax.stdout.strip(), cwd=team.root)
    assert team.push("refs/replace/*:refs/replace/*").returncode == 0
    seen = run("git", "show", "main:registry.yaml", cwd=team.hub).stdout
    assert "nowhere" in seen
    refused(
        team.push(team.tag("adder#nowhere#2", "adder@v1.0.0")), "adder#nowhere#2", "has no stage 'nowhere'"
    )


def test_a_tag_called_as_the_branch_does_not_hide_it(team: Team) -> None:
    team.git("tag", "main", "HEAD~1")
    assert team.push("refs/tags/main").returncode == 0
    promoted(team, "archived", "1.0.0")
    done = team.push("refs/heads/main", team.tag("adder#archived#2", "adder@v1.0.0"))
    assert done.returncode == 0, done.stderr
    done = team.gitreg("hook", "verify-tags", "adder#archived#2")
    assert done.returncode == 0, done.stderr


def test_who_is_behind_is_told_so_and_no_more(team: Team) -> None:
    """Counters and times that others took are no fault of whoever was slower."""
    line = f"{'0' * 40} {team.at('adder#staging#1')} refs/tags/adder#staging#1\n"
    guard = f"{'0' * 40} {team.at('adder#staging#1')} refs/gitreg/models/adder\n"
    for text in (line, line + guard):
        done = gitreg("hook", "pre-receive", cwd=team.hub, input=text)
        assert done.returncode == 1
        assert done.stderr.count("error: ") == done.stderr.count("stale info") == text.count("\n")


def test_many_models_are_asked_for_as_few_are(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"adder": None, "nobody": None}
    git.name_bare(team.hub)
    few = View(team.hub).tags(asked, ["refs/tags/adder@v1.0.0"])
    assert {model: [tag.name for tag in tags] for model, tags in few.items()} == {
        "adder": ["adder#staging#1"],
        "nobody": [],
    }
    monkeypatch.setattr("gitreg.warden.view._MANY", 0)
    assert View(team.hub).tags(asked, ["refs/tags/adder@v1.0.0"]) == few


# Installing ----------------------------------------------------------------------------------------


def test_install(tmp_path: Path) -> None:
    hub = tmp_path / "it's a hub.git"
    run("git", "init", "-q", "--bare", hub, cwd=tmp_path)
    done = gitreg("hook", "install", hub, cwd=tmp_path)
    hook = hub / "hooks" / "pre-receive"
    assert done.returncode == 0 and done.stdout == f"wrote {hook}\n"
    text = f"#!/bin/sh\n{hook_rules.MARK}\nexec {shlex.quote(sys.executable)} -m gitreg hook pre-receive\n"
    assert hook.read_text() == text
    assert os.access(hook, os.X_OK)
    hook.write_text(text.replace(sys.executable, "/old/python"))
    done = gitreg("hook", "install", "--json", "-C", hub, cwd=tmp_path)
    assert json.loads(done.stdout) == {"hook": str(hook)}
    assert hook.read_text() == text and os.access(hook, os.X_OK)
    assert [file.name for file in hook.parent.iterdir() if "pre-receive" in file.name] == [
        "pre-receive",
        *(["pre-receive.sample"] if (hook.parent / "pre-receive.sample").exists() else []),
    ]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_hook_that_is_there_is_left_alone(tmp_path: Path, kind: str) -> None:
    hub, mine = tmp_path / "hub.git", tmp_path / "mine"
    run("git", "init", "-q", "--bare", hub, cwd=tmp_path)
    hook = hub / "hooks" / "pre-receive"
    mine.write_text(f"#!/bin/sh\n{hook_rules.MARK if kind == 'link' else ''}\n")
    hook.symlink_to(mine) if kind == "link" else shutil.copy(mine, hook)
    before = hook.read_text()
    done = gitreg("hook", "install", hub, cwd=tmp_path)
    assert done.returncode == 1
    assert f"error: {hook} is there, and not gitreg's" in done.stderr
    assert "-m gitreg hook pre-receive" in done.stderr
    assert hook.read_text() == before


def test_install_needs_a_bare_repository_that_runs_its_own_hooks(team: Team, tmp_path: Path) -> None:
    for folder in (team.root, tmp_path):
        done = gitreg("hook", "install", folder, cwd=tmp_path)
        assert done.returncode == 1 and "is not a bare repository" in done.stderr
    run("git", "config", "core.hooksPath", str(tmp_path), cwd=team.hub)
    done = gitreg("hook", "install", team.hub, cwd=tmp_path)
    assert done.returncode == 1 and "core.hooksPath" in done.stderr
    assert not (tmp_path / "pre-receive").exists()
    assert gitreg("hook", "install", tmp_path / "nowhere", cwd=tmp_path).returncode == 2


# verify-tags ---------------------------------------------------------------------------------------


def verify(team: Team, *names: str) -> Done:
    return team.gitreg("hook", "verify-tags", "--", *names)


def test_verify_passes_what_is_right_and_what_is_not_its_business(team: Team) -> None:
    team.git("tag", "v1.0")
    team.done("promote", "adder", "production", "--apply")
    for names in (["adder@v1.0.0"], ["adder#staging#1", "refs/tags/v1.0"], sorted(team.tags())):
        done = verify(team, *names)
        assert done.returncode == 0, done.stderr


def test_verify_says_what_is_wrong_and_how_to_undo_it(team: Team) -> None:
    without_hook(team, team.tag("adder#nowhere#1"))
    done = verify(team, "adder@v1.0.0", "adder#nowhere#1")
    assert done.returncode == 1
    assert list(errors(done)) == ["adder#nowhere#1"] and len(errors(done)["adder#nowhere#1"]) == 3
    command = "git push --delete origin 'refs/tags/adder#nowhere#1'"
    assert done.stderr.splitlines()[-1] == f"hint: to undo it: {command}"
    assert done.stderr.count("undo") == 1
    said = json.loads(team.gitreg("hook", "verify-tags", "--json", "adder#nowhere#1").stdout)
    assert said["ok"] is False and [one["undo"] for one in said["findings"]] == [command] * 3
    assert set(said["findings"][0]) == {"ref", "text", "hint", "undo"}
    without_hook(team, "--delete", "refs/tags/adder#nowhere#1")  # as on a forge without the hook


def test_verify_holds_nothing_against_a_tag_that_came_after_it(team: Team) -> None:
    versioned(team, "1.1.0")
    promoted(team, "staging", "1.1.0")
    team.push("main")
    team.done("apply", "--push")
    for name in ("adder@v1.0.0", "adder#staging#1"):
        done = verify(team, name)
        assert done.returncode == 0, done.stderr


def test_verify_finds_what_slipped_in_between(team: Team) -> None:
    """A later tag names the one before it, and that is not this one; or it has a lower counter."""
    first = team.git("for-each-ref", "--format=%(taggerdate:unix)", "refs/tags/adder@v1.0.0").stdout
    without_hook(team, team.tag("adder@deprecated", "adder@v1.0.0", when=f"@{int(first) - 5} +0000"))
    done = verify(team, "adder@deprecated")
    assert done.returncode == 1 and "is not after that of adder@v1.0.0" in done.stderr
    promoted(team, "archived", "1.0.0")
    previous = f"x\n\nGitreg-Previous: {team.at('adder#staging#1')}"
    by_hand = [
        team.tag("adder#archived#2", "adder@v1.0.0", when=team.later(100), message=previous),
        team.tag("adder@deprecated#5", "adder@v1.0.0", when=team.later(-50)),
        team.tag("adder#archived#3", "adder@v1.0.0", when=team.later(10)),
        team.tag("adder#archived#4", "adder@v1.0.0", when=team.later(-5)),
    ]
    without_hook(team, "main", *by_hand)
    for name in ("adder#archived#2", "adder#archived#3"):
        done = verify(team, name)
        assert done.returncode == 0, done.stderr
    done = verify(team, "adder@deprecated#5")
    assert done.returncode == 1 and "is not after that of adder#archived#" in done.stderr
    done = verify(team, "adder#archived#4")
    assert done.returncode == 1 and "is not after that of adder#archived#3" in done.stderr


def test_verify_by_another_branch(team: Team) -> None:
    team.git("switch", "-q", "-c", "develop")
    versioned(team, "1.1.0")
    without_hook(team, "develop", team.tag("adder@v1.1.0"))
    assert "is not on main" in verify(team, "adder@v1.1.0").stderr
    done = team.gitreg("hook", "verify-tags", "--branch", "develop", "--", "adder@v1.1.0")
    assert done.returncode == 0, done.stderr
    team.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/develop")
    assert verify(team, "adder@v1.1.0").returncode == 0


def test_verify_needs_the_tag_and_the_history(team: Team, tmp_path: Path) -> None:
    done = verify(team, "adder@v7.0.0")
    assert done.returncode == 1 and "there is no tag 'adder@v7.0.0' here" in done.stderr
    assert "hint: git fetch origin refs/tags/adder@v7.0.0:refs/tags/adder@v7.0.0" in done.stderr
    run("git", "clone", "-q", "--depth", "1", f"file://{team.hub}", tmp_path / "shallow", cwd=tmp_path)
    done = gitreg("hook", "verify-tags", "adder@v1.0.0", cwd=tmp_path / "shallow")
    assert done.returncode == 1 and "shallow clone" in done.stderr
