"""The signed list of keys and roles, numbered and chained.

Three roles, as in The Update Framework: *root* changes this list, *release* says which bytes are
a version, *manifest* says what a channel offers now; the last is delegated per channel.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.envelope import Kind
from manifestgen.core.keys import KeyId, PublicKey
from manifestgen.core.limits import LIMITS
from manifestgen.core.reader import Reader, format_time, text_item
from manifestgen.errors import FormatError

APP: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?", re.ASCII)
ANY_CHANNEL: Final = "*"

# Other parts of the site, and what Windows calls its devices: a stick carries sites there too.
_RESERVED = {"root", "releases", "blobs", "client", "history", "con", "prn", "aux", "nul"}
_RESERVED |= {f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)}
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_KEYID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DELEGATION = re.compile(r"\*|[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_MAX_DAYS = 3660


def is_channel(name: str) -> bool:
    """Tell whether `name` may be a channel: its folder must not be another part of the site."""
    return _CHANNEL.fullmatch(name) is not None and name not in _RESERVED


def read_channel(read: Reader) -> str:
    """Return the member `channel` of a document, or raise `FormatError`."""
    channel = read.string("channel", most=64)
    if not is_channel(channel):
        raise FormatError(f"{read.at}.channel: {channel!r} is no channel name")
    return channel


@dataclass(frozen=True, slots=True)
class Role:
    """`threshold` of these keys must sign."""

    keys: tuple[KeyId, ...]
    threshold: int

    def to_json(self) -> JsonObject:
        """Return the document form."""
        return {"keys": list(self.keys), "threshold": self.threshold}

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Decode a role; a threshold above the number of its keys is refused."""
        keys = read.list("keys", text_item(_KEYID, "a key id"), most=LIMITS.keys)
        if len(set(keys)) != len(keys):
            raise FormatError(f"{read.at}.keys: a key stands twice")
        threshold = read.integer("threshold", 1, max(1, len(keys)))
        if not keys:
            raise FormatError(f"{read.at}.keys: empty")
        return cls(tuple(KeyId(key) for key in keys), threshold)


@dataclass(frozen=True, slots=True)
class Delegation:
    """The manifest role of some channels; `*` stands for every channel not named elsewhere."""

    channels: tuple[str, ...]
    role: Role

    def to_json(self) -> JsonObject:
        """Return the document form."""
        return {"channels": list(self.channels), **self.role.to_json()}

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode one delegation."""
        read = Reader(value, at)
        channels = read.list("channels", text_item(_DELEGATION, "a channel or `*`"), most=64)
        return cls(channels, Role.read(read))


@dataclass(frozen=True, slots=True)
class Root:
    """The `signed` part of a root document."""

    app: str
    number: int
    issued: datetime
    expires: datetime
    max_days: int
    keys: tuple[PublicKey, ...]
    root: Role
    release: Role
    manifest: tuple[Delegation, ...]

    def manifest_role(self, channel: str) -> Role | None:
        """Return who signs a channel's manifests: the entry that names it, else the `*` entry.

        An entry by name replaces the `*` entry for its channel, so that a channel handed to an
        inside network is out of the outside keys' hands.
        """
        by_channel = {name: entry.role for entry in self.manifest for name in entry.channels}
        return by_channel.get(channel, by_channel.get(ANY_CHANNEL))

    def key_map(self) -> Mapping[KeyId, PublicKey]:
        """Return the keys by id."""
        return {key.keyid: key for key in self.keys}

    @property
    def lifetime(self) -> timedelta:
        """The longest a manifest may live."""
        return timedelta(days=self.max_days)

    def to_json(self) -> JsonObject:
        """Return the `signed` part."""
        return {
            "app": self.app,
            "expires": format_time(self.expires),
            "issued": format_time(self.issued),
            "keys": [key.to_json() for key in sorted(self.keys, key=lambda key: key.keyid)],
            "max_days": self.max_days,
            "number": self.number,
            "roles": {
                "manifest": [entry.to_json() for entry in self.manifest],
                "release": self.release.to_json(),
                "root": self.root.to_json(),
            },
            "type": Kind.ROOT.value,
        }

    @classmethod
    def from_json(cls, value: Json, at: str = "$.signed") -> Self:
        """Decode the `signed` part of a root, or raise `FormatError`."""
        read = Reader(value, at)
        roles = read.object("roles")
        root = cls(
            app=read.text("app", APP, "an app id such as com.example.app"),
            number=read.integer("number", 1),
            issued=read.time("issued"),
            expires=read.time("expires"),
            max_days=read.integer("max_days", 1, _MAX_DAYS),
            keys=read.list("keys", PublicKey.from_json, most=LIMITS.keys),
            root=Role.read(roles.object("root")),
            release=Role.read(roles.object("release")),
            manifest=roles.list("manifest", Delegation.from_json, most=64),
        )
        root._check(at)
        return root

    def _check(self, at: str) -> None:
        if len(self.key_map()) != len(self.keys):
            raise FormatError(f"{at}.keys: a key stands twice")
        for role in (self.root, self.release, *(entry.role for entry in self.manifest)):
            if missing := set(role.keys) - set(self.key_map()):
                raise FormatError(f"{at}.roles: key {min(missing)[:12]} is not among the keys")
        names = [name for entry in self.manifest for name in entry.channels]
        if len(set(names)) != len(names):
            raise FormatError(f"{at}.roles.manifest: a channel stands twice")
        if self.expires <= self.issued:
            raise FormatError(f"{at}.expires: not after issued")
