"""A site as the world sees it: behind a web server, read-only, and not to be trusted with time.

What comes back is bytes; whether to believe them is for the caller, so a login page with status 200
passes here and is refused by a parser. This module sees to the rest of what a hostile or broken
server, mirror or proxy can do:

* endless documents: `get` stops at its limit, and at a deadline that covers every retry;
* endless trickle: less than `Patience.slowest` bytes a second, headers included, is given up, so a
  download takes at most its signed size divided by that;
* endless nothing: informal answers, headers, trailers and compressed emptiness are counted, too;
* redirects: five at most, on the same host, never from https to http;
* cuts: a download goes on where it stopped, if the server proves that it is still the same object;
  else it begins again and must first repeat, byte for byte, what was already delivered.

Plain `http` is fine: documents carry their own signatures. No cookies, no passwords, no compression
asked for; one that a proxy adds is undone. Proxies come from the environment.
"""

import hashlib
import io
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn, TypeVar
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

from manifestgen import __version__
from manifestgen.errors import StoreError, UsageError
from manifestgen.stores.interface import SMALL, Entry, Stored, too_large
from manifestgen.stores.names import check_name

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")

_HEADERS: Final = {"User-Agent": f"manifestgen/{__version__}", "Accept-Encoding": "identity"}
_ABSENT: Final = {403, 404, 410}  # 403 is what buckets answer for what is not there
_MOVED: Final = {301, 302, 303, 307, 308}
_PASSING: Final = {429, 500, 502, 503, 504}
_REDIRECTS: Final = 5
_CHUNK: Final = 16 * 1024
_AROUND: Final = 1024 * 1024  # bytes of headers, or of whatever else is no content
_RANGE = re.compile(r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to put up with a server; times in seconds."""

    connect: float = 10.0
    """Until a connection stands."""
    silence: float = 20.0
    """Between two pieces of an answer."""
    slowest: int = 1024
    """Bytes a second, on average over one answer: a modem managed five times as many."""
    grace: float = 30.0
    """Of waiting, before that average counts; above `silence`, or small answers would suffer."""
    document: float = 60.0
    """For one document, redirects and retries included."""
    retries: int = 3
    """After connection errors, cuts and answers that ask for another try."""
    backoff: float = 0.5
    """Before the first retry; doubled each time."""
    longest_pause: float = 10.0
    """Of what a server may ask for with `Retry-After`."""
    progress: int = 64 * 1024
    """Bytes after which a download that was cut has its retries back."""


class HttpStore:
    """A site at an address: reads work, whatever would write raises `StoreError`.

    The tag is the server's ETag, empty where a server or proxy sends none.
    """

    def __init__(self, base_url: str, *, patience: Patience | None = None) -> None:
        self._base = _checked(base_url)
        self._patience = patience or Patience()
        self._pool = connections(self._base, self._patience)

    @property
    def location(self) -> str:
        """Name the store in messages: its address."""
        return self._base

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        """Read a small object whole; see `Store.get`."""
        return self._document(name, limit, None)

    def get_if_changed(self, name: str, known: Stored, *, limit: int = SMALL) -> Stored | None:
        """Read a small object again: `known` itself if it is still the same, `None` if gone."""
        found = self._document(name, limit, known)
        return known if found and found.data == known.data else found

    def open(self, name: str) -> BinaryIO | None:
        """Open an object for reading; cuts are healed while it is read. See `Store.open`."""
        response = self._patiently(lambda: self.ask("GET", name), None)
        if response is None:
            return None
        return io.BufferedReader(_Download(self, name, self._patience, response), _CHUNK)

    def size(self, name: str) -> int | None:
        """Return the size in bytes; see `Store.size`."""
        response = self._patiently(lambda: self.ask("HEAD", name), None)
        if response is None:
            return None
        with closing(response):
            size = _length(response)
        if size is None:
            raise StoreError(f"{self._url(name)}: the server does not say its size")
        return size

    def scratch(self) -> AbstractContextManager[Path]:
        """Refuse: nothing is written here."""
        self._refuse()

    def add(self, name: str, source: Path | bytes) -> bool:
        """Refuse: nothing is written here."""
        self._refuse()

    def create(self, name: str, data: bytes) -> None:
        """Refuse: nothing is written here."""
        self._refuse()

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        """Refuse: nothing is written here."""
        self._refuse()

    def names(self, prefix: str = "") -> Iterator[Entry]:
        """Refuse: web servers keep no list."""
        raise StoreError(
            f"{self._base}: a web server does not list its files",
            hint="name the folder or the bucket behind it",
        )

    def folders(self) -> list[str]:
        """List nothing: a web server does not say what it has."""
        return []

    def delete(self, name: str) -> None:
        """Refuse: nothing is written here."""
        self._refuse()

    def ask(
        self, method: str, name: str, headers: Mapping[str, str] | None = None
    ) -> BaseHTTPResponse | None:
        """Make one request, redirects followed: an answer with its body unread, `None` for absent.

        Raises:
            StoreError: anything but 200, or what `headers` allow for: 206, 304 and 416.
        """
        url = self._url(name)
        for _ in range(_REDIRECTS + 1):
            with _explained(url, self._patience):
                response = self._request(method, url, headers or {})
            if response.status not in _MOVED:
                return _classified(response, url, bool(headers), self._patience)
            with closing(response):
                url = _redirected(url, response.headers.get("Location"))
        raise StoreError(f"{self._url(name)}: more than {_REDIRECTS} redirects")

    def _request(self, method: str, url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        expect(0)
        return self._pool.request(
            method,
            url,
            headers={**_HEADERS, **headers},
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=self._patience.connect, read=self._patience.silence),
        )

    def _document(self, name: str, limit: int, known: Stored | None) -> Stored | None:
        headers = {"If-None-Match": known.tag} if known and known.tag else {}
        until = time.monotonic() + self._patience.document

        def attempt() -> Stored | None:
            response = self.ask("GET", name, headers)
            if response is None:
                return None
            with closing(response):
                if response.status == 304 and known and headers:
                    self._read(response, name, 0, until)  # gives the connection back
                    return known
                if response.status != 200:
                    raise StoreError(f"{self._url(name)}: answered {response.status}")
                data = self._read(response, name, limit, until)
                return Stored(data, response.headers.get("ETag", ""))

        return self._patiently(attempt, until)

    def _read(self, response: BaseHTTPResponse, name: str, limit: int, until: float) -> bytes:
        url, data = self._url(name), bytearray()
        with _explained(url, self._patience):
            expect(_CHUNK)
            while piece := response.read(_CHUNK):
                data += piece
                if len(data) > limit:
                    raise too_large(url, limit)
                if time.monotonic() > until:
                    raise StoreError(f"{url}: not read within {self._patience.document:g} s")
                expect(_CHUNK)
        return bytes(data)

    def _patiently(self, attempt: Callable[[], T], until: float | None) -> T:
        failures = 0
        while True:
            try:
                return attempt()
            except _PassingError as error:
                failures += 1
                pause = error.pause(failures, self._patience)
                late = until is not None and time.monotonic() + pause > until
                if failures > self._patience.retries or late:
                    raise
                time.sleep(pause)

    def _url(self, name: str) -> str:
        return f"{self._base}/{check_name(name)}"

    def _refuse(self) -> NoReturn:
        raise StoreError(
            f"{self._base}: a site behind a web server is only read",
            hint="name the folder or the bucket behind it with `--site`",
        )


class _PassingError(StoreError):
    """A failure that another try may get past; to everybody outside a plain `StoreError`."""

    asked: float = 0.0

    def pause(self, failures: int, patience: Patience) -> float:
        """Return the seconds to wait after so many failures in a row."""
        own = patience.backoff * 2.0 ** (failures - 1)
        return min(max(own, self.asked), patience.longest_pause)


class _Download(io.RawIOBase):
    """The body of one object, delivered once and in order however often the connection is cut."""

    def __init__(
        self, store: HttpStore, name: str, patience: Patience, response: BaseHTTPResponse
    ) -> None:
        super().__init__()
        self._store = store
        self._name = name
        self._url = f"{store.location}/{name}"
        self._patience = patience
        self._delivered = 0
        self._digest = hashlib.sha256()
        self._failures = 0
        self._failed_at = 0
        self._begin(response)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._response.close()
        super().close()

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        target = memoryview(buffer).cast("B")
        while True:
            try:
                data = self._receive(len(target))
            except _PassingError as error:
                self._recover(error)
                continue
            self._digest.update(data)
            self._delivered += len(data)
            target[: len(data)] = data
            return len(data)

    def _begin(self, response: BaseHTTPResponse) -> None:
        self._response = response
        self._size = _length(response)
        # A range of something encoded on the way is a range of other bytes; a weak ETag promises
        # the same meaning, not the same bytes.
        etag = "" if "Content-Encoding" in response.headers else response.headers.get("ETag", "")
        self._etag = etag if etag.startswith('"') else ""

    def _receive(self, most: int) -> bytes:
        with _explained(self._url, self._patience):
            expect(most)
            # Unlike `read`, this does not lose what came before a cut.
            data = self._response.read1(most)
        if not data and self._size is not None and self._delivered < self._size:
            raise _PassingError(f"{self._url}: the connection was cut")
        return data

    def _recover(self, error: _PassingError) -> None:
        if self._delivered - self._failed_at >= self._patience.progress:
            self._failures = 0
        self._failed_at = self._delivered
        while True:
            self._response.close()
            self._failures += 1
            if self._failures > self._patience.retries:
                raise error
            time.sleep(error.pause(self._failures, self._patience))
            try:
                if not self._resume():
                    self._restart()
            except _PassingError as again:
                error = again
            else:
                return

    def _resume(self) -> bool:
        """Ask for the rest; `False` if what comes is not provably that."""
        if not self._etag or not self._delivered:
            return False
        headers = {"Range": f"bytes={self._delivered}-", "If-Range": self._etag}
        response = self._store.ask("GET", self._name, headers)
        if response is not None and response.status == 206 and self._continues(response):
            self._response = response
            return True
        if response is not None:
            response.close()
        return False

    def _continues(self, response: BaseHTTPResponse) -> bool:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != self._delivered or "Content-Encoding" in response.headers:
            return False
        if response.headers.get("ETag", self._etag) != self._etag:
            return False
        return found[2] == "*" or self._size is None or int(found[2]) == self._size

    def _restart(self) -> None:
        """Begin again, and pass over what was delivered only if it is the same again."""
        response = self._store.ask("GET", self._name)
        if response is None:
            raise StoreError(f"{self._url}: vanished while it was being downloaded")
        self._begin(response)
        again, left = hashlib.sha256(), self._delivered
        while left:
            with _explained(self._url, self._patience):
                expect(_CHUNK)
                data = response.read(min(left, _CHUNK))
            if not data:
                break
            again.update(data)
            left -= len(data)
        if left or again.digest() != self._digest.digest():
            raise StoreError(
                f"{self._url}: changed while it was being downloaded",
                hint="run the same command again",
            )


class _Allowance(threading.local):
    """How many bytes may still come, in this thread, before what was asked for is there."""

    left: int = _AROUND


_allowance: Final = _Allowance()


def expect(wanted: int) -> None:
    """Take note that the next piece is to have so many bytes at most, and headers before them."""
    # Chunks of one byte each, which nobody sends, take six.
    _allowance.left = 8 * wanted + _AROUND


class _PacedSocket(io.RawIOBase):
    """What a server sends, as long as it sends it fast enough.

    Only time spent waiting for the server counts, so that a slow reader is not held against it.
    """

    def __init__(self, raw: io.RawIOBase, patience: Patience) -> None:
        super().__init__()
        self._raw = raw
        self._patience = patience
        self._waited = 0.0
        self._received = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
        super().close()

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        begun = time.monotonic()
        count = self._raw.readinto(buffer)
        self._waited += time.monotonic() - begun
        self._received += count or 0
        _allowance.left -= count or 0
        if _allowance.left < 0:
            raise StoreError("the server sends far more than the answer that it is asked for")
        slow = self._received < self._waited * self._patience.slowest
        if slow and self._waited > self._patience.grace:
            # Not a timeout to urllib3, and not worth a retry: it passes through as it is.
            raise StoreError(
                f"the server sends less than {self._patience.slowest} bytes a second",
                hint="try again later, or from another network",
            )
        return count


def connections(base: str, patience: Patience) -> urllib3.PoolManager:
    """Make the connections to one site, each answer read through a `_PacedSocket`."""

    class Response(HTTPResponse):
        def __init__(
            self,
            sock: socket,
            debuglevel: int = 0,
            method: str | None = None,
            url: str | None = None,
        ) -> None:
            super().__init__(sock, debuglevel, method, url)
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_PacedSocket(raw, patience))

    class Plain(HTTPConnection):
        response_class = Response

    class Secure(HTTPSConnection):
        response_class = Response

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    manager = proxied(base) or urllib3.PoolManager(maxsize=4)
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager


def proxied(base: str) -> urllib3.ProxyManager | None:
    """Return the way through the environment's proxy, if one stands before a site."""
    parts = urlsplit(base)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    found = urlsplit(proxy)
    if found.scheme not in {"http", "https"}:
        raise UsageError(
            f"a {found.scheme} proxy cannot be used",
            hint=f"set {parts.scheme.upper()}_PROXY to an http proxy, or NO_PROXY to the host",
        )
    user, at, place = found.netloc.rpartition("@")
    headers = urllib3.make_headers(proxy_basic_auth=unquote(user)) if at else None
    return urllib3.ProxyManager(f"{found.scheme}://{place}", proxy_headers=headers, maxsize=4)


def _checked(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise UsageError(f"{base_url!r} is no web address") from None
    if not usable:
        raise UsageError(f"{base_url!r} is no web address", hint="want `https://host/path`")
    if "@" in parts.netloc or parts.query or parts.fragment:
        # Not shown: it may be a password.
        raise UsageError(
            f"the address of a site on {parts.hostname} has a user, a query or a fragment",
            hint="want only `https://host/path`",
        )
    return base_url.rstrip("/")


def _redirected(url: str, location: str | None) -> str:
    if not location:
        raise StoreError(f"{url}: redirects to nowhere")
    try:
        target = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(target)
        same_place = (old.hostname, _port(old.port, old.scheme)) == (
            new.hostname,
            _port(new.port, new.scheme),
        )
    except ValueError:
        raise StoreError(f"{url}: redirects to {location[:200]!r}, which is no address") from None
    upgrade = (old.scheme, new.scheme) == ("http", "https") and old.hostname == new.hostname
    if "@" in new.netloc or not (upgrade or (old.scheme == new.scheme and same_place)):
        raise StoreError(
            f"{url}: redirects to {new.scheme}://{new.netloc}, and only the same host is followed",
            hint="if that is where the site lives, use that address",
        )
    return target


def _port(port: int | None, scheme: str) -> int:
    return port or (443 if scheme == "https" else 80)


def _classified(
    response: BaseHTTPResponse, url: str, conditional: bool, patience: Patience
) -> BaseHTTPResponse | None:
    status = response.status
    if status == 200 or (conditional and status in {206, 304, 416}):
        return response
    with closing(response):
        if status in _ABSENT:
            return None
        if status in _PASSING:
            error = _PassingError(f"{url}: answered {status}", hint="try again in a minute")
            wait = response.headers.get("Retry-After", "")
            error.asked = float(wait) if re.fullmatch(r"\d{1,6}", wait, re.ASCII) else 0.0
            raise error
        hint = "a site has to be readable without a password" if status in {401, 407} else None
        raise StoreError(f"{url}: answered {status}", hint=hint)


def _length(response: BaseHTTPResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    if "Content-Encoding" in response.headers or not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return None
    return int(text)


@contextmanager
def _explained(url: str, patience: Patience) -> Iterator[None]:
    try:
        yield
    except (HTTPError, OSError) as error:
        if isinstance(error, SSLError) and _is_certificate(error):
            raise StoreError(
                f"{url}: its certificate is not trusted: {_is_certificate(error)}",
                hint="with an authority of your own, name its file in SSL_CERT_FILE",
            ) from error
        raise _PassingError(
            f"{url}: {_reason(error, patience)}",
            hint="check the address and the connection, then run the same command again",
        ) from error


def _is_certificate(error: SSLError) -> str | None:
    cause = error.args[0] if error.args else None
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else None


def _reason(error: Exception, patience: Patience) -> str:
    match error:
        case NameResolutionError():
            return "the name of the host is not known"
        case ReadTimeoutError():
            return f"nothing came for {patience.silence:g} s"
        case NewConnectionError():  # to urllib3 a kind of ConnectTimeoutError
            cause = error.__cause__
            reason = cause.strerror if isinstance(cause, OSError) else None
            return f"no connection: {(reason or 'refused').lower()}"
        case ConnectTimeoutError():
            return f"no connection within {patience.connect:g} s"
        case ProxyError():
            return "the proxy cannot be reached"
        case SSLError():
            return "no secure connection"
        case _:
            return "the connection was cut"
