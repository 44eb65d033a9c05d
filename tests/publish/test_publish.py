"""What devices are offered after one publish and the next, and how a channel goes on."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from manifestgen.core.audience import EVERYONE
from manifestgen.core.keyring import usable
from manifestgen.errors import UsageError
from manifestgen.publish import parse_share
from tests.publish.project import Project, build, changes, ended, process, site_files, snapshot

URL = "https://cdn.example.com/app"


@pytest.fixture
def versions(project: Project) -> Project:
    """Give a project with builds 1.2.0 to 1.5.0 besides."""
    for minor in range(2, 6):
        build(project.folder / f"v{minor}", version=f"1.{minor}.0", text=f"version {minor}")
    return project


# What lies beneath an offer


def test_an_offer_to_everyone_replaces_what_was_offered(project: Project) -> None:
    project.publishes("dist2")
    assert project.offered() == ["1.1.0"]


def test_a_staged_offer_keeps_the_previous_one_beneath(versions: Project) -> None:
    versions.publishes("dist2", "--rollout", "10%")
    manifest = versions.manifest().manifest
    assert versions.offered() == ["1.1.0", "1.0.0"]
    assert [offer.rollout.share for offer in manifest.offers] == [1000, 10_000]
    versions.publishes("v2", "--rollout", "0.5%")
    assert versions.offered() == ["1.2.0", "1.1.0", "1.0.0"]
    versions.publishes("v3")
    assert versions.offered() == ["1.3.0"]


def test_an_offer_for_one_platform_keeps_the_others(versions: Project) -> None:
    versions.publishes("dist2", "--platform", "ios")
    assert versions.offered() == ["1.1.0", "1.0.0"]
    versions.publishes("v2", "--platform", "android")
    assert versions.offered() == ["1.2.0", "1.1.0", "1.0.0"]
    assert [release.audience.platforms for release in usable(versions.manifest())] == [
        ("android",),
        ("ios",),
        (),
    ]


def test_an_offer_for_newer_native_apps_keeps_the_one_for_older(project: Project) -> None:
    project.publishes("dist2", "--native", "ios:>=3 <4")
    assert project.offered() == ["1.1.0", "1.0.0"]
    [newest, _] = usable(project.manifest())
    assert newest.audience.to_json() == {"native": [{"platform": "ios", "range": ">=3 <4"}]}


def test_a_lower_version_lies_beneath_where_it_reaches_somebody(versions: Project) -> None:
    versions.publishes("v2", "--platform", "android")
    versions.publishes("dist2", "--platform", "ios")
    assert versions.offered() == ["1.2.0", "1.1.0", "1.0.0"]


@pytest.mark.parametrize("flags", [(), ("--platform", "ios"), ("--rollout", "5%")])
def test_a_lower_version_that_reaches_nobody_is_refused(
    versions: Project, flags: tuple[str, ...]
) -> None:
    versions.publishes("v2")
    versions.refuses("publish", "dist2", *flags, code=2, error="production offers 1.2.0")


def test_a_release_on_another_channel_is_the_same_release(project: Project) -> None:
    before = site_files(project.site)
    data = project.publishes("dist", "--channel", "beta")
    assert (data["channel"], data["sequence"], data["blobs"]["reused"]) == ("beta", 1, 1)
    after = site_files(project.site)
    assert changes(before, after) == [
        "beta/history/000001.json",
        "beta/manifest.json",
        "index.html",
    ]
    assert b"beta/manifest.json" in after["index.html"]
    assert project.manifest("beta").releases == project.manifest().releases


def test_a_release_on_another_channel_goes_to_whom_it_is_meant_for(project: Project) -> None:
    project.publishes("dist", "--channel", "beta", "--platform", "ios", "--rollout", "5%")
    [offer] = project.manifest("beta").manifest.offers
    assert offer.audience.platforms == ("ios",)
    assert offer.rollout.share == 500
    [release] = usable(project.manifest("beta"))
    assert release.audience == EVERYONE


def test_what_a_publisher_says_reaches_devices(project: Project) -> None:
    notes = "Häuser\nund mehr"
    (project.folder / "notes.txt").write_text(notes + "\n")
    project.publishes("dist2", "--notes", "@notes.txt", "--mandatory", "--floor", "1.0.0")
    [offer] = project.manifest().manifest.offers
    [release] = usable(project.manifest())
    assert offer.mandatory
    assert release.notes == notes
    assert str(release.floor) == "1.0.0"


def test_notes_may_be_as_long_as_devices_read(project: Project) -> None:
    project.publishes("dist2", "--notes", "é" * 256)
    [release] = usable(project.manifest())
    assert len(release.notes.encode()) == 512
    project.publishes("dist2")


def test_the_default_floor_is_the_third_last_release(versions: Project) -> None:
    floors = {}
    for folder in ("dist2", "v2", "v3", "v4"):
        data = versions.publishes(folder)
        [release] = usable(versions.manifest())
        floors[data["version"]] = release.floor and str(release.floor)
    assert floors == {"1.1.0": None, "1.2.0": "1.0.0", "1.3.0": "1.1.0", "1.4.0": "1.2.0"}


def test_the_default_floor_is_never_above_the_version(versions: Project) -> None:
    versions.publishes("v2", "--rollout", "5%")
    versions.publishes("v3", "--rollout", "5%")
    versions.publishes("dist2", "--platform", "ios")
    floors = {str(one.version): one.floor for one in usable(versions.manifest())}
    assert floors["1.1.0"] is None or str(floors["1.1.0"]) <= "1.1.0"


def test_in_the_clear_only_when_told(project: Project) -> None:
    data = project.publishes("dist2", "--scheme", "none")
    [release] = usable(project.manifest())
    assert release.capgo is None
    [blob] = [path for path in project.site.rglob("*.bin") if path.stem == release.bundle.plain]
    assert blob.read_bytes()[:4] == b"PK\x03\x04"
    assert data["blobs"]["bytes"] == blob.stat().st_size


def test_the_app_is_capacitors(fresh: Project) -> None:
    config = {"appId": "com.example.shop", "webDir": "dist"}
    (fresh.folder / "capacitor.config.json").write_text(json.dumps(config))
    assert fresh.publishes("dist")["app"] == "com.example.shop"


def test_the_version_is_the_nearest_package_json(fresh: Project) -> None:
    (fresh.folder / "dist/package.json").rename(fresh.folder / "package.json")
    assert fresh.publishes("dist")["version"] == "1.0.0"
    assert fresh.publishes("dist", "--version", "1.0.1-beta.1")["version"] == "1.0.1-beta.1"


def test_names_and_texts_of_any_script_are_kept(fresh: Project) -> None:
    (fresh.folder / "dist/文件 ü.js").write_text("x")
    fresh.publishes("dist", "--notes", "日本語 🙂")
    [release] = usable(fresh.manifest())
    assert release.notes == "日本語 🙂"


# Sequence


def test_a_site_restored_from_a_backup_never_gets_a_sequence_twice(versions: Project) -> None:
    versions.publishes("dist2")
    backup = versions.folder / "backup"
    shutil.copytree(versions.site, backup)
    seen = {}
    for folder in ("v2", "v3"):
        data = versions.publishes(folder)
        seen[data["sequence"]] = data["version"]
    shutil.rmtree(versions.site)
    backup.rename(versions.site)
    said = ended(process(versions.folder, "publish", "v4", "--json"))
    data = said.json
    assert "warning: " in said.err
    assert "site had manifest 2 of production, and 4 was signed here" in said.err
    assert seen == {3: "1.2.0", 4: "1.3.0"}
    assert data["sequence"] == 5
    assert versions.offered() == ["1.4.0"]
    said = ended(process(versions.folder, "publish", "v5", "--json"))
    assert (said.json["sequence"], said.err) == (6, "")
    versions.does("verify", "site")


def test_the_mark_is_kept_by_channel(versions: Project) -> None:
    versions.publishes("dist2")
    versions.publishes("dist2", "--channel", "beta")
    marks = json.loads((versions.folder / ".manifestgen/keys/sequences.json").read_text())
    assert marks == {"production": 2, "beta": 1}


def test_a_damaged_mark_is_not_taken_for_none(project: Project) -> None:
    (project.folder / ".manifestgen/keys/sequences.json").write_text("{")
    project.refuses("publish", "dist2", code=2, error="sequences.json is damaged")


def test_time_never_goes_back(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "4000000000")
    project.publishes("dist2")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "3000000000")
    build(project.folder / "v2", version="1.2.0")
    project.publishes("v2")
    assert project.manifest().manifest.issued == datetime.fromtimestamp(4_000_000_000, UTC)


def test_a_manifest_lives_as_long_as_its_channel_says(project: Project) -> None:
    config = project.folder / "manifestgen.toml"
    config.write_text(config.read_text().replace('expires = "30d"', 'expires = "36h"'))
    project.publishes("dist2")
    manifest = project.manifest().manifest
    assert (manifest.expires - manifest.issued).total_seconds() == 36 * 3600


def test_a_manifest_lives_no_longer_than_root_allows(project: Project) -> None:
    config = project.folder / "manifestgen.toml"
    config.write_text(config.read_text().replace('expires = "30d"', 'expires = "900d"'))
    project.publishes("dist2")
    manifest = project.manifest().manifest
    assert (manifest.expires - manifest.issued).days == 90


# Commands that were interrupted


def test_an_interrupted_commit_is_finished_by_the_next_command(versions: Project) -> None:
    before = (versions.site / "production/manifest.json").read_bytes()
    versions.publishes("dist2", "--base-url", URL)
    after = site_files(versions.site)
    (versions.site / "production/manifest.json").write_bytes(before)
    (versions.site / "production/capgo.json").write_text("{}")
    versions.publishes("dist2", "--base-url", URL)
    assert site_files(versions.site) == after
    (versions.site / "production/manifest.json").write_bytes(before)
    versions.publishes("v2", "--base-url", URL)
    manifest = versions.manifest().manifest
    assert (manifest.sequence, versions.offered()) == (3, ["1.2.0"])


def test_several_interrupted_commits_are_finished(versions: Project) -> None:
    before = (versions.site / "production/manifest.json").read_bytes()
    versions.publishes("dist2")
    versions.publishes("v2")
    (versions.site / "production/manifest.json").write_bytes(before)
    assert versions.publishes("v2")["sequence"] == 3
    assert versions.manifest().manifest.sequence == 3


def test_history_that_does_not_follow_is_refused(versions: Project) -> None:
    other = versions.copied("other")
    other.publishes("dist2", "--rollout", "50%")
    other.publishes("v3")
    versions.publishes("dist2")
    name = "production/history/000003.json"
    shutil.copy(other.site / name, versions.site / name)
    versions.refuses("publish", "v4", code=3, error=f"{name} does not follow manifest 2")


def test_two_publishers_at_once_both_end_up_published(project: Project) -> None:
    for number in range(2, 6):
        build(project.folder / f"p{number}", version=f"2.{number}.0", text=f"{number}")
    flags = [("p2", "ios"), ("p3", "android"), ("p4", "electron"), ("p5", "web")]
    racers = [
        process(project.folder, "publish", folder, "--platform", platform, "--json")
        for folder, platform in flags
    ]
    said = [ended(racer) for racer in racers]
    assert [one.code for one in said] == [0] * 4, said
    assert sorted(one.json["sequence"] for one in said) == [2, 3, 4, 5]
    assert sorted(project.offered()) == ["1.0.0", "2.2.0", "2.3.0", "2.4.0", "2.5.0"]
    names = sorted(path.name for path in (project.site / "production/history").iterdir())
    assert names == [f"00000{number}.json" for number in range(1, 6)]
    newest = (project.site / "production/history/000005.json").read_bytes()
    assert (project.site / "production/manifest.json").read_bytes() == newest
    project.does("verify", "site")


def test_the_same_build_by_two_publishers_at_once_is_published_once(project: Project) -> None:
    racers = [process(project.folder, "publish", "dist2", "--json") for _ in range(3)]
    said = [ended(racer) for racer in racers]
    assert [one.code for one in said] == [0] * 3, said
    assert sorted(one.json["changed"] for one in said) == [False, False, True]
    assert {one.json["sequence"] for one in said} == {2}


# What stock plugins are told


def told(project: Project, name: str = "capgo") -> dict[str, str]:
    answer: dict[str, str] = json.loads((project.site / f"production/{name}.json").read_text())
    return answer


def test_stock_plugins_are_told_only_where_the_address_is_known(project: Project) -> None:
    project.publishes("dist2")
    assert not list(project.site.rglob("capgo*.json"))
    project.publishes("dist2", "--base-url", URL + "/")
    answer = told(project)
    assert sorted(answer) == ["checksum", "session_key", "url", "version"]
    assert answer["version"] == "1.1.0"
    assert answer["url"].startswith(f"{URL}/blobs/")
    assert (project.site / answer["url"].removeprefix(URL + "/")).is_file()


def test_stock_plugins_never_hear_of_a_staged_release(versions: Project) -> None:
    versions.publishes("dist2", "--rollout", "99%", "--base-url", URL)
    assert told(versions)["version"] == "1.0.0"
    versions.publishes("v2", "--base-url", URL)
    assert told(versions)["version"] == "1.2.0"


def test_stock_plugins_are_told_by_platform_where_it_matters(versions: Project) -> None:
    versions.publishes("dist2", "--platform", "ios", "--base-url", URL)
    names = ("capgo", "capgo-ios", "capgo-android")
    assert [told(versions, name)["version"] for name in names] == ["1.0.0", "1.1.0", "1.0.0"]
    versions.publishes("v2", "--base-url", URL)
    assert [told(versions, name)["version"] for name in names] == ["1.2.0"] * 3


def test_stock_plugins_are_not_told_of_native_ranges(project: Project) -> None:
    project.publishes("dist2", "--native", "ios:>=3", "--base-url", URL)
    assert told(project)["version"] == "1.0.0"


# Helpers


@pytest.mark.parametrize(
    ("text", "share"),
    [("100%", 10_000), ("10%", 1000), ("0.5%", 50), ("0.01%", 1), ("0%", 0), ("33.33%", 3333)],
)
def test_a_share_is_read_exactly(text: str, share: int) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["", "%", "10", "10%%", "100.01%", "-0.01%", "1/2%", "١٠٠٠%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no share"):
        parse_share(text)


def test_settings_in_the_environment_come_before_the_file(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MANIFESTGEN_SITE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("MANIFESTGEN_CHANNEL", "beta")
    before = snapshot(project.site)
    assert project.publishes("dist2")["channel"] == "beta"
    assert changes(before, snapshot(project.site)) == []
    assert (tmp_path / "elsewhere/beta/manifest.json").is_file()
    assert project.publishes("dist2", "--channel", "gamma")["channel"] == "gamma"


# What is there, and is not whole


def _alter(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def test_history_that_was_altered_is_not_extended(versions: Project) -> None:
    versions.publishes("dist2")
    past = versions.folder / "site/production/history/000001.json"
    _alter(past, b'"sequence":1', b'"sequence":9')
    versions.refuses("publish", "v2", code=3, error="000001.json is not what manifest 2 names")


def test_a_stored_release_that_is_not_the_one_offered_is_not_built_upon(versions: Project) -> None:
    _alter(versions.folder / "site/releases/1.0.0.json", b'"1.0.0"', b'"1.0.1"')
    versions.refuses("publish", "v2", code=3, error="1.0.0.json is not the release that is offered")


def test_a_site_with_a_newer_root_than_the_project_is_not_extended(versions: Project) -> None:
    roots = versions.folder / "site/root"
    (roots / "2.json").write_bytes((roots / "1.json").read_bytes())
    versions.refuses("publish", "v2", code=3, error="root/2.json, which this project does not know")


def test_another_share_for_what_is_published_says_how_to_change_it(
    project: Project,
) -> None:
    said = project.does("publish", "dist", "--rollout", "10%")
    assert "`manifestgen channel rollout 10%` changes that" in said.out
