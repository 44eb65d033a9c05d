"""`site copy` from and to buckets: the same as between folders, over a network that fails."""

from itertools import count
from pathlib import Path

import pytest

from manifestgen.errors import StoreError
from manifestgen.stores import MemoryStore
from tests.channels.conftest import Publisher
from tests.copy.conftest import URL
from tests.copy.test_copy import copied, files, is_sound
from tests.publish.project import check_refusal, site_files
from tests.stores.conftest import at, opened
from tests.stores.s3_proxy import Asked, Fault, Spoilt, healthy, proxied
from tests.tools.seaweedfs import S3Server


@pytest.fixture
def in_seaweed(
    seaweed: S3Server, location: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    """Point the commands at the server; return a place in its bucket."""
    at(seaweed.endpoint, monkeypatch, tmp_path)
    return location


def test_into_a_bucket_to_another_prefix_and_back_into_a_folder(
    source: Publisher, in_seaweed: str
) -> None:
    one, other = f"{in_seaweed}/one", f"{in_seaweed}/other"
    dry = source.data(f"site copy site {one} --dry-run")
    said = source.data(f"site copy site {one}")
    assert {**dry, "dry_run": False} == said
    assert said["changed"]
    again = source.data(f"site copy site {one}")
    assert (again["changed"], again["blobs"], again["bytes"]) == (False, 0, 0)
    assert source.data(f"site copy {one} {other}/")["blobs"] == said["blobs"]
    source.publish("1.3.0", "--site", one)
    later = source.data(f"site copy {one} {other}")
    assert [channel["manifests"] for channel in later["channels"]] == [0, 1]
    assert source.data(f"verify {other} --base-url {URL}")["ok"]
    source.does(f"site copy {other} mirror")
    assert source.data("verify mirror")["ok"]
    source.does(f"site copy {other} site")
    assert site_files(source.folder / "mirror") == site_files(source.site)
    source.refuses(f"site copy mirror {one}/inside/../x", code=2, error="is no address")


def test_places_of_which_one_lies_inside_the_other_are_refused(
    source: Publisher, in_seaweed: str
) -> None:
    source.refuses(f"site copy {in_seaweed} {in_seaweed}/", code=2, error="both FROM and TO")
    source.refuses(f"site copy {in_seaweed} {in_seaweed}/x", code=2, error="inside the other")
    source.refuses(f"site copy {in_seaweed}/x {in_seaweed}", code=2, error="inside the other")


def test_cut_off_anywhere_the_next_copy_into_a_bucket_goes_on(
    source: Publisher, seaweed: S3Server, location: str
) -> None:
    whole = site_files(source.site)
    blobs = sum(name.startswith("blobs/") for name in whole)
    cuts = 0
    with proxied(seaweed.endpoint) as proxy:
        for allowed in count(2, 9):
            store = opened(proxy.endpoint, f"{location}/{allowed}")
            proxy.asked.clear()
            proxy.fault = _cut_after(allowed)
            try:
                copied(source, store)
            except StoreError:
                cuts += 1
            else:
                break
            proxy.fault = healthy
            there = sum(name.startswith("blobs/") for name in files(store))
            proxy.asked.clear()
            copied(source, store)
            assert proxy.count("PUT", "blobs/") == blobs - there, "what is there is not sent again"
            assert files(store) == whole
    assert cuts > 3
    assert is_sound(source, opened(seaweed.endpoint, f"{location}/2"))


def test_cut_off_anywhere_the_next_copy_from_a_bucket_goes_on(
    source: Publisher, seaweed: S3Server, location: str
) -> None:
    whole = site_files(source.site)
    copied(source, opened(seaweed.endpoint, location))
    cuts = 0
    with proxied(seaweed.endpoint) as proxy:
        for allowed in count(2, 4):
            target, store = MemoryStore(), opened(proxy.endpoint, location)
            proxy.asked.clear()
            proxy.fault = _cut_after(allowed)
            try:
                copied(source, target, store)
            except StoreError:
                cuts += 1
            else:
                break
            proxy.fault = healthy
            copied(source, target, store)
            assert files(target) == whole
    assert cuts > 2


def _cut_after(allowed: int) -> Fault:
    # Hanging up would do as well, but is tried again and again.
    def fault(asked: Asked) -> Spoilt | None:
        return Spoilt(status=403, code="AccessDenied") if asked.number > allowed else None

    return fault


def test_a_store_without_conditions_is_refused_until_it_is_said_that_nobody_else_writes(
    source: Publisher,
    careless: S3Server,
    location: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    at(careless.endpoint, monkeypatch, tmp_path)
    said = source.run("site", "copy", "site", location)
    check_refusal(said, code=6, error="ignores conditions")
    store = opened(careless.endpoint, location)
    assert list(store.names()) == []
    source.does(f"site copy site {location} --single-publisher")
    assert files(store) == site_files(source.site)
    source.does(f"site copy {location} mirror")  # reading needs none
    assert site_files(source.folder / "mirror") == site_files(source.site)
