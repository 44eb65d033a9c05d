"""From a URI to something that signs, wraps or derives."""

import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen.core import capgo
from manifestgen.core.capgo import Wrapper
from manifestgen.core.cipher import SECRET_BYTES
from manifestgen.errors import KeyUseError, UsageError
from manifestgen.signers.interface import Ask, Signer
from manifestgen.signers.pem import normalise, signer_from, wrapper_from
from manifestgen.signers.sources import read_public_source, read_source

_HEX = re.compile(rb"[0-9a-f]{%d}" % (2 * SECRET_BYTES))


def is_elsewhere(uri: str) -> bool:
    """Tell whether a key stays where it is: then it may refuse, be locked, or take its time."""
    return uri.startswith(("command:", "pkcs11:"))


def load_signer(uri: str, *, folder: Path, ask: Ask) -> Signer:
    """Return the signer at `uri`, or raise `KeyUseError`.

    A program or a token is asked for its public key at once, and a token for its PIN.
    """
    if uri.startswith("command:"):
        from manifestgen.signers.command import command_signer

        return command_signer(uri, folder)
    if uri.startswith("pkcs11:"):
        from manifestgen.signers.hsm import token_signer

        return token_signer(uri, folder, ask)
    return signer_from(read_source(uri, folder), uri, ask)


def load_wrapper(uri: str, *, folder: Path, ask: Ask) -> Wrapper:
    """Return the Capgo key at `uri`, or raise `KeyUseError`."""
    if uri.startswith("command:"):
        from manifestgen.signers.command import command_wrapper

        return command_wrapper(uri, folder)
    if uri.startswith("pkcs11:"):
        from manifestgen.signers.hsm import token_wrapper

        return token_wrapper(uri, folder, ask)
    return wrapper_from(read_source(uri, folder), uri, ask)


def load_capgo_public(uri: str, *, folder: Path) -> RSAPublicKey:
    """Return the public half of a Capgo key at `uri`, or raise `KeyUseError`."""
    try:
        return capgo.load_public(normalise(read_public_source(uri, folder)))
    except KeyUseError as error:
        raise KeyUseError(f"{uri}: {error}", hint=error.hint) from None


def load_content_secret(uri: str, *, folder: Path) -> bytes:
    """Return the 32 bytes from which bundle keys are derived, or raise `KeyUseError`."""
    if is_elsewhere(uri):
        raise UsageError(
            f"the content secret cannot be in {uri.partition(':')[0]}: it has to be read",
            hint="keep it in a file, or set MANIFESTGEN_KEY_CONTENT to what a program prints",
        )
    text = read_source(uri, folder).strip()
    if not _HEX.fullmatch(text):
        raise KeyUseError(f"{uri} is no content secret: want {2 * SECRET_BYTES} hex digits")
    return bytes.fromhex(text.decode())
