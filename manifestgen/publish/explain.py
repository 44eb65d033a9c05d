"""What devices would do: the very function they run, over the newest manifest."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.select import Device, Install, Memory, decide
from manifestgen.core.version import Version


@dataclass(frozen=True, slots=True)
class Sample:
    """How many of a number of new devices each version gets; `none` get nothing."""

    devices: int
    versions: tuple[tuple[Version, int], ...]
    none: int


def sample(trusted: TrustedManifest, count: int, now: datetime, device: Device) -> Sample:
    """Try `count` device ids, `device-0` upwards, on a device that runs nothing yet."""
    found: Counter[Version] = Counter()
    for number in range(count):
        one = Device(device.channel, f"device-{number}", device.platform, device.native)
        decision = decide(trusted, one, Memory(), now)
        if isinstance(decision, Install):
            found[decision.release.version] += 1
    return Sample(count, tuple(sorted(found.items(), reverse=True)), count - found.total())
