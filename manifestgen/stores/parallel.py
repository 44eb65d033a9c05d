"""How much to do at a time: as much as a store gains from, and no more than memory allows."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from manifestgen.stores.interface import Store

LOCAL: Final = 2
"""Digests and ciphers let go of the interpreter; more threads would wait for the disk."""
REMOTE: Final = 8
"""Servers take their time for each answer; urllib3 keeps ten connections."""
AT_ONCE: Final = 16
"""Small requests to a bucket, or bytes it is sent: most of each is waiting for the service."""

T = TypeVar("T")
R = TypeVar("R")


def workers(store: Store) -> int:
    """Return how many threads reading or writing a store keeps busy."""
    return REMOTE if "://" in store.location else LOCAL


def askers(store: Store) -> int:
    """Return how many threads may ask a store for no more than whether something is there."""
    return AT_ONCE if store.location.startswith("s3://") else workers(store)


def all_of(work: Callable[[T], R], jobs: Iterable[T], *, threads: int) -> list[R]:
    """Do all jobs, `threads` at a time, and return the results in their order.

    After an error or an interruption no further one is begun: the thread that fails says so before
    it could take another, since this one may be long in hearing of it.
    """
    errors = list[BaseException]()

    def unless_failed(job: T) -> R:
        if errors:
            raise errors[0]
        try:
            return work(job)
        except BaseException as error:
            errors.append(error)
            raise

    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(unless_failed, jobs))
    finally:
        pool.shutdown(cancel_futures=True)


def in_turn(pool: ThreadPoolExecutor, work: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
    """Give the results in the order of the jobs, of which only a few are begun ahead.

    `map` of a pool would queue them all: of a million single files, a gigabyte of them. After an
    error no further one is begun.
    """
    ahead: deque[Future[R]] = deque()
    try:
        for job in jobs:
            ahead.append(pool.submit(work, job))
            if len(ahead) >= 4 * REMOTE:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()
