"""Pack a build into the zip that its files, and nothing else, determine.

Files are read, digested and deflated by a few threads (libdeflate, SHA-256 and reads let go of the
interpreter), a bounded number of bytes ahead of the one place where the zip is written in order.
Memory depends on `_AHEAD` and the largest file up to `_STREAMED`, not on the build.
"""

import hashlib
import os
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Final, TypeAlias

import deflate

from manifestgen.bundle.build import Build, BuildFile
from manifestgen.core.archive import Member, Method, write_archive
from manifestgen.core.tree import Digest, File, Tree
from manifestgen.errors import Error, StoreError

PACKER: Final = f"zip1/deflate-{deflate.__version__}"
"""Same packer and same tree, same zip; content keys are derived from it. Change `zip1` with any
change to what is written."""

_LEVEL = 6  # no larger than zlib's 6, at nearly three times the speed
_WORKERS = min(4, os.cpu_count() or 1)
_AHEAD = 16 * 1024 * 1024  # bytes of files in memory, packed or not, waiting for their turn
_STREAMED = 32 * 1024 * 1024  # larger files go through a temporary file
_CHUNK = 1024 * 1024
# Small files travel together: handing over work costs as much as deflating a few KB.
_BATCH_BYTES, _BATCH_FILES = 256 * 1024, 32
# Deflate gains nothing on these, and takes longest.
_COMPRESSED = (
    *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".heic", ".jxl", ".woff", ".woff2"),
    *(".mp3", ".m4a", ".aac", ".ogg", ".opus", ".flac", ".mp4", ".m4v", ".mov", ".webm"),
    *(".zip", ".gz", ".tgz", ".br", ".zst", ".xz", ".bz2", ".7z"),
)
_BINARY = getattr(os, "O_BINARY", 0)  # Windows

Progress: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Packed:
    """What was packed, and the zip that came of it.

    `packer` is `PACKER`, and zlib's version too where a file was so large that zlib packed it.
    """

    tree: Tree
    sha256: Digest
    size: int
    packer: str


@dataclass(frozen=True, slots=True)
class Squeezed:
    """The bytes that stand for a content in a zip."""

    method: Method
    data: bytes


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file whose turn in the zip may come."""

    file: File
    member: Member


class _Sink:
    """Writes to `out` and digests what it wrote."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._out.write(data)
        self.sha256.update(data)


def pack(
    build: Build, out: BinaryIO, *, progress: Progress | None = None, workers: int = _WORKERS
) -> Packed:
    """Write the zip of a build to `out`; `progress` is told the bytes of each file put in.

    On failure `out` holds half a zip: the caller's to drop.

    Raises:
        Error: a file changed or went away while it was read, or cannot be read; or the zip, or a
            temporary file, cannot be written.
    """
    sink = _Sink(out)
    files: list[File] = []

    def members(ready: Iterable[_Ready]) -> Iterator[Member]:
        for item in ready:
            yield item.member
            files.append(item.file)
            if progress:
                progress(item.file.size)

    # The pool ends before the temporary files that its threads write to are closed.
    try:
        with ExitStack() as temporary, ThreadPoolExecutor(workers, "pack") as pool:
            size = write_archive(members(_in_order(build, pool, temporary)), sink.write)
    except OSError as error:  # of reading, `_read` has made our own
        raise StoreError(
            f"the zip cannot be written: {error}", hint="make room on the disk"
        ) from error
    large = any(file.size > _STREAMED for file in files)
    packer = f"{PACKER}/zlib-{zlib.ZLIB_RUNTIME_VERSION}" if large else PACKER
    return Packed(Tree.of(files), Digest(sink.sha256.hexdigest()), size, packer)


def squeeze(path: str, content: bytes) -> Squeezed:
    """Deflate a content, or leave it as it is where its name or the outcome says to.

    Depends on nothing but the content and the ending of its name, so the outcome can be kept.
    """
    if not path.lower().endswith(_COMPRESSED):
        data = bytes(deflate.deflate_compress(content, _LEVEL))
        if len(data) < len(content):
            return Squeezed(Method.DEFLATED, data)
    return Squeezed(Method.STORED, content)


def _in_order(build: Build, pool: ThreadPoolExecutor, temporary: ExitStack) -> Iterator[_Ready]:
    """Squeeze files in the pool, at most `_AHEAD` bytes of them at once; give them in order."""
    waiting: deque[tuple[Future[list[_Ready]], int]] = deque()
    held = 0
    try:
        for batch in _batches(build.files):
            cost = _memory(batch)
            while waiting and (held + cost > _AHEAD or waiting[0][0].done()):
                held -= waiting[0][1]
                yield from waiting.popleft()[0].result()
            waiting.append((_submit(build.folder, batch, pool, temporary), cost))
            held += cost
        while waiting:
            yield from waiting.popleft()[0].result()
    finally:
        for future, _ in waiting:
            future.cancel()


def _batches(files: Iterable[BuildFile]) -> Iterator[list[BuildFile]]:
    batch: list[BuildFile] = []
    for file in files:
        full = len(batch) == _BATCH_FILES or _memory(batch) + file.size > _BATCH_BYTES
        if batch and full:
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _memory(batch: list[BuildFile]) -> int:
    return sum(file.size if file.size <= _STREAMED else 2 * _CHUNK for file in batch)


def _submit(
    folder: Path, batch: list[BuildFile], pool: ThreadPoolExecutor, temporary: ExitStack
) -> "Future[list[_Ready]]":
    if batch[0].size <= _STREAMED:
        return pool.submit(_squeeze_batch, folder, batch)
    held = temporary.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    return pool.submit(_squeeze_large, folder, batch[0], held)


def _squeeze_batch(folder: Path, batch: list[BuildFile]) -> list[_Ready]:
    return [_squeeze_file(folder, file) for file in batch]


def _squeeze_file(folder: Path, file: BuildFile) -> _Ready:
    content = b"".join(_read(folder, file, file.size + 1))
    squeezed = squeeze(file.path, content)
    crc, size = deflate.crc32(content), len(content)
    # An iterator lets go of its bytes once they are written, while the member is still held.
    chunks = iter([squeezed.data])
    return _Ready(
        File(file.path, Digest(hashlib.sha256(content).hexdigest()), size),
        Member(file.path, crc, size, squeezed.method, len(squeezed.data), chunks),
    )


def _squeeze_large(folder: Path, file: BuildFile, held: IO[bytes]) -> list[_Ready]:
    """Do as `_squeeze_file` does, a chunk at a time; deflated even where that gains nothing."""
    stored = file.path.lower().endswith(_COMPRESSED)
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    digest, crc = hashlib.sha256(), 0
    for chunk in _read(folder, file, _CHUNK):
        digest.update(chunk)
        crc = zlib.crc32(chunk, crc)
        held.write(chunk if stored else stream.compress(chunk))
    if not stored:
        held.write(stream.flush())
    method = Method.STORED if stored else Method.DEFLATED
    member = Member(file.path, crc, file.size, method, held.tell(), _chunks_of(held))
    return [_Ready(File(file.path, Digest(digest.hexdigest()), file.size), member)]


def _chunks_of(held: IO[bytes]) -> Iterator[bytes]:
    """Give a temporary file's content, then give back its space."""
    held.seek(0)
    while chunk := held.read(_CHUNK):
        yield chunk
    held.close()


def _read(folder: Path, file: BuildFile, at_once: int) -> Iterator[bytes]:
    """Give the content of a file that is, and stays, as it was when the folder was read."""
    name = f"{folder}/{file.path}"
    try:
        handle = os.open(name, os.O_RDONLY | _BINARY)
        try:
            _check_same(name, file, handle)
            size = 0
            while chunk := os.read(handle, at_once):
                size += len(chunk)
                yield chunk
            _check_same(name, file, handle, size)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise _changed(name) from None
    except OSError as error:
        raise Error(f"{name} cannot be read: {error.strerror}") from error


def _check_same(name: str, file: BuildFile, handle: int, size: int | None = None) -> None:
    if size not in {None, file.size} or BuildFile.of(file.path, os.fstat(handle)) != file:
        raise _changed(name)


def _changed(name: str) -> Error:
    hint = "wait until the build is finished, then run the same command again"
    return Error(f"{name} changed while it was read", hint=hint)
