"""A site folder that one process writes, and that may be lost: atomic, not durable.

Readers see the old bytes or the new, as in any store, and so does whoever comes after a kill. But
nothing is brought to the disk itself: syncing takes longer than all the rest of a publish, and
after a power cut a development site is made again.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from manifestgen.errors import StoreError
from manifestgen.stores import DirectoryStore
from manifestgen.stores.interface import changed, exists
from manifestgen.stores.names import check_name


class QuickStore(DirectoryStore):
    """A directory store without locks and syncs; `scratch` is a folder beside the site."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        super().__init__(folder)
        self._folder = folder
        self._scratch = scratch
        self._count = count()
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed process left
        scratch.mkdir(mode=0o700, parents=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend a private folder on the site's own file system; see `Store.scratch`."""
        folder = self._scratch / str(next(self._count))
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, name: str, source: Path | bytes) -> bool:
        """Write a content-addressed object; see `Store.add`."""
        there = len(source) if isinstance(source, bytes) else source.stat().st_size
        if self.size(name) == there:
            return False
        if isinstance(source, Path) and not source.is_relative_to(self._scratch):
            source = source.read_bytes()
        self._put(name, source)
        return True

    def create(self, name: str, data: bytes) -> None:
        """Write an object that must not exist yet; see `Store.create`."""
        if os.path.lexists(self._folder / check_name(name)):
            raise exists(name)
        self._put(name, data)

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        """Write a mutable object if it still has `tag`; see `Store.replace`."""
        found = self.get(name)
        if tag != (found.tag if found else None):
            raise changed(name)
        self._put(name, data)

    def _put(self, name: str, source: Path | bytes) -> None:
        final = self._folder / check_name(name)
        temporary = self._scratch / f"{next(self._count)}.tmp"
        try:
            if isinstance(source, bytes):
                temporary.write_bytes(source)
                source = temporary
            if not final.parent.is_dir():
                final.parent.mkdir(parents=True, exist_ok=True)
            source.replace(final)
        except OSError as error:
            with suppress(OSError):  # on a full disk, each try would leave something
                temporary.unlink()
            raise StoreError(f"cannot write {final}: {error.strerror}") from error
