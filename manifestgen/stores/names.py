"""The layout of a site, in one place: what each object is called and how it is to be served.

Stores, web server snippets and the built-in server all take it from here. Nothing here reads or
writes.
"""

import re
from dataclasses import dataclass
from typing import Final

from manifestgen.core.root import is_channel
from manifestgen.core.stock import blob_path
from manifestgen.core.tree import Digest
from manifestgen.errors import UsageError

ROOT: Final = "root.json"
"""The newest root, a mutable copy."""
INDEX: Final = "index.html"
"""The status page."""
BLOBS: Final = "blobs/"
RELEASES: Final = "releases/"
ROOTS: Final = "root/"
CLIENT: Final = "client/"

FOREVER: Final = "public, max-age=31536000, immutable"
"""Cache control of what never changes under its name."""
ASK: Final = "no-cache"
"""Cache control of what may change: keep it, but ask each time whether it is still current."""

CHANNEL: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
IMMUTABLE: Final = re.compile(r"(?:blobs|root|[a-z0-9][a-z0-9-]*/history)/.+", re.ASCII)
"""Names whose bytes never change; also what server templates match on."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}(?:/[A-Za-z0-9_][A-Za-z0-9._+-]{0,199})*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,127}", re.ASCII)
_PLATFORM = re.compile(r"[a-z][a-z0-9]{0,31}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HISTORY = re.compile(r"[a-z0-9][a-z0-9-]*/history/(\d{6}|[1-9]\d{6,15})\.json", re.ASCII)
_MANIFEST = re.compile(r"([a-z0-9][a-z0-9-]{0,63})/manifest\.json", re.ASCII)

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "ts": "text/plain; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Headers:
    """How a web server has to serve one object."""

    content_type: str
    cache_control: str


def headers(name: str) -> Headers:
    """Return the headers an object is served with; an unknown kind is never cached blindly."""
    suffix = name.rpartition(".")[2]
    return Headers(
        content_type=_TYPES.get(suffix, "application/octet-stream"),
        cache_control=FOREVER if is_immutable(name) else ASK,
    )


def is_immutable(name: str) -> bool:
    """Tell whether the bytes under this name can never change."""
    return IMMUTABLE.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Return a name that every kind of store can hold, or raise `UsageError`.

    Hidden files, `..`, empty segments, absolute paths and backslashes are none.
    """
    if not _NAME.fullmatch(name) or len(name) > 512 or "./" in name or name.endswith("."):
        raise UsageError(f"{name!r} is no name of a file in a site")
    return name


def check_channel(channel: str) -> str:
    """Return a usable channel name, or raise `UsageError`."""
    if is_channel(channel):
        return channel
    if CHANNEL.fullmatch(channel):
        raise UsageError(
            f"a channel cannot be called {channel}", hint="that name is taken; choose another"
        )
    raise UsageError(
        f"{channel!r} is no channel name",
        hint="use lowercase letters, digits and `-`, at most 64, beginning with no `-`",
    )


def manifest_name(channel: str) -> str:
    """Name the one file a device polls."""
    return f"{check_channel(channel)}/manifest.json"


def manifest_channel(name: str) -> str | None:
    """Return the channel whose manifest this is; the way back from `manifest_name`."""
    found = _MANIFEST.fullmatch(name)
    return found[1] if found and is_channel(found[1]) else None


def history_prefix(channel: str) -> str:
    """Name the folder of every manifest a channel ever had."""
    return f"{check_channel(channel)}/history/"


def history_name(channel: str, sequence: int) -> str:
    """Name one manifest of the past; six digits, more once they are needed."""
    return f"{history_prefix(channel)}{sequence:06d}.json"


def history_sequence(name: str) -> int | None:
    """Return the sequence in a history name; the way back from `history_name`."""
    found = _HISTORY.fullmatch(name)
    return int(found[1]) if found else None


def release_name(version: str) -> str:
    """Name a release envelope."""
    if not _VERSION.fullmatch(version):
        raise UsageError(
            f"{version!r} is no version to publish",
            hint="use a semantic version without build metadata, such as `1.4.2`",
        )
    return f"{RELEASES}{version}.json"


def root_name(number: int) -> str:
    """Name one root of the chain; the first is 1."""
    return f"{ROOTS}{number}.json"


def blob_name(digest: str) -> str:
    """Name a blob by the SHA-256 of its stored bytes, in lowercase hex."""
    if not _DIGEST.fullmatch(digest):
        raise UsageError(f"{digest!r} is no SHA-256")
    return blob_path(Digest(digest))


def capgo_name(channel: str, platform: str | None = None) -> str:
    """Name what a stock Capgo plugin is told, for every platform or for one."""
    if platform is None:
        return f"{check_channel(channel)}/capgo.json"
    if not _PLATFORM.fullmatch(platform):
        raise UsageError(f"{platform!r} is no platform")
    return f"{check_channel(channel)}/capgo-{platform}.json"
