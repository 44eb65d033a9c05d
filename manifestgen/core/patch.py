"""Patches: bytes that turn one tree into another, and how they are applied.

`docs/format.md` section 18 is the specification; `diff` makes what is read here. The files of the
base that the target lacks, one after the other behind a list of their names, are the *old side*;
the files that the target has instead, behind a list of theirs, are the *new side*. The patch says
which files stay, then builds the new side in steps: some bytes of its own, some copied.

    8 bytes   "mgpatch1"
    32, 32    the digests of the base and of the target tree
    4 × 4     bytes of the new side's list, of the new side, of the old side; number of steps
    5 × 8     for each stream its bytes plain and packed
    …         the streams, raw deflate: kept, inserts, jumps, copies, literals

Whatever a patch declares is compared with a limit of the caller's before anything is made of it.
Memory holds the names, and 256 KiB of everything else. Every failure is a `FormatError` of code
`patch`; besides, only an `OSError` of the files themselves comes through.
"""

import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn, TypeAlias

from manifestgen.core.limits import LIMITS
from manifestgen.core.paths import check_paths
from manifestgen.core.tree import Digest, File, Tree
from manifestgen.errors import FormatError

CHUNK: Final = 256 * 1024  # bytes in memory at a time
MAGIC: Final = b"mgpatch1"
HEADER: Final = struct.Struct(">8s32s32s14I")
LISTING_BYTES: Final = 16 * 1024 * 1024  # 20,000 of the longest names with their sizes

_STREAMS = 5
_NUMBER_BYTES = 5  # 35 bits: a position of either side, with its sign
_RATIO = 1100  # deflate cannot do better than 1032 to 1, so more is a lie, told early

Read: TypeAlias = Callable[[File, int, int], bytes]
"""Given a file of the base, an offset and a size, return those bytes; fewer are refused."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the first 128 bytes declare; sizes are in bytes, `plain` and `packed` by stream."""

    base: Digest
    target: Digest
    listing: int
    new: int
    old: int
    steps: int
    plain: tuple[int, ...]
    packed: tuple[int, ...]

    def encode(self) -> bytes:
        """Return the 128 bytes."""
        pairs = (size for pair in zip(self.plain, self.packed, strict=True) for size in pair)
        digests = bytes.fromhex(self.base), bytes.fromhex(self.target)
        return HEADER.pack(MAGIC, *digests, self.listing, self.new, self.old, self.steps, *pairs)

    @classmethod
    def decode(cls, data: bytes) -> "Header":
        """Read the 128 bytes; that the numbers agree with anything is not checked."""
        if len(data) != HEADER.size:
            _refuse("is too short")
        magic, base, target, listing, new, old, steps, *pairs = HEADER.unpack(data)
        if magic != MAGIC:
            _refuse("does not begin as a patch does")
        digests = Digest(base.hex()), Digest(target.hex())
        return cls(*digests, listing, new, old, steps, tuple(pairs[::2]), tuple(pairs[1::2]))


@dataclass(frozen=True, slots=True)
class Content:
    """A content of the target that the base lacks or has elsewhere, and where it belongs."""

    paths: tuple[str, ...]
    size: int


class Patch:
    """A patch opened against the base it is for: `kept` files stay, `made` ones are written.

    `file` is seekable and read from until the last of `contents`. `target` is the tree that is
    wanted, `limit` is on the bytes of all its files together; a release signs both.
    """

    def __init__(
        self,
        file: BinaryIO,
        base: Tree,
        read: Read,
        *,
        target: Digest,
        limit: int = LIMITS.bundle_bytes,
    ) -> None:
        self._file = file
        self.header = header = read_header(file)
        _check_sizes(header, file, base, limit)
        if (header.base, header.target) != (base.digest(), target):
            _refuse(
                f"leads from {header.base[:12]} to {header.target[:12]}, wanted is"
                f" {base.digest()[:12]} to {target[:12]}"
            )
        self.kept, gone = _split(base, list(_numbers(self._stream(0))))
        self._old = _OldSide(gone, read)
        if self._old.size != header.old:
            _refuse(f"wants an old side of {header.old} bytes, there are {self._old.size}")
        self._new = _Taker(self._pieces(), header.new)
        self.made = _parse_listing(b"".join(self._new.take(header.listing)))
        _check_target(self.kept, self.made, header.new - header.listing, limit)

    def contents(self) -> Iterator[tuple[Content, Iterator[bytes]]]:
        """Give each of `made` with its chunks, in order; once.

        What came is void unless this ends, and unless the tree that came of it is the target.
        """
        for content in self.made:
            chunks = self._new.take(content.size)
            yield content, chunks
            for _ in chunks:
                pass
        self._new.end()

    def _pieces(self) -> Iterator[bytes]:
        """Give the new side, in pieces of any size up to `CHUNK`."""
        inserts, jumps, copies = (_numbers(self._stream(number)) for number in (1, 2, 3))
        literals = _Taker(self._stream(4), self.header.plain[4])
        left, at = self.header.new, 0
        for _ in range(self.header.steps):
            insert, jump, copy = (next(one, None) for one in (inserts, jumps, copies))
            if insert is None or jump is None or copy is None:
                _refuse("has fewer steps than it declares")
            left -= insert + copy
            if left < 0 or not insert + copy:
                _refuse("has a step beyond the new side, or one that does nothing")
            yield from literals.take(insert)
            at += insert + _signed(jump)
            yield from self._old.read(at, copy)
            at += copy
        if left or any(next(one, None) is not None for one in (inserts, jumps, copies)):
            _refuse("has other steps than it declares")
        literals.end()

    def _stream(self, number: int) -> Iterator[bytes]:
        header = self.header
        at = HEADER.size + sum(header.packed[:number])
        return _inflate(self._file, at, header.packed[number], header.plain[number])


def read_header(file: BinaryIO) -> Header:
    """Read what a patch declares of itself, unchecked."""
    file.seek(0)
    return Header.decode(file.read(HEADER.size))


def listing_line(path: str, size: int) -> bytes:
    """Return the line of a list that names a file; no path holds a tab or a line end."""
    return f"{path}\t{size}\n".encode()


def _check_sizes(header: Header, file: BinaryIO, base: Tree, limit: int) -> None:
    """Refuse, before anything is read, what no honest patch between two such trees declares."""
    end = file.seek(0, 2)
    if end != HEADER.size + sum(header.packed):
        _refuse(f"is {end} bytes long, not what its header adds up to")
    if header.listing > min(LISTING_BYTES, header.new) or header.new - header.listing > limit:
        _refuse(f"declares {header.new} bytes, {limit} are allowed")
    for plain, packed in zip(header.plain, header.packed, strict=True):
        if plain > packed * _RATIO:
            _refuse(f"claims to unpack {packed} bytes to {plain}")
    kept, *columns, literals = header.plain
    if kept > _NUMBER_BYTES * (len(base.files) + 1) or literals > header.new:
        _refuse("declares more than the trees can hold")
    if any(not header.steps <= column <= _NUMBER_BYTES * header.steps for column in columns):
        _refuse(f"declares columns that {header.steps} steps do not fill")


def _split(base: Tree, runs: list[int]) -> tuple[tuple[File, ...], tuple[File, ...]]:
    """Return the files that stay and those that go; runs of both take turns."""
    sides: tuple[list[File], list[File]] = [], []
    at = 0
    for number, run in enumerate(runs):
        if not run and number:
            _refuse("has an empty run of files")
        sides[number % 2].extend(base.files[at : at + run])
        at += run
    if at != len(base.files):
        _refuse(f"speaks of {at} files, the base has {len(base.files)}")
    return tuple(sides[0]), tuple(sides[1])


def _parse_listing(data: bytes) -> tuple[Content, ...]:
    found: list[Content] = []
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        _refuse("has a name that is not UTF-8")
    lines = text.split("\n", LIMITS.files + 1)  # one more is seen, a million are not made
    if lines.pop() or len(lines) > LIMITS.files:
        _refuse("has a damaged list, or one of too many files")
    for line in lines:
        path, tab, size = line.partition("\t")
        if tab and size == "=" and found:
            found[-1] = Content((*found[-1].paths, path), found[-1].size)
        elif tab and len(size) <= 10 and size.isascii() and size.isdigit() and _plain(size):
            found.append(Content((path,), int(size)))
        else:
            _refuse("has a line in its list that names no file")
    return tuple(found)


def _plain(digits: str) -> bool:
    return digits == "0" or digits[0] != "0"


def _check_target(kept: Iterable[File], made: tuple[Content, ...], size: int, limit: int) -> None:
    paths = [path for content in made for path in content.paths]
    if sum(content.size for content in made) != size:
        _refuse("lists files that are not the new side")
    kept = tuple(kept)
    total = sum(file.size for file in kept)
    total += sum(content.size * len(content.paths) for content in made)
    if total > limit:
        _refuse(f"makes {total} bytes, {limit} are allowed")
    try:
        check_paths([*(file.path for file in kept), *paths])
    except FormatError as error:
        _refuse(f"makes a tree that no device can hold: {error}")


class _OldSide:
    """The old side, of which only the list is in memory."""

    def __init__(self, files: tuple[File, ...], read: Read) -> None:
        self._files = files
        self._read = read
        self._listing = b"".join(listing_line(file.path, file.size) for file in files)
        self._ends = [len(self._listing)]
        for file in files:
            self._ends.append(self._ends[-1] + file.size)
        self.size = self._ends[-1]

    def read(self, at: int, size: int) -> Iterator[bytes]:
        """Give a part, in pieces."""
        if at < 0 or at + size > self.size:
            _refuse(f"copies {size} bytes from {at} of an old side of {self.size}")
        while size:
            number = bisect_right(self._ends, at)
            piece = self._piece(number, at, min(size, self._ends[number] - at, CHUNK))
            yield piece
            at += len(piece)
            size -= len(piece)

    def _piece(self, number: int, at: int, size: int) -> bytes:
        if not number:
            return self._listing[at : at + size]
        file = self._files[number - 1]
        piece = self._read(file, at - self._ends[number - 1], size)
        if len(piece) != size:
            _refuse(f"needs {file.path}, which ends early")
        return piece


class _Taker:
    """Cuts pieces into runs, each in chunks of a fair size."""

    def __init__(self, pieces: Iterator[bytes], size: int) -> None:
        self._pieces = pieces
        self._size = size
        self._rest = b""
        self._at = 0  # in `_rest`

    def take(self, size: int) -> Iterator[bytes]:
        """Give the next `size` bytes."""
        if size > self._size:
            _refuse("needs more bytes than it declares")
        self._size -= size
        buffer = bytearray()
        while size:
            if self._at == len(self._rest):
                self._rest, self._at = self._next(), 0
            part = self._rest[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            buffer += part
            if len(buffer) >= CHUNK:
                yield bytes(buffer)
                buffer.clear()
        if buffer:
            yield bytes(buffer)

    def end(self) -> None:
        """Refuse anything that is left."""
        if self._size or self._at != len(self._rest) or any(self._pieces):
            _refuse("has bytes left over")

    def _next(self) -> bytes:
        piece = next(self._pieces, None)
        if piece is None:
            _refuse("ends early")
        return piece


def _numbers(chunks: Iterable[bytes]) -> Iterator[int]:
    """Read numbers of seven bits a byte, the highest first; all but the last byte have bit 7."""
    value = length = 0
    for chunk in chunks:
        for byte in chunk:
            value = value << 7 | byte & 0x7F
            length += 1
            # A first byte of 0x80 would be a second spelling of the same number.
            if length > _NUMBER_BYTES or (length == 1 and byte == 0x80):
                _refuse("has a number that is spelt too long")
            if byte < 0x80:
                yield value
                value = length = 0
    if length:
        _refuse("has a number that is cut short")


def _signed(number: int) -> int:
    return -(number >> 1) - 1 if number & 1 else number >> 1


def _inflate(file: BinaryIO, at: int, packed: int, plain: int) -> Iterator[bytes]:
    """Inflate a stream that declares its sizes, a piece at a time."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    end = at + packed
    try:
        while not stream.eof:
            data = stream.unconsumed_tail
            if not data and at < end:
                file.seek(at)  # each time: five streams take turns
                data = file.read(min(CHUNK, end - at))
                at += len(data)
            piece = stream.decompress(data, CHUNK)
            plain -= len(piece)
            if plain < 0 or (not data and not piece and not stream.eof):
                _refuse("has a stream that does not end where it says")
            if piece:
                yield piece
    except zlib.error as error:
        _refuse(f"is damaged: {error}")
    if plain or at != end or stream.unused_data:
        _refuse("has a stream that does not end where it says")


def _refuse(why: str) -> NoReturn:
    raise FormatError(f"the patch {why}", code="patch")
