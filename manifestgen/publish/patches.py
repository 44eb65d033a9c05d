"""Patches for an offer: found where one was made before, made from earlier bundles otherwise.

A patch is a saving and nothing more, so whatever stands in the way of one becomes a note, and the
publish goes on. Bases are read from the site's own bundles, as devices have them, and compared
with the tree that was signed before anything is made of them.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen import bundle
from manifestgen.bundle.fetch import fetch
from manifestgen.core import capgo, cipher
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Patch
from manifestgen.core.release import Payload, Release
from manifestgen.core.tree import Digest, Tree, sha256
from manifestgen.core.version import Version
from manifestgen.errors import Error, VerificationError
from manifestgen.publish.offers import pairs
from manifestgen.publish.site import LOOK_BACK, Head, Site
from manifestgen.stores import Store
from manifestgen.stores.names import blob_name

WORTH: Final = 0.7
"""The share of the bundle from which on a patch is not worth having."""

_WORKERS: Final = 2  # what memory allows: each holds a group of both sides, see `core.diff`


@dataclass(frozen=True, slots=True)
class Made:
    """A patch from an earlier version; `seconds` is how long making it took, if it was made."""

    version: Version
    patch: Patch
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Patched:
    """The patches of an offer, the newest base first, and why others are missing."""

    patches: tuple[Made, ...] = ()
    notes: tuple[str, ...] = ()

    def payloads(self) -> tuple[Patch, ...]:
        """Return the patches as an offer lists them."""
        return tuple(made.patch for made in self.patches)


def patches_for(
    site: Site,
    head: Head | None,
    release: Release,
    *,
    public: RSAPublicKey | None,
    tree: Tree | None = None,
) -> Patched:
    """Return patches to a release from what the devices of a channel may run; new ones are stored.

    `head` is the channel's newest manifest, `public` the key that bundles are opened with, `tree`
    the release's, if it is at hand. The bundle must be in the store.
    """
    bases = _bases(site, head, release)
    if not bases:
        return Patched()
    known = _known(site, release)
    missing = [base for base in bases if base.tree.digest not in known]
    results = list(_made(site.store, release, missing, public, tree)) if missing else []
    made = {one.patch.base: one for one in results if isinstance(one, Made)}
    found = (
        made.get(base.tree.digest) or _found(base, known.get(base.tree.digest)) for base in bases
    )
    return Patched(
        tuple(one for one in found if one), tuple(one for one in results if isinstance(one, str))
    )


def _bases(site: Site, head: Head | None, release: Release) -> list[Release]:
    """Return the last releases of a channel, and those that it still offers, one for each tree."""
    count = site.settings.patches
    if not count:
        return []
    offered = [one for _, one in pairs(head)]
    by_tree: dict[Digest, Release] = {}
    for one in (*site.recent_releases(head, count), *offered):
        if one.tree.digest != release.tree.digest:
            by_tree.setdefault(one.tree.digest, one)
    ordered = sorted(by_tree.values(), key=lambda one: one.version, reverse=True)
    return ordered[: LIMITS.patches]


def _found(base: Release, patch: Patch | None) -> Made | None:
    return Made(base.version, patch) if patch else None


# --- found ------------------------------------------------------------------------------------


def _known(site: Site, release: Release) -> dict[Digest, Patch]:
    """Return the patches to a release that a main channel lists and the store has."""
    known: dict[Digest, Patch] = {}
    for head in _manifests(site, release):
        for offer in head.manifest.offers:
            once = site.once_trusted(offer.release) if offer.patches else None
            if once and _same_payloads(once, release):
                for patch in offer.patches:
                    known.setdefault(patch.base, patch)
    size = site.store.size
    return {
        base: patch
        for base, patch in known.items()
        if size(blob_name(patch.payload.blob)) == patch.payload.size
    }


def _manifests(site: Site, release: Release) -> Iterator[Head]:
    """Give the newest manifest of the main channels, and history where the release may be in it.

    A patch that is listed in none of them is made anew, the same.
    """
    past = LOOK_BACK if site.release_envelope(release.version) else 1
    for channel in site.main_channels():
        yield from islice(site.earlier(site.shown(channel)), past)


def _same_payloads(one: Release, other: Release) -> bool:
    """Tell whether patches to one release serve for another: same tree, same key."""
    if one.tree.digest != other.tree.digest or one.scheme is not other.scheme:
        return False
    if one.capgo is None or other.capgo is None:
        return True
    return (one.capgo.session_key, one.capgo.iv) == (other.capgo.session_key, other.capgo.iv)


# --- made -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Workshop:
    """What making patches to one release needs."""

    store: Store
    release: Release
    public: RSAPublicKey | None
    scratch: Path
    target: bundle.Contents
    tree: Tree
    pool: ThreadPoolExecutor

    def make(self, base: Release) -> Made | str:
        """Make and store the patch from one base, or say why there is none."""
        from manifestgen.core import diff  # most commands that get here make no patch

        began = time.perf_counter()
        try:
            opened = _open(self.store, base, self.public, self.scratch)
            if opened is None:
                return f"no patch from {base.version}: its bundle is no longer in the site"
            there = _checked(opened, base)
            plain = diff.make(there, opened.read, self.tree, self.target.read, each=self.pool.map)
            patch, stored = self._sealed(plain, base.tree.digest)
            if patch.payload.size >= WORTH * self.release.bundle.size:
                return f"no patch from {base.version}: it would be nearly as large as the bundle"
            self.store.add(blob_name(patch.payload.blob), stored)
        except (Error, OSError) as error:
            return f"no patch from {base.version}: {error}"
        return Made(base.version, patch, round(time.perf_counter() - began, 3))

    def _sealed(self, plain: bytes, base: Digest) -> tuple[Patch, bytes]:
        stored = plain
        if self.release.capgo and self.public:
            whole = capgo.unwrap(self.public, self.release.capgo)
            key = cipher.payload_key(whole, kind="patch", base=base)
            stored = b"".join(cipher.encrypt([plain], key))
        payload = Payload(sha256(stored), len(stored), sha256(plain), len(plain))
        return Patch(base, payload), stored


def _made(
    store: Store,
    release: Release,
    bases: Sequence[Release],
    public: RSAPublicKey | None,
    tree: Tree | None,
) -> Iterable[Made | str]:
    """Make patches, two at a time; where one has much to compare, its parts take turns."""
    try:
        with store.scratch() as scratch, _pools() as (pool, parts):
            target = _open(store, release, public, scratch)
            if target is None:
                return [f"no patches: the bundle of {release.version} is not in the site"]
            whole = tree or _checked(target, release)
            workshop = _Workshop(store, release, public, scratch, target, whole, parts)
            return list(pool.map(workshop.make, bases))
    except (Error, OSError) as error:
        return [f"no patches: {error}"]


@contextmanager
def _pools() -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    pools = ThreadPoolExecutor(_WORKERS, "patch"), ThreadPoolExecutor(_WORKERS, "diff")
    try:
        yield pools
    finally:
        # After an error or an interruption what is in the queues is not begun: the parts first,
        # for which the patch that is under way would wait.
        for pool in reversed(pools):
            pool.shutdown(cancel_futures=True)


def _open(
    store: Store, release: Release, public: RSAPublicKey | None, scratch: Path
) -> bundle.Contents | None:
    """Decrypt a release's bundle into scratch, if it is in the store and is what was signed."""
    key = None
    if release.capgo:
        if public is None or capgo.key_id(public) != release.capgo.key_id:
            raise VerificationError(f"{release.version} is encrypted for another Capgo key")
        key = capgo.unwrap(public, release.capgo)
    path = scratch / f"{release.bundle.blob}.zip"
    if not fetch(store, release.bundle, key, path):
        return None
    return bundle.Contents(path, limit=release.tree.size)


def _checked(opened: bundle.Contents, release: Release) -> Tree:
    tree = opened.tree()
    if tree.digest() != release.tree.digest:
        raise VerificationError(
            f"the bundle of {release.version} holds other files than were signed", code="tree"
        )
    return tree
