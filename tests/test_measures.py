"""Metrics by name, held against scikit-learn's; and held-out columns as a model takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference

from gitreg import DataType, ModelSchema, ModelSchemaItem
from gitreg.columns import Table, rows_of, target, targets_of
from gitreg.errors import Refused
from gitreg.measures import METRICS, compute, is_classification, suits

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.integers(0, 2, 200)
CHANCE = np.clip(TRUTH * 0.4 + RANDOM.random(200) * 0.6, 0, 1).astype(np.float32)
LEVEL = RANDOM.normal(size=200)
GUESS = (LEVEL + RANDOM.normal(size=200) / 4).astype(np.float32)
THREE = RANDOM.integers(0, 3, 200)
MANY = RANDOM.dirichlet(np.ones(3), 200)
MANY[np.arange(200), THREE] += 0.5
MANY /= MANY.sum(axis=1, keepdims=True)

AGREE: list[tuple[str, Any, Any, Any]] = [
    ("accuracy", CHANCE, TRUTH, reference.accuracy_score(TRUTH, CHANCE >= 0.5)),
    ("accuracy", CHANCE >= 0.5, TRUTH, reference.accuracy_score(TRUTH, CHANCE >= 0.5)),
    ("accuracy", MANY, THREE, reference.accuracy_score(THREE, MANY.argmax(axis=1))),
    ("accuracy", np.array(["a", "b"], object), np.array(["a", "c"], object), 0.5),
    ("accuracy", np.array([1.0, 2.0]), np.array([1, 3]), 0.5),
    ("balanced_accuracy", CHANCE, TRUTH, reference.balanced_accuracy_score(TRUTH, CHANCE >= 0.5)),
    ("f1", CHANCE, TRUTH, reference.f1_score(TRUTH, CHANCE >= 0.5)),
    ("f1_macro", MANY, THREE, reference.f1_score(THREE, MANY.argmax(axis=1), average="macro")),
    ("precision", CHANCE, TRUTH, reference.precision_score(TRUTH, CHANCE >= 0.5)),
    ("recall_weighted", MANY, THREE, reference.recall_score(THREE, MANY.argmax(axis=1), average="weighted")),
    ("mcc", CHANCE, TRUTH, reference.matthews_corrcoef(TRUTH, CHANCE >= 0.5)),
    ("roc_auc", CHANCE, TRUTH, reference.roc_auc_score(TRUTH, CHANCE)),
    ("roc_auc", MANY, THREE, reference.roc_auc_score(THREE, MANY, multi_class="ovr")),
    ("roc_auc", np.stack([1 - CHANCE, CHANCE], 1), TRUTH, reference.roc_auc_score(TRUTH, CHANCE)),
    ("average_precision", CHANCE, TRUTH, reference.average_precision_score(TRUTH, CHANCE)),
    ("log_loss", MANY, THREE, reference.log_loss(THREE, MANY)),
    ("brier", CHANCE, TRUTH, reference.brier_score_loss(TRUTH, CHANCE)),
    ("mae", GUESS, LEVEL, reference.mean_absolute_error(LEVEL, GUESS)),
    ("mse", GUESS, LEVEL, reference.mean_squared_error(LEVEL, GUESS)),
    ("rmse", GUESS, LEVEL, reference.mean_squared_error(LEVEL, GUESS) ** 0.5),
    ("r2", GUESS, LEVEL, reference.r2_score(LEVEL, GUESS)),
    ("r2", MANY, MANY * 0.9, reference.r2_score(MANY * 0.9, MANY)),
    ("max_error", GUESS, LEVEL, reference.max_error(LEVEL, GUESS)),
    ("medae", GUESS, LEVEL, reference.median_absolute_error(LEVEL, GUESS)),
    ("mape", GUESS, LEVEL, reference.mean_absolute_percentage_error(LEVEL, GUESS)),
    ("explained_variance", GUESS, LEVEL, reference.explained_variance_score(LEVEL, GUESS)),
]


@pytest.mark.parametrize(("name", "answer", "truth", "expected"), AGREE)
def test_metrics_are_those_of_scikit_learn(name: str, answer: Any, truth: Any, expected: float) -> None:
    assert compute(name, answer, truth) == pytest.approx(expected, rel=1e-6)


def test_names_of_classes_are_in_the_order_of_the_probabilities() -> None:
    words = np.array(["low", "mid", "high"], object)[THREE]
    told = ("low", "mid", "high")
    for name in ("accuracy", "log_loss", "roc_auc"):
        assert compute(name, MANY, words, told) == compute(name, MANY, THREE)
    with pytest.raises(Refused, match="none of the classes") as refused:
        compute("accuracy", MANY, words, ("low", "mid", "hi"))
    assert "'high'" in refused.value.message
    assert compute("roc_auc", CHANCE, np.array(["no", "yes"], object)[TRUTH], ("no", "yes")) > 0.5


WRONG: list[tuple[str, Any, Any, str]] = [
    (
        "accuracy",
        np.array([0.5, np.nan]),
        np.array([0, 1]),
        "NaN or infinite for 1 of 2 rows .the first is row 1",
    ),
    ("mae", np.array([np.inf]), np.array([1.0]), "NaN or infinite"),
    ("accuracy", np.array(["a"], object), np.array([1]), "answers strings, and its targets are numbers"),
    ("accuracy", MANY, np.array(["a"] * 200, object), "answers 3 probabilities, and its targets are strings"),
    ("accuracy", MANY, THREE + 5, "whole numbers up to 2"),
    ("accuracy", GUESS, TRUTH, "neither classes nor probabilities"),
    ("accuracy", GUESS, LEVEL, "no whole numbers"),
    ("roc_auc", TRUTH, TRUTH, "needs probabilities"),
    ("roc_auc", CHANCE, TRUTH + 3, "should be 0 and 1"),
    ("mae", np.zeros((3, 2)), np.zeros((3, 4)), r"has the shape \[2\] per row, its targets \[4\]"),
    ("mae", np.array(["a"], object), np.array([1]), "measured in numbers"),
    ("f1", THREE, THREE, "has no f1: Target is multiclass"),
]


@pytest.mark.parametrize(("name", "answer", "truth", "why"), WRONG)
def test_what_cannot_be_measured_is_said(name: str, answer: Any, truth: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        compute(name, answer, truth)


def test_what_is_not_defined_is_nan() -> None:
    assert np.isnan(compute("r2", np.zeros(3), np.ones(3)))
    assert np.isnan(compute("roc_auc", CHANCE, np.ones(200)))


def test_kinds() -> None:
    assert is_classification(CHANCE, TRUTH) and is_classification(MANY, THREE)
    assert not is_classification(GUESS, LEVEL) and not is_classification(GUESS, TRUTH)
    assert suits("accuracy", TRUTH) and not suits("accuracy", CHANCE) and suits("roc_auc", CHANCE)
    assert set(METRICS) >= {"accuracy", "f1", "roc_auc", "mae", "rmse", "r2", "log_loss"}


def schema(*inputs: ModelSchemaItem) -> ModelSchema:
    return ModelSchema(list(inputs), [ModelSchemaItem("p", DataType.FLOAT, [1])])


X3 = ModelSchemaItem("x", DataType.FLOAT, [3])
COUNT = ModelSchemaItem("n", DataType.INT, [1])
MAYBE = ModelSchemaItem("t", DataType.STRING, [1], optional=True)
NAN = float("nan")


@pytest.mark.parametrize(
    "names", [["x[0]", "x[1]", "x[2]"], ["x.0", "x.1", "x.2"], ["x_0", "x_1", "x_2"], ["a", "b", "c"]]
)
def test_an_input_of_several_values_may_be_several_columns(names: list[str]) -> None:
    table = Table(2, {**{name: np.array([i, i + 0.5]) for i, name in enumerate(names)}, "label": [0, 1]})
    (rows,) = rows_of(schema(X3), table, ["label"])
    assert rows.inputs["x"].dtype == np.float32
    assert rows.inputs["x"].tolist() == [[0, 1, 2], [0.5, 1.5, 2.5]]


def test_rows_with_other_inputs_or_lengths_are_asked_apart() -> None:
    several = ModelSchemaItem("x", DataType.FLOAT, [-1])
    table = Table(4, {"x": [[1.0], [2.0, 3.0], [4.0], [5.0]], "t": ["a", None, "b", None]})
    groups = {tuple(rows.numbers): set(rows.inputs) for rows in rows_of(schema(several, MAYBE), table, [])}
    assert groups == {(0, 2): {"x", "t"}, (1,): {"x"}, (3,): {"x"}}


def test_nothing_in_a_column_is_nan_for_floats_and_no_input_where_it_is_optional() -> None:
    (rows,) = rows_of(schema(X3), Table(2, {"x[0]": np.array([1, NAN]), "x[1]": [1, 2], "x[2]": [1, 2]}), [])
    assert np.isnan(rows.inputs["x"][1, 0])
    (rows,) = rows_of(schema(COUNT), Table(2, {"n": np.array([1.0, 2.0])}), [])
    assert rows.inputs["n"].dtype == np.int32
    optional = ModelSchemaItem("n", DataType.INT, [1], optional=True)
    groups = rows_of(schema(optional), Table(2, {"n": np.array([1.0, NAN])}), [])
    assert [rows.inputs.get("n", np.array([])).tolist() for rows in groups] == [[[1]], []]
    with pytest.raises(Refused, match=r"column 'n', row 1: nothing is there; int \[1\] is expected"):
        rows_of(schema(COUNT), Table(2, {"n": np.array([1.0, NAN])}), [])


BAD_COLUMNS: list[tuple[dict[str, Any], str]] = [
    ({"z": [1, 2]}, "there is no column 'x', nor 3 columns that are no targets .there are 1."),
    ({"x": [[1.0, 2.0, 3.0], [1.0, 2.0]]}, "column 'x', row 1: expected float .-1, 3., got float .1, 2."),
    ({"x": [[1.0, 2.0, 3.0], "many"]}, "column 'x', row 1: expected float"),
    ({"x[0]": ["a", "b"], "x[1]": [1, 2], "x[2]": [1, 2]}, r"column 'x\[0\]', row 0: 'a' is no number"),
    ({"x": np.zeros((2, 4))}, "column 'x': expected float .-1, 3., got float .2, 4."),
]


@pytest.mark.parametrize(("said", "why"), BAD_COLUMNS)
def test_mistakes_name_the_column_and_the_row(said: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        rows_of(schema(X3), Table(2, said), [])


def test_targets_are_found_by_their_names() -> None:
    assert targets_of(schema(X3), Table(1, {"x": [1], "p": [1], "y": [1]}), {}) == {"p": "p"}
    assert targets_of(schema(X3), Table(1, {"x": [1], "label": [1]}), {}) == {"p": "label"}
    assert targets_of(schema(X3), Table(1, {"x": [1], "churned": [1]}), {"p": "churned"}) == {"p": "churned"}
    with pytest.raises(Refused, match="none is called p, target, label, y"):
        targets_of(schema(X3), Table(1, {"x": [1]}), {})
    several = ModelSchema([X3], [ModelSchemaItem(n, DataType.FLOAT, [1]) for n in ("probabilities", "label")])
    assert targets_of(several, Table(1, {"x": [1], "y": [1]}), {}) == {"label": "y"}
    with pytest.raises(Refused, match="none is called probabilities, label, target, y"):
        targets_of(several, Table(1, {"x": [1]}), {})
    with pytest.raises(Refused, match=r"there is no column 'chrned' \(did you mean 'churned'"):
        targets_of(schema(X3), Table(1, {"churned": [1]}), {"p": "chrned"})


TARGETS: list[tuple[Any, list[Any], list[bool]]] = [
    (["a", None, "b"], ["a", "", "b"], [True, False, True]),
    (np.array([1.0, NAN]), [1.0, NAN], [True, False]),
    ([[1.0], [2.0]], [1.0, 2.0], [True, True]),
    ([[b"a"], [b"b"]], ["a", "b"], [True, True]),
    ([True, None], [True, False], [True, False]),
    (np.array([[1], [2]]), [1, 2], [True, True]),
]


@pytest.mark.parametrize(("column", "values", "there"), TARGETS)
def test_targets_are_read(column: Any, values: list[Any], there: list[bool]) -> None:
    found, kept = target(Table(len(values), {"y": column}), "y")
    assert kept.tolist() == there
    np.testing.assert_array_equal(found, np.array(values, found.dtype))


@pytest.mark.parametrize("column", [["a", 1], [[1], [1, 2]], [{"a": 1}]])
def test_targets_of_several_kinds_are_refused(column: Any) -> None:
    with pytest.raises(Refused, match="targets in 'y'"):
        target(Table(len(column), {"y": column}), "y")
