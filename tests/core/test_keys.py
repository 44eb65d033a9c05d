"""Public keys, and what a signature by one of them is."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.canonical import Json
from manifestgen.core.keys import Algorithm, PublicKey
from manifestgen.errors import FormatError
from tests.conformance.in_process import Vector, check, vectors
from tests.simulator import TestKey, changed

ONE, TWO = TestKey.ed25519("one"), TestKey.p256("two")
PREFIX = bytes.fromhex("302a300506032b6570032100")
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


@vectors("keys")
def test_vectors(vector: Vector) -> None:
    check(vector)


@pytest.mark.parametrize("key", [ONE, TWO], ids=["ed25519", "p256"])
class TestKeys:
    def test_a_key_is_read_back(self, key: TestKey) -> None:
        assert PublicKey.from_json(key.public.to_json(), "$") == key.public

    def test_the_id_is_the_digest_of_the_der(self, key: TestKey) -> None:
        assert key.keyid == hashlib.sha256(key.public.spki).hexdigest()

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("algorithm", "rsa"),
            ("algorithm", None),
            ("algorithm", 1),
            ("keyid", "0" * 64),
            ("keyid", None),
            ("keyid", ["x"]),
            ("public", "AAAA"),
            ("public", ""),
            ("public", 7),
            ("public", None),
        ],
    )
    def test_a_wrong_member_is_refused(self, key: TestKey, member: str, value: Json) -> None:
        with pytest.raises(FormatError, match=r"^\$\.keys\[0\]"):
            PublicKey.from_json(changed(key.public.to_json(), **{member: value}), "$.keys[0]")

    @given(st.binary(max_size=70) | st.binary(min_size=64, max_size=64))
    def test_any_bytes_are_no_signature(self, key: TestKey, signature: bytes) -> None:
        assert not key.public.verifies(signature, b"message")


@given(st.binary(max_size=100) | st.binary(min_size=32, max_size=32).map(PREFIX.__add__))
def test_any_bytes_are_a_key_or_refused(spki: bytes) -> None:
    try:
        key = PublicKey.from_spki(spki)
    except FormatError:
        return
    assert key.algorithm is Algorithm.ED25519
    assert not key.verifies(bytes(64), b"")


def test_the_keys_of_small_order_are_all_there_are() -> None:
    """Every point that eight times itself makes neutral, and every spelling of its y."""
    spellings = {y + extra for y in _small_order_ys() for extra in (0, _P) if y + extra < 2**255}
    assert len(spellings) == 7
    for y in spellings:
        for sign in (0, 1 << 255):
            with pytest.raises(FormatError, match="small order"):
                PublicKey.from_spki(PREFIX + (y | sign).to_bytes(32, "little"))


def test_under_a_key_of_small_order_one_signature_verifies_for_many_messages() -> None:
    neutral = b"\1" + bytes(31)
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"why they are refused")


def _small_order_ys() -> set[int]:
    """Double points until the neutral one (x = 0, y = 1); y alone tells them apart here."""
    ys = {1, _P - 1, 0}
    # Order 8: doubling gives y = 0, so x^2 = -y^2, and the curve says -x^2 + y^2 = 1 + d x^2 y^2.
    # Hence d y^4 + 2 y^2 - 1 = 0, a quadratic in y^2.
    root = _square_root((1 + _D) % _P)
    assert root is not None
    for sign in (1, -1):
        square = (-1 + sign * root) * pow(_D, -1, _P) % _P
        y = _square_root(square)
        if y is not None:
            ys |= {y, _P - y}
    return ys


def _square_root(value: int) -> int | None:
    for candidate in (
        pow(value, (_P + 3) // 8, _P),
        pow(value, (_P + 3) // 8, _P) * pow(2, (_P - 1) // 4, _P),
    ):
        if candidate * candidate % _P == value:
            return candidate % _P
    return None
