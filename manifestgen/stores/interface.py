"""What publishers, verifiers and devices ask of the place where a site lives.

Documents that change, objects that never change and the commit each have a method of their own,
so that reading a call tells which promise it relies on. A store knows names, bytes and tags; what
the bytes mean, and whether to believe them, is for its callers.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from manifestgen.errors import ConflictError, FormatError

SMALL: Final = 4 * 1024 * 1024
"""Bytes that `get` reads when not told otherwise: above any document, page or client script."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One small object as it was read; `tag` changes whenever the bytes do."""

    data: bytes
    tag: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One object in a listing; `size` in bytes, `modified` an aware time in UTC."""

    name: str
    size: int
    modified: datetime


class Store(Protocol):
    """A flat map from slash-separated names to bytes.

    Names are those of `names.check_name`; another raises `UsageError`. Whatever the disk or the
    network does comes out as `StoreError`. `ConflictError` means one thing only: the object is
    there already, or is no longer the one that was read. A reader never sees half an object, and
    what a method wrote is durable when it returns.
    """

    @property
    def location(self) -> str:
        """Name the store in messages: a folder or an address."""

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        """Read a small object whole; `None` if it is not there.

        Raises:
            FormatError: it is larger than `limit` bytes, hence no document of ours.
        """

    def open(self, name: str) -> BinaryIO | None:
        """Open an object of any size for reading once from its start; `None` if it is not there.

        The caller closes it, and stops reading at the size that was signed. Reading may raise
        `StoreError`.
        """

    def size(self, name: str) -> int | None:
        """Return the size in bytes; `None` if it is not there."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Lend a private folder from which `add` takes files without copying, where it can.

        Removed with everything in it on leaving; after a kill, by the next writer.
        """

    def add(self, name: str, source: Path | bytes) -> bool:
        """Write an object whose name follows from its bytes; `False` if it was there already.

        One of the same size counts as the same: the digest is the caller's and the verifier's
        business. One of another size is damage, and is replaced. A `source` inside `scratch()` is
        consumed, any other file is left alone.
        """

    def create(self, name: str, data: bytes) -> None:
        """Write an object that must not exist yet, or raise `ConflictError`.

        Of any number of processes exactly one succeeds. This is what a publish commits with.
        """

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        """Write a mutable object if it still has `tag`, or raise `ConflictError`.

        `None` stands for an object that does not exist yet.
        """

    def names(self, prefix: str = "") -> Iterator[Entry]:
        """List the objects whose names begin with `prefix`, sorted by name."""

    def folders(self) -> list[str]:
        """List the folders at the top, channels among them; empty where nothing can be listed.

        One cheap request anywhere, however many blobs there are.
        """

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is fine. For pruning only."""


def tag_of(data: bytes) -> str:
    """Return the tag of stores that keep none: bytes that came back are the same version."""
    return hashlib.sha256(data).hexdigest()


def exists(name: str) -> ConflictError:
    """Make the error of a `create` that came second."""
    return ConflictError(
        f"{name} exists already", hint="somebody else published; run the same command again"
    )


def changed(name: str) -> ConflictError:
    """Make the error of a `replace` that came second."""
    return ConflictError(
        f"{name} changed in the meantime",
        hint="somebody else published; run the same command again",
    )


def too_large(name: str, limit: int) -> FormatError:
    """Make the error of a `get` beyond its limit."""
    return FormatError(f"{name}: more than {limit} bytes", code="too_large")
