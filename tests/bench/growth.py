"""Growth: what publishing costs as a build gets larger, and as it gets more files.

The builds are made, of pieces of a real app's scripts: as compressible as programs are, the same
each time. Whole processes: a first release; a second of which one file changed; a third of which
every file has another name and another first line, as bundlers do it. The patch to that one has
to find the whole build again.

`python -m tests.bench.growth FOLDER BYTES FILES SALT` makes one of the builds. It is a process of
its own, because the peak of a program counts from that of the process that started it.
"""

import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import KIB, Command, Run, measured
from tests.bench.pairs import Project
from tests.tools import builds

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """A build to be made: its size, and how many files share it alike."""

    size: int
    files: int


SHAPES = (
    *(Shape(size * _MB, 500) for size in (5, 10, 20, 40, 80, 160)),
    *(Shape(20 * _MB, files) for files in (20, 100, 1000, 5000, 10_000)),
)


def table(shapes: Sequence[Shape], rounds: int, scratch: Path) -> str:
    """Measure every shape; times are medians of `rounds`, peaks the highest."""
    lines = [
        "| MB | files | first release | ms per MB | one file changed | every file renamed |"
        " s per MB | its patch | MiB: first | one file | every file |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for number, shape in enumerate(shapes):
        lines.append(_row(shape, rounds, scratch / str(number)))
    return "\n".join(lines)


def _row(shape: Shape, rounds: int, scratch: Path) -> str:
    stages: tuple[list[Run], ...] = ([], [], [])
    patch = 0
    for number in range(rounds):
        *runs, patch = _round(shape, scratch / str(number))
        for stage, run in zip(stages, runs, strict=True):
            stage.append(run)
        shutil.rmtree(scratch)
    first, one, every = (statistics.median(run.seconds for run in stage) for stage in stages)
    peaks = (max(run.peak for run in stage) * KIB / 1024 for stage in stages)
    mb = shape.size / _MB
    return (
        f"| {mb:g} | {shape.files:,} | {first:.2f} s | {first * 1000 / mb:.0f} | {one:.2f} s |"
        f" {every:.2f} s | {every / mb:.3f} | {patch:,} |"
        f" {' | '.join(f'{peak:.0f}' for peak in peaks)} |"
    )


def _round(shape: Shape, scratch: Path) -> tuple[Run, Run, Run, int]:
    project = Project.create(scratch / "project")
    build = scratch / "dist"
    _make(build, shape, "a")
    first = project.publish(build, "1.0.0")
    changed = build / "assets" / _name(0, "a")
    changed.write_bytes(changed.read_bytes() + b"// changed\n")
    second = project.publish(build, "1.1.0")
    shutil.rmtree(build)
    _make(build, shape, "b")
    # From the release before only: from several, several patches are made.
    third = project.run("publish", build, "--version", "1.2.0", "--patches", "1")
    patches = project.offer().get("patches", [])
    return first, second, third, patches[0]["size"] if patches else 0


def _make(folder: Path, shape: Shape, salt: str) -> None:
    numbers = (str(shape.size), str(shape.files))
    arguments = [sys.executable, "-m", "tests.bench.growth", str(folder), *numbers, salt]
    measured(Command(arguments, Path(__file__).parents[2], {}))


def write_build(folder: Path, shape: Shape, salt: str) -> None:
    """Make a build; with another `salt`, every file has another name and first line."""
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>app</title>")
    text, each = _text(), shape.size // shape.files
    for number in range(shape.files):
        path = folder / "assets" / _name(number, salt)
        path.parent.mkdir(exist_ok=True)
        line = f"// {salt} {number}\n".encode()
        # A prime apart, so that files that share much are no neighbours.
        at = number * 1_299_709 % len(text)
        body = text[at : at + each]
        while len(body) < each:
            body += text[: each - len(body)]
        path.write_bytes((line + body)[:each])


def _name(number: int, salt: str) -> str:
    return f"{number % 100}/chunk-{number:05d}-{salt}.js"


def _text() -> bytes:
    source = builds.build("jupyterlab", builds.SOURCES["jupyterlab"].versions[0])
    return b"".join(path.read_bytes() for path in sorted(source.rglob("*.js")))


if __name__ == "__main__":
    write_build(Path(sys.argv[1]), Shape(int(sys.argv[2]), int(sys.argv[3])), sys.argv[4])
