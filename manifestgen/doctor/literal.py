"""Object literals in a program, read and not run.

What is spelt out is read: texts, numbers, true and false, objects of those. Whatever would have to
be computed, a name, a call, a text with `${…}`, is `COMPUTED`, and never guessed.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias


class Unread(Enum):
    """Stands for a value that only running the program would tell."""

    COMPUTED = "computed"


COMPUTED: Final = Unread.COMPUTED
SPREAD: Final = "..."
"""The key of what an object takes over from elsewhere; it may set any other."""

Value: TypeAlias = "str | float | bool | Unread | Mapping[str, Value] | None"

_SKIPPED: Final = re.compile(
    # What has no end goes as far as it may: to look for one at each quote takes for ever.
    r"""(?P<text>'(?:\\.|[^'\\\n])*'?|"(?:\\.|[^"\\\n])*"?|`(?:\\.|[^`\\])*`?)"""
    r"""|(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))""",
    re.DOTALL,
)
_TEXT: Final = re.compile(
    r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`""", re.DOTALL
)
_NUMBER: Final = re.compile(r"-?\d[\d_]*(?:\.\d+)?")
_WORD: Final = re.compile(r"[A-Za-z_$][\w$]*")
_SPACE: Final = re.compile(r"\s*")
_ESCAPE: Final = re.compile(
    r"\\(u\{[0-9a-fA-F]+\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|\r\n|.)", re.DOTALL
)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\n": "", "\r\n": ""}
_WORDS: Final[Mapping[str, Value]] = {"true": True, "false": False, "null": None, "undefined": None}
_DEEPEST: Final = 50


def find_object(program: str, name: str) -> Mapping[str, Value] | Unread | None:
    """Return the object that a program gives the key `name`; `None` where the key is nowhere.

    Of several the last counts; comments do not.
    """
    text = without_comments(program)
    keys = list(re.finditer(rf"(?<![\w$.])(['\"]?){re.escape(name)}\1\s*:", text))
    if not keys:
        return None
    value, _ = _value(text, keys[-1].end(), 0)
    return value if isinstance(value, Mapping) else COMPUTED


def without_comments(program: str) -> str:
    """Return a program with blanks where its comments were."""
    return _SKIPPED.sub(
        lambda found: found[0] if found["text"] else re.sub(r"[^\n]", " ", found[0]), program
    )


def _value(text: str, at: int, depth: int) -> tuple[Value, int]:
    """Read a value and everything up to the comma or bracket that ends it."""
    at = _skip(text, at)
    value, end = _plain(text, at, depth)
    end = _skip(text, end)
    # A text in pieces is still one that was spelt out.
    while isinstance(value, str) and text[end : end + 1] == "+":
        more, after = _plain(text, _skip(text, end + 1), depth)
        if not isinstance(more, str):
            break
        value, end = value + more, _skip(text, after)
    if text[end : end + 1] in {",", "}", "]", ")", ";", ""}:
        return value, end
    return COMPUTED, _end_of_expression(text, end)


def _plain(text: str, at: int, depth: int) -> tuple[Value, int]:
    if found := _TEXT.match(text, at):
        return _unescaped(found[0]), found.end()
    if text[at : at + 1] == "{" and depth < _DEEPEST:
        return _object(text, at, depth)
    if found := _NUMBER.match(text, at):
        return float(found[0].replace("_", "")), found.end()
    if (found := _WORD.match(text, at)) and found[0] in _WORDS:
        return _WORDS[found[0]], found.end()
    return COMPUTED, _end_of_expression(text, at)


def _object(text: str, at: int, depth: int) -> tuple[Mapping[str, Value], int]:
    members: dict[str, Value] = {}
    at = _skip(text, at + 1)
    while at < len(text) and text[at] != "}":
        key, after = _key(text, at)
        if key is not None and text[after : after + 1] == ":":
            members[key], end = _value(text, after + 1, depth + 1)
        else:
            # `...rest`, `[computed]: …`, `shorthand`, `method() {…}`
            shorthand = key is not None and text[after : after + 1] in {",", "}"}
            members[str(key) if shorthand else SPREAD] = COMPUTED
            end = _end_of_expression(text, at)
        at = _skip(text, end)
        if at < len(text) and text[at] == ",":
            at = _skip(text, at + 1)
        elif at < len(text) and text[at] != "}":
            return {**members, SPREAD: COMPUTED}, _end_of_expression(text, at)
    return members, at + 1


def _key(text: str, at: int) -> tuple[str | None, int]:
    if found := _TEXT.match(text, at):
        key = _unescaped(found[0])
        return (key if isinstance(key, str) else None), _skip(text, found.end())
    if found := _WORD.match(text, at):
        return found[0], _skip(text, found.end())
    return None, at


def _end_of_expression(text: str, at: int) -> int:
    """Return where an expression ends: at the comma or closing bracket of what is around it."""
    depth = 0
    while at < len(text):
        char = text[at]
        if char in "'\"`" and (found := _SKIPPED.match(text, at)):
            at = found.end()
            continue
        if char in "([{":
            depth += 1
        elif depth == 0 and char in ",)]};":
            return at
        elif char in ")]}":
            depth -= 1
        at += 1
    return at


def _unescaped(quoted: str) -> Value:
    if quoted[0] == "`" and "${" in quoted:
        return COMPUTED
    return _ESCAPE.sub(_character, quoted[1:-1])


def _character(found: re.Match[str]) -> str:
    name = found[1]
    if name[0] in "ux" and len(name) > 1:
        number = int(name[1:].strip("{}"), 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    return _ESCAPES.get(name, name)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
