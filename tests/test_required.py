"""`require` in registry.yaml: what a team insists on is there, and says something."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gitreg.manifest import model_schema
from gitreg.required import is_nothing, lacking, says_nothing, unknown
from tests.support import Workshop, run

KNOWN = ["card", "lineage", "lineage.data", "lineage.data.md5", "lineage.environment.packages.numpy"]
KNOWN += ["metrics.accuracy", "metrics.test.auc", "params.seed", "tags.domain", "schema.inputs.description"]
KNOWN += ["release.tags.ticket", "artifact.url", "triton.anything", "owners"]
UNKNOWN = [
    ("crad", "a manifest has no field 'crad' (did you mean 'card'?)"),
    ("lineage.dta", "'lineage' has no field 'dta' (did you mean 'data'?)"),
    ("lineage.zzz", "'lineage' has no field 'zzz' (known: code, data, environment, run, source, template)"),
    ("lineage.data.urll", "'data' has no field 'urll' (did you mean 'url'?)"),
    ("description.en", "'description' has no field 'en'"),
    ("metrics.", "'metrics' has no field ''"),
    ("", "a manifest has no field ''"),
]


@pytest.mark.parametrize("requirement", KNOWN)
def test_fields_that_a_manifest_may_have(requirement: str) -> None:
    assert unknown(requirement, model_schema()) is None


@pytest.mark.parametrize(("requirement", "why"), UNKNOWN)
def test_fields_that_no_manifest_has(requirement: str, why: str) -> None:
    assert unknown(requirement, model_schema()) == why


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "TODO",
        "todo.",
        "<fill in>",
        "...",
        "TBD",
        "n/a",
        "?",
        "0000000",
        "Say in a sentence what a predicts.",
        None,
        {},
        [],
        [""],
        {"a": "TODO"},
        float("nan"),
        float("inf"),
    ],
)
def test_placeholders_are_nothing(value: Any) -> None:
    assert is_nothing(value)


@pytest.mark.parametrize("value", [0, 0.0, False, "0", "3", "Na+ channels", ["a"], {"a": 0}, "to do or not"])
def test_values_are_something(value: Any) -> None:
    assert not is_nothing(value)


def test_every_entry_of_a_list_must_have_the_field() -> None:
    said = {"lineage": {"data": [{"name": "a", "md5": "1"}, {"name": "b"}]}, "metrics": {"test.auc": 1.0}}
    assert list(lacking(said, "lineage.data.md5")) == [(("lineage", "data", 1, "md5"), False)]
    assert list(lacking(said, "metrics.test.auc")) == []
    assert list(lacking({"metrics": {"test": {"auc": 0.0}}}, "metrics.test.auc")) == []


@pytest.mark.parametrize(
    ("text", "nothing"),
    [
        ("", True),
        ("# Card\n\n<!-- say it -->\n- TODO\n", True),
        ("---\nx: 1\n---\n# A\n", True),
        ("# Card\n\nIt adds.\n", False),
        ("# Card\n<!-- a -->\n<!-- b\nc --> \n", True),
        ("# Card\n<!-- a --> It adds. <!-- b -->\n", False),
        ("<!-- what is not closed is shown", False),
        ("<!---->" * 50_000, True),
        ("<!--" * 50_000 + "x", False),
    ],
)
def test_cards(text: str, nothing: bool) -> None:
    assert says_nothing(text) == nothing


def require(shop: Workshop, *fields: str) -> None:
    file = shop.root / "registry.yaml"
    file.write_text(file.read_text() + f"require: {json.dumps(fields)}\n")


def test_check_refuses_what_lacks_what_is_required(workshop: Workshop) -> None:
    require(workshop, "card", "lineage.data", "metrics.accuracy", "description", "params.seed")
    (workshop.adder / "README.md").write_text("# The adder\n")
    (workshop.adder / "metrics.json").write_text('{"mae": 1, "accuracy": NaN}')
    workshop.manifest(card="README.md", metrics="metrics.json", description="TODO", params={"seed": 0})
    done = workshop.gitreg("check")
    assert done.returncode == 1
    file = "models/adder/model.yaml"
    number, *said = done.stderr.splitlines()
    assert number == "models/adder/metrics.json:1:24: NaN is not a finite number"
    assert [
        line.split(": ", 1)[1].partition(", and registry.yaml requires it: ")[::2] for line in said[:4]
    ] == [
        ("lineage.data: is missing", "gitreg trace adder --data PATH"),
        (
            "card: 'models/adder/README.md' says nothing yet",
            "as card: README.md, a file that says what the model is for",
        ),
        (
            "metrics.accuracy: nan in 'models/adder/metrics.json' is a placeholder",
            "gitreg evaluate adder --data FILE --metric accuracy --write",
        ),
        ("description: 'TODO' is a placeholder", "as description: one sentence on what it predicts"),
    ]
    assert [line.partition(": ")[0].rpartition(":")[0].rpartition(":")[0] for line in said[:4]] == [file] * 4

    (workshop.adder / "README.md").write_text("# The adder\n\nAdds.\n")
    (workshop.adder / "metrics.json").write_text('{"mae": 1, "accuracy": 0.5}')
    data = [{"name": "numbers", "url": "s3://data/numbers"}]
    workshop.manifest(
        card="README.md",
        metrics="metrics.json",
        description="Adds.",
        params={"seed": 0},
        lineage={"data": data},
    )
    assert workshop.gitreg("check").stdout == "ok: 1 model\n"
    (workshop.adder / "README.md").write_text("TODO\n")
    assert workshop.gitreg("check").returncode == 1


def test_check_of_a_pull_request_asks_it_too(workshop: Workshop) -> None:
    require(workshop, "license")
    workshop.manifest(license="Apache-2.0")
    workshop.commit("required")
    run("git", "checkout", "-qb", "topic", cwd=workshop.root)
    workshop.manifest()
    workshop.commit("no license")
    done = workshop.gitreg("check", "--base", "main", "--no-run")
    assert done.returncode == 1
    assert "license: is missing, and registry.yaml requires it: as license: Apache-2.0" in done.stderr


def test_a_requirement_that_nothing_can_meet_is_an_error_of_registry_yaml(workshop: Workshop) -> None:
    require(workshop, "lineage.dta")
    for words in (("check",), ("check", "--base", "HEAD", "--no-run")):
        done = workshop.gitreg(*words)
        assert done.returncode == 1
        assert "require[0]: 'lineage' has no field 'dta' (did you mean 'data'?)" in done.stderr
        assert "registry.yaml:" in done.stderr


def test_a_password_in_the_lineage_is_an_error(workshop: Workshop) -> None:
    source = {"registry": "https://u:pw@h/models.git", "model": "a", "version": "1.0.0"}
    workshop.manifest(lineage={"data": [{"name": "a", "url": "https://u:pw@h/x"}], "source": source})
    done = workshop.gitreg("check")
    assert done.returncode == 1
    assert (
        "lineage.source.registry: holds a password, a token or a signature; write https://h/models.git"
        in (done.stderr)
    )
    assert "lineage.data[0].url: holds a password, a token or a signature; write https://h/x" in done.stderr
