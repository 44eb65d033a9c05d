"""Publishing again: a first publish, the same build once more, and one changed file; in process.

Keys are loaded each time, as a command does; interpreter and imports are not counted, since they
are the same for all. `watching` is packing, encrypting and reading the folder, without a site.
"""

import hashlib
import io
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from manifestgen.bundle import Packer, read_build
from manifestgen.config import load
from manifestgen.core.cipher import ContentKey, encrypt
from manifestgen.core.version import Version
from manifestgen.publish import Request, init, open_site, publish
from tests.bench.publish import FIRST
from tests.tools import builds

_START = datetime(2030, 1, 1, tzinfo=UTC)
_KEY = ContentKey(bytes(16), bytes(16))


def table(names: Sequence[str], rounds: int, scratch: Path) -> str:
    """Measure every build and return the table; times are medians of `rounds`."""
    lines = [
        "| build | first publish | one changed file | times | without a cache |"
        " watching, one changed file | of it CPU |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        times = _measure(name, rounds, scratch / name)
        first, second, without, watching, cpu = (statistics.median(one) for one in times)
        lines.append(
            f"| {name} {FIRST[name]} | {first:.0f} ms | {second:.0f} ms | {first / second:.1f}× |"
            f" {without:.0f} ms | {watching:.0f} ms | {cpu:.0f} ms |"
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
        return _timed(lambda: _publish(config, build, number))[0]

    first, second = published(0), published(1)
    shutil.rmtree(project / ".manifestgen" / "cache")
    times = [first, second, published(2), *_watch(build)]
    shutil.rmtree(project)
    return times


def _publish(config: Path, folder: Path, number: int) -> None:
    settings = load(config, {})
    request = Request(read_build(folder), "production", Version.parse(f"1.0.{number}"))
    store = open_site(settings)
    now = _START + timedelta(hours=number)
    publish(settings, request, store=store, ask=lambda _: None, now=now)


def _watch(folder: Path) -> tuple[float, float]:
    packer = Packer()
    packer.pack(read_build(folder), io.BytesIO())
    time.sleep(3.1)  # until times tell changes apart
    packer.pack(read_build(folder), io.BytesIO())
    _change(folder, 3)
    return _timed(lambda: _sealed(packer, folder))


def _sealed(packer: Packer, folder: Path) -> None:
    zipped, digest = io.BytesIO(), hashlib.sha256()
    packer.pack(read_build(folder), zipped)
    zipped.seek(0)
    for chunk in encrypt(iter(lambda: zipped.read(1024 * 1024), b""), _KEY):
        digest.update(chunk)


def _change(folder: Path, number: int) -> None:
    """Change the largest script of at most 200 KB, as an edit would."""
    scripts = [path for path in folder.rglob("*.js") if path.stat().st_size <= 200_000]
    script = max(scripts, key=lambda path: (path.stat().st_size // 100, path))
    script.write_bytes(script.read_bytes() + f"\n// {number}".encode())


def _timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return milliseconds of the clock, and of the processor."""
    began, cpu = time.perf_counter(), time.process_time()
    run()
    return (time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000
