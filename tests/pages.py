"""Pages of the docs that are read as a reader would: command by command, comparing what is said.

In a page, `$ ` begins a command, and `anna$ ` one at Anna's machine, which is a folder of its own;
`/media/stick` is a folder that all machines share. `…` stands for any text within a line, a line
`...` for any lines, `[exit N]` for an exit code other than 0. Eight digits before `…` stand for a
key's id, and groups of four hex digits for a fingerprint, 32 together for a digest: the same one
wherever they come again.
`<!-- 3d later -->` moves the clock, and a line that begins with `> ` says what devices do now.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Final
from unittest.mock import patch

from manifestgen.cli import main
from manifestgen.config import parse_duration

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
STICK: Final = "/media/stick"

_PIECES = re.compile(
    r"^(?P<indent> *)```(?P<kind>console|toml)(?: (?P<where>\w+))?\n(?P<block>.*?)^ *```$"
    r"|<!-- (?P<time>\w+) later -->"
    r"|^> (?P<devices>[^\n]*)$",
    re.MULTILINE | re.DOTALL,
)
_PROMPT = re.compile(r"^(\w*)\$ ", re.MULTILINE)
_NAME = re.compile(r"(\b(?:[0-9a-f]{4} ){7,15}[0-9a-f]{4}|\b[0-9a-f]{32}\b|\b[0-9]{8}(?=…))")
_PROGRAMS = {"cp", "rm", "mv", "mkdir"}


class Reader:
    """Whoever reads a page: folders, a clock, key ids met so far.

    `home` is the folder of commands without a machine's name; those with one have folders there.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.stick = home / "stick"
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.keys: dict[str, str] = {}
        self.checks = 0

    def read(self, page: str) -> None:
        """Do everything a page says, in its order."""
        for piece in _PIECES.finditer((DOCS / page).read_text("utf-8")):
            block = re.sub(
                f"^{piece['indent'] or ''}", "", piece["block"] or "", flags=re.MULTILINE
            )
            if piece["time"]:
                self.now += parse_duration(piece["time"])
            elif piece["kind"] == "console":
                self._console(block)
            elif piece["kind"] == "toml":
                self._toml(self.folder(piece["where"] or ""), block)
            else:
                self.devices(piece["devices"])
                self.checks += 1

    def folder(self, machine: str) -> Path:
        """Return a machine's folder."""
        return self.home / machine

    def devices(self, line: str) -> None:
        """Let devices look, and compare what they do."""
        raise NotImplementedError

    def _console(self, block: str) -> None:
        for machine, command, said in _commands(block):
            for name, real in self.keys.items():
                command = command.replace(name, real)  # noqa: PLW2901
            folder = self.folder(machine)
            folder.mkdir(parents=True, exist_ok=True)
            self._compare(command, said, self._run(folder, command))

    def _toml(self, folder: Path, block: str) -> None:
        """Replace the tables of manifestgen.toml from the block's first one on."""
        path = folder / "manifestgen.toml"
        first = block.partition("\n")[0]
        assert first.startswith("[")
        path.write_text(path.read_text().partition(first)[0].rstrip() + f"\n\n{block}")

    def _run(self, folder: Path, command: str) -> str:
        command, _, target = command.replace(STICK, str(self.stick)).partition(" > ")
        program, *arguments = shlex.split(command)
        if program != "manifestgen":
            assert program in _PROGRAMS
            subprocess.run([program, *arguments], cwd=folder, check=True)
            return ""
        data, talk = StringIO(), StringIO()
        time = {"SOURCE_DATE_EPOCH": str(int(self.now.timestamp()))}
        with (
            patch.dict(os.environ, time),
            chdir(folder),
            redirect_stdout(data),
            redirect_stderr(talk),
        ):
            code = main(arguments)
        out = data.getvalue()
        if target:
            (folder / target).write_text(out)
            out = ""
        # Two streams; what is told first on a terminal is told first here.
        streams = [out, talk.getvalue()]
        if arguments[0] == "publish" or arguments[:2] in (["keys", "sign"], ["kit", "import"]):
            streams.reverse()
        said = "".join(streams) + (f"[exit {code}]\n" if code else "")
        return said.replace(str(self.stick), STICK)

    def _compare(self, command: str, said: str, real: str) -> None:
        new: dict[str, str] = {}
        pattern = "".join(self._line(line, new) for line in said.splitlines())
        found = re.fullmatch(pattern, real)
        assert found, f"$ {command}\n{real}\ninstead of\n{said}"
        self.keys |= {name: found[group] for name, group in new.items()}

    def _line(self, line: str, new: dict[str, str]) -> str:
        """Return a pattern for one line; `new` are the keys met since the command began."""
        if line == "...":
            return r"(?:.*\n)*?"
        parts = []
        for number, part in enumerate(_NAME.split(line)):
            rest = "" if " " in part else "[0-9a-f]*"
            if number % 2 == 0:
                parts.append(re.escape(part).replace("…", ".*?"))
            elif part in self.keys:
                parts.append(self.keys[part] + rest)
            elif part in new:
                parts.append(f"(?P={new[part]}){rest}")
            else:
                new[part] = f"k{len(new)}"
                parts.append(f"(?P<{new[part]}>{re.sub('[0-9a-f]', '[0-9a-f]', part)}){rest}")
        return "".join(parts) + r"\n"


def _commands(block: str) -> Iterator[tuple[str, str, str]]:
    _, *parts = _PROMPT.split(block)
    for machine, part in zip(parts[::2], parts[1::2], strict=True):
        command, _, said = part.partition("\n")
        while command.endswith("\\"):
            more, _, said = said.partition("\n")
            command = command[:-1] + more.strip()
        yield machine, command, said
