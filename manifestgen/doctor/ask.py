"""Single requests to a live site: no redirects followed, no retries, nothing reused.

Each goes over a connection of its own, so that a balancer may send it to another edge.
"""

import re
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from manifestgen import __version__
from manifestgen.core.limits import LIMITS
from manifestgen.errors import StoreError
from manifestgen.stores.http import HttpStore, Patience, connections, expect, proxied

_SECONDS: Final = 20.0
_LONGEST: Final = 120.0  # seconds for one answer
_MOST_INFLATED: Final = 64 * 1024 * 1024
_SECONDS_SAID: Final = re.compile(r"\d{1,9}", re.ASCII)
_CHUNK: Final = 64 * 1024
_AGENT: Final = f"manifestgen-doctor/{__version__}"


class UntrustedError(StoreError):
    """The server's certificate is not to be trusted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names in lower case, `body` as sent, still encoded if it was."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_page(self) -> bool:
        """Whether this is a page for people."""
        return self.kind == "text/html" or self.body[:256].lstrip().lower().startswith(b"<")

    @property
    def moved(self) -> bool:
        """Whether it sends the asker elsewhere."""
        return self.status in {301, 302, 303, 307, 308}

    def decoded(self) -> bytes | None:
        """Return the body as it was before it was compressed on the way; `None` if it cannot be."""
        encoding = self.headers.get("content-encoding", "identity").lower()
        if encoding in {"identity", ""}:
            return self.body
        if encoding not in {"gzip", "deflate"}:
            return None
        # 32 lets zlib tell gzip and zlib apart. A little sent must not become a lot.
        inflated = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        try:
            data = inflated.decompress(self.body, _MOST_INFLATED)
        except zlib.error:
            return None
        return data if inflated.eof else None

    def max_age(self) -> int | None:
        """Return for how many seconds a cache may not ask again; `None` if it is not said."""
        words = self.headers.get("cache-control", "").lower().replace(" ", "").split(",")
        if {"no-cache", "no-store"} & set(words):
            return 0
        values = dict(word.split("=", 1) for word in words if "=" in word)
        # What stands between us and a device goes by `s-maxage`.
        ages = [values[name] for name in ("max-age", "s-maxage") if name in values]
        return max((int(age) for age in ages if _SECONDS_SAID.fullmatch(age)), default=None)

    def date(self) -> datetime | None:
        """Return the server's clock at the time of this answer, which a cache may have kept."""
        age = self.headers.get("age", "0")
        if not _SECONDS_SAID.fullmatch(age):
            return None
        try:
            made = parsedate_to_datetime(self.headers["date"]).astimezone(UTC)
            return made + timedelta(seconds=int(age))
        except (KeyError, ValueError, TypeError, OverflowError):
            return None


class Asker:
    """Asks one origin, whose address must be one that devices take (else `UsageError`)."""

    def __init__(self, base: str) -> None:
        self.base = HttpStore(base).location

    def ask(
        self,
        method: str,
        name: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        most: int = LIMITS.bundle_bytes,
    ) -> Answer:
        """Make one request for a file of the site, or for an address of its own.

        Raises:
            UntrustedError: the certificate is not good.
            StoreError: no answer, or one of more than `most` bytes.
        """
        url = name if "://" in name else f"{self.base}/{name}"
        sent = {"User-Agent": _AGENT, "Accept-Encoding": "identity", "Connection": "close"}
        try:
            with connections(url, Patience()) as manager:
                expect(0)
                response = manager.request(
                    method,
                    url,
                    headers={**sent, **(headers or {})},
                    body=body,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=urllib3.Timeout(connect=_SECONDS, read=_SECONDS),
                )
                answered = {key.lower(): value for key, value in response.headers.items()}
                return Answer(response.status, answered, _body(response, url, most))
        except (HTTPError, OSError) as error:
            raise _explained(error, url) from error

    def certificate_ends(self) -> datetime | None:
        """Return when the server's certificate expires; `None` without TLS or behind a proxy."""
        parts = urlsplit(self.base)
        if parts.scheme != "https" or proxied(self.base):
            return None
        host, port = parts.hostname or "", parts.port or 443
        try:
            with (
                socket.create_connection((host, port), _SECONDS) as plain,
                ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secure,
            ):
                found = secure.getpeercert() or {}
            return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)
        except (OSError, KeyError, ValueError):
            return None


def _body(response: urllib3.BaseHTTPResponse, url: str, most: int) -> bytes:
    data, until = bytearray(), time.monotonic() + _LONGEST
    expect(_CHUNK)
    while piece := response.read(_CHUNK, decode_content=False):
        data += piece
        if len(data) > most:
            raise StoreError(f"{url}: more than {most} bytes")
        if time.monotonic() > until:
            raise StoreError(f"{url}: not read within {_LONGEST:g} s")
        expect(_CHUNK)
    return bytes(data)


def _explained(error: Exception, url: str) -> StoreError:
    cause: object = error.reason if isinstance(error, MaxRetryError) else error
    if isinstance(cause, SSLError):
        inner = cause.args[0] if cause.args else cause
        why = getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or "TLS failed"
        return UntrustedError(f"{url}: {why}")
    why = getattr(error.__cause__, "strerror", None) or type(error).__name__
    return StoreError(f"{url}: {why.lower()}")
