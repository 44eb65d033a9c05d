"""A signed document as stored: signatures, and what they sign.

The file is exactly the canonical JSON of `{"signatures":[{"keyid","sig"}…],"signed":{…}}`. A
signature covers DSSE's pre-authentication encoding (secure-systems-lab/dsse, protocol.md) of the
document's type and the canonical bytes of `signed`, so it serves for no other type. Who may sign
is not decided here: `keyring` does.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from manifestgen.core import canonical
from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.keys import KeyId
from manifestgen.core.limits import LIMITS
from manifestgen.core.reader import Reader, encode_bytes
from manifestgen.core.tree import Digest
from manifestgen.errors import FormatError, VerificationError

_TYPE: Final = re.compile(r"[a-z]+\.v[0-9]{1,4}", re.ASCII)


class Kind(StrEnum):
    """The types of signed documents, as `signed.type` spells them."""

    ROOT = "root.v1"
    RELEASE = "release.v1"
    MANIFEST = "manifest.v1"


@dataclass(frozen=True, slots=True)
class Signature:
    """`sig` over the envelope's message, said to be by the key `keyid`."""

    keyid: KeyId
    sig: bytes

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode one signature; unknown keys and odd lengths are for the keyring to ignore."""
        read = Reader(value, at)
        return cls(KeyId(read.digest("keyid")), read.bytes("sig"))


@dataclass(frozen=True, slots=True)
class Envelope:
    """Signatures and the JSON object they sign, as received: unknown members are kept."""

    signatures: tuple[Signature, ...]
    signed: JsonObject

    @classmethod
    def decode(cls, data: bytes, *, limit: int) -> Self:
        """Read a stored document of at most `limit` bytes, or raise `FormatError`."""
        return cls.from_json(canonical.decode(data, limit=limit), "$")

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode an envelope, stored or embedded.

        Nothing else may stand beside the two members: it would be signed by nobody.
        """
        read = Reader(value, at)
        if set(read.value) != {"signatures", "signed"}:
            raise FormatError(f"{at}: want `signatures` and `signed`, nothing else")
        signatures = read.list("signatures", Signature.from_json, most=LIMITS.signatures)
        return cls(signatures, read.object("signed").value)

    def encode(self) -> bytes:
        """Return the file's bytes."""
        return canonical.encode(self.to_json())

    def to_json(self) -> JsonObject:
        """Return the document form, for embedding."""
        return {
            "signatures": [
                {"keyid": signature.keyid, "sig": encode_bytes(signature.sig)}
                for signature in self.signatures
            ],
            "signed": self.signed,
        }

    def expect(self, kind: Kind) -> None:
        """Raise `VerificationError` (`type`) unless this is a document of that kind."""
        found = self.signed.get("type")
        if found == kind:
            return
        if not isinstance(found, str) or not _TYPE.fullmatch(found):
            raise FormatError("$.signed.type: missing or no document type")
        raise VerificationError(
            f"a {found} document where {kind} is wanted",
            code="type",
            hint="a newer publisher may have written it: update this client",
        )

    def message(self, kind: Kind) -> bytes:
        """Return the bytes that signatures cover, as a document of `kind`."""
        return pae(f"application/vnd.manifestgen.{kind}+json", canonical.encode(self.signed))

    def digest(self) -> Digest:
        """Return the SHA-256 of the `signed` part: what was said, whoever signed it."""
        return Digest(hashlib.sha256(canonical.encode(self.signed)).hexdigest())

    def with_signatures(self, added: Iterable[Signature]) -> Self:
        """Return this envelope with signatures added, one for each key, sorted by key id."""
        by_key = {signature.keyid: signature for signature in (*self.signatures, *added)}
        return replace(self, signatures=tuple(by_key[keyid] for keyid in sorted(by_key)))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE v1's pre-authentication encoding; lengths are in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
