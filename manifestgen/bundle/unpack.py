"""Write an archive out into a folder of its own.

Names have been checked against all the others before the first file is made, and every file is
made exclusively, so nothing is written over and no link is followed. Whoever calls this makes the
folder visible, after `unpack` has returned and the tree is the one that was expected.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from manifestgen.core.archive import Entry, inflate, read_members
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
    _make(into)
    try:
        _make_folders(into, entries)
        tree = Tree.of([_write(file, entry, into) for entry in entries])
        _sync(into, entries)
    except BaseException as error:
        shutil.rmtree(into, ignore_errors=True)
        if isinstance(error, OSError):
            raise _failed(into, error) from error
        raise
    return tree


def _make(into: Path) -> None:
    try:
        into.mkdir(parents=True, exist_ok=True)
        empty = not any(into.iterdir())
    except OSError as error:
        raise _failed(into, error) from error
    if not empty:
        raise UsageError(f"{into} is not empty", hint="name a folder that is not there yet")


def _make_folders(into: Path, entries: tuple[Entry, ...]) -> None:
    for folder in _folders(entries):
        (into / folder).mkdir()


def _write(file: BinaryIO, entry: Entry, into: Path) -> File:
    digest = hashlib.sha256()
    with os.fdopen(os.open(into / entry.path, _FLAGS, 0o644), "wb") as target:
        for chunk in inflate(file, entry):
            digest.update(chunk)
            target.write(chunk)
    return File(entry.path, Digest(digest.hexdigest()), entry.size)


def _sync(into: Path, entries: tuple[Entry, ...]) -> None:
    """Wait for the disk once all is written: by then most of it has arrived."""
    for entry in entries:
        _fsync(into / entry.path, os.O_RDWR)
    if os.name == "posix":  # elsewhere folders cannot be synced
        for folder in ("", *_folders(entries)):
            _fsync(into / folder, os.O_RDONLY)


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _folders(entries: tuple[Entry, ...]) -> list[str]:
    """Return every folder above the files, each after the one it is in."""
    folders: set[str] = set()
    for entry in entries:
        end = entry.path.rfind("/")
        while end > 0 and entry.path[:end] not in folders:
            folders.add(entry.path[:end])
            end = entry.path.rfind("/", 0, end)
    return sorted(folders)


def _failed(into: Path, error: OSError) -> Error:
    # An `OSError` of the archive itself ends here too; its own message names what failed.
    return Error(f"{into} cannot be written: {error}", hint="make room or name another folder")
