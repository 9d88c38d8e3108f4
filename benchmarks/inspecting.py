"""Claim: `gitreg inspect` reads headers, not gigabytes: at most 50 ms for a file of 5 GB, of any format.

The files are sparse and need next to no disk. (Not `inspect.py`: scripts here would import it for the
standard library's module of that name.)"""

import argparse
import json
import os
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from common import fastest, verdict, workplace

from gitreg import detection

ROUNDS = 10
BOUND = 50.0
SIZE = 5 * 10**9


def sparse(file: Path, head: bytes, tail: bytes = b"") -> None:
    """A file of SIZE bytes: a head, nothing, a tail."""
    with open(file, "wb") as stream:
        stream.write(head)
        stream.truncate(SIZE - len(tail))
        stream.seek(0, os.SEEK_END)
        stream.write(tail)


def varint(value: int) -> bytes:
    """As protobuf writes it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def onnx(file: Path) -> None:
    """ir_version, a graph of almost SIZE bytes, and the operators' version behind it."""
    end = b"\x42\x04\x0a\x00\x10\x11"
    graph = SIZE - len(end) - 8
    sparse(file, b"\x08\x09\x3a" + varint(graph) + b"\x0a\x02\x0a\x00", end)


def safetensors(file: Path) -> None:
    header = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, SIZE - 8 - 76]}}).encode()
    sparse(file, struct.pack("<Q", 76) + header.ljust(76))


def torch(file: Path) -> None:
    """A zip as torch.save writes it; the data of its one huge member is a hole."""
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        archive.writestr("m/data.pkl", pickle.dumps({}, 2))
        with archive.open("m/data/0", "w", force_zip64=True) as member:
            hole = bytes(1 << 20)
            member.write(hole)
        info = archive.infolist()[-1]
        stream = archive.fp
        stream.seek(SIZE - (1 << 20), os.SEEK_SET)
        archive.start_dir = stream.tell()
        info.file_size = info.compress_size = SIZE - info.header_offset - (2 << 20)
        archive._didModify = True


def hdf5(file: Path) -> None:
    head = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(8) + bytes(16)
    sparse(file, head + struct.pack("<Q", SIZE) + bytes(48))


def pickled(file: Path) -> None:
    sparse(file, b"\x80\x05\x8e" + struct.pack("<Q", SIZE - 12), b".")


FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "onnx": ("big.onnx", onnx),
    "safetensors": ("big.safetensors", safetensors),
    "pytorch-pickle": ("big.pt", torch),
    "hdf5": ("big.h5", hdf5),
    "pickle": ("big.pkl", pickled),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, help="where the files are kept")
    asked = parser.parse_args()
    with workplace(asked.workdir) as place:
        timed = {}
        for key, (name, make) in FILES.items():
            make(place / name)
            seen = detection.inspect(place / name)
            if seen.format.key != key or seen.warnings:
                raise SystemExit(f"{name} is seen as {seen.format.key}, not {key}: {seen.warnings}")
            timed[key] = lambda file=place / name: clocked(file)
        for key, milliseconds in fastest(timed, ROUNDS).items():
            verdict(
                f"inspect {(place / FILES[key][0]).stat().st_size / 1e9:.1f} GB of {key}",
                milliseconds,
                BOUND,
                "ms",
            )


def clocked(file: Path) -> float:
    """Milliseconds of one look."""
    start = time.perf_counter()
    detection.inspect(file)
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    main()
