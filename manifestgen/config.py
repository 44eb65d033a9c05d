"""`manifestgen.toml`: found, read, and turned into settings that cannot be wrong.

Order of precedence: flag (the caller's business), environment, file, default. Paths in the file
are relative to it. An unknown key is an error, with the nearest known one as a hint.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from manifestgen.core.release import V2, V3, Scheme
from manifestgen.core.root import APP, is_channel
from manifestgen.errors import UsageError, os_reason

FILE: Final = "manifestgen.toml"
STATE: Final = ".manifestgen"
DEFAULT_EXPIRES: Final = timedelta(days=30)
DEFAULT_ROOT_KEYS: Final = (f"file:{STATE}/keys/signing.pem",)
DEFAULT_CAPGO_KEY: Final = f"file:{STATE}/keys/capgo.pem"
DEFAULT_CONTENT_KEY: Final = f"file:{STATE}/keys/content.key"

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smhdw])", re.ASCII)
_URI: Final = re.compile(r"(file|env|command|pkcs11):.+|stdin", re.DOTALL)
_PLACES: Final = "file:PATH, env:NAME, stdin, command:PROGRAM or pkcs11:…"
# How a setting is written, where "want a string" leaves somebody wondering.
_FORMS: Final = {
    "app": 'write it as `app = "com.example.app"`',
    "site": 'write it as `site = "site"` or `site = "s3://bucket/prefix"`',
    "base_url": 'write it as `base_url = "https://cdn.example.com/app"`',
    "channel": 'write it as `channel = "production"`',
    "channels": 'write it as `[channels.production]`, and `expires = "30d"` below',
    "expires": 'write it as `expires = "30d"`',
    "scheme": 'write it as `scheme = "capgo"`; `"none"` leaves bundles readable',
    "patches": "write it as `patches = 3`",
    "keep": "write it as `keep = 5`",
    "single_publisher": "write it as `single_publisher = true`",
    "delta": "write it as `delta = true`",
    "checksum": 'write it as `checksum = "v3"`',
}
_LONGEST: Final = 100  # characters of a folder's name in an app id, which has 128
_URL: Final = re.compile(r"https?://[^\s?#]+")


@dataclass(frozen=True, slots=True)
class Channel:
    """Settings of one channel; `keys` are URIs of its own manifest keys, if it has any."""

    expires: timedelta = DEFAULT_EXPIRES
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a project says about itself; `folder` is where `manifestgen.toml` is or will be.

    Key settings are URIs (see `signers`); `root`, `release` and `manifest` may be several.
    """

    folder: Path
    app: str
    exists: bool = False
    site: str = "site"
    base_url: str | None = None
    channel: str = "production"
    scheme: Scheme = Scheme.CAPGO
    patches: int = 3
    keep: int = 5
    channels: Mapping[str, Channel] = field(default_factory=dict)
    root_keys: tuple[str, ...] = DEFAULT_ROOT_KEYS
    release_keys: tuple[str, ...] = ()
    manifest_keys: tuple[str, ...] = ()
    capgo_key: str = DEFAULT_CAPGO_KEY
    content_key: str = DEFAULT_CONTENT_KEY
    delta: bool = False
    checksum: str = V3
    single_publisher: bool = False

    @property
    def state(self) -> Path:
        """The folder of keys, roots and caches."""
        return self.folder / STATE

    @property
    def key_folder(self) -> Path:
        """Where `init` puts keys, and the high-water mark beside them."""
        return self.state / "keys"

    @property
    def root_folder(self) -> Path:
        """The root chain, `1.json` upwards: committed to git, the project's trust anchor."""
        return self.state / "root"

    @property
    def capgo_public(self) -> Path:
        """The public half of the Capgo key; every installed app carries it too."""
        return self.state / "capgo.pub.pem"

    def channel_settings(self, channel: str) -> Channel:
        """Return the settings of a channel, or the defaults."""
        return self.channels.get(channel, Channel())

    def release_uris(self) -> tuple[str, ...]:
        """Return where release keys live; the root's serve unless others are named."""
        return self.release_keys or self.root_keys

    def manifest_uris(self, channel: str) -> tuple[str, ...]:
        """Return where a channel's manifest keys live."""
        return self.channel_settings(channel).keys or self.manifest_keys or self.root_keys


def find(start: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of the nearest `manifestgen.toml` from `start` upwards, or defaults."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return load(folder / FILE, environ)
    return _with_environment(_Table({}, "", start).settings(start, exists=False), environ)


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read one file, or raise `UsageError` naming the key that is wrong."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"there is no {path}",
            hint="name the manifestgen.toml of a project; `manifestgen init` makes one where you"
            " stand",
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {os_reason(error)}",
            hint="check with `ls -l` who may read it, and with `id` who you are",
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"cannot read {path}: byte {error.start} is no UTF-8", hint="save it as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        raise UsageError(
            f"{path} is no TOML: {text[:1].lower()}{text[1:]}",
            hint='mend that line: settings are `name = "value"`, each once, above the first'
            " `[table]` they do not belong to",
        ) from None
    folder = path.resolve().parent
    return _with_environment(_Table(values, "", path).settings(folder, exists=True), environ)


def parse_duration(text: str, what: str = "--over") -> timedelta:
    """Read `30d`, `12h`, `90m`, `2w` or `45s`, or raise `UsageError`."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise UsageError(f"{what}: {text!r} is no duration", hint="write it as 30d, 12h or 90m")
    return timedelta(seconds=int(found.group(1)) * _UNITS[found.group(2)])


def check_base_url(text: str, what: str = "base_url") -> str:
    """Return a base URL without a trailing slash, or raise `UsageError`."""
    if not _URL.fullmatch(text):
        raise UsageError(
            f"{what}: {text!r} is no URL", hint="write it as https://cdn.example.com/app"
        )
    return text.rstrip("/")


def check_channel(text: str, what: str = "channel") -> str:
    """Return a channel name, or raise `UsageError`."""
    if not is_channel(text):
        raise UsageError(
            f"{what}: {text!r} is no channel name",
            hint="use a-z, 0-9 and -, and not root, releases, blobs or client",
        )
    return text


def default_app(folder: Path) -> str:
    """Return the app id of a Capacitor project, else `local.<folder>`."""
    try:
        config = json.loads((folder / "capacitor.config.json").read_text("utf-8"))
    except (OSError, ValueError):
        config = None
    app = config.get("appId") if isinstance(config, dict) else None
    if isinstance(app, str) and APP.fullmatch(app):
        return app
    name = re.sub(r"[^A-Za-z0-9-]+", "-", folder.resolve().name).strip("-")
    return f"local.{name[:_LONGEST].rstrip('-') or 'app'}"


def _with_environment(settings: Settings, environ: Mapping[str, str]) -> Settings:
    changes: dict[str, Any] = {}
    for role in ("root", "release", "manifest"):
        if uri := _key_from(environ, role):
            changes[f"{role}_keys"] = (uri,)
    for role in ("capgo", "content"):
        if uri := _key_from(environ, role):
            changes[f"{role}_key"] = uri
    if site := environ.get("MANIFESTGEN_SITE"):
        changes["site"] = site
    if url := environ.get("MANIFESTGEN_BASE_URL"):
        changes["base_url"] = check_base_url(url, "MANIFESTGEN_BASE_URL")
    if channel := environ.get("MANIFESTGEN_CHANNEL"):
        changes["channel"] = check_channel(channel, "MANIFESTGEN_CHANNEL")
    return replace(settings, **changes)


def _key_from(environ: Mapping[str, str], role: str) -> str | None:
    """Return the URI in `MANIFESTGEN_KEY_<ROLE>`; a variable that holds the key is one too."""
    name = f"MANIFESTGEN_KEY_{role.upper()}"
    value = environ.get(name)
    if not value:
        return None
    return value if _URI.fullmatch(value) else f"env:{name}"


class _Table:
    """One table of the file, read key by key; `prefix` and `path` are for messages."""

    def __init__(self, values: Mapping[str, object], prefix: str, path: Path) -> None:
        self._values = values
        self._prefix = prefix
        self._path = path

    def settings(self, folder: Path, *, exists: bool) -> Settings:
        self._only(
            [
                "app",
                "site",
                "base_url",
                "channel",
                "scheme",
                "patches",
                "keep",
                "single_publisher",
                "channels",
                "keys",
                "capgo",
            ]
        )
        keys = self._table("keys")
        keys._only(["root", "release", "manifest", "capgo", "content"])
        capgo = self._table("capgo")
        capgo._only(["delta", "checksum"])
        url = self._text("base_url", "")
        return Settings(
            folder=folder,
            exists=exists,
            app=self._app(folder),
            site=self._text("site", "site"),
            base_url=check_base_url(url, f"{self._path}: base_url") if url else None,
            channel=check_channel(self._text("channel", "production"), f"{self._path}: channel"),
            scheme=Scheme(self._one_of("scheme", [scheme.value for scheme in Scheme])),
            patches=self._number("patches", 3, 0, 16),
            keep=self._number("keep", 5, 1, 1000),
            channels=self._channels(),
            root_keys=keys._uris("root") or DEFAULT_ROOT_KEYS,
            release_keys=keys._uris("release"),
            manifest_keys=keys._uris("manifest"),
            capgo_key=keys._uri("capgo", DEFAULT_CAPGO_KEY),
            content_key=keys._uri("content", DEFAULT_CONTENT_KEY),
            delta=capgo._flag("delta"),
            checksum=capgo._one_of("checksum", [V3, V2]),
            single_publisher=self._flag("single_publisher"),
        )

    def _app(self, folder: Path) -> str:
        app = self._text("app", "") or default_app(folder)
        if not APP.fullmatch(app):
            raise self._wrong("app", f"{app!r} is no app id such as com.example.app")
        return app

    def _channels(self) -> dict[str, Channel]:
        table = self._table("channels")
        return {
            check_channel(name, f"{self._path}: channels"): table._table(name)._channel()
            for name in table._values
        }

    def _channel(self) -> Channel:
        self._only(["expires", "keys"])
        text, what = self._text("expires", ""), f"{self._path}: `{self._prefix}expires`"
        expires = parse_duration(text, what) if text else DEFAULT_EXPIRES
        return Channel(expires, self._uris("keys"))

    def _only(self, known: Sequence[str]) -> None:
        for name in self._values:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise UsageError(
                    f"{self._path}: unknown key `{self._prefix}{name}`",
                    hint=f"did you mean `{self._prefix}{near[0]}`?"
                    if near
                    else f"known here are {', '.join(known)}",
                )

    def _table(self, name: str) -> "_Table":
        value = self._values.get(name, {})
        if not isinstance(value, dict):
            raise self._wrong(name, "want a table")
        return _Table(value, f"{self._prefix}{name}.", self._path)

    def _text(self, name: str, default: str) -> str:
        value = self._values.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "want a string")
        return value

    def _number(self, name: str, default: int, low: int, high: int) -> int:
        value = self._values.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(name, f"want a whole number from {low} to {high}")
        return value

    def _flag(self, name: str) -> bool:
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise self._wrong(name, "want true or false")
        return value

    def _one_of(self, name: str, known: Sequence[str]) -> str:
        value = self._text(name, known[0])
        if value not in known:
            raise self._wrong(name, f"want one of {', '.join(known)}, got {value!r}")
        return value

    def _uri(self, name: str, default: str) -> str:
        value = self._text(name, default)
        if not _URI.fullmatch(value):
            # The value may be a key pasted by mistake: it is not repeated.
            raise self._wrong(name, f"want {_PLACES}")
        return value

    def _uris(self, name: str) -> tuple[str, ...]:
        value = self._values.get(name, [])
        values = value if isinstance(value, list) else [value]
        return tuple(_Table({name: one}, self._prefix, self._path)._uri(name, "") for one in values)

    def _wrong(self, name: str, why: str) -> UsageError:
        hint = _FORMS.get(name, f"change `{self._prefix}{name}` in that file")
        return UsageError(f"{self._path}: `{self._prefix}{name}`: {why}", hint=hint)
