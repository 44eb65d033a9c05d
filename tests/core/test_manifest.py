"""The signed statement of what one channel offers now."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.manifest import Manifest, Ramp, Rollout, referenced_blobs
from manifestgen.core.reader import Reader
from manifestgen.core.tree import sha256
from manifestgen.core.version import Version
from manifestgen.errors import FormatError
from tests.conformance.in_process import Vector, check, vectors
from tests.simulator import EPOCH, Simulator
from tests.vectors.decisions import IOS, patch

SIM = Simulator()
OFFER = SIM.offer(
    "1.4.2",
    rollout=Rollout(2500, Ramp(100, EPOCH, EPOCH + timedelta(days=1)), "salt"),
    audience=IOS,
    mandatory=True,
    patches=(patch("1.3.0", "1.4.2"),),
)
VALUE = SIM.manifest_value(
    OFFER, previous=sha256(b"41"), withdrawn=(Version.parse("1.4.1"),), paused=True
)
FULL: dict[str, Any] = dict(VALUE.to_json())
TIMES = st.datetimes().map(lambda moment: moment.replace(tzinfo=EPOCH.tzinfo))
OTHERS: list[Any] = [None, "x", {}, -1, [None], [{}], "", 1.0]


@vectors("manifests")
def test_vectors(vector: Vector) -> None:
    check(vector)


def test_a_manifest_is_read_back() -> None:
    assert Manifest.from_json(FULL) == VALUE
    plain = SIM.manifest_value("1.4.2")
    assert Manifest.from_json(plain.to_json()) == plain


@pytest.mark.parametrize("name", sorted(set(FULL) - {"type"}))
@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_a_member_of_another_type_is_refused(name: str, value: Any) -> None:
    if name in {"app", "channel"} and value == "x":
        return
    with pytest.raises(FormatError, match=rf"^\$\.signed\.{name}"):
        Manifest.from_json({**FULL, name: value})


@pytest.mark.parametrize("name", sorted(OFFER.to_json()))
@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_a_member_of_an_offer_of_another_type_is_refused(name: str, value: Any) -> None:
    offer = {**OFFER.to_json(), name: value}
    with pytest.raises(FormatError, match=rf"^\$\.signed\.offers\[0\]\.{name}"):
        Manifest.from_json({**FULL, "offers": [offer]})


def test_every_blob_that_a_manifest_leads_to() -> None:
    bundle = SIM.release_value("1.4.2").bundle
    assert referenced_blobs(VALUE, [bundle]) == {bundle.blob, OFFER.patches[0].payload.blob}


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    """Draw what a document may hold."""
    share = draw(st.integers(0, 10_000))
    first = draw(st.integers(0, share))
    start, end = sorted(draw(st.lists(TIMES, min_size=2, max_size=2)))
    if end - start < timedelta(seconds=1):
        return Rollout(share)
    return Rollout(share, Ramp(first, start.replace(microsecond=0), end.replace(microsecond=0)))


@given(rollouts(), TIMES, TIMES)
def test_a_ramp_never_falls_and_stays_within_its_ends(
    rollout: Rollout, a: datetime, b: datetime
) -> None:
    earlier, later = sorted((a, b))
    first = rollout.ramp.first if rollout.ramp else rollout.share
    assert first <= rollout.share_at(earlier) <= rollout.share_at(later) <= rollout.share


@given(rollouts(), TIMES)
def test_doubles_reach_the_same_share(rollout: Rollout, now: datetime) -> None:
    if rollout.ramp is None or not rollout.ramp.start < now < rollout.ramp.end:
        return
    elapsed = (now - rollout.ramp.start) // timedelta(milliseconds=1) // 1000
    whole = (rollout.ramp.end - rollout.ramp.start) // timedelta(seconds=1)
    product = (rollout.share - rollout.ramp.first) * elapsed
    assert product < 2**53
    assert rollout.share_at(now) == rollout.ramp.first + int(float(product) / float(whole))


@given(rollouts())
def test_rollouts_are_read_back(rollout: Rollout) -> None:
    assert Rollout.read(Reader(rollout.to_json(), "$")) == rollout


def test_just_before_a_whole_second_a_ramp_has_not_moved() -> None:
    rollout = Rollout(10_000, Ramp(0, EPOCH.replace(year=1), EPOCH.replace(year=9999)))
    second = EPOCH + timedelta(seconds=1)
    before = second - timedelta(microseconds=1)
    assert rollout.share_at(before) == rollout.share_at(EPOCH)
    assert Rollout(3, Ramp(0, EPOCH, EPOCH + timedelta(seconds=3))).share_at(before) == 0
