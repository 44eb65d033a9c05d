"""A site as its publisher sees it: verified before anything is added to it.

What a killed command left half-done is finished here first: whoever finds history ahead of
`manifest.json` verifies it and completes the commit.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from manifestgen import pages
from manifestgen.config import Settings
from manifestgen.core import stock
from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import TrustedManifest, usable
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest, sha256
from manifestgen.core.version import Version
from manifestgen.errors import ConflictError, VerificationError
from manifestgen.publish.trust import RootChain
from manifestgen.stores import Store
from manifestgen.stores.names import (
    INDEX,
    ROOT,
    capgo_name,
    history_name,
    manifest_name,
    release_name,
    root_name,
)

_LOOK_BACK = 200  # manifests of history read for earlier releases: refreshes lie between them
_TRIES = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Head:
    """The newest committed manifest of a channel, and the file it is."""

    trusted: TrustedManifest
    data: bytes

    @property
    def manifest(self) -> Manifest:
        """The manifest itself."""
        return self.trusted.manifest

    @property
    def digest(self) -> Digest:
        """What the next manifest's `previous` says."""
        return sha256(self.data)


@dataclass(frozen=True, slots=True)
class Site:
    """A store, and the root chain by which it is judged."""

    store: Store
    chain: RootChain
    settings: Settings

    def head(self, channel: str, *, probe: int = 0) -> Head | None:
        """Return the newest manifest of a channel, `None` if there is none yet.

        `probe` is a sequence that may have been committed with a gap before it.

        Raises:
            VerificationError: what is there is not this project's; it must not be extended.
        """
        stored = self.store.get(manifest_name(channel), limit=LIMITS.manifest_bytes)
        head = self._verified(stored.data, channel) if stored else None
        if head:
            self._check_in_history(head, channel)
        newest = self._ahead(head, channel, probe)
        if newest and newest is not head:
            self.publish_head(newest)
        return newest

    def release(self, version: Version) -> tuple[Envelope, Release] | None:
        """Return a release of this site, verified, or `None` if there is none."""
        name = release_name(str(version))
        stored = self.store.get(name, limit=LIMITS.release_bytes)
        if stored is None:
            return None
        envelope = self._explained(
            name, lambda: Envelope.decode(stored.data, limit=len(stored.data))
        )
        return envelope, self._explained(name, lambda: self.chain.keyring.release(envelope))

    def earlier(self, head: Head | None) -> Iterator[Head]:
        """Walk a channel's history backwards, `head` first, as far as it is linked."""
        for _ in range(_LOOK_BACK):
            if head is None:
                return
            yield head
            manifest = head.manifest
            if manifest.previous is None:
                return
            name = history_name(manifest.channel, manifest.sequence - 1)
            stored = self.store.get(name, limit=LIMITS.manifest_bytes)
            if stored is None or sha256(stored.data) != manifest.previous:
                return
            head = Head(self.chain.keyring.linked(stored.data, manifest.previous), stored.data)

    def recent_releases(self, head: Head | None, count: int) -> list[Release]:
        """Return the last `count` releases a channel offered, the newest first."""
        found: dict[Version, Release] = {}
        for one in self.earlier(head):
            for release in usable(one.trusted):
                found.setdefault(release.version, release)
            if len(found) >= count:
                break
        return sorted(found.values(), key=lambda release: release.version, reverse=True)[:count]

    def publish_roots(self) -> None:
        """Bring the site's copy of the root chain up to date; a different one is refused."""
        for number, document in enumerate(self.chain.documents, 1):
            stored = self.store.get(root_name(number), limit=LIMITS.root_bytes)
            if stored is None:
                self.store.create(root_name(number), document)
            elif stored.data != document:
                raise VerificationError(
                    f"{root_name(number)} of the site is not this project's root",
                    code="root",
                    hint="is this another project's site? Check `site` in manifestgen.toml",
                )
        self._put(ROOT, self.chain.newest)

    def publish_head(self, head: Head) -> None:
        """Make a committed manifest the one devices see, then render what follows from it."""
        name = manifest_name(head.manifest.channel)
        for _ in range(_TRIES):
            stored = self.store.get(name, limit=LIMITS.manifest_bytes)
            if stored and stored.data != head.data:
                there = self._verified(stored.data, head.manifest.channel)
                if there.manifest.sequence >= head.manifest.sequence:
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
        channel = head.manifest.channel
        for name, answer in self.capgo_answers(head.trusted).items():
            self._put(name, json.dumps(answer, indent=1, sort_keys=True).encode() + b"\n")
        manifests = [head.trusted]
        for other in self._other_channels(channel):
            stored = self.store.get(manifest_name(other), limit=LIMITS.manifest_bytes)
            if stored:
                manifests.append(self._verified(stored.data, other).trusted)
        manifests.sort(key=lambda trusted: trusted.manifest.channel)
        self._put(INDEX, pages.index(self.chain.keyring.root, manifests).encode())

    def capgo_answers(self, trusted: TrustedManifest) -> dict[str, stock.Response]:
        """Return `capgo*.json` by name; none without a `base_url`.

        A file for one platform, once written, is kept up to date: nobody can take it back from
        the devices that were built to ask for it.
        """
        if self.settings.base_url is None:
            return {}
        channel = trusted.manifest.channel
        answers = stock.responses(trusted, self.settings.base_url)
        for platform in stock.PLATFORMS:
            if platform not in answers and self.store.size(capgo_name(channel, platform)):
                answers[platform] = answers[None]
        return {capgo_name(channel, platform): answer for platform, answer in answers.items()}

    def _other_channels(self, channel: str) -> list[str]:
        named = {name for entry in self.chain.keyring.root.manifest for name in entry.channels}
        known = named | set(self.settings.channels) | {self.settings.channel}
        return sorted(known - {"*", channel})

    def _ahead(self, head: Head | None, channel: str, probe: int) -> Head | None:
        while True:
            sequence = head.manifest.sequence if head else 0
            later = self._committed(channel, sequence + 1) or (
                self._committed(channel, probe) if probe > sequence + 1 else None
            )
            if later is None:
                return head
            if later.manifest.previous != (head.digest if head else None):
                raise VerificationError(
                    f"{history_name(channel, later.manifest.sequence)} does not follow"
                    f" manifest {sequence}",
                    code="history",
                    hint="the site was mixed from two copies; restore one of them whole",
                )
            head = later

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

    def _verified(self, data: bytes, channel: str) -> Head:
        name = manifest_name(channel)
        trusted = self._explained(name, lambda: self.chain.keyring.manifest(data, channel))
        for release in trusted.releases:
            if isinstance(release, VerificationError):
                raise VerificationError(f"{name}: {release}", code=release.code, hint=release.hint)
        return Head(trusted, data)

    def _explained(self, name: str, check: Callable[[], T]) -> T:
        """Run a check; its error names the file and says that nothing was added."""
        try:
            return check()
        except VerificationError as error:
            raise VerificationError(
                f"{name} of the site does not verify: {error}",
                code=error.code,
                hint="nothing was changed; run `manifestgen verify`, and restore a good copy",
            ) from None

    def _put(self, name: str, data: bytes) -> None:
        """Write a mutable file that follows from others, unless it is right already."""
        for _ in range(_TRIES):
            stored = self.store.get(name)
            if stored and stored.data == data:
                return
            try:
                self.store.replace(name, data, tag=stored.tag if stored else None)
            except ConflictError:
                continue
            return
        raise ConflictError(f"{name} keeps changing", hint="run the same command again")
