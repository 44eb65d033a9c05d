"""`docs/story.md` is true: its commands run in order, and devices do what it says.

A line `> 1,000 devices: …` says what runs once every device has looked.
"""

import re
import shutil
from pathlib import Path

from tests.channels.fleet import BUILTIN, Fleet
from tests.pages import DOCS, Reader

_DEVICES = re.compile(r"([\d,]+) devices: (.*?)(?:, root (\d+))?")


class Story(Reader):
    """The reader, with a thousand devices."""

    fleet: Fleet | None = None

    def devices(self, line: str) -> None:
        """Let every device look, and compare what they run."""
        said = _DEVICES.fullmatch(line)
        assert said, line
        if self.fleet is None:
            self.fleet = Fleet.of(self.home, int(said[1].replace(",", "")))
        found = self.fleet.check(self.now)
        runs = [f"{number:,} on {version}" for version, number in sorted(found.items())]
        assert (f"{len(self.fleet.devices):,}", ", ".join(runs)) == (said[1], said[2])
        assert BUILTIN not in found
        assert not said[3] or int(said[3]) == self.fleet.keyring.root.number


def test_the_story_is_true(tmp_path: Path) -> None:
    shutil.copytree(DOCS.parent / "sample_site", tmp_path / "fieldnotes/sample_site")
    story = Story(tmp_path / "fieldnotes")
    story.read("story.md")
    assert story.checks >= 12
