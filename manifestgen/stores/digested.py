"""Take in bytes that are believed only once their digest is known: of a kit, or of another site."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from io import FileIO
from pathlib import Path

from manifestgen.core.tree import Digest
from manifestgen.errors import StoreError, os_reason


def digested(chunks: Iterable[bytes], target: Path | None = None) -> tuple[Digest, int]:
    """Return the SHA-256 of some bytes and how many they are, once they are all in a new file.

    Without a `target` they are only read.

    Raises:
        StoreError: the disk is full, or something else lies at `target`: nothing is written
            through what others put there.
    """
    digest, count = hashlib.sha256(), 0
    try:
        # One thread digests a chunk while the other writes it.
        with (
            FileIO(target, "xb") if target else nullcontext() as file,
            ThreadPoolExecutor(1, "digest") as pool,
        ):
            for chunk in chunks:
                digesting = pool.submit(digest.update, chunk)
                if file:
                    _write_all(file, chunk)
                digesting.result()
                count += len(chunk)
    except OSError as error:
        raise StoreError(
            f"cannot write a temporary file: {os_reason(error)}",
            hint="make room, then run the same command again: it goes on where it stopped",
        ) from error
    return Digest(digest.hexdigest()), count


def _write_all(file: FileIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]
