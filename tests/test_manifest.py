"""Manifests: every problem of every file in one run, each with its place. Samples are in tests/samples."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from gitreg.errors import GitregError
from gitreg.inside import contain
from gitreg.manifest import find_root, read_manifest
from gitreg.registry import Registry
from tests.support import write_manifest

SAMPLES = Path(__file__).parent / "samples"
REGISTRY = "registry: samples\nstages: {staging: {}, production: {}}\n"


def problems_in(root: Path) -> list[str]:
    """What `check` says; a sample with no registry.yaml gets an ordinary one."""
    if not (root / "registry.yaml").exists():
        (root / "registry.yaml").write_text(REGISTRY)
    try:
        return [str(p) for p in Registry(root).check().problems]
    except GitregError as error:
        return error.message.splitlines()


def copied(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / sample.name))


def manifest(root: Path, **said: Any) -> list[str]:
    """The problems of a small manifest in models/churn."""
    data = {"name": "churn", "version": "1.0.0", "type": "custom", **said}
    file = root / "models" / "churn" / "model.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in data.items()))
    return problems_in(root)


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("bad-*")), ids=lambda sample: sample.name)
def test_a_bad_sample_has_exactly_its_expected_problems(sample: Path, tmp_path: Path) -> None:
    found = problems_in(copied(sample, tmp_path))
    assert found == (sample / "expected.txt").read_text().splitlines()


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("good-*")), ids=lambda sample: sample.name)
def test_a_good_sample_has_no_problems(sample: Path, tmp_path: Path) -> None:
    assert problems_in(copied(sample, tmp_path)) == []


def test_a_manifest_becomes_a_model_with_paths_from_the_root(tmp_path: Path) -> None:
    root = copied(SAMPLES / "good-everything", tmp_path)
    found = read_manifest(root, "models/risk/churn/model.yaml").manifest
    assert found and found.schema
    assert (found.name, found.version, found.folder) == ("churn", "1.2.0-rc.1", "models/risk/churn")
    assert found.description == "Probability that a customer leaves within 30 days."
    assert (found.code, found.card) == (("models/risk/churn/src",), "models/risk/churn/README.md")
    assert found.tags == {
        "domain": "billing",
        "rank": 3,
        "score": 0.5,
        "live": True,
        "off": "no",
        "none": None,
    }
    assert found.params == {
        "learning_rate": 0.001,
        "layers": [16, 16],
        "seed": 42,
        "name": "on",
        "deep": {"a": None},
    }
    assert [(i.name, i.data_type.value, i.shape, i.optional) for i in found.schema.input_schema] == [
        ("x", "float", [4, -1], None),
        ("note", "string", [1], True),
    ]


def test_a_text_that_is_too_long_is_told_how_long_it_may_be(tmp_path: Path) -> None:
    assert manifest(tmp_path, description="x" * 5_000) == [
        "models/churn/model.yaml:4:14: description: has 5,000 characters; at most 4,000 are allowed"
    ]


def test_a_huge_manifest_is_refused_without_being_read(tmp_path: Path) -> None:
    manifest(tmp_path)
    file = tmp_path / "models" / "churn" / "model.yaml"
    os.truncate(file, 64 << 30)  # sparse; reading it would take more memory than there is
    assert problems_in(tmp_path) == [
        "models/churn/model.yaml: 68,719,476,736 bytes; a YAML file of a registry has at most 1,048,576"
    ]


def test_an_empty_manifest_is_one_problem(tmp_path: Path) -> None:
    manifest(tmp_path)
    (tmp_path / "models" / "churn" / "model.yaml").write_text("")
    assert problems_in(tmp_path) == ["models/churn/model.yaml:1:1: expected a mapping, got nothing"]


def test_a_folder_called_model_yaml_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "models" / "churn" / "model.yaml").mkdir(parents=True)
    assert problems_in(tmp_path) == ["models/churn/model.yaml: cannot be read: Is a directory"]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Somebody else's folder, beside a registry in `tmp_path / "registry"`."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("secret")
    (tmp_path / "registry" / "models" / "churn").mkdir(parents=True)
    return folder


def test_a_symbolic_link_to_a_file_outside_is_refused(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "registry/models/churn/card.md").symlink_to(outside / "secret.txt")
    assert manifest(tmp_path / "registry", card="card.md") == [
        "models/churn/model.yaml:4:7: card: 'card.md' leaves the repository through a symbolic link"
    ]


def test_a_symbolic_link_to_a_folder_outside_is_refused(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "registry/models/churn/far").symlink_to(outside)
    assert manifest(tmp_path / "registry", card="far/secret.txt", code="far", artifact="far/new.bin") == [
        "models/churn/model.yaml:4:7: card: 'far/secret.txt' leaves the repository through a symbolic link",
        "models/churn/model.yaml:5:7: code: 'far' leaves the repository through a symbolic link",
        "models/churn/model.yaml:6:11: artifact: 'far/new.bin' leaves the repository through a symbolic link",
    ]


def test_a_manifest_behind_a_symbolic_link_to_outside_is_refused(tmp_path: Path, outside: Path) -> None:
    write_manifest(outside / "model.yaml", {})
    (tmp_path / "registry/models/far").symlink_to(outside)
    assert problems_in(tmp_path / "registry") == [
        "models/far/model.yaml: 'models/far/model.yaml' leaves the repository through a symbolic link"
    ]


def test_a_symbolic_link_into_gits_own_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "models/churn").mkdir(parents=True)
    (tmp_path / "models/churn/hooks").symlink_to("../../.git")
    assert manifest(tmp_path, code="hooks") == [
        "models/churn/model.yaml:4:7: code: 'hooks' lies in Git's own folder"
    ]


def test_a_symbolic_link_inside_the_repository_is_fine(tmp_path: Path) -> None:
    (tmp_path / "models/churn").mkdir(parents=True)
    (tmp_path / "shared").mkdir()
    (tmp_path / "models/churn/shared").symlink_to("../../shared")
    assert manifest(tmp_path, code="shared") == []


def test_a_registry_that_is_reached_through_a_symbolic_link_is_fine(tmp_path: Path) -> None:
    root = tmp_path / "real"
    assert manifest(root) == []
    (tmp_path / "link").symlink_to(root)
    (root / "models/churn/README.md").write_text("")
    assert manifest(tmp_path / "link", card="README.md") == []
    assert contain(tmp_path / "link", "", "models") == ("models", None)


@pytest.mark.parametrize("text", ["src", "./src/", "a/../src", "../churn/src", "../../models//churn/src"])
def test_paths_that_stay_inside_are_made_plain(tmp_path: Path, text: str) -> None:
    assert contain(tmp_path, "models/churn", text) == ("models/churn/src", None)


def test_names_that_differ_only_in_case_collide() -> None:
    from gitreg.checker import check_names
    from gitreg.declared import Named

    named = [Named("a/model.yaml", "churn"), Named("b/model.yaml", "Churn"), Named("c/model.yaml", "other")]
    (problem,) = check_names(named)
    assert (problem.file, problem.message) == (
        "b/model.yaml",
        "'Churn' differs from 'churn' only in case; that name is taken by a/model.yaml",
    )


def test_a_mistake_in_a_triton_fragment_is_one_line(tmp_path: Path) -> None:
    (problem,) = manifest(tmp_path, triton={"instance_grop": []})
    assert problem.startswith("models/churn/model.yaml:4:")
    assert "instance_grop" in problem
    assert "\n" not in problem


def test_whole_numbers_written_as_floats_are_whole_numbers(tmp_path: Path) -> None:
    sides = {"inputs": [{"name": "x", "data_type": "float", "shape": [4.0]}]}
    sides["outputs"] = sides["inputs"]
    assert manifest(tmp_path, schema=sides, batching={"max_batch_size": 8.0}) == []
    found = read_manifest(tmp_path, "models/churn/model.yaml").manifest
    assert found and found.schema and found.schema.input_schema[0].shape
    assert type(found.schema.input_schema[0].shape[0]) is int  # protobuf takes no float
    assert type(found.batching.max_batch_size) is int


def test_a_dimension_that_no_tensor_has_is_a_problem(tmp_path: Path) -> None:
    sides = {"inputs": [{"name": "x", "data_type": "float", "shape": [10**30]}]}
    sides["outputs"] = sides["inputs"]
    problems = manifest(tmp_path, schema=sides)
    assert [p.partition(": ")[2].partition(":")[0] for p in problems] == [
        "schema.inputs[0].shape[0]",
        "schema.outputs[0].shape[0]",
    ]


@pytest.mark.parametrize("timeout", [".nan", ".inf", "0", "-1", "soon"])
def test_a_time_limit_is_a_positive_number(tmp_path: Path, timeout: str) -> None:
    (tmp_path / "registry.yaml").write_text(f"registry: samples\nbuild: {{timeout: {timeout}}}\n")
    (problem,) = problems_in(tmp_path)
    assert problem.startswith("registry.yaml:2:18: build.timeout: ")


def test_many_wrong_samples_are_told_in_linear_time(tmp_path: Path) -> None:
    side = [{"name": "x", "data_type": "float", "shape": [4]}]
    (tmp_path / "models/churn").mkdir(parents=True)
    samples = [{"x": [1, 2, 3]}] * 600
    (tmp_path / "models/churn/samples.json").write_text(json.dumps(samples, indent=0))
    start = time.perf_counter()
    problems = manifest(tmp_path, schema={"inputs": side, "outputs": side}, sample_data="samples.json")
    assert time.perf_counter() - start < 3  # seconds; work that is quadratic in the samples takes 10
    assert len(problems) == 101 and "more mistakes; the first 100 are listed" in problems[0]
    assert problems[-1].endswith("[99].x: expected float [4], got float [3]")


def test_no_registry_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(GitregError, match=r"no registry\.yaml in .* or above it") as caught:
        find_root(tmp_path)
    assert caught.value.hint == "gitreg init makes a registry here"


def test_the_registry_is_found_from_any_folder_below(tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").touch()
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_root(tmp_path / "a" / "b") == tmp_path.resolve()


def test_hidden_folders_hold_no_manifests(tmp_path: Path) -> None:
    write_manifest(tmp_path / "models" / ".trash" / "model.yaml", {"name": "Bad"})
    assert problems_in(tmp_path) == []
