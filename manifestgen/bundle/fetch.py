"""Fetch a payload from a store as its plain bytes, in a file."""

import hashlib
from pathlib import Path

from manifestgen.bundle.chunks import chunks_within
from manifestgen.core.cipher import ContentKey, decrypt
from manifestgen.core.release import Payload
from manifestgen.errors import VerificationError
from manifestgen.stores import Store
from manifestgen.stores.names import blob_name


def fetch(store: Store, payload: Payload, key: ContentKey | None, path: Path) -> bool:
    """Write the plain bytes of a payload to `path`; `False` if the store does not have it.

    Raises:
        VerificationError: what is stored, or what it decrypts to, is not what was signed.
    """
    if key is None and (payload.plain, payload.plain_size) != (payload.blob, payload.size):
        raise VerificationError("signed as encrypted and not encrypted at once", code="digest")
    source = store.open(blob_name(payload.blob))
    if source is None:
        return False
    with source, path.open("w+b") as file:
        stored = hashlib.sha256()
        for chunk in chunks_within(source, payload.size):
            stored.update(chunk)
            file.write(chunk)
        if stored.hexdigest() != payload.blob:
            raise VerificationError(
                f"blob {payload.blob[:12]} holds other bytes than were signed", code="digest"
            )
    if key is not None:
        _decrypt(path, key, payload)
    return True


def _decrypt(path: Path, key: ContentKey, payload: Payload) -> None:
    sealed = path.with_name(path.name + ".sealed")
    path.replace(sealed)
    plain = hashlib.sha256()
    with sealed.open("rb") as source, path.open("wb") as file:
        for chunk in decrypt(chunks_within(source, payload.size), key):
            plain.update(chunk)
            file.write(chunk)
    sealed.unlink()
    if plain.hexdigest() != payload.plain:
        raise VerificationError(
            f"blob {payload.blob[:12]} decrypts to other bytes than were signed", code="digest"
        )
