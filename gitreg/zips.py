"""What a zip's end says, before anything reads its directory. No I/O.

A zip is read from its end: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from gitreg.protobufs import At

if TYPE_CHECKING:
    from zipfile import ZipInfo

MOST_DIRECTORY = 2 << 20
# The end of the directory is 22 bytes and a comment of at most 65,535.
_TAIL = 65_557
# No honest file has more marks of an end.
_MOST_ENDS = 32
_DESCRIPTOR = 24


def _ends(at: At, size: int) -> tuple[bytes, list[int]]:
    """The bytes at a file's end, and where in them a directory's end may stand, the last one first.

    Those who open zips differ in which one they take, where there are several.
    """
    tail = at(max(0, size - _TAIL), _TAIL)
    return tail, [found.start() for found in re.finditer(b"PK\5\6", tail)][::-1]


def directory_size(at: At, size: int) -> int:
    """Returns the bytes of a zip's directory as its end says them, the one that Python takes; or 0."""
    tail, places = _ends(at, size)
    if len(tail) - 22 in places and tail.endswith(b"\0\0"):  # one without a comment
        return _directory_size(at, tail, len(tail) - 22)
    return _directory_size(at, tail, places[0]) if places else 0


def _directory_size(at: At, tail: bytes, place: int) -> int:
    said = int.from_bytes(tail[place + 12 : place + 16], "little")
    locator = tail[max(0, place - 20) : place]
    if locator[:4] == b"PK\6\7":
        record = at(int.from_bytes(locator[8:16], "little"), 56)
        said = max(int.from_bytes(record[40:48], "little"), said if said != 0xFFFFFFFF else 0)
    return said


def stands_at_end(at: At, size: int) -> bool:
    """Whether a zip's directory stands at the end of a file, where those who open zips look for it."""
    tail, places = _ends(at, size)
    if len(tail) != min(size, _TAIL):
        return False
    return len(places) > _MOST_ENDS or any(_is_end(at, size, tail, place) for place in places)


def _is_end(at: At, size: int, tail: bytes, place: int) -> bool:
    length, offset = (int.from_bytes(tail[place + i : place + i + 4], "little") for i in (12, 16))
    end = size - len(tail) + place
    zip64 = tail[max(0, place - 20) : place][:4] == b"PK\6\7"
    return zip64 or any(at(start, 4) == b"PK\1\2" for start in (end - length, offset) if 0 <= start < end)


def written(info: ZipInfo) -> bytes:
    """Returns a member's name as its bytes in the archive."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")


def gaps(at: At, members: Sequence[ZipInfo], directory: int) -> list[tuple[int, int]] | None:
    """Returns from where to where nothing of a zip's members lies; None where one lies in another.

    What a member has behind it, its sizes again, is no gap.
    """
    found, end = [], 0
    for info in sorted(members, key=lambda info: info.header_offset):
        if info.header_offset < end:
            return None
        if info.header_offset - end > (_DESCRIPTOR if end else 0):
            found.append((end, info.header_offset))
        local = at(info.header_offset + 26, 4)
        names = int.from_bytes(local[:2], "little") + int.from_bytes(local[2:], "little")
        end = info.header_offset + 30 + names + info.compress_size
    return [*found, (end, directory)] if directory - end > _DESCRIPTOR else found


def of_stream(stream: IO[bytes]) -> At:
    """Returns what stands at an offset of an open file."""

    def at(offset: int, count: int) -> bytes:
        stream.seek(offset)
        return stream.read(max(0, count))

    return at
