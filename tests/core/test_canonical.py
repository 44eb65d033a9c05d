"""The one byte string a document may be."""

import json
import string
from contextlib import suppress
from enum import IntEnum, StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core import canonical
from manifestgen.core.limits import LIMITS
from manifestgen.errors import FormatError
from tests.conformance.in_process import Vector, check, vectors

LIMIT = LIMITS.manifest_bytes
KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=20)
INTEGERS = st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@vectors("canonical")
def test_vectors(vector: Vector) -> None:
    check(vector)


@given(VALUES)
def test_what_is_written_is_rfc_8785(value: Any) -> None:
    assert canonical.encode(value) == rfc8785.dumps(value)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert canonical.decode(canonical.encode(value), limit=LIMIT) == value


@given(VALUES, st.integers(0, 40), st.binary(min_size=1, max_size=3))
def test_bytes_put_in_are_refused_or_mean_something_else(value: Any, at: int, added: bytes) -> None:
    data = canonical.encode(value)
    changed = data[:at] + added + data[at:]
    with suppress(FormatError):
        assert canonical.encode(canonical.decode(changed, limit=LIMIT)) == changed


@given(st.binary(max_size=60) | st.text(string.printable, max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(FormatError):
        assert rfc8785.dumps(canonical.decode(data, limit=LIMIT)) == data


@given(VALUES, st.sampled_from([", ", " ,", ": ", "\n"]))
def test_other_spellings_of_the_same_value_are_refused(value: Any, space: str) -> None:
    spaced = json.dumps(value, separators=(space, ":"), ensure_ascii=False).encode()
    if spaced != canonical.encode(value):
        with pytest.raises(FormatError):
            canonical.decode(spaced, limit=LIMIT)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(1.0, id="float"),
        pytest.param(b"x", id="bytes"),
        pytest.param({1}, id="set"),
        pytest.param(object(), id="object"),
        pytest.param({1: 2}, id="a key that is a number"),
        pytest.param({"A" * 10_000: 2}, id="a long key"),
        pytest.param(2**53, id="a large integer"),
        pytest.param(-(2**53), id="a small integer"),
        pytest.param(10**5000, id="an integer that Python does not print"),
        pytest.param(["a\ud800"], id="a lone surrogate"),
        pytest.param({"a": "\r"}, id="a control character"),
    ],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(FormatError) as caught:
        canonical.encode(value)
    assert len(str(caught.value)) < 200


def test_tuples_and_enumerations_are_written_as_what_they_are() -> None:
    kinds = StrEnum("kinds", {"A": "x"})
    numbers = IntEnum("numbers", {"A": 7})
    value: Any = (kinds["A"], numbers["A"], ())
    assert canonical.encode(value) == b'["x",7,[]]'


def test_containers_without_end_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(FormatError, match="nested"):
        canonical.encode(endless)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a":[1,{"b":"\\t"}]}', r"\$\.a\[1\]\.b: forbidden character U\+0009"),
        (b"[1.5]", "1.5 is no integer"),
        (b'["\xff"]', "not UTF-8 at byte 2"),
        (b"[", "not JSON: .* at character"),
        (b"{} ", "not in canonical form"),
    ],
)
def test_the_error_says_where(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        canonical.decode(data, limit=LIMIT)


def test_a_long_key_over_a_long_list_costs_no_more_than_its_bytes() -> None:
    # Joined for every item, this path alone would be copied 60,000 times: 7 GB.
    data = b'{"' + b"a" * 120_000 + b'":[' + b",".join([b"0"] * 60_000) + b"]}"
    assert canonical.decode(data, limit=LIMIT)


def test_a_deep_path_is_shown_shortly() -> None:
    data = b'{"' + b"a" * 100_000 + b'":"\x7f"}'
    with pytest.raises(FormatError) as caught:
        canonical.decode(data, limit=LIMIT)
    assert len(str(caught.value)) < 200
