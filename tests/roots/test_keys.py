"""`keys list|export|add|rotate|revoke|renew|apply` by one person."""

import json
from datetime import timedelta

import pytest

from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import Keyring
from manifestgen.errors import VerificationError
from tests.channels.conftest import Publisher
from tests.channels.fleet import Fleet
from tests.publish.project import changes, snapshot
from tests.roots.conftest import ROOT, keyid, new_key, split, uses


def newest(shop: Publisher) -> int:
    """Return the number of the newest root: the same in the project and on the site."""
    ours = {path.name for path in (shop.folder / ".manifestgen/root").iterdir()}
    assert {path.name for path in (shop.site / "root").iterdir()} == ours
    copy = Envelope.decode((shop.site / "root.json").read_bytes(), limit=10**6)
    assert copy.signed["number"] == len(ours)
    return len(ours)


def test_list_says_who_may_sign_what(shop: Publisher) -> None:
    split(shop)
    data = shop.data("keys list")
    assert set(data) == {"app", "root", "expires", "keys", "thresholds"}
    assert [one["roles"] for one in sorted(data["keys"], key=lambda one: str(one["roles"]))] == [
        ["manifest"],
        ["release"],
        ["root"],
    ]
    assert data["thresholds"] == {"root": 1, "release": 1, "manifest": 1}
    text = shop.does("keys list").out
    assert "root 3 of com.example.shop" in text
    assert "needs: root 1 of 1, release 1 of 1" in text


def test_export_prints_what_add_reads(shop: Publisher) -> None:
    key = keyid(shop, ROOT)
    said = shop.does(f"keys export {key[:8]}")
    (shop.folder / "copy.pem").write_text(said.out)
    shop.does("keys add copy.pem --role manifest --channel beta")
    assert shop.data(f"keys export {key}") == {"keyid": key, "pem": said.out}


@pytest.mark.parametrize("line", ["add", "revoke", "renew"])
def test_every_change_is_the_next_root_and_devices_follow(
    shop: Publisher, fleet: Fleet, line: str
) -> None:
    new_key(shop, "new")
    commands = {
        "add": "keys add new.pub.pem --role root",
        "revoke": "keys add new.pub.pem --role root",
        "renew": "keys renew",
    }
    data = shop.data(commands[line])
    assert (data["root"], data["accepted"], data["channels"]) == (2, True, ["production"])
    if line == "revoke":
        new = keyid(shop, "file:new/signing.pem")
        assert shop.data(f"keys revoke {new[:12]}")["root"] == 3
        assert len(shop.data("keys list")["keys"]) == 1
    before = fleet.versions()
    assert fleet.check(shop.now) == before
    assert fleet.keyring.root.number == newest(shop)
    shop.does("channel rollout 100%")
    assert fleet.check(shop.now) == {"1.1.0": 200}


def test_rotating_the_only_key_carries_everything_over(shop: Publisher, fleet: Fleet) -> None:
    new = new_key(shop, "new")
    old = keyid(shop, ROOT)
    said = shop.does(f"keys rotate {old[:12]} --to {new}")
    assert 'set `root` under [keys] to "file:new/signing.pem"' in said.err
    assert "signed again: release 1.0.0" in said.out
    assert "signed again: release 1.1.0" in said.out
    assert "signed again: manifest of production" in said.out
    before = fleet.versions()
    assert fleet.check(shop.now) == before
    late = shop.fleet(200)
    assert late.check(shop.now) == before
    uses(shop, root=new)
    shop.publish("1.2.0")
    assert fleet.check(shop.now) == {"1.2.0": 200}
    assert [one["keyid"] for one in shop.data("keys list")["keys"]] == [keyid(shop, new)]


def test_after_rotating_a_channel_can_still_go_back(shop: Publisher, fleet: Fleet) -> None:
    shop.does("channel rollout 100%")
    fleet.check(shop.now)
    new = new_key(shop, "new")
    shop.does(f"keys rotate {keyid(shop, ROOT)[:12]} --to {new}")
    uses(shop, root=new)
    shop.does("channel rollout 40%")
    assert shop.offers() == [("1.1.0", 40), ("1.0.0", 100)]
    shop.does("channel rollback")
    assert fleet.check(shop.now) == {"1.0.0": 200}
    shop.does("channel promote 1.1.0 --to production")
    assert fleet.check(shop.now) == {"1.1.0": 200}


def test_a_withdrawn_release_is_not_signed_again(shop: Publisher) -> None:
    shop.does("channel withdraw 1.1.0")
    new = new_key(shop, "new")
    data = shop.data(f"keys rotate {keyid(shop, ROOT)[:12]} --to {new}")
    assert data["releases"] == ["1.0.0"]
    uses(shop, root=new)
    shop.refuses("channel promote 1.1.0 --to production", code=3, error="releases/1.1.0.json")


def test_a_release_changes_in_its_signatures_alone(shop: Publisher) -> None:
    path = shop.site / "releases/1.0.0.json"
    before = json.loads(path.read_text())
    new = new_key(shop, "new")
    shop.does(f"keys rotate {keyid(shop, ROOT)[:12]} --to {new}")
    after = json.loads(path.read_text())
    assert after["signed"] == before["signed"]
    assert [one["keyid"] for one in after["signatures"]] == [keyid(shop, new)]


def test_each_role_can_have_a_key_of_its_own(shop: Publisher, fleet: Fleet) -> None:
    split(shop)
    shop.publish("1.2.0")
    assert fleet.check(shop.now) == {"1.2.0": 200}


def test_with_the_manifest_key_alone_channels_work_and_publish_names_what_lacks(
    shop: Publisher, fleet: Fleet
) -> None:
    _, release, manifest = split(shop)
    shop.does("channel promote 1.0.0 --to beta")
    (shop.folder / ".manifestgen/keys/signing.pem").unlink()
    (shop.folder / release.removeprefix("file:")).unlink()
    shop.does("channel rollout 100%")
    assert fleet.check(shop.now) == {"1.1.0": 200}
    shop.does("channel rollback")
    shop.does("channel promote 1.1.0 --to beta")
    shop.does("channel pause")
    shop.does("channel resume")
    shop.does("refresh")
    assert fleet.check(shop.now) == {"1.0.0": 200}
    build = f"{shop.folder}/dist/1.0.0"
    shop.refuses(f"publish --version 1.2.0 {build}", code=4, error="release/signing.pem")
    uses(shop, root=ROOT, release=manifest, manifest=manifest)
    said = shop.refuses(f"publish --version 1.2.0 {build}", code=4, error="a release needs 1 of")
    assert f"at hand are {keyid(shop, manifest)[:12]}" in said.err
    shop.refuses("keys renew", code=4, error="keys/signing.pem")


def test_a_channel_of_its_own_is_in_the_hands_of_its_key_alone(shop: Publisher) -> None:
    plant = new_key(shop, "plant")
    shop.does("keys add plant.pub.pem --role manifest --channel plant")
    shop.refuses("channel promote 1.0.0 --to plant", code=4, error="the plant manifest needs 1 of")
    more = f'[channels.plant]\nkeys = "{plant}"\n'
    uses(shop, more=more, root=ROOT)
    shop.does("channel promote 1.0.0 --to plant")
    assert shop.fleet(50, channel="plant").check(shop.now) == {"1.0.0": 50}
    (shop.folder / ".manifestgen/keys/signing.pem").unlink()
    shop.does("refresh --channel plant")
    shop.does("channel pause --channel plant")
    for uri in (ROOT, plant):
        uses(shop, more=more, root=uri)
        shop.refuses(
            "channel pause", code=4, error="signing.pem" if uri == ROOT else "the production"
        )


def test_what_the_key_of_one_channel_signs_for_another_is_refused(
    shop: Publisher, fleet: Fleet
) -> None:
    plant = new_key(shop, "plant")
    shop.does("keys add plant.pub.pem --role manifest --channel plant")
    uses(shop, more=f'[channels.plant]\nkeys = "{plant}"\n', root=ROOT)
    shop.does("channel promote 1.0.0 --to plant")
    fleet.check(shop.now)
    stolen = (shop.site / "plant/manifest.json").read_bytes()
    (shop.site / "production/manifest.json").write_bytes(stolen)
    with pytest.raises(VerificationError) as caught:
        fleet.check(shop.now)
    assert caught.value.code == "signature"


def test_a_rotated_channel_key_says_which_setting_to_change(shop: Publisher) -> None:
    plant, new = new_key(shop, "plant"), new_key(shop, "new")
    shop.does("keys add plant.pub.pem --role manifest --channel plant")
    uses(shop, more=f'[channels.plant]\nkeys = "{plant}"\n', root=ROOT)
    shop.does("channel promote 1.0.0 --to plant")
    said = shop.does(f"keys rotate {keyid(shop, plant)[:12]} --to {new}")
    assert "set `keys` under [channels.plant] to" in said.err
    assert "signed again: manifest of plant" in said.out
    assert "left" not in said.out
    assert shop.fleet(50, channel="plant").check(shop.now) == {"1.0.0": 50}


def test_what_the_keys_at_hand_cannot_sign_is_named(shop: Publisher) -> None:
    _, release, _ = split(shop)
    new_key(shop, "new")
    data = shop.data(f"keys rotate {keyid(shop, release)[:12]} --to new.pub.pem")
    assert data["accepted"] is True
    assert data["releases"] == []
    assert len(data["left"]) == 2
    assert all("run `manifestgen keys apply` where that key is" in one for one in data["left"])
    found = shop.fleet(50)
    assert found.check(shop.now) == {"built-in": 50}  # nothing that verifies, nothing installed
    uses(
        shop,
        root=ROOT,
        release="file:new/signing.pem",
        manifest="file:manifest/signing.pem",
    )
    again = shop.data("keys apply")
    assert (again["releases"], again["left"]) == (["1.0.0", "1.1.0"], [])
    assert set(found.check(shop.now)) == {"1.0.0", "1.1.0"}


def test_applying_twice_changes_nothing(shop: Publisher) -> None:
    shop.does("keys renew")
    before = snapshot(shop.folder)
    assert "the site follows the newest root" in shop.does("keys apply").out
    assert changes(before, snapshot(shop.folder)) == []


def test_renewing_gives_a_root_another_life(shop: Publisher, fleet: Fleet) -> None:
    shop.later(days=729)
    shop.does("refresh")
    fleet.check(shop.now)
    fleet.keyring.check_root_fresh(shop.now)
    with pytest.raises(VerificationError, match="expired"):
        fleet.keyring.check_root_fresh(shop.now + timedelta(days=1))
    shop.does("keys renew")
    fleet.check(shop.now)
    fleet.keyring.check_root_fresh(shop.now + timedelta(days=700))


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("keys export zz", 2, "0 keys of root 1 begin with 'zz'"),
        ("keys revoke zz", 2, "0 keys of root 1 begin with 'zz'"),
        ("keys rotate zz --to new.pub.pem", 2, "0 keys of root 1 begin with 'zz'"),
        ("keys add new.pub.pem --role king", 2, "'king' is none"),
        ("keys add new.pub.pem --role root --channel beta", 2, "--channel goes with"),
        ("keys add new.pub.pem --role manifest --channel root", 2, "no channel name"),
        ("keys add new.pub.pem --role root --threshold 3", 2, "cannot meet a threshold of 3"),
        ("keys add nowhere.pem --role root", 2, "there is no nowhere.pem"),
        ("keys add manifestgen.toml --role root", 2, "no public key in PEM"),
        ("keys add file:nowhere.pem --role root", 4, "nowhere.pem"),
        ("keys sign nowhere.json", 2, "there is no nowhere.json"),
        ("keys sign manifestgen.toml", 3, "manifestgen.toml"),
        ("keys sign site/production/manifest.json", 2, "neither a root nor a release"),
    ],
)
def test_refuses(shop: Publisher, line: str, code: int, error: str) -> None:
    new_key(shop, "new")
    shop.refuses(line, code=code, error=error)


def test_a_role_is_never_left_without_enough_keys(shop: Publisher) -> None:
    key = keyid(shop, ROOT)
    said = shop.refuses(f"keys revoke {key[:12]}", code=2, error="needs 1, and would have 0 keys")
    assert "keys rotate" in said.err


def test_the_chain_of_the_project_is_what_devices_walk(shop: Publisher) -> None:
    for _ in range(3):
        shop.does("keys renew")
    keyring = Keyring.trust((shop.folder / ".manifestgen/root/1.json").read_bytes())
    for number in (2, 3, 4):
        keyring = keyring.follow((shop.site / f"root/{number}.json").read_bytes())
    assert keyring.root.number == newest(shop) == 4


def test_a_key_that_was_taken_out_stays_out(shop: Publisher) -> None:
    shop.does(f"keys rotate {keyid(shop, ROOT)[:12]} --to {new_key(shop, 'new')}")
    uses(shop, root="file:new/signing.pem")
    shop.refuses(f"keys add {ROOT} --role manifest", code=2, error="stays out")
