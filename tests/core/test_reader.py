"""Members read by name: every error is ours and names the JSON path."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.canonical import Json
from manifestgen.core.reader import Reader, encode_bytes, format_time, parse_time, text_item
from manifestgen.errors import FormatError

WORD = re.compile("[a-z]+")
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
READS = {
    "text": lambda read: read.text("x", WORD, "a word"),
    "string": lambda read: read.string("x", most=4),
    "integer": lambda read: read.integer("x"),
    "flag": lambda read: read.flag("x"),
    "digest": lambda read: read.digest("x"),
    "time": lambda read: read.time("x"),
    "bytes": lambda read: read.bytes("x", 3),
    "list": lambda read: read.list("x", text_item(WORD, "a word"), most=2),
    "object": lambda read: read.object("x"),
}


@pytest.mark.parametrize("kind", READS)
@given(value=ANYTHING)
def test_any_value_is_read_or_refused(kind: str, value: Any) -> None:
    with suppress(FormatError):
        READS[kind](Reader({"x": value}, "$"))


@pytest.mark.parametrize("kind", sorted(set(READS) - {"flag"}))
def test_a_missing_member_is_refused(kind: str) -> None:
    with pytest.raises(FormatError, match=r"^\$\.a\.x: missing$"):
        READS[kind](Reader({}, "$.a"))


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_no_object_is_refused(value: Json) -> None:
    with pytest.raises(FormatError, match="want an object"):
        Reader(value, "$")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("text", ["a", "ab"], ["", "A", "a\n", 1, None, ["a"]]),
        ("string", ["", "abcd", "éé"], ["abcde", "ééa", 1, None, "\ud800\ud800"]),
        ("integer", [0, 2**53 - 1], [-1, 2**53, True, "1", None, 1.0]),
        ("flag", [True, False], [0, 1, "true", None]),
        ("digest", ["0" * 64], ["0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n", "٠" * 64]),
        ("bytes", ["AAAA"], ["", "AAA", "AAAA\n", "AA==", "AAAAAAAA", "éAAA", " AAAA", 1, None]),
        ("list", [[], ["a", "b"]], [["a", "b", "c"], ["A"], "ab", {"a": 1}, [1]]),
        ("object", [{}], [[], None, "x"]),
    ],
)
def test_values(kind: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        READS[kind](Reader({"x": value}, "$"))
    for value in bad:
        with pytest.raises(FormatError):
            READS[kind](Reader({"x": value}, "$"))


@pytest.mark.parametrize("text", ["AA==", "AAA=", "AAAA", "/+8="])
def test_base64_that_encodes_back_to_itself_is_read(text: str) -> None:
    assert encode_bytes(Reader({"x": text}, "$").bytes("x")) == text


@pytest.mark.parametrize("text", ["AB==", "AAB=", "A===", "====", "AA=A", "_-8=", "AA==AA=="])
def test_base64_with_a_second_spelling_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="base64"):
        Reader({"x": text}, "$").bytes("x")


@given(st.binary(max_size=40))
def test_bytes_are_read_back(data: bytes) -> None:
    assert Reader({"x": encode_bytes(data)}, "$").bytes("x") == data


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_read_back_in_whole_seconds(moment: datetime) -> None:
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)


def test_times_are_written_in_utc() -> None:
    moment = datetime(2030, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2029-12-31T23:00:00Z"


@pytest.mark.parametrize("text", ["", "2030-01-01", "2030-01-01T00:00:00z", "2030-1-1T00:00:00Z"])
def test_what_is_no_time_is_a_value_error_outside_documents(text: str) -> None:
    with pytest.raises(ValueError, match="want a time"):
        parse_time(text)


def test_an_absent_flag_is_false_and_null_is_there() -> None:
    read = Reader({"y": None}, "$")
    assert read.flag("x") is False
    assert read.has("y")
    assert not read.has("x")


def test_items_are_named_in_errors() -> None:
    with pytest.raises(FormatError, match=r"\$\.x\[1\]: want a word, got 7"):
        READS["list"](Reader({"x": ["a", 7]}, "$"))


def test_long_values_are_shown_shortly() -> None:
    with pytest.raises(FormatError) as caught:
        READS["text"](Reader({"x": "A" * 10_000}, "$"))
    assert len(str(caught.value)) < 120
