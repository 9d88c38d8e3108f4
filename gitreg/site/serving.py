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

import hashlib
import hmac
import http.server
import json
import secrets
import socketserver
import threading
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from gitreg.catalog import Catalog
from gitreg.errors import GitregError, Usage
from gitreg.git import plain
from gitreg.manifest import REGISTRY_FILE
from gitreg.ports import unusable
from gitreg.registry import Registry
from gitreg.site.desk import Desk, trouble
from gitreg.site.pages import POLICY, Pages

HOST = "127.0.0.1"
_MOST_BODY = 16 << 10
_MOST_AT_ONCE = 32
_SECONDS = 15  # that a client may take to send its request
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
            self.http = _Http((HOST, port), self)
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


class _Http(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, place: tuple[str, int], owner: Server) -> None:
        self.owner = owner
        self.room = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__(place, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks DNS for its own name, for seconds
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.room.acquire(timeout=_SECONDS):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error; all others were told by the handler."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Http
    timeout = _SECONDS
    server_version, sys_version = "gitreg", ""

    def do_GET(self) -> None:
        if not self._is_for_us():
            return
        path = unquote(urlsplit(self.path).path, errors="replace").lstrip("/")
        own = self.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
        if not own and not (self.headers.get("Sec-Fetch-Mode") == "navigate" and self._is_page(path)):
            self._refuse(403, "asked for by another site")
            return
        try:
            found = self._found(path)
        except GitregError as error:
            self._refuse(500, error.message)
            return
        except Exception:
            self._defect()
            return
        if found is None:
            self._refuse(404, "there is no such page")
        else:
            ending = path.rpartition(".")[2] if "." in path else "json" if path else "html"
            self._send(200, _KINDS.get(ending, "text/plain; charset=utf-8"), found)

    do_HEAD = do_GET

    def _found(self, path: str) -> bytes | None:
        owner = self.server.owner
        if path == "api/stamp":
            return json.dumps(owner.stamp()).encode()
        return Pages(owner.catalog, live=True).get(path)

    def do_POST(self) -> None:
        owner = self.server.owner
        if not self._is_for_us():
            return
        origin = self.headers.get("Origin") == f"http://{self.headers['Host']}"
        if not origin or self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            self._refuse(403, "asked for by another site")
        elif owner.desk is None:
            self._refuse(403, "this server only shows")
        elif not hmac.compare_digest(self.headers.get("X-Gitreg-Token", "").encode(), owner.token.encode()):
            self._refuse(403, "no token: open the address that gitreg printed")
        elif self.headers.get("Content-Type") != "application/json" or self.path not in _ORDERS:
            self._refuse(400, "no such order")
        else:
            self._ordered(owner)

    def _ordered(self, owner: Server) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or len(length) > 9 or int(length) > _MOST_BODY:
            self._refuse(413, "an order is short")
            return
        body = self.rfile.read(int(length))
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            self._refuse(400, "an order is JSON")
            return
        try:
            if not isinstance(said, dict):
                raise Usage("an order is an object")
            status, answer = 200, owner.order(self.path, said)
        except GitregError as error:
            status, answer = 409, trouble(error)
        except Exception:
            self._defect()
            return
        self._json(status, answer)

    # Parts --------------------------------------------------------------------------------------

    def _is_for_us(self) -> bool:
        port = self.server.owner.port
        if self.headers.get_all("Host") in ([f"{HOST}:{port}"], [f"localhost:{port}"]):
            return True
        self._refuse(421, "this is not that host")
        return False

    @staticmethod
    def _is_page(path: str) -> bool:
        return path == "" or path.endswith(".html")

    def _json(self, status: int, data: Mapping[str, Any]) -> None:
        self._send(status, _KINDS["json"], json.dumps(data, allow_nan=False).encode())

    def _refuse(self, status: int, why: str) -> None:
        self._send(status, "text/plain; charset=utf-8", f"{why}\n".encode("utf-8", "replace"))

    def _defect(self) -> None:
        self.server.owner.tell(traceback.format_exc().rstrip())
        self._refuse(500, "this is a defect in gitreg; its terminal says more")

    def _send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a terminal is for what its user does."""
