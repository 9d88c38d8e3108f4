"""Arrays as JSON, exactly and without pickle: what gitreg and the child process say to each other."""

import base64

import numpy as np


def encode(array):
    """A JSON value from which `decode` makes an equal array. Strings are an object array of bytes."""
    if array.dtype.kind == "O":
        data = [base64.b64encode(element).decode() for element in array.ravel().tolist()]
        return {"dtype": "object", "shape": list(array.shape), "data": data}
    plain = np.ascontiguousarray(array)
    data = base64.b64encode(plain.tobytes()).decode()
    return {"dtype": plain.dtype.name, "shape": list(array.shape), "data": data}


def decode(value):
    """The array that `encode` was given. Raises ValueError (KeyError, TypeError) for anything else."""
    shape = [int(n) for n in value["shape"]]
    if value["dtype"] == "object":
        flat = np.empty(len(value["data"]), dtype=object)
        flat[:] = [base64.b64decode(element) for element in value["data"]]
        return flat.reshape(shape)
    return np.frombuffer(bytearray(base64.b64decode(value["data"])), np.dtype(value["dtype"])).reshape(shape)
