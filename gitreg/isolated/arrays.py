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


def write(path, array):
    """Write an array to a file, without pickle: strings as all their bytes, and their lengths."""
    if array.dtype.kind == "O":
        flat = array.ravel().tolist()
        lengths = np.array([len(element) for element in flat], np.int64)
        data = np.frombuffer(b"".join(flat), np.uint8)
        with open(path, "wb") as stream:
            np.savez(stream, data=data, lengths=lengths, shape=np.array(array.shape, np.int64))
    else:
        with open(path, "wb") as stream:
            np.save(stream, np.ascontiguousarray(array) if array.ndim else array, allow_pickle=False)


def read(path, mmap=None):
    """The array of a file that `write` made. Raises ValueError, OSError or KeyError for any other file."""
    found = np.load(path, mmap_mode=mmap, allow_pickle=False)
    if not hasattr(found, "files"):
        return found
    with found:
        data, lengths, shape = found["data"].tobytes(), found["lengths"], found["shape"]
    if lengths.min(initial=0) < 0 or lengths.sum() != len(data):
        raise ValueError("strings of other lengths than were said")
    ends = np.cumsum(lengths).tolist()
    flat = np.empty(len(ends), dtype=object)
    flat[:] = [data[start:end] for start, end in zip([0, *ends], ends)]
    return flat.reshape(shape.tolist())
