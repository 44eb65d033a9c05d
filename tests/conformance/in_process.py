"""Vectors as parameters of tests of the Python client."""

import pytest

from tests.conformance import client_python
from tests.conformance.runner import Vector, load_vectors

__all__ = ["Vector", "check", "vectors"]


def vectors(family: str, *ops: str) -> pytest.MarkDecorator:
    """Parametrize a test of the Python client with a family's vectors, or those of some ops."""
    chosen = [
        pytest.param(one, id=one.name.encode("ascii", "backslashreplace").decode())
        for one in load_vectors()
        if one.family == family and (not ops or one.op in ops)
    ]
    return pytest.mark.parametrize("vector", chosen)


def check(vector: Vector) -> None:
    """Hold the Python client to one vector, without a second process."""
    request = {"op": vector.op, "input": vector.input}
    assert client_python.answer(request) == vector.want
