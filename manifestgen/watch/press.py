"""Publish again and again, with keys, root and packed files held in memory.

The steps and the documents are those of `publish`; what is left out is what a publisher does for
bases it cannot know: patches.

History is kept in chapters. The first manifest of a chapter names no previous one, as after a
fresh start, and everything before it is deleted: so at most `CHAPTER` manifests are kept, and what
is there always verifies.
"""

import hashlib
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from manifestgen import bundle
from manifestgen.config import Settings
from manifestgen.core import capgo, cipher
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.manifest import Manifest, Offer
from manifestgen.core.release import AES_BLOCK, Payload, Release, Scheme, TreeRef, Wrapped
from manifestgen.core.tree import Digest, Tree
from manifestgen.core.version import Version
from manifestgen.errors import VerificationError
from manifestgen.publish.commit import manifest_signers
from manifestgen.publish.offers import versions
from manifestgen.publish.publish import load_keys
from manifestgen.publish.site import Head, Site, Tip
from manifestgen.publish.trust import high_water, raise_high_water
from manifestgen.signers import load_content_secret, load_wrapper
from manifestgen.signers.interface import sign
from manifestgen.stores.names import (
    BLOBS,
    RELEASES,
    blob_name,
    history_name,
    history_prefix,
    history_sequence,
    release_name,
)
from manifestgen.watch.workshop import EXPIRES, Workshop

CHAPTER: Final = 20
"""Manifests that are kept at most."""
CHAPTER_BYTES: Final = 1024 * 1024 * 1024
"""Bytes of bundles after which a chapter ends all the same."""


_PIECE = 16 * 1024  # bytes; from 64 KB on, Linux may spend 5 times as long on pages for a new file
_RESERVED = 40  # sequences; the walk back through history passes over 64 that are unused


@dataclass(frozen=True, slots=True)
class Printed:
    """What was published; `changed` and `removed` are paths, `bytes` what a device downloads."""

    version: Version
    sequence: int
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    bytes: int
    seconds: float


class Press:
    """Publishes the builds of one folder to a development site."""

    def __init__(self, workshop: Workshop, *, now: datetime) -> None:
        settings = workshop.settings
        self._workshop = workshop
        self._settings = settings
        self._site = Site(workshop.store, workshop.chain, settings)
        self._keys = load_keys(settings, settings.release_uris(), _nobody)
        self._signers = self._keys.some(workshop.chain.keyring.root.release, "a release")
        self._seal = _Seal(workshop)
        self._packer = bundle.Packer()
        self._zip = io.BytesIO()
        self._site.publish_roots()
        self._mark = high_water(settings, settings.channel)
        tip = _tip(self._site, settings, self._mark)
        self._head, self._following = tip.head, tip.following
        self._tree: Tree | None = None
        self._clean()
        if self.stale(now):
            self.refresh(now)

    @property
    def version(self) -> Version | None:
        """The version that is offered now."""
        return next(iter(versions(self._head)), None)

    @property
    def head(self) -> Head | None:
        """The manifest that devices see."""
        return self._head

    def publish(self, build: bundle.Build, *, now: datetime) -> Printed | None:
        """Publish a build; `None` if devices are offered just that already.

        Raises:
            Error: a file changed while it was read, or something could not be written; what was
                published before still stands.
        """
        began = time.perf_counter()
        self._zip.seek(0)
        packed = self._packer.pack(build, self._zip)
        before, self._tree = self._tree, packed.tree
        tree = packed.tree.digest()
        if tree == self._offered():
            return None
        release = self._print(packed, tree, now)
        changed, removed = _differences(before, packed.tree)
        return Printed(
            version=release.version,
            sequence=self._head.manifest.sequence if self._head else 0,
            changed=changed,
            removed=removed,
            bytes=release.bundle.size,
            seconds=time.perf_counter() - began,
        )

    def refresh(self, now: datetime) -> None:
        """Sign the same offers again with new times."""
        if self._head is not None:
            self._commit(self._head.manifest.offers, now)

    def stale(self, now: datetime) -> bool:
        """Tell whether it is time to refresh."""
        return self._head is not None and self._head.manifest.expires - now < EXPIRES / 2

    def _offered(self) -> Digest | None:
        if self._head is None or not self._head.manifest.offers:
            return None
        release = self._head.trusted.releases[0]
        return release.tree.digest if isinstance(release, Release) else None

    def _print(self, packed: bundle.Packed, tree: Digest, now: datetime) -> Release:
        store, version = self._workshop.store, self._workshop.version(self.version)
        with store.scratch() as scratch:
            path = scratch / "bundle.bin"
            with self._zip.getbuffer() as plain:
                payload, wrapped = self._seal(packed, tree, plain[: packed.size], path)
            store.add(blob_name(payload.blob), path)
        release = Release(
            app=self._settings.app,
            version=version,
            issued=now,
            tree=TreeRef(tree, len(packed.tree.files), packed.tree.size),
            scheme=self._settings.scheme,
            bundle=payload,
            capgo=wrapped,
        )
        envelope = sign(Envelope((), release.to_json()), Kind.RELEASE, self._signers)
        # A run that was killed may have left one of this version, which nobody was offered.
        store.delete(release_name(str(version)))
        store.create(release_name(str(version)), envelope.encode())
        self._commit((Offer(envelope),), now)
        return release

    def _commit(self, offers: tuple[Offer, ...], now: datetime) -> None:
        """Do as `publish.commit` does where nobody else may come between."""
        channel, keyring = self._settings.channel, self._workshop.chain.keyring
        before, fresh = self._head, self._chapter_is_full()
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
        signers = manifest_signers(self._site, channel, self._keys)
        data = sign(Envelope((), manifest.to_json()), Kind.MANIFEST, signers).encode()
        head = Head(keyring.manifest(data, channel), data)
        self._remember(manifest.sequence)
        self._workshop.store.create(history_name(channel, manifest.sequence), data)  # the commit
        self._head, self._following = head, manifest.sequence + 1
        self._site.publish_head(head)  # devices see it from here on
        if fresh:
            self._clean()

    def _remember(self, sequence: int) -> None:
        """Remember that a sequence is used up; many at once, because remembering is durable."""
        if sequence > self._mark:
            self._mark = sequence + _RESERVED
            raise_high_water(self._settings, self._settings.channel, self._mark)

    def _history(self) -> Iterator[str]:
        for entry in self._workshop.store.names(history_prefix(self._settings.channel)):
            if history_sequence(entry.name) is not None:
                yield entry.name

    def _chapter_is_full(self) -> bool:
        if len(list(self._history())) >= CHAPTER:
            return True
        return sum(one.size for one in self._workshop.store.names(BLOBS)) > CHAPTER_BYTES

    def _clean(self) -> None:
        """Delete what lies before the chapter, and whatever a killed run left behind."""
        needed: set[str] = set()
        for one in self._site.earlier(self._head):
            needed.add(history_name(self._settings.channel, one.manifest.sequence))
            for release in self._site.vouched(one):
                needed.add(release_name(str(release.version)))
                needed.add(blob_name(release.bundle.blob))
        store = self._workshop.store
        there = [*self._history()]
        there += [one.name for prefix in (RELEASES, BLOBS) for one in store.names(prefix)]
        for name in there:
            if name not in needed:
                store.delete(name)


class _Seal:
    """Encrypts packed bundles, and says what releases say of them."""

    def __init__(self, workshop: Workshop) -> None:
        settings = workshop.settings
        self._settings = settings
        self._wrapper: capgo.Wrapper | None = None
        self._secret = b""
        self._buffer = bytearray()
        self._pool = ThreadPoolExecutor(2, "seal")
        if settings.scheme is Scheme.CAPGO:
            folder = settings.folder
            self._wrapper = load_wrapper(settings.capgo_key, folder=folder, ask=_nobody)
            self._secret = load_content_secret(settings.content_key, folder=folder)

    def __call__(
        self, packed: bundle.Packed, tree: Digest, plain: memoryview, path: Path
    ) -> tuple[Payload, Wrapped | None]:
        """Write a bundle as it is stored, and return what a release says of it."""
        payload = Payload(packed.sha256, packed.size, packed.sha256, packed.size)
        if self._wrapper is None:
            path.write_bytes(plain)
            return payload, None
        key = cipher.bundle_key(
            self._secret,
            scheme=self._settings.scheme,
            app=self._settings.app,
            packer=packed.packer,
            tree=tree,
        )
        # RSA takes as long as encrypting megabytes, and neither holds the interpreter.
        wrapping = self._pool.submit(
            capgo.wrap, self._wrapper, key, packed.sha256, self._settings.checksum
        )
        blob, size = self._encrypt(plain, key, path)
        return replace(payload, blob=blob, size=size), wrapping.result()

    def _encrypt(self, plain: memoryview, key: cipher.ContentKey, path: Path) -> tuple[Digest, int]:
        """Encrypt into the buffer of last time: new memory costs more than AES does."""
        if len(self._buffer) < len(plain) + 2 * AES_BLOCK:
            self._buffer = bytearray(len(plain) * 9 // 8 + 2 * AES_BLOCK)
        size = cipher.encrypt_into(plain, key, self._buffer)
        with memoryview(self._buffer)[:size] as stored, path.open("wb", buffering=_PIECE) as file:
            digest = self._pool.submit(hashlib.sha256, stored)
            for at in range(0, size, _PIECE):
                file.write(stored[at : at + _PIECE])
            return Digest(digest.result().hexdigest()), size


def _tip(site: Site, settings: Settings, mark: int) -> Tip:
    try:
        return site.tip(settings.channel, mark=mark)
    except VerificationError as error:
        folder = settings.folder / settings.site
        raise VerificationError(
            f"the development site is damaged: {error}",
            code=error.code,
            hint=f"delete {folder}; it is made again",
        ) from None


def _differences(before: Tree | None, after: Tree) -> tuple[tuple[str, ...], tuple[str, ...]]:
    old = {file.path: file.sha256 for file in before.files} if before else {}
    new = {file.path: file.sha256 for file in after.files}
    changed = tuple(path for path, digest in new.items() if old.get(path) != digest)
    return changed, tuple(path for path in old if path not in new)


def _nobody(_name: str) -> None:
    return None
