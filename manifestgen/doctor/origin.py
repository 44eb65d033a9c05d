"""What is known of a live site before it is examined, and what several checks say alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urljoin, urlsplit

from manifestgen.core.keyring import Keyring, TrustedManifest, usable
from manifestgen.core.release import Payload
from manifestgen.doctor.ask import Answer, Asker
from manifestgen.doctor.finding import Area, Finding
from manifestgen.stores import SMALL, Store
from manifestgen.stores.names import (
    headers,
    is_immutable,
)

AREA: Final = Area("live")
SERVER: Final = "take the configuration that `manifestgen server nginx` or `server caddy` prints"
ORIGIN: Final = "capacitor://localhost"
_LEAST_CACHED: Final = 86_400  # seconds, for what never changes

Findings: TypeAlias = Iterator[Finding]


@dataclass(frozen=True, slots=True)
class Local:
    """What is known beforehand: the site behind the origin, if it is at hand, and its root."""

    store: Store | None
    keyring: Keyring | None
    channels: Sequence[str]
    stock: bool


@dataclass(frozen=True, slots=True)
class Live:
    """One examination: who asks, what is expected, and what the documents say."""

    asker: Asker
    local: Local
    probe_writes: bool
    heads: Mapping[str, TrustedManifest]

    def expected(self, name: str) -> bytes | None:
        """Return the bytes of the local site, if there is one."""
        stored = self.local.store.get(name, limit=SMALL) if self.local.store else None
        return stored.data if stored else None

    def blob(self) -> Payload | None:
        """Return the smallest bundle that is offered."""
        found = [one.bundle for head in self.heads.values() for one in usable(head)]
        return min(found, key=lambda payload: payload.size, default=None)


def redirected(asker: Asker, name: str, answer: Answer) -> Findings:
    """Judge a redirect; devices follow only those on the same host."""
    url = f"{asker.base}/{name}"
    try:
        target = urljoin(url, answer.headers.get("location", ""))
        old, new = urlsplit(url), urlsplit(target)
    except ValueError:
        yield AREA.problem("redirected", f"{url} redirects to no address", "answer it directly")
        return
    if (old.scheme, new.scheme) == ("https", "http"):
        yield AREA.problem(
            "redirect_plain",
            f"{url} redirects to {target}, without encryption: devices do not follow",
            "redirect nothing from https to http",
        )
    elif old.hostname != new.hostname:
        yield AREA.problem(
            "redirect_elsewhere",
            f"{url} redirects to {new.netloc}, and devices stay on the host they were given",
            # Whoever sent it may be a network's log-in page, or worse: its address is no advice.
            "if the site has moved, set base_url to the address that its host tells you; else see"
            " who answers there: a log-in page of this network, a changed DNS entry",
        )
    else:
        yield AREA.problem(
            "redirected",
            f"{url} redirects to {target}: one more journey at each check, and stock plugins that"
            " ask with POST are lost",
            "set base_url to the address that answers by itself",
        )


def transformed(name: str, how: str) -> Finding:
    """Say that something on the way rewrites what was signed."""
    return AREA.problem(
        "transformed",
        f"{name} is changed on its way: {how}",
        "switch off whatever minifies, rewrites or injects there; signed bytes must arrive as"
        " they are (Cache-Control: no-transform helps with some)",
    )


def wrong_type(name: str, given: str, wanted: str) -> Finding:
    """Say that a content type is another."""
    what = f"files such as {name} are sent as {given}, not {wanted}"
    return AREA.problem("content_type", what, f"add the type to the server's table; {SERVER}")


def cached(name: str, answer: Answer) -> Findings:
    """Judge what caches are told of a file."""
    age = answer.max_age()
    if is_immutable(name):
        if age is None or age < _LEAST_CACHED:
            yield AREA.warning(
                "cache_immutable",
                f"{name} never changes, but caches are not told so",
                f"send `Cache-Control: {headers(name).cache_control}`; {SERVER}",
            )
    elif age is None:
        yield AREA.problem(
            "cache_unsaid",
            f"{name} comes without Cache-Control: caches keep it for as long as they like",
            f"send `Cache-Control: no-cache`; {SERVER}",
        )
    elif age > 0:
        yield AREA.problem(
            "cache_mutable",
            f"caches may keep {name} for {age} s, and devices then hear old news",
            f"send `Cache-Control: no-cache`; {SERVER}",
        )


def absent(name: str, answer: Answer, expected: bytes | None) -> Findings:
    """Say that what must be there is not; what need not be may be absent."""
    if expected is not None or answer.status >= 500:
        yield AREA.problem(
            "not_served",
            f"{name}: answered {answer.status}",
            "upload the site again, and let the server read every file of it",
        )


def only_files() -> str:
    """Say how a server stops answering a page for everything."""
    return "switch off the fallback to index.html for this address; answer 404"
