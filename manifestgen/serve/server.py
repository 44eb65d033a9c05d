"""The server: a thread per connection, bodies sent by the kernel, lines about who fetched what."""

import logging
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from errno import EADDRNOTAVAIL
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Final

from manifestgen import __version__
from manifestgen.errors import StoreError
from manifestgen.serve.answer import BODY, Answer, Part, Request, Site
from manifestgen.serve.faults import PACE, SILENCE, Faults, Kind, body_of, spoiled
from manifestgen.serve.visits import Guests, Visit

_logger = logging.getLogger(__name__)

_IDLE: Final = 60.0  # seconds that a connection may be silent
_STEPS: Final = 8  # pieces a second of a slow answer

Listener = Callable[[Visit], None]


def _unheard(_visit: Visit) -> None:
    return


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the threads of a server share."""

    site: Site
    faults: Faults
    guests: Guests
    heard: Listener
    closing: Event


class Server:
    """A site, listened for from `start` to `stop`.

    Raises:
        StoreError: the address cannot be had.
    """

    def __init__(
        self,
        site: Site,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Faults | None = None,
        heard: Listener = _unheard,
    ) -> None:
        self.faults = faults or Faults()
        self._parts = _Parts(site, self.faults, Guests(), heard, Event())
        self._host = host
        self._http = _listening(host, port, self._parts)
        self._thread = Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._http.server_port

    @property
    def url(self) -> str:
        """The address for programs of this machine."""
        local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - looked up, not bound
        host = local.get(self._host, f"[{self._host}]" if ":" in self._host else self._host)
        return f"http://{host}:{self.port}"

    def start(self) -> "Server":
        """Answer requests from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Answer no more; slow answers under way are dropped."""
        self._parts.closing.set()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def lan_address() -> str | None:
    """Return the address by which this machine's network knows it; nothing is sent."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address kept for documentation
        address = str(probe.getsockname()[0])
        return None if address.startswith(("127.", "0.")) else address
    return None


def _listening(host: str, port: int, parts: _Parts) -> "_Http":
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        handler = type("Handler", (_Handler,), {"parts": parts})
        kind: type[_Http] = type("Http", (_Http,), {"address_family": family})
        return kind((host, port), handler)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such port"
        hint = f"choose another with `--port {port + 1}`" if port < 65535 else None
        if isinstance(error, socket.gaierror) or getattr(error, "errno", 0) == EADDRNOTAVAIL:
            hint = "give an address of this machine to --host; 0.0.0.0 is all of them"
        message = f"cannot listen on {host}:{port}: {reason or error}"
        raise StoreError(message, hint=hint) from None


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    # Connections that clients keep open must not keep the program open.
    block_on_close = False
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind, without the look-up of our own name that the base class waits for."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up."""
        if not isinstance(sys.exception(), OSError):
            _logger.exception("a request was not answered")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"manifestgen/{__version__}"
    sys_version = ""
    timeout = _IDLE
    disable_nagle_algorithm = True
    parts: _Parts

    def __getattr__(self, name: str) -> Any:
        """Take every method; `answer` says what comes of it."""
        if name.startswith("do_"):
            return self._take
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing here: `heard` is told."""

    def _take(self) -> None:
        began = time.perf_counter()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers)
        body = self._body(headers)
        if body is None:
            return
        # Before the answer: the next request of this device may be quicker than what follows it.
        device = self.parts.guests.who(
            self.client_address[0], headers, self.path.partition("?")[2], body
        )
        answer = self.parts.site.answer(request)
        try:
            fault = self.parts.faults.strike(answer.name)
            if fault:
                answer = spoiled(fault, answer, self.parts.site, request)
            sent = self._send(answer, fault)
        finally:
            answer.close()
        self.parts.heard(
            Visit(
                device=device,
                method=self.command,
                path=self.path.partition("?")[0],
                status=answer.status,
                bytes=sent,
                seconds=time.perf_counter() - began,
                fault=fault.value if fault else None,
                tag=answer.headers.get("ETag"),
            )
        )

    def _body(self, headers: dict[str, str]) -> bytes | None:
        """Read what came with the request; `None` if it was refused."""
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
            self._refuse(411 if "transfer-encoding" in headers else 400)
            return None
        if len(length) > 9 or int(length) > BODY:
            self._refuse(413)
            return None
        return self.rfile.read(int(length))

    def _refuse(self, status: int) -> None:
        # What follows on the line is a body that nobody reads.
        self.close_connection = True
        self._send(Answer(status, {"Connection": "close"}, f"{status}\n".encode()), None)

    def _send(self, answer: Answer, fault: Kind | None) -> int:
        """Send an answer; return how many bytes of its body went out."""
        try:
            if fault is Kind.SLOW and self.parts.closing.wait(SILENCE):
                self.close_connection = True
                return 0
            self._send_head(answer)
            if self.command == "HEAD" or answer.status in {204, 304}:
                return 0
            if fault is Kind.SLOW:
                return self._drip(body_of(answer))
            if fault is Kind.CUT:
                self.close_connection = True
                data = body_of(answer)
                return self._write(data[: len(data) // 2])
            return self._send_body(answer.body)
        except OSError:  # hung up, or took too long
            self.close_connection = True
            return 0

    def _send_head(self, answer: Answer) -> None:
        self.send_response(answer.status, _phrase(answer.status))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status not in {204, 304}:
            self.send_header("Content-Length", str(answer.size))
        self.end_headers()

    def _send_body(self, body: bytes | Part) -> int:
        if isinstance(body, bytes):
            return self._write(body)
        sent: int = self.connection.sendfile(body.file, body.offset, body.size)
        if sent < body.size:  # somebody truncated the file in place: do not pretend it was whole
            self.close_connection = True
        return sent

    def _write(self, data: bytes) -> int:
        self.wfile.write(data)
        return len(data)

    def _drip(self, data: bytes) -> int:
        step = PACE // _STEPS
        for start in range(0, len(data), step):
            if self.parts.closing.wait(1 / _STEPS):
                self.close_connection = True
                return start
            self.wfile.write(data[start : start + step])
        return len(data)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
