"""What a device believes, and what it forgets when the keys change."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from manifestgen.core.envelope import Signature
from manifestgen.core.manifest import Offer
from manifestgen.core.root import Delegation
from manifestgen.core.version import Version
from manifestgen.errors import VerificationError
from manifestgen.stores.names import ROOT, root_name
from tests.device.publisher import Device, Publisher
from tests.simulator import EPOCH, Simulator, TestKey, role, utc

NEW_ROOT = TestKey.ed25519("root 2")
NEW_MANIFEST = TestKey.ed25519("manifest 2")
NEW_RELEASE = TestKey.p256("release 2")
STRANGER = TestKey.ed25519("stranger")


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def device(publisher: Publisher, tmp_path: Path) -> Device:
    return Device(publisher, tmp_path / "state")


def refused(device: Device) -> str:
    """Install, and return the code of the refusal; nothing may have changed."""
    before = device.snapshot()
    with pytest.raises(VerificationError) as caught:
        device.install()
    assert device.snapshot() == before
    return caught.value.code


def new_manifest_key(publisher: Publisher, number: int = 2, **changes: object) -> None:
    """Publish a root under which another key signs manifests, and sign with that from now on."""
    sim = publisher.sim
    new = replace(sim, manifest_key=NEW_MANIFEST)
    publisher.rotate(number, keys=new.root_value.keys, manifest=new.root_value.manifest, **changes)
    publisher.sim = new


def new_release_key(publisher: Publisher, number: int = 2) -> None:
    """Publish a root under which another key signs releases, and sign with that from now on."""
    new = replace(publisher.sim, release_key=NEW_RELEASE)
    publisher.rotate(number, keys=new.root_value.keys, release=new.root_value.release)
    publisher.sim = new


Attack = Callable[[Publisher], object]

ATTACKS: dict[str, tuple[Attack, str]] = {
    "an older manifest": (
        lambda p: p.publish("1.2.0", sequence=1),
        "replay",
    ),
    "the same sequence with another content": (
        lambda p: p.publish("1.2.0", sequence=2),
        "equivocation",
    ),
    "issued in the future": (
        lambda p: p.publish("1.2.0", issued=utc(2030, 1, 4), expires=utc(2030, 2)),
        "future",
    ),
    "expired to the second": (
        lambda p: p.publish("1.2.0", issued=EPOCH, expires=utc(2030, 1, 2)),
        "expired",
    ),
    "older than the newest accepted, by a clock set back": (
        lambda p: p.publish("1.2.0", issued=utc(2029, 12), expires=EPOCH),
        "expired",
    ),
    "living longer than root allows": (
        lambda p: p.publish("1.2.0", expires=EPOCH + timedelta(days=91)),
        "lifetime",
    ),
    "signed by nobody": (lambda p: p.publish("1.2.0", by=[]), "signature"),
    "signed by a stranger": (lambda p: p.publish("1.2.0", by=[STRANGER]), "signature"),
    "signed by the release key": (
        lambda p: p.publish("1.2.0", by=[p.sim.release_key]),
        "signature",
    ),
    "of another app": (lambda p: p.publish("1.2.0", app="com.example.other"), "wrong_app"),
    "of another channel": (
        lambda p: p.put("production/manifest.json", p.publish("1.2.0", channel="beta")),
        "wrong_channel",
    ),
    "naming a root that cannot be had": (lambda p: p.publish("1.2.0", root=2), "root_unknown"),
    "a release in its place": (
        lambda p: p.put("production/manifest.json", p.offer("1.2.0").release.encode()),
        "type",
    ),
    "a login page": (
        lambda p: p.put("production/manifest.json", b"<!doctype html><title>sign in</title>"),
        "format",
    ),
    "an empty body": (lambda p: p.put("production/manifest.json", b""), "format"),
    "trailing bytes": (
        lambda p: p.put("production/manifest.json", p.publish("1.2.0") + b"\n"),
        "format",
    ),
}


@pytest.mark.parametrize(("attack", "code"), ATTACKS.values(), ids=ATTACKS)
def test_refuses_and_leaves_everything(device: Device, attack: Attack, code: str) -> None:
    device.confirmed("1.0.0")
    device.confirmed("1.1.0")
    attack(device.publisher)
    assert refused(device) == code
    assert device.version == "1.1.0"
    device.confirmed("1.3.0", sequence=10, root=1)
    assert device.version == "1.3.0"


def test_a_release_signed_by_the_manifest_key_is_skipped(device: Device) -> None:
    device.confirmed("1.0.0")
    release = device.publisher.bundle("1.1.0")
    forged = device.publisher.sign(release, device.publisher.sim.manifest_key)
    device.publisher.publish(Offer(forged))
    outcome = device.updater.install()
    assert [verdict.reason for verdict in outcome.reasons] == ["untrusted"]
    assert device.version == "1.0.0"


def test_a_release_padded_by_the_manifest_key_keeps_its_floor(device: Device) -> None:
    """What is beside a bundle, and in the state, must be read back however large it came."""
    device.confirmed("1.0.0")
    offer = device.publisher.offer("1.2.0", floor=Version.parse("1.2.0"))
    padding = Signature(STRANGER.keyid, bytes(100_000))
    device.confirmed(replace(offer, release=offer.release.with_signatures([padding])))
    previous = device.updater.status().previous
    assert previous is not None
    assert str(previous.version) == "1.0.0"  # as the state says, which holds the release as well
    device.publisher.publish("1.0.0", withdrawn=["1.2.0"])
    assert device.updater.install().reason == "floor"


@pytest.mark.parametrize("memory", ["kept", "lost"])
def test_a_clock_that_is_plainly_wrong_says_nothing_of_the_future(
    device: Device, memory: str
) -> None:
    device.confirmed("1.0.0")
    if memory == "lost":
        for path in (device.state / "manifests").iterdir():
            path.unlink()
    device.now = utc(1970, 1, 1)
    device.confirmed("1.1.0", issued=EPOCH + timedelta(days=9), expires=EPOCH + timedelta(days=30))


def test_follows_a_root_that_a_manifest_names(device: Device) -> None:
    device.confirmed("1.0.0")
    new_manifest_key(device.publisher)
    device.confirmed("1.1.0", root=2)
    assert device.updater.status().root == 2


def test_looks_at_the_newest_root_once_a_day(device: Device) -> None:
    device.confirmed("1.0.0")
    new_manifest_key(device.publisher)
    device.publisher.publish("1.1.0", root=1)
    device.later(hours=23)
    assert refused(device) == "signature"
    device.later(hours=1)
    assert device.install() == "installed"
    assert device.updater.status().root == 2


def test_the_given_root_only_pins(device: Device) -> None:
    device.confirmed("1.0.0")
    device.root = Simulator(manifest_key=STRANGER).root()
    device.publisher.publish("1.1.0", by=[STRANGER])
    assert refused(device) == "signature"


def test_walks_many_roots_but_only_so_many_in_one_check(device: Device) -> None:
    device.confirmed("1.0.0")
    for number in range(2, 71):
        device.publisher.rotate(number)
    device.publisher.publish("1.1.0", root=70)
    with pytest.raises(VerificationError) as caught:
        device.install()
    assert caught.value.code == "root_unknown"
    assert device.updater.status().root == 65
    assert device.install() == "installed"
    assert device.updater.status().root == 70


ROOTS: dict[str, tuple[Callable[[Publisher], object], str]] = {
    "signed by the new keys alone": (
        lambda p: p.rotate(
            2,
            keys=(NEW_ROOT.public, p.sim.release_key.public, p.sim.manifest_key.public),
            root=role(NEW_ROOT),
            by=[NEW_ROOT],
        ),
        "signature",
    ),
    "signed by the old keys alone": (
        lambda p: p.rotate(
            2,
            keys=(NEW_ROOT.public, p.sim.release_key.public, p.sim.manifest_key.public),
            root=role(NEW_ROOT),
            by=[p.sim.root_key],
        ),
        "signature",
    ),
    "skipping a number": (lambda p: p.put(root_name(2), p.rotate(3)), "root_gap"),
    "for another app": (lambda p: p.rotate(2, app="com.example.other"), "wrong_app"),
    "expired": (lambda p: p.rotate(2, issued=EPOCH, expires=utc(2030, 1, 2)), "root_expired"),
}


@pytest.mark.parametrize(("attack", "code"), ROOTS.values(), ids=ROOTS)
def test_refuses_a_root(device: Device, attack: Attack, code: str) -> None:
    device.confirmed("1.0.0")
    attack(device.publisher)
    device.publisher.publish("1.1.0", root=2)
    with pytest.raises(VerificationError) as caught:
        device.install()
    assert caught.value.code == code
    assert device.version == "1.0.0"


@pytest.mark.parametrize("page", [b"<html>404</html>", b"", b"{}", b"x" * 200_000])
def test_no_envelope_is_no_news(device: Device, page: bytes) -> None:
    device.publisher.put(ROOT, page)
    device.publisher.put(root_name(2), page)
    device.publisher.publish("1.0.0")
    assert device.install() == "installed"
    device.publisher.publish("1.1.0", root=2)
    device.updater.confirm()
    assert refused(device) == "root_unknown"


def test_a_root_is_kept_whatever_comes_after(device: Device) -> None:
    device.confirmed("1.0.0")
    device.publisher.rotate(2)
    device.publisher.publish("1.1.0", root=2, by=[STRANGER])
    with pytest.raises(VerificationError):
        device.install()
    assert device.updater.status().root == 2


def test_recovers_from_a_stolen_manifest_key(device: Device) -> None:
    device.confirmed("1.0.0")
    far = utc(2030, 1, 3)
    device.publisher.publish("1.0.0", sequence=2**53 - 1, issued=far, expires=utc(2030, 3))
    device.install()
    device.publisher.publish("1.1.0", sequence=2)
    assert refused(device) == "replay"
    new_manifest_key(device.publisher)
    device.confirmed("1.1.0", sequence=3, root=2, issued=EPOCH, expires=utc(2030, 1, 3))
    assert device.version == "1.1.0"
    assert device.updater.status().sequence == 3


def test_a_key_that_comes_back_does_not_bring_back_what_was_forgotten(device: Device) -> None:
    device.confirmed("1.0.0", sequence=1000)
    old = device.publisher.sim
    new_manifest_key(device.publisher)
    device.publisher.sim = old
    device.publisher.rotate(3)
    device.confirmed("1.1.0", sequence=7, root=3)


def test_rotation_of_other_keys_forgets_nothing(device: Device) -> None:
    device.confirmed("1.0.0", sequence=1000)
    device.publisher.rotate(2)
    device.publisher.publish("1.1.0", sequence=999, root=2)
    with pytest.raises(VerificationError) as caught:
        device.install()
    assert caught.value.code == "replay"


def test_recovers_from_a_stolen_release_key(device: Device) -> None:
    device.confirmed("1.0.0")
    device.confirmed(device.publisher.offer("99.0.0", floor=Version.parse("99.0.0")))
    device.publisher.publish("1.1.0", withdrawn=["99.0.0"])
    assert device.updater.install().reason == "floor"
    new_release_key(device.publisher)
    device.confirmed("1.1.0", withdrawn=["99.0.0"], root=2)
    assert device.version == "1.1.0"
    assert device.updater.status().floor is None


def test_the_manifests_of_every_channel_are_judged_by_a_new_root(device: Device) -> None:
    device.channel = "beta"
    device.confirmed("1.0.0", channel="beta", sequence=1000)
    device.channel = "production"
    device.confirmed("1.1.0", sequence=1000)
    sim = device.publisher.sim
    device.publisher.rotate(
        2,
        keys=(*sim.root_value.keys, NEW_MANIFEST.public),
        manifest=(
            Delegation(("beta",), role(NEW_MANIFEST)),
            Delegation(("*",), role(sim.manifest_key)),
        ),
    )
    device.publisher.publish("1.2.0", sequence=1001, root=2)
    device.install()
    assert device.updater.status().sequence == 1001
    device.updater.confirm()
    device.channel = "beta"
    assert device.updater.status().sequence is None
    device.publisher.publish("1.3.0", channel="beta", sequence=1, root=2, by=[NEW_MANIFEST])
    assert device.install() == "installed"


def test_a_threshold_is_of_different_keys(device: Device) -> None:
    sim = device.publisher.sim
    device.publisher.rotate(
        2,
        keys=(*sim.root_value.keys, NEW_MANIFEST.public),
        manifest=(Delegation(("*",), role(sim.manifest_key, NEW_MANIFEST, threshold=2)),),
    )
    device.publisher.publish("1.0.0", root=2)
    with pytest.raises(VerificationError) as caught:
        device.install()
    assert caught.value.code == "signature"
    device.publisher.publish("1.0.0", root=2, by=[sim.manifest_key, NEW_MANIFEST])
    assert device.install() == "installed"


def test_a_damaged_root_given_at_first_is_refused(device: Device) -> None:
    device.publisher.publish("1.0.0")
    device.root = device.root.replace(b"com.example.app", b"com.example.apq")
    with pytest.raises(VerificationError):
        device.install()
    assert not (device.state / "root.json").exists()
