"""The manifests of a channel: the one devices poll, and its history back to the first.

History is walked backwards by `previous`. Where a link is broken the walk goes on from the next
older manifest that stands on its own signatures, so that one damaged file does not hide another.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

from manifestgen.core.envelope import Kind
from manifestgen.core.keyring import Keyring, TrustedManifest, check_fresh
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest
from manifestgen.core.release import Release
from manifestgen.core.tree import sha256
from manifestgen.errors import VerificationError
from manifestgen.stores.names import history_name, history_prefix, history_sequence, manifest_name
from manifestgen.verify.audit import Audit
from manifestgen.verify.roots import Roots

_GAP = 64  # numbers looked through for an older manifest where nothing can be listed


@dataclass(frozen=True, slots=True)
class Line:
    """A channel's verified manifests: the newest, and those before it."""

    channel: str
    head: TrustedManifest
    past: tuple[TrustedManifest, ...] = field(default=())


def check_channel(audit: Audit, roots: Roots, channel: str, now: datetime) -> Line | None:
    """Check everything signed about a channel; `None` if not one manifest of it verifies."""
    name = manifest_name(channel)
    data = audit.need(name, LIMITS.manifest_bytes, "devices poll it")
    head = _verified(audit, roots.newest, name, data, channel)
    if head is None:
        head = _newest_of_history(audit, roots.newest, channel)
        if head is None:
            _unread(audit, channel)
            return None
        name, data = history_name(channel, head.manifest.sequence), None
    else:
        _check_offers(audit, name, head)
        _check_head(audit, roots, name, head, now)
    return Line(channel, head, _History(audit, roots, channel).check(head, data))


def is_there(audit: Audit, channel: str) -> bool:
    """Tell whether a channel has a manifest, or had one; a page for people is none."""
    names = manifest_name(channel), history_name(channel, 1)
    return any((audit.peek(name, LIMITS.manifest_bytes) or b"").startswith(b"{") for name in names)


class _History:
    """The way back through one channel."""

    def __init__(self, audit: Audit, roots: Roots, channel: str) -> None:
        self._audit = audit
        self._keyring = roots.newest
        self._keyrings = roots.keyrings
        self._channel = channel
        self._visited: set[str] = set()
        self._numbers = _numbers(audit, channel)

    def check(self, head: TrustedManifest, data: bytes | None) -> tuple[TrustedManifest, ...]:
        """Walk from `head`, whose bytes devices poll; without them history has its only copy."""
        numbers = chain([head.manifest.sequence], self._candidates(head.manifest.sequence))
        names = (history_name(self._channel, number) for number in numbers)
        with self._audit.reading_ahead(names, LIMITS.manifest_bytes):
            return self._walk(head, data)

    def _walk(self, head: TrustedManifest, data: bytes | None) -> tuple[TrustedManifest, ...]:
        if data is not None:
            self._check_copy(head, data)
            self._check_nothing_ahead(head)
        self._visited.add(history_name(self._channel, head.manifest.sequence))
        walked = [head]
        while (before := self._before(walked[-1])) is not None:
            walked.append(before)
        self._check_rest()
        return tuple(walked[1:])

    def _check_copy(self, head: TrustedManifest, data: bytes) -> None:
        name = history_name(self._channel, head.manifest.sequence)
        copy = self._need(head.manifest.sequence)
        if copy is not None and copy != data:
            self._audit.problem(
                name, "history", f"is not the same file as {manifest_name(self._channel)}"
            )

    def _check_nothing_ahead(self, head: TrustedManifest) -> None:
        """Find what was committed and is not shown: a killed publish, or an old copy put back."""
        sequence = head.manifest.sequence
        ahead = self._ahead(sequence)
        if ahead:
            self._audit.problem(
                manifest_name(self._channel),
                "history",
                f"is number {sequence}, but history goes on to {max(ahead)}",
            )
        for number in ahead:
            name = history_name(self._channel, number)
            self._visited.add(name)
            _verified(
                self._audit, self._keyring, name, self._need(number), self._channel, number=number
            )

    def _ahead(self, sequence: int) -> list[int]:
        """Return the numbers after `sequence` that history has; where none are listed, the next."""
        if self._audit.listing is None:
            data = self._peek(sequence + 1)
            # Some servers answer a page for what they do not have.
            stands = self._stands(self._keyrings[-1:], data, sequence + 1)
            return [sequence + 1] if stands else []
        later = [number for number in self._numbers if number > sequence]
        return [number for number in later if not self._is_disowned(self._peek(number), number)]

    def _peek(self, number: int) -> bytes:
        return self._audit.peek(history_name(self._channel, number), LIMITS.manifest_bytes) or b""

    def _before(self, trusted: TrustedManifest) -> TrustedManifest | None:
        manifest = trusted.manifest
        if manifest.previous is None:
            if manifest.sequence > 1:
                name = history_name(self._channel, manifest.sequence)
                self._audit.note(name, "the first there is: the channel was begun anew")
            return None
        number, data = self._named(manifest)
        name = history_name(self._channel, number)
        self._visited.add(name)
        if data is None:
            return self._broken(name, manifest.sequence)
        self._audit.seen.add(name)
        self._audit.count(name, len(data))
        with self._audit.judging(name):
            found = self._keyring.linked(data, manifest.previous)
            self._check_step(name, number, found, trusted)
            return found
        return self._next_that_verifies(number)

    def _named(self, later: Manifest) -> tuple[int, bytes | None]:
        """Find the manifest that a later one names as its previous; usually the number before.

        Numbers are skipped by a publisher whose site was restored from a backup, and by one who
        goes on from before what a stolen key signed.
        """
        below = later.sequence - 1
        for number in self._candidates(later.sequence):
            if self._audit.listing is None and number <= below - _GAP:
                break
            data = self._audit.peek(history_name(self._channel, number), LIMITS.manifest_bytes)
            if data is not None and sha256(data) == later.previous:
                if number != below:
                    name = history_name(self._channel, later.sequence)
                    self._audit.note(name, f"follows number {number}: those between do not count")
                return number, data
            if data is not None and not self._is_disowned(data, number):
                break
        return below, None

    def _is_disowned(self, data: bytes, number: int) -> bool:
        """Tell whether a manifest is sound, but only by keys that have since been revoked."""
        return not self._stands(self._keyrings[-1:], data, number) and self._stands(
            self._keyrings[:-1], data, number
        )

    def _stands(self, keyrings: Sequence[Keyring], data: bytes, number: int) -> bool:
        for keyring in keyrings:
            with suppress(VerificationError):
                if keyring.manifest(data, self._channel).manifest.sequence == number:
                    return True
        return False

    def _broken(self, name: str, later: int) -> TrustedManifest | None:
        """Say why a link leads nowhere, and go on behind it."""
        data = self._audit.look(name, LIMITS.manifest_bytes)
        what = f"the manifest that number {later} names"
        if data is None:
            self._audit.problem(name, "missing", f"missing: {what}")
        else:
            self._audit.problem(name, "history", f"not {what}")
        return self._next_that_verifies(history_sequence(name) or 0)

    def _check_step(
        self, name: str, number: int, found: TrustedManifest, later: TrustedManifest
    ) -> None:
        old, new = found.manifest, later.manifest
        if old.sequence != number:
            self._audit.problem(name, "history", f"holds manifest {old.sequence}")
        if (old.app, old.channel) != (new.app, new.channel):
            self._audit.problem(name, "history", f"is of {old.app}, channel {old.channel}")
        if old.issued > new.issued:
            self._audit.problem(name, "history", f"was issued after manifest {new.sequence}")

    def _next_that_verifies(self, number: int) -> TrustedManifest | None:
        """Go on after a broken link, from an older manifest that stands on its own."""
        for older in self._candidates(number):
            if self._audit.listing is None and older < number - _GAP:
                break
            name = history_name(self._channel, older)
            data = self._audit.look(name, LIMITS.manifest_bytes)
            self._visited.add(name)
            if data is None:
                return None
            found = self._verified_once(name, data, older)
            if found is not None:
                return found
        return None

    def _verified_once(self, name: str, data: bytes, number: int) -> TrustedManifest | None:
        """Verify a manifest by the keys of any time: without its link, they are all there is."""
        for keyring in reversed(self._keyrings[:-1]):
            with suppress(VerificationError):
                found = keyring.manifest(data, self._channel)
                if found.manifest.sequence == number:
                    return found
        return _verified(self._audit, self._keyring, name, data, self._channel, number=number)

    def _candidates(self, number: int) -> Sequence[int]:
        if self._audit.listing is not None:
            return [older for older in reversed(self._numbers) if older < number]
        return range(number - 1, 0, -1)  # no list: a stolen key signs any number it likes

    def _check_rest(self) -> None:
        """Judge listed manifests that nothing leads to, such as those of another copy."""
        for name in self._audit.listed(history_prefix(self._channel)):
            if history_sequence(name) is not None and name not in self._visited:
                data = self._audit.look(name, LIMITS.manifest_bytes)
                if data and self._is_disowned(data, history_sequence(name) or 0):
                    self._audit.note(name, "signed by keys since revoked, and nothing leads to it")
                else:
                    self._audit.problem(name, "history", "no later manifest leads to it")

    def _need(self, number: int) -> bytes | None:
        name = history_name(self._channel, number)
        return self._audit.need(name, LIMITS.manifest_bytes, "history holds every manifest")


def _verified(
    audit: Audit,
    keyring: Keyring,
    name: str,
    data: bytes | None,
    channel: str,
    *,
    number: int | None = None,
) -> TrustedManifest | None:
    """Verify a manifest by today's keys; `number` is the one its name gives."""
    if data is None:
        return None
    with audit.judging(name):
        trusted = keyring.manifest(data, channel)
        sequence = trusted.manifest.sequence
        if number is not None and sequence != number:
            raise VerificationError(f"holds manifest {sequence}", code="history")
        return trusted
    return None


def _newest_of_history(audit: Audit, keyring: Keyring, channel: str) -> TrustedManifest | None:
    """Go on without `manifest.json` where history can be listed."""
    for number in reversed(_numbers(audit, channel)):
        name = history_name(channel, number)
        data = audit.look(name, LIMITS.manifest_bytes)
        trusted = _verified(audit, keyring, name, data, channel, number=number)
        if trusted is not None:
            return trusted
    return None


def _unread(audit: Audit, channel: str) -> None:
    audit.note(
        manifest_name(channel), "without it history, releases and blobs could not all be checked"
    )


def _check_offers(audit: Audit, name: str, head: TrustedManifest) -> None:
    manifest = head.manifest
    for number, release in enumerate(head.releases, 1):
        if not isinstance(release, Release):
            audit.problem(name, release.code, f"offer {number}: {release}")
        elif release.channels and manifest.channel not in release.channels:
            audit.note(
                name, f"devices skip offer {number}: {release.version} is for other channels"
            )
        elif release.version in manifest.withdrawn:
            audit.note(name, f"devices skip offer {number}: {release.version} is withdrawn")


def _check_head(
    audit: Audit, roots: Roots, name: str, head: TrustedManifest, now: datetime
) -> None:
    manifest = head.manifest
    audit.check_every_signature(name, head.envelope, Kind.MANIFEST, roots.keys)
    with audit.judging(name):
        check_fresh(head, seen=None, now=now, root_issued=roots.newest.root.issued)
        if now - manifest.issued > (manifest.expires - manifest.issued) / 2:
            audit.note(name, f"expires on {manifest.expires:%Y-%m-%d}, half its time is over")


def _numbers(audit: Audit, channel: str) -> list[int]:
    found = (history_sequence(name) for name in audit.listed(history_prefix(channel)))
    return sorted(number for number in found if number is not None)
