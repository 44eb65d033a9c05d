"""Read a file a piece at a time, so that memory does not grow with it."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import IO, Final

from manifestgen.core.tree import Digest

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


def digest_of(chunks: Iterable[bytes]) -> Digest:
    """Return the SHA-256 of all chunks together."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return Digest(digest.hexdigest())
