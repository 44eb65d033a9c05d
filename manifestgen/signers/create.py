"""Make new key files: created exclusively, 0600 from the first byte, never overwritten."""

import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from manifestgen.config import STATE
from manifestgen.core.cipher import SECRET_BYTES
from manifestgen.core.keys import Algorithm
from manifestgen.core.release import RSA_BYTES
from manifestgen.errors import KeyUseError, os_reason
from manifestgen.signers.sources import is_open

_PASSPHRASE: Final = 1023  # bytes
_IGNORE: Final = "# Private keys: never in git, never in a site. Back them up elsewhere.\n*\n"


def make_key_folder(folder: Path) -> bool:
    """Make a folder for keys, 0700 and ignored by git; `False` if git may see what is put there.

    A folder that is there already for something else is left as it is: closing it, or hiding it
    from git, would be a surprise.
    """
    ours = folder.parent.name == STATE or not folder.exists()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if ours:
        if os.name == "posix":
            folder.chmod(0o700)
        if not ignore.exists():
            ignore.write_text(_IGNORE)
    return ours or (ignore.exists() and "*" in ignore.read_text().splitlines())


def create_signing_key(path: Path, algorithm: Algorithm, passphrase: bytes | None) -> None:
    """Write a new Ed25519 or P-256 key as PKCS#8 PEM."""
    key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if algorithm is Algorithm.ED25519:
        key = Ed25519PrivateKey.generate()
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, _encryption(passphrase)
    )
    write_secret(path, pem)


def create_capgo_key(path: Path, passphrase: bytes | None) -> None:
    """Write a new RSA-2048 key as PKCS#1 PEM, the form Capgo's CLI reads and writes.

    With a passphrase it is PKCS#8: PKCS#1's own encryption is too weak to offer.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BYTES * 8)
    form = serialization.PrivateFormat
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        form.PKCS8 if passphrase else form.TraditionalOpenSSL,
        _encryption(passphrase),
    )
    write_secret(path, pem)


def create_content_secret(path: Path) -> None:
    """Write a new content secret: 32 random bytes in hex."""
    write_secret(path, secrets.token_hex(SECRET_BYTES).encode() + b"\n")


def write_secret(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, readable by its owner alone, and make it durable.

    It appears whole or not at all: half a key would never be overwritten.

    Raises:
        KeyUseError: there is a file already, or on this disk anybody could read it.
    """
    try:
        # 0600 from the first byte: that is how `mkstemp` makes files.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                if is_open(file.fileno()):
                    raise _no_modes(path)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _move_new(Path(temporary), path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except FileExistsError:
        raise KeyUseError(
            f"{path} exists and is not overwritten", hint="move it away first if it is not needed"
        ) from None
    except OSError as error:
        raise KeyUseError(
            f"cannot write {path}: {os_reason(error)}",
            hint=f"see with `ls -ld {path.parent}` who may write there, and with `df -h` for room",
        ) from None


def _no_modes(path: Path) -> KeyUseError:
    return KeyUseError(
        f"the disk of {path.parent} knows no permissions, and others could read a key on it",
        hint="name a folder on another disk with `--out-dir`, or mount it with `-o umask=077`",
    )


def _move_new(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (FAT, some network mounts): claim the name, then fill it at once.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        temporary.replace(path)


def _encryption(passphrase: bytes | None) -> serialization.KeySerializationEncryption:
    if passphrase is None:
        return serialization.NoEncryption()
    if len(passphrase) > _PASSPHRASE:
        raise KeyUseError(
            f"the passphrase has {len(passphrase):,} bytes; OpenSSL takes {_PASSPHRASE:,}",
            hint="is MANIFESTGEN_PASSPHRASE_FILE the file that was meant?",
        )
    return serialization.BestAvailableEncryption(passphrase)
