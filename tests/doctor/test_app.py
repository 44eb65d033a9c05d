"""Capacitor configurations: what the plugin is told there, read from JSON and from programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from manifestgen.doctor.literal import COMPUTED, SPREAD, find_object
from tests.doctor.test_keys import NOWHERE, found
from tests.publish.project import Project

GOOD: dict[str, Any] = {
    "updateUrl": f"{NOWHERE}/production/capgo.json",
    "statsUrl": "",
    "channelUrl": "",
    "autoDeleteFailed": False,
}
SPKI = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"
SAFE = "8.51.23"


def app(
    project: Project, settings: dict[str, Any] | None, *, version: str | None = SAFE, **rest: Any
) -> dict[str, str]:
    """Examine an app with these settings of the plugin, and that version of it."""
    folder = project.folder / "app"
    folder.mkdir(exist_ok=True)
    plugins = {} if settings is None else {"CapacitorUpdater": settings}
    text = json.dumps({"appId": "local.shop", "plugins": plugins, **rest})
    (folder / "capacitor.config.json").write_text(text)
    if version is not None:
        package = {"dependencies": {"@capgo/capacitor-updater": version}}
        (folder / "package.json").write_text(json.dumps(package))
    return found(project, "--app", folder, area="app")


@pytest.fixture
def good(project: Project) -> dict[str, Any]:
    """Give settings that fit the project."""
    config = project.folder / "manifestgen.toml"
    text = config.read_text()
    config.write_text(f'base_url = "{NOWHERE}"\n{text}')
    pem = (project.folder / ".manifestgen/capgo.pub.pem").read_text()
    return {**GOOD, "publicKey": pem}


GONE = object()
CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "fits": ({}, {"app"}),
    "Capgo is asked": ({"updateUrl": GONE}, {"update_url"}),
    "another site is asked": (
        {"updateUrl": "https://cdn.example.org/production/capgo.json"},
        {"update_url"},
    ),
    "a manifest is asked for": (
        {"updateUrl": f"{NOWHERE}/production/manifest.json"},
        {"update_url"},
    ),
    "asked for by platform": (
        {"updateUrl": f"{NOWHERE}/beta/capgo-ios.json"},
        {"app"},
    ),
    "without encryption": (
        {"updateUrl": "http://127.0.0.1:9/production/capgo.json"},
        {"update_url", "update_url_plain"},
    ),
    "an address that is none": ({"updateUrl": "https://["}, {"update_url", "update_url_plain"}),
    "reports to nowhere": ({"statsUrl": "https://["}, {"app"}),
    "a key of half a character": (
        {"publicKey": "-----BEGIN RSA PUBLIC KEY-----\ud800"},
        {"key_form"},
    ),
    "JavaScript mode": ({"updateUrl": GONE, "autoUpdate": False}, {"app"}),
    "JavaScript mode, newer word": ({"updateUrl": GONE, "autoUpdate": "off"}, {"app"}),
    "a mode that is none": ({"autoUpdate": []}, {"app"}),
    "reports by default": ({"statsUrl": GONE}, {"stats_url"}),
    "reports on purpose": (
        {"statsUrl": "https://plugin.capgo.app/stats"},
        {"stats_url"},
    ),
    "reports to ourselves": ({"statsUrl": "https://stats.example.com"}, {"app"}),
    "channels by default": ({"channelUrl": GONE}, {"channel_url"}),
    "no key": ({"publicKey": GONE}, {"no_public_key"}),
    "a key of another form": ({"publicKey": SPKI}, {"key_form"}),
    "a key that is none": (
        {"publicKey": SPKI.replace("PUBLIC", "RSA PUBLIC")},
        {"key_form"},
    ),
    "a private key": ({"privateKey": "x"}, {"private_key"}),
    "failures are forgotten": ({"autoDeleteFailed": GONE}, {"auto_delete_failed"}),
    "old bundles stay": ({"resetWhenUpdate": False}, {"reset_when_update"}),
}


@pytest.mark.parametrize("case", CHANGES)
def test_settings_are_judged(case: str, good: dict[str, Any], project: Project) -> None:
    changed, codes = CHANGES[case]
    settings = {name: value for name, value in (good | changed).items() if value is not GONE}
    assert set(app(project, settings)) == codes


@pytest.mark.parametrize(
    ("version", "codes"),
    [
        ("8.51.23", {"app"}),
        ("^8.51.24", {"app"}),
        ("8.51.22", {"plugin_bypass"}),
        ("7.51.21", {"plugin_bypass"}),
        ("6.51.16", {"plugin_bypass"}),
        ("7.27.8", {"plugin_bypass", "plugin_checksum"}),
        ("5.30.0", {"plugin_bypass"}),
        ("4.1.0", {"plugin_bypass", "plugin_checksum"}),
        ("9.0.0", {"plugin_stray"}),
        ("10.0.0", {"plugin_stray"}),
        ("latest", {"plugin_unpinned"}),
        (">=8.51.23", {"plugin_unpinned"}),
        (None, {"plugin_unknown"}),
    ],
)
def test_versions_of_the_plugin_are_judged(
    version: str | None, codes: set[str], good: dict[str, Any], project: Project
) -> None:
    assert set(app(project, good, version=version)) == codes


LOCKS = {
    "package-lock.json": json.dumps(
        {"packages": {"node_modules/@capgo/capacitor-updater": {"version": "8.51.14"}}}
    ),
    "yarn.lock": '"@capgo/capacitor-updater@^8.0.0":\n  version "8.51.14"\n',
    "pnpm-lock.yaml": "packages:\n  '@capgo/capacitor-updater@8.51.14':\n    resolution: {}\n",
}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_knows_better(name: str, good: dict[str, Any], project: Project) -> None:
    assert set(app(project, good, version="^8.60.0")) == {"app"}
    (project.folder / "app" / name).write_text(LOCKS[name])
    assert "8.51.14 installs unsigned" in app(project, good, version="^8.60.0")["plugin_bypass"]


def test_a_plain_project_wants_no_key(good: dict[str, Any], project: Project) -> None:
    config = project.folder / "manifestgen.toml"
    text = config.read_text().replace('scheme = "capgo"', 'scheme = "none"')
    config.write_text(text if 'scheme = "none"' in text else f'scheme = "none"\n{text}')
    assert set(app(project, good)) == {"key_unexpected"}


def test_a_development_server_left_in_is_found(good: dict[str, Any], project: Project) -> None:
    assert set(app(project, good, server={"url": "http://10.0.0.2:3000"})) == {"server_url"}


def test_an_app_that_says_nothing_is_found(good: dict[str, Any], project: Project) -> None:
    assert set(app(project, None)) == {"no_plugin_settings"}


def test_a_folder_without_an_app_is_found(project: Project) -> None:
    assert set(found(project, "--app", "dist", area="app")) == {"no_config"}


def test_damaged_json_is_found(project: Project) -> None:
    (project.folder / "capacitor.config.json").write_text("{")
    assert set(found(project, area="app")) == {"config_damaged"}


PROGRAM = """\
import type { CapacitorConfig } from '@capacitor/cli';
// plugins: { CapacitorUpdater: { statsUrl: 'https://plugin.capgo.app/stats' } },
const base = process.env.BASE ?? 'https://cdn.example.com';
const config: CapacitorConfig = {
  appId: 'local.shop',
  plugins: {
    SplashScreen: { launchShowDuration: 0 },
    CapacitorUpdater: {
      updateUrl: `${base}/production/capgo.json`, /* computed, } too */
      "statsUrl": '',
      publicKey: KEY,
      autoDeleteFailed: false,
    },
  },
} as const;
export default config;
"""


def test_a_program_is_read_and_not_run(good: dict[str, Any], project: Project) -> None:
    folder = project.folder / "app"
    folder.mkdir()
    (folder / "package.json").write_text(
        '{"dependencies": {"@capgo/capacitor-updater": "8.51.23"}}'
    )
    pem = json.dumps(good["publicKey"])
    (folder / "capacitor.config.ts").write_text(PROGRAM.replace("KEY", pem))
    said = found(project, "--app", folder, area="app")
    assert set(said) == {"not_read", "channel_url"}
    assert "computes updateUrl: not looked at" in said["not_read"]
    (folder / "capacitor.config.ts").write_text("plugins: { CapacitorUpdater: updater(), }")
    assert set(found(project, "--app", folder, area="app")) == {"not_read"}


LITERALS: dict[str, tuple[str, object]] = {
    "texts": (
        "X: { a: 'it\\'s', b: \"two\", c: `three` }",
        {"a": "it's", "b": "two", "c": "three"},
    ),
    "escapes": (r"X: { a: '\n\x41\u0042\u{43}\d' }", {"a": "\nABCd"}),
    "pieces": ("X: { a: 'one' +\n 'two' }", {"a": "onetwo"}),
    "a piece computed": ("X: { a: 'one' + two }", {"a": COMPUTED}),
    "filled in": ("X: { a: `${b}/c` }", {"a": COMPUTED}),
    "words": (
        "X: { a: true, b: false, c: null, d: undefined }",
        dict(zip("abcd", (True, False, None, None), strict=True)),
    ),
    "numbers": ("X: { a: 10_000, b: -1.5 }", {"a": 10_000.0, "b": -1.5}),
    "inside": (
        "X: { a: { b: 'c' }, d: [1, { e: 2 }], f: true }",
        {"a": {"b": "c"}, "d": COMPUTED, "f": True},
    ),
    "no last comma": ("{ X: { a: 'b' } }", {"a": "b"}),
    "quoted keys": ("'X': { \"a-b\": '1' }", {"a-b": "1"}),
    "comments": ("X: { // a: 'x',\n a: /* no */ 'b' /* , c: 'd' */ }", {"a": "b"}),
    "an address is no comment": ("X: { a: 'https://b', c: '' }", {"a": "https://b", "c": ""}),
    "a condition": ("X: { a: prod ? 'b' : 'c', d: 'e' }", {"a": COMPUTED, "d": "e"}),
    "a text that is asked": ("X: { a: 'b'.trim(), d: 'e' }", {"a": COMPUTED, "d": "e"}),
    "a call": ("X: { a: f({ b: ',' }, '}'), d: 'e' }", {"a": COMPUTED, "d": "e"}),
    "shorthand": ("X: { a, d: 'e' }", {"a": COMPUTED, "d": "e"}),
    "taken over": ("X: { ...base, d: 'e' }", {SPREAD: COMPUTED, "d": "e"}),
    "a method": ("X: { a() { return 1 }, d: 'e' }", {SPREAD: COMPUTED, "d": "e"}),
    "all computed": ("X: make()", COMPUTED),
    "a name": ("X: other,", COMPUTED),
    "commented out": ("// X: { a: 'b' }\n/* X: {} */", None),
    "part of a name": ("MaX: { a: 'b' }", None),
    "cut off": ("X: { a: 'b'", {"a": "b"}),
    "twice": ("X: { a: 'b' }, X: { a: 'c' }", {"a": "c"}),
}


@pytest.mark.parametrize("case", LITERALS)
def test_literals_are_read_and_nothing_is_guessed(case: str) -> None:
    text, expected = LITERALS[case]
    assert find_object(text, "X") == expected


def test_a_deep_program_is_no_trouble() -> None:
    assert find_object("X: " + "{ a: " * 5000, "X") is not None


@pytest.mark.parametrize("text", ["'\\", "`\\", "/*", "X: { ", "X: a "])
def test_what_never_ends_is_read_once(text: str) -> None:
    # Read once from each place on, it would take hours.
    find_object(text * 300_000, "X")


def test_an_app_beside_the_project_is_looked_at_by_itself(
    good: dict[str, Any], project: Project
) -> None:
    text = json.dumps({"plugins": {"CapacitorUpdater": good}})
    (project.folder / "capacitor.config.json").write_text(text)
    assert set(found(project, area="app")) == {"plugin_unknown"}
    assert Path(project.folder / "capacitor.config.json").read_text() == text
