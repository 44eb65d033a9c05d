"""From a build folder, or a zip that Capgo's CLI encrypted, to a signed release and its blob."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen import bundle
from manifestgen.core import capgo, cipher
from manifestgen.core.archive import tree_of
from manifestgen.core.audience import EVERYONE, Audience
from manifestgen.core.cipher import ContentKey
from manifestgen.core.release import V3, Payload, Release, Scheme, TreeRef, Wrapped
from manifestgen.core.tree import Digest, Tree
from manifestgen.core.version import Version
from manifestgen.errors import Error
from manifestgen.stores import Store
from manifestgen.stores.names import blob_name

_CHUNK = 1024 * 1024  # bytes read at a time


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

    `opener` stands for the wrapper where somebody else has wrapped the key.
    """

    scheme: Scheme
    app: str
    form: str = V3
    secret: bytes = b""
    wrapper: capgo.Wrapper | None = None
    opener: RSAPublicKey | None = None

    @property
    def public(self) -> RSAPublicKey | None:
        """The key that opens what was sealed."""
        return self.wrapper.public if self.wrapper else self.opener

    def __repr__(self) -> str:
        return f"Sealing({self.scheme})"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle ready to be stored: the file in scratch, and what a release says of it."""

    path: Path
    tree: Tree
    payload: Payload
    wrapped: Wrapped | None

    def release(self, terms: Terms, sealing: Sealing, issued: datetime) -> Release:
        """Return the statement to sign."""
        return Release(
            app=sealing.app,
            version=terms.version,
            issued=issued,
            tree=TreeRef(self.tree.digest(), len(self.tree.files), self.tree.size),
            scheme=sealing.scheme,
            bundle=self.payload,
            capgo=self.wrapped,
            audience=terms.audience,
            floor=terms.floor,
            notes=terms.notes,
        )

    def add_to(self, store: Store) -> bool:
        """Store the blob; `False` if it was there."""
        return store.add(blob_name(self.payload.blob), self.path)


@contextmanager
def sealed_build(
    store: Store, build: bundle.Build, sealing: Sealing, progress: Callable[[int], None] | None
) -> Iterator[Sealed]:
    """Pack and encrypt a build into the store's scratch folder."""
    with store.scratch() as scratch:
        plain = scratch / "bundle.zip"
        with plain.open("w+b") as out:
            packed = bundle.pack(build, out, progress=progress)
        yield _seal(plain, packed, sealing)


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
            blob, size = _write(stored, _chunks(file))
        with stored.open("rb") as file:
            content = cipher.decrypt(_chunks(file), capgo.unwrap(public, wrapped))
            plain_digest, plain_size = _write(plain, content)
        capgo.check_wrapped(public, wrapped, plain_digest)
        with plain.open("rb") as file:
            tree = tree_of(file)
        if not any(entry.path == "index.html" for entry in tree.files):
            raise Error(f"{source} has no index.html at its root; the plugin would refuse it")
        plain.unlink()
        yield Sealed(stored, tree, Payload(blob, size, plain_digest, plain_size), wrapped)


def _seal(plain: Path, packed: bundle.Packed, sealing: Sealing) -> Sealed:
    digest, size = Digest(packed.sha256), packed.size
    if sealing.scheme is Scheme.NONE or sealing.wrapper is None:
        return Sealed(plain, packed.tree, Payload(digest, size, digest, size), None)
    key = cipher.bundle_key(
        sealing.secret,
        scheme=sealing.scheme,
        app=sealing.app,
        packer=packed.packer,
        tree=packed.tree.digest(),
    )
    wrapped = capgo.wrap(sealing.wrapper, key, digest, sealing.form)
    path = plain.with_name("bundle.bin")
    blob, stored_size = _encrypt(plain, path, key)
    plain.unlink()
    return Sealed(path, packed.tree, Payload(blob, stored_size, digest, size), wrapped)


def _encrypt(plain: Path, path: Path, key: ContentKey) -> tuple[Digest, int]:
    with plain.open("rb") as file:
        return _write(path, cipher.encrypt(_chunks(file), key))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _write(path: Path, chunks: Iterable[bytes]) -> tuple[Digest, int]:
    """Write a scratch file; return its SHA-256 and size."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return Digest(digest.hexdigest()), size
