"""Rules over arrays: reading samples, judging them, writing them back, inferring a schema."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitreg.elements import array_of, canonical, plain
from gitreg.errors import Refused
from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.schema import (
    infer_schema,
    is_batch,
    read_sample,
    rows,
    sample_mistakes,
    schema_mistakes,
)

KINDS = [kind for kind in DataType if kind is not DataType.UNKNOWN]
X = ModelSchemaItem("x", DataType.FLOAT, [2])
NOTE = ModelSchemaItem("note", DataType.STRING, [1], optional=True)
Y = ModelSchemaItem("y", DataType.FLOAT, [1])
SCHEMA = ModelSchema([X, NOTE], [Y])


def item(kind: str, *shape: int) -> ModelSchemaItem:
    return ModelSchemaItem("x", DataType(kind), list(shape) or [1])


def strings(*values: bytes | str) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("kind", "said", "dtype"),
    [
        ("boolean", [True, False], "bool"),
        ("byte", [-128, 127], "int8"),
        ("char", [0, 255], "uint8"),
        ("short", [-32768, 32767], "int16"),
        ("int", [-(2**31), 2**31 - 1], "int32"),
        ("long", [-(2**63), 2**63 - 1], "int64"),
        ("float", [0.1, 1], "float32"),
        ("double", [0.1, -3], "float64"),
        ("double", [[1, 2], [3, 4.5]], "float64"),
        ("int", [], "int32"),
        ("float", [[], []], "float32"),
    ],
)
def test_plain_data_becomes_an_array_of_the_declared_type(kind: str, said: Any, dtype: str) -> None:
    array = array_of(item(kind), said)
    assert array.dtype == dtype
    assert array.tolist() == np.array(said, dtype).tolist()


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [
        ("byte", [128], "expected byte [1], got 128, out of its range [-128, 127]"),
        ("byte", [0, -129], "expected byte [1], got -129, out of its range [-128, 127]"),
        ("char", [-1], "expected char [1], got -1, out of its range [0, 255]"),
        ("int", [2**31], "out of its range"),
        ("long", [2**63], "out of its range"),
        ("long", [2**64], "out of its range"),
        ("float", [1e300], "out of its range"),
        ("int", [1.0], "expected int [1], got floats of shape [1]"),
        ("int", [1, 2.5], "expected int [1], got a float at [1]"),
        ("float", [123456789], "got 123456789 at [0], which it cannot hold exactly; 123456789.0 would be"),
        ("float", 123456789, "expected float [1], got 123456789, which it cannot hold exactly"),
        ("float", [[0.5, 1], [2.5, 123456789]], "got 123456789 at [1][1], which"),
        ("float", (1, -16777217), "got -16777217 at [1], which"),
        ("float", [np.int64(123456789)], "got 123456789 at [0], which"),
        ("float", [np.array([1, 123456789])], "got 123456789 at [0], which"),
        ("float", np.array([1, 123456789]), "got 123456789, which"),
        ("double", [2**53 + 1], "got 9007199254740993 at [0], which"),
        ("long", (True, 2), "got a boolean at [0], among numbers"),
        ("long", [np.True_, 2], "got a boolean at [0], among numbers"),
        ("long", [np.True_], "expected long [1], got booleans of shape [1]"),
        ("double", [[1, 2], [np.array(True), 3]], "got a boolean at [1][0], among numbers"),
        ("long", ["a", 1], "expected long [1], got a string at [0]"),
        ("float", ["a", True], "expected float [1], got strings of shape [2]"),
        ("boolean", [True, 2], "expected boolean [1], got an integer at [1]"),
        ("float", [1, None, 2], "expected float [1], got nothing (null) at [1]"),
        ("long", [[1, 2], [3, None]], "got nothing (null) at [1][1]"),
        ("long", [1, 2**70], "got 1180591620717411303424, out of its range, at [1]"),
        ("string", ["a", None], "expected a string, got nothing (null) at [1]"),
        (
            "string",
            [["a"], ["\ud800"]],
            "expected a string, got one with U+D800, half of a character at [1][0]",
        ),
        ("int", [True], "expected int [1], got booleans of shape [1]"),
        ("int", [1, True], "got a boolean at [1], among numbers"),
        ("float", [0.5, True], "got a boolean at [1], among numbers"),
        ("boolean", [1], "expected boolean [1], got integers of shape [1]"),
        ("double", ["1"], "expected double [1], got strings of shape [1]"),
        ("float", [[1, 2], [3]], "expected float [1], got rows of different lengths"),
        ("float", [1, [2]], "expected float [1], got rows of different lengths"),
        ("string", [1], "expected a string, got an integer at [0]"),
        ("string", [["a"], ["b", "c"]], "expected strings in rows of one length"),
        ("string", [["a"], "b"], "expected strings in rows of one length"),
        ("string", [{"base64": "!"}], "'!' is not base64"),
        ("string", [{"base64": 5}], "5 is not base64"),
        ("string", [{"base65": "aGk="}], "expected a string, got a dict at [0]"),
    ],
)
def test_what_would_lose_something_is_refused(kind: str, said: Any, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        array_of(item(kind), said)
    assert told in str(caught.value)


@pytest.mark.parametrize("said", [None, {"a": 1}, [None], [1, None], [2**70]])
def test_what_is_no_array_of_numbers_is_not_called_rows_of_different_lengths(said: Any) -> None:
    with pytest.raises(ValueError) as caught:
        array_of(item("long"), said)
    assert "rows of different lengths" not in str(caught.value)


@pytest.mark.parametrize("said", [2**24, 2**25, 100_000_000, -(2**31), 0, -(2**63), 2**63])
def test_whole_numbers_that_a_float_holds_are_floats(said: int) -> None:
    for each in (said, [said], [said, 0.5], np.array([said])):
        assert array_of(item("float"), each).ravel()[0] == said


@given(st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1), st.sampled_from(["float", "double"]))
def test_no_whole_number_is_changed(said: list[int], kind: str) -> None:
    exact = [int(item(kind).data_type.dtype.type(one)) == one for one in said]
    try:
        assert [int(one) for one in array_of(item(kind), said)] == said
    except ValueError as error:
        assert not all(exact), error
        assert f"got {said[exact.index(False)]} at [{exact.index(False)}], which" in str(error)
    else:
        assert all(exact)


def test_an_optional_input_that_is_null_is_not_sent() -> None:
    assert set(read_sample(SCHEMA, {"x": [1, 2], "note": None}, False)[0]) == {"x"}
    assert read_sample(SCHEMA, {"x": [1, 2], "note": None}, False)[1] == []
    assert read_sample(SCHEMA, {"x": None}, False)[1] == [("x", "is missing; expected float [2]")]
    assert read_sample(SCHEMA, {"x": [1, 2], "y": None}, False)[1] == [("y", "is not an input of the schema")]


def test_nan_and_infinity_are_floats() -> None:
    array = array_of(item("float", 3), [float("nan"), float("inf"), -float("inf")])
    assert np.isnan(array[0]) and array[1:].tolist() == [float("inf"), -float("inf")]


def test_strings_become_bytes_and_base64_writes_any_bytes() -> None:
    array = array_of(item("string"), [["é", "a"], [{"base64": "/wA="}, b"raw"]])
    assert array.tolist() == [["é".encode(), b"a"], [b"\xff\x00", b"raw"]]
    assert (array.dtype, array.shape) == (np.dtype(object), (2, 2))


def test_a_string_alone_has_no_dimension() -> None:
    assert array_of(item("string"), "abc").shape == ()


@pytest.mark.parametrize("kind", KINDS)
def test_plain_data_reads_back_to_the_same_array(kind: DataType) -> None:
    numbers = np.random.default_rng(0).integers(0, 2, (2, 3)).astype(bool)
    arrays = {
        "bool": numbers,
        "object": array_of(item("string"), [["", "é€😀", "a\nb\0"], [b"\xff\xfe", b"\x80ok", "null"]]),
        "float32": np.array([[0.1, 1 / 3, 1e-45], [3.4e38, -0.0, 16777217]], np.float32),
        "float64": np.array([[0.1, 1 / 3, 5e-324], [1.7e308, -0.0, 2**53]]),
    }
    info = np.iinfo(kind.dtype) if kind.dtype.kind in "iu" else None
    array = arrays[kind.dtype.name] if info is None else np.array([[info.min, 0], [1, info.max]], kind.dtype)
    again = array_of(ModelSchemaItem("x", kind, [-1, -1]), json.loads(json.dumps(plain(array))))
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tolist() == array.tolist()
    if kind.dtype.kind == "f":
        assert again.tobytes() == array.tobytes()  # -0.0 too


def test_nan_reads_back() -> None:
    assert np.isnan(array_of(item("float"), plain(np.array([np.nan], np.float32)))).all()


def test_float32_is_written_in_its_own_shortest_form() -> None:
    assert json.dumps(plain(np.array([0.1, 16777216, 1e-7], np.float32))) == "[0.1, 16777216.0, 1e-07]"


@pytest.mark.parametrize(
    "array", [np.array([b"a\xff"]), np.array(["é"]), strings(b"a", "b"), np.zeros((0, 2), np.float32)]
)
def test_plain_data_of_any_array_is_json(array: np.ndarray[Any, Any]) -> None:
    json.dumps(plain(array))


def test_models_receive_strings_as_bytes_and_numbers_contiguous() -> None:
    assert canonical(NOTE, np.array(["é"])).tolist() == ["é".encode()]
    turned = canonical(X, np.zeros((2, 3), np.float32).T)
    assert turned.flags.c_contiguous and turned.shape == (3, 2)


def test_every_sample_is_checked_and_not_only_the_first() -> None:
    said = [{"x": [1, 2]}, {"x": [3, 4]}, {"x": [5, 6, 7]}]
    found = [read_sample(SCHEMA, one, custom=False)[1] for one in said]
    assert found == [[], [], [("x", "expected float [2], got float [3]")]]


def test_a_wrong_shape_in_the_third_element_is_found() -> None:
    _, mistakes = read_sample(SCHEMA, {"x": [[1, 2], [3, 4], [5]]}, custom=True)
    assert mistakes == [("x", "expected float [2], got rows of different lengths")]


def test_every_mistake_of_a_sample_is_told() -> None:
    _, mistakes = read_sample(SCHEMA, {"nte": ["a"], "note": [5]}, custom=False)
    assert mistakes == [
        ("note", "expected a string, got an integer at [0]"),
        ("x", "is missing; expected float [2]"),
        ("nte", "is not an input of the schema"),
    ]


def test_a_sample_is_a_mapping() -> None:
    assert read_sample(SCHEMA, [1, 2], custom=False)[1] == [
        ("", "expected a mapping of input name to array, got list")
    ]


@pytest.mark.parametrize(
    ("sample", "mistakes"),
    [
        ({"x": np.zeros(2, np.float32)}, []),
        ({"x": np.zeros(2, np.float32), "note": np.array(["a"])}, []),
        ({"x": np.zeros(2, np.float32), "note": np.array([b"a"])}, []),
        ({"x": np.zeros(2)}, [("x", "expected float [2], got double [2]")]),
        ({"x": np.zeros((1, 2), np.float32)}, [("x", "expected float [2], got float [1, 2]")]),
        ({"x": [0.0, 0.0]}, [("x", "expected float [2], got a Python list")]),
        (
            {"x": np.zeros(2, np.float32), "note": strings(b"a")[:0]},
            [("note", "expected string [1], got string [0]")],
        ),
        (
            {"x": np.zeros(2, np.float32), "note": np.array([None])},
            [("note", "expected string [1], got an element of type NoneType")],
        ),
    ],
)
def test_arrays_must_fit_the_schema_exactly(sample: dict[str, Any], mistakes: list[tuple[str, str]]) -> None:
    assert sample_mistakes(SCHEMA, sample, custom=False) == mistakes


def test_a_variable_dimension_takes_any_length() -> None:
    schema = ModelSchema([ModelSchemaItem("x", DataType.INT, [-1, 2])], [Y])
    for length in (0, 1, 7):
        assert sample_mistakes(schema, {"x": np.zeros((length, 2), np.int32)}, custom=False) == []
    assert sample_mistakes(schema, {"x": np.zeros((2, 3), np.int32)}, custom=False) == [
        ("x", "expected int [-1, 2], got int [2, 3]")
    ]


def test_custom_batching_takes_single_samples_and_batches() -> None:
    single = {"x": np.zeros(2, np.float32), "note": np.array(["a"])}
    batch = {"x": np.zeros((3, 2), np.float32), "note": np.array([["a"]] * 3)}
    assert sample_mistakes(SCHEMA, single, custom=True) == []
    assert sample_mistakes(SCHEMA, batch, custom=True) == []
    assert (is_batch(SCHEMA, single), is_batch(SCHEMA, batch)) == (False, True)
    assert {n: a.shape for n, a in rows(SCHEMA, single, custom=True).items()} == {"x": (1, 2), "note": (1, 1)}
    assert rows(SCHEMA, batch, custom=True) is batch


def test_without_custom_batching_a_batch_is_a_wrong_shape() -> None:
    batch = {"x": np.zeros((3, 2), np.float32)}
    assert sample_mistakes(SCHEMA, batch, custom=False) == [("x", "expected float [2], got float [3, 2]")]


def test_a_batch_has_one_length() -> None:
    batch = {"x": np.zeros((3, 2), np.float32), "note": np.array([["a"]] * 2)}
    assert sample_mistakes(SCHEMA, batch, custom=True) == [
        ("", "inputs with different batch lengths: [2, 3]")
    ]


def test_single_and_batched_inputs_do_not_mix() -> None:
    mixed = {"x": np.zeros((3, 2), np.float32), "note": np.array(["a"])}
    assert sample_mistakes(SCHEMA, mixed, custom=True) == [("x", "expected float [2], got float [3, 2]")]


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (ModelSchema([], [Y]), ["model_schema has no input; at least one is required"]),
        (ModelSchema([X], []), ["model_schema has no output; at least one is required"]),
        (ModelSchema([X, X], [Y]), ["input 'x' is declared twice"]),
        (
            ModelSchema([ModelSchemaItem("x", shape=[1])], [Y]),
            ["input 'x': data_type is UNKNOWN; name one, as DataType.FLOAT"],
        ),
        (
            ModelSchema([ModelSchemaItem("x", DataType.INT)], [Y]),
            ["input 'x': shape is required, as [4], [-1] for a variable length, [1] for a scalar"],
        ),
        (
            ModelSchema([X], [ModelSchemaItem("y", DataType.INT, [0], optional=True)]),
            [
                "output 'y': shape [0]: each dimension is a positive length, or -1",
                "output 'y': an output cannot be optional",
            ],
        ),
        (SCHEMA, []),
    ],
)
def test_what_makes_a_schema_unfit_for_packaging(schema: ModelSchema, told: list[str]) -> None:
    assert schema_mistakes(schema) == told


def as_data(items: list[ModelSchemaItem]) -> list[tuple[str, str, list[int] | None, bool | None]]:
    return [(i.name, i.data_type.value, i.shape, i.optional) for i in items]


def test_a_schema_is_inferred_from_one_sample() -> None:
    inferred = infer_schema(
        {"a": np.zeros((2, 3), np.int8), "b": [1.5, 2.5], "c": [1], "d": "word", "e": np.array([True])},
        {"y": np.float64(2)},
    )
    assert as_data(inferred.input_schema) == [
        ("a", "byte", [2, 3], None),
        ("b", "float", [2], None),
        ("c", "long", [1], None),
        ("d", "string", [1], None),
        ("e", "boolean", [1], None),
    ]
    assert [i.shape for i in inferred.output_schema] == [[1]]


def test_dimensions_that_differ_between_samples_are_variable() -> None:
    samples = [{"x": np.zeros((2, n), np.float32)} for n in (3, 4)]
    assert as_data(infer_schema(samples).input_schema) == [("x", "float", [2, -1], None)]


def test_inputs_that_only_some_samples_have_are_optional() -> None:
    inferred = infer_schema([{"x": [1.0]}, {"x": [2.0], "note": ["a"]}], [{"y": [1]}, {"y": [2]}])
    assert as_data(inferred.input_schema) == [("x", "float", [1], None), ("note", "string", [1], True)]
    assert as_data(inferred.output_schema) == [("y", "long", [1], None)]


def test_an_empty_dimension_becomes_variable() -> None:
    inferred = infer_schema({"x": np.zeros((0, 2), np.float32)}, {"y": [1]})
    assert schema_mistakes(inferred) == []
    assert inferred.input_schema[0].shape == [-1, 2]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], "inputs: expected a mapping of name to array, or a list of them"),
        ([1], "inputs: expected a mapping of name to array, or a list of them"),
        ({"x": np.zeros(2, np.uint16)}, "input 'x': no data type for uint16"),
        ({"x": np.zeros(2, complex)}, "input 'x': no data type for complex128"),
        ([{"x": [True]}, {"x": [1.5]}], "input 'x': no one data type for bool and float32"),
        ([{"x": np.array([1])}, {"x": [1.5]}], "input 'x': no one data type for float32 and int64"),
        ({}, "inputs: there are none; at least one is expected"),
        ([{"x": [1]}, {"x": [[1]]}], "input 'x': samples of different ranks: [(1,), (1, 1)]"),
    ],
)
def test_what_no_schema_can_say_is_refused(data: Any, told: str) -> None:
    with pytest.raises(Refused) as caught:
        infer_schema(data)
    assert str(caught.value) == told


@pytest.mark.parametrize("data", [{"x": [[1, 2], [3]]}, {"x": [None]}, {"x": [{}]}])
def test_what_is_no_array_is_refused(data: Any) -> None:
    with pytest.raises(Refused, match="input 'x'"):
        infer_schema(data)


def test_whole_numbers_are_floats_where_another_sample_has_one() -> None:
    (item,) = infer_schema([{"x": [1, 2]}, {"x": [1.5, 2]}]).input_schema
    assert item.describe() == "float [2]"


def test_an_inferred_schema_fits_its_own_samples() -> None:
    samples = [{"x": np.zeros((n, 2), np.int16), "s": strings(b"a", b"b")} for n in (1, 2)]
    inferred = infer_schema(samples, [{"y": np.zeros(1)}] * 2)
    assert schema_mistakes(inferred) == []
    assert [sample_mistakes(inferred, sample, custom=False) for sample in samples] == [[], []]


def frames() -> list[Any]:
    """The same table as pandas and as polars hold it."""
    import pandas
    import polars

    data = {"age": [30, 40], "pay": [1.5, 2.5], "name": ["a", "b"], "member": [True, False]}
    return [pandas.DataFrame(data), polars.DataFrame(data)]


@pytest.mark.parametrize("which", [0, 1], ids=["pandas", "polars"])
def test_a_data_frame_has_an_input_for_each_column(which: int) -> None:
    schema = infer_schema(frames()[which], np.zeros((2,), "f4"))
    assert [(i.name, i.data_type.name, i.shape) for i in schema.input_schema] == [
        ("age", "LONG", [1]),
        ("pay", "DOUBLE", [1]),
        ("name", "STRING", [1]),
        ("member", "BOOLEAN", [1]),
    ]
    assert [(i.name, i.data_type.name, i.shape) for i in schema.output_schema] == [("y", "FLOAT", [2])]


def test_a_column_with_missing_values_is_optional_and_stays_what_it_is() -> None:
    import pandas
    import polars

    data = {"age": [30, None], "name": [None, "b"], "pay": [1.5, None]}
    for frame in (pandas.DataFrame(data), polars.DataFrame(data)):
        items = infer_schema(frame).input_schema
        assert [(i.name, i.data_type.name, i.optional) for i in items] == [
            ("age", "LONG", True),
            ("name", "STRING", True),
            ("pay", "DOUBLE", True),
        ]


def test_a_column_of_vectors_has_their_shape() -> None:
    import pandas
    import polars

    for frame in (
        pandas.DataFrame({"v": [[1.0, 2.0], [3.0, 4.0]]}),
        polars.DataFrame({"v": [[1.0, 2.0], [3.0, 4.0]]}),
    ):
        (item,) = infer_schema(frame).input_schema
        assert item.shape == [2]
        assert item.data_type in (DataType.FLOAT, DataType.DOUBLE)


def test_a_column_of_dates_has_no_data_type() -> None:
    import pandas

    with pytest.raises(Refused, match="'day': no data type for"):
        infer_schema(pandas.DataFrame({"day": pandas.to_datetime(["2026-01-01"])}))


def test_one_array_is_the_one_input() -> None:
    schema = infer_schema(np.zeros((3, 2), "f4"), np.zeros(2, "i4"))
    assert [(i.name, i.shape) for i in schema.input_schema + schema.output_schema] == [
        ("x", [3, 2]),
        ("y", [2]),
    ]
