"""The signed statement "version V of app A is this tree, stored so"."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.release import Release
from manifestgen.errors import FormatError
from tests.conformance.in_process import Vector, check, vectors
from tests.simulator import Simulator, changed
from tests.vectors.values import capgo_release

SIM = Simulator()
PLAIN: dict[str, Any] = dict(SIM.release_value("1.4.2").to_json())
WRAPPED: dict[str, Any] = dict(capgo_release("1.4.2").signed)
FULL: dict[str, Any] = {
    **WRAPPED,
    "channels": ["beta"],
    "floor": "1.2.0",
    "native": [{"range": ">=3"}, {"platform": "ios", "range": "<4"}],
    "notes": "x",
    "platforms": ["ios"],
}
OTHERS: list[Any] = [None, "x", [], {}, True, -1, [None], [{}], "", 2**53 - 1]


@vectors("releases")
def test_vectors(vector: Vector) -> None:
    check(vector)


@pytest.mark.parametrize("signed", [PLAIN, WRAPPED, FULL], ids=["plain", "capgo", "full"])
def test_a_release_is_read_back(signed: dict[str, Any]) -> None:
    assert Release.from_json(signed).to_json() == signed


@pytest.mark.parametrize("name", sorted(set(FULL) - {"type"}))
@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_a_member_of_another_type_is_refused(name: str, value: Any) -> None:
    allowed: dict[str, list[Any]] = {"app": ["x"], "native": [[]], "notes": ["x", ""], "scheme": []}
    if value in allowed.get(name, []):
        return
    with pytest.raises(FormatError, match=r"^\$\.signed"):
        Release.from_json({**FULL, name: value})


@pytest.mark.parametrize("group", ["tree", "bundle", "capgo"])
@given(value=st.sampled_from(OTHERS), data=st.data())
def test_a_nested_member_of_another_type_is_refused(
    group: str, value: Any, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(FULL[group])))
    with pytest.raises(FormatError, match=rf"^\$\.signed\.{group}\.{name}"):
        Release.from_json({**FULL, group: {**FULL[group], name: value}})


def test_a_scheme_of_the_future_has_a_code_of_its_own() -> None:
    with pytest.raises(FormatError, match="sealed") as caught:
        Release.from_json(changed(FULL, scheme="sealed"))
    assert caught.value.code == "scheme"
