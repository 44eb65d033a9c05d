"""From a build folder, or a zip that Capgo's CLI encrypted, to a signed release and its blob."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen import bundle
from manifestgen.bundle.chunks import chunks_of
from manifestgen.core import capgo, cipher
from manifestgen.core.archive import tree_of
from manifestgen.core.audience import EVERYONE, Audience
from manifestgen.core.cipher import ContentKey
from manifestgen.core.files import why_not
from manifestgen.core.release import V3, Payload, Release, Scheme, TreeRef, Wrapped
from manifestgen.core.tree import Digest, Tree
from manifestgen.core.version import Version
from manifestgen.errors import Error
from manifestgen.publish.files import Listed, Wrapping, list_files, write
from manifestgen.stores import Store
from manifestgen.stores.names import blob_name


@dataclass(frozen=True, slots=True)
class Terms:
    """What a publisher says of a release beside its bytes."""

    version: Version
    audience: Audience = EVERYONE
    floor: Version | None = None
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Sealing:
    """How payloads are encrypted; all but scheme and app are there for `capgo` alone.

    `opener` stands for the wrapper where somebody else has wrapped the key. With `delta`, builds
    get a list of single files where that pays, and then one key serves all of the app.
    """

    scheme: Scheme
    app: str
    form: str = V3
    secret: bytes = b""
    wrapper: capgo.Wrapper | None = None
    opener: RSAPublicKey | None = None
    delta: bool = False

    @property
    def public(self) -> RSAPublicKey | None:
        """The key that opens what was sealed."""
        return self.wrapper.public if self.wrapper else self.opener

    def __repr__(self) -> str:
        return f"Sealing({self.scheme})"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle ready to be stored: the file in scratch, and what a release says of it.

    `digest` is the tree's, which takes 10 ms to find where the files are thousands.
    `listed` are its single files, or `unlisted` says why there are none where they were asked for.
    """

    path: Path
    tree: Tree
    digest: Digest
    payload: Payload
    wrapped: Wrapped | None
    listed: Listed | None = None
    unlisted: str | None = None

    def release(self, terms: Terms, sealing: Sealing, issued: datetime) -> Release:
        """Return the statement to sign."""
        return Release(
            app=sealing.app,
            version=terms.version,
            issued=issued,
            tree=TreeRef(self.digest, len(self.tree.files), self.tree.size),
            scheme=sealing.scheme,
            bundle=self.payload,
            capgo=self.wrapped,
            audience=terms.audience,
            floor=terms.floor,
            notes=terms.notes,
            files=self.listed.payload if self.listed else None,
        )

    def add_to(self, store: Store) -> bool:
        """Store the blob; `False` if it was there."""
        return store.add(blob_name(self.payload.blob), self.path)

    def add_files_to(self, store: Store, release: Release) -> int:
        """Store the single files that a release lists; return how many were not there."""
        if self.listed is None or release.files != self.listed.payload:
            return 0
        return self.listed.add_to(store)


@contextmanager
def sealed_build(
    store: Store,
    build: bundle.Build,
    sealing: Sealing,
    progress: Callable[[int], None] | None,
    *,
    cache: bundle.Cache,
    keep: bool = True,
    earlier: Iterable[Release] = (),
) -> Iterator[Sealed]:
    """Pack and encrypt a build into the store's scratch folder.

    What was packed anew goes into the cache, if what is done with it succeeds and `keep` says so.
    Of `earlier` releases, which verify, single files are taken over.
    """
    with store.scratch() as scratch, cache:
        plain = scratch / "bundle.zip"
        with plain.open("w+b") as out:
            packed = bundle.pack(build, out, progress=progress, cache=cache)
        sealed = _seal(plain, packed, sealing, _Singles(store, build, earlier))
        keep = keep and packed.fresh > 0
        if keep and sealed.path == plain:  # which the store is going to take
            plain = plain.with_name("kept.zip")
            shutil.copyfile(sealed.path, plain)
        yield sealed
        if keep:
            cache.keep(plain, packed.streams)


@contextmanager
def sealed_capgo_zip(
    store: Store, source: Path, *, session: str, checksum: str, public: RSAPublicKey
) -> Iterator[Sealed]:
    """Take a zip that Capgo's CLI encrypted, after decrypting and checking it.

    Raises:
        VerificationError: it does not decrypt, or the checksum is another zip's.
    """
    iv, session_key = capgo.parse_session(session)
    wrapped_checksum, form = capgo.parse_checksum(checksum)
    wrapped = Wrapped(iv, session_key, wrapped_checksum, form, capgo.key_id(public))
    with store.scratch() as scratch:
        stored, plain = scratch / "bundle.bin", scratch / "bundle.zip"
        with source.open("rb") as file:
            blob, size = write(stored, chunks_of(file))
        with stored.open("rb") as file:
            content = cipher.decrypt(chunks_of(file), capgo.unwrap(public, wrapped))
            plain_digest, plain_size = write(plain, content)
        capgo.check_wrapped(public, wrapped, plain_digest)
        with plain.open("rb") as file:
            tree = tree_of(file)
        if not any(entry.path == "index.html" for entry in tree.files):
            raise Error(
                f"{source} has no index.html at its root; the plugin would refuse it",
                hint="zip the folder that has one: `manifestgen bundle zip dist/`",
            )
        plain.unlink()
        payload = Payload(blob, size, plain_digest, plain_size)
        yield Sealed(stored, tree, tree.digest(), payload, wrapped)


@dataclass(frozen=True, slots=True)
class _Singles:
    """Where single files come from."""

    store: Store
    build: bundle.Build
    earlier: Iterable[Release]

    def listed(self, tree: Tree, wrapping: Wrapping | None, scratch: Path) -> Listed:
        return list_files(
            self.store, self.build, tree, wrapping, scratch=scratch, earlier=self.earlier
        )


def _seal(plain: Path, packed: bundle.Packed, sealing: Sealing, singles: _Singles) -> Sealed:
    digest, size, tree = Digest(packed.sha256), packed.size, packed.tree
    ref = tree.digest()
    unlisted = why_not(tree, size) if sealing.delta else None
    delta = sealing.delta and unlisted is None
    if sealing.scheme is Scheme.NONE or sealing.wrapper is None:
        listed = singles.listed(tree, None, plain.parent) if delta else None
        payload = Payload(digest, size, digest, size)
        return Sealed(plain, tree, ref, payload, None, listed, unlisted)
    key_id = capgo.key_id(sealing.wrapper.public)
    key = _key(sealing, packed.packer, ref, delta=delta, key_id=key_id)
    wrapped = capgo.wrap(sealing.wrapper, key, digest, sealing.form)
    path = plain.with_name("bundle.bin")
    blob, stored_size = _encrypt(plain, path, key)
    wrapping = Wrapping(key, wrapped, sealing.wrapper)
    listed = singles.listed(tree, wrapping, plain.parent) if delta else None
    payload = Payload(blob, stored_size, digest, size)
    return Sealed(path, tree, ref, payload, wrapped, listed, unlisted)


def _key(sealing: Sealing, packer: str, tree: Digest, *, delta: bool, key_id: str) -> ContentKey:
    secret, scheme, app = sealing.secret, sealing.scheme, sealing.app
    if delta:  # the plugin knows one key for all that it is told of at once
        return cipher.delta_key(secret, scheme=scheme, app=app, key_id=key_id)
    return cipher.bundle_key(secret, scheme=scheme, app=app, packer=packer, tree=tree)


def _encrypt(plain: Path, path: Path, key: ContentKey) -> tuple[Digest, int]:
    with plain.open("rb") as file:
        return write(path, cipher.encrypt(chunks_of(file), key))
