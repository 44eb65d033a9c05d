"""A view of a site that asks for a blob once, however often it is read.

Blobs that will be read again (`keep`) go through a temporary file at the first reading; the later
ones read that. Everything else is passed on. What was not read to its end is not kept.
"""

import io
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from manifestgen.core.tree import sha256
from manifestgen.stores.interface import SMALL, Store, Stored, tag_of, too_large
from manifestgen.stores.passing import Passing
from manifestgen.stores.scratch import scratch_explained

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Once(Passing):
    """A store whose kept objects are fetched once; any number of threads may read.

    `folder` is there for as long as this is used, and removed by whoever made it.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        super().__init__(store)
        self._folder = folder
        self._locks: dict[str, Lock] = {}
        self._kept: dict[str, Path | None] = {}

    def keep(self, names: Iterable[str]) -> None:
        """Say what will be read more than once; not while others read."""
        for name in names:
            self._locks.setdefault(name, Lock())

    def open(self, name: str) -> BinaryIO | None:
        """Open an object, from the temporary file if it was read before."""
        if name not in self._locks:
            return self.store.open(name)
        with ExitStack() as held:
            held.enter_context(self._locks[name])  # until the first reader is done
            if name in self._kept:
                path = self._kept[name]
                return path.open("rb") if path else None
            source = self.store.open(name)
            if source is None:
                self._kept[name] = None
                return None
            held.enter_context(source)
            path = self._folder / sha256(name.encode())
            with scratch_explained():
                copy = held.enter_context(path.open("wb"))
            return io.BufferedReader(_Copying(source, copy, held.pop_all(), self._done(name, path)))

    def _done(self, name: str, path: Path) -> Callable[[], None]:
        return lambda: self._kept.update({name: path})

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        """Read an object whole; see `open`."""
        if name not in self._locks:
            return self.store.get(name, limit=limit)
        file = self.open(name)
        if file is None:
            return None
        with file:
            data = file.read(limit + 1)
            if len(data) > limit:
                raise too_large(name, limit)
            file.read(1)  # so that its end was seen
        return Stored(data, tag_of(data))


class _Copying(io.RawIOBase):
    """What a store gives, written to a file as it is read; `done` is told of the end."""

    def __init__(
        self, source: BinaryIO, copy: BinaryIO, held: ExitStack, done: Callable[[], None]
    ) -> None:
        super().__init__()
        self._source = source
        self._copy = copy
        self._held = held
        self._done = done
        self._whole = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        target = memoryview(buffer).cast("B")
        data = self._source.read(len(target))
        with scratch_explained():
            self._copy.write(data)
        self._whole = not data
        target[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            with self._held, scratch_explained():
                self._copy.flush()
                if self._whole:
                    self._done()
        super().close()
