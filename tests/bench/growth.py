"""Growth: what publishing costs as a build gets larger, and as it gets more files.

The builds are made, of pieces of a real app's scripts: as compressible as programs are, the same
each time. Whole processes: a first release; a second of which one file changed; a third of which
every file has another name and another first line, as bundlers do it. The patch to that one has
to find the whole build again.

Times are of the processor, all threads together: on a shared machine the clock would show who else
was at work, and whether a line is straight could not be seen.

`python -m tests.bench.growth FOLDER BYTES FILES SALT` makes one of the builds. It is a process of
its own, because the peak of a program counts from that of the process that started it.
"""

import resource
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
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


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process took: seconds of the processor, and MiB of memory at its peak."""

    cpu: float
    peak: float


SHAPES = (
    *(Shape(size * _MB, 500) for size in (5, 10, 20, 40, 80, 160)),
    *(Shape(20 * _MB, files) for files in (20, 100, 1000, 5000, 10_000)),
)


def table(shapes: Sequence[Shape], rounds: int, scratch: Path) -> str:
    """Measure every shape; CPU times are medians of `rounds`, peaks the highest."""
    lines = [
        "| MB | files | CPU: first release | one file changed | every file renamed | its patch |"
        " MiB: first | one file | every file |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for number, shape in enumerate(shapes):
        lines.append(_row(shape, rounds, scratch / str(number)))
    return "\n".join(lines)


def _row(shape: Shape, rounds: int, scratch: Path) -> str:
    stages: tuple[list[Spent], ...] = ([], [], [])
    patch = 0
    for number in range(rounds):
        *spent, patch = _round(shape, scratch / str(number))
        for stage, one in zip(stages, spent, strict=True):
            stage.append(one)
        shutil.rmtree(scratch)
    cells = [
        f"{shape.size / _MB:g}",
        f"{shape.files:,}",
        *(f"{statistics.median(one.cpu for one in stage):.2f} s" for stage in stages),
        f"{patch:,}",
        *(f"{max(one.peak for one in stage):.0f}" for stage in stages),
    ]
    return f"| {' | '.join(cells)} |"


def _round(shape: Shape, scratch: Path) -> tuple[Spent, Spent, Spent, int]:
    project = Project.create(scratch / "project")
    build = scratch / "dist"
    _make(build, shape, "a")
    first = _spent(lambda: project.publish(build, "1.0.0"))
    changed = build / "assets" / _name(0, "a")
    changed.write_bytes(changed.read_bytes() + b"// changed\n")
    second = _spent(lambda: project.publish(build, "1.1.0"))
    shutil.rmtree(build)
    _make(build, shape, "b")
    # From the release before only: from several, several patches are made.
    third = _spent(lambda: project.run("publish", build, "--version", "1.2.0", "--patches", "1"))
    [patch] = project.offer()["patches"]
    return first, second, third, patch["size"]


def _spent(run: Callable[[], Run]) -> Spent:
    before = _cpu()
    peak = run().peak * KIB / 1024
    return Spent(_cpu() - before, peak)


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


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
