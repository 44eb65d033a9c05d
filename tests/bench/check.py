"""Checking: the manifest's size, and how long a device takes to verify it and to decide."""

import gzip
import hashlib
import json
import statistics
import subprocess
import time
from datetime import timedelta
from pathlib import Path

from manifestgen.core.keyring import Keyring, check_fresh
from manifestgen.core.manifest import Offer, Patch, Rollout
from manifestgen.core.reader import format_time
from manifestgen.core.release import Payload, Scheme, Wrapped
from manifestgen.core.select import Device, Memory, decide
from manifestgen.core.tree import Digest
from tests.simulator import EPOCH, Simulator
from tests.tools import node

_NOW = EPOCH + timedelta(hours=1)
_SCRIPT = Path(__file__).with_name("client.mjs")

# Of the right sizes and as incompressible as real ones.
_NOISE = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(16))
_WRAPPED = Wrapped(_NOISE[:16], _NOISE[:256], _NOISE[256:], "v3", "MIIBCgKCAQEAz1h3VXkQ")


def table(rounds: int) -> str:
    """Measure one encrypted release with three patches, alone and under a staged one."""
    lines = [
        "| manifest | bytes | gzip | verify and decide: Python | Node | Node, the first time |",
        "|---|---|---|---|---|---|",
    ]
    sim = Simulator()
    one = _offer(sim, "1.4.2")
    staged = _offer(sim, "1.5.0", share=1000)
    for name, offers in {"one release": [one], "and a staged second": [staged, one]}.items():
        data = sim.manifest(*offers, sequence=7)
        python, times = _in_python(sim, data, rounds), _in_node(sim, data, rounds)
        lines.append(
            f"| {name} | {len(data):,} | {len(gzip.compress(data, 9)):,} |"
            f" {python:.2f} ms | {times['verify'] + times['decide']:.2f} ms |"
            f" {times['cold']:.1f} ms |"
        )
    return "\n".join(lines)


def size(count: int) -> int:
    """Return the bytes of a manifest with `count` encrypted releases, three patches each."""
    sim = Simulator()
    offers = [_offer(sim, f"1.{9 - number}.0", share=1000) for number in range(count)]
    return len(sim.manifest(*offers, sequence=7))


def _offer(sim: Simulator, version: str, share: int = 10_000) -> Offer:
    payload = Payload(_digest(version), 18_383_182, _digest(f"plain {version}"), 18_383_170)
    release = sim.release(version, scheme=Scheme.CAPGO, capgo=_WRAPPED, bundle=payload)
    patches = tuple(_patch(f"{version} {number}") for number in range(3))
    return sim.offer(release, patches=patches, rollout=Rollout(share))


def _patch(name: str) -> Patch:
    payload = Payload(_digest(f"patch {name}"), 63_056, _digest(f"plain {name}"), 63_052)
    return Patch(_digest(f"base {name}"), payload)


def _digest(name: str) -> Digest:
    return Digest(hashlib.sha256(name.encode()).hexdigest())


def _in_python(sim: Simulator, data: bytes, rounds: int) -> float:
    """Return the median in milliseconds, with everything but the root parsed afresh."""
    keyring = Keyring.trust(sim.root())
    device = Device("production", id="device-1")
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        trusted = keyring.manifest(data, "production")
        check_fresh(trusted, seen=None, now=_NOW, root_issued=keyring.root.issued)
        decide(trusted, device, Memory(), _NOW)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def _in_node(sim: Simulator, data: bytes, rounds: int) -> dict[str, float]:
    given = {
        "root": sim.root().decode(),
        "manifest": data.decode(),
        "channel": "production",
        "now": format_time(_NOW),
        "rounds": rounds,
    }
    done = subprocess.run(
        [node.program(), "--no-warnings", _SCRIPT],
        input=json.dumps(given),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return dict(json.loads(done.stdout))
