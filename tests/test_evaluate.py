"""evaluate: held-out data through the isolated model, metrics beside the recorded ones, and into their file."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from gitreg import Registry
from gitreg.errors import GitregError, InvalidFiles, ModelFailed, Refused, Usage
from gitreg.evaluator import Asked, Evaluation
from tests.support import Workshop, run

CODE = '''
import os
import time

import numpy as np

from gitreg import Model


class Scorer(Model):
    """The first number is the answer; the second says how it misbehaves."""

    def save(self, path):
        pass

    @classmethod
    def load(cls, path):
        return cls()

    def predict(self, inputs):
        assert set(inputs) <= {"x", "t"}, "the model sees targets"
        score, how = inputs["x"]
        if how == -1:
            raise ValueError("I do not like this row")
        if how == -2:
            print("a word")
        if how == -3:
            time.sleep(60)
        if how == -4:
            score = np.float32("nan")
        word = "hot" if score >= 0.5 else "cold"
        return {"p": np.array([score], np.float32), "word": np.array([word], object)}
'''
HELD = """
import time

import numpy as np


def data():
    print("data was asked")
    return {"x": np.array([[0.9, 0], [0.1, 0]], np.float32)}, {"word": ["hot", "hot"], "p": [1, 0]}


def frame():
    import pandas

    return pandas.DataFrame({"x[0]": [0.9, 0.1], "x[1]": [0.0, 0.0], "word": ["hot", "cold"]})


def pair():
    return np.zeros((3, 2), np.float32), np.zeros(3)


def measure(targets, answers):
    print("measuring", targets["word"][0])
    return {"hot": float((answers["word"] == "hot").mean()), "rows": np.int64(len(targets["word"]))}


def one(targets, answers):
    return np.float32(0.25)


def nothing(targets, answers):
    return "high"


def boom(*_):
    print("about to")
    raise KeyError("no such thing")


def hang(*_):
    time.sleep(60)


def leave(*_):
    import os

    os._exit(7)


def odd():
    return {"x": [object()]}


def uneven():
    return {"x": np.zeros((2, 2))}, {"word": ["hot"]}
"""


@pytest.fixture(scope="module")
def _scored(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored") / "registry"
    shutil.copytree(_template, folder, symlinks=True)
    shop = Workshop(folder)
    shop.code(CODE)
    shop.samples([{"x": [0.9, 0]}])
    (shop.adder / "held.py").write_text(HELD)
    (shop.adder / "metrics.json").write_text('{\n  "accuracy": 0.50,\n  "loss": null,\n  "note": [1]\n}\n')
    declare(shop)
    shop.commit("a scorer")
    for words in (("register", "adder"), ("promote", "adder", "staging", "--apply")):
        done = shop.gitreg(*words)
        assert done.returncode == 0, done.stderr
    return folder


def declare(shop: Workshop, **changes: Any) -> None:
    """A manifest of the scorer."""
    fields: dict[str, Any] = {
        "model_class": "adder_model.Scorer",
        "metrics": "metrics.json",
        "schema": {
            "inputs": [
                {"name": "x", "data_type": "float", "shape": [2]},
                {"name": "t", "data_type": "string", "shape": [1], "optional": True},
            ],
            "outputs": [
                {"name": "p", "data_type": "float", "shape": [1]},
                {"name": "word", "data_type": "string", "shape": [1]},
            ],
        },
    }
    shop.manifest(**{**fields, **changes})


@pytest.fixture
def scored(_scored: Path, tmp_path: Path) -> Workshop:
    """A registry with a model that scores, registered and in staging."""
    folder = tmp_path / "registry"
    shutil.copytree(_scored, folder, symlinks=True)
    return Workshop(folder)


def evaluate(shop: Workshop, data: str | Path, *metrics: str, **more: Any) -> Evaluation:
    return Registry(shop.root).evaluate("adder", Asked(str(data), metrics, **more))


def csv(folder: Path, *lines: str) -> Path:
    file = folder / "held.csv"
    file.write_text("\n".join(["a,b,word", *lines]) + "\n")
    return file


ROWS = ("0.9,0,hot", "0.2,0,cold", "0.7,0,cold", "0.1,0,")


def test_a_table_is_measured_beside_what_is_recorded(scored: Workshop, tmp_path: Path) -> None:
    done = scored.gitreg("evaluate", "adder", "--data", csv(tmp_path, *ROWS), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {
        **{"model": "adder", "version": "1.0.0", "rows": 3, "left_out": 1, "written": None},
        "metrics": {"accuracy": pytest.approx(2 / 3)},
        "recorded": {"accuracy": 0.5},
        "stages": {"staging": {"version": "1.0.0", "metrics": {"accuracy": 0.5}}},
        "notes": ["1 rows have no target, and were left out"],
    }
    people = scored.gitreg("evaluate", "adder#staging", "--data", csv(tmp_path, *ROWS))
    assert "accuracy   0.666667   0.5        0.5" in people.stdout and "staging (1.0.0)" in people.stdout


def test_a_registry_without_files_here_is_measured_and_not_written(scored: Workshop, tmp_path: Path) -> None:
    run("git", "clone", "-q", "--bare", scored.root, tmp_path / "bare.git", cwd=tmp_path)
    bare = Registry(tmp_path / "bare.git")
    asked = Asked(str(csv(tmp_path, *ROWS)))
    assert bare.evaluate("adder#staging", asked).metrics == {"accuracy": pytest.approx(2 / 3)}
    with pytest.raises(Usage, match="is not what they say"):
        bare.evaluate("adder#staging", replace(asked, write=True))


def test_npz_parquet_json_and_yaml_say_the_same(scored: Workshop, tmp_path: Path) -> None:
    x, words = [[0.9, 0.0], [0.2, 0.0], [0.7, 0.0]], ["hot", "cold", "cold"]
    np.savez(tmp_path / "a.npz", x=np.array(x), word=np.array(words))
    pandas.DataFrame({"x": x, "word": words}).to_parquet(tmp_path / "a.parquet")
    rows = [{"x": a, "word": b} for a, b in zip(x, words, strict=True)]
    for name in ("a.json", "a.yaml"):
        (tmp_path / name).write_text(json.dumps(rows))
    for name in ("a.npz", "a.parquet", "a.json", "a.yaml"):
        assert evaluate(scored, tmp_path / name).metrics == {"accuracy": pytest.approx(2 / 3)}, name


def test_probabilities_and_classes_take_the_metrics_that_suit_them(scored: Workshop, tmp_path: Path) -> None:
    file = tmp_path / "held.csv"
    file.write_text("x[0],x[1],word,won\n0.9,0,hot,1\n0.2,0,cold,0\n0.7,0,cold,0\n")
    told = ("p=won", "word=word")
    done = evaluate(scored, file, "accuracy", "roc_auc", "mae", "x.f1=f1_macro", targets=told)
    assert list(done.metrics) == ["accuracy", "roc_auc", "mae", "x.f1"]
    assert done.metrics["roc_auc"] == 1 and done.metrics["mae"] == pytest.approx(1 / 3, rel=1e-5)
    assert evaluate(scored, file, "accuracy", targets=("p=won",)).metrics["accuracy"] == pytest.approx(2 / 3)


def test_functions_give_data_and_measure_in_processes_of_their_own(scored: Workshop) -> None:
    done = evaluate(scored, "held:data", "held:measure", "held:one", "z=held:one", targets=("word=word",))
    assert done.metrics == {"hot": 0.5, "rows": 2, "one": 0.25, "z": 0.25}
    assert evaluate(scored, "held:frame").metrics == {"accuracy": 1}
    assert evaluate(scored, "held:pair", "mae", targets=("p=target",)).metrics == {"mae": 0}


BROKEN = [
    ("held:nosuch", (), "held:nosuch could not be imported: AttributeError"),
    ("nosuch:data", (), "nosuch:data could not be imported: ModuleNotFoundError"),
    ("held:boom", (), "held:boom failed: KeyError: 'no such thing'"),
    ("held:leave", (), "held:leave ended its process with exit code 7 before it answered"),
    ("held:odd", (), "holds neither strings alone nor numbers"),
    ("held:uneven", (), "columns of different lengths: x 2, word 1"),
    ("held:frame", ("held:nothing",), "a metric is a number, or numbers by name; it is a str"),
    ("held:frame", ("held:boom",), "it printed:\n    | about to"),
]


@pytest.mark.parametrize(("data", "metrics", "why"), BROKEN)
def test_functions_that_misbehave(scored: Workshop, data: str, metrics: tuple[str, ...], why: str) -> None:
    with pytest.raises(Refused) as refused:
        evaluate(scored, data, *metrics)
    assert why in refused.value.message


def test_what_hangs_is_ended(scored: Workshop, tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match="held:hang did not finish within 2 s"):
        evaluate(scored, "held:hang", timeout=2)
    with pytest.raises(ModelFailed, match="did not finish within 3 s"):
        evaluate(scored, csv(tmp_path, "0.5,-3,hot"), timeout=3)


def test_a_model_that_fails_names_the_row(scored: Workshop, tmp_path: Path) -> None:
    rows = ["0.5,0,hot"] * 300 + ["0.5,-1,hot"]
    with pytest.raises(ModelFailed, match=r"failed to predict sample \[300\]: ValueError: I do not like"):
        evaluate(scored, csv(tmp_path, *rows))


def test_nan_is_never_a_metric(scored: Workshop, tmp_path: Path) -> None:
    file = tmp_path / "held.csv"
    file.write_text("a,b,won\n0.9,0,1\n0.2,-4,0\n")
    with pytest.raises(Refused, match=r"output 'p' \(targets in 'won'\) is NaN or infinite for 1 of 2 rows"):
        evaluate(scored, file, "mae", targets=("p=won",))
    file.write_text("a,b,won\n0.9,0,1\n0.2,0,1\n")
    assert np.isnan(evaluate(scored, file, "r2", targets=("p=won",)).metrics["r2"])
    with pytest.raises(Refused, match="r2 is nan: nothing was written"):
        evaluate(scored, file, "r2", targets=("p=won",), write=True)


WRITTEN = [
    (
        "metrics.json",
        '{\n  "accuracy": 0.50,\n  "loss": null,\n  "note": [1]\n}\n',
        '{\n  "accuracy": 1.0,\n  "loss": null,\n  "note": [1],\n  "test": {"f1": 1.0}\n}\n',
    ),
    ("m.yaml", "# best\naccuracy: 0.5 # old\n", "# best\naccuracy: 1.0 # old\ntest:\n  f1: 1.0\n"),
    (
        "m.toml",
        "# best\naccuracy = 0.50 # old\n\n[test]\nauc = 1e-3\n",
        "# best\naccuracy = 1.0 # old\n\n[test]\nauc = 1e-3\nf1 = 1.0\n",
    ),
    ("m.json", '{"test.f1": 0, "accuracy": 1}', '{"test.f1": 1.0, "accuracy": 1.0}'),
    ("m.json", "{}", '{\n  "accuracy": 1.0,\n  "test": {\n    "f1": 1.0\n  }\n}'),
]


@pytest.mark.parametrize(("name", "before", "after"), WRITTEN)
def test_write_changes_the_numbers_and_nothing_else(
    scored: Workshop, name: str, before: str, after: str
) -> None:
    (scored.adder / name).write_text(before)
    declare(scored, metrics=name)
    done = evaluate(scored, "held:frame", "accuracy", "test.f1=f1_macro", write=True)
    assert done.written == f"models/adder/{name}"
    if before == "{}":
        assert json.loads((scored.adder / name).read_text()) == json.loads(after)
    else:
        assert (scored.adder / name).read_text() == after
    assert Registry(scored.root).evaluate("adder", Asked("held:frame")).recorded["accuracy"] == 1


def test_write_into_the_manifest_itself(scored: Workshop) -> None:
    file = scored.adder / "model.yaml"
    declare(scored, metrics={"accuracy": 0.1})
    before = file.read_text()
    assert evaluate(scored, "held:frame", write=True).written == "models/adder/model.yaml"
    assert file.read_text() == before.replace('"accuracy": 0.1', '"accuracy": 1.0')
    declare(scored, metrics=None)
    evaluate(scored, "held:frame", write=True)
    assert Registry(scored.root).manifests()[0].metrics == {"accuracy": 1.0}
    assert scored.gitreg("check").returncode == 0


def test_what_cannot_be_written_is_refused_before_or_after_and_changes_nothing(scored: Workshop) -> None:
    (scored.adder / "metrics.json").write_text("[0.5]")
    with pytest.raises(InvalidFiles, match="expected a mapping, got list"):
        evaluate(scored, "held:frame", "accuracy", write=True)
    assert (scored.adder / "metrics.json").read_text() == "[0.5]"
    declare(scored, version="1.0.1")
    scored.commit("next")
    with pytest.raises(Usage, match="is not what they say"):
        Registry(scored.root).evaluate("adder@1.0.0", Asked("held:frame", write=True))
    assert Registry(scored.root).evaluate("adder@1.0.0", Asked("held:frame")).version == "1.0.0"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"metrics": ("acuracy",)}, "there is no metric 'acuracy' (did you mean 'accuracy'?)"),
    ({"targets": ("word",)}, "'word' is not OUTPUT=COLUMN"),
    ({"targets": ("wrd=word",)}, "there is no output 'wrd' (did you mean 'word'?)"),
    (
        {"targets": ("p=word",), "metrics": ("mae",)},
        "mae: output 'p' (targets in 'word') is measured in numbers",
    ),
    ({"metrics": ("roc_auc",)}, "answers classes, and this metric needs probabilities"),
    ({"data": "nosuch.csv"}, "nosuch.csv is no file"),
    ({"data": "pyproject.toml"}, "pyproject.toml: .toml; .json, .yaml"),
]


@pytest.mark.parametrize(("said", "why"), WRONG)
def test_mistakes_in_the_call(scored: Workshop, said: dict[str, Any], why: str) -> None:
    with pytest.raises(GitregError) as error:
        Registry(scored.root).evaluate("adder", Asked(**{"data": "held:frame", **said}))
    assert why in error.value.message


def test_files_that_are_no_data(scored: Workshop, tmp_path: Path) -> None:
    for name, content in (("a.npz", b"PK\x03\x04"), ("a.parquet", b"no"), ("a.json", b"[1]"), ("a.csv", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Refused):
            evaluate(scored, tmp_path / name)
