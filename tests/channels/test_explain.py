"""`explain`: the reasons for every offer, by the very function devices run."""

import json
from typing import Any

import pytest

from manifestgen.core.select import position
from tests.channels.conftest import Publisher
from tests.publish.project import changes, snapshot

INSIDE = next(f"d{n}" for n in range(1000) if position("1.1.0", f"d{n}") < 1000)
OUTSIDE = next(f"d{n}" for n in range(1000) if position("1.1.0", f"d{n}") >= 1000)


def asked(shop: Publisher, *more: str, **device: Any) -> Any:
    return shop.data("explain", "--device", json.dumps(device), *more)


DEVICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "inside the share": (
        {"id": INSIDE},
        {"action": "install", "version": "1.1.0", "offers": ["admitted", "not_reached"]},
    ),
    "outside the share": (
        {"id": OUTSIDE},
        {"action": "install", "version": "1.0.0", "offers": ["rollout", "admitted"]},
    ),
    "without an id": (
        {},
        {"action": "install", "version": "1.0.0", "offers": ["rollout", "admitted"]},
    ),
    "up to date": (
        {"id": OUTSIDE, "version": "1.0.0"},
        {"action": "nothing", "reason": "current", "offers": ["rollout", "admitted"]},
    ),
    "ahead": (
        {"id": OUTSIDE, "version": "2.0.0"},
        {"action": "nothing", "reason": "lower", "offers": ["rollout", "admitted"]},
    ),
    "moved from another channel": (
        {"id": OUTSIDE, "version": "2.0.0", "moved": True},
        {"action": "install", "version": "1.0.0", "offers": ["rollout", "admitted"]},
    ),
    "moved, with a floor": (
        {"id": OUTSIDE, "version": "2.0.0", "moved": True, "floor": "1.5.0"},
        {"action": "nothing", "reason": "floor", "offers": ["rollout", "admitted"]},
    ),
    "with a newer built-in": (
        {"id": INSIDE, "builtin": "3.0"},
        {"action": "nothing", "reason": "lower", "offers": ["admitted", "not_reached"]},
    ),
}


@pytest.mark.parametrize(("device", "want"), DEVICES.values(), ids=DEVICES)
def test_says_what_a_device_does(
    shop: Publisher, device: dict[str, Any], want: dict[str, Any]
) -> None:
    data = asked(shop, **device)
    assert data.pop("sequence") == 2
    assert [one.pop("version") for one in data["offers"]] == ["1.1.0", "1.0.0"]
    data["offers"] = [one["reason"] for one in data["offers"]]
    assert {name: data.get(name) for name in want} == want


def test_a_tree_that_failed_is_skipped(shop: Publisher) -> None:
    release = json.loads((shop.site / "releases/1.1.0.json").read_text())
    tree = release["signed"]["tree"]["digest"]
    data = asked(shop, id=INSIDE, failed=[tree], version="1.0.0")
    assert [one["reason"] for one in data["offers"]] == ["failed", "admitted"]
    assert data["reason"] == "current"


def test_withdrawn_with_nothing_left_it_resets(shop: Publisher) -> None:
    shop.does("channel withdraw 1.0.0")
    shop.does("channel withdraw 1.1.0")
    data = asked(shop, id=INSIDE, version="1.1.0")
    assert (data["action"], data["offers"]) == ("reset", [])


def test_paused_it_keeps_what_it_runs(shop: Publisher) -> None:
    shop.does("channel pause")
    assert asked(shop, id=INSIDE)["reason"] == "paused"
    said = shop.does("explain")
    assert said.out == "the device keeps what it runs: the channel is paused\n"


def test_platforms_and_native_versions(shop: Publisher) -> None:
    shop.publish("1.2.0", "--platform", "ios", "--native", "ios:>=3")
    for device, reason in (
        ({"platform": "android"}, "platform"),
        ({"platform": "ios", "native": "2.0"}, "native"),
        ({"platform": "ios"}, "native"),
        ({"platform": "ios", "native": "3.0"}, "admitted"),
    ):
        assert asked(shop, **device)["offers"][0]["reason"] == reason


def test_at_another_time_a_ramp_stands_elsewhere(shop: Publisher) -> None:
    shop.does("channel rollout 100% --over 2d")
    found = [
        shop.data("explain --sample 1000 --at", time)["offers"][0]["share"]
        for time in ("2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z", "2030-01-03T00:00:00Z")
    ]
    assert found[0] == pytest.approx(0.1, abs=0.03)
    assert found[1] == pytest.approx(0.55, abs=0.04)
    assert found[2] == 1


def test_a_sample_counts_devices_by_version(shop: Publisher) -> None:
    data = shop.data("explain --sample 10000")
    assert data["none"] == 0
    assert [one["version"] for one in data["offers"]] == ["1.1.0", "1.0.0"]
    assert sum(one["devices"] for one in data["offers"]) == 10_000
    assert data["offers"][0]["share"] == pytest.approx(0.1, abs=0.015)
    assert "none     0        0.00%" in shop.does("explain --sample 10000").out


def test_a_sample_of_one_platform(shop: Publisher) -> None:
    shop.does("channel withdraw 1.0.0")
    shop.publish("1.2.0", "--platform", "ios")
    device = '{"platform":"android"}'
    data = shop.data("explain --sample 1000 --device", device)
    assert [one["version"] for one in data["offers"]] == ["1.1.0"]
    assert data["none"] == 1000 - data["offers"][0]["devices"]


def test_the_table_gives_a_reason_for_every_offer(shop: Publisher) -> None:
    said = shop.does("explain --device", json.dumps({"id": OUTSIDE}))
    assert said.out.splitlines() == [
        "offer  verdict  because",
        "1.1.0  no       outside its share",
        "1.0.0  yes      admits it",
        "the device installs 1.0.0",
    ]


def test_reads_only(shop: Publisher) -> None:
    before = snapshot(shop.folder)
    shop.does("explain")
    shop.does("explain --sample 10")
    shop.does("channel show")
    shop.does("channel list")
    assert changes(before, snapshot(shop.folder)) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--device", "{"], "want a JSON object"),
        (["--device", "[]"], "want a JSON object"),
        (["--device", '{"colour":"red"}'], "want a JSON object"),
        (["--device", '{"id":1}'], "id: want a string"),
        (["--device", '{"version":"one"}'], "--device"),
        (["--device", '{"floor":"1"}'], "--device"),
        (["--device", '{"failed":"x"}'], "failed: want a list"),
        (["--device", '{"failed":[[]]}'], "--device"),
        (["--device", '{"id":"\\ud800"}'], ""),
        (["--at", "tomorrow"], "is no time"),
        (["--at", "2030-01-01"], "is no time"),
    ],
)
def test_odd_input_is_a_wrong_usage(shop: Publisher, arguments: list[str], error: str) -> None:
    said = shop.run("explain", *arguments)
    if not error:  # a lone surrogate is an id that no rollout reaches
        assert said.code == 0
        return
    assert said.code == 2
    assert error in said.err
