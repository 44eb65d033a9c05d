"""What a publish asks of its store does not grow: not with releases, not with channels."""

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from manifestgen.config import Settings, load
from manifestgen.core.version import Version
from manifestgen.publish import Request, init, publish, read_build
from manifestgen.publish.channels import Desk, refresh
from manifestgen.publish.prune import prune
from manifestgen.stores import SMALL, DirectoryStore, Entry, MemoryStore, Store, Stored

START = datetime(2030, 1, 1, tzinfo=UTC)


class CountingStore:
    """`base`, counting what is asked of it, and the bytes of listings."""

    def __init__(self, base: Store) -> None:
        self.base = base
        self.asked: Counter[str] = Counter()

    @property
    def location(self) -> str:
        return self.base.location

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        self.asked["get"] += 1
        return self.base.get(name, limit=limit)

    def open(self, name: str) -> BinaryIO | None:
        self.asked["open"] += 1
        return self.base.open(name)

    def size(self, name: str) -> int | None:
        self.asked["size"] += 1
        return self.base.size(name)

    def names(self, prefix: str = "") -> Iterator[Entry]:
        for entry in self.base.names(prefix):
            self.asked["listed"] += 1
            yield entry

    def folders(self) -> list[str]:
        self.asked["folders"] += 1
        return self.base.folders()

    def scratch(self) -> AbstractContextManager[Path]:
        return self.base.scratch()

    def add(self, name: str, source: Path | bytes) -> bool:
        self.asked["add"] += 1
        return self.base.add(name, source)

    def create(self, name: str, data: bytes) -> None:
        self.asked["create"] += 1
        self.base.create(name, data)

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        self.asked["replace"] += 1
        self.base.replace(name, data, tag=tag)

    def delete(self, name: str) -> None:
        self.asked["delete"] += 1
        self.base.delete(name)


class Shop:
    """A project that publishes releases of one file to many channels, an hour apart."""

    def __init__(self, folder: Path) -> None:
        config = folder / "manifestgen.toml"
        config.write_text('app = "com.example.shop"\nscheme = "none"\npatches = 1\n')
        init(load(config, {}), now=START, ask=lambda _: None, ci=False)
        self.settings: Settings = replace(load(config, {}), base_url="https://cdn.example.com")
        self.build = folder / "dist"
        self.build.mkdir()
        self.base = MemoryStore()
        self._numbers = itertools.count(1)

    def publishes(self, channel: str) -> Counter[str]:
        number = next(self._numbers)
        page = self.build / "index.html"
        page.write_text(f"<!doctype html><title>{number}</title>" + "same\n" * 200)
        request = Request(
            read_build(self.settings, self.build), channel, Version.parse(f"1.{number}.0")
        )
        store = CountingStore(self.base)
        now = START + timedelta(hours=number)
        publish(self.settings, request, store=store, ask=lambda _: None, now=now)
        return store.asked

    def refreshes(self, channel: str) -> Counter[str]:
        store = CountingStore(self.base)
        now = START + timedelta(hours=next(self._numbers))
        refresh(Desk.open(self.settings, store, ask=lambda _: None, now=now), channel)
        return store.asked


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_publish_asks_for_the_same_however_many_releases_there_are(shop: Shop) -> None:
    asked = [shop.publishes("production") for _ in range(12)]
    assert asked[4] == asked[11]
    assert asked[11]["listed"] == 0
    assert sum(asked[11].values()) < 60


def test_a_publish_asks_for_the_same_however_many_channels_there_are(shop: Shop) -> None:
    for _ in range(4):
        shop.publishes("production")
    for number in range(17):
        shop.publishes(f"line-{number:02d}")
    some, refreshed = settled(shop), shop.refreshes("production")
    for number in range(17, 30):
        shop.publishes(f"line-{number:02d}")
    assert settled(shop) == some
    assert shop.refreshes("production") == refreshed
    assert refreshed["listed"] == 0


def settled(shop: Shop) -> Counter[str]:
    """Publish until no refresh lies among the last releases, whose manifests are read."""
    return [shop.publishes("production") for _ in range(3)][-1]


def test_a_folder_is_listed_in_order_and_bit_by_bit(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    names = ["a.json", "a/x.json", "a-b/y.json", "a0.json", "a/b/c.json", "b.json", "A.json"]
    for name in names:
        store.create(name, b"x")
    listing = store.names()
    assert next(listing).name == min(names)
    store.delete("a0.json")  # what was deleted since is passed over
    assert [entry.name for entry in listing] == sorted({*names} - {min(names), "a0.json"})
    assert [entry.name for entry in store.names("a/")] == ["a/b/c.json", "a/x.json"]


def test_pruning_deletes_as_it_lists(shop: Shop) -> None:
    for _ in range(8):
        shop.publishes("production")

    class Ordered(CountingStore):
        listed_at_first_deletion = 0

        def delete(self, name: str) -> None:
            if not self.asked["delete"]:
                self.listed_at_first_deletion = self.asked["listed"]
            super().delete(name)

    store = Ordered(shop.base)
    later = START + timedelta(days=400)
    desk = Desk.open(shop.settings, store, ask=lambda _: None, now=later)
    done = prune(desk.site, keep=1, grace=timedelta(0), now=later)
    assert len(done.deleted) == store.asked["delete"] > 3
    assert store.listed_at_first_deletion < store.asked["listed"]
