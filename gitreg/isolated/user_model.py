"""Loads the user's model class from a package and calls it on rows.

Knows nothing of Triton: `model.py` beside it turns requests into arrays and back. Needs NumPy and what
the model itself requires, nothing else.
"""

import importlib
import os
import sys

import numpy as np

_STRINGS = np.dtype(object)
# A gRPC client takes 8 KiB of an answer's headers, and the text of an error goes there, three bytes for one.
_MOST = 2000
# What the schema calls NumPy's types.
_WORDS = {
    "bool": "boolean",
    "int8": "byte",
    "uint8": "char",
    "int16": "short",
    "int32": "int",
    "int64": "long",
    "float32": "float",
    "float64": "double",
}


def _word(dtype):
    if not dtype.isnative:
        return dtype.str
    return "string" if dtype.kind in "OSU" else _WORDS.get(dtype.name, dtype.name)


def told(error):
    """What an exception is, as text that a server can send: printable, and of at most 2,000 bytes.

    Everything of the exception is its author's: `__str__` may raise anything, return no str, or megabytes.
    """
    kind = _name(type(error))
    try:
        text = str.__getitem__(str(error), slice(_MOST))  # of a subclass of str any method may raise
    except BaseException as another:
        text = f"its text cannot be read ({_name(type(another))})"
    data = "".join(map(_printable, f"{kind}: {text}" if text else kind)).encode()
    if len(data) <= _MOST:
        return data.decode()
    cut = "... (shortened)"
    return data[: _MOST - len(cut)].decode("utf-8", "ignore") + cut


def _printable(sign):
    """A sign, or its escape where it is a control character, NUL or half of a surrogate pair."""
    return sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode()


def _name(cls):
    """The name of a class, past what its metaclass makes of `__name__`."""
    return str.__getitem__(type.__dict__["__name__"].__get__(cls), slice(200))


def _is_array(value):
    """Whether a value is an array; an object may claim to be of another class than it is."""
    return issubclass(type(value), np.ndarray)


class OutputError(ValueError):
    """The model's answer is not what the schema declares."""


class _SharedRows(Exception):
    """Two rows' answers lie in the same memory: the model uses its buffer again."""


class Field:
    """One declared input or output: its name, NumPy dtype (object for strings) and row shape."""

    def __init__(self, name, dtype, shape):
        self.name = name
        self.dtype = np.dtype(dtype)
        self.shape = tuple(shape)
        self._fitting = set()

    def fits(self, shape):
        """Whether a row's shape is the declared one; each new shape is compared once."""
        if shape in self._fitting:
            return True
        fits = len(shape) == len(self.shape) and all(d in (-1, n) for d, n in zip(self.shape, shape))
        if fits and len(self._fitting) < 1000:
            self._fitting.add(shape)
        return fits

    def wrong(self, value, batch=None):
        """The error that names this output, what came and what was expected."""
        shape = [*([] if batch is None else [batch]), *self.shape]
        dtype = _word(self.dtype)
        if _is_array(value):
            came = f"{_word(value.dtype)} {list(value.shape)}"
        else:
            came = f"a Python {_name(type(value))}"
        return OutputError(f"output '{self.name}': expected {dtype} {shape}, got {came}")


class UserModel:
    """The user's model, ready to answer.

    Args:
        code: folder with the bundled modules.
        artifact: what the class's `load` gets.
        model_class: dotted path that ends in the class.
        outputs: a Field per declared output.
        custom: whether `predict` takes a leading batch dimension itself.
    """

    def __init__(self, code, artifact, model_class, outputs, custom):
        # In front, so that nothing installed shadows a bundled module.
        own = [os.path.join(code, "defs"), code]
        sys.path[:] = own + [folder for folder in sys.path if folder not in own]
        module, _, name = model_class.rpartition(".")
        self.cls = getattr(importlib.import_module(module), name)
        self.model = self.cls.load(artifact)
        self.outputs = list(outputs)
        self.custom = custom
        self.copying = False  # whether the model answers out of one buffer, as was seen

    def predict(self, columns, count):
        """Answer `count` rows.

        Args:
            columns: input name to array with a leading dimension of `count`; optional inputs that
                were not sent are not in it.

        Returns:
            Output name to array with a leading dimension of `count`.

        Raises:
            OutputError: the answer is not as declared. Whatever the model raises passes through.
        """
        if self.custom:
            return self._take_batch(self.model.predict(columns), count)
        if not self.copying:
            try:
                return self._answer(columns)
            except _SharedRows:
                self.copying = True
        return self._stack([_copied(self.model.predict(row)) for row in _rows(columns)])

    def _answer(self, columns):
        if len(self.outputs) == 1:
            field = self.outputs[0]
            values = self._only_output(columns, field.name)
            if values is not None:
                return {field.name: _stacked(field, values)}
        return self._stack([self.model.predict(row) for row in _rows(columns)])

    def _only_output(self, columns, output):
        """The one output of each row, or None when an answer does not have it.

        Taking it at once, instead of keeping the answers, saves a tenth of the time that small models
        take: what is freed early is used again.
        """
        predict = self.model.predict
        try:
            if len(columns) == 1:
                ((name, rows),) = columns.items()
                return [predict({name: row})[output] for row in rows]
            return [predict(row)[output] for row in _rows(columns)]
        except (KeyError, IndexError, TypeError) as error:
            if _raised_here(error):
                return None
            raise

    def predict_whole(self, inputs):
        """Answer one request without a batch dimension, as models with max_batch_size 0 get them."""
        rows = self._stack([self.model.predict(inputs)])
        return {name: array[0] for name, array in rows.items()}

    def _stack(self, answers):
        """One array per output from the answers of single rows."""
        stacked = {}
        for field in self.outputs:
            try:
                values = [answer[field.name] for answer in answers]
            except (KeyError, IndexError, TypeError):
                self._expect_mappings(answers)
                raise OutputError(f"output '{field.name}' is missing from the model's answer") from None
            stacked[field.name] = _stacked(field, values)
        return stacked

    def _expect_mappings(self, answers):
        for answer in answers:
            if type(answer) is not dict and not hasattr(answer, "keys"):
                raise OutputError(f"predict returned a {_name(type(answer))}; a dict of arrays is expected")

    def _take_batch(self, answer, count):
        """Check a batch's answer; it is one array per output already."""
        self._expect_mappings([answer])
        checked = {}
        for field in self.outputs:
            if field.name not in answer:
                raise OutputError(f"output '{field.name}' is missing from the model's answer")
            value = _plain(answer[field.name])
            if not _is_array(value) or value.shape[:1] != (count,) or not field.fits(value.shape[1:]):
                raise field.wrong(value, count)
            strings = field.dtype is _STRINGS
            if value.dtype.kind not in "OSU" if strings else value.dtype != field.dtype:
                raise field.wrong(value, count)
            checked[field.name] = _encoded(field, value) if strings else value
        return checked


def _rows(columns):
    """A mapping of name to row for each row."""
    names = list(columns)
    return (dict(zip(names, row)) for row in zip(*columns.values()))


def _plain(value):
    """An array of a subclass as the array that it holds: methods that the model gave it are not called.

    What one answer leaves behind, as shapes that fit, would be asked again for the next request.
    """
    return np.asarray(value) if _is_array(value) and type(value) is not np.ndarray else value


def _copied(answer):
    """An answer that the model cannot change any more."""
    if not hasattr(answer, "items"):
        return answer
    return {name: a.copy() if isinstance(a, np.ndarray) else a for name, a in answer.items()}


def _raised_here(error):
    """Whether an error was raised in this file, and not in the model that it calls."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename == __file__


def _stacked(field, values):
    """One array from the rows of an output."""
    first = values[:2]
    if len(first) == 2 and all(type(v) is np.ndarray for v in first) and np.may_share_memory(*first):
        raise _SharedRows
    return _strings(field, values) if field.dtype is _STRINGS else _numbers(field, values)


def _numbers(field, values):
    """Stack rows of one dtype and shape, comparing each row only by identity with the last good one."""
    dtype, shape = field.dtype, None
    for value in values:
        try:
            if value.dtype is dtype and value.shape == shape:
                continue
        except AttributeError:
            raise field.wrong(value) from None
        shape = _same_shape(field, _fitting(field, value), shape)
    try:
        # Joining buffers is several times faster than np.stack for many small rows.
        return np.frombuffer(bytearray().join(values), dtype).reshape(len(values), *shape)
    except (BufferError, ValueError, TypeError):  # not contiguous, or a dtype without a plain buffer
        return np.stack([_fitting(field, value) for value in values])


def _strings(field, values):
    rows, shape = [], None
    for value in values:
        if type(value) is not np.ndarray:
            value = _plain(value)
            if not _is_array(value):
                raise field.wrong(value)
        if value.dtype.kind not in "OSU" or not field.fits(value.shape):
            raise field.wrong(value)
        if value.shape != shape:
            shape = _same_shape(field, value, shape)
        rows.append(_encoded(field, value))
    return np.stack(rows)


def _fitting(field, value):
    """A row of numbers as a plain array, which is of the declared dtype and shape."""
    value = _plain(value)
    if not _is_array(value) or value.dtype != field.dtype or not field.fits(value.shape):
        raise field.wrong(value)
    return value


def _same_shape(field, value, shape):
    """The shape of a row, which is that of the rows before it, where there are any."""
    if shape is not None and value.shape != shape:
        raise OutputError(
            f"output '{field.name}': the rows of one request have the shapes {list(shape)} and "
            f"{list(value.shape)}; Triton needs one shape per request"
        )
    return value.shape


def _encoded(field, value):
    """Strings as an object array of bytes: str becomes UTF-8."""
    flat = np.empty(value.size, dtype=object)
    for i, element in enumerate(value.ravel().tolist()):
        flat[i] = element if type(element) is bytes else _bytes(field, element)
    return flat.reshape(value.shape)


def _bytes(field, element):
    """A str as UTF-8, a subclass of bytes as bytes."""
    if issubclass(type(element), bytes):
        return bytes.__getitem__(element, slice(None))
    if not issubclass(type(element), str):
        raise OutputError(f"output '{field.name}': expected str or bytes, got a {_name(type(element))}")
    try:
        return str.encode(element, "utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        half = ascii(str.__getitem__(element, error.start))
        raise OutputError(f"output '{field.name}': {half} is half of a pair, and cannot be UTF-8") from None
