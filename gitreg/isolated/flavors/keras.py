"""Keras: .keras files in safe mode; HDF5, and layers with Python code, where the manifest trusts them."""

import importlib.util
import os
import re
import sys

import numpy as np

from . import Flavored, clean, version

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SAFE = (3, 12)  # CVE-2025-1550, CVE-2025-8747 and CVE-2025-12058 are mended
_BACKENDS = ("tensorflow", "torch", "jax")


class Keras(Flavored):
    """A whole Keras model: architecture and weights.

    Options:
        file: which file of a folder to load.
    """

    def open(self):
        file = self.file(".keras", ".h5", ".hdf5")
        with open(file, "rb") as stream:
            hdf5 = stream.read(8) == _HDF5
        trusted = "pickle" in self.settings["trust"]
        if hdf5 and not trusted:
            raise PermissionError(
                f"{os.path.basename(file)} is HDF5, in which layers may hold Python code that runs when it "
                "is loaded; `trust: pickle` in the manifest allows it. model.save('model.keras') writes a "
                "file that is loaded in safe mode"
            )
        if "keras" not in sys.modules and "KERAS_BACKEND" not in os.environ:
            there = [name for name in _BACKENDS if importlib.util.find_spec(name)]
            os.environ["KERAS_BACKEND"] = there[0] if there else "numpy"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import keras

        self.keras = keras
        if not trusted and tuple(int(n) for n in re.findall(r"\d+", keras.__version__)[:2]) < _SAFE:
            raise PermissionError(
                f"the safe mode of Keras {keras.__version__} is known to have holes; install a newer one, or "
                "say `trust: pickle` in the manifest"
            )
        try:
            self.model = keras.saving.load_model(file, compile=False, safe_mode=not trusted)
        except (ValueError, TypeError) as error:
            if not trusted and re.search(r"safe_mode|unsafe|arbitrary code", str(error)):
                raise PermissionError(
                    f"{os.path.basename(file)} holds Python code, as Lambda layers do, which runs when it is "
                    "loaded; `trust: pickle` in the manifest allows it"
                ) from error
            raise
        self.takes = [(clean(_name(one)), one) for one in self.model.inputs]
        self.gives = _unique([clean(name) for name in self._output_names()])

    def _output_names(self):
        """Of a dict of outputs its keys; else the layers' names."""
        struct = getattr(self.model, "output", None)
        if isinstance(struct, dict):
            return [str(key) for key in sorted(struct)]
        return [_name(one) for one in self.model.outputs]

    def answer(self, inputs):
        known = all(name in inputs for name, _ in self.takes)
        arrays = [inputs[name] for name, _ in self.takes] if known else list(inputs.values())
        given = [_taken(array, one) for array, (_, one) in zip(arrays, self.takes)]
        struct = getattr(self.model, "input", None)
        packed = given[0] if struct is None else self.keras.tree.pack_sequence_as(struct, given)
        flat = self.keras.tree.flatten(self.model.predict_on_batch(packed))
        names = self.gives
        if self.outputs and not {f.name for f in self.outputs} <= set(names):
            names = [field.name for field in self.outputs]
        return dict(zip(names, map(np.asarray, flat)))

    def known_inputs(self):
        return [(name, np.dtype(_dtype(one)), tuple(one.shape)) for name, one in self.takes]

    def requirements(self):
        backend = self.keras.backend.backend()
        names = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "torch": ("torch",), "jax": ("jax",)}
        found = [one for one in map(_installed, names.get(backend, ())) if one]
        return [f"keras=={version('keras')}", *found[:1]]


def _installed(name):
    try:
        return f"{name}=={version(name).partition('+')[0]}"
    except ImportError:
        return None


def _name(tensor):
    """What its layer is called: that is the name its author gave, where he gave one."""
    history = getattr(tensor, "_keras_history", None)
    return str(history.operation.name if history else tensor.name)


def _unique(names):
    return [name if names.index(name) == i else f"{name}_{i}" for i, name in enumerate(names)]


def _dtype(tensor):
    name = str(tensor.dtype)
    return {"string": "object", "bfloat16": "float32"}.get(name, name)


def _taken(array, tensor):
    """An array in the rank that the model has; a declared [1] may be a row's only value."""
    rank = len(tensor.shape)
    return array.reshape(array.shape[:rank]) if array.ndim == rank + 1 and array.shape[-1] == 1 else array
