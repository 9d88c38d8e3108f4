"""The workflows: valid, narrow in what they may do, and executed for real by `act` against a bare Git remote.

`act` (https://github.com/nektos/act) runs a workflow's jobs on this machine. Three actions would come from
GitHub; in their place stand those of `ACTIONS`, made of a few lines of shell. For `actions/checkout`, `act`
would copy this machine's folder, tags, caches and all; the one here clones the remote as GitHub's does, with
as much history as it is asked for, and takes the way to push away where the credentials are not to be kept.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitreg import Registry, needs, starter
from tests.support import Workshop, gitreg, run, write_manifest
from tests.wheelhouse import sdist, wheel

ROOT = Path(__file__).resolve().parent.parent
OURS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent

ACTIONS = {
    "actions/checkout": """
name: checkout
inputs: {fetch-depth: {default: "1"}, persist-credentials: {default: "true"}, ref: {default: ""}, token: {}}
runs:
  using: composite
  steps:
    - shell: bash
      env: {DEPTH: "${{ inputs.fetch-depth }}", KEEP: "${{ inputs.persist-credentials }}", REF: "${{ inputs.ref }}"}
      run: |
        git init --quiet .
        git remote add origin "$HUB"
        fetch=(git fetch --quiet --no-tags)
        if [ "$DEPTH" = 0 ]; then tags='+refs/tags/*:refs/tags/*'; else fetch+=(--depth "$DEPTH"); fi
        "${fetch[@]}" origin '+refs/heads/*:refs/remotes/origin/*' $tags
        case "${REF:-$GITHUB_REF}" in
          refs/pull/*)
            "${fetch[@]}" origin "+$GITHUB_REF:refs/remotes/${GITHUB_REF#refs/}"
            git checkout --quiet --detach "refs/remotes/${GITHUB_REF#refs/}";;
          refs/heads/*) git checkout --quiet -B "$GITHUB_REF_NAME" "$GITHUB_SHA";;
          *) git checkout --quiet -B "$REF" "refs/remotes/origin/$REF";;
        esac
        if [ "$KEEP" = false ]; then git remote set-url --push origin nowhere:no-credentials; fi
""",
    "actions/setup-python": """
name: setup-python
inputs: {python-version: {required: true}}
runs: {using: composite, steps: [{shell: bash, run: 'test "${{ inputs.python-version }}" = 3.11'}]}
""",
    "actions/upload-artifact": """
name: upload-artifact
inputs: {name: {required: true}, path: {required: true}, include-hidden-files: {}, if-no-files-found: {}}
runs:
  using: composite
  steps:
    - shell: bash
      env: {NAME: "${{ inputs.name }}", FROM: "${{ inputs.path }}"}
      run: cp -r "$FROM" "$UPLOADED/$NAME"
""",
}


# What the files say -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The workflows of a registry that `gitreg init` made."""
    folder = tmp_path_factory.mktemp("made")
    assert gitreg("init", cwd=folder).returncode == 0
    return sorted((folder / ".github" / "workflows").iterdir())


def test_github_understands_every_workflow(made: list[Path], tmp_path: Path) -> None:
    assert [file.name for file in made] == ["gitreg-merge.yml", "gitreg-pull-request.yml", "gitreg-tags.yml"]
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(made[0].read_text().replace("runs-on: ", "runs-in: "))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    run(*command, *OURS, *made, cwd=tmp_path)
    assert subprocess.run([*command, wrong], capture_output=True, check=False).returncode == 1


def test_our_registry_has_the_workflows_that_init_makes() -> None:
    for name in starter.WORKFLOWS:
        wanted = starter.workflow(name).replace(
            "INSTALL: pip install gitreg\n", "INSTALL: pip install -e .\n"
        )
        assert (ROOT / ".github" / "workflows" / f"registry-{name}.yml").read_text() == wanted


def risks(text: str) -> list[str]:
    """What is too much in a workflow."""
    said = yaml.safe_load(text)
    triggers = said.get("on", said.get(True))  # YAML 1.1 reads `on` as true
    found = []
    if "pull_request_target" in triggers or "workflow_run" in triggers:
        found.append("runs with secrets on a stranger's word")
    if "pull_request" in triggers and "secrets." in text:
        found.append("secrets beside a stranger's code")
    if said.get("permissions") != {"contents": "read"}:
        found.append("may do more than read")
    for name, job in said["jobs"].items():
        writes = "permissions" in job
        if writes and (
            name != "apply" or job["permissions"] != {"contents": "write"} or "push" not in triggers
        ):
            found.append(f"{name}: more permissions than apply needs")
        if "concurrency" in {*said, *job} and "push" in triggers:
            found.append(f"{name}: a merge may be dropped")
        for step in job["steps"]:
            if "${{" in step.get("run", ""):
                found.append(f"{name}: an expression in shell")
            uses = step.get("uses", "")
            if uses and not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", uses):
                found.append(f"{name}: {uses} is not pinned")
            if uses and not re.search(rf"uses: {re.escape(uses)} # v[0-9]+\.[0-9]+\.[0-9]+\n", text):
                found.append(f"{name}: {uses} has no version beside it")
            keeps = step.get("with", {}).get("persist-credentials", True) is not False
            if uses.startswith("actions/checkout@") and keeps and not writes:
                found.append(f"{name}: leaves the token on disk")
    return found


def test_no_workflow_may_do_more_than_it_needs(made: list[Path]) -> None:
    for file in [*OURS, *made]:
        assert risks(file.read_text()) == [], file


@pytest.mark.parametrize(
    ("name", "old", "new", "risk"),
    [
        ("pull-request", "  pull_request:\n", "  pull_request_target:\n", "runs with secrets"),
        ("pull-request", "origin/$BASE", "origin/${{ github.base_ref }}", "check: an expression in shell"),
        ("pull-request", "          persist-credentials: false\n", "", "check: leaves the token on disk"),
        ("pull-request", "contents: read", "contents: write", "may do more than read"),
        ("pull-request", 'PYTHON: "3.11"', "TOKEN: ${{ secrets.TOKEN }}", "secrets beside a stranger's code"),
        ("merge", "  build:\n", "  build:\n    permissions: {contents: write}\n", "build: more permissions"),
        ("merge", "contents: write", "actions: write", "apply: more permissions"),
        ("merge", "defaults:\n", "concurrency: all\ndefaults:\n", "a merge may be dropped"),
        ("tags", "@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2", "@v4", "is not pinned"),
        ("tags", " # v4.2.2", "", "has no version beside it"),
        ("tags", "permissions:\n  contents: read\n", "", "may do more than read"),
    ],
)
def test_a_workflow_that_may_do_more_is_noticed(name: str, old: str, new: str, risk: str) -> None:
    text = starter.workflow(name)
    assert old in text
    assert any(risk in found for found in risks(text.replace(old, new)))


def test_pull_requests_of_one_number_replace_each_other() -> None:
    check = yaml.safe_load(starter.workflow("pull-request"))["concurrency"]
    assert check["cancel-in-progress"] and "pull_request.number" in check["group"]


# Where init puts them -----------------------------------------------------------------------------


def test_init_writes_for_the_branch_that_there_is_and_the_folder_it_lies_in(tmp_path: Path) -> None:
    run("git", "init", "-q", "-b", "release/1.0+fixes", ".", cwd=tmp_path)
    first = json.loads(gitreg("init", "ml/models", "--json", cwd=tmp_path).stdout)
    assert "../../.github/workflows/gitreg-merge.yml" in first["made"]
    assert not (tmp_path / "ml/models/.github").exists()
    merge = yaml.safe_load((tmp_path / ".github/workflows/gitreg-merge.yml").read_text())
    assert merge[True]["push"]["branches"] == ["release/1.0\\+fixes"], "in GitHub's patterns + has a meaning"
    assert merge["defaults"]["run"]["working-directory"] == "ml/models"
    owners = (tmp_path / ".github/CODEOWNERS").read_text()
    assert "\n# /ml/models/stages/production.yaml @" in owners and "\n# /.github/ " in owners
    assert "\n# /ml/models/.dvc/ " in owners and "\n# .gitattributes " in owners
    (hook,) = yaml.safe_load((tmp_path / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert hook["entry"] == "gitreg check -C ml/models"
    assert re.match(hook["files"], "ml/models/registry.yaml") and not re.match(hook["files"], "registry.yaml")
    done = subprocess.run(
        [BIN / hook["entry"].split()[0], *hook["entry"].split()[1:]], cwd=tmp_path, check=False
    )
    assert done.returncode == 0


def test_init_refuses_a_folder_whose_name_github_would_fill_in(tmp_path: Path) -> None:
    run("git", "init", "-q", ".", cwd=tmp_path)
    done = gitreg("init", "a ${{ github.token }} b", cwd=tmp_path)
    assert done.returncode == 1 and "GitHub fills in what follows '${{'" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == [".git"]


def test_init_in_a_folder_whose_name_has_spaces(tmp_path: Path) -> None:
    run("git", "init", "-q", ".", cwd=tmp_path)
    assert gitreg("init", "ml models #1", cwd=tmp_path).returncode == 0
    owners = (tmp_path / ".github/CODEOWNERS").read_text()
    assert "\n# /ml\\ models\\ \\#1/stages/production.yaml @" in owners
    (hook,) = yaml.safe_load((tmp_path / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert shlex.split(hook["entry"]) == ["gitreg", "check", "-C", "ml models #1"]
    assert re.match(hook["files"], "ml models #1/registry.yaml")


def test_init_names_owners_for_all_that_decides() -> None:
    named = re.findall(r"^# (\S+) +@", starter.template("CODEOWNERS"), re.MULTILINE)
    anywhere = [".gitattributes", ".gitmodules", ".lfsconfig", ".pre-commit-config.yaml"]
    assert named == ["/stages/production.yaml", "/registry.yaml", "/.dvc/", "/.github/", *anywhere]
    lines = starter.template("CODEOWNERS").splitlines()
    assert all(line.startswith("#") for line in lines), "no team is invented"


# What they install --------------------------------------------------------------------------------


def test_a_pull_request_installs_for_what_it_changes_and_never_from_an_address(workshop: Workshop) -> None:
    base = run("git", "rev-parse", "HEAD", cwd=workshop.root).stdout.strip()

    def installed() -> list[str]:
        workshop.commit()
        return needs.requirements(Registry(workshop.root), base)

    assert needs.requirements(Registry(workshop.root), base) == []
    workshop.manifest(requirements=["numpy>=1.24", "evil @ https://example.org/evil.tar.gz"])
    assert installed() == ["numpy>=1.24"]
    (workshop.adder / "needs.txt").write_text("--index-url https://example.org\nnumpy\n")
    workshop.manifest(requirements="needs.txt")
    assert installed() == [], "what check refuses is not installed"
    (workshop.root / "registry.yaml").write_text("registry: [")
    assert installed() == []


def test_apply_installs_for_what_a_gate_loads_alone(workshop: Workshop) -> None:
    stage, policy = workshop.root / "stages/staging.yaml", workshop.root / "registry.yaml"
    stage.write_text("adder: 1.0.0\n")
    workshop.commit()
    assert needs.requirements(Registry(workshop.root)) == [], "no gate loads it"
    policy.write_text(policy.read_text().replace("staging: {}", "staging: {gates: [{samples: pass}]}"))
    workshop.commit()
    assert needs.requirements(Registry(workshop.root)) == ["numpy>=1.24"]
    workshop.gitreg("apply")
    assert needs.requirements(Registry(workshop.root)) == [], "nothing is left to do"
    assert needs.requirements(Registry(workshop.root), models=["adder"]) == ["numpy>=1.24"]
    # A version that went in before: as it was then, not as the manifest is now.
    workshop.manifest(version="2.0.0", requirements=["numpy>=1.25"])
    policy.write_text(policy.read_text().replace("archived: {}", "archived: {gates: [{samples: pass}]}"))
    (workshop.root / "stages/archived.yaml").write_text("adder: 1.0.0\n")
    workshop.commit()
    assert needs.requirements(Registry(workshop.root)) == ["numpy>=1.24"]


# For real -----------------------------------------------------------------------------------------


@dataclass
class Ran:
    """What a run of a workflow came to.

    Attributes:
        lines: what its steps printed, workflow commands included.
        summary: what they wrote for people.
        jobs: job -> "success" or "failure"; those that were skipped are not there.
        steps: the names of the steps that ran.
    """

    code: int
    lines: list[str]
    summary: str
    jobs: dict[str, str]
    steps: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass
class Hub:
    """A bare remote as GitHub's, and somebody's clone of it."""

    root: Path
    shop: Workshop
    cache: Path
    house: Path  # where pip takes packages from
    branch: str = "main"  # the one that counts

    @property
    def url(self) -> Path:
        return self.root / "hub.git"

    @property
    def uploaded(self) -> Path:
        return self.root / "uploaded"

    def git(self, *arguments: str | Path) -> str:
        """Run Git in the clone."""
        return run("git", *arguments, cwd=self.shop.root).stdout.strip()

    def refs(self) -> dict[str, str]:
        """Every reference of the remote."""
        listed = run("git", "for-each-ref", "--format=%(refname) %(objectname)", cwd=self.url).stdout
        return dict(line.split(" ") for line in listed.splitlines())

    def tags(self) -> list[str]:
        return sorted(
            name.removeprefix("refs/tags/") for name in self.refs() if name.startswith("refs/tags/")
        )

    def push(self, message: str = "change") -> str:
        """Commit and push to the branch that counts; the commit."""
        self.shop.commit(message)
        self.git("push", "-q", "origin", f"HEAD:refs/heads/{self.branch}")
        return self.git("rev-parse", "HEAD")

    def tag_by_hand(self, name: str, beside: str) -> None:
        """Push a tag for the commit of another, written a minute after that one."""
        commit, when = (
            f"{beside}^{{commit}}",
            int(self.git("for-each-ref", "--format=%(taggerdate:unix)", f"refs/tags/{beside}")),
        )
        later = {**os.environ, "GIT_COMMITTER_DATE": f"{when + 60} +0000"}
        run("git", "tag", "-m", "trust me", name, commit, cwd=self.shop.root, env=later)
        self.git("push", "-q", "origin", f"refs/tags/{name}")

    def pull_request(self, number: int, branch: str, into: str = "main") -> None:
        """Commit on a branch, and merge it for trial as GitHub does."""
        self.git("checkout", "-q", "-B", branch)
        self.shop.commit(branch)
        self.git("checkout", "-q", "--detach", f"origin/{into}")
        self.git("merge", "-q", "--no-ff", "-m", "trial", branch)
        self.git("push", "-qf", "origin", branch, f"HEAD:refs/pull/{number}/merge")
        self.git("checkout", "-q", branch)

    def checked(self, number: int, into: str = "main") -> Ran:
        """Run the workflow of pull requests."""
        request = {"number": number, "base": {"ref": into}, "head": {"ref": "change"}}
        return self.act(
            "pull-request",
            "pull_request",
            f"refs/pull/{number}/merge",
            {"pull_request": request, "number": number},
        )

    def merged(self, commit: str = "main", before: str = "0" * 40) -> Ran:
        """Run the workflow of merges."""
        return self.act("merge", "push", commit, {"ref": f"refs/heads/{self.branch}", "before": before})

    def tagged(self, name: str) -> Ran:
        """Run the workflow of tags."""
        return self.act("tags", "push", f"refs/tags/{name}", {"ref": f"refs/tags/{name}"})

    def act(self, workflow: str, event: str, at: str, payload: dict[str, Any]) -> Ran:
        """Run one workflow, as it stands in the commit that the event is about."""
        place, said = self.root / "event", self.root / "event.json"
        shutil.rmtree(place, ignore_errors=True)
        run("git", "clone", "-q", "--no-checkout", self.url, place, cwd=self.root)
        run("git", "fetch", "-q", "origin", at, cwd=place)
        run("git", "checkout", "-q", "--detach", "FETCH_HEAD", cwd=place)
        if payload.get("ref") == f"refs/heads/{self.branch}":
            run("git", "checkout", "-q", "-B", self.branch, cwd=place)
        said.write_text(json.dumps({**payload, "repository": {"default_branch": self.branch}}))
        file = place / ".github" / "workflows" / f"gitreg-{workflow}.yml"
        command = [
            BIN / "act",
            event,
            "-C",
            place,
            "-W",
            file,
            "-e",
            said,
            "-P",
            "ubuntu-latest=-self-hosted",
        ]
        command += ["--json", "--no-skip-checkout", "--no-cache-server", "--action-offline-mode"]
        for uses in re.findall(r"uses: (\S+)", file.read_text()):
            command.append(f"--local-repository={uses}={self.root / 'actions' / uses.partition('@')[0]}")
        # Nothing is installed: what is tested is installed already. The rest of each line is as it stands.
        variables: dict[str, object] = {"INSTALL": "true", "HUB": self.url, "UPLOADED": self.uploaded}
        variables |= {"PIP_NO_INDEX": 1, "PIP_FIND_LINKS": self.house, "PIP_CONFIG_FILE": os.devnull}
        for name, value in {**variables, "GITREG_CACHE": self.cache}.items():
            command += ["--env", f"{name}={value}"]
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return self._ran(done)

    @staticmethod
    def _ran(done: subprocess.CompletedProcess[str]) -> Ran:
        told = [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]
        lines = [one["msg"].rstrip("\n") for one in told if one.get("raw_output")]
        lines += [one["raw"].rstrip("\n") for one in told if "raw" in one]
        summary = "".join(one["content"] for one in told if one.get("command") == "summary")
        jobs = {one["jobID"]: one["jobResult"] for one in told if "jobResult" in one}
        steps = [one["step"] for one in told if one.get("stepResult") and one.get("stage") == "Main"]
        return Ran(done.returncode, lines, summary, jobs, steps)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps the environment of models that require NumPy alone."""
    return tmp_path_factory.mktemp("cache") / "gitreg"


@pytest.fixture
def hub(workshop: Workshop, tmp_path: Path, cache: Path, numpy_house: Path) -> Hub:
    """A registry in a bare remote, with adder 1.0.0 registered."""
    hub = Hub(tmp_path, workshop, cache, numpy_house)
    for name, text in ACTIONS.items():
        (tmp_path / "actions" / name).mkdir(parents=True)
        (tmp_path / "actions" / name / "action.yml").write_text(text)
    hub.uploaded.mkdir()
    run("git", "init", "-q", "--bare", "-b", "main", hub.url, cwd=tmp_path)
    hub.git("remote", "add", "origin", hub.url)
    hub.push("files") if hub.git("status", "--porcelain") else hub.git("push", "-q", "origin", "main")
    assert workshop.gitreg("apply", "--push").returncode == 0
    return hub


def retrained(hub: Hub, number: int) -> None:
    """A new artifact, in DVC's remote."""
    (hub.shop.adder / "artifacts" / "number.txt").write_text(str(number))
    run(sys.executable, "-m", "dvc", "add", "-q", hub.shop.adder / "artifacts", cwd=hub.shop.root)
    run(sys.executable, "-m", "dvc", "push", "-q", cwd=hub.shop.root)


def test_a_pull_request_is_refused_with_the_reason_and_passes_once_it_is_mended(hub: Hub) -> None:
    before = hub.refs()
    retrained(hub, 7)
    hub.pull_request(1, "change")
    ran = hub.checked(1)
    assert ran.code == 1 and ran.jobs == {"check": "failure"}, ran.text
    why = "adder@1.0.0 is registered with other content (artifact changed); it needs 1.0.1 or a later version"
    (line,) = [one for one in ran.lines if one.startswith("::error ")]
    assert (
        line.startswith("::error file=models/adder/model.yaml,line=3,col=14,title=gitreg::version: ")
        and why in line
    )
    assert ran.summary.startswith("# Model registry: refused\n") and "other content" in ran.summary

    assert hub.shop.gitreg("bump", "adder", "patch").returncode == 0
    hub.pull_request(1, "change")
    ran = hub.checked(1)
    assert ran.code == 0 and ran.jobs == {"check": "success"}, ran.text
    assert not [one for one in ran.lines if one.startswith("::error")]
    assert ran.summary.startswith("# Model registry: ready\n") and "register `adder@1.0.1`" in ran.summary
    after = hub.refs()
    assert {name: at for name, at in after.items() if name in before} == before
    assert set(after) - set(before) == {"refs/heads/change", "refs/pull/1/merge"}, "a check records nothing"


def test_a_pull_request_whose_model_fails_is_refused_and_its_promotion_is_planned(hub: Hub) -> None:
    (hub.shop.root / "stages" / "staging.yaml").write_text("adder: 1.0.0\n")
    hub.pull_request(2, "promote")
    ran = hub.checked(2)
    assert ran.code == 0, ran.text
    assert "- stage `staging`: `nothing` → `1.0.0`" in ran.summary
    assert "assign `adder@1.0.0` to staging" in ran.summary

    hub.shop.code((hub.shop.adder / "src/adder_model.py").read_text().replace('{"y":', '{"z":'))
    hub.shop.manifest(version="1.0.1")
    hub.pull_request(2, "promote")
    ran = hub.checked(2)
    assert ran.code == 1, ran.text
    (line,) = [one for one in ran.lines if one.startswith("::error ")]
    assert (
        line.startswith("::error file=models/adder/model.yaml")
        and "'y' is missing from the model's answer" in line
    )


def test_a_merge_registers_promotes_and_builds_and_a_second_run_does_nothing(
    hub: Hub, tmp_path: Path
) -> None:
    policy = hub.shop.root / "registry.yaml"
    policy.write_text(policy.read_text().replace("staging: {}", "staging: {gates: [{samples: pass}]}"))
    retrained(hub, 7)
    hub.shop.manifest(version="1.1.0")
    (hub.shop.root / "stages" / "staging.yaml").write_text("adder: 1.1.0\n")
    commit = hub.push()
    ran = hub.merged()
    assert ran.code == 0 and ran.jobs == {"apply": "success", "build": "success"}, ran.text
    assert "register adder@1.1.0" in ran.lines and "ok      samples: all samples pass" in ran.text
    assert hub.tags() == ["adder#staging#1", "adder@v1.0.0", "adder@v1.1.0"]
    for tag in ("adder#staging#1", "adder@v1.1.0"):
        said = run("git", "cat-file", "-p", f"refs/tags/{tag}", cwd=hub.url).stdout
        assert said.startswith(f"object {commit}\n")
        assert "\ntagger github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com> " in said
    (package,) = hub.uploaded.iterdir()
    assert package.name == "adder-1.1.0"
    assert (package / "raw/adder/2/model/number.txt").read_text() == "7", (
        "the second version that is registered"
    )
    verified = json.loads(gitreg("verify", package, "--json", cwd=tmp_path).stdout)
    assert [(one["format"], one["version"], one["ok"], one["samples"]) for one in verified] == [
        ("raw", "1.1.0", True, 2),
        ("triton", "1.1.0", True, 2),
    ]
    record = yaml.safe_load((package / "raw/adder/2/metadata/download.yaml").read_text())
    assert record["commit"] == commit

    before = hub.refs()
    ran = hub.merged()
    assert ran.code == 0 and ran.jobs == {"apply": "success"}, ran.text
    assert f"nothing to do: the tags say what {commit[:12]} says" in ran.lines
    assert hub.refs() == before


def test_each_version_that_a_merge_registers_is_built_by_a_job_of_its_own(hub: Hub) -> None:
    hub.shop.manifest(
        "other",
        name="other",
        artifact="../adder/artifacts",
        code="../adder/src",
        sample_data="../adder/samples.json",
    )
    hub.shop.manifest(version="1.0.1", description="Better described.", batching={"max_batch_size": 8})
    hub.shop.gitreg("check", "--fix")
    hub.push()
    ran = hub.merged()
    assert ran.code == 0, ran.text
    assert {path.name for path in hub.uploaded.iterdir()} == {"adder-1.0.1", "other-1.0.0"}
    assert [path.name for path in (hub.uploaded / "other-1.0.0/raw").iterdir()] == ["other"]


def test_what_the_gates_refuse_is_neither_recorded_nor_built(hub: Hub) -> None:
    (hub.shop.root / "stages" / "production.yaml").write_text("adder: 1.1.0\n")
    hub.shop.manifest(version="1.1.0")
    hub.push()
    before = hub.refs()
    ran = hub.merged()
    assert ran.code == 1 and ran.jobs["apply"] == "failure" and "build" not in ran.jobs, ran.text
    assert "error: adder@1.1.0 may not enter production: from: " in ran.text
    assert hub.refs() == before


def test_the_run_of_a_commit_that_is_no_longer_the_last_leaves_its_work_to_the_last(hub: Hub) -> None:
    hub.shop.manifest(version="1.1.0")
    first = hub.push()
    hub.shop.manifest(version="1.1.0", description="Says more.")
    second = hub.push()
    before = hub.refs()
    ran = hub.merged(first)
    assert ran.code == 0 and ran.jobs == {"apply": "success"}, ran.text
    assert (
        f"nothing done: origin/main is newer than {first[:12]}; the run of its last commit applies it all"
        in ran.lines
    )
    assert hub.refs() == before
    ran = hub.merged(second, before=first)
    assert ran.code == 0 and ran.jobs == {"apply": "success", "build": "success"}, ran.text
    assert run("git", "rev-parse", "adder@v1.1.0^{commit}", cwd=hub.url).stdout.strip() == second


def test_a_run_that_is_faster_than_that_of_the_merge_before_does_its_part_too(hub: Hub) -> None:
    commits = []
    for version, number in (("1.1.0", 7), ("1.2.0", 8)):
        retrained(hub, number)
        hub.shop.manifest(version=version)
        commits.append(hub.push())
    ran = hub.merged(commits[1], before=commits[0])
    assert ran.code == 0 and ran.jobs == {"apply": "success", "build": "success"}, ran.text
    for version, commit in zip(("1.1.0", "1.2.0"), commits, strict=True):
        assert run("git", "rev-parse", f"adder@v{version}^{{commit}}", cwd=hub.url).stdout.strip() == commit
    for ordinal, number in ((2, "7"), (3, "8")):
        package = hub.uploaded / f"adder-1.{ordinal - 1}.0"
        assert (package / f"raw/adder/{ordinal}/model/number.txt").read_text() == number
    before = hub.refs()
    ran = hub.merged(commits[0])
    assert ran.code == 0 and ran.jobs == {"apply": "success"}, ran.text
    assert hub.refs() == before


def test_a_registry_that_is_a_folder_of_its_repository_is_served_as_well(hub: Hub) -> None:
    hub.git("push", "-q", "--delete", "origin", "refs/tags/adder@v1.0.0", "refs/gitreg/models/adder")
    hub.git("tag", "-d", "adder@v1.0.0")
    top, below = hub.shop.root, hub.shop.root / "ml" / "models"
    shutil.rmtree(top / ".github")
    below.mkdir(parents=True)
    for path in (path for path in top.iterdir() if path.name not in (".git", "ml")):
        path.rename(below / path.name)
    assert gitreg("init", "ml/models", cwd=top).returncode == 0
    hub.push("move")
    write_manifest(below / "models/adder/model.yaml", {"version": "3.0.0"})
    hub.pull_request(4, "change")
    ran = hub.checked(4)
    assert ran.code == 0 and "register `adder@3.0.0`" in ran.summary, ran.text
    hub.git("push", "-q", "origin", "refs/heads/change:refs/heads/main")
    ran = hub.merged()
    assert ran.code == 0 and ran.jobs == {"apply": "success", "build": "success"}, ran.text
    assert hub.tags() == ["adder@v3.0.0"]
    assert (hub.uploaded / "adder-3.0.0/triton/adder/1/model.py").is_file()
    ran = hub.tagged("adder@v3.0.0")
    assert ran.code == 0, ran.text


def test_the_branch_that_counts_need_not_be_called_main_where_there_is_a_main(hub: Hub) -> None:
    hub.branch = "trunk"
    hub.shop.manifest(version="1.1.0")
    hub.push()
    ran = hub.merged("trunk")
    assert ran.code == 0 and ran.jobs == {"apply": "success", "build": "success"}, ran.text
    assert hub.tags() == ["adder@v1.0.0", "adder@v1.1.0"]
    ran = hub.tagged("adder@v1.1.0")
    assert ran.code == 0, ran.text


def test_a_tag_by_hand_is_refused_with_the_way_to_undo_it_and_a_right_one_passes(hub: Hub) -> None:
    hub.tag_by_hand("adder#production#1", "adder@v1.0.0")
    ran = hub.tagged("adder#production#1")
    assert ran.code == 1 and ran.jobs == {"verify": "failure"}, ran.text
    assert "error: refs/tags/adder#production#1: " in ran.text and "production" in ran.text
    (undo,) = [line.removeprefix("hint: to undo it: ") for line in ran.lines if "to undo it" in line]
    assert undo == "git push --delete origin 'refs/tags/adder#production#1'"
    run(*shlex.split(undo), cwd=hub.shop.root)
    assert hub.tags() == ["adder@v1.0.0"]
    hub.git("tag", "-d", "adder#production#1")

    (hub.shop.root / "stages" / "staging.yaml").write_text("adder: 1.0.0\n")
    hub.push()
    hub.tag_by_hand("adder#staging#1", "adder@v1.0.0")
    ran = hub.tagged("adder#staging#1")
    assert ran.code == 0 and ran.jobs == {"verify": "success"}, ran.text


def test_the_tags_of_a_merge_are_right_in_the_eyes_of_the_workflow_of_tags(hub: Hub) -> None:
    """A token that is not the run's own has them looked at."""
    hub.shop.manifest(version="1.1.0")
    (hub.shop.root / "stages" / "staging.yaml").write_text("adder: 1.1.0\n")
    hub.push()
    assert hub.merged().code == 0
    for tag in ("adder@v1.1.0", "adder#staging#1"):
        ran = hub.tagged(tag)
        assert ran.code == 0, ran.text


def test_tags_of_every_kind_start_the_workflow() -> None:
    patterns = yaml.safe_load(starter.workflow("tags"))[True]["push"]["tags"]
    glob = [re.compile(re.escape(p).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")) for p in patterns]
    wanted = [
        "churn@v1.2.0",
        "churn#production#4",
        "churn#production!#5",
        "churn@v1.2.0!#6",
        "churn@deprecated#7",
    ]
    for name in [*wanted, "m@created#9", "models/churn@v1", "x#a/b"]:
        assert any(one.fullmatch(name) for one in glob), name
    assert not any(one.fullmatch("v1.0.0") for one in glob)


# What strangers may name --------------------------------------------------------------------------


def test_names_of_branches_and_tags_are_words_and_never_shell(hub: Hub, tmp_path: Path) -> None:
    trap = f"a$(touch${{IFS}}{tmp_path}/ran)b"
    hub.git("push", "-q", "origin", f"main:refs/heads/{trap}")
    hub.git("fetch", "-q", "origin")
    (hub.shop.adder / "README.md").write_text("More.")
    hub.pull_request(3, "change", into=trap)
    ran = hub.checked(3, into=trap)
    assert ran.code == 0, ran.text
    hub.tag_by_hand(f"{trap}@v1.0.0", "adder@v1.0.0")
    ran = hub.tagged(f"{trap}@v1.0.0")
    assert ran.code == 1 and "not a registry tag" in ran.text, ran.text
    assert f"hint: to undo it: git push --delete origin 'refs/tags/{trap}@v1.0.0'" in ran.lines
    assert not (tmp_path / "ran").exists()


def test_what_a_pull_request_requires_gets_no_further_than_its_model(
    hub: Hub, numpy_house: Path, tmp_path: Path
) -> None:
    """Neither by a package with code that starts by itself, nor by files that a Python or pip might take."""
    marker, planted = tmp_path / "marker", tmp_path / "planted"
    hub.house, hub.cache = tmp_path / "house", tmp_path / "cache"
    shutil.copytree(numpy_house, hub.house)
    line = f"import os, sys; open({str(marker)!r}, 'a').write(repr(sys.orig_argv) + '\\n')\n"
    wheel(hub.house, "evil", files={"evil.pth": line, "yaml.py": "raise SystemExit('another YAML')"})
    for name in ("venv.py", "pip.py", "click.py", "sitecustomize.py", "usercustomize.py", "evil/setup.py"):
        for place in (hub.shop.root, hub.shop.adder):
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(f"open({str(planted)!r}, 'w')\n")
    sdist(hub.shop.root, "evil", "9", planted).rename(hub.shop.root / "evil.zip")
    (hub.shop.root / "pip.conf").write_text("[install]\nno-binary = :all:\n")
    (hub.shop.root / "uv.toml").write_text('[pip]\nindex-url = "https://example.org"\n')
    hub.shop.manifest(version="1.1.0", requirements=["evil", "numpy>=1.24"])
    hub.pull_request(5, "change")
    ran = hub.checked(5)
    assert ran.code == 0, ran.text
    hub.shop.manifest(version="1.1.0", requirements=["evil.zip"])
    hub.pull_request(5, "change")
    ran = hub.checked(5)
    assert ran.code == 1 and "'evil.zip': the name of a file" in ran.text, ran.text
    assert not planted.exists()
    started = [eval(line) for line in marker.read_text().splitlines()]
    assert started and all(command[4].endswith("isolated/child.py") for command in started), started
