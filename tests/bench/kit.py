"""Kits: export and import of a large site, beside `cp`, `sync` and `sha256sum` of the same bytes.

The site is made of bundles that do not compress, one for each channel. Like ours, the contenders
leave their file on the disk and not only in memory (`sync`), and read it once more.
"""

import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256, shake_128
from pathlib import Path

from tests.bench.measure import KIB, Command, Run, measured
from tests.bench.pairs import Project

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """A site to carry: how many bundles of how many bytes, in how many files.

    Many files are listed singly, too: then each is a blob of its own.
    """

    bundles: int
    size: int
    files: int = 1


LOADS = (Load(10, 100 * _MB), Load(1, 1000 * _MB), Load(1, 50 * _MB, 500))


def table(loads: Sequence[Load], rounds: int, scratch: Path) -> str:
    """Measure every site; times are medians of `rounds`, peaks the highest."""
    lines = [
        "| bundles | MB each | files each | cp | sync | sha256sum | export | import | again |"
        " export MiB | import MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for number, load in enumerate(loads):
        folder = scratch / str(number)
        lines.append(_row(load, rounds, folder))
        shutil.rmtree(folder)
    return "\n".join(lines)


def _row(load: Load, rounds: int, scratch: Path) -> str:
    project = _site(load, scratch)
    runs = [_round(project, scratch / "round") for _ in range(rounds)]
    columns = list(zip(*runs, strict=True))
    times = [f"{statistics.median(run.seconds for run in column):.2f} s" for column in columns]
    peaks = [f"{max(run.peak for run in column) * KIB / 1024:.0f}" for column in columns[3:5]]
    cells = [str(load.bundles), f"{load.size / _MB:g}", f"{load.files:,}", *times, *peaks]
    return f"| {' | '.join(cells)} |"


def _round(project: Project, scratch: Path) -> tuple[Run, ...]:
    scratch.mkdir()
    kit, copy, inside = scratch / "a.kit", scratch / "copy", scratch / "inside"
    inside.mkdir()
    root = (project.folder / ".manifestgen/root/1.json").read_bytes()
    exported = project.run("kit", "export", "--to", kit)
    runs = [
        measured(Command(arguments, scratch, {}))
        for arguments in (["cp", str(kit), str(copy)], ["sync", str(copy)], ["sha256sum", "copy"])
    ]
    copy.unlink()
    other = Project(inside)
    take = ("kit", "import", kit, "--fingerprint", sha256(root).hexdigest())
    imported, again = other.run(*take), other.run(*take)
    shutil.rmtree(scratch)
    return (*runs, exported, imported, again)


def _site(load: Load, scratch: Path) -> Project:
    project = Project.create(scratch / "project")
    if load.files > 1:
        with (project.folder / "manifestgen.toml").open("a") as file:
            file.write("\n[capgo]\ndelta = true\n")
    for number in range(load.bundles):
        build = scratch / "dist"
        build.mkdir()
        (build / "index.html").write_text("<!doctype html><title>app</title>")
        for film in range(load.files):
            _write(build / f"{film}.mp4", f"{number} {film}", load.size // load.files)
        project.run(
            *("publish", build, "--version", f"1.{number}.0", "--channel", f"c{number}"),
            *("--patches", "0"),
        )
        shutil.rmtree(build)
    return project


def _write(path: Path, seed: str, size: int) -> None:
    """Write what does not compress, the same each time."""
    with path.open("wb") as file:
        for at in range(0, size, 10 * _MB):
            part = min(10 * _MB, size - at)
            file.write(shake_128(f"{seed} {at}".encode()).digest(part))
