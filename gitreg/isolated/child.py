"""The child process in which a user's model is loaded, asked and saved.

    python -I -B child.py TASK RESULT PIPE

TASK and RESULT are JSON files. PIPE is the read end of a pipe whose other end gitreg holds: one byte says
that the artifact is sound and may be loaded; its end says that gitreg is gone, however it went, and ends this
process. The user's code sees the package and the installed
packages, and nothing else: no current folder, no PYTHONPATH, no editable installs.
"""

import contextlib
import importlib.util
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)

LOAD, PREDICT, SAVE = "load", "predict", "save"
# How much of an exception's text goes on, and of its traceback.
_TEXT, _TRACEBACK = 4000, 20000


def main():
    """Do the task of the file that is named, and answer when the parent says go."""
    with open(sys.argv[1]) as stream:
        task = json.load(stream)
    result = {"step": "import", "answers": []}
    _beside("apart").keep()
    go = threading.Event()
    threading.Thread(target=_listen, args=(int(sys.argv[3]), go), daemon=True).start()
    _close_path(task["keep"])
    try:
        if "function" in task:
            go.wait()
            _beside("callee").run(task, _beside("arrays"), result)
        else:
            _run(task, result, go)
        result["step"] = "done"
    except BaseException as error:  # SystemExit too: a model that exits has failed
        result["error"] = _tell(error, task.get("code") or task["paths"][0], task.get("user_model"))
    result["pid"] = os.getpid()  # a process that the model forked may come here too
    with open(sys.argv[2], "w") as stream:
        json.dump(result, stream)
    # Threads, exit handlers and streams of the model must not hold up or change the verdict.
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _listen(pipe, go):
    if os.read(pipe, 1):
        go.set()
        os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)  # with whatever the model started


def _close_path(keep):
    """Leave only the standard library and installed packages importable."""
    allowed = [os.path.realpath(folder) for folder in keep]
    sys.path[:] = [p for p in sys.path if p and _under(os.path.realpath(p), allowed)]
    sys.meta_path[:] = [f for f in sys.meta_path if "__editable__" not in getattr(f, "__module__", "")]


class _SourceLoader(SourceFileLoader):
    """Never bytecode: a package's own __pycache__ could hold other code than its sources."""

    def get_code(self, fullname):
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _only_sources(code):
    """Have the package's modules, and no others, compiled from their sources."""

    def hook(folder):
        if not _under(os.path.abspath(folder), [code]):
            raise ImportError
        return FileFinder(folder, (_SourceLoader, SOURCE_SUFFIXES), (ExtensionFileLoader, EXTENSION_SUFFIXES))

    sys.path_hooks.insert(0, hook)


def _under(path, folders):
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _module(name, file):
    spec = importlib.util.spec_from_file_location(name, file, loader=_SourceLoader(name, file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _beside(name):
    """A module of this folder."""
    return _module(f"gitreg_{name}", os.path.join(os.path.dirname(__file__), f"{name}.py"))


def _run(task, result, go):
    user_model = _module("gitreg_user_model", task["user_model"])
    arrays = _beside("arrays")
    _only_sources(task["code"])
    sys.path[:0] = [os.path.join(task["code"], "defs"), task["code"]]
    _check_class(task["model_class"])
    go.wait()
    result["step"] = LOAD
    outputs = [user_model.Field(o["name"], o["dtype"], o["shape"]) for o in task["outputs"]]
    wrapped = user_model.UserModel(
        task["code"], task["artifact"], task["model_class"], outputs, task["custom"]
    )
    if not isinstance(wrapped.model, wrapped.cls):
        came = _name(type(wrapped.model))
        raise TypeError(f"load returned a {came}; an instance of {wrapped.cls.__name__} is expected")
    if task["native"]:
        result["described"] = wrapped.model.native()
    if task["describe"]:
        result["described"] = wrapped.model.describe()
        return
    if task["blocks"]:
        result["step"] = PREDICT
        _beside("bulk").answer(wrapped, arrays, task, result)
        return
    samples = [{name: arrays.decode(a) for name, a in sample.items()} for sample in task["samples"]]
    result["step"] = PREDICT
    known = {o["name"] for o in task["outputs"]}
    whole = task["whole"] and not task["custom"]
    for i, sample in enumerate(samples):
        result["sample"] = i
        answer = _ask_freely(wrapped, sample, whole) if task["free"] else _ask(wrapped, sample, whole)
        result["answers"].append({name: arrays.encode(a) for name, a in answer.items()})
    result.pop("sample", None)
    if task["free"]:
        return
    if task["convert"]:
        result["step"] = "convert"
        _beside("converters/to_onnx").write(wrapped.model, task["convert"], task["opset"], samples)
        return
    if samples:
        _check_keys(wrapped, samples[0], known, whole)
    if task["compare"] and not task["custom"]:
        result["stacked"] = _stacked(wrapped, samples)
    if task["save"]:
        result["step"] = SAVE
        _save_and_reload(task, wrapped)


def _check_class(model_class):
    import importlib

    import gitreg

    module, _, name = model_class.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    if not isinstance(cls, type) or not issubclass(cls, gitreg.Model):
        raise TypeError(f"{model_class} does not extend gitreg.Model")
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise TypeError(
            f"{model_class} does not define {', '.join(missing)}; all of save, load, predict are required"
        )


def _ask(wrapped, sample, whole):
    if whole:
        return wrapped.predict_whole(sample)
    return wrapped.predict(sample, len(next(iter(sample.values()))))


def _ask_freely(wrapped, sample, whole):
    """The model's own answer, of whatever names, types and shapes; strings as bytes."""
    import numpy as np

    single = sample if whole or wrapped.custom else {name: array[0] for name, array in sample.items()}
    answer = wrapped.model.predict(single)
    if not issubclass(type(answer), dict):
        raise TypeError(f"predict returned a {_name(type(answer))}; a dict of NumPy arrays is expected")
    found = {}
    for name, array in dict.items(answer):
        if not issubclass(type(name), str):
            raise TypeError(f"predict returned a key that is no text, but a {_name(type(name))}")
        name = str.__getitem__(name, slice(None))
        if not issubclass(type(array), np.ndarray):
            raise TypeError(f"output {name!r}: a NumPy array is expected, not a {_name(type(array))}")
        array = np.asarray(array)  # of a subclass, its methods are the model's
        if array.dtype.kind not in "biufcOSU":
            raise TypeError(f"output {name!r} is of {array.dtype}, which is no data type of gitreg's")
        found[name] = _as_bytes(name, array) if array.dtype.kind in "OSU" else array
    return found


def _as_bytes(name, array):
    import numpy as np

    flat = np.empty(array.size, dtype=object)
    for i, element in enumerate(array.ravel().tolist()):
        if issubclass(type(element), str):
            try:
                flat[i] = str.encode(element, "utf-8", "surrogateescape")
            except UnicodeEncodeError:
                raise ValueError(f"output {name!r}: text with half of a pair, which is no UTF-8") from None
        elif issubclass(type(element), bytes):
            flat[i] = bytes.__getitem__(element, slice(None))
        else:
            raise TypeError(f"output {name!r}: str or bytes is expected, not a {_name(type(element))}")
    return flat.reshape(array.shape)


def _check_keys(wrapped, sample, known, whole):
    """An answer with an undeclared output is a mistake in the schema or in the model."""
    single = sample if whole or wrapped.custom else {name: array[0] for name, array in sample.items()}
    names = [
        str.__getitem__(name, slice(None)) if issubclass(type(name), str) else name
        for name in wrapped.model.predict(single)
    ]
    extra = sorted(repr(name)[:200] for name in names if type(name) is not str or name not in known)
    if extra:
        more = f" and {len(extra) - 10} more" if len(extra) > 10 else ""
        raise ValueError(
            f"the model answers {', '.join(extra[:10])}{more}, which the schema does not declare"
        )


def _save_and_reload(task, wrapped):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, task["save_as"]) if task["save_as"] else folder
        wrapped.model.save(path)
        again = wrapped.cls.load(path)
        if not isinstance(again, wrapped.cls):
            raise TypeError(f"load of what save wrote returned a {type(again).__name__}")


def _stacked(wrapped, samples):
    """How much faster the model answers a stack than single rows, if the answers are the same.

    Needs two different samples: identical rows would hide a model that mixes them. Returns None when
    the answers differ, the model does not take a stack, or there is nothing to compare.
    """
    import numpy as np

    single = [{name: array[0] for name, array in sample.items()} for sample in samples]
    shapes = [{name: array.shape for name, array in sample.items()} for sample in single]
    if len(single) < 2 or shapes.count(shapes[0]) != len(shapes):
        return None
    if all(all(np.array_equal(s[n], single[0][n]) for n in s) for s in single):
        return None
    many = (single * (64 // len(single) + 1))[:64]
    stack = {name: np.stack([sample[name] for sample in many]) for name in many[0]}
    try:
        together = wrapped.model.predict({name: array.copy() for name, array in stack.items()})
        apart = wrapped.predict(stack, len(many))
        for name, array in apart.items():
            other = np.asarray(together[name])
            if array.dtype.kind == "O":
                other = np.array([e.encode() if isinstance(e, str) else e for e in other.ravel()], object)
                same = other.size == array.size and bool((other == array.ravel()).all())
            else:
                same = other.shape == array.shape and np.allclose(other, array, rtol=1e-5, equal_nan=True)
            if not same:
                return None
        slow = _best(lambda: wrapped.predict(stack, len(many)))
        fast = _best(lambda: wrapped.model.predict(stack))
    except BaseException:  # a model that exits where it gets a stack does not take one
        return None
    return {"rows": len(many), "single_s": slow / len(many), "stacked_s": fast / len(many)}


def _best(call):
    best, stop = float("inf"), time.perf_counter() + 0.03
    while True:
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        best = min(best, end - start)
        if end > stop:
            return best


def _tell(error, code, user_model):
    """The error for a person: its type, text, and where in the user's own code it came from."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    own = [f for f in frames if f.filename.startswith(code) and f.filename != user_model]
    where = f"{os.path.relpath(own[-1].filename, code)}:{own[-1].lineno}" if own else ""
    start = frames.index(own[0]) if own else 0
    said = _text(error)
    try:
        last = traceback.format_exception_only(type(error), error)
    except BaseException:  # an error of the user's own that cannot be shown
        last = [f"{_name(type(error))}\n"]
    text = "".join([*traceback.format_list(frames[start:]), *(line[:_TEXT] for line in last)])
    ours = own and frames[-1] is own[-1] and "gitreg_flavors" in where
    refused = (ours and isinstance(error, (PermissionError, ValueError))) or (
        not own and frames and frames[-1].filename == user_model
    )
    kind = _name(type(error))
    if refused or kind == "NotConvertible":
        text = ""  # gitreg itself refuses, and says why; where it does so helps nobody
    text = text.replace(os.path.join(code, ""), "")  # the folder of a run is of no use to anybody
    return {"type": kind, "text": said, "where": where, "traceback": text[-_TRACEBACK:]}


def _text(error):
    """What an exception says, whatever `__str__` of its class does."""
    try:
        text = str(error)
        cut = "... (shortened)" if str.__len__(text) > _TEXT else ""
        return str.__getitem__(text, slice(_TEXT)) + cut
    except BaseException as another:
        return f"its text cannot be read ({_name(type(another))})"


def _name(cls):
    """The name of a class, past what its metaclass makes of `__name__`."""
    return str.__getitem__(type.__dict__["__name__"].__get__(cls), slice(200))


if __name__ == "__main__":
    main()
