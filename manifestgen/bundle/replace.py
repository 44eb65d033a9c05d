"""Write a file so that whoever reads it sees the old one or the new one, never half."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from manifestgen.errors import Error, UsageError


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Give a file that takes the place of `target` at the end, or is gone if anything fails.

    Permissions are those of the file it replaces, else what the umask allows.

    Raises:
        UsageError: the folder is not there.
        Error: the disk is full, or the folder cannot be written.
    """
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}", hint="make it first")
    try:
        with temporary.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        raise Error(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
