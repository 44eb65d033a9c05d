"""`python -m tests.bench [publish|check] [--builds swagger,n8n] [--rounds 5]`: print tables."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench import check, publish
from tests.tools import builds


def main(arguments: list[str]) -> int:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("table", nargs="?", default="publish", choices=["publish", "check"])
    parser.add_argument("--builds", default=",".join(builds.SOURCES))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        match given.table:
            case "check":
                print(check.table(given.rounds * 100))
            case _:
                print(publish.table(given.builds.split(","), given.rounds, Path(scratch)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
