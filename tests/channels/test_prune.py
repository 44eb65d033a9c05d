"""`prune`: what nobody can need any more goes, and nothing else."""

import os
from pathlib import Path

import pytest

from manifestgen.core.envelope import Envelope
from tests.channels.conftest import Publisher
from tests.publish.project import changes, snapshot


def releases(publisher: Publisher, *versions: str) -> dict[str, str]:
    """Publish versions a day apart; return the blob of each by version."""
    found = {}
    for version in versions:
        before = publisher.blobs()
        publisher.publish(version, "--floor", versions[0])
        (found[version],) = publisher.blobs() - before
        publisher.later(days=1)
        aged(publisher)
    return found


def aged(publisher: Publisher) -> None:
    """Let the blobs be as old as they would be by the test's clock."""
    for path in (publisher.site / "blobs").rglob("*.bin"):
        if path.stat().st_mtime > publisher.now.timestamp() or path.stat().st_mtime < 1.8e9:
            os.utime(path, times=(publisher.now.timestamp() - 86400,) * 2)


def left(publisher: Publisher, blobs: dict[str, str]) -> list[str]:
    """Return the versions whose blob is there."""
    there = publisher.blobs()
    return [version for version, name in blobs.items() if name in there]


FIVE = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")


def test_what_an_unexpired_manifest_names_stays(publisher: Publisher) -> None:
    blobs = releases(publisher, *FIVE)
    publisher.later(days=1)
    data = publisher.data("prune --keep 1 --grace 0")
    assert data["deleted"] == []
    assert left(publisher, blobs) == [*FIVE]


def test_the_last_releases_stay_and_the_others_go(publisher: Publisher) -> None:
    blobs = releases(publisher, *FIVE)
    publisher.later(days=200)
    publisher.does("refresh")
    documents = snapshot(publisher.site)
    data = publisher.data("prune --keep 2")
    assert left(publisher, blobs) == ["1.3.0", "1.4.0"]
    assert [Path(name).name for name in data["deleted"]] == sorted(
        blobs[version] for version in FIVE[:3]
    )
    assert set(data) == {"deleted", "bytes", "kept", "kept_bytes", "dry_run"}
    assert data["kept"] == 2
    gone = changes(documents, snapshot(publisher.site))
    assert all(name.startswith("blobs/") for name in gone)
    assert publisher.data("prune --keep 2")["deleted"] == []
    publisher.does("channel rollback")
    assert publisher.fleet(10).check(publisher.now) == {"1.3.0": 10}


def test_how_many_stay_is_set_in_the_project(publisher: Publisher) -> None:
    publisher.configure('app = "com.example.shop"\nscheme = "none"\npatches = 0\nkeep = 4\n')
    blobs = releases(publisher, *FIVE)
    publisher.later(days=200)
    publisher.does("refresh")
    publisher.does("prune")
    assert left(publisher, blobs) == [*FIVE[1:]]


def test_every_channel_keeps_its_own(publisher: Publisher) -> None:
    blobs = releases(publisher, "1.0.0")
    publisher.does("channel promote 1.0.0 --to stable")
    blobs |= releases(publisher, "1.1.0", "1.2.0")
    publisher.later(days=200)
    publisher.does("refresh")
    publisher.does("prune --keep 1")
    assert left(publisher, blobs) == ["1.0.0", "1.2.0"]


def test_the_release_beneath_a_share_stays(publisher: Publisher) -> None:
    blobs = releases(publisher, "1.0.0", "1.1.0")
    publisher.does("channel rollout 10%")
    publisher.later(days=200)
    publisher.does("refresh")
    publisher.does("prune --keep 1")
    assert left(publisher, blobs) == ["1.0.0", "1.1.0"]


@pytest.mark.parametrize(("grace", "deleted"), [("14", 0), ("0", 1)])
def test_a_young_blob_may_belong_to_a_publish_under_way(
    shop: Publisher, grace: str, deleted: int
) -> None:
    stray = shop.site / "blobs/ab" / ("ab" * 32 + ".bin")
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"uploading")
    os.utime(stray, times=(shop.now.timestamp() - 60,) * 2)
    assert len(shop.data(f"prune --grace {grace}")["deleted"]) == deleted
    assert stray.exists() == (not deleted)


def test_a_dry_run_names_what_would_go(publisher: Publisher) -> None:
    blobs = releases(publisher, *FIVE)
    publisher.later(days=200)
    publisher.does("refresh")
    dry = publisher.data("prune --keep 1 --dry-run")
    assert left(publisher, blobs) == [*FIVE]
    assert "would delete 4 blobs" in publisher.does("prune --keep 1 --dry-run").out
    real = publisher.data("prune --keep 1")
    assert (dry["deleted"], dry["bytes"]) == (real["deleted"], real["bytes"])


def test_a_gap_in_history_stops_it(publisher: Publisher) -> None:
    releases(publisher, *FIVE)
    publisher.later(days=5)
    (publisher.site / "production/history/000003.json").unlink()
    publisher.refuses("prune --keep 1", code=3, error="history/000004.json is missing")


def test_a_changed_history_stops_it(publisher: Publisher) -> None:
    releases(publisher, *FIVE)
    path = publisher.site / "production/history/000003.json"
    path.write_bytes(path.read_bytes().replace(b'"1.2.0"', b'"1.2.9"'))
    publisher.refuses("prune --keep 1", code=3, error="manifest 4 names as its previous")


def test_releases_count_after_their_keys_were_rotated(publisher: Publisher) -> None:
    blobs = releases(publisher, *FIVE)
    publisher.does("keys create --only signing --out-dir new")
    key = publisher.data("keys list")["keys"][0]["keyid"]
    publisher.does(f"keys rotate {key[:12]} --to file:new/signing.pem")
    publisher.configure(
        'app = "com.example.shop"\nscheme = "none"\npatches = 0\n'
        '[keys]\nroot = "file:new/signing.pem"\n'
    )
    publisher.later(days=200)
    publisher.does("refresh")
    publisher.does("prune --keep 2")
    assert left(publisher, blobs) == ["1.3.0", "1.4.0"]


@pytest.mark.parametrize("flag", ["--keep 0", "--grace -1", "--keep many"])
def test_refuses(shop: Publisher, flag: str) -> None:
    assert shop.run("prune", *flag.split()).code == 2


def test_history_is_never_rewritten(shop: Publisher) -> None:
    for name in ("000001", "000002"):
        data = (shop.site / f"production/history/{name}.json").read_bytes()
        assert Envelope.decode(data, limit=10**6).signed["sequence"] == int(name)
