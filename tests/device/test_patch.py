"""A patch is the cheapest way to a release; where one is bad, the bundle comes instead."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from manifestgen.core import capgo
from manifestgen.core.cipher import encrypt, payload_key
from manifestgen.core.diff import make
from manifestgen.core.manifest import Offer, Patch
from manifestgen.core.patch import HEADER, Header
from manifestgen.core.release import Payload, Release, Scheme
from manifestgen.core.tree import sha256
from manifestgen.stores.names import blob_name
from tests.device.publisher import Device, Publisher, page, pem, wrapper
from tests.vectors.patches import Files, tree_of

Spoil: TypeAlias = Callable[[bytes], bytes]

NOISE = random.Random(1).randbytes(20_000)  # so that a bundle is much larger than a patch


def app(version: str) -> Files:
    """Return an app of which little changes, under names that do."""
    return {**page(version), f"assets/noise-{version}.bin": NOISE, "same.bin": NOISE[::-1]}


def patched(
    publisher: Publisher,
    old: str = "1.0.0",
    new: str = "1.1.0",
    *,
    scheme: Scheme = Scheme.NONE,
    spoil: Spoil = bytes,
) -> Offer:
    """Store a version with a patch from another, and offer both."""
    release = publisher.bundle(new, app(new), scheme=scheme)
    return Offer(publisher.sign(release), patches=(stored(publisher, release, old, spoil),))


def stored(publisher: Publisher, release: Release, old: str, spoil: Spoil) -> Patch:
    """Store a patch, in the clear or encrypted."""
    base, target = app(old), app(str(release.version))
    tree = tree_of(base)
    made = make(tree, lambda file: base[file.path], tree_of(target), lambda file: target[file.path])
    plain = spoil(made)
    blob = plain
    if release.capgo:
        bundle = capgo.unwrap(wrapper().public, release.capgo)
        key = payload_key(bundle, kind="patch", base=tree.digest())
        blob = b"".join(encrypt([plain], key))
    publisher.put(blob_name(sha256(blob)), blob)
    return Patch(tree.digest(), Payload(sha256(blob), len(blob), sha256(plain), len(plain)))


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def device(publisher: Publisher, tmp_path: Path) -> Device:
    """Give a device that runs 1.0.0."""
    device = Device(publisher, tmp_path / "state")
    device.confirmed(publisher.offer("1.0.0", files=app("1.0.0")))
    return device


def files_of(device: Device) -> Files:
    folder = device.state / "current"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def installs(device: Device, offer: Offer, via: str) -> int:
    """Publish an offer, install it, and return the bytes that were transferred."""
    device.publisher.publish(offer)
    outcome = device.updater.install()
    assert (outcome.action.value, outcome.via) == ("installed", via)
    assert files_of(device) == app("1.1.0")
    device.updater.confirm()
    return outcome.bytes


def test_a_patch_is_taken_and_is_small(publisher: Publisher, device: Device) -> None:
    offer = patched(publisher)
    publisher.publish(offer)
    foreseen = device.updater.check()
    assert (foreseen.via, foreseen.bytes) == ("patch", offer.patches[0].payload.size)
    assert installs(device, offer, "patch") == offer.patches[0].payload.size < 500


def test_a_patch_is_decrypted_with_a_key_of_its_own(publisher: Publisher, tmp_path: Path) -> None:
    device = Device(publisher, tmp_path / "state")
    device.key = pem()
    device.confirmed(publisher.offer("1.0.0", files=app("1.0.0"), scheme=Scheme.CAPGO))
    offer = patched(publisher, scheme=Scheme.CAPGO)
    assert installs(device, offer, "patch") == offer.patches[0].payload.size < 520


def test_a_patch_comes_after_a_patch(publisher: Publisher, device: Device) -> None:
    installs(device, patched(publisher), "patch")
    offer = patched(publisher, "1.1.0", "1.2.0")
    publisher.publish(offer)
    assert device.updater.install().via == "patch"
    assert files_of(device) == app("1.2.0")


def test_no_patch_applies_to_the_built_in_app(publisher: Publisher, tmp_path: Path) -> None:
    installs(Device(publisher, tmp_path / "state"), patched(publisher), "bundle")


def test_no_patch_applies_to_another_release(publisher: Publisher, device: Device) -> None:
    installs(device, patched(publisher, "0.9.0"), "bundle")


def damaged_header(**changes: object) -> Spoil:
    """Spoil what a patch declares; a function is given what it declares now."""

    def spoil(data: bytes) -> bytes:
        header = Header.decode(data[: HEADER.size])
        values: dict[str, Any] = {
            name: value(getattr(header, name)) if callable(value) else value
            for name, value in changes.items()
        }
        return replace(header, **values).encode() + data[HEADER.size :]

    return spoil


def wrong_result(data: bytes) -> bytes:
    """Make another tree that is declared as the wanted one."""
    base, target = app("1.0.0"), {**app("1.1.0"), "index.html": b"<!doctype html>evil\n\n"}
    other = make(
        tree_of(base), lambda file: base[file.path], tree_of(target), lambda f: target[f.path]
    )
    wanted = Header.decode(data[: HEADER.size]).target
    return damaged_header(target=wanted)(other)


def from_elsewhere(data: bytes) -> bytes:
    """Make a patch for another base, whatever the manifest says."""
    base, target = app("0.9.0"), app("1.1.0")
    return make(
        tree_of(base), lambda file: base[file.path], tree_of(target), lambda f: target[f.path]
    )


SPOILT = {
    "wrong base": from_elsewhere,
    "wrong base that claims to be the right one": damaged_header(
        base=tree_of(app("0.9.0")).digest()
    ),
    "wrong result": wrong_result,
    "4 GB declared": damaged_header(new=2**32 - 1),
    "4 GB of literals declared": damaged_header(plain=lambda sizes: (*sizes[:4], 2**32 - 1)),
    "streams reordered": damaged_header(packed=lambda sizes: sizes[::-1]),
    "cut short": lambda data: data[:-7],
    "extended": lambda data: data + bytes(7),
    "halves swapped": lambda data: data[len(data) // 2 :] + data[: len(data) // 2],
    "a bit flipped in the end": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "empty": lambda data: b"",
    "larger than the bundle": lambda data: data + NOISE * 3,
    "a bundle": lambda data: b"PK\5\6" + bytes(18),
}


@pytest.mark.parametrize("spoil", [pytest.param(spoil, id=name) for name, spoil in SPOILT.items()])
def test_a_bad_patch_is_refused_and_the_bundle_used(
    publisher: Publisher, device: Device, spoil: Spoil
) -> None:
    offer = patched(publisher, spoil=spoil)
    release = Release.from_json(offer.release.signed)
    transferred = installs(device, offer, "bundle")
    assert transferred <= release.bundle.size + offer.patches[0].payload.size
    assert sorted(path.name for path in (device.state / "staging").iterdir()) == []


def test_a_patch_larger_than_the_bundle_is_not_even_fetched(
    publisher: Publisher, device: Device
) -> None:
    offer = patched(publisher, spoil=lambda data: data + NOISE * 3)
    release = Release.from_json(offer.release.signed)
    assert installs(device, offer, "bundle") == release.bundle.size


def test_a_patch_that_is_missing_costs_nothing(publisher: Publisher, device: Device) -> None:
    offer = patched(publisher)
    publisher.site.delete(blob_name(offer.patches[0].payload.blob))
    release = Release.from_json(offer.release.signed)
    assert installs(device, offer, "bundle") == release.bundle.size


@pytest.mark.parametrize("how", ["shorter", "replaced", "other", "gone"])
def test_a_blob_of_other_bytes_is_refused(publisher: Publisher, device: Device, how: str) -> None:
    offer = patched(publisher)
    payload = offer.patches[0].payload
    data = publisher.blob(payload.blob)
    wrong = {
        "shorter": data[:-1],
        "replaced": data[:-1] + b"!",
        "other": b"<!doctype html>login",
        "gone": b"",
    }
    publisher.put(blob_name(payload.blob), wrong[how])
    installs(device, offer, "bundle")


def test_a_patch_that_is_signed_as_ten_gigabytes_is_no_manifest(publisher: Publisher) -> None:
    from manifestgen.core.canonical import JsonObject
    from manifestgen.core.reader import Reader
    from manifestgen.errors import FormatError

    offer = patched(publisher)
    value: JsonObject = {**offer.patches[0].payload.to_json(), "plain_size": 10 * 2**30}
    with pytest.raises(FormatError):
        Payload.read(Reader(value, "$"))


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda folder: (folder / "same.bin").write_bytes(b"evil"), id="changed"),
        pytest.param(lambda folder: (folder / "same.bin").unlink(), id="removed"),
        pytest.param(lambda folder: (folder / "more").write_bytes(b"evil"), id="added"),
        pytest.param(
            lambda folder: (folder / "same.bin").rename(folder / "other.bin"), id="renamed"
        ),
        pytest.param(
            lambda folder: (
                (folder / "same.bin").unlink(),
                (folder / "same.bin").symlink_to(folder / "index.html"),
            ),
            id="linked",
        ),
    ],
)
def test_a_base_altered_on_disk_is_not_built_upon(
    publisher: Publisher, device: Device, alter: Callable[[Path], object]
) -> None:
    alter((device.state / "current").resolve())
    installs(device, patched(publisher), "bundle")


def test_the_base_is_left_as_it_was(publisher: Publisher, device: Device) -> None:
    before = files_of(device)
    folder = (device.state / "current").resolve()
    installs(device, patched(publisher), "patch")
    assert {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    } == before


def test_an_unconfirmed_release_is_left_for_its_base(publisher: Publisher, device: Device) -> None:
    publisher.publish(patched(publisher))
    assert device.updater.install().via == "patch"
    publisher.publish(patched(publisher, "1.0.0", "1.2.0"))
    outcome = device.updater.install()
    assert outcome.rolled_back is not None
    assert outcome.via == "patch"
    assert files_of(device) == app("1.2.0")
