"""Publish again and again, with keys, root and the bundle held in memory.

The documents are those of `publish`, and so is the order: blobs, the release, history, the
manifest. What is left for when all is still is the page for people, and a bundle of more than
`AT_ONCE` bytes where there are patches to it: writing it takes longer than all the rest, and the
devices that follow do not ask for it. Whoever does can `wait_for` it. If the next save comes first,
it is never written.

History is kept in chapters. The first manifest of a chapter names no previous one, as after a
fresh start, and everything before it is deleted: so at most `CHAPTER` manifests are kept, and what
is there always verifies. Whatever a killed run left, the newest manifest that this site's own keys
signed counts; where it does not lie at the end of a whole chapter, a new one begins with it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from manifestgen import bundle
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest, Offer, Patch
from manifestgen.core.release import Payload, Release, TreeRef
from manifestgen.core.tree import Digest
from manifestgen.core.version import Version
from manifestgen.errors import VerificationError
from manifestgen.publish.commit import manifest_signers
from manifestgen.publish.offers import pairs, versions
from manifestgen.publish.patches import WORTH
from manifestgen.publish.publish import load_keys
from manifestgen.publish.site import Head, Site
from manifestgen.publish.trust import high_water, raise_high_water
from manifestgen.signers.interface import sign
from manifestgen.stores.names import (
    BLOBS,
    RELEASES,
    blob_name,
    history_name,
    history_prefix,
    history_sequence,
    manifest_name,
    release_name,
)
from manifestgen.watch.rolling import Rolled, Rolling
from manifestgen.watch.seal import Seal
from manifestgen.watch.shortcuts import Shortcuts
from manifestgen.watch.workshop import EXPIRES, Workshop

CHAPTER: Final = 20
"""Manifests that are kept at most."""
CHAPTER_BYTES: Final = 1024 * 1024 * 1024
"""Bytes of bundles after which a chapter ends all the same."""

AT_ONCE: Final = 1024 * 1024
"""Bytes of a bundle up to which it is there before the manifest that offers it."""

_LONGEST = 20.0  # seconds to wait for a bundle
_RESERVED = 40  # sequences; the walk back through history passes over 64 that are unused


@dataclass(frozen=True, slots=True)
class Printed:
    """What was published; `changed` and `removed` are paths, `bytes` what a device downloads.

    That is the patch from the build before, if there is one.
    """

    version: Version
    sequence: int
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    bytes: int
    seconds: float


def _never() -> bool:
    return False


def _nothing() -> None:
    return None


class Press:
    """Publishes the builds of one folder to a development site, in chapters of so many manifests.

    Opening one makes a site whole that a killed run left half-done. `hurry` is called, by another
    thread, when somebody waits for `tidy`.
    """

    def __init__(
        self,
        workshop: Workshop,
        *,
        now: datetime,
        chapter: int = CHAPTER,
        at_once: int = AT_ONCE,
        hurry: Callable[[], object] = _nothing,
    ) -> None:
        settings = workshop.settings
        self._workshop = workshop
        self._settings = settings
        self._chapter = chapter
        self._at_once = at_once
        self._hurry = hurry
        self._site = Site(workshop.store, workshop.chain, settings)
        self._keys = load_keys(settings, settings.release_uris(), _nobody)
        self._release_signers = self._keys.some(workshop.chain.keyring.root.release, "a release")
        self._manifest_signers = manifest_signers(self._site, settings.channel, self._keys)
        self._seal = Seal(settings)
        self._rolling = Rolling()
        self._shortcuts = Shortcuts()
        self._site.publish_roots()
        self._mark = high_water(settings, settings.channel)
        self._kept, self._bytes = 0, 0  # manifests and bytes of this chapter
        self._tidied = True
        self._condition = threading.Condition()
        self._awaited: Digest | None = None  # the bundle that is still to be written
        self._asked = False
        self._lost = False  # whether the bundle that is offered can no longer be
        self._head = self._newest()
        self._following = max(self._mark, self._head.manifest.sequence if self._head else 0) + 1
        self._open(now)

    @property
    def version(self) -> Version | None:
        """The version that is offered now."""
        return next(iter(versions(self._head)), None)

    @property
    def head(self) -> Head | None:
        """The manifest that devices see."""
        return self._head

    def publish(
        self, build: bundle.Build, *, now: datetime, thorough: bool = True
    ) -> Printed | None:
        """Publish a build; `None` if devices are offered just that already.

        Without `thorough`, files that say of themselves that they are as they were are believed.

        Raises:
            Error: a file changed while it was read, or something could not be written; what was
                published before still stands.
        """
        began = time.perf_counter()
        rolled = self._rolling.roll(build, thorough=thorough)
        self._seal.keep(rolled.same)
        self._shortcuts.note(rolled)
        if rolled.tree == self._offered():
            self._shortcuts.offered(rolled)
            return None
        release, patches = self._print(rolled, now)
        self._shortcuts.offered(rolled)
        changed = tuple([path for path in rolled.before if self._rolling.file(path)])
        return Printed(
            version=release.version,
            sequence=self._head.manifest.sequence if self._head else 0,
            changed=changed,
            removed=tuple([path for path in rolled.before if not self._rolling.file(path)]),
            bytes=patches[0].payload.size if patches else release.bundle.size,
            seconds=time.perf_counter() - began,
        )

    def refresh(self, now: datetime) -> None:
        """Sign the same offers again with new times."""
        if self._head is not None:
            self._commit(self._head.manifest.offers, now)

    def stale(self, now: datetime) -> bool:
        """Tell whether it is time to refresh."""
        return self._head is not None and self._head.manifest.expires - now < EXPIRES / 2

    def tidy(self, stop: Callable[[], bool] = _never) -> None:
        """Do what was left for when all is still, unless there is something better to do."""
        if self._awaited and not self._add_bundle(lambda: not self._asked and stop()):
            return
        if self._head is not None and not self._tidied:
            self._site.publish_head(self._head)
            self._tidied = True

    def wait_for(self, name: str) -> None:
        """Return once an object of the site is there, if it is still to be written."""
        if not name.startswith(BLOBS):
            return
        with self._condition:
            awaited = self._awaited
            if awaited is None or name != blob_name(awaited):
                return
            self._asked = True
            self._hurry()
            self._condition.wait_for(lambda: self._awaited != awaited, _LONGEST)

    def _offered(self) -> Digest | None:
        if self._lost:
            return None
        return next((release.tree.digest for _, release in pairs(self._head)), None)

    def _print(self, rolled: Rolled, now: datetime) -> tuple[Release, tuple[Patch, ...]]:
        if self._awaited and self._asked:
            self.tidy()
        version = self._workshop.version(self.version, self._following)
        self._lost = self._awaited is not None  # what it was made of is going to change
        with self._rolling.plain as plain:
            payload, wrapped = self._seal.bundle(plain)
        patches = tuple(self._add_patches(rolled, payload))
        self._await(payload.blob)
        if not patches or payload.size <= self._at_once:
            self._add_bundle(_never)
        release = Release(
            app=self._settings.app,
            version=version,
            issued=now,
            tree=TreeRef(rolled.tree, len(rolled.paths), rolled.size),
            scheme=self._settings.scheme,
            bundle=payload,
            capgo=wrapped,
        )
        envelope = sign(Envelope((), release.to_json()), Kind.RELEASE, self._release_signers)
        # A run that was killed may have left one of this version, which nobody was offered.
        self._workshop.store.delete(release_name(str(version)))
        self._workshop.store.create(release_name(str(version)), envelope.encode())
        self._commit((Offer(envelope, patches=patches),), now)
        self._lost = False
        return release, patches

    def _await(self, blob: Digest | None) -> None:
        with self._condition:
            self._awaited, self._asked = blob, False
            self._condition.notify_all()

    def _add_bundle(self, stop: Callable[[], bool]) -> bool:
        """Store the bundle that is awaited; `False` if it was to `stop` before the end."""
        store, blob = self._workshop.store, self._awaited
        if blob is None:
            return True
        with store.scratch() as scratch, self._rolling.plain as plain:
            path = scratch / "bundle.bin"
            if not self._seal.write(plain, path, stop):
                return False
            self._bytes += path.stat().st_size
            store.add(blob_name(blob), path)
        self._await(None)
        return True

    def _add_patches(self, rolled: Rolled, whole: Payload) -> Iterator[Patch]:
        for shortcut in self._shortcuts.make(rolled, self._rolling):
            payload, stored = self._seal.patch(shortcut.plain, shortcut.base)
            if payload.size < WORTH * whole.size:
                self._workshop.store.add(blob_name(payload.blob), stored)
                yield Patch(shortcut.base, payload)

    # --- manifests ----------------------------------------------------------------------------

    def _commit(self, offers: tuple[Offer, ...], now: datetime, *, fresh: bool = False) -> None:
        """Do as `publish.commit` does where nobody else may come between."""
        channel, keyring = self._settings.channel, self._workshop.chain.keyring
        before = self._head
        fresh = fresh or self._kept >= self._chapter or self._bytes > CHAPTER_BYTES
        issued = max(now, before.manifest.issued) if before else now
        manifest = Manifest(
            app=keyring.root.app,
            channel=channel,
            sequence=self._following,
            issued=issued,
            expires=issued + EXPIRES,
            root=keyring.root.number,
            previous=before.digest if before and not fresh else None,
            offers=offers,
        )
        data = sign(
            Envelope((), manifest.to_json()), Kind.MANIFEST, self._manifest_signers
        ).encode()
        head = Head(keyring.manifest(data, channel), data)
        self._remember(manifest.sequence)
        self._workshop.store.create(history_name(channel, manifest.sequence), data)  # the commit
        self._head, self._following = head, manifest.sequence + 1
        self._kept += 1
        self._show(head)  # devices see it from here on
        if fresh:
            self._clean()

    def _show(self, head: Head) -> None:
        store, name = self._workshop.store, manifest_name(self._settings.channel)
        there = store.get(name)
        if there is None or there.data != head.data:
            store.replace(name, head.data, tag=there.tag if there else None)
            self._tidied = False

    def _remember(self, sequence: int) -> None:
        """Remember that a sequence is used up; many at once, because remembering is durable."""
        if sequence > self._mark:
            self._mark = sequence + _RESERVED
            raise_high_water(self._settings, self._settings.channel, self._mark)

    # --- chapters -----------------------------------------------------------------------------

    def _open(self, now: datetime) -> None:
        """Take up the site where the last run left it, if in the middle of whatever."""
        whole = self._clean()
        if self._head is None:
            return
        if not whole:
            self._commit(self._sound_offers(self._head), now, fresh=True)
        else:
            self._show(self._head)
            if self.stale(now):
                self.refresh(now)
        self._tidied = False
        self.tidy()

    def _newest(self) -> Head | None:
        """Return the newest manifest that this site's own keys signed."""
        channel, keyring = self._settings.channel, self._workshop.chain.keyring
        found = []
        for name in (manifest_name(channel), *self._history()):
            stored = self._workshop.store.get(name, limit=LIMITS.manifest_bytes)
            with suppress(VerificationError):  # half-written before a power cut, or another site's
                if stored:
                    found.append(Head(keyring.manifest(stored.data, channel), stored.data))
        return max(found, key=lambda head: head.manifest.sequence, default=None)

    def _sound_offers(self, head: Head) -> tuple[Offer, ...]:
        """Return the offers of a manifest of which all that they need is there."""
        return tuple([offer for offer, release in pairs(head) if self._is_there(offer, release)])

    def _is_there(self, offer: Offer, release: Release) -> bool:
        store = self._workshop.store
        stored = store.get(release_name(str(release.version)))
        payloads = (release.bundle, *(patch.payload for patch in offer.patches))
        sizes = all(store.size(blob_name(one.blob)) == one.size for one in payloads)
        return sizes and stored is not None and stored.data == offer.release.encode()

    def _history(self) -> Iterator[str]:
        for entry in self._workshop.store.names(history_prefix(self._settings.channel)):
            if history_sequence(entry.name) is not None:
                yield entry.name

    def _clean(self) -> bool:
        """Delete what lies before the chapter; `False` if the chapter is not whole itself."""
        needed: set[str] = set()
        whole, self._kept, self._bytes, last = True, 0, 0, self._head
        with suppress(VerificationError):
            for one in self._site.earlier(self._head):
                last = one
                name = history_name(self._settings.channel, one.manifest.sequence)
                needed.add(name)
                whole = whole and self._workshop.store.size(name) == len(one.data)
                self._kept += 1
                for offer, release in pairs(one):
                    self._bytes += release.bundle.size
                    needed.add(release_name(str(release.version)))
                    needed.add(blob_name(release.bundle.blob))
                    needed |= {blob_name(patch.payload.blob) for patch in offer.patches}
        self._delete_others(needed)
        if last is None or self._head is None:
            return True
        offers = self._head.manifest.offers
        return whole and last.manifest.previous is None and self._sound_offers(self._head) == offers

    def _delete_others(self, needed: set[str]) -> None:
        store = self._workshop.store
        there = [*self._history()]
        there += [one.name for prefix in (RELEASES, BLOBS) for one in store.names(prefix)]
        for name in there:
            if name not in needed:
                store.delete(name)


def _nobody(_name: str) -> None:
    return None
