"""A bucket keeps every promise that a folder keeps: the same tests, on a real server."""

import threading
from collections.abc import Callable

import pytest

from manifestgen.errors import ConflictError
from manifestgen.stores import Store
from manifestgen.stores.s3 import S3Store
from tests.stores import test_contract
from tests.stores.test_contract import HISTORY, MANIFEST, read, tag

_ELSEWHERE = "test_threads_have_one_winner"  # chooses its stores itself

for _name in dir(test_contract):
    if _name.startswith("test_") and _name != _ELSEWHERE:
        globals()[_name] = getattr(test_contract, _name)


@pytest.fixture
def store(bucket: S3Store) -> Store:
    return bucket


def test_the_promises_were_found() -> None:
    assert sum(name.startswith("test_") for name in globals()) > 15


def test_threads_have_one_winner_in_a_bucket(bucket: S3Store) -> None:
    bucket.replace(MANIFEST, b"start", tag=None)
    before = tag(bucket, MANIFEST)
    ready, won = threading.Barrier(8), []

    def run(me: bytes) -> None:
        ready.wait()
        calls: dict[str, Callable[[], None]] = {
            "create": lambda: bucket.create(HISTORY, me),
            "replace": lambda: bucket.replace(MANIFEST, me, tag=before),
        }
        for what, call in calls.items():
            try:
                call()
            except ConflictError:
                continue
            won.append((what, me))

    threads = [threading.Thread(target=run, args=(str(n).encode(),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [("create", read(bucket, HISTORY)), ("replace", read(bucket, MANIFEST))]
