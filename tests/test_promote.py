"""Versions and stages as their users meet them: register, plan, apply, bump, promote, roll back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitreg import Registry
from gitreg.errors import GitregError
from tests.browsing import IN_CI
from tests.support import ADDER_CODE, Workshop, run

DVC = [sys.executable, "-m", "dvc"]
GTO = [sys.executable, "-c", "from gto.cli import app; app()"]


def policy(shop: Workshop, production: dict[str, Any], **more: Any) -> None:
    """Write registry.yaml with these rules for production."""
    stages = {"staging": {}, "production": production, "archived": {}}
    (shop.root / "registry.yaml").write_text(json.dumps({"registry": "workshop", "stages": stages, **more}))
    shop.commit("policy")


def new_artifact(shop: Workshop, number: int) -> None:
    """Train the adder again."""
    (shop.adder / "artifacts" / "number.txt").write_text(str(number))
    run(*DVC, "add", "-q", shop.adder / "artifacts", cwd=shop.root)
    run(*DVC, "push", "-q", cwd=shop.root)


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def next_version(shop: Workshop, number: int, **changes: Any) -> str:
    """Train, bump, commit, apply; the version."""
    new_artifact(shop, number)
    if changes:
        said = yaml.safe_load((shop.adder / "model.yaml").read_text())
        shop.manifest(version=said["version"], **changes)
    ok(shop.gitreg("bump", "adder"))
    shop.commit(f"number {number}")
    ok(shop.gitreg("apply"))
    return str(yaml.safe_load((shop.adder / "model.yaml").read_text())["version"])


def tags(shop: Workshop) -> list[str]:
    return run("git", "tag", cwd=shop.root).stdout.split()


def gto_stages(root: Path) -> dict[str, str]:
    """What GTO says is in each stage of the adder."""
    found = json.loads(run(*GTO, "show", "--json", cwd=root).stdout).get("adder", {})
    return {stage: version.removeprefix("v") for stage, version in found.get("stage", {}).items() if version}


# Register, plan, apply ------------------------------------------------------------------------------


def test_a_registration_is_a_tag_that_says_what_the_version_is(workshop: Workshop) -> None:
    assert "would register adder@1.0.0" in ok(workshop.gitreg("plan"))
    assert tags(workshop) == []
    assert "1 tag written" in ok(workshop.gitreg("apply"))
    said = run("git", "cat-file", "-p", "adder@v1.0.0", cwd=workshop.root).stdout
    dvc = yaml.safe_load((workshop.adder / "artifacts.dvc").read_text())["outs"][0]["md5"]
    assert f"Gitreg-Artifact: md5:{dvc}\n" in said
    assert "Gitreg-Ordinal: 1\n" in said
    assert "Gitreg-Manifest: models/adder/model.yaml\n" in said
    report = json.loads(ok(workshop.gitreg("build", "--json")))[0]
    assert f"Gitreg-Digest: {report['digest']}\n" in said


def test_a_second_apply_does_nothing(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    before = run("git", "for-each-ref", cwd=workshop.root).stdout
    assert "nothing to do" in ok(workshop.gitreg("apply"))
    assert run("git", "for-each-ref", cwd=workshop.root).stdout == before


def test_registering_what_exists_is_an_error_and_changes_nothing(workshop: Workshop) -> None:
    ok(workshop.gitreg("register", "adder"))
    before = run("git", "for-each-ref", cwd=workshop.root).stdout
    done = workshop.gitreg("register", "adder")
    assert done.returncode == 1
    assert "adder@1.0.0 is registered already" in done.stderr
    assert "gitreg bump adder" in done.stderr
    assert run("git", "for-each-ref", cwd=workshop.root).stdout == before


def test_the_matrix_lists_what_is_to_be_built(workshop: Workshop) -> None:
    matrix = json.loads(ok(workshop.gitreg("plan", "--matrix")))
    (entry,) = matrix["include"]
    assert (entry["model"], entry["version"], entry["references"]) == ("adder", "1.0.0", "adder@1.0.0")
    assert (entry["name"], entry["manifest"]) == ("adder-1.0.0", "models/adder/model.yaml")
    ok(workshop.gitreg("apply"))
    assert json.loads(ok(workshop.gitreg("plan", "--matrix"))) == {"include": []}


@pytest.mark.parametrize("many", [256, 257, 1000, 5000])
def test_a_matrix_has_no_more_entries_than_github_allows(many: int) -> None:
    from gitreg.desired import Action, Desired, WantedModel
    from gitreg.gather import Content
    from gitreg.jobs import matrix
    from gitreg.planner import Planned

    names = [f"m{i}" for i in range(many)]
    desired = Desired("0" * 40, {name: WantedModel(name, "1.0.0", f"{name}.yaml") for name in names})
    planned = Planned(desired.commit, desired, {}, [Action(name, "register", "1.0.0", "") for name in names])
    sizes = {name: i % 7 << 30 for i, name in enumerate(names)}
    planned.contents = {name: Content("sha256:0", "", "", "", size=size) for name, size in sizes.items()}
    entries = matrix(planned)["include"]
    assert len(entries) == 256 == len({entry["name"] for entry in entries})
    lists = [entry["references"].split() for entry in entries]
    assert sorted(one for some in lists for one in some) == sorted(f"{name}@1.0.0" for name in names)
    loads = [sum(sizes[one.partition("@")[0]] + (1 << 30) for one in some) for some in lists]
    assert max(loads) - min(loads) <= 7 << 30, "no list waits for another by more than the largest artifact"
    assert len(json.dumps(entries)) < 1 << 20, "what a job may hand on to another"


def test_what_is_not_committed_is_not_planned(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    workshop.manifest(version="2.0.0")
    assert "nothing to do" in ok(workshop.gitreg("plan"))


def test_a_package_of_a_registered_version_lies_in_the_folder_of_its_ordinal(workshop: Workshop) -> None:
    ok(workshop.gitreg("build", "-o", "before"))
    assert (workshop.root / "before/triton/adder/0/model.py").is_file()
    ok(workshop.gitreg("apply"))
    next_version(workshop, 7)
    ok(workshop.gitreg("build", "-o", "now"))
    assert (workshop.root / "now/triton/adder/2/model.py").is_file()
    ok(workshop.gitreg("build", "adder@1.0.0", "-o", "old"))
    assert (workshop.root / "old/triton/adder/1/model.py").is_file()
    assert (workshop.root / "old/raw/adder/1/model/number.txt").read_text() == "5"
    for package in ("before/raw/adder", "now/triton/adder", "old/triton/adder", "old/raw/adder"):
        ok(workshop.gitreg("verify", package))


def test_a_build_that_was_remembered_is_made_again_once_its_version_is_registered(
    workshop: Workshop,
) -> None:
    ok(workshop.gitreg("build"))
    ok(workshop.gitreg("apply"))
    assert "built" in ok(workshop.gitreg("build"))
    assert (workshop.root / "dist/triton/adder/1/model.py").is_file()
    assert not (workshop.root / "dist/triton/adder/0").exists()


# Versions -------------------------------------------------------------------------------------------


def test_content_that_changes_under_a_registered_version_is_an_error(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    new_artifact(workshop, 7)
    done = workshop.gitreg("check")
    assert done.returncode == 1
    assert "adder@1.0.0 is registered with other content (artifact changed)" in done.stderr
    assert "1.0.1" in done.stderr
    ok(workshop.gitreg("bump", "adder"))
    ok(workshop.gitreg("check"))


def test_a_description_changes_no_content(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    workshop.manifest(description="Adds.", owners=["@ada"], tags={"a": 1}, release={"tags": {"b": 2}})
    ok(workshop.gitreg("check"))


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ([("x", "int", [2])], [("y", "int", [2]), ("z", "int", [1])], "1.1.0"),
        ([("x", "int", [2]), ("w?", "int", [1])], [("y", "int", [2])], "1.1.0"),
        ([("x", "int", [2]), ("w", "int", [1])], [("y", "int", [2])], "2.0.0"),
        ([("x", "long", [2])], [("y", "int", [2])], "2.0.0"),
        ([("x", "int", [2])], [("y", "float", [2])], "2.0.0"),
        ([("x", "int", [2])], [("y", "int", [2])], "1.0.1"),
    ],
)
def test_bump_auto_reads_the_change_of_the_schema(
    workshop: Workshop, inputs: list[Any], outputs: list[Any], expected: str
) -> None:
    ok(workshop.gitreg("apply"))

    def items(side: list[Any]) -> list[dict[str, Any]]:
        return [
            {"name": n.strip("?"), "data_type": t, "shape": s, **({"optional": True} if "?" in n else {})}
            for n, t, s in side
        ]

    workshop.manifest(
        schema={"inputs": items(inputs), "outputs": items(outputs)}, requirements=["numpy>=1.25"]
    )
    told = json.loads(ok(workshop.gitreg("bump", "adder", "--json")))
    assert (told["before"], told["after"]) == ("1.0.0", expected)
    assert json.loads(ok(workshop.gitreg("bump", "adder", "--json")))["after"] == expected  # and no further
    if expected == "2.0.0":
        done = workshop.gitreg("bump", "adder", "minor")
        assert done.returncode == 1
        assert "gitreg bump adder major" in done.stderr


def test_a_step_that_is_too_small_is_refused_with_the_reason(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    item = {"data_type": "int", "shape": [2]}
    schema = {"inputs": [{"name": "x", **item}], "outputs": [{"name": "sum", **item}]}
    workshop.manifest(version="1.1.0", schema=schema)
    done = workshop.gitreg("check", "--no-run")
    assert done.returncode == 1
    assert (
        "from 1.0.0 to 1.1.0 is less than the change, which is major (output 'y' was removed" in done.stderr
    )


def test_bump_keeps_comments_and_order(workshop: Workshop) -> None:
    text = (
        "# head\nname: adder # the name\nversion: 1.0.0   # the version\n\ntype: custom-python\n"
        "model_class: adder_model.Adder\ncode: src\nartifact: artifacts\n# the schema\nschema:\n"
        "  inputs: [{name: x, data_type: int, shape: [2]}]\n  outputs: [{name: y, data_type: int, shape: [2]}]\n"
        "sample_data: samples.json\nrequirements: ['numpy>=1.24']\n"
    )
    (workshop.adder / "model.yaml").write_text(text)
    workshop.commit()
    ok(workshop.gitreg("apply"))
    new_artifact(workshop, 7)
    ok(workshop.gitreg("bump", "adder", "minor"))
    assert (workshop.adder / "model.yaml").read_text() == text.replace("1.0.0", "1.1.0")


def test_a_blank_version_is_the_next_one_when_the_content_changed(workshop: Workshop) -> None:
    workshop.manifest(version=None)
    workshop.commit()
    assert "register adder@1.0.0" in ok(workshop.gitreg("apply"))
    (workshop.adder / "README.md").write_text("words")
    workshop.commit()
    assert "nothing to do" in ok(workshop.gitreg("apply"))
    new_artifact(workshop, 6)
    workshop.commit()
    assert "register adder@1.0.1" in ok(workshop.gitreg("apply"))
    item = {"data_type": "int", "shape": [2]}
    outputs = [{"name": "y", **item}, {"name": "z", **item}]
    workshop.manifest(version=None, schema={"inputs": [{"name": "x", **item}], "outputs": outputs})
    workshop.commit()
    assert "register adder@1.1.0" in ok(workshop.gitreg("apply"))
    assert "nothing to do" in ok(workshop.gitreg("apply"))


def test_the_output_of_training_is_registered_and_staged_by_its_merge_alone(workshop: Workshop) -> None:
    workshop.manifest(version=None)
    (workshop.root / "stages" / "staging.yaml").write_text("adder: latest\n")
    workshop.commit("first")
    ok(workshop.gitreg("apply"))
    new_artifact(workshop, 6)
    workshop.commit("trained again")
    said = ok(workshop.gitreg("apply"))
    assert "register adder@1.0.1" in said
    assert gto_stages(workshop.root) == {"staging": "1.0.1"}


def test_the_triplet_scheme(workshop: Workshop) -> None:
    policy(workshop, {}, versions={"scheme": "triplet"})
    done = workshop.gitreg("check")
    assert done.returncode == 1
    assert "'1.0.0' is not a version of the scheme triplet: three numbers from 1 to 99" in done.stderr
    assert workshop.gitreg("apply").returncode == 1
    workshop.manifest(version="1.1.99")
    workshop.commit()
    ok(workshop.gitreg("apply"))
    new_artifact(workshop, 6)
    assert json.loads(ok(workshop.gitreg("bump", "adder", "--json")))["after"] == "1.2.1"


# Stages ---------------------------------------------------------------------------------------------


def test_a_promotion_is_a_commit_on_a_branch_and_leaves_the_work_tree_alone(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    (workshop.adder / "samples.json").write_text("[{}]")
    (workshop.root / "staged.txt").write_text("staged")
    run("git", "add", "staged.txt", cwd=workshop.root)
    before = run("git", "status", "--porcelain", cwd=workshop.root).stdout
    said = ok(workshop.gitreg("promote", "adder", "staging", "-m", "it is good"))
    assert "promote/adder-1.0.0-staging" in said
    assert run("git", "status", "--porcelain", cwd=workshop.root).stdout == before
    shown = run("git", "show", "promote/adder-1.0.0-staging", cwd=workshop.root).stdout
    assert "Promote adder 1.0.0 to staging\n" in shown
    assert "it is good" in shown
    changed = [
        line for line in shown.splitlines() if line.startswith(("+", "-")) and line[:3] not in ("+++", "---")
    ]
    assert changed == ["-{}", "+adder: 1.0.0"]
    assert tags(workshop) == ["adder@v1.0.0"]
    assert ok(workshop.gitreg("promote", "adder", "staging", "-m", "it is good")) == said  # again: the same


def test_the_path_through_the_stages(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    done = workshop.gitreg("promote", "adder", "production", "--apply")
    assert done.returncode == 1
    assert "adder@1.0.0 may not enter production: from: 1.0.0 was never in staging" in done.stderr
    assert tags(workshop) == ["adder@v1.0.0"]
    ok(workshop.gitreg("promote", "adder", "staging", "--apply"))
    ok(workshop.gitreg("promote", "adder#staging", "production", "--apply"))
    assert "nothing to do" in ok(workshop.gitreg("promote", "adder", "production", "--apply"))
    assert gto_stages(workshop.root) == {"staging": "1.0.0", "production": "1.0.0"}
    assert run("git", "status", "--porcelain", cwd=workshop.root).stdout == ""


def test_a_gate_names_what_it_compared_and_both_numbers(workshop: Workshop) -> None:
    policy(
        workshop, {"gates": [{"metric": "accuracy", "min": 0.9, "max_drop": 0.01}, {"schema": "compatible"}]}
    )
    workshop.manifest(metrics={"accuracy": 0.95})
    workshop.commit()
    ok(workshop.gitreg("apply"))
    ok(workshop.gitreg("promote", "adder", "production", "--apply"))
    next_version(workshop, 6, metrics={"accuracy": 0.93})
    done = workshop.gitreg("promote", "adder", "production", "--apply")
    assert done.returncode == 1
    assert "accuracy fell from 0.95 to 0.93, by 0.02; at most 0.01 is allowed" in done.stderr
    next_version(workshop, 7, metrics={"accuracy": 0.945})
    said = ok(workshop.gitreg("promote", "adder", "production", "--apply"))
    assert "0.945" in said
    last = run(
        "git", "for-each-ref", "--format=%(contents)", "refs/tags/adder#production#2", cwd=workshop.root
    )
    assert "Gitreg-Gate: metric accuracy: " in last.stdout


def test_the_samples_gate_runs_the_version_that_is_promoted(workshop: Workshop) -> None:
    policy(workshop, {"gates": [{"samples": "pass"}]})
    ok(workshop.gitreg("apply"))
    workshop.code(ADDER_CODE.replace("return {", "raise RuntimeError('lost the number')\n        return {"))
    ok(workshop.gitreg("bump", "adder"))
    workshop.commit("broken code")
    ok(workshop.gitreg("apply"))
    ok(workshop.gitreg("promote", "adder@1.0.0", "production", "--apply"))
    done = workshop.gitreg("promote", "adder@1.0.1", "production", "--apply")
    assert done.returncode == 1
    assert "samples" in done.stderr
    assert "lost the number" in done.stderr


def test_a_registry_in_a_folder_whose_name_is_not_ascii(workshop: Workshop, tmp_path: Path) -> None:
    shop = Workshop(shutil.move(workshop.root, tmp_path / "modèles de José"))
    policy(shop, {"gates": [{"samples": "pass"}]})
    ok(shop.gitreg("apply"))
    assert "all samples pass" in ok(shop.gitreg("promote", "adder", "production", "--apply"))
    assert ok(shop.gitreg("predict", "adder#production")).startswith("[0] y = [6, 7]")


def test_the_format_gate_goes_by_content(workshop: Workshop) -> None:
    policy(workshop, {"gates": [{"format": ["onnx", "safetensors"]}]})
    ok(workshop.gitreg("apply"))
    done = workshop.gitreg("promote", "adder", "production")
    assert done.returncode == 1
    assert "format" in done.stderr
    policy(workshop, {"gates": [{"format": ["json"]}]})
    (workshop.adder / "artifacts" / "number.txt").write_text('{"number": 1}')
    run(*DVC, "add", "-q", workshop.adder / "artifacts", cwd=workshop.root)
    ok(workshop.gitreg("bump", "adder"))
    workshop.commit()
    ok(workshop.gitreg("apply"))
    ok(workshop.gitreg("promote", "adder", "production"))


def test_soak_counts_from_the_tag(workshop: Workshop) -> None:
    policy(workshop, {"from": ["staging"], "gates": [{"soak": "7d"}]})
    ok(workshop.gitreg("apply"))
    ok(workshop.gitreg("promote", "adder", "staging", "--apply"))
    done = workshop.gitreg("promote", "adder", "production")
    assert done.returncode == 1
    assert "of 7d in staging; enough at" in done.stderr


def test_rollback_demote_and_what_gto_and_dvc_say_of_it(workshop: Workshop, tmp_path: Path) -> None:
    bare = tmp_path / "hub.git"
    run("git", "init", "-q", "--bare", "-b", "main", bare, cwd=tmp_path)
    run("git", "remote", "add", "origin", bare, cwd=workshop.root)
    run("git", "push", "-q", "-u", "origin", "main", cwd=workshop.root)

    def got(stage: str) -> str:
        place = tmp_path / f"got-{len(list(tmp_path.iterdir()))}"
        run(*DVC, "artifacts", "get", bare, "adder", "--stage", stage, "-o", place, "-q", cwd=tmp_path)
        return (place / "number.txt").read_text()

    ok(workshop.gitreg("apply", "--push"))
    ok(workshop.gitreg("promote", "adder", "staging", "--apply"))
    ok(workshop.gitreg("promote", "adder", "production", "--apply"))
    run("git", "pull", "-q", cwd=workshop.root)
    new_artifact(workshop, 7)
    ok(workshop.gitreg("bump", "adder"))
    workshop.commit()
    run("git", "push", "-q", cwd=workshop.root)
    ok(workshop.gitreg("apply", "--push"))
    ok(workshop.gitreg("promote", "adder", "staging", "--apply"))
    ok(workshop.gitreg("promote", "adder", "production", "--apply"))
    assert got("production") == "7"
    assert "1.0.1 -> 1.0.0" in ok(workshop.gitreg("rollback", "adder", "production", "--apply"))
    assert got("production") == "5"
    assert gto_stages(workshop.root) == {"staging": "1.0.1", "production": "1.0.0"}
    done = workshop.gitreg("rollback", "adder", "production", "--apply")
    assert done.returncode == 1
    assert "no earlier version in production to go back to" in done.stderr
    ok(workshop.gitreg("demote", "adder", "production", "--apply"))
    assert gto_stages(workshop.root) == {"staging": "1.0.1"}
    ok(workshop.gitreg("rollback", "adder", "production", "--to", "1.0.1", "--apply"))
    assert got("production") == "7"
    seen = run("git", "ls-remote", "--tags", "--refs", bare, cwd=tmp_path).stdout.count("refs/tags/adder")
    assert seen == len(tags(workshop))


def test_several_models_in_one_promotion(workshop: Workshop) -> None:
    for name in ("one", "two"):
        folder = workshop.root / "models" / name
        workshop.manifest(name, name=name, type="custom", model_class=None, code=None, artifact=None)
        (folder / "samples.json").write_text('[{"x": [1, 2]}]')
    workshop.commit()
    ok(workshop.gitreg("apply"))
    said = json.loads(ok(workshop.gitreg("promote", "one@1.0.0", "two", "staging", "--json")))
    assert [c["model"] for c in said["changes"]] == ["one", "two"]
    assert said["message"].startswith("Promote one 1.0.0, two 1.0.0 to staging\n")
    ok(workshop.gitreg("promote", "one", "two", "staging", "--apply"))
    assert {"one#staging#1", "two#staging#1"} < set(tags(workshop))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["promote", "addr", "staging"], "there is no model 'addr' (did you mean 'adder'?)"),
        (["promote", "adder@1.0.9", "staging"], "adder@1.0.9 is not registered"),
        (["promote", "adder", "stagin"], "registry.yaml has no stage 'stagin' (did you mean 'staging'?)"),
        (["promote", "adder#production", "staging"], "no version of adder is in production"),
        (["demote", "adder", "production"], "adder is not in production"),
        (["rollback", "adder", "production"], "there never was one"),
        (["rollback", "adder", "production", "--to", "9.0.0"], "9.0.0 was never in production"),
        (["promote", "adder", "staging", "--push"], "there is no remote to push to"),
        (["promote", "adder", "staging", "--branch=-x"], "cannot be the name of a branch"),
        (["promote", "adder", "staging", "--branch", "a..b"], "cannot be the name of a branch"),
        (["promote", "adder", "staging", "--branch", "HEAD"], "cannot be the name of a branch"),
        (["promote", "adder", "staging", "--branch", "@"], "cannot be the name of a branch"),
        (["promote", "adder", "staging", "--branch", "refs/heads/x"], "cannot be the name of a branch"),
        (["promote", "adder", "staging", "--branch", "MAIN"], "differs from the branch main in the case"),
        (["promote", "models:/adder/7", "staging"], "1 registered version"),
    ],
)
def test_what_cannot_be_promoted_says_what_there_is(
    workshop: Workshop, arguments: list[str], words: str
) -> None:
    ok(workshop.gitreg("apply"))
    done = workshop.gitreg(*arguments)
    assert done.returncode == 1, done.stderr
    assert words in done.stderr
    assert "hint: " in done.stderr or "7" in arguments[1]


def test_ids_are_names_that_never_change(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    registry = Registry(workshop.root)
    model, version = registry.resolve("adder@1.0.0")
    assert registry.resolve(version.id)[1] == registry.resolve("models:/adder/1")[1] == version
    assert registry.resolve(model.id)[1].version == "1.0.0"
    next_version(workshop, 7)
    assert registry.resolve(version.id)[1].version == "1.0.0"
    assert registry.resolve(model.id)[1].version == "1.0.1"
    ok(workshop.gitreg("promote", version.id, "staging", "--apply"))
    assert registry.resolve("adder#staging")[1].version == "1.0.0"
    with pytest.raises(GitregError, match="no versions have this id"):
        registry.resolve("v_0000000")


def test_predict_asks_the_version_that_is_in_a_stage(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    ok(workshop.gitreg("promote", "adder", "staging", "--apply"))
    next_version(workshop, 100)
    assert "y = [101, 102]" in ok(workshop.gitreg("predict", "adder"))
    assert "y = [6, 7]" in ok(workshop.gitreg("predict", "adder#staging"))
    assert "y = [6, 7]" in ok(workshop.gitreg("predict", "models:/adder/1"))


def test_a_registry_without_dvc_promotes_images(workshop: Workshop) -> None:
    """Its models have no artifacts, so nobody ever said `dvc init`."""
    shutil.rmtree(workshop.root / ".dvc")
    shutil.rmtree(workshop.adder)
    (workshop.root / "dvc.yaml").unlink()
    image = f"ghcr.io/acme/net@sha256:{'0' * 64}"
    file = workshop.root / "models" / "net" / "model.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"name": "net", "version": "1.0.0", "type": "image", "image": image}))
    workshop.commit("an image")
    assert workshop.gitreg("apply").returncode == 0
    (workshop.root / "notes.txt").write_text("later")
    workshop.commit("later")
    for stage in ("staging", "production"):
        done = workshop.gitreg("promote", "net@1.0.0", stage, "--apply")
        assert done.returncode == 0, done.stderr
    assert workshop.gitreg("build", "net#production", "--format", "raw").returncode == 0


def test_a_version_that_is_deregistered_under_its_stages_leaves_a_way_out(workshop: Workshop) -> None:
    policy(workshop, {})
    ok(workshop.gitreg("apply"))
    for stage in ("staging", "production"):
        ok(workshop.gitreg("promote", "adder", stage, "--apply"))
    run(*GTO, "deprecate", "adder", "v1.0.0", cwd=workshop.root)
    done = workshop.gitreg("check")
    assert done.returncode == 1 and "version: adder@1.0.0 was deregistered on " in done.stderr
    for stage in ("staging", "production"):
        cure = f"gitreg demote adder {stage}, or promote another version"
        assert f"adder: adder@1.0.0 was deregistered: {cure}" in done.stderr
    ok(workshop.gitreg("bump", "adder"))
    workshop.commit()
    ok(workshop.gitreg("register", "adder"))
    ok(workshop.gitreg("promote", "adder", "staging", "--apply"))
    ok(workshop.gitreg("demote", "adder", "production", "--apply"))
    assert "nothing to do" in ok(workshop.gitreg("apply"))
    ok(workshop.gitreg("check"))


def test_check_says_what_a_plan_would_say_of_stage_files(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    (workshop.root / "stages" / "staging.yaml").write_text("adder: 9.9.9\n")
    (workshop.root / "stages" / "production.yaml").write_text("addr: 1.0.0\n")
    (workshop.root / "stages" / "archived.yaml").write_text("adder: latest\n")
    done = workshop.gitreg("check")
    assert done.stderr.splitlines()[:-1] == [
        "stages/production.yaml:1:1: addr: there is no model 'addr' (did you mean 'adder'?)",
        "stages/staging.yaml:1:8: adder: adder@9.9.9 is not registered; registered: 1.0.0",
    ]
    # A model whose manifest is gone keeps its versions, and they their stages.
    (workshop.root / "stages" / "production.yaml").write_text("adder: 1.0.0\n")
    (workshop.root / "stages" / "staging.yaml").write_text("{}\n")
    (workshop.root / "stages" / "archived.yaml").write_text("{}\n")
    run("git", "rm", "-rq", "models/adder", cwd=workshop.root)
    (workshop.root / "dvc.yaml").unlink()
    ok(workshop.gitreg("check"))


def test_a_promotion_says_what_else_it_registers(workshop: Workshop) -> None:
    ok(workshop.gitreg("apply"))
    new_artifact(workshop, 7)
    ok(workshop.gitreg("bump", "adder"))
    workshop.commit()
    assert "the merge would register adder@1.0.1" in ok(workshop.gitreg("promote", "adder", "staging"))
    said = ok(workshop.gitreg("promote", "adder", "staging", "--apply"))
    assert "    register adder@1.0.1\n" in said and "2 tags written" in said


@pytest.mark.skipif(shutil.which("gh") is None and not IN_CI, reason="no gh on PATH: apt-get install gh")
def test_a_pull_request_that_gh_cannot_open_leaves_its_branch_pushed(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub's own command, to which nobody is logged in here."""
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "GH_HOST"):
        monkeypatch.delenv(name, raising=False)
    bare = tmp_path / "github.com" / "acme" / "models.git"
    run("git", "init", "-q", "--bare", "-b", "main", bare, cwd=tmp_path)
    run("git", "remote", "add", "origin", bare, cwd=workshop.root)
    run("git", "push", "-qu", "origin", "main", cwd=workshop.root)
    ok(workshop.gitreg("apply", "--push"))
    for _ in range(2):
        done = workshop.gitreg("promote", "adder", "staging", "--push")
        assert done.returncode == 4 and "gh auth login" in done.stderr, done.stderr
        assert "hint: the branch promote/adder-1.0.0-staging is pushed: gh auth status" in done.stderr
        heads = run("git", "branch", "--list", "promote/*", "--format=%(refname:short)", cwd=bare).stdout
        assert heads == "promote/adder-1.0.0-staging\n"
