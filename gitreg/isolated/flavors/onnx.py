"""ONNX, with ONNX Runtime."""

import re

import numpy as np

from . import Flavored, clean, texts, version, word

_TYPES = {
    "bool": "bool",
    "string": "object",
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
}


class Onnx(Flavored):
    """An ONNX graph.

    Options:
        file: which file of a folder is the graph; others may hold its weights.
        names: declared name -> the graph's, where that is no name of the schema's.
    """

    def open(self):
        import onnxruntime

        quiet = onnxruntime.SessionOptions()
        quiet.log_severity_level = 3
        providers = onnxruntime.get_available_providers()
        self.session = onnxruntime.InferenceSession(self.file(".onnx", ".ort"), quiet, providers=providers)
        self.graph_names = self.options.get("names", {})
        self.takes = {one.name: one for one in self.session.get_inputs()}
        self.gives = [one.name for one in self.session.get_outputs()]
        # A graph that was exported for one row at a time gets its rows one by one.
        self.single = any(one.shape[:1] == [1] for one in self.takes.values())

    def unwrap(self):
        """The session of ONNX Runtime."""
        return self.session

    def answer(self, inputs):
        feed = {self.graph_names.get(name, name): texts(array) for name, array in inputs.items()}
        declared = [field.name for field in self.outputs] or [clean(name) for name in self.gives]
        wanted = [self.graph_names.get(name, self._original(name)) for name in declared]
        if self.batched and self.single:
            rows = [self._run(wanted, {n: a[i : i + 1] for n, a in feed.items()}) for i in range(_rows(feed))]
            return dict(zip(declared, map(np.concatenate, zip(*rows))))
        return dict(zip(declared, self._run(wanted, feed)))

    def _original(self, name):
        return next((one for one in self.gives if name in (one, clean(one))), name)

    def _run(self, wanted, feed):
        return [_plain(one) for one in self.session.run(wanted, feed)]

    def known_inputs(self):
        return [_known(one) for one in self.session.get_inputs()]

    def known_outputs(self):
        outputs = self.session.get_outputs()
        if any(not one.type.startswith("tensor") for one in outputs):
            return None  # a list of dicts, as skl2onnx writes probabilities: asking tells how many
        known = [_known(one) for one in outputs]
        first = {shape[:1] for _, _, shape in self.known_inputs()}
        if first == {(None,)} and any(not shape or shape[0] is not None for _, _, shape in known):
            return None
        return known

    def known_options(self):
        names = {clean(n): n for n in [*self.takes, *self.gives] if clean(n) != n}
        return {"names": names} if names else {}

    def native(self):
        takes, gives = list(self.takes.values()), self.session.get_outputs()
        return {"inputs": [_whole(one) for one in takes], "outputs": [_whole(one) for one in gives]}

    def requirements(self):
        return [f"onnxruntime>={'.'.join(version('onnxruntime').split('.')[:2])}"]


def _rows(feed):
    return len(next(iter(feed.values())))


def _known(one):
    """An input or output as the graph declares it: names of dimensions, and a batch of one, vary."""
    kind = re.match(r"tensor\((\w+)\)", one.type)
    dims = [n if isinstance(n, int) and n > 0 else None for n in one.shape or []]
    if dims[:1] == [1]:
        dims[0] = None
    return clean(one.name), np.dtype(_TYPES.get(kind[1] if kind else "", "complex64")), tuple(dims)


def _whole(one):
    """An input or output as the graph has it, with all of its dimensions; none for what is no tensor."""
    kind = re.match(r"tensor\((\w+)\)", one.type)
    shape = [n if isinstance(n, int) and n > 0 else None for n in one.shape or []] if kind else None
    named = word(_TYPES.get(kind[1], "complex64")) if kind else one.type
    return {"name": one.name, "data_type": named, "shape": shape}


def _plain(value):
    """An output as one array; a dict per row is its values, by key."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        keys = sorted(value[0])
        return np.array([[row[key] for key in keys] for row in value], np.float32)
    return np.asarray(value)
