"""Public keys and the two signature algorithms.

Ed25519 (RFC 8032), and ECDSA P-256 over SHA-256 with signatures as raw r‖s (what WebCrypto, KMS
and HSM speak), for devices and key stores without Ed25519. A key id is the SHA-256 of the SPKI
DER, so one key has one id. The DER must be byte for byte the one encoding, hence fixed prefixes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType, Self

from cryptography import exceptions

from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.reader import Reader, encode_bytes
from manifestgen.errors import FormatError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

KeyId = NewType("KeyId", str)
"""SHA-256 of a public key's SPKI DER, 64 lowercase hex digits."""

SIGNATURE_BYTES: Final = 64  # of both algorithms


class Algorithm(StrEnum):
    """How a key signs; named by the trusted root, never by the document it verifies."""

    ED25519 = "ed25519"
    P256 = "p256"


# RFC 8410 section 4, and RFC 5480 section 2 with an uncompressed point: SPKI up to the key bytes.
_PREFIX: Final[Mapping[Algorithm, bytes]] = {
    Algorithm.ED25519: bytes.fromhex("302a300506032b6570032100"),
    Algorithm.P256: bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200" + "04"),
}
_KEY_BYTES: Final[Mapping[Algorithm, int]] = {Algorithm.ED25519: 32, Algorithm.P256: 64}

# Points of order 1, 2, 4 and 8, and their non-canonical spellings, without the sign bit: under
# such a "key" one signature verifies for many messages, and libraries disagree on accepting it.
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: `spki` is its SubjectPublicKeyInfo in DER."""

    algorithm: Algorithm
    spki: bytes

    @classmethod
    def from_spki(cls, spki: bytes) -> Self:
        """Recognise a key by its DER.

        Raises:
            FormatError: another algorithm, another encoding, or a point of small order.
        """
        for algorithm, prefix in _PREFIX.items():
            if spki.startswith(prefix) and len(spki) == len(prefix) + _KEY_BYTES[algorithm]:
                key = cls(algorithm, spki)
                key._check_point()
                return key
        raise FormatError("a key that is neither Ed25519 nor P-256 in plain SPKI DER")

    @property
    def keyid(self) -> KeyId:
        """The key's id."""
        return KeyId(hashlib.sha256(self.spki).hexdigest())

    @property
    def raw(self) -> bytes:
        """The key without its DER: 32 bytes, or x‖y in 64."""
        return self.spki[len(_PREFIX[self.algorithm]) :]

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether `signature` (64 bytes) is this key's over `message`."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            if self.algorithm is Algorithm.ED25519:
                _verify_ed25519(self.raw, signature, message)
            else:
                _verify_p256(self.raw, signature, message)
        except exceptions.InvalidSignature:
            return False
        return True

    def to_json(self) -> JsonObject:
        """Return the document form."""
        return {
            "algorithm": self.algorithm.value,
            "keyid": self.keyid,
            "public": encode_bytes(self.spki),
        }

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode one key of a root; the id and the algorithm must be the key's own."""
        read = Reader(value, at)
        try:
            key = cls.from_spki(read.bytes("public"))
        except FormatError as error:
            raise FormatError(f"{at}: {error}") from None
        if read.get("algorithm") != key.algorithm.value:
            raise FormatError(f"{at}.algorithm: the key is {key.algorithm}")
        if read.get("keyid") != key.keyid:
            raise FormatError(f"{at}.keyid: is not the SHA-256 of the key")
        return key

    def _check_point(self) -> None:
        if self.algorithm is Algorithm.P256:
            try:
                _p256(self.raw)
            except ValueError:
                raise FormatError("a P-256 key that is no point of the curve") from None
        elif self.raw[:31] + bytes([self.raw[31] & 0x7F]) in _SMALL_ORDER:
            raise FormatError("an Ed25519 key of small order")


# `cryptography` is imported where a signature is checked: `--help` and friends do without it.


def _verify_ed25519(raw: bytes, signature: bytes, message: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)


def _verify_p256(raw: bytes, signature: bytes, message: bytes) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    _p256(raw).verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


def _p256(raw: bytes) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + raw)
