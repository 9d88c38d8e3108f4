"""The JSON Schemas say the same to everybody: held against a second validator and a second YAML reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from gitreg.documents import parse
from gitreg.manifest import _validator, schema_folder

HERE = Path(__file__).parent
OWN = HERE.parent
KINDS = ("model", "registry", "stage")

# Row A2 of the mission, in gitreg's spelling; custom Python code is `custom-python`, any other `custom`.
DECLARABLE = [
    "tensorflow",
    "mxnet",
    "caffe",
    "spark-mllib",
    "scikit-learn",
    "xgboost",
    "image",
    "pytorch",
    "template",
    "custom",
    "custom-python",
]


def schema(kind: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((schema_folder() / f"{kind}.schema.json").read_text())
    return data


def kind_of(file: Path) -> str | None:
    if file.parent.name == "stages":
        return "stage"
    return {"model.yaml": "model", "registry.yaml": "registry"}.get(file.name)


def files_of(*roots: Path) -> list[Path]:
    found = (file for root in roots for file in root.rglob("*.yaml") if kind_of(file))
    return sorted(file.relative_to(OWN) for file in found)


SAMPLES = files_of(HERE / "samples")
OWN_FILES = [Path("registry.yaml"), *files_of(OWN / "models", OWN / "stages")]
READABLE = [f for f in SAMPLES if not parse((OWN / f).read_bytes(), "")[1]]


def mistakes(kind: str, data: Any) -> set[tuple[str | int, ...]]:
    return {tuple(error.absolute_path) for error in _validator(kind).iter_errors(data)}


def foreign_mistakes(kind: str, data: Any) -> set[tuple[str | int, ...]]:
    validator = jsonschema_rs.Draft202012Validator(schema(kind))
    return {tuple(error.instance_path) for error in validator.iter_errors(data)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_valid_2020_12_for_both_validators(kind: str) -> None:
    assert schema(kind)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema(kind))
    assert jsonschema_rs.meta.is_valid(schema(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_needs_no_other_file(kind: str) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, list):
            return [r for one in node for r in references(one)]
        if not isinstance(node, dict):
            return []
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [r for one in node.values() for r in references(one)]

    assert [r for r in references(schema(kind)) if not r.startswith("#/$defs/")] == []


@pytest.mark.parametrize("file", SAMPLES, ids=str)
def test_a_second_validator_finds_the_same_mistakes(file: Path) -> None:
    document, unreadable = parse((OWN / file).read_bytes(), file.name)
    kind = kind_of(file)
    assert kind
    if not unreadable:
        assert foreign_mistakes(kind, document.data) == mistakes(kind, document.data)
    if "good-" in str(file):
        assert not unreadable and mistakes(kind, document.data) == set()


@pytest.mark.parametrize("file", OWN_FILES, ids=str)
def test_both_validators_accept_this_repositorys_own_registry(file: Path) -> None:
    document, unreadable = parse((OWN / file).read_bytes(), file.name)
    kind = kind_of(file)
    assert kind and not unreadable
    assert mistakes(kind, document.data) == foreign_mistakes(kind, document.data) == set()


@pytest.mark.parametrize("file", [*READABLE, *OWN_FILES], ids=str)
def test_a_second_yaml_reader_reads_the_same_data(file: Path) -> None:
    raw = (OWN / file).read_bytes()
    assert parse(raw, file.name)[0].data == YAML(typ="safe", pure=True).load(raw)


def test_samples_exist_for_mistakes_that_only_a_schema_finds() -> None:
    wrong = [f for f in READABLE if mistakes(kind_of(f) or "", parse((OWN / f).read_bytes(), "")[0].data)]
    assert {kind_of(f) for f in wrong} == set(KINDS)


@pytest.mark.parametrize("type_", DECLARABLE)
def test_every_model_type_is_declarable(type_: str) -> None:
    said = {"name": "churn", "version": "1.0.0", "type": type_}
    if type_ == "custom-python":
        side = [{"name": "x", "data_type": "float", "shape": [1]}]
        said |= {"model_class": "a.B", "artifact": "a", "schema": {"inputs": side, "outputs": side}}
    said |= {"image": "a/b@sha256:" + "0" * 64} if type_ == "image" else {}
    said |= {"template": {}} if type_ == "template" else {}
    assert mistakes("model", said) == foreign_mistakes("model", said) == set()


def test_every_property_is_described_by_a_type_a_reference_or_a_choice() -> None:
    for kind in KINDS:
        for name, rule in schema(kind).get("properties", {}).items():
            assert {"type", "$ref", "enum", "anyOf"} & set(rule), f"{kind}: {name}"
