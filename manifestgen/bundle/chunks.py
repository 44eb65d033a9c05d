"""Read a file a piece at a time, so that memory does not grow with it."""

from collections.abc import Iterator
from typing import IO, Final

CHUNK: Final = 1024 * 1024  # bytes read at a time


def chunks_of(file: IO[bytes]) -> Iterator[bytes]:
    """Give what is left of a file."""
    while chunk := file.read(CHUNK):
        yield chunk


def chunks_within(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Give a file's chunks; a byte beyond `size` is the last one read, and spoils the digest."""
    left = size + 1
    while chunk := file.read(min(CHUNK, left)):
        left -= len(chunk)
        yield chunk
