"""Answers that go wrong on demand, so that an app's update code can be tried.

slow     a second of silence, then 256 KB/s
cut      half of what was announced, then the line goes dead
503      the server is overloaded
stale    the manifest before the newest, correctly signed: a replay
missing  404
flip     one byte in the middle is another
portal   the log-in page of a hotel, with status 200, whatever was asked for
"""

import fnmatch
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Lock
from typing import Final

from manifestgen.errors import UsageError
from manifestgen.serve.answer import Answer, Part, Request, Site
from manifestgen.stores.names import ASK, history_name, manifest_channel

SILENCE: Final = 1.0
"""Seconds before a slow answer begins."""
PACE: Final = 256 * 1024
"""Bytes a second of a slow answer."""

_SPEC = re.compile(
    r"(?P<kind>[a-z0-9]+)(?::(?P<glob>[^@]+))?(?:@(?P<share>\d+(?:\.\d+)?)(?P<percent>%)?)?"
)
_PORTAL = b"<!doctype html><title>Welcome</title><h1>Welcome to our Wi-Fi</h1><form></form>\n"


class Kind(StrEnum):
    """What can go wrong."""

    SLOW = "slow"
    CUT = "cut"
    BUSY = "503"
    STALE = "stale"
    MISSING = "missing"
    FLIP = "flip"
    PORTAL = "portal"


# Where a fault strikes when no path is named: where it hurts, and is not merely the end of it all.
_WHERE: Final = {
    Kind.SLOW: "*",
    Kind.CUT: "blobs/*",
    Kind.BUSY: "*",
    Kind.STALE: "*/manifest.json",
    Kind.MISSING: "blobs/*",
    Kind.FLIP: "blobs/*",
    Kind.PORTAL: "*",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with the paths of a glob, in a share of the requests."""

    kind: Kind
    glob: str
    share: float = 1.0

    def strikes(self, name: str | None, chance: float) -> bool:
        """Tell whether a request is hit; `chance` is drawn from 0 to 1."""
        return chance < self.share and fnmatch.fnmatchcase(name or "", self.glob)


def parse_fault(text: str) -> Fault:
    """Read `KIND[:GLOB][@SHARE]`, such as `cut:blobs/*@0.3`, or raise `UsageError`."""
    found = _SPEC.fullmatch(text)
    try:
        if not found:
            raise ValueError(text)
        kind = Kind(found["kind"])
        share = float(found["share"] or 1) / (100 if found["percent"] else 1)
        if not 0 <= share <= 1:
            raise ValueError(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no fault",
            hint=f"write KIND[:PATH][@SHARE], as in `cut:blobs/*@30%`; KIND is {_kinds()}",
        ) from None
    return Fault(kind, (found["glob"] or _WHERE[kind]).lstrip("/"), share)


def _kinds() -> str:
    *most, last = [kind.value for kind in Kind]
    return f"{', '.join(most)} or {last}"


class Faults:
    """What goes wrong at present; may be changed while requests are answered."""

    def __init__(
        self, faults: Sequence[Fault] = (), *, draw: Callable[[], float] = random.random
    ) -> None:
        self._faults = tuple(faults)
        self._draw = draw
        self._lock = Lock()

    def add(self, fault: Fault) -> None:
        """Let something more go wrong."""
        with self._lock:
            self._faults = (*self._faults, fault)

    def clear(self) -> None:
        """Let everything go well again."""
        with self._lock:
            self._faults = ()

    def strike(self, name: str | None) -> Kind | None:
        """Choose what goes wrong with a request for `name`; the first fault that strikes."""
        return next((one.kind for one in self._faults if one.strikes(name, self._draw())), None)


def spoiled(kind: Kind, answer: Answer, site: Site, request: Request) -> Answer:
    """Return what a faulty server sends in place of a good answer; `slow` and `cut` are the line's.

    A preflight is spared, so that a browser gets as far as seeing the fault.
    """
    if request.method == "OPTIONS":
        return answer
    match kind:
        case Kind.BUSY:
            return _instead(answer, 503, b"overloaded\n", "text/plain", {"Retry-After": "1"})
        case Kind.MISSING:
            return _instead(answer, 404, b"404\n", "text/plain")
        case Kind.PORTAL:
            return _instead(answer, 200, _PORTAL, "text/html")
        case Kind.STALE:
            return _stale(answer, site, request)
        case Kind.FLIP:
            return _flipped(answer)
        case _:
            return answer


def _instead(
    answer: Answer, status: int, body: bytes, kind: str, more: dict[str, str] | None = None
) -> Answer:
    answer.close()
    fixed = {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": ASK,
        "Content-Type": f"{kind}; charset=utf-8",
    }
    return Answer(status, {**fixed, **(more or {})}, body, answer.name)


def _stale(answer: Answer, site: Site, request: Request) -> Answer:
    """Answer with the manifest before; where there is none, with the one there is."""
    channel = manifest_channel(answer.name or "")
    whole = site.answer(Request("GET", f"/{answer.name}")) if channel else answer
    if channel is None or whole.status != 200 or not isinstance(whole.body, bytes):
        return answer
    try:
        sequence = json.loads(whole.body)["signed"]["sequence"]
    except (ValueError, KeyError, TypeError):
        return answer
    name = history_name(channel, max(1, sequence - 1))
    before = site.answer(replace(request, path=f"/{name}"))
    if before.status not in {200, 206, 304}:
        before.close()
        return answer
    answer.close()
    return replace(before, headers={**before.headers, "Cache-Control": ASK}, name=answer.name)


def _flipped(answer: Answer) -> Answer:
    if answer.status not in {200, 206} or not answer.size:
        return answer
    data = bytearray(body_of(answer))
    data[len(data) // 2] ^= 0x01
    return replace(answer, body=bytes(data))


def body_of(answer: Answer) -> bytes:
    """Read a body whole, and close its file."""
    if isinstance(answer.body, Part):
        with answer.body.file as file:
            file.seek(answer.body.offset)
            return file.read(answer.body.size)
    return answer.body
