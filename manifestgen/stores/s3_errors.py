"""What an object store said, told to a person: which action, on what, and what to do about it.

`obstore` gives one class for most of it, so the service's own code and status are read from the
message, in which they stand verbatim.
"""

import re
from typing import Final

from manifestgen.errors import StoreError

_CODE = re.compile(r"<Code>\s*([A-Za-z0-9._-]{1,60})\s*</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_URL = re.compile(r"https?://[^\s/]+")

_RIGHTS: Final = {
    # Without the second, what is absent is answered as forbidden.
    "read": "s3:GetObject and s3:ListBucket",
    "write": "s3:PutObject",
    "delete": "s3:DeleteObject",
    "list": "s3:ListBucket",
}
_PASSING: Final = {"408", "425", "429", "500", "502", "503", "504"}
_CREDENTIALS: Final = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_ELSEWHERE: Final = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
}
_KEYS: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; after `aws sso login`:"
    ' `eval "$(aws configure export-credentials --format env)"`'
)
_LATER: Final = "run the same command again in a while; what is there already is not sent twice"


class PassingError(StoreError):
    """A failure that another try may get past; to everybody outside a plain `StoreError`."""


class Unsupported(StoreError):
    """The store does not know this kind of request, and says so."""


def is_no_bucket(error: Exception) -> bool:
    """Tell whether it is the bucket that is missing, and not the object."""
    return _first(_CODE, str(error)) == "NoSuchBucket"


def translated(error: Exception, location: str, action: str, name: str) -> StoreError:
    """Make our error of one of obstore's; `action` is what was tried."""
    text = str(error)
    code, status = _first(_CODE, text), _first(_STATUS, text)
    where = f"{location}/{name}" if name else location
    at = f" at {host}" if (host := _first(_URL, text, group=0)) else ""
    if "/latest/api/token" in text or "/latest/meta-data" in text:
        return StoreError(f"{location}: no credentials were found", hint=_KEYS)
    if code == "NoSuchBucket":
        return StoreError(
            f"{location}: there is no such bucket{at}",
            hint="make it, or correct `site`, AWS_ENDPOINT_URL and AWS_REGION",
        )
    if code == "RequestTimeTooSkewed":
        return StoreError(
            f"{location}: the clock of this machine is wrong by more than a quarter of an hour",
            hint="set it (as a rule `timedatectl set-ntp true`) and run the same command again",
        )
    if code in _CREDENTIALS:
        return StoreError(f"{location}: the credentials are not accepted ({code})", hint=_KEYS)
    if code in _ELSEWHERE or status in {"301", "307"} or "redirect without LOCATION" in text:
        return StoreError(
            f"{location}: the bucket is in another region{f' ({code})' if code else ''}",
            hint="set AWS_REGION to the region of the bucket",
        )
    if status == "401" or (status == "403" and action != "read" and code != "AccessDenied"):
        return StoreError(f"{where}: not allowed to {action} ({code or status})", hint=_KEYS)
    if status == "403":
        return StoreError(
            f"{where}: not allowed to {action} ({code or status})",
            hint=f"give these credentials {_RIGHTS[action]}, or use others",
        )
    return _less_clear(text, f"{where}: cannot {action}", at)


def _less_clear(text: str, what: str, at: str) -> StoreError:
    code, status = _first(_CODE, text), _first(_STATUS, text)
    said = f" ({code})" if code else ""
    if status in {"501", "405"} or code == "NotImplemented":
        return Unsupported(f"{what}: not supported by this store: answered {status}{said}")
    if status in _PASSING or code == "SlowDown":
        return PassingError(f"{what}: answered {status}{said}", hint=_LATER)
    if status:
        return StoreError(
            f"{what}: answered {status}{said}",
            hint="check `site`, AWS_ENDPOINT_URL and AWS_REGION",
        )
    if "HTTP error" in text or "error decoding response" in text:
        return PassingError(
            f"{what}: {_network(text)}{at}",
            hint="check the connection and AWS_ENDPOINT_URL, then run the same command again",
        )
    return StoreError(f"{what}: {text.partition(chr(10))[0][:300]}")


def _network(text: str) -> str:
    if "dns error" in text:
        return "the name of the host is not known"
    if "ConnectionRefused" in text or "Connection refused" in text:
        return "no connection: connection refused"
    if "ertificate" in text or "UnknownIssuer" in text:
        return "its certificate is not trusted (an authority of your own goes in AWS_CA_BUNDLE)"
    if "TimedOut" in text or "kind: Timeout" in text:
        return "nothing came for too long"
    return "the connection was cut" if "kind: Connect" not in text else "no connection"


def _first(pattern: re.Pattern[str], text: str, group: int = 1) -> str | None:
    found = pattern.search(text)
    return found[group] if found else None
