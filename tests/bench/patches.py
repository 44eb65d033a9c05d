"""Patches: bytes, time and memory of ours against what else could carry the same change.

Those that pyproject's group `bench` brings are left out where they are not installed. Each runs as
a process of its own, which reads the changed contents of both builds: one after the other in the
order of their paths, as ours would if it knew nothing better. zstd is level 19 with the old side as
its dictionary and long matches, as in `zstd -19 --patch-from`. The slow ones run once, after the
others: it is their bytes that are compared.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.measure import Command, Contender, Result, compete
from tests.bench.pairs import Pair

_OPTIONAL = {"zstd": "backports.zstd", "bsdiff4": "bsdiff4"}
_SLOW = {"brotli each", "bsdiff4"}

_Start = tuple[Sequence[Command], Callable[[], int]]


def table(pairs: Sequence[Pair], rounds: int, scratch: Path) -> str:
    """Measure every pair and return the table; times are medians of `rounds`, in turn."""
    contenders = ["ours", *_installed(), "brotli each"]
    columns = [f"{name}: bytes, s, MiB" for name in contenders]
    lines = [
        f"| pair | changed MB | {' | '.join(columns)} | of brotli | s per MB | applied in |",
        f"|---{'|---' * (len(columns) + 4)}|",
    ]
    for number, pair in enumerate(pairs):
        lines.append(_row(pair, contenders, rounds, scratch / str(number)))
    return "\n".join(lines)


def _installed() -> list[str]:
    return [name for name, module in _OPTIONAL.items() if _is_there(module)]


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def _row(pair: Pair, contenders: Sequence[str], rounds: int, scratch: Path) -> str:
    before, after = pair.old, pair.new
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

    results: dict[str, Result] = {}
    for slow, times in ((False, rounds), (True, 1)):
        those = [Contender(one, starts(one)) for one in contenders if (one in _SLOW) is slow]
        results |= compete(those, after, scratch, times)
    applied = compete([Contender("apply", _applies(before, kept))], after, scratch, rounds)
    mb = int(changed.read_text()) / 1e6
    return _line(pair.name, mb, results, applied["apply"])


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
