"""What a device does about a manifest."""

import hashlib
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.audience import Audience
from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.manifest import FULL, Rollout
from manifestgen.core.select import (
    Decision,
    Device,
    Install,
    Memory,
    Nothing,
    Reset,
    Running,
    decide,
    position,
    reaches,
)
from manifestgen.core.version import Version
from tests.conformance.in_process import Vector, check, vectors
from tests.simulator import CHANNEL, NOW, Simulator, tree_digest
from tests.vectors.decisions import IOS, UNSIGNED, WEEK, patch

SIM = Simulator()
V142 = Version.parse("1.4.2")
TEXTS = ["1.0.0", "1.3.0", "1.4.0", "1.4.2", "1.5.0-rc.1", "2.0.0"]
VERSIONS = st.sampled_from([Version.parse(text) for text in TEXTS])
TREES = st.sampled_from([tree_digest(text) for text in TEXTS])
ANY_TEXT = st.none() | st.text(st.characters(), max_size=10)
IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
DEVICES = st.builds(
    Device,
    channel=st.just(CHANNEL),
    id=ANY_TEXT,
    platform=ANY_TEXT | st.sampled_from(["ios", "android"]),
    native=ANY_TEXT | st.sampled_from(["3", "4.1"]),
    builtin=ANY_TEXT | st.sampled_from(TEXTS),
)
MEMORIES = st.builds(
    Memory,
    running=st.none() | st.builds(Running, VERSIONS, TREES),
    floor=st.none() | VERSIONS,
    failed=st.frozensets(TREES),
    moved=st.booleans(),
)
_RELEASES = [SIM.release(text) for text in TEXTS]
OFFERS = st.builds(
    SIM.offer,
    st.sampled_from(_RELEASES),
    rollout=st.builds(Rollout, st.integers(0, FULL), st.none() | st.just(WEEK)).map(
        lambda one: one if one.share >= WEEK.first else replace(one, ramp=None)
    ),
    audience=st.sampled_from([Audience(), IOS]),
    patches=st.just((patch("1.3.0", "1.4.2"),)),
) | st.just(UNSIGNED)
MANIFESTS = st.builds(
    lambda offers, withdrawn, paused: SIM.trusted(
        *offers, withdrawn=tuple(withdrawn), paused=paused
    ),
    st.lists(OFFERS, max_size=4),
    st.lists(VERSIONS, max_size=2, unique=True),
    st.booleans(),
)
TIMES = st.datetimes(timezones=st.just(UTC))


@vectors("decide")
def test_vectors(vector: Vector) -> None:
    check(vector)


@vectors("rollout")
def test_rollout_vectors(vector: Vector) -> None:
    check(vector)


@given(MANIFESTS, DEVICES, MEMORIES, TIMES)
def test_every_situation_has_a_decision_that_keeps_the_rules(
    trusted: TrustedManifest, device: Device, memory: Memory, now: datetime
) -> None:
    decision = decide(trusted, device, memory, now)
    running = memory.running.version if memory.running else device.builtin_version
    withdrawn = trusted.manifest.withdrawn
    match decision:
        case Nothing(reason=reason):
            assert reason in {"current", "lower", "floor", "paused", "no_offer", "builtin"}
        case Install(release=release):
            assert not trusted.manifest.paused
            assert release.version != running
            assert release.version not in withdrawn
            assert release.tree.digest not in memory.failed
            assert memory.floor is None or release.version >= memory.floor
            assert release.version > running or running in withdrawn or memory.moved
        case Reset():
            assert memory.running is not None
            assert running in withdrawn
            assert device.builtin_version not in withdrawn
            assert memory.floor is None or device.builtin_version >= memory.floor
    _check_verdicts(decision, trusted)


def _check_verdicts(decision: Decision, trusted: TrustedManifest) -> None:
    reasons = [verdict.reason for verdict in decision.verdicts]
    if trusted.manifest.paused:
        assert reasons == []
        return
    assert len(reasons) == len(trusted.manifest.offers)
    assert reasons.count("admitted") <= 1
    before, admitted, after = _split(reasons)
    assert "not_reached" not in before
    assert set(after) <= {"not_reached", "untrusted"}
    assert isinstance(decision, Nothing | Reset) or admitted


def _split(reasons: list[str]) -> tuple[list[str], bool, list[str]]:
    if "admitted" not in reasons:
        return reasons, False, []
    at = reasons.index("admitted")
    return reasons[:at], True, reasons[at + 1 :]


@given(MANIFESTS, DEVICES, MEMORIES, TIMES)
def test_once_done_there_is_nothing_more_to_do(
    trusted: TrustedManifest, device: Device, memory: Memory, now: datetime
) -> None:
    """No manifest makes a device go round in circles: after a move the next decision is none."""
    match decide(trusted, device, memory, now):
        case Install(release=release):
            running = Running(release.version, release.tree.digest)
            again = decide(trusted, device, replace(memory, running=running, moved=False), now)
            assert isinstance(again, Nothing)
            assert again.reason == "current"
        case Reset():
            after = replace(memory, running=None, moved=False)
            assert isinstance(decide(trusted, device, after, now), Nothing)
        case _:
            pass


@given(IDS, st.integers(0, FULL), st.integers(0, FULL))
def test_raising_a_share_keeps_earlier_devices_in(device: str, a: int, b: int) -> None:
    low, high = sorted((a, b))
    if reaches(Rollout(low), V142, device, NOW):
        assert reaches(Rollout(high), V142, device, NOW)


@given(IDS)
def test_share_nothing_reaches_nobody_and_share_full_everybody(device: str) -> None:
    assert not reaches(Rollout(0), V142, device, NOW)
    assert reaches(Rollout(FULL), V142, device, NOW)


@given(IDS, TIMES, TIMES)
def test_a_ramp_never_loses_a_device(device: str, a: datetime, b: datetime) -> None:
    earlier, later = sorted((a, b))
    if reaches(Rollout(FULL, WEEK), V142, device, earlier):
        assert reaches(Rollout(FULL, WEEK), V142, device, later)


@given(st.text(st.characters(), max_size=5), st.integers(0, FULL - 1))
def test_an_id_without_utf_8_is_none(text: str, share: int) -> None:
    broken = f"{text}\ud800x"
    assert not reaches(Rollout(share), V142, broken, NOW)
    assert reaches(Rollout(FULL), V142, broken, NOW)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1), IDS)
def test_doubles_reach_the_same_position(salt: str, device: str) -> None:
    data = salt.encode() + b"\0" + device.encode()
    x = int(hashlib.sha256(data).hexdigest()[:8], 16)
    assert position(salt, device) == math.floor(float(x) * 10000.0 / 4294967296.0)
    assert 0 <= position(salt, device) < FULL


def test_a_share_reaches_about_that_many() -> None:
    inside = sum(reaches(Rollout(2500), V142, f"device {n}", NOW) for n in range(4000))
    assert 900 < inside < 1100


def test_another_salt_reaches_others() -> None:
    devices = [f"device {n}" for n in range(200)]
    one, other = (
        {device for device in devices if reaches(Rollout(5000, salt=salt), V142, device, NOW)}
        for salt in "ab"
    )
    assert one - other
    assert other - one


@pytest.mark.parametrize(
    ("text", "version"),
    [(None, "0.0.0"), ("", "0.0.0"), ("?", "0.0.0"), ("3", "3.0.0"), ("3.1.4.1", "3.1.4")],
)
def test_the_built_in_version(text: str | None, version: str) -> None:
    assert str(Device(CHANNEL, builtin=text).builtin_version) == version


def test_a_time_without_a_zone_is_the_callers_mistake() -> None:
    trusted = SIM.trusted(SIM.offer("1.4.2", rollout=Rollout(FULL, WEEK)))
    with pytest.raises(TypeError):
        decide(trusted, Device(CHANNEL, id="x"), Memory(), datetime(2030, 1, 2))


def test_the_ends_of_time() -> None:
    for now in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        assert reaches(Rollout(FULL, WEEK), V142, "x", now) is (now > NOW + timedelta(days=9))
