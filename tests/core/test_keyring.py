"""Whom to believe: the checks between bytes from anywhere and a manifest a device acts on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keyring import (
    Keyring,
    Seen,
    TrustedManifest,
    check_fresh,
    clock,
    named_root,
    usable,
)
from manifestgen.core.limits import LIMITS
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest, sha256
from manifestgen.errors import FormatError, VerificationError
from tests.conformance.in_process import Vector, check, vectors
from tests.simulator import CHANNEL, EPOCH, NOW, Simulator, TestKey, changed, raw, role

SIM = Simulator()
KEYRING = SIM.keyring()
DATA = SIM.manifest("1.4.2", sequence=7)


@vectors("freshness")
def test_vectors(vector: Vector) -> None:
    check(vector)


def test_a_thousand_rotations_each_by_new_keys() -> None:
    """One by one; how many steps one check may take is the caller's to count."""
    keyring, old = Keyring.trust(SIM.root()), SIM.root_key
    for number in range(2, 1002):
        new = TestKey.ed25519(f"rotation {number}")
        keys = (*SIM.root_value.keys, new.public)
        keyring = keyring.follow(SIM.root(number=number, keys=keys, root=role(new), by=[old, new]))
        old = new
    assert keyring.root.number == 1001


def test_a_revoked_manifest_key_signs_no_more() -> None:
    new = TestKey.ed25519("manifest 2")
    entry = replace(SIM.root_value.manifest[0], role=role(new))
    second = SIM.root(number=2, keys=(*SIM.root_value.keys, new.public), manifest=(entry,))
    keyring = KEYRING.follow(second)
    with pytest.raises(VerificationError, match="0 of 1 trusted keys signed this manifest"):
        keyring.manifest(DATA, CHANNEL)
    assert keyring.manifest(SIM.manifest(by=[new]), CHANNEL).manifest.sequence == 1


def test_a_revoked_release_key_makes_its_offers_unusable_and_no_more() -> None:
    new = TestKey.ed25519("release 2")
    keyring = SIM.keyring(keys=(*SIM.root_value.keys, new.public), release=role(new))
    data = SIM.manifest("1.4.2", SIM.offer(SIM.release("1.3.0", by=[new])))
    trusted = keyring.manifest(data, CHANNEL)
    assert [str(one.version) for one in usable(trusted)] == ["1.3.0"]
    refused, believed = trusted.releases
    assert isinstance(refused, VerificationError)
    assert refused.code == "signature"
    assert isinstance(believed, Release)


@pytest.mark.parametrize(
    ("now", "alive"),
    [
        (SIM.root_value.expires - timedelta(seconds=1), True),
        (SIM.root_value.expires, False),
        (EPOCH - timedelta(days=9000), True),
    ],
    ids=["last second", "to the second", "long before"],
)
def test_a_root_expires_by_the_clock(now: datetime, alive: bool) -> None:
    if alive:
        KEYRING.check_root_fresh(now)
        return
    with pytest.raises(VerificationError, match="expired on 2031-01-01") as caught:
        KEYRING.check_root_fresh(now)
    assert caught.value.code == "root_expired"


class TestNamedRoot:
    def test_it_is_read_before_anything_is_verified(self) -> None:
        assert named_root(SIM.manifest(root=9, by=[])) == 9

    @pytest.mark.parametrize("value", [0, -1, "1", True, None, [1], {}])
    def test_another_value_is_refused(self, value: object) -> None:
        signed = {**SIM.manifest_value().to_json(), "root": value}
        data = raw(signed, Kind.MANIFEST)  # type: ignore[arg-type]
        with pytest.raises(FormatError, match=r"\$\.signed\.root"):
            named_root(data)

    def test_a_missing_one_is_refused(self) -> None:
        signed = changed(SIM.manifest_value().to_json(), root=None)
        with pytest.raises(FormatError, match=r"\$\.signed\.root"):
            named_root(raw(signed, Kind.MANIFEST))

    def test_another_document_is_refused(self) -> None:
        with pytest.raises(VerificationError, match=r"root\.v1") as caught:
            named_root(SIM.root())
        assert caught.value.code == "type"


class TestLinked:
    def test_a_manifest_of_the_past_needs_no_key(self) -> None:
        data = SIM.manifest("1.4.2", by=[])
        assert KEYRING.linked(data, sha256(data)).manifest.sequence == 1

    def test_other_bytes_are_refused(self) -> None:
        with pytest.raises(VerificationError) as caught:
            KEYRING.linked(DATA, sha256(DATA + b" "))
        assert caught.value.code == "history"

    def test_another_document_is_refused(self) -> None:
        with pytest.raises(VerificationError) as caught:
            KEYRING.linked(SIM.root(), sha256(SIM.root()))
        assert caught.value.code == "type"


def test_what_a_device_remembers() -> None:
    digest = Envelope.decode(DATA, limit=LIMITS.manifest_bytes).digest()
    assert trusted().seen == Seen(7, digest, EPOCH)


def test_the_clock_is_never_before_the_newest_manifest() -> None:
    seen = Seen(1, Digest("0" * 64), NOW)
    assert clock(EPOCH, seen) == NOW
    assert clock(NOW + timedelta(1), seen) == NOW + timedelta(1)
    assert clock(EPOCH, None) == EPOCH


def test_a_damaged_memory_of_the_time_is_no_equivocation() -> None:
    seen = replace(trusted().seen, issued=EPOCH - timedelta(seconds=1))
    check_fresh(trusted(), seen=seen, now=NOW, root_issued=EPOCH)


def test_a_time_without_a_zone_is_the_callers_mistake() -> None:
    with pytest.raises(TypeError):
        check_fresh(trusted(), seen=None, now=datetime(2030, 1, 2), root_issued=EPOCH)


TIMES = st.datetimes(timezones=st.just(UTC))
SEEN = st.none() | st.builds(
    Seen,
    st.integers(1, 2**53 - 1) | st.integers(6, 8),
    st.sampled_from([Digest("0" * 64), KEYRING.manifest(DATA, CHANNEL).seen.digest]),
    TIMES,
)


@given(SEEN, TIMES, TIMES)
def test_any_clock_and_memory_gives_yes_or_a_code(
    seen: Seen | None, now: datetime, root_issued: datetime
) -> None:
    try:
        check_fresh(trusted(), seen=seen, now=now, root_issued=root_issued)
    except VerificationError as error:
        codes = {"replay", "equivocation", "future", "expired"}
        if error.code not in codes:
            raise AssertionError(error.code) from error


@given(st.data())
def test_any_bit_flipped_is_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(DATA) * 8 - 1))
    flipped = bytearray(DATA)
    flipped[at // 8] ^= 1 << at % 8
    with pytest.raises(VerificationError):
        KEYRING.manifest(bytes(flipped), CHANNEL)


@given(st.integers(0, len(DATA) - 1))
def test_cut_anywhere_is_refused(end: int) -> None:
    with pytest.raises(FormatError):
        KEYRING.manifest(DATA[:end], CHANNEL)


@pytest.mark.parametrize("kind", ["trust", "follow"])
@given(data=st.binary(max_size=50))
def test_any_bytes_are_no_root(kind: str, data: bytes) -> None:
    with pytest.raises(FormatError):
        getattr(KEYRING, kind)(data)


def trusted() -> TrustedManifest:
    """Return the manifest of these tests."""
    return KEYRING.manifest(DATA, CHANNEL)
