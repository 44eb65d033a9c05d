"""The contents of a packed bundle, one file at a time."""

from pathlib import Path

from manifestgen.core.archive import inflate, read_members, tree_of
from manifestgen.core.limits import LIMITS
from manifestgen.core.tree import File, Tree


class Contents:
    """A zip on disk; what it says is checked where it is read. Threads may share it."""

    def __init__(self, path: Path, *, limit: int = LIMITS.bundle_bytes) -> None:
        self._path = path
        self._limit = limit
        with path.open("rb") as file:
            self._entries = {entry.path: entry for entry in read_members(file, limit=limit)}

    def tree(self) -> Tree:
        """Digest every file, or raise `FormatError`."""
        with self._path.open("rb") as file:
            return tree_of(file, limit=self._limit)

    def read(self, file: File) -> bytes:
        """Return a content whole."""
        # A handle of its own: threads that shared one would move it under one another.
        with self._path.open("rb") as archive:
            return b"".join(inflate(archive, self._entries[file.path]))
