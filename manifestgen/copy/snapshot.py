"""A view of a site that does not change while it is copied.

Each document is read once and kept in one temporary file; whoever asks again gets the same bytes.
So what is written is what was verified, whatever the other side answers the second time, and a
publish in the middle is not seen. Blobs are passed on: they are named by their digest.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import BinaryIO

from manifestgen.stores.interface import SMALL, Store, Stored, tag_of, too_large
from manifestgen.stores.names import BLOBS
from manifestgen.stores.passing import Passing
from manifestgen.stores.scratch import scratch_explained


class Snapshot(Passing):
    """A store whose documents stay as they were first read; any number of threads may read."""

    def __init__(self, store: Store, file: BinaryIO) -> None:
        super().__init__(store)
        self._file = file
        self._lock = Lock()
        self._places: dict[str, tuple[int, int] | None] = {}

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        """Read an object whole; a document for the first time from the store."""
        if name.startswith(BLOBS):
            return self.store.get(name, limit=limit)
        if name not in self._places:
            found = self.store.get(name, limit=limit)
            with self._lock:
                # Of two threads that asked at once, the first decides for both.
                self._places.setdefault(name, self._kept(found.data) if found else None)
        place = self._places[name]
        return self._read(name, place, limit) if place else None

    def _kept(self, data: bytes) -> tuple[int, int]:
        with scratch_explained():
            at = self._file.seek(0, 2)
            self._file.write(data)
        return at, len(data)

    def _read(self, name: str, place: tuple[int, int], limit: int) -> Stored:
        at, size = place
        if size > limit:
            raise too_large(name, limit)
        with self._lock, scratch_explained():
            self._file.seek(at)
            data = self._file.read(size)
        return Stored(data, tag_of(data))


@contextmanager
def snapshot(store: Store) -> Iterator[Snapshot]:
    """Lend a view of a store that stays the same."""
    with tempfile.TemporaryFile() as file:
        yield Snapshot(store, file)
