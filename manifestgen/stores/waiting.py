"""A store whose new blobs wait beside it until whoever writes them is sure.

For publishers whose keys are elsewhere, and may refuse: what waits is read like the rest, and is
gone without a trace if nobody calls `write`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from manifestgen.stores.batch import add_all
from manifestgen.stores.interface import SMALL, Entry, Store, Stored, tag_of


@contextmanager
def waiting(store: Store) -> Iterator["Waiting"]:
    """Lend a store that holds blobs back, in a scratch folder of the one beneath."""
    with store.scratch() as folder:
        yield Waiting(store, folder)


class Waiting:
    """The store beneath, and blobs on their way into it; all else is written at once."""

    def __init__(self, base: Store, folder: Path) -> None:
        self._base = base
        self._folder = folder
        self._blobs: dict[str, Path] = {}

    @property
    def location(self) -> str:
        """Name the store in messages: the one beneath."""
        return self._base.location

    def write(self) -> None:
        """Write what waits."""
        add_all(self._base, self._blobs)
        self._blobs.clear()

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        """Read a small object whole; see `Store.get`."""
        if name in self._blobs and self._blobs[name].stat().st_size <= limit:
            data = self._blobs[name].read_bytes()
            return Stored(data, tag_of(data))
        return self._base.get(name, limit=limit)

    def open(self, name: str) -> BinaryIO | None:
        """Open an object for reading; see `Store.open`."""
        return self._blobs[name].open("rb") if name in self._blobs else self._base.open(name)

    def size(self, name: str) -> int | None:
        """Return the size in bytes; see `Store.size`."""
        return self._blobs[name].stat().st_size if name in self._blobs else self._base.size(name)

    def scratch(self) -> AbstractContextManager[Path]:
        """Lend a private folder of the store beneath; see `Store.scratch`."""
        return self._base.scratch()

    def add(self, name: str, source: Path | bytes) -> bool:
        """Keep a content-addressed object until `write`; see `Store.add`."""
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if self.size(name) == size:
            return False
        path = self._folder / name.rpartition("/")[2]
        if isinstance(source, bytes):
            path.write_bytes(source)
        else:
            self._take(source, path)
        self._blobs[name] = path
        return True

    def create(self, name: str, data: bytes) -> None:
        """Write an object that must not exist yet; see `Store.create`."""
        self._base.create(name, data)

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        """Write a mutable object; see `Store.replace`."""
        self._base.replace(name, data, tag=tag)

    def names(self, prefix: str = "") -> Iterator[Entry]:
        """List the objects of the store beneath; see `Store.names`."""
        return self._base.names(prefix)

    def folders(self) -> list[str]:
        """List the folders at the top; see `Store.folders`."""
        return self._base.folders()

    def delete(self, name: str) -> None:
        """Remove an object; see `Store.delete`."""
        self._blobs.pop(name, None)
        self._base.delete(name)

    def _take(self, source: Path, path: Path) -> None:
        # Beside our folder lie others that the same store has lent, unless that is anybody's place.
        lent = self._folder.parent
        if source.is_relative_to(lent) and lent != Path(tempfile.gettempdir()):
            with suppress(OSError):  # a disk without links
                path.hardlink_to(source)
                return
        shutil.copyfile(source, path)
