"""The state folder after damage, loss and old copies."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from manifestgen.core.select import Running
from manifestgen.core.tree import Digest, sha256
from manifestgen.core.version import Version
from manifestgen.device.state import MAX_FAILED, State
from manifestgen.errors import FormatError, VerificationError
from tests.device.publisher import Device, Publisher
from tests.simulator import NOW, Simulator, utc

A = Running(Version.parse("1.0.0"), sha256(b"a"))
B = Running(Version.parse("1.1.0"), sha256(b"b"))
C = Running(Version.parse("1.2.0"), sha256(b"c"))


def test_reads_what_it_wrote() -> None:
    state = State(
        channel="production",
        running=B,
        confirmed=False,
        previous=A,
        staged=C,
        failed=(A, C),
        floor=Simulator().release("1.0.0"),
        checked=NOW,
        looked=NOW,
    )
    assert State.decode(state.encode()) == state
    assert State.decode(State().encode()) == State()


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_state_cut_short_is_refused(cut: int) -> None:
    data = State(running=A, previous=B, failed=(C,)).encode()
    with pytest.raises(FormatError):
        State.decode(data[: min(cut, len(data) - 1)])


RUNNING_A = State(running=A)
STAGED_B = replace(RUNNING_A, staged=B)
TRIAL_B = STAGED_B.switched()
FAILED_B = TRIAL_B.rolled_back()

RECONCILED: dict[str, tuple[State, Digest | None, State]] = {
    "as recorded": (RUNNING_A, A.tree, RUNNING_A),
    "built-in as recorded": (State(), None, State()),
    "killed before the switch": (STAGED_B, A.tree, STAGED_B),
    "killed after the switch": (STAGED_B, B.tree, TRIAL_B),
    "killed after the way back": (TRIAL_B, A.tree, FAILED_B),
    "killed after the first release's way back": (
        State(running=A, confirmed=False),
        None,
        State(failed=(A,)),
    ),
    "killed after a reset": (RUNNING_A, None, State()),
    "an old copy": (RUNNING_A, C.tree, State(running=C)),
    "no state": (State(), C.tree, State(running=C)),
    "an old copy, and the built-in app": (replace(TRIAL_B, previous=A), None, State()),
}


@pytest.mark.parametrize(("state", "current", "want"), RECONCILED.values(), ids=RECONCILED)
def test_the_link_tells_what_runs(state: State, current: Digest | None, want: State) -> None:
    described = next((one for one in (A, B, C) if one.tree == current), None)
    assert state.reconcile(current, described) == want


def test_failures_are_remembered_once_and_bounded() -> None:
    state = State()
    for n in range(2 * MAX_FAILED):
        running = Running(A.version, sha256(bytes([n % 100])))
        state = replace(state, running=running, confirmed=False).rolled_back()
    assert len(state.failed) == len(set(state.failed)) == MAX_FAILED


# On disk


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(Publisher(), tmp_path / "state")


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _garble(path: Path) -> None:
    path.write_bytes(b"\x00\xff" * 100_000)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x80
    path.write_bytes(data)


DAMAGE = [_remove, _empty, _cut, _garble, _flip]
Damage = Callable[[Path], None]


def damage(device: Device, name: str, how: Damage, *, both: bool = True) -> None:
    for path in sorted(device.state.glob(f"{name}*")):
        if both or path.suffix != ".old":
            how(path)


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["state.json", "root.json", "manifests/production.json"])
def test_the_previous_copy_stands_in(device: Device, name: str, how: Damage) -> None:
    device.confirmed("1.0.0")
    device.confirmed("1.1.0")
    device.publisher.rotate(2)
    device.confirmed("1.2.0", root=2)
    status = device.updater.status()
    damage(device, name, how, both=False)
    found = device.updater.status()
    assert (found.running, found.confirmed) == (status.running, True)
    assert found.sequence in {2, 3}
    old = device.publisher.sim.manifest(device.publisher.offer("1.0.0"), sequence=1)
    device.publisher.put("production/manifest.json", old)
    with pytest.raises(VerificationError) as caught:
        device.install()
    assert caught.value.code == "replay"
    device.confirmed("1.3.0", sequence=4, root=2)


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["state.json", "root.json", "manifests/production.json", "*"])
def test_what_runs_goes_on_after_any_loss(device: Device, name: str, how: Damage) -> None:
    floor = Version.parse("1.1.0")
    device.confirmed(device.publisher.offer("1.1.0", floor=floor))
    device.confirmed(device.publisher.offer("1.2.0", floor=floor))
    if name == "*":
        for one in ("state.json", "root.json", "manifests/production.json"):
            damage(device, one, how)
    else:
        damage(device, name, how)
    found = device.updater.status()
    assert str(found.running and found.running.version) == "1.2.0"
    assert found.confirmed
    # Its own envelope still says how low it may go.
    device.publisher.publish("1.0.0", withdrawn=["1.2.0"])
    assert device.updater.install().reason == "floor"
    device.confirmed("1.3.0")


def test_without_memory_what_runs_tells_how_late_it_is(device: Device) -> None:
    late = utc(2030, 3)
    device.now = late
    device.confirmed(
        device.publisher.offer("1.1.0", issued=late), issued=late, expires=utc(2030, 4)
    )
    shutil.rmtree(device.state / "manifests")
    damage(device, "state.json", _remove)
    device.publisher.publish("1.2.0", issued=utc(2030, 1), expires=utc(2030, 2), sequence=1)
    device.now = utc(2029)
    with pytest.raises(VerificationError) as caught:
        device.install()
    assert caught.value.code == "expired"


def test_an_old_copy_of_the_state_does_not_change_what_runs(device: Device) -> None:
    device.confirmed("1.0.0")
    old = {path: path.read_bytes() for path in device.state.glob("state.json*")}
    manifests = {path: path.read_bytes() for path in device.state.glob("manifests/*")}
    first = device.publisher.site.get("production/manifest.json")
    device.confirmed("1.1.0")
    device.confirmed("1.2.0")
    for path, data in (old | manifests).items():
        path.write_bytes(data)
    found = device.updater.status()
    assert str(found.running and found.running.version) == "1.2.0"
    assert found.confirmed
    assert first is not None
    device.publisher.put("production/manifest.json", first.data)
    assert device.updater.install().reason == "lower"
    assert device.version == "1.2.0"


def test_a_confirmation_survives_the_loss_of_either_copy(device: Device) -> None:
    device.publisher.publish("1.0.0")
    device.install()
    device.updater.confirm()
    for path in sorted(device.state.glob("state.json*")):
        data = path.read_bytes()
        path.unlink()
        assert device.updater.status().confirmed
        path.write_bytes(data)


def test_a_removed_bundle_is_fetched_again(device: Device) -> None:
    device.confirmed("1.0.0")
    shutil.rmtree(device.state / "bundles")
    (device.state / "current").unlink()
    assert device.install() == "installed"
    assert device.version == "1.0.0"


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(shutil.rmtree, id="removed"),
        pytest.param(lambda bundle: (bundle / "index.html").write_bytes(b"x"), id="changed"),
        pytest.param(lambda bundle: (bundle / "more.js").write_bytes(b"x"), id="added to"),
        pytest.param(lambda bundle: (bundle / "link").symlink_to("/"), id="linked"),
    ],
)
def test_what_runs_is_mended(device: Device, harm: Callable[[Path], object]) -> None:
    device.confirmed("1.0.0")
    harm((device.state / "current").resolve())
    assert device.updater.check().action.value == "install"
    assert device.install() == "installed"
    assert device.version == "1.0.0"
    assert device.updater.status().confirmed
    assert device.install() == "none"


def test_staging_may_be_removed_or_full_of_rubbish(device: Device) -> None:
    device.confirmed("1.0.0")
    shutil.rmtree(device.state / "staging")
    (device.state / "staging" / "tree" / "deep").mkdir(parents=True)
    (device.state / "staging" / "tree" / "deep" / "x").write_bytes(b"x")
    (device.state / "staging" / "y.part").write_bytes(b"y")
    device.confirmed("1.1.0")
    assert not list((device.state / "staging").iterdir())
