"""`site copy`: the same bytes arrive, in a safe order, and never an older or another site."""

import json
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from manifestgen.config import load
from manifestgen.copy import Copied, copy_site
from manifestgen.publish.trust import load_roots
from manifestgen.stores import SMALL, DirectoryStore, MemoryStore, Store, Stored
from manifestgen.stores.passing import Passing
from manifestgen.verify import Anchor, Expected, verify
from tests.channels.conftest import Publisher
from tests.copy.conftest import URL
from tests.publish.project import changes, site_files, snapshot, web_server
from tests.stores.faulty import FaultyStore, Killed

OTHER = "https://mirror.example.net/app"


def copied(source: Publisher, target: Store, store: Store | None = None, **more: Any) -> Copied:
    """Copy a project's site in this process."""
    settings = load(source.folder / "manifestgen.toml", {})
    return copy_site(
        store or DirectoryStore(source.site),
        target,
        Anchor.of(*load_roots(settings).documents),
        settings,
        now=source.now,
        **more,
    )


def files(store: Store) -> dict[str, bytes]:
    found = {}
    for entry in store.names():
        with_bytes = store.open(entry.name)
        assert with_bytes
        with with_bytes as file:
            found[entry.name] = file.read()
    return found


def is_sound(source: Publisher, target: Store) -> bool:
    anchor = Anchor.of(*load_roots(load(source.folder / "manifestgen.toml", {})).documents)
    return verify(target, anchor, now=source.now, expected=Expected(base_url=URL)).ok


class Counting(Passing):
    """Remembers which blobs were asked for."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.opened: list[str] = []

    def open(self, name: str) -> Any:
        self.opened.append(name)
        return self.store.open(name)


# What arrives


def test_a_copy_is_the_same_byte_for_byte_and_a_second_one_writes_nothing(
    source: Publisher,
) -> None:
    said = source.data("site copy site mirror")
    mirror = source.folder / "mirror"
    assert site_files(mirror) == site_files(source.site)
    assert source.data("verify mirror")["ok"]
    assert said["changed"]
    assert [(one["channel"], one["before"], one["after"]) for one in said["channels"]] == [
        ("beta", 0, 1),
        ("production", 0, 4),
    ]
    before = snapshot(mirror)
    again = source.data("site copy site mirror")
    assert (again["changed"], again["blobs"], again["bytes"]) == (False, 0, 0)
    assert changes(before, snapshot(mirror)) == []


def test_only_what_is_missing_is_fetched(source: Publisher) -> None:
    target = MemoryStore()
    copied(source, target)
    source.publish("1.3.0")
    store = Counting(DirectoryStore(source.site))
    done = copied(source, target, store)
    assert len(store.opened) == len(done.plan.blobs) == 1
    assert [one.missing for one in done.plan.changes] == [(), (5,)]
    assert done.plan.releases == ("releases/1.3.0.json",)
    assert files(target) == site_files(source.site)
    assert is_sound(source, target)


def test_a_dry_run_writes_nothing_and_says_the_same(source: Publisher) -> None:
    dry = source.data("site copy site mirror --dry-run")
    assert not (source.folder / "mirror").exists()
    done = source.data("site copy site mirror")
    assert {**dry, "dry_run": False} == done


def test_a_mirror_elsewhere_has_its_own_address_for_stock_plugins(source: Publisher) -> None:
    source.does(f"site copy site mirror --base-url {OTHER}")
    here, there = site_files(source.site), site_files(source.folder / "mirror")
    differing = {name for name in here if here[name] != there[name]}
    assert differing == {"beta/capgo.json"}  # production offers nothing, at no address
    for name in differing:
        assert there[name] == here[name].replace(URL.encode(), OTHER.encode())
    assert source.data(f"verify mirror --base-url {OTHER}")["ok"]


def test_whose_word_an_address_is_is_said(source: Publisher, tmp_path: Path) -> None:
    elsewhere = Publisher(tmp_path / "elsewhere", source.now)
    elsewhere.folder.mkdir()
    root = f"--root {source.folder}/.manifestgen/root/1.json"
    said = elsewhere.does(f"site copy {source.site} one {root}")
    assert f"capgo.json points to {URL}, as that of {source.site} does: `--base-url`" in said.out
    said = elsewhere.does(f"site copy {source.site} other {root} --base-url {OTHER}")
    assert f"capgo.json points to {OTHER}\n" in said.out


def test_from_a_web_server_with_nothing_but_a_root(source: Publisher, tmp_path: Path) -> None:
    elsewhere = Publisher(tmp_path / "elsewhere", source.now)
    elsewhere.folder.mkdir()
    root = source.folder / ".manifestgen/root/1.json"
    with web_server(source.site) as url:
        said = elsewhere.data(f"site copy {url} mirror --channel beta --root", root)
    assert site_files(elsewhere.folder / "mirror") == site_files(source.site)
    assert said["base_url"] == URL
    assert not (elsewhere.folder / ".manifestgen").exists()


def test_roots_and_releases_that_were_signed_again_arrive(source: Publisher) -> None:
    target = MemoryStore()
    copied(source, target)
    source.does("keys create --only signing --out-dir new")
    old = source.data("keys list")["keys"][0]["keyid"]
    source.does(f"keys rotate {old} --to file:new/signing.pem")
    done = copied(source, target)
    assert done.plan.roots == (2,)
    assert len(done.plan.releases) > 0
    assert done.plan.blobs == {}
    assert files(target) == site_files(source.site)
    assert is_sound(source, target)


def test_a_mirror_that_kept_the_signatures_of_before_brings_none_back(source: Publisher) -> None:
    before = site_files(source.site)
    source.does("keys create --only signing --out-dir new")
    old = source.data("keys list")["keys"][0]["keyid"]
    source.does(f"keys rotate {old} --to file:new/signing.pem")
    target = MemoryStore()
    copied(source, target)
    after = files(target)
    channels = source.data("channel list")["channels"]
    offered = {one["version"] for channel in channels for one in channel["offers"]}
    kept = [name for name in before if name.startswith("releases/") and name[9:-5] not in offered]
    mirror = MemoryStore()
    for name, data in {**after, **{name: before[name] for name in kept}}.items():
        mirror.create(name, data)
    assert any(before[name] != after[name] for name in kept)
    assert not copied(source, target, mirror).changed
    assert files(target) == after


def test_a_blob_that_was_pruned_is_no_hindrance(source: Publisher) -> None:
    source.later(days=200)
    source.does("refresh")
    source.does("refresh --channel beta")
    assert source.data("prune --keep 1 --grace 0")["deleted"]
    target = MemoryStore()
    assert copied(source, target).pruned > 0
    assert files(target) == site_files(source.site)
    assert is_sound(source, target)


def test_an_expired_channel_is_copied_and_told(source: Publisher) -> None:
    source.later(days=60)
    target = MemoryStore()
    done = copied(source, target)
    assert any("expired" in note for note in done.notes)
    assert files(target) == site_files(source.site)


# What is refused

Case = Callable[[Publisher], None]


def _newer(source: Publisher) -> None:
    shutil.copytree(source.site, source.folder / "old")
    source.publish("1.3.0")
    source.site.rename(source.folder / "mirror")
    (source.folder / "old").rename(source.site)


def _newer_without_manifest(source: Publisher) -> None:
    _newer(source)
    (source.folder / "mirror/production/manifest.json").unlink()


def _newer_root(source: Publisher) -> None:
    source.does("site copy site mirror")
    (source.folder / "mirror/root/2.json").write_bytes(b"{}")


def _forked(source: Publisher) -> None:
    source.does("site copy site mirror")
    marks = source.folder / ".manifestgen/keys/sequences.json"
    before = marks.read_bytes()
    source.publish("1.3.0")
    source.site.rename(source.folder / "one")
    marks.write_bytes(before)
    source.later(hours=1)
    source.publish("1.4.0", "--site", "mirror")
    (source.folder / "one").rename(source.site)


def _another(source: Publisher) -> None:
    other = Publisher(source.folder / "other")
    other.folder.mkdir()
    other.configure('app = "com.example.other"\nscheme = "none"\n')
    other.publish("1.0.0")
    other.site.rename(source.folder / "mirror")


def _damaged_there(source: Publisher) -> None:
    source.does("site copy site mirror")
    (source.folder / "mirror/production/manifest.json").write_bytes(b"{}")


def _stray_channel_there(source: Publisher) -> None:
    source.does("site copy site mirror")
    stray = source.folder / "mirror/nightly"
    shutil.copytree(source.folder / "mirror/beta", stray)


def _other_release_there(source: Publisher) -> None:
    source.does("site copy site mirror")
    releases = source.folder / "mirror/releases"
    shutil.copyfile(releases / "1.0.0.json", releases / "1.1.0.json")


def _history_differs_there(source: Publisher) -> None:
    source.does("site copy site mirror")
    (source.folder / "mirror/production/history/000002.json").write_bytes(b"{}")


def _damaged_here(source: Publisher) -> None:
    path = source.site / "production/history/000002.json"
    path.write_bytes(path.read_bytes() + b" ")


def _altered_here(source: Publisher) -> None:
    path = source.site / "production/manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"withdrawn":["1.2.0"]', b'"withdrawn":["9.2.0"]'))


def _without_a_needed_blob(source: Publisher) -> None:
    for path in (source.site / "blobs").rglob("*.bin"):
        path.unlink()


def _damaged_blob(source: Publisher) -> None:
    for path in (source.site / "blobs").rglob("*.bin"):
        path.write_bytes(b"x" * path.stat().st_size)


REFUSED: dict[str, tuple[Case, int, str]] = {
    "a newer target": (_newer, 2, "is newer than"),
    "a newer target, half written": (_newer_without_manifest, 2, "is newer than"),
    "a target with a newer root": (_newer_root, 2, "has root/2.json"),
    "a target that went another way": (_forked, 3, "different histories"),
    "a target that is another project's": (_another, 3, "is another one"),
    "a damaged manifest there": (_damaged_there, 3, "different histories"),
    "a channel there that nobody signed": (_stray_channel_there, 3, "nightly"),
    "another release there": (_other_release_there, 3, "releases/1.1.0.json"),
    "another history there": (_history_differs_there, 3, "000002.json"),
    "a damaged history here": (_damaged_here, 3, "000002.json"),
    "an altered manifest here": (_altered_here, 3, "trusted keys signed"),
    "a needed blob missing here": (_without_a_needed_blob, 3, "is missing from"),
    "a damaged blob here": (_damaged_blob, 3, "is not what was signed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_safe_is_refused(case: str, source: Publisher) -> None:
    prepare, code, error = REFUSED[case]
    prepare(source)
    mirror = source.folder / "mirror"
    before = snapshot(mirror)
    said = source.run("site", "copy", "site", "mirror")
    assert said.code == code, said
    assert error in said.err.splitlines()[0]
    assert said.err.splitlines()[1].startswith("hint: ")
    # Blobs that are whole may have come, and are no news to any device.
    assert [name for name in changes(before, snapshot(mirror)) if "json" in name] == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("site copy site site", "both FROM and TO"),
        ("site copy site site/mirror", "inside the other"),
        ("site copy site https://cdn.example.com/app", "can only be read"),
        ("site copy nothing mirror", "nothing is published at"),
    ],
)
def test_wrong_places_are_said(line: str, error: str, source: Publisher) -> None:
    source.refuses(line, code=2, error=error)


class TwoFaced(Passing):
    """A site that shows another manifest each time it is asked."""

    def __init__(self, store: Store, faces: Iterator[bytes]) -> None:
        super().__init__(store)
        self._faces = faces

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        if name == "production/manifest.json":
            data = next(self._faces)
            return Stored(data, sha256(data).hexdigest())
        return self.store.get(name, limit=limit)


def test_what_is_written_is_what_was_verified(source: Publisher) -> None:
    good = (source.site / "production/manifest.json").read_bytes()
    target = MemoryStore()
    store = TwoFaced(DirectoryStore(source.site), iter([good, b"other", b"other", b"other"]))
    copied(source, target, store)
    assert files(target) == site_files(source.site)


def test_nothing_is_believed_without_a_root(source: Publisher, tmp_path: Path) -> None:
    elsewhere = Publisher(tmp_path / "elsewhere", source.now)
    elsewhere.folder.mkdir()
    elsewhere.run("site", "copy", source.site, "mirror")
    said = elsewhere.run("site", "copy", str(source.site), "mirror")
    assert said.code == 2
    assert "there is no root to trust" in said.err


# Kills


def test_killed_anywhere_devices_see_the_old_or_the_new_and_the_next_copy_finishes(
    source: Publisher,
) -> None:
    old = MemoryStore()
    copied(source, old)
    offered_before = _heads(files(old))
    source.publish("1.3.0")
    source.does("channel promote 1.3.0 --to beta")
    source.does("refresh --channel beta")
    whole = site_files(source.site)
    offered_after = _heads(whole)
    kills = 0
    for number in count(1):
        target = MemoryStore()
        copied_again(old, target)
        store = FaultyStore(target, stop_before=number)
        try:
            copied(source, store)
        except Killed:
            kills += 1
        else:
            break
        for channel, seen in _heads(files(target)).items():
            assert seen in (offered_before[channel], offered_after[channel])
            check_whole(seen, files(target), whole)
        copied(source, target)
        assert files(target) == whole
        assert is_sound(source, target)
    assert kills > 15


def copied_again(source: MemoryStore, target: MemoryStore) -> None:
    for name, data in files(source).items():
        target.create(name, data)


def _heads(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if name.endswith("/manifest.json")}


def check_whole(manifest: bytes, there: dict[str, bytes], whole: dict[str, bytes]) -> None:
    """Check that all the files a manifest names are there as they have to be."""
    text = manifest.decode()
    for name, data in whole.items():
        digest = Path(name).stem
        if name.startswith("blobs/") and digest in text:
            assert there[name] == data
    for offer in json.loads(text)["signed"]["offers"]:
        name = f"releases/{offer['release']['signed']['version']}.json"
        assert there[name] == whole[name]


def test_a_publisher_goes_on_from_a_copy_that_was_killed_halfway(source: Publisher) -> None:
    """Of a history of which only the newest part came, nothing is built upon."""
    target = DirectoryStore(source.folder / "mirror")
    for number in count(1):
        store = FaultyStore(target, stop_before=number)
        with pytest.raises(Killed):
            copied(source, store)
        if "created production/history/000003.json" in store.steps:
            break
        shutil.rmtree(source.folder / "mirror", ignore_errors=True)
    copied(source, target)
    source.later(minutes=1)
    source.publish("1.3.0", "--site", "mirror")
    assert source.data("verify mirror")["ok"]
