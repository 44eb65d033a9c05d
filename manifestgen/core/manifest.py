"""The signed statement of what one channel offers now."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from manifestgen.core.audience import EVERYONE, Audience
from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.limits import LIMITS
from manifestgen.core.reader import Reader, format_time
from manifestgen.core.release import Payload
from manifestgen.core.root import APP, read_channel
from manifestgen.core.tree import Digest
from manifestgen.core.version import Version
from manifestgen.errors import FormatError

FULL: Final = 10_000
"""Every device, in basis points."""

_SECOND = timedelta(seconds=1)  # dividing by it is exact, where a float of seconds may round up
_SALT = re.compile(r"[\x20-\x7e]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ramp:
    """A share that grows linearly from `first` (basis points) at `start` to the full at `end`."""

    first: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Rollout:
    """The share of devices an offer reaches, in basis points; `salt` defaults to the version."""

    share: int = FULL
    ramp: Ramp | None = None
    salt: str | None = None

    def share_at(self, now: datetime) -> int:
        """Return the share at a time, in basis points: linear, floored, clamped."""
        if self.ramp is None or now >= self.ramp.end:
            return self.share
        if now <= self.ramp.start:
            return self.ramp.first
        elapsed = (now - self.ramp.start) // _SECOND
        whole = (self.ramp.end - self.ramp.start) // _SECOND
        return self.ramp.first + (self.share - self.ramp.first) * elapsed // whole

    def to_json(self) -> JsonObject:
        """Return the document form."""
        members: dict[str, Json] = {"share": self.share}
        if self.ramp:
            members["first"] = self.ramp.first
            members["start"] = format_time(self.ramp.start)
            members["end"] = format_time(self.ramp.end)
        if self.salt is not None:
            members["salt"] = self.salt
        return members

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Decode a rollout; a ramp has all three of `first`, `start` and `end`."""
        share = read.integer("share", 0, FULL)
        ramp = None
        if any(read.has(name) for name in ("first", "start", "end")):
            ramp = Ramp(read.integer("first", 0, share), read.time("start"), read.time("end"))
            if ramp.end <= ramp.start:
                raise FormatError(f"{read.at}.end: not after start")
        salt = read.text("salt", _SALT, "1 to 64 of ASCII") if read.has("salt") else None
        return cls(share, ramp, salt)


EVERY_DEVICE: Final = Rollout()


@dataclass(frozen=True, slots=True)
class Patch:
    """A payload that turns the tree `base` into the offer's."""

    base: Digest
    payload: Payload

    def to_json(self) -> JsonObject:
        """Return the document form."""
        return {"base": self.base, **self.payload.to_json()}

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode one patch."""
        read = Reader(value, at)
        return cls(Digest(read.digest("base")), Payload.read(read))


@dataclass(frozen=True, slots=True)
class Offer:
    """A release, who gets it, and patches that lead to it.

    `release` is the envelope as received: whether to believe it is the keyring's business, and
    an offer whose release does not verify is skipped, not fatal.
    """

    release: Envelope
    rollout: Rollout = EVERY_DEVICE
    audience: Audience = EVERYONE
    mandatory: bool = False
    patches: tuple[Patch, ...] = ()

    def to_json(self) -> JsonObject:
        """Return the document form."""
        members: dict[str, Json] = {"release": self.release.to_json(), **self.audience.to_json()}
        if self.rollout != EVERY_DEVICE:
            members["rollout"] = self.rollout.to_json()
        if self.mandatory:
            members["mandatory"] = True
        if self.patches:
            members["patches"] = [patch.to_json() for patch in self.patches]
        return members

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode one offer."""
        read = Reader(value, at)
        return cls(
            release=Envelope.from_json(read.get("release"), f"{at}.release"),
            rollout=Rollout.read(read.object("rollout")) if read.has("rollout") else EVERY_DEVICE,
            audience=Audience.read(read),
            mandatory=read.flag("mandatory"),
            patches=(
                read.list("patches", Patch.from_json, most=LIMITS.patches)
                if read.has("patches")
                else ()
            ),
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The `signed` part of a manifest.

    `root` is the number of the root it was signed under; `previous` the SHA-256 of the previous
    manifest file, for auditors (`None` for the first). `withdrawn` versions are offered no more
    and devices move off them. While `paused`, devices keep what they run.
    """

    app: str
    channel: str
    sequence: int
    issued: datetime
    expires: datetime
    root: int
    previous: Digest | None
    offers: tuple[Offer, ...] = ()
    withdrawn: tuple[Version, ...] = ()
    paused: bool = False

    def to_json(self) -> JsonObject:
        """Return the `signed` part."""
        signed: dict[str, Json] = {
            "app": self.app,
            "channel": self.channel,
            "expires": format_time(self.expires),
            "issued": format_time(self.issued),
            "offers": [offer.to_json() for offer in self.offers],
            "root": self.root,
            "sequence": self.sequence,
            "type": Kind.MANIFEST.value,
            "withdrawn": [str(version) for version in self.withdrawn],
        }
        if self.previous is not None:
            signed["previous"] = self.previous
        if self.paused:
            signed["paused"] = True
        return signed

    @classmethod
    def from_json(cls, value: Json, at: str = "$.signed") -> Self:
        """Decode the `signed` part of a manifest, or raise `FormatError`."""
        read = Reader(value, at)
        channel = read_channel(read)
        manifest = cls(
            app=read.text("app", APP, "an app id such as com.example.app"),
            channel=channel,
            sequence=read.integer("sequence", 1),
            issued=read.time("issued"),
            expires=read.time("expires"),
            root=read.integer("root", 1),
            previous=Digest(read.digest("previous")) if read.has("previous") else None,
            offers=read.list("offers", Offer.from_json, most=LIMITS.offers),
            withdrawn=read.list("withdrawn", _version, most=LIMITS.withdrawn),
            paused=read.flag("paused"),
        )
        if manifest.expires <= manifest.issued:
            raise FormatError(f"{at}.expires: not after issued")
        return manifest


def referenced_blobs(manifest: Manifest, bundles: Sequence[Payload]) -> frozenset[Digest]:
    """Return every blob a manifest leads to: patches, and the bundles of its releases."""
    patches = (patch.payload for offer in manifest.offers for patch in offer.patches)
    return frozenset(payload.blob for payload in (*bundles, *patches))


def _version(value: Json, at: str) -> Version:
    if not isinstance(value, str):
        raise FormatError(f"{at}: want a version")
    try:
        return Version.parse(value)
    except FormatError as error:
        raise FormatError(f"{at}: {error}") from None
