"""Patches: each one that is offered makes, of its base, the tree that its release signed.

Tried are those whose base is still in the site and can be decrypted, like a device would: the base
is unpacked, into one temporary file, and what the patch makes of it is digested, not written.
"""

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen.bundle.fetch import fetch
from manifestgen.bundle.patched import Flat, patched_tree
from manifestgen.core import capgo, cipher
from manifestgen.core.cipher import ContentKey
from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.manifest import Patch
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest
from manifestgen.errors import VerificationError
from manifestgen.stores.interface import Store
from manifestgen.stores.names import blob_name
from manifestgen.stores.scratch import scratch_explained


@dataclass(frozen=True, slots=True)
class Tried:
    """A patch that does not do what it is offered for."""

    where: str
    error: VerificationError


def try_patches(
    store: Store,
    heads: Iterable[TrustedManifest],
    bases: Mapping[Digest, Release],
    public: RSAPublicKey | None,
    *,
    damaged: Collection[str] = (),
) -> Iterator[Tried]:
    """Apply every patch that is offered now; those in `damaged` blobs are known to be bad.

    `bases` are the releases of the site by their trees.

    Raises:
        Error: a temporary file cannot be written.
    """
    done: set[tuple[Patch, Digest]] = set()
    for patch, release in _offered(heads):
        base, where = bases.get(patch.base), blob_name(patch.payload.blob)
        if base is None or (patch, release.tree.digest) in done or where in damaged:
            continue
        done.add((patch, release.tree.digest))
        bundles = {blob_name(one.bundle.blob) for one in (base, release)}
        if not bundles.isdisjoint(damaged) or not _opens(public, base, release):
            continue
        try:
            with scratch_explained():
                _try(store, patch, base, release, public)
        except VerificationError as error:
            what = f"the patch from {base.version} to {release.version}: {error}"
            yield Tried(where, VerificationError(what, code=error.code))


def _offered(heads: Iterable[TrustedManifest]) -> Iterator[tuple[Patch, Release]]:
    for trusted in heads:
        for offer, release in zip(trusted.manifest.offers, trusted.releases, strict=True):
            if isinstance(release, Release):
                for patch in offer.patches:
                    yield patch, release


def _opens(public: RSAPublicKey | None, *releases: Release) -> bool:
    keys = {release.capgo.key_id for release in releases if release.capgo}
    return not keys or (public is not None and keys == {capgo.key_id(public)})


def _try(
    store: Store, patch: Patch, base: Release, release: Release, public: RSAPublicKey | None
) -> None:
    whole = _key(release, public)
    key = whole and cipher.payload_key(whole, kind="patch", base=patch.base)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        packed, plain = scratch / "base.zip", scratch / "patch"
        if not fetch(store, base.bundle, _key(base, public), packed):
            return  # pruned
        if not fetch(store, patch.payload, key, plain):
            return  # told with the blobs
        wanted, held = release.tree, scratch / "base"
        with packed.open("rb") as zipped, held.open("w+b") as contents, plain.open("rb") as file:
            before = Flat(zipped, contents, limit=base.tree.size)
            after = patched_tree(file, before, target=wanted.digest, limit=wanted.size)
    if after.digest() != wanted.digest:
        raise VerificationError("makes other files than were signed", code="tree")


def _key(release: Release, public: RSAPublicKey | None) -> ContentKey | None:
    return capgo.unwrap(public, release.capgo) if release.capgo and public else None
