"""Write files so that neither a kill nor a power cut leaves half of one.

`save` makes these calls: write NAME.new, fsync it; remove NAME.old, link NAME to it; rename
NAME.new to NAME; fsync the folder. So NAME is always whole, and NAME.old is the copy before it, for
when a disk damages NAME later. What the files mean is for others.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from manifestgen.core.tree import Digest, File, Tree
from manifestgen.errors import Error, FormatError, StoreError, os_reason
from manifestgen.stores.locks import flush, try_lock

CHUNK: Final = 256 * 1024
_OLD: Final = ".old"


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what a disk does into `StoreError`."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        reason = os_reason(error)
        raise StoreError(
            f"cannot use {where}: {reason}", hint="is the disk full, read-only or another user's?"
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with this process, or raise `Error` (`busy`) at once."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not try_lock(handle):
            raise Error(
                f"{path.parent} is in use by another run", code="busy", hint="wait until it is done"
            )
        yield
    finally:
        os.close(handle)


def save(path: Path, data: bytes) -> None:
    """Replace a file, keeping the previous one as `copies` finds it; durable on return."""
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        flush(file.fileno())
    _keep(path)
    new.replace(path)
    sync_folder(path.parent)


def copies(path: Path, *, limit: int) -> Iterator[bytes]:
    """Give what is there of a saved file, the newest first; larger ones are damage."""
    for copy in (path, path.with_name(path.name + _OLD)):
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            with copy.open("rb") as file:
                data = file.read(limit + 1)
            if len(data) <= limit:
                yield data


def forget(path: Path) -> None:
    """Remove a saved file and its previous copy, the older first."""
    path.with_name(path.name + _OLD).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with everything in it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    if os.name == "nt":  # pragma: no cover
        return  # Windows opens no folders
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def tree_of(folder: Path) -> Tree:
    """Read a folder's tree, or raise `FormatError` if it holds anything but files and folders."""
    return Tree.of(_file(folder, path) for path in _walk(folder))


def regular(folder: Path) -> Iterator[File]:
    """Give the files of a folder that can be read; whatever else is there is passed over."""
    with suppress(OSError):
        for path in sorted(_walk(folder)):
            with suppress(OSError, FormatError):
                yield _file(folder, path)


def _keep(path: Path) -> None:
    old = path.with_name(path.name + _OLD)
    old.unlink(missing_ok=True)
    # Some file systems know no hard links; a previous copy is a help, not a promise.
    with suppress(OSError):
        old.hardlink_to(path)


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as listing:
        found = list(listing)
    for item in found:
        if item.is_dir(follow_symlinks=False):
            yield from _walk(Path(item.path))
        else:
            yield Path(item.path)


def _file(folder: Path, path: Path) -> File:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise FormatError(f"{path} is a link or a device", code="tree")
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return File(path.relative_to(folder).as_posix(), Digest(digest.hexdigest()), size)
