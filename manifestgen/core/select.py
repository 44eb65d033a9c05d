"""What a device does about a manifest: nothing, install an offer, or go back to built-in.

A pure function of the manifest, the device, what it remembers and the time, the same in every
client and driven by the same vectors. Offers are tried in order; the first that admits the device
wins. What the winner may do then depends on what runs: the same version means nothing to do, a
lower one is a move that needs a reason. The verdicts say, for every offer, why.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.manifest import FULL, Manifest, Offer, Patch, Rollout
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest
from manifestgen.core.version import Version
from manifestgen.errors import VerificationError

BUILTIN_UNKNOWN: Final = Version(0, 0, 0)

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Device:
    """What an installation says of itself; `builtin` is the version of the app as installed.

    Without an `id` a device is outside every rollout below 100 %. Without `platform` or `native`
    it is outside whatever names one.
    """

    channel: str
    id: str | None = None
    platform: str | None = None
    native: str | None = None
    builtin: str | None = None

    @property
    def builtin_version(self) -> Version:
        """The built-in version; one that cannot be read counts as 0.0.0."""
        return (Version.of_native(self.builtin) if self.builtin else None) or BUILTIN_UNKNOWN


@dataclass(frozen=True, slots=True)
class Running:
    """The release a device runs."""

    version: Version
    tree: Digest


@dataclass(frozen=True, slots=True)
class Memory:
    """What of a device's state bears on the decision.

    `running` is `None` for the built-in app. `failed` holds trees switched to here and not
    confirmed. `moved` is true until the first check after the device itself changed channel.
    """

    running: Running | None = None
    floor: Version | None = None
    failed: frozenset[Digest] = frozenset()
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an offer does or does not admit a device.

    `reason` is one of `admitted`, `not_reached`, `untrusted`, `channel`, `withdrawn`, `platform`,
    `native`, `failed`, `rollout`.
    """

    version: Version | None
    reason: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """Keep what runs; `reason`: `current`, `lower`, `floor`, `paused`, `no_offer`, `builtin`."""

    reason: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Install:
    """Install a release; `patch`, if any, applies to what runs now."""

    release: Release
    patch: Patch | None
    mandatory: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Reset:
    """Go back to the built-in app."""

    verdicts: tuple[Verdict, ...]


Decision: TypeAlias = Nothing | Install | Reset


@dataclass(frozen=True, slots=True)
class _Case:
    """One decision's inputs."""

    manifest: Manifest
    device: Device
    memory: Memory
    now: datetime

    @property
    def version(self) -> Version:
        """The version that runs, built-in or installed."""
        running = self.memory.running
        return running.version if running else self.device.builtin_version

    @property
    def withdrawn(self) -> bool:
        """Whether what runs is withdrawn."""
        return self.version in self.manifest.withdrawn


def decide(trusted: TrustedManifest, device: Device, memory: Memory, now: datetime) -> Decision:
    """Decide what a device does; `now` is `keyring.clock`'s time."""
    case = _Case(trusted.manifest, device, memory, now)
    if case.manifest.paused:
        return Nothing("paused", ())
    verdicts: list[Verdict] = []
    winner: tuple[Offer, Release] | None = None
    for offer, candidate in zip(case.manifest.offers, trusted.releases, strict=True):
        if isinstance(candidate, VerificationError):
            verdicts.append(Verdict(None, "untrusted"))
        elif winner is not None:
            verdicts.append(Verdict(candidate.version, "not_reached"))
        else:
            reason = _refusal(case, offer, candidate)
            verdicts.append(Verdict(candidate.version, reason or "admitted"))
            winner = None if reason else (offer, candidate)
    if winner is None:
        return _without_offer(case, tuple(verdicts))
    return _move(case, *winner, tuple(verdicts))


def position(salt: str, device_id: str) -> int:
    """Return where a device stands in a rollout, 0 to 9999 (basis points).

    The id must have a UTF-8 form; `reaches` counts any other as none.
    """
    digest = hashlib.sha256(salt.encode() + b"\0" + device_id.encode()).digest()
    # 32 bits times 10,000 stays below 2**53, so JavaScript reaches the same answer by division.
    return int.from_bytes(digest[:4], "big") * FULL >> 32


def reaches(rollout: Rollout, version: Version, device_id: str | None, now: datetime) -> bool:
    """Tell whether a rollout reaches a device."""
    share = rollout.share_at(now)
    # A lone surrogate has no UTF-8, and each language puts other bytes in its place: no id.
    if device_id is None or _LONE_SURROGATE.search(device_id):
        return share == FULL
    salt = str(version) if rollout.salt is None else rollout.salt
    return position(salt, device_id) < share


def _refusal(case: _Case, offer: Offer, release: Release) -> str | None:
    """Return why an offer does not admit a device, or `None` if it does."""
    if release.channels and case.manifest.channel not in release.channels:
        return "channel"
    if release.version in case.manifest.withdrawn:
        return "withdrawn"
    for audience in (release.audience, offer.audience):
        if outside := audience.refuses(case.device.platform, case.device.native):
            return outside
    if release.tree.digest in case.memory.failed:
        return "failed"
    if not reaches(offer.rollout, release.version, case.device.id, case.now):
        return "rollout"
    return None


def _move(case: _Case, offer: Offer, release: Release, verdicts: tuple[Verdict, ...]) -> Decision:
    """Decide between what runs and the offer that admits the device."""
    if release.version == case.version:
        return Nothing("current", verdicts)
    if release.version < case.version and not (case.withdrawn or case.memory.moved):
        return Nothing("lower", verdicts)
    if case.memory.floor is not None and release.version < case.memory.floor:
        return Nothing("floor", verdicts)
    patch = _patch_from(offer.patches, case.memory.running)
    return Install(release, patch, offer.mandatory, verdicts)


def _without_offer(case: _Case, verdicts: tuple[Verdict, ...]) -> Decision:
    """Decide when nothing admits the device: only a withdrawn version makes it move."""
    if case.memory.running is None or not case.withdrawn:
        return Nothing("no_offer", verdicts)
    builtin = case.device.builtin_version
    if case.memory.floor is not None and builtin < case.memory.floor:
        return Nothing("floor", verdicts)
    if builtin in case.manifest.withdrawn:
        return Nothing("builtin", verdicts)
    return Reset(verdicts)


def _patch_from(patches: Sequence[Patch], running: Running | None) -> Patch | None:
    if running is None:
        return None
    return next((patch for patch in patches if patch.base == running.tree), None)
