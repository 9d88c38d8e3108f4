"""Files of a commit that look like a Git repository, with a configuration that runs commands."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import gitreg as api
from gitreg import cli, git
from gitreg.errors import InvalidFiles, Outside
from gitreg.git import discovery, objects, plain, refs
from gitreg.git.discovery import Planted
from gitreg.warden import hook as hooks
from tests.support import ADDER_CODE, Workshop, gitreg, run

CONFIG = """\
[core]
	repositoryformatversion = 1
	bare = false
	worktree = {folder}
	fsmonitor = "touch {mark} #"
	sshCommand = "touch {mark} #"
	hooksPath = {folder}/hooks
	pager = "touch {mark} #"
[diff]
	external = "touch {mark} #"
[extensions]
	partialClone = origin
[remote "origin"]
	url = ssh://localhost/there
	promisor = true
"""
POINTER = """\
version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""
LACKING = "0123456789" * 4


@dataclass
class Mono(Workshop):
    """A registry in the folder `team/ml` of a repository, where a pull request may plant something.

    Attributes:
        top: of the repository.
        mark: a file that is there when a planted command ran.
    """

    top: Path
    mark: Path

    def plant(self, folder: Path | None = None) -> Path:
        """Make a folder, by default the registry's, look like a repository, and commit that."""
        folder = folder or self.root
        (folder / "HEAD").write_text("ref: refs/heads/main\n")
        (folder / "config").write_text(CONFIG.format(folder=folder, mark=self.mark))
        for name in ("objects/.k", "refs/heads/.k", "hooks/post-index-change"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"#!/bin/sh\ntouch {self.mark}\n")
        (folder / "hooks" / "post-index-change").chmod(0o755)
        run("git", "add", "-A", cwd=self.top)
        run("git", "commit", "-qm", "a pull request", cwd=self.top)
        return folder

    def revert(self, folder: Path) -> None:
        """Take away what was planted, and commit that."""
        for name in ("HEAD", "config", "objects", "refs", "hooks"):
            run("git", "rm", "-rqf", folder / name, cwd=self.top)
        run("git", "commit", "-qm", "reverted", cwd=self.top)

    def refuses(self, *arguments: str | Path, cwd: Path | None = None, folder: Path | None = None) -> None:
        """gitreg names the folder, ends with 1, and has run nothing."""
        done = gitreg(*arguments, cwd=cwd or self.root)
        told = "".join((done.stdout + done.stderr).split())
        assert done.returncode == 1, (arguments, done.stdout, done.stderr)
        assert f"{folder or self.root}holds" in told, (arguments, done.stdout, done.stderr)
        assert not self.mark.exists(), arguments


def monorepo(registry: Path, top: Path) -> Mono:
    """A repository with a registry in its folder `team/ml`."""
    root = top / "team" / "ml"
    shutil.copytree(registry, root, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    run("git", "init", "-q", "-b", "main", cwd=top)
    one = Mono(root, top, top.parent / "mark")
    run("git", "add", "-A", cwd=top)
    run("git", "commit", "-qm", "first", cwd=top)
    return one


@pytest.fixture
def mono(workshop: Workshop, tmp_path: Path) -> Mono:
    return monorepo(workshop.root, tmp_path / "mono")


def test_git_itself_obeys_what_is_planted(mono: Mono) -> None:
    """Else the tests below would show nothing."""
    mono.plant()
    subprocess.run(["git", "status"], cwd=mono.root, capture_output=True)
    assert mono.mark.exists()
    mono.mark.unlink()
    subprocess.run(["git", "cat-file", "-e", LACKING], cwd=mono.root, capture_output=True)
    assert mono.mark.exists()


# Refused ---------------------------------------------------------------------------------------------


def test_every_verb_refuses_a_registry_that_looks_like_a_repository(
    mono: Mono, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mono.gitreg("register", "adder").returncode == 0
    mono.plant()
    model = tmp_path / "model.onnx"
    model.touch()
    mono.refuses("check")
    monkeypatch.chdir(mono.root)
    for command in (
        "check",
        "check adder",
        "check --base HEAD~1",
        "check --base HEAD~1 --committed --format github",
        "check --fix",
        "requirements --base HEAD~1",
        "plan",
        "apply",
        "list",
        "show adder@1.0.0",
        "build adder",
        "predict adder",
        "predict adder@1.0.0",
        "pull adder",
        "promote adder staging --apply",
        "bump adder",
        "reproduce adder",
        f"new other --from {model}",
        "init",
        "doctor",
        "doctor --json",
        f"site build -o {tmp_path / 'site'}",
        "hook verify-tags adder@v1.0.0",
    ):
        code = cli.main(command.split())
        told = "".join("".join(capsys.readouterr()).split())
        assert code == 1 and f"{mono.root}holds" in told, (command, told)
        assert not mono.mark.exists(), command
    assert not (tmp_path / "site").exists()


def test_the_api_refuses_it_too(mono: Mono, monkeypatch: pytest.MonkeyPatch) -> None:
    mono.plant()
    for make in (
        lambda: api.Registry(mono.root),
        lambda: api.Registry(str(mono.root / "models")),
        lambda: api.load_model("adder", registry=mono.root),
    ):
        with pytest.raises(Planted, match="ml holds HEAD, objects and refs"):
            make()
    monkeypatch.chdir(mono.root)
    with pytest.raises(Planted):
        api.load_model("adder")
    assert not mono.mark.exists()


def test_every_folder_from_where_one_is_to_the_top_counts(mono: Mono) -> None:
    for folder, start in (
        (mono.root.parent, mono.root),
        (mono.top, mono.root),
        (mono.adder, mono.adder / "src"),
    ):
        mono.plant(folder)
        mono.refuses("check", cwd=start, folder=folder)
        mono.refuses("list", "-C", start, cwd=mono.top.parent, folder=folder)
        mono.refuses("list", "--registry", start, cwd=mono.top.parent, folder=folder)
        mono.revert(folder)
    assert mono.gitreg("check").returncode == 0


def test_entries_of_any_kind_count(mono: Mono) -> None:
    """Links, and what names the real folders from elsewhere, serve Git as well."""
    aside = mono.root / "assets"
    (aside / "refs").mkdir(parents=True)
    (aside / "objects").mkdir()
    (aside / "config").write_text(CONFIG.format(folder=mono.root, mark=mono.mark))
    (mono.root / "HEAD").write_text("ref: refs/heads/main\n")
    (mono.root / "commondir").write_text("assets\n")
    said = run("git", "rev-parse", "--git-dir", "--git-common-dir", cwd=mono.root).stdout.split()
    assert (
        [Path(one).name for one in said] == ["", "assets"] or said == [".", "assets"] or "assets" in said[1]
    )
    mono.refuses("list")
    (mono.root / "commondir").unlink()
    (mono.root / "HEAD").unlink()
    (mono.root / "HEAD").symlink_to("refs/heads/main")
    assert mono.gitreg("list").returncode == 0
    (mono.root / "refs").symlink_to("assets/refs")
    (mono.root / "objects").symlink_to("assets/objects")
    run("git", "rev-parse", "--is-bare-repository", cwd=mono.root)
    mono.refuses("list")
    (mono.root / "HEAD").unlink()
    from dulwich.repo import Repo

    assert Repo.discover(mono.root).bare, "DVC's own reader of Git needs no HEAD"
    mono.refuses("list")
    (mono.root / "objects").unlink()
    (mono.root / "objects").write_text("a list of objects")
    assert mono.gitreg("list").returncode == 0


def test_check_refuses_what_is_one_on_another_file_system(mono: Mono) -> None:
    (mono.root / "Head").write_text("ref: refs/heads/main\n")
    for name in ("OBJECTS", "r\u200cefs"):
        (mono.root / name).mkdir()
    done = mono.gitreg("check")
    assert done.returncode == 1 and "ml holds Head, OBJECTS and r" in done.stderr
    done = mono.gitreg("check", "--base", "HEAD")
    assert done.returncode == 1 and "ml holds Head, OBJECTS and r" in done.stderr


def test_folders_of_such_names_are_allowed_one_by_one(mono: Mono) -> None:
    (mono.root / "objects").mkdir()
    (mono.root / "HEAD").write_text("the head of engineering\n")
    assert mono.gitreg("check").returncode == 0


def test_what_is_below_the_registry_misleads_nobody(mono: Mono) -> None:
    """It may be anybody's test data; only who stands in it is told."""
    mono.plant(mono.adder)
    assert mono.gitreg("check", "--base", "HEAD~1").returncode == 0
    assert mono.gitreg("trace", "adder").returncode == 0
    assert not mono.mark.exists()


# Laid out --------------------------------------------------------------------------------------------


def test_an_older_commit_is_held_against_the_same_rule(mono: Mono) -> None:
    mono.plant()
    commit = run("git", "rev-parse", "HEAD", cwd=mono.top).stdout.strip()
    run("git", "tag", "-a", "-m", "by hand", "adder@v1.0.0", cwd=mono.top)
    mono.revert(mono.root)
    mono.manifest(version="1.1.0")
    run("git", "commit", "-qam", "1.1.0", cwd=mono.top)
    assert mono.gitreg("list").returncode == 0
    for command in ("predict adder@1.0.0", "build adder@1.0.0", "reproduce adder@1.0.0", "pull adder@1.0.0"):
        done = mono.gitreg(*command.split())
        said = f"commit {commit[:12]}: team/ml holds HEAD, objects and refs"
        assert done.returncode == 1 and said in done.stderr, (command, done.stderr)
    assert not mono.mark.exists()


def test_so_is_a_registry_at_an_address(mono: Mono, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITREG_CACHE", str(tmp_path / "cache"))
    mono.plant()
    for name in ("objects", "refs"):  # of the registry's folders only those of the model are laid out
        (mono.root / name).rename(mono.adder / name)
        (mono.root / name).symlink_to(f"models/adder/{name}")
    run("git", "add", "-A", cwd=mono.top)
    run("git", "commit", "-qm", "links", cwd=mono.top)
    run("git", "tag", "-a", "-m", "by hand", "adder@v1.0.0", cwd=mono.top)
    run("git", "clone", "-q", "--bare", mono.top, tmp_path / "hub.git", cwd=tmp_path)
    address = f"{(tmp_path / 'hub.git').as_uri()}#subdirectory=team/ml"
    with pytest.raises(Planted, match=r"commit [0-9a-f]{12}: team/ml holds HEAD, objects and refs"):
        api.load_model("adder@1.0.0", registry=address)
    done = gitreg("predict", "adder@1.0.0", "--registry", address, cwd=tmp_path)
    assert done.returncode == 1 and "team/ml holds" in done.stderr
    done = gitreg("list", "--registry", address, cwd=tmp_path)  # nothing is laid out for that
    assert done.returncode == 0 and "adder" in done.stdout
    assert not mono.mark.exists()


# Found -----------------------------------------------------------------------------------------------


def test_no_question_to_git_is_answered_by_what_is_planted(
    mono: Mono, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever refuses before: no Git of ours may be misled."""
    mono.plant()
    root, top, head = mono.root, mono.top, run("git", "rev-parse", "HEAD", cwd=mono.top).stdout.strip()
    before = run("git", "rev-parse", "HEAD~1", cwd=top).stdout.strip()
    monkeypatch.setenv("GIT_DIR", str(mono.root))
    monkeypatch.setenv("GIT_WORK_TREE", str(mono.root))
    mono.adder.joinpath("samples.json").write_text("[]")
    assert git.top(root) == top and git.prefix(root) == "team/ml/"
    assert git.git_folder(root) == top / ".git" == git.git_folder(mono.adder)
    assert plain.place(root) == plain.Place(top / ".git", "team/ml/")
    assert git.head(root) == head == objects.resolve(root, "HEAD")
    assert git.changed(root) == ["team/ml/models/adder/samples.json"]
    assert "registry.yaml" in git.known(root, "*.yaml") and git.untracked(root, ["."]) == []
    assert git.changes(root, head, []) == {}
    assert git.containing(root, "registry:") == ["registry.yaml"]
    assert "HEAD" in (git.visible_files(root) or ())
    assert git.last_commit(root, ["registry.yaml"]) == before
    assert git.setting(root, "remote.origin.url") == "" and objects.identity(root)
    assert refs.current_branch(root) == "main" and refs.remotes(root) == [] and not refs.is_shallow(root)
    assert plain.tags(root) == b"" and list(plain.lines(root, ["tag"])) == []
    assert objects.Reader(root).read(LACKING) is None
    assert list(plain.objects(root, [LACKING])) == [None]
    assert git.client(root).execute(["git", "rev-parse", "--show-toplevel"]) == str(top)
    git.clone_at(root, head, tmp_path / "clone")
    made = objects.write_commit(root, head, {"team/ml/x": b"x"}, "x")
    assert objects.same_change(root, made, made, head)
    monkeypatch.delenv("GIT_DIR")
    assert run("git", "cat-file", "-t", made, cwd=top).stdout == "commit\n"
    assert not mono.mark.exists()


def test_a_planted_folder_without_a_registry_is_no_bare_repository(mono: Mono) -> None:
    """A pull request may also take registry.yaml away."""
    (mono.root / "registry.yaml").unlink()
    mono.plant()
    for command in (
        ["list"],
        ["check"],
        ["plan", "--registry", "."],
        ["list", "--registry", mono.root],
        ["hook", "install"],
        ["hook", "pre-receive"],
    ):
        mono.refuses(*command)
    with pytest.raises(Planted):
        api.Registry(mono.root)
    assert not (mono.root / "hooks/pre-receive").exists()
    assert mono.root not in discovery.BARE


@pytest.fixture
def hub(workshop: Workshop, tmp_path: Path) -> Path:
    """A bare repository with adder 1.0.0."""
    assert workshop.gitreg("apply").returncode == 0
    run("git", "clone", "-q", "--bare", workshop.root, "hub.git", cwd=tmp_path)
    return tmp_path / "hub.git"


def test_a_bare_repository_that_no_commit_brought_can_be_named(hub: Path, tmp_path: Path) -> None:
    """As of somebody whose home is a Git repository; and by its path it may be anywhere."""
    run("git", "config", "--global", "safe.bareRepository", "explicit", cwd=tmp_path)
    try:
        assert "adder" in gitreg("list", "--registry", hub, cwd=tmp_path).stdout
        assert "adder" in gitreg("list", cwd=hub).stdout
        run("git", "init", "-q", cwd=tmp_path)
        assert "adder" in gitreg("list", "--registry", hub, cwd=tmp_path).stdout
        assert gitreg("hook", "install", hub, cwd=tmp_path).returncode == 0
        run("git", "add", "-f", hub, cwd=tmp_path)
        done = gitreg("list", "--registry", hub, cwd=tmp_path)
        assert done.returncode == 1 and f"{hub} holds HEAD, objects and refs" in done.stderr
    finally:
        run("git", "config", "--global", "--unset", "safe.bareRepository", cwd=tmp_path)


def test_variables_that_name_another_repository_do_not_count(mono: Mono, tmp_path: Path) -> None:
    run("git", "init", "-q", "--bare", "other.git", cwd=tmp_path)
    led = {**os.environ, "GIT_DIR": str(tmp_path / "other.git"), "GIT_WORK_TREE": str(tmp_path)}
    assert mono.gitreg("apply", env=led).returncode == 0
    assert run("git", "tag", cwd=mono.top).stdout == "adder@v1.0.0\n"
    assert run("git", "tag", cwd=tmp_path / "other.git").stdout == ""


def test_linked_work_trees_and_submodules_hold_registries(mono: Mono, tmp_path: Path) -> None:
    assert mono.gitreg("apply").returncode == 0
    linked, above = tmp_path / "linked", tmp_path / "above"
    run("git", "worktree", "add", "-q", "-b", "other", linked, cwd=mono.top)
    run("git", "init", "-q", above, cwd=tmp_path)
    add = ["git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(mono.top), "sub"]
    run(*add, cwd=above)
    run("git", "fetch", "-q", "--tags", cwd=above / "sub")
    for top in (linked, above / "sub"):
        one = Mono(top / "team" / "ml", top, mono.mark)
        assert one.gitreg("check", "--base", "HEAD").returncode == 0
        assert "adder" in one.gitreg("list").stdout
        one.manifest(version="1.1.0")
        run("git", "commit", "-qam", "1.1.0", cwd=top)
        assert one.gitreg("register", "adder").returncode == 0
        assert one.gitreg("predict", "adder@1.0.0").returncode == 0  # an older commit
        run("git", "tag", "-d", "adder@v1.1.0", cwd=top)
        one.plant(top / "team")
        one.refuses("plan", folder=top / "team")


# Owners ----------------------------------------------------------------------------------------------


def test_the_repository_of_somebody_else_is_refused_until_it_is_allowed(
    mono: Mono, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git does not ask whose a repository is that it is given; so it is asked."""
    if os.getuid() == 0:
        for place in (mono.top, mono.top / ".git"):
            os.chown(place, 12345, 12345)
    else:  # who is nobody special cannot give files away; Git's own tests have it pretend
        monkeypatch.setattr(discovery, "is_owned", lambda found: False)
        monkeypatch.setattr(git, "_KEPT", git._KEPT | {"GIT_TEST_ASSUME_DIFFERENT_OWNER"})
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setattr(git, "_LET_IN", set())
    with pytest.raises(Outside, match="dubious ownership"):
        plain.place(mono.root)
    assert git.run(mono.root, ["rev-parse", "HEAD"]).code == 128
    assert git.visible_files(mono.root) is None
    with pytest.raises(Exception, match="dubious ownership"):
        git.client(mono.root).execute(["git", "status"])
    with pytest.raises(Outside, match="dubious ownership"):
        api.Registry(mono.root).catalog.models()
    run("git", "config", "--global", "safe.directory", mono.top, cwd=mono.top)
    try:
        assert plain.place(mono.root) == plain.Place(mono.top / ".git", "team/ml/")
        assert api.Registry(mono.root).plan().actions
    finally:
        run("git", "config", "--global", "--unset", "safe.directory", cwd=mono.top)


def test_whoever_owns_what_a_file_git_names_counts(mono: Mono, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    run("git", "worktree", "add", "-q", "-b", "other", linked, cwd=mono.top)
    found = discovery.find(linked)
    assert found and found == discovery.Found(linked / ".git", linked) and discovery.is_owned(found)
    if os.getuid() == 0:
        os.chown(mono.top / ".git/worktrees/linked", 12345, 12345)
        assert not discovery.is_owned(found)
        os.chown(mono.top / ".git/worktrees/linked", 0, 0)
    (linked / ".git").write_text("gitdir: nowhere\n")
    assert not discovery.is_owned(found)


def test_who_uses_sudo_keeps_what_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for Git: of root's processes, those that a user started with sudo may use that user's."""
    run("git", "init", "-q", "one", cwd=tmp_path)
    found = discovery.find(tmp_path / "one")
    assert found and discovery.is_owned(found)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", str(os.getuid()))
    assert discovery.is_owned(found)


# The hook --------------------------------------------------------------------------------------------


def test_a_hook_runs_for_the_repository_that_git_names(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(hub))
    assert hooks.here() == hub and git.git_folder(hub) == hub
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.setattr(discovery, "BARE", set())
    assert git.git_folder(hub) is None
    monkeypatch.chdir(hub)
    assert hooks.here() == hub and git.git_folder(hub) == hub
    assert sys.executable in hooks.command()


# What else Git reads of a checkout ---------------------------------------------------------------------


def settings(mono: Mono, **values: str) -> None:
    """Configure the repository, as its user would."""
    for key, value in values.items():
        run("git", "config", key.replace("__", "."), value, cwd=mono.top)


def test_attributes_start_no_program_that_shows_differences(mono: Mono) -> None:
    """Those are configured by who looks at files, and take what a pull request gives them."""
    show = f"touch {mono.mark} #"
    settings(mono, diff__evil__textconv=show, diff__evil__command=show, diff__external=show)
    (mono.root / ".gitattributes").write_text("* diff=evil\n")
    mono.manifest(description="Another one.", metrics="metrics.json")
    (mono.adder / "metrics.json").write_text('{"accuracy": 1}')
    run("git", "add", "-A", cwd=mono.top)
    run("git", "commit", "-qm", "a pull request", cwd=mono.top)
    run("git", "diff", "HEAD~1", cwd=mono.top)
    assert mono.mark.exists(), "Git itself runs it"
    mono.mark.unlink()
    mono.samples([{"x": [1, 2]}])
    assert mono.gitreg("check", "--base", "HEAD~1", "--no-committed").returncode == 0
    assert git.containing(mono.root, "adder") and git.changes(mono.root, "HEAD~1", [])
    assert not mono.mark.exists()


def test_hooks_that_are_checked_out_do_not_run_when_gitreg_reads(mono: Mono) -> None:
    """`core.hooksPath` may be a folder of the work tree, whose files a pull request changes."""
    hooks = mono.top / ".githooks"
    hooks.mkdir()
    settings(mono, core__hooksPath=".githooks")
    for name in ("post-index-change", "post-checkout", "reference-transaction", "pre-auto-gc", "post-commit"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mono.mark}\n")
        (hooks / name).chmod(0o755)
    run("git", "-c", "core.hooksPath=/dev/null", "add", "-A", cwd=mono.top)
    run("git", "-c", "core.hooksPath=/dev/null", "commit", "-qm", "a pull request", cwd=mono.top)
    run("git", "-c", "core.hooksPath=/dev/null", "tag", "-am", "1", "adder@v1.0.0", "HEAD~1", cwd=mono.top)
    file = mono.adder / "samples.json"
    os.utime(file, (1, 1))  # Git writes the index, as it looked at the file
    for command in ("check --base HEAD~1 --no-committed", "plan", "list", "build adder@1.0.0", "doctor"):
        done = mono.gitreg(*command.split())
        assert done.returncode == 0, (command, done.stderr)
        assert not mono.mark.exists(), command
        os.utime(file, (2, 2))
    run("git", "status", cwd=mono.top)
    assert mono.mark.exists(), "Git itself runs it"
    mono.mark.unlink()
    mono.manifest(version="1.1.0")
    run("git", "-c", "core.hooksPath=/dev/null", "commit", "-qam", "1.1.0", cwd=mono.top)
    assert mono.gitreg("apply").returncode == 0
    assert mono.mark.exists(), "what writes references asks the user's hooks, as `git tag` does"


def test_submodules_are_not_looked_into_and_do_not_hide(mono: Mono, tmp_path: Path) -> None:
    run("git", "init", "-q", "-b", "main", "other", cwd=tmp_path)
    other = tmp_path / "other"
    (other / "file").write_text("1")
    run("git", "add", "-A", cwd=other)
    run("git", "commit", "-qm", "first", cwd=other)
    add = ["git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "lib"]
    run(*add, cwd=mono.root)
    run("git", "commit", "-qm", "a submodule", cwd=mono.top)
    run("git", "config", "core.fsmonitor", f"touch {mono.mark} #", cwd=mono.root / "lib")
    (mono.root / "lib" / "file").write_text("2")
    assert mono.gitreg("check", "--base", "HEAD~1", "--no-committed").returncode == 0
    assert git.changed(mono.root) == []
    assert not mono.mark.exists()
    run("git", "status", cwd=mono.top)
    assert mono.mark.exists(), "Git itself runs it"
    run("git", "config", "-f", ".gitmodules", "submodule.team/ml/lib.ignore", "all", cwd=mono.top)
    run("git", "commit", "-qam", "hidden", cwd=mono.top)
    run("git", "-c", "core.fsmonitor=false", "commit", "-qam", "second", cwd=mono.root / "lib")
    assert git.changed(mono.root) == ["team/ml/lib"], "whatever .gitmodules says"
    run("git", "-c", "core.fsmonitor=false", "add", "-f", "team/ml/lib", cwd=mono.top)
    run("git", "-c", "core.fsmonitor=false", "commit", "-qm", "moved", cwd=mono.top)
    assert git.changes(mono.root, "HEAD~1", []) == {"lib": "M"}
    commits = run("git", "rev-parse", "HEAD~1", "HEAD", cwd=mono.top).stdout.split()
    assert plain.changes(mono.root, commits[0], commits[1], ["."]) == [("M", "lib")]


def test_lfs_fetches_nothing_and_a_pointer_is_no_file_of_a_model(
    mono: Mono, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit's `.lfsconfig` may name any server."""
    told = tmp_path / "told"
    run(
        "git",
        "config",
        "--global",
        "filter.lfs.smudge",
        f'echo "$GIT_LFS_SKIP_SMUDGE" >> {told}; cat',
        cwd=tmp_path,
    )
    try:
        (mono.adder / "src" / "words.txt").write_text(POINTER)
        mono.code(ADDER_CODE.replace('"""Adds', '"""words.txt: adds'))
        mono.manifest(serving={"code": "src/words.txt"})
        (mono.top / ".gitattributes").write_text("words.txt filter=lfs\n")
        run("git", "add", "-A", cwd=mono.top)
        run("git", "commit", "-qm", "a pull request", cwd=mono.top)
        run("git", "tag", "-a", "-m", "by hand", "adder@v1.0.0", cwd=mono.top)
        run("git", "clone", "-q", "--bare", mono.top, tmp_path / "hub.git", cwd=tmp_path)
        mono.manifest(version="1.1.0")
        run("git", "commit", "-qam", "1.1.0", cwd=mono.top)
        said = "'models/adder/src/words.txt' is a pointer of Git LFS"
        done = mono.gitreg("check")
        assert done.returncode == 0, done.stderr
        done = mono.gitreg("build", "adder@1.0.0")
        assert done.returncode == 1 and said in done.stderr, done.stderr
        monkeypatch.setenv("GITREG_CACHE", str(tmp_path / "cache"))
        with pytest.raises(InvalidFiles, match=said):
            api.load_model("adder@1.0.0", registry=f"{(tmp_path / 'hub.git').as_uri()}#subdirectory=team/ml")
        assert told.read_text().split() == ["1", "1"]
    finally:
        run("git", "config", "--global", "--remove-section", "filter.lfs", cwd=tmp_path)


def test_no_artifact_brings_a_repository(workshop: Workshop, tmp_path: Path) -> None:
    """Neither by what a remote lists, nor by what else lies in the folder that it is taken from."""
    listed = next((workshop.root / ".dvc/cache/files/md5").rglob("*.dir"))
    entries = json.loads(listed.read_text())
    text = json.dumps([*entries, {**entries[0], "relpath": ".Git/config"}]).encode()
    md5 = hashlib.md5(text).hexdigest()
    place = listed.parent.parent / md5[:2] / f"{md5[2:]}.dir"
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(text)
    pointer = workshop.adder / "artifacts.dvc"
    pointer.write_text(pointer.read_text().replace(f"{listed.parent.name}{listed.stem}", md5))
    done = workshop.gitreg("build", "adder")
    assert done.returncode == 1 and "'.Git/config' is of a Git repository" in done.stderr, done.stderr
    folder = tmp_path / "model"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "config").write_text("[core]\n")
    (folder / "weights.bin").write_text("1")
    done = workshop.gitreg("new", "other", "--from", folder, "--type", "custom", "--description", "Weights.")
    assert done.returncode == 0, done.stderr
    assert (workshop.root / "models/other/artifacts/weights.bin").is_file()
    assert not list((workshop.root / "models").rglob(".git"))
