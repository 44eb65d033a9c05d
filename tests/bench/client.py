"""The JavaScript client: its size, and the time to verify a manifest and decide, in Node."""

import gzip
import json
import subprocess
from pathlib import Path

from manifestgen.core.manifest import Patch
from manifestgen.core.reader import format_time
from manifestgen.core.release import Payload, Scheme, Wrapped
from manifestgen.core.tree import sha256
from tests.simulator import CHANNEL, NOW, Simulator, tree_digest
from tests.tools import node

_CLIENT = Path(__file__).parents[2] / "manifestgen" / "client"
_MODULES = [_CLIENT / f"{name}.js" for name in ("core", "updater", "manifestgen")]
_SCRIPT = Path(__file__).with_name("client.mjs")


def table(rounds: int) -> str:
    """Measure one encrypted release with three patches, `rounds` hundred times."""
    manifest = _manifest()
    times = _times(manifest, rounds * 100)
    return "\n".join(
        [
            "| measured | |",
            "|---|---|",
            *(
                f"| {one.name} as shipped, gzipped | {_size(one.read_bytes())} |"
                for one in _MODULES
            ),
            f"| all minified, gzipped | {_size(b''.join(map(_minified, _MODULES)))} |",
            f"| the manifest, gzipped | {len(manifest)} bytes, {_size(manifest)} |",
            f"| first time: root, manifest, decision | {times['cold']:.2f} ms |",
            f"| verify the manifest and its release | {times['verify']:.3f} ms |",
            f"| decide | {times['decide']:.3f} ms |",
        ]
    )


def _manifest() -> bytes:
    sim = Simulator()
    wrapped = Wrapped(bytes(16), bytes(256), bytes(256), "v3", "M" * 20)
    release = sim.release("1.4.2", scheme=Scheme.CAPGO, capgo=wrapped)
    payload = Payload(sha256(b"a"), 100, sha256(b"b"), 90)
    patches = tuple(Patch(tree_digest(base), payload) for base in ("1.4.1", "1.4.0", "1.3.0"))
    return sim.manifest(sim.offer(release, patches=patches))


def _times(manifest: bytes, rounds: int) -> dict[str, float]:
    given = {
        "root": Simulator().root().decode(),
        "manifest": manifest.decode(),
        "channel": CHANNEL,
        "now": format_time(NOW),
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


def _minified(module: Path) -> bytes:
    terser = node.modules() / "terser" / "bin" / "terser"
    done = node.start(terser, "--module", "--compress", "--mangle", "--", module)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.encode()


def _size(data: bytes) -> str:
    return f"{len(gzip.compress(data, 9)):,} bytes"
