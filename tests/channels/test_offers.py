"""`channel withdraw|rollback|promote|pause|resume`: what devices do, and what undoes it."""

from collections.abc import Callable

import pytest

from tests.channels.conftest import Publisher
from tests.channels.fleet import BUILTIN, manifest_of
from tests.publish.project import SAMPLE, changes, snapshot


def test_withdrawn_with_something_beneath_devices_move_to_it(shop: Publisher) -> None:
    shop.does("channel rollout 50%")
    fleet = shop.fleet()
    fleet.check(shop.now)
    assert fleet.on("1.1.0")
    said = shop.does("channel withdraw 1.1.0")
    assert "devices on 1.1.0 move to 1.0.0" in said.out
    assert fleet.check(shop.now) == {"1.0.0": 400}
    assert shop.withdrawn() == ["1.1.0"]


def test_withdrawn_with_nothing_beneath_devices_go_back_to_built_in(shop: Publisher) -> None:
    shop.does("channel rollout 100%")
    fleet = shop.fleet()
    fleet.check(shop.now)
    said = shop.does("channel withdraw 1.1.0")
    assert "go back to the app as built" in said.out
    assert "channel rollback" in said.out
    assert fleet.check(shop.now) == {BUILTIN: 400}
    shop.does("channel rollback")
    assert fleet.check(shop.now) == {"1.0.0": 400}


def test_withdrawing_what_is_offered_no_more_moves_stragglers_off(shop: Publisher) -> None:
    straggler = shop.fleet()
    straggler.check(shop.now)
    shop.does("channel rollout 100%")
    said = shop.does("channel withdraw 1.0.0 --json")
    assert shop.withdrawn() == ["1.0.0"]
    assert straggler.check(shop.now) == {"1.1.0": 400}
    shop.undo(said)
    assert shop.withdrawn() == []
    assert shop.offers() == [("1.1.0", 100)]


def test_rolls_back_to_the_release_before(shop: Publisher) -> None:
    shop.does("channel rollout 100%")
    fleet = shop.fleet()
    fleet.check(shop.now)
    said = shop.does("channel rollback")
    assert "every device gets 1.0.0; those on 1.1.0 go back" in said.out
    assert fleet.check(shop.now) == {"1.0.0": 400}
    assert shop.fleet().check(shop.now) == {"1.0.0": 400}


def test_rolls_back_past_several_releases(shop: Publisher) -> None:
    shop.publish("1.2.0", "--floor", "1.0.0")
    fleet = shop.fleet()
    fleet.check(shop.now)
    shop.does("channel rollback 1.0.0")
    assert fleet.check(shop.now) == {"1.0.0": 400}


def test_rolling_back_twice_goes_two_releases_back(shop: Publisher) -> None:
    shop.publish("1.2.0", "--floor", "1.0.0")
    fleet = shop.fleet()
    shop.does("channel rollback")
    assert fleet.check(shop.now) == {"1.1.0": 400}
    shop.does("channel rollback")
    assert fleet.check(shop.now) == {"1.0.0": 400}


@pytest.mark.parametrize("unseen", [True, False])
def test_rolling_back_again_after_it_was_killed_goes_no_further(
    shop: Publisher, unseen: bool
) -> None:
    shop.publish("1.2.0")
    live, page = shop.site / "production/manifest.json", shop.site / "index.html"
    before, before_page = live.read_bytes(), page.read_bytes()
    shop.does("channel rollback")
    done, done_page = manifest_of(shop.site), page.read_bytes()
    page.write_bytes(before_page)  # killed after the commit, before what is written last
    if unseen:  # before devices could see it, too
        live.write_bytes(before)
    assert "is so already" in shop.does("channel rollback").out
    assert (manifest_of(shop.site), page.read_bytes()) == (done, done_page)
    shop.does("channel rollback")
    assert manifest_of(shop.site).sequence == done.sequence + 1


def test_a_floor_blocks_rolling_back_below_it(shop: Publisher) -> None:
    shop.publish("1.2.0", "--floor", "1.1.0")
    shop.refuses("channel rollback 1.0.0", code=2, error="go back to 1.1.0 at the lowest")
    shop.does("channel rollback 1.1.0")


def test_a_third_release_keeps_the_two_before_within_reach(shop: Publisher) -> None:
    shop.publish("1.2.0")
    shop.publish("1.3.0")
    shop.refuses("channel rollback 1.0.0", code=2, error="1.1.0 at the lowest")
    fleet = shop.fleet()
    fleet.check(shop.now)
    shop.does("channel rollback 1.1.0")
    assert fleet.check(shop.now) == {"1.1.0": 400}


def test_devices_hold_to_the_floor_they_confirmed(shop: Publisher) -> None:
    shop.publish("1.2.0", "--floor", "1.1.0")
    fleet = shop.fleet()
    fleet.check(shop.now)
    shop.does("channel withdraw 1.2.0")
    shop.does("channel rollback 1.0.0")  # nothing offered has a floor any more
    assert fleet.check(shop.now) == {"1.2.0": 400}
    assert shop.fleet().check(shop.now) == {"1.0.0": 400}


def test_a_newer_release_is_no_roll_back(shop: Publisher) -> None:
    shop.does("channel rollback 1.0.0")
    shop.refuses("channel rollback 1.1.0", code=2, error="1.1.0 is newer than 1.0.0")


def test_the_first_release_has_nothing_before_it(publisher: Publisher) -> None:
    publisher.publish("1.0.0")
    said = publisher.refuses("channel rollback", code=2, error="no earlier release")
    assert "channel withdraw 1.0.0" in said.err
    publisher.does("channel withdraw 1.0.0")
    said = publisher.refuses("channel rollback", code=2, error="no earlier release")
    assert "None" not in said.err


RE_OFFERING: list[str] = [
    "refresh",
    "channel rollout 50%",
    "channel pause",
    "channel rollback 1.0.0",
]


@pytest.mark.parametrize("line", RE_OFFERING)
def test_a_withdrawn_release_is_not_offered_again_by(shop: Publisher, line: str) -> None:
    shop.publish("1.2.0", "--floor", "1.0.0")
    shop.does("channel withdraw 1.1.0")
    shop.does(line)
    assert "1.1.0" in shop.withdrawn()
    assert "1.1.0" not in dict(shop.offers())
    assert "1.1.0" not in shop.fleet().check(shop.now)


def test_publishing_a_withdrawn_version_is_refused(shop: Publisher) -> None:
    shop.does("channel withdraw 1.1.0")
    line = f"publish --version 1.1.0 {shop.folder}/dist/1.1.0"
    shop.refuses(line, code=2, error="1.1.0 was withdrawn from production")


def test_only_promoting_offers_a_withdrawn_release_again(shop: Publisher) -> None:
    shop.does("channel rollback 1.0.0")
    fleet = shop.fleet()
    fleet.check(shop.now)
    shop.does("channel promote 1.1.0 --to production --rollout 40%")
    assert shop.withdrawn() == []
    assert set(fleet.check(shop.now)) == {"1.0.0", "1.1.0"}


def test_promotes_to_another_channel_without_packing_again(shop: Publisher) -> None:
    before, releases = shop.blobs(), snapshot(shop.site / "releases")
    shop.does("channel promote 1.1.0 --to beta")
    assert shop.blobs() == before
    assert snapshot(shop.site / "releases") == releases
    assert shop.fleet(channel="beta").check(shop.now) == {"1.1.0": 400}
    assert shop.offers() == [("1.1.0", 10), ("1.0.0", 100)]


def test_a_lower_version_lies_beneath_a_staged_one(shop: Publisher) -> None:
    shop.publish("1.2.0", "--rollout", "10%")
    shop.does("channel promote 1.1.0 --to production")
    assert shop.offers() == [("1.2.0", 10), ("1.1.0", 100)]
    assert set(shop.fleet().check(shop.now)) == {"1.2.0", "1.1.0"}


def test_no_device_moves_down_for_a_promotion(shop: Publisher) -> None:
    shop.does("channel rollout 100%")
    for share in ("100%", "50%"):
        said = shop.refuses(
            f"channel promote 1.0.0 --to production --rollout {share}",
            code=2,
            error="no device moves down to 1.0.0 by itself",
        )
        assert "channel rollback 1.0.0" in said.err


def test_pausing_stops_everything_and_resuming_goes_on(shop: Publisher) -> None:
    fleet = shop.fleet()
    fleet.check(shop.now)
    before = fleet.versions()
    shop.does("channel pause")
    said = shop.does("channel rollout 100%")
    assert "nothing while it is paused" in said.out
    assert fleet.check(shop.now) == before
    assert shop.fleet().check(shop.now) == {BUILTIN: 400}
    assert "(paused)" in shop.does("channel list").out
    shop.does("channel resume")
    assert fleet.check(shop.now) == {"1.1.0": 400}


def test_offers_for_one_platform_leave_the_others_where_they_are(shop: Publisher) -> None:
    shop.does("channel rollout 100%")
    shop.publish("1.2.0", "--platform", "ios")
    fleet = shop.fleet(platforms=("ios", "android"))
    assert fleet.check(shop.now) == {"1.2.0": 200, "1.1.0": 200}
    shop.does("channel rollout 50%")
    assert shop.fleet(platforms=("android",)).check(shop.now) == {"1.1.0": 400}
    shop.does("channel withdraw 1.2.0")
    assert fleet.check(shop.now) == {"1.1.0": 400}


@pytest.mark.parametrize(
    ("native", "wanted"),
    [("2.9", "1.1.0"), ("3.0", "1.2.0"), ("3.9.9", "1.2.0"), ("4.0", "1.1.0"), (None, "1.1.0")],
)
def test_offers_for_native_versions(shop: Publisher, native: str | None, wanted: str) -> None:
    shop.does("channel rollout 100%")
    shop.publish("1.2.0", "--native", ">=3 <4")
    fleet = shop.fleet(10, platforms=("ios",), native=native)
    assert fleet.check(shop.now) == {wanted: 10}


def _staged(shop: Publisher) -> None:
    shop.does("channel rollout 50%")
    shop.publish("1.2.0", "--rollout", "10%", "--mandatory", "--floor", "1.0.0")


def _full(shop: Publisher) -> None:
    shop.does("channel rollout 100%")


def _as_it_is(_: Publisher) -> None:
    return


Setup = Callable[[Publisher], None]
CHANGES: list[tuple[Setup, str]] = [
    (_as_it_is, "channel rollout 60%"),
    (_as_it_is, "channel rollout 100%"),
    (_as_it_is, "channel rollout 0%"),
    (_as_it_is, "channel rollout 100% --over 3d"),
    (_staged, "channel rollout 100%"),
    (_full, "channel rollout 20%"),
    (_as_it_is, "channel withdraw 1.1.0"),
    (_as_it_is, "channel withdraw 1.0.0"),
    (_full, "channel withdraw 1.1.0"),
    (_full, "channel withdraw 1.0.0"),
    (_staged, "channel withdraw 1.1.0"),
    (_staged, "channel withdraw 1.2.0"),
    (_as_it_is, "channel rollback"),
    (_full, "channel rollback"),
    (_staged, "channel rollback"),
    (_staged, "channel rollback 1.1.0"),
    (_staged, "channel rollback 1.0.0"),
    (_staged, "channel promote 1.1.0 --to production"),
    (_staged, "channel promote 1.2.0 --to production --rollout 30%"),
    (_staged, "channel promote 1.2.0 --to production"),
    (_as_it_is, "channel pause"),
]


@pytest.mark.parametrize(("setup", "line"), CHANGES)
def test_the_undo_command_undoes(shop: Publisher, setup: Setup, line: str) -> None:
    setup(shop)
    offers, new = shop.offers(), shop.fleet().check(shop.now)
    mandatory = [one["mandatory"] for one in shop.data("channel show")["offers"]]
    was_there = shop.fleet()
    before = was_there.check(shop.now)
    came_between = shop.fleet()
    said = shop.does(line, "--json")
    assert said.json["changed"]
    came_between.check(shop.now)
    shop.undo(said)
    assert shop.offers() == offers
    assert [one["mandatory"] for one in shop.data("channel show")["offers"]] == mandatory
    assert shop.fleet().check(shop.now) == new
    assert was_there.check(shop.now) == before


@pytest.mark.parametrize("line", ["channel promote 1.2.0 --to production", "channel resume"])
def test_the_undo_command_undoes_what_came_in(shop: Publisher, line: str) -> None:
    shop.does("channel promote 1.0.0 --to beta")
    shop.publish("1.2.0", "--channel", "beta", "--floor", "1.0.0")
    if "resume" in line:
        shop.does("channel pause")
    fleet = shop.fleet()
    before = fleet.check(shop.now)
    said = shop.does(line, "--json")
    fleet.check(shop.now)
    shop.undo(said)
    if "resume" not in line:
        assert fleet.check(shop.now) == before
    assert shop.offers() == [("1.1.0", 10), ("1.0.0", 100)]


def test_a_channel_that_began_with_a_promotion_is_left_again(shop: Publisher) -> None:
    said = shop.does("channel promote 1.1.0 --to beta --json")
    fleet = shop.fleet(channel="beta")
    fleet.check(shop.now)
    shop.undo(said)
    assert fleet.check(shop.now) == {BUILTIN: 400}


DRY = [
    "channel rollout 60%",
    "channel rollout 100% --over 3d",
    "channel withdraw 1.1.0",
    "channel withdraw 1.0.0",
    "channel rollback",
    "channel promote 1.1.0 --to production",
    "channel promote 1.1.0 --to beta",
    "channel pause",
    "prune --grace 0",
]


@pytest.mark.parametrize("line", DRY)
def test_a_dry_run_changes_nothing(shop: Publisher, line: str) -> None:
    before = snapshot(shop.folder)
    data = shop.data(line, "--dry-run")
    assert data["dry_run"] is True
    text = shop.does(line, "--dry-run").out
    assert changes(before, snapshot(shop.folder)) == []
    if line.startswith("channel"):
        assert "nothing was changed" in text
        assert "+++ after" in text
        assert '"sequence": ' in text


@pytest.mark.parametrize("line", [line for line in DRY if "prune" not in line])
def test_json_says_what_was_done(shop: Publisher, line: str) -> None:
    data = shop.data(line)
    names = {"channel", "sequence", "changed", "devices", "undo", "dry_run"}
    assert set(data) == names
    assert data["changed"] is True
    assert data["dry_run"] is False
    assert data["undo"].startswith("manifestgen channel ")


@pytest.mark.parametrize(
    "line",
    [
        "channel rollout 60%",
        "channel withdraw 1.1.0",
        "channel rollback 1.0.0",
        "channel promote 1.1.0 --to beta",
        "channel pause",
    ],
)
def test_the_same_again_changes_nothing(shop: Publisher, line: str) -> None:
    shop.does(line)
    before = snapshot(shop.folder)
    data = shop.data(line)
    assert data["changed"] is False
    assert changes(before, snapshot(shop.folder)) == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("channel withdraw 9.9.9", "there is no release 9.9.9"),
        ("channel withdraw 1.0.0 --undo", "1.0.0 is not withdrawn"),
        ("channel rollback 9.9.9", "there is no release 9.9.9"),
        ("channel promote 9.9.9 --to beta", "there is no release 9.9.9"),
        ("channel promote 1.0.0 --to root", "no channel name"),
        ("channel promote one --to beta", "one"),
        ("channel pause --channel nowhere", "nothing is published to nowhere"),
        ("channel show --channel nowhere", "nothing is published to nowhere"),
        ("explain --channel nowhere", "nothing is published to nowhere"),
        ("refresh --channel nowhere", "nothing is published to nowhere"),
    ],
)
def test_refuses(shop: Publisher, line: str, error: str) -> None:
    shop.refuses(line, code=2, error=error)


def test_a_release_whose_bundle_was_pruned_is_not_offered(shop: Publisher) -> None:
    shop.publish("1.2.0")
    for path in (shop.site / "blobs").rglob("*.bin"):
        path.unlink()
    shop.refuses("channel rollback", code=3, error="is no longer in the site")
    shop.refuses("channel promote 1.1.0 --to beta", code=3, error="is no longer in the site")


def test_show_and_list_say_what_is_offered(shop: Publisher) -> None:
    shop.publish("1.2.0", "--platform", "ios", "--native", ">=3", "--notes", "faster")
    (row,) = shop.data("channel list")["channels"]
    assert row == shop.data("channel show")
    top = row["offers"][0]
    assert top["version"] == "1.2.0"
    assert top["audience"] == "ios, native >=3"
    assert top["notes"] == "faster"
    assert "ios, native >=3" in shop.does("channel show").out


def test_publishing_to_a_paused_channel_says_that_devices_wait(shop: Publisher) -> None:
    shop.does("channel pause")
    said = shop.does(f"publish {SAMPLE / 'v2'} --version 9.0.0")
    assert "after `manifestgen channel resume`" in said.out
