"""`manifestgen.toml`: what it may say, what comes before it, and what is refused."""

from datetime import timedelta
from pathlib import Path

import pytest

from manifestgen.config import (
    DEFAULT_CAPGO_KEY,
    DEFAULT_ROOT_KEYS,
    Settings,
    check_base_url,
    default_app,
    find,
    load,
    parse_duration,
)
from manifestgen.core.release import Scheme
from manifestgen.errors import UsageError


def read(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = folder / "manifestgen.toml"
    path.write_text(text)
    return load(path, environ or {})


def test_everything_has_a_default(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    settings = find(folder, {})
    assert settings == Settings(folder=folder, app="local.shop")
    assert settings.release_uris() == settings.manifest_uris("beta") == DEFAULT_ROOT_KEYS
    assert settings.capgo_key == DEFAULT_CAPGO_KEY


def test_everything_can_be_said(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """
        app = "com.example.app"
        site = "s3://bucket/prefix"
        base_url = "https://cdn.example.com/app/"
        channel = "beta"
        scheme = "none"
        patches = 0
        keep = 7
        [channels.production]
        expires = "12h"
        keys = ["env:PRODUCTION"]
        [keys]
        root = ["file:a.pem", "file:b.pem"]
        release = "env:RELEASE"
        manifest = "file:m.pem"
        capgo = "file:c.pem"
        content = "file:c.key"
        [capgo]
        delta = true
        checksum = "v2"
        """,
    )
    assert (settings.app, settings.site) == ("com.example.app", "s3://bucket/prefix")
    assert settings.base_url == "https://cdn.example.com/app"
    assert (settings.channel, settings.scheme) == ("beta", Scheme.NONE)
    assert (settings.patches, settings.keep) == (0, 7)
    assert settings.channel_settings("production").expires == timedelta(hours=12)
    assert settings.channel_settings("beta").expires == timedelta(days=30)
    assert settings.root_keys == ("file:a.pem", "file:b.pem")
    assert settings.release_uris() == ("env:RELEASE",)
    assert settings.manifest_uris("production") == ("env:PRODUCTION",)
    assert settings.manifest_uris("beta") == ("file:m.pem",)
    assert (settings.delta, settings.checksum) == (True, "v2")
    assert settings.folder == tmp_path.resolve()


def test_the_nearest_file_upwards_counts(tmp_path: Path) -> None:
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    (tmp_path / "manifestgen.toml").write_text('app = "com.example.top"')
    assert find(below, {}).app == "com.example.top"
    (tmp_path / "a/manifestgen.toml").write_text('app = "com.example.a"')
    assert find(below, {}).app == "com.example.a"
    assert find(below, {}).folder == (tmp_path / "a").resolve()


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        'site = "here"\nchannel = "beta"\n[keys]\nroot = "file:a.pem"',
        {
            "MANIFESTGEN_SITE": "there",
            "MANIFESTGEN_CHANNEL": "nightly",
            "MANIFESTGEN_BASE_URL": "https://cdn.example.com/",
            "MANIFESTGEN_KEY_ROOT": "-----BEGIN PRIVATE KEY-----\\n…",
            "MANIFESTGEN_KEY_MANIFEST": "file:m.pem",
            "MANIFESTGEN_KEY_CONTENT": "ab" * 32,
            "MANIFESTGEN_KEY_CAPGO": "",
        },
    )
    assert (settings.site, settings.channel) == ("there", "nightly")
    assert settings.base_url == "https://cdn.example.com"
    assert settings.root_keys == ("env:MANIFESTGEN_KEY_ROOT",)
    assert settings.manifest_uris("nightly") == ("file:m.pem",)
    assert settings.content_key == "env:MANIFESTGEN_KEY_CONTENT"
    assert settings.capgo_key == DEFAULT_CAPGO_KEY


@pytest.mark.parametrize(
    ("text", "error", "hint"),
    [
        pytest.param('sight = "x"', "unknown key `sight`", "did you mean `site`?", id="key"),
        pytest.param("[key]", "unknown key `key`", "did you mean `keys`?", id="table"),
        pytest.param(
            '[channels.beta]\nexpire = "1d"',
            "unknown key `channels.beta.expire`",
            "did you mean `channels.beta.expires`?",
            id="nested",
        ),
        pytest.param("[zzz]", "unknown key `zzz`", None, id="nothing near"),
        pytest.param("site = 1", "`site`: want a string", None, id="type"),
        pytest.param("keys = 1", "`keys`: want a table", None, id="no table"),
        pytest.param("patches = 17", "want a whole number from 0 to 16", None, id="many"),
        pytest.param("patches = true", "want a whole number", None, id="bool for number"),
        pytest.param("keep = 0", "want a whole number from 1 to 1000", None, id="few"),
        pytest.param("[capgo]\ndelta = 1", "want true or false", None, id="flag"),
        pytest.param('[capgo]\nchecksum = "v1"', "want one of v3, v2", None, id="choice"),
        pytest.param('app = "my app"', "is no app id", None, id="app"),
        pytest.param('channel = "root"', "is no channel name", None, id="taken channel"),
        pytest.param("[channels.Beta]", "is no channel name", None, id="channel"),
        pytest.param('base_url = "x"', "'x' is no URL", None, id="url"),
        pytest.param('[keys]\nroot = "signing.pem"', "want file:PATH", None, id="uri"),
        pytest.param("[keys]\nroot = [1]", "want a string", None, id="uris"),
        pytest.param("app = ", "is no TOML", None, id="toml"),
        pytest.param(
            '[channels.beta]\nexpires = "30 days"',
            "`channels.beta.expires`: '30 days' is no duration",
            "write it as 30d, 12h or 90m",
            id="duration",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, error: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as raised:
        read(tmp_path, text)
    assert error in str(raised.value)
    assert str(tmp_path / "manifestgen.toml") in str(raised.value)
    assert raised.value.hint  # of its own: `--help` says nothing of this file
    if hint:
        assert raised.value.hint == hint


@pytest.mark.parametrize("name", ["MANIFESTGEN_BASE_URL", "MANIFESTGEN_CHANNEL"])
def test_what_is_wrong_in_the_environment_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        find(tmp_path, {name: "Not Good"})


def test_a_key_is_never_repeated(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        read(tmp_path, '[keys]\nroot = "MC4CAQAwBQYDK2VwBCIEIJ"')
    assert "MC4" not in f"{raised.value} {raised.value.hint}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("90m", 5400), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0d", "-1d", "1.5d", "1 d", "1y", "9999999d", "٣d"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "cdn", "ftp://x", "https://", "https://a b", "https://x/?q", "https://x/#a"]
)
def test_what_is_no_base_url_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no URL"):
        check_base_url(text)


@pytest.mark.parametrize(
    ("name", "app"),
    [
        ("shop", "local.shop"),
        ("My Shop 2", "local.My-Shop-2"),
        ("---", "local.app"),
        ("店", "local.app"),
        ("x" * 200, None),
    ],
)
def test_an_app_without_a_name_is_called_after_its_folder(
    tmp_path: Path, name: str, app: str | None
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    found = find(folder, {}).app
    assert found == app if app else len(found) <= 128


@pytest.mark.parametrize(
    ("text", "app"),
    [
        ('{"appId": "com.example.shop"}', "com.example.shop"),
        ('{"appId": "not an id"}', "local.shop"),
        ('{"appId": 3}', "local.shop"),
        ("[]", "local.shop"),
        ("{", "local.shop"),
    ],
)
def test_the_app_of_a_capacitor_project(tmp_path: Path, text: str, app: str) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "capacitor.config.json").write_text(text)
    assert default_app(folder) == app
