"""Print what came of killing and cutting every command everywhere: the table of crash points."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.publish.crash import COMMANDS, Tried, cut_everywhere, killed_everywhere, make_worlds


def rows(scratch: Path) -> Iterator[str]:
    """Give the lines of the table, one for each command."""
    worlds = make_worlds(scratch / "worlds")
    yield "| command | changes | killed | operations | cut | answers lost | devices saw |"
    yield "|---|---|---|---|---|---|---|"
    for name, command in COMMANDS.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        world = worlds[command.world]
        killed = killed_everywhere(world, command, scratch)
        cut = cut_everywhere(world, command, scratch, done=False)
        lost = cut_everywhere(world, command, scratch, done=True)
        yield (
            f"| `{name}` | {killed.operations} | {killed.deaths} | {cut.operations} |"
            f" {cut.deaths} | {lost.deaths} | {_seen(killed, cut, lost)} |"
        )


def _seen(*tried: Tried) -> str:
    total = sum((one.seen for one in tried[1:]), tried[0].seen)
    return ", ".join(f"{state} {number}" for state, number in sorted(total.items()))


def main() -> None:
    """Print the table; an assertion fails where a command does not keep its promise."""
    with tempfile.TemporaryDirectory() as scratch:
        for row in rows(Path(scratch)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
