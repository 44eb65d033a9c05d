"""`python -m tests.bench [publish] [--builds swagger,n8n] [--rounds 5]`: measure, print tables."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench import publish
from tests.tools import builds


def main(arguments: list[str]) -> int:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("table", nargs="?", default="publish", choices=["publish"])
    parser.add_argument("--builds", default=",".join(builds.SOURCES))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        print(publish.table(given.builds.split(","), given.rounds, Path(scratch)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
