"""Models that need no class: ONNX and scikit-learn files, from `new` to a real Triton (rows C7, M8)."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gitreg
from gitreg import load_raw_model
from gitreg.errors import NotSupported
from gitreg.isolated.flavors.sklearn import Sklearn
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
from tests.support import HAS_TRITON_WHEEL, Workshop, needs_triton, run

FOUR = [{"x": [1.0, 2.0, 3.0, 4.5]}, {"x": [-1.0, 0.0, 0.0, 0.0]}]


def classifier() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    dice = np.random.default_rng(0)
    x = dice.normal(size=(80, 4))
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, (x[:, 0] > 0).astype(int))


def people() -> Any:
    import pandas
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    dice = np.random.default_rng(1)
    age, visits, city = dice.normal(40, 10, 80), dice.integers(0, 9, 80), dice.choice(["a", "b"], 80)
    frame = pandas.DataFrame({"age (years)": age, "visits": visits, "city": city})
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("n", numbers, ["age (years)", "visits"]), ("c", OneHotEncoder(), ["city"])])
    return make_pipeline(columns, LogisticRegression()).fit(frame, np.where(age > 40, "old", "young"))


def graph(node: Any, inputs: list[Any], outputs: list[Any], path: Path) -> None:
    """An ONNX file with one operator."""
    import onnx
    from onnx import helper

    made = helper.make_model(
        helper.make_graph([node], "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)]
    )
    made.ir_version = 8
    onnx.save(made, path)


def make_files(place: Path) -> None:
    import joblib
    import skops.io
    from onnx import TensorProto, helper
    from skl2onnx import to_onnx

    four, model = np.zeros((1, 4), np.float32), classifier()
    joblib.dump(model, place / "trusted.joblib")
    skops.io.dump(people(), place / "people.skops")
    (place / "plain.onnx").write_bytes(to_onnx(model, four, options={"zipmap": False}).SerializeToString())
    (place / "zipmap.onnx").write_bytes(to_onnx(model, four).SerializeToString())
    value = helper.make_tensor_value_info
    text = value("text in", TensorProto.STRING, ["n", 2])
    graph(
        helper.make_node("Identity", ["text in"], ["said"]),
        [text],
        [value("said", TensorProto.STRING, ["n", 2])],
        place / "strings.onnx",
    )
    one = [value(n, TensorProto.INT32, [1, 3]) for n in ("x", "y")]
    graph(helper.make_node("Neg", ["x"], ["y"]), one[:1], one[1:], place / "one-row.onnx")
    whole = [value(n, TensorProto.DOUBLE, [3, "k"]) for n in ("x", "y")]
    graph(helper.make_node("Neg", ["x"], ["y"]), whole[:1], whole[1:], place / "no-batch.onnx")
    for name, samples in SAMPLES.items():
        (place / f"{name}.json").write_text(json.dumps(samples))


SAMPLES: dict[str, list[dict[str, Any]]] = {
    "x": FOUR,
    "X": [{"X": one["x"]} for one in FOUR],
    "people": [
        {"age__years_": [41.5], "visits": [3], "city": ["a"]},
        {"age__years_": [20.0], "visits": [0], "city": ["b"]},
    ],
    "strings": [{"text_in": ["a", "é"]}, {"text_in": ["", "b"]}],
    "one-row": [{"x": [1, 2, 3]}],
    "no-batch": [{"x": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}],
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    place = tmp_path_factory.mktemp("flavors")
    make_files(place)

    def add(file: str, samples: str, *more: str) -> list[str | Path]:
        return ["--from", place / file, "--samples", place / f"{samples}.json", *more]

    return shop_with(
        place / "registry",
        {
            "trusted": add("trusted.joblib", "x", "--trust", "pickle"),
            "people": add("people.skops", "people"),
            "plain": add("plain.onnx", "X"),
            "zipmap": add("zipmap.onnx", "X"),
            "strings": add("strings.onnx", "strings"),
            "one-row": add("one-row.onnx", "one-row"),
            "no-batch": add("no-batch.onnx", "no-batch"),
        },
    )


@pytest.mark.parametrize(
    ("name", "schema"),
    {
        "trusted": "x double [4] -> label long [1], probabilities double [2]",
        "people": "age__years_ float [1], visits long [1], city string [1] -> label string [1], probabilities double [2]",
        "plain": "X float [4] -> label long [1], probabilities float [2]",
        "zipmap": "X float [4] -> output_label long [1], output_probability float [2]",
        "strings": "text_in string [2] -> said string [2]",
        "one-row": "x int [3] -> y int [3]",
        "no-batch": "x double [3, -1] -> y double [3, -1]",
    }.items(),
)
def test_a_file_says_its_schema_itself(shop: Workshop, name: str, schema: str) -> None:
    assert declared(shop, name) == schema


def test_answers_are_those_of_the_framework(shop: Workshop) -> None:
    model, x = classifier(), np.array([one["x"] for one in FOUR])
    for name in ("trusted", "plain", "zipmap"):
        said = raw_answers(shop, name)
        label, chances = (np.stack([list(one.values())[i] for one in said]) for i in (0, 1))
        assert label.ravel().tolist() == model.predict(x).tolist(), name
        np.testing.assert_allclose(chances, model.predict_proba(x), rtol=1e-5)
    labels = [one["label"].tolist() for one in raw_answers(shop, "people")]
    assert labels == [["old"], ["young"]]
    assert raw_answers(shop, "one-row")[0]["y"].tolist() == [-1, -2, -3]
    assert raw_answers(shop, "no-batch")[0]["y"].shape == (3, 2)


def test_a_batch_is_answered_as_its_rows_are(shop: Workshop) -> None:
    for name in ("trusted", "people", "plain", "one-row", "strings"):
        model = load_raw_model(shop.root / "dist" / "raw" / name)
        samples = samples_of(shop, name)
        batch = {n: np.stack([one[n] for one in samples]) for n in samples[0]}
        together = model.predict(batch)
        same([{n: a[i] for n, a in together.items()} for i in range(len(samples))], raw_answers(shop, name))


def test_packages_hold_against_their_records(shop: Workshop) -> None:
    for name in ("people", "plain", "no-batch"):
        is_verified(shop, name)


@needs_triton
def test_triton_answers_the_same(shop: Workshop) -> None:
    with triton(shop) as client:
        for folder in sorted((shop.root / "dist" / "triton").iterdir()):
            same(triton_answers(client, shop, folder.name), raw_answers(shop, folder.name))


def test_estimators_of_all_kinds(tmp_path: Path) -> None:
    import joblib
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.naive_bayes import GaussianNB

    x = np.arange(12.0).reshape(3, 4)
    for estimator, outputs in (
        (LinearRegression().fit(x, [[1.0, 2], [2, 3], [3, 5]]), {"prediction": (2,)}),
        (LinearRegression().fit(x, [1.0, 2, 3]), {"prediction": ()}),
        (PCA(2).fit(x), {"transformed": (2,)}),
        (KMeans(2).fit(x), {"label": ()}),
        (
            MultiOutputClassifier(GaussianNB()).fit(x, [[0, 5], [1, 6], [1, 7]]),
            {"label": (2,), "probabilities": (2, 3)},
        ),
    ):
        joblib.dump(estimator, tmp_path / "model.joblib")
        settings = {"inputs": [], "outputs": [], "options": {}, "trust": ["pickle"], "batched": True}
        model = Sklearn(str(tmp_path / "model.joblib"), settings)
        assert [(name, shape) for name, _, shape in model.known_inputs()] == [("x", (None, 4))]
        assert {name: a.shape[1:] for name, a in model.predict({"x": x}).items()} == outputs


def test_rows_may_be_as_the_data_frame_has_them_and_columns_that_nobody_knows_are_named(
    shop: Workshop, tmp_path: Path
) -> None:
    file = shop.root / "models" / "people" / "people.skops"
    (tmp_path / "rows.json").write_text(json.dumps([{"age (years)": 41.5, "visits": 3, "city": "a"}]))
    (tmp_path / "odd.json").write_text(json.dumps([{"age in years": [1.0], "visits": [1], "city": ["a"]}]))
    done = shop.gitreg("new", "odd", "--from", file, "--samples", tmp_path / "odd.json")
    assert done.returncode == 1 and "age__years_ (for 'age (years)')" in done.stderr, done.stderr
    done = shop.gitreg("new", "rows", "--from", file, "--samples", tmp_path / "rows.json")
    assert done.returncode == 0, done.stderr
    rows, people = (shop.gitreg("predict", name, "--json") for name in ("rows", "people"))
    assert json.loads(rows.stdout)["predictions"] == json.loads(people.stdout)["predictions"][:1]
    (tmp_path / "held.csv").write_text("age (years),visits,city,label\n41.5,3,a,yes\n20,0,b,no\n")
    done = shop.gitreg(
        "evaluate", "people", "--data", tmp_path / "held.csv", "--metric", "accuracy", "--json"
    )
    assert done.returncode == 0 and json.loads(done.stdout)["rows"] == 2, done.stderr
    shutil.rmtree(shop.root / "models" / "rows")


def test_versions_are_written_down_as_they_are_here(shop: Workshop) -> None:
    text = (shop.root / "models" / "people" / "model.yaml").read_text()
    assert f"scikit-learn=={__import__('sklearn').__version__}" in text and "pandas>=" in text
    said = shop.gitreg("requirements", "people").stdout
    assert "scikit-learn==" in said


# What is not trusted -----------------------------------------------------------------------------


class Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


def test_no_verb_runs_a_pickle_that_is_not_trusted(workshop: Workshop, tmp_path: Path) -> None:
    gone_off = tmp_path / "gone-off"
    (tmp_path / "model.skops").write_bytes(pickle.dumps(Bomb(gone_off)))  # whatever it is called
    (tmp_path / "s.json").write_text(json.dumps(FOUR))
    kind = ["--type", "scikit-learn", "--samples", tmp_path / "s.json"]
    added = workshop.gitreg("new", "bomb", "--from", tmp_path / "model.skops", *kind)
    assert added.returncode == 0 and "`trust: pickle`" in added.stdout, added.stderr
    file = workshop.root / "models" / "bomb" / "model.yaml"
    file.write_text(file.read_text().replace("shape: [1]", "shape: [4]"))
    workshop.commit("bomb")
    verbs = (
        ["inspect", "bomb"],
        ["check", "bomb"],
        ["predict", "bomb"],
        ["build", "bomb"],
        *([["serve", "bomb"]] if HAS_TRITON_WHEEL else []),
    )
    for verb in verbs:
        done = workshop.gitreg(*verb)
        assert not gone_off.exists(), verb
        if verb[0] != "inspect":
            assert done.returncode == 1 and "pickle" in done.stderr + done.stdout, verb
    text = file.read_text()
    file.write_text(text + "trust: pickle\n")
    assert workshop.gitreg("check", "bomb").returncode == 1 and gone_off.exists(), "its word counts"


def test_a_package_whose_settings_trust_nothing_loads_no_pickle(shop: Workshop, tmp_path: Path) -> None:
    import shutil

    package = tmp_path / "people"
    shutil.copytree(shop.root / "dist" / "raw" / "people", package)
    file = package / "0" / "model" / "people.skops"
    file.unlink()
    file.write_bytes(pickle.dumps(Bomb(tmp_path / "gone-off")))
    with pytest.raises(PermissionError, match="trust: pickle"):
        load_raw_model(package)
    assert not (tmp_path / "gone-off").exists()


def test_types_of_strangers_in_a_skops_file_are_named(workshop: Workshop, tmp_path: Path) -> None:
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    skops.io.dump(FunctionTransformer(os.path.join), tmp_path / "model.skops")
    done = workshop.gitreg("new", "strange", "--from", tmp_path / "model.skops")
    assert done.returncode == 1 and "--option 'trusted=[posixpath.join]'" in done.stderr
    assert "File" not in done.stderr, "a refusal has no traceback"
    assert not (workshop.root / "models" / "strange").exists()


# What is wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 0.5])
@pytest.mark.parametrize("name", ["plain.onnx", "people.skops", "trusted.joblib"])
def test_a_truncated_file_is_refused_and_leaves_nothing(
    shop: Workshop, workshop: Workshop, tmp_path: Path, name: str, kept: float
) -> None:
    data = (shop.root.parent / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * kept)])
    kind = "onnx" if name.endswith("onnx") else "scikit-learn"
    done = workshop.gitreg("new", "cut", "--from", tmp_path / name, "--type", kind, "--trust", "pickle")
    assert done.returncode == 1 and done.stderr.startswith("error: "), done.stderr
    assert not (workshop.root / "models" / "cut").exists()


def test_mistakes_in_what_a_manifest_says_to_the_loader(workshop: Workshop) -> None:
    workshop.manifest(
        type="onnx", model_class=None, code=None, options={"fiel": "a.onnx"}, backend="native", trust="pickel"
    )
    said = workshop.gitreg("check").stderr
    assert "trust: 'pickel' is not a word of trust (did you mean 'pickle'?)" in said
    workshop.manifest(type="onnx", code=None, options={"fiel": "a.onnx"})
    said = workshop.gitreg("check").stderr
    assert "options.fiel: the type 'onnx' takes file, names (did you mean 'file'?)" in said
    assert "model_class: the type 'onnx' has a loader of its own and takes none" in said
    workshop.manifest(options={"file": "a"}, backend="native")
    said = workshop.gitreg("check").stderr
    assert "options.file: the type 'custom-python' takes no options" in said
    assert "backend: Triton has no backend of its own for 'custom-python'; it has for lightgbm, onnx" in said


def test_a_folder_with_several_files_wants_to_know_which(
    workshop: Workshop, shop: Workshop, tmp_path: Path
) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    for name in ("a.onnx", "b.onnx"):
        (folder / name).write_bytes((shop.root.parent / "plain.onnx").read_bytes())
    done = workshop.gitreg("new", "both", "--from", folder, "--type", "onnx")
    assert done.returncode == 1 and "`options: {file: NAME}`" in done.stderr
    done = workshop.gitreg("new", "both", "--from", folder, "--type", "onnx", "--option", "file=b.onnx")
    assert done.returncode == 0, done.stderr
    assert "file: b.onnx" in (workshop.root / "models" / "both" / "model.yaml").read_text()


def test_types_that_load_elsewhere_are_packaged_raw_and_say_where(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "net.caffemodel").write_bytes(b"weights")
    done = workshop.gitreg("new", "net", "--from", tmp_path / "net.caffemodel", "--type", "caffe")
    assert done.returncode == 0, done.stderr
    workshop.commit("net")
    assert workshop.gitreg("build", "net", "--format", "raw").returncode == 0
    with pytest.raises(NotSupported, match="no loader for the type 'caffe'") as caught:
        load_raw_model(workshop.root / "dist" / "raw" / "net")
    assert "Caffe's own runtime" in str(caught.value.hint)
    assert isinstance(caught.value, NotImplementedError)


def test_new_without_the_framework_says_what_to_install(
    workshop: Workshop, shop: Workshop, tmp_path: Path
) -> None:
    """In an environment of its own that has gitreg, and not onnxruntime."""
    import subprocess
    import sys

    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare", cwd=tmp_path)
    bare = tmp_path / "bare" / "bin" / "python"
    inside = run(bare, "-c", "import site; print(site.getsitepackages()[0])", cwd=tmp_path).stdout.strip()
    theirs = Path(np.__file__).parent.parent
    for entry in theirs.iterdir():
        if not entry.name.startswith("onnxruntime"):
            (Path(inside) / entry.name).symlink_to(entry)
    done = subprocess.run(
        [bare, "-m", "gitreg", "new", "net", "--from", shop.root.parent / "plain.onnx"],
        cwd=workshop.root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(gitreg.__file__).parent.parent)},
    )
    assert done.returncode == 1 and "hint: pip install 'gitreg[onnx]'" in done.stderr, done.stderr
