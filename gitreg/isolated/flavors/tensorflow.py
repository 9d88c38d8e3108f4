"""TensorFlow: SavedModels and frozen graphs. A graph may write files, so the manifest has to trust it."""

import os

import numpy as np

from . import Flavored, clean, version, word


class TensorFlow(Flavored):
    """A folder with saved_model.pb, or a frozen graph: its placeholders are asked for what nothing consumes.

    Options:
        signature: which one answers; serving_default by default, or the only one there is.
        names: declared name -> the signature's, where that is no name of the schema's.
    """

    def open(self):
        if "pickle" not in self.settings["trust"]:
            raise PermissionError(
                "a TensorFlow graph is a program: its operations may read and write files; "
                "`trust: pickle` in the manifest allows it"
            )
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow

        self.tf = tensorflow
        if os.path.isdir(self.path):
            self._open_saved()
        else:
            self._open_frozen()
        self.original = {clean(n): n for n in [*self.takes, *self.gives]} | self.options.get("names", {})

    def _open_saved(self):
        self.model = self.tf.saved_model.load(self.path)  # kept: the signature's variables are its own
        found = dict(self.model.signatures)
        name = self.options.get("signature") or (next(iter(found)) if len(found) == 1 else "serving_default")
        if name not in found:
            has = ", ".join(sorted(found)) or "none"
            raise ValueError(
                f"the SavedModel has no signature {name!r}; it has {has} (`options: {{signature: ...}}`)"
            )
        self.ask = found[name]
        self.takes = dict(self.ask.structured_input_signature[1])
        self.gives = dict(self.ask.structured_outputs)

    def _open_frozen(self):
        graph = self.tf.compat.v1.GraphDef()
        with open(self.path, "rb") as stream:
            data = stream.read()
        try:
            graph.ParseFromString(data)
            whole = self.tf.compat.v1.wrap_function(lambda: self.tf.import_graph_def(graph, name=""), [])
        except Exception as error:
            raise ValueError(
                f"{self.path} is neither a SavedModel's folder nor a frozen graph ({error}); "
                "other files of TensorFlow's need a class of yours (type custom-python)"
            ) from error
        made = whole.graph.get_operations()
        asked = [one.outputs[0] for one in made if one.type == "Placeholder"]
        last = [one for one in made if one.outputs and not any(out.consumers() for out in one.outputs)]
        given = [one.outputs[0] for one in last if one.type not in ("Placeholder", "Const")]
        if not asked or not given:
            raise ValueError("the graph has no placeholder, or nothing that it answers")
        pruned = whole.prune(asked, given)
        spec = self.tf.TensorSpec.from_tensor
        self.takes = {one.op.name: spec(one) for one in asked}
        self.gives = {one.op.name: spec(one) for one in given}
        self.ask = lambda **named: dict(zip(self.gives, pruned(*(named[n] for n in self.takes))))

    def answer(self, inputs):
        given = {}
        for name, array in inputs.items():
            original = self.original.get(name, name)
            spec = self.takes[original]
            if spec.shape.rank is not None and array.ndim == spec.shape.rank + 1 and array.shape[-1] == 1:
                array = array.reshape(array.shape[:-1])  # a declared [1] is a row's only value
            given[original] = self.tf.constant(_texts(array), spec.dtype)
        return {clean(name): value.numpy() for name, value in self.ask(**given).items()}

    def known_inputs(self):
        return [self._known(name, spec) for name, spec in sorted(self.takes.items())]

    def known_outputs(self):
        found = [self._known(name, spec) for name, spec in sorted(self.gives.items())]
        batched = all(shape and shape[0] is None for _, _, shape in self.known_inputs())
        if any(shape is None for _, _, shape in found) or (
            batched and any(not shape or shape[0] is not None for _, _, shape in found)
        ):
            return None
        return found

    def _known(self, name, spec):
        shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
        return clean(name), np.dtype(spec.dtype.as_numpy_dtype), shape

    def native(self):
        return {"inputs": self._whole(self.takes), "outputs": self._whole(self.gives)}

    def _whole(self, specs):
        """Inputs or outputs as the graph has them, with all of their dimensions."""
        known = [self._known(name, specs[name]) for name in sorted(specs)]
        return [
            {"name": n, "data_type": word(d), "shape": None if s is None else list(s)} for n, d, s in known
        ]

    def known_options(self):
        names = {clean(n): n for n in [*self.takes, *self.gives] if clean(n) != n}
        return {"names": names} if names else {}

    def requirements(self):
        for name in ("tensorflow", "tensorflow-cpu"):
            try:
                return [f"{name}=={version(name)}"]
            except ImportError:
                continue
        return []


def _texts(array):
    """Strings as TensorFlow takes them: bytes."""
    if array.dtype.kind != "O":
        return array
    flat = [e.encode() if isinstance(e, str) else e for e in array.ravel().tolist()]
    return np.array(flat, dtype=object).reshape(array.shape)
