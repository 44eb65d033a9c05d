"""Devices that are moved back, or to another channel's release, download a patch, not a bundle."""

import json
import random
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from manifestgen.core.manifest import Patch
from tests.channels.conftest import CONFIG, Publisher
from tests.channels.fleet import manifest_of

CODE = "".join(f"function f{n}(a){{return a*{n * n}}}\n" for n in range(2000))


class Kiosk:
    """A device of its own, driven by the command."""

    def __init__(self, publisher: Publisher, name: str = "kiosk") -> None:
        self.publisher = publisher
        self.state = publisher.folder / name

    def installs(self, version: str, via: str, channel: str = "production") -> int:
        """Install, confirm, and return the bytes that were transferred."""
        root = self.publisher.folder / ".manifestgen/root/1.json"
        where = ("--site", self.publisher.site, "--root", root, "--state", self.state)
        found = self.publisher.data(f"device install --channel {channel}", *where)
        assert (found["to"], found["via"]) == (version, via)
        page = Path(found["path"], "index.html").read_text()
        assert page == f"<!doctype html><title>{version}</title>\n"
        self.publisher.does("device confirm --state", self.state)
        return int(found["bytes"])


@pytest.fixture(params=["none", "capgo"])
def shop(publisher: Publisher, request: pytest.FixtureRequest) -> Publisher:
    """Give a project that makes patches; `device` reads the clock of the machine."""
    publisher.configure(CONFIG.replace("patches = 0\n", "").replace('"none"', f'"{request.param}"'))
    shutil.rmtree(publisher.folder / ".manifestgen")
    publisher.now = datetime.now(UTC).replace(microsecond=0)
    publisher.does("init")
    return publisher


def publishes(shop: Publisher, version: str, *options: str) -> None:
    """Publish a build of which little changes; noise makes bundles large."""
    build = shop.folder / "dist" / version
    build.mkdir(parents=True)
    (build / "index.html").write_text(f"<!doctype html><title>{version}</title>\n")
    (build / "app.js").write_text(CODE.replace("f77(", f"f{version}("))
    (build / "noise.bin").write_bytes(random.Random(1).randbytes(20_000))
    shop.publish(version, *options)


def bases(shop: Publisher, channel: str = "production") -> dict[str, Patch]:
    """Return the patches of the offer on top by the version they start from."""
    releases = (shop.site / "releases").glob("*.json")
    signed = [json.loads(path.read_bytes())["signed"] for path in releases]
    versions = {one["tree"]["digest"]: one["version"] for one in signed}
    offer = manifest_of(shop.site, channel).offers[0]
    return {versions[patch.base]: patch for patch in offer.patches}


def without_making(shop: Publisher, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Run a command that may make no patch."""
    with monkeypatch.context() as patched:
        patched.setattr("manifestgen.core.diff.make", None)
        shop.does(line)


def test_a_device_on_the_withdrawn_release_goes_back_by_a_patch(shop: Publisher) -> None:
    kiosk = Kiosk(shop)
    for version, via in (("1.0.0", "bundle"), ("1.1.0", "patch"), ("1.2.0", "patch")):
        publishes(shop, version)
        kiosk.installs(version, via)
    shop.does("channel rollback 1.0.0")
    assert set(bases(shop)) == {"1.1.0", "1.2.0"}
    assert kiosk.installs("1.0.0", "patch") < 2000
    shop.does("verify")


def test_what_was_made_before_is_used_again(
    shop: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishes(shop, "1.0.0")
    publishes(shop, "1.1.0")
    up = bases(shop)
    publishes(shop, "1.2.0")
    shop.does("channel rollback")
    assert set(bases(shop)) == {"1.0.0", "1.2.0"}
    assert bases(shop)["1.0.0"] == up["1.0.0"]
    down, blobs = bases(shop), shop.blobs()
    without_making(shop, monkeypatch, "channel promote 1.2.0 --to production")
    assert set(bases(shop)) == {"1.0.0", "1.1.0"}
    without_making(shop, monkeypatch, "channel rollback")
    assert bases(shop) == down
    assert shop.blobs() == blobs


def test_a_release_that_comes_from_another_channel(
    shop: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishes(shop, "1.0.0")
    publishes(shop, "1.1.0", "--channel", "beta")
    kiosk = Kiosk(shop)
    kiosk.installs("1.0.0", "bundle")
    shop.does("channel promote 1.1.0 --to production")
    assert kiosk.installs("1.1.0", "patch") < 2000
    other = Kiosk(shop, "other")
    other.installs("1.1.0", "bundle")
    # The other way round, on a channel that has both: nothing is made twice.
    shop.does("channel rollback")
    blobs = shop.blobs()
    shop.does("channel promote 1.0.0 --to nightly")
    without_making(shop, monkeypatch, "channel promote 1.1.0 --to nightly")
    without_making(shop, monkeypatch, "channel rollback --channel nightly")
    assert set(bases(shop, "nightly")) == {"1.1.0"}
    assert shop.blobs() == blobs
    assert other.installs("1.0.0", "patch") < 2000


def test_withdrawing_what_is_staged_leaves_a_patch_to_what_is_beneath(shop: Publisher) -> None:
    publishes(shop, "1.0.0")
    publishes(shop, "1.1.0")
    shop.does("channel rollback")
    publishes(shop, "1.2.0", "--rollout", "50%")
    shop.does("channel withdraw 1.2.0")
    assert "1.2.0" in bases(shop)
    shop.does("channel withdraw 1.0.0")
    assert manifest_of(shop.site).offers == ()


def test_patches_are_a_saving_and_nothing_more(shop: Publisher) -> None:
    publishes(shop, "1.0.0")
    publishes(shop, "1.1.0")
    signed = json.loads((shop.site / "releases/1.1.0.json").read_bytes())["signed"]
    blob = signed["bundle"]["blob"]
    (shop.site / "blobs" / blob[:2] / f"{blob}.bin").unlink()
    shop.does("channel rollback")
    assert bases(shop) == {}
    Kiosk(shop).installs("1.0.0", "bundle")


def test_none_are_made_where_none_are_wanted(shop: Publisher) -> None:
    publishes(shop, "1.0.0")
    publishes(shop, "1.1.0")
    config = (shop.folder / "manifestgen.toml").read_text()
    shop.configure(f"patches = 0\n{config}")
    shop.does("channel rollback")
    assert bases(shop) == {}


def test_a_dry_run_stores_none(shop: Publisher) -> None:
    publishes(shop, "1.0.0")
    publishes(shop, "1.1.0")
    blobs = shop.blobs()
    said = shop.does("channel rollback --dry-run")
    assert '"base"' in said.out
    assert shop.blobs() == blobs


def test_a_rollback_that_changes_nothing_makes_none(
    shop: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishes(shop, "1.0.0")
    publishes(shop, "1.1.0", "--patches", "0")
    without_making(shop, monkeypatch, "channel rollback 1.1.0")


def test_from_the_last_releases_and_what_was_offered_and_those_there_were(shop: Publisher) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"):
        publishes(shop, version)
    shop.does("channel rollback 1.2.0")
    assert list(bases(shop)) == ["1.4.0", "1.3.0", "1.1.0", "1.0.0"]
