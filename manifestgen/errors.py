"""Every error manifestgen raises on purpose.

    Error                     1    could not do it
    ├── UsageError            2    wrong flag, wrong setting, wrong folder
    ├── VerificationError     3    not to be trusted; `code` says which rule it broke
    │   └── FormatError       3    not a document at all: shape, canonical form, limits
    ├── KeyUseError           4    key or passphrase missing or wrong
    ├── ConflictError         5    somebody else published
    └── StoreError            6    store or server unreachable, full or read-only

The number is the exit code. Library code raises; only `cli/` prints and exits. `code` is stable:
`docs/format.md` lists those of `VerificationError`, and clients in every language use the same.
"""

from typing import ClassVar


class Error(Exception):
    """What went wrong, with the values; `hint` says what to do about it."""

    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code or self.default_code


class UsageError(Error):
    """The command, a setting or a folder given to it is wrong."""

    exit_code = 2
    default_code = "usage"


class VerificationError(Error):
    """Something is not to be trusted; nothing may be changed because of it."""

    exit_code = 3
    default_code = "untrusted"


class FormatError(VerificationError):
    """Bytes that are no document of ours."""

    default_code = "format"


class KeyUseError(Error):
    """A key or passphrase is missing, unusable or not the one the root names."""

    exit_code = 4
    default_code = "key"


class ConflictError(Error):
    """Somebody else wrote first."""

    exit_code = 5
    default_code = "conflict"


class StoreError(Error):
    """A store or server could not be reached, or refused."""

    exit_code = 6
    default_code = "store"


def os_reason(error: OSError) -> str:
    """Say why the system refused something, without the numbers and names that Python adds."""
    return (error.strerror or str(error)).lower()
