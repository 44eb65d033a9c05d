"""Semantic versions, and ranges of them for native apps.

Versions follow semver.org 2.0.0 without build metadata, at most 64 characters and 15 digits a
number, so that JavaScript compares them exactly. A range is comparators joined by spaces, all of
which must hold: `>=3 <4`. Under `>=` and `<`, missing parts are 0; `>`, `<=` and `=` want all
three, because there people disagree about what is missing. Pre-releases order as semver orders
them and are admitted like any other version.
"""

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Self

from manifestgen.errors import FormatError

MAX_TEXT = 64

_NUMBER = r"(?:0|[1-9][0-9]{0,14})"
_IDENTIFIER = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
VERSION = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?", re.ASCII
)
_LOOSE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,15}))?(?:\.([0-9]{1,15}))?(?:\.[0-9]+)*", re.ASCII)
_COMPARATOR = re.compile(
    rf"(>=|<=|>|<|=)({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER})"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?)?",
    re.ASCII,
)


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A version; `pre` holds the dot-separated pre-release identifiers."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a full version, or raise `FormatError`."""
        found = VERSION.fullmatch(text) if len(text) <= MAX_TEXT else None
        if not found:
            raise FormatError(f"{text[:80]!r} is no semantic version without build metadata")
        major, minor, patch, pre = found.groups()
        return cls(int(major), int(minor), int(patch), tuple(pre.split(".")) if pre else ())

    @classmethod
    def of_native(cls, text: str) -> Self | None:
        """Read what app stores call a version (`3`, `3.1`, `3.1.0.4`), or return `None`."""
        if len(text) <= MAX_TEXT and VERSION.fullmatch(text):
            return cls.parse(text)
        found = _LOOSE.fullmatch(text) if len(text) <= MAX_TEXT else None
        if not found:
            return None
        major, minor, patch = (int(part or 0) for part in found.groups())
        return cls(major, minor, patch)

    def __str__(self) -> str:
        core = f"{self.major}.{self.minor}.{self.patch}"
        return f"{core}-{'.'.join(self.pre)}" if self.pre else core

    def __lt__(self, other: "Version") -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[object, ...]:
        # semver 11: a pre-release is below its release; numbers are below words; a longer
        # list is above its own beginning.
        pre = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return (self.major, self.minor, self.patch, not pre, pre)


@dataclass(frozen=True, slots=True)
class Range:
    """Comparators that must all hold; `text` is how the range is written in documents."""

    text: str
    comparators: tuple[tuple[str, Version], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a range such as `>=3 <4`, or raise `FormatError`."""
        parts = text.split(" ")
        if len(text) > 2 * MAX_TEXT or not 1 <= len(parts) <= 4:
            raise FormatError(f"{text[:80]!r} is no range: want one to four comparators")
        return cls(text, tuple(_comparator(part) for part in parts))

    def admits(self, version: Version) -> bool:
        """Tell whether every comparator holds."""
        return all(_holds(sign, version, bound) for sign, bound in self.comparators)


def _comparator(text: str) -> tuple[str, Version]:
    found = _COMPARATOR.fullmatch(text)
    if not found:
        raise FormatError(f"{text!r} is no comparator such as `>=3`, `<4` or `=3.1.0`")
    sign, major, minor, patch, pre = found.groups()
    if sign in {">", "<=", "="} and patch is None:
        raise FormatError(f"{text!r}: `{sign}` wants all three numbers")
    identifiers = tuple(pre.split(".")) if pre else ()
    return sign, Version(int(major), int(minor or 0), int(patch or 0), identifiers)


def _holds(sign: str, version: Version, bound: Version) -> bool:
    match sign:
        case ">=":
            return version >= bound
        case "<":
            return version < bound
        case ">":
            return version > bound
        case "<=":
            return version <= bound
        case _:
            return version == bound
