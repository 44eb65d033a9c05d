"""`channel rollout`: which devices a share reaches, and what happens to the others."""

from datetime import timedelta

import pytest

from tests.channels.conftest import Publisher


@pytest.mark.parametrize("share", ["0%", "0.5%", "10%", "25%", "33.33%", "75%", "100%"])
def test_a_share_reaches_that_share_of_device_ids(shop: Publisher, share: str) -> None:
    shop.does(f"channel rollout {share}")
    found = shop.fleet(10_000).check(shop.now)
    wanted = float(share.removesuffix("%"))
    assert found.get("1.1.0", 0) / 100 == pytest.approx(wanted, abs=1.5)
    assert found.get("1.0.0", 0) + found.get("1.1.0", 0) == 10_000


def test_raising_keeps_the_devices_that_were_in(shop: Publisher) -> None:
    fleet = shop.fleet()
    fleet.check(shop.now)
    before = fleet.on("1.1.0")
    for share in ("25%", "60%", "100%"):
        shop.does(f"channel rollout {share}")
        fleet.check(shop.now)
        assert before < fleet.on("1.1.0")
        before = fleet.on("1.1.0")
    assert fleet.versions() == {"1.1.0": 400}


def test_lowering_moves_nobody_down(shop: Publisher) -> None:
    shop.does("channel rollout 60%")
    fleet = shop.fleet()
    before = fleet.check(shop.now)
    shop.does("channel rollout 5%")
    assert fleet.check(shop.now) == before


def test_outside_a_share_lowered_from_everybody_devices_get_the_release_before(
    shop: Publisher,
) -> None:
    shop.does("channel rollout 100%")
    old = shop.fleet()
    assert old.check(shop.now) == {"1.1.0": 400}
    shop.does("channel rollout 30%")
    assert old.check(shop.now) == {"1.1.0": 400}
    new = shop.fleet().check(shop.now)
    assert set(new) == {"1.0.0", "1.1.0"}
    assert shop.offers() == [("1.1.0", 30), ("1.0.0", 100)]


def test_the_first_release_has_nothing_beneath(publisher: Publisher) -> None:
    publisher.publish("1.0.0")
    publisher.does("channel rollout 50%")
    assert publisher.offers() == [("1.0.0", 50)]
    assert set(publisher.fleet().check(publisher.now)) == {"1.0.0", "built-in"}


def test_lowering_brings_back_all_that_lay_beneath(shop: Publisher) -> None:
    shop.does("channel rollout 50%")
    shop.publish("1.2.0", "--rollout", "10%")
    before = shop.offers()
    shop.does("channel rollout 100%")
    assert shop.offers() == [("1.2.0", 100)]
    shop.does("channel rollout 10%")
    assert shop.offers() == before == [("1.2.0", 10), ("1.1.0", 50), ("1.0.0", 100)]


def test_a_withdrawn_release_never_comes_back_beneath(shop: Publisher) -> None:
    shop.does("channel rollout 50%")
    shop.publish("1.2.0")
    shop.does("channel withdraw 1.1.0")
    shop.does("channel rollout 10%")
    assert shop.offers() == [("1.2.0", 10), ("1.0.0", 100)]


def test_a_ramp_rises_evenly_and_keeps_who_was_in(shop: Publisher) -> None:
    said = shop.does("channel rollout 100% --over 10d")
    assert "1.1.0 (10% → 100% by 2030-01-11T00:00:00Z), else 1.0.0" in said.out
    fleet = shop.fleet(2000)
    before: set[str] = set()
    for day in range(11):
        fleet.check(shop.now + timedelta(days=day))
        inside = fleet.on("1.1.0")
        assert before <= inside
        assert len(inside) / 20 == pytest.approx(10 + 9 * day, abs=3)
        before = inside
    assert len(before) == 2000


def test_a_ramp_stops_where_it_stands(shop: Publisher) -> None:
    shop.does("channel rollout 100% --over 9d")
    shop.later(days=3)
    said = shop.does("channel rollout 50% --json")
    assert said.json["undo"] == "manifestgen channel rollout 40% --channel production"
    shop.undo(said)
    assert shop.offers()[0] == ("1.1.0", 40)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("channel rollout 25", "no share"),
        ("channel rollout 101%", "no share"),
        ("channel rollout -- -1%", "no share"),
        ("channel rollout nan%", "no share"),
        ("channel rollout 0.001%", "no share"),
        ("channel rollout 5% --over 3d", "a ramp only rises"),
        ("channel rollout 10% --over 3d", "a ramp only rises"),
        ("channel rollout 50% --over 3", "no duration"),
        ("channel rollout 50% --channel nowhere", "nothing is published to nowhere"),
        ("channel rollout 50% --channel ../x", "no channel name"),
    ],
)
def test_refuses(shop: Publisher, line: str, error: str) -> None:
    shop.refuses(line, code=2, error=error)


def test_needs_an_offer(shop: Publisher) -> None:
    shop.does("channel withdraw 1.1.0")
    shop.does("channel withdraw 1.0.0")
    shop.refuses("channel rollout 50%", code=2, error="production offers nothing")


def test_the_same_share_again_signs_nothing(shop: Publisher) -> None:
    assert "is so already, manifest 2" in shop.does("channel rollout 10%").out
    data = shop.data("channel rollout 10%")
    assert (data["changed"], data["sequence"], data["undo"]) == (False, 2, None)
