"""Who fetched what.

Devices decide for themselves and send nobody their name, so a server can only tell as much as they
let it know: the stock plugin's POST carries its id and version; a client in development may add
`?device=ID&version=V` to what it asks for; of all others there are the address and the program.
Whoever said its name once is known by it from then on, as long as address and program stay.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final
from urllib.parse import parse_qs

_LONGEST: Final = 64  # characters of a name in a line
_MOST: Final = 10_000  # devices remembered; a developer has fewer

# The first that a User-Agent contains; browsers name those they descend from as well.
_PROGRAMS: Final = {
    "manifestgen": "manifestgen",
    "CapacitorUpdater": "Capgo plugin",
    "okhttp": "Android app",
    "CFNetwork": "iOS app",
    "Electron": "Electron",
    "Firefox": "Firefox",
    "Edg": "Edge",
    "Chrome": "Chrome",
    "Safari": "Safari",
    "curl": "curl",
}
_SYSTEMS: Final = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad"}


@dataclass(frozen=True, slots=True)
class Device:
    """Whoever asks: a name, and the version it says it runs."""

    name: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.version})" if self.version else self.name


@dataclass(frozen=True, slots=True)
class Visit:
    """One answered request; `bytes` is what was sent of the body, `tag` the ETag of it."""

    device: Device
    method: str
    path: str
    status: int
    bytes: int
    seconds: float
    fault: str | None = None
    tag: str | None = None

    def line(self) -> str:
        """Say it in one line, with nothing a terminal would obey."""
        what = f"{self.device} {self.method} {self.path} {self.status}"
        sent = f" {self.bytes:,} bytes, {self.seconds * 1000:.0f} ms"
        fault = f" (fault: {self.fault})" if self.fault else ""
        return printable(what + sent + fault)


def printable(text: str) -> str:
    """Escape whatever a terminal would obey."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class Guests:
    """Remembers who is behind an address and a program."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Device] = {}
        self._lock = Lock()

    def who(self, address: str, headers: Mapping[str, str], query: str, body: bytes) -> Device:
        """Say who asks."""
        agent = headers.get("user-agent", "")
        said = _from_body(body) or _from_query(query)
        with self._lock:
            if said:
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[address, agent] = said
            return said or self._known.get((address, agent)) or Device(_described(address, agent))


def _from_body(body: bytes) -> Device | None:
    """Read what the stock plugin posts."""
    if not body.startswith(b"{"):
        return None
    try:
        facts = json.loads(body)
    except (ValueError, RecursionError):
        return None
    name = facts.get("device_id")
    version = facts.get("version_name")
    if not isinstance(name, str) or not name:
        return None
    return Device(_short(name), _short(version) if isinstance(version, str) and version else None)


def _from_query(query: str) -> Device | None:
    try:
        facts = parse_qs(query, max_num_fields=10)
    except ValueError:
        return None
    if not (names := facts.get("device")):
        return None
    versions = facts.get("version")
    return Device(_short(names[0]), _short(versions[0]) if versions else None)


def _described(address: str, agent: str) -> str:
    first = agent.partition("/")[0]
    program = next((name for word, name in _PROGRAMS.items() if word in agent), first)
    system = next((f" on {name}" for word, name in _SYSTEMS.items() if word in agent), "")
    return _short(f"{program}{system} at {address}" if program else address)


def _short(text: str) -> str:
    return printable(text[:_LONGEST])
