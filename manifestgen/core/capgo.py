"""What `@capgo/cli` 8.68.1 writes and `@capgo/capacitor-updater` 8.51.23 reads, byte for byte.

"Encrypting" with the RSA private key (PKCS#1 v1.5 type 1 padding, no DigestInfo) is a signature
with message recovery: whoever has the public key, which every installed app has, recovers the
session key and the bundle's SHA-256. The result is deterministic. Only RSA-2048 is accepted by
devices, and only the key form `-----BEGIN RSA PUBLIC KEY-----` (PKCS#1) by Android.
"""

import base64
import binascii
import re
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen.core.cipher import ContentKey
from manifestgen.core.release import AES_BLOCK, RSA_BYTES, V2, V3, Wrapped
from manifestgen.core.tree import Digest
from manifestgen.errors import FormatError, KeyUseError, VerificationError

_HEX_256: Final = re.compile(r"[0-9a-f]{512}", re.ASCII)


class Wrapper(Protocol):
    """Somewhere a Capgo private key lives."""

    @property
    def public(self) -> RSAPublicKey:
        """The key that installed apps carry."""
        ...

    def wrap(self, payload: bytes) -> bytes:
        """Return 256 bytes from which `public` recovers `payload`, or raise `KeyUseError`."""
        ...


def wrap(wrapper: Wrapper, key: ContentKey, plain: Digest, form: str = V3) -> Wrapped:
    """Wrap a content key and the SHA-256 of the plain bundle for stock devices."""
    wrapped = Wrapped(
        iv=key.iv,
        session_key=wrapper.wrap(key.key),
        checksum=wrapper.wrap(_checksum_payload(plain, form)),
        form=form,
        key_id=key_id(wrapper.public),
    )
    # What devices cannot recover must never be published, whatever a key store returned.
    check_wrapped(wrapper.public, wrapped, plain)
    return wrapped


def wrap_digest(wrapper: Wrapper, digest: Digest, form: str) -> bytes:
    """Wrap the SHA-256 of a single file, as `wrap` does a bundle's."""
    checksum = wrapper.wrap(_checksum_payload(digest, form))
    check_digest(wrapper.public, checksum, digest, form)
    return checksum


def check_digest(public: RSAPublicKey, checksum: bytes, digest: Digest, form: str) -> None:
    """Raise `VerificationError` unless a device recovers this very digest."""
    if recover(public, checksum) != _checksum_payload(digest, form):
        raise VerificationError("the wrapped checksum is another file's", code="digest")


def unwrap(public: RSAPublicKey, wrapped: Wrapped) -> ContentKey:
    """Recover the content key, or raise `VerificationError` (`decrypt`)."""
    if wrapped.key_id != key_id(public):
        raise VerificationError(
            f"encrypted for the Capgo key {wrapped.key_id}, this one is {key_id(public)}",
            code="decrypt",
        )
    return ContentKey(recover(public, wrapped.session_key), wrapped.iv)


def check_wrapped(public: RSAPublicKey, wrapped: Wrapped, plain: Digest) -> None:
    """Raise `VerificationError` unless a device recovers a key and this very checksum."""
    unwrap(public, wrapped)
    if recover(public, wrapped.checksum) != _checksum_payload(plain, wrapped.form):
        raise VerificationError("the wrapped checksum is another bundle's", code="digest")


def recover(public: RSAPublicKey, value: bytes) -> bytes:
    """Recover what was wrapped with the private half, or raise `VerificationError`."""
    try:
        return public.recover_data_from_signature(value, padding.PKCS1v15(), None)
    except (InvalidSignature, ValueError):
        raise VerificationError(
            "this Capgo key did not wrap it, or it was altered", code="decrypt"
        ) from None


def checksum_text(wrapped: Wrapped) -> str:
    """Spell the bundle's checksum as the plugin wants it."""
    return spell_checksum(wrapped.checksum, wrapped.form)


def spell_checksum(checksum: bytes, form: str) -> str:
    """Spell a wrapped digest as the plugin wants it: 512 hex digits, or base64 for `v2`."""
    return base64.b64encode(checksum).decode() if form == V2 else checksum.hex()


def parse_checksum(text: str) -> tuple[bytes, str]:
    """Read a wrapped checksum in either spelling; return its 256 bytes and its form."""
    if _HEX_256.fullmatch(text):
        return bytes.fromhex(text), V3
    return _base64(text, RSA_BYTES, "checksum"), V2


def session_text(wrapped: Wrapped) -> str:
    """Spell IV and wrapped key as the CLI and the plugin do: `base64:base64`."""
    iv, key = base64.b64encode(wrapped.iv), base64.b64encode(wrapped.session_key)
    return f"{iv.decode()}:{key.decode()}"


def parse_session(text: str) -> tuple[bytes, bytes]:
    """Read `base64:base64`; return the IV (16 bytes) and the wrapped key (256)."""
    iv, colon, key = text.partition(":")
    if not colon:
        raise FormatError("want an IV and a session key as `base64:base64`")
    return _base64(iv, AES_BLOCK, "IV"), _base64(key, RSA_BYTES, "session key")


def public_pem(public: RSAPublicKey) -> str:
    """Spell the public key as `capacitor.config` needs it: PKCS#1 PEM; SPKI crashes Android."""
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.PKCS1
    ).decode()


def load_public(pem: bytes) -> RSAPublicKey:
    """Read a public key in PEM, PKCS#1 or SPKI, or raise `KeyUseError`."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUseError("not a public key in PEM") from None
    if not isinstance(key, RSAPublicKey) or key.key_size != RSA_BYTES * 8:
        raise KeyUseError("not an RSA-2048 key; the plugin accepts no other")
    return key


def key_id(public: RSAPublicKey) -> str:
    """Return Capgo's name for a key: the first 20 characters of its PEM body."""
    return "".join(public_pem(public).splitlines()[1:-1])[:20]


def _checksum_payload(plain: Digest, form: str) -> bytes:
    # The v2 form decodes 64 hex digits as if they were base64: Capgo's bug, kept by devices.
    return base64.b64decode(plain) if form == V2 else bytes.fromhex(plain)


def _base64(text: str, size: int, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != size:
        raise FormatError(f"want a {what} of {size} bytes in base64")
    return data
