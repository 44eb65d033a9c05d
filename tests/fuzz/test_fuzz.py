"""A short run of the fuzzer; `python -m tests.fuzz corpus/` goes on for ever."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.target import READERS, accepts, one_input, seeds
from tests.tools.parts import Missing

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", seeds())
def test_the_seeds_are_accepted(name: str) -> None:
    assert accepts(seeds()[name])


@pytest.mark.parametrize("reader", range(len(READERS)))
@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[", b"[" * 20_000, b"\xff", b"1e0", b"PK", b"PK\x05\x06" + bytes(18)]
)
def test_odd_input_is_refused_as_it_should_be(reader: int, data: bytes) -> None:
    one_input(bytes([reader]) + data)


@pytest.mark.parametrize("runs", [20_000, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_the_fuzzer_finds_nothing(tmp_path: Path, runs: int) -> None:
    if find_spec("atheris") is None:
        raise Missing("atheris, which `python3 -m tests.full` installs where it can")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, data in seeds().items():
        (corpus / name).write_bytes(data)
    options = [f"-runs={runs}", "-seed=1", "-max_len=8192", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *options, str(corpus)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert (done.returncode, found) == (0, []), done.stderr[-3000:]
    assert f"Done {runs}" in done.stderr
