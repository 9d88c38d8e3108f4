"""MLflow models by their python_function flavor: it runs its author's code, so a manifest has to trust it."""

import json
import os

import numpy as np

from . import Flavored, version


class Mlflow(Flavored):
    """A folder with an MLmodel file.

    Columns of a signature become a data frame; tensors become an array, or arrays by name.

    Options:
        names: declared name -> the signature's, where that is no name of the schema's.
        params: what `predict` gets as its parameters.
    """

    def open(self):
        if "pickle" not in self.settings["trust"]:
            raise PermissionError(
                "an MLflow model runs code of its author's when it is loaded; "
                "`trust: pickle` in the manifest allows it"
            )
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow.pyfunc

        self.model = mlflow.pyfunc.load_model(self.path, suppress_warnings=True)
        self.original = {f.name: self.options.get("names", {}).get(f.name, f.name) for f in self.inputs}
        self.answers_to = {v: k for k, v in self.options.get("names", {}).items()}
        takes, gives = self.model.metadata.get_input_schema(), self.model.metadata.get_output_schema()
        self.tensors = takes.is_tensor_spec() if takes else len(self.inputs) <= 1
        self.named = bool(takes and takes.has_input_names())
        self.columns = {n: str(t) for n, t in zip(takes.input_names(), takes.input_types())} if takes else {}
        self.gives = gives.input_names() if gives and gives.has_input_names() else []

    def unwrap(self):
        """MLflow's own loaded model."""
        return self.model

    def answer(self, inputs):
        arrays = {self.original.get(name, name): array for name, array in inputs.items()}
        return self._taken(self.model.predict(self._given(arrays), params=self.options.get("params")))

    def _given(self, arrays):
        """Inputs as pyfunc takes them."""
        arrays = {name: self._typed(name, array) for name, array in arrays.items()}
        if not self.tensors:
            import pandas

            columns = {name: self._column(name, array) for name, array in arrays.items()}
            frame = pandas.DataFrame(columns)
            return frame if self.named or not self.columns else frame.set_axis(range(len(columns)), axis=1)
        return arrays if self.named or len(arrays) > 1 else next(iter(arrays.values()))

    def _column(self, name, array):
        """A batch as a column: a value per row; a list per row, where the signature has lists."""
        if array.size == len(array) and not self.columns.get(name, "").startswith("Array"):
            return array.reshape(len(array))
        return array if array.ndim == 1 else array.tolist()

    def _typed(self, name, array):
        """Strings and dates as the signature means them."""
        kind = self.columns.get(name, "")
        if array.dtype.kind != "O" or kind.endswith("binary"):
            return array
        text = np.array([e.decode() if isinstance(e, bytes) else e for e in array.ravel().tolist()], object)
        text = text.reshape(array.shape)
        return text.astype("datetime64[ns]") if kind.endswith("datetime") else text

    def _taken(self, answer):
        """Outputs by name, of whatever pyfunc gave."""
        if hasattr(answer, "columns") and hasattr(answer, "to_numpy"):
            names = [str(name) for name in answer.columns]
            known = [self.answers_to.get(name, name) for name in names]
            if not self.gives and len(self.outputs) == len(names):
                known = [field.name for field in self.outputs]  # columns that the signature does not name
            elif not self.gives and len(self.outputs) == 1:
                return [answer.to_numpy()]
            return {name: _stacked(answer.iloc[:, i].to_numpy()) for i, name in enumerate(known)}
        if isinstance(answer, dict):
            return {self.answers_to.get(str(name), str(name)): _stacked(v) for name, v in answer.items()}
        if isinstance(answer, tuple):
            return [_stacked(one) for one in answer]
        return [_stacked(answer)] if self.outputs else {"prediction": _stacked(answer)}

    def known_inputs(self):
        return None  # the MLmodel says it, and gitreg reads that without MLflow

    def requirements(self):
        return [f"mlflow=={version('mlflow-skinny')}"]


def _stacked(values):
    """What came as a list, a series or an array, as one array."""
    array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    if array.dtype.kind == "M":
        return np.datetime_as_string(array).astype(object)
    if array.dtype.kind == "O" and array.size and not isinstance(array.flat[0], (str, bytes)):
        if isinstance(array.flat[0], dict):
            return np.array([json.dumps(one, default=str) for one in array.flat], object)
        return np.array(array.tolist())
    return array
