"""Reads .npz files within bounds: what headers promise is held against sizes before memory is taken."""

from __future__ import annotations

import math
import reprlib
import sys
import tokenize
import warnings
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

from gitreg import zips

if TYPE_CHECKING:
    from gitreg.schema import Array

MOST_MEMBERS, MOST_STORED, MOST_UNPACKED = 1000, 64 << 20, 256 << 20
# One's own file may have any size, and unpack to what honest arrays do. Zeros shrink to a 1,000th.
_MOST_GROWTH = 100
# Each becomes an object of its own.
_MOST_STRINGS, _MOST_TEXT = 1 << 20, 32 << 20
_MOST_DIMENSIONS, _LONGEST = 64, (1 << 63) - 1
_BROKEN = (
    zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, KeyError, TypeError, IndexError,
    SyntaxError, NotImplementedError, RuntimeError, OverflowError, MemoryError, AttributeError,
    RecursionError, tokenize.TokenError,
)  # fmt: skip


def read(stream: IO[bytes], bounded: bool = True, most: int | None = None) -> dict[str, Array]:
    """Returns the arrays of an .npz file by their names; they are never pickles.

    Args:
        bounded: whether the file is a stranger's: at most 1,000 arrays, 64 MiB, and 256 MiB unpacked. Others
            may be larger, and unpack to 100 times what they are.
        most: values of all arrays together.

    Raises:
        ValueError: it is no .npz of plain arrays, or is beyond a bound.
    """
    size = stream.seek(0, 2)
    if bounded and size > MOST_STORED:
        raise ValueError(f"{size:,} bytes; at most {MOST_STORED:,} are read")
    if zips.directory_size(zips.of_stream(stream), size) > zips.MOST_DIRECTORY:
        raise ValueError(f"more than {MOST_MEMBERS:,} arrays")
    try:
        with zipfile.ZipFile(stream) as archive:
            members = _members(archive, bounded, size)
            found: dict[str, Array] = {}
            for name, info in members.items():
                left = None if most is None else most - sum(array.size for array in found.values())
                found[name] = _array(archive, info, name, left, bounded)
            return found
    except _BROKEN as error:
        raise ValueError(f"not an .npz of plain arrays: {error}") from None


def _members(archive: zipfile.ZipFile, bounded: bool, size: int) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    infos = archive.infolist()
    if bounded and len(infos) > MOST_MEMBERS:
        raise ValueError(f"{len(infos):,} arrays; at most {MOST_MEMBERS:,} are read")
    for info in infos:
        name = info.filename.removesuffix(".npy")
        if name == info.filename or not name:
            raise ValueError(f"{info.filename!r} is no .npy")
        if name in found:
            raise ValueError(f"{name!r} is in it twice")
        if info.flag_bits & 1:
            raise ValueError(f"{name!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name!r} is compressed as NumPy never does ({info.compress_type})")
        found[name] = info
    unpacked = sum(info.file_size for info in infos)
    allowed = MOST_UNPACKED if bounded else max(MOST_UNPACKED, _MOST_GROWTH * size)
    if unpacked > allowed:
        raise ValueError(f"its arrays unpack to {unpacked:,} bytes; at most {allowed:,} are read")
    return found


def _array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, left: int | None, bounded: bool
) -> Array:
    import numpy as np

    with archive.open(info) as stream:  # gives no more than the size that the directory says
        shape, fortran, dtype = _header(stream, name)
        count, promised = math.prod(shape), math.prod(shape) * dtype.itemsize
        rest = info.file_size - stream.tell()
        if min(shape, default=0) < 0 or promised != rest or (count and not dtype.itemsize):
            says = f"{dtype} of shape {reprlib.repr(list(shape))}, which are {promised:,} bytes"
            raise ValueError(f"{name!r} says {says}; it holds {rest:,}")
        if left is not None and count > left:
            raise ValueError(f"{name!r} holds {count:,} values; at most {left:,} more are read")
        if dtype.kind in "SU" and count > _MOST_STRINGS:
            raise ValueError(f"{name!r} holds {count:,} strings; at most {_MOST_STRINGS:,} are read")
        if dtype.kind in "SU" and bounded and rest > _MOST_TEXT:
            raise ValueError(f"{name!r} holds {rest:,} bytes of strings; at most {_MOST_TEXT:,} are read")
        data = bytearray(rest)
        if _fill(stream, data) != rest:
            raise ValueError(f"{name!r} is truncated")
    if dtype.kind == "U" and np.frombuffer(data, f"{dtype.byteorder}u4").max(initial=0) > sys.maxunicode:
        raise ValueError(f"{name!r} holds text with characters that there are not")
    return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, Any]:
    import numpy as np

    version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
    reads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in reads:  # 3.0 is for names of fields
        raise ValueError(f"{name!r} is of the .npy version {version[0]}.{version[1]}, or has named fields")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        shape, fortran, dtype = reads[version](stream)  # type: ignore[no-untyped-call]
    if len(shape) > _MOST_DIMENSIONS or max(map(abs, shape), default=0) > _LONGEST:
        raise ValueError(f"{name!r} says a shape that no array has: {reprlib.repr(list(shape))}")
    if dtype.hasobject:
        raise ValueError(f"{name!r} holds Python objects, which would have to be unpickled")
    if dtype.kind == "V":
        raise ValueError(f"{name!r} has named fields ({dtype})")
    return shape, fortran, dtype


def _fill(stream: IO[bytes], data: bytearray) -> int:
    """Reads into all of `data`; how much there was."""
    view, done = memoryview(data), 0
    while done < len(data) and (part := stream.read(min(1 << 20, len(data) - done))):
        view[done : done + len(part)] = part
        done += len(part)
    return done
