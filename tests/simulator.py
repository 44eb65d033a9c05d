"""An app's whole publisher in memory, for tests and vectors: keys, roots, releases, manifests.

Every key is made from its name and every signature is deterministic, so the same lines give the
same bytes. **These are test keys: anybody can make them.**

    sim = Simulator()
    keyring = Keyring.trust(sim.root())
    data = sim.manifest(sim.offer(sim.release("1.4.2")), sequence=7)
    keyring.manifest(data, "production")

Each method takes changes by field name (`sim.release("1.4.2", floor=Version.parse("1.3.0"))`) and,
where it signs, `by=` the keys to sign with. `raw` signs whatever JSON it is given.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from manifestgen.core import canonical
from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.envelope import Envelope, Kind, Signature, pae
from manifestgen.core.keyring import Keyring, TrustedManifest
from manifestgen.core.keys import KeyId, PublicKey
from manifestgen.core.manifest import Manifest, Offer
from manifestgen.core.release import Payload, Release, Scheme, TreeRef
from manifestgen.core.root import Delegation, Role, Root
from manifestgen.core.tree import Digest, File, Tree, sha256
from manifestgen.core.version import Version

APP: Final = "com.example.app"
CHANNEL: Final = "production"
EPOCH: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""When every document is issued, unless a test says otherwise."""
NOW: Final = EPOCH + timedelta(days=1)

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def utc(year: int, month: int = 1, day: int = 1, hour: int = 0, second: int = 0) -> datetime:
    """Return a time as documents have them."""
    return datetime(year, month, day, hour, 0, second, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TestKey:
    """A private key made from its name."""

    __test__ = False

    name: str
    private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def ed25519(cls, name: str) -> Self:
        """Make an Ed25519 key: the seed is the SHA-256 of the name."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(_seed(name)))

    @classmethod
    def p256(cls, name: str) -> Self:
        """Make a P-256 key; its signatures are deterministic too (RFC 6979)."""
        scalar = int.from_bytes(_seed(name), "big") % (P256_ORDER - 1) + 1
        return cls(name, ec.derive_private_key(scalar, ec.SECP256R1()))

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey.from_spki(
            self.private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    @property
    def keyid(self) -> KeyId:
        """The key's id."""
        return self.public.keyid

    def sign(self, message: bytes) -> bytes:
        """Return 64 bytes."""
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(message)
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = decode_dss_signature(self.private.sign(message, algorithm))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def signature(self, kind: str, signed: Json) -> Signature:
        """Sign a document as `kind`."""
        message = pae(f"application/vnd.manifestgen.{kind}+json", canonical.encode(signed))
        return Signature(self.keyid, self.sign(message))


def role(*keys: TestKey, threshold: int = 1) -> Role:
    """Make a role of keys."""
    return Role(tuple(sorted(key.keyid for key in keys)), threshold)


def envelope(signed: JsonObject, kind: str, by: Iterable[TestKey]) -> Envelope:
    """Sign any JSON as `kind`, whatever it says of itself."""
    return Envelope((), signed).with_signatures([key.signature(kind, signed) for key in by])


def raw(signed: JsonObject, kind: str, *by: TestKey) -> bytes:
    """Return the file of any signed JSON."""
    return envelope(signed, kind, by).encode()


def changed(document: JsonObject, **members: Json) -> JsonObject:
    """Return a document with members replaced; `None` takes one out."""
    merged = {**document, **members}
    return {name: value for name, value in merged.items() if value is not None}


def tree_of(version: str) -> Tree:
    """Return the tree of a version: one page that names it."""
    page = f"<!doctype html><title>{version}</title>\n".encode()
    return Tree.of([File("index.html", sha256(page), len(page))])


@dataclass(frozen=True, slots=True)
class Simulator:
    """One app with a key for each role, all different."""

    root_key: TestKey = field(default_factory=lambda: TestKey.ed25519("root"))
    release_key: TestKey = field(default_factory=lambda: TestKey.ed25519("release"))
    manifest_key: TestKey = field(default_factory=lambda: TestKey.ed25519("manifest"))
    app: str = APP

    @property
    def root_value(self) -> Root:
        """Root 1."""
        return Root(
            app=self.app,
            number=1,
            issued=EPOCH,
            expires=EPOCH + timedelta(days=365),
            max_days=90,
            keys=tuple(key.public for key in (self.root_key, self.release_key, self.manifest_key)),
            root=role(self.root_key),
            release=role(self.release_key),
            manifest=(Delegation(("*",), role(self.manifest_key)),),
        )

    def root(self, *, by: Iterable[TestKey] | None = None, **changes: Any) -> bytes:
        """Return the file of a root, by default number 1 signed by the root key."""
        value = replace(self.root_value, **changes)
        return raw(value.to_json(), Kind.ROOT, *(by or [self.root_key]))

    def keyring(self, **changes: Any) -> Keyring:
        """Return the keyring of such a root."""
        return Keyring(replace(self.root_value, **changes))

    def release_value(self, version: str, **changes: Any) -> Release:
        """Return a release without encryption whose one file names the version."""
        tree = tree_of(version)
        bundle = sha256(b"bundle " + version.encode())
        value = Release(
            app=self.app,
            version=Version.parse(version),
            issued=EPOCH,
            tree=TreeRef(tree.digest(), len(tree.files), tree.size),
            scheme=Scheme.NONE,
            bundle=Payload(bundle, 180, bundle, 180),
        )
        return replace(value, **changes)

    def release(
        self, version: str, *, by: Iterable[TestKey] | None = None, **changes: Any
    ) -> Envelope:
        """Return a signed release."""
        signed = self.release_value(version, **changes).to_json()
        return envelope(signed, Kind.RELEASE, [self.release_key] if by is None else by)

    def offer(self, release: Envelope | str, **changes: Any) -> Offer:
        """Return an offer of a release, or of a plain one of that version."""
        return Offer(self.release(release) if isinstance(release, str) else release, **changes)

    def manifest_value(self, *offers: Offer | str, **changes: Any) -> Manifest:
        """Return manifest 1 of `production`, good for thirty days."""
        value = Manifest(
            app=self.app,
            channel=CHANNEL,
            sequence=1,
            issued=EPOCH,
            expires=EPOCH + timedelta(days=30),
            root=1,
            previous=None,
            offers=tuple(self.offer(one) if isinstance(one, str) else one for one in offers),
        )
        return replace(value, **changes)

    def manifest(
        self, *offers: Offer | str, by: Iterable[TestKey] | None = None, **changes: Any
    ) -> bytes:
        """Return the file of a manifest."""
        signed = self.manifest_value(*offers, **changes).to_json()
        return raw(signed, Kind.MANIFEST, *([self.manifest_key] if by is None else by))

    def trusted(self, *offers: Offer | str, **changes: Any) -> TrustedManifest:
        """Return a manifest as `decide` takes it."""
        return self.keyring().manifest(self.manifest(*offers, **changes), CHANNEL)


def tree_digest(version: str) -> Digest:
    """Return the tree digest of a version, as devices remember it."""
    return tree_of(version).digest()


def tampered(data: bytes, changes: Mapping[bytes, bytes]) -> bytes:
    """Replace bytes in a file, each of which must be there once."""
    for old, new in changes.items():
        assert data.count(old) == 1, old
        data = data.replace(old, new)
    return data


def _seed(name: str) -> bytes:
    return hashlib.sha256(b"manifestgen TEST key: " + name.encode()).digest()
