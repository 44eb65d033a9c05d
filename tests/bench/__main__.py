"""`python -m tests.bench [TABLE] [--builds swagger,n8n] [--rounds 5]`: print a table."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench import again, check, patches, publish, watch
from tests.tools import builds

TABLES = ["publish", "again", "check", "patches", "watch"]


def main(arguments: list[str]) -> int:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("table", nargs="?", default="publish", choices=TABLES)
    parser.add_argument("--builds", default=",".join(builds.SOURCES))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        match given.table:
            case "check":
                print(check.table(given.rounds * 100))
            case "again":
                print(again.table(given.builds.split(","), given.rounds, Path(scratch)))
            case "patches":
                print(patches.table(given.builds.split(","), given.rounds, Path(scratch)))
            case "watch":  # `--builds jupyterlab,large`
                print(watch.table(given.builds.split(","), given.rounds * 4, Path(scratch)))
            case _:
                print(publish.table(given.builds.split(","), given.rounds, Path(scratch)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
