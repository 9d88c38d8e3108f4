"""Claim: default batching spends in `execute` at most 1.2 times a bare loop of the same predict calls.

Batch 256 of a one-integer model. The generated model.py runs here without a server, over a stand-in
for Triton's own module. Baseline: Michelangelo's wrapper as it was measured, a loop that concatenates
what it has with every sample's answer.
"""

import importlib
import json
import statistics
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np
from common import verdict

from gitreg import CustomTritonPackager, DataType, ModelSchema, ModelSchemaItem

SIZES = (1, 32, 256)
ROUNDS = 1500
BOUND = 1.2

DOUBLER = """
from gitreg import Model

class Doubler(Model):
    def save(self, path):
        open(path, "w").close()

    @classmethod
    def load(cls, path):
        return cls()

    def predict(self, inputs):
        return {"y": inputs["x"] * 2}
"""


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array


class InferenceResponse:
    def __init__(self, output_tensors: list, error: object = None) -> None:
        self.output_tensors, self.error = output_tensors, error


class Request:
    def __init__(self, **arrays: np.ndarray) -> None:
        self.tensors = {name: Tensor(name, array) for name, array in arrays.items()}


def stand_in() -> types.ModuleType:
    """A module with the calls of triton_python_backend_utils that wrappers make."""
    module = types.ModuleType("triton_python_backend_utils")
    module.Tensor, module.InferenceResponse, module.TritonError = Tensor, InferenceResponse, RuntimeError
    module.get_input_tensor_by_name = lambda request, name: request.tensors.get(name)
    module.triton_string_to_numpy = {"TYPE_INT32": np.int32}.__getitem__
    sys.modules[module.__name__] = module
    return module


def generated(folder: Path) -> object:
    """The TritonPythonModel of a package that gitreg makes, initialized as Triton does."""
    (folder / "doubler.py").write_text(DOUBLER)
    (folder / "artifact").touch()
    sys.path.insert(0, str(folder))
    item = [DataType.INT, [1]]
    package = CustomTritonPackager().create_model_package(
        folder / "artifact",
        "doubler.Doubler",
        ModelSchema([ModelSchemaItem("x", *item)], [ModelSchemaItem("y", *item)]),
        dest_model_path=folder / "package",
    )
    sys.path.insert(0, package)
    model = importlib.import_module("0.model").TritonPythonModel()
    config = {
        "max_batch_size": 256,
        "input": [{"name": "x", "data_type": "TYPE_INT32", "dims": ["1"]}],
        "output": [{"name": "y", "data_type": "TYPE_INT32", "dims": ["1"]}],
        "parameters": {"gitreg.artifact": {"string_value": "model/artifact"}},
    }
    model.initialize({"model_config": json.dumps(config), "model_repository": package, "model_version": "0"})
    return model


class Michelangelo:
    """Its wrapper as facts.md describes it: per sample, concatenate all the answers so far."""

    def __init__(self, model: object) -> None:
        self.model = model

    def execute(self, requests: list) -> list:
        responses = []
        for request in requests:
            inputs = {
                "x": sys.modules["triton_python_backend_utils"]
                .get_input_tensor_by_name(request, "x")
                .as_numpy()
            }
            outputs: dict = {}
            for i in range(len(inputs["x"])):
                answer = self.model.predict({name: array[i] for name, array in inputs.items()})
                for name, array in answer.items():
                    row = np.expand_dims(array, 0)
                    outputs[name] = np.concatenate([outputs[name], row]) if name in outputs else row
            responses.append(InferenceResponse([Tensor(n, a) for n, a in outputs.items()]))
        return responses


def main() -> None:
    stand_in()
    with tempfile.TemporaryDirectory() as folder:
        ours = generated(Path(folder))
    user = ours.user_model.model
    theirs = Michelangelo(user)

    def bare(requests: list) -> None:
        predict = user.predict
        for row in requests[0].tensors["x"].as_numpy():
            predict({"x": row})

    def keeping(requests: list) -> list:
        predict = user.predict
        return [predict({"x": row}) for row in requests[0].tensors["x"].as_numpy()]

    for size in SIZES:
        x = np.arange(size, dtype=np.int32).reshape(size, 1)
        requests = [Request(x=x)]
        for wrapper in (ours, theirs):
            (response,) = wrapper.execute(requests)
            assert (response.output_tensors[0].as_numpy() == x * 2).all(), response.error
        calls = {
            "bare loop": bare,
            "loop that keeps": keeping,
            "gitreg": ours.execute,
            "Michelangelo's": theirs.execute,
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(ROUNDS):
            for name, call in calls.items():
                start = time.perf_counter()
                call(requests)
                times[name].append(time.perf_counter() - start)
        for name, all_of_them in times.items():
            least, middle = min(all_of_them) * 1e6, statistics.median(all_of_them) * 1e6
            ratio = least / (min(times["bare loop"]) * 1e6)
            print(f"batch {size:3}  {name:15} {least:8.1f} us best, {middle:8.1f} median, {ratio:.2f} x bare")
        if size == max(SIZES):
            ratio = min(times["gitreg"]) / min(times["bare loop"])
            verdict(f"execute / bare loop, batch {size}", ratio, BOUND, "x")


if __name__ == "__main__":
    main()
