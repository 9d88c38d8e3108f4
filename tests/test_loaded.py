"""The common class: what predict takes, what it refuses and how it says so, single samples and batches (F6)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from gitreg import DataType, LoadedModel, Model, ModelSchema, ModelSchemaItem
from gitreg import inputs as rules
from gitreg.errors import ModelFailed, Refused

SCHEMA = ModelSchema(
    [
        ModelSchemaItem("x", DataType.FLOAT, [3]),
        ModelSchemaItem("age", DataType.INT, [1], optional=True),
        ModelSchemaItem("country", DataType.STRING, [1], optional=True),
    ],
    [ModelSchemaItem("y", DataType.FLOAT, [1]), ModelSchemaItem("seen", DataType.STRING, [1])],
)


class One(Model):
    """Takes one sample of exactly the schema's shapes, and says so if it does not get one."""

    def save(self, path: str) -> None: ...

    @classmethod
    def load(cls, path: str) -> One:
        return cls()

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        assert (
            inputs["x"].shape == (3,) and inputs["x"].dtype == np.float32 and inputs["x"].flags.c_contiguous
        )
        age = inputs.get("age", np.array([0], np.int32))
        assert age.shape == (1,) and age.dtype == np.int32
        country = inputs.get("country", np.array([b"?"], object))
        assert country.shape == (1,) and type(country[0]) is bytes
        return {"y": (inputs["x"].sum(keepdims=True) + age).astype(np.float32), "seen": country}


class Many(One):
    """Takes batches."""

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        assert inputs["x"].ndim == 2 and inputs["x"].dtype == np.float32
        rows = [One().predict({name: a[i] for name, a in inputs.items()}) for i in range(len(inputs["x"]))]
        return {name: np.stack([row[name] for row in rows]) for name in ("y", "seen")}


@pytest.fixture(params=["one", "many"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return LoadedModel(One() if request.param == "one" else Many(), SCHEMA, request.param == "many")


X = np.array([1, 2, 3], np.float32)


# What is taken, whatever the model's own batching ---------------------------------------------------

SINGLES: dict[str, Any] = {
    "arrays": {"x": X},
    "lists": {"x": [1, 2, 3]},
    "floats": {"x": [1.0, 2.0, 3.0]},
    "a tuple": {"x": (1, 2, 3)},
    "one array": X,
    "one list": [1, 2.0, 3],
    "whole numbers that fit": {"x": np.array([1, 2, 3])},
    "float16": {"x": X.astype(np.float16)},
    "other bytes": {"x": X.astype(">f4")},
    "not contiguous": {"x": np.arange(12, dtype=np.float32).reshape(6, 2)[1:4, 0] / 2},
    "a tensor": {"x": torch.tensor([1.0, 2.0, 3.0])},
    "a series": {"x": pd.Series([1, 2, 3], dtype="float32")},
    "none": {"x": X, "age": None},
}


@pytest.mark.parametrize("inputs", SINGLES.values(), ids=SINGLES.keys())
def test_one_sample_gets_one_answer(model: LoadedModel, inputs: Any) -> None:
    for _ in range(2):  # the second time its form is known
        answer = model.predict(inputs)
        assert answer["y"].shape == (1,) and answer["y"][0] == 6
        assert answer["seen"].tolist() == [b"?"]


BATCHES: dict[str, Any] = {
    "arrays": {"x": np.stack([X, X * 2])},
    "lists": {"x": [[1, 2, 3], [2, 4, 6]]},
    "one array": np.stack([X, X * 2]),
    "fortran": {"x": np.asfortranarray(np.stack([X, X * 2]))},
    "pandas": pd.DataFrame({"x": [[1, 2, 3], [2, 4, 6]]}),
    "pandas of arrays": pd.DataFrame({"x": [X, X * 2]}),
    "polars": pl.DataFrame({"x": [[1.0, 2, 3], [2, 4, 6]]}, schema={"x": pl.List(pl.Float32)}),
    "polars arrays": pl.DataFrame({"x": [[1.0, 2, 3], [2, 4, 6]]}, schema={"x": pl.Array(pl.Float32, 3)}),
}


@pytest.mark.parametrize("inputs", BATCHES.values(), ids=BATCHES.keys())
def test_a_batch_gets_a_batch(model: LoadedModel, inputs: Any) -> None:
    for _ in range(2):
        answer = model.predict(inputs)
        assert answer["y"].tolist() == [[6], [12]] and answer["seen"].tolist() == [[b"?"], [b"?"]]


def test_a_batch_of_one_is_a_batch_and_of_none_too(model: LoadedModel) -> None:
    assert model.predict({"x": X[None]})["y"].shape == (1, 1)
    answer = model.predict({"x": np.zeros((0, 3), np.float32)})
    assert answer["y"].shape == (0, 1) and answer["y"].dtype == np.float32
    assert answer["seen"].shape == (0, 1) and answer["seen"].dtype == object


@pytest.mark.parametrize(
    "text", ["Zürich", "Zürich".encode(), np.array(["Zürich"]), np.array(["Zürich"], object)]
)
def test_strings_are_text_or_bytes(model: LoadedModel, text: Any) -> None:
    one = text if isinstance(text, np.ndarray) else [text]
    assert model.predict({"x": X, "country": one})["seen"].tolist() == ["Zürich".encode()]


@pytest.mark.parametrize("age", [4, [4], np.int64(4), np.array([4]), np.array(4), np.array([4], np.uint8)])
def test_a_plain_number_will_do_for_one_value(model: LoadedModel, age: Any) -> None:
    assert model.predict({"x": X, "age": age})["y"] == [10]


@pytest.mark.parametrize("kind", [dict, pd.DataFrame, pl.DataFrame])
def test_inputs_may_be_called_as_the_columns_that_they_stand_for(kind: Any) -> None:
    """A column's own name is taken where the schema cannot have it, and never instead of an input's own."""
    names = ("age__years_", "_1", "a_b")
    named = ModelSchema([ModelSchemaItem(name, DataType.DOUBLE, [1]) for name in names], SCHEMA.output_schema)
    said = {"age (years)": [4.0], "1": [5.0], "a_b": [6.0]}
    asked = rules.read(named, kind(said))
    assert {name: array.ravel().tolist() for name, array in asked.arrays.items()} == {
        "age__years_": [4.0],
        "_1": [5.0],
        "a_b": [6.0],
    }
    with pytest.raises(Refused, match="a b: is not an input"):
        rules.read(named, kind({**said, "a b": [7.0]}))


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_a_value_that_a_frame_lacks_is_an_input_that_was_not_sent(model: LoadedModel, kind: Any) -> None:
    frame = kind(
        {"x": [X.tolist(), X.tolist(), X.tolist()], "age": [1, None, 3], "country": ["a", "b", None]}
    )
    if kind is pl.DataFrame:
        frame = frame.with_columns(pl.col("x").cast(pl.List(pl.Float32)))
    answer = model.predict(frame)
    assert answer["y"].tolist() == [[7], [6], [9]] and answer["seen"].tolist() == [[b"a"], [b"b"], [b"?"]]


def test_nan_is_a_number_for_an_input_of_floats() -> None:
    schema = ModelSchema(
        [ModelSchemaItem("v", DataType.DOUBLE, [1])], [ModelSchemaItem("v", DataType.DOUBLE, [1])]
    )

    class Echo(One):
        def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
            return dict(inputs)

    answer = LoadedModel(Echo(), schema).predict(pd.DataFrame({"v": [1.0, np.nan]}))
    assert np.array_equal(answer["v"], [[1.0], [np.nan]], equal_nan=True)


def test_an_empty_frame_is_an_empty_batch(model: LoadedModel) -> None:
    frame = pl.DataFrame({"x": []}, schema={"x": pl.Array(pl.Float32, 3)})
    assert model.predict(frame)["y"].shape == (0, 1)


def test_threads_ask_in_every_form_at_once(model: LoadedModel) -> None:
    forms = [X, {"x": X}, {"x": np.stack([X] * 5)}, {"x": [1, 2, 3], "age": 0}]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: model.predict(forms[i % 4])["y"], range(200)))
    assert all((answer == 6).all() for answer in answers)


def test_the_callers_mapping_is_not_the_models(model: LoadedModel) -> None:
    class Greedy(One):
        def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
            return {"y": inputs.pop("x")}

    one, inputs = LoadedModel(Greedy(), SCHEMA), {"x": X}
    for _ in range(3):
        one.predict(inputs)
    assert list(inputs) == ["x"]


def test_a_model_that_answers_out_of_one_buffer_is_heard_row_by_row() -> None:
    class Buffered(One):
        buffer = np.zeros(1, np.float32)

        def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
            self.buffer[:] = inputs["x"].sum()
            return {"y": self.buffer}

    answer = LoadedModel(Buffered(), SCHEMA).predict({"x": np.stack([X, X * 2, X * 3])})
    assert answer["y"].tolist() == [[6], [12], [18]]


# What is refused ------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Any, str]] = {
    "shape": ({"x": X[:2]}, r"x: expected float \[3\], or \[n, 3\] for a batch; got float \[2\]"),
    "rank": ({"x": np.zeros((2, 2, 3), np.float32)}, r"x: .*got float \[2, 2, 3\]"),
    "double": (
        {"x": np.zeros(3)},
        r"x: expected float \[3\], got double \[3\]; \.astype\(np\.float32\) would round",
    ),
    "missing": ({"age": 3}, r"x: is missing; expected float \[3\]"),
    "missing, None": ({"x": None}, r"x: is missing"),
    "unknown": (
        {"x": X, "contry": ["DE"]},
        r"contry: is not an input of this model \(did you mean 'country'\?\)",
    ),
    "unknown, far": ({"x": X, "q": 1}, r"q: is not an input of this model; inputs: x, age, country"),
    "too large": ({"x": X, "age": 1 << 40}, r"age: expected int \[1\], got 1099511627776, out of its range"),
    "too large, array": (
        {"x": X, "age": np.array([1 << 40])},
        r"age: expected int \[1\], got long \[1\] with 1099511627776",
    ),
    "unsigned": ({"x": X, "age": np.array([1 << 31], np.uint32)}, r"age: .*2147483648, which it cannot hold"),
    "inexact": ({"x": np.array([1, 2, (1 << 24) + 1])}, r"x: .*16777217, which it cannot hold"),
    "a float": ({"x": X, "age": 1.0}, r"age: expected int \[1\], got floats"),
    "a float, array": ({"x": X, "age": np.array([1.0])}, r"age: expected int \[1\], got double \[1\]"),
    "a boolean": ({"x": X, "age": True}, r"age: expected int \[1\], got booleans"),
    "booleans": ({"x": np.array([True, False, True])}, r"x: expected float \[3\], got boolean \[3\]"),
    "a number for a string": (
        {"x": X, "country": np.array([3])},
        r"country: expected string \[1\], got long \[1\]",
    ),
    "an object for a string": (
        {"x": X, "country": np.array([None], object)},
        r"country: expected a string, got nothing",
    ),
    "strings": ({"x": ["a", "b", "c"]}, r"x: expected float \[3\], got strings"),
    "complex": ({"x": X.astype(complex)}, r"x: expected float \[3\], got complex128 \[3\]"),
    "ragged": ({"x": [[1, 2, 3], [1, 2]]}, r"x: expected float \[3\], got rows of different lengths"),
    "mixed": ({"x": np.stack([X, X]), "age": 1}, r"one sample of age, and a batch of x"),
    "lengths": ({"x": np.stack([X, X]), "age": [[1]]}, r"batches of different lengths: x 2, age 1"),
    "nothing": (None, r"expected a mapping of input names to arrays \(x, age, country\), got a NoneType"),
    "every mistake": ({"x": X[:2], "age": 1.5, "nme": 1}, r"(?s)nme: .*\nage: .*\nx: |nme: .*age: .*x: "),
    "a frame's gap": (pd.DataFrame({"x": [X, None]}), r"x: has no value in row 1, and is not optional"),
    "a frame's column": (pd.DataFrame({"y": [1]}), r"x: is missing"),
    "a frame's type": (pd.DataFrame({"x": [X], "age": [1.5]}), r"age: expected int \[1\], got double"),
}


@pytest.mark.parametrize(("inputs", "text"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_names_the_input_what_came_and_what_was_expected(
    model: LoadedModel, inputs: Any, text: str
) -> None:
    model.predict({"x": X, "age": np.array([1], np.int32)})  # a form that is known
    with pytest.raises(Refused, match=text) as caught:
        model.predict(inputs)
    assert isinstance(caught.value, ValueError)


def test_a_model_of_two_required_inputs_takes_no_lone_array() -> None:
    two = ModelSchema([ModelSchemaItem(name, DataType.FLOAT, [3]) for name in "ab"], SCHEMA.output_schema)
    with pytest.raises(Refused, match=r"\(a, b\), got a ndarray"):
        LoadedModel(One(), two).predict(X)


def test_what_the_model_raises_passes_through(model: LoadedModel) -> None:
    class Broken(One):
        def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        LoadedModel(Broken(), SCHEMA).predict({"x": X})


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            lambda x: {"y": x[: int(x[0])]},
            r"the output 'y' is of the shapes \[\[1\], \[2\]\], and fits no batch",
        ),
        (lambda x: {"y": x} if x[0] == 1 else {"y": x, "z": x}, None),
        (lambda x: x, "predict returned a ndarray; a mapping of arrays is expected"),
    ],
)
def test_rows_that_make_no_batch_are_told(answer: Any, text: str | None) -> None:
    class Odd(One):
        def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
            return answer(inputs["x"])  # type: ignore[no-any-return]

    one = LoadedModel(Odd(), SCHEMA)
    if text is None:
        assert list(one.predict(np.stack([X, X * 2]))) == ["y"]
        return
    with pytest.raises(ModelFailed, match=text):
        one.predict(np.stack([X, X * 2]))
