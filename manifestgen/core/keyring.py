"""Whom to believe: the checks between bytes from anywhere and a manifest a device acts on.

Downloading, saving and time belong to the caller. The order is fixed, the same in every client,
and each step raises `VerificationError` with its code:

1. `Keyring.follow`: root N+1 is signed by the thresholds of N and of N+1 (`signature`), its
   number is exactly N+1 (`root_gap`), its app the same (`wrong_app`).
2. `Keyring.check_root_fresh`: the newest root has not expired by the device's own clock
   (`root_expired`).
3. `Keyring.manifest`: canonical form and size (`format`, `too_large`), type (`type`), threshold
   of the channel's manifest role (`signature`), shape (`format`), app (`wrong_app`), channel
   (`wrong_channel`), a root this device has (`root_unknown`), lifetime (`lifetime`).
4. `check_fresh`: sequence (`replay`), same sequence with another content (`equivocation`), issued
   in the future (`future`), expired (`expired`).
5. Releases embedded in offers: one that does not verify makes its offer unusable, not the
   manifest.

Nothing is remembered here. A caller saves each root as soon as `follow` returns it, and the
manifest once step 4 has passed, before it downloads anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self, TypeAlias

from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest
from manifestgen.core.release import Release
from manifestgen.core.root import Role, Root
from manifestgen.core.tree import Digest, sha256
from manifestgen.errors import FormatError, VerificationError

Candidate: TypeAlias = "Release | VerificationError"
"""The release of an offer, or why it is not to be believed."""


@dataclass(frozen=True, slots=True)
class TrustedManifest:
    """A manifest that passed steps 3 and 5; `releases` runs parallel to its offers."""

    manifest: Manifest
    releases: tuple[Candidate, ...]
    envelope: Envelope

    @property
    def seen(self) -> "Seen":
        """What a device remembers of it."""
        return Seen(self.manifest.sequence, self.envelope.digest(), self.manifest.issued)


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest manifest accepted: its sequence, digest of its signed part, and its time."""

    sequence: int
    digest: Digest
    issued: datetime


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys and thresholds of one trusted root."""

    root: Root

    @classmethod
    def trust(cls, data: bytes) -> Self:
        """Take a root on the caller's word: the file an app was built with.

        It must still be signed by its own root threshold, which catches a damaged file.
        """
        envelope = Envelope.decode(data, limit=LIMITS.root_bytes)
        envelope.expect(Kind.ROOT)
        root = Root.from_json(envelope.signed)
        check_signatures(envelope, Kind.ROOT, root, root.root)
        return cls(root)

    def follow(self, data: bytes) -> Self:
        """Return the keyring of the next root (step 1)."""
        envelope = Envelope.decode(data, limit=LIMITS.root_bytes)
        envelope.expect(Kind.ROOT)
        check_signatures(envelope, Kind.ROOT, self.root, self.root.root)
        root = Root.from_json(envelope.signed)
        check_signatures(envelope, Kind.ROOT, root, root.root)
        if root.number != self.root.number + 1:
            raise VerificationError(
                f"root {root.number} cannot follow root {self.root.number}", code="root_gap"
            )
        if root.app != self.root.app:
            raise VerificationError(
                f"root {root.number} is for {root.app}, not {self.root.app}", code="wrong_app"
            )
        return type(self)(root)

    def check_root_fresh(self, now: datetime) -> None:
        """Raise unless the root is alive (step 2); call it on the newest root only."""
        if now >= self.root.expires:
            raise VerificationError(
                f"root {self.root.number} expired on {self.root.expires:%Y-%m-%d}",
                code="root_expired",
                hint="sign a new root with `manifestgen keys renew`",
            )

    def manifest(self, data: bytes, channel: str) -> TrustedManifest:
        """Verify a manifest of `channel` (steps 3 and 5); freshness is `check_fresh`'s."""
        envelope = Envelope.decode(data, limit=LIMITS.manifest_bytes)
        envelope.expect(Kind.MANIFEST)
        role = self.root.manifest_role(channel)
        if role is None:
            raise VerificationError(
                f"root {self.root.number} lets no key sign for channel {channel}",
                code="signature",
            )
        check_signatures(envelope, Kind.MANIFEST, self.root, role)
        manifest = Manifest.from_json(envelope.signed)
        self._check_meaning(manifest, channel)
        return TrustedManifest(manifest, self._releases(manifest), envelope)

    def linked(self, data: bytes, digest: Digest) -> TrustedManifest:
        """Read a manifest of the past that a verified one names by `digest` as its `previous`.

        The link was signed, so a signature by a key since revoked does not matter; its releases
        are judged by the keys of today.
        """
        if sha256(data) != digest:
            raise VerificationError("not the manifest that the next one names", code="history")
        envelope = Envelope.decode(data, limit=LIMITS.manifest_bytes)
        envelope.expect(Kind.MANIFEST)
        manifest = Manifest.from_json(envelope.signed)
        return TrustedManifest(manifest, self._releases(manifest), envelope)

    def release(self, envelope: Envelope) -> Release:
        """Verify a release, stored or embedded."""
        envelope.expect(Kind.RELEASE)
        check_signatures(envelope, Kind.RELEASE, self.root, self.root.release)
        release = Release.from_json(envelope.signed)
        if release.app != self.root.app:
            raise VerificationError(
                f"release {release.version} is for {release.app}, not {self.root.app}",
                code="wrong_app",
            )
        return release

    def _releases(self, manifest: Manifest) -> tuple[Candidate, ...]:
        return tuple(self._candidate(offer.release) for offer in manifest.offers)

    def _candidate(self, envelope: Envelope) -> Candidate:
        try:
            return self.release(envelope)
        except VerificationError as error:
            return error

    def _check_meaning(self, manifest: Manifest, channel: str) -> None:
        if manifest.app != self.root.app:
            raise VerificationError(
                f"the manifest is for {manifest.app}, not {self.root.app}", code="wrong_app"
            )
        if manifest.channel != channel:
            raise VerificationError(
                f"the manifest is for channel {manifest.channel}, not {channel}",
                code="wrong_channel",
            )
        if manifest.root > self.root.number:
            raise VerificationError(
                f"the manifest names root {manifest.root}; this device could only get"
                f" {self.root.number}",
                code="root_unknown",
            )
        if manifest.expires - manifest.issued > self.root.lifetime:
            raise VerificationError(
                f"the manifest lives longer than the {self.root.max_days} days root allows",
                code="lifetime",
            )


def named_root(data: bytes) -> int:
    """Return the root number that an unverified manifest names, to walk the chain before it.

    Nothing else of an unverified document is ever used; the walk is bounded by
    `Limits.root_steps`.
    """
    envelope = Envelope.decode(data, limit=LIMITS.manifest_bytes)
    envelope.expect(Kind.MANIFEST)
    number = envelope.signed.get("root")
    if type(number) is not int or number < 1:
        raise FormatError("$.signed.root: want an integer from 1")
    return number


def check_fresh(
    trusted: TrustedManifest,
    *,
    seen: Seen | None,
    now: datetime,
    root_issued: datetime,
    running_issued: datetime | None = None,
) -> None:
    """Raise unless a manifest may replace the one seen last (step 4).

    `root_issued` is the newest root's own time: a device's clock behind it is plainly wrong, and
    then says nothing about the future. `running_issued` is the running release's: where no manifest
    is remembered it says how late it must be, for expiry alone.
    """
    manifest = trusted.manifest
    if seen is not None and manifest.sequence < seen.sequence:
        raise VerificationError(
            f"manifest {manifest.sequence} is older than {seen.sequence}, already seen",
            code="replay",
        )
    changed = seen is not None and trusted.seen.digest != seen.digest
    if seen is not None and manifest.sequence == seen.sequence and changed:
        raise VerificationError(
            f"a second manifest {manifest.sequence}, with another content", code="equivocation"
        )
    if manifest.issued - now > LIMITS.future and now >= root_issued:
        raise VerificationError(
            f"the manifest was issued in the future, {manifest.issued:%Y-%m-%d %H:%M} UTC",
            code="future",
        )
    least = seen.issued if seen else running_issued
    if max(now, least or now) >= manifest.expires:
        raise VerificationError(
            f"the {manifest.channel} manifest expired on {manifest.expires:%Y-%m-%d %H:%M} UTC",
            code="expired",
            hint="publish again, or run `manifestgen refresh` from a scheduled job",
        )


def clock(now: datetime, seen: Seen | None) -> datetime:
    """Return the time to go by: the device's, but never before the newest accepted `issued`."""
    return max(now, seen.issued) if seen else now


def check_signatures(envelope: Envelope, kind: Kind, root: Root, role: Role) -> None:
    """Raise `VerificationError` (`signature`) unless a role's threshold signed as `kind`.

    A key counts once, however often it signs; keys that are not the role's are ignored.
    """
    keys = root.key_map()
    message = envelope.message(kind)
    valid = {
        signature.keyid
        for signature in envelope.signatures
        if signature.keyid in role.keys and keys[signature.keyid].verifies(signature.sig, message)
    }
    if len(valid) < role.threshold:
        what = kind.partition(".")[0]
        raise VerificationError(
            f"{len(valid)} of {role.threshold} trusted keys signed this {what}",
            code="signature",
        )


def usable(trusted: TrustedManifest) -> Sequence[Release]:
    """Return the releases of a manifest that verified."""
    return [one for one in trusted.releases if isinstance(one, Release)]
