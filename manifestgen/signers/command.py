"""Keys that a program of the user's holds: it signs, and the key stays where it is.

The program is started without a shell, in the project's folder, with one more argument:

    PROGRAM ARGS public    prints the public key in PEM
    PROGRAM ARGS sign      reads a message, prints its signature: Ed25519, or P-256 over SHA-256
    PROGRAM ARGS wrap      reads 16 to 48 bytes, prints them in PKCS#1 v1.5 type 1 under RSA-2048

Signatures may be raw, ASN.1 DER (P-256) or base64 of either. What comes back is checked by whoever
asked for it, so a program can refuse or be slow, and do no other harm.
"""

import base64
import binascii
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import IO, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import utils
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen.config import parse_duration
from manifestgen.core import capgo
from manifestgen.core.keys import SIGNATURE_BYTES, Algorithm, PublicKey
from manifestgen.core.release import RSA_BYTES
from manifestgen.errors import FormatError, KeyUseError, UsageError

TIMEOUT: Final = "MANIFESTGEN_COMMAND_TIMEOUT"

_SECONDS: Final = 60.0
_MOST: Final = 64 * 1024  # bytes of output; a public key in PEM has 450
_SHOWN: Final = 500  # characters of what a program complains about
_COORDINATE: Final = 32
_SECRETS: Final = re.compile(r"MANIFESTGEN_(KEY_.*|PASSPHRASE|PIN)", re.DOTALL)
"""Variables that may hold other keys than the program's own, and what opens them."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that holds a key, as `command:` names it."""

    words: tuple[str, ...]
    folder: Path

    @classmethod
    def parse(cls, uri: str, folder: Path) -> "Program":
        """Read `command:PROGRAM ARGS`, quoted as for a shell that expands nothing."""
        try:
            words = shlex.split(uri.removeprefix("command:"))
        except ValueError as error:
            raise UsageError(
                f"a key's `command:` cannot be read: {str(error).lower()}",
                hint="quote its arguments as for a shell",
            ) from None
        if not words:
            raise UsageError(
                "a key's `command:` names no program", hint="write it as command:PROGRAM ARGS"
            )
        return cls(tuple(words), folder)

    @property
    def name(self) -> str:
        """The program without its arguments, for messages."""
        return self.words[0]

    def run(self, operation: str, given: bytes = b"") -> bytes:
        """Return what the program prints, or raise `KeyUseError` with what it complains about."""
        seconds = _timeout()
        # A person at a terminal may be asked for a PIN there, which takes the terminal's own
        # process group; elsewhere a group of its own ends with whatever it has started.
        alone = os.name == "posix" and not (sys.stdin and sys.stdin.isatty())
        running = self._started(operation, alone=alone)
        out, err = _Output(running, running.stdout), _Output(running, running.stderr, keep=False)
        feeding = Thread(target=_feed, args=(running.stdin, given), daemon=True)
        deadline = monotonic() + seconds
        in_time = False
        try:
            feeding.start()
            in_time = out.ended(deadline) and err.ended(deadline) and _exited(running, deadline)
        finally:
            if not in_time:
                _end(running, group=alone)
        if not in_time:
            raise KeyUseError(
                f"{self.name} {operation} was not done after {seconds:g} s",
                hint=f"see what it waits for, or give it more time: {TIMEOUT}=5m",
            )
        if running.returncode or out.too_much:
            raise self._failed(operation, running.returncode, out, err)
        return bytes(out.data)

    def _started(self, operation: str, *, alone: bool) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                [*self.words, operation],
                cwd=self.folder,
                env={k: v for k, v in os.environ.items() if not _SECRETS.fullmatch(k)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0 if alone else None,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise KeyUseError(
                f"cannot start {self.name}, which holds a key: {reason}",
                hint="install it, or correct `command:` under [keys] in manifestgen.toml",
            ) from None

    def _failed(self, operation: str, code: int, out: "_Output", err: "_Output") -> KeyUseError:
        said = "; ".join(err.data.decode("utf-8", "replace").split("\n")).strip("; ")[-_SHOWN:]
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        if out.too_much:  # it was we who ended it
            how = f"printed more than {_MOST} bytes"
        return KeyUseError(
            f"{self.name} {operation} {how}" + (f": {said}" if said else ""),
            hint=f"run `{self.name} … {operation}` by hand to see why, then the same command again",
        )


class _Output:
    """What comes out of a pipe, read beside everything else; of complaints only the end is kept."""

    def __init__(
        self,
        running: "subprocess.Popen[bytes]",
        pipe: IO[bytes] | None,
        *,
        keep: bool = True,
    ) -> None:
        self.data = bytearray()
        self.too_much = False
        self._running = running
        self._pipe = pipe
        self._keep = keep
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def ended(self, deadline: float) -> bool:
        """Wait for the end of the output, and tell whether it came."""
        self._thread.join(max(0.0, deadline - monotonic()))
        return not self._thread.is_alive()

    def _read(self) -> None:
        assert self._pipe is not None  # noqa: S101  # for mypy: it was asked for
        with suppress(OSError, ValueError), self._pipe:
            while chunk := os.read(self._pipe.fileno(), _MOST):
                self.data += chunk
                if len(self.data) <= _MOST:
                    continue
                if self._keep:
                    self.too_much = True
                    self._running.kill()
                    return
                del self.data[:-_SHOWN]


def _feed(pipe: IO[bytes] | None, given: bytes) -> None:
    with suppress(OSError):  # a program need not read what it has no use for
        if pipe is not None:
            with pipe:
                pipe.write(given)


def _exited(running: "subprocess.Popen[bytes]", deadline: float) -> bool:
    try:
        running.wait(max(0.0, deadline - monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(running: "subprocess.Popen[bytes]", *, group: bool) -> None:
    """End what still runs, and what it has started where that is a group of its own."""
    with suppress(OSError):
        if group:
            os.killpg(running.pid, signal.SIGKILL)
    running.kill()
    running.wait()


def _timeout() -> float:
    text = os.environ.get(TIMEOUT)
    if not text:
        return _SECONDS
    try:
        return parse_duration(text).total_seconds()
    except UsageError as error:
        raise UsageError(f"{TIMEOUT}: {error}", hint="write it as 30s or 5m") from None


@dataclass(frozen=True, slots=True)
class CommandSigner:
    """A program that signs."""

    public: PublicKey
    _program: Program

    def sign(self, message: bytes) -> bytes:
        """Have it sign, and return the signature in its raw form."""
        said = self._program.run("sign", message)
        for made in (said, _unbase64(said)):
            if len(made) == SIGNATURE_BYTES:
                return made
            if self.public.algorithm is Algorithm.P256 and (raw := _raw(made)):
                return raw
        raise KeyUseError(
            f"{self._program.name} sign printed {len(said)} bytes, which are no signature",
            hint=f"have it print {SIGNATURE_BYTES} bytes, or base64 or (P-256) DER of them",
        )


@dataclass(frozen=True, slots=True)
class CommandWrapper:
    """A program that wraps for stock Capgo devices."""

    public: RSAPublicKey
    _program: Program

    def wrap(self, payload: bytes) -> bytes:
        """Have it wrap; see `core.capgo` for what it must do."""
        said = self._program.run("wrap", payload)
        for made in (said, _unbase64(said)):
            if len(made) == RSA_BYTES:
                return made
        raise KeyUseError(
            f"{self._program.name} wrap printed {len(said)} bytes, want {RSA_BYTES} or their"
            " base64",
            hint="it is to do what `openssl pkeyutl -sign -pkeyopt rsa_padding_mode:pkcs1` does",
        )


def command_signer(uri: str, folder: Path) -> CommandSigner:
    """Ask a program for its public key, which must be one that signs."""
    program = Program.parse(uri, folder)
    pem = program.run("public")
    try:
        key = serialization.load_pem_public_key(pem)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        spki = key.public_bytes(serialization.Encoding.DER, form)
        return CommandSigner(PublicKey.from_spki(spki), program)
    except (ValueError, UnsupportedAlgorithm, FormatError):
        raise KeyUseError(
            f"{program.name} public printed no Ed25519 or P-256 key in PEM",
            hint="it begins with -----BEGIN PUBLIC KEY-----",
        ) from None


def command_wrapper(uri: str, folder: Path) -> CommandWrapper:
    """Ask a program for its public key, which must be RSA-2048."""
    program = Program.parse(uri, folder)
    try:
        return CommandWrapper(capgo.load_public(program.run("public")), program)
    except KeyUseError as error:
        if error.hint:  # the program's own trouble
            raise
        raise KeyUseError(
            f"{program.name} public: {error}", hint="have it print an RSA-2048 public key in PEM"
        ) from None


def _unbase64(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _raw(der: bytes) -> bytes:
    try:
        r, s = utils.decode_dss_signature(der)
        return r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")
    except (ValueError, OverflowError):
        return b""
