"""Run everything, the large and slow tests too: `python3 -m tests.full [ARGUMENTS FOR PYTEST]`."""

import sys

from tests.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["--full", "--durations=20", *sys.argv[1:]]))
