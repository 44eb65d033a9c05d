"""Capgo's formats, by the facts that its CLI and plugin show."""

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core import capgo
from manifestgen.core.cipher import ContentKey
from manifestgen.core.release import Wrapped
from manifestgen.core.tree import Digest, sha256
from manifestgen.errors import FormatError, KeyUseError, VerificationError
from tests.conformance.in_process import Vector, check, vectors
from tests.vectors.values import CAPGO_KEY, TestWrapper

WRAPPER = TestWrapper(CAPGO_KEY.read_bytes())
PUBLIC = WRAPPER.public
KEY = ContentKey(bytes(range(16)), bytes(range(16, 32)))
PLAIN = sha256(b"bundle")
V3, V2 = (capgo.wrap(WRAPPER, KEY, PLAIN, form) for form in ("v3", "v2"))


@vectors("cipher", "unwrap")
def test_vectors(vector: Vector) -> None:
    check(vector)


def block(value: bytes) -> bytes:
    """Open an RSA value by arithmetic alone."""
    numbers = PUBLIC.public_numbers()
    return pow(int.from_bytes(value, "big"), numbers.e, numbers.n).to_bytes(256, "big")


def test_a_wrapped_value_is_a_type_1_block_without_digest_info() -> None:
    assert block(V3.session_key) == b"\0\1" + b"\xff" * 237 + b"\0" + KEY.key
    assert block(V3.checksum) == b"\0\1" + b"\xff" * 221 + b"\0" + bytes.fromhex(PLAIN)


def test_v2_wraps_the_hex_digits_decoded_as_base64() -> None:
    assert block(V2.checksum) == b"\0\1" + b"\xff" * 205 + b"\0" + base64.b64decode(PLAIN)


@pytest.mark.parametrize("form", ["v3", "v2"])
def test_the_wrapped_digest_of_a_file_is_no_other_files(form: str) -> None:
    checksum = capgo.wrap_digest(WRAPPER, PLAIN, form)
    capgo.check_digest(PUBLIC, checksum, PLAIN, form)
    with pytest.raises(VerificationError) as caught:
        capgo.check_digest(PUBLIC, checksum, sha256(b"other"), form)
    assert caught.value.code == "digest"


def test_wrapping_is_deterministic() -> None:
    assert capgo.wrap(WRAPPER, KEY, PLAIN) == V3


@pytest.mark.parametrize(("wrapped", "length"), [(V3, 512), (V2, 344)], ids=["v3", "v2"])
def test_checksums_are_spelled_as_plugins_want_them(wrapped: Wrapped, length: int) -> None:
    text = capgo.checksum_text(wrapped)
    assert len(text) == length
    assert text == text.lower() or wrapped.form == "v2"
    assert capgo.parse_checksum(text) == (wrapped.checksum, wrapped.form)


def test_session_keys_are_spelled_as_the_cli_does() -> None:
    iv, colon, key = capgo.session_text(V3).partition(":")
    assert (len(iv), colon, len(key)) == (24, ":", 344)
    assert capgo.parse_session(capgo.session_text(V3)) == (KEY.iv, V3.session_key)


def test_the_key_id_is_the_beginning_of_the_pem() -> None:
    assert capgo.key_id(PUBLIC).startswith("MIIBCgKCAQEA")
    assert len(capgo.key_id(PUBLIC)) == 20
    assert V3.key_id == capgo.key_id(PUBLIC)


def test_the_public_key_is_spelled_as_android_needs_it() -> None:
    pem = capgo.public_pem(PUBLIC)
    assert pem.startswith("-----BEGIN RSA PUBLIC KEY-----\n")
    assert len(pem) == 426
    assert capgo.load_public(pem.encode()) == PUBLIC


def _pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


OID_OF_NOBODY = base64.b64encode(bytes.fromhex("300b300506032a030403020001"))  # 1.2.3.4


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(CAPGO_KEY.read_bytes(), id="the private half"),
        pytest.param(_pem(ec.derive_private_key(7, ec.SECP256R1()).public_key()), id="P-256"),
        pytest.param(
            _pem(rsa.RSAPublicNumbers(65537, 2**1024 - 105).public_key()), id="RSA of 1024 bits"
        ),
        pytest.param(
            b"-----BEGIN PUBLIC KEY-----\n" + OID_OF_NOBODY + b"\n-----END PUBLIC KEY-----\n",
            id="an algorithm nobody knows",
        ),
    ],
)
def test_another_key_is_refused(pem: bytes) -> None:
    with pytest.raises(KeyUseError):
        capgo.load_public(pem)


@pytest.mark.parametrize(
    ("changes", "plain", "code"),
    [
        pytest.param({"key_id": "A" * 20}, PLAIN, "decrypt", id="another key's id"),
        pytest.param({"session_key": V3.checksum}, PLAIN, "decrypt", id="a key of 32 bytes"),
        pytest.param({"session_key": bytes(256)}, PLAIN, "decrypt", id="zeros"),
        pytest.param({"session_key": b"\xff" * 256}, PLAIN, "decrypt", id="beyond the modulus"),
        pytest.param({"checksum": bytes(256)}, PLAIN, "decrypt", id="a checksum of zeros"),
        pytest.param({"checksum": V2.checksum}, PLAIN, "digest", id="the other form's"),
        pytest.param({}, sha256(b"other"), "digest", id="another bundle's"),
    ],
)
def test_what_a_device_cannot_recover_is_refused(
    changes: dict[str, object], plain: Digest, code: str
) -> None:
    with pytest.raises(VerificationError) as caught:
        capgo.check_wrapped(PUBLIC, replace(V3, **changes), plain)  # type: ignore[arg-type]
    assert caught.value.code == code


def test_a_key_store_that_wraps_something_else_is_found_out() -> None:
    class Wrong(TestWrapper):
        def wrap(self, payload: bytes) -> bytes:
            return super().wrap(payload[::-1])

    with pytest.raises(VerificationError):
        capgo.wrap(Wrong(CAPGO_KEY.read_bytes()), KEY, PLAIN)


@given(st.binary(min_size=256, max_size=256))
def test_any_bytes_recover_or_are_refused(value: bytes) -> None:
    with pytest.raises(VerificationError):
        capgo.recover(PUBLIC, value)


@given(st.text(max_size=40) | st.text("0123456789abcdef", min_size=510, max_size=514))
def test_any_text_is_a_checksum_or_refused(text: str) -> None:
    try:
        assert len(capgo.parse_checksum(text)[0]) == 256
    except FormatError:
        assert len(text) != 512


@pytest.mark.parametrize("text", ["", ":", "AAAA:AAAA", "é:é", "\ud800:", "no colon"])
def test_bad_session_keys_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        capgo.parse_session(text)
