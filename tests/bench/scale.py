"""Scale: what one more release costs in a site of many, in time, memory and requests.

A build of 5,000 files, of which one changes each time, is published release by release to one
channel, with forty-nine others beside it. Each command is a process of its own. Times are of the
processor: a shared machine's clock would show who else was at work.
"""

import resource
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import KIB
from tests.bench.pairs import Project

CHANNELS = 50


@dataclass(frozen=True, slots=True)
class Load:
    """How much is published: `group` releases to a row of the table."""

    releases: int
    files: int
    group: int


WHOLE = Load(200, 5000, 25)


def table(load: Load, scratch: Path) -> str:
    """Publish everything once; a row for each group of releases."""
    project = Project.create(scratch / "project")
    build = _build(scratch / "dist", load.files)
    lines = [
        "| releases | channels | CPU of a publish | of a refresh | MiB: publish | refresh |",
        "|---|---|---|---|---|---|",
    ]
    for first in range(1, load.releases + 1, load.group):
        end = min(first + load.group, load.releases + 1)
        lines.append(_row(project, build, first, end))
    for command in ("verify", "prune"):
        lines.append(f"| {command} | – | {_spent(project, command)[0]:.2f} s | – | – | – |")
    return "\n".join(lines)


def _row(project: Project, build: Path, first: int, end: int) -> str:
    published = []
    for number in range(first, end):
        (build / "assets/0/file-0.js").write_text(f"export const release = {number};\n")
        published.append(_spent(project, "publish", str(build), "--version", f"1.{number}.0"))
        for channel in _new_channels(number):
            project.run("channel", "promote", f"1.{number}.0", "--to", channel)
    refreshed = [_spent(project, "refresh") for _ in range(3)]
    cells = [
        f"{first}–{end - 1}",
        str(min(CHANNELS, 1 + (end - 1) // 2)),
        f"{statistics.median(cpu for cpu, _ in published):.2f} s",
        f"{statistics.median(cpu for cpu, _ in refreshed):.2f} s",
        f"{max(peak for _, peak in published):.0f}",
        f"{max(peak for _, peak in refreshed):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _new_channels(number: int) -> Iterator[str]:
    """Begin another channel with every second release."""
    if number % 2 == 0 and number // 2 < CHANNELS:
        yield f"line-{number // 2:02d}"


def _spent(project: Project, *arguments: str) -> tuple[float, float]:
    """Return the seconds of the processor and the MiB that a command took."""
    before = _cpu()
    run = project.run(*arguments)
    return _cpu() - before, run.peak * KIB / 1024


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _build(folder: Path, files: int) -> Path:
    for number in range(files):
        path = folder / "assets" / str(number % 100) / f"file-{number}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"export const value{number} = {number * 7919};\n" * 40)
    (folder / "index.html").write_text("<!doctype html><title>app</title>\n")
    return folder
