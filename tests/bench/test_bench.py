"""The benchmarks run, each on something small; how fast is for people to read."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.bench import (
    again,
    apply,
    check,
    client,
    growth,
    kit,
    memory,
    patches,
    publish,
    s3,
    scale,
    unpack,
    watch,
)
from tests.bench.__main__ import TABLES, main
from tests.bench.growth import Shape
from tests.bench.pairs import SAMPLE

SMALL = Shape(100_000, 20)
FILES = sum(path.is_file() for path in SAMPLE.new.rglob("*"))

_Row: TypeAlias = dict[str, str]
"""Cells by their column; of columns of one name, the last."""


def number(cell: str) -> float:
    """Return the number that a cell begins with."""
    found = re.match(r"\d[\d,]*(\.\d+)?", cell)
    assert found, cell
    return float(found[0].replace(",", ""))


def anything(_: _Row) -> bool:
    return True


def sample_unpacked(folder: Path) -> str:
    rows = unpack.rows_of("sample v2", SAMPLE.new, 1, folder / "sample")
    return "\n".join([unpack.table([], 1, folder), *rows])


def as_small_as_capgos(row: _Row) -> bool:
    peaks = row["peak MiB ours, Capgo's"].split(", ")
    return 0.9 < number(row["size ÷ Capgo's"]) < 1.1 and all(float(peak) > 10 for peak in peaks)


def smaller_than_brotli(row: _Row) -> bool:
    ours, brotli = number(row["ours: bytes, s, MiB"]), number(row["brotli each: bytes, s, MiB"])
    share = number(row["of brotli"])
    return 100 < ours < brotli / 2 and abs(share - 100 * ours / brotli) < 0.1


def whole_programs(row: _Row) -> bool:
    return all(10 < number(cell) < 500 for cell in row.values() if cell.endswith("MiB"))


def of_the_shape(row: _Row) -> bool:
    made = number(row["MB"]) * 1e6 == SMALL.size and number(row["files"]) == SMALL.files
    return made and 100 < number(row["its patch"]) < SMALL.size / 10


def smaller_by_gzip(row: _Row) -> bool:
    return 100 < number(row["gzip"]) < number(row["bytes"])


@dataclass(frozen=True)
class Case:
    """How a table is made of little, how its rows begin, and what is true of each."""

    make: Callable[[Path], str]
    rows: tuple[str, ...]
    true: Callable[[_Row], bool] = anything


CASES = {
    "publish": Case(
        lambda folder: publish.table(["swagger"], 1, folder),
        ("swagger 5.34.0",),
        as_small_as_capgos,
    ),
    "again": Case(lambda folder: again.table(["swagger"], 1, folder), ("swagger 5.34.0",)),
    "patches": Case(
        lambda folder: patches.table([SAMPLE], 1, folder), (SAMPLE.name,), smaller_than_brotli
    ),
    "apply": Case(
        lambda folder: apply.table([SAMPLE], 1, folder),
        (SAMPLE.name,),
        lambda row: number(row["files"]) == FILES and number(row["patch"]) > 100,
    ),
    "unpack": Case(
        sample_unpacked, ("sample v2", "sample v2"), lambda row: number(row["files"]) == FILES
    ),
    "memory": Case(lambda folder: memory.table([SAMPLE], folder), (SAMPLE.name,), whole_programs),
    "growth": Case(lambda folder: growth.table([SMALL], 1, folder), ("0.1",), of_the_shape),
    "scale": Case(
        lambda folder: scale.table(scale.Load(3, 20, 2), folder),
        ("1–2", "3–3", "verify", "prune"),
        lambda row: row["channels"] == "–" or number(row["MiB: publish"]) > 10,
    ),
    "check": Case(
        lambda _: check.table(1), ("one release", "and a staged second"), smaller_by_gzip
    ),
    "client": Case(
        lambda _: client.table(),
        ("core.js", "updater.js", "manifestgen.js", "all, minified"),
        smaller_by_gzip,
    ),
    "kit": Case(
        lambda folder: kit.table([kit.Load(2, 100_000, 1)], 1, folder),
        ("2",),
        lambda row: number(row["export MiB"]) > 10 and number(row["import MiB"]) > 10,
    ),
    "s3": Case(
        lambda folder: s3.table(["swagger"], 1, folder),
        ("swagger",),
        lambda row: number(row["blobs"]) > 5 and number(row["ours"]) > 0.1,
    ),
    "watch": Case(lambda folder: watch.table(["swagger"], 2, folder), ("swagger",)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_table_has_its_rows_and_sane_figures(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    table = case.make(tmp_path / "scratch")
    heading, rule, *body = (line.strip("| ").split(" | ") for line in table.splitlines())
    assert set("".join(rule)) == {"-", "|"}
    for cells, start in zip(body, case.rows, strict=True):
        assert cells[0].startswith(start)
        assert all(
            cell in {"Node", "Chromium", "–"} or re.search(r"\d", cell) for cell in cells[1:]
        )
        row = dict(zip(heading, cells, strict=True))
        assert case.true(row), row


def test_every_table_is_tested_and_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(TABLES) == set(CASES)
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for name, table in TABLES.items():
        assert re.search(rf"^{name} +{re.escape(table.about)}$", said, re.MULTILINE)


def test_a_build_that_is_made_is_the_same_each_time(tmp_path: Path) -> None:
    def made(folder: Path, salt: str) -> dict[str, bytes]:
        growth.write_build(folder, SMALL, salt)
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in (folder / "assets").rglob("*.js")
        }

    once, again, other = (made(tmp_path / str(n), salt) for n, salt in enumerate("aab"))
    assert once == again
    assert len(once) == SMALL.files == len(set(once.values()))
    assert sum(map(len, once.values())) == SMALL.size
    assert not set(once) & set(other)
    assert not set(once.values()) & set(other.values())


def test_a_manifest_stays_small() -> None:
    assert check.size(1) < 3500
    assert check.size(2) < 6500
