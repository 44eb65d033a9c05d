"""Patches are made from what devices may run, made once, and never stand in the way."""

import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from manifestgen.core import capgo, cipher
from manifestgen.core.keyring import usable
from manifestgen.core.manifest import Patch
from manifestgen.core.release import Release
from manifestgen.core.tree import sha256
from manifestgen.publish.patches import _pools
from tests.publish.project import Project, site_files

CODE = "".join(f"function f{n}(a){{return a*{n * n}}}\n" for n in range(3000))


@pytest.fixture
def fixed(fresh: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give a project whose clock stands still."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1893456000")
    return fresh


def app(project: Project, version: str) -> Path:
    """Write a build of which little changes, under names that do; noise makes bundles large."""
    folder = project.folder / f"build-{version}"
    (folder / "assets").mkdir(parents=True)
    name = sha256(version.encode())[:8]
    (folder / "index.html").write_text(f'<!doctype html><script src="assets/app-{name}.js">')
    (folder / f"assets/app-{name}.js").write_text(CODE.replace("f77(", f"f{version}("))
    (folder / f"assets/noise-{name}.bin").write_bytes(random.Random(1).randbytes(20_000))
    return folder


def publishes(project: Project, version: str, *more: str) -> dict[str, Any]:
    folder = project.folder / f"build-{version}"
    source = folder if folder.exists() else app(project, version)
    return project.publishes(source, "--version", version, *more)


def bases(said: dict[str, Any]) -> list[str]:
    return [one["from"] for one in said["patches"]]


def offered(project: Project, channel: str = "production") -> tuple[Patch, ...]:
    return project.manifest(channel).manifest.offers[0].patches


def opened(project: Project, patch: Patch, release: Release) -> bytes:
    """Decrypt a patch as a device does, which has nothing but the public key."""
    blob = patch.payload.blob
    data = (project.site / "blobs" / blob[:2] / f"{blob}.bin").read_bytes()
    assert (sha256(data), len(data)) == (blob, patch.payload.size)
    if release.capgo:
        pem = (project.folder / ".manifestgen/capgo.pub.pem").read_bytes()
        whole = capgo.unwrap(capgo.load_public(pem), release.capgo)
        key = cipher.payload_key(whole, kind="patch", base=patch.base)
        data = b"".join(cipher.decrypt([data], key))
    assert (sha256(data), len(data)) == (patch.payload.plain, patch.payload.plain_size)
    return data


@pytest.mark.parametrize("scheme", ["capgo", "none"])
def test_each_of_the_last_three_releases_gets_a_patch_that_works(
    fixed: Project, scheme: str
) -> None:
    versions = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")
    trees = {one: publishes(fixed, one, "--scheme", scheme)["tree"] for one in versions}
    said = publishes(fixed, "1.4.0", "--scheme", scheme)
    assert bases(said) == ["1.3.0", "1.2.0", "1.1.0"]
    assert all(one["bytes"] < 800 and one["seconds"] >= 0 for one in said["patches"])
    [release] = usable(fixed.manifest())
    assert [patch.base for patch in offered(fixed)] == [trees[base] for base in bases(said)]
    for patch, one in zip(offered(fixed), said["patches"], strict=True):
        assert (one["bytes"], one["blob"]) == (patch.payload.size, patch.payload.blob)
        assert opened(fixed, patch, release).startswith(b"mgpatch1")


def test_a_person_is_told_in_one_line(fixed: Project) -> None:
    publishes(fixed, "1.0.0")
    said = fixed.does("publish", app(fixed, "1.1.0"), "--version", "1.1.0")
    [line] = [line for line in said.out.splitlines() if "patch" in line]
    assert line.startswith("  patches   ")
    assert line.endswith(" from 1.0.0")


@pytest.mark.parametrize(("count", "made"), [(0, 0), (1, 1), (2, 2), (9, 3)])
def test_how_many_can_be_said(fixed: Project, count: int, made: int) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        publishes(fixed, version, "--patches", "0")
    assert len(publishes(fixed, "1.3.0", "--patches", str(count))["patches"]) == made


def test_how_many_can_be_set(fixed: Project) -> None:
    for version in ("1.0.0", "1.1.0"):
        publishes(fixed, version)
    config = fixed.folder / "manifestgen.toml"
    config.write_text(config.read_text().replace("patches = 3", "patches = 1"))
    assert bases(publishes(fixed, "1.2.0")) == ["1.1.0"]


@pytest.mark.parametrize("count", ["-1", "17", "many"])
def test_no_other_number_is_taken(fixed: Project, count: str) -> None:
    said = fixed("publish", app(fixed, "1.0.0"), "--version", "1.0.0", "--patches", count)
    assert said.code == 2


def test_what_is_staged_gets_one_too(fixed: Project) -> None:
    publishes(fixed, "1.0.0")
    publishes(fixed, "1.1.0", "--rollout", "10%")
    publishes(fixed, "1.2.0", "--rollout", "10%")
    # Everybody runs 1.0.0 but those who got one of the two since.
    assert bases(publishes(fixed, "1.3.0", "--patches", "1")) == ["1.2.0", "1.1.0", "1.0.0"]


def test_nothing_is_made_that_is_nearly_as_large_as_the_bundle(fixed: Project) -> None:
    publishes(fixed, "1.0.0")
    other = app(fixed, "2.0.0")
    for path in (other / "assets").iterdir():
        path.write_bytes(random.Random(path.suffix).randbytes(20_000))
    said = fixed.does("publish", "--json", other, "--version", "2.0.0")
    assert said.json["patches"] == []
    assert "nearly as large" in said.json["notes"][0]
    assert len(list(fixed.site.rglob("*.bin"))) == 2


def test_the_same_content_under_another_version_needs_none(fixed: Project) -> None:
    publishes(fixed, "1.0.0")
    said = fixed.publishes(fixed.folder / "build-1.0.0", "--version", "1.0.1")
    assert said["patches"] == []


def test_a_pruned_base_is_passed_over_with_a_note(fixed: Project) -> None:
    for version in ("1.0.0", "1.1.0"):
        publishes(fixed, version)
    [first, _] = _bundles(fixed, "1.0.0", "1.1.0")
    first.unlink()
    said = fixed.does("publish", "--json", app(fixed, "1.2.0"), "--version", "1.2.0")
    assert bases(said.json) == ["1.1.0"]
    assert said.json["notes"] == ["no patch from 1.0.0: its bundle is no longer in the site"]


@pytest.mark.parametrize("damage", [b"", b"!" * 1000])
def test_a_damaged_base_is_passed_over_with_a_note(fixed: Project, damage: bytes) -> None:
    publishes(fixed, "1.0.0")
    [bundle] = _bundles(fixed, "1.0.0")
    bundle.chmod(0o644)
    bundle.write_bytes(damage)
    said = fixed.does("publish", app(fixed, "1.1.0"), "--version", "1.1.0")
    assert "patches" not in said.out
    assert "note: no patch from 1.0.0: " in said.err


def _bundles(project: Project, *versions: str) -> list[Path]:
    found = []
    for version in versions:
        release = json.loads((project.site / f"releases/{version}.json").read_bytes())
        blob = release["signed"]["bundle"]["blob"]
        found.append(project.site / "blobs" / blob[:2] / f"{blob}.bin")
    return found


@pytest.mark.parametrize(
    "command",
    [("refresh",), ("channel", "rollout", "50%"), ("channel", "pause"), ("channel", "resume")],
)
def test_other_commands_keep_them(fixed: Project, command: tuple[str, ...]) -> None:
    publishes(fixed, "1.0.0")
    publishes(fixed, "1.1.0")
    before = offered(fixed)
    fixed.does(*command)
    assert offered(fixed) == before != ()


def test_a_patch_is_never_made_twice(fixed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    publishes(fixed, "1.0.0")
    publishes(fixed, "1.1.0")
    publishes(fixed, "1.0.0", "--channel", "beta")
    before = offered(fixed)
    monkeypatch.setattr("manifestgen.core.diff.make", None)
    assert publishes(fixed, "1.1.0")["changed"] is False
    said = publishes(fixed, "1.1.0", "--channel", "beta")
    assert bases(said) == ["1.0.0"]
    assert "seconds" not in said["patches"][0]
    assert offered(fixed, "beta") == before != ()


def test_a_channel_move_takes_them_along(fixed: Project) -> None:
    publishes(fixed, "1.0.0")
    fixed.does("channel", "promote", "1.0.0", "--to", "beta")
    publishes(fixed, "1.1.0")
    fixed.does("channel", "promote", "1.1.0", "--to", "beta")
    assert offered(fixed, "beta") == offered(fixed) != ()


def test_a_channel_move_makes_what_the_other_channel_needs(fixed: Project) -> None:
    old = publishes(fixed, "1.0.0")["tree"]
    new = publishes(fixed, "1.1.0", "--channel", "beta")
    assert new["patches"] == []
    fixed.does("channel", "promote", "1.1.0", "--to", "production")
    assert [patch.base for patch in offered(fixed)] == [old]
    [release] = usable(fixed.manifest())
    opened(fixed, offered(fixed)[0], release)


def test_the_same_inputs_give_the_same_site(fixed: Project, tmp_path: Path) -> None:
    fixed.does("init")
    publishes(fixed, "1.0.0")
    copy = tmp_path / "copy"
    shutil.copytree(fixed.folder, copy)
    publishes(fixed, "1.1.0")
    once = site_files(fixed.site)
    shutil.rmtree(fixed.folder)
    shutil.copytree(copy, fixed.folder)
    publishes(fixed, "1.1.0")
    assert site_files(fixed.site) == once


def test_a_dry_run_says_them_and_writes_none(fixed: Project) -> None:
    publishes(fixed, "1.0.0")
    before = site_files(fixed.site)
    app(fixed, "1.1.0")
    said = publishes(fixed, "1.1.0", "--dry-run")
    assert bases(said) == ["1.0.0"]
    assert site_files(fixed.site) == before


def test_an_interruption_waits_for_no_part_that_was_not_begun() -> None:
    begun, both, leaving = list[int](), Event(), Event()

    def part(number: int) -> None:
        begun.append(number)
        if len(begun) == 2:
            both.set()
        assert leaving.wait(60)

    def notice(*pools: ThreadPoolExecutor) -> None:
        while not leaving.wait(0.001):
            try:
                for pool in pools:
                    pool.submit(int)
            except RuntimeError:  # it takes no more: we are on our way out
                leaving.set()

    def interrupted() -> None:
        with _pools() as (patches, parts):
            patches.submit(lambda: list(parts.map(part, range(100))))
            assert both.wait(60)
            Thread(target=notice, args=(patches, parts)).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(begun) == 2
