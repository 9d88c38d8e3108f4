"""`gitreg convert`: models as ONNX, held against the original's answers to the samples (row C8)."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import Registry
from gitreg.isolated.converters import to_onnx
from gitreg.isolated.flavors import DTYPES
from gitreg.isolated.flavors.onnx import Onnx
from tests.flavored import declared
from tests.support import Workshop, make_registry

FOUR = [{"x": [1.0, 2.0, 3.0, 4.5]}, {"x": [-1.0, 0.0, 0.5, 0.0]}]
PEOPLE = [
    {"age__years_": [41.5], "visits": [3], "city": ["a"]},
    {"age__years_": [20.0], "visits": [0], "city": ["b"]},
]
NET = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 3)

    def forward(self, x):
        return {"best": self.first(x).argmax(1), "scores": self.first(x)}
"""


def numbers() -> Any:
    return np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A registry with a pipeline over a data frame, not yet built."""
    import pandas
    import skops.io
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    place = tmp_path_factory.mktemp("convert")
    dice = np.random.default_rng(1)
    age, visits, city = dice.normal(40, 10, 80), dice.integers(0, 9, 80), dice.choice(["a", "b"], 80)
    frame = pandas.DataFrame({"age (years)": age, "visits": visits, "city": city})
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("n", numbers, ["age (years)", "visits"]), ("c", OneHotEncoder(), ["city"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, np.where(age > 40, "old", "young"))
    skops.io.dump(model, place / "people.skops")
    (place / "s.json").write_text(json.dumps(PEOPLE))
    make_registry(place / "registry")
    shop = Workshop(place / "registry")
    asked = ["--from", place / "people.skops", "--samples", place / "s.json", "--description", "Whether old."]
    added = shop.gitreg("new", "people", *asked)
    assert added.returncode == 0, added.stderr
    return shop


def test_a_pipeline_becomes_a_model_with_its_lineage(made: Workshop) -> None:
    done = made.gitreg("convert", "people", "--to", "onnx", "--name", "people-onnx", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["name"] == "people-onnx" and said["samples"] == 2
    label, chances = said["outputs"]
    assert label == {"name": "label", "values": 2, "unlike": 0, "absolute": None, "relative": None}
    assert chances["values"] == 4 and 0 <= chances["absolute"] < 1e-5
    schema = (
        "age__years_ float [1], visits long [1], city string [1] -> label string [1], probabilities float [2]"
    )
    assert declared(made, "people-onnx") == schema
    manifest = next(m for m in Registry(made.root).manifests() if m.name == "people-onnx")
    assert manifest.type == "onnx" and manifest.lineage["source"]["model"] == "people"
    assert manifest.lineage["source"]["digest"].startswith("sha256:")
    again = made.gitreg("convert", "people", "--to", "onnx", "--name", "people-onnx")
    assert again.returncode == 1 and "there is a model 'people-onnx' already" in again.stderr
    check = made.gitreg("check", "people-onnx")
    assert check.returncode == 0, check.stderr


def test_a_file_appears_only_when_the_answers_are_the_same(made: Workshop, tmp_path: Path) -> None:
    done = made.gitreg(
        "convert", "people", "--to", "onnx", "-o", tmp_path / "off.onnx", "--rtol", "0", "--atol", "0"
    )
    assert done.returncode == 1 and "as ONNX it answers its samples otherwise: probabilities:" in done.stderr
    assert not list(tmp_path.iterdir())
    done = made.gitreg("convert", "people", "--to", "onnx", "-o", tmp_path / "a.onnx", "--opset", "15")
    assert done.returncode == 0 and "largest difference" in done.stdout, done.stderr
    import onnx

    assert {one.version for one in onnx.load(tmp_path / "a.onnx").opset_import if one.domain == ""} == {15}
    before = (tmp_path / "a.onnx").read_bytes()
    done = made.gitreg("convert", "people", "--to", "onnx", "-o", tmp_path / "a.onnx")
    assert done.returncode == 1 and "exists already" in done.stderr
    assert (tmp_path / "a.onnx").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_converted_says_why(made: Workshop, tmp_path: Path) -> None:
    done = made.gitreg("convert", "adder", "--to", "onnx")
    assert done.returncode == 1 and "adder is a class of your own" in done.stderr
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    skops.io.dump(FunctionTransformer(np.arctan), tmp_path / "odd.skops")
    (tmp_path / "s.json").write_text(json.dumps(FOUR))
    asked = ["--from", tmp_path / "odd.skops", "--samples", tmp_path / "s.json"]
    trusted = ["--option", "trusted=[numpy.arctan]"]
    shutil.copytree(made.root, tmp_path / "registry", symlinks=True)
    shop = Workshop(tmp_path / "registry")
    added = shop.gitreg("new", "odd", *asked, *trusted)
    assert added.returncode == 0, added.stderr
    done = shop.gitreg("convert", "odd", "--to", "onnx")
    assert done.returncode == 1 and "could not be converted" in done.stderr, done.stderr
    assert not (shop.root / "odd.onnx").exists()


# Every type, in this process: what the isolated one runs ---------------------------------------


def settings(inputs: dict[str, Any], outputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    def fields(side: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"name": n, "data_type": kind, "shape": shape} for n, (kind, shape) in side.items()]

    base = {"options": {}, "trust": ["pickle"], "batched": True}
    return {"inputs": fields(inputs), "outputs": fields(outputs), **base, **more}


def agrees(model: Any, said: dict[str, Any], file: Path, inputs: dict[str, Any]) -> None:
    """Whether a model that was converted answers a batch as the original does."""
    to_onnx.write(model, str(file), None, [{name: a[:1] for name, a in inputs.items()}])
    other = Onnx(str(file), said)
    one, another = model.predict(inputs), other.predict(inputs)
    assert one.keys() == another.keys()
    for name in one:
        np.testing.assert_allclose(another[name], one[name], rtol=1e-4, atol=1e-5)
    assert [n for n, _, _ in other.known_inputs()] == list(inputs)


def test_boosters(tmp_path: Path) -> None:
    import lightgbm
    import pandas
    import xgboost

    from gitreg.isolated.flavors.lightgbm import Lightgbm
    from gitreg.isolated.flavors.xgboost import Xgboost

    x = numbers()
    three = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    frame = pandas.DataFrame(x[:, :2], columns=["a", "b"])
    xgboost.XGBClassifier(n_estimators=3).fit(x, three).save_model(tmp_path / "three.ubj")
    xgboost.train({}, xgboost.DMatrix(frame, x[:, 2]), 4).save_model(tmp_path / "named.json")
    multi = {"objective": "multiclass", "num_class": 3, "verbose": -1}
    lightgbm.train(multi, lightgbm.Dataset(x, three), 3).save_model(tmp_path / "three.txt")
    for cls, file, kind in ((Xgboost, "three.ubj", "float"), (Lightgbm, "three.txt", "double")):
        said = settings({"x": (kind, [4])}, {"probabilities": (kind, [3]), "label": ("long", [1])})
        agrees(
            cls(str(tmp_path / file), said), said, tmp_path / f"{file}.onnx", {"x": x.astype(DTYPES[kind])}
        )
    said = settings({"b": ("float", [1]), "a": ("float", [1])}, {"prediction": ("float", [1])})
    named = Xgboost(str(tmp_path / "named.json"), said)
    agrees(named, said, tmp_path / "named.onnx", {"a": x[:, :1], "b": x[:, 1:2]})
    said = settings({"x": ("float", [4])}, {"scores": ("float", [3])})
    with pytest.raises(to_onnx.NotConvertible, match="scores of this booster"):
        to_onnx.write(Xgboost(str(tmp_path / "three.ubj"), said), str(tmp_path / "no.onnx"), None, [])
    assert not (tmp_path / "no.onnx").exists()


def test_pytorch_in_all_its_forms(tmp_path: Path) -> None:
    import torch

    from gitreg.isolated.flavors.pytorch import Pytorch

    (tmp_path / "convert_net.py").write_text(NET)
    sys.path.insert(0, str(tmp_path))
    try:
        net = importlib.import_module("convert_net").Net().eval()
    finally:
        sys.path.remove(str(tmp_path))
    torch.save(net.state_dict(), tmp_path / "w.pt")
    rows = {"x": {0: torch.export.Dim("rows")}}
    program = torch.export.export(net, (torch.zeros(2, 4),), dynamic_shapes=rows)
    torch.export.save(program, tmp_path / "p.pt2")
    torch.jit.trace(torch.nn.Linear(4, 3), torch.zeros(1, 4)).save(tmp_path / "s.pt")
    x = {"x": numbers()}
    both = {"scores": ("float", [3]), "best": ("long", [1])}
    said = settings({"x": ("float", [4])}, both, model_class="convert_net.Net")
    agrees(Pytorch(str(tmp_path / "w.pt"), said), said, tmp_path / "w.onnx", x)
    agrees(Pytorch(str(tmp_path / "p.pt2"), said), said, tmp_path / "p.onnx", x)
    said = settings({"x": ("float", [4])}, {"y": ("float", [3])})
    agrees(Pytorch(str(tmp_path / "s.pt"), said), said, tmp_path / "s.onnx", x)
