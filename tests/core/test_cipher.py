"""AES-128-CBC over streams, and where its keys come from."""

import hmac
import json
from collections.abc import Iterator
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.cipher import (
    ContentKey,
    bundle_key,
    decrypt,
    encrypt,
    encrypt_into,
    payload_key,
)
from manifestgen.core.release import Scheme
from manifestgen.core.tree import Digest
from manifestgen.errors import VerificationError
from tests.conformance.in_process import Vector, check, vectors
from tests.simulator import APP, tree_digest

KEY = ContentKey(bytes(range(16)), bytes(range(16, 32)))
SECRET, TREE = bytes(range(32)), tree_digest("1.4.2")


@vectors("cipher", "bundle_key", "payload_key", "decrypt")
def test_vectors(vector: Vector) -> None:
    check(vector)


def hkdf(secret: bytes, info: dict[str, str]) -> bytes:
    """RFC 5869 in three lines, as a second opinion."""
    text = json.dumps(info, sort_keys=True, separators=(",", ":")).encode()
    prk = hmac.digest(b"manifestgen/v1", secret, sha256)
    return hmac.digest(prk, text + b"\1", sha256)


def test_a_bundles_key_is_hkdf_of_what_made_it() -> None:
    key = bundle_key(SECRET, scheme=Scheme.CAPGO, app=APP, packer="zip-1", tree=TREE)
    info = {"app": APP, "kind": "bundle", "packer": "zip-1", "scheme": "capgo", "tree": TREE}
    assert key.key + key.iv == hkdf(SECRET, info)


def test_another_payloads_key_is_hkdf_of_the_bundles() -> None:
    key = payload_key(KEY, kind="patch", base=TREE)
    assert key.key + key.iv == hkdf(KEY.key, {"base": TREE, "kind": "patch"})


def test_any_other_input_gives_another_key() -> None:
    given = {"app": APP, "packer": "p", "tree": TREE}
    keys = {
        bundle_key(SECRET, scheme=Scheme.CAPGO, **{**given, **change}).key  # type: ignore[arg-type]
        for change in ({}, {"app": "x"}, {"packer": "q"}, {"tree": Digest("0" * 64)})
    }
    keys |= {payload_key(KEY, kind=kind, base=TREE).key for kind in ("a", "b")}
    assert len(keys) == 6


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_secret_of_another_size_is_the_callers_mistake(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        bundle_key(bytes(size), scheme=Scheme.NONE, app=APP, packer="p", tree=TREE)


@pytest.mark.parametrize(("key", "iv"), [(0, 16), (15, 16), (32, 16), (16, 12), (16, 0)])
def test_keys_and_ivs_have_one_size(key: int, iv: int) -> None:
    with pytest.raises(VerificationError) as caught:
        ContentKey(bytes(key), bytes(iv))
    assert caught.value.code == "decrypt"


def test_keys_are_not_shown() -> None:
    assert repr(KEY) == "ContentKey()"


def chunked(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Cut data into chunks, empty ones too."""
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


SIZES = st.lists(st.integers(0, 70), max_size=6)


@given(st.binary(max_size=300), SIZES, SIZES)
def test_however_a_stream_is_cut(plain: bytes, one: list[int], other: list[int]) -> None:
    stored = b"".join(encrypt(chunked(plain, one), KEY))
    padder = padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES128(KEY.key), modes.CBC(KEY.iv)).encryptor()
    assert stored == cipher.update(padder.update(plain) + padder.finalize())
    assert len(stored) == len(plain) // 16 * 16 + 16
    assert b"".join(decrypt(chunked(stored, other), KEY)) == plain


@given(st.binary(max_size=80), SIZES)
def test_any_bytes_decrypt_or_are_refused(stored: bytes, sizes: list[int]) -> None:
    try:
        list(decrypt(chunked(stored, sizes), KEY))
    except VerificationError as error:
        if error.code != "decrypt":
            raise AssertionError(error.code) from error


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1024 * 1024, 1024 * 1024 + 1, 3_000_000])
def test_encrypting_in_memory_gives_the_same_bytes(size: int) -> None:
    plain, key = bytes(range(256)) * (size // 256 + 1), ContentKey(b"k" * 16, b"i" * 16)
    buffer = bytearray(size + 32)
    used = encrypt_into(memoryview(plain)[:size], key, buffer)
    wanted = b"".join(encrypt([plain[:size]], key))
    assert bytes(buffer[:used]) == wanted
    for start in (size // 2 // 16 * 16, size // 16 * 16):  # what is before is there already
        buffer[start:] = bytes(len(buffer) - start)
        assert encrypt_into(memoryview(plain)[:size], key, buffer, start=start) == used
        assert bytes(buffer[:used]) == wanted
