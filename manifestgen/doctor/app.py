"""The app that is to be updated: what its Capacitor configuration tells the stock Capgo plugin.

The configuration is read and not run. The plugin's defaults lead to Capgo's own service, and some
of its versions install what nobody signed; the numbers are from its published code.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from manifestgen.capacitor import CapacitorConfig, find_config
from manifestgen.config import Settings
from manifestgen.core import capgo
from manifestgen.core.release import V2, V3, Scheme
from manifestgen.doctor.finding import Area, Finding
from manifestgen.doctor.literal import COMPUTED, SPREAD, Unread, Value, find_object
from manifestgen.errors import Error

_AREA: Final = Area("app")
_PLUGIN: Final = "@capgo/capacitor-updater"
_SETTINGS: Final = "CapacitorUpdater"
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_LOOSE: Final = re.compile(r"\*|latest|next|x|>.*|")
# Refuses a bundle without a session key where there is a public key; every earlier one on Android
# installs it, unsigned.
_SAFE: Final = (8, 51, 23)
# Published by mistake in 2023, with the cryptography of version 1.
_STRAY: Final = {9, 10}
# The first of each line that reads checksums as hex (`v3`), and none in base64 (`v2`).
_HEX: Final = {5: (5, 30, 0), 6: (6, 30, 0), 7: (7, 30, 0)}
_UPGRADE: Final = f"npm install {_PLUGIN}@^8.51.23, then a new native build"

_Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _App:
    """A configuration, the plugin's part of it, and the project it should fit."""

    settings: Settings
    config: CapacitorConfig
    plugin: Mapping[str, Value]

    def text(self, name: str) -> str | None:
        """Return a setting that is a text, spelt out."""
        value = self.plugin.get(name)
        return value if isinstance(value, str) else None

    def unread(self, name: str) -> bool:
        """Tell whether only running the program would tell this setting."""
        value = self.plugin.get(name, COMPUTED if SPREAD in self.plugin else None)
        return isinstance(value, Unread)

    @property
    def automatic(self) -> bool:
        """Whether the plugin looks for updates by itself, as it does unless told otherwise."""
        return _is_automatic(self.plugin)


def is_automatic(folder: Path) -> bool:
    """Tell whether the plugin of an app looks for updates by itself, or may."""
    try:
        config = find_config(folder)
        plugin = _read(config) if config else None
    except Error:
        return True
    return not isinstance(plugin, Mapping) or _is_automatic(plugin)


def _is_automatic(plugin: Mapping[str, Value]) -> bool:
    return plugin.get("autoUpdate", True) not in (False, "off")


def check_app(settings: Settings, folder: Path) -> list[Finding]:
    """Examine the Capacitor project in a folder; its configuration is not run."""
    try:
        config = find_config(folder)
        plugin = _read(config) if config else None
    except Error as error:
        return [_AREA.problem("config_damaged", str(error), error.hint or "mend the file")]
    if config is None:
        sentence = f"there is no capacitor.config.ts, .js or .json in {folder}"
        return [_AREA.problem("no_config", sentence, "name the folder of the app: --app DIR")]
    if plugin is None or isinstance(plugin, Unread):
        return [_nothing(config, plugin), *_version(settings, folder, automatic=True)]
    app = _App(settings, config, plugin)
    found = [
        *_unread(app),
        *_update_url(app),
        *_reports(app),
        *_key(app),
        *_behaviour(app),
        *_dev_server(config),
        *_version(settings, folder, automatic=app.automatic),
    ]
    return found or [_AREA.ok("app", f"{config.path} and the plugin fit this site")]


def _read(config: CapacitorConfig) -> Mapping[str, Value] | Unread | None:
    if not config.is_json:
        return find_object(config.text, _SETTINGS)
    try:
        value = json.loads(config.text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise Error(f"{config.path}: no JSON: {error}", hint="mend the file") from None
    for name in ("plugins", _SETTINGS):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else None


def _nothing(config: CapacitorConfig, plugin: Unread | None) -> Finding:
    if plugin is None:
        return _AREA.warning(
            "no_plugin_settings",
            f"{config.path} says nothing of {_SETTINGS}: the plugin asks Capgo's service",
            "`manifestgen keys create --capacitor DIR` begins it; set updateUrl, statsUrl and"
            " channelUrl too",
        )
    return _AREA.warning(
        "not_read",
        f"{config.path}: {_SETTINGS} is computed, and nothing in it was looked at",
        "look at it yourself: updateUrl, statsUrl, channelUrl, publicKey, autoDeleteFailed",
    )


def _unread(app: _App) -> Iterator[Finding]:
    wanted = ("updateUrl", "statsUrl", "channelUrl", "publicKey", "autoDeleteFailed", "autoUpdate")
    names = [name for name in wanted if app.unread(name)]
    if names:
        yield _AREA.warning(
            "not_read",
            f"{app.config.path} computes {', '.join(names)}: not looked at",
            "look at them yourself, or write them out",
        )


def _update_url(app: _App) -> Iterator[Finding]:
    if not app.automatic or app.unread("updateUrl"):
        return
    url, base = app.text("updateUrl"), app.settings.base_url
    wanted = f"{base or 'https://cdn.example.com'}/{app.settings.channel}/capgo.json"
    if not url:
        yield _AREA.problem(
            "update_url",
            "updateUrl is not set: the plugin asks Capgo's service, not this site",
            f"updateUrl: '{wanted}'; or autoUpdate: false, with the JavaScript client",
        )
        return
    if _split(url).scheme != "https":
        yield _AREA.problem(
            "update_url_plain",
            f"updateUrl {url} is not https: iOS and Android refuse it",
            "serve the site over https",
        )
    answers = "/".join((re.escape(base or ""), r"[a-z0-9][a-z0-9-]*", r"capgo(-[a-z0-9]+)?\.json"))
    if base and not re.fullmatch(answers, url):
        yield _AREA.problem(
            "update_url",
            f"updateUrl {url} is no capgo.json of {base}",
            f"updateUrl: '{wanted}'; or correct base_url in manifestgen.toml",
        )


def _reports(app: _App) -> Iterator[Finding]:
    said = {
        "statsUrl": "each device reports its id, model and versions to Capgo",
        "channelUrl": "what the app asks about channels goes to Capgo",
    }
    for name, what in said.items():
        if app.unread(name):
            continue
        url = app.text(name)
        code = "stats_url" if name == "statsUrl" else "channel_url"
        if url is None:
            yield _AREA.problem(code, f"{name} is not set: {what}", f"{name}: ''")
        elif (_split(url).hostname or "").endswith("capgo.app"):
            yield _AREA.problem(code, f"{name} is {url}: {what}", f"{name}: ''")


def _split(url: str) -> SplitResult:
    """Take an address apart; what is none has no parts."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _key(app: _App) -> Iterator[Finding]:
    if "privateKey" in app.plugin:
        yield _AREA.problem(
            "private_key",
            f"{app.config.path} has a privateKey, which every copy of the app then holds",
            "take it out, and make new keys: `manifestgen keys create`",
        )
    if app.unread("publicKey"):
        return
    pem, encrypted = app.text("publicKey"), app.settings.scheme is Scheme.CAPGO
    if pem and not encrypted:
        yield _AREA.problem(
            "key_unexpected",
            "the app has a publicKey, and this project does not encrypt: the plugin refuses that",
            'take publicKey out, or scheme = "capgo" in manifestgen.toml',
        )
    elif pem:
        yield from _form(app, pem)
    elif encrypted:
        yield _AREA.problem(
            "no_public_key",
            "the app has no publicKey, and this project encrypts: no bundle can be opened",
            "`manifestgen keys create --capacitor DIR`, then a new native build",
        )


def _form(app: _App, pem: str) -> Iterator[Finding]:
    fix = "`manifestgen keys show` prints it as the plugin wants it; then a new native build"
    if not pem.startswith("-----BEGIN RSA PUBLIC KEY-----"):
        first = pem.strip().splitlines()[0][:40] if pem.strip() else ""
        yield _AREA.problem(
            "key_form",
            f"publicKey begins with {first!r}: Android's plugin crashes with any key but"
            " -----BEGIN RSA PUBLIC KEY-----, or decrypts nothing",
            fix,
        )
        return
    try:
        ours = app.settings.capgo_public.read_bytes()
    except OSError:
        return
    try:
        theirs = capgo.load_public(pem.encode(errors="replace"))
    except Error as error:
        yield _AREA.problem("key_form", f"publicKey: {error}", fix)
        return
    if theirs.public_numbers() != capgo.load_public(ours).public_numbers():
        yield _AREA.problem(
            "key_differs",
            f"publicKey is {capgo.key_id(theirs)}, and bundles are encrypted for"
            f" {capgo.key_id(capgo.load_public(ours))}",
            fix,
        )


def _behaviour(app: _App) -> Iterator[Finding]:
    forgets = app.plugin.get("autoDeleteFailed", True) is not False
    if forgets and app.automatic and not app.unread("autoDeleteFailed"):
        yield _AREA.warning(
            "auto_delete_failed",
            "autoDeleteFailed is on: a bundle that fails is forgotten, fetched and installed"
            " again, for ever",
            "autoDeleteFailed: false",
        )
    if app.plugin.get("resetWhenUpdate") is False:
        yield _AREA.warning(
            "reset_when_update",
            "resetWhenUpdate is off: an old bundle stays when the store brings a newer app",
            "resetWhenUpdate: true",
        )


def _dev_server(config: CapacitorConfig) -> Iterator[Finding]:
    server: object = None
    if config.is_json:
        server = json.loads(config.text.removeprefix("\ufeff")).get("server")
    else:
        server = find_object(config.text, "server")
    url = server.get("url") if isinstance(server, Mapping) else None
    if isinstance(url, str) and url:
        yield _AREA.warning(
            "server_url",
            f"server.url is {url}: the app loads from there, and no bundle at all",
            "take it out before the app is built for others",
        )


# The plugin's version


def _version(settings: Settings, folder: Path, *, automatic: bool) -> Iterator[Finding]:
    spec, exact = _declared(folder), _installed(folder)
    if spec is None and exact is None:
        yield _AREA.warning(
            "plugin_unknown",
            f"{folder} names no {_PLUGIN}: its version was not looked at",
            f"npm install {_PLUGIN}@^8.51.23; not needed for a PWA or Electron",
        )
        return
    if spec is not None and _LOOSE.fullmatch(spec.strip()):
        yield _AREA.warning(
            "plugin_unpinned",
            f"package.json takes any {_PLUGIN} ({spec!r}); 9.0.0 and 10.0.0 are strays of 2023",
            _UPGRADE,
        )
    found = _VERSION.search(exact or spec or "")
    if found:
        major, minor, patch = (int(part) for part in found.groups())
        yield from _judged(settings, (major, minor, patch), automatic=automatic)


def _judged(settings: Settings, version: _Version, *, automatic: bool) -> Iterator[Finding]:
    name = ".".join(map(str, version))
    if version[0] in _STRAY:
        yield _AREA.problem(
            "plugin_stray",
            f"{_PLUGIN} {name} is a stray of 2023, not the newest: its cryptography is dead",
            _UPGRADE,
        )
        return
    if settings.scheme is not Scheme.CAPGO:
        return
    if version < _SAFE:
        make = _AREA.problem if automatic else _AREA.warning
        yield make(
            "plugin_bypass",
            f"{_PLUGIN} {name} installs unsigned bundles on Android, publicKey or not, if the"
            " host leaves the session key out",
            _UPGRADE,
        )
    reads = V3 if version >= _HEX.get(version[0], (8, 0, 0)) else V2
    if settings.checksum != reads:
        yield _AREA.problem(
            "plugin_checksum",
            f"{_PLUGIN} {name} reads checksums of form {reads}, and this project writes"
            f" {settings.checksum}",
            f'{_UPGRADE}; or checksum = "{reads}" under [capgo] in manifestgen.toml',
        )


def _declared(folder: Path) -> str | None:
    """Return what package.json asks for."""
    data = _json(folder / "package.json")
    for group in ("dependencies", "devDependencies", "peerDependencies"):
        value = _at(data, group, _PLUGIN)
        if isinstance(value, str):
            return value
    return None


def _installed(folder: Path) -> str | None:
    """Return the exact version: from a lock file, else as it lies in node_modules."""
    lock = _json(folder / "package-lock.json")
    for path in (("packages", f"node_modules/{_PLUGIN}"), ("dependencies", _PLUGIN)):
        value = _at(lock, *path, "version")
        if isinstance(value, str):
            return value
    for name in ("pnpm-lock.yaml", "yarn.lock"):
        if exact := _locked(folder / name):
            return exact
    value = _at(_json(folder / "node_modules" / _PLUGIN / "package.json"), "version")
    return value if isinstance(value, str) else None


def _locked(path: Path) -> str | None:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    name = re.escape(_PLUGIN)
    found = re.search(rf"{name}@[^\n]*:\n\s+version:? \"?([\d.]+)", text) or re.search(
        rf"['/ ]{name}[@/](\d+\.\d+\.\d+)", text
    )
    return found[1] if found else None


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def _at(value: object, *names: str) -> object:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
