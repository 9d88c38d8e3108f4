"""Reads one HTTP request from a connection: strictly, within bounds, and by one deadline.

What a browser or curl sends is taken, as RFC 9112 has it; everything that two readers could understand in two
ways is refused. A connection carries one request: what comes after it is never read.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass, field

MOST_HEAD = 64 << 10  # cookies of all servers on this machine come along
MOST_FIELDS = 100
MOST_BODY = 16 << 10
_CHUNK = 16 << 10
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP/([0-9])\.[0-9]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(r"-?[0-9]{1,19}", re.ASCII)


class Wrong(Exception):
    """A request that is refused before it is looked at."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Gone(Exception):
    """The client ended the connection without a request."""


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes:
        target: as in its first line: a path with a query, an address, or anything else.
        fields: the values of each header, by its name in lower case.
        length: of its body, as its header says.
    """

    method: str
    target: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    length: int | None = None
    body: bytes = b""

    def header(self, name: str, default: str = "") -> str:
        """The one value of a header.

        Raises:
            Wrong: there are several.
        """
        found = self.fields.get(name.lower(), [default])
        if len(found) > 1:
            raise Wrong(400, f"there is more than one {name}")
        return found[0]


def receive(connection: socket.socket, seconds: float) -> Request:
    """Read a request.

    Args:
        seconds: for all of it, however many pieces it comes in.

    Raises:
        Wrong: it is refused.
        Gone: there is none.
        OSError: the connection broke.
    """
    until = time.monotonic() + seconds
    data, end = bytearray(), -1
    while end < 0:
        piece = _more(connection, until)
        if not piece:
            raise Wrong(400, "the request ends within its headers") if data.strip() else Gone
        seen = max(0, len(data) - 3)
        data += piece
        while data.startswith(b"\r\n"):  # allowed before a request
            del data[:2]
        end = data.find(b"\r\n\r\n", seen)
        new = data[seen : end if end >= 0 else len(data)]
        if b"\n\n" in new or b"\0" in new:
            raise Wrong(400, "lines end with CR and LF, and have no NUL")
        if (end if end >= 0 else len(data)) > MOST_HEAD:
            raise Wrong(431, f"the headers of a request have at most {MOST_HEAD:,} bytes")
    head = _head(bytes(data[:end]))
    length = _length(head)
    body = data[end + 4 :]
    while len(body) < (length or 0):
        piece = _more(connection, until)
        if not piece:
            raise Wrong(400, f"the body has {len(body):,} bytes, and Content-Length says {length:,}")
        body += piece
    return Request(head.method, head.target, head.fields, length, bytes(body[: length or 0]))


def _more(connection: socket.socket, until: float) -> bytes:
    late = Wrong(408, "the request took too long")
    if (left := until - time.monotonic()) <= 0:
        raise late
    connection.settimeout(left)
    try:
        return connection.recv(_CHUNK)
    except TimeoutError:
        raise late from None


def _head(head: bytes) -> Request:
    first, *lines = head.split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise Wrong(400, "a request begins with a method, a path and HTTP/1.1")
    if line[3] != b"1":
        raise Wrong(505, "HTTP/1.1 is spoken here")
    if len(lines) > MOST_FIELDS:
        raise Wrong(431, f"a request has at most {MOST_FIELDS} headers")
    fields: dict[str, list[str]] = {}
    for one in lines:
        said = _FIELD.fullmatch(one)
        if said is None:
            raise Wrong(400, "a header is a name, a colon and a value in one line")
        name, value = said[1].decode().lower(), said[2].rstrip(b" \t").decode("latin-1")
        fields.setdefault(name, []).append(value)
    return Request(line[1].decode(), line[2].decode(), fields)


def _length(head: Request) -> int | None:
    """How long a body is.

    Raises:
        Wrong: that is not said by one plain number.
    """
    said = head.fields.get("content-length", [])
    if "transfer-encoding" in head.fields:
        if said:
            raise Wrong(400, "a request has either Content-Length or Transfer-Encoding")
        raise Wrong(411, "a body is sent with Content-Length, and not in chunks")
    if not said:
        return None
    if len(said) > 1 or not _LENGTH.fullmatch(said[0]):
        digits = len(said) == 1 and said[0].isascii() and said[0].isdigit()
        raise Wrong(413, "an order is short") if digits else Wrong(400, "Content-Length is one whole number")
    if not 0 <= int(said[0]) <= MOST_BODY:
        raise Wrong(413, "an order is short")
    return int(said[0])
