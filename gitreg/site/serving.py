"""Serves the pages live, for this machine alone, and takes orders to register and promote.

Who may do what:

- It listens on loopback. A request whose Host is not its own is refused, so a name of somebody else's that
  is made to point here (DNS rebinding) gets nothing.
- What another site's page asks for is refused, but for following a link to a page; and no page may be framed.
- Orders are POSTs of JSON from its own origin that carry a token, which is new with each start and in nothing
  that is served: it is in the address that is printed, after the `#`, which browsers do not send. There are
  no cookies that a request could carry by itself.
- Other people who are logged in on this machine can read the pages, and change nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http
import json
import re
import secrets
import socket
import socketserver
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from types import TracebackType
from typing import Any
from urllib.parse import unquote

from gitreg.catalog import Catalog
from gitreg.errors import GitregError, Usage
from gitreg.git import plain
from gitreg.manifest import REGISTRY_FILE
from gitreg.ports import unusable
from gitreg.registry import Registry
from gitreg.site import receiving
from gitreg.site.desk import Desk, trouble
from gitreg.site.pages import POLICY, Pages
from gitreg.site.receiving import Request

HOST = "127.0.0.1"
_MOST_AT_ONCE = 32  # answers that are made
_MOST_CONNECTIONS = 128
_SECONDS = 15.0  # that a client may take to send its request, and to read the answer
_LINGER, _MOST_UNREAD = 2.0, 4 << 20
_KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "json": "application/json",
}
_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Server:
    """Serves one registry while its block lasts.

    Args:
        port: 0 for a free one.
        read_only: whether no orders are taken; so it is for a registry without files here, too.
        tell: is told of defects, a text each.

    Raises:
        Outside: the port cannot be had.
    """

    def __init__(
        self,
        registry: Registry,
        port: int,
        read_only: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.registry, self.tell = registry, tell or (lambda line: None)
        self.shown = registry.place.shown
        self.desk = None if read_only or registry.bare else Desk(registry)
        self.token = secrets.token_urlsafe(32)
        try:
            self.http = _Listener((HOST, port), self)
        except OSError as error:
            raise unusable(HOST, port, error, "--port") from None
        self.port: int = self.http.server_address[1]

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.server_close()

    @property
    def page(self) -> str:
        """The registry's page, without the token."""
        return f"http://{HOST}:{self.port}/"

    def address(self, page: str = "") -> str:
        """A page's address, with the token that allows changes where they are taken."""
        there = f"{self.page}{'' if page == 'index.html' else page}"
        return f"{there}{'&' if '#' in there else '#'}token={self.token}" if self.desk else there

    def run(self) -> None:
        """Serve until an exception, as ^C, ends it."""
        self.http.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """End `run` in another thread."""
        self.http.shutdown()

    # Answers ------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """Of the registry, as it is now."""
        one = self.registry
        return Catalog(one.tags_of, bare=one.bare, prefix=one.prefix if one.bare else "")

    def stamp(self) -> dict[str, str]:
        """Changes whenever what pages show does."""
        said = hashlib.sha256(plain.tags(self.registry.root))
        file = self.registry.root / REGISTRY_FILE
        said.update(file.read_bytes() if file.is_file() else b"")
        head = next(plain.objects(self.registry.root, ["HEAD"], 0), None)
        said.update(head.oid.encode() if head else b"")
        return {"stamp": said.hexdigest()[:32]}

    def order(self, path: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """Look at an order, or carry it out.

        Raises:
            GitregError: it is refused.
        """
        assert self.desk
        if path == "/api/offers":
            return self.desk.offers()
        if path == "/api/look":
            return self.desk.look(said.get("order") or {})
        return self.desk.do(said.get("order") or {}, str(said.get("seal")))


_ORDERS = ("/api/offers", "/api/look", "/api/do")


class _Listener(socketserver.ThreadingTCPServer):
    """A thread for each connection; of too many, the one that is slow for longest gives way to a new one."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, place: tuple[str, int], owner: Server) -> None:
        self.owner = owner
        self.room = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self.waiting: dict[socket.socket, None] = {}  # those that are read from or written to, oldest first
        self.count = 0
        self.lock = threading.Lock()
        super().__init__(place, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.lock:
            if self.count >= _MOST_CONNECTIONS and self.waiting:
                oldest = next(iter(self.waiting))
                del self.waiting[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread finds that it has ended
            self.count += 1
            self.waiting[request] = None
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        with self.lock:
            self.count -= 1
            self.waiting.pop(request, None)
        super().close_request(request)

    @contextlib.contextmanager
    def working(self, request: socket.socket) -> Iterator[None]:
        """While an answer is made: what is asked for is done, and few things at once."""
        with self.lock:
            self.waiting.pop(request, None)
        try:
            with self.room:
                yield
        finally:
            with self.lock:
                self.waiting[request] = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error; all others were told by the handler."""


@dataclass(frozen=True)
class _Answer:
    status: int
    kind: str
    data: bytes


class _Handler(socketserver.BaseRequestHandler):
    server: _Listener
    request: socket.socket

    def handle(self) -> None:
        try:
            asked = receiving.receive(self.request, _SECONDS)
        except receiving.Wrong as wrong:
            self._send(_refusal(wrong.status, wrong.why), False)
            return
        except (receiving.Gone, OSError):
            return
        try:
            with self.server.working(self.request):
                answer = self._answer(asked)
        except receiving.Wrong as wrong:
            answer = _refusal(wrong.status, wrong.why)
        except Exception:
            self.server.owner.tell(traceback.format_exc().rstrip())
            answer = _refusal(500, "this is a defect in gitreg; its terminal says more")
        self._send(answer, asked.method == "HEAD")

    def _answer(self, asked: Request) -> _Answer:
        port = self.server.owner.port
        hosts = (f"{HOST}:{port}", f"localhost:{port}")
        if asked.fields.get("host") not in ([hosts[0]], [hosts[1]]):
            return _refusal(421, "this is not that host")
        target = asked.target.removeprefix(f"http://{asked.header('Host')}") or "/"
        if not target.startswith("/"):
            return _refusal(400, "a request names a path")
        if asked.method in ("GET", "HEAD"):
            return self._found(asked, unquote(re.split("[?#]", target)[0], errors="replace").lstrip("/"))
        if asked.method == "POST":
            return self._ordered(asked, target)
        return _refusal(501, "pages are got, and orders posted")

    def _found(self, asked: Request, path: str) -> _Answer:
        owner = self.server.owner
        is_page = path == "" or path.endswith(".html")
        own = asked.header("Sec-Fetch-Site", "none") in ("same-origin", "none")
        if not own and not (asked.header("Sec-Fetch-Mode") == "navigate" and is_page):
            return _refusal(403, "asked for by another site")
        try:
            if path == "api/stamp":
                return _data(200, owner.stamp())
            found = Pages(owner.catalog, live=True).get(path)
        except GitregError as error:
            return _refusal(500, error.message)
        if found is None:
            return _refusal(404, "there is no such page")
        ending = path.rpartition(".")[2] if "." in path else "html"
        return _Answer(200, _KINDS.get(ending, "text/plain; charset=utf-8"), found)

    def _ordered(self, asked: Request, target: str) -> _Answer:
        owner = self.server.owner
        origin = asked.header("Origin") == f"http://{asked.header('Host')}"
        if not origin or asked.header("Sec-Fetch-Site", "same-origin") != "same-origin":
            return _refusal(403, "asked for by another site")
        if owner.desk is None:
            return _refusal(403, "this server only shows")
        if not hmac.compare_digest(asked.header("X-Gitreg-Token").encode(), owner.token.encode()):
            return _refusal(403, "no token: open the address that gitreg printed")
        if asked.header("Content-Type") != "application/json" or target not in _ORDERS:
            return _refusal(400, "no such order")
        if asked.length is None:
            return _refusal(413, "an order is short, and says its length")
        try:
            said = json.loads(asked.body.decode())
            json.dumps(said, ensure_ascii=False).encode()
        except UnicodeError:
            return _refusal(400, "an order is text in UTF-8, without halves of surrogate pairs")
        except (ValueError, RecursionError):
            return _refusal(400, "an order is JSON")
        try:
            if not isinstance(said, dict):
                raise Usage("an order is an object")
            return _data(200, owner.order(target, said))
        except GitregError as error:
            return _data(409, trouble(error))

    def _send(self, answer: _Answer, without_body: bool) -> None:
        length = str(len(answer.data))
        fields = {**_HEADERS, "Content-Type": answer.kind, "Content-Length": length, "Connection": "close"}
        lines = [f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}", "Server: gitreg"]
        lines += [f"Date: {formatdate(usegmt=True)}", *(f"{name}: {value}" for name, value in fields.items())]
        head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
        with contextlib.suppress(OSError):  # it went away, or does not read
            self.request.settimeout(_SECONDS)
            self.request.sendall(head + (b"" if without_body else answer.data))
            self._linger()

    def _linger(self) -> None:
        """Read what the client still sends, for a moment: with that unread, it would lose the answer."""
        self.request.shutdown(socket.SHUT_WR)
        until, left = time.monotonic() + _LINGER, _MOST_UNREAD
        while left > 0 and (seconds := until - time.monotonic()) > 0:
            self.request.settimeout(seconds)
            if not (piece := self.request.recv(1 << 16)):
                return
            left -= len(piece)


def _data(status: int, data: Mapping[str, Any]) -> _Answer:
    return _Answer(status, _KINDS["json"], json.dumps(data, allow_nan=False).encode())


def _refusal(status: int, why: str) -> _Answer:
    return _Answer(status, "text/plain; charset=utf-8", f"{why}\n".encode("utf-8", "replace"))
