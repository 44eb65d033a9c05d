"""Pack a build into the zip that its files, and nothing else, determine.

Files are read, digested and deflated by a few threads (libdeflate, SHA-256 and reads let go of the
interpreter), a bounded number of bytes ahead of the one place where the zip is written in order.
Memory depends on `_AHEAD` and the largest file up to `_STREAMED`, not on the build.

What was deflated before need not be deflated again: a `Cache` keeps the streams. The zip is the
same, byte for byte, with it or without.
"""

import hashlib
import os
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, Final, TypeAlias

import deflate

from manifestgen.bundle.build import Build, BuildFile
from manifestgen.bundle.cache import Cache, Stream
from manifestgen.bundle.chunks import chunks_of, digest_of
from manifestgen.core.archive import Member, Method, write_archive
from manifestgen.core.tree import Digest, File, Tree
from manifestgen.errors import Error, StoreError

PACKER: Final = f"zip1/deflate-{deflate.__version__}"
"""Same packer and same tree, same zip; content keys are derived from it. Change `zip1` with any
change to what is written."""

PACKER_LARGE: Final = f"{PACKER}/zlib-{zlib.ZLIB_RUNTIME_VERSION}"
"""The packer of a build with a file so large that zlib packed it, and of a cache."""

_LEVEL = 6  # no larger than zlib's 6, at nearly three times the speed
_WORKERS = min(4, os.cpu_count() or 1)
_AHEAD = 16 * 1024 * 1024  # bytes of files in memory, packed or not, waiting for their turn
_STREAMED = 32 * 1024 * 1024  # larger files go through a temporary file
# The largest files begin first: one that comes last would leave all threads but its own idle.
_LARGE, _EARLY = 1024 * 1024, 48 * 1024 * 1024  # from which size on, and how much together
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
    `streams` are those in the zip, for a cache, if one was used; `fresh` of them were not in it.
    """

    tree: Tree
    sha256: Digest
    size: int
    packer: str
    streams: tuple[Stream, ...] = field(default=(), repr=False, compare=False)
    fresh: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Squeezed:
    """The bytes that stand for a content in a zip."""

    method: Method
    data: bytes


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file whose turn in the zip may come; `stream` is the digest of what the member packs."""

    file: File
    member: Member
    large: bool = False
    stream: Digest | None = None
    fresh: bool = True


class _Sink:
    """Writes to `out`, and counts and digests what it wrote."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._out.write(data)
        self.sha256.update(data)
        self.size += len(data)


def pack(
    build: Build,
    out: BinaryIO,
    *,
    progress: Progress | None = None,
    workers: int = _WORKERS,
    cache: Cache | None = None,
) -> Packed:
    """Write the zip of a build to `out`; `progress` is told the bytes of each file put in.

    On failure `out` holds half a zip: the caller's to drop. Nothing is added to the `cache`.

    Raises:
        Error: a file changed or went away while it was read, or cannot be read; or the zip, or a
            temporary file, cannot be written.
    """
    return _Packing(build, workers, cache).run(out, progress)


class _Packing:
    """One zip under way."""

    def __init__(self, build: Build, workers: int, cache: Cache | None) -> None:
        self._build = build
        self._workers = workers
        self._cache = cache

    def run(self, out: BinaryIO, progress: Progress | None) -> Packed:
        """Write the zip; see `pack`."""
        sink = _Sink(out)
        done: list[_Ready] = []
        streams: list[Stream] = []

        def members(ready: Iterable[_Ready]) -> Iterator[Member]:
            for item in ready:
                yield item.member
                done.append(item)
                if item.stream:
                    streams.append(_stream(item, item.stream, end=sink.size))
                if progress:
                    progress(item.file.size)

        # The pool ends before the temporary files that its threads write to are closed.
        try:
            with ExitStack() as temporary, ThreadPoolExecutor(self._workers, "pack") as pool:
                size = write_archive(members(self._in_order(pool, temporary)), sink.write)
        except OSError as error:  # of reading, `_read` has made our own
            raise StoreError(
                f"the zip cannot be written: {error}", hint="make room on the disk"
            ) from error
        packer = PACKER_LARGE if any(one.large for one in done) else PACKER
        tree, digest = Tree.of(one.file for one in done), Digest(sink.sha256.hexdigest())
        fresh = sum(one.fresh for one in done)
        return Packed(tree, digest, size, packer, tuple(streams), fresh)

    def _in_order(self, pool: ThreadPoolExecutor, temporary: ExitStack) -> Iterator[_Ready]:
        """Squeeze files in the pool, the largest first; give them in order.

        Of the others, at most `_AHEAD` bytes are squeezed before their turn.
        """
        waiting: deque[tuple[Future[list[_Ready]], int]] = deque()
        held = 0
        batches = list(_batches(self._build.files))
        early = {
            number: self._submit(batches[number], pool, temporary) for number in _largest(batches)
        }
        try:
            for number, batch in enumerate(batches):
                if begun := early.pop(number, None):
                    waiting.append((begun, 0))
                    continue
                cost = _memory(batch)
                while waiting and (held + cost > _AHEAD or waiting[0][0].done()):
                    held -= waiting[0][1]
                    yield from waiting.popleft()[0].result()
                waiting.append((self._submit(batch, pool, temporary), cost))
                held += cost
            while waiting:
                yield from waiting.popleft()[0].result()
        finally:
            for future in (*early.values(), *(future for future, _ in waiting)):
                future.cancel()

    def _submit(
        self, batch: list[BuildFile], pool: ThreadPoolExecutor, temporary: ExitStack
    ) -> "Future[list[_Ready]]":
        if batch[0].size <= _STREAMED:
            return pool.submit(self._squeeze_batch, batch)
        held = temporary.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        return pool.submit(self._squeeze_large, batch[0], held)

    def _squeeze_batch(self, batch: list[BuildFile]) -> list[_Ready]:
        return [self._squeeze_file(file) for file in batch]

    def _squeeze_file(self, file: BuildFile) -> _Ready:
        content = b"".join(_read(self._build.folder, file, file.size + 1))
        digest, crc = Digest(hashlib.sha256(content).hexdigest()), deflate.crc32(content)
        recalled = self._recalled(file.path, digest, content)
        squeezed = recalled or squeeze(file.path, content)
        # An iterator lets go of its bytes once they are written, while the member is still held.
        chunks, size = iter([squeezed.data]), len(squeezed.data)
        member = Member(file.path, crc, len(content), squeezed.method, size, chunks)
        found, fresh = File(file.path, digest, len(content)), recalled is None
        if self._cache is None or is_compressed(file.path):
            return _Ready(found, member, fresh=fresh)
        stream = digest
        if squeezed.method is Method.DEFLATED:
            stream = Digest(hashlib.sha256(squeezed.data).hexdigest())
        return _Ready(found, member, stream=stream, fresh=fresh)

    def _recalled(self, path: str, digest: Digest, content: bytes) -> Squeezed | None:
        if is_compressed(path):
            return Squeezed(Method.STORED, content)
        if self._cache is None:
            return None
        parts: list[bytes] = []
        method = self._cache.recall(digest, len(content), large=False, write=parts.append)
        if method is None:
            return None
        return Squeezed(method, content if method is Method.STORED else b"".join(parts))

    def _squeeze_large(self, file: BuildFile, held: IO[bytes]) -> list[_Ready]:
        """Do as `_squeeze_file` does, a chunk at a time; deflated even where that gains nothing."""
        stored = is_compressed(file.path)
        method = Method.STORED if stored else Method.DEFLATED
        recalled = None if stored else self._recall_large(file, held)
        stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        digest, crc = hashlib.sha256(), 0
        for chunk in _read(self._build.folder, file, _CHUNK):
            digest.update(chunk)
            crc = zlib.crc32(chunk, crc)
            if not recalled:
                held.write(chunk if stored else stream.compress(chunk))
        if not stored and not recalled:
            held.write(stream.flush())
        found = File(file.path, Digest(digest.hexdigest()), file.size)
        if recalled and recalled != found.sha256:
            raise changed(f"{self._build.folder}/{file.path}")
        member = Member(file.path, crc, file.size, method, held.tell(), _whole(held))
        if self._cache is None or stored:
            return [_Ready(found, member, large=True, fresh=not stored)]
        return [_Ready(found, member, large=True, stream=_digest(held), fresh=recalled is None)]

    def _recall_large(self, file: BuildFile, held: IO[bytes]) -> Digest | None:
        """Fill a temporary file with what a large content was packed to; return the content's."""
        if self._cache is None:
            return None
        digest = hashlib.sha256()
        for chunk in _read(self._build.folder, file, _CHUNK):
            digest.update(chunk)
        content = Digest(digest.hexdigest())
        if self._cache.recall(content, file.size, large=True, write=held.write):
            return content
        held.seek(0)
        held.truncate()
        return None


def squeeze(path: str, content: bytes) -> Squeezed:
    """Deflate a content, or leave it as it is where its name or the outcome says to.

    Depends on nothing but the content and the ending of its name, so the outcome can be kept.
    """
    if not is_compressed(path):
        data = bytes(deflate.deflate_compress(content, _LEVEL))
        if len(data) < len(content):
            return Squeezed(Method.DEFLATED, data)
    return Squeezed(Method.STORED, content)


def is_compressed(path: str) -> bool:
    """Tell by its name whether a file is in a format that nothing makes smaller."""
    return path.lower().endswith(_COMPRESSED)


def _stream(item: _Ready, sha256: Digest, *, end: int) -> Stream:
    member = item.member
    offset = end - member.packed
    return Stream(item.file.sha256, item.large, member.method, offset, member.packed, sha256)


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


def _largest(batches: Sequence[list[BuildFile]]) -> list[int]:
    """Return the numbers of the batches to begin with: large files, the largest first."""
    found: list[int] = []
    total = 0
    sizes = [sum(file.size for file in batch) for batch in batches]
    for number in sorted(range(len(batches)), key=lambda number: -sizes[number]):
        if sizes[number] < _LARGE or (found and total + sizes[number] > _EARLY):
            break
        if not is_compressed(batches[number][0].path):  # takes no time, and all of its memory
            found.append(number)
            total += sizes[number]
    return found


def _memory(batch: list[BuildFile]) -> int:
    return sum(file.size if file.size <= _STREAMED else 2 * _CHUNK for file in batch)


def _digest(held: IO[bytes]) -> Digest:
    held.seek(0)
    return digest_of(chunks_of(held))


def _whole(held: IO[bytes]) -> Iterator[bytes]:
    """Give a temporary file's content, then give back its space."""
    held.seek(0)
    yield from chunks_of(held)
    held.close()


def content_of(folder: Path, file: BuildFile) -> bytes:
    """Return the content of a file, or raise `Error` if it is no longer as it was found."""
    return b"".join(_read(folder, file, file.size + 1))


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
        raise changed(name) from None
    except OSError as error:
        raise Error(f"{name} cannot be read: {error.strerror}") from error


def _check_same(name: str, file: BuildFile, handle: int, size: int | None = None) -> None:
    if size not in {None, file.size} or BuildFile.of(file.path, os.fstat(handle)) != file:
        raise changed(name)


def changed(name: object) -> Error:
    """Make the error of a file that is not what it was when it was packed."""
    hint = "wait until the build is finished, then run the same command again"
    return Error(f"{name} changed while it was read", hint=hint)
