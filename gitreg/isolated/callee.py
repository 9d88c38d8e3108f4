"""Calls a function of the user's: one that gives held-out data, or one that measures. Arrays go by files."""

import importlib
import os
import sys

import numpy as np


def run(task, arrays, result):
    """Import the function and call it; what it gives goes into files, or into the result.

    Args:
        task: `function` as `module:name`, `paths` to import from, `given`: side -> name -> file, or None for
            a function that gives data, and `out`, the folder for that.
    """
    result["step"] = "find"
    sys.path[:0] = task["paths"]
    module, _, name = task["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    result["step"] = "call"
    if task["given"] is None:
        result["described"] = {"columns": _store(function(), arrays, task["out"])}
        return
    sides = {
        side: {name: _text(arrays.read(file)) for name, file in files.items()}
        for side, files in task["given"].items()
    }
    result["described"] = {"values": _numbers(function(sides["targets"], sides["answers"]))}


def _store(value, arrays, folder):
    """Columns into files: [side, name, file]; the sides are "inputs" and "targets", or "" where not said."""
    pair = isinstance(value, tuple) and len(value) == 2
    sides = {"inputs": value[0], "targets": value[1]} if pair else {"": value}
    found = []
    for side, data in sides.items():
        for name, column in _columns(data, side):
            file = os.path.join(folder, str(len(found)))
            arrays.write(file, _plain(name, column))
            found.append([side, name, file])
    return found


def _columns(data, side):
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return [(str(name), data[name].to_numpy()) for name in data.columns]
    if hasattr(data, "items"):
        return [(str(name), np.asarray(column)) for name, column in data.items()]
    if hasattr(data, "to_numpy") or isinstance(data, (np.ndarray, list)):
        column = data.to_numpy() if hasattr(data, "to_numpy") else np.asarray(data)
        return [("target" if side == "targets" else "", column)]
    raise TypeError(f"a {type(data).__name__} is no held-out data; columns by name, or (inputs, targets)")


def _plain(name, column):
    """A column without Python objects: strings as bytes, numbers with None as floats with NaN."""
    if column.dtype.kind == "U":
        column = column.astype(object)
    if column.dtype.kind == "S" or column.dtype.kind == "O":
        elements = column.ravel().tolist()
        if all(isinstance(one, (str, bytes)) for one in elements):
            flat = np.empty(len(elements), dtype=object)
            flat[:] = [one.encode() if isinstance(one, str) else one for one in elements]
            return flat.reshape(column.shape)
        try:
            return np.array([np.nan if one is None else one for one in elements], float).reshape(column.shape)
        except (TypeError, ValueError):
            raise TypeError(f"the column {name!r} holds neither strings alone nor numbers") from None
    if column.dtype.kind not in "biuf":
        raise TypeError(f"the column {name!r} holds {column.dtype}, which is no data type of gitreg's")
    return column


def _text(array):
    """Strings as str, as people compare them."""
    if array.dtype.kind != "O":
        return array
    flat = np.empty(array.size, dtype=object)
    flat[:] = [one.decode("utf-8", "surrogateescape") for one in array.ravel().tolist()]
    return flat.reshape(array.shape)


def _numbers(value):
    found = dict(value) if hasattr(value, "items") else {"": value}
    for name, one in found.items():
        if isinstance(one, bool) or not hasattr(one, "__float__"):
            raise TypeError(
                f"a metric is a number, or numbers by name; {name or 'it'} is a {type(one).__name__}"
            )
    return {str(name): float(one) for name, one in found.items()}
