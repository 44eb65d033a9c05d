"""Write a file so that whoever reads it sees the old one or the new one, never half."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from manifestgen.errors import Error, UsageError, os_reason

_HINTS: Final = {
    errno.ENOSPC: "make room there, then run the same command again",
    errno.EDQUOT: "make room there, then run the same command again",
    errno.EFBIG: "FAT holds no file of 4 GiB: format that disk as exFAT, or write to another",
    errno.EROFS: "that disk can only be read: mount it writable, or write to another",
    errno.EIO: "is that disk still plugged in?",
    errno.ENOTCONN: "is that disk still plugged in?",
    errno.ENODEV: "is that disk still plugged in?",
}


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Give a file that takes the place of `target` at the end, or is gone if anything fails.

    Permissions are those of the file it replaces, else what the umask allows; while it is written
    nobody may read it who may not read that file.

    Raises:
        UsageError: the folder is not there.
        Error: the disk is full, or the folder cannot be written.
    """
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}", hint="make it first")
    mode = _mode(target)
    try:
        with temporary.open("x+b") if mode is None else _guarded(temporary, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)  # what the umask took
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        with suppress(OSError):  # where nothing can be written, or the stick is gone
            temporary.unlink(missing_ok=True)


def _mode(target: Path) -> int | None:
    """Return the permissions of a file, `None` if it is not there."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(target: Path, error: OSError) -> Error:
    reason = os_reason(error)
    hint = _HINTS.get(error.errno or 0, f"see with `ls -ld {target.parent}` who may write there")
    return Error(f"cannot write {target}: {reason}", hint=hint)


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, too: a stick may be pulled out the moment we are done."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system can
            os.fsync(handle)
    finally:
        os.close(handle)


def _guarded(path: Path, mode: int) -> BinaryIO:
    """Make a file that nobody can open before its permissions are right."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, mode), "w+b")
