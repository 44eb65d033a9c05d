"""What a verifier trusts before it has read anything: never something the site itself says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from manifestgen.core.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Anchor:
    """Trusted root documents by number, and the keyring of the newest of them."""

    documents: Mapping[int, bytes]
    keyring: Keyring

    @classmethod
    def of(cls, first: bytes, *later: bytes) -> Self:
        """Trust a root, and those that follow it one by one.

        Raises:
            VerificationError: a document is damaged, or does not follow the one before.
        """
        keyring = Keyring.trust(first)
        documents = {keyring.root.number: first}
        for document in later:
            keyring = keyring.follow(document)
            documents[keyring.root.number] = document
        return cls(documents, keyring)

    @property
    def number(self) -> int:
        """The number of the newest trusted root."""
        return self.keyring.root.number
