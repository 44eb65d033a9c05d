"""Canonical JSON: the one byte string a document may be.

RFC 8785 over a restricted profile, so that no two byte strings mean the same document and no
two parsers can disagree: no floats, integers within ±(2^53 − 1), keys `^[a-z][a-z0-9_]*$`, no
control characters but the newline, no lone surrogates, at most `Limits.depth` containers deep.
`decode` refuses whatever is not byte for byte its own canonical form; duplicate keys,
whitespace, `1.0`, `-0` and trailing bytes therefore cannot exist.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

from manifestgen.core.limits import LIMITS
from manifestgen.errors import FormatError

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Json]

# Steps from the top, joined only for a message: one long key above a long list would otherwise
# be copied once for every item.
_Path: TypeAlias = tuple[str, ...]

MAX_INTEGER = 2**53 - 1  # what a JavaScript number holds exactly

_KEY = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
# Cc without the newline, and Cs: the first hide in terminals, the second have no UTF-8.
_FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_DIGITS = len(str(MAX_INTEGER)) + 1  # one more for the sign


def encode(value: Json) -> bytes:
    """Return the canonical bytes of `value`, or raise `FormatError` if it has none."""
    _check(value, ("$",))
    return _dump(value)


def decode(data: bytes, *, limit: int) -> Json:
    """Read canonical JSON of at most `limit` bytes.

    Raises:
        FormatError: not JSON, outside the profile, or not in canonical form.
    """
    if len(data) > limit:
        raise FormatError(f"{len(data)} bytes, more than the {limit} allowed", code="too_large")
    try:
        value: Json = json.loads(
            data.decode("utf-8", "strict"),
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise FormatError(f"nested more than {LIMITS.depth} deep") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error.msg} at character {error.pos}") from None
    _check(value, ("$",))
    if _dump(value) != data:
        raise FormatError("not in canonical form")
    return value


def _dump(value: Json) -> bytes:
    # For this profile Python's writer is RFC 8785: keys are ASCII, so code points sort as
    # UTF-16 does; its escapes for quotes, backslash and newline are the RFC's.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8")


def _check(value: object, path: _Path) -> None:
    """Raise `FormatError`, naming the JSON path, unless `value` is within the profile."""
    match value:  # the most frequent first
        case str():
            if found := _FORBIDDEN.search(value):
                character = f"U+{ord(found.group()):04X}"
                raise FormatError(f"{_shown(path)}: forbidden character {character}")
        case dict():
            _check_depth(path)
            for key, item in value.items():
                if not isinstance(key, str) or not _KEY.fullmatch(key):
                    raise FormatError(
                        f"{_shown(path)}: key {key!r:.60} is not lowercase a-z, 0-9 and _"
                    )
                _check(item, (*path, f".{key}"))
        case list() | tuple():
            _check_depth(path)
            for index, item in enumerate(value):
                _check(item, (*path, f"[{index}]"))
        case None | bool():
            pass
        case int():
            if abs(value) > MAX_INTEGER:
                raise FormatError(f"{_shown(path)}: an integer beyond 2^53 - 1")
        case _:
            raise FormatError(f"{_shown(path)}: {type(value).__name__} is no JSON value of ours")


def _check_depth(path: _Path) -> None:
    if len(path) > LIMITS.depth:
        raise FormatError(f"{_shown(path)}: nested more than {LIMITS.depth} deep")


def _shown(path: _Path) -> str:
    return "".join(path)[:80]


def _integer(text: str) -> int:
    # Before `int`, which takes time quadratic in the number of digits.
    if len(text) > _DIGITS:
        raise FormatError("an integer beyond 2^53 - 1")
    return int(text)


def _refuse_number(text: str) -> NoReturn:
    raise FormatError(f"{text[:20]} is no integer")
