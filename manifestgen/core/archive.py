"""Zip archives: written in one way only, read as if an enemy had made them.

Written: members sorted by the UTF-8 of their paths, dated 1980-01-01, mode 0644, deflated or
stored, back to back from byte 0, then the directory, then the end record; no folders, no extra
fields, no comments, no data descriptors. The same members make the same bytes.

Read: a zip says most things twice and some three times, and readers differ in which they believe.
This one accepts a file only where there is nothing to choose:

1. The end record is the last 22 bytes: one disk, no comment. The directory ends where it starts.
2. Local entries follow each other from byte 0 to the directory, in its order: nothing before,
   between, behind or shared.
3. A local header repeats its directory record byte for byte, from the version needed to the
   length of the name, and then the name.
4. Method 0 (stored) or 8 (deflate). Flags: only UTF-8 names and the two deflate level bits, so no
   encryption and no data descriptors. No zip64: no bundle needs it.
5. Extra fields are well formed and hold only times and owners, which are ignored. No comments.
6. Names are UTF-8 where flagged so, else ASCII, and obey `paths`, all together.
7. A name that ends in `/` is a folder: empty, and skipped. Anything else is a regular file: a Unix
   mode, if there is one, and the MS-DOS folder bit must say the same.
8. All declared sizes together are within the caller's limit. A file inflates to exactly its
   declared size and CRC and uses exactly its packed bytes.

Times, permissions and whoever made the file are ignored: what Python, Capgo's CLI (adm-zip) and,
for ASCII names, Info-ZIP write to a file is accepted.

Every failure is a `FormatError`, of code `archive`, or `path` for names; besides, only an `OSError`
of the file itself comes through. What a member does on disk is `bundle`'s business.
"""

import hashlib
import io
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO, Final, NoReturn

from manifestgen.core.limits import LIMITS
from manifestgen.core.paths import check_path, check_paths
from manifestgen.core.tree import Digest, File, Tree
from manifestgen.errors import FormatError

CHUNK: Final = 256 * 1024  # bytes in memory at a time; larger is no faster

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"

_UTF8 = 1 << 11
_LEVEL = 0b110  # how hard deflate tried; says nothing to a reader
_MADE_BY_UNIX = 3 << 8 | 20
_MODE = (stat.S_IFREG | 0o644) << 16
_DATE = 1 << 5 | 1  # 1980-01-01, the first there is
_DOS_FOLDER = 0x10
# 20,000 of the longest names with their records; what is read at once.
_DIRECTORY_BYTES = 16 * 1024 * 1024
# Deflate cannot do better than 1032 to 1, so more is a lie, told early.
_RATIO = 1100
# Extended time, NTFS times, and two generations of Info-ZIP's owner. Not zip64, not a second name
# (0x7075), not AES, and none that can hold a link (0x000d, 0x756e).
_HARMLESS_EXTRA = frozenset({0x5455, 0x000A, 0x5855, 0x7875})


class Method(IntEnum):
    """How a member's bytes are packed."""

    STORED = 0
    DEFLATED = 8


@dataclass(frozen=True, slots=True)
class Member:
    """A packed file to be written: `chunks` are its packed bytes, `packed` of them in all."""

    path: str
    crc32: int
    size: int
    method: Method
    packed: int
    chunks: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file found in an archive: `packed` bytes of it start at `offset`."""

    path: str
    crc32: int
    size: int
    method: Method
    packed: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Record:
    """One directory record; `repeated` is the part that the local header must repeat."""

    name: bytes
    entry: Entry
    repeated: bytes


def write_archive(members: Iterable[Member], write: Callable[[bytes], object]) -> int:
    """Write a zip of members that come sorted by the UTF-8 of their paths; return its size.

    Each member is taken, written and dropped before the next is asked for. Collisions between
    names are the caller's to find, with `check_paths`.

    Raises:
        FormatError: members out of order, whose chunks do not add up, or beyond the limits.
    """
    directory: list[bytes] = []
    offset, last = 0, ""
    for member in members:
        check_path(member.path)
        if member.path.encode() <= last.encode():
            _refuse(f"{member.path!r} does not come after {last!r}")
        if len(directory) == LIMITS.files:
            _refuse(f"more than the {LIMITS.files} files allowed")
        header = local_header(member)
        directory.append(directory_record(member, offset))
        write(header)
        _copy_chunks(member, write)
        offset, last = offset + len(header) + member.packed, member.path
        _check_total(offset)
    listing = directory_of(directory, offset)
    write(listing)
    return offset + len(listing)


def local_header(member: Member) -> bytes:
    """Return what stands before a member's packed bytes; whether a path may be is not checked."""
    return _LOCAL_MAGIC + _common(member) + bytes(2) + member.path.encode()


def directory_record(member: Member, offset: int) -> bytes:
    """Return what the directory says of a member whose header is at `offset`."""
    return _central_record(_common(member), offset) + member.path.encode()


def directory_of(records: Sequence[bytes], offset: int) -> bytes:
    """Return the directory at `offset` and what ends the archive, or raise `FormatError`."""
    listing = b"".join(records)
    end = _END.pack(_END_MAGIC, 0, 0, len(records), len(records), len(listing), offset, 0)
    _check_total(offset + len(listing) + len(end))
    return listing + end


def read_members(file: BinaryIO, *, limit: int = LIMITS.bundle_bytes) -> tuple[Entry, ...]:
    """Find the files in a seekable archive, in its order; `limit` is on their sizes together.

    Contents are not read yet: `inflate` checks them. Raises `FormatError` by the rules above.
    """
    entries: list[Entry] = []
    folders: list[str] = []
    at = unpacked = 0
    start, records = _read_directory(file)
    for record in records:
        if record.entry.offset != at:
            _refuse(f"{record.entry.path!r} starts at {record.entry.offset}, want {at}")
        entry, at = _read_local(file, record)
        unpacked += entry.size
        if unpacked > limit:
            _refuse(f"unpacks to more than the {limit} bytes allowed")
        if entry.path.endswith("/"):
            folders.append(entry.path[:-1])
        else:
            entries.append(entry)
    if at != start:
        _refuse(f"the files end at {at}, the directory starts at {start}")
    if len(set(folders)) != len(folders):
        _refuse("names a folder twice")
    check_paths((entry.path for entry in entries), folders)
    return tuple(entries)


def packed_chunks(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Give the packed bytes of an entry, as `Member.chunks` wants them, unchecked."""
    at, end = entry.offset, entry.offset + entry.packed
    while at < end:
        file.seek(at)  # each time: others may read from the same file in between
        chunk = file.read(min(CHUNK, end - at))
        if not chunk:
            _refuse(f"{entry.path!r} is cut short")
        at += len(chunk)
        yield chunk


def inflate(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Give the content of an entry in chunks, the last only after size and CRC have been checked.

    Raises:
        FormatError: the content is not what the archive declares. What came before is void.
    """
    crc, left = 0, entry.size
    held = b""
    packed = packed_chunks(file, entry)
    for chunk in packed if entry.method is Method.STORED else _inflate(packed, entry):
        left -= len(chunk)
        if left < 0:
            break
        crc = zlib.crc32(chunk, crc)
        if held:
            yield held
        held = chunk
    if left:
        _refuse(f"{entry.path!r} has {'more' if left < 0 else 'less'} than its {entry.size} bytes")
    if crc != entry.crc32:
        _refuse(f"{entry.path!r} does not have the CRC {entry.crc32:08x} that it declares")
    if held:
        yield held


def tree_of(file: BinaryIO, *, limit: int = LIMITS.bundle_bytes) -> Tree:
    """Digest every file of an archive, a chunk at a time, or raise `FormatError`."""
    files = []
    for entry in read_members(file, limit=limit):
        digest = hashlib.sha256()
        for chunk in inflate(file, entry):
            digest.update(chunk)
        files.append(File(entry.path, Digest(digest.hexdigest()), entry.size))
    return Tree.of(files)


# --- writing ----------------------------------------------------------------------------------


def _check_total(size: int) -> None:
    if size > LIMITS.bundle_bytes:
        _refuse(f"more than the {LIMITS.bundle_bytes} bytes allowed")


def _common(member: Member) -> bytes:
    """Return what a member's local header and its directory record have in common."""
    _check_total(max(member.size, member.packed))
    needed = 20 if member.method is Method.DEFLATED else 10
    return struct.pack(
        "<5H3IH",
        *(needed, _UTF8, member.method, 0, _DATE),
        *(member.crc32, member.packed, member.size, len(member.path.encode())),
    )


def _central_record(common: bytes, offset: int) -> bytes:
    made_by = struct.pack("<H", _MADE_BY_UNIX)
    return _CENTRAL_MAGIC + made_by + common + struct.pack("<4H2I", 0, 0, 0, 0, _MODE, offset)


def _copy_chunks(member: Member, write: Callable[[bytes], object]) -> None:
    written = 0
    for chunk in member.chunks:
        write(chunk)
        written += len(chunk)
    if written != member.packed:
        _refuse(f"{member.path!r} came as {written} bytes, {member.packed} were announced")


# --- reading ----------------------------------------------------------------------------------


def _read_directory(file: BinaryIO) -> tuple[int, list[_Record]]:
    """Return where the directory starts, and its records."""
    size = file.seek(0, io.SEEK_END)
    if size > LIMITS.bundle_bytes:
        _refuse(f"{size} bytes, more than the {LIMITS.bundle_bytes} allowed")
    if size < _END.size:
        _refuse("too short to be a zip")
    end = size - _END.size
    magic, disk, first_disk, here, count, length, start, comment = _END.unpack(
        _read(file, end, _END.size)
    )
    if magic != _END_MAGIC or comment:
        _refuse("does not end as a zip without a comment does")
    if disk or first_disk or here != count:
        _refuse("is split over several disks, or zip64")
    if start + length != end:
        _refuse(f"the directory of {length} bytes at {start} does not end at {end}")
    if length > _DIRECTORY_BYTES:
        _refuse(f"a directory of {length} bytes, more than the {_DIRECTORY_BYTES} allowed")
    return start, _parse_directory(_read(file, start, length), count)


def _parse_directory(data: bytes, count: int) -> list[_Record]:
    records = []
    at = 0
    for _ in range(count):
        record, at = _parse_record(data, at)
        records.append(record)
    if at != len(data):
        _refuse(f"{len(data) - at} bytes left in the directory after {count} records")
    return records


def _parse_record(data: bytes, at: int) -> tuple[_Record, int]:
    """Read the directory record at `at`; return it and where the next one starts."""
    if len(data) - at < _CENTRAL.size:
        _refuse("the directory is cut short")
    fields = _CENTRAL.unpack_from(data, at)
    magic, _made_by, _needed, flags, method, _time, _date, crc, packed, size = fields[:10]
    name_length, extra_length, comment_length, disk, _internal, attributes, offset = fields[10:]
    extra_at = at + _CENTRAL.size + name_length
    end = extra_at + extra_length
    if magic != _CENTRAL_MAGIC or len(data) < end:
        _refuse("the directory is cut short or damaged")
    name = data[at + _CENTRAL.size : extra_at]
    path = _path(name, flags)
    if comment_length or disk:
        _refuse(f"{path!r} has a comment or is on another disk")
    _check_extra(data[extra_at:end], path)
    entry = Entry(path, crc, size, _method(method, path), packed, offset)
    _check_sizes(entry)
    _check_kind(path, attributes)
    return _Record(name, entry, data[at + 6 : at + 30]), end


def _path(name: bytes, flags: int) -> str:
    if len(name) > LIMITS.path_bytes + 1:  # a folder's slash
        _refuse(f"a name of {len(name)} bytes")
    try:
        path = name.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        _refuse(f"the name {name[:80]!r} is not in the encoding that it declares")
    if flags & ~(_UTF8 | _LEVEL):
        _refuse(f"{path!r} is encrypted, has a data descriptor or another flag ({flags:#06x})")
    return path


def _method(method: int, path: str) -> Method:
    try:
        return Method(method)
    except ValueError:
        _refuse(f"{path!r} is packed by method {method}; only 0 and 8 are read")


def _check_sizes(entry: Entry) -> None:
    if entry.path.endswith("/") and (entry.size or entry.packed or entry.crc32):
        _refuse(f"the folder {entry.path!r} has content")
    if entry.method is Method.STORED and entry.packed != entry.size:
        _refuse(f"{entry.path!r} is stored, {entry.size} bytes as {entry.packed}")
    if entry.size > entry.packed * _RATIO:
        _refuse(f"{entry.path!r} claims to unpack {entry.packed} bytes to {entry.size}")


def _check_kind(path: str, attributes: int) -> None:
    """Refuse links, devices, and whatever is a folder by one sign and a file by another."""
    folder = path.endswith("/")
    kind = stat.S_IFMT(attributes >> 16)
    if kind not in {0, stat.S_IFDIR if folder else stat.S_IFREG}:
        _refuse(f"{path!r} has the Unix mode {attributes >> 16:o}, a link, device or other kind")
    if attributes & _DOS_FOLDER and not folder:
        _refuse(f"{path!r} is marked as a folder")


def _check_extra(extra: bytes, path: str) -> None:
    at = 0
    while at < len(extra):
        if len(extra) - at < 4:
            _refuse(f"{path!r} has a damaged extra field")
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind not in _HARMLESS_EXTRA:
            _refuse(f"{path!r} has the extra field {kind:#06x}, which could change its meaning")
        at += 4 + length
    if at != len(extra):
        _refuse(f"{path!r} has a damaged extra field")


def _read_local(file: BinaryIO, record: _Record) -> tuple[Entry, int]:
    """Check the local header; return the entry with its data's offset, and where that ends."""
    entry = record.entry
    header = _read(file, entry.offset, _LOCAL.size)
    (extra_length,) = struct.unpack_from("<H", header, 28)
    if header[:4] != _LOCAL_MAGIC or header[4:28] != record.repeated:
        _refuse(f"the local header of {entry.path!r} contradicts the directory")
    rest = _read(file, entry.offset + _LOCAL.size, len(record.name) + extra_length)
    if not rest.startswith(record.name):
        _refuse(f"the local name of {entry.path!r} contradicts the directory")
    _check_extra(rest[len(record.name) :], entry.path)
    data = entry.offset + _LOCAL.size + len(rest)
    found = Entry(entry.path, entry.crc32, entry.size, entry.method, entry.packed, data)
    return found, data + entry.packed


def _inflate(packed: Iterable[bytes], entry: Entry) -> Iterator[bytes]:
    """Inflate in pieces of at most `CHUNK`, stopping soon after more came than was declared."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in packed:
            if stream.eof:
                _refuse(f"{entry.path!r} has bytes after its end")
            yield stream.decompress(chunk, CHUNK)
            while stream.unconsumed_tail:
                yield stream.decompress(stream.unconsumed_tail, CHUNK)
        # What zlib still holds back when the input is used up.
        while not stream.eof and (piece := stream.decompress(b"", CHUNK)):
            yield piece
    except zlib.error as error:
        _refuse(f"{entry.path!r} is damaged: {error}")
    if not stream.eof or stream.unused_data:
        _refuse(f"{entry.path!r} does not end where its packed bytes do")


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    data = file.read(size)
    if len(data) != size:
        _refuse(f"cut short at byte {at + len(data)}")
    return data


def _refuse(why: str) -> NoReturn:
    raise FormatError(f"archive: {why}", code="archive")
