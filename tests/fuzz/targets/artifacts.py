"""What comes with an artifact: its files by `inspect`, MLmodel, config.json, and whole packages."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pickle
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gitreg.errors import GitregError
from tests.fuzz import mutations
from tests.fuzz.harness import Judge, Target
from tests.fuzz.targets import values


def _formats() -> list[bytes]:
    from tests.test_detection import CASES

    return [data for data, _ in CASES.values() if len(data) < 20_000]


def _inspect(folder: Path) -> Judge:
    from gitreg import detection, references

    names = ("model.bin", "model.safetensors", "x.npz", "config.json", "model.onnx")

    def judge(pair: tuple[int, bytes]) -> object:
        name = names[pair[0] % len(names)]
        place = folder / "artifact"
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(pair[1])
        try:
            seen = detection.inspect(place / name, name)
            _ = seen.risk, seen.runs_code, [one.format for one in seen.all()]
            detection.inspect(place)
            detection.detect(place)
            detection.unpickled({name: place / name}, "onnx")
            for kind in ("onnx", "pytorch", "huggingface"):
                references.mistakes(kind, {"file": name}, {name: place / name}, True)
        finally:
            (place / name).unlink()
        return not seen.unseen

    return judge


def _files(raw: list[bytes]) -> st.SearchStrategy[Any]:
    return st.tuples(st.integers(0, 4), mutations.of_bytes(raw))


def _packed() -> list[bytes]:
    """Archives and what is compressed, one in another."""
    from tests.test_detection import tarred, zipped

    inner = {
        "a.pkl": pickle.dumps({"a": [1, "x"]}),
        "b.json": b'{"a": 1}',
        "c/../d": b"x",
        "data.pkl": b"\x80\x02.",
    }
    found = [zipped(inner), zipped(inner, 8), tarred(inner), tarred(inner, "w:gz"), *values.archives()]
    found += [
        make(pickle.dumps([1, 2, 3])) for make in (gzip.compress, bz2.compress, zlib.compress, lzma.compress)
    ]
    return [
        *found,
        zipped({f"{i}.bin": one for i, one in enumerate(found)}),
        tarred({"x.zip": zipped(inner)}),
    ]


# MLflow ------------------------------------------------------------------------------------------

MLMODEL = b"""artifact_path: model
flavors:
  python_function:
    loader_module: mlflow.sklearn
    model_path: model.pkl
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    artifacts: {a: {path: artifacts/a, uri: x}}
    python_version: 3.11.7
  sklearn: {pickled_model: model.pkl, sklearn_version: 1.4.0, code: null}
model_uuid: abc
run_id: 0123456789abcdef
saved_input_example_info: {artifact_path: input_example.json, type: dataframe, pandas_orient: split}
signature:
  inputs: '[{"type": "double", "name": "age (years)", "required": true}, {"type": "array", "items": {"type": "long"}, "name": "n"}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]'
  params: null
"""
_SIGNATURE = b"""flavors: {python_function: {loader_module: x}, onnx: {}}
signature:
  inputs: '[{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "<U8", "shape": [-1, 3]}}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]'
"""
_SIDE = b'[{"type": "double", "name": "a b", "required": false}, {"type": "array", "items": {"type": "long"}, "name": "n"}]'
_SOURCE = b'{"uri": "s3://a:b@c/d?token=x", "url": 1, "path": "https://x/y"}'
EXAMPLES = (
    b'{"columns": ["age (years)", "n"], "data": [[1, [2]], [3, [4, 5]]]}', b'{"data": [[1, 2]]}', b"[[1, 2, 3]]",
    b'{"age (years)": [1], "n": [[2]]}',
)  # fmt: skip


def _mlmodel(folder: Path) -> Judge:
    from gitreg import inference, mlmodel, references
    from gitreg.origins import mlflow

    file = folder / "MLmodel"

    def judge(three: tuple[bytes, bytes, bytes]) -> object:
        raw, side, example = three
        file.write_bytes(raw)
        (folder / "input_example.json").write_bytes(example)
        references.mistakes("mlflow", {}, {"MLmodel": file}, False)
        data = inference.read_mlmodel(file)
        with suppress(AttributeError, TypeError, UnicodeDecodeError, KeyError):
            data["signature"]["inputs"] = side.decode()
        said = mlmodel.read(data)
        _ = said.native
        mlflow._example(folder, said)
        text = side.decode("utf-8", "replace")  # as a tracking server has it of a data set, or of a parameter
        mlflow.cleaned_text(text)
        mlmodel.value(text)
        mlflow._data({"name": text, "digest": text, "source": text})
        return said.schema is not None

    return judge


def _mlmodels() -> st.SearchStrategy[Any]:
    whole, side = mutations.of_yaml([MLMODEL, _SIGNATURE]), mutations.of_json([_SIDE, _SOURCE])
    example = mutations.of_json(EXAMPLES)
    kept = st.just(_SIDE), st.sampled_from(EXAMPLES)
    return st.one_of(
        st.tuples(whole, kept[0], kept[1]),
        st.tuples(st.just(MLMODEL), side, kept[1]),
        st.tuples(st.just(MLMODEL), kept[0], example),
    )


# config.json -------------------------------------------------------------------------------------

_TRANSFORMERS: dict[str, bytes] = {
    "config.json": b'{"model_type": "bert", "vocab_file": "vocab.txt", "auto_map": {"AutoModel": "m.M"}, "quantization_config": {}}',
    "tokenizer_config.json": b'{"tokenizer_file": "/etc/x", "merges_files": ["a", 1], "added_tokens_decoder": {"0": {}}}',
    "model.safetensors.index.json": b'{"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "../x"}}',
    "adapter_config.json": b'{"base_model_name_or_path": "x"}',
}
MODELARTS = json.dumps({
    "model_type": "PyTorch", "model_algorithm": "image", "runtime": "python3.7", "dynamic_load_mode": "single",
    "prebuilt": True, "initial_config": {"a": 1}, "health": {"url": "/h"}, "swr_location": "x@sha256:00",
    "install_type": ["real-time", "edge"], "metrics": {"f1": 0.3, "auc": "0.9"},
    "dependencies": [{"installer": "pip", "packages": [
        {"package_name": "numpy", "package_version": "1.15.0", "restraint": "EXACT"}]}, {"installer": "conda"}],
    "apis": [{"protocol": "http", "request": {"data": {"type": "object", "properties": {"data": {"type": "object",
        "properties": {"req_data": {"items": [{"type": "object", "properties": {"x": {"type": "number"},
        "y": {"type": "array", "minItems": 3, "maxItems": 3, "items": [{"type": "integer"}]}}}], "type": "array"}}}},
        "required": ["x"]}}, "response": {"type": "object", "properties": {"p": {"type": "string"}}}}],
}).encode()  # fmt: skip


def _config(folder: Path) -> Judge:
    from gitreg import references
    from gitreg.documents import MAX_BYTES
    from gitreg.origins import modelarts

    def judge(pair: tuple[str, bytes]) -> object:
        name, raw = pair
        place = folder / "artifact"
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(raw)
        try:
            references.mistakes("huggingface", {}, {name: place / name}, False)
            modelarts.matches(str(place))
            if name == "config.json":
                said = modelarts.configuration(place / name, name)
                list(modelarts._unsaid(said, modelarts._fields(said)))
        finally:
            (place / name).unlink()
        return len(raw) < MAX_BYTES

    return judge


def _configs() -> st.SearchStrategy[Any]:
    of = [st.tuples(st.just(name), mutations.of_json([raw])) for name, raw in _TRANSFORMERS.items()]
    return st.one_of(*of, st.tuples(st.just("config.json"), mutations.of_json([MODELARTS])))


# Packages ----------------------------------------------------------------------------------------

_RECORD = b"""format: raw
model: adder
version: 1.0.0
backend: python
model_class: gitreg_flavors.onnx.Onnx
type: onnx
digest: sha256:00
custom_batching: false
max_batch_size: 8
artifact: {path: model/m.onnx, digest: 'md5:00', files: 1}
schema: {inputs: [{name: x, data_type: float, shape: [2]}], outputs: [{name: y, data_type: int, shape: [1]}]}
files:
  metadata/type.yaml: {size: 9, sha256: '00'}
  model/m.onnx: {size: 0, sha256: '00'}
record: sha256:00
"""
_CONFIG_PBTXT = b"""name: "adder"
backend: "python"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 2 ] }
output { name: "y" data_type: TYPE_INT32 dims: -1 }
parameters { key: "EXECUTION_ENV_PATH" value { string_value: "$$TRITON_MODEL_DIRECTORY/env" } }
instance_group [ { kind: KIND_CPU count: 2 } ]
model_warmup { name: "w" inputs { key: "x" value { data_type: TYPE_FP32 dims: 2 input_data_file: "f" } } }
"""
_PACKAGE = {
    "0/metadata/download.yaml": _RECORD,
    "0/metadata/type.yaml": b"type: onnx\n",
    "0/metadata/sample_data.yaml": b"- x: [1.0, 2.0]\n",
    "0/defs/model_class.txt": b"gitreg_flavors.onnx.Onnx\n",
    "0/defs/gitreg_flavors/settings.json": b'{"options": {"file": "m.onnx", "params": {}}}',
    "0/dependencies/requirements.txt": b"numpy\n",
}


def _package(folder: Path) -> Judge:
    """A raw package of somebody else's, up to where its model would be loaded."""
    from gitreg import builder, loader, references, verifier
    from gitreg.packages import record_digest
    from gitreg.packages.triton import around_package, lead_out, parse_config
    from gitreg.schema import schema_of

    version = folder / "adder" / "0"
    for name, data in _PACKAGE.items():
        (folder / "adder" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "adder" / name).write_bytes(data)
    (version / "model").mkdir()
    (version / "model" / "m.onnx").write_bytes(b"")

    def judge(pair: tuple[str, bytes]) -> object:
        name, raw = pair
        file = folder / "adder" / name
        if name.endswith(".pbtxt"):
            lead_out(
                parse_config(raw),
                around_package(
                    {"backend": "python", "ordinal": 0, "files": {}, "artifact": {"path": "model"}}
                ),
            )
            return True
        before = file.read_bytes()
        file.write_bytes(raw)
        try:
            record = builder.find_record(folder / "adder")
            verified = verifier.verify(folder / "adder") if record else None
            with suppress(GitregError):
                references.of_package(version, version / "defs", "model")
            with suppress(GitregError):
                loader._artifact(version)
            with suppress(GitregError):
                list(verifier._samples(version, values.schema_of_all(), False))
            loader._type(version)
            return verified
        finally:
            file.write_bytes(before)

    assert record_digest and schema_of
    return judge


def _packages() -> st.SearchStrategy[Any]:
    of = {name: mutations.of_yaml([raw]) for name, raw in _PACKAGE.items() if name.endswith(".yaml")}
    settings = "0/defs/gitreg_flavors/settings.json"
    of[settings] = mutations.of_json([_PACKAGE[settings]])
    of["config.pbtxt"] = mutations.of_bytes([_CONFIG_PBTXT], [b"$$", b"..", b"{", b"}", b"key:", b"<", b">"])
    return st.one_of([st.tuples(st.just(name), inputs) for name, inputs in of.items()])


TARGETS = [
    Target("inspect", lambda: _files(_formats()), _inspect),
    Target("inspect-archives", lambda: _files(_packed()), _inspect),
    Target("mlmodel", _mlmodels, _mlmodel),
    Target("config", _configs, _config),
    Target("package", _packages, _package),
]
