"""Read key material from where a URI says it is. What it means is `pem`'s business."""

import os
import stat
import sys
from pathlib import Path
from typing import Final

from manifestgen.errors import KeyUseError, UsageError

PLACES: Final = "file:PATH, env:NAME, stdin, command:PROGRAM or pkcs11:…"

_MOST = 64 * 1024  # bytes; a PEM file has 2,000


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


def read_pin(path: Path) -> bytes:
    """Return the PIN in a file, without the end of its line."""
    return _file(path, what="PIN").rstrip(b"\r\n")


def _file(path: Path, *, secret: bool = True, what: str = "key") -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if secret and os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                raise KeyUseError(f"{path} can be read by others", hint=f"run `chmod 600 {path}`")
            return file.read(_MOST)
    except FileNotFoundError:
        raise KeyUseError(
            f"there is no {what} at {path}",
            hint="restore it from your backup, or set MANIFESTGEN_KEY_<ROLE> to where it is",
        ) from None
    except OSError as error:
        raise KeyUseError(f"cannot read the {what} {path}: {error.strerror}") from None


def _environment(name: str) -> bytes:
    value = os.environ.get(name)
    if not value:
        raise KeyUseError(f"the environment variable {name} is empty or not set")
    return value.encode("utf-8", "surrogateescape")
