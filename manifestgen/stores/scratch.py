"""Temporary files that a run writes for itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from manifestgen.errors import Error, os_reason


@contextmanager
def scratch_explained() -> Iterator[None]:
    """Say what the system refuses of a temporary file, and what to do about it.

    Raises:
        Error: in place of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise Error(
            f"cannot write a temporary file: {os_reason(error)}",
            hint="make room, or name another folder in TMPDIR",
        ) from error
