"""A bucket keeps every promise that a folder keeps: the same tests, on a real server."""

import pytest

from manifestgen.stores import Store
from manifestgen.stores.s3 import S3Store
from tests.stores import test_contract
from tests.stores.test_contract import one_thread_wins

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
    one_thread_wins(bucket, 8)
