"""`docs/story.md` is true: its commands run in order, and devices do what it says.

In the page, `$ ` begins a command, `…` stands for any text within a line, a line `...` for any
lines, `[exit N]` for an exit code other than 0. Eight digits before `…` stand for a key's id, the
same one wherever they come again. `<!-- 3d later -->` moves the clock, and a line
`> 1,000 devices: …` says what runs once every device has looked.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from manifestgen.cli import main
from manifestgen.config import parse_duration
from tests.channels.fleet import BUILTIN, Fleet

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/story.md"

_PIECES = re.compile(
    r"^```(?P<kind>console|toml)\n(?P<block>.*?)^```$"
    r"|<!-- (?P<time>\w+) later -->"
    r"|^> (?P<count>[\d,]+) devices: (?P<runs>[^\n]*)$",
    re.MULTILINE | re.DOTALL,
)
_KEY = re.compile(r"\b([0-9]{8})…")


class Story:
    """The reader: a folder, a clock, key ids met so far, and the devices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.keys: dict[str, str] = {}
        self.fleet: Fleet | None = None

    def console(self, block: str) -> None:
        """Run a block's commands, and compare what they say."""
        for command, said in _commands(block):
            for name, real in self.keys.items():
                command = command.replace(name, real)  # noqa: PLW2901
            self._compare(command, said, self._run(shlex.split(command)))

    def toml(self, block: str) -> None:
        """Replace the tables of manifestgen.toml from `[keys]` on."""
        path = self.folder / "manifestgen.toml"
        before, keys, _ = path.read_text().partition("[keys]")
        assert keys
        path.write_text(before + block)

    def devices(self, count: int, runs: str) -> None:
        """Let every device look, and compare what they run."""
        if self.fleet is None:
            self.fleet = Fleet.of(self.folder, count)
        assert len(self.fleet.devices) == count
        *wanted, last = runs.split(", root ")
        root = int(last) if wanted else None
        found = self.fleet.check(self.now)
        said = [f"{number:,} on {version}" for version, number in sorted(found.items())]
        assert ", ".join(said) == runs.partition(", root ")[0]
        assert BUILTIN not in found
        assert root in {None, self.fleet.keyring.root.number}

    def _run(self, words: list[str]) -> str:
        program, *arguments = words
        if program != "manifestgen":
            assert program in {"cp", "rm"}
            subprocess.run(words, cwd=self.folder, check=True)
            return ""
        data, talk = StringIO(), StringIO()
        time = {"SOURCE_DATE_EPOCH": str(int(self.now.timestamp()))}
        with (
            patch.dict(os.environ, time),
            chdir(self.folder),
            redirect_stdout(data),
            redirect_stderr(talk),
        ):
            code = main(arguments)
        # Two streams; what is told first on a terminal is told first here.
        streams = [data.getvalue(), talk.getvalue()]
        if words[1] == "publish":
            streams.reverse()
        return "".join(streams) + (f"[exit {code}]\n" if code else "")

    def _compare(self, command: str, said: str, real: str) -> None:
        new: set[str] = set()
        pattern = "".join(self._line(line, new) for line in said.splitlines())
        found = re.fullmatch(pattern, real)
        assert found, f"$ {command}\n{real}\ninstead of\n{said}"
        self.keys |= {name[1:]: key for name, key in found.groupdict().items()}

    def _line(self, line: str, new: set[str]) -> str:
        """Return a pattern for one line; `new` are the keys met since the command began."""
        if line == "...":
            return r"(?:.*\n)*?"
        parts = []
        for number, part in enumerate(_KEY.split(line)):
            if number % 2 == 0:
                parts.append(re.escape(part).replace("…", ".*?"))
            elif part in self.keys:
                parts.append(f"{self.keys[part]}[0-9a-f]*")
            elif part in new:
                parts.append(f"(?P=k{part})[0-9a-f]*")
            else:
                new.add(part)
                parts.append(f"(?P<k{part}>[0-9a-f]{{8}})[0-9a-f]*")
        return "".join(parts) + r"\n"


def _commands(block: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, said = part.partition("\n")
        yield command, said


def test_the_story_is_true(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sample_site", tmp_path / "fieldnotes/sample_site")
    story = Story(tmp_path / "fieldnotes")
    seen = 0
    for piece in _PIECES.finditer(PAGE.read_text("utf-8")):
        match piece.lastgroup:
            case "block" if piece["kind"] == "console":
                story.console(piece["block"])
            case "block":
                story.toml(piece["block"])
            case "time":
                story.now += parse_duration(piece["time"])
            case _:
                story.devices(int(piece["count"].replace(",", "")), piece["runs"])
                seen += 1
    assert seen >= 12
