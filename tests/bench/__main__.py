"""Print a table of measurements: `python -m tests.bench TABLE [--builds swagger,n8n] [--rounds 5]`.

Run it with the environment that `python3 -m tests` makes. docs/performance.md has what came of it.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import (
    again,
    apply,
    check,
    client,
    growth,
    kit,
    memory,
    patches,
    publish,
    s3,
    scale,
    unpack,
    watch,
)
from tests.bench.pairs import pairs
from tests.tools import builds, environment


@dataclass(frozen=True, slots=True)
class Table:
    """What a table shows, and what makes it of the names of builds, the rounds and a folder."""

    about: str
    make: Callable[[Sequence[str], int, Path], str]


TABLES = {
    "publish": Table("publishing, against Capgo's CLI, zip + openssl, naive Python", publish.table),
    "again": Table("publishing after one changed file", again.table),
    "patches": Table(
        "patches, against brotli of each changed file, bsdiff4 and zstd",
        lambda names, rounds, scratch: patches.table(pairs(names), rounds, scratch),
    ),
    "apply": Table(
        "applying patches in Python, Node and Chromium",
        lambda names, rounds, scratch: apply.table(pairs(names), rounds, scratch),
    ),
    "unpack": Table("unpacking whole bundles in Chromium and Node", unpack.table),
    "memory": Table(
        "peak memory of publishing, making patches, installing and applying them",
        lambda names, _, scratch: memory.table(pairs(names, most=1), scratch),
    ),
    "growth": Table(
        "publishing as builds grow, in bytes and in files (builds are made for it)",
        lambda _, rounds, scratch: growth.table(growth.SHAPES, rounds, scratch),
    ),
    "scale": Table(
        "one more release in a site of 200, one more channel beside 50 (takes long)",
        lambda _, rounds, scratch: scale.table(replace(scale.WHOLE, releases=rounds * 40), scratch),
    ),
    "check": Table(
        "what a check downloads, and the time to verify and decide, in Python and Node",
        lambda _names, rounds, _scratch: check.table(rounds * 100),
    ),
    "client": Table(
        "how large the JavaScript client is", lambda _names, _rounds, _scratch: client.table()
    ),
    "kit": Table(
        "export and import of kits of 1 GB and of 500 single files, beside cp and sha256sum",
        lambda _names, rounds, scratch: kit.table(kit.LOADS, rounds, scratch),
    ),
    "s3": Table("sending to a bucket, against aws s3 sync and rclone copy", s3.table),
    "watch": Table(
        "from a save to the manifest that offers it (also `--builds large`)",
        lambda names, rounds, scratch: watch.table(names, rounds * 4, scratch),
    ),
}


def main(arguments: list[str]) -> int:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        epilog="\n".join(f"{name:<8} {table.about}" for name, table in TABLES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", nargs="?", default="publish", choices=TABLES)
    parser.add_argument("--builds", default=",".join(builds.SOURCES))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    if given.table in {"patches", "s3"}:
        for part, why in environment.add_contenders().items():
            print(f"without {part}: {why}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        print(TABLES[given.table].make(given.builds.split(","), given.rounds, Path(scratch)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
