"""Roots and releases that take several people, who carry a file from one to the next."""

import json
from pathlib import Path

import pytest

from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keyring import Keyring
from tests.channels.conftest import Publisher
from tests.channels.fleet import Fleet
from tests.publish.project import changes, snapshot
from tests.roots.conftest import ROOT, keyid, new_key, split, teammate, uses


@pytest.fixture
def team(shop: Publisher) -> tuple[Publisher, Publisher, Publisher]:
    """Give a root that takes two of three people, each with a clone and a key."""
    second, third = new_key(shop, "second"), new_key(shop, "third")
    shop.does("keys add second.pub.pem --role root")
    uses(shop, root=[ROOT, second])
    shop.does("keys add third.pub.pem --role root --threshold 2")
    uses(shop, root=ROOT)
    return shop, teammate(shop, "bea", second), teammate(shop, "cem", third)


Team = tuple[Publisher, Publisher, Publisher]


def pending(publisher: Publisher, name: str = "root-4.json") -> Path:
    return publisher.folder / ".manifestgen/pending" / name


def test_nothing_is_in_force_before_the_threshold_is_met(team: Team, fleet: Fleet) -> None:
    shop, bea, _ = team
    site = snapshot(shop.site)
    roots = snapshot(shop.folder / ".manifestgen/root")
    data = shop.data("keys renew")
    assert data["accepted"] is False
    assert data["pending"] == str(pending(shop))
    assert "needs 2 of" in data["lacking"][0]
    assert "1 of 2 trusted keys" in data["lacking"][0]
    assert changes(site, snapshot(shop.site)) == []
    assert changes(roots, snapshot(shop.folder / ".manifestgen/root")) == []
    fleet.check(shop.now)
    assert fleet.keyring.root.number == 3
    assert bea.data("keys list")["root"] == 3


def test_the_second_signature_puts_it_in_force(team: Team, fleet: Fleet, tmp_path: Path) -> None:
    shop, bea, cem = team
    shop.does("keys renew")
    stick = tmp_path / "root-4.json"
    stick.write_bytes(pending(shop).read_bytes())
    said = bea.does("keys sign", stick)
    assert "root 3 → root 4" in said.err
    assert "document " in said.err
    assert bea.data("keys list")["root"] == 4
    done = shop.data("keys sign", stick)
    assert (done["accepted"], done["root"]) == (True, 4)
    assert not pending(shop).exists()
    fleet.check(shop.now)
    assert fleet.keyring.root.number == 4
    assert cem.data("keys list")["root"] == 3
    cem.does("keys sign", stick)  # whole already: his project follows
    assert cem.data("keys list")["root"] == 4


def test_any_two_suffice_and_one_twice_does_not(team: Team, tmp_path: Path) -> None:
    shop, bea, cem = team
    stick = tmp_path / "stick.json"
    bea.does("keys renew")
    stick.write_bytes(pending(bea).read_bytes())
    for _ in range(2):
        assert bea.data("keys sign", stick)["accepted"] is False
    data = cem.data("keys sign", stick)
    assert data["accepted"] is True
    signatures = Envelope.decode(stick.read_bytes(), limit=10**6).signatures
    assert len(signatures) == 2
    shop.does("keys sign", stick)
    keyring = Keyring.trust((shop.site / "root/1.json").read_bytes())
    for number in (2, 3, 4):
        keyring = keyring.follow((shop.site / f"root/{number}.json").read_bytes())


def test_the_same_change_again_takes_up_what_waits(team: Team) -> None:
    shop, *_ = team
    shop.does("keys renew")
    before = pending(shop).read_bytes()
    shop.later(hours=1)
    assert shop.data("keys renew")["accepted"] is False
    assert pending(shop).read_bytes() == before


def test_another_change_does_not_replace_what_waits(team: Team) -> None:
    shop, *_ = team
    shop.does("keys renew")
    new_key(shop, "new")
    line = "keys add new.pub.pem --role root"
    shop.refuses(line, code=2, error="holds another root 4, and waits for signatures")
    pending(shop).unlink()
    assert shop.data(line)["root"] == 4


@pytest.mark.parametrize("change", ["app", "expires", "threshold", "signature"])
def test_a_file_that_was_changed_on_its_way_is_refused(
    team: Team, tmp_path: Path, change: str
) -> None:
    shop, bea, _ = team
    shop.does("keys renew")
    document = json.loads(pending(shop).read_bytes())
    signed = document["signed"]
    match change:
        case "app":
            signed["app"] = "com.example.evil"
        case "expires":
            signed["expires"] = "2099-01-01T00:00:00Z"
        case "threshold":
            signed["roles"]["root"]["threshold"] = 1
        case "signature":
            other = json.loads((shop.site / "root/3.json").read_bytes())["signatures"]
            mine = document["signatures"][0]["keyid"]
            document["signatures"] = [one for one in other if one["keyid"] == mine]
    stick = tmp_path / "stick.json"
    stick.write_text(json.dumps(document, separators=(",", ":"), sort_keys=True))
    before = snapshot(bea.folder), stick.read_bytes()
    said = bea.run("keys", "sign", stick)
    assert said.code == 3
    assert "was changed after" in said.err
    assert (snapshot(bea.folder), stick.read_bytes()) == before


def test_what_is_no_document_is_refused(team: Team, tmp_path: Path) -> None:
    shop, *_ = team
    stick = tmp_path / "stick.json"
    for data in (b"", b"{}", b"\xff", b"x" * 10**6, b'{"signatures":[],"signed":{}}'):
        stick.write_bytes(data)
        assert shop.run("keys", "sign", stick).code in {2, 3}


def test_a_root_of_another_number_is_refused(team: Team, tmp_path: Path) -> None:
    shop, bea, _ = team
    shop.does("keys renew")
    stick = tmp_path / "stick.json"
    stick.write_bytes(pending(shop).read_bytes())
    bea.does("keys sign", stick)
    said = bea.run("keys", "sign", stick)
    assert said.code == 2
    assert "is in force here already" in said.err
    assert "root 4 → root 4" not in said.err


def test_a_stranger_cannot_sign(team: Team, tmp_path: Path) -> None:
    shop, bea, _ = team
    stranger = new_key(bea, "stranger")
    shop.does("keys renew")
    said = bea.run("keys", "sign", pending(shop), "--key", stranger)
    assert said.code == 4
    assert "none of the keys at hand may sign root 4" in said.err


def test_the_old_and_the_new_threshold_both_count(team: Team, tmp_path: Path) -> None:
    shop, bea, _ = team
    new = new_key(shop, "new")
    stick = tmp_path / "stick.json"
    old = keyid(shop, ROOT)
    data = shop.data(f"keys rotate {old[:12]} --to {new} --role root")
    assert len(data["lacking"]) == 2
    stick.write_bytes(pending(shop).read_bytes())
    assert bea.data("keys sign", stick)["accepted"] is True
    shop.does("keys sign", stick)
    assert keyid(shop, new) in {
        one["keyid"] for one in shop.data("keys list")["keys"] if "root" in one["roles"]
    }


@pytest.fixture
def pair(shop: Publisher) -> tuple[Publisher, Publisher]:
    """Give releases that take two people."""
    _, first, manifest = split(shop)
    second = new_key(shop, "second")
    shop.does("keys add second.pub.pem --role release")
    uses(shop, root=ROOT, release=[first, second], manifest=manifest)
    shop.does("keys add second.pub.pem --role release --threshold 2")
    uses(shop, root=ROOT, release=first, manifest=manifest)
    bea = teammate(shop, "bea", second)
    return shop, bea


Pair = tuple[Publisher, Publisher]


def test_a_release_is_published_once_both_have_signed(pair: Pair, fleet: Fleet) -> None:
    shop, bea = pair
    build = f"{shop.folder}/dist/1.0.0"
    site = snapshot(shop.site)
    said = shop.run("publish", "--version", "1.2.0", build)
    assert said.code == 4
    assert "release 1.2.0 has 1 of the 2 signatures it needs" in said.err
    assert changes(site, snapshot(shop.site)) == []
    stick = pending(shop, "release-1.2.0.json")
    shown = bea.does("keys sign", stick)
    assert "release 1.2.0 of com.example.shop, tree " in shown.err
    assert "2 of the 2 signatures" in shown.out
    shop.later(hours=5)
    shop.does(f"publish --version 1.2.0 {build}")
    assert not stick.exists()
    assert fleet.check(shop.now) == {"1.2.0": 200}


def test_a_release_changed_on_its_way_is_refused(pair: Pair) -> None:
    shop, bea = pair
    assert shop.run("publish", "--version", "1.2.0", f"{shop.folder}/dist/1.0.0").code == 4
    stick = pending(shop, "release-1.2.0.json")
    stick.write_bytes(stick.read_bytes().replace(b'"files":1', b'"files":2'))
    said = bea.run("keys", "sign", stick)
    assert said.code == 3
    assert "was changed after" in said.err
    again = shop.run("publish", "--version", "1.2.0", f"{shop.folder}/dist/1.0.0")
    assert again.code == 3


def test_another_build_waits_under_that_version(pair: Pair) -> None:
    shop, _ = pair
    assert shop.run("publish", "--version", "1.2.0", f"{shop.folder}/dist/1.0.0").code == 4
    said = shop.run("publish", "--version", "1.2.0", f"{shop.folder}/dist/1.1.0")
    assert said.code == 2
    assert "holds something else for 1.2.0" in said.err


def test_releases_are_signed_again_in_steps(shop: Publisher, fleet: Fleet) -> None:
    _, first, manifest = split(shop)
    second = new_key(shop, "second")
    uses(shop, root=ROOT, release=first, manifest=manifest)
    data = shop.data("keys add second.pub.pem --role release --threshold 2")
    assert data["accepted"] is True
    assert len(data["left"]) == 2
    assert all("1 of the 2 signatures it needs" in one for one in data["left"])
    bea = teammate(shop, "bea", second)
    for version in ("1.0.0", "1.1.0"):
        bea.does("keys sign", pending(shop, f"release-{version}.json"))
    again = shop.data("keys apply")
    assert (again["releases"], again["left"]) == (["1.0.0", "1.1.0"], [])
    assert not list((shop.folder / ".manifestgen/pending").iterdir())
    before = fleet.versions()
    assert fleet.check(shop.now) == before
    assert shop.fleet(200).check(shop.now) == before
    for version in ("1.0.0", "1.1.0"):
        data = (shop.site / f"releases/{version}.json").read_bytes()
        fleet.keyring.release(Envelope.decode(data, limit=10**6))
        assert Envelope.decode(data, limit=10**6).signed["type"] == Kind.RELEASE
