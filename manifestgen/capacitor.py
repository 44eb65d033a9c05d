"""The app's own configuration, `capacitor.config.json`, `.ts` or `.js`: the Capgo key in it.

Its owner's layout, order and comments stay: in JSON one value is written and every other byte
kept, and a program (`.ts`, `.js`) is never rewritten, for nobody can tell what it computes.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from manifestgen.bundle.replace import replacing
from manifestgen.errors import UsageError

# In the order in which Capacitor looks: where there are several, the first is the one it reads.
_NAMES: Final = ("capacitor.config.ts", "capacitor.config.js", "capacitor.config.json")
_PLUGIN: Final = ("plugins", "CapacitorUpdater")
_PEM: Final = re.compile(r"-----BEGIN( RSA)? PUBLIC KEY-----[^-]+-----END( RSA)? PUBLIC KEY-----")
# Between two pieces of a text: `' + '`, `', '`, over lines or not.
_JOIN: Final = re.compile(r"""['"`]\s*[+,]?\s*['"`]""")

_Json: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class CapacitorConfig:
    """A configuration file as it was read."""

    path: Path
    text: str

    @property
    def is_json(self) -> bool:
        """Whether it is data, which can be edited, and no program."""
        return self.path.suffix == ".json"

    @property
    def web_dir(self) -> str | None:
        """The build folder, relative to this file; known of JSON alone."""
        value = self._json().get("webDir") if self.is_json else None
        return value if isinstance(value, str) and value else None

    def public_keys(self) -> list[str]:
        """Return the Capgo public keys in it, as PEM; a program's are what looks like one."""
        if self.is_json:
            value = _plugin(self._json()).get("publicKey")
            return [value] if isinstance(value, str) and value else []
        text = self.text.replace("\\n", "\n")
        return [_unquoted(found[0]) for found in _PEM.finditer(text)]

    def with_public_key(self, pem: str) -> "CapacitorConfig":
        """Return this JSON with the key in it, every other byte as it was.

        Raises:
            UsageError: it is no JSON, or has something else where the plugin's settings go.
        """
        self._json()
        mark = "\ufeff" if self.text.startswith("\ufeff") else ""
        body = self.text.removeprefix(mark)
        try:
            edited = _set(body, (*_PLUGIN, "publicKey"), pem)
        except TypeError:
            raise self._wrong("`plugins.CapacitorUpdater` is no object") from None
        return CapacitorConfig(self.path, mark + edited)

    def write(self) -> None:
        """Put the file in place of the one that was read."""
        # A link stays one: what it leads to is replaced.
        with replacing(self.path.resolve()) as file:
            file.write(self.text.encode())

    def _json(self) -> _Json:
        try:
            value = json.loads(self.text.removeprefix("\ufeff"))
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"no JSON: {error}") from None
        if not isinstance(value, dict):
            raise self._wrong("want an object")
        return value

    def _wrong(self, why: str) -> UsageError:
        return UsageError(f"{self.path}: {why}", hint="mend it, then run the same command again")


def find_config(folder: Path) -> CapacitorConfig | None:
    """Read the configuration that Capacitor would read in `folder`; `None` where there is none."""
    for name in _NAMES:
        path = folder / name
        try:
            return CapacitorConfig(path, path.read_bytes().decode())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {path}: {error}") from None
    return None


def lines_to_paste(pem: str) -> str:
    """Write the setting as it goes into `capacitor.config.ts` or `.js`."""
    key = pem.replace("\n", "\\n")
    return f"plugins: {{\n  CapacitorUpdater: {{\n    publicKey: '{key}',\n  }},\n}},"


def _plugin(value: _Json) -> _Json:
    for name in _PLUGIN:
        inner = value.get(name)
        value = inner if isinstance(inner, dict) else {}
    return value


def _unquoted(pem: str) -> str:
    """Undo how a program spells a text of several lines."""
    lines = (line.strip() for line in _JOIN.sub("\n", pem).splitlines())
    return "\n".join(line for line in lines if line)


# --- one value in a JSON text, of which `json.loads` has said that it is one --------------------


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    at: int  # of the key
    start: int  # of the value
    end: int


_DECODER: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def _set(text: str, names: tuple[str, ...], value: str) -> str:
    """Set a value deep in a text, making the objects above it where they lack."""
    at = _skip(text, 0)
    for depth, name in enumerate(names):
        if text[at] != "{":
            raise TypeError
        found = [member for member in _members(text, at) if member.key == name]
        if not found:
            return _insert(text, at, names[depth:], value)
        at = found[-1].start  # of two that are the same, readers take the last
    _, end = _DECODER.raw_decode(text, at)
    return text[:at] + json.dumps(value) + text[end:]


def _members(text: str, at: int) -> Iterator[_Member]:
    """Give the members of the object that starts at `at`."""
    at = _skip(text, at + 1)
    while text[at] == '"':
        key, colon = _DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, colon) + 1)
        _, end = _DECODER.raw_decode(text, start)
        yield _Member(key, at, start, end)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _insert(text: str, at: int, names: tuple[str, ...], value: str) -> str:
    """Add a member at the end of the object that starts at `at`, laid out as the text is."""
    members = list(_members(text, at))
    line = text[: members[0].at if members else at].rpartition("\n")[2]
    indent = line[: len(line) - len(line.lstrip())]
    several = "\n" in (text[at : members[0].at] if members else text)
    if not several:
        return _insert_inline(text, at, members, _nested(names, value))
    unit = _unit(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    inner = indent if members else indent + unit
    rendered = json.dumps(_nested(names, value), indent=unit)[1:-1].strip()
    rendered = rendered.replace("\n" + unit, newline + inner)
    if members:
        end = members[-1].end
        return f"{text[:end]},{newline}{inner}{rendered}{text[end:]}"
    rest = text[_skip(text, at + 1) :]
    return f"{text[: at + 1]}{newline}{inner}{rendered}{newline}{indent}{rest}"


def _insert_inline(text: str, at: int, members: list[_Member], nested: _Json) -> str:
    rendered = json.dumps(nested)[1:-1]
    if not members:
        return f"{text[: at + 1]}{rendered}{text[_skip(text, at + 1) :]}"
    end = members[-1].end
    return f"{text[:end]}, {rendered}{text[end:]}"


def _nested(names: tuple[str, ...], value: str) -> _Json:
    first, *rest = names
    return {first: _nested(tuple(rest), value) if rest else value}


def _unit(text: str) -> str:
    """Return one step of indentation: that of the first member, else two spaces."""
    found = re.search(r"\n([ \t]+)\"", text)
    return found[1] if found else "  "


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
