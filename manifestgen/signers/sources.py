"""Read key material from where a URI says it is. What it means is `pem`'s business."""

import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Final

from manifestgen.errors import KeyUseError, UsageError, os_reason

PLACES: Final = "file:PATH, env:NAME, stdin, command:PROGRAM or pkcs11:…"

_MOST: Final = 64 * 1024  # bytes; a PEM file has 2,000
# Which variable brings what `init` keeps in `.manifestgen/keys/`.
_ROLES: Final = {"signing.pem": "ROOT", "capgo.pem": "CAPGO", "content.key": "CONTENT"}


def read_source(uri: str, folder: Path) -> bytes:
    """Return the bytes that `uri` names; relative files are relative to `folder`.

    Raises:
        KeyUseError: nothing there, or a file that others can read.
        UsageError: no URI of ours.
    """
    scheme, _, rest = uri.partition(":")
    match scheme:
        case "file" if rest:
            return _file(folder / rest)
        case "env" if rest:
            return _environment(rest)
        case "stdin" if not rest:
            return sys.stdin.buffer.read(_MOST)
        case _:
            # Not repeated: it may be a key, pasted where its place should be.
            raise UsageError("no place for a key", hint=f"use {PLACES}")


def read_public_source(uri: str, folder: Path) -> bytes:
    """Return the bytes of a public key, whose file others may read."""
    if uri.startswith("file:"):
        return _file(folder / uri[5:], secret=False)
    return read_source(uri, folder)


def read_typed(path: Path, what: str, *, named: str) -> bytes:
    """Return what a person would type, a PIN or a passphrase, from a file and without its line end.

    `named` is the setting that names the file, for messages.

    Raises:
        KeyUseError: nothing there, or a file that others can read: it guards a key.
    """
    return _file(path, what=what, hint=f"correct {named}").rstrip(b"\r\n")


def is_open(handle: int) -> bool:
    """Tell whether others than its owner may read or write an open file."""
    return os.name == "posix" and bool(stat.S_IMODE(os.fstat(handle).st_mode) & 0o077)


def _restore(path: Path) -> str:
    own = path.parts[-3:-1] == (".manifestgen", "keys")
    role = _ROLES.get(path.name, "<ROLE>") if own else "<ROLE>"
    return (
        f"restore it from your backup, or set MANIFESTGEN_KEY_{role} to the key itself or to"
        " where it is (file:PATH)"
    )


def _file(path: Path, *, secret: bool = True, what: str = "key", hint: str | None = None) -> bytes:
    try:
        with path.open("rb") as file:
            if secret and is_open(file.fileno()):
                hint = _close(path, os.fstat(file.fileno()).st_mode)
                raise KeyUseError(f"{path} can be read by others", hint=hint)
            return file.read(_MOST)
    except FileNotFoundError:
        raise KeyUseError(f"there is no {what} at {path}", hint=hint or _restore(path)) from None
    except OSError as error:
        raise KeyUseError(
            f"cannot read the {what} {path}: {os_reason(error)}",
            hint=f"see with `ls -l {path}` what it is, and who may read it",
        ) from None


def _close(path: Path, mode: int) -> str:
    hint = f"run `chmod 600 {shlex.quote(str(path))}`"
    # On a stick (FAT) all files look like programs, and stay as they are.
    if mode & stat.S_IXUSR:
        hint += "; if that changes nothing, mount its disk with `-o umask=077`"
    return hint


def _environment(name: str) -> bytes:
    value = os.environ.get(name)
    if not value:
        raise KeyUseError(f"the environment variable {name} is empty or not set")
    return value.encode("utf-8", "surrogateescape")
