"""A site as its publisher sees it: verified before anything is added to it.

What a killed command left half-done is finished here first: whoever finds history ahead of
`manifest.json` verifies it and completes the commit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

from manifestgen import pages
from manifestgen.config import Settings
from manifestgen.core import stock
from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import Keyring, TrustedManifest
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest
from manifestgen.core.release import Release
from manifestgen.core.root import is_channel
from manifestgen.core.tree import Digest, sha256
from manifestgen.core.version import Version
from manifestgen.errors import ConflictError, VerificationError
from manifestgen.publish.trust import RootChain
from manifestgen.stores import Store
from manifestgen.stores.again import settle
from manifestgen.stores.file_lists import usable_file_list
from manifestgen.stores.names import (
    INDEX,
    ROOT,
    capgo_name,
    history_name,
    manifest_name,
    release_name,
    root_name,
)

LOOK_BACK = 200  # manifests of history read for earlier releases: refreshes lie between them
MAIN = 16  # channels that the status page is about, and in which patches are looked for
_GAP = 64  # sequences that may lie unused between two manifests
_TRIES = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Head:
    """A committed manifest of a channel, and the file it is.

    `outdated` means that only keys of an earlier root signed it: what it offers may be carried
    on, its sequence and times bind nobody.
    """

    trusted: TrustedManifest
    data: bytes
    outdated: bool = False

    @property
    def manifest(self) -> Manifest:
        """The manifest itself."""
        return self.trusted.manifest

    @property
    def digest(self) -> Digest:
        """What the next manifest's `previous` says."""
        return sha256(self.data)


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a channel goes on: the newest manifest, and the first sequence that is free."""

    head: Head | None
    following: int


@dataclass(frozen=True, slots=True)
class Site:
    """A store, and the root chain by which it is judged.

    In a `dry_run` the store is an overlay, and what would be signed is not remembered either.
    """

    store: Store
    chain: RootChain
    settings: Settings
    dry_run: bool = False

    def tip(self, channel: str, *, mark: int = 0) -> Tip:
        """Return where a channel goes on; `mark` is the highest sequence ever signed here.

        Raises:
            VerificationError: what is there is not this project's; it must not be extended.
        """
        self._check_no_newer_root()
        stored = self.store.get(manifest_name(channel), limit=LIMITS.manifest_bytes)
        current = self._verified(stored.data, channel) if stored else None
        if current is None and mark:
            # The manifest was lost, its history was not: without our last one, which keys since
            # revoked may have signed, what it withdrew would be forgotten.
            current = self._committed(channel, mark)
        elif current and current.outdated and 0 < mark < current.manifest.sequence:
            # A key since revoked signed further than we ever did: go on from our own last one.
            current = self._committed(channel, mark)
        elif current:
            self._check_in_history(current, channel)
        tip = self._ahead(current, channel, mark)
        self._check_not_stale(tip, channel, mark)
        if tip.head and (stored is None or tip.head.data != stored.data):
            self.publish_head(tip.head)
        return tip

    def head(self, channel: str, *, mark: int = 0) -> Head | None:
        """Return the newest manifest of a channel, `None` if there is none yet."""
        return self.tip(channel, mark=mark).head

    def channels(self) -> list[str]:
        """Return the channels that have a manifest, or had one: history is never deleted."""
        return [name for name in self._candidates() if self._is_there(name)]

    def main_channels(self) -> list[str]:
        """Return so many channels at most as `MAIN` says, those that are configured first.

        What a publish costs must not depend on how many there are. Some may not be there.
        """
        configured = {self.settings.channel, *self.settings.channels}
        return sorted(self._candidates(), key=lambda name: (name not in configured, name))[:MAIN]

    def _candidates(self) -> list[str]:
        """Return what may be a channel: what is configured, and the folders that are there."""
        named = {name for entry in self.chain.keyring.root.manifest for name in entry.channels}
        known = {*named, *self.settings.channels, self.settings.channel, *self.store.folders()}
        return sorted(name for name in known if is_channel(name))

    def _is_there(self, channel: str) -> bool:
        names = manifest_name(channel), history_name(channel, 1)
        return any(self.store.size(name) is not None for name in names)

    def shown(self, channel: str) -> Head | None:
        """Return the manifest that a channel shows, verified; whether history goes on is not asked.

        Raises:
            VerificationError: it is not this project's.
        """
        stored = self.store.get(manifest_name(channel), limit=LIMITS.manifest_bytes)
        return self._verified(stored.data, channel) if stored else None

    def release(self, version: Version) -> tuple[Envelope, Release] | None:
        """Return a release of this site, verified, or `None` if there is none."""
        envelope = self.release_envelope(version)
        if envelope is None:
            return None
        name = release_name(str(version))
        return envelope, self._explained(name, lambda: self.chain.keyring.release(envelope))

    def release_envelope(self, version: Version) -> Envelope | None:
        """Return a stored release, unverified, or `None` if there is none."""
        name = release_name(str(version))
        stored = self.store.get(name, limit=LIMITS.release_bytes)
        if stored is None:
            return None
        data = stored.data
        return self._explained(name, lambda: Envelope.decode(data, limit=LIMITS.release_bytes))

    def earlier(self, head: Head | None) -> Iterator[Head]:
        """Walk a channel's history backwards, `head` first, as far as it is linked."""
        while head is not None:
            yield head
            head = self._before(head)

    def _before(self, head: Head) -> Head | None:
        manifest = head.manifest
        if manifest.previous is None:
            return None
        altered = None
        # The number before, as a rule; some are passed over after a restored backup.
        for sequence in range(manifest.sequence - 1, max(0, manifest.sequence - _GAP), -1):
            name = history_name(manifest.channel, sequence)
            stored = self.store.get(name, limit=LIMITS.manifest_bytes)
            if stored and sha256(stored.data) == manifest.previous:
                linked = self.chain.keyring.linked(stored.data, manifest.previous)
                return Head(linked, stored.data)
            if stored and sequence == manifest.sequence - 1:
                altered = name
        if altered:
            raise VerificationError(
                f"{altered} is not what manifest {manifest.sequence} names as its previous",
                code="history",
                hint="run `manifestgen verify` and restore the site from a good copy",
            )
        return None

    def recent_releases(self, head: Head | None, count: int) -> list[Release]:
        """Return the last `count` releases a channel offered, the newest first; see `vouched`."""
        found: dict[Version, Release] = {}
        for one in islice(self.earlier(head), LOOK_BACK):
            for release in self.vouched(one):
                found.setdefault(release.version, release)
            if len(found) >= count:
                break
        return sorted(found.values(), key=lambda release: release.version, reverse=True)[:count]

    def publish_roots(self) -> None:
        """Bring the site's copy of the root chain up to date; a different one is refused."""
        for number, document in enumerate(self.chain.documents, 1):
            if self._created_or_there(root_name(number), document) != document:
                raise VerificationError(
                    f"{root_name(number)} of the site is not this project's root",
                    code="root",
                    hint="is this another project's site? Check `site` in manifestgen.toml",
                )
        settle(self.store, ROOT, lambda: self.chain.newest)

    def _created_or_there(self, name: str, document: bytes) -> bytes:
        """Return what the site has under a name, which is `document` if it had nothing."""
        stored = self.store.get(name, limit=LIMITS.root_bytes)
        if stored is None:
            try:
                self.store.create(name, document)
            except ConflictError:
                # Of several who begin a site at once, one is first; the others look what it wrote.
                stored = self.store.get(name, limit=LIMITS.root_bytes)
                if stored is None:
                    raise
        return stored.data if stored else document

    def _check_no_newer_root(self) -> None:
        following = root_name(len(self.chain.documents) + 1)
        if self.store.size(following) is not None:
            raise VerificationError(
                f"the site has {following}, which this project does not know",
                code="root",
                hint="bring .manifestgen/root up to date with `git pull`",
            )

    def publish_head(self, head: Head) -> None:
        """Make a committed manifest the one devices see, then render what follows from it."""
        name = manifest_name(head.manifest.channel)
        for _ in range(_TRIES):
            stored = self.store.get(name, limit=LIMITS.manifest_bytes)
            if stored and stored.data != head.data:
                there = self._verified(stored.data, head.manifest.channel)
                if not there.outdated and there.manifest.sequence >= head.manifest.sequence:
                    head = there  # somebody was faster and newer: render theirs
            if stored is None or stored.data != head.data:
                try:
                    self.store.replace(name, head.data, tag=stored.tag if stored else None)
                except ConflictError:
                    continue
            self._render(head)
            if (now := self.store.get(name)) and now.data == head.data:
                return
        raise ConflictError(
            f"{name} changes faster than we can follow", hint="run the same command again"
        )

    def _render(self, head: Head) -> None:
        """Write what is derived from a manifest: for stock plugins, and for people."""
        for name, answer in self.capgo_answers(head.trusted).items():
            settle(self.store, name, partial(stock.encode, answer))
        # Who keeps losing was overtaken by others who read the manifests after ours was there.
        with suppress(ConflictError):
            settle(self.store, INDEX, partial(self._page, head))

    def is_rendered(self, head: Head) -> bool:
        """Tell whether what is derived from a manifest was written, as publishing ends with."""
        answers = self.capgo_answers(head.trusted).items()
        expected = {name: stock.encode(one) for name, one in answers} | {INDEX: self._page(head)}
        there = {name: self.store.get(name) for name in expected}
        return all(one and one.data == expected[name] for name, one in there.items())

    def _page(self, head: Head) -> bytes:
        """Render the status page of the main channels."""
        manifests, main = {}, self.main_channels()
        for channel in main:
            stored = self.store.get(manifest_name(channel), limit=LIMITS.manifest_bytes)
            if stored:
                same = stored.data == head.data
                one = head if same else self._verified(stored.data, channel)
                manifests[channel] = one.trusted
        ordered = [manifests[channel] for channel in sorted(manifests)]
        chain = zip(self.chain.keyrings, self.chain.documents, strict=True)
        roots = [pages.RootFile(keyring.root, sha256(data)) for keyring, data in chain]
        return pages.index(roots, ordered, others=self._others(main)).encode()

    def _others(self, main: Sequence[str]) -> int:
        """Count the channels that the status page leaves out, by their folders."""
        if len(main) < MAIN:
            return 0
        return sum(is_channel(name) and name not in main for name in self.store.folders())

    def capgo_answers(self, trusted: TrustedManifest) -> dict[str, stock.Response]:
        """Return `capgo*.json` by name; none without a `base_url`.

        A file for one platform, once written, is kept up to date: nobody can take it back from
        the devices that were built to ask for it.
        """
        if self.settings.base_url is None:
            return {}
        channel = trusted.manifest.channel
        lists = partial(usable_file_list, self.store)
        answers = stock.responses(trusted, self.settings.base_url, lists)
        for platform in stock.PLATFORMS:
            if platform not in answers and self.store.size(capgo_name(channel, platform)):
                answers[platform] = answers[None]
        return {capgo_name(channel, platform): answer for platform, answer in answers.items()}

    def _ahead(self, head: Head | None, channel: str, mark: int) -> Tip:
        """Walk to the end of history, past a commit whose publisher was interrupted."""
        following = head.manifest.sequence + 1 if head else 1
        while True:
            later = self._committed(channel, following)
            if later is None and following <= mark:
                # Signed here once, then lost with a backup: never again. The last of them may be
                # there all the same: committed after the backup, and killed before it was shown.
                following = mark if following < mark else mark + 1
            elif later is None:
                return Tip(head, following)
            elif later.outdated:
                following += 1
            else:
                self._check_follows(later, head)
                head, following = later, following + 1

    def _check_not_stale(self, tip: Tip, channel: str, mark: int) -> None:
        """Refuse a server or a bucket that shows less than was signed here.

        A stale or hostile cache would have us sign anew what was withdrawn since, and what a
        bucket shows too late is there all the same. A folder is read as it is, so it is a backup
        that was put back; an empty bucket is a new place.
        """
        shown, where = tip.head.manifest.sequence if tip.head else 0, self.store.location
        bucket = where.startswith("s3://") and tip.head is not None
        if shown >= mark or not (bucket or where.startswith(("http://", "https://"))):
            return
        hint = "a cache may be behind: try again later, or publish into a copy of the site"
        if bucket:
            hint = (
                "try again later; if a backup was put back, go on from a copy:"
                f" `manifestgen site copy {where} copy && manifestgen refresh --site copy &&"
                f" manifestgen site copy copy {where}`"
            )
        raise VerificationError(
            f"{where} shows manifest {shown} of {channel}; {mark} was signed here",
            code="replay",
            hint=hint,
        )

    def _check_follows(self, later: Head, head: Head | None) -> None:
        if later.manifest.previous != (head.digest if head else None):
            manifest = later.manifest
            before = f"manifest {head.manifest.sequence}" if head else "an empty history"
            raise VerificationError(
                f"{history_name(manifest.channel, manifest.sequence)} does not follow {before}",
                code="history",
                hint="the site was mixed from two copies; restore one of them whole",
            )

    def _committed(self, channel: str, sequence: int) -> Head | None:
        stored = self.store.get(history_name(channel, sequence), limit=LIMITS.manifest_bytes)
        if stored is None:
            return None
        head = self._verified(stored.data, channel)
        if head.manifest.sequence != sequence:
            raise VerificationError(
                f"{history_name(channel, sequence)} holds manifest {head.manifest.sequence}",
                code="history",
            )
        return head

    def _check_in_history(self, head: Head, channel: str) -> None:
        name = history_name(channel, head.manifest.sequence)
        stored = self.store.get(name, limit=LIMITS.manifest_bytes)
        if stored is None or stored.data != head.data:
            raise VerificationError(
                f"{manifest_name(channel)} and {name} are not the same file",
                code="history",
                hint="run `manifestgen verify` and restore the site from a good copy",
            )
        for offer, release in zip(head.manifest.offers, head.trusted.releases, strict=True):
            if isinstance(release, Release):
                self._check_stored(offer.release, release)

    def _check_stored(self, offered: Envelope, release: Release) -> None:
        """Refuse a stored release that says something else than the one that is offered."""
        stored = self.release_envelope(release.version)
        if stored is None or stored.signed != offered.signed:
            raise VerificationError(
                f"{release_name(str(release.version))} is not the release that is offered",
                code="history",
                hint="run `manifestgen verify` and restore the site from a good copy",
            )

    def _verified(self, data: bytes, channel: str) -> Head:
        """Verify a manifest by the newest root, or by an earlier one of the chain."""
        name = manifest_name(channel)
        newest, *before = reversed(self.chain.keyrings)
        try:
            trusted, outdated = newest.manifest(data, channel), False
        except VerificationError as error:
            if error.code != "signature" or not _by_any(before, data, channel):
                raise _refused(name, error) from None
            trusted, outdated = newest.linked(data, sha256(data)), True
        self._check_releases(trusted, name)
        return Head(trusted, data, outdated)

    def _check_releases(self, trusted: TrustedManifest, name: str) -> None:
        """Refuse releases that no root of the chain vouches for; outdated ones can be re-signed."""
        for offer, release in zip(trusted.manifest.offers, trusted.releases, strict=True):
            if isinstance(release, VerificationError) and not self.once_trusted(offer.release):
                raise _refused(name, release)

    def vouched(self, head: Head) -> Iterator[Release]:
        """Give the releases of a manifest that a root of the chain vouches for, however old.

        History keeps the signatures of its day. Whoever offers one of these again takes it from
        `release`, which goes by the newest root.
        """
        for offer, release in zip(head.manifest.offers, head.trusted.releases, strict=True):
            if isinstance(release, Release):
                yield release
            elif once := self.once_trusted(offer.release):
                yield once

    def once_trusted(self, envelope: Envelope) -> Release | None:
        """Return a release that a root of the chain vouched for, however old; else `None`."""
        for keyring in reversed(self.chain.keyrings):
            with suppress(VerificationError):
                return keyring.release(envelope)
        return None

    def _explained(self, name: str, check: Callable[[], T]) -> T:
        """Run a check; its error names the file and says that nothing was added."""
        try:
            return check()
        except VerificationError as error:
            raise _refused(name, error) from None


def _by_any(keyrings: Sequence[Keyring], data: bytes, channel: str) -> bool:
    for keyring in keyrings:
        with suppress(VerificationError):
            keyring.manifest(data, channel)
            return True
    return False


def _refused(name: str, error: VerificationError) -> VerificationError:
    return VerificationError(
        f"{name} of the site does not verify: {error}",
        code=error.code,
        hint="nothing was changed; run `manifestgen verify`, and restore a good copy",
    )
