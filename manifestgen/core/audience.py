"""Whom something is for: platforms and ranges of native versions.

A release carries the widest audience its bytes may ever have; an offer can only narrow it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.reader import Reader, text_item
from manifestgen.core.version import Range, Version
from manifestgen.errors import FormatError

PLATFORM: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_MOST = 16


@dataclass(frozen=True, slots=True)
class NativeRange:
    """Native versions of one platform, or of every platform where `platform` is `None`."""

    range: Range
    platform: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the command line's form: `ios:>=3 <4`, or `>=3 <4` for every platform."""
        platform, colon, rest = text.partition(":")
        if not colon:
            return cls(Range.parse(text))
        if not PLATFORM.fullmatch(platform):
            raise FormatError(f"{platform!r} is no platform name such as `ios`")
        return cls(Range.parse(rest), platform)

    def to_json(self) -> JsonObject:
        """Return the document form."""
        platform: dict[str, Json] = {} if self.platform is None else {"platform": self.platform}
        return {"range": self.range.text, **platform}

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode one range."""
        read = Reader(value, at)
        text = read.string("range", most=128)
        try:
            parsed = Range.parse(text)
        except FormatError as error:
            raise FormatError(f"{at}.range: {error}") from None
        if not read.has("platform"):
            return cls(parsed)
        return cls(parsed, read.text("platform", PLATFORM, "a platform name"))


@dataclass(frozen=True, slots=True)
class Audience:
    """Platforms (empty: every one) and native ranges (all that apply must admit)."""

    platforms: tuple[str, ...] = ()
    native: tuple[NativeRange, ...] = ()

    def refuses(self, platform: str | None, native: str | None) -> str | None:
        """Return the reason why a device is outside, or `None` if it is inside.

        The reasons are the stable words `platform` and `native`.
        """
        if self.platforms and platform not in self.platforms:
            return "platform"
        if platform is None and any(one.platform for one in self.native):
            return "platform"  # the range may be meant for this very device
        ranges = [one.range for one in self.native if one.platform in {None, platform}]
        version = Version.of_native(native) if native is not None else None
        if ranges and (version is None or not all(one.admits(version) for one in ranges)):
            return "native"
        return None

    def everyone_on(self, platform: str | None) -> bool:
        """Tell whether every device of a platform (`None`: of all platforms) is inside."""
        on_platform = not self.platforms or platform in self.platforms
        return on_platform and not any(
            platform is None or one.platform in {None, platform} for one in self.native
        )

    def described(self) -> list[str]:
        """Return the limits as people read them; none for every device."""
        ranges = [f"{one.platform or 'native'} {one.range.text}" for one in self.native]
        return [*self.platforms, *ranges]

    def to_json(self) -> JsonObject:
        """Return the members to merge into a release or an offer; absent means everyone."""
        members: dict[str, Json] = {}
        if self.platforms:
            members["platforms"] = list(self.platforms)
        if self.native:
            members["native"] = [one.to_json() for one in self.native]
        return members

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Decode the members of a release or an offer."""
        platforms: Sequence[str] = ()
        native: Sequence[NativeRange] = ()
        if read.has("platforms"):
            platforms = read.list("platforms", text_item(PLATFORM, "a platform name"), most=_MOST)
            if not platforms:
                # It would read as "everyone" to us and "nobody" to somebody else.
                raise FormatError(f"{read.at}.platforms: empty; leave it out to allow every one")
        if read.has("native"):
            native = read.list("native", NativeRange.from_json, most=_MOST)
        return cls(tuple(platforms), tuple(native))


EVERYONE: Final = Audience()
