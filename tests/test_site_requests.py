"""Requests as no browser sends them, and clients that are slow: each gets its own answer, and the others theirs."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitreg.site import receiving, serving
from gitreg.site.serving import Server
from tests.support import Workshop
from tests.test_site_serving import PROMOTE, REGISTER, ask, order
from tests.test_site_serving import serving as served


@pytest.fixture(scope="module")
def shown(_template: Path) -> Iterator[Server]:
    with served(_template, tell=lambda text: pytest.fail(text)) as one:
        yield one


def raw(one: Server, data: bytes, end: bool = False) -> tuple[int, bytes]:
    """(status, all that was answered) of bytes; 0 where nothing is answered."""
    with socket.create_connection(("127.0.0.1", one.port), timeout=60) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
        return int(answer.split(b" ")[1]) if answer else 0, answer


def head(one: Server, *lines: str | bytes, first: str = "GET / HTTP/1.1") -> bytes:
    said = [line.encode("latin-1") if isinstance(line, str) else line for line in lines]
    return b"\r\n".join([first.encode("latin-1"), f"Host: 127.0.0.1:{one.port}".encode(), *said, b"", b""])


def posted(one: Server, *lines: str | bytes, body: bytes = b"{}") -> bytes:
    own = [
        f"Origin: http://127.0.0.1:{one.port}",
        f"X-Gitreg-Token: {one.token}",
        "Content-Type: application/json",
    ]
    return head(one, *own, *lines, first="POST /api/offers HTTP/1.1") + body


# How long a body is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Content-Length: \u00b2"], 400),
        (["Content-Length: \u0663".encode()], 400),
        (["Content-Length: \uff12".encode()], 400),
        (["Content-Length: +2"], 400),
        (["Content-Length: 2, 2"], 400),
        (["Content-Length: 2", "Content-Length: 2"], 400),
        (["Content-Length: 2", "Content-Length: 3"], 400),
        (["Content-Length: 0x2"], 400),
        (["Content-Length: 2.0"], 400),
        (["Content-Length: 1_0"], 400),
        (["Content-Length:"], 400),
        (["Content-Length: --2"], 400),
        (["Content-Length: -1"], 413),
        (["Content-Length: 16385"], 413),
        (["Content-Length: 18446744073709551618"], 413),
        (["Content-Length: " + "9" * 5000], 413),
        (["Content-Length: 2", "Transfer-Encoding: chunked"], 400),
        (["Transfer-Encoding: chunked", "Content-Length: 2"], 400),
        (["Transfer-Encoding: chunked"], 411),
        (["Transfer-Encoding: identity"], 411),
        (["Transfer-Encoding : chunked"], 400),
        (["Content-Length : 2"], 400),
        ([], 413),
        (["Content-Length: 2"], 200),
        (["Content-Length:2"], 200),
        (["Content-Length: 002"], 200),
        (["content-length: \t2 \t"], 200),
    ],
)  # fmt: skip
def test_a_length_is_one_plain_number(shown: Server, lines: list[str | bytes], status: int) -> None:
    assert raw(shown, posted(shown, *lines))[0] == status


def test_a_body_in_chunks_is_refused_and_nothing_of_it_is_a_request(shown: Server) -> None:
    data = posted(shown, "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n" + head(shown))
    status, answer = raw(shown, data)
    assert (status, answer.count(b"HTTP/1.1 ")) == (411, 1)


def test_a_body_that_is_shorter_than_it_says_is_refused(shown: Server) -> None:
    status, answer = raw(shown, posted(shown, "Content-Length: 9"), end=True)
    assert status == 400 and b"the body has 2 bytes, and Content-Length says 9" in answer


# Lines and headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "status"),
    [
        ("GET /", 400), ("GET", 400), ("", 400), ("GET / HTTP/0.9", 505), ("GET / HTTP/2.0", 505), ("GET / HTTP/1.1 ", 400),
        ("GET  / HTTP/1.1", 400), (" GET / HTTP/1.1", 400), ("GET /\u00e9 HTTP/1.1", 400), ("GET /\0 HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400), ("GET / http/1.1", 400), ("get / HTTP/1.1", 501), ("PUT / HTTP/1.1", 501),
        ("OPTIONS * HTTP/1.1", 400), ("CONNECT 127.0.0.1:1 HTTP/1.1", 400), ("GET * HTTP/1.1", 400),
        ("GET index.html HTTP/1.1", 400), ("GET http://evil.example/ HTTP/1.1", 400), ("GET https://127.0.0.1/ HTTP/1.1", 400),
        ("GET http://127.0.0.1:{port}/ HTTP/1.1", 200), ("GET http://127.0.0.1:{port} HTTP/1.1", 200),
        ("GET http://127.0.0.1:{port}9/ HTTP/1.1", 400), ("GET http://x@127.0.0.1:{port}/ HTTP/1.1", 400),
        ("GET / HTTP/1.0", 200), ("GET /%00 HTTP/1.1", 404), ("GET /%ff%fe HTTP/1.1", 404), ("GET /%ed%a0%80 HTTP/1.1", 404),
        ("GET /%2 HTTP/1.1", 404), ("GET /?q=%ed%a0%80 HTTP/1.1", 200), ("GET /?q=%ff#x HTTP/1.1", 200),
        ("GET /models/adder%00/index.html HTTP/1.1", 404), ("HEAD / HTTP/1.1", 200), ("G" * 40 + " / HTTP/1.1", 400),
    ],
)  # fmt: skip
def test_a_first_line_is_a_method_a_path_and_a_version(shown: Server, first: str, status: int) -> None:
    assert raw(shown, head(shown, first=first.format(port=shown.port)), end=True)[0] == status


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["X: " + "x" * (1 << 20)], 431),
        (["X" * (1 << 20)], 431),
        ([f"X-{i}: 1" for i in range(10_000)], 431),
        ([f"X-{i}: 1" for i in range(101)], 431),
        (["X: " + "x" * 60_000], 200),
        ([f"X-{i}: 1" for i in range(90)], 200),
        (["no colon"], 400), ([": no name"], 400), (["a name: 1"], 400), (["X: a\0b"], 400), (["X: a\x01b"], 400),
        (["X: a\nY: b"], 400), (["X: a\rY: b"], 400), (["X: a", " folded"], 400), ([b"X: \xff\xfe"], 200), (["X:"], 200),
        (["Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"], 400),
        (["Host: evil.example"], 421),
        (["Expect: 100-continue"], 200),
        (["Cookie: \u00ed\u00a0\u0080"], 200),
    ],
)  # fmt: skip
def test_a_header_is_a_name_and_a_value_in_one_line(
    shown: Server, lines: list[str | bytes], status: int
) -> None:
    assert raw(shown, head(shown, *lines))[0] == status


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"\0" * 100, 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"GET / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 421),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", 421),
        (b"", 0),
        (b"\r\n", 0),
    ],
)
def test_bytes_that_are_no_request(shown: Server, data: bytes, status: int) -> None:
    assert raw(shown, data, end=True)[0] == status
    assert ask(shown, "GET", "/")[0] == 200


def test_of_several_requests_in_one_connection_the_first_is_answered(shown: Server) -> None:
    status, answer = raw(shown, head(shown) + head(shown) + b"x" * 100_000)
    assert (status, answer.count(b"HTTP/1.1 200")) == (200, 1)
    assert b"\r\nConnection: close\r\n" in answer


def test_head_is_get_without_its_body(shown: Server) -> None:
    one, other = (
        raw(shown, head(shown, first=f"{method} /index.html HTTP/1.1"))[1] for method in ("HEAD", "GET")
    )
    assert one.endswith(b"\r\n\r\n") and len(other) > len(one)
    without = [line for line in other.split(b"\r\n\r\n")[0].split(b"\r\n") if not line.startswith(b"Date")]
    assert set(without) <= set(one.split(b"\r\n"))


# Texts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/offers", "/api/look", "/api/do"])
@pytest.mark.parametrize("where", ["deed", "model", "version", "stage", "way", "note", "seal", "key", "deep"])
@pytest.mark.parametrize("half", ["\ud800", "a\udfffb", "\udc80"])
def test_half_a_surrogate_pair_is_no_text(shown: Server, path: str, where: str, half: str) -> None:
    said: Any = {"order": {**PROMOTE}, "seal": "x"}
    if where == "seal":
        said["seal"] = half
    elif where == "key":
        said[half] = 1
    elif where == "deep":
        said["order"]["more"] = [[{"a": {"b": half}}]]
    else:
        said["order"][where] = half
    status, text = order(shown, path, said)
    assert status == 400 and "surrogate" in text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"order": {"note": "\\ud83d\\ude00"}}', 409),  # a whole pair
        (json.dumps({"order": {**REGISTER, "note": "\U0001f600 é"}}, ensure_ascii=False), 200),
        (b'{"order": {"note": "\xed\xa0\x80"}}', 400),
        (b'{"order": {"note": "\xff"}}', 400),
        ('{"order": 1}'.encode("utf-16"), 400),
        ("\ufeff{}", 400),
        ('{"order": ' + "9" * 5000 + "}", 400),
        ("[" * 8000, 400),
        ("", 400), ("{", 400), ("null", 409), ("NaN", 409), ('"x"', 409),
        ('{"order": [1]}', 409), ('{"order": {"note": null}}', 409), ('{"order": "\\u0000"}', 409),
    ],
)  # fmt: skip
def test_an_order_is_json_in_utf_8(shown: Server, body: str | bytes, status: int) -> None:
    data = body.encode() if isinstance(body, str) else body
    said = posted(shown, f"Content-Length: {len(data)}", body=data).replace(b"/api/offers", b"/api/look")
    assert raw(shown, said)[0] == status


# Slow clients --------------------------------------------------------------------------------------------


def test_there_is_one_bound_for_the_whole_request() -> None:
    """However often something comes."""
    data = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
    for known in (b"", data[:20], data):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(known)
            ended = threading.Event()

            def drip(end: socket.socket = theirs, ended: threading.Event = ended) -> None:
                while not ended.wait(0.02):
                    end.sendall(b"x")

            thread = threading.Thread(target=drip)
            thread.start()
            began = time.monotonic()
            with pytest.raises(receiving.Wrong, match="took too long") as wrong:
                receiving.receive(ours, 0.4)
            taken = time.monotonic() - began
            ended.set()
            thread.join()
            assert wrong.value.status == 408 and 0.4 <= taken < 5


@pytest.mark.parametrize("number", [40, 200])
@pytest.mark.parametrize("said", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{"])
def test_slow_clients_keep_nobody_waiting(shown: Server, number: int, said: bytes) -> None:
    slow = [socket.create_connection(("127.0.0.1", shown.port)) for _ in range(number)]
    try:
        for one in slow:
            one.sendall(said)
        began = time.monotonic()
        assert ask(shown, "GET", "/api/stamp")[0] == 200
        assert order(shown, "/api/offers", {})[0] == 200
        assert time.monotonic() - began < serving._SECONDS
    finally:
        for one in slow:
            one.close()


def test_of_too_many_connections_the_oldest_gives_way(shown: Server) -> None:
    most = serving._MOST_CONNECTIONS
    slow = [socket.create_connection(("127.0.0.1", shown.port), timeout=10) for _ in range(most + 8)]
    try:
        assert ask(shown, "GET", "/api/stamp")[0] == 200
        assert slow[0].recv(1) == b""
        slow[-1].sendall(head(shown))
        assert b" 200 " in slow[-1].recv(100)
        assert len(shown.http.waiting) <= most
    finally:
        for one in slow:
            one.close()


def test_a_client_that_never_reads_keeps_nobody_waiting(shown: Server) -> None:
    deaf = []
    try:
        for _ in range(40):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            one.connect(("127.0.0.1", shown.port))
            one.sendall(head(shown, first="GET /assets/site.css HTTP/1.1"))
            deaf.append(one)
        assert ask(shown, "GET", "/api/stamp")[0] == 200
    finally:
        for one in deaf:
            one.close()


def test_what_cannot_be_read_of_the_registry_is_answered_and_told(workshop: Workshop) -> None:
    """No request may end without an answer, whatever the disk says."""
    told: list[str] = []
    with served(workshop.root, tell=told.append) as one:
        (workshop.root / ".git" / "packed-refs").unlink(missing_ok=True)
        (workshop.root / ".git" / "packed-refs").mkdir()
        for path in ("/", "/api/stamp"):
            status, text, _ = ask(one, "GET", path)
            assert status == 500 and text and "Traceback" not in text
