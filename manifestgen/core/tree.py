"""The files of a bundle by path, SHA-256 and size; the digest names the content.

Two bundles with the same tree are the same app, however they were packed, encrypted or patched
together; a device compares this digest before it switches to anything.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NewType, Self

from manifestgen.core import canonical
from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.limits import LIMITS
from manifestgen.core.paths import check_paths
from manifestgen.core.reader import Reader

Digest = NewType("Digest", str)
"""A SHA-256 as 64 lowercase hex digits."""


def sha256(data: bytes) -> Digest:
    """Digest bytes."""
    return Digest(hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class File:
    """One file of a tree: `path` with forward slashes, `size` in bytes."""

    path: str
    sha256: Digest
    size: int

    def to_json(self) -> JsonObject:
        """Return the document form."""
        return {"path": self.path, "sha256": self.sha256, "size": self.size}

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode one file; the path is checked by the tree, against all the others."""
        read = Reader(value, at)
        return cls(
            path=read.string("path", most=LIMITS.path_bytes),
            sha256=Digest(read.digest("sha256")),
            size=read.integer("size", 0, LIMITS.bundle_bytes),
        )


@dataclass(frozen=True, slots=True)
class Tree:
    """Files sorted by the UTF-8 bytes of their paths, none of which a device cannot hold."""

    files: tuple[File, ...]

    @classmethod
    def of(cls, files: Iterable[File]) -> Self:
        """Make a tree from files in any order.

        Raises:
            FormatError: a path that some device cannot hold, or two that collide on one.
        """
        ordered = sorted(files, key=lambda file: file.path.encode("utf-8", "surrogatepass"))
        check_paths(file.path for file in ordered)
        return cls(tuple(ordered))

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def encode(self) -> bytes:
        """Return the canonical bytes that the digest covers."""
        return canonical.encode(
            {"files": [file.to_json() for file in self.files], "type": "tree.v1"}
        )

    def digest(self) -> Digest:
        """Return the SHA-256 of `encode()`."""
        return sha256(self.encode())
