"""A site that never touches a disk, and one store laid over another, for dry runs and for CI."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import BinaryIO

from manifestgen.stores.interface import (
    SMALL,
    Entry,
    Store,
    Stored,
    changed,
    exists,
    tag_of,
    too_large,
)
from manifestgen.stores.names import check_name


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Lend a folder of the system's, for stores that have no disk of their own."""
    with TemporaryDirectory(prefix="manifestgen-") as folder:
        yield Path(folder)


class MemoryStore:
    """A whole site in a dictionary; threads may share it."""

    def __init__(self, *, now: Callable[[], datetime] = _now) -> None:
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._now = now
        self._lock = Lock()

    @property
    def location(self) -> str:
        """Name the store in messages."""
        return "memory"

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        """Read a small object whole; see `Store.get`."""
        found = self._objects.get(check_name(name))
        if found is None:
            return None
        if len(found[0]) > limit:
            raise too_large(name, limit)
        return Stored(found[0], tag_of(found[0]))

    def open(self, name: str) -> BinaryIO | None:
        """Open an object for reading; see `Store.open`."""
        found = self._objects.get(check_name(name))
        return BytesIO(found[0]) if found else None

    def size(self, name: str) -> int | None:
        """Return the size in bytes; see `Store.size`."""
        found = self._objects.get(check_name(name))
        return len(found[0]) if found else None

    def scratch(self) -> AbstractContextManager[Path]:
        """Lend a private folder; see `Store.scratch`."""
        return temporary_folder()

    def add(self, name: str, source: Path | bytes) -> bool:
        """Write a content-addressed object; see `Store.add`."""
        data = source if isinstance(source, bytes) else source.read_bytes()
        with self._lock:
            if self.size(name) == len(data):
                return False
            self._put(name, data)
        return True

    def create(self, name: str, data: bytes) -> None:
        """Write an object that must not exist yet; see `Store.create`."""
        with self._lock:
            if check_name(name) in self._objects:
                raise exists(name)
            self._put(name, data)

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        """Write a mutable object if it still has `tag`; see `Store.replace`."""
        with self._lock:
            found = self._objects.get(check_name(name))
            if tag != (tag_of(found[0]) if found else None):
                raise changed(name)
            self._put(name, data)

    def names(self, prefix: str = "") -> Iterator[Entry]:
        """List objects by name; see `Store.names`."""
        with self._lock:
            found = sorted(item for item in self._objects.items() if item[0].startswith(prefix))
        return (Entry(name, len(data), modified) for name, (data, modified) in found)

    def folders(self) -> list[str]:
        """List the folders at the top; see `Store.folders`."""
        return sorted({name.partition("/")[0] for name in self._objects if "/" in name})

    def delete(self, name: str) -> None:
        """Remove an object; see `Store.delete`."""
        with self._lock:
            self._objects.pop(check_name(name), None)

    def _put(self, name: str, data: bytes) -> None:
        self._objects[check_name(name)] = (data, self._now())


class Overlay:
    """One store on top of another: reads fall through to the one beneath, writes stay on top.

    With memory on top it shows what a command would do; with a folder on top of a live site it is
    what a CI job with an empty folder continues. `written` and `deleted` list what a command did,
    in the order it did it. The store beneath is never written to, so a conflict with another
    process is only seen if that one came first.
    """

    def __init__(self, base: Store, top: Store | None = None) -> None:
        self._base = base
        self._top = MemoryStore() if top is None else top
        self.written: list[str] = []
        self.deleted: list[str] = []

    @property
    def location(self) -> str:
        """Name the store in messages: the one beneath."""
        return self._base.location

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        """Read a small object whole; see `Store.get`."""
        return self._holder(name).get(name, limit=limit)

    def open(self, name: str) -> BinaryIO | None:
        """Open an object for reading; see `Store.open`."""
        return self._holder(name).open(name)

    def size(self, name: str) -> int | None:
        """Return the size in bytes; see `Store.size`."""
        return self._holder(name).size(name)

    def scratch(self) -> AbstractContextManager[Path]:
        """Lend a private folder, outside the store beneath; see `Store.scratch`."""
        return self._top.scratch()

    def add(self, name: str, source: Path | bytes) -> bool:
        """Write a content-addressed object; see `Store.add`."""
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if self.size(name) == size:
            return False
        self._top.add(name, source)
        self._note(name)
        return True

    def create(self, name: str, data: bytes) -> None:
        """Write an object that must not exist yet; see `Store.create`."""
        if self.size(name) is not None:
            raise exists(name)
        self._top.create(name, data)
        self._note(name)

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        """Write a mutable object if it still has `tag`; see `Store.replace`."""
        found = self.get(name)
        if tag != (found.tag if found else None):
            raise changed(name)
        above = self._top.get(name)
        self._top.replace(name, data, tag=above.tag if above else None)
        self._note(name)

    def names(self, prefix: str = "") -> Iterator[Entry]:
        """List objects by name; see `Store.names`."""
        found = {entry.name: entry for entry in self._base.names(prefix)}
        for name in self.deleted:
            found.pop(name, None)
        found.update((entry.name, entry) for entry in self._top.names(prefix))
        return iter(sorted(found.values(), key=lambda entry: entry.name))

    def folders(self) -> list[str]:
        """List the folders at the top; see `Store.folders`."""
        return sorted({*self._base.folders(), *self._top.folders()})

    def delete(self, name: str) -> None:
        """Remove an object; see `Store.delete`."""
        if self.size(name) is None:
            return
        self._top.delete(name)
        if name in self.written:
            self.written.remove(name)
        if self._base.size(name) is not None:
            self.deleted.append(name)

    def _holder(self, name: str) -> Store:
        gone = check_name(name) in self.deleted
        return self._top if gone or self._top.size(name) is not None else self._base

    def _note(self, name: str) -> None:
        if name in self.deleted:
            self.deleted.remove(name)
        if name not in self.written:
            self.written.append(name)
