"""Numbers and arrays of other people's files: bounded, with their place, and never a defect or gigabytes."""

from __future__ import annotations

import io
import json
import resource
import struct
import time
import warnings
import zipfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas
import pytest

from gitreg import columns, datafiles, declared, elements, heldout, inputs, isolation, npz, numerals, query
from gitreg.cli import gitreg as group
from gitreg.cli import output
from gitreg.errors import InvalidFiles, Refused, Usage
from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.schema import infer_schema
from tests.support import Workshop, gitreg, run

# Numbers ------------------------------------------------------------------------------------------

LONG = "1" + "0" * 399
WRONG = {
    LONG: "a number of 400 digits; at most 64 are read",
    "-" + "9" * 65: "a number of 65 digits",
    "0." + "3" * 200: "a number of 201 digits",
    "9" * 5000: "a number of 5,000 digits",
    "1e999": "1e999 is beyond what a float holds",
    "-1.5E+400": "-1.5E+400 is beyond what a float holds",
    "2e-400": "2e-400 is nearer to 0 than a float can be",
    "NaN": "NaN is not a finite number",
    "Infinity": "Infinity is not a finite number",
    "-Infinity": "-Infinity is not a finite number",
}
RIGHT = ["0", "-1", "9" * 64, "0." + "1" * 60, "1.7976931348623157e308", "5e-324", "0e-999", "-0.0", "1E5"]


def test_a_number_that_is_too_much_is_a_problem_at_its_place(workshop: Workshop) -> None:
    lines = [f'  "{i}": ["{number} in a text", {{"accuracy": {number}}}],' for i, number in enumerate(WRONG)]
    text = "\n".join(["{", *lines, '  "last": 1', "}"])
    for name in ("metrics", "params"):
        (workshop.adder / f"{name}.json").write_text(text)
    workshop.manifest(metrics="metrics.json", params="params.json")
    workshop.commit()
    for done in (workshop.gitreg("check"), workshop.gitreg("check", "--base", "HEAD~1")):
        assert done.returncode == 1
        for name in ("metrics", "params"):
            for line, (number, said) in enumerate(WRONG.items(), 2):
                column = lines[line - 2].rindex(number) + 1
                assert f"models/adder/{name}.json:{line}:{column}: {said}" in done.stderr + done.stdout
    for verb in (["compare", "adder", "adder"], ["diff", "adder", "adder"], ["show", "adder"], ["list"]):
        assert workshop.gitreg(*verb).returncode in (0, 1), verb


def test_every_other_number_is_read_by_all(workshop: Workshop) -> None:
    values = ", ".join(f'"a{i}": {number}' for i, number in enumerate(RIGHT))
    (workshop.adder / "metrics.json").write_text(f"{{{values}}}")
    workshop.manifest(metrics="metrics.json")
    workshop.commit()
    assert workshop.gitreg("check").returncode == 0
    assert workshop.gitreg("apply").returncode == 0
    assert workshop.gitreg("compare", "adder", "adder@1.0.0").returncode == 0
    tests = " AND ".join(f"metrics.a{i} >= -1e308" for i in range(len(RIGHT)))
    assert "adder" in workshop.gitreg("search", tests, "--order-by", "metrics.a2").stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.json", f'{{"accuracy": {LONG}, "f1": 0.5}}'),
        ("metrics.toml", f"accuracy = 0x{'f' * 400}\nf1 = 0.5\n"),
    ],
)
def test_what_was_registered_with_such_a_number_is_read_and_passes_no_gate(
    name: str, text: str, workshop: Workshop
) -> None:
    """An older gitreg let it through; a text is no number, so no bound holds for it."""
    (workshop.adder / name).write_text(text)
    workshop.manifest(metrics=name)
    file = workshop.root / "registry.yaml"
    file.write_text(
        file.read_text().replace("staging: {}", "staging: {gates: [{metric: accuracy, min: 0.90}]}")
    )
    assert "min: 0.90" in file.read_text()
    workshop.commit()
    run("git", "tag", "-a", "adder@v1.0.0", "-m", "by hand", cwd=workshop.root)
    for verb in (
        ["list"],
        ["show", "adder"],
        ["compare", "adder", "adder@1.0.0"],
        ["search", "metrics.f1 > 0"],
    ):
        done = workshop.gitreg(*verb)
        assert done.returncode == 0, (verb, done.stderr)
    assert workshop.gitreg("site", "build", "-o", workshop.root.parent / "page").returncode == 0
    done = workshop.gitreg("promote", "adder", "staging", "--apply")
    assert done.returncode == 1 and "accuracy" in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("m.yaml", f"a: 1\nb:\n  - {LONG}\n", "3:5"),
        ("m.yaml", "a: 1\nb: .inf\n", "2:4"),
        ("m.yaml", "a: 1\nb: 1e999\n", "2:4"),
        ("m.toml", f"a = 1 # {LONG}\nb = {LONG}\n", "2:5"),
        ("m.toml", "a = 1\n[t]\nb = nan\nc = 'nan inf'\n", "3:5"),
        ("m.toml", f"a = 1_000\nb = {'1_000_' * 30}0\n", "2:5"),
    ],
)
def test_yaml_and_toml_have_the_same_bounds(name: str, text: str, place: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidFiles) as caught:
        datafiles.read_values(tmp_path / name, name, finite=True)
    assert str(caught.value.problems[0]).startswith(f"{name}:{place}: ")


def test_numbers_in_manifests_gates_and_samples_have_bounds_too(workshop: Workshop) -> None:
    manifest = workshop.adder / "model.yaml"
    said = manifest.read_text()
    for key, value in {
        "metrics": f'{{"a": {LONG}}}',
        "params": '{"a": .nan}',
        "batching": f'{{"max_batch_size": {LONG}}}',
        "tags": '{"a": .nan}',
        "release": '{"tags": {"a": -.INF}}',
    }.items():
        manifest.write_text(said.rstrip().removesuffix("}") + f', "{key}": {value}}}\n')
        done = workshop.gitreg("check")
        assert done.returncode == 1 and "models/adder/model.yaml:" in done.stderr, (key, done.stderr)
    manifest.write_text(said.replace('"shape": [\n          2', f'"shape": [\n          {LONG}'))
    assert LONG in manifest.read_text() and workshop.gitreg("check").returncode == 1
    manifest.write_text(said)
    for number, code in {LONG: 1, "1e400": 1, "1e39": 1, "1": 0}.items():
        (workshop.adder / "samples.json").write_text(f'[{{"x": [1, {number}]}}]')
        done = workshop.gitreg("check")
        assert done.returncode == code, (number, done.stderr)
        assert code == 0 or "models/adder/samples.json:1:" in done.stderr
    file = workshop.root / "registry.yaml"
    text = file.read_text()
    for gate in (f"soak: {'9' * 500}d", f"soak: {'0' * 10}d", f"metric: a, max_drop: {LONG}"):
        file.write_text(text.replace("staging: {}", f"staging: {{gates: [{{{gate}}}]}}"))
        done = workshop.gitreg("check")
        assert done.returncode == 1 and "registry.yaml:" in done.stderr, (gate, done.stderr)
    for number in (LONG, ".nan", "-.inf", "1e999"):
        file.write_text(text.replace("staging: {}", f"staging: {{gates: [{{metric: a, min: {number}}}]}}"))
        done = workshop.gitreg("check")
        assert done.returncode == 1 and "registry.yaml:" in done.stderr, (number, done.stderr)


QUOTES = (
    "1",
    "1.",
    "1e",
    "1e999,",
    '"',
    '\\"',
    "'",
    '"""',
    "'''",
    '"\\"',
    "-",
    "[",
    "a=[",
    "{a=",
    "\n1e999",
    "0x",
    "#",
)


@pytest.mark.parametrize("text", QUOTES)
def test_a_search_for_numbers_takes_time_in_proportion(text: str) -> None:
    """Each has 1 MB: what begins its search again at each place would take minutes."""
    long = text * ((1 << 20) // len(text))
    begun = time.process_time()
    for found in (numerals.in_json("NaN" + long), numerals.in_toml("a = nan\nb = " + long)):
        deque(found, maxlen=0)
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('["a\\"NaN", NaN,\n-Infinity]', [(1, 12), (2, 1)]),
        ('{"NaN": 1,\n\n "b": [1e999,\n1e998]}', [(3, 8), (4, 1)]),
        ('{"it\'s 1e400": 1, "b": "\'", "c": 1e400}', [(1, 34)]),
        ('{"a": "\\\\", "b": 1e400, "c": "\\\\"}', [(1, 18)]),
    ],
)
def test_numbers_of_json_have_their_places(text: str, places: list[tuple[int, int]]) -> None:
    json.loads(text)
    assert [one[:2] for one in numerals.in_json(text)] == places


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("inf = 1\nx.inf = 2\n[nan]\n[[t.inf]]\n1e999 = 3\n", []),
        ("a = nan # inf\n[nan]\nb = [ # nan\n  [inf],\n  -inf]\nnan = 1\n", [(1, 5), (4, 4), (5, 3)]),
        ("a = {nan = 1, b = nan, inf = [nan, {nan = 2}, +inf], c = 1}\n", [(1, 19), (1, 31), (1, 47)]),
        ('a = \'nan\'\nb = """\nc = nan "" \\"""""\nd = nan\n', [(4, 5)]),
        ("a = '''\nb = inf '' ''''\nd = [1, 'x]', inf]\n", [(3, 15)]),
        (
            f"a = 0x{'f' * 64}\nb = 0x{'f' * 65}\nc = 0b{'1_' * 64}1\nd = 0o{'7' * 400}\n",
            [(2, 5), (3, 5), (4, 5)],
        ),
        ("d = 2026-01-01 00:00:00.123456\n1.2.3 = 5\nv = 1e4_00\nw = 1e-4_00\n", [(3, 5), (4, 5)]),
        (f"a = 1\nb = {'9' * 5000}\n", [(2, 5)]),
    ],
)
def test_numbers_of_toml_have_their_places(text: str, places: list[tuple[int, int]], tmp_path: Path) -> None:
    """Keys, tables, texts and comments are none; the parser has the last word of what the text means."""
    assert [one[:2] for one in numerals.in_toml(text)] == places
    (tmp_path / "m.toml").write_text(text)
    if not places:
        assert datafiles.read_values(tmp_path / "m.toml", "m.toml", finite=True)
        return
    with pytest.raises(InvalidFiles) as caught:
        datafiles.read_values(tmp_path / "m.toml", "m.toml", finite=True)
    assert [(one.line, one.column) for one in caught.value.problems] == places


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.yaml", "auc: .INF\n", "m.yaml:1:6: auc: inf is not a finite number"),
        ("m.yaml", "a: 1\nauc: +.INF\n", "m.yaml:2:6: auc: inf is"),
        ("m.yaml", "auc: -.Inf\n", "m.yaml:1:6: auc: -inf is"),
        ("m.yml", "auc: .NAN\n", "m.yml:1:6: auc: nan is"),
        ("m.yaml", "a: [1, {b: .NAN}]\n", "m.yaml:1:12: a[1].b: nan is"),
        ("m.yaml", "a: &x .NaN\nb: 1\n", "m.yaml:1:4: a: nan is"),
        ("m.yaml", f"a: 0x{'f' * 65}\n", "m.yaml:1:4: a number of 65 digits"),
        ("m.json", '{"nan": 1, "v": 1.2.3}', "m.json:1:20: not JSON: "),
        ("m.json", '{"nan": 1, "v": 1....}', "m.json:1:18: not JSON: "),
        ("m.toml", "nan = 1\nv = 1.2.3\n", "m.toml: cannot be read: "),
        (
            "m.json",
            "{" + ",".join(f'"k{i}": 1' for i in range(60_000)) + ', "k7": 1}',
            "m.json: the key 'k7' ",
        ),
        ("m.json", '{"a":' * 41 + "1" + "}" * 41, "m.json: nested more than 40 deep"),
        ("m.toml", "a." * 3000 + "b = 1", "m.toml: cannot be read: a dotted key of more than 40 parts"),
    ],
)
def test_what_no_number_may_be_is_refused_however_it_is_written(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidFiles) as caught:
        datafiles.read_values(tmp_path / name, name, finite=True)
    assert len(caught.value.problems) == 1 and str(caught.value.problems[0]).startswith(said)


def test_problems_of_one_file_are_a_hundred_at_most(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"a": [' + "1e999, " * 100_000 + "1]}")
    with pytest.raises(InvalidFiles) as caught:
        datafiles.read_values(tmp_path / "m.json", "m.json", finite=True)
    assert len(caught.value.problems) == 101
    assert "more such numbers; the first 100 are listed" in str(caught.value.problems[-1])


def test_a_metric_that_is_a_text_is_warned_of(workshop: Workshop) -> None:
    values = {
        "auc": "0.95",
        "f1": {"a": "1_000", "b": "95 %", "c": "1e-3"},
        "name": "v2",
        "day": "2026-12-01",
        "n": 1,
    }
    (workshop.adder / "metrics.json").write_text(json.dumps(values))
    workshop.manifest(metrics="metrics.json")
    done = workshop.gitreg("check")
    assert done.returncode == 0 and "4 warnings" in done.stdout + done.stderr, done.stderr
    for name, text in {"auc": "0.95", "f1.a": "1_000", "f1.b": "95 %", "f1.c": "1e-3"}.items():
        assert f"metrics.json: warning: {name}: the text '{text}' is no number" in done.stdout + done.stderr


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 500, "1e-400", "0." + "1" * 65])
def test_a_filter_with_a_number_that_is_too_much_is_refused_at_its_place(number: str) -> None:
    for text in (f"metrics.mae < {number}", f"metrics.mae IN ({number})"):
        with pytest.raises(Usage, match=rf"column {text.index(number) + 1}: "):
            query.parse(text)
    assert query.parse(f"metrics.mae < {'9' * 64}").test({"metrics.mae": 1.5})
    assert not query.parse("metrics.mae > 0e-999").test({"metrics.mae": -1.5})


def test_seconds_are_a_number_of_which_a_system_can_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output.Seconds().max == declared.MOST_SECONDS
    for text in ("nan", "inf", "1e400", "0", "-1", "2000001", "99999999999999999"):
        with pytest.raises(click.BadParameter):
            output.Seconds().convert(text, None, None)
        monkeypatch.setenv("GITREG_TIMEOUT", text)
        with pytest.raises(Usage, match="GITREG_TIMEOUT is"):
            isolation.environment_timeout()
    assert output.Seconds().convert("2e6", None, None) == 2e6
    todo: list[click.Command] = [group]
    for command in todo:
        todo += command.commands.values() if isinstance(command, click.Group) else []
        for option in command.params:
            assert not isinstance(option.type, click.FloatRange) or isinstance(option.type, output.Finite)
            assert option.type is not click.FLOAT and (
                "timeout" not in (option.name or "") or isinstance(option.type, output.Seconds)
            ), (command.name, option.name)


# Whole numbers and floats -------------------------------------------------------------------------


def item(kind: DataType, optional: bool | None = None) -> ModelSchemaItem:
    return ModelSchemaItem("x", kind, [1], optional)


CELLS = [
    (
        "1e300\n2",
        DataType.LONG,
        "column 'x', row 0: expected long [1], got 1e+300, of which a float does not",
    ),
    ("2\n\n-1e300", DataType.INT, "column 'x', row 1: expected int [1], got -1e+300, of which a float"),
    ("1.5\n2", DataType.LONG, "column 'x', row 0: expected long [1], got 1.5, which is no whole number"),
    ("2\n-inf", DataType.LONG, "column 'x', row 1: expected long [1], got -inf, which is no whole number"),
    (
        '9007199254740993\n""\n2',
        DataType.LONG,
        "column 'x', row 0: expected long [1], got 9007199254740992.0",
    ),
    ("3000000000.0\n2", DataType.INT, "column 'x': expected int [1], got 3000000000, out of its range"),
    ("1e400\n2", DataType.LONG, "column 'x', row 0: 1e400 is beyond what a float holds"),
    ("2\n-1e400", DataType.DOUBLE, "column 'x', row 1: -1e400 is beyond what a float holds"),
    ("1E-400", DataType.DOUBLE, "column 'x', row 0: 1E-400 is nearer to 0 than a float can be"),
    ("2\n" + "1" * 400, DataType.LONG, "column 'x', row 1: a number of 400 digits; at most 64 are read"),
    ("0." + "1" * 400, DataType.FLOAT, "column 'x', row 0: a number of 401 digits; at most 64 are read"),
    ("1e39", DataType.FLOAT, "column 'x': expected float [1], got 1e+39, out of its range"),
]


@pytest.mark.parametrize(("cells", "kind", "said"), CELLS)
def test_no_cell_of_held_out_data_becomes_another_number(
    cells: str, kind: DataType, said: str, tmp_path: Path
) -> None:
    (tmp_path / "held.csv").write_text(f"x\n{cells}\n")
    with pytest.raises((Refused, InvalidFiles)) as caught:
        columns.rows_of(
            ModelSchema([item(kind, '""' in cells)], []), heldout.read(tmp_path / "held.csv"), ["y"]
        )
    assert said in (
        caught.value.message if isinstance(caught.value, Refused) else str(caught.value.problems[0])
    )


def test_cells_that_are_fine_are_read_as_they_are(tmp_path: Path) -> None:
    text = "x,i,s,f\n1.0,1,1e999,inf\n,9007199254740993,0x10,5e-324\n9007199254740991,-1,nan,0.30000000000000004\n"
    (tmp_path / "held.csv").write_text(text)
    table = heldout.read(tmp_path / "held.csv")
    assert table.columns["s"] == ["1e999", "0x10", "nan"]
    assert table.columns["f"].tolist() == [float("inf"), 5e-324, 0.30000000000000004]
    assert columns.rows_of(ModelSchema([item(DataType.LONG, True)], []), table, [])[0].inputs[
        "x"
    ].tolist() == [
        [1],
        [(1 << 53) - 1],
    ]
    table.columns["x"] = table.columns["i"]
    [rows] = columns.rows_of(ModelSchema([item(DataType.LONG)], []), table, [])
    assert rows.inputs["x"].tolist() == [[1], [9007199254740993], [-1]]


@pytest.mark.parametrize("odd", [1e300, float("inf"), 1.5, 2.0**53, -1e19])
def test_floats_of_data_frames_become_whole_numbers_without_a_change_or_not_at_all(odd: float) -> None:
    frame = pandas.DataFrame({"x": [1.0, None, odd]})
    assert infer_schema(frame).input_schema[0].data_type is DataType.DOUBLE
    with pytest.raises(Refused, match=r"which is no whole number|does not hold every digit"):
        inputs.read(ModelSchema([item(DataType.LONG, True)], []), frame)
    fine = pandas.DataFrame({"x": [1.0, None, 1 - 2.0**53]})
    assert infer_schema(fine).input_schema[0].data_type is DataType.LONG


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([[1.0, 2.0], [3, 1 << 53 | 1]], "9007199254740993 at [1][1]"),
        ([[1.0, 2.0], [3, True]], "a boolean at [1][1], among numbers"),
        ([[1.0, 2.0], [3, None]], "nothing (null) at [1][1]"),
        ([[1.0, "{at}"], [3, 4]], "a string at [0][1]"),
        ([[1, 2], [3, 10**400]], "out of its range, at [1][1]"),
    ],
)
def test_the_first_odd_element_has_its_place(value: Any, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        elements.array_of(ModelSchemaItem("x", DataType.DOUBLE, [2, 2]), value)
    assert said in str(caught.value)


# Arrays -------------------------------------------------------------------------------------------


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    raw = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<I", len(raw)) + raw + data


def npy_of(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def says(descr: str, shape: str, fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


def encrypted(data: bytes) -> bytes:
    raw = bytearray(data)
    raw[raw.index(b"PK\1\2") + 8] |= 1
    return bytes(raw)


def damaged(data: bytes) -> bytes:
    raw = bytearray(data)
    raw[60] ^= 0xFF
    return bytes(raw)


FINE = npy_of(np.array([[1, 2], [3, 4]], np.int32))
BAD = {
    "a header that promises 8 TB": zipped({"x.npy": npy(says("'<f8'", "(1000000000000,)"))}),
    "a header that promises more than the file": zipped({"x.npy": npy(says("'<i4'", "(3, 2)"), bytes(16))}),
    "a header that promises less than the file": zipped({"x.npy": npy(says("'<i4'", "(1, 2)"), bytes(16))}),
    "a negative length": zipped({"x.npy": npy(says("'<i4'", "(-1, -2)"), bytes(8))}),
    "a length that is no number": zipped({"x.npy": npy(says("'<i4'", "('a', 2)"), bytes(8))}),
    "no samples of endless length": zipped({"x.npy": npy(says("'<i4'", "(1000000000000, 0)"))}),
    "strings without bytes": zipped({"x.npy": npy(says("'<U0'", "(1000000000000,)"))}),
    "an item of 8 EB": zipped({"x.npy": npy(says("'<U2000000000000000000'", "(1,)"))}),
    "a dtype that is none": zipped({"x.npy": npy(says("'nonsense'", "(1,)"))}),
    "objects": zipped({"x.npy": npy_of(np.array([{}, []], object))}),
    "objects in fields": zipped({"x.npy": npy(says("[('a', 'O')]", "(1,)"), bytes(8))}),
    "named fields": zipped({"x.npy": npy_of(np.zeros(2, [("a", "i4")]))}),
    "names that are not latin": zipped({"x.npy": npy_of(np.zeros(2, [("\u03b1", "i4")]))}),
    "a header that is no dict": zipped({"x.npy": npy("[1, 2]", bytes(8))}),
    "a header of calls": zipped({"x.npy": npy("__import__('os').system('true')")}),
    "a header that nests": zipped({"x.npy": npy("(" * 5000)}),
    "a header of 60 kB": zipped({"x.npy": npy(" " * 60_000)}),
    "a header that is cut off": zipped({"x.npy": FINE[:30]}),
    "an unknown version": zipped({"x.npy": b"\x93NUMPY\x09\x00" + bytes(50)}),
    "no .npy at all": zipped({"x.npy": b"hello"}),
    "an empty member": zipped({"x.npy": b""}),
    "another ending": zipped({"x.txt": FINE}),
    "a member without a name": zipped({".npy": FINE}),
    "no member": zipped({}),
    "a .npy that is called .npz": FINE,
    "a text": b"hello",
    "nothing": b"",
    "a cut-off zip": zipped({"x.npy": FINE})[:-8],
    "a directory that says 4 GB": zipped({"x.npy": FINE})[:-10] + b"\xff\xff\xff\x7f" + bytes(6),
    "bzip2": zipped({"x.npy": FINE}, zipfile.ZIP_BZIP2),
    "lzma": zipped({"x.npy": FINE}, zipfile.ZIP_LZMA),
    "an unknown compression": zipped({"x.npy": FINE}).replace(
        b"PK\1\2\x14\x03\x14\0\0\0\x08\0", b"PK\1\2\x14\x03\x14\0\0\0\x63\0"
    ),
    "encrypted": encrypted(zipped({"x.npy": FINE})),
    "broken content": damaged(zipped({"x.npy": FINE + bytes(99)})),
    "1,001 arrays": zipped({f"x{i}.npy": npy_of(np.zeros(1)) for i in range(1001)}),
    "arrays of different lengths": zipped({"x.npy": FINE, "y.npy": npy_of(np.zeros(3))}),
}


@pytest.mark.parametrize("what", BAD)
def test_an_odd_npz_is_a_problem_and_nothing_more(what: str, tmp_path: Path) -> None:
    (tmp_path / "samples.npz").write_bytes(BAD[what])
    with pytest.raises(InvalidFiles) as caught:
        datafiles.plain_samples(tmp_path / "samples.npz", "models/m/samples.npz")
    assert str(caught.value.problems[0]).startswith("models/m/samples.npz: ")


def limited(megabytes: int) -> Any:
    size = megabytes << 20
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))


@pytest.mark.parametrize("what", ["one array", "many arrays", "members in each other"])
def test_a_small_file_of_gigabytes_is_refused_before_it_is_unpacked(what: str, workshop: Workshop) -> None:
    big = npy(says("'<i4'", f"({1 << 26}, 2)")) + bytes(1 << 20)  # never whole: its directory lies
    file = workshop.adder / "samples.npz"
    if what == "one array":
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("x.npy", "w", force_zip64=True) as out,
        ):
            out.write(npy(says("'<i4'", f"({3 << 27}, 2)")))
            for _ in range(3 << 10):
                out.write(bytes(1 << 20))
        assert file.stat().st_size < 4 << 20
    elif what == "many arrays":
        part = npy(says("'<i4'", f"({1 << 20}, 2)")) + bytes(8 << 20)
        file.write_bytes(zipped({f"x{i}.npy": part for i in range(33)}))
    else:
        raw = zipped({f"x{i:03}.npy": big for i in range(2)})
        file.write_bytes(raw)
    workshop.manifest(sample_data="samples.npz")
    done = workshop.gitreg("check", preexec_fn=limited(2000))
    assert done.returncode == 1, done.stderr
    assert "at most 268,435,456 are read" in done.stderr or "which are" in done.stderr


SCHEMA = ModelSchema([ModelSchemaItem("x", DataType.FLOAT, [-1])], [])
STRINGS = ModelSchema([ModelSchemaItem("x", DataType.STRING, [-1])], [])


def zeros(dtype: str, shape: str, size: int) -> bytes:
    return zipped({"x.npy": npy(says(dtype, shape)) + bytes(size)})


LARGE: dict[str, tuple[str, Callable[[], bytes], ModelSchema, str]] = {
    "a sample for each value": (
        "npz",
        lambda: zeros("'<f4'", "(1048576, 1)", 4 << 20),
        SCHEMA,
        "10,000 samples",
    ),
    "samples of nothing": ("npz", lambda: zeros("'<f4'", "(1048576, 0)", 0), SCHEMA, "10,000 samples"),
    "one sample of zeros": (
        "npz",
        lambda: zeros("'|u1'", "(1, 90000000)", 90_000_000),
        SCHEMA,
        "90,000,000 values",
    ),
    "strings of zeros": (
        "npz",
        lambda: zeros("'<U64'", "(1, 400000)", 102_400_000),
        STRINGS,
        "bytes of strings",
    ),
    "numbers as samples": ("json", lambda: b"[" + b"1," * 2_400_000 + b"1]", SCHEMA, "10,000 samples"),
    "short samples": ("json", lambda: b"[" + b'{"x":[1]},' * 400_000 + b"{}]", SCHEMA, "10,000 samples"),
    "one long sample": ("json", lambda: b'{"x":[' + b"1," * 2_400_000 + b"NaN]}", SCHEMA, "1,048,576 values"),
    "lists of nothing": (
        "json",
        lambda: b'{"x":[' + b"[]," * 1_500_000 + b"[]]}",
        SCHEMA,
        "float [1500001, 0]",
    ),
    "a null at the end": ("json", lambda: b'{"x":[' + b"1," * 2_400_000 + b"null]}", SCHEMA, "at [2400000]"),
    "strings": ("json", lambda: b'{"x":[' + b'"a",' * 1_200_000 + b'"b"]}', STRINGS, "1,048,576 values"),
    "strings for numbers": (
        "json",
        lambda: b'{"x":[' + b'"a",' * 1_200_000 + b'"b"]}',
        SCHEMA,
        "strings of shape",
    ),
    "a null among strings": (
        "json",
        lambda: b'{"x":[' + b'"a",' * 1_200_000 + b"null]}",
        STRINGS,
        "at [1200000]",
    ),
    "numbers beyond a float": ("json", lambda: b'{"x":[' + b"1e999," * 800_000 + b"1]}", SCHEMA, "beyond"),
}


@pytest.mark.parametrize("what", LARGE)
def test_samples_that_are_too_many_are_told_soon(what: str, tmp_path: Path) -> None:
    """Each has at most 10 MB, in a form that once took minutes, or gigabytes."""
    ending, made, schema, said = LARGE[what]
    file = tmp_path / f"samples.{ending}"
    file.write_bytes(made())
    assert file.stat().st_size < 10 << 20
    begun = time.process_time()
    _, problems = datafiles.read_samples(file, file.name, schema, False)
    assert time.process_time() - begun < 5
    assert problems and said in str(problems[0]) and len(problems) <= 101


def test_two_images_and_ten_thousand_rows_are_samples_like_others(tmp_path: Path) -> None:
    schema = ModelSchema([ModelSchemaItem("x", DataType.FLOAT, [3, 416, 416])], [])
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3, 416, 416), np.float32))
    samples, problems = datafiles.read_samples(tmp_path / "a.npz", "a.npz", schema, False)
    assert len(samples) == 2 and not problems
    (tmp_path / "b.json").write_text(json.dumps([{"x": [0.5]}] * 10_000))
    samples, problems = datafiles.read_samples(tmp_path / "b.json", "b.json", SCHEMA, False)
    assert len(samples) == 10_000 and not problems
    (tmp_path / "c.json").write_text(json.dumps([{"x": [0.5]}] * 10_001))
    assert datafiles.read_samples(tmp_path / "c.json", "c.json", SCHEMA, False)[1]
    assert not datafiles.read_samples(tmp_path / "c.json", "c.json", SCHEMA, False, scale=8)[1]
    assert len(heldout.read(tmp_path / "c.json").columns["x"]) == 10_001


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (npy(says("'<f4'", f"({'9' * 4000},)")), "'x' says a shape that no array has: [9999"),
        (npy(says("'<f4'", f"(0, {'9' * 4000})")), "'x' says a shape that no array has: [0, 9999"),
        (
            npy(says("'<f4'", f"({'9' * 18 + ','} {('9' * 18 + ',') * 400})")),
            "'x' says a shape that no array has: ",
        ),
        (npy(says("'<f4'", f"({'1,' * 100})"), bytes(4)), "'x' says a shape that no array has: [1, 1, 1"),
        (npy(says("'<f4'", f"(-{'9' * 4000},)")), "'x' says a shape that no array has: [-999"),
    ],
)
def test_odd_shapes_are_told_in_a_line(header: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(zipped({"x.npy": header}))
    [problem] = datafiles.read_samples(tmp_path / "a.npz", "a.npz", SCHEMA, False)[1]
    assert said in problem.message and len(problem.message) < 300


def test_headers_of_python_2_are_read_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(zipped({"x.npy": npy(says("'<f4'", "(2L, 1L)"), bytes(8))}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(datafiles.read_samples(tmp_path / "a.npz", "a.npz", SCHEMA, False)[0]) == 2


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("a.npy", FINE),
        ("a.csv", b"x\n1\n"),
        ("a.parquet", b"PAR1"),
        ("a.jsonl", b"{}\n{}\n"),
        ("a.NPZ", b"PK\3\4"),
    ],
)
def test_samples_of_another_ending_are_told_what_is_read(name: str, raw: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(raw)
    [problem] = datafiles.read_samples(tmp_path / name, name, SCHEMA, False)[1]
    assert f"{Path(name).suffix} is read as JSON (samples are .json, .yaml or .npz)" in problem.message
    (tmp_path / name).write_text('[{"x": [1]}]')
    assert not datafiles.read_samples(tmp_path / name, name, SCHEMA, False)[1]


def test_held_out_arrays_may_be_large_but_not_from_nothing(tmp_path: Path) -> None:
    raw = bytearray(zeros("'<f4'", "(1048576, 1)", 4 << 20))
    at = raw.rfind(b"PK\1\2") + 24
    raw[at : at + 4] = struct.pack("<I", 1 << 30)
    (tmp_path / "a.npz").write_bytes(raw)
    with pytest.raises(InvalidFiles, match="unpack to 1,073,741,824 bytes; at most 268,435,456 are read"):
        heldout.read(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.ones((3 << 19, 4), np.float32))
    assert heldout.read(tmp_path / "b.npz").rows == 3 << 19


def test_what_numpy_writes_is_read_as_numpy_reads_it(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    arrays = {
        "plain": chance.normal(size=(3, 4)).astype(np.float32),
        "fortran": np.asfortranarray(chance.integers(0, 9, (3, 4, 5))),
        "big": chance.integers(0, 9, (3, 2)).astype(">i8"),
        "strings": np.array(["a", "b\u00e9", ""]),
        "bytes": np.array([b"a", b"\xff", b""]),
        "flags": np.array([True, False, True]),
        "half": np.array([1, 2, 3], np.float16),
        "complex": np.array([1j, 2, 3]),
        "scalar": np.float64(3),
        "empty": np.zeros((3, 0)),
        "nan": np.array([np.nan, np.inf, 1]),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        with open(tmp_path / "a.npz", "rb") as stream:
            found = npz.read(stream)
        with np.load(tmp_path / "a.npz") as wanted:
            assert list(found) == wanted.files
            for name in found:
                assert found[name].dtype == wanted[name].dtype and found[name].shape == wanted[name].shape
                assert found[name].tobytes() == wanted[name].tobytes()


def test_evaluate_reads_such_files_with_the_same_care(workshop: Workshop) -> None:
    (workshop.root / "held.npz").write_bytes(BAD["a header that promises 8 TB"])
    done = gitreg("evaluate", "adder", "--data", "held.npz", cwd=workshop.root)
    assert done.returncode == 1 and "error: held.npz: not an .npz of plain arrays" in done.stderr, done.stderr


def test_json_of_good_numbers_is_not_searched_for_bad_ones() -> None:
    assert not numerals.is_suspect(json.dumps([0.1 + i / 7 for i in range(1000)]))
