"""A thousand devices that check a site as real ones do: roots, manifest, freshness, `decide`.

What they remember is carried from check to check; nothing is downloaded.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import Keyring, Seen, TrustedManifest, check_fresh, clock
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest
from manifestgen.core.select import Device, Install, Memory, Reset, Running, decide
from manifestgen.errors import VerificationError

BUILTIN = "built-in"


@dataclass
class One:
    """One device: who it is, and what it remembers."""

    device: Device
    memory: Memory = field(default_factory=Memory)

    @property
    def version(self) -> str:
        """What it runs."""
        return str(self.memory.running.version) if self.memory.running else BUILTIN

    def obeys(self, trusted: TrustedManifest, now: datetime) -> None:
        """Decide, and do it: each installation works and is confirmed."""
        match decide(trusted, self.device, self.memory, now):
            case Install(release):
                floors = [one for one in (self.memory.floor, release.floor) if one]
                running = Running(release.version, release.tree.digest)
                floor = max(floors, default=None)
                self.memory = replace(self.memory, running=running, floor=floor)
            case Reset():
                self.memory = replace(self.memory, running=None)


@dataclass
class Fleet:
    """Devices that trust the same root and have seen the same manifests."""

    site: Path
    keyring: Keyring
    devices: list[One]
    channel: str = "production"
    seen: Seen | None = None
    last: bytes | None = None

    @classmethod
    def of(
        cls,
        project: Path,
        count: int = 1000,
        *,
        channel: str = "production",
        builtin: str | None = None,
        platforms: Iterable[str | None] = (None,),
        native: str | None = None,
    ) -> "Fleet":
        """Make devices that were built with a project's root 1."""
        kinds = list(platforms)
        ids = [f"fleet-{number}" for number in range(count)]
        devices = [
            One(Device(channel, name, kinds[number % len(kinds)], native, builtin))
            for number, name in enumerate(ids)
        ]
        keyring = Keyring.trust((project / ".manifestgen/root/1.json").read_bytes())
        return cls(project / "site", keyring, devices, channel)

    def check(self, now: datetime) -> dict[str, int]:
        """Let every device look once; return how many run what."""
        self._walk()
        data = (self.site / self.channel / "manifest.json").read_bytes()
        trusted = self.keyring.manifest(data, self.channel)
        check_fresh(trusted, seen=self.seen, now=now, root_issued=self.keyring.root.issued)
        self.seen, self.last = trusted.seen, data
        for one in self.devices:
            one.obeys(trusted, clock(now, self.seen))
        return self.versions()

    def versions(self) -> dict[str, int]:
        """Return how many devices run what."""
        return dict(Counter(one.version for one in self.devices))

    def on(self, version: str) -> set[str]:
        """Return the ids of the devices that run a version."""
        return {str(one.device.id) for one in self.devices if one.version == version}

    def _walk(self) -> None:
        """Follow the chain; forget what a manifest taught whose keys are gone."""
        while (path := self.site / f"root/{self.keyring.root.number + 1}.json").exists():
            self.keyring = self.keyring.follow(path.read_bytes())
            if self.last is not None and not self._still(self.last):
                self.seen = self.last = None

    def _still(self, data: bytes) -> bool:
        with suppress(VerificationError):
            self.keyring.manifest(data, self.channel)
            return True
        return False


def manifest_of(site: Path, channel: str = "production") -> Manifest:
    """Read what a channel says, unverified."""
    data = (site / channel / "manifest.json").read_bytes()
    return Manifest.from_json(Envelope.decode(data, limit=LIMITS.manifest_bytes).signed)
