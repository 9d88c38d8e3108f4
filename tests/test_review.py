"""`check --base`: what a pull request does, found from what it changes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gitreg import rendering
from gitreg.errors import Problem
from gitreg.reports import CheckReport
from gitreg.review import Review
from tests.support import ADDER_CODE, Workshop, pipeline, run
from tests.test_promote import new_artifact, ok, policy


@pytest.fixture
def change(workshop: Workshop) -> Workshop:
    """A registry whose version 1.0.0 is registered and in staging, and a branch to change it on."""
    workshop.manifest(metrics={"accuracy": 0.9}, params={"rate": 0.1})
    workshop.commit("metrics")
    ok(workshop.gitreg("apply"))
    ok(workshop.gitreg("promote", "adder", "staging", "--apply"))
    run("git", "switch", "-qc", "change", cwd=workshop.root)
    return workshop


def other(shop: Workshop, folder: str, /, **said: Any) -> Path:
    """Another model, of a type that needs no artifact."""
    (shop.root / "models" / folder).mkdir(parents=True, exist_ok=True)
    (shop.root / "models" / folder / "samples.json").write_text('[{"x": [1, 2]}]')
    none = dict.fromkeys(["model_class", "code", "artifact"])
    return shop.manifest(folder, **{"name": folder, "type": "custom", **none, **said})


def reviewed(shop: Workshop, *options: str, code: int = 0) -> dict[str, Any]:
    done = shop.gitreg("check", "--base", "main", "--no-run", "--json", *options)
    assert done.returncode == code, done.stdout + done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def test_nothing_changed(change: Workshop) -> None:
    said = reviewed(change)
    assert (said["ok"], said["models"], said["changes"], said["plan"]["actions"]) == (True, 0, [], [])


def test_what_changed_in_a_model_beside_the_version_in_each_stage(change: Workshop) -> None:
    new_artifact(change, 7)
    item = {"data_type": "int", "shape": [2]}
    schema = {"inputs": [{"name": "x", **item}], "outputs": [{"name": "y", **item}, {"name": "z", **item}]}
    change.manifest(metrics={"accuracy": 0.95}, schema=schema)
    ok(change.gitreg("bump", "adder"))
    change.commit("better")
    said = reviewed(change)
    (model,) = said["changes"]
    assert (model["name"], model["status"], model["before"], model["after"]) == (
        "adder",
        "changed",
        "1.0.0",
        "1.1.0",
    )
    assert [(c["level"], c["name"]) for c in model["schema"]] == [("minor", "z")]
    assert model["metrics"] == {
        "after": {"accuracy": 0.95},
        "before": {"accuracy": 0.9},
        "staging": {"accuracy": 0.9},
    }
    assert model["columns"]["staging"] == "1.0.0"
    assert model["artifact"][0]["digest"] != model["artifact"][1]["digest"]
    assert model["artifact"][1]["size"] == 1
    assert ["M", "models/adder/artifacts.dvc"] in model["files"]
    assert [(a["kind"], a["version"]) for a in said["plan"]["actions"]] == [("register", "1.1.0")]


def test_a_version_that_does_not_step_far_enough_is_refused_at_its_place(change: Workshop) -> None:
    item = {"data_type": "long", "shape": [2]}
    change.manifest(
        version="1.0.1", schema={"inputs": [{"name": "x", **item}], "outputs": [{"name": "y", **item}]}
    )
    change.commit()
    said = reviewed(change, code=1)
    (problem,) = [p for p in said["problems"] if p["level"] == "error"]
    assert (problem["file"], problem["line"], problem["path"]) == ("models/adder/model.yaml", 3, "version")
    assert "from 1.0.0 to 1.0.1 is less than the change, which is major" in problem["message"]


def test_only_what_changed_is_checked(change: Workshop) -> None:
    run("git", "switch", "-q", "main", cwd=change.root)
    other(change, "broken", version="not a version")
    change.commit("somebody let this in")
    run("git", "switch", "-q", "change", cwd=change.root)
    run("git", "merge", "-q", "main", cwd=change.root)
    other(change, "fine")
    change.commit()
    said = reviewed(change)
    assert [m["name"] for m in said["changes"]] == ["fine"]
    assert change.gitreg("check").returncode == 1


def test_files_that_git_does_not_know_count_where_a_change_may_be(change: Workshop) -> None:
    reaching = {"sample_data": "../shared/samples.json"}
    other(change, "quiet")
    other(change, "reaching", **reaching)
    (change.root / "models" / "shared").mkdir()
    (change.root / "models" / "shared" / "README.md").write_text("for all\n")
    (change.root / "models" / "shared" / "samples.json").write_text('[{"x": [1, 2]}]')
    (change.root / ".gitignore").write_text("*.log\n")
    change.commit("more models")
    run("git", "branch", "-f", "main", cwd=change.root)

    def touched() -> tuple[list[str], list[str]]:
        said = change.gitreg("check", "--base", "main", "--no-run", "--format", "markdown").stdout
        names = re.findall(r"^## (\S+)", said, re.MULTILINE)
        return [name for name in names if name != "What"], re.findall(r"`(\S+\.(?:md|log|json))`", said)

    for folder in ("adder", "quiet", "shared"):
        (change.root / "models" / folder / "notes.md").write_text("later\n")
        (change.root / "models" / folder / "run.log").write_text("...\n")
    (
        change.root / "models" / "quiet" / "model.yaml"
    ).touch()  # which Git has to read to see that it is the same
    assert touched() == ([], ["models/shared/notes.md"])
    change.manifest(tags={"a": "b"})
    names, files = touched()
    assert names == ["adder"] and set(files) == {"models/adder/notes.md", "models/shared/notes.md"}
    run("git", "add", "models/quiet/notes.md", cwd=change.root)
    assert touched()[0] == ["adder", "quiet"]
    (change.root / "models" / "shared" / "samples.json").write_text('[{"x": [3, 4]}]')
    assert touched()[0] == ["adder", "quiet", "reaching"]


def test_with_manifests_anywhere_files_that_git_does_not_know_count_anywhere(change: Workshop) -> None:
    file = change.root / "registry.yaml"
    file.write_text(
        re.sub("^models:.*$", "models: models/**/model.yaml", file.read_text(), flags=re.MULTILINE)
    )
    change.commit("anywhere")
    run("git", "branch", "-f", "main", cwd=change.root)
    (change.adder / "notes.md").write_text("later\n")
    assert [model["name"] for model in reviewed(change)["changes"]] == ["adder"]


def test_what_is_in_no_commit_yet_is_checked_and_said_to_be(change: Workshop) -> None:
    other(change, "fresh")
    (change.adder / "src" / "adder_model.py").write_text("import nothing_of_the_kind\n")
    done = change.gitreg("check", "--base", "main", "--no-run")
    assert done.returncode == 1
    assert "fresh: new, 1.0.0" in done.stdout
    assert "does not define the class 'Adder'" in done.stderr
    assert "in no commit yet, so the merge would not have it: models/adder/src/adder_model.py" in done.stdout
    assert reviewed(change, "--committed", code=0)["changes"] == []
    report = change.gitreg("check", "--base", "main", "--no-run", "--format", "markdown").stdout
    assert "in no commit yet" in report and "By the last commit, `" in report
    change.code((change.adder / "src" / "adder_model.py").read_text() + ADDER_CODE)
    new_artifact(change, 7)
    adder = next(one for one in reviewed(change, code=1)["changes"] if one["name"] == "adder")
    assert adder["artifact"][0]["digest"] != adder["artifact"][1]["digest"], "as it lies here"


def test_a_model_that_reaches_out_of_its_folder_depends_on_what_is_there(change: Workshop) -> None:
    run("git", "switch", "-q", "main", cwd=change.root)
    shared = change.root / "shared"
    shared.mkdir()
    (shared / "common_code.py").write_text((change.adder / "src" / "adder_model.py").read_text())
    manifest = change.manifest("second", name="second", model_class="common_code.Adder", code="../../shared")
    (manifest.parent / "samples.json").write_text('[{"x": [1, 2]}]')
    manifest.with_name("artifacts.dvc").write_text((change.adder / "artifacts.dvc").read_text())
    ok(change.gitreg("check", "--fix"))
    change.commit("a model with shared code")
    run("git", "switch", "-qc", "shared", cwd=change.root)
    (shared / "common_code.py").write_text((shared / "common_code.py").read_text() + "\nMORE = 1\n")
    change.commit()
    assert [m["name"] for m in reviewed(change)["changes"]] == ["second"]
    (change.root / "notes.txt").write_text("no model depends on this")
    run("git", "switch", "-qc", "notes", "main", cwd=change.root)
    assert reviewed(change)["changes"] == []


def test_a_manifest_that_goes_is_told_and_its_versions_stay(change: Workshop) -> None:
    run("git", "rm", "-rq", "models/adder", cwd=change.root)
    change.commit("gone")
    said = reviewed(change)
    assert [(m["name"], m["status"]) for m in said["changes"]] == [("adder", "removed")]
    assert said["plan"]["actions"] == []


def test_what_cannot_be_read_is_not_gone(change: Workshop) -> None:
    change.manifest(type="nonsense")
    (change.root / "stages" / "staging.yaml").write_text("<<<<<<< HEAD\nadder: 1.0.0\n=======\n>>>>>>> x\n")
    change.commit()
    (model,) = reviewed(change, code=1)["changes"]
    assert (model["name"], model["status"], model["stages"]) == ("adder", "invalid", {})
    report = change.gitreg("check", "--base", "main", "--no-run", "--format", "markdown").stdout
    assert "## adder (not readable, was 1.0.0)\n\nThe manifest cannot be read: see the problems." in report


def test_an_artifact_that_a_pipeline_makes_is_told_by_its_hash(workshop: Workshop) -> None:
    pipeline(workshop)
    lock = workshop.adder / "dvc.lock"
    run("git", "switch", "-qc", "change", cwd=workshop.root)
    before = re.findall(r"md5: ([0-9a-f]{32}\.dir)", lock.read_text())[-1]
    lock.write_text(lock.read_text().replace(before, f"{'0' * 32}.dir"))
    workshop.commit()
    (model,) = reviewed(workshop)["changes"]
    assert [one["digest"] for one in model["artifact"]] == [before, f"{'0' * 32}.dir"]


def test_a_name_that_another_model_has_is_found_though_that_one_did_not_change(change: Workshop) -> None:
    other(change, "copy", name="adder")
    change.commit()
    said = reviewed(change, code=1)
    assert any("'adder' is taken by models/" in p["message"] for p in said["problems"])


def test_a_stage_line_is_judged_by_the_gates_at_its_place(change: Workshop) -> None:
    run("git", "switch", "-q", "main", cwd=change.root)
    policy(change, {"from": ["staging"], "gates": [{"metric": "accuracy", "min": 0.99}]})
    run("git", "switch", "-q", "change", cwd=change.root)
    run("git", "rebase", "-q", "main", cwd=change.root)
    (change.root / "stages" / "production.yaml").write_text("# who\nadder: 1.0.0\n")
    change.commit()
    done = change.gitreg("check", "--base", "main", "--format", "github")
    assert done.returncode == 1
    expected = (
        "::error file=stages/production.yaml,line=2,col=8,title=gitreg::adder: adder@1.0.0 may not enter "
        "production: metric accuracy: accuracy 0.9 is below the minimum 0.99"
    )
    assert expected in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("addr: 1.0.0\n", "there is no model 'addr' (did you mean 'adder'?)"),
        ("adder: 1.0.7\n", "adder@1.0.7 is not registered"),
        ("adder: 1.0.0\nadder: 1.0.0\n", "stands twice"),
        ("<<<<<<< HEAD\nadder: 1.0.0\n=======\n>>>>>>> x\n", "a merge conflict is left in this file"),
        ("adder: 1.0\n", "expected a string, got 1.0"),
    ],
)
def test_a_stage_file_that_says_nonsense(change: Workshop, text: str, words: str) -> None:
    (change.root / "stages" / "production.yaml").write_text(text)
    change.commit()
    said = reviewed(change, code=1)
    assert any(words in p["message"] for p in said["problems"]), said["problems"]
    assert all(p["file"] == "stages/production.yaml" for p in said["problems"])


def test_a_change_of_where_artifacts_come_from_runs_and_fetches_nothing(change: Workshop) -> None:
    config = change.root / ".dvc" / "config"
    config.write_text(config.read_text().replace("remote\n", "elsewhere\n"))
    change.code("raise SystemExit('this ran')")
    change.commit()
    done = change.gitreg("check", "--base", "main")
    assert "changes where artifacts come from" in done.stdout
    assert "this ran" not in done.stdout + done.stderr


def test_a_change_of_the_policy_checks_all(change: Workshop) -> None:
    policy(change, {"gates": [{"metric": "accuracy", "min": 0.5}], "from": ["archived"]})
    said = reviewed(change)
    assert [m["name"] for m in said["changes"]] == ["adder"]
    asked = ["from archived", "accuracy at least 0.5"]
    assert said["policies"] == [{"stage": "production", "before": ["from staging"], "after": asked}]
    done = change.gitreg("check", "--base", "main", "--no-run")
    assert "adder" not in done.stdout, "nothing of it changes"
    report = change.gitreg("check", "--base", "main", "--no-run", "--format", "markdown").stdout
    assert "- stage `production`\n  - no longer asks: from staging\n  - asks: from archived\n" in report
    assert "## adder" not in report
    assert "\n1 model more checked, as registry.yaml changed; nothing of them changes.\n" in report


def test_models_that_changed_are_run_from_a_package_alone(change: Workshop) -> None:
    change.code((change.adder / "src" / "adder_model.py").read_text().replace("inputs[", "inputs.nothing["))
    ok(change.gitreg("bump", "adder"))
    change.commit()
    done = change.gitreg("check", "--base", "main")
    assert done.returncode == 1
    assert "'dict' object has no attribute 'nothing'" in done.stderr
    report = change.gitreg("check", "--base", "main", "--format", "markdown").stdout
    assert '\n  ```text\n    File "adder_model.py", line ' in report
    change.code(ADDER_CODE.replace("np.int32", "float"))
    done = change.gitreg("check", "--base", "main")
    assert "output 'y': expected int [2], got double [2]\n" in done.stderr
    assert "user_model.py" not in done.stderr, "what refuses an answer is nothing to look into"


def test_build_takes_what_changed(change: Workshop) -> None:
    assert "no model changed since main" in ok(change.gitreg("build", "--changed-since", "main"))
    other(change, "another")
    change.code((change.adder / "src" / "adder_model.py").read_text() + "\n# more\n")
    change.commit()
    run("git", "rm", "-rq", "models/another", cwd=change.root)
    change.commit()
    built = json.loads(ok(change.gitreg("build", "--changed-since", "main", "--json")))
    assert [one["model"] for one in built] == ["adder"]


@pytest.mark.parametrize("base", ["nowhere", "--upload-pack=touch x", "HEAD~99", "main\nmain"])
def test_a_base_that_is_none(change: Workshop, base: str) -> None:
    done = change.gitreg("check", f"--base={base}")
    assert done.returncode == 1
    assert "is not a commit here" in done.stderr


def test_a_summary_is_added_to_what_is_there(change: Workshop, tmp_path: Path) -> None:
    new_artifact(change, 7)
    ok(change.gitreg("bump", "adder"))
    change.commit()
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    ok(change.gitreg("check", "--base", "main", "--summary", summary))
    text = summary.read_text()
    assert text.startswith("before\n# Model registry: ready\n")
    assert "| accuracy | 0.9 | 0.9 | 0.9 |" in text
    assert "- register `adder@1.0.1`" in text


def test_nothing_in_a_manifest_becomes_markup(change: Workshop) -> None:
    evil = "</td><script>alert(1)</script> [x](javascript:1) `a` | b @team #1 ![i](u)"
    other(change, "evil", metrics={evil: 1, "ok": 2}, description=evil)
    change.commit()
    text = change.gitreg("check", "--base", "main", "--no-run", "--format", "markdown").stdout
    assert not re.search(r"<(?!/?code>)", text)
    assert "](javascript" not in text
    assert "`@team` `#1`" in text and text.count("@team") == text.count("`@team`")
    (row,) = [line for line in text.splitlines() if "script" in line]
    assert row.count("|") == 3


def test_annotations_cannot_be_forged() -> None:
    problem = Problem("a,line=1::error.yaml", 3, 4, "x", "50% wrong\n::error file=b::forged")
    (line,) = rendering.github([problem], "sub/")
    assert line == (
        "::error file=sub/a%2Cline=1%3A%3Aerror.yaml,line=3,col=4,title=gitreg::"
        "x: 50%25 wrong%0A::error file=b::forged"
    )


def test_a_report_that_is_too_long_for_github_is_cut() -> None:
    report = CheckReport(0, [Problem(f"models/m{n}/model.yaml", 1, 1, "", "x" * 30_000) for n in range(60)])
    whole = rendering.markdown(Review("a" * 40, "b" * 40, report))
    assert 800_000 < len(whole.encode()) < 1 << 20
    assert whole.endswith("The rest is cut off: the report is longer than GitHub shows.\n")


def test_sarif_is_what_code_scanning_reads(change: Workshop) -> None:
    change.manifest(version="x.y", type="nonsense", metrics={"my own": "?"})
    (change.root / "stages" / "production.yaml").write_text("adder: 9.9.9\n")
    change.commit()
    done = change.gitreg("check", "--base", "main", "--format", "sarif")
    assert done.returncode == 1
    (runs,) = json.loads(done.stdout)["runs"]
    assert runs["tool"]["driver"]["name"] == "gitreg"
    assert {r["id"] for r in runs["tool"]["driver"]["rules"]} == {r["ruleId"] for r in runs["results"]}
    assert {r["id"] for r in runs["tool"]["driver"]["rules"]} == {"metrics", "stages", "type", "version"}
    assert all(r["shortDescription"]["text"] and r["help"]["text"] for r in runs["tool"]["driver"]["rules"])
    place = runs["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "models/adder/model.yaml"
    assert place["region"]["startLine"] > 0
