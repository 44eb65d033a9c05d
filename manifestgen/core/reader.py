"""Read the members of one JSON object by name; every error names the JSON path.

The documents' `from_json` are written with this, so that after them nobody checks again and no
`KeyError`, `ValueError` or `binascii.Error` ever leaves a parser. Unknown members are ignored.
"""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from manifestgen.core.canonical import MAX_INTEGER, Json, JsonObject
from manifestgen.errors import FormatError

T = TypeVar("T")

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Reader:
    """The members of one JSON object at path `at`."""

    def __init__(self, value: object, at: str) -> None:
        if not isinstance(value, dict):
            raise FormatError(f"{at}: want an object")
        self.value: JsonObject = value
        self.at = at

    def has(self, name: str) -> bool:
        """Tell whether a member is there at all; `null` counts as there."""
        return name in self.value

    def get(self, name: str) -> Json:
        """Return a member that must be there, whatever it is."""
        if name not in self.value:
            raise FormatError(f"{self.at}.{name}: missing")
        return self.value[name]

    def text(self, name: str, pattern: re.Pattern[str], want: str) -> str:
        """Return a string that matches `pattern` whole; `want` describes it in the error."""
        value = self.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise FormatError(f"{self.at}.{name}: want {want}, got {_shown(value)}")
        return value

    def string(self, name: str, *, most: int) -> str:
        """Return a string of at most `most` bytes of UTF-8."""
        value = self.get(name)
        if not isinstance(value, str) or len(value.encode("utf-8", "surrogatepass")) > most:
            raise FormatError(f"{self.at}.{name}: want a string of at most {most} bytes")
        return value

    def integer(self, name: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        """Return an integer from `low` to `high`, both included."""
        value = self.get(name)
        if type(value) is not int or not low <= value <= high:
            raise FormatError(
                f"{self.at}.{name}: want an integer from {low} to {high}, got {_shown(value)}"
            )
        return value

    def flag(self, name: str) -> bool:
        """Return an optional boolean; absent is false."""
        value = self.value.get(name, False)
        if not isinstance(value, bool):
            raise FormatError(f"{self.at}.{name}: want true or false, got {_shown(value)}")
        return value

    def digest(self, name: str) -> str:
        """Return a SHA-256 as 64 lowercase hex digits."""
        return self.text(name, _DIGEST, "64 lowercase hex digits")

    def time(self, name: str) -> datetime:
        """Return a time written `YYYY-MM-DDTHH:MM:SSZ`."""
        text = self.text(name, _TIME, "a time as YYYY-MM-DDTHH:MM:SSZ")
        try:
            return parse_time(text)
        except ValueError:
            raise FormatError(f"{self.at}.{name}: {text} is no date") from None

    def bytes(self, name: str, size: int | None = None) -> bytes:
        """Return padded base64 that encodes back to itself; `size` is in decoded bytes."""
        value = self.get(name)
        try:
            data = base64.b64decode(value, validate=True) if isinstance(value, str) else None
        except (binascii.Error, ValueError):
            data = None
        # Encoding back refuses stray bits in the last character: one value, one spelling.
        if data is None or base64.b64encode(data).decode() != value:
            raise FormatError(f"{self.at}.{name}: want padded base64, got {_shown(value)}")
        if size is not None and len(data) != size:
            raise FormatError(f"{self.at}.{name}: want {size} bytes, got {len(data)}")
        return data

    def list(self, name: str, item: Callable[[Json, str], T], *, most: int) -> tuple[T, ...]:
        """Return a list, each item read by `item(value, path)`, at most `most` of them."""
        value = self.get(name)
        if not isinstance(value, list):
            raise FormatError(f"{self.at}.{name}: want a list")
        if len(value) > most:
            raise FormatError(f"{self.at}.{name}: {len(value)} items, at most {most} allowed")
        return tuple(item(entry, f"{self.at}.{name}[{n}]") for n, entry in enumerate(value))

    def object(self, name: str) -> "Reader":
        """Return a member that is an object, ready to be read."""
        return Reader(self.get(name), f"{self.at}.{name}")


def text_item(pattern: re.Pattern[str], want: str) -> Callable[[Json, str], str]:
    """Make an item reader for `Reader.list`: strings that match `pattern` whole."""

    def read(value: Json, at: str) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise FormatError(f"{at}: want {want}, got {_shown(value)}")
        return value

    return read


def format_time(moment: datetime) -> str:
    """Write an aware time as documents do: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def parse_time(text: str) -> datetime:
    """Read `YYYY-MM-DDTHH:MM:SSZ`, or raise `ValueError`."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("want a time as YYYY-MM-DDTHH:MM:SSZ")
    year, month, day, hour, minute, second = map(int, found.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def encode_bytes(data: bytes) -> str:
    """Write bytes as documents do: padded base64."""
    return base64.b64encode(data).decode()


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
