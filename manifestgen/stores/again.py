"""Writes that come to the same end however often they are begun, and whoever else writes."""

from collections.abc import Callable
from typing import Final

from manifestgen.errors import ConflictError
from manifestgen.stores.interface import SMALL, Store

_TRIES: Final = 5


def settle(store: Store, name: str, make: Callable[[], bytes], *, limit: int = SMALL) -> None:
    """Write a mutable object that follows from others, unless it is right already.

    It is made again when others wrote meanwhile: they may have changed what it follows from.

    Raises:
        ConflictError: others kept writing.
    """
    for _ in range(_TRIES):
        stored = store.get(name, limit=limit)
        data = make()
        if stored and stored.data == data:
            return
        try:
            store.replace(name, data, tag=stored.tag if stored else None)
        except ConflictError:
            continue
        return
    raise ConflictError(f"{name} keeps changing", hint="run the same command again")


def create_same(store: Store, name: str, data: bytes, *, limit: int = SMALL) -> None:
    """Create an object, or find it there with the same bytes; `ConflictError` if it has others."""
    try:
        store.create(name, data)
    except ConflictError:
        stored = store.get(name, limit=limit)
        if stored is None or stored.data != data:
            raise
