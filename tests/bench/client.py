"""The JavaScript client's size: each module as it is shipped, and together minified."""

import gzip
from pathlib import Path

from tests.tools import node

_CLIENT = Path(__file__).parents[2] / "manifestgen" / "client"
# What every app loads; adapters come on top, one for each platform.
_MODULES = [_CLIENT / f"{name}.js" for name in ("core", "updater", "manifestgen")]


def table() -> str:
    """Measure the modules that verify and decide."""
    together = b"".join(map(_minified, _MODULES))
    return "\n".join(
        [
            "| module | bytes | gzip |",
            "|---|---|---|",
            *(_row(module.name, module.read_bytes()) for module in _MODULES),
            _row("all, minified", together),
        ]
    )


def _row(name: str, data: bytes) -> str:
    return f"| {name} | {len(data):,} | {len(gzip.compress(data, 9)):,} |"


def _minified(module: Path) -> bytes:
    terser = node.modules() / "terser" / "bin" / "terser"
    done = node.start(terser, "--module", "--compress", "--mangle", "--", module)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.encode()
