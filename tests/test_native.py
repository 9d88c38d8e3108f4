"""`backend: native`: packages for Triton's own backends, held against what the files say (no such server is here)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import builder, verifier
from gitreg.declared import Batching
from gitreg.errors import Refused
from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.packages import Parts, contents_of
from gitreg.packages.triton import config, config_text, parse_config
from tests.support import HAS_TRITON_WHEEL, Workshop

FLOAT, LONG = DataType.FLOAT, DataType.LONG


def items(said: Mapping[str, tuple[DataType, list[int]]]) -> list[ModelSchemaItem]:
    return [ModelSchemaItem(name, kind, shape) for name, (kind, shape) in said.items()]


def parts(kind: str, file: Path, inputs: Mapping[str, Any], outputs: Mapping[str, Any], **more: Any) -> Parts:
    schema = ModelSchema(items(inputs), items(outputs))
    batching = Batching(True, 64)
    return Parts(
        **{"name": "m", "type": kind, "artifact": builder.local_artifact(file), "batching": batching, **more},
        schema=schema,
        backend="native",
    )


def classifier(file: Path, zipmap: bool = False) -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    model = LogisticRegression().fit(x, (x[:, 0] > 0).astype(int))
    file.write_bytes(to_onnx(model, x[:1], options={"zipmap": zipmap}).SerializeToString())


def test_from_a_manifest_to_a_package_that_is_verified(workshop: Workshop, tmp_path: Path) -> None:
    classifier(tmp_path / "clf.onnx")
    (tmp_path / "s.json").write_text(json.dumps([{"X": [1.0, 2.0, 3.0, 4.0]}, {"X": [-1.0, 0.0, 0.0, 0.0]}]))
    asked = ["--from", tmp_path / "clf.onnx", "--samples", tmp_path / "s.json", "--description", "Which."]
    assert workshop.gitreg("new", "clf", *asked).returncode == 0
    manifest = workshop.root / "models" / "clf" / "model.yaml"
    manifest.write_text(manifest.read_text() + "backend: native\n")
    workshop.commit("clf")
    done = workshop.gitreg("build", "clf")
    assert done.returncode == 0, done.stderr
    package = workshop.root / "dist" / "triton" / "clf"
    files = sorted(p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file())
    assert files == ["0/download.yaml", "0/model.onnx", "config.pbtxt"]
    message: Any = parse_config((package / "config.pbtxt").read_bytes())
    assert message.backend == "onnxruntime" and message.max_batch_size == 256 and not message.parameters
    label, chances = message.output
    assert (label.name, list(label.dims), label.HasField("reshape")) == ("label", [1], True)
    assert (chances.name, list(chances.dims), chances.HasField("reshape")) == ("probabilities", [2], False)
    as_onnxruntime_has_it(message, package / "0" / "model.onnx")
    found = verifier.verify(package)
    assert (found.problems, found.loaded, found.samples) == ([], True, 2)
    (package / "0" / "model.onnx").unlink()
    (package / "0" / "model.onnx").write_bytes(b"another")
    assert "model.onnx" in " ".join(verifier.verify(package).problems)
    done = workshop.gitreg("serve", "clf", "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    why = "for Triton's onnxruntime backend, which" if HAS_TRITON_WHEEL else "no Triton server"
    assert done.returncode == 1 and why in done.stderr, done.stderr
    manifest.write_text(manifest.read_text().replace("shape: [4]", "shape: [5]"))
    (workshop.root / "models" / "clf" / "samples.json").write_text(json.dumps([{"X": [1.0] * 5}]))
    assert workshop.gitreg("check", "clf").returncode == 1


def as_onnxruntime_has_it(message: Any, file: Path) -> None:
    """Whether names and shapes are the graph's: what Triton's ONNX Runtime backend would look at."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    for said, has in ((message.input, session.get_inputs()), (message.output, session.get_outputs())):
        assert [one.name for one in said] == [one.name for one in has]
        for one, its in zip(said, has, strict=True):
            dims = list(one.reshape.shape) if one.HasField("reshape") else list(one.dims)
            assert dims == list(its.shape[1:]), one.name


def facts(model: Any) -> dict[str, Any]:
    """What a file knows, as it comes out of the isolated process."""
    return json.loads(json.dumps(model.native()))


def refusal(one: Parts) -> str:
    with pytest.raises(Refused) as caught:
        contents_of("triton", one)
    assert "Python backend" in str(caught.value.hint)
    return caught.value.message


def opened(cls: Any, one: Parts) -> Any:
    from gitreg.flavors import settings

    (link,) = one.artifact.files.values()
    return cls(str(link.source), json.loads(settings(one)))


def test_what_a_graph_is_not(tmp_path: Path) -> None:
    from gitreg.isolated.flavors.onnx import Onnx

    classifier(tmp_path / "z.onnx", zipmap=True)
    inputs, label = {"X": (FLOAT, [4])}, {"output_label": (LONG, [1])}
    one = parts("onnx", tmp_path / "z.onnx", inputs, {**label, "output_probability": (FLOAT, [2])})
    one = replace(one, native=facts(opened(Onnx, one)))
    assert "output 'output_probability' is seq(map" in refusal(one) and "'zipmap': False" in refusal(one)
    less = replace(one, schema=ModelSchema(items({"X": (LONG, [5])}), items(label)))
    assert "input 'X' is float in the graph, and long in the schema" in refusal(less)
    assert "input 'X' is [4] in the graph, and [5] in the schema" in refusal(less)
    odd = replace(
        one, schema=ModelSchema(items({"x": (FLOAT, [4])}), items(label)), options={"names": {"x": "X"}}
    )
    assert "the graph calls 'x' 'X'" in refusal(odd)
    whole = replace(
        one, schema=ModelSchema(items({"X": (FLOAT, [2, 4])}), items({"output_label": (LONG, [2])}))
    )
    message: Any = config(replace(whole, batching=Batching(False, 0)))
    assert message.max_batch_size == 0 and list(message.input[0].dims) == [2, 4]
    fixed = replace(
        one, native={**one.native, "inputs": [{"name": "X", "data_type": "float", "shape": [1, 4]}]}
    )
    assert "input 'X' has no batch dimension in the graph, [1, 4]" in refusal(fixed)


def test_boosters_for_fil(tmp_path: Path) -> None:
    import lightgbm
    import xgboost

    from gitreg.isolated.flavors.lightgbm import Lightgbm
    from gitreg.isolated.flavors.xgboost import Xgboost

    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    xgboost.XGBClassifier(n_estimators=2).fit(x, y).save_model(tmp_path / "m.ubj")
    lightgbm.train({"verbose": -1}, lightgbm.Dataset(x, x[:, 1]), 2).save_model(tmp_path / "m.txt")
    inputs = {"input__0": (FLOAT, [4])}
    for kind, cls, file, asked, shape, wanted in (
        ("xgboost", Xgboost, "m.ubj", "probabilities", 2, ("xgboost_ubj", "true", "true")),
        ("xgboost", Xgboost, "m.ubj", "label", 1, ("xgboost_ubj", "true", "false")),
        ("lightgbm", Lightgbm, "m.txt", "prediction", 1, ("lightgbm", "false", "false")),
    ):
        outputs = {"output__0": (FLOAT, [shape])}
        one = parts(kind, tmp_path / file, inputs, outputs, options={"outputs": {"output__0": asked}})
        model = opened(cls, one)
        assert model.predict({"input__0": x})["output__0"].shape == (60, shape)
        one = replace(one, native=facts(model))
        message: Any = config(one)
        said = {key: value.string_value for key, value in message.parameters.items()}
        assert (said["model_type"], said["output_class"], said["predict_proba"]) == wanted
        assert message.backend == "fil" and ("threshold" in said) == (asked == "label")
        assert f"0/{message.default_model_filename}" in contents_of("triton", one)
    both = parts("xgboost", tmp_path / "m.ubj", {"x": (FLOAT, [4])}, {"label": (LONG, [1])})
    said = refusal(replace(both, native=facts(opened(Xgboost, both))))
    assert "takes one input, `input__0`" in said and "answers one output, `output__0`" in said
    wrong = replace(one, native={**one.native, "features": 7, "part": True, "categories": True})
    assert "there are 7 features" in refusal(wrong) and "every round" in refusal(wrong)


def test_torchscript_by_its_order(tmp_path: Path) -> None:
    import torch

    from gitreg.isolated.flavors.pytorch import Pytorch

    torch.jit.trace(torch.nn.Linear(4, 2), torch.zeros(1, 4)).save(tmp_path / "anything.pt")
    one = parts("pytorch", tmp_path / "anything.pt", {"INPUT__0": (FLOAT, [4])}, {"OUTPUT__0": (FLOAT, [2])})
    one = replace(one, native=facts(opened(Pytorch, one)))
    message: Any = config(one)
    assert (message.backend, message.platform) == ("pytorch", "pytorch_libtorch")
    assert set(contents_of("triton", one)) == {"config.pbtxt", "0/model.pt"}
    two = {"a": (FLOAT, [4]), "b__0": (FLOAT, [4])}
    said = refusal(
        replace(one, schema=ModelSchema(items(two), items({"y": (FLOAT, [2])})), model_class="net.Net")
    )
    assert "forward takes 1 arguments, and the schema has 2 inputs" in said
    assert "inputs a, b__0: NAME__INDEX is a place" in said and "net.Net is a class of your own" in said
    assert "TorchScript alone" in refusal(replace(one, native={"kind": "export"}))


def test_a_saved_model_keeps_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12\x02\x0a\x00")
    (folder / "variables" / "variables.index").write_bytes(b"i")
    one = parts("tensorflow", folder, {"x": (FLOAT, [4])}, {"y": (FLOAT, [2])}, ordinal=3)
    paths = set(contents_of("triton", one))
    assert {"3/model.savedmodel/saved_model.pb", "3/model.savedmodel/variables/variables.index"} < paths
    message: Any = parse_config(config_text(one))
    assert message.platform == "tensorflow_savedmodel" and message.backend == "tensorflow"
    builder.whole("triton", one, tmp_path / "m")
    record = builder.find_record(tmp_path / "m")
    assert record and record["artifact"]["path"] == "model.savedmodel" and record["backend"] == "native"
    found = verifier.verify(tmp_path / "m")
    assert found.problems == [] and not found.loaded and "not asked" in found.warnings[0]
    (tmp_path / "frozen.pb").write_bytes(b"graph")
    frozen = parts("tensorflow", tmp_path / "frozen.pb", {"x": (FLOAT, [4])}, {"y": (FLOAT, [2])})
    assert set(contents_of("triton", frozen)) == {"config.pbtxt", "0/model.graphdef"}
    (tmp_path / "m.keras").write_bytes(b"keras")
    kept = parts("tensorflow", tmp_path / "m.keras", {"x": (FLOAT, [4])}, {"y": (FLOAT, [2])})
    assert "SavedModel folders and frozen graphs" in refusal(kept)


def test_a_graph_with_its_weights_beside_it_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "net.onnx").write_bytes(b"graph")
    (folder / "net.bin").write_bytes(b"weights")
    one = parts("onnx", folder, {"x": (FLOAT, [4])}, {"y": (FLOAT, [2])})
    assert {"0/model.onnx/model.onnx", "0/model.onnx/net.bin"} < set(contents_of("triton", one))
    several = parts("xgboost", folder, {"input__0": (FLOAT, [4])}, {"output__0": (FLOAT, [1])})
    assert "the artifact has 2 files" in refusal(several)
