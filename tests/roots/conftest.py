"""Projects whose keys change."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from manifestgen.core.canonical import Json
from manifestgen.core.envelope import Envelope, Kind, Signature
from manifestgen.core.keys import KeyId, PublicKey
from manifestgen.core.limits import LIMITS
from tests.channels.conftest import CONFIG, Publisher, shop, shop_template
from tests.channels.fleet import Fleet

__all__ = ["shop", "shop_template"]

DER, PEM, SPKI = Encoding.DER, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
ROOT = "file:.manifestgen/keys/signing.pem"


def new_key(publisher: Publisher, name: str) -> str:
    """Make a key in `<name>/`, with its public half beside it; return its URI."""
    publisher.does(f"keys create --only signing --out-dir {name}")
    uri = f"file:{name}/signing.pem"
    public = private(publisher, uri).public_key().public_bytes(PEM, SPKI)
    (publisher.folder / f"{name}.pub.pem").write_bytes(public)
    return uri


def private(publisher: Publisher, uri: str) -> Ed25519PrivateKey:
    """Read the private key at a URI."""
    data = (publisher.folder / uri.removeprefix("file:")).read_bytes()
    key = load_pem_private_key(data, None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def keyid(publisher: Publisher, uri: str) -> KeyId:
    """Return the id of the key at a URI."""
    spki = private(publisher, uri).public_key().public_bytes(DER, SPKI)
    return PublicKey.from_spki(spki).keyid


def uses(publisher: Publisher, *, more: str = "", **keys: str | Sequence[str]) -> None:
    """Name keys in manifestgen.toml, by role."""
    named = "\n".join(
        f"{role} = {[uris] if isinstance(uris, str) else list(uris)}" for role, uris in keys.items()
    )
    publisher.configure(f"{CONFIG}{more}\n[keys]\n{named}\n".replace("'", '"'))


def split(publisher: Publisher) -> tuple[str, str, str]:
    """Give each role a key of its own; return the URIs of root, release and manifest."""
    first = keyid(publisher, ROOT)
    release, manifest = new_key(publisher, "release"), new_key(publisher, "manifest")
    publisher.does(f"keys rotate {first[:12]} --to {release} --role release")
    uses(publisher, root=ROOT, release=release)
    publisher.does(f"keys rotate {first[:12]} --to {manifest} --role manifest")
    uses(publisher, root=ROOT, release=release, manifest=manifest)
    return ROOT, release, manifest


def teammate(publisher: Publisher, name: str, uri: str) -> Publisher:
    """Give a colleague a clone of the project, with one key and no other."""
    path = uri.removeprefix("file:")
    other = publisher.copy(name)
    (other.folder / path).parent.mkdir(exist_ok=True)
    (publisher.folder / path).rename(other.folder / path)
    uses(other, root=uri)
    return other


def forged(publisher: Publisher, path: Path, uri: str, **changes: Json) -> bytes:
    """Sign a manifest again with changes, as the thief of a key would."""
    old = Envelope.decode(path.read_bytes(), limit=LIMITS.manifest_bytes)
    new = Envelope((), {**old.signed, **changes})
    sig = private(publisher, uri).sign(new.message(Kind.MANIFEST))
    return new.with_signatures([Signature(keyid(publisher, uri), sig)]).encode()


@pytest.fixture
def fleet(shop: Publisher) -> Fleet:
    """Give devices that were there before any key changed."""
    made = shop.fleet(200)
    made.check(shop.now)
    return made
