"""A bundle in memory that rolls on: what changes goes behind what does not.

A zip may hold its files in any order. So a file that changed is taken out and put in again at the
end, where the next change of it costs little, and everything before the first file that moved is as
it was: digested, encrypted and read from the disk once, and not with each save. The tree, which is
what a bundle is known by, does not depend on the order.
"""

import hashlib
import time
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manifestgen import bundle
from manifestgen.core import canonical
from manifestgen.core.archive import Member, Method, directory_of, directory_record, local_header
from manifestgen.core.tree import Digest, File, sha256

_WORKERS: Final = 2
_TOGETHER: Final = 16  # files that a thread takes at once
_SETTLED: Final = 3 * 1_000_000_000  # nanoseconds: FAT's times are two seconds apart


@dataclass(slots=True)
class _Held:
    """A file of the bundle; one that is not `sure` may have changed since under the same time."""

    found: bundle.BuildFile
    sure: bool
    file: File
    listed: bytes  # as the tree lists it
    member: Member
    data: bytes  # until it is in the bundle
    offset: int = 0
    end: int = 0
    record: bytes = b""


@dataclass(frozen=True, slots=True)
class Rolled:
    """What became of a build: its tree, and how many bytes of the zip are as they were.

    `before` has what changed, with the file as it was: `None` for a new one. `paths` are all.
    """

    tree: Digest
    size: int
    same: int
    before: Mapping[str, File | None]
    paths: tuple[str, ...]


class Rolling:
    """The zip of one folder, kept up to date."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._order: list[_Held] = []
        self._buffer = bytearray()

    @property
    def plain(self) -> memoryview:
        """The zip; to be released before the next build."""
        return memoryview(self._buffer)

    def file(self, path: str) -> File | None:
        """Return what the tree says of a file, if it is there."""
        held = self._held.get(path)
        return held.file if held else None

    def content(self, path: str) -> bytes:
        """Return the content of a file that is there."""
        held = self._held[path]
        data = bytes(self._buffer[held.end - held.member.packed : held.end])
        return data if held.member.method is Method.STORED else zlib.decompress(data, -15)

    def roll(self, build: bundle.Build, *, thorough: bool) -> Rolled:
        """Bring the zip up to date; after a failure it is as it was.

        Files of the same size, time, inode and device are not read. If it is to be `thorough`,
        those that were so new that they may have changed since are, for file systems tell times
        apart no better than that.

        Raises:
            Error: a file changed or went away while it was read, or cannot be read.
        """
        paths = tuple([file.path for file in build.files])
        doubtful = [file for file in build.files if not self._knows(file, thorough=thorough)]
        before: dict[str, File | None] = {}
        if doubtful or len(paths) != len(self._held):
            before = self._change(build.folder, doubtful, set(paths))
        same = self._reorder(before) if before else len(self._buffer)
        listed = b",".join([self._held[path].listed for path in paths])
        # `core.tree.Tree.digest`, of entries that are spelt already.
        tree = sha256(b'{"files":[' + listed + b'],"type":"tree.v1"}')
        return Rolled(tree, build.size, same, before, paths)

    def _knows(self, file: bundle.BuildFile, *, thorough: bool) -> bool:
        held = self._held.get(file.path)
        return held is not None and held.found == file and (held.sure or not thorough)

    def _change(
        self, folder: Path, doubtful: Sequence[bundle.BuildFile], there: set[str]
    ) -> dict[str, File | None]:
        """Read what may have changed; return what did, as it was before."""
        settled = time.time_ns() - _SETTLED
        read = list(_read(folder, doubtful))  # from here on nothing fails
        before: dict[str, File | None] = {
            path: held.file for path, held in self._held.items() if path not in there
        }
        for one in read:
            one.sure = one.found.mtime_ns < settled
            held = self._held.get(one.file.path)
            if held and held.file == one.file:
                held.found, held.sure = one.found, one.sure
                continue
            before[one.file.path] = held.file if held else None
            if held:
                held.data = b""
            self._order.append(one)
        return before

    def _reorder(self, before: Mapping[str, File | None]) -> int:
        """Take out what changed, and put what is new behind; return what stays as it was."""
        old = [held for path in before if (held := self._held.get(path))]
        new = [held for held in self._order if not held.end]
        end = self._order[-len(new) - 1].end if len(self._order) > len(new) else 0
        first = min((held.offset for held in old), default=end)
        index = bisect_left(self._order, first, hi=len(self._order) - len(new), key=_offset)
        gone = set(map(id, old))
        later = [held for held in self._order[index:] if id(held) not in gone]
        pieces = [held.data or bytes(self._buffer[held.offset : held.end]) for held in later]
        del self._order[index:], self._buffer[first:]
        for path in before:
            self._held.pop(path, None)
        for held, piece in zip(later, pieces, strict=True):
            held.offset = len(self._buffer)
            self._buffer += piece
            held.end, held.data = len(self._buffer), b""
            held.record = directory_record(held.member, held.offset)
            self._held[held.file.path] = held
        self._order += later
        records = [held.record for held in self._order]
        self._buffer += directory_of(records, len(self._buffer))
        return first


def _offset(held: _Held) -> int:
    return held.offset


def _read(folder: Path, files: Sequence[bundle.BuildFile]) -> Iterator[_Held]:
    if len(files) <= _TOGETHER:
        yield from _read_some(folder, files)
        return
    some = [files[at : at + _TOGETHER] for at in range(0, len(files), _TOGETHER)]
    pool = ThreadPoolExecutor(_WORKERS, "pack")
    try:
        for held in pool.map(lambda part: _read_some(folder, part), some):
            yield from held
    finally:
        pool.shutdown(cancel_futures=True)


def _read_some(folder: Path, files: Iterable[bundle.BuildFile]) -> list[_Held]:
    return [_squeezed(found, bundle.content_of(folder, found)) for found in files]


def _squeezed(found: bundle.BuildFile, content: bytes) -> _Held:
    file = File(found.path, Digest(hashlib.sha256(content).hexdigest()), len(content))
    squeezed = bundle.squeeze(found.path, content)
    crc, size = zlib.crc32(content), len(squeezed.data)
    member = Member(found.path, crc, len(content), squeezed.method, size, ())
    listed = canonical.encode(file.to_json())
    return _Held(found, False, file, listed, member, local_header(member) + squeezed.data)
