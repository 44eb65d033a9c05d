"""The runner, and the Python client behind it as any other client would be."""

import json
import sys
from pathlib import Path

import pytest

from tests.conformance import load_vectors, run_conformance
from tests.conformance.client_python import OPERATIONS, answer

PYTHON = [sys.executable, "-m", "tests.conformance.client_python"]
README = Path(__file__).parent / "README.md"


def test_the_python_client_answers_every_vector() -> None:
    assert [str(failure) for failure in run_conformance(PYTHON)] == []


def client(code: str) -> list[str]:
    """Make a client of a line of Python."""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("", id="says nothing"),
        pytest.param("import sys\nfor _ in sys.stdin: print('{}')", id="answers nothing"),
        pytest.param("import sys\nfor _ in sys.stdin: print('{\"ok\":{}}')", id="says yes to all"),
    ],
)
def test_a_client_that_does_nothing_fails(code: str) -> None:
    failures = run_conformance(client(code))
    assert len(failures) > 600
    assert "want" in str(failures[0])


def test_an_operation_may_be_unsupported_only_where_allowed() -> None:
    code = "import sys\nfor _ in sys.stdin: print('{\"unsupported\":true}')"
    ops = {vector.op for vector in load_vectors()}
    assert run_conformance(client(code), without=ops) == []
    failures = run_conformance(client(code), without=ops - {"trust"})
    assert {failure.vector.op for failure in failures} == {"trust"}


def test_an_unknown_operation_is_unsupported() -> None:
    assert answer({"op": "news", "input": {}}) == {"unsupported": True}


def test_every_operation_is_documented_and_has_a_vector() -> None:
    documented = {
        line.split("`")[1]
        for line in README.read_text("utf-8").splitlines()
        if line.startswith("| `")
    }
    assert documented == set(OPERATIONS) == {vector.op for vector in load_vectors()}


def test_requests_are_ascii() -> None:
    for vector in load_vectors():
        assert json.dumps(dict(vector.input)).isascii()
