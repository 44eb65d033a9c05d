"""A store that passes everything on to another: the base of views that change one thing."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from manifestgen.stores.interface import SMALL, Entry, Store, Stored


class Passing:
    """Every method asks `store`; what it promises is promised there."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def location(self) -> str:
        """See `Store.location`."""
        return self.store.location

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        """See `Store.get`."""
        return self.store.get(name, limit=limit)

    def open(self, name: str) -> BinaryIO | None:
        """See `Store.open`."""
        return self.store.open(name)

    def size(self, name: str) -> int | None:
        """See `Store.size`."""
        return self.store.size(name)

    def scratch(self) -> AbstractContextManager[Path]:
        """See `Store.scratch`."""
        return self.store.scratch()

    def add(self, name: str, source: Path | bytes) -> bool:
        """See `Store.add`."""
        return self.store.add(name, source)

    def create(self, name: str, data: bytes) -> None:
        """See `Store.create`."""
        self.store.create(name, data)

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        """See `Store.replace`."""
        self.store.replace(name, data, tag=tag)

    def names(self, prefix: str = "") -> Iterator[Entry]:
        """See `Store.names`."""
        return self.store.names(prefix)

    def folders(self) -> list[str]:
        """See `Store.folders`."""
        return self.store.folders()

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self.store.delete(name)
