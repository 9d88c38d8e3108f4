"""Formats are told by content, whatever a file is called, and nothing is loaded to find out.

Files are made by the libraries themselves where the test environment has them: pickle, joblib, NumPy, skops,
torch. ONNX, safetensors, XGBoost, LightGBM, HDF5, Core ML, TensorFlow, TFLite and GGUF are not installed;
theirs are minimal valid bytes, written by hand from their specifications.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import detection, flavors, formats
from gitreg.errors import Refused
from tests.support import Workshop, gitreg, run


class Trap:
    """Loading its pickle makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = str(place)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.place,)


def field(number: int, payload: bytes | int) -> bytes:
    """One protobuf field; for small numbers and payloads."""
    tag = number << 3 | (0 if isinstance(payload, int) else 2)
    value = payload if isinstance(payload, int) else len(payload)
    return varint(tag) + varint(value) + (b"" if isinstance(payload, int) else payload)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


GRAPH = field(1, field(4, b"Relu")) + field(2, b"g")
ONNX = field(1, 9) + field(2, b"hand") + field(7, GRAPH) + field(8, field(2, 17))
TENSORS = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
SAFETENSORS = struct.pack("<Q", len(TENSORS)) + TENSORS + bytes(8)
SUPERBLOCK = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(24)
HDF5 = SUPERBLOCK + struct.pack("<Q", 96) + bytes(48)
PMML = '<?xml version="1.0"?>\n<!-- a > b --><PMML version="4.4"><Header/></PMML>'
LIGHTGBM = b"tree\nversion=v4\nnum_class=1\n\nend of trees\n\npandas_categorical:null\n"
NODE = field(1, field(1, b"x") + field(2, b"Placeholder"))
XGBOOST_OLD = bytes(136) + struct.pack("<Q", 15) + b"binary:logistic" + struct.pack("<Q", 6) + b"gbtree"
COREML = field(1, 4) + field(2, field(1, b"")) + field(300, field(1, b""))
SAVED_MODEL = field(1, 1) + field(2, field(1, field(5, b"2.16")) + field(2, NODE))

CASES: dict[str, tuple[bytes, str]] = {
    **{f"pickle protocol {p}": (pickle.dumps({"a": [1.5, "b"], "c": 7}, p), "pickle") for p in range(6)},
    "pickle that only calls": (b"cos\nsystem\n(S'true'\ntR.", "pickle"),
    "pickle with rubbish after its call": (b"cos\nsystem\n(S'true'\ntR\xff\xff.", "pickle"),
    "pickle by INST": (b"(S'true'\nios\nsystem\n.", "pickle"),
    "pickle in gzip": (gzip.compress(pickle.dumps({"a": 1})), "pickle"),
    "pickle in text in gzip": (gzip.compress(pickle.dumps({"a": 1}, 0)), "pickle"),
    "pickle in zlib": (zlib.compress(pickle.dumps(list(range(50000)))), "pickle"),
    "pickle in bz2": (bz2.compress(pickle.dumps({"a": 1})), "pickle"),
    "pickle in xz": (lzma.compress(pickle.dumps({"a": 1})), "pickle"),
    "pickle in lzma": (lzma.compress(pickle.dumps({"a": 1}), lzma.FORMAT_ALONE), "pickle"),
    # An LZ4 frame: magic, flags, block size, checksum, one block of 13 literals.
    "pickle in lz4": (
        b"\x04\x22\x4d\x18\x60\x40\x82"
        + struct.pack("<I", 14)
        + b"\xd0\x80\x04}\x94\x8c\x01a\x94K\x01s..."
        + bytes(4),
        "pickle",
    ),
    "gzip of text": (gzip.compress(b"a,b\n1,2\n"), "archive"),
    "onnx": (ONNX, "onnx"),
    "onnx, graph first": (field(7, GRAPH) + field(8, field(2, 17)) + field(1, 9), "onnx"),
    "onnx, operators first": (field(8, field(2, 17)) + field(1, 9) + field(7, GRAPH), "onnx"),
    "safetensors": (SAFETENSORS, "safetensors"),
    "hdf5": (HDF5, "hdf5"),
    "pmml": (PMML.encode(), "pmml"),
    "pmml with a BOM": (b"\xef\xbb\xbf" + PMML.encode(), "pmml"),
    "pmml in UTF-16": (PMML.encode("utf-16"), "pmml"),
    "pmml in UTF-16 without BOM": (PMML.encode("utf-16-be"), "pmml"),
    "xml that says PMML in a comment": (b"<!-- <PMML > --><a></a>", "files"),
    "lightgbm": (LIGHTGBM, "lightgbm"),
    "xgboost json": (b'{"learner":{"attributes":{}},"version":[2,0,3]}', "xgboost-json"),
    "xgboost json, version first": (b'{"version":[2,0,3],"learner":{}}', "xgboost-json"),
    "xgboost ubj": (b"{L\0\0\0\0\0\0\0\x07learner{}}", "xgboost-ubj"),
    "xgboost binf": (b"binf" + XGBOOST_OLD, "xgboost-binary"),
    "xgboost without binf": (XGBOOST_OLD, "xgboost-binary"),
    "core ml": (COREML, "coreml-file"),
    "saved model": (SAVED_MODEL, "savedmodel"),
    "graph": (NODE + field(4, field(1, 27)), "graphdef"),
    "tflite": (struct.pack("<I", 28) + b"TFL3" + bytes(24), "tflite"),
    "gguf": (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "gguf"),
    "npy": (npy(np.arange(6.0)), "npy"),
    "npy of objects": (npy(np.array([{}, None], object)), "npy-objects"),
    "npy of records with objects": (npy(np.zeros(2, [("a", "f4"), ("b", "O")])), "npy-objects"),
    "npy that says O the second time": (
        npy(np.arange(6.0)).replace(
            b"'fortran_order': False, 'shape': (6,), }" + b" " * 15,
            b"'fortran_order': False, 'descr': '|O', 'shape': (6,), }",
        ),
        "npy-objects",
    ),
    "npz": (zipped({"a.npy": npy(np.eye(2))}), "npz"),
    "npz, deflated": (zipped({"a.npy": npy(np.zeros(9999))}, zipfile.ZIP_DEFLATED), "npz"),
    "npz of objects": (
        zipped({"a.npy": npy(np.eye(2)), "b.npy": npy(np.array([{}], object))}),
        "npz-objects",
    ),
    "keras": (zipped({"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": HDF5}), "keras"),
    "mleap": (zipped({"bundle.json": b"{}", "root/model.json": b"{}"}), "mleap"),
    "zip of a pickle": (zipped({"a/m.txt": pickle.dumps(1)}), "archive-code"),
    "zip of text": (zipped({"a.txt": b"hello"}), "archive"),
    "zip in a zip": (
        zipped({"b.zip": zipped({"m": pickle.dumps([1])})}, zipfile.ZIP_DEFLATED),
        "archive-code",
    ),
    "tar of a pickle": (tarred({"m.bin": pickle.dumps(1)}), "archive-code"),
    "tar.gz of a pickle": (tarred({"m.bin": pickle.dumps(1)}, "w:gz"), "archive-code"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(30), "archive-opaque"),
    "rar": (b"Rar!\x1a\x07\x01\x00" + bytes(30), "archive-opaque"),
    "json": (b'{"bias": 1}', "json"),
    "csv": (b"a,b\n1,2\n", "files"),
    "text": (b"cat\ncow\ndog\n", "files"),
    "prose": (b"I am no pickle. (Nor is this.)\n", "files"),
    "parquet": (b"PAR1" + bytes(40) + b"PAR1", "files"),
    "nothing": (b"", "files"),
}


def put(file: Path, data: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("what", CASES)
def test_a_format_is_told_by_content(what: str, tmp_path: Path) -> None:
    data, key = CASES[what]
    seen = detection.inspect(put(tmp_path / "m", data))
    assert seen.format.key == key
    assert detection.detect(tmp_path / "m") is seen.format
    assert [w for w in seen.warnings if "truncated" in w] == []


@pytest.mark.parametrize("what", CASES)
def test_a_file_cut_off_anywhere_is_no_exception(what: str, tmp_path: Path) -> None:
    data, _ = CASES[what]
    for end in {*range(0, min(len(data), 80)), *range(0, len(data), 1 + len(data) // 40)}:
        detection.inspect(put(tmp_path / "m", data[:end]))


@pytest.mark.parametrize(
    ("what", "cut"),
    [
        ("hdf5", 4),
        ("npy", 4),
        ("safetensors", 4),
        ("onnx", 1),
        ("core ml", 1),
        ("pmml", 4),
        ("lightgbm", 45),
        ("pickle protocol 0", 1),
        ("pickle protocol 4", 1),
        ("xgboost json", 1),
        ("xgboost ubj", 2),
    ],
)
def test_a_truncated_file_is_said_to_be(what: str, cut: int, tmp_path: Path) -> None:
    data, key = CASES[what]
    seen = detection.inspect(put(tmp_path / "m", data[:-cut]))
    assert seen.format.key == key
    assert [w for w in seen.warnings if w.startswith("truncated")]


def test_a_truncated_zip_counts_as_running_code(tmp_path: Path) -> None:
    seen = detection.inspect(put(tmp_path / "m.npz", zipped({"a.npy": npy(np.eye(2))})[:-9]))
    assert seen.format is formats.OPAQUE and seen.risk == "cannot tell" and seen.runs_code
    assert "truncated or damaged" in seen.warnings[0]


def test_an_empty_file_is_said_to_be(tmp_path: Path) -> None:
    assert detection.inspect(put(tmp_path / "m.onnx", b"")).warnings[0] == "empty"


@pytest.mark.parametrize("way", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_what_joblib_writes_is_a_pickle(way: Any, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    joblib.dump({"w": np.random.default_rng(0).random(20_000)}, tmp_path / "m.joblib", compress=way)
    seen = detection.inspect(tmp_path / "m.joblib")
    assert (seen.format, seen.warnings) == (formats.PICKLE, [])


def test_what_skops_writes_is_data(tmp_path: Path) -> None:
    io_ = pytest.importorskip("skops.io")
    linear = pytest.importorskip("sklearn.linear_model")
    trees = pytest.importorskip("sklearn.tree")
    for model in (linear.LinearRegression(), trees.DecisionTreeRegressor()):  # structs with padding
        io_.dump(model.fit(np.eye(2), [1, 2]), tmp_path / "m.skops")
        seen = detection.inspect(tmp_path / "m.skops")
        assert (seen.format, seen.risk, seen.runs_code) == (formats.SKOPS, "data only", False)


def test_what_is_cut_off_is_told_beside_what_it_asks_trust_for(tmp_path: Path) -> None:
    cut = put(tmp_path / "m.skops", zipped({"schema.json": b"{}"})[:-30])
    said = detection.unpickled({"m.skops": cut}, "scikit-learn")
    assert said and said.startswith("m.skops (archive that cannot be looked into; truncated or damaged")


def test_what_torch_writes_is_told_apart(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 2)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    torch.save(model.state_dict(), tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.jit.script(model).save(str(tmp_path / "script.pt"))
    torch.export.save(torch.export.export(model, (torch.zeros(1, 2),)), tmp_path / "program.pt2")
    found = {f.name: detection.inspect(f) for f in tmp_path.iterdir()}
    assert {name: seen.format.key for name, seen in found.items()} == {
        "state.pt": "pytorch-pickle",
        "legacy.pt": "pytorch-legacy",
        "script.pt": "torchscript",
        "program.pt2": "torch-export",
    }
    assert all(seen.runs_code and not seen.warnings for seen in found.values())


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    folder = tmp_path / "traps"
    put(folder / "m.onnx", trap)
    put(folder / "text.pkl", pickle.dumps(Trap(sprung), 0))
    put(folder / "m.gz", gzip.compress(trap))
    put(folder / "m.zip", zipped({"m.pkl": trap}))
    put(folder / "m.npy", npy(np.array([Trap(sprung)], object)))
    put(folder / "m.pt", zipped({"m/data.pkl": trap}))
    done = gitreg("inspect", folder, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.count("runs code when loaded") == 8  # the folder, six files, a member
    assert not sprung.exists()
    pickle.loads(trap)  # noqa: S301 - the trap is one
    assert sprung.exists()


# What is called wrong, and what is inside ---------------------------------------------------------


def test_a_file_that_is_not_what_it_is_called_gets_a_warning(tmp_path: Path) -> None:
    put(tmp_path / "f" / "m.onnx", pickle.dumps(1))
    put(tmp_path / "f" / "w.safetensors", b"hello")
    put(tmp_path / "f" / "table.csv", pickle.dumps(1))
    put(tmp_path / "f" / "ok.onnx", ONNX)
    put(tmp_path / "f" / "README.md", b"# hello")
    lines = {o.path.rpartition("!")[2]: o.warnings for o in detection.inspect(tmp_path / "f").inside}
    assert lines == {
        "m.onnx": ["is called .onnx, and is pickle"],
        "w.safetensors": ["is called .safetensors, and does not look like safetensors"],
        "table.csv": ["is called .csv, and is pickle"],
        "ok.onnx": [],
    }


def test_the_warning_is_there_for_a_single_file_too(tmp_path: Path) -> None:
    put(tmp_path / "m.onnx", pickle.dumps(1))
    done = gitreg("inspect", "m.onnx", cwd=tmp_path)
    assert "warning: m.onnx: is called .onnx, and is pickle" in done.stdout


def test_a_member_is_named_with_the_archive_it_is_in(tmp_path: Path) -> None:
    put(tmp_path / "m.zip", zipped({"in.tar": tarred({"a/m.pkl": pickle.dumps(1)})}))
    paths = [one.path for one in detection.inspect(tmp_path / "m.zip", "m.zip").all()]
    assert paths == ["m.zip", "m.zip!in.tar", "m.zip!in.tar!a/m.pkl"]


def test_archives_are_looked_into_only_so_deep(tmp_path: Path) -> None:
    data = pickle.dumps(1)
    for _ in range(6):
        data = zipped({"m.zip": data})
    seen = detection.inspect(put(tmp_path / "m.zip", data))
    assert seen.format is formats.OPAQUE and seen.runs_code
    assert "more than 3 deep" in list(seen.all())[-1].warnings[0]


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../../x", "C:/x", "..\\x"])
def test_a_member_that_climbs_is_a_finding(name: str, tmp_path: Path) -> None:
    for file in (
        put(tmp_path / "m.zip", zipped({name: b"x"})),
        put(tmp_path / "m.tar", tarred({name: b"x"})),
    ):
        assert "leads out of its folder when unpacked" in detection.inspect(file).warnings[0]


def test_an_encrypted_member_cannot_be_told(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": b"hello"}))
    data[data.index(b"PK\1\2") + 8] |= 1
    seen = detection.inspect(put(tmp_path / "m.zip", bytes(data)))
    assert (seen.risk, seen.runs_code, seen.inside[0].warnings) == ("cannot tell", True, ["encrypted"])


def test_a_bomb_is_a_finding_and_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("zeros", "w") as member:
            for _ in range(110):
                member.write(bytes(1 << 20))
    assert "a zip bomb" in detection.inspect(tmp_path / "m.zip").warnings[0]


def test_a_directory_that_promises_too_much_is_not_read(tmp_path: Path) -> None:
    data = bytearray(zipped({"a": b"x"}))
    data[-10:-6] = struct.pack("<I", 1 << 30)
    seen = detection.inspect(put(tmp_path / "m.zip", bytes(data)))
    assert seen.runs_code and "too many members" in seen.warnings[0]


def test_a_tar_header_that_promises_too_much_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    file = put(tmp_path / "m.tar", info.tobuf(tarfile.GNU_FORMAT))
    os.truncate(file, 5 << 30)
    seen = detection.inspect(file)
    assert seen.runs_code and "of this size is not read" in seen.warnings[0]


def test_what_is_beyond_the_bound_of_a_compressed_tar_counts_as_running_code(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(200_000)
    file = put(tmp_path / "m.tgz", tarred({"a.txt": noise, "m.pkl": pickle.dumps(1)}, "w:gz"))
    seen = detection.inspect(file)
    assert (seen.risk, seen.runs_code) == ("cannot tell", True)


# Folders ------------------------------------------------------------------------------------------


def test_folders_are_told_by_their_names(tmp_path: Path) -> None:
    for name, files in {
        "mlflow": ["MLmodel", "model.pkl"],
        "savedmodel": ["saved_model.pb"],
        "coreml": ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel"],
        "mleap": ["bundle.json", "root/model.json"],
        "transformers": ["config.json", "model.safetensors"],
        "transformers-code": ["config.json", "pytorch_model.bin"],
        "files": ["a.txt", "b.txt"],
    }.items():
        for file in files:
            put(tmp_path / name / file, SAFETENSORS if file.endswith("tensors") else b"{}")
        assert detection.detect(tmp_path / name).key == name


def test_a_folder_is_what_its_one_model_file_is(tmp_path: Path) -> None:
    tree = b"tree\nversion=v4\nnum_class=1\n\nend of trees\n"
    put(tmp_path / "model.txt", tree)
    put(tmp_path / "weights.bin", b"\1\2\3" * 50)
    found = detection.detect(tmp_path)
    assert found.key == "lightgbm" and found.may_run_code, "nobody can tell what the other file is"
    put(tmp_path / "scaler.pkl", pickle.dumps([1]))
    assert detection.detect(tmp_path) is formats.UNKNOWN, "there is more in it, and it runs code"
    (tmp_path / "scaler.pkl").unlink()
    put(tmp_path / "other.txt", tree)
    assert detection.detect(tmp_path) is formats.UNKNOWN, "which one?"


@pytest.mark.parametrize(
    ("name", "content", "data"),
    [
        ("weights.bin", b"\1\2\3\xff" * 50, True),
        ("model.onnx.data", b"\xff\0" * 50, True),
        ("ops.so", b"\xff\0" * 50, False),
        ("weights.bin", b"\x7fELF\xff" * 50, False),
        ("hook.py", b"import os", False),
        ("other.bin", b"\1\2\3\xff" * 50, False),
    ],
)
def test_where_onnx_keeps_its_tensors_is_data(tmp_path: Path, name: str, content: bytes, data: bool) -> None:
    import onnx

    place = "weights.bin" if name == "other.bin" else name
    entry = onnx.StringStringEntryProto(key="location", value=place)
    tensor = onnx.TensorProto(
        name="w", data_type=1, dims=[2], data_location=onnx.TensorProto.EXTERNAL, external_data=[entry]
    )
    takes = onnx.helper.make_tensor_value_info("x", 1, [None, 2])
    gives = onnx.helper.make_tensor_value_info("y", 1, [None, 2])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", [takes], [gives], [tensor]
    )
    put(tmp_path / "m" / "model.onnx", onnx.helper.make_model(graph).SerializeToString())
    put(tmp_path / "m" / name, content)
    found = detection.detect(tmp_path / "m")
    assert found.key == "onnx" and found.may_run_code is not data


def test_a_pickle_among_safetensors_is_no_data_only_folder(tmp_path: Path) -> None:
    put(tmp_path / "f" / "config.json", b"{}")
    put(tmp_path / "f" / "model.safetensors", SAFETENSORS)
    assert detection.inspect(tmp_path / "f").risk == "data only"
    put(tmp_path / "f" / "optimizer.bin", pickle.dumps(1))
    assert detection.detect(tmp_path / "f") is formats.TRANSFORMERS_CODE


def test_links_pipes_and_unreadable_files_are_findings(tmp_path: Path) -> None:
    put(tmp_path / "secret.pkl", pickle.dumps(1))
    put(tmp_path / "f" / "m.onnx", ONNX)
    os.symlink(tmp_path / "secret.pkl", tmp_path / "f" / "out")
    os.symlink("m.onnx", tmp_path / "f" / "in.onnx")
    os.symlink("gone", tmp_path / "f" / "dangling")
    os.mkfifo(tmp_path / "f" / "pipe")
    seen = detection.inspect(tmp_path / "f")
    said = {o.path.rpartition("!")[2]: (o.format.key, o.warnings) for o in seen.inside}
    assert said["out"] == ("files", ["a link out of the folder: not followed"])
    assert said["in.onnx"] == ("onnx", [])
    assert "not followed" in said["dangling"][1][0]
    assert "not opened" in said["pipe"][1][0]
    assert (seen.risk, seen.runs_code) == ("cannot tell", True)
    with pytest.raises(Refused, match="not opened"):
        detection.detect(tmp_path / "f" / "pipe")


def test_a_long_list_is_cut_and_says_so(tmp_path: Path) -> None:
    for i in range(230):
        put(tmp_path / "f" / f"{i:03}.onnx", ONNX)
    put(tmp_path / "f" / "z.pkl", pickle.dumps(1))
    done = gitreg("inspect", "f", cwd=tmp_path)
    assert "... 31 more" in done.stdout and "f!z.pkl" in done.stdout


# The command --------------------------------------------------------------------------------------


def test_json_has_these_keys(tmp_path: Path) -> None:
    put(tmp_path / "m.zip", zipped({"m.pkl": pickle.dumps(1)}))
    found = json.loads(gitreg("inspect", "m.zip", "--json", cwd=tmp_path).stdout)[0]
    one = ["path", "format", "name", "type", "framework", "risk", "runs_code", "size", "warnings"]
    assert list(found) == [*one, "inside", "more"]
    assert [list(inner) for inner in found["inside"]] == [one]
    assert (found["format"], found["runs_code"], found["more"]) == ("archive-code", True, 0)


def test_fail_on_code_exits_with_1_only_for_what_may_run_code(tmp_path: Path) -> None:
    put(tmp_path / "m.onnx", ONNX)
    put(tmp_path / "m.pkl", pickle.dumps(1))
    put(tmp_path / "m.7z", CASES["7z"][0])
    codes = [
        gitreg("inspect", f, "--fail-on-code", cwd=tmp_path).returncode for f in ("m.onnx", "m.pkl", "m.7z")
    ]
    assert codes == [0, 1, 1]


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    for path in ("no/such.onnx", "churn"):
        done = gitreg("inspect", path, cwd=tmp_path)
        assert done.returncode == 1 and f"error: {path} does not exist" in done.stderr


def test_a_reference_is_its_artifact_in_the_cache(workshop: Workshop) -> None:
    put(workshop.adder / "artifacts" / "w.pkl", pickle.dumps(1))
    run(sys.executable, "-m", "dvc", "add", "-q", workshop.adder / "artifacts", cwd=workshop.root)
    done = workshop.gitreg("inspect", "adder")
    assert done.returncode == 0 and "adder!w.pkl" in done.stdout
    for file in (workshop.root / ".dvc" / "cache" / "files").rglob("*.dir"):
        file.unlink()
    done = workshop.gitreg("inspect", "adder")
    assert done.returncode == 1 and "hint: dvc fetch models/adder/artifacts.dvc" in done.stderr


# Two files in one -----------------------------------------------------------------------------------


def _opens_as_zip(path: Path) -> bool:
    return zipfile.is_zipfile(path)


@pytest.mark.parametrize(
    "what", ["safetensors", "npy", "onnx", "lightgbm", "xgboost json", "xgboost ubj", "pmml"]
)
@pytest.mark.parametrize("member", ["m.pkl", "model/data.pkl", "metadata.json"])
def test_a_zip_behind_a_model_is_seen_by_whoever_looks_for_zips_at_the_end(
    what: str, member: str, tmp_path: Path
) -> None:
    data, key = CASES[what]
    behind = zipped({member: pickle.dumps(1), "config.json": b"{}"})
    file = put(tmp_path / "m", data + behind)
    assert _opens_as_zip(file)
    seen = detection.inspect(file)
    assert seen.runs_code and seen.format.key != key and detection.detect(file).may_run_code
    assert seen.format.key in flavors.PICKLES or seen.format is formats.KERAS, (
        "no type loads it without `trust`"
    )
    assert seen.warnings


@pytest.mark.parametrize(
    "before", [b"#!/bin/sh\nexit\n", b"\0" * 5000, b"hello " * 9, b"\x89PNG\r\n\x1a\n" + bytes(99)]
)
def test_a_zip_behind_any_other_bytes_is_the_zip_that_loaders_open(before: bytes, tmp_path: Path) -> None:
    for members, key in (
        ({"a/data.pkl": pickle.dumps(1)}, "pytorch-pickle"),
        ({"config.json": b"{}", "metadata.json": b"{}"}, "keras"),
        ({"a.pkl": pickle.dumps(1)}, "archive-code"),
        ({"a.txt": b"text"}, "archive"),
    ):
        file = put(tmp_path / "m", before + zipped(members))
        seen = detection.inspect(file)
        assert _opens_as_zip(file) and seen.format.key == key and seen.runs_code
        assert "after other bytes" in seen.warnings[-1]


def test_a_zip_with_a_comment_and_a_zip64_directory_are_found_as_well(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.comment = b"c" * 60_000
        with archive.open("m.pkl", "w", force_zip64=True) as stream:
            stream.write(pickle.dumps(1))
    file = put(tmp_path / "m", SAFETENSORS + inner.getvalue())
    assert _opens_as_zip(file) and detection.inspect(file).format is formats.MIXED


def test_bytes_after_the_end_that_a_header_gives_cannot_be_told(tmp_path: Path) -> None:
    for data in (SAFETENSORS, CASES["npy"][0]):
        for more in (b"\0", pickle.dumps(1), b"x" * 70_000):
            seen = detection.inspect(put(tmp_path / "m", data + more))
            assert seen.format is formats.MIXED and seen.risk == "cannot tell" and seen.runs_code
            assert seen.warnings == [f"appended: {len(more):,} bytes after the end that its header gives"]


@pytest.mark.parametrize("place", [512, 1024, 4096])
def test_hdf5_behind_a_user_block_is_hdf5(place: int, tmp_path: Path) -> None:
    superblock = CASES["hdf5"][0]
    alone = detection.inspect(put(tmp_path / "m", b"text".ljust(place, b"\0") + superblock))
    assert alone.format is formats.HDF5 and alone.runs_code
    tensor = bytes(place - 80) + superblock + bytes(80)
    header = json.dumps({"a": {"dtype": "U8", "shape": [len(tensor)], "data_offsets": [0, len(tensor)]}})
    hidden = (72).to_bytes(8, "little") + header.ljust(72).encode() + tensor
    seen = detection.inspect(put(tmp_path / "n", hidden))
    assert seen.format is formats.MIXED and seen.risk == "runs code when loaded"


def test_a_pickle_that_ends_in_a_zip_is_still_the_pickle(tmp_path: Path) -> None:
    seen = detection.inspect(put(tmp_path / "m", pickle.dumps(zipped({"a.txt": b"text"}))))
    assert seen.format is formats.PICKLE


def test_labels_that_tensorflow_lite_appends_leave_it_data_and_a_pickle_does_not(tmp_path: Path) -> None:
    lite = CASES["tflite"][0]
    assert detection.inspect(put(tmp_path / "m", lite + zipped({"labels.txt": b"cat"}))).risk == "data only"
    assert detection.inspect(put(tmp_path / "m", lite + zipped({"labels.txt": pickle.dumps(1)}))).runs_code


def test_what_cannot_be_told_counts_as_running_code_everywhere(tmp_path: Path) -> None:
    for name, data in {
        "notes.txt": b"some text",
        "w.bin": b"\1\2\3" * 40,
        "texts.zip": zipped({"a": b"b"}),
    }.items():
        seen = detection.inspect(put(tmp_path / name, data))
        assert seen.risk == "cannot tell" and seen.runs_code and seen.format.may_run_code
        assert gitreg("inspect", name, "--fail-on-code", cwd=tmp_path).returncode == 1
    for format_ in formats.FORMATS:
        assert format_.may_run_code == (formats.risk(format_) != formats.DATA_ONLY)


def test_a_folder_of_one_model_is_said_to_be_that_by_inspect_as_by_new(tmp_path: Path) -> None:
    put(tmp_path / "f" / "model.onnx", ONNX)
    put(tmp_path / "f" / "README.md", b"# A model\n")
    seen = detection.inspect(tmp_path / "f", "some/where")
    assert seen.format is detection.detect(tmp_path / "f") is formats.ONNX and seen.risk == "data only"
