"""The archive of a kit: a tar file that can be written in one way only.

Plain ustar, so that any `tar` lists it, and every byte of it is given: regular files of mode 0644,
by nobody, of no time, zeros to the next 512 bytes, and behind the last file exactly two blocks of
zeros. A header that is not the one we would have written is refused, so nothing can stand in a kit
beside what is checked: no links, no second names, no comments. What files a kit has, and in what
order, is for `contents`.
"""

import io
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from manifestgen.errors import FormatError, StoreError, UsageError, os_reason
from manifestgen.stores.names import check_name

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
MOST_BYTES: Final = 8**11 - 1
"""The largest file that a ustar header can name, far above any blob."""

MOST_FILES: Final = 500_000
"""Files of a kit: a reader holds all names at once."""

_LONGEST: Final = 100  # characters of a name; ours are at most 94
_CHUNK: Final = 1024 * 1024  # bytes read at a time
_SIZE = re.compile(rb"[0-7]{11}\x00")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive; `offset` is where its content begins."""

    name: str
    size: int
    offset: int

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self.offset + self.size + padding(self.size)


def header(name: str, size: int) -> bytes:
    """Return the one header that a file of that name and size may have."""
    if len(name) > _LONGEST or not 0 <= size <= MOST_BYTES:
        raise UsageError(f"{name!r} of {size} bytes fits in no kit")
    fields = (
        check_name(name).encode().ljust(_LONGEST, b"\0")
        + b"0000644\0"
        + b"0000000\0" * 2  # mode, user, group
        + b"%011o\0" % size
        + b"00000000000\0"  # time
        + b" " * 8  # where the checksum goes, which counts itself as spaces
        + b"0".ljust(101, b"\0")  # a regular file, and no link
        + b"ustar\x0000".ljust(255, b"\0")  # no names, no device, no prefix
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def padding(size: int) -> int:
    """Return how many zeros follow a content of `size` bytes."""
    return -size % BLOCK


class Archive:
    """A kit's file, open for reading; its outline is checked at once, contents are the caller's.

    Raises:
        FormatError: it is not exactly what a writer of kits writes (`format`), or ends too early
            (`cut`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _opened(path)
        try:
            self.size = self._file.seek(0, os.SEEK_END)
            self.members = tuple(self._outline())
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, member: Member, limit: int) -> bytes:
        """Return a content of at most `limit` bytes."""
        if member.size > limit:
            raise FormatError(
                f"{member.name} of the kit: {member.size} bytes, more than the {limit} allowed",
                code="too_large",
            )
        return self._at(member.offset, member.size)

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Give a content piece by piece, from a handle of its own: threads may do so at once."""
        left = member.size
        with _opened(self.path) as file:
            while left:
                at = member.offset + member.size - left
                chunk = _read(file, at, min(left, _CHUNK), self.path)
                if not chunk:
                    raise cut(at)
                left -= len(chunk)
                yield chunk

    def _outline(self) -> Iterator[Member]:
        at, zeros, count = 0, 0, 0
        while True:
            # What fills up the last block and the next header lie side by side.
            found = self._at(at, zeros + BLOCK)
            if any(found[:zeros]):
                raise FormatError(f"the kit has bytes between its files at byte {at}")
            block, at = found[zeros:], at + zeros + BLOCK
            if not any(block):
                break
            member = _member(block, at)
            count += 1
            if count > MOST_FILES:
                raise FormatError(f"the kit has more than {MOST_FILES:,} files", code="too_large")
            yield member
            at, zeros = at + member.size, padding(member.size)
        if any(self._at(at, BLOCK)):
            raise FormatError(f"the kit has a block of zeros between its files at byte {at}")
        if at + BLOCK != self.size:
            extra = self.size - at - BLOCK
            raise FormatError(f"the kit goes on for {extra} bytes behind its end")

    def _at(self, offset: int, size: int) -> bytes:
        if offset + size > self.size:
            raise cut(self.size)
        parts = []
        while size:
            part = _read(self._file, offset, size, self.path)
            if not part:
                raise cut(offset)
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)


def cut(size: int) -> FormatError:
    """Make the error of a kit that ends too early."""
    return FormatError(
        f"the kit is cut short: it ends after {size} bytes",
        code="cut",
        hint="copy it again from where it was exported",
    )


def _member(block: bytes, offset: int) -> Member:
    name = block[:_LONGEST].rstrip(b"\0").decode("ascii", "replace")
    size = block[124:136]
    try:
        expected = header(name, int(size[:11], 8)) if _SIZE.fullmatch(size) else None
    except UsageError:
        expected = None
    if expected != block:
        raise FormatError(
            f"the kit has no header of a kit at byte {offset - BLOCK}",
            hint="import the file that `manifestgen kit export` wrote, as it was",
        )
    return Member(name, int(size[:11], 8), offset)


class _File(io.FileIO):
    """A file that is only read: if its disk is gone, closing it loses nothing."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def _opened(path: Path) -> _File:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file", hint="name the file that was exported")
        return _File(path)
    except FileNotFoundError:
        raise UsageError(
            f"there is no {path}", hint="name the file that was exported; is its disk mounted?"
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from error


def _read(file: _File, offset: int, size: int, path: Path) -> bytes:
    try:
        file.seek(offset)
        return file.read(size) or b""
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StoreError:
    reason = os_reason(error)
    return StoreError(f"cannot read {path}: {reason}", hint="is the stick still plugged in?")


def write_member(file: BinaryIO, name: str, data: bytes) -> None:
    """Append a small file."""
    file.write(header(name, len(data)) + data + bytes(padding(len(data))))
