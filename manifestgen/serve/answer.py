"""What a request is told, in the words of `templates/server/nginx.j2`.

A file is opened once and described by its handle: whatever is renamed over its name meanwhile,
the answer is of one piece. Links are followed inside the site only, and nothing hidden is served.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from manifestgen.stores.names import ASK, INDEX, headers

BODY: Final = 64 * 1024
"""Bytes that a POST may carry; as nginx is told."""

_HIDDEN = re.compile(r"/\.(?!well-known/)")
_STOCK = re.compile(r"[a-z0-9][a-z0-9-]*/capgo(?:-[a-z0-9]+)?\.json", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_WHOLE = 256 * 1024  # files up to here are read at once and named by their digest
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe must not hold the thread
    | getattr(os, "O_CLOEXEC", 0)
)

_CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Content-Length, Content-Range",
    "X-Content-Type-Options": "nosniff",
}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names in lower case, `path` as it stood in the request line."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of an open file, which whoever gets the answer closes."""

    file: BinaryIO
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back; `name` is the object of the site that was asked for, if any."""

    status: int
    headers: Mapping[str, str]
    body: bytes | Part = b""
    name: str | None = None

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.size

    def close(self) -> None:
        """Close the file, if the body is one."""
        if isinstance(self.body, Part):
            self.body.file.close()


Render: TypeAlias = Callable[[str, str], bytes | None]
"""Makes an object that the folder lacks from its name and the address the device uses."""


def _nothing(_name: str, _host: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class _Found:
    """An object that can be sent: small ones whole, large ones by handle."""

    name: str
    body: bytes | Part
    tag: str


class _Status(Exception):
    """Raised where a request can only be answered by a status."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers


class Site:
    """A folder, answered for as a web server would; safe to share among threads."""

    def __init__(self, folder: Path, *, render: Render = _nothing) -> None:
        self.folder = folder
        self._root = os.path.realpath(folder)
        self._render = render

    def answer(self, request: Request) -> Answer:
        """Answer one request; the caller closes the answer."""
        name: str | None = None
        try:
            name = name_of(request.path)
            if _HIDDEN.search(f"/{name}"):
                raise _Status(404)
            if request.method == "OPTIONS":
                return Answer(204, _PREFLIGHT, name=name)
            if request.method not in _methods(name):
                raise _Status(403)
            return self._found(self._open(name, request), request)
        except _Status as refusal:
            return _refused(refusal, name)

    def _found(self, found: _Found, request: Request) -> Answer:
        served = headers(found.name)
        common = {**_CORS, "Cache-Control": served.cache_control, "ETag": found.tag}
        whole = Answer(
            200,
            {**common, "Content-Type": served.content_type, "Accept-Ranges": "bytes"},
            found.body,
            found.name,
        )
        if _matches(request.headers.get("if-none-match"), found.tag):
            whole.close()
            return Answer(304, common, name=found.name)
        wanted = request.headers.get("range")
        if wanted is None or request.headers.get("if-range", found.tag) != found.tag:
            return whole
        return _ranged(whole, wanted)

    def _open(self, name: str, request: Request) -> _Found:
        name = f"{name}{INDEX}" if name == "" or name.endswith("/") else name
        path = os.path.realpath(f"{self._root}/{name}")
        inside = path.startswith(self._root + os.sep)
        if not inside or _HIDDEN.search(path[len(self._root) :].replace(os.sep, "/")):
            raise _Status(404)
        try:
            handle = os.open(path, _FLAGS)
        except OSError as error:
            return self._made(name, request, error)
        try:
            return _described(name, handle)
        except BaseException:
            os.close(handle)
            raise

    def _made(self, name: str, request: Request, error: OSError) -> _Found:
        if isinstance(error, PermissionError):
            raise _Status(403)
        data = self._render(name, request.headers.get("host", ""))
        if data is not None:
            return _Found(name, data, tag_of(data))
        # Nginx lists no folders either.
        listing = name.endswith(f"/{INDEX}") or name == INDEX
        folder = os.path.dirname(f"{self._root}/{name}")  # noqa: PTH120 - strings throughout
        raise _Status(403 if listing and os.path.isdir(folder) else 404)  # noqa: PTH112


def _methods(name: str) -> set[str]:
    """Return how a file may be asked for: by POST only what the stock Capgo plugin asks for."""
    return {"GET", "HEAD", "POST"} if _STOCK.fullmatch(name) else {"GET", "HEAD"}


def name_of(target: str) -> str:
    """Return the name in a request line: decoded, without query, `.` and `..` resolved."""
    path = unquote_to_bytes(target.partition("?")[0].partition("#")[0])
    try:
        text = path.decode()
    except UnicodeDecodeError:
        raise _Status(404) from None
    if not text.startswith("/") or "\0" in text:
        raise _Status(400)
    kept: list[str] = []
    segments = text.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if not kept:
                raise _Status(400)
            kept.pop()
        elif segment not in {"", "."}:
            kept.append(segment)
    folder = kept and segments[-1] in {"", ".", ".."}
    return "/".join(kept) + ("/" if folder else "")


def _described(name: str, handle: int) -> _Found:
    """Describe what was opened; the handle goes with it, unless an error is raised."""
    found = os.fstat(handle)
    if stat.S_ISDIR(found.st_mode):
        raise _Status(301, Location=f"/{quote(name)}/")
    if not stat.S_ISREG(found.st_mode):
        raise _Status(404)
    if found.st_size > _WHOLE:
        tag = f'"{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ino:x}"'
        return _Found(name, Part(os.fdopen(handle, "rb"), 0, found.st_size), tag)
    # Where reading fails, the caller closes the handle: twice would be another thread's by then.
    with os.fdopen(handle, "rb", closefd=False) as file:
        data = file.read()
    os.close(handle)
    return _Found(name, data, tag_of(data))


def tag_of(data: bytes) -> str:
    """Return the ETag of a document."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def _matches(given: str | None, tag: str) -> bool:
    """Tell whether `If-None-Match` names the tag; a weak one is as good here."""
    if given is None:
        return False
    return given.strip() == "*" or tag in (
        one.strip().removeprefix("W/") for one in given.split(",")
    )


def _ranged(whole: Answer, wanted: str) -> Answer:
    """Return the part that is wanted; several at once, or another unit, get the whole."""
    found = _RANGE.fullmatch(wanted.replace(" ", ""))
    if not found or found[0] == "bytes=-":
        return whole
    size, (first, last) = whole.size, found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or start > end:
        whole.close()
        raise _Status(416, **{"Content-Range": f"bytes */{size}"})
    body = whole.body
    return Answer(
        206,
        {**whole.headers, "Content-Range": f"bytes {start}-{end}/{size}"},
        body[start : end + 1]
        if isinstance(body, bytes)
        else Part(body.file, body.offset + start, end + 1 - start),
        whole.name,
    )


def _refused(refusal: _Status, name: str | None) -> Answer:
    text = f"{refusal.status}\n".encode()
    # What is not there yet may come: devices ask for the next root long before there is one.
    fixed = {**_CORS, "Cache-Control": ASK, "Content-Type": "text/plain; charset=utf-8"}
    return Answer(refusal.status, {**fixed, **refusal.headers}, text, name)
