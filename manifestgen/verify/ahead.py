"""Documents fetched before anybody asks for them: each takes a server its time, not its work.

Only the waiting is shared. What is asked for, in which order it is judged and what is said of it
stays with whoever reads; what was fetched and is not asked for is as if it had never been.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Final

from manifestgen.stores.interface import Store, Stored
from manifestgen.stores.parallel import REMOTE

_AHEAD: Final = 2 * REMOTE  # documents, so that no thread waits for the judge of one


class Ahead:
    """Reads from a store, and a few `names` in advance; others are read when they are asked for."""

    def __init__(
        self, store: Store, pool: ThreadPoolExecutor, names: Iterable[str], limit: int
    ) -> None:
        self._store = store
        self._pool = pool
        self._names = iter(names)
        self._limit = limit
        self._begun: dict[str, Future[Stored | None]] = {}

    def get(self, name: str, *, limit: int) -> Stored | None:
        """Read a document; see `Store.get`. An error comes here, however early it happened."""
        self._begin()
        if name not in self._begun or limit != self._limit:
            return self._store.get(name, limit=limit)
        while (first := next(iter(self._begun))) != name:
            self._begun.pop(first).cancel()  # passed over
        found = self._begun.pop(name)
        self._begin()
        return found.result()

    def _begin(self) -> None:
        for name in islice(self._names, _AHEAD - len(self._begun)):
            self._begun[name] = self._pool.submit(self._store.get, name, limit=self._limit)


@contextmanager
def ahead(store: Store, names: Iterable[str], limit: int) -> Iterator[Ahead]:
    """Lend a reader of documents that are asked for in about this order."""
    pool = ThreadPoolExecutor(REMOTE, "ahead")
    try:
        yield Ahead(store, pool, names, limit)
    finally:
        pool.shutdown(cancel_futures=True)
