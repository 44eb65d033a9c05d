"""How fast, how small, how much memory: `python -m tests.bench` prints tables, asserts nothing.

Contenders run in turn (A B A B …) on the same real builds, because machines are shared: the
medians are worth comparing, a single time is not. What is measured is whole processes, from start
to exit, with the peak of their resident memory.
"""
