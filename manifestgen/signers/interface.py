"""What a signer is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from manifestgen.core.capgo import Wrapper
from manifestgen.core.envelope import Envelope, Kind, Signature
from manifestgen.core.keys import KeyId, PublicKey
from manifestgen.core.root import Role
from manifestgen.errors import KeyUseError

Ask: TypeAlias = Callable[[str], bytes | None]
"""Asks for the passphrase of the named key; `None` where there is none to be had.

Given a `TokenName`, it asks for a PIN. The two are never taken for each other: a token counts wrong
PINs, and locks itself.
"""


class TokenName(str):
    """The name of a token, whose PIN is asked for."""

    __slots__ = ()


class Signer(Protocol):
    """Something that can sign."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what `sign` makes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return 64 bytes, or raise `KeyUseError`."""
        ...


@dataclass(frozen=True, slots=True)
class Keys:
    """The signers at hand, whatever their roles."""

    signers: Sequence[Signer] = ()

    def of(self, role: Role) -> list[Signer]:
        """Return the signers that a role trusts, each key once."""
        by_id = {signer.public.keyid: signer for signer in self.signers}
        return [by_id[keyid] for keyid in role.keys if keyid in by_id]

    def require(self, role: Role, what: str) -> list[Signer]:
        """Return as many signers as a role needs, or raise `KeyUseError` naming what lacks."""
        found = self.of(role)
        if len(found) >= role.threshold:
            return found[: role.threshold]
        raise self._lacking(role, what, len(found))

    def some(self, role: Role, what: str) -> list[Signer]:
        """Return at least one signer of a role, at most its threshold, or raise `KeyUseError`."""
        found = self.of(role)
        if not found:
            raise self._lacking(role, what, 0)
        return found[: role.threshold]

    def _lacking(self, role: Role, what: str, found: int) -> KeyUseError:
        wanted = ", ".join(keyid[:12] for keyid in role.keys)
        return KeyUseError(
            f"{what} needs {role.threshold} of the keys {wanted}; {found} at hand",
            hint=_hint(self.signers),
        )


@dataclass(frozen=True, slots=True)
class Remembering:
    """A signer that signs no message twice."""

    signer: Signer
    _made: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    @property
    def public(self) -> PublicKey:
        """The key that verifies what `sign` makes."""
        return self.signer.public

    def sign(self, message: bytes) -> bytes:
        """Return the signature that was made before, or have one made."""
        if message not in self._made:
            self._made[message] = self.signer.sign(message)
        return self._made[message]


def sign(envelope: Envelope, kind: Kind, signers: Sequence[Signer]) -> Envelope:
    """Add signatures to an envelope, each checked before it is believed."""
    message = envelope.message(kind)
    return envelope.with_signatures([_signature(signer, message) for signer in signers])


def _signature(signer: Signer, message: bytes) -> Signature:
    made = signer.sign(message)
    keyid: KeyId = signer.public.keyid
    if not signer.public.verifies(made, message):
        raise KeyUseError(
            f"key {keyid[:12]} made a signature that does not verify",
            hint="see that what signs there is the key whose public half is given there",
        )
    return Signature(keyid, made)


def _hint(signers: Sequence[Signer]) -> str:
    if not signers:
        return "name it in manifestgen.toml under [keys], or set MANIFESTGEN_KEY_<ROLE>"
    have = ", ".join(signer.public.keyid[:12] for signer in signers)
    return f"at hand are {have}: are they this project's?"


__all__ = ["Ask", "Keys", "Remembering", "Signer", "TokenName", "Wrapper", "sign"]
