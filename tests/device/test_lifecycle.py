"""Install, update, confirm, fail, fall back: what a device does over its life."""

from datetime import timedelta
from pathlib import Path

import pytest

from manifestgen.core.audience import Audience, NativeRange
from manifestgen.core.manifest import Rollout
from manifestgen.core.release import Scheme
from manifestgen.core.version import Version
from manifestgen.device import Action, Facts, status
from manifestgen.device.files import locked
from manifestgen.errors import Error, KeyUseError, StoreError, UsageError, VerificationError
from manifestgen.stores import DirectoryStore
from manifestgen.stores.names import blob_name
from tests.device.publisher import Device, Publisher, page, pem
from tests.simulator import Simulator


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def device(publisher: Publisher, tmp_path: Path) -> Device:
    return Device(publisher, tmp_path / "state")


def test_installs_updates_and_keeps_the_previous(device: Device) -> None:
    device.confirmed("1.0.0")
    device.publisher.publish("1.1.0")
    outcome = device.updater.install()
    assert (outcome.action, outcome.via, device.version) == (Action.INSTALLED, "bundle", "1.1.0")
    assert outcome.before is not None
    assert outcome.after is not None
    assert (str(outcome.before.version), str(outcome.after.version)) == ("1.0.0", "1.1.0")
    assert outcome.bytes > 0
    found = device.updater.status()
    assert not found.confirmed
    assert found.previous == outcome.before
    assert found.path == outcome.path
    assert (device.state / "current").resolve() == outcome.path


def test_the_same_version_is_nothing_to_do(device: Device) -> None:
    device.confirmed("1.0.0")
    before = device.snapshot()
    outcome = device.updater.install()
    assert (outcome.action, outcome.reason) == (Action.NONE, "current")
    device.later(seconds=1)
    device.install()
    changed = {name for name, data in device.snapshot().items() if before.get(name) != data}
    assert changed == {"state.json"}


def test_decrypts_and_remembers_the_key(device: Device) -> None:
    device.key = pem()
    device.confirmed(device.publisher.offer("1.0.0", scheme=Scheme.CAPGO))
    device.key = None
    device.confirmed(device.publisher.offer("1.1.0", scheme=Scheme.CAPGO))
    assert device.version == "1.1.0"


def test_a_missing_key_is_named_before_anything_is_downloaded(device: Device) -> None:
    device.publisher.publish(device.publisher.offer("1.0.0", scheme=Scheme.CAPGO))
    with pytest.raises(KeyUseError, match="no key to open it") as caught:
        device.install()
    assert caught.value.hint is not None
    assert "--key" in caught.value.hint
    assert not list((device.state / "staging").iterdir())


def test_check_says_and_changes_nothing(device: Device) -> None:
    device.confirmed("1.0.0")
    device.publisher.publish("1.1.0")
    before = device.snapshot()
    outcome = device.updater.check()
    assert (outcome.action, outcome.via) == (Action.INSTALL, "bundle")
    assert str(outcome.after and outcome.after.version) == "1.1.0"
    changed = {name for name, data in device.snapshot().items() if before.get(name) != data}
    assert changed <= {
        "manifests/production.json",
        "manifests/production.json.old",
        "state.json",
        "state.json.old",
    }
    assert device.version == "1.0.0"


def test_unconfirmed_is_rolled_back_and_never_tried_again(device: Device) -> None:
    device.confirmed("1.0.0")
    device.publisher.publish("1.1.0")
    device.install()
    outcome = device.updater.install()
    assert str(outcome.rolled_back and outcome.rolled_back.version) == "1.1.0"
    assert device.version == "1.0.0"
    for _ in range(3):  # no loop between failure and roll-back
        assert device.install() == "none"
        assert device.version == "1.0.0"
    assert [str(one.version) for one in device.updater.status().failed] == ["1.1.0"]
    device.confirmed("1.2.0")
    assert device.version == "1.2.0"


def test_failed_falls_to_the_next_offer(device: Device) -> None:
    device.confirmed("1.0.0")
    device.publisher.publish("1.2.0", "1.1.0")
    device.install()
    assert device.install() == "installed"
    assert device.version == "1.1.0"
    device.updater.confirm()
    assert device.install() == "none"


def test_the_first_release_fails_back_to_the_built_in_app(device: Device) -> None:
    device.publisher.publish("1.0.0")
    device.install()
    outcome = device.updater.install()
    assert (outcome.action, outcome.after, outcome.path) == (Action.NONE, None, None)
    assert device.version is None
    assert device.updater.status().confirmed


def test_a_check_does_not_fail_what_is_still_on_trial(device: Device) -> None:
    device.publisher.publish("1.0.0")
    device.install()
    assert device.updater.check().reason == "current"
    device.updater.confirm()
    assert device.install() == "none"
    assert device.version == "1.0.0"


def test_rolls_back_without_a_network(device: Device) -> None:
    device.confirmed("1.0.0")
    device.publisher.publish("1.1.0")
    device.install()
    device.site = DirectoryStore(device.state / "nowhere")
    with pytest.raises(StoreError):
        device.install()
    assert device.version == "1.0.0"


def test_a_damaged_previous_release_is_not_rolled_back_to(device: Device) -> None:
    device.confirmed("1.0.0")
    (device.state / "current" / "index.html").write_bytes(b"rotten")
    device.publisher.publish("1.1.0")
    device.install()
    device.install()
    assert device.version is None


def test_a_damaged_bundle_that_is_offered_again_is_fetched_again(device: Device) -> None:
    device.confirmed("1.0.0")
    device.confirmed("1.1.0")
    old = device.updater.status().previous
    assert old is not None
    (device.state / "bundles" / old.tree / "index.html").write_bytes(b"rotten")
    device.publisher.publish("1.0.0", withdrawn=["1.1.0"])
    assert device.updater.install().via == "bundle"
    assert device.version == "1.0.0"


def test_the_previous_release_comes_back_without_a_download(device: Device) -> None:
    device.confirmed("1.0.0")
    device.confirmed("1.1.0")
    device.publisher.publish("1.0.0", withdrawn=["1.1.0"])
    outcome = device.updater.install()
    assert (outcome.via, outcome.bytes) == ("kept", 0)
    assert device.version == "1.0.0"


def test_withdrawn_with_nothing_else_is_a_reset(device: Device) -> None:
    device.confirmed("1.0.0")
    device.publisher.publish(withdrawn=["1.0.0"])
    assert device.updater.check().action is Action.RESET
    assert device.updater.status().running is not None
    assert device.install() == "reset"
    assert device.version is None
    assert device.updater.status().confirmed
    assert not list((device.state / "bundles").iterdir())


def test_a_lower_version_needs_a_reason(device: Device) -> None:
    device.confirmed("1.1.0")
    device.publisher.publish("1.0.0")
    assert device.updater.install().reason == "lower"
    assert device.version == "1.1.0"


def test_the_floor_counts_once_confirmed(device: Device) -> None:
    floored = device.publisher.bundle("1.2.0", floor=Version.parse("1.1.0"))
    device.confirmed(device.publisher.offer("1.2.0", floor=Version.parse("1.1.0")))
    assert floored.floor == device.updater.status().floor
    device.publisher.publish("1.0.0", withdrawn=["1.2.0"])
    assert device.updater.install().reason == "floor"
    device.confirmed("1.1.0", withdrawn=["1.2.0"])
    device.publisher.publish("1.0.0", withdrawn=["1.2.0", "1.1.0"])
    assert device.updater.install().reason == "floor"


def test_the_floor_of_a_release_on_trial_does_not_count(device: Device) -> None:
    device.confirmed("1.0.0")
    device.publisher.publish(device.publisher.offer("1.2.0", floor=Version.parse("1.2.0")))
    device.install()
    assert device.updater.status().floor is None
    device.publisher.publish("1.1.0")
    assert device.install() == "installed"
    assert device.version == "1.1.0"


def test_moving_to_another_channel_may_go_down_once(device: Device) -> None:
    device.channel = "beta"
    device.confirmed("2.0.0", channel="beta")
    device.publisher.publish("1.0.0")
    device.publisher.publish("0.9.0", channel="beta")
    device.channel = "production"
    assert device.install() == "installed"
    device.updater.confirm()
    device.channel = None  # the one followed last
    device.publisher.publish("0.9.0")
    assert device.updater.install().reason == "lower"
    assert device.updater.status().channel == "production"


def test_the_sequence_of_each_channel_is_remembered(device: Device) -> None:
    old = device.publisher.publish("1.0.0")
    device.confirmed("1.1.0")
    device.channel = "beta"
    device.confirmed("2.0.0", channel="beta")
    device.channel = "production"
    device.publisher.put("production/manifest.json", old)
    with pytest.raises(VerificationError) as caught:
        device.install()
    assert caught.value.code == "replay"


def test_the_same_files_under_another_version_need_no_trial(device: Device) -> None:
    device.confirmed("1.0.0")
    device.publisher.publish(device.publisher.offer("1.0.1", files=page("1.0.0")))
    outcome = device.updater.install()
    assert (outcome.action, outcome.via, outcome.bytes) == (Action.INSTALLED, "kept", 0)
    found = device.updater.status()
    assert found.confirmed
    assert str(found.running and found.running.version) == "1.0.1"
    assert device.install() == "none"
    assert device.version == "1.0.0"


def test_facts_decide(device: Device) -> None:
    audience = Audience(("linux",), (NativeRange.parse("linux:>=3"),))
    device.publisher.publish(device.publisher.offer("1.0.0", audience=audience))
    for facts, reason in (
        (Facts(), "platform"),
        (Facts(platform="linux"), "native"),
        (Facts(platform="linux", native="2.9"), "native"),
        (Facts(platform="linux", native="3"), "admitted"),
    ):
        device.facts = facts
        assert device.updater.check().reasons[0].reason == reason


def test_a_rollout_needs_an_id(device: Device) -> None:
    release = device.publisher.offer("1.0.0").release
    device.publisher.publish(device.publisher.sim.offer(release, rollout=Rollout(9_999)))
    assert device.updater.check().reasons[0].reason == "rollout"
    device.facts = Facts(id="kiosk-7")
    assert device.install() == "installed"


def test_only_current_and_previous_are_kept(device: Device) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        device.confirmed(version)
    found = device.updater.status()
    assert found.running is not None
    assert found.previous is not None
    folders = {path.name for path in (device.state / "bundles").iterdir() if path.is_dir()}
    assert folders == {found.running.tree, found.previous.tree}
    assert not list((device.state / "staging").iterdir())


def test_a_second_run_at_once_says_so(device: Device) -> None:
    device.confirmed("1.0.0")
    with locked(device.state / "lock"):
        for run in (device.updater.check, device.updater.install, device.updater.confirm):
            with pytest.raises(Error, match="in use") as caught:
                run()
            assert caught.value.code == "busy"
        assert device.updater.status().running is not None


def test_a_state_folder_is_of_one_app(device: Device, tmp_path: Path) -> None:
    device.confirmed("1.0.0")
    before = device.snapshot()
    device.root = Simulator(app="com.example.other").root()
    with pytest.raises(UsageError) as caught:
        device.install()
    assert caught.value.code == "wrong_app"
    assert device.snapshot() == before


def test_status_needs_no_site_and_no_root(device: Device) -> None:
    device.confirmed("1.0.0")
    found = status(device.state)
    assert found == device.updater.status()
    assert (found.app, found.sequence, found.root) == ("com.example.app", 1, 1)
    assert found.checked == device.now


def test_status_of_nothing(tmp_path: Path) -> None:
    found = status(tmp_path / "none")
    assert (found.app, found.running, found.sequence) == (None, None, None)
    assert not (tmp_path / "none").exists()


def test_confirming_twice_or_nothing_is_fine(device: Device) -> None:
    with pytest.raises(UsageError):
        device.updater.confirm()
    device.publisher.publish("1.0.0")
    device.install()
    assert device.updater.confirm() == device.updater.confirm()


def test_paused_and_expired_keep_running(device: Device) -> None:
    device.confirmed("1.0.0")
    device.publisher.publish("1.1.0", paused=True)
    assert device.updater.install().reason == "paused"
    device.later(days=60)
    before = device.snapshot()
    with pytest.raises(VerificationError) as caught:
        device.install()
    assert caught.value.code == "expired"
    assert device.snapshot() == before
    assert device.version == "1.0.0"


def test_a_site_ahead_of_its_blobs_is_tried_again(device: Device) -> None:
    device.confirmed("1.0.0")
    offer = device.publisher.offer("1.1.0")
    device.publisher.publish(offer)
    blob = device.publisher.bundle("1.1.0").bundle.blob
    data = device.publisher.blob(blob)
    device.publisher.site.delete(blob_name(blob))
    with pytest.raises(StoreError):
        device.install()
    assert device.version == "1.0.0"
    assert device.updater.status().sequence == 2  # remembered before the download
    device.publisher.put(blob_name(blob), data)
    assert device.install() == "installed"


def test_a_clock_of_1970_gets_by(device: Device) -> None:
    device.publisher.publish("1.0.0")
    device.now = device.now.replace(year=1970)
    assert device.install() == "installed"
    device.updater.confirm()
    # And cannot be used to freeze it: what was accepted tells how late it is.
    issued = device.publisher.sim.manifest_value().issued + timedelta(days=40)
    device.confirmed("1.1.0", issued=issued, expires=issued + timedelta(days=30))
    device.publisher.publish("1.2.0")
    with pytest.raises(VerificationError) as caught:
        device.install()
    assert caught.value.code == "expired"
