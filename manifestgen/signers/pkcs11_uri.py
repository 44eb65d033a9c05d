"""`pkcs11:` URIs after RFC 7512: which token, which object in it, and through which module.

    pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:PIN

A PIN is no part of a URI: those stand in configuration files and command lines.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from manifestgen.errors import UsageError

MODULE: Final = "MANIFESTGEN_PKCS11_MODULE"

_PATH: Final = ("token", "serial", "manufacturer", "model", "object", "id", "slot-id", "type")
_QUERY: Final = ("module-path", "pin-source")
_KINDS: Final = ("private", "public")
# RFC 7512, section 2.3: what need not be written as %XX in either part, but for the separators.
_PLAIN: Final = "-._~:[]@!$'()*+,=/"
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class KeyUri:
    """A key in a token: what is `None` may be anything, as long as one key is left."""

    module: str
    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    slot: int | None = None
    object: str | None = None
    id: bytes | None = None
    pin_source: str | None = None

    @classmethod
    def parse(cls, uri: str, environ: Mapping[str, str] = os.environ) -> "KeyUri":
        """Read one, or raise `UsageError`; what it says in places of a secret is not repeated."""
        path, _, query = uri.removeprefix("pkcs11:").partition("?")
        at = _attributes(path, ";", _PATH)
        more = _attributes(query, "&", _QUERY)
        if at.get("type", b"private").decode("utf-8", "replace") not in _KINDS:
            raise UsageError("pkcs11: `type` is that of a key", hint="leave `type` out")
        module = _text(more, "module-path") or environ.get(MODULE)
        if not module:
            raise UsageError(
                "pkcs11: no module: the library through which the token is reached",
                hint=f"add ?module-path=/usr/lib/….so to the URI, or set {MODULE}",
            )
        found = cls(
            module,
            token=_text(at, "token"),
            serial=_text(at, "serial"),
            manufacturer=_text(at, "manufacturer"),
            model=_text(at, "model"),
            slot=_slot(at),
            object=_text(at, "object"),
            id=at.get("id"),
            pin_source=_text(more, "pin-source"),
        )
        if found.object is None and found.id is None:
            raise UsageError(
                "pkcs11: no key is named", hint="add ;object=LABEL or ;id=%01 to the URI"
            )
        return found

    @property
    def name(self) -> str:
        """The key in words, for messages."""
        key = self.object if self.object is not None else f"id {(self.id or b'').hex()}"
        return f"{key} in {self.token_name}"

    @property
    def token_name(self) -> str:
        """The token in words, for messages."""
        if self.token is not None:
            return f"token {self.token}"
        if self.serial is not None:
            return f"token {self.serial}"
        return "the token" if self.slot is None else f"the token in slot {self.slot}"

    def pin_file(self, folder: Path) -> Path | None:
        """Return the file that `pin-source` names; relative ones are relative to `folder`."""
        if self.pin_source is None:
            return None
        if self.pin_source.startswith("|"):
            raise UsageError(
                "pkcs11: `pin-source` names a program, and only files are read",
                hint="run it yourself: MANIFESTGEN_PIN=$(…)",
            )
        name = self.pin_source.removeprefix("file:")
        return folder / (name.removeprefix("//") if name.startswith("///") else name)


def spelled(value: str) -> str:
    """Spell a label for a URI."""
    return quote(value, safe=_PLAIN)


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise UsageError(
                "pkcs11: `pin-value` is not read: PINs do not belong in files and commands",
                hint="set MANIFESTGEN_PIN, or MANIFESTGEN_PIN_FILE to a file",
            )
        if not equals or name not in known:
            raise _unknown(name, known)
        if name in found:
            raise UsageError(f"pkcs11: `{name}` is there twice", hint="leave one out")
        if _PERCENT.search(value):
            raise UsageError(
                f"pkcs11: `{name}` has a % without two hex digits", hint="write % itself as %25"
            )
        found[name] = unquote_to_bytes(value)
    return found


def _unknown(name: str, known: tuple[str, ...]) -> UsageError:
    if name == "module-name":
        return UsageError("pkcs11: `module-name` is not looked up", hint="use module-path=/….so")
    near = difflib.get_close_matches(name, known, 1)
    # A key or a PIN may have been pasted here: only what looks like a name is repeated.
    what = f"`{name}`" if re.fullmatch(r"[a-z-]{1,20}", name) else "an attribute"
    return UsageError(
        f"pkcs11: {what} is unknown",
        hint=f"did you mean `{near[0]}`?"
        if near
        else "write pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/….so",
    )


def _text(found: Mapping[str, bytes], name: str) -> str | None:
    if name not in found:
        return None
    try:
        return found[name].decode()
    except UnicodeDecodeError:
        raise UsageError(f"pkcs11: `{name}` is no UTF-8", hint="only `id` holds bytes") from None


def _slot(found: Mapping[str, bytes]) -> int | None:
    text = found.get("slot-id")
    if text is None:
        return None
    if not re.fullmatch(rb"[0-9]{1,20}", text):
        raise UsageError("pkcs11: `slot-id` is no number", hint="or name the token: token=LABEL")
    return int(text)
