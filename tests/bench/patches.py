"""Patches: bytes, time and memory of ours against what else could carry the same change.

Contenders that are not installed (`pip install bsdiff4 zstandard`) are left out. Each runs as a
process of its own, which reads the changed contents of both builds: one after the other in the
order of their paths, as ours would if it knew nothing better.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from tests.bench.measure import Command, Contender, Result, compete
from tests.tools import builds

_OPTIONAL = {"bsdiff4": "bsdiff4", "zstd": "zstandard"}

_Start = tuple[Sequence[Command], Callable[[], int]]


def table(names: Sequence[str], rounds: int, scratch: Path) -> str:
    """Measure every pair of consecutive builds and return the table."""
    contenders = ["ours", "brotli each", *_installed()]
    columns = [f"{name}: bytes, s, MiB" for name in contenders]
    lines = [
        f"| pair | changed MB | {' | '.join(columns)} | of brotli | s per MB | applied in |",
        f"|---{'|---' * (len(columns) + 4)}|",
    ]
    for name in names:
        for old, new in pairwise(builds.SOURCES[name].versions):
            lines.append(_row(name, old, new, contenders, rounds, scratch / f"{name}-{new}"))
    return "\n".join(lines)


def _installed() -> list[str]:
    return [name for name, module in _OPTIONAL.items() if importlib.util.find_spec(module)]


def _row(
    name: str, old: str, new: str, contenders: Sequence[str], rounds: int, scratch: Path
) -> str:
    before, after = builds.build(name, old), builds.build(name, new)
    changed = scratch / "changed"
    scratch.mkdir(parents=True)
    kept = scratch / "ours.patch"

    def starts(what: str) -> Callable[[Path, Path], _Start]:
        def start(build: Path, folder: Path) -> _Start:
            out = folder / "out"
            arguments = [sys.executable, "-m", "tests.bench.patching", what]
            command = Command(
                [*arguments, str(before), str(build), str(out), str(changed)],
                Path(__file__).parents[2],
                {},
            )

            def size() -> int:
                data = out.read_bytes()
                if what == "ours":
                    kept.write_bytes(data)
                return len(data) if what != "brotli each" else int(data)

            return [command], size

        return start

    results = compete([Contender(one, starts(one)) for one in contenders], after, scratch, rounds)
    applied = compete([Contender("apply", _applies(before, kept))], after, scratch, rounds)
    mb = int(changed.read_text()) / 1e6
    return _line(f"{name} {old} → {new}", mb, results, applied["apply"])


def _applies(before: Path, patch: Path) -> Callable[[Path, Path], _Start]:
    def start(build: Path, folder: Path) -> _Start:
        arguments = [sys.executable, "-m", "tests.bench.patching", "apply"]
        command = Command(
            [*arguments, str(before), str(build), str(folder / "out"), str(patch)],
            Path(__file__).parents[2],
            {},
        )
        return [command], lambda: 0

    return start


def _line(pair: str, mb: float, results: dict[str, Result], applied: Result) -> str:
    ours, brotli = results["ours"], results["brotli each"]
    cells = [
        pair,
        f"{mb:.1f}",
        *(f"{one.size:,}, {one.seconds:.2f}, {one.mebibytes:.0f}" for one in results.values()),
        f"{100 * ours.size / brotli.size:.1f} %",
        f"{ours.seconds / mb:.3f}",
        f"{applied.seconds:.2f} s, {applied.mebibytes:.0f} MiB",
    ]
    return f"| {' | '.join(cells)} |"
