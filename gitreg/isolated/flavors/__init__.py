"""Ready-made models: files of well-known formats, loaded without a class of the user's own.

In a package this folder is `gitreg_flavors`, and beside this file lies `settings.json`: what the manifest
says. One module per type; each imports its framework where it is used, so that whoever needs one pays for
that one. Nothing here needs gitreg but the `Model` that every package carries.
"""

import json
import os
import re
import shutil
from abc import abstractmethod

import numpy as np

from gitreg import Model

_WORDS = {
    "bool": "boolean",
    "object": "string",
    "int8": "byte",
    "uint8": "char",
    "int16": "short",
    "int32": "int",
    "int64": "long",
    "float32": "float",
    "float64": "double",
}
DTYPES = {word: np.dtype(name) for name, word in _WORDS.items()}


def word(dtype):
    """What the manifest calls a NumPy dtype; `unknown` where it has no name for it."""
    dtype = np.dtype(dtype)
    return "string" if dtype.kind in "OSU" else _WORDS.get(dtype.name, "unknown")


class Field:
    """One declared input or output: its name, NumPy dtype (object for strings) and row shape."""

    def __init__(self, name, data_type, shape):
        self.name = name
        self.dtype = DTYPES[data_type]
        self.shape = tuple(shape)

    def fit(self, value, rows):
        """What a framework answered, in the declared type, and with a dimension for what it flattens.

        Types change within their kind alone (double to float, long to int where the values fit); all
        else stays as it came, and is found out when the answer is held against the schema.

        Args:
            rows: whether there is a batch dimension in front.
        """
        array = np.asarray(value)
        if array.dtype.kind in "SU":
            array = array.astype(object)
        if array.dtype != self.dtype and array.dtype.kind == self.dtype.kind == "f":
            array = array.astype(self.dtype)
        elif array.dtype != self.dtype and array.dtype.kind in "iu" and self.dtype.kind in "iu":
            cast = array.astype(self.dtype)
            array = cast if (cast == array).all() else array
        if self.shape == (1,) and array.ndim == (1 if rows else 0):
            array = array.reshape(-1, 1) if rows else array.reshape(1)
        return array


class Flavored(Model):
    """A model of a well-known format.

    `predict` takes one sample of exactly the schema's shapes, or a batch of them with one dimension in
    front, and answers alike. Where batching is off, it takes what the schema says and nothing else.

    Args:
        path: the artifact, a file or a folder.
        settings: what settings.json says.
    """

    def __init__(self, path, settings):
        self.path = path
        self.settings = settings
        self.options = settings["options"]
        self.inputs = [Field(**one) for one in settings["inputs"]]
        self.outputs = [Field(**one) for one in settings["outputs"]]
        self.batched = settings["batched"]
        self.open()

    @classmethod
    def load(cls, path):
        with open(os.path.join(os.path.dirname(__file__), "settings.json")) as stream:
            return cls(path, json.load(stream))

    def save(self, path):
        """Copy the artifact: what was loaded is what was stored."""
        if os.path.isdir(self.path):
            shutil.copytree(self.path, path, dirs_exist_ok=True)
        else:
            shutil.copyfile(self.path, path)

    @abstractmethod
    def open(self):
        """Load the artifact with its framework."""

    @abstractmethod
    def answer(self, inputs):
        """Ask the framework.

        Args:
            inputs: name to array, with a batch dimension in front where there is batching.

        Returns:
            A dict of name to array; or a list of arrays, in the order of the declared outputs.
        """

    def predict(self, inputs):
        """Answer one sample, or a batch of them."""
        row = self.batched and self._is_row(inputs)
        answers = self._named(self.answer({n: a[None] for n, a in inputs.items()} if row else inputs))
        return {name: array[0] for name, array in answers.items()} if row else answers

    def _is_row(self, inputs):
        for field in self.inputs:
            if field.name in inputs:
                return np.ndim(inputs[field.name]) == len(field.shape)
        return False

    def _named(self, answers):
        if not isinstance(answers, dict):
            names = [f.name for f in self.outputs] or ["output", *(f"output_{i}" for i in range(1, 99))]
            answers = dict(zip(names, answers))
        fields = {f.name: f for f in self.outputs}
        if not fields:
            return {name: np.asarray(value) for name, value in answers.items()}
        return {n: fields[n].fit(v, self.batched) for n, v in answers.items() if n in fields}

    def file(self, *endings):
        """The one file to load: the artifact itself, or in its folder what the option `file` names, or the
        only one with one of the endings."""
        if not os.path.isdir(self.path):
            return self.path
        if "file" in self.options:
            return os.path.join(self.path, *self.options["file"].split("/"))
        names = sorted(os.listdir(self.path))
        found = [name for name in names if name.endswith(endings)]
        if len(found) != 1:
            raise ValueError(
                f"the artifact's folder has {len(found)} files that end in {' or '.join(endings)} "
                f"(it has {', '.join(names[:10])}); `options: {{file: NAME}}` says which one to load"
            )
        return os.path.join(self.path, found[0])

    def refuse_pickle(self, file, instead):
        """Raise where the manifest does not say that pickles may be loaded."""
        if "pickle" not in self.settings["trust"]:
            raise PermissionError(
                f"{os.path.basename(file)} is a pickle, which runs code when it is loaded; `trust: pickle` "
                f"in the manifest allows it. {instead}"
            )

    # What the model knows of itself --------------------------------------------------------------

    def known_inputs(self):
        """(name, dtype, shape with a batch dimension of None, where it has one) of each input; or None."""
        return None

    def known_outputs(self):
        """The same of the outputs; None has the model asked."""
        return None

    def known_options(self):
        """Options that the manifest has to say for the names to be right."""
        return {}

    def requirements(self):
        """What must be installed, as this environment has it."""
        return []

    def native(self):
        """What Triton's own backend for the type has to be told of the file, and may not be able to do."""
        return {}

    def describe(self):
        """The schema as far as the file knows it, and what else belongs into a manifest."""
        inputs = self.known_inputs()
        # Outputs that an option names are asked for their types.
        outputs = None if self.options.get("outputs") else self.known_outputs()
        told = {"options": self.known_options(), "requirements": self.requirements(), "batched": True}
        if inputs is None:
            return {**told, "inputs": None, "outputs": None}
        batched = self.batched = all(shape and shape[0] is None for _, _, shape in inputs)
        if outputs is None:
            try:
                outputs = self._asked(inputs)
            except Exception:  # zeros are no input for every model, and types may be a guess
                return {**told, "inputs": None, "outputs": None, "batched": batched}
        return {
            **told,
            "inputs": _told(inputs, batched),
            "outputs": _told(outputs, batched),
            "batched": batched,
        }

    def _asked(self, inputs):
        """The outputs, as the model answers to zeros in batches of two and three, and lengths of as many."""
        answers = [self._named(self.answer({n: _zeros(d, s, k) for n, d, s in inputs})) for k in (2, 3)]
        first, second = answers
        return [
            (
                name,
                array.dtype,
                tuple(None if a != b else a for a, b in zip(array.shape, second[name].shape)),
            )
            for name, array in first.items()
        ]


def _zeros(dtype, shape, length):
    """An array of nothing; `length` where a dimension varies."""
    size = [length if n is None or n == -1 else n for n in shape]
    array = np.zeros(size, object if np.dtype(dtype).kind in "OSU" else dtype)
    if array.dtype.kind == "O":
        array[...] = b""
    return array


def _told(items, batched):
    """Inputs or outputs as the manifest says them; a batch dimension is left out."""
    return [
        {
            "name": name,
            "data_type": _known(dtype),
            "shape": [-1 if n is None else int(n) for n in (shape[1:] if batched else shape)] or [1],
        }
        for name, dtype, shape in items
    ]


def _known(dtype):
    """The manifest's name of a dtype; with the dtype itself where there is none, if it is known."""
    named, dtype = word(dtype), np.dtype(dtype)
    return f"unknown ({dtype})" if named == "unknown" and dtype.kind != "c" else named


def version(distribution):
    """The version of an installed distribution."""
    from importlib.metadata import version

    return version(distribution)


def requirement(*distributions):
    """The first of some distributions that is installed, from its minor version here on."""
    from importlib.metadata import PackageNotFoundError

    for one in distributions:
        try:
            return f"{one}>={'.'.join(version(one).split('.')[:2])}"
        except PackageNotFoundError:
            continue
    return distributions[0]


def chosen(outputs, said, known):
    """output -> which of the known kinds it is: as an option says, or its name.

    Where no output is declared, those of the option are meant.

    Raises:
        ValueError: neither says it.
    """
    found = {field.name: said.get(field.name, field.name) for field in outputs} or dict(said)
    for name, kind in found.items():
        if kind not in known:
            what = f"output {name!r}" if kind == name else f"{kind!r} (output {name!r})"
            raise ValueError(
                f"{what} is none of {', '.join(known)}; "
                f"`options: {{outputs: {{{name}: KIND}}}}` says which it is"
            )
    return found


def floats(outputs, answers):
    """Answers of which labels are floats where the schema says so, as Triton's FIL has them."""
    wanted = {field.name: field.dtype for field in outputs}
    return {
        name: a.astype(wanted[name]) if a.dtype.kind == "i" and wanted.get(name, a.dtype).kind == "f" else a
        for name, a in answers.items()
    }


def columns_in_order(inputs, names):
    """The columns that a model was fitted on, in that order.

    Raises:
        ValueError: one is missing, or the model knows no names of columns.
    """
    if not names:
        raise ValueError("several inputs came, and the model knows no names of columns: it takes one matrix")
    missing = [name for name in names if name not in inputs]
    if missing:
        raise ValueError(f"columns that the model was fitted on are missing: {', '.join(missing[:10])}")
    return {name: inputs[name] for name in names}


def clean(name):
    """A name as the schema has them."""
    cleaned = re.sub(r"[^A-Za-z0-9_./-]", "_", str(name))
    return cleaned if re.match(r"[A-Za-z_]", cleaned) else f"_{cleaned}"


def declared(originals):
    """name in the schema -> the file's own, in its order; a name that is valid stays as it is."""
    originals = list(originals)
    valid = {name for name in originals if clean(name) == name}
    found = {}
    for original in originals:
        name = clean(original)
        while name in found or (name in valid and name != original):
            name += "_"
        found[name] = original
    return found


def texts(array):
    """Strings as str, in an array of objects; other arrays as they are."""
    if array.dtype.kind != "O":
        return array
    text = [e.decode() if isinstance(e, bytes) else e for e in array.ravel().tolist()]
    return np.array(text, dtype=object).reshape(array.shape)
