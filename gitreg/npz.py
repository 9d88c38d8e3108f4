"""Reads .npz files within bounds: what headers promise is held against sizes before memory is taken."""

from __future__ import annotations

import math
import sys
import tokenize
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

from gitreg import zips

if TYPE_CHECKING:
    from gitreg.schema import Array

MOST_MEMBERS, MOST_STORED, MOST_UNPACKED = 1000, 64 << 20, 256 << 20
# Each becomes an object of its own.
_MOST_STRINGS = 1 << 20
_BROKEN = (
    zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, KeyError, TypeError, IndexError,
    SyntaxError, NotImplementedError, RuntimeError, OverflowError, MemoryError, AttributeError,
    RecursionError, tokenize.TokenError,
)  # fmt: skip


def read(stream: IO[bytes], bounded: bool = True) -> dict[str, Array]:
    """Returns the arrays of an .npz file by their names; they are never pickles.

    Args:
        bounded: whether the file is a stranger's: at most 1,000 arrays, 64 MiB, and 256 MiB unpacked.

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
            members = _members(archive, bounded)
            return {name: _array(archive, info, name) for name, info in members.items()}
    except _BROKEN as error:
        raise ValueError(f"not an .npz of plain arrays: {error}") from None


def _members(archive: zipfile.ZipFile, bounded: bool) -> dict[str, zipfile.ZipInfo]:
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
    if bounded and unpacked > MOST_UNPACKED:
        raise ValueError(f"its arrays unpack to {unpacked:,} bytes; at most {MOST_UNPACKED:,} are read")
    return found


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Array:
    import numpy as np

    with archive.open(info) as stream:  # gives no more than the size that the directory says
        shape, fortran, dtype = _header(stream, name)
        count, promised = math.prod(shape), math.prod(shape) * dtype.itemsize
        rest = info.file_size - stream.tell()
        if min(shape, default=0) < 0 or promised != rest or (count and not dtype.itemsize):
            says = f"{dtype} of shape {list(shape)}, which are {promised:,} bytes"
            raise ValueError(f"{name!r} says {says}; it holds {rest:,}")
        if dtype.kind in "SU" and count > _MOST_STRINGS:
            raise ValueError(f"{name!r} holds {count:,} strings; at most {_MOST_STRINGS:,} are read")
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
    shape, fortran, dtype = reads[version](stream)  # type: ignore[no-untyped-call]
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
