"""Publishing again: a first publish, the same build once more, and one changed file; in process.

Keys are loaded each time, as a command does; interpreter and imports are not counted, since they
are the same for all. Saves while `watch` runs have a table of their own.
"""

import shutil
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from manifestgen.bundle import read_build
from manifestgen.config import load
from manifestgen.core.version import Version
from manifestgen.publish import Request, init, open_site, publish
from tests.bench.publish import FIRST
from tests.tools import builds

_START = datetime(2030, 1, 1, tzinfo=UTC)


def table(names: Sequence[str], rounds: int, scratch: Path) -> str:
    """Measure every build and return the table; times are medians of `rounds`."""
    lines = [
        "| build | first publish | one changed file | times | without a cache |",
        "|---|---|---|---|---|",
    ]
    for name in names:
        times = _measure(name, rounds, scratch / name)
        first, second, without = (statistics.median(one) for one in times)
        lines.append(
            f"| {name} {FIRST[name]} | {first:.0f} ms | {second:.0f} ms | {first / second:.1f}× |"
            f" {without:.0f} ms |"
        )
    return "\n".join(lines)


def _measure(name: str, rounds: int, scratch: Path) -> list[list[float]]:
    rows = [_round(name, scratch / str(number)) for number in range(rounds)]
    return [list(column) for column in zip(*rows, strict=True)]


def _round(name: str, project: Path) -> list[float]:
    build = Path(shutil.copytree(builds.build(name, FIRST[name]), project / "dist"))
    config = project / "manifestgen.toml"
    config.write_text('app = "com.example.bench"\npatches = 0\n')
    init(load(config, {}), now=_START, ask=lambda _: None, ci=False)

    def published(number: int) -> float:
        _change(build, number)
        began = time.perf_counter()
        _publish(config, build, number)
        return (time.perf_counter() - began) * 1000

    first, second = published(0), published(1)
    shutil.rmtree(project / ".manifestgen" / "cache")
    times = [first, second, published(2)]
    shutil.rmtree(project)
    return times


def _publish(config: Path, folder: Path, number: int) -> None:
    settings = load(config, {})
    request = Request(read_build(folder), "production", Version.parse(f"1.0.{number}"))
    store = open_site(settings)
    now = _START + timedelta(hours=number)
    publish(settings, request, store=store, ask=lambda _: None, now=now)


def _change(folder: Path, number: int) -> None:
    """Change the largest script of at most 200 KB, as an edit would."""
    scripts = [path for path in folder.rglob("*.js") if path.stat().st_size <= 200_000]
    script = max(scripts, key=lambda path: (path.stat().st_size // 100, path))
    script.write_bytes(script.read_bytes() + f"\n// {number}".encode())
