"""Fetch a blob to a file, and believe it only by its digest.

What arrived stays in the file when a run ends, and the next one asks for the rest only. The signed
size caps what is read; patience with slow or broken servers is the store's. Since the name of a
blob is its digest, a rest that belongs to another object is found out, and fetched again whole.
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, TypeAlias, cast, runtime_checkable

from manifestgen.core.release import Payload
from manifestgen.device.files import CHUNK
from manifestgen.errors import StoreError, VerificationError
from manifestgen.stores import Store
from manifestgen.stores.names import blob_name

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Progress: TypeAlias = Callable[[int], object]

_PROGRESS: Final = 64 * 1024  # bytes; whoever got further may try again at once
_RANGE: Final = re.compile(r"bytes (\d{1,18})-\d+/(?:\d+|\*)", re.ASCII)


class _Answer(Protocol):
    """The part of a web server's answer that is used here."""

    status: int
    headers: Mapping[str, str]

    def read(self, amt: int) -> bytes: ...
    def close(self) -> None: ...


@runtime_checkable
class _Asking(Protocol):
    """A store that can be asked for a part of an object."""

    def ask(
        self, method: str, name: str, headers: Mapping[str, str] | None = None
    ) -> object | None: ...


def download(site: Store, payload: Payload, part: Path, progress: Progress) -> None:
    """Complete `part`, whatever is in it already; `progress` is told of bytes as they come.

    Raises:
        StoreError: not there, not reachable, cut short; what came is kept.
        VerificationError: other bytes than were signed (`digest`); nothing is kept.
    """
    resumed = kept(part) > 0
    try:
        _complete(site, payload, part, progress)
    except VerificationError:
        part.unlink(missing_ok=True)
        if not resumed:
            raise
    else:
        return
    # Half of it was from another time: a disk, a mirror or a proxy mixed things up.
    try:
        _complete(site, payload, part, progress)
    except VerificationError:
        part.unlink(missing_ok=True)
        raise


def kept(part: Path) -> int:
    """Return how many bytes there are already."""
    with suppress(FileNotFoundError):
        return part.stat().st_size
    return 0


def check(payload: Payload, part: Path) -> None:
    """Raise `VerificationError` (`digest`) unless a file is the blob that was signed."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks(part):
        digest.update(chunk)
        size += len(chunk)
    if size != payload.size or digest.hexdigest() != payload.blob:
        raise VerificationError(
            f"blob {payload.blob[:12]} arrived with other bytes than were signed", code="digest"
        )


def chunks(path: Path) -> Iterator[bytes]:
    """Read a file piece by piece."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _complete(site: Store, payload: Payload, part: Path, progress: Progress) -> None:
    if kept(part) > payload.size:
        part.unlink()
    part.touch()
    while (before := kept(part)) < payload.size:
        try:
            _append(site, payload, part, progress)
        except StoreError:
            if kept(part) - before < _PROGRESS:
                raise
    check(payload, part)


def _append(site: Store, payload: Payload, part: Path, progress: Progress) -> None:
    """Add what one answer gives, up to the signed size."""
    name = blob_name(payload.blob)
    source, start = _open(site, name, kept(part))
    with closing(source), part.open("r+b" if start else "wb") as file:
        at = file.seek(start)
        while at < payload.size and (chunk := source.read(min(CHUNK, payload.size - at))):
            at += file.write(chunk)
            progress(len(chunk))
    if at < payload.size:
        raise StoreError(
            f"{site.location}/{name} ended after {at} of {payload.size} bytes",
            hint="run the same command again; it goes on from there",
        )


def _open(site: Store, name: str, start: int) -> tuple[BinaryIO, int]:
    """Open a blob, from `start` on if that can be had; return where it starts."""
    if start and isinstance(site, _Asking):
        answer = cast(_Answer | None, site.ask("GET", name, {"Range": f"bytes={start}-"}))
        if answer is not None:
            if _continues(answer, start):
                return io.BufferedReader(_Rest(answer, f"{site.location}/{name}"), CHUNK), start
            answer.close()
    source = site.open(name)
    if source is None:
        raise StoreError(
            f"{site.location} has no {name}",
            hint="the site may be half way through an upload; try again later",
        )
    if start and source.seekable():
        source.seek(start)
        return source, start
    return source, 0


def _continues(answer: _Answer, start: int) -> bool:
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    encoded = "Content-Encoding" in answer.headers
    return answer.status == 206 and found is not None and int(found[1]) == start and not encoded


class _Rest(io.RawIOBase):
    """The body of an answer; whatever breaks is a `StoreError`."""

    def __init__(self, answer: _Answer, url: str) -> None:
        super().__init__()
        self._answer = answer
        self._url = url

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._answer.close()
        super().close()

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        from urllib3.exceptions import HTTPError

        from manifestgen.stores.http import expect

        target = memoryview(buffer).cast("B")
        expect(len(target))
        try:
            data = self._answer.read(min(len(target), 16 * 1024))
        except (HTTPError, OSError) as error:
            raise StoreError(
                f"{self._url}: the connection was cut",
                hint="run the same command again; it goes on from there",
            ) from error
        target[: len(data)] = data
        return len(data)
