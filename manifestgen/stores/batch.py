"""Many blobs at once, where a store gains from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from manifestgen.stores.interface import Store


@runtime_checkable
class Batching(Protocol):
    """A store that adds many blobs faster together than one by one."""

    def add_all(self, sources: Mapping[str, Path | bytes]) -> int:
        """Add blobs by name, in any order; return how many were not there. See `Store.add`."""


def add_all(store: Store, sources: Mapping[str, Path | bytes]) -> int:
    """Add blobs by name; return how many were not there. After an error no more are begun."""
    if isinstance(store, Batching):
        return store.add_all(sources)
    return sum(store.add(name, source) for name, source in sources.items())
