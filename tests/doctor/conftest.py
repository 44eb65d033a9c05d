"""Projects to examine, and buckets for them."""

import os

import pytest

from tests.publish.project import fresh, project, published
from tests.stores.conftest import careless, in_bucket, location, prefix, seaweed

__all__ = [
    "careless",
    "fresh",
    "in_bucket",
    "location",
    "prefix",
    "project",
    "published",
    "seaweed",
]


@pytest.fixture(autouse=True)
def only_our_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what this machine ignores everywhere out of it."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
