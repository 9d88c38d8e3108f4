"""Many rows through a model, from files into files: what `evaluate` asks.

Rows come in blocks that have the same inputs and shapes. In a block each input is one file.
"""

import os

import numpy as np


def answer(wrapped, arrays, task, result):
    """Answer every block, in batches.

    Args:
        wrapped: the model, as packages call it.
        arrays: the module that reads and writes files.
        task: `blocks` (folders), `batch` (rows at a time), `outputs`, `whole`.
        result: is told the row that failed.
    """
    whole = task["whole"] and not task["custom"]
    for block in task["blocks"]:
        columns = {name: arrays.read(file, "r") for name, file in block["inputs"].items()}
        parts = {output["name"]: [] for output in task["outputs"]}
        for start in range(0, block["rows"], task["batch"]):
            count = min(task["batch"], block["rows"] - start)
            # A copy: what a model gets it may write into, and is no view of a file.
            rows = {name: np.array(column[start : start + count]) for name, column in columns.items()}
            try:
                got = _ask(wrapped, rows, count, whole)
            except BaseException:  # an exit or an interrupt of the model's, too
                row = start + _failing(wrapped, rows, count, whole)
                result["sample"] = block["numbers"][row] if block["numbers"] else row
                raise
            for name, part in parts.items():
                part.append(got[name])
        for name, part in parts.items():
            shapes = sorted({array.shape[1:] for array in part})
            if len(shapes) > 1:
                raise ValueError(
                    f"output '{name}': rows of one shape of inputs have the shapes {list(shapes[0])} and "
                    f"{list(shapes[1])}; one shape is expected"
                )
            arrays.write(os.path.join(block["answers"], name.replace("/", "%2F")), np.concatenate(part))


def _ask(wrapped, rows, count, whole):
    if not whole:
        return wrapped.predict(rows, count)
    answers = [
        wrapped.predict_whole({name: column[i] for name, column in rows.items()}) for i in range(count)
    ]
    for name, first in answers[0].items():
        other = next((one[name] for one in answers if one[name].shape != first.shape), first)
        if other.shape != first.shape:
            raise ValueError(
                f"output '{name}': rows of one shape of inputs have the shapes {list(first.shape)} and "
                f"{list(other.shape)}; one shape is expected"
            )
    return {name: np.stack([one[name] for one in answers]) for name in answers[0]}


def _failing(wrapped, rows, count, whole):
    """The first row of a batch that fails by itself; the first of all where none does."""
    for i in range(count):
        try:
            _ask(wrapped, {name: column[i : i + 1] for name, column in rows.items()}, 1, whole)
        except BaseException:
            return i
    return 0
