"""A file that is two things at once is never "data only": each input here would run code somewhere.

Files of honest libraries keep their verdict.
"""

from __future__ import annotations

import bz2
import json
import pickle
import pickletools
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import detection, flavors, formats
from tests.support import gitreg
from tests.test_detection import (
    COREML,
    GRAPH,
    LIGHTGBM,
    ONNX,
    PMML,
    SAFETENSORS,
    XGBOOST_OLD,
    field,
    npy,
    put,
    tarred,
    varint,
    zipped,
)

CALL = b"cos\nmkdir\n(S'sprung'\ntR."
NEW_CALL = b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x06sprung\x85R."


def headed(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def _long_safetensors(opening: bytes, call: bytes) -> bytes:
    """Whose length is an opcode that takes part of the header as its text."""
    length = opening[0] | 0x10000 | 0x2000 << 8  # the text is 0x201000 >> 8 bytes long
    text = int.from_bytes(struct.pack("<Q", length)[1:5], "little")
    begins = b'{"a":{'.ljust(5 + text - 8) + call
    return struct.pack("<Q", length) + begins.ljust(length)


def _onnx_by_its_operators(call: bytes) -> bytes:
    """Whose first field is BINBYTES, as a pickle's machine reads it."""
    inner = bytes(2) + bytes((0x40 << 7) - 2)
    start = b"\x42\x80\x40" + inner + field(1, 8) + field(7, b"")
    fill = 5 + (0x80 | 0x40 << 8) - len(start) - 4
    name = b" " * fill + b"0" + call
    return start + varint(2 << 3 | 2) + varint(len(name) | 1 << 14)[:3] + name.ljust(len(name) | 1 << 14)


def _xgboost(call: bytes) -> bytes:
    data = bytearray(b"\x80\x02U\xfa" + bytes(250))
    data[136:154] = struct.pack("<Q", 10) + b"reg:linear"
    return bytes(data) + b"0" + call


PICKLES = {
    "gguf": b"GGUF" + bytes(5) + b"0" + CALL,
    "gguf, later protocol": b"GGUF" + bytes(5) + b"0" + NEW_CALL,
    "gguf, by INST": b"GGUF" + bytes(5) + b"0(S'sprung'\nios\nmkdir\n.",
    "gguf, behind a harmless pickle": b"GGUF" + bytes(5) + b"." + CALL,
    "gguf, behind a long text": b"GGUF" + bytes(5) + b"X" + struct.pack("<I", 90_000) + b" " * 90_000 + CALL,
    "gguf, behind a long line": b"GGUF" + bytes(5) + b"V" + b" " * 90_000 + b"\n" + CALL,
    "gguf, behind many opcodes": b"GGUF" + bytes(5) + b"N0" * 5_000 + CALL,
    "tflite": b"\x80\x02U\x04TFL3" + b"0" + CALL,
    "tflite without the mark": b"U\x06??TFL3" + b"0" + CALL,
    "xgboost": _xgboost(CALL),
    "safetensors, by BINUNICODE": _long_safetensors(b"X", CALL),
    "safetensors, by BINSTRING": _long_safetensors(b"T", NEW_CALL),
    "safetensors, by BINBYTES": _long_safetensors(b"B", CALL),
    "onnx": _onnx_by_its_operators(CALL),
}


@pytest.mark.parametrize("what", PICKLES)
def test_a_pickle_is_seen_whatever_else_the_file_is(what: str, tmp_path: Path) -> None:
    file = put(tmp_path / "m", PICKLES[what])
    calls = [
        op.name
        for op, _, _ in pickletools.genops(PICKLES[what].partition(b"GGUF\0\0\0\0\0.")[2] or PICKLES[what])
    ]
    assert {"REDUCE", "INST"} & set(calls), "the input is a pickle that calls something"
    seen = detection.inspect(file)
    assert seen.format.key == "pickle" and seen.risk == "runs code when loaded"
    assert detection.detect(file).may_run_code
    assert detection.unpickled({"m": file}, "onnx")
    assert gitreg("inspect", "m", "--fail-on-code", cwd=tmp_path).returncode == 1


def test_a_pickle_says_what_else_it_is(tmp_path: Path) -> None:
    seen = detection.inspect(put(tmp_path / "m.gguf", PICKLES["gguf"]))
    assert seen.warnings[0] == "two files in one: GGUF, and a pickle"


def test_a_safetensors_header_of_any_length_is_no_pickle(tmp_path: Path) -> None:
    for length in (*range(0x180, 0x280), *range(0x4100, 0x4200)):
        tensors = {f"model.layers.{i}.mlp.c": {"data_offsets": [0, 4]} for i in range(length // 55)}
        header = json.dumps(tensors).encode().ljust(length)
        assert len(header) == length
        seen = detection.inspect(put(tmp_path / "m", headed(header) + b"\1\2\3\4"))
        assert (seen.format.key, seen.warnings) == ("safetensors", []), length


@pytest.mark.parametrize("more", [b"\0", NEW_CALL, CALL])
def test_what_stands_behind_a_long_header_and_its_tensors_is_seen(more: bytes, tmp_path: Path) -> None:
    header = json.dumps(
        {"__metadata__": {"x": "a" * (1 << 20)}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    ).encode()
    assert detection.inspect(put(tmp_path / "m", headed(header) + bytes(4))).risk == "data only"
    assert detection.inspect(put(tmp_path / "m", headed(header) + bytes(4) + more)).format is formats.MIXED


def test_a_header_too_long_to_look_into_cannot_be_told(tmp_path: Path) -> None:
    header = b'{"__metadata__":{"x":"' + b"a" * (9 << 20) + b'"}}'
    seen = detection.inspect(put(tmp_path / "m", headed(header)))
    assert seen.risk == "cannot tell" and seen.format.key in flavors.PICKLES
    assert "too large to look into" in seen.warnings[0]


@pytest.mark.parametrize("header", [b'{"a":{]}', b'{"a":{"data_offsets":"x"}}', b'{"a":{' + b" " * (1 << 20)])
def test_a_header_that_is_none_is_no_safetensors(header: bytes, tmp_path: Path) -> None:
    assert detection.inspect(put(tmp_path / "m", headed(header))).risk == "cannot tell"


ARRAYS = {
    "text": np.array(["abc"]),
    "bytes": np.array([b"abc", b"d"]),
    "dates": np.array(["2026-01-01"], "datetime64[D]"),
    "spans": np.zeros(3, "timedelta64[25s]"),
    "truth": np.zeros((2, 3), bool),
    "records": np.zeros(3, [("a", "<i4"), ("b", "<U2"), ("c", "f8", (2, 2))]),
    "records in records": np.zeros(2, [("a", [("b", "u1"), ("c", "S3")]), ("d", "?")]),
    "padded records": np.zeros(2, np.dtype([("a", "u1"), ("b", "f8")], align=True)),
    "nothing": np.zeros((0, 5), "<U7"),
    "one number": np.float32(1),
    "void": np.zeros(2, "V5"),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_bytes_behind_an_array_of_any_type_are_seen(what: str, tmp_path: Path) -> None:
    data = npy(ARRAYS[what])
    seen = detection.inspect(put(tmp_path / "m.npy", data))
    assert (seen.format, seen.risk, seen.warnings) == (formats.NPY, "data only", [])
    assert detection.inspect(put(tmp_path / "m.npy", data + NEW_CALL)).format is formats.MIXED


@pytest.mark.parametrize(
    "shape", [", ".join(["9" * 18] * 300), "9" * 4000 + ",", "9" * 5000 + ",", "1" + "0" * 20 + ","]
)
@pytest.mark.parametrize(
    "descr", ["'<f8'", "'<U999999999999999999'", "[('a', '<f8', (999999999, 999999999))]"]
)
def test_a_shape_beyond_all_bounds_is_no_defect(shape: str, descr: str, tmp_path: Path) -> None:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    put(tmp_path / "m.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
    done = gitreg("inspect", "m.npy", cwd=tmp_path)
    assert done.returncode == 0 and "warning: m.npy: truncated" in done.stdout


def test_types_that_nest_without_end_are_no_defect(tmp_path: Path) -> None:
    for descr in (
        "[" * 5000 + "]" * 5000,
        "[('a', " * 300 + "'<f8'" + ")]" * 300,
        "[(1,)]",
        "[('a', '<x4')]",
    ):
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}\n".encode()
        put(tmp_path / "m.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
        assert detection.inspect(tmp_path / "m.npy").runs_code


# What libraries write ---------------------------------------------------------------------------------


def _saved(what: str, tmp_path: Path) -> Path:
    rng: Any = np.random.default_rng(0)
    x, y = rng.random((60, 3)), rng.integers(0, 2, 60)
    file = tmp_path / f"model.{what.partition(' ')[2]}"
    if what.startswith("xgboost"):
        xgboost = pytest.importorskip("xgboost")
        xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(x, y), 5).save_model(file)
    elif what.startswith("lightgbm"):
        lightgbm = pytest.importorskip("lightgbm")
        lightgbm.train({"verbose": -1, "min_data_in_leaf": 2}, lightgbm.Dataset(x, y), 5).save_model(file)
    elif what.startswith("onnx"):
        onnx = pytest.importorskip("onnx")
        made = onnx.helper.make_tensor_value_info
        node = onnx.helper.make_node("Relu", ["x"], ["y"])
        graph = onnx.helper.make_graph([node], "g", [made("x", 1, [2])], [made("y", 1, [2])])
        onnx.save(onnx.helper.make_model(graph), file)
    elif what.startswith("safetensors"):
        pytest.importorskip("safetensors.numpy").save_file({"w": x, "v": y}, file, {"format": "np"})
    else:
        np.savez(file, x=x, y=np.array(["a", "bc"]))
    return file


@pytest.mark.parametrize(
    "what",
    ["xgboost json", "xgboost ubj", "lightgbm txt", "onnx onnx", "safetensors safetensors", "numpy npz"],
)
def test_what_libraries_write_is_data_only(what: str, tmp_path: Path) -> None:
    file = _saved(what, tmp_path)
    seen = detection.inspect(file)
    assert (seen.risk, seen.warnings) == ("data only", [])
    assert not detection.detect(file).may_run_code


# More than one file in a file ----------------------------------------------------------------------------

TORCH = zipped({"a/data.pkl": pickle.dumps(1)})
ARRAY = zipped({"a.npy": npy(np.zeros(3))})
GGUF = b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(80)
TFLITE = struct.pack("<I", 28) + b"TFL3" + bytes(92)


def _with_a_gap() -> bytes:
    first = zipped({"a.npy": npy(np.zeros(3)), "b/data.pkl": pickle.dumps(1)})
    place = first.index(b"PK\1\2")
    second = first.index(b"PK\1\2", place + 4)
    end = first[-22:-14] + struct.pack("<HHII", 1, 1, second - place, place) + bytes(2)
    return first[:second] + end


def _zip_that_is_a_tar() -> bytes:
    array = npy(np.zeros(3))
    inner = tarred({"m.pkl": pickle.dumps(1)})
    head = bytearray(zipped({"a.npy": array})[:35].ljust(512, b"\0"))
    head[28:30] = struct.pack("<H", 512 + 1024 - 35)
    head[100:148] = b"0000644\0" + b"0000000\0" * 2 + b"00000000000\0" * 2
    head[156:157] = b"0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    body = bytes(head) + inner[:1024] + array
    plain = zipped({"a.npy": array})
    central = plain[plain.index(b"PK\1\2") : -22]
    return body + central + plain[-22:-6] + struct.pack("<IH", len(body), 0)


ZIPS = {
    "a zip before a zip": TORCH + ARRAY,
    "a zip before an empty zip": TORCH + zipped({}),
    "an empty zip before a zip": zipped({}) + ARRAY,
    "a member that the directory leaves out": _with_a_gap(),
    "a zip whose extra field is a tar": _zip_that_is_a_tar(),
    "a member of another name": ARRAY.replace(b"a.npy", b"b.pkl", 1),
    "a zip and a mark of an end": GGUF + TORCH + b"PK\5\6",
    "a zip and a mark of an end in its comment": GGUF + TORCH[:-2] + b"\4\0PK\5\6",
    "a zip and many marks": GGUF + TORCH + b"PK\5\6" * 500,
    "a zip of code behind tflite": TFLITE + zipped({"labels.txt": b"cat", "evil.py": b"import os"}),
    "a zip of a library behind tflite": TFLITE + zipped({"x": b"\x7fELF\2\1\1\0"}),
    "a zip of a zip behind tflite": TFLITE + zipped({"x": zipped({"a": b"\1"})}),
    "a script before an array": b"#!/bin/sh\nexit\n" + ARRAY,
    "onnx of very many fields": field(1, 9) + field(7, GRAPH) + field(14, b"") * 300_100 + NEW_CALL,
}


@pytest.mark.parametrize("what", ZIPS)
def test_two_files_in_one_are_not_data_only(what: str, tmp_path: Path) -> None:
    file = put(tmp_path / "m", ZIPS[what])
    assert detection.inspect(file).runs_code and detection.detect(file).may_run_code


def test_onnx_of_many_fields_is_read_to_its_end(tmp_path: Path) -> None:
    many = field(1, 9) + field(7, GRAPH) + field(8, field(2, 17)) + field(14, b"") * 2_500
    assert detection.inspect(put(tmp_path / "m", many)).risk == "data only"
    assert detection.inspect(put(tmp_path / "m", many + NEW_CALL)).runs_code


# What cannot be told, inside of what is data ----------------------------------------------------------------

JAR = zipped({"A.class": b"\xca\xfe\xba\xbe"})
HELD: dict[str, dict[str, bytes]] = {
    "onnx and a hook": {"model.onnx": ONNX, "hook.py": b"import os"},
    "onnx and a library": {"model.onnx": ONNX, "lib/ops.so": b"\x7fELF\2\1\1\0"},
    "onnx and a script without an ending": {"model.onnx": ONNX, "setup": b"#!/bin/sh\nrm -r x\n"},
    "onnx and objects in YAML": {"model.onnx": ONNX, "c.yaml": b"a: !!python/object/apply:os.system [x]"},
    "transformers and code": {
        "config.json": b"{}",
        "m.safetensors": SAFETENSORS,
        "modeling_x.py": b"import os",
    },
    "transformers and a jar": {"config.json": b"{}", "m.safetensors": SAFETENSORS, "x/a.jar": JAR},
    "transformers and bytes": {"config.json": b"{}", "m.safetensors": SAFETENSORS, "w.bin": b"\1\2\3" * 9},
    "core ml and code": {"Manifest.json": b"{}", "Data/m.mlmodel": COREML, "Data/x/evil.py": b"import os"},
    "core ml and a pickle": {"Manifest.json": b"{}", "Data/m.mlmodel": COREML, "Data/x": pickle.dumps(1)},
    "mleap and a jar": {"bundle.json": b"{}", "root/model.json": b"{}", "root/evil.jar": JAR},
}
TOLD: dict[str, dict[str, bytes]] = {
    "onnx": {"model.onnx": ONNX, "README.md": b"# A model\n", "LICENSE": "© MIT".encode(), ".gitkeep": b""},
    "transformers": {
        "config.json": b'{"model_type": "bert"}',
        "model.safetensors": SAFETENSORS,
        "vocab.txt": b"cat\ncow\ndog\n",
        "merges.txt": "#version: 0.2\nĠ t\n".encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer.model": b"".join(
            field(1, field(1, text) + b"\x15" + struct.pack("<f", -1.5) + field(3, 2))
            for text in (b"<unk>", b"a")
        )
        + field(2, field(3, 1)),
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "chat_template.jinja": b"{% for m in messages %}{{ m }}{% endfor %}",
        "figures/loss.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
        "figures/a.jpg": b"\xff\xd8\xff\xe0" + bytes(40),
    },
    "coreml": {
        "Manifest.json": b"{}",
        "Data/com.apple.CoreML/model.mlmodel": COREML,
        "Data/com.apple.CoreML/weights/weight.bin": struct.pack("<II", 1, 2)
        + bytes(56)
        + b"\xef\xbe\xad\xde"
        + bytes(60),
    },
    "mleap": {"bundle.json": b"{}", "root/model.json": b"{}", "root/node.json": b"{}"},
}


def _folder(files: dict[str, bytes], at: Path) -> Path:
    for name, data in files.items():
        put(at / name, data)
    return at


@pytest.mark.parametrize("what", HELD)
def test_what_cannot_be_told_counts_wherever_it_lies(what: str, tmp_path: Path) -> None:
    at = _folder(HELD[what], tmp_path / "f")
    seen = detection.inspect(at)
    assert seen.runs_code and detection.detect(at).may_run_code
    assert seen.format.key == detection.detect(at).key
    assert any(one.warnings or one.runs_code for one in seen.all())
    assert gitreg("inspect", "f", "--fail-on-code", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize("what", TOLD)
def test_texts_and_pictures_beside_a_model_are_no_code(what: str, tmp_path: Path) -> None:
    at = _folder(TOLD[what], tmp_path / "f")
    seen = detection.inspect(at)
    assert (seen.format.key, seen.risk) == (what, "data only")
    assert detection.detect(at) is seen.format and not seen.format.may_run_code


@pytest.mark.parametrize(
    "members",
    [
        {"schema.json": b"{}", "evil.py": b"import os"},
        {"schema.json": b"{}", "x.so": b"\x7fELF\2\1\1\0"},
        {"bundle.json": b"{}", "root/evil.jar": JAR},
        {"a.npy": npy(np.zeros(2)), "b.npy": b"\1\2\3"},
        {"schema.json": b"{}", "m.pkl": pickle.dumps(1)},
    ],
)
def test_what_cannot_be_told_counts_in_archives_of_data(members: dict[str, bytes], tmp_path: Path) -> None:
    file = put(tmp_path / "m", zipped(members))
    assert detection.inspect(file).runs_code and detection.detect(file).may_run_code


# Bounds -----------------------------------------------------------------------------------------------------


def _overlapping(inner: bytes, count: int) -> bytes:
    one = zipped({"m": inner})
    place = one.index(b"PK\1\2", 30 + len(inner))
    central = one[place:-22] * count
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(central), place, 0)
    return one[:place] + central + end


def _many(inner: bytes, count: int) -> bytes:
    return zipped({f"{i}": inner for i in range(count)})


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("overlapping, nested", _overlapping(_overlapping(_overlapping(b"\n" * 50, 5_000), 5_000), 5_000)),
        ("overlapping opcodes", _overlapping(b"N0" * 2_048, 10_000)),
        ("overlapping markup", _overlapping(b"<!>" * 21_845, 10_000)),
        ("opcodes", tarred({f"{i}": b"N0" * 256 for i in range(9_500)})),
        ("markup", tarred({f"{i}": b"<!>" * 170 for i in range(9_500)})),
        ("many zips of many", _many(_many(b"x", 5_000), 9)),
        ("marks of ends", _many(b"PK\5\6" * 16_000, 120)),
        ("bzip2", _many(bz2.compress(bytes(900_000)), 5_000)),
    ],
)
def test_a_small_file_takes_no_long_look(what: str, data: bytes, tmp_path: Path) -> None:
    file = put(tmp_path / "m", data)
    assert len(data) < 11 << 20, what
    before = time.process_time()
    assert detection.inspect(file).runs_code
    assert time.process_time() - before < 5


# Texts --------------------------------------------------------------------------------------------------------

LAYERS = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Lambda", "config": {}}]}}
TEXTS = {
    "json": b'{"a": 1}\n',
    "lightgbm": LIGHTGBM,
    "pmml": PMML.encode(),
    "xgboost json": b'{"learner":{},"version":[2,0,3]}',
}


@pytest.mark.parametrize("what", TEXTS)
@pytest.mark.parametrize("more", [NEW_CALL, b"\x80\x02" + CALL, NEW_CALL + b"}", b"\0" * 9])
def test_what_stands_behind_a_text_is_seen(what: str, more: bytes, tmp_path: Path) -> None:
    assert detection.inspect(put(tmp_path / "m", TEXTS[what])).risk == "data only"
    assert detection.inspect(put(tmp_path / "m", TEXTS[what] + b"\n")).risk == "data only"
    assert detection.inspect(put(tmp_path / "m", TEXTS[what] + more)).runs_code


def test_json_of_keras_layers_and_json_that_is_none_are_not_data_only(tmp_path: Path) -> None:
    for data in (
        json.dumps(LAYERS).encode(),
        json.dumps({"a": [LAYERS]}).encode().replace(b"Lambda", b"\\u004cambda"),
        b'{"learner": {' + b" " * 10_000 + CALL + b"}",
        b"[" * 100_000,
    ):
        assert detection.inspect(put(tmp_path / "m", data)).runs_code
    for data in (b'{"a": 1}\n{"a": 2}\n', b"[]", b"\xef\xbb\xbf{}"):
        assert detection.inspect(put(tmp_path / "m", data)).risk == "data only"


def test_xgboost_of_old_says_nowhere_where_it_ends_and_cannot_be_told(tmp_path: Path) -> None:
    for data in (b"binf" + XGBOOST_OLD, XGBOOST_OLD + NEW_CALL, b"bs64" + CALL):
        seen = detection.inspect(put(tmp_path / "m.model", data))
        assert (seen.format.key, seen.risk) == ("xgboost-binary", "cannot tell")
