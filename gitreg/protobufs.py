"""Recognises protobuf messages of models by the numbers and types of their fields. No I/O.

A message has no mark of its own: what says which one it is are its fields, of which only the heads are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# What stands at an offset, at most so many bytes; fewer at the end or where nobody may look.
At = Callable[[int, int], bytes]

_ONNX_FIELDS = {1: 0, 5: 0, **dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), 2)}
_GRAPH_FIELDS = {1, 2, 5, 10, 11, 12, 13, 14, 15, 16}
_COREML_KINDS = {*range(200, 210), *range(300, 310), *range(400, 410), 500, 501, 502, 555, 556, 600}
_COREML_KINDS |= {601, 602, 603, 604, 606, 607, 609, 610, 900, *range(2000, 2010), 3000}


_WINDOW, _MOST_FIELDS = 4096, 300_000


def windowed(at: At) -> At:
    """Returns the same bytes for many small looks, one after another, by few large ones."""
    held, first = b"", 0

    def look(place: int, count: int) -> bytes:
        nonlocal held, first
        if not first <= place <= place + count <= first + len(held):
            held, first = at(place, max(count, _WINDOW)), place
        return held[place - first : place - first + count]

    return look


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its number and wire type, and where its content lies."""

    number: int
    wire: int
    start: int
    length: int
    value: int


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(10):
        value |= (raw[place + shift] & 0x7F) << 7 * shift
        if raw[place + shift] < 0x80:
            return value, place + shift + 1
    raise ValueError("no varint")


def fields_of(at: At, place: int, end: int, most: int) -> Iterator[Field]:
    """The fields of a message, without their content. Raises ValueError or IndexError where it is none."""
    for _ in range(most):
        raw = at(place, 20) if place < end else b""
        if not raw:
            return
        tag, used = _varint(raw, 0)
        value, length = 0, {1: 8, 5: 4}.get(tag & 7, 0)
        if tag & 7 in (0, 2):
            value, used = _varint(raw, used)
            length = value if tag & 7 == 2 else 0
        elif not length:
            raise ValueError("no wire type of today")
        if not 0 < tag >> 3 < 1 << 29:
            raise ValueError("no field number")
        yield Field(tag >> 3, tag & 7, place + used, length, value)
        place += used + length


def recognise(at: At, size: int) -> tuple[str, int] | None:
    """Returns the key of a message's format and where its last field ends; None for anything else."""
    try:
        at = windowed(at)
        fields = list(fields_of(at, 0, size, _MOST_FIELDS))
        if len(fields) == _MOST_FIELDS:
            return None  # nobody knows where it ends
        found = next((key for key, rule in _MESSAGES if fields and rule(at, fields)), None)
    except (ValueError, IndexError):
        return None
    return (found, fields[-1].start + fields[-1].length) if found else None


def _is_onnx(at: At, fields: list[Field]) -> bool:
    """ModelProto has a graph, and says the version of its format or of its operators."""
    one = {f.number: f for f in fields}
    if any(_ONNX_FIELDS.get(f.number) != f.wire for f in fields) or 7 not in one or not {1, 8} & set(one):
        return False
    graph = one[7]
    inner = next(fields_of(at, graph.start, graph.start + graph.length, 1), None)
    version = 1 not in one or 1 <= one[1].value <= 100
    return version and (inner is None or (inner.number in _GRAPH_FIELDS and inner.wire == 2))


def _is_coreml(at: At, fields: list[Field]) -> bool:
    """Model has a version, a description, and a field with a high number for what it is."""
    one = {f.number: f for f in fields}
    kinds = [f for f in fields if f.number >= 200]
    known = all(f.number in _COREML_KINDS and f.wire == 2 for f in kinds)
    described = {1, 2} <= set(one) <= {1, 2, 10, *(f.number for f in kinds)} and one[2].wire == 2
    return len(kinds) == 1 and known and described and one[1].wire == 0 and 1 <= one[1].value <= 100


def _is_saved_model(at: At, fields: list[Field]) -> bool:
    """SavedModel is the schema version 1 and one or more meta graphs."""
    if [(f.number, f.value) for f in fields if f.wire == 0] != [(1, 1)] or len(fields) < 2:
        return False
    graphs = [f for f in fields if f.wire != 0]
    if any((f.number, f.wire) != (2, 2) for f in graphs):
        return False
    inner = next(fields_of(at, graphs[0].start, graphs[0].start + graphs[0].length, 1), None)
    return inner is not None and inner.wire == 2 and inner.number in (1, 2)


def _is_graph_def(at: At, fields: list[Field]) -> bool:
    """GraphDef is nodes: a name, then an operation such as `Placeholder`."""
    wires = {1: 2, 2: 2, 3: 0, 4: 2}
    nodes = [f for f in fields if f.number == 1]
    if not nodes or any(wires.get(f.number) != f.wire for f in fields):
        return False
    for node in nodes[:3]:
        inner = list(fields_of(at, node.start, node.start + node.length, 2))
        if [(f.number, f.wire) for f in inner] != [(1, 2), (2, 2)]:
            return False
        if not re.fullmatch(rb"[A-Z_]\w{1,60}", at(inner[1].start, min(inner[1].length, 80))):
            return False
    return True


def _is_sentencepiece(at: At, fields: list[Field]) -> bool:
    """ModelProto of SentencePiece is pieces, each with a text and a score, and how it was trained."""
    pieces = [f for f in fields if f.number == 1]
    if not pieces or any(f.number > 5 or f.wire != 2 for f in fields) or all(f.number != 2 for f in fields):
        return False
    for piece in pieces[:3]:
        inner = list(fields_of(at, piece.start, piece.start + piece.length, 3))
        if [(f.number, f.wire) for f in inner] not in ([(1, 2), (2, 5)], [(1, 2), (2, 5), (3, 0)]):
            return False
    return True


_MESSAGES = (
    ("onnx", _is_onnx),
    ("coreml-file", _is_coreml),
    ("savedmodel", _is_saved_model),
    ("graphdef", _is_graph_def),
    ("sentencepiece", _is_sentencepiece),
)
