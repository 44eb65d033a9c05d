"""Locks on open files that end with their process, on Unix and on Windows."""

import os
import sys

if sys.platform == "win32":  # pragma: no cover
    import msvcrt
else:
    import fcntl


def try_lock(handle: int) -> bool:
    """Lock an open file against every other handle, or return `False` at once.

    The lock goes when the handle is closed, hence also when its process is killed.

    Raises:
        OSError: the file system knows no locks.
    """
    try:
        if sys.platform == "win32":  # pragma: no cover
            # One byte far behind the text, which other processes may still read.
            os.lseek(handle, 1 << 30, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def flush(handle: int) -> None:
    """Bring what was written to an open file to the disk itself."""
    if sys.platform == "darwin":  # pragma: no cover
        # fsync stops at the drive's own cache there.
        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
    else:
        os.fsync(handle)
