"""The signed list of keys and roles."""

from typing import Any

import pytest

from manifestgen.core.envelope import Envelope
from manifestgen.core.limits import LIMITS
from manifestgen.core.root import Delegation, Root, is_channel
from manifestgen.errors import FormatError
from tests.conformance.in_process import Vector, check, vectors
from tests.simulator import Simulator, TestKey, changed, role

SIM = Simulator()
FULL: dict[str, Any] = dict(SIM.root_value.to_json())


@vectors("roots")
def test_vectors(vector: Vector) -> None:
    check(vector)


def test_a_root_is_read_back() -> None:
    root = Root.from_json(Envelope.decode(SIM.root(), limit=LIMITS.root_bytes).signed)
    assert root.to_json() == SIM.root_value.to_json()


@pytest.mark.parametrize("name", sorted(set(FULL) - {"type"}))
@pytest.mark.parametrize("value", [None, "x", [], {}, True, -1, [None], [{}]], ids=repr)
def test_any_member_missing_or_of_another_type_is_refused(name: str, value: Any) -> None:
    if name == "app" and value == "x":
        return  # an app may be called so
    with pytest.raises(FormatError, match=rf"^\$\.signed.*\.{name}|^\$\.signed\.roles"):
        Root.from_json(changed(FULL, **{name: value}))


@pytest.mark.parametrize("name", ["root", "release", "manifest"])
@pytest.mark.parametrize("value", [None, "x", {}, True, [None], [{}], {"keys": []}], ids=repr)
def test_any_role_missing_or_of_another_type_is_refused(name: str, value: Any) -> None:
    roles = changed(FULL["roles"], **{name: value})
    with pytest.raises(FormatError, match=r"^\$\.signed\.roles"):
        Root.from_json(changed(FULL, roles=roles))


@pytest.mark.parametrize(
    ("channel", "signer"),
    [
        pytest.param("beta", "all", id="the star"),
        pytest.param("production", "one", id="by name, instead of the star"),
        pytest.param("*", "all", id="the star by its name, which is no channel"),
    ],
)
def test_who_signs_a_channel(channel: str, signer: str) -> None:
    keys = {name: TestKey.ed25519(name) for name in ("all", "one")}
    entries = (
        Delegation(("*",), role(keys["all"])),
        Delegation(("production", "lan"), role(keys["one"])),
    )
    root = SIM.keyring(manifest=entries).root
    assert root.manifest_role(channel) == role(keys[signer])


def test_without_a_star_nobody_signs_other_channels() -> None:
    entries = (Delegation(("production",), role(SIM.manifest_key)),)
    assert SIM.keyring(manifest=entries).root.manifest_role("beta") is None


@pytest.mark.parametrize(
    ("name", "good"),
    [
        *((name, True) for name in ("production", "0", "a-", "a" * 64, "x--y")),
        *((name, False) for name in ("root", "releases", "blobs", "client", "*", "", "-a", "A")),
        *((name, False) for name in ("a" * 65, "a_b", "a/b", "a.b", "a\n", "é", "..")),
    ],
)
def test_channels(name: str, good: bool) -> None:
    assert is_channel(name) is good
