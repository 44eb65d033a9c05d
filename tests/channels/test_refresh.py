"""`refresh`: new times for the same offers, before the old ones run out."""

from datetime import datetime, timedelta

import pytest

from manifestgen.core.reader import format_time
from manifestgen.errors import VerificationError
from tests.channels.conftest import CONFIG, START, Publisher
from tests.channels.fleet import manifest_of
from tests.publish.project import changes, snapshot


def expires(shop: Publisher, channel: str = "production") -> datetime:
    return manifest_of(shop.site, channel).expires


def test_an_expired_manifest_stops_updates_and_nothing_else(shop: Publisher) -> None:
    fleet = shop.fleet()
    before = fleet.check(shop.now)
    shop.later(days=30)
    with pytest.raises(VerificationError) as caught:
        fleet.check(shop.now)
    assert caught.value.code == "expired"
    assert fleet.versions() == before
    shop.does("refresh")
    assert fleet.check(shop.now) == before


def test_refreshing_changes_times_and_sequence_alone(shop: Publisher) -> None:
    old = manifest_of(shop.site)
    shop.later(days=3)
    data = shop.data("refresh")
    new = manifest_of(shop.site)
    assert (new.offers, new.withdrawn, new.paused) == (old.offers, old.withdrawn, old.paused)
    assert (new.sequence, new.issued) == (old.sequence + 1, shop.now)
    assert data == {
        "channels": [
            {"channel": "production", "sequence": 3, "expires": format_time(expires(shop))}
        ]
    }


def test_a_pause_survives(shop: Publisher) -> None:
    shop.does("channel pause")
    shop.does("refresh")
    assert shop.data("channel show")["paused"] is True


def test_each_channel_has_the_life_its_settings_give(shop: Publisher) -> None:
    shop.does("channel promote 1.0.0 --to nightly")
    shop.does("channel promote 1.0.0 --to beta")
    assert expires(shop, "nightly") == START + timedelta(days=2)
    assert expires(shop, "beta") == START + timedelta(days=30)
    shop.later(days=1)
    assert [one["channel"] for one in shop.data("refresh")["channels"]] == [
        "beta",
        "nightly",
        "production",
    ]
    assert expires(shop, "nightly") == START + timedelta(days=3)
    one = shop.data("refresh --channel nightly")["channels"]
    assert [each["channel"] for each in one] == ["nightly"]


def test_a_channel_whose_key_is_elsewhere_lets_no_other_expire(shop: Publisher) -> None:
    shop.does("channel promote 1.0.0 --to beta")
    shop.does("keys create --only signing --out-dir away")
    shop.does("keys add file:away/signing.pem --role manifest --channel beta")
    shop.later(days=20)
    beta = expires(shop, "beta")
    said = shop.run("refresh")
    assert said.code == 4
    assert "error: the beta manifest needs 1 of the keys" in said.err
    assert "production: signed anew" in said.err
    assert (expires(shop, "beta"), expires(shop)) == (beta, shop.now + timedelta(days=30))
    assert shop.run("refresh", "--json").json["code"] == "key"


def test_no_life_is_longer_than_root_allows(shop: Publisher) -> None:
    shop.configure(CONFIG.replace("30d", "300d"))
    shop.does("refresh")
    assert expires(shop) == START + timedelta(days=90)
    shop.fleet().check(shop.now)


def test_time_never_goes_back(shop: Publisher) -> None:
    shop.later(days=-1)
    shop.does("refresh")
    assert manifest_of(shop.site).issued == START


@pytest.mark.parametrize(("days", "code"), [(0, 0), (15, 0), (15.01, 1), (29, 1), (31, 1)])
def test_check_ends_with_1_when_half_the_life_is_gone(
    shop: Publisher, days: float, code: int
) -> None:
    shop.later(days=days)
    before = snapshot(shop.folder)
    said = shop.run("refresh", "--check")
    assert said.code == code
    assert shop.run("refresh", "--check", "--json").json == {
        "stale": ["production"] if code else []
    }
    assert changes(before, snapshot(shop.folder)) == []
    assert ("half" in said.out) == bool(code)
    assert ("warning" in shop.does("channel show").err) == bool(code)
    assert "warning" not in shop.does("channel show -q").err


def test_after_half_its_life_the_root_asks_to_be_renewed(shop: Publisher) -> None:
    assert "keys renew" not in shop.does("refresh").err
    shop.later(days=366)
    assert "manifestgen keys renew" in shop.does("refresh").err
    shop.does("keys renew")
    assert "keys renew" not in shop.does("refresh").err
    shop.fleet().check(shop.now)


def test_nothing_published_is_said(publisher: Publisher) -> None:
    publisher.refuses("refresh", code=2, error="nothing is published yet")
    assert publisher.data("channel list") == {"channels": []}
