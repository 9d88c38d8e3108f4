"""PMML: from `new` to a real Triton, read without entities (rows C7, M8)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gitreg.isolated.flavors.pmml import Pmml
from tests.flavored import is_verified, raw_answers, same, shop_with, triton, triton_answers
from tests.support import Workshop, needs_triton

HEAD = '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>'
TREE = """<?xml version="1.0"?>
{head}<DataDictionary>
  <DataField name="age" optype="continuous" dataType="double"/>
  <DataField name="city of birth" optype="categorical" dataType="string">
    <Value value="Bonn"/><Value value="Kyiv"/></DataField>
  <DataField name="stays" optype="categorical" dataType="string"><Value value="yes"/><Value value="no"/></DataField>
</DataDictionary>
<TreeModel functionName="classification">
  <MiningSchema><MiningField name="age"/><MiningField name="city of birth"/>
    <MiningField name="stays" usageType="target"/></MiningSchema>
  <Output>
    <OutputField name="stays (predicted)" optype="categorical" dataType="string" feature="predictedValue"/>
    <OutputField name="probability(yes)" optype="continuous" dataType="double" feature="probability" value="yes"/>
  </Output>
  <Node score="no"><True/>
    <Node score="yes" recordCount="10"><CompoundPredicate booleanOperator="and">
        <SimplePredicate field="age" operator="greaterThan" value="40"/>
        <SimplePredicate field="city of birth" operator="equal" value="Bonn"/></CompoundPredicate>
      <ScoreDistribution value="yes" recordCount="9"/><ScoreDistribution value="no" recordCount="1"/></Node>
    <Node score="no" recordCount="10"><True/>
      <ScoreDistribution value="yes" recordCount="2"/><ScoreDistribution value="no" recordCount="8"/></Node>
  </Node>
</TreeModel></PMML>
""".replace("{head}", HEAD)
REGRESSION = f"""{HEAD}<DataDictionary>
  <DataField name="a" optype="continuous" dataType="float"/>
  <DataField name="n" optype="continuous" dataType="integer"/>
  <DataField name="y" optype="continuous" dataType="double"/></DataDictionary>
<RegressionModel functionName="regression">
  <MiningSchema><MiningField name="a" missingValueReplacement="0.5"/><MiningField name="n"/>
    <MiningField name="y" usageType="target"/></MiningSchema>
  <RegressionTable intercept="1"><NumericPredictor name="a" coefficient="2"/>
    <NumericPredictor name="n" coefficient="10"/></RegressionTable>
</RegressionModel></PMML>
"""
PEOPLE = [{"age": [50.0], "city_of_birth": ["Bonn"]}, {"age": [50.0], "city_of_birth": ["Kyiv"]}]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    place = tmp_path_factory.mktemp("pmml")
    (place / "tree.pmml").write_text(TREE)
    (place / "people.json").write_text(json.dumps(PEOPLE))
    arguments = ["--from", place / "tree.pmml", "--samples", place / "people.json"]
    return shop_with(place / "registry", {"tree": arguments})


def test_a_tree_over_text_and_numbers(shop: Workshop) -> None:
    first, second = raw_answers(shop, "tree")
    assert first["stays__predicted_"].tolist() == ["yes"] and second["stays__predicted_"].tolist() == ["no"]
    np.testing.assert_allclose([first["probability_yes_"], second["probability_yes_"]], [[0.9], [0.2]])
    is_verified(shop, "tree")


@needs_triton
def test_triton_answers_the_same(shop: Workshop) -> None:
    with triton(shop) as client:
        same(triton_answers(client, shop, "tree"), raw_answers(shop, "tree"))


def test_a_batch_and_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_text(REGRESSION)
    settings = {"inputs": [], "outputs": [], "options": {}, "trust": [], "batched": True}
    model = Pmml(str(tmp_path / "r.xml"), settings)
    said = model.describe()
    assert [(one["name"], one["data_type"]) for one in said["inputs"]] == [("a", "float"), ("n", "long")]
    assert [one["data_type"] for one in said["outputs"]] == ["double"]
    inputs = {"a": np.array([[1.0], [np.nan]], np.float32), "n": np.array([[2], [3]])}
    (answer,) = model.predict(inputs).values()
    assert answer.ravel().tolist() == [23.0, 32.0]


BOMB = (
    "<!DOCTYPE PMML ["
    + '<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {n} "{f"&{m};" * 10}">' for m, n in zip("abcdefghi", "bcdefghij", strict=True))
    + "]>"
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TREE[: len(TREE) // 2], "not well-formed"),
        ("", "not well-formed"),
        (BOMB + REGRESSION.replace('"a"', '"&j;"'), "DOCTYPE"),
        (
            '<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
            + REGRESSION.replace("<Header/>", "<Header>&x;</Header>"),
            "DOCTYPE",
        ),
        (REGRESSION.replace("RegressionModel", "NoSuchModel"), "NoSuchModel"),
    ],
)
def test_a_file_that_is_broken_or_hostile_is_refused(
    workshop: Workshop, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "m.pmml").write_text(text)
    done = workshop.gitreg("new", "bad", "--from", tmp_path / "m.pmml", "--type", "pmml")
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert not (workshop.root / "models" / "bad").exists()


WITHOUT = """
import sys
from gitreg.isolated.flavors.pmml import Pmml
model = Pmml(sys.argv[1], {"inputs": [], "outputs": [], "options": {}, "trust": [], "batched": True})
print([one["name"] for one in model.describe()["inputs"]])
"""


def test_a_machine_without_java_uses_the_one_that_pip_installed(tmp_path: Path) -> None:
    (tmp_path / "m.pmml").write_text(REGRESSION)
    environment = {k: v for k, v in os.environ.items() if k not in ("JAVA_HOME", "PATH")}
    environment["PATH"] = str(Path(sys.executable).parent)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, tmp_path / "m.pmml"], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "['a', 'n']\n", done.stderr


def test_a_tree_in_a_sandbox(shop: Workshop) -> None:
    """Java, which JPype starts in the process of the model, finds what it needs there."""
    before = shop.gitreg("predict", "tree", "--json")
    file = shop.root / "registry.yaml"
    plain = file.read_text()
    file.write_text(plain + "build: {sandbox: true}\n")
    try:
        done = shop.gitreg("predict", "tree", "--json")
    finally:
        file.write_text(plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout == before.stdout
