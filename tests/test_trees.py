"""XGBoost and LightGBM models, from `new` to a real Triton: labels, missing values, names, categories (row C7)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import load_raw_model
from tests.flavored import (
    declared,
    is_verified,
    raw_answers,
    same,
    samples_of,
    shop_with,
    triton,
    triton_answers,
)
from tests.support import Workshop, needs_triton

FOUR = [{"x": [1.0, 2.0, 3.0, 4.5]}, {"x": [-1.0, 0.0, math.nan, 0.0]}]
PEOPLE = [{"age": [41.5], "city": ["a"]}, {"age": [math.nan], "city": ["b"]}]
SAMPLES = {
    "x": FOUR,
    "people": PEOPLE,
    "named": [{"age": [41.5], "height": [1.5]}, {"age": [20.0], "height": [1.9]}],
}


def data() -> tuple[Any, Any, Any]:
    """Four columns of numbers; classes of them; a frame with a column of words."""
    import pandas

    dice = np.random.default_rng(0)
    x = dice.normal(size=(120, 4)).astype(np.float32)
    frame = pandas.DataFrame(
        {"age": dice.normal(40, 10, 120), "city": pandas.Categorical(dice.choice(["a", "b"], 120))}
    )
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0), frame


def make_files(place: Path) -> None:
    import lightgbm
    import pandas
    import xgboost

    x, three, frame = data()
    two = (three > 0).astype(int)
    few: dict[str, Any] = {"n_estimators": 5, "max_depth": 3}
    xgboost.XGBClassifier(**few).fit(x, three).save_model(place / "three.json")
    old = np.where(frame.age + 5 * (frame.city == "a") > 42, 1, 0)
    xgboost.XGBClassifier(**few, enable_categorical=True).fit(frame, old).save_model(place / "people.ubj")
    named = pandas.DataFrame({"age": frame.age, "height": x[:, 0]})
    xgboost.train({"max_depth": 2}, xgboost.DMatrix(named, x[:, 1]), 3).save_model(place / "named.ubj")
    leaves = {"min_data_in_leaf": 2, "verbose": -1}
    lightgbm.train({**leaves, "objective": "binary"}, lightgbm.Dataset(x, two), 4).save_model(
        place / "two.txt"
    )
    lightgbm.train({**leaves, "objective": "binary"}, lightgbm.Dataset(frame, old), 4).save_model(
        place / "old.txt"
    )
    multi = {**leaves, "objective": "multiclass", "num_class": 3}
    lightgbm.train(multi, lightgbm.Dataset(x, three), 3).save_model(place / "multi.txt")
    for name, samples in SAMPLES.items():
        (place / f"{name}.json").write_text(json.dumps(samples))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    place = tmp_path_factory.mktemp("trees")
    make_files(place)
    files = {
        "three": ("three.json", "x"),
        "people": ("people.ubj", "people"),
        "named": ("named.ubj", "named"),
        "old": ("old.txt", "people"),
        "multi": ("multi.txt", "x"),
    }
    added = {
        name: ["--from", place / file, "--samples", place / f"{samples}.json"]
        for name, (file, samples) in files.items()
    }
    return shop_with(place / "registry", added)


@pytest.mark.parametrize(
    ("name", "schema"),
    {
        "three": "x float [4] -> label long [1], probabilities float [3]",
        "people": "age float [1], city string [1] -> label long [1], probabilities float [2]",
        "named": "age float [1], height float [1] -> prediction float [1]",
        "old": "age double [1], city string [1] -> label long [1], probabilities double [2]",
        "multi": "x double [4] -> label long [1], probabilities double [3]",
    }.items(),
)
def test_a_file_says_its_schema_itself(shop: Workshop, name: str, schema: str) -> None:
    assert declared(shop, name) == schema


def test_answers_are_those_of_the_framework(shop: Workshop) -> None:
    import lightgbm
    import pandas
    import xgboost

    place = shop.root.parent
    x = np.array([one["x"] for one in FOUR], np.float32)
    people = pandas.DataFrame(
        {"age": [41.5, math.nan], "city": pandas.Categorical(["a", "b"], categories=["b", "a"])}
    )
    for name, table in (("three.json", x), ("people.ubj", people)):
        model = xgboost.XGBClassifier()
        model.load_model(place / name)
        said = raw_answers(shop, name.partition(".")[0])
        assert [int(one["label"][0]) for one in said] == model.predict(table).tolist()
        np.testing.assert_allclose(
            [one["probabilities"] for one in said], model.predict_proba(table), rtol=1e-5
        )
    for name, table in (("old", people), ("multi", x)):
        value = lightgbm.Booster(model_file=place / f"{name}.txt").predict(table)
        said = raw_answers(shop, name)
        chances = np.stack([one["probabilities"] for one in said])
        np.testing.assert_allclose(chances if name == "multi" else chances[:, 1], value, rtol=1e-9)
        assert [int(one["label"][0]) for one in said] == chances.argmax(axis=1).tolist()


def test_a_batch_is_answered_as_its_rows_are(shop: Workshop) -> None:
    for name in ("three", "people", "named", "old", "multi"):
        model = load_raw_model(shop.root / "dist" / "raw" / name)
        samples = samples_of(shop, name)
        batch = {n: np.stack([one[n] for one in samples]) for n in samples[0]}
        together = model.predict(batch)
        same([{n: a[i] for n, a in together.items()} for i in range(len(samples))], raw_answers(shop, name))


def test_packages_hold_against_their_records(shop: Workshop) -> None:
    for name in ("people", "old"):
        is_verified(shop, name)


@needs_triton
def test_triton_answers_the_same(shop: Workshop) -> None:
    with triton(shop) as client:
        for folder in sorted((shop.root / "dist" / "triton").iterdir()):
            same(triton_answers(client, shop, folder.name), raw_answers(shop, folder.name))


def opened(cls: Any, file: Path, said: dict[str, list[int]] | None = None, **options: Any) -> Any:
    """A model of a flavor's class, with outputs of type float."""
    fields = [{"name": n, "data_type": "float", "shape": s} for n, s in (said or {}).items()]
    settings = {"inputs": [], "outputs": fields, "options": options, "trust": [], "batched": True}
    return cls(str(file), settings)


def test_objectives_decide_what_is_answered(tmp_path: Path) -> None:
    import xgboost

    from gitreg.isolated.flavors.xgboost import Xgboost

    x, three, _ = data()
    two = (three > 0).astype(int)
    for objective, y, outputs in (
        ("binary:hinge", two, {"label": ()}),
        ("binary:logitraw", two, {"scores": ()}),
        ("multi:softmax", three, {"label": (), "probabilities": (3,)}),
        ("reg:squarederror", x[:, :2], {"prediction": (2,)}),
        ("rank:pairwise", two, {"prediction": ()}),
        ("survival:cox", x[:, 0], {"prediction": ()}),
    ):
        param = {"objective": objective, "max_depth": 2, **({"num_class": 3} if three is y else {})}
        booster = xgboost.train(param, xgboost.DMatrix(x, y), 2)
        booster.save_model(tmp_path / "m.ubj")
        model = opened(Xgboost, tmp_path / "m.ubj")
        assert {name: shape[1:] for name, _, shape in model.known_outputs()} == outputs, objective
        said = model.predict({"x": x})
        assert said.keys() == outputs.keys()
        if objective == "multi:softmax":
            assert said["label"].tolist() == booster.predict(xgboost.DMatrix(x)).tolist()


def test_other_questions_to_a_booster(tmp_path: Path, shop: Workshop) -> None:
    import xgboost

    from gitreg.isolated.flavors.lightgbm import Lightgbm
    from gitreg.isolated.flavors.xgboost import Xgboost

    x, three, _ = data()
    two = (three > 0).astype(int)
    stopping = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2)
    stopping.fit(x, two, eval_set=[(-x, two)], verbose=False).save_model(tmp_path / "early.json")
    early = opened(Xgboost, tmp_path / "early.json", {"p": [2]}, outputs={"p": "probabilities"})
    alone = opened(Xgboost, tmp_path / "early.json", {}, outputs={"p": "probabilities"}).describe()
    assert alone["outputs"] == [{"name": "p", "data_type": "float", "shape": [2]}], (
        "an option is all it takes"
    )
    np.testing.assert_allclose(early.predict({"x": x})["p"], stopping.predict_proba(x), rtol=1e-5)
    every = opened(Xgboost, tmp_path / "early.json", {"scores": [1], "contributions": [5]}, rounds=1)
    said = every.predict({"x": x})
    assert said["contributions"].shape == (120, 5)
    linear = xgboost.train({"booster": "gblinear"}, xgboost.DMatrix(x, two), 3)
    linear.save_model(tmp_path / "linear.json")
    said = opened(Xgboost, tmp_path / "linear.json").predict({"x": x})
    np.testing.assert_allclose(said["prediction"].ravel(), linear.predict(xgboost.DMatrix(x)), rtol=1e-5)
    said = opened(Lightgbm, shop.root.parent / "two.txt", {"scores": [1], "leaves": [4]}).predict({"x": x})
    assert said["leaves"].shape == (120, 4) and said["scores"].shape == (120, 1)
    with pytest.raises(
        ValueError, match=r"output 'y' is none of label, .*`options: \{outputs: \{y: KIND\}\}`"
    ):
        opened(Lightgbm, shop.root.parent / "two.txt", {"y": [1]})


@pytest.mark.parametrize("kept", [0, 0.5, 0.98])
@pytest.mark.parametrize("name", ["three.json", "people.ubj", "old.txt"])
def test_a_truncated_file_does_not_load(shop: Workshop, tmp_path: Path, name: str, kept: float) -> None:
    from gitreg.isolated.flavors.lightgbm import Lightgbm
    from gitreg.isolated.flavors.xgboost import Xgboost

    whole = (shop.root.parent / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ValueError):
        opened(Lightgbm if name.endswith("txt") else Xgboost, tmp_path / name)


def test_the_old_binary_format_says_what_reads_it(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "old.model").write_bytes(b"binf" + bytes(200))
    done = workshop.gitreg("new", "old", "--from", tmp_path / "old.model")
    assert done.returncode == 1 and "binary format that 3.1 dropped" in done.stderr, done.stderr
    assert not (workshop.root / "models" / "old").exists()
