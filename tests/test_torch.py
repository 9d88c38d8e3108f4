"""PyTorch models, from `new` to a real Triton: TorchScript, programs, weights with their class (rows C7, M14)."""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import load_raw_model
from gitreg.isolated.flavors.pytorch import Pytorch
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
from tests.support import Workshop, needs_triton

torch: Any = pytest.importorskip("torch")

NET = """
import torch

from layers import Twice


class Net(torch.nn.Module):
    def __init__(self, hidden=8):
        super().__init__()
        self.first = torch.nn.Linear(4, hidden)
        self.last = torch.nn.Linear(hidden, 3)
        self.drop = torch.nn.Dropout(0.5)
        self.twice = Twice()

    def forward(self, x):
        hidden = self.drop(torch.relu(self.first(x)))
        return {"scores": self.twice(self.last(hidden)), "best": self.last(hidden).argmax(1)}
"""
LAYERS = """
import torch


class Twice(torch.nn.Module):
    def forward(self, x):
        return x * 2
"""
SAMPLES = [{"x": [1.0, 2.0, 3.0, 4.5]}, {"x": [-1.0, 0.0, 0.5, 0.0]}]


def made(code: Path, hidden: int = 6) -> Any:
    """A Net, in training mode as training leaves it."""
    import sys

    sys.path.insert(0, str(code))
    try:
        spec = importlib.util.spec_from_file_location("net", code / "net.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules["net"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(code))
    torch.manual_seed(0)
    return module.Net(hidden)


def make_files(place: Path) -> None:
    from safetensors.torch import save_file

    (place / "code").mkdir()
    (place / "code" / "net.py").write_text(NET)
    (place / "code" / "layers.py").write_text(LAYERS)
    net = made(place / "code")
    torch.save({"epoch": 3, "state_dict": net.state_dict()}, place / "weights.pt")
    save_file(net.state_dict(), place / "weights.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net).save(place / "script.pt")
    torch.save(net, place / "whole.pt")
    net.eval()
    batch = {"x": {0: torch.export.Dim("rows")}}
    program = torch.export.export(net, (torch.zeros(2, 4),), dynamic_shapes=batch)
    torch.export.save(program, place / "program.pt2")
    torch.export.save(torch.export.export(net, (torch.zeros(1, 4),)), place / "row.pt2")
    (place / "s.json").write_text(json.dumps(SAMPLES))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    place = tmp_path_factory.mktemp("torch")
    make_files(place)
    samples = ["--samples", place / "s.json"]
    weights = ["--type", "pytorch", "--class", "net.Net", "--code", place / "code"]
    return shop_with(
        place / "registry",
        {
            "script": ["--from", place / "script.pt", *samples],
            "program": ["--from", place / "program.pt2", *samples, "--trust", "pickle"],
            "weights": [
                "--from",
                place / "weights.pt",
                *samples,
                *weights,
                "--option",
                "arguments={hidden: 6}",
            ],
        },
    )


def expected(shop: Workshop) -> list[dict[str, Any]]:
    net = made(shop.root.parent / "code").eval()
    net.load_state_dict(torch.load(shop.root.parent / "weights.pt", weights_only=True)["state_dict"])
    with torch.no_grad():
        said = [net(torch.tensor([one["x"]])) for one in SAMPLES]
    return [{"scores": one["scores"][0].numpy(), "best": one["best"].numpy()} for one in said]


def test_schemas_come_from_the_file_or_from_answers(shop: Workshop) -> None:
    for name in ("script", "program", "weights"):
        assert declared(shop, name) == "x float [4] -> scores float [3], best long [1]", name


def test_answers_are_those_of_the_module_in_evaluation_mode(shop: Workshop) -> None:
    for name in ("script", "program", "weights"):
        same(raw_answers(shop, name), expected(shop))


def test_a_batch_is_answered_as_its_rows_are(shop: Workshop) -> None:
    for name in ("script", "program"):
        model = load_raw_model(shop.root / "dist" / "raw" / name)
        together = model.predict({"x": np.stack([one["x"] for one in samples_of(shop, name)])})
        same([{n: a[i] for n, a in together.items()} for i in range(2)], raw_answers(shop, name))


def test_packages_hold_against_their_records_and_carry_the_class(shop: Workshop) -> None:
    is_verified(shop, "weights")
    package = shop.root / "dist" / "raw" / "weights" / "0" / "defs"
    assert {"net.py", "layers.py"} <= {file.name for file in package.iterdir()}


@needs_triton
def test_triton_answers_the_same(shop: Workshop) -> None:
    with triton(shop) as client:
        for name in ("script", "program", "weights"):
            same(triton_answers(client, shop, name), raw_answers(shop, name))


def opened(file: Path, trust: tuple[str, ...] = (), model_class: str | None = None, **options: Any) -> Any:
    settings = {"inputs": [], "outputs": [], "options": options, "trust": list(trust), "batched": True}
    return Pytorch(str(file), {**settings, **({"model_class": model_class} if model_class else {})})


def test_other_ways_to_keep_weights(shop: Workshop) -> None:
    place = shop.root.parent
    made(place / "code")
    x = np.array([one["x"] for one in SAMPLES], np.float32)
    wanted = np.stack([one["scores"] for one in expected(shop)])
    tensors = opened(place / "weights.safetensors", model_class="net.Net", arguments={"hidden": 6})
    row = opened(place / "row.pt2", ("pickle",))
    for model in (tensors, row, opened(place / "whole.pt", ("pickle",))):
        np.testing.assert_allclose(model.predict({"x": x})["scores"], wanted, rtol=1e-5)
    assert row.single and row.describe()["inputs"] == [{"name": "x", "data_type": "float", "shape": [4]}]
    assert any(one.startswith("safetensors>=") for one in tensors.requirements())


def test_what_runs_code_needs_trust(shop: Workshop, tmp_path: Path) -> None:
    place = shop.root.parent
    made(place / "code")
    with pytest.raises(PermissionError, match="trust: pickle"):
        opened(place / "whole.pt")
    with pytest.raises(PermissionError, match="trust: pickle"):
        opened(place / "program.pt2")

    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "gone-off"),)

    torch.save({"weight": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(PermissionError, match="trust: pickle"):
        opened(tmp_path / "bomb.pt", model_class="net.Net")
    assert not (tmp_path / "gone-off").exists()


def test_weights_without_their_class_and_of_another(shop: Workshop) -> None:
    place = shop.root.parent
    made(place / "code")
    with pytest.raises(ValueError, match="`model_class` has to name"):
        opened(place / "weights.pt")
    with pytest.raises(RuntimeError, match="size mismatch"):
        opened(place / "weights.pt", model_class="net.Net", arguments={"hidden": 7})
    with pytest.raises(ValueError, match="holds no state_dict 'ema'; it has epoch, state_dict"):
        opened(place / "weights.pt", model_class="net.Net", key="ema")


@pytest.mark.parametrize("kept", [0, 0.5])
@pytest.mark.parametrize("name", ["script.pt", "program.pt2", "weights.pt", "weights.safetensors"])
def test_a_truncated_file_does_not_load(shop: Workshop, tmp_path: Path, name: str, kept: float) -> None:
    whole = (shop.root.parent / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(Exception, match=r"truncated|empty|deserializing"):
        opened(tmp_path / name, ("pickle",), "net.Net", arguments={"hidden": 6})


def test_new_says_what_a_file_of_weights_lacks(shop: Workshop, workshop: Workshop) -> None:
    done = workshop.gitreg("new", "bare", "--from", shop.root.parent / "weights.pt")
    assert done.returncode == 1 and "`model_class` has to name" in done.stderr
    assert not (workshop.root / "models" / "bare").exists()
