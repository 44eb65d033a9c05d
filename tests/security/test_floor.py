"""The floor of a confirmed release outlives it, by whatever way the next one came."""

from pathlib import Path

import pytest

from manifestgen.core.version import Version
from tests.device.publisher import Device, Publisher, page


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(Publisher(), tmp_path / "state")


def floor(device: Device) -> str:
    return str(device.updater.status().floor)


def test_the_floor_of_the_same_files_under_another_version_counts_for_good(device: Device) -> None:
    same = page("same")
    device.confirmed(device.publisher.offer("1.0.0", files=same))
    device.publisher.publish(
        device.publisher.offer("1.1.0", files=same, floor=Version.parse("1.1.0"))
    )
    assert device.install() == "installed"
    assert floor(device) == "1.1.0"
    device.confirmed("1.2.0")
    assert floor(device) == "1.1.0"
    device.publisher.publish("1.0.0", withdrawn=["1.2.0"])
    assert device.install() == "none"


@pytest.mark.parametrize("then", ["install", "reset"])
def test_the_floor_found_beside_what_runs_counts_for_good(device: Device, then: str) -> None:
    device.confirmed(device.publisher.offer("1.1.0", floor=Version.parse("0.0.0")))
    for name in ("state.json", "state.json.old"):
        (device.state / name).unlink(missing_ok=True)
    assert floor(device) == "0.0.0"
    if then == "install":
        device.confirmed("1.2.0")
    else:
        device.publisher.publish(withdrawn=["1.1.0"])
        assert device.install() == "reset"
    assert floor(device) == "0.0.0"
