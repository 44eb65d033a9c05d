"""One suite for clients in every language, driven by the vectors."""

from tests.conformance.runner import Failure, Vector, load_vectors, run_conformance

__all__ = ["Failure", "Vector", "load_vectors", "run_conformance"]
