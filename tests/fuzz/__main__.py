"""Fuzz the readers without end: `python -m tests.fuzz [LIBFUZZER OPTIONS] [CORPUS]`."""

import sys

import atheris

# Instrumented as they are imported, and nothing else: the fuzzer goes by the branches of our code.
with atheris.instrument_imports(include=["manifestgen.core", "tests.fuzz.target"]):
    from tests.fuzz.target import one_input

if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
