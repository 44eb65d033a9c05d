"""Semantic versions, what app stores call versions, and ranges."""

from contextlib import suppress

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.version import MAX_TEXT, VERSION, Range, Version
from manifestgen.errors import FormatError
from tests.conformance.in_process import Vector, check, vectors
from tests.vectors.values import ASCENDING

TEXTS = st.from_regex(VERSION, fullmatch=True).filter(lambda text: len(text) <= MAX_TEXT)
CLOSE = st.builds(
    "{}.{}.{}{}".format,
    *(st.integers(0, 2) for _ in range(3)),
    st.sampled_from(
        ["", "-0", "-1", "-10", "-a", "-A", "-a.1", "-a.b", "-a-", "--", "-1a", "-01a"]
    ),
)


@vectors("versions")
def test_vectors(vector: Vector) -> None:
    check(vector)


@given(TEXTS | CLOSE, TEXTS | CLOSE)
def test_the_order_is_semvers(a: str, b: str) -> None:
    one, other = Version.parse(a), Version.parse(b)
    order = semver.Version.parse(a).compare(b)
    assert (one > other) - (one < other) == order
    assert (one == other) == (order == 0) == (a == b)
    assert (one <= other, one >= other) == (order <= 0, order >= 0)


@given(TEXTS)
def test_a_version_is_written_as_it_was_read(text: str) -> None:
    assert str(Version.parse(text)) == text
    assert Version.of_native(text) == Version.parse(text)


@given(st.text(max_size=12) | st.text("0123456789.-+av ", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    Version.of_native(text)
    with suppress(FormatError):
        assert semver.Version.is_valid(str(Version.parse(text)))
    with suppress(FormatError):
        Range.parse(text)


@given(st.text("<>= 0123.-ab", max_size=24), CLOSE)
def test_any_range_answers(text: str, version: str) -> None:
    with suppress(FormatError):
        Range.parse(text).admits(Version.parse(version))


@given(CLOSE, CLOSE)
def test_comparators_are_the_order(a: str, b: str) -> None:
    one, other = Version.parse(a), Version.parse(b)
    answers = {sign: Range.parse(f"{sign}{b}").admits(one) for sign in (">=", "<", ">", "<=", "=")}
    wanted = {
        ">=": one >= other,
        "<": one < other,
        ">": one > other,
        "<=": one <= other,
        "=": one == other,
    }
    assert answers == wanted


def test_sorting_needs_nothing_else() -> None:
    versions = [Version.parse(text) for text in ASCENDING]
    mixed = sorted(versions, key=str)
    assert mixed != versions
    assert sorted(mixed) == versions


@pytest.mark.parametrize("text", ["1" * 100_000, "1.2.3-" + "a." * 50_000, ">=" + "1" * 100_000])
def test_long_text_is_refused_at_once_and_shown_shortly(text: str) -> None:
    for parse in (Version.parse, Range.parse):
        with pytest.raises(FormatError) as caught:
            parse(text)
        assert len(str(caught.value)) < 200
    assert Version.of_native(text) is None
