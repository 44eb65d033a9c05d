"""The layout of a site, and how it is served."""

import pytest

from manifestgen.errors import UsageError
from manifestgen.stores import names

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (names.manifest_name("production"), "production/manifest.json"),
        (names.history_name("production", 42), "production/history/000042.json"),
        (names.history_name("beta", 1_234_567), "beta/history/1234567.json"),
        (names.release_name("1.4.2-rc.1"), "releases/1.4.2-rc.1.json"),
        (names.root_name(3), "root/3.json"),
        (names.blob_name(DIGEST), f"blobs/ab/{DIGEST}.bin"),
        (names.capgo_name("production"), "production/capgo.json"),
        (names.capgo_name("production", "ios"), "production/capgo-ios.json"),
    ],
)
def test_the_layout(name: str, expected: str) -> None:
    assert name == expected
    assert names.check_name(name) == name


@pytest.mark.parametrize("channel", ["production", "a", "2", "pr-1234", "x" * 64])
def test_channels(channel: str) -> None:
    assert names.check_channel(channel) == channel
    assert names.manifest_channel(names.manifest_name(channel)) == channel


@pytest.mark.parametrize(
    "channel",
    [
        *("", "Beta", "-a", "a_b", "a/b", "..", "a.b", "ä", "x" * 65, "a\n"),
        *("root", "releases", "blobs", "client", "history", "con", "com1"),
    ],
)
def test_no_channels(channel: str) -> None:
    with pytest.raises(UsageError):
        names.check_channel(channel)
    assert names.manifest_channel(f"{channel}/manifest.json") is None


@pytest.mark.parametrize("sequence", [0, 1, 999_999, 1_000_000, 2**53 - 1])
def test_history_names_lead_back(sequence: int) -> None:
    assert names.history_sequence(names.history_name("beta", sequence)) == sequence


@pytest.mark.parametrize(
    "name",
    ["beta/history/42.json", "beta/history/0000042.json", "beta/manifest.json", "x/000042.json"],
)
def test_other_names_are_no_history(name: str) -> None:
    assert names.history_sequence(name) is None


@pytest.mark.parametrize("version", ["", "1.0.0+build", "../1.0.0", "1/2", ".1", "1.0.0\n"])
def test_versions_that_name_no_release(version: str) -> None:
    with pytest.raises(UsageError):
        names.release_name(version)


@pytest.mark.parametrize("digest", ["", "ab", "AB" * 32, "../" + "a" * 61])
def test_digests_that_name_no_blob(digest: str) -> None:
    with pytest.raises(UsageError):
        names.blob_name(digest)


@pytest.mark.parametrize("platform", ["", "iOS", "../x", "a-b"])
def test_platforms_that_are_none(platform: str) -> None:
    with pytest.raises(UsageError):
        names.capgo_name("production", platform)


JSON, JS = "application/json", "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "content_type", "cache_control"),
    [
        (f"blobs/ab/{DIGEST}.bin", "application/octet-stream", names.FOREVER),
        ("production/history/000042.json", JSON, names.FOREVER),
        ("root/1.json", JSON, names.FOREVER),
        ("root.json", JSON, names.ASK),
        ("production/manifest.json", JSON, names.ASK),
        ("production/capgo.json", JSON, names.ASK),
        ("production/capgo-ios.json", JSON, names.ASK),
        ("releases/1.4.2.json", JSON, names.ASK),
        ("index.html", "text/html; charset=utf-8", names.ASK),
        ("client/manifestgen.js", JS, names.ASK),
        ("something/else", "application/octet-stream", names.ASK),
    ],
)
def test_how_each_kind_is_served(name: str, content_type: str, cache_control: str) -> None:
    assert names.headers(name) == names.Headers(content_type, cache_control)
