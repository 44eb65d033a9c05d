"""A signed document as stored, and what a signature covers."""

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core import canonical
from manifestgen.core.canonical import Json
from manifestgen.core.envelope import Envelope, Kind, Signature, pae
from manifestgen.core.keys import KeyId
from manifestgen.core.limits import LIMITS
from manifestgen.errors import FormatError, VerificationError
from tests.conformance.in_process import Vector, check, vectors
from tests.simulator import Simulator, TestKey
from tests.simulator import envelope as signed_by

SIM = Simulator()


@vectors("signatures")
def test_vectors(vector: Vector) -> None:
    check(vector)


@pytest.mark.parametrize(
    ("kind", "payload", "message"),
    [
        ("http://e.x/Hello", b"hello world", b"DSSEv1 16 http://e.x/Hello 11 hello world"),
        ("", b"", b"DSSEv1 0  0 "),
        ("é", "é".encode(), b"DSSEv1 2 \xc3\xa9 2 \xc3\xa9"),
    ],
)
def test_pae(kind: str, payload: bytes, message: bytes) -> None:
    assert pae(kind, payload) == message


def test_the_message_names_the_type_that_is_expected() -> None:
    message = Envelope((), {"type": "root.v1"}).message(Kind.MANIFEST)
    assert (
        message == b'DSSEv1 44 application/vnd.manifestgen.manifest.v1+json 18 {"type":"root.v1"}'
    )


def test_a_document_is_written_as_it_was_read() -> None:
    data = SIM.manifest("1.4.2")
    assert Envelope.decode(data, limit=LIMITS.manifest_bytes).encode() == data


def test_the_digest_is_of_what_was_said_whoever_signed_it() -> None:
    said = {"a": 1}
    one, two = Envelope((), said), signed_by(said, Kind.ROOT, [TestKey.ed25519("x")])
    assert one.digest() == two.digest() == hashlib.sha256(b'{"a":1}').hexdigest()


def test_signatures_are_added_once_a_key_sorted_by_key() -> None:
    a, b = (Signature(KeyId(letter * 64), b"1") for letter in "ab")
    again = Signature(a.keyid, b"2")
    assert Envelope((b, a), {}).with_signatures([again]).signatures == (again, b)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ("release.v1", None),
        ("release.v2", "type"),
        ("root.v1", "type"),
        ("news.v1", "type"),
        ("release.v10000", "format"),
        ("release", "format"),
        ("Release.v1", "format"),
        ("release.v1\n", "format"),
        ("", "format"),
        (1, "format"),
        (None, "format"),
        (["release.v1"], "format"),
        ({}, "format"),
    ],
)
def test_types(found: Json, code: str | None) -> None:
    envelope = Envelope((), {"type": found})
    if code is None:
        envelope.expect(Kind.RELEASE)
        return
    with pytest.raises(VerificationError) as caught:
        envelope.expect(Kind.RELEASE)
    assert caught.value.code == code


def test_a_newer_type_hints_at_an_update() -> None:
    with pytest.raises(VerificationError) as caught:
        Envelope((), {"type": "release.v2"}).expect(Kind.RELEASE)
    assert "update this client" in (caught.value.hint or "")


@given(st.binary(max_size=80))
def test_any_bytes_are_an_envelope_or_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        Envelope.decode(data, limit=LIMITS.root_bytes)


JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.integers(-9, 9) | st.text("ab/+=", max_size=8) | st.just("0" * 64),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["keyid", "sig", "signatures", "signed"]), inner)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_an_envelope_or_refused(value: Json) -> None:
    with suppress(FormatError):
        envelope = Envelope.decode(canonical.encode(value), limit=LIMITS.root_bytes)
        assert envelope.to_json() == value
