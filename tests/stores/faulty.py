"""A store that dies: before or after the change of your choice, as a killed process would.

for n in range(1, 1000):
    store = FaultyStore(base(), stop_before=n)
    try:
        publish(store)
    except Killed:
        ...  # look at the base, publish again, look once more
    else:
        break
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from manifestgen.stores import SMALL, Entry, Store, Stored


class Killed(BaseException):
    """Not an `Exception`: nothing that cleans up after errors may live through it."""


class FaultyStore:
    """`base`, counting two steps per change: about to be made, and made but not yet known.

    `steps` says what was counted. Once dead, the store refuses every further change.
    """

    def __init__(self, base: Store, *, stop_before: int | None = None) -> None:
        self.base = base
        self.steps: list[str] = []
        self._stop_before = stop_before

    @property
    def location(self) -> str:
        return self.base.location

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        return self.base.get(name, limit=limit)

    def open(self, name: str) -> BinaryIO | None:
        return self.base.open(name)

    def size(self, name: str) -> int | None:
        return self.base.size(name)

    def names(self, prefix: str = "") -> Iterator[Entry]:
        return self.base.names(prefix)

    def folders(self) -> list[str]:
        return self.base.folders()

    def scratch(self) -> AbstractContextManager[Path]:
        return self.base.scratch()

    def add(self, name: str, source: Path | bytes) -> bool:
        self._step(f"add {name}")
        written = self.base.add(name, source)
        self._step(f"added {name}")
        return written

    def create(self, name: str, data: bytes) -> None:
        self._step(f"create {name}")
        self.base.create(name, data)
        self._step(f"created {name}")

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        self._step(f"replace {name}")
        self.base.replace(name, data, tag=tag)
        self._step(f"replaced {name}")

    def delete(self, name: str) -> None:
        self._step(f"delete {name}")
        self.base.delete(name)
        self._step(f"deleted {name}")

    def _step(self, what: str) -> None:
        self.steps.append(what)
        if self._stop_before is not None and len(self.steps) >= self._stop_before:
            raise Killed(what)
