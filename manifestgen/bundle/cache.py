"""Deflate streams of earlier bundles, kept in `.manifestgen/cache/`, which may go at any time.

A cache is the last few bundles in the clear, each beside an index of the streams in it: by packer
and by the SHA-256 of the content that a stream is of. Keeping a bundle costs a rename.

**What is signed is computed from real bytes.** Of every file that is published the content is read
and digested (1 GB/s a thread), and the tree is made of these digests. The cache says only which
bytes *compressing* that content would give (97 MB/s). It is not believed either:

* With a content secret an index ends in its HMAC under that secret, and names the SHA-256 of each
  stream, which is compared as it is read. So what anybody else wrote, or a disk damaged, is packed
  anew: nobody without the secret changes one byte of what is published.
* Without a secret (`--scheme none`) the HMAC only finds damage, so each stream is inflated besides,
  whole, and must give the content. Whoever plants another stream of the same content changes how
  it is packed, and nothing else.

Measured on the files of n8n that deflate (63 MB, streams of 16 MB), in seconds of one processor:
deflating 0.64, inflating and digesting each stream 0.19, digesting the streams 0.01.

Of size, time and inode nothing is kept here: only `watch` trusts those, within one process and for
a development site.

Any number of processes may share a cache. Whatever fails here is as if nothing had been kept.
"""

import hashlib
import hmac
import os
import secrets
import shutil
import stat
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeAlias

from manifestgen.core.archive import Method
from manifestgen.core.limits import LIMITS
from manifestgen.core.tree import Digest

BUNDLES: Final = 4
"""How many bundles are kept: what two branches or channels take turns in."""
MOST_BYTES: Final = 512 * 1024 * 1024
"""How much they are together, at most; a bundle that is larger alone is not kept."""

_MAGIC = b"mgcache1"
_RECORD = struct.Struct(">32sBBQQ32s")
_MAC = 32
_INDEX_BYTES = 1024 + LIMITS.files * _RECORD.size
_CHUNK = 1024 * 1024
_DEFLATE_GROWS = 1024 * 1024  # what a stream of 2 GB may be longer than its content, and more
_ABANDONED = 3600  # seconds after which a file that no index goes with is nobody's any more
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)  # Windows

Write: TypeAlias = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Stream:
    """Where in a bundle lies what stands for a content; a stored one is the content itself.

    `large` contents are packed by zlib, a piece at a time, so their streams differ.
    """

    content: Digest
    large: bool
    method: Method
    offset: int
    size: int
    sha256: Digest


class Cache:
    """The bundles kept in a folder; `secret` is the content secret, if there is one.

    Used as a context, it holds open the bundles it has read from.
    """

    def __init__(self, folder: Path, *, packer: str, secret: bytes = b"") -> None:
        self._folder = folder
        self._packer = packer.encode()
        self._inflates = not secret
        self._key = hmac.digest(secret, b"manifestgen cache v1", "sha256")
        self._lock = threading.Lock()
        self._known: dict[tuple[Digest, bool], tuple[Path, Stream]] | None = None
        self._open: dict[Path, BinaryIO | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._open.values():
            if file:
                file.close()
        self._open.clear()

    def recall(self, content: Digest, size: int, *, large: bool, write: Write) -> Method | None:
        """Write what a content of `size` bytes is packed to, and return how it is packed.

        Nothing is written of one that is stored: it is the content itself. `None` means that it
        is not known for sure; then whatever was written is void.
        """
        with self._lock:
            if self._known is None:
                self._known = self._read_all()
        found = self._known.get((content, large))
        if found is None:
            return None
        path, stream = found
        if stream.method is Method.STORED:
            return Method.STORED
        if stream.size > size + _DEFLATE_GROWS:
            return None
        return stream.method if self._copy(path, stream, size, write) else None

    def keep(self, bundle: Path, streams: Iterable[Stream]) -> None:
        """Keep a bundle, which is moved here, and drop what is too much; never fails."""
        with suppress(OSError):
            if bundle.stat().st_size <= MOST_BYTES:
                self._keep(bundle, self._encode(streams))
            self._sweep()

    def _keep(self, bundle: Path, index: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = self._folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        name = secrets.token_hex(8)
        shutil.move(bundle, self._folder / f"{name}.zip")
        temporary = self._folder / f"{name}.tmp"
        temporary.write_bytes(index)
        temporary.replace(self._folder / f"{name}.index")  # counts from here on

    def _sweep(self) -> None:
        """Drop the oldest bundles, and what a killed process left."""
        kept = total = 0
        for path in sorted(self._folder.glob("*.index"), key=_age):
            bundle = path.with_suffix(".zip")
            total += bundle.stat().st_size if bundle.exists() else MOST_BYTES
            if kept < BUNDLES and total <= MOST_BYTES:
                kept += 1
                continue
            for old in (path, bundle):
                old.unlink(missing_ok=True)
        for path in self._folder.glob("*.[zt][im]p"):
            if not path.with_suffix(".index").exists() and _age(path) > _ABANDONED:
                path.unlink(missing_ok=True)

    def _copy(self, path: Path, stream: Stream, size: int, write: Write) -> bool:
        """Copy a stream to where it is wanted; `False` if it is not what was kept."""
        digest = hashlib.sha256()
        check = _Inflating(stream.content, size) if self._inflates else None
        for chunk in self._chunks(path, stream):
            digest.update(chunk)
            write(chunk)
            if check and not check.takes(chunk):
                return False
        return digest.hexdigest() == stream.sha256 and (check is None or check.ends())

    def _chunks(self, path: Path, stream: Stream) -> Iterator[bytes]:
        at, left = stream.offset, stream.size
        while left:
            data = b""
            with self._lock, suppress(OSError, OverflowError):
                if file := self._opened(path):
                    file.seek(at)
                    data = file.read(min(_CHUNK, left))
            if not data:
                return  # gone or cut short, which the digest says
            yield data
            at, left = at + len(data), left - len(data)

    def _opened(self, path: Path) -> BinaryIO | None:
        if path not in self._open:
            self._open[path] = None
            self._open[path] = _open(path)
        return self._open[path]

    def _read_all(self) -> dict[tuple[Digest, bool], tuple[Path, Stream]]:
        known: dict[tuple[Digest, bool], tuple[Path, Stream]] = {}
        with suppress(OSError):
            for path in sorted(self._folder.glob("*.index"), key=_age)[:BUNDLES]:
                bundle = path.with_suffix(".zip")
                for stream in self._read(path):
                    known.setdefault((stream.content, stream.large), (bundle, stream))
        return known

    def _read(self, path: Path) -> list[Stream]:
        """Read one index; a damaged one, or another packer's, is empty."""
        try:
            with _open(path) as file:
                data = file.read(_INDEX_BYTES + 1)
        except OSError:
            return []
        signed, mac = data[:-_MAC], data[-_MAC:]
        head = _MAGIC + self._packer + b"\0"
        whole = signed.startswith(head) and (len(signed) - len(head)) % _RECORD.size == 0
        if not whole or not hmac.compare_digest(mac, hmac.digest(self._key, signed, "sha256")):
            return []
        try:
            return [_decode(record) for record in _RECORD.iter_unpack(signed[len(head) :])]
        except ValueError:  # without a secret anybody can write one
            return []

    def _encode(self, streams: Iterable[Stream]) -> bytes:
        records = (
            _RECORD.pack(
                bytes.fromhex(stream.content),
                stream.large,
                stream.method.value,
                stream.offset,
                stream.size,
                bytes.fromhex(stream.sha256),
            )
            for stream in streams
        )
        signed = _MAGIC + self._packer + b"\0" + b"".join(records)
        return signed + hmac.digest(self._key, signed, "sha256")


class _Inflating:
    """Inflates a stream as it goes by, to see whether it gives a content and nothing else."""

    def __init__(self, content: Digest, size: int) -> None:
        self._content = content
        self._left = size
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._digest = hashlib.sha256()

    def takes(self, chunk: bytes) -> bool:
        """Tell whether it is well so far."""
        try:
            while chunk and self._left >= 0 and not self._stream.eof:
                plain = self._stream.decompress(chunk, _CHUNK)
                self._left -= len(plain)
                self._digest.update(plain)
                chunk = self._stream.unconsumed_tail
        except zlib.error:
            return False
        return self._left >= 0 and not chunk and not self._stream.unused_data

    def ends(self) -> bool:
        """Tell whether that was all of it."""
        return self._stream.eof and self._digest.hexdigest() == self._content


def _decode(record: tuple[bytes, int, int, int, int, bytes]) -> Stream:
    content, large, method, offset, size, digest = record
    return Stream(
        Digest(content.hex()), bool(large), Method(method), offset, size, Digest(digest.hex())
    )


def _open(path: Path) -> BinaryIO:
    """Open a regular file; a pipe would make us wait for ever."""
    handle = os.open(path, os.O_RDONLY | _NOFOLLOW | _BINARY)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileNotFoundError(path)
    return os.fdopen(handle, "rb")


def _age(path: Path) -> float:
    """Return for how many seconds a file has been as it is; one that went is the oldest."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return float("inf")
