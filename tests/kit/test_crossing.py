"""Kits cross, and what is inside follows what is outside."""

import json
import shutil
import tarfile
from pathlib import Path

from manifestgen.kit import Trust
from manifestgen.stores import MemoryStore
from tests.kit.conftest import Gap
from tests.kit.sides import (
    INSIDE_URL,
    URL,
    Side,
    contents,
    outside,
    project_trust,
    rotates,
    take,
)

DOCUMENTS = ("root", "releases", "production/history", "production/manifest.json")


def documents(side: Side) -> dict[str, bytes]:
    return {name: data for name, data in side.files().items() if name.startswith(DOCUMENTS)}


def device(side: Side, site: Path, state: Path) -> str:
    """Let a device that was built with the outside's app follow a site, and return its version."""
    options = ("--site", site, "--state", state, "--root", side.folder / ".manifestgen/root/1.json")
    side("device", "confirm", "--state", state)
    side.does("device", "install", *options)
    found: str = side.does("device", "status", "--state", state)["version"]
    return found


def test_ten_releases_cross_in_four_kits(tmp_path: Path) -> None:
    out, inside = outside(tmp_path / "outside"), Side(tmp_path / "inside")
    number = 0
    since: tuple[str | Path, ...] = ()
    for crossing, count in enumerate((3, 2, 3, 2), 1):
        for _ in range(count):
            out.publishes(f"1.{number}.0", size=5_000)
            number += 1
        if crossing == 3:
            out.does("channel", "rollback", f"1.{number - 2}.0")
        kit = out.exports(f"{crossing}.kit", *since)
        first = ("--fingerprint", out.fingerprint, "--base-url", INSIDE_URL)
        said = inside.imports(kit, *(first if crossing == 1 else ()))
        assert said["changed"]
        since = ("--since", inside.folder / f"{crossing}.receipt.json")
        assert documents(inside) == documents(out)
        assert inside.does("verify", "--base-url", INSIDE_URL)["problems"] == []
        expected = f"1.{number - (2 if crossing == 3 else 1)}.0"
        assert device(out, inside.site, tmp_path / "state") == expected
        answer = json.loads((inside.site / "production/capgo.json").read_text())
        assert answer["version"] == expected
        assert answer["url"].startswith(f"{INSIDE_URL}/blobs/")
        theirs = json.loads((out.site / "production/capgo.json").read_text())
        assert answer == {**theirs, "url": theirs["url"].replace(URL, INSIDE_URL)}
    assert number == 10
    assert len(list((inside.site / "production/history").iterdir())) == 11


def test_a_kit_is_a_tar_file_that_is_the_same_each_time(gap: Gap) -> None:
    with tarfile.open(gap.second) as archive:
        for member in archive:
            assert (member.mode, member.uid, member.mtime, member.isreg()) == (0o644, 0, 0, True)
        names = archive.getnames()
    assert names[:2] == ["kit.json", "root/1.json"]
    assert [name for name in names if "history" in name] == [
        f"production/history/{number:06d}.json" for number in (3, 4)
    ]
    again = gap.outside.exports("again.kit", "--since", gap.receipt)
    assert again.read_bytes() == gap.second.read_bytes()


def test_the_receipt_leaves_out_what_is_there(gap: Gap) -> None:
    def blobs(kit: Path) -> set[str]:
        with tarfile.open(kit) as archive:
            return {name for name in archive.getnames() if name.startswith("blobs/")}

    there = {name for name in gap.inside.files() if name.startswith("blobs/")}
    assert blobs(gap.second)
    assert not blobs(gap.second) & there
    assert blobs(gap.full) & there  # the photo, a single file that did not change
    assert blobs(gap.full) <= blobs(gap.second) | there


def test_with_nothing_new_no_kit_is_written(gap: Gap) -> None:
    gap.inside.imports(gap.second)
    receipt = gap.inside.folder / "second.receipt.json"
    target = gap.folder / "third.kit"
    said = gap.outside.does("kit", "export", "--to", target, "--since", receipt)
    assert not said["written"]
    assert not target.exists()


def test_the_same_kit_twice_changes_nothing(gap: Gap) -> None:
    gap.inside.imports(gap.second)
    before = gap.inside.everything()
    for kit in (gap.second, gap.full):
        said = gap.inside.imports(kit, "--receipt", gap.folder / "receipt")
        assert not said["changed"]
        assert gap.inside.everything() == before
    receipt = gap.inside.folder / "second.receipt.json"
    assert (gap.folder / "receipt").read_bytes() == receipt.read_bytes()


def test_both_ways_lead_to_the_same_site(gap: Gap) -> None:
    other = gap.inside.copied("other")
    gap.inside.imports(gap.second)
    other.imports(gap.full)
    assert other.files() == gap.inside.files()


def test_a_dry_run_verifies_and_writes_nothing(gap: Gap) -> None:
    before = gap.inside.everything()
    said = gap.inside.does("kit", "import", gap.second, "--dry-run")
    assert said["channels"] == [{"channel": "production", "before": 2, "after": 4}]
    assert (said["changed"], said["receipt"]) == (True, None)
    assert gap.inside.everything() == before
    fresh = Side(gap.folder / "fresh")
    fresh.does("kit", "import", gap.full, "--dry-run", "--fingerprint", gap.outside.fingerprint)
    assert fresh.everything() == {}


def test_what_was_lost_inside_comes_back_with_a_full_kit(gap: Gap) -> None:
    gap.inside.imports(gap.second)
    whole = gap.inside.files()
    lost = [*(gap.inside.site / "blobs").iterdir()]
    for folder in lost:
        shutil.rmtree(folder)
    gap.inside.refuses("kit", "import", gap.second, code="incomplete", error="the kit lacks")
    assert gap.inside.imports(gap.full)["changed"]
    needed = {name: data for name, data in whole.items() if name in gap.inside.files()}
    assert gap.inside.files() == needed
    assert gap.inside.does("verify")["problems"] == []


def test_from_a_site_inside_to_one_further_in(gap: Gap) -> None:
    gap.inside.imports(gap.second)
    further = Side(gap.folder / "further")
    kit = gap.inside.exports("further.kit")
    further.imports(kit, "--fingerprint", gap.outside.fingerprint[:32].upper())
    assert documents(further) == documents(gap.inside)
    assert device(gap.outside, further.site, gap.folder / "state") == "1.2.0"


def test_from_memory_to_memory(gap: Gap) -> None:
    settings, store = gap.inside.settings, MemoryStore()
    trust = Trust(fingerprint=gap.outside.fingerprint)
    take(gap.full, trust, settings, store, gap.folder / "receipt")
    assert contents(store).keys() <= gap.outside.files().keys()
    take(gap.full, project_trust(settings), settings, store, gap.folder / "again")
    assert (gap.folder / "again").read_bytes() == (gap.folder / "receipt").read_bytes()


def test_a_channel_of_ones_own_is_left_alone(gap: Gap) -> None:
    out, inside = gap.outside, gap.inside
    inside.does("keys", "create", "--only", "signing", "--out-dir", "plant")
    key = f"file:{inside.folder}/plant/signing.pem"
    out.does("keys", "add", key, "--role", "manifest", "--channel", "plant")
    inside.imports(out.exports("roots.kit", "--since", gap.receipt))
    with (inside.folder / "manifestgen.toml").open("a") as file:
        file.write('\n[channels.plant]\nkeys = "file:plant/signing.pem"\n')
    inside.does("channel", "promote", "1.1.0", "--to", "plant")
    plant = {name: data for name, data in inside.files().items() if name.startswith("plant/")}
    out.publishes("1.3.0")
    inside.imports(out.exports("more.kit", "--since", inside.folder / "roots.receipt.json"))
    assert {name: data for name, data in inside.files().items() if name.startswith("plant/")} == (
        plant
    )
    assert inside.does("verify", "--base-url", INSIDE_URL)["problems"] == []
    state = gap.folder / "state"
    options = ("--site", inside.site, "--state", state, "--channel", "plant")
    root = out.folder / ".manifestgen/root/1.json"
    inside.does("device", "install", *options, "--root", root)
    assert inside.does("device", "status", "--state", state)["version"] == "1.1.0"
    inside.does("channel", "promote", "1.3.0", "--to", "plant")


def test_keys_are_rotated_outside(gap: Gap) -> None:
    """History is then signed by keys since revoked, and the kit brings the root that says so."""
    rotates(gap.outside)
    gap.outside.publishes("1.3.0")
    kit = gap.outside.exports("rotated.kit", "--since", gap.receipt)
    fresh = Side(gap.folder / "fresh")
    full = gap.outside.exports("all.kit")
    fresh.imports(full, "--fingerprint", gap.outside.fingerprint, "--base-url", INSIDE_URL)
    said = gap.inside.imports(kit)
    assert said["roots"] == [2]
    for side in (gap.inside, fresh):
        assert side.does("verify", "--base-url", INSIDE_URL)["problems"] == []
        assert documents(side) == documents(gap.outside)
        roots = sorted(path.name for path in (side.folder / ".manifestgen/root").iterdir())
        assert roots == ["1.json", "2.json"]
    assert device(gap.outside, gap.inside.site, gap.folder / "state") == "1.3.0"
    error = "the kit ends at production 2, which devices refuse"
    gap.inside.refuses("kit", "import", gap.first, code="signature", error=error)


def test_a_channel_that_was_not_renewed_is_not_exported(gap: Gap) -> None:
    gap.outside.publishes("1.3.0", "--channel", "beta")
    rotates(gap.outside)
    beta = gap.outside.site / "beta"
    (beta / "history/000002.json").unlink()
    shutil.copy(beta / "history/000001.json", beta / "manifest.json")
    names = ("kit", "export", "--to", gap.folder / "x.kit")
    error = "beta was signed only by keys since revoked, and no device takes it"
    gap.outside.refuses(*names, code="signature", error=error)
    assert gap.outside.does(*names, "--channel", "production")["written"]
