"""The files of trust that a command line names: a root, and the public key bundles open with."""

from pathlib import Path
from typing import Final

from manifestgen.cli.report import reason
from manifestgen.errors import KeyUseError, UsageError, VerificationError

WHERE: Final = (
    "name the root that your app was built with: .manifestgen/root/1.json in the project that"
    " publishes, root.json beside the client in the app"
)
_KEY: Final = "name the app's public Capgo key: .manifestgen/capgo.pub.pem in its project"


def read_root(path: Path) -> bytes:
    """Read the file of `--root`, which must be a root; whether to trust it is the caller's word.

    Raises:
        UsageError: it cannot be read.
        VerificationError: it is no root, or is not signed by its own keys.
    """
    from manifestgen.core.keyring import Keyring

    data = _read(path, "--root", WHERE)
    try:
        Keyring.trust(data)
    except VerificationError as error:
        message = f"--root: {path} is no root: {error}"
        raise VerificationError(message, code=error.code, hint=WHERE) from None
    return data


def read_key(path: Path) -> bytes:
    """Read the file of `--key`.

    Raises:
        UsageError: it cannot be read.
        KeyUseError: it is no public key that a Capgo plugin takes.
    """
    from manifestgen.core import capgo

    data = _read(path, "--key", _KEY)
    try:
        capgo.load_public(data)
    except KeyUseError as error:
        raise KeyUseError(f"{path}: {error}", hint=_KEY) from None
    return data


def _read(path: Path, option: str, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{option}: cannot read {path}: {reason(error)}"
        raise UsageError(message, hint=hint) from None
