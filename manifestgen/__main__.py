"""`python -m manifestgen`, where the command itself is not on the path."""

import sys

from manifestgen.cli import main

if __name__ == "__main__":
    sys.exit(main())
