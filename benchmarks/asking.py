"""Claim: `LoadedModel.predict` costs at most 10 microseconds more than the model itself, for a small array.

MLflow's pyfunc does the same for a model with a signature, and is measured in the same run where it is
installed (`pip install mlflow-skinny`).
"""

import importlib.util
import tempfile
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
from common import verdict

from gitreg import DataType, LoadedModel, ModelSchema, ModelSchemaItem

BOUND = 10.0
CALLS, ROUNDS = 20_000, 7


class Scorer:
    """As little of a model as there can be."""

    weights = np.ones(20, np.float32)

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"p": inputs["x"] @ self.weights}


def microseconds(*calls: Callable[[], Any], count: int = CALLS) -> list[float]:
    """The least time of each call, taken in turn."""
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for i, call in enumerate(calls):
            best[i] = min(best[i], timeit.timeit(call, number=count) / count * 1e6)
    return best


def main() -> None:
    model = Scorer()
    sides = [[ModelSchemaItem(n, DataType.FLOAT, s)] for n, s in (("x", [20]), ("p", [1]))]
    loaded = LoadedModel(model, ModelSchema(*sides), custom_batching=True)  # type: ignore[arg-type]
    x = np.ones((1, 20), np.float32)
    asked = {"x": x}
    bare, mapping, array = microseconds(
        lambda: model.predict(asked), lambda: loaded.predict(asked), lambda: loaded.predict(x)
    )
    print(f"bare {bare:.2f} us, with a mapping {mapping:.2f} us, with an array {array:.2f} us")
    verdict("LoadedModel.predict of a mapping, less the model", mapping - bare, BOUND, "us")
    verdict("LoadedModel.predict of an array, less the model", array - bare, BOUND, "us")
    if importlib.util.find_spec("mlflow"):
        foreign, own = with_mlflow(model, asked, x)
        print(f"        MLflow's pyfunc, less the model: {foreign - own:.1f} us")


def with_mlflow(model: Scorer, asked: dict[str, Any], x: Any) -> tuple[float, float]:
    """(predict of pyfunc, of the model it wraps) in microseconds."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    class Wrapped(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model.predict(model_input)

    signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 20), "x")]))
    with tempfile.TemporaryDirectory() as place:
        mlflow.pyfunc.save_model(f"{place}/it", python_model=Wrapped(), signature=signature)
        one = mlflow.pyfunc.load_model(f"{place}/it")
        foreign, own = microseconds(
            lambda: one.predict(asked), lambda: model.predict(asked), count=CALLS // 20
        )
    return foreign, own


if __name__ == "__main__":
    main()
