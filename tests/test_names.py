"""Names, versions and references: the grammar as lists of what is valid and what is not."""

from __future__ import annotations

import pytest

from gitreg.errors import Usage
from gitreg.names import NAME, VERSION, Reference, did_you_mean, kebab, parse_reference

NAMES = ["ab", "churn", "churn-model", "c2", "a--b", "a" * 63, "x0-0x"]
NOT_NAMES = [
    "",
    "a",
    "Churn",
    "churn_model",
    "2churn",
    "-churn",
    "churn-",
    "churn.model",
    "churn model",
    "churn\n",
    "\nchurn",
    "chürn",
    "churn/x",
    "churn@1",
    "a" * 64,
    "ab\u0662",
]
VERSIONS = [
    "0.0.0",
    "1.2.0",
    "10.20.30",
    "1.0.0-rc.1",
    "1.0.0-0",
    "1.0.0-x-y.7.z",
    "1.0.0-01a",
    "999999999.0.0",
]
NOT_VERSIONS = [
    "",
    "1",
    "1.0",
    "1.0.0.0",
    "v1.0.0",
    "01.0.0",
    "1.00.0",
    "1.0.0-01",
    "1.0.0-",
    "1.0.0-a..b",
    "1.0.0+build",
    "1.0.0\n",
    " 1.0.0",
    "1.0.x",
    "-1.0.0",
    "1\u0662.0.0",
    "1.0.0-\u0662",
    "latest",
]
REFERENCES = {
    "churn": Reference("churn"),
    "churn@latest": Reference("churn"),
    "churn@1.2.0": Reference("churn", "1.2.0"),
    "churn@1.0.0-rc.1": Reference("churn", "1.0.0-rc.1"),
    "churn#production": Reference("churn", stage="production"),
}
NOT_REFERENCES = [
    "",
    "@1.0.0",
    "#production",
    "Churn",
    "churn@",
    "churn#",
    "churn@3",
    "churn@1.0",
    "churn@v1.0.0",
    "churn@Latest",
    "churn#Production",
    "churn#production#4",
    "churn#production@1.0.0",
    "churn@1.0.0#production",
    "churn@1.0.0\n",
    "models:/churn/3",
    "churn@\u0663",
    "churn@1.\u0663.0",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name(name: str) -> None:
    assert NAME.match(name)


@pytest.mark.parametrize("name", NOT_NAMES)
def test_not_a_name(name: str) -> None:
    assert not NAME.match(name)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version(version: str) -> None:
    assert VERSION.match(version)


@pytest.mark.parametrize("version", NOT_VERSIONS)
def test_not_a_version(version: str) -> None:
    assert not VERSION.match(version)


@pytest.mark.parametrize(("text", "meant"), REFERENCES.items())
def test_a_reference(text: str, meant: Reference) -> None:
    assert parse_reference(text) == meant
    assert parse_reference(str(meant)) == meant


@pytest.mark.parametrize("text", NOT_REFERENCES)
def test_not_a_reference(text: str) -> None:
    with pytest.raises(Usage):
        parse_reference(text)


def test_an_ordinal_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(Usage, match="an ordinal does not name a version here") as caught:
        parse_reference("churn@3")
    assert caught.value.hint == "write a version, as churn@1.0.0"


def test_did_you_mean_names_the_closest_or_nothing() -> None:
    assert did_you_mean("flot", ["float", "double", "int"]) == " (did you mean 'float'?)"
    assert did_you_mean("colour", ["name", "type"]) == ""


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("Churn", "churn"),
        ("ChurnModel", "churn-model"),
        ("HTTPServer", "http-server"),
        ("ResNet50V2", "res-net50-v2"),
        ("churn_model", "churn-model"),
        ("_Private", "private"),
    ],
)
def test_a_class_name_suggests_a_model_name(class_name: str, name: str) -> None:
    assert kebab(class_name) == name
