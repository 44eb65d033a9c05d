"""The signed statement "version V of app A is this tree, stored so".

Signed by the protected release role and never changed; manifests embed it whole. What it allows
(platforms, native versions, channels) and what it forbids (going below `floor` afterwards) bounds
whoever holds only a manifest key.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from manifestgen.core.audience import EVERYONE, Audience
from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.envelope import Kind
from manifestgen.core.limits import LIMITS
from manifestgen.core.reader import Reader, encode_bytes, format_time
from manifestgen.core.root import APP, is_channel
from manifestgen.core.tree import Digest
from manifestgen.core.version import VERSION, Version
from manifestgen.errors import FormatError

_SCHEME = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_KEY_ID = re.compile(r"[A-Za-z0-9+/]{20}", re.ASCII)
_FORM = re.compile(r"v[23]", re.ASCII)

AES_BLOCK: Final = 16
RSA_BYTES: Final = 256  # the stock plugin refuses any other modulus

V3: Final = "v3"  # plugins from 5.30, 6.30, 7.30 and all of 8: hex of the wrapped 32 bytes
V2: Final = "v2"  # older ones: base64 of the wrapped 48 bytes that base64-decoding the hex gives


class Scheme(StrEnum):
    """How payloads are encrypted."""

    CAPGO = "capgo"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Payload:
    """A blob: SHA-256 and size as stored, and of what it holds once decrypted."""

    blob: Digest
    size: int
    plain: Digest
    plain_size: int

    def to_json(self) -> JsonObject:
        """Return the document form."""
        return {
            "blob": self.blob,
            "plain": self.plain,
            "plain_size": self.plain_size,
            "size": self.size,
        }

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Decode the members of a payload."""
        return cls(
            blob=Digest(read.digest("blob")),
            size=read.integer("size", 0, LIMITS.bundle_bytes),
            plain=Digest(read.digest("plain")),
            plain_size=read.integer("plain_size", 0, LIMITS.bundle_bytes),
        )


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What the stock Capgo plugin needs beside the bundle, RSA values undecoded.

    `session_key` and `checksum` are 256 bytes each; `form` tells how plugins want the checksum
    spelled (`v3` hex, `v2` base64); `key_id` is the first 20 characters of the public key.
    """

    iv: bytes
    session_key: bytes
    checksum: bytes
    form: str
    key_id: str

    def to_json(self) -> JsonObject:
        """Return the document form."""
        return {
            "checksum": encode_bytes(self.checksum),
            "form": self.form,
            "iv": encode_bytes(self.iv),
            "key_id": self.key_id,
            "session_key": encode_bytes(self.session_key),
        }

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Decode the members."""
        return cls(
            iv=read.bytes("iv", AES_BLOCK),
            session_key=read.bytes("session_key", RSA_BYTES),
            checksum=read.bytes("checksum", RSA_BYTES),
            form=read.text("form", _FORM, "`v2` or `v3`"),
            key_id=read.text("key_id", _KEY_ID, "20 characters of base64"),
        )


@dataclass(frozen=True, slots=True)
class TreeRef:
    """A tree by its digest, with the number of its files and their bytes."""

    digest: Digest
    files: int
    size: int

    def to_json(self) -> JsonObject:
        """Return the document form."""
        return {"digest": self.digest, "files": self.files, "size": self.size}

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Decode the members."""
        return cls(
            digest=Digest(read.digest("digest")),
            files=read.integer("files", 1, LIMITS.files),
            size=read.integer("size", 0, LIMITS.bundle_bytes),
        )


@dataclass(frozen=True, slots=True)
class Release:
    """The `signed` part of a release document.

    `channels` lists where it may be offered (empty: anywhere). `floor` is the lowest version a
    device that confirmed this release may be moved to. `capgo` is there for its scheme alone.
    `files` is the list of single files, if there is one: see `core.files`.
    """

    app: str
    version: Version
    issued: datetime
    tree: TreeRef
    scheme: Scheme
    bundle: Payload
    capgo: Wrapped | None = None
    audience: Audience = EVERYONE
    channels: tuple[str, ...] = ()
    floor: Version | None = None
    notes: str = ""
    files: Payload | None = None

    def to_json(self) -> JsonObject:
        """Return the `signed` part."""
        signed: dict[str, Json] = {
            "app": self.app,
            "bundle": self.bundle.to_json(),
            "issued": format_time(self.issued),
            "scheme": self.scheme.value,
            "tree": self.tree.to_json(),
            "type": Kind.RELEASE.value,
            "version": str(self.version),
            **self.audience.to_json(),
        }
        if self.capgo:
            signed["capgo"] = self.capgo.to_json()
        if self.channels:
            signed["channels"] = list(self.channels)
        if self.files:
            signed["files"] = self.files.to_json()
        if self.floor:
            signed["floor"] = str(self.floor)
        if self.notes:
            signed["notes"] = self.notes
        return signed

    @classmethod
    def from_json(cls, value: Json, at: str = "$.signed") -> Self:
        """Decode the `signed` part of a release, or raise `FormatError`."""
        read = Reader(value, at)
        scheme = _scheme(read)
        release = cls(
            app=read.text("app", APP, "an app id such as com.example.app"),
            version=read_version(read, "version"),
            issued=read.time("issued"),
            tree=TreeRef.read(read.object("tree")),
            scheme=scheme,
            bundle=Payload.read(read.object("bundle")),
            capgo=Wrapped.read(read.object("capgo")) if scheme is Scheme.CAPGO else None,
            audience=Audience.read(read),
            channels=_channels(read),
            floor=read_version(read, "floor") if read.has("floor") else None,
            notes=read.string("notes", most=LIMITS.notes_bytes) if read.has("notes") else "",
            files=Payload.read(read.object("files")) if read.has("files") else None,
        )
        if scheme is Scheme.NONE and release.bundle.blob != release.bundle.plain:
            raise FormatError(f"{at}.bundle: in the clear, `blob` and `plain` are the same")
        if release.files and release.files.blob != release.files.plain:
            raise FormatError(f"{at}.files: in the clear, `blob` and `plain` are the same")
        return release


def read_version(read: Reader, name: str) -> Version:
    """Decode a member that is a semantic version."""
    return Version.parse(read.text(name, VERSION, "a semantic version such as 1.4.2"))


def _scheme(read: Reader) -> Scheme:
    text = read.text("scheme", _SCHEME, "a scheme")
    try:
        return Scheme(text)
    except ValueError:
        raise FormatError(
            f"{read.at}.scheme: {text} is unknown to this client", code="scheme"
        ) from None


def _channels(read: Reader) -> tuple[str, ...]:
    if not read.has("channels"):
        return ()
    channels = read.list("channels", _channel, most=64)
    if not channels:
        # An empty list would read as "anywhere" to us and "nowhere" to somebody else.
        raise FormatError(f"{read.at}.channels: empty; leave it out to allow every channel")
    return channels


def _channel(value: Json, at: str) -> str:
    if not isinstance(value, str) or not is_channel(value):
        raise FormatError(f"{at}: want a channel name")
    return value
