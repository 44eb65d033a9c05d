"""One suite for clients in every language, driven by the vectors."""

from tests.conformance.runner import (
    Failure,
    Vector,
    check,
    load_vectors,
    run_conformance,
    vectors,
)

__all__ = ["Failure", "Vector", "check", "load_vectors", "run_conformance", "vectors"]
