"""Several registries in one Git repository: whose tags are whose, and how they are kept apart."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gto.api
import gto.tag
import pytest
import yaml

import gitreg as api
from gitreg import fsck, ownership
from gitreg.errors import InvalidFiles
from gitreg.names import parse_tag, prefix_mistake
from gitreg.registry import Registry
from gitreg.repository import Repository
from gitreg.tagspace import Space
from gitreg.warden.hook import NAME
from tests.support import DVC, Workshop, gitreg, make_registry, run

GTO = [sys.executable, "-c", "from gto.cli import app; app()"]
Done = subprocess.CompletedProcess[str]


@dataclass
class Mono:
    """A repository with registries in some of its folders, whose models have no artifacts."""

    top: Path

    def registry(self, folder: str, prefix: str = "", **models: str) -> Mono:
        """Write a registry: its models and their versions; all of them in staging."""
        root = self.top / folder
        (root / "stages").mkdir(parents=True, exist_ok=True)
        text = f"registry: {folder or 'top'}\nstages: {{staging: {{}}, production: {{}}}}\n"
        (root / "registry.yaml").write_text(text + (f"tags: {{prefix: {prefix}}}\n" if prefix else ""))
        for name, version in models.items():
            self.model(folder, name, version)
        self.stage(folder, "staging", **models)
        return self

    def model(self, folder: str, name: str, version: str, place: str = "") -> None:
        file = self.top / folder / (place or f"models/{name}/model.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            json.dumps({"name": name, "version": version, "type": "custom", "tags": {"in": folder}})
        )

    def stage(self, folder: str, stage: str, **models: str) -> None:
        (self.top / folder / "stages" / f"{stage}.yaml").write_text(json.dumps(models))

    def git(self, *words: str | Path, **options: object) -> str:
        return run("git", *words, cwd=self.top, **options).stdout.strip()  # type: ignore[arg-type]

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "next")
        return self.git("rev-parse", "HEAD")

    def tag(self, name: str, commit: str = "HEAD", message: str = "by hand") -> None:
        """Write a tag by hand, later than all others."""
        times = self.git("for-each-ref", "--format=%(taggerdate:unix)", "refs/tags").split()
        later = max([int(time.time()) - 60, *map(int, times)]) + 1
        date = {"GIT_COMMITTER_DATE": f"@{later} +0000"}
        self.git("tag", "-a", "-m", message, name, commit, env={**os.environ, **date})

    def tags(self) -> set[str]:
        return set(self.git("tag").split())

    def run(self, folder: str, *words: str) -> Done:
        return gitreg(*words, cwd=self.top / folder)

    def done(self, folder: str, *words: str) -> str:
        ran = self.run(folder, *words)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def open(self, folder: str = "") -> Registry:
        return Registry(self.top / folder)

    def apply(self, folder: str = "") -> list[str]:
        """Apply; what was done."""
        return [" ".join(str(action).split()) for action in self.open(folder).apply().actions]

    def plan(self, folder: str = "") -> list[str]:
        """The plan, by the index, which agrees with the tags themselves."""
        planned = self.open(folder).plan()
        assert not planned.problems, planned.problems
        assert dict(planned.recorded) == {
            name: one for name, one in Repository(self.top / folder).records().items()
        }
        return [" ".join(str(action).split()) for action in planned.actions]

    def names(self, folder: str = "") -> list[str]:
        return [one.name for one in self.open(folder).models()]

    def doctor(self, folder: str = "") -> list[tuple[str, str]]:
        return [(f.name, f.detail) for f in fsck.examine(self.open(folder)) if f.level != "ok"]


@pytest.fixture
def mono(tmp_path: Path) -> Mono:
    one = Mono(tmp_path / "mono")
    one.top.mkdir()
    one.git("init", "-q", "-b", "main", ".")
    return one


@pytest.fixture
def two(mono: Mono) -> Mono:
    """Registries a (without a prefix) and b (with one); both have a model foo, and one of their own."""
    mono.registry("a", **{"foo": "1.0.0", "only-a": "1.0.0"})
    mono.registry("b", "b", **{"foo": "1.0.0", "only-b": "1.0.0"})
    mono.commit()
    return mono


A = {"foo@v1.0.0", "only-a@v1.0.0", "foo#staging#1", "only-a#staging#1"}
B = {"b=foo@v1.0.0", "b=only-b@v1.0.0", "b=foo#staging#1", "b=only-b#staging#1"}


# The case -----------------------------------------------------------------------------------------


def test_each_registry_applies_its_own_and_leaves_the_others_alone(two: Mono) -> None:
    two.apply("a")
    assert two.tags() == A
    assert two.plan("b") == [
        "register foo@1.0.0",
        "register only-b@1.0.0",
        "assign foo@1.0.0 to staging",
        "assign only-b@1.0.0 to staging",
    ]
    two.apply("b")
    assert two.tags() == A | B
    for folder in "ab":
        assert two.plan(folder) == [] and two.doctor(folder) == []
        assert two.names(folder) == ["foo", f"only-{folder}"]
        said = json.loads(two.done(folder, "show", "foo@1.0.0", "--json"))
        assert said["tags"] == {"in": folder} and said["tag"] == f"{'b=' if folder == 'b' else ''}foo@v1.0.0"
    assert [e.tag for e in two.open("b").history("foo")] == ["b=foo@v1.0.0", "b=foo#staging#1"]
    assert [str(v) for v in two.open("a").search("name = 'only-b'")] == []
    refused = two.run("a", "show", "only-b")
    assert refused.returncode == 1 and "only-b" not in refused.stderr.partition("models here")[2]
    assert two.run("a", "plan", "only-b").returncode == 1


def test_promote_rollback_and_demote_of_models_of_one_name(two: Mono) -> None:
    two.apply("a")
    two.apply("b")
    two.model("b", "foo", "2.0.0")
    two.commit()
    assert two.apply("b") == ["register foo@2.0.0"]
    two.done("b", "promote", "foo@2.0.0", "staging", "--apply")
    assert two.open("b").record("foo").stages == {"staging": "2.0.0"}
    assert two.open("a").record("foo").stages == {"staging": "1.0.0"}
    two.done("b", "rollback", "foo", "staging", "--apply")
    two.done("b", "demote", "only-b", "staging", "--apply")
    assert "b=foo#staging#4" in two.tags() and "b=foo#staging!#3" in two.tags()
    assert "b=only-b#staging!#2" in two.tags()
    two.done("a", "promote", "foo", "production", "--apply")
    assert "foo#production#2" in two.tags()
    assert two.plan("a") == two.plan("b") == [] and two.doctor("a") == two.doctor("b") == []
    a, b = (two.done(folder, "promote", "foo@1.0.0", "production") for folder in "ab")
    assert "nothing to do" in a and "promote/b-foo-1.0.0-production" in b


def test_gto_and_dvc_read_the_names_as_gitreg_does(two: Mono) -> None:
    two.apply("a")
    two.apply("b")
    view = gto.api.show(str(two.top))
    assert {name: one["version"] for name, one in view.items()} == {
        name: "v1.0.0" for name in ("foo", "only-a", "b:foo", "b:only-b")
    }
    assert view["b:foo"]["stage"]["staging"] == "v1.0.0"
    for name in B:
        says = parse_tag(name, "b")
        assert says and str(says) == name and gto.tag.parse_name(name)["name"] == f"b:{says.model}"
    assert run(*GTO, "show", "b:foo#staging", "--ref", cwd=two.top).stdout.split() == ["b=foo@v1.0.0"]
    two.model("b", "foo", "1.1.0")
    two.commit()
    run(*GTO, "register", "b:foo", "--version", "v1.1.0", cwd=two.top)
    assert two.open("b").version("foo").version == "1.1.0"
    assert two.open("a").version("foo").version == "1.0.0" and two.plan("b") == []


def test_dvc_gets_the_artifact_of_either_registry(tmp_path: Path) -> None:
    """For real: both registries are DVC repositories, one inside the other's folder."""
    top = tmp_path / "mono"
    make_registry(top)
    inner = Workshop(top / "ml" / "registry")
    assert gitreg("init", "ml/registry", cwd=top).returncode == 0
    shutil.copytree(top / "models" / "adder", inner.adder)
    (inner.adder / "artifacts" / "number.txt").write_text("7")
    for words in (["remote", "add", "-d", "here", tmp_path / "other"], ["add", "models/adder/artifacts"]):
        run(*DVC, words[0], "-q", *words[1:], cwd=inner.root)
    run(*DVC, "push", "-q", cwd=inner.root)
    assert inner.gitreg("check", "--fix").returncode == 0
    inner.commit()
    for shop in (Workshop(top), inner):
        assert shop.gitreg("apply").returncode == 0
        done = shop.gitreg("promote", "adder", "staging", "--apply")
        assert done.returncode == 0, done.stderr
    for name, more, number in (
        ("adder", [], "5"),
        ("ml/registry:adder", [], "7"),
        ("ml/registry:adder", ["--stage", "staging"], "7"),
        ("ml/registry:adder", ["--rev", "v1.0.0"], "7"),
    ):
        place = tmp_path / f"got{len(list(tmp_path.iterdir()))}"
        run(*DVC, "artifacts", "get", "-q", top, name, *more, "-o", place, cwd=tmp_path)
        assert (place / "number.txt").read_text() == number
    for where, number in (("", 5), ("#subdirectory=ml/registry", 7)):
        registry = Registry(f"{top.as_uri()}{where}")
        assert [one.name for one in registry.models()] == ["adder"]
        model = api.load_model("models:/adder/staging", registry=f"{top.as_uri()}{where}")
        assert model.predict({"x": [1, 2]})["y"].tolist() == [1 + number, 2 + number]


# Two without a prefix -------------------------------------------------------------------------------------


WRITING = [
    ["check"],
    ["check", "--base", "HEAD~1"],
    ["plan"],
    ["apply"],
    ["register", "foo"],
    ["promote", "old", "production", "--apply"],
]


@pytest.mark.parametrize("folder", ["", "b"])
def test_two_registries_without_a_prefix_are_refused_and_both_are_named(mono: Mono, folder: str) -> None:
    mono.registry("", old="1.0.0", foo="1.0.0").commit()
    mono.apply()
    mono.registry("b", old="1.0.0", foo="2.0.0").commit()
    before = mono.tags()
    for words in WRITING[:-1] if folder else WRITING:
        done = mono.run(folder, *words)
        assert done.returncode == 1, (words, done.stdout)
        said = done.stdout + done.stderr
        assert "b/registry.yaml" in said and re.search("(^|[ :])registry.yaml and|and registry.yaml ", said)
        assert "tags: {prefix: b}" in said, said
    assert mono.tags() == before
    mono.registry("b", "b", old="1.0.0", foo="2.0.0").commit()
    assert mono.done(folder, "check").startswith("ok")
    assert mono.apply() == []
    assert mono.apply("b")[:2] == ["register foo@2.0.0", "register old@1.0.0"]
    assert {name for name in mono.tags() if not name.startswith("b=")} == before


def test_what_only_looks_like_a_registry_is_none(mono: Mono) -> None:
    mono.registry("", foo="1.0.0")
    mono.registry("tests/samples/one", foo="1.0.0").registry("vendor/copy", bar="1.0.0")
    for file, text in {"k8s": "kind: Registry\n", "broken": "registry: [\n", "list": "- registry\n"}.items():
        (mono.top / file).mkdir()
        (mono.top / file / "registry.yaml").write_text(text)
    (mono.top / "untracked").mkdir()
    mono.commit()
    mono.registry("untracked", foo="1.0.0")
    assert mono.run("", "check").returncode == 1
    file = mono.top / "registry.yaml"
    file.write_text(file.read_text() + "tags: {ignore: [tests/samples/*, vendor]}\n")
    assert mono.done("", "check") == "ok: 1 model\n"
    mono.git("add", "registry.yaml")
    mono.git("commit", "-q", "-m", "ignore")
    assert mono.apply() == ["register foo@1.0.0", "assign foo@1.0.0 to staging"]
    assert mono.run("", "plan").returncode == 0


PREFIXES = [
    ("b", "a", "'a' is not the folder of this registry in its repository, 'b'"),
    ("b", "b/", "'b/' is not the folder"),
    ("b", "B", "'B' is not the folder"),
    ("ml/b", "b", "'b' is not the folder of this registry in its repository, 'ml/b'"),
    ("", "b", "'b': a registry at the top of its repository has no prefix"),
    ("my models", "my models", "GTO reads letters, digits"),
    ("mo=dels", "mo=dels", "GTO reads letters, digits"),
    ("über", "über", "GTO reads letters, digits"),
    ("-b", "-b", "an option to Git and GTO"),
    ("a..b", "a..b", "no part of a reference"),
    ("x.lock/y", "x.lock/y", "no part of a reference"),
    ("x/.hidden", "x/.hidden", "no part of a reference"),
]


@pytest.mark.parametrize(("folder", "prefix", "words"), PREFIXES)
def test_a_prefix_is_the_registrys_own_folder_and_nothing_else(
    mono: Mono, folder: str, prefix: str, words: str
) -> None:
    mono.registry("other", "other")
    mono.registry(folder, json.dumps(prefix), foo="1.0.0").commit()
    root = mono.top / folder
    for words_ in (["check"], ["plan"], ["apply"]):
        done = gitreg(*words_, cwd=root)
        assert done.returncode == 1
        assert words in done.stdout + done.stderr, done.stdout + done.stderr
        assert "registry.yaml:3:" in done.stdout + done.stderr
    with pytest.raises(InvalidFiles):
        Registry(root).check()
    assert mono.tags() == set()


def test_the_rule_for_prefixes_is_that_of_git_and_gto(tmp_path: Path) -> None:
    words = [
        "ml",
        "ml/registry",
        "a_b/c.d",
        "A-1",
        "x/y/z",
        "a.lock",
        "a.lock/b",
        ".a",
        "a/.b",
        "a..b",
        "a b",
    ]
    words += [
        "-a",
        "a/",
        "/a",
        "a//b",
        "ü",
        "a=b",
        "a@b",
        "a#b",
        "a:b",
        "a~b",
        "a^b",
        "a[b",
        "a*",
        "a?",
        "a\\b",
    ]
    for word in words:
        name = f"{word}=foo@v1.0.0"
        git = subprocess.run(["git", "check-ref-format", f"refs/tags/{name}"], check=False).returncode == 0
        reads = (gto.tag.parse_name(name, raise_on_fail=False) or {}).get("name") == f"{word}:foo"
        if prefix_mistake(word) is None:
            assert git and reads, word
        else:
            assert not (git and reads) or word in ("a.lock", "-a", "a/"), word


def test_a_registry_at_the_top_and_others_below_it_are_all_fine(workshop: Workshop) -> None:
    """Each is a DVC repository of its own, and so is a project that is no registry."""
    shop, project = workshop, workshop.root / "services" / "web"
    for folder in ("risk", "risk/inner"):
        assert gitreg("init", folder, cwd=shop.root).returncode == 0
        run("cp", "-r", shop.root / "models", shop.root / folder, cwd=shop.root)
        assert gitreg("check", "--fix", "--no-run", cwd=shop.root / folder).returncode == 0
    project.mkdir(parents=True)
    run(sys.executable, "-m", "dvc", "init", "-q", "--subdir", cwd=project)
    (project / "data.txt").write_text("x")
    run(sys.executable, "-m", "dvc", "add", "-q", "data.txt", cwd=project)
    (project / "odd.dvc").write_text("outs: 7\n")
    base = run("git", "rev-parse", "HEAD", cwd=shop.root).stdout.strip()
    shop.commit("more")
    for folder in (".", "risk", "risk/inner"):
        for more in ([], ["--base", base]):
            done = gitreg("check", "--no-run", *more, cwd=shop.root / folder)
            assert done.returncode == 0, (folder, more, done.stderr)


@pytest.mark.parametrize("place", ["models", "models/adder"])
def test_a_dvc_repository_around_what_a_model_is_read_from_is_refused(workshop: Workshop, place: str) -> None:
    base = run("git", "rev-parse", "HEAD", cwd=workshop.root).stdout.strip()
    config = workshop.root / place / ".dvc" / "config"
    config.parent.mkdir()
    config.write_text("")
    run("git", "add", "-f", config, cwd=workshop.root)
    run("git", "commit", "-qm", "hide", cwd=workshop.root)
    for more in ([], ["--base", base]):
        done = workshop.gitreg("check", "--no-run", *more)
        assert done.returncode == 1 and "hides it" in done.stderr, done.stderr


@pytest.mark.parametrize("verb", ["check", "plan", "apply"])
def test_prefixes_that_differ_in_case_alone_are_refused(mono: Mono, verb: str) -> None:
    mono.registry("ml", "ml", foo="1.0.0").registry("ML", "ML", foo="1.0.0").commit()
    for own, other in (("ml", "ML"), ("ML", "ml")):
        done = mono.run(own, verb)
        said = done.stdout + done.stderr
        assert done.returncode == 1 and f"{other}/registry.yaml has the prefix {other}, and {own}" in said
    assert mono.tags() == set()


# init -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"\xff\n", "* @me\n".encode("utf-16"), b"# M\xfcller\n* @me\n"])
@pytest.mark.parametrize("file", [".github/CODEOWNERS", ".pre-commit-config.yaml"])
def test_init_leaves_files_that_are_not_utf_8_as_they_are(file: str, text: bytes, tmp_path: Path) -> None:
    run("git", "init", "-q", "-b", "main", ".", cwd=tmp_path)
    (tmp_path / ".github").mkdir()
    (tmp_path / file).write_bytes(text)
    for place, up in ((".", ""), ("ml/reg", "../../")):
        done = gitreg("init", place, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"{up}{file}" in json.loads(done.stdout)["kept"]
    assert (tmp_path / file).read_bytes() == text


def test_init_beside_another_registry_writes_the_prefix_and_files_of_its_own(tmp_path: Path) -> None:
    run("git", "init", "-q", "-b", "main", ".", cwd=tmp_path)
    assert gitreg("init", cwd=tmp_path).returncode == 0
    workflows = tmp_path / ".github" / "workflows"
    before = {file.name: file.read_text() for file in workflows.iterdir()}
    owners = (tmp_path / ".github" / "CODEOWNERS").read_text()
    made = json.loads(gitreg("init", "ml/reg", "--json", cwd=tmp_path).stdout)
    assert made["added"] == ["../../.github/CODEOWNERS", "../../.pre-commit-config.yaml"]
    assert made["kept"] == [".git/"]
    assert yaml.safe_load((tmp_path / "ml/reg/registry.yaml").read_text())["tags"] == {"prefix": "ml/reg"}
    names = {f"gitreg-ml-reg-{name}.yml" for name in ("merge", "pull-request", "tags")}
    assert {file.name for file in workflows.iterdir()} == set(before) | names
    assert {name: (workflows / name).read_text() for name in before} == before
    read = {name: yaml.safe_load((workflows / name).read_text()) for name in [*before, *names]}
    assert read["gitreg-ml-reg-tags.yml"][True]["push"]["tags"] == ["ml/reg=**@**", "ml/reg=**#**"]
    for name in names:
        assert read[name]["defaults"]["run"]["working-directory"] == "ml/reg"
    assert len({one["name"] for one in read.values()}) == 6
    groups = {one["concurrency"]["group"] for one in read.values() if "concurrency" in one}
    assert len(groups) == 2, "pull requests of one number would cancel each other's checks"
    new = (tmp_path / ".github" / "CODEOWNERS").read_text()
    assert new.startswith(owners.rstrip("\n")) and "\n# /ml/reg/stages/production.yaml @" in new
    hooks = [
        hook
        for one in yaml.safe_load((tmp_path / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in one["hooks"]
    ]
    assert [hook["entry"] for hook in hooks] == ["gitreg check", "gitreg check -C ml/reg"]
    assert len({hook["id"] for hook in hooks}) == 2
    files = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for folder in ("ml/reg", ".", "ml/reg"):
        again = json.loads(gitreg("init", folder, "--json", cwd=tmp_path).stdout)
        assert (again["made"], again["added"]) == ([], [])
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == files
    run("git", "add", "-A", cwd=tmp_path)
    run("git", "commit", "-qm", "x", cwd=tmp_path)
    for folder in (".", "ml/reg"):
        for words in (["check"], ["plan"], ["apply"]):
            assert gitreg(*words, "-C", folder, cwd=tmp_path).returncode == 0


def test_workflows_of_folders_whose_names_differ_in_slashes_alone(tmp_path: Path) -> None:
    run("git", "init", "-q", "-b", "main", ".", cwd=tmp_path)
    for folder in ("first", "ml/x", "ml-x"):
        assert gitreg("init", folder, cwd=tmp_path).returncode == 0
    merges = [yaml.safe_load(f.read_text()) for f in (tmp_path / ".github/workflows").glob("*-merge.yml")]
    places = {one["defaults"]["run"]["working-directory"] for one in merges}
    assert places == {"first", "ml/x", "ml-x"}


def test_a_hook_is_added_to_what_others_have_configured(tmp_path: Path) -> None:
    run("git", "init", "-q", "-b", "main", ".", cwd=tmp_path)
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "registry.yaml").write_text("registry: first\n")
    text = "# ours\ndefault_stages: [pre-commit]\nrepos:\n- repo: local\n  hooks:\n  - id: x\n    name: x\n"
    text += "    entry: x\n    language: system\n"
    (tmp_path / ".pre-commit-config.yaml").write_text(text)
    assert gitreg("init", "b", cwd=tmp_path).returncode == 0
    new = (tmp_path / ".pre-commit-config.yaml").read_text()
    assert new.startswith(text)
    assert [one["hooks"][0]["id"] for one in yaml.safe_load(new)["repos"]] == ["x", "gitreg-check-b"]
    odd = "repos: []\n"
    (tmp_path / ".pre-commit-config.yaml").write_text(odd)
    made = json.loads(gitreg("init", "c", "--json", cwd=tmp_path).stdout)
    assert "../.pre-commit-config.yaml" in made["kept"]
    assert (tmp_path / ".pre-commit-config.yaml").read_text() == odd


@pytest.mark.parametrize(
    ("folder", "words"), [("my models", "GTO reads"), ("", "at the top"), ("x=y", "GTO")]
)
def test_init_refuses_a_folder_that_can_be_no_prefix_where_it_needs_one(
    mono: Mono, folder: str, words: str
) -> None:
    mono.registry("b").commit()
    before = {path for path in mono.top.rglob("*") if ".git" not in path.parts}
    done = gitreg("init", folder or ".", cwd=mono.top)
    assert done.returncode == 1 and words in done.stderr and "tags: {prefix: b}" in done.stderr
    after = {path for path in mono.top.rglob("*") if ".git" not in path.parts}
    assert after - before <= {mono.top / folder}
    mono.registry("b", "b").commit()
    assert gitreg("init", folder or ".", cwd=mono.top).returncode == 0, "one may do without"
    assert gitreg("check", cwd=mono.top / folder).returncode == 0


# Whose tags are whose -------------------------------------------------------------------------------------


def test_three_registries_one_of_them_inside_anothers_folder(mono: Mono) -> None:
    for folder, prefix in (("", ""), ("ml", "ml"), ("ml/models/deep", "ml/models/deep")):
        mono.registry(folder, prefix, ml="1.0.0", foo="1.0.0")
    mono.commit()
    for folder in ("", "ml/models/deep", "ml"):
        mono.apply(folder)
    assert len(mono.tags()) == 12
    for folder in ("", "ml", "ml/models/deep"):
        assert mono.plan(folder) == [] and mono.doctor(folder) == []
        assert mono.names(folder) == ["foo", "ml"]


def test_manifests_of_a_registry_inside_of_anothers_folder_are_its_own(mono: Mono) -> None:
    """Though the pattern of the outer one finds them."""
    mono.registry("", foo="1.0.0").registry("ml", "ml", foo="2.0.0", bar="1.0.0")
    file = mono.top / "registry.yaml"
    file.write_text(file.read_text() + "models: '**/model.yaml'\ntags: {ignore: [samples]}\n")
    mono.model("", "baz", "1.0.0", "deep/er/model.yaml")
    mono.registry("samples", qux="1.0.0").commit()
    assert mono.open().files == [
        "deep/er/model.yaml",
        "models/foo/model.yaml",
        "samples/models/qux/model.yaml",
    ]
    assert list(mono.open().head.manifests) == mono.open().files
    for folder in ("", "ml"):
        assert mono.done(folder, "check").startswith("ok")
        mono.apply(folder)
    assert mono.names() == ["baz", "foo", "qux"] and mono.names("ml") == ["bar", "foo"]
    assert mono.open().version("foo").version == "1.0.0"


def test_a_registry_keeps_the_tags_that_it_had_before_its_prefix(mono: Mono) -> None:
    """And goes on from them; what another registry had under the same name stays that one's."""
    mono.registry("a", foo="1.0.0").registry("b", bar="1.0.0", baz="1.0.0")
    first = mono.commit()
    for name in ("foo@v1.0.0", "foo#staging#1", "bar@v1.0.0", "bar#staging#1", "baz@v1.0.0", "baz#staging#1"):
        mono.tag(name)  # as an older gitreg, or GTO, let both of them
    mono.registry("b", "b", bar="1.1.0", baz="1.0.0", foo="1.0.0").commit()
    assert mono.names("a") == ["foo"] and mono.plan("a") == []
    assert mono.plan("b") == [
        "register bar@1.1.0",
        "register foo@1.0.0",
        "assign bar@1.1.0 to staging (instead of 1.0.0)",
        "assign foo@1.0.0 to staging",
    ]
    mono.apply("b")
    assert mono.tags() >= {"b=bar@v1.1.0", "b=bar#staging#2", "b=foo@v1.0.0", "b=foo#staging#1"}
    assert "b=baz@v1.0.0" not in mono.tags()
    bar = mono.open("b").record("bar")
    assert [v.number for v in bar.versions.values()] == [1, 2] and bar.stages == {"staging": "1.1.0"}
    mono.done("b", "rollback", "bar", "staging", "--apply")
    assert mono.open("b").record("bar").stages == {"staging": "1.0.0"}
    assert mono.git("rev-parse", "b=bar#staging#4^{commit}") == first
    assert mono.plan("b") == [] and mono.doctor("b") == [] and mono.doctor("a") == []


def test_of_two_manifests_of_one_commit_the_tag_is_of_the_registry_without_a_prefix(mono: Mono) -> None:
    mono.registry("a", foo="1.0.0").registry("b", foo="1.0.0")
    mono.commit()
    mono.tag("foo@v1.0.0")
    mono.tag("foo#staging#1")
    mono.registry("b", "b", foo="1.0.0").commit()
    assert mono.plan("a") == []
    assert mono.plan("b") == ["register foo@1.0.0", "assign foo@1.0.0 to staging"]


def test_a_prefix_that_is_dropped_leaves_the_tags_their_registrys(mono: Mono) -> None:
    mono.registry("a", "a", foo="1.0.0").registry("b", foo="1.0.0").commit()
    mono.apply("a")
    shutil.rmtree(mono.top / "b")
    mono.registry("a", foo="1.0.0")
    mono.stage("a", "production", foo="1.0.0")
    mono.commit()
    assert mono.apply("a") == ["assign foo@1.0.0 to production"]
    assert mono.tags() == {"a=foo@v1.0.0", "a=foo#staging#1", "foo#production#2"}
    assert mono.plan("a") == []


def test_the_tags_of_a_registry_that_is_gone_are_nobodys_and_their_names_stay_taken(mono: Mono) -> None:
    mono.registry("old", foo="1.0.0", bar="1.0.0").commit()
    mono.apply("old")
    shutil.rmtree(mono.top / "old")
    mono.registry("new", foo="2.0.0").commit()
    assert mono.names("new") == []
    assert {name for name, _ in mono.doctor("new")} == {"not applied"}
    assert mono.apply("new") == ["register foo@2.0.0", "assign foo@2.0.0 to staging"]
    assert {"foo@v2.0.0", "foo#staging#2"} <= mono.tags(), "the counter of a tag that is there is not free"
    assert mono.plan("new") == [] and mono.names("new") == ["foo"]
    mono.model("new", "bar", "1.0.0")
    mono.commit()
    (problem,) = mono.open("new").plan().problems
    assert "the tag bar@v1.0.0 is there and is another registry's" in problem.message
    assert "tags: {prefix: FOLDER}" in problem.message


def test_a_registry_that_is_moved_keeps_its_tags(mono: Mono) -> None:
    mono.registry("old", foo="1.0.0").commit()
    mono.apply("old")
    (mono.top / "deep").mkdir()
    mono.git("mv", "old", "deep/new")
    mono.commit()
    assert mono.plan("deep/new") == [] and mono.names("deep/new") == ["foo"]
    assert mono.apply("deep/new") == []


def test_a_manifest_in_another_place_is_the_registrys_own(mono: Mono) -> None:
    """By what the tag says, and by all manifests of the commit where it says nothing."""
    mono.registry("a").registry("b", "b", foo="1.0.0")
    file = mono.top / "a" / "registry.yaml"
    file.write_text(file.read_text() + "models: '**/m.yaml'\n")
    mono.model("a", "foo", "1.0.0", "risk/deep/m.yaml")
    mono.model("a", "bar", "1.0.0", "m.yaml")
    mono.stage("a", "staging", foo="1.0.0")
    mono.commit()
    assert mono.apply("a") == ["register bar@1.0.0", "register foo@1.0.0", "assign foo@1.0.0 to staging"]
    run(*GTO, "assign", "bar", "--version", "v1.0.0", "--stage", "staging", cwd=mono.top)
    mono.model("a", "gto-only", "1.0.0", "other/m.yaml")
    mono.commit()
    run(*GTO, "register", "gto-only", "--version", "v1.0.0", cwd=mono.top)
    (mono.top / "a" / "models").mkdir()
    (mono.top / "a" / "models" / "foo").mkdir()
    shutil.move(mono.top / "a/risk/deep/m.yaml", mono.top / "a/models/foo/m.yaml")
    mono.commit()
    assert mono.names("a") == ["bar", "foo", "gto-only"]
    assert mono.plan("a") == ["unassign bar@1.0.0 from staging"]
    assert mono.names("b") == []


OTHERS = [
    "web@v1.0.0",
    "web#staging#1",
    "web@v1.0.0!#2",
    "only-b@v7.0.0",
    "pkg@1.2.3",
    "b=foo@v9.0.0",
    "x=y@v1.0.0",
]


def test_other_tags_are_neither_counted_nor_listed_nor_unassigned_nor_judged(two: Mono) -> None:
    two.apply("a")
    two.apply("b")
    before = {folder: two.open(folder).catalog.models() for folder in "ab"}
    for name in OTHERS:
        two.tag(name)
    two.git("tag", "web@v2.0.0")  # lightweight
    assert two.names("a") == ["foo", "only-a"] and two.plan("a") == [] and two.doctor("a") == []
    assert [str(one) for one in two.open("a").models()] == [str(one) for one in before["a"]]
    assert two.open("a").version("foo").version == "1.0.0"
    found = [name for name, _ in two.doctor("b")]
    assert found == ["versions of one commit"], "a tag with the prefix is the registry's own"
    assert two.names("b") == ["foo", "only-b"]
    done = two.run("a", "show", "web")
    assert done.returncode == 1 and "web" not in done.stderr.partition("models here")[2]


def test_a_tag_with_the_prefix_and_without_a_manifest_is_told(two: Mono) -> None:
    two.apply("b")
    two.tag("b=ghost@v1.0.0")
    ((name, detail),) = two.doctor("b")
    assert name == "version by hand" and "b=ghost@v1.0.0 was not written by gitreg" in detail
    two.apply("a")
    assert two.doctor("a") == []


def test_a_lone_registry_counts_what_it_always_counted(mono: Mono) -> None:
    """A tag by hand on a commit without the manifest: GTO takes it for the latest version, so it is told."""
    mono.commit()
    mono.registry("", foo="1.0.0")
    mono.tag("foo@v9.0.0")
    mono.commit()
    mono.apply()
    assert mono.open().version("foo").version == "9.0.0"
    assert [name for name, _ in mono.doctor()] == ["version by hand"]


def test_moved_and_deleted_tags_are_told_to_their_own_registry(two: Mono) -> None:
    for folder in "ab":
        two.apply(folder)
        assert two.doctor(folder) == []
    two.commit()
    two.git("tag", "-d", "only-a@v1.0.0", "b=only-b@v1.0.0")
    assert [name for name, _ in two.doctor("a")] == ["tag deleted"]
    ((name, detail),) = two.doctor("b")
    assert name == "tag deleted" and "b=only-b@v1.0.0 was deleted here" in detail
    cure = next(f.hint for f in fsck.examine(two.open("b")) if f.hint)
    run("bash", "-c", cure, cwd=two.top)
    assert two.doctor("b") == []


@pytest.mark.parametrize("many", [0, 10**6])
def test_few_and_many_tags_are_judged_alike(two: Mono, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "MANY", many)
    two.apply("a")
    two.apply("b")
    two.tag("only-b#staging#9")
    assert two.names("a") == ["foo", "only-a"] and two.plan("a") == []
    shutil.rmtree(two.top / "b")
    two.commit()
    assert two.names("a") == ["foo", "only-a"] and two.plan("a") == []
    registry = two.open("a")
    assert set(registry.records()) == {"foo", "only-a", "only-b"} and not registry.record("only-b").tags
    two.git("checkout", "-q", "HEAD~1", ".")
    for _ in range(2):  # read, and as the index keeps it
        registry = two.open("a")
        assert registry.records() == dict(Repository(two.top / "a").records().items())
        assert {name for name, known in registry.records().items() if known.tags} == {"foo", "only-a"}


# Where they are read and written --------------------------------------------------------------------------


def test_linked_work_trees_and_addresses(two: Mono, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITREG_CACHE", str(tmp_path / "cache"))
    two.apply("a")
    two.apply("b")
    two.git("worktree", "add", "-q", tmp_path / "linked")
    linked = Mono(tmp_path / "linked")
    bare = tmp_path / "bare.git"
    run("git", "clone", "-q", "--bare", two.top, bare, cwd=tmp_path)
    for folder in "ab":
        assert linked.plan(folder) == [] and linked.names(folder) == ["foo", f"only-{folder}"]
        for url in (two.top.as_uri(), bare.as_uri()):
            registry = Registry(f"{url}#subdirectory={folder}")
            assert [one.name for one in registry.models()] == ["foo", f"only-{folder}"]
            assert registry.plan().actions == [] and registry.plan().problems == []
            _, version = registry.resolve("foo#staging")
            assert version.tag.name == ("b=" if folder == "b" else "") + "foo@v1.0.0"
            assert registry.version("foo").content["tags"] == {"in": folder}


def test_what_is_pushed_and_fetched_is_the_registrys_own(two: Mono, tmp_path: Path) -> None:
    hub = tmp_path / "hub.git"
    run("git", "init", "-q", "--bare", "-b", "main", hub, cwd=tmp_path)
    two.git("remote", "add", "origin", hub)
    two.git("push", "-q", "-u", "origin", "main")
    run("git", "clone", "-q", hub, tmp_path / "clone", cwd=tmp_path)
    other = Mono(tmp_path / "clone")
    two.done("b", "apply", "--push")
    there = run("git", "for-each-ref", "--format=%(refname)", cwd=hub).stdout.split()
    assert {f"refs/tags/{name}" for name in B} <= set(there)
    assert {"refs/gitreg/models/b=foo", "refs/gitreg/models/b=only-b"} <= set(there)
    other.done("a", "apply", "--push")
    assert other.tags() == A, "the tags of b are of no use to a"
    other.done("b", "apply", "--push")
    assert other.tags() == A | B
    for folder in "ab":
        assert other.doctor(folder) == []
    # A tag of b that was moved is no concern of a's.
    run("git", "tag", "-f", "-a", "-m", "moved", "b=foo@v1.0.0", "main~0", cwd=hub)
    assert other.run("b", "apply", "--push").returncode == 1
    other.done("a", "apply", "--push")


def test_a_model_of_the_name_of_a_folder_and_a_registry_in_that_folder(mono: Mono, tmp_path: Path) -> None:
    hub = tmp_path / "hub.git"
    run("git", "init", "-q", "--bare", "-b", "main", hub, cwd=tmp_path)
    mono.registry("", ml="1.0.0").registry("ml/reg", "ml/reg", ml="1.0.0").commit()
    mono.git("remote", "add", "origin", hub)
    mono.git("push", "-q", "-u", "origin", "main")
    for folder in ("", "ml/reg", "", "ml/reg"):
        mono.done(folder, "apply", "--push")
    there = run("git", "for-each-ref", "--format=%(refname)", "refs/gitreg", cwd=hub).stdout.split()
    assert there == ["refs/gitreg/models/ml", "refs/gitreg/registries/ml/reg=ml"]


def test_a_race_within_a_registry_is_run_again_and_another_registrys_is_none(
    two: Mono, tmp_path: Path
) -> None:
    hub = tmp_path / "hub.git"
    run("git", "init", "-q", "--bare", "-b", "main", hub, cwd=tmp_path)
    two.git("remote", "add", "origin", hub)
    two.git("push", "-q", "-u", "origin", "main")
    words = [(sys.executable, "-m", "gitreg", "apply", "--push", "-C", two.top / folder) for folder in "abab"]
    clones = []
    for number, one in enumerate(words):
        run("git", "clone", "-q", hub, tmp_path / f"c{number}", cwd=tmp_path)
        clones.append([*one[:-1], tmp_path / f"c{number}" / "abab"[number]])
    at_once = [subprocess.Popen([str(w) for w in one], stderr=subprocess.PIPE, text=True) for one in clones]
    for process in at_once:
        assert process.wait() == 0, process.stderr and process.stderr.read()
        assert process.stderr
        process.stderr.close()
    assert set(run("git", "tag", cwd=hub).stdout.split()) == A | B


# The hook, and tags by hand -------------------------------------------------------------------------------


@pytest.fixture
def hooked(two: Mono, tmp_path: Path) -> Iterator[Mono]:
    hub = tmp_path / "hub.git"
    run("git", "init", "-q", "--bare", "-b", "main", hub, cwd=tmp_path)
    for folder in "ab":
        assert gitreg("hook", "install", hub, "--within", folder, cwd=tmp_path).returncode == 0
    assert (hub / "hooks" / NAME).read_text().endswith("--within a/ --within b/\n")
    two.git("remote", "add", "origin", hub)
    two.git("push", "-q", "-u", "origin", "main")
    for folder in "ab":
        two.done(folder, "apply", "--push")
    yield two


def pushed(mono: Mono, *names: str) -> Done:
    refs = [f"refs/tags/{name}" for name in names]
    return subprocess.run(["git", "push", "origin", *refs], cwd=mono.top, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("b=foo#nowhere#9", "has no stage 'nowhere'"),
        ("b=foo@v2.0.0", "2.0.0"),
        ("b=ghost@v1.0.0", "ghost"),
        ("b=foo@created", "fails for everybody"),
        ("foo#nowhere#9", "has no stage 'nowhere'"),
        ("only-b@v2.0.0", "only-b"),
        ("c=foo@v1.0.0", "no registry lies in c"),
        ("a=foo#nowhere#9", "has no stage 'nowhere'"),
    ],
)
def test_the_hook_has_each_registry_judge_its_own(hooked: Mono, name: str, words: str) -> None:
    hooked.tag(name)
    done = pushed(hooked, name)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert len(re.findall(rf"error: refs/tags/{re.escape(name)}:", done.stderr)) >= 1
    owner = name.partition("=")[0] if "=" in name else "a"
    for folder in "ab":
        verified = hooked.run(folder, "hook", "verify-tags", "--", name)
        assert (verified.returncode == 1) == (folder == owner or (owner == "c" and folder == "a")), folder


def test_the_hook_lets_in_what_gitreg_writes_and_refuses_where_two_have_no_prefix(hooked: Mono) -> None:
    hooked.done("b", "promote", "foo", "production", "--apply")
    hooked.git("pull", "-q", "--ff-only")
    hooked.done("a", "promote", "foo", "production", "--apply")
    hooked.git("pull", "-q", "--ff-only")
    hooked.registry("b", foo="1.0.0").commit()
    hooked.git("push", "-q", "origin", "main")
    hooked.tag("foo#staging#9", "foo@v1.0.0^{commit}")
    done = pushed(hooked, "foo#staging#9")
    assert done.returncode == 1 and "a/registry.yaml and b/registry.yaml share" in done.stderr.replace(
        "b/registry.yaml and a/registry.yaml", "a/registry.yaml and b/registry.yaml"
    )


# What else reads tags -------------------------------------------------------------------------------------


def test_site_completion_and_events_show_the_registrys_own(two: Mono, tmp_path: Path) -> None:
    two.apply("a")
    two.apply("b")
    for folder in "ab":
        out = tmp_path / f"site-{folder}"
        two.done(folder, "site", "build", "-o", str(out))
        assert sorted(p.name for p in (out / "models").iterdir()) == ["foo", f"only-{folder}"]
        for typed, wanted in (
            ("gitreg show ", {"foo", f"only-{folder}"}),
            ("gitreg show foo@", {"foo@1.0.0", "foo@latest"}),
        ):
            said = subprocess.run(
                [sys.executable, "-m", "gitreg"],
                cwd=two.top / folder,
                env={**os.environ, "_GITREG_COMPLETE": "bash_complete", "COMP_LINE": typed},
                capture_output=True,
                text=True,
            ).stdout
            assert {line.partition(",")[2] for line in said.split()} == wanted


def test_deregistered_and_deprecated_with_the_prefix(two: Mono) -> None:
    two.apply("b")
    two.tag("b=foo@v1.0.0!#2", "b=foo@v1.0.0^{commit}")
    two.tag("b=only-b@deprecated#2")
    assert two.open("b").record("foo").registered == {}
    assert two.open("b").model("only-b").deprecated
    two.apply("a")
    assert two.open("a").version("foo").version == "1.0.0"


# Names ----------------------------------------------------------------------------------------------------


def test_names_of_a_space() -> None:
    top, b = Space(), Space("ml/b", "ml/b")
    assert top.parse("ml/b=foo@v1.0.0") is None and not top.concerns("ml/b=foo@v1.0.0")
    says = b.parse("ml/b=foo#staging!#3")
    assert says and (says.model, says.prefix, str(says)) == ("foo", "ml/b", "ml/b=foo#staging!#3")
    assert b.concerns("foo@v1") and b.concerns("ml/b=foo@x") and not b.concerns("ml=foo@v1.0.0")
    assert b.parse("ml/b=ml/b=foo@v1.0.0") is None and b.parse("ml/b=") is None
    assert top.concerns("=foo@v1") and top.parse("=foo@v1.0.0") is None
    assert b.guarded(b.guard("foo")) == "foo" and top.guarded(b.guard("foo")) is None
    assert Space("b", "b").guard("foo") == "refs/gitreg/models/b=foo"
    assert top.guarded("refs/gitreg/models/b=foo") is None
