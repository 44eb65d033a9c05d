"""Object stores, one server for all tests of a worker, a prefix for each."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manifestgen.stores.s3 import Patience, S3Store
from manifestgen.stores.s3_access import find_access
from tests.publish.project import fresh, published
from tests.tools import rclone, seaweedfs
from tests.tools.seaweedfs import S3Server

__all__ = ["fresh", "published"]

QUICK = Patience(connect=5, silence=5, upload=10, retries=5, backoff=0.01, longest_pause=0.05)

_numbers = itertools.count()

NewStore = Callable[..., S3Store]


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with seaweedfs.serve(tmp_path_factory.mktemp("seaweedfs") / "data") as server:
        yield server


@pytest.fixture(scope="session")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Give a store that ignores conditions."""
    with rclone.serve(tmp_path_factory.mktemp("rclone") / "data") as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """Give a name that nothing else in a bucket begins with."""
    return f"p{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def location(prefix: str) -> str:
    return f"s3://{seaweedfs.BUCKET}/{prefix}"


@pytest.fixture
def bucket(seaweed: S3Server, location: str) -> S3Store:
    return opened(seaweed.endpoint, location)


@pytest.fixture
def in_bucket(
    seaweed: S3Server, location: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    """Point the commands at a place in the bucket by the variables alone; return it."""
    at(seaweed.endpoint, monkeypatch, tmp_path)
    monkeypatch.setenv("MANIFESTGEN_SITE", location)
    return location


def at(endpoint: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Point everything at a server, whatever the machine's own settings are."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name, value in seaweedfs.environment(endpoint).items():
        monkeypatch.setenv(name, value)


def opened(endpoint: str, location: str, *, single_publisher: bool = False) -> S3Store:
    """Open a store that gives up soon."""
    return S3Store(
        location,
        single_publisher=single_publisher,
        access=find_access(seaweedfs.environment(endpoint)),
        patience=QUICK,
    )
