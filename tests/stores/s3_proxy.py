"""Between a publisher and an object store: passes requests on, and spoils those it is told to."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Fault = Callable[["Asked"], "Spoilt | None"]
"""Says what to do with a request; `None` passes it on as it is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; `number` counts them from 1."""

    number: int
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Spoilt:
    """An answer of our own (`status`), or the store's, late, cut (`keep` bytes) or lost.

    A cut follows on what was kept after `silent` seconds.
    """

    status: int | None = None
    code: str = ""
    wait: float = 0.0
    keep: int | None = None
    silent: float = 0.0
    lost: bool = False


@dataclass(slots=True)
class Proxy:
    """A running proxy; `asked` lists what came, `fault` may be changed at any time."""

    endpoint: str
    fault: Fault
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, method: str, part: str = "") -> int:
        return sum(one.method == method and part in one.path for one in self.asked)


def healthy(_: Asked) -> None:
    """Pass everything on."""


def down(_: Asked) -> Spoilt:
    """Hang up on everybody."""
    return Spoilt(keep=0, status=200)


@contextmanager
def proxied(endpoint: str, fault: Fault = healthy) -> Iterator[Proxy]:
    """Run a proxy before a store."""
    target = urlsplit(endpoint)
    proxy = Proxy("", fault)

    class Handler(_Handler):
        shared = proxy
        host, port = target.hostname or "", target.port or 80

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Publishers are killed, too; nobody needs to read of it."""

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for its headers to be acknowledged
    shared: Proxy
    host: str
    port: int

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.shared.lock:
            asked = Asked(len(self.shared.asked) + 1, self.command, self.path)
            self.shared.asked.append(asked)
        spoilt = self.shared.fault(asked) or Spoilt()
        time.sleep(spoilt.wait)
        if spoilt.status is not None:
            text = f"<Error><Code>{spoilt.code}</Code><Message>no</Message></Error>" * bool(
                spoilt.code
            )
            self._answer(
                spoilt.status,
                {"Content-Type": "application/xml", "ETag": '"1"'},
                text.encode(),
                spoilt,
            )
            return
        connection = HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            found = connection.getresponse()
            data = found.read()
        except (OSError, HTTPException):
            self._hang_up()
            return
        finally:
            connection.close()
        self._answer(found.status, dict(found.headers.items()), data, spoilt)

    def _answer(self, status: int, headers: dict[str, str], data: bytes, spoilt: Spoilt) -> None:
        if spoilt.lost or spoilt.keep == 0:
            self._hang_up()
            return
        self.send_response_only(status)
        kept = {k: v for k, v in headers.items() if k.lower() not in _OF_THE_CONNECTION}
        if self.command != "HEAD":
            kept["Content-Length"] = str(len(data))
        elif length := headers.get("Content-Length"):
            kept["Content-Length"] = length
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        if spoilt.keep is None:
            self.wfile.write(data if self.command != "HEAD" else b"")
        else:
            self.wfile.write(data[: spoilt.keep])
            time.sleep(spoilt.silent)
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass


_OF_THE_CONNECTION = {"connection", "content-length", "transfer-encoding", "keep-alive"}
