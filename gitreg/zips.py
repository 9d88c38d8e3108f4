"""What a zip's end says, before anything reads its directory. No I/O.

A zip is read from its end: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.
"""

from __future__ import annotations

from typing import IO

from gitreg.protobufs import At

MOST_DIRECTORY = 2 << 20
# The end of the directory is 22 bytes and a comment of at most 65,535.
_TAIL = 65_557


def directory_size(at: At, size: int) -> int:
    """Returns the bytes of a zip's directory as its end says them; 0 where there is none."""
    tail = at(max(0, size - _TAIL), _TAIL)
    place = tail.rfind(b"PK\5\6")
    said = int.from_bytes(tail[place + 12 : place + 16], "little") if place >= 0 else 0
    locator = tail[max(0, place - 20) : max(0, place)]
    if locator[:4] == b"PK\6\7":
        record = at(int.from_bytes(locator[8:16], "little"), 56)
        said = max(int.from_bytes(record[40:48], "little"), said if said != 0xFFFFFFFF else 0)
    return said


def stands_at_end(at: At, size: int) -> bool:
    """Whether a zip's directory stands at the end of a file, where those who open zips look for it."""
    tail = at(max(0, size - _TAIL), _TAIL)
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) != min(size, _TAIL):
        return False
    length, offset = (int.from_bytes(tail[place + i : place + i + 4], "little") for i in (12, 16))
    end = size - len(tail) + place
    zip64 = tail[max(0, place - 20) : place][:4] == b"PK\6\7"
    return zip64 or any(at(start, 4) == b"PK\1\2" for start in (end - length, offset) if 0 <= start < end)


def of_stream(stream: IO[bytes]) -> At:
    """Returns what stands at an offset of an open file."""

    def at(offset: int, count: int) -> bytes:
        stream.seek(offset)
        return stream.read(max(0, count))

    return at
