"""Saving a file under `watch`, and how long until another process sees the signed manifest."""

import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.tools import builds

_MAIN = "import sys; from manifestgen.cli import main; sys.exit(main())"
_TICKS = os.sysconf("SC_CLK_TCK")
_CHUNK = 100_000  # bytes: what one edit changes, as a rule, is a chunk of about this size
_LONG = 50  # times as many publishes for memory as for times
_LARGE = ("large", 150 * 1024 * 1024, 5000)


@dataclass(frozen=True, slots=True)
class Saved:
    """What was measured of one build; times in milliseconds, memory in MiB."""

    delays: tuple[float, ...]
    cpu: float
    memory: tuple[float, float]
    handles: tuple[int, int]


def table(names: Sequence[str], rounds: int, scratch: Path) -> str:
    """Measure every build and return the table; `large` is made, the others are real."""
    lines = [
        "| build | files | MB | save → manifest, median | 90 % | CPU per publish |"
        f" MiB before and after {rounds * _LONG:,} publishes | handles |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        folder = scratch / name / "dist"
        if name == _LARGE[0]:
            _make_large(folder)
        else:
            shutil.copytree(builds.build(name, builds.SOURCES[name].versions[0]), folder)
            # Some are templates, which name nothing that is there.
            (folder / "index.html").write_text("<!doctype html><title>app</title>")
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        saved = measure(folder, rounds)
        deciles = statistics.quantiles(saved.delays, n=10)
        lines.append(
            f"| {name} | {len(files):,} | {size / 1e6:.0f} |"
            f" {statistics.median(saved.delays):.0f} ms | {deciles[8]:.0f} ms |"
            f" {saved.cpu:.1f} ms | {saved.memory[0]:.0f}, {saved.memory[1]:.0f} |"
            f" {saved.handles[0]}, {saved.handles[1]} |"
        )
    return "\n".join(lines)


def measure(folder: Path, rounds: int) -> Saved:
    """Save a file `rounds` times, each time waiting for the manifest that offers it.

    Then as often again with nobody asking, for the time that publishing alone takes, and many more
    times as fast as it goes, for memory and handles.
    """
    target = min(folder.rglob("*.js"), key=lambda path: abs(path.stat().st_size - _CHUNK))
    content = target.read_bytes()
    with ExitStack() as stack:
        process, url = stack.enter_context(_watching(folder))
        watcher = stack.enter_context(closing(_Manifest(url)))
        first = watcher.wait_for(0)
        for number in range(3):
            target.write_bytes(content + b"//%d\n" % number)
            first = watcher.wait_for(first)
        delays = []
        for number in range(rounds):
            time.sleep(0.2)  # a person takes longer
            began = time.perf_counter()
            target.write_bytes(content + b"// %d\n" % number)
            first = watcher.wait_for(first)
            delays.append((time.perf_counter() - began) * 1000)
        cpu = _cpu(process.pid)
        for number in range(rounds):
            target.write_bytes(content + b"/// %d\n" % number)
            time.sleep(1.0)
        last = watcher.wait_for(first)
        cpu = (_cpu(process.pid) - cpu) * 1000 / (last - first)
        before = _memory(process.pid), _handles(process.pid)
        for number in range(rounds * _LONG):
            target.write_bytes(content + b"//// %d\n" % number)
            last = watcher.wait_for(last)
        time.sleep(2)
        after = _memory(process.pid), _handles(process.pid)
        return Saved(tuple(delays), cpu, (before[0], after[0]), (before[1], after[1]))


class _Manifest:
    """Asks for the manifest again and again, over one connection, with its tag."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        self._tag = ""

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def wait_for(self, sequence: int) -> int:
        """Return the first sequence above `sequence`."""
        while True:
            self._connection.request(
                "GET", "/production/manifest.json", headers={"If-None-Match": self._tag}
            )
            response = self._connection.getresponse()
            body = response.read()
            if response.status == 200:
                self._tag = response.headers["ETag"]
                found = int(json.loads(body)["signed"]["sequence"])
                if found > sequence:
                    return found
            time.sleep(0.003)


@contextmanager
def _watching(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-c", _MAIN, "watch", folder.name, "--serve", "--port", "0"]
    (folder.parent / "manifestgen.toml").write_text('app = "com.example.bench"\n')
    with subprocess.Popen(
        command, cwd=folder.parent, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        url = None
        while url is None:
            found = re.search(r" at (http://\S+)", process.stderr.readline())
            url = found[1] if found else None
        import threading

        # Nobody reads what it says, and a full pipe would stop it.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            yield process, url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def _make_large(folder: Path) -> None:
    """Write a build of 150 MB in 5,000 files, as compressible as programs are."""
    _, size, count = _LARGE
    source = builds.build("jupyterlab", builds.SOURCES["jupyterlab"].versions[0])
    text = b"".join(path.read_bytes() for path in sorted(source.rglob("*.js")))
    each = size // count
    for number in range(count):
        path = folder / f"assets/{number % 100:02d}/chunk-{number:04d}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        at = number * 7919 % (len(text) - each)
        path.write_bytes(b"// %d\n" % number + text[at : at + each])
    page = '<!doctype html><script src="assets/00/chunk-0000.js"></script>'
    (folder / "index.html").write_text(page)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _handles(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
