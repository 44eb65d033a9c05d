"""Make sense of key material: PEM, in the spellings that CI systems deliver it in."""

import base64
import binascii
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from manifestgen.core.keys import PublicKey
from manifestgen.core.release import RSA_BYTES
from manifestgen.errors import FormatError, KeyUseError
from manifestgen.signers.interface import Ask
from manifestgen.signers.sources import PLACES

_Signing: TypeAlias = Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def normalise(material: bytes) -> bytes:
    r"""Undo what secret stores do to PEM: `\n` for line ends, quotes, or base64 over the whole."""
    text = _unescaped(material)
    if b"-----BEGIN" not in text:
        with suppress(binascii.Error, ValueError):
            text = _unescaped(base64.b64decode(b"".join(text.split()), validate=True))
    return text + b"\n"


def _unescaped(text: bytes) -> bytes:
    text = text.removeprefix(b"\xef\xbb\xbf").strip()
    if len(text) > 1 and text[:1] in b"\"'" and text[:1] == text[-1:]:
        text = text[1:-1]
    text = text.replace(b"\\r", b"").replace(b"\\n", b"\n").replace(b"\r\n", b"\n")
    return text.strip()


@dataclass(frozen=True, slots=True)
class SoftwareSigner:
    """An Ed25519 or P-256 private key in memory."""

    public: PublicKey
    _private: _Signing = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Sign; P-256 signatures are raw r‖s."""
        if isinstance(self._private, Ed25519PrivateKey):
            return self._private.sign(message)
        r, s = utils.decode_dss_signature(self._private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class SoftwareWrapper:
    """A Capgo RSA-2048 private key in memory."""

    _private: RSAPrivateKey = field(repr=False)

    @property
    def public(self) -> RSAPublicKey:
        """The key that installed apps carry."""
        return self._private.public_key()

    def wrap(self, payload: bytes) -> bytes:
        """Do what Node's `privateEncrypt` does: PKCS#1 v1.5 type 1 without a DigestInfo."""
        return self._private.sign(payload, padding.PKCS1v15(), utils.NoDigestInfo())


def signer_from(material: bytes, name: str, ask: Ask) -> SoftwareSigner:
    """Make a signer of a private key in PEM; `name` is for messages and for `ask`."""
    private = _load(material, name, ask)
    if not isinstance(private, Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise KeyUseError(f"{name} is no signing key: want Ed25519 or P-256")
    spki = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        return SoftwareSigner(PublicKey.from_spki(spki), private)
    except FormatError as error:
        raise KeyUseError(f"{name}: {error}") from None


def wrapper_from(material: bytes, name: str, ask: Ask) -> SoftwareWrapper:
    """Make a wrapper of an RSA-2048 private key in PEM."""
    # The check of primes takes 30 ms. It guards nothing here: what such a key wraps is recovered
    # with its public half and compared before anybody sees it.
    private = _load(material, name, ask, checked=False)
    if not isinstance(private, RSAPrivateKey) or private.key_size != RSA_BYTES * 8:
        raise KeyUseError(f"{name} is no RSA-2048 key; the Capgo plugin accepts no other")
    return SoftwareWrapper(private)


def _load(material: bytes, name: str, ask: Ask, *, checked: bool = True) -> object:
    pem = normalise(material)
    try:
        return serialization.load_pem_private_key(
            pem, password=None, unsafe_skip_rsa_key_validation=not checked
        )
    except TypeError:
        return _load_encrypted(pem, name, ask(name))
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUseError(
            f"{name} holds no private key in PEM",
            hint="a key from `manifestgen keys create` begins with -----BEGIN PRIVATE KEY-----;"
            f" the place of one is written {PLACES}",
        ) from None


def _load_encrypted(pem: bytes, name: str, passphrase: bytes | None) -> object:
    if not passphrase:  # nobody was there, or pressed Enter
        raise KeyUseError(
            f"{name} needs a passphrase",
            hint="set MANIFESTGEN_PASSPHRASE, or MANIFESTGEN_PASSPHRASE_FILE to a file",
        )
    try:
        return serialization.load_pem_private_key(pem, password=passphrase)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUseError(
            f"the passphrase does not open {name}",
            hint="run the same command again with the right one; MANIFESTGEN_PASSPHRASE and"
            " MANIFESTGEN_PASSPHRASE_FILE are taken before anybody is asked",
        ) from None
