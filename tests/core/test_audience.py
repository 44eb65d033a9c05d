"""Whom something is for: platforms and ranges of native versions."""

from typing import Any

import pytest

from manifestgen.core.audience import EVERYONE, Audience, NativeRange
from manifestgen.core.reader import Reader
from manifestgen.errors import FormatError

IOS = Audience(("ios",))


def native(*texts: str) -> Audience:
    """Make an audience of native ranges."""
    return Audience(native=tuple(NativeRange.parse(text) for text in texts))


@pytest.mark.parametrize(
    ("audience", "platform", "version", "reason"),
    [
        pytest.param(EVERYONE, None, None, None, id="everyone"),
        pytest.param(IOS, "ios", None, None, id="the platform"),
        pytest.param(IOS, "android", None, "platform", id="another platform"),
        pytest.param(IOS, None, None, "platform", id="no platform"),
        pytest.param(IOS, "iOS", None, "platform", id="case counts"),
        pytest.param(native(">=3"), "ios", "3", None, id="at the bound"),
        pytest.param(native(">=3"), "ios", "2.9", "native", id="below"),
        pytest.param(native(">=3"), None, "3", None, id="a range for all, no platform"),
        pytest.param(native(">=3"), "ios", None, "native", id="no version"),
        pytest.param(native(">=3"), "ios", "three", "native", id="no readable version"),
        pytest.param(native("ios:>=3"), "ios", "2", "native", id="a range for the platform"),
        pytest.param(native("ios:>=3"), "android", "2", None, id="a range for another"),
        pytest.param(native("ios:>=3"), None, "3", "platform", id="a range for one, no platform"),
        pytest.param(native(">=3", "ios:<4"), "ios", "4", "native", id="all that apply"),
        pytest.param(native(">=3", "ios:<4"), "android", "4", None, id="those that apply"),
        pytest.param(Audience(("ios",), native(">=3").native), "x", "1", "platform", id="order"),
    ],
)  # fmt: skip
def test_who_is_outside_and_why(
    audience: Audience, platform: str | None, version: str | None, reason: str | None
) -> None:
    assert audience.refuses(platform, version) == reason


@pytest.mark.parametrize(
    ("audience", "all_", "ios", "android"),
    [
        pytest.param(EVERYONE, True, True, True, id="everyone"),
        pytest.param(IOS, False, True, False, id="one platform"),
        pytest.param(native(">=0"), False, False, False, id="a range, however wide"),
        pytest.param(native("ios:>=0"), False, False, True, id="a range for one platform"),
    ],
)
def test_whether_everyone_is_inside(
    audience: Audience, all_: bool, ios: bool, android: bool
) -> None:
    got = [audience.everyone_on(platform) for platform in (None, "ios", "android")]
    assert got == [all_, ios, android]


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"platforms": ["ios", "android"]},
        {"native": [{"range": ">=3 <4"}, {"platform": "ios", "range": "=3.1.0"}]},
    ],
)
def test_members_are_read_back(members: dict[str, Any]) -> None:
    assert Audience.read(Reader(members, "$")).to_json() == members


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"platforms": []}, "empty"),
        ({"platforms": ["iOS"]}, r"platforms\[0\]: want a platform"),
        ({"platforms": ["a"] * 17}, "17 items"),
        ({"platforms": "ios"}, "want a list"),
        ({"native": [{}]}, r"native\[0\]\.range: want|native\[0\]\.range: missing"),
        ({"native": [{"range": "3"}]}, r"native\[0\]\.range: '3' is no comparator"),
        ({"native": [{"range": ">=" + "3" * 200}]}, "at most 128"),
        ({"native": [{"range": ">=3", "platform": "?"}]}, r"native\[0\]\.platform"),
        ({"native": [{"range": ">=3", "platform": None}]}, r"native\[0\]\.platform"),
        ({"native": [{"range": ">=3"}] * 17}, "17 items"),
    ],
)
def test_bad_members_are_refused(members: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Audience.read(Reader(members, "$"))


@pytest.mark.parametrize("text", ["", "ios:", ":>=3", "IOS:>=3", "ios:3", "ios:>=3:>=4", "é:>=3"])
def test_bad_ranges_on_the_command_line_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        NativeRange.parse(text)
