"""Write the vectors, and the examples of `docs/format.md`: `python -m tests.vectors.make`.

Keys are made from their names and signatures are deterministic, so a second run changes nothing.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.vectors import decisions, documents, example, patches, values

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent.parent / "docs" / "format.md"


def files() -> Iterator[tuple[Path, bytes]]:
    """Give every file that is made, and its bytes."""
    for module in (documents, decisions, values, patches):
        for family in module.families():
            yield FOLDER / f"{family.name}.json", family.encode()
    yield PAGE, example.fill(PAGE.read_text("utf-8")).encode()


def main() -> None:
    """Write what has changed."""
    for path, data in files():
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)
            print(f"wrote {path.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
