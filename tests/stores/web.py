"""A little web server that serves a site well, except where it is told to misbehave.

`faults` are taken one per request, first come first served; `None` in between serves well. `seen`
has every request's method, path and headers.
"""

import re
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

Fault = Callable[["Request"], None]


@dataclass
class Web:
    """The server, as a test sees and directs it."""

    files: dict[str, bytes] = field(default_factory=dict)
    etags: bool = True
    faults: deque[Fault | None] = field(default_factory=deque)
    always: Fault | None = None
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    closing: Event = field(default_factory=Event)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/app"


class Request(BaseHTTPRequestHandler):
    """One request, with what a fault needs to answer it its own way."""

    protocol_version = "HTTP/1.1"
    web: Web

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.web.seen.append((self.command, self.path, headers))
        fault = self.web.faults.popleft() if self.web.faults else self.web.always
        # A client that gives up hangs up, and that is what most of the tests are about.
        with suppress(ConnectionError):
            fault(self) if fault else self.serve()

    do_HEAD = do_GET

    def serve(self) -> None:
        data = self.web.files.get(self.path.removeprefix("/app/"))
        if data is None:
            self.reply(404, b"<html>not here</html>")
            return
        etag = f'"{sha256(data).hexdigest()[:16]}"'
        headers = {"ETag": etag} if self.web.etags else {}
        if self.web.etags and self.headers.get("If-None-Match") == etag:
            self.reply(304, b"", headers)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and self.headers.get("If-Range") == etag:
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.reply(206, data[start:], headers)
            return
        self.reply(200, data, headers)

    def reply(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        cut_after: int | None = None,
    ) -> None:
        """Answer; `cut_after` so many bytes of the body hang up, whatever was announced."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body[:cut_after])
        if cut_after is not None:
            self.close_connection = True

    def drip(self, data: bytes, seconds: float) -> None:
        """Send byte after byte, until done or the test is."""
        self.close_connection = True
        for n in range(len(data)):
            self.wfile.write(data[n : n + 1])
            if self.web.closing.wait(seconds):
                return

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Serve until left, over TLS if a context is given."""
    web = Web(scheme="https" if context else "http")
    handler = type("Handler", (Request,), {"web": web})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    web.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    # Connections that clients keep open must not keep the test open.
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that do not like a certificate hang up."""
