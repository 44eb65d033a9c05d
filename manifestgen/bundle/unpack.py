"""Write an archive out into a folder of its own.

Names have been checked against all the others before the first file is made, and every file is
made exclusively, so nothing is written over and no link is followed. Whoever calls this makes the
folder visible, after `unpack` has returned and the tree is the one that was expected.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from manifestgen.core.archive import CHUNK, inflate, read_members
from manifestgen.core.limits import LIMITS
from manifestgen.core.tree import Digest, File, Tree
from manifestgen.errors import Error, UsageError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_FLAGS = _NEW | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def unpack(file: BinaryIO, into: Path, *, limit: int = LIMITS.bundle_bytes) -> Tree:
    """Write the files of an archive into a folder that is empty or not there yet.

    Everything is on disk when this returns; on failure the folder is gone again. Folders that hold
    no file are not made. `limit` is on the sizes of all files together.

    Raises:
        FormatError: the archive is not to be trusted, see `core.archive`.
        UsageError: the folder has something in it.
        Error: the disk is full, or another reason why the folder cannot be written.
    """
    entries = read_members(file, limit=limit)
    with filling(into, [entry.path for entry in entries]):
        return Tree.of([write(into, (entry.path,), inflate(file, entry))[0] for entry in entries])


@contextmanager
def filling(into: Path, paths: Sequence[str]) -> Iterator[None]:
    """Make a folder with all the folders that files of these checked paths need.

    On leaving, the files must be there, and everything is on disk; on failure the folder is gone.
    """
    _make(into)
    try:
        for folder in _folders(paths):
            (into / folder).mkdir()
        yield
        _sync(into, paths)
    except BaseException as error:
        shutil.rmtree(into, ignore_errors=True)
        if isinstance(error, OSError):
            raise _failed(into, error) from error
        raise


def write(into: Path, paths: Sequence[str], chunks: Iterable[bytes]) -> list[File]:
    """Write one content under each of some names, none of which may be there yet."""
    first, *others = paths
    made = [_write(into, first, chunks)]
    # One after the other: there may be more names than files that can be open.
    return made + [_write(into, path, _read(into / first)) for path in others]


def _write(into: Path, path: str, chunks: Iterable[bytes]) -> File:
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(into / path, _FLAGS, 0o644), "wb") as target:
        for chunk in chunks:
            digest.update(chunk)
            size += target.write(chunk)
    return File(path, Digest(digest.hexdigest()), size)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _make(into: Path) -> None:
    try:
        into.mkdir(parents=True, exist_ok=True)
        empty = not any(into.iterdir())
    except OSError as error:
        raise _failed(into, error) from error
    if not empty:
        raise UsageError(f"{into} is not empty", hint="name a folder that is not there yet")


def _sync(into: Path, paths: Sequence[str]) -> None:
    """Wait for the disk once all is written: by then most of it has arrived."""
    for path in paths:
        _fsync(into / path, os.O_RDWR)
    if os.name == "posix":  # elsewhere folders cannot be synced
        for folder in ("", *_folders(paths)):
            _fsync(into / folder, os.O_RDONLY)


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _folders(paths: Sequence[str]) -> list[str]:
    """Return every folder above the files, each after the one it is in."""
    folders: set[str] = set()
    for path in paths:
        end = path.rfind("/")
        while end > 0 and path[:end] not in folders:
            folders.add(path[:end])
            end = path.rfind("/", 0, end)
    return sorted(folders)


def _failed(into: Path, error: OSError) -> Error:
    # An `OSError` of the archive itself ends here too; its own message names what failed.
    return Error(f"{into} cannot be written: {error}", hint="make room or name another folder")
