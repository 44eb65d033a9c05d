"""Run whole processes in turn, and keep their times and peak memory."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KIB = 1 if sys.platform != "darwin" else 1024  # what `ru_maxrss` counts in


@dataclass(frozen=True, slots=True)
class Run:
    """One contender's one run: seconds of wall clock, and KiB of peak resident memory."""

    seconds: float
    peak: int


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of a contender, and the bytes that it made."""

    runs: tuple[Run, ...]
    size: int

    @property
    def seconds(self) -> float:
        """The median time."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def mebibytes(self) -> float:
        """The highest peak of memory."""
        return max(run.peak for run in self.runs) * KIB / 1024


@dataclass(frozen=True, slots=True)
class Contender:
    """Prepares one run in a fresh folder; what it returns runs and tells the bytes made."""

    name: str
    start: Callable[[Path, Path], tuple[Sequence["Command"], Callable[[], int]]]


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run."""

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str]


def compete(
    contenders: Sequence[Contender], build: Path, scratch: Path, rounds: int
) -> dict[str, Result]:
    """Let contenders take turns on one build."""
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    sizes: dict[str, int] = {}
    for number in range(rounds):
        for contender in contenders:
            folder = scratch / f"{contender.name}-{number}".replace(" ", "-")
            folder.mkdir(parents=True)
            commands, size = contender.start(build, folder)
            done = [measured(command) for command in commands]
            together = Run(sum(run.seconds for run in done), max(run.peak for run in done))
            runs[contender.name].append(together)
            sizes[contender.name] = size()
    return {name: Result(tuple(found), sizes[name]) for name, found in runs.items()}


def measured(command: Command) -> Run:
    """Run a program to its end, silently; raise if it fails."""
    environment = {**os.environ, **command.environment}
    # The modules are compiled once, as they are after `pip install`.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    with subprocess.Popen(
        command.arguments,
        cwd=command.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command.arguments[0]} failed: {said.decode(errors='replace')}")
    return Run(seconds, usage.ru_maxrss)
