"""Stolen and lost keys, restored backups: how publisher and devices come back together.

The devices here are the real Python client over the site's folder.
"""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from manifestgen.core.canonical import Json
from manifestgen.core.reader import format_time
from manifestgen.core.tree import sha256
from manifestgen.device import Facts, Updater
from manifestgen.errors import VerificationError
from manifestgen.stores import open_store
from tests.channels.conftest import Publisher
from tests.channels.fleet import manifest_of
from tests.roots.conftest import ROOT, forged, keyid, new_key, split, uses

FAR = 2**40


class Kiosk:
    """One real device, with a state folder of its own."""

    def __init__(self, publisher: Publisher, state: Path, name: str = "kiosk") -> None:
        self.publisher = publisher
        self.updater = Updater(
            open_store(publisher.site),
            (publisher.folder / ".manifestgen/root/1.json").read_bytes(),
            state,
            facts=Facts(name),
            now=self._now,
        )

    def _now(self) -> datetime:
        return self.publisher.now

    def takes(self) -> str | None:
        """Install what is offered and confirm it; return the version that runs."""
        self.updater.install()
        running = self.updater.confirm().running
        return str(running.version) if running else None

    def refuses(self) -> str:
        """Return the code of the refusal."""
        with pytest.raises(VerificationError) as caught:
            self.updater.install()
        return caught.value.code

    @property
    def sequence(self) -> int | None:
        """The sequence it remembers."""
        return self.updater.status().sequence


@pytest.fixture
def kiosk(shop: Publisher, tmp_path: Path) -> Kiosk:
    shop.does("channel rollout 100%")
    return Kiosk(shop, tmp_path / "kiosk")


def attack(shop: Publisher, uri: str, **changes: Json) -> int:
    """Publish what a thief signs; return its sequence."""
    live = shop.site / "production/manifest.json"
    changes.setdefault("previous", sha256(live.read_bytes()))
    data = forged(shop, live, uri, **changes)
    live.write_bytes(data)
    sequence = manifest_of(shop.site).sequence
    (shop.site / f"production/history/{sequence:06}.json").write_bytes(data)
    return sequence


ATTACKS: dict[str, dict[str, Json]] = {
    "a far sequence": {"sequence": FAR},
    "the last sequence there is": {"sequence": 2**53 - 1},
    "the next sequence, with nothing offered": {"sequence": 6, "offers": []},
    "everything withdrawn": {"sequence": FAR, "offers": [], "withdrawn": ["1.0.0", "1.1.0"]},
    "a time in the future, within what devices allow": {
        "sequence": FAR,
        "issued": format_time(datetime.fromisoformat("2030-01-01T23:59:00+00:00")),
        "expires": format_time(datetime.fromisoformat("2030-03-30T00:00:00+00:00")),
    },
}


@pytest.mark.parametrize("changes", ATTACKS.values(), ids=ATTACKS)
def test_a_stolen_manifest_key_is_undone_by_a_new_root(
    shop: Publisher, kiosk: Kiosk, tmp_path: Path, changes: dict[str, Json]
) -> None:
    _, release, stolen = split(shop)
    assert kiosk.takes() == "1.1.0"
    sequence = attack(shop, stolen, **changes)
    kiosk.updater.install()
    kiosk.updater.confirm()
    assert kiosk.sequence == sequence
    new = new_key(shop, "new")
    said = shop.does(f"keys rotate {keyid(shop, stolen)[:12]} --to {new}")
    assert "signed again: manifest of production" in said.out
    uses(shop, root=ROOT, release=release, manifest=new)
    assert manifest_of(shop.site).sequence < FAR
    assert manifest_of(shop.site).issued == shop.now
    shop.publish("1.2.0")
    shop.later(days=1)
    assert kiosk.takes() == "1.2.0"
    assert kiosk.sequence == manifest_of(shop.site).sequence
    assert Kiosk(shop, tmp_path / "late").takes() == "1.2.0"
    shop.fleet(10).check(shop.now)


def test_the_stolen_key_signs_in_vain_afterwards(shop: Publisher, kiosk: Kiosk) -> None:
    _, release, stolen = split(shop)
    kiosk.takes()
    new = new_key(shop, "new")
    shop.does(f"keys rotate {keyid(shop, stolen)[:12]} --to {new}")
    uses(shop, root=ROOT, release=release, manifest=new)
    shop.later(days=1)
    kiosk.takes()
    live = shop.site / "production/manifest.json"
    good = live.read_bytes()
    attack(shop, stolen, sequence=99)
    assert kiosk.refuses() == "signature"
    shop.refuses("refresh", code=3, error="production/manifest.json of the site does not verify")
    live.write_bytes(good)
    attack(shop, stolen, sequence=99, root=3)
    assert kiosk.refuses() == "signature"
    shop.does("refresh")
    kiosk.takes()
    assert kiosk.sequence == manifest_of(shop.site).sequence


def test_a_job_that_refreshed_on_top_of_the_attack_does_not_matter(
    shop: Publisher, kiosk: Kiosk
) -> None:
    _, release, stolen = split(shop)
    kiosk.takes()
    attack(shop, stolen, sequence=FAR)
    shop.does("refresh")
    kiosk.takes()
    new = new_key(shop, "new")
    shop.does(f"keys rotate {keyid(shop, stolen)[:12]} --to {new}")
    uses(shop, root=ROOT, release=release, manifest=new)
    shop.publish("1.2.0")
    shop.later(days=1)
    assert kiosk.takes() == "1.2.0"


def test_no_command_goes_on_from_where_no_publisher_reaches(shop: Publisher, kiosk: Kiosk) -> None:
    _, release, stolen = split(shop)
    attack(shop, stolen, sequence=2**53 - 2)
    for line in ("refresh", "channel rollout 100%", "channel pause"):
        said = shop.refuses(line, code=3, error="which no publisher reaches")
        assert "keys rotate" in said.err
    new = new_key(shop, "new")
    shop.does(f"keys rotate {keyid(shop, stolen)[:12]} --to {new}")
    uses(shop, root=ROOT, release=release, manifest=new)
    shop.publish("1.2.0")
    assert kiosk.takes() == "1.2.0"


def test_a_lost_manifest_key_is_replaced_with_the_root_key_alone(
    shop: Publisher, kiosk: Kiosk
) -> None:
    _, release, lost = split(shop)
    kiosk.takes()
    old = keyid(shop, lost)
    (shop.folder / lost.removeprefix("file:")).unlink()
    shop.refuses("refresh", code=4, error="manifest/signing.pem")
    new = new_key(shop, "new")
    said = shop.does(f"keys rotate {old[:12]} --to {new}")
    assert "signed again: manifest of production" in said.out
    assert "left" not in said.out
    assert 'set `manifest` under [keys] to "file:new/signing.pem"' in said.err
    uses(shop, root=ROOT, release=release, manifest=new)
    shop.publish("1.2.0")
    shop.later(days=1)
    assert kiosk.takes() == "1.2.0"


def test_a_lost_release_key_is_replaced_too(shop: Publisher, kiosk: Kiosk) -> None:
    _, lost, manifest = split(shop)
    kiosk.takes()
    old = keyid(shop, lost)
    (shop.folder / lost.removeprefix("file:")).unlink()
    new = new_key(shop, "new")
    data = shop.data(f"keys rotate {old[:12]} --to {new}")
    assert (data["releases"], data["left"]) == (["1.0.0", "1.1.0"], [])
    uses(shop, root=ROOT, release=new, manifest=manifest)
    shop.publish("1.2.0")
    shop.later(days=1)
    assert kiosk.takes() == "1.2.0"


def test_what_a_stolen_manifest_key_cannot_do(shop: Publisher, kiosk: Kiosk) -> None:
    _, _, stolen = split(shop)
    kiosk.takes()
    document = manifest_of(shop.site).to_json()
    offers = document["offers"]
    assert isinstance(offers, list)
    offer = offers[0]
    assert isinstance(offer, dict)
    evil = offer["release"]
    assert isinstance(evil, dict)
    signed = evil["signed"]
    assert isinstance(signed, dict)
    changed: Json = {**offer, "release": {**evil, "signed": {**signed, "version": "6.6.6"}}}
    attack(shop, stolen, sequence=50, offers=[changed])
    outcome = kiosk.updater.install()
    assert [one.reason for one in outcome.reasons] == ["untrusted"]
    assert kiosk.takes() == "1.1.0"
    shop.refuses("refresh", code=3, error="production/manifest.json")


def test_a_device_that_was_away_walks_the_whole_chain(shop: Publisher, kiosk: Kiosk) -> None:
    kiosk.takes()
    uri = ROOT
    for number in range(8):
        new = new_key(shop, f"key{number}")
        shop.does(f"keys rotate {keyid(shop, uri)[:12]} --to {new}")
        uses(shop, root=new)
        uri = new
    shop.publish("1.2.0")
    assert kiosk.takes() == "1.2.0"
    assert kiosk.updater.status().root == 9


@pytest.mark.parametrize("mutable_only", [True, False])
def test_a_site_restored_from_a_backup_never_repeats_a_sequence(
    shop: Publisher, kiosk: Kiosk, tmp_path: Path, mutable_only: bool
) -> None:
    backup = shutil.copytree(shop.site, tmp_path / "backup")
    shop.publish("1.2.0", "--rollout", "50%")
    for _ in range(3):
        shop.does("refresh")
    kiosk.takes()
    seen = kiosk.sequence
    assert seen == shop.marks()["production"] == 7
    if mutable_only:  # the manifest goes back, history stays
        shutil.copy(backup / "production/manifest.json", shop.site / "production/manifest.json")
    else:
        shutil.rmtree(shop.site)
        shutil.copytree(backup, shop.site)
    assert kiosk.refuses() == "replay"
    shop.does("channel pause")
    shop.does("channel resume")
    assert manifest_of(shop.site).sequence > seen
    kiosk.takes()
    shop.publish("1.3.0")
    assert kiosk.takes() == "1.3.0"
    assert shop.run("verify").code == 0


def test_a_lost_manifest_after_a_rotation_goes_on_from_its_history(shop: Publisher) -> None:
    shop.publish("1.2.0")
    shop.does("channel withdraw 1.2.0")
    shop.publish("1.3.0")
    before = manifest_of(shop.site)
    (shop.site / "production/manifest.json").unlink()
    new = new_key(shop, "new")
    shop.does(f"keys rotate {keyid(shop, ROOT)[:12]} --to {new}")
    uses(shop, root=new)
    shop.does("refresh")
    manifest = manifest_of(shop.site)
    assert manifest.sequence > before.sequence
    assert manifest.withdrawn == before.withdrawn
    assert [offer.release.signed for offer in manifest.offers] == [
        offer.release.signed for offer in before.offers
    ]


def test_the_high_water_mark_lies_beside_the_keys(shop: Publisher) -> None:
    assert shop.marks() == {"production": 2}
    shop.does("channel promote 1.0.0 --to beta")
    shop.does("refresh")
    assert shop.marks() == {"beta": 2, "production": 3}
    shop.does("channel rollout 50% --dry-run")
    assert shop.marks() == {"beta": 2, "production": 3}


def test_a_damaged_mark_is_said(shop: Publisher) -> None:
    (shop.folder / ".manifestgen/keys/sequences.json").write_text("{")
    shop.refuses("refresh", code=2, error="sequences.json is damaged")


def test_a_project_keeps_its_time_on_devices_with_a_slow_clock(
    shop: Publisher, kiosk: Kiosk
) -> None:
    shop.later(days=2)
    shop.does("refresh")
    assert kiosk.takes() == "1.1.0"
    shop.later(days=-400)
    assert kiosk.takes() == "1.1.0"
    shop.later(days=400)
    shop.later(days=28)
    assert kiosk.takes() == "1.1.0"
    shop.now += timedelta(days=2)
    assert kiosk.refuses() == "expired"
