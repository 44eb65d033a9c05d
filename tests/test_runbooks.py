"""`docs/air-gap.md` and `docs/ceremonies.md` are true, for people and for real devices.

A line `> NAME runs VERSION, root N` says what a device runs once it has looked; `refuses (CODE)
and` before it, that it takes nothing, and why. Each is the Python client, with a state of its own.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from manifestgen.device import Facts, Updater
from manifestgen.errors import Error
from manifestgen.stores import open_store
from tests.pages import DOCS, Reader

_DEVICE = re.compile(
    r"(?P<name>\w+) (?:refuses \((?P<code>\w+)\) and )?runs (?P<version>\S+), root (?P<root>\d+)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device looks: at whose site, on which channel; and the root it was built with."""

    machine: str
    channel: str = "production"
    root: int = 1


class Runbook(Reader):
    """The reader, with real devices."""

    places: Mapping[str, Place]

    def __init__(self, home: Path, places: Mapping[str, Place]) -> None:
        super().__init__(home)
        self.stick.mkdir()
        self.places = places

    def devices(self, line: str) -> None:
        """Let the devices of a line look, and compare what they do."""
        for said in line.split("; "):
            found = _DEVICE.fullmatch(said)
            assert found, said
            assert self._look(found["name"], found["code"]) == said

    def _look(self, name: str, code: str | None) -> str:
        updater = self._updater(name)
        refuses = ""
        try:
            updater.install()
            if not code:
                updater.confirm()
        except Error as error:
            refuses = f"refuses ({error.code}) and "
        now = updater.status()
        version = now.running.version if now.running else "nothing"
        return f"{name} {refuses}runs {version}, root {now.root}"

    def _updater(self, name: str) -> Updater:
        place = self.places[name]
        folder = self.folder(place.machine)
        built_with = self.home / f"{name}.root.json"
        if not built_with.exists():
            shutil.copy(folder / f".manifestgen/root/{place.root}.json", built_with)
            shutil.copy(folder / ".manifestgen/capgo.pub.pem", self.home / f"{name}.pub.pem")
        return Updater(
            open_store(folder / "site"),
            built_with.read_bytes(),
            self.home / f"{name}.state",
            channel=place.channel,
            facts=Facts(name),
            key=(self.home / f"{name}.pub.pem").read_bytes(),
            now=lambda: self.now,
        )


class AirGap(Runbook):
    """Two sides."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, {"door": Place("inside"), "press": Place("inside", "plant")})
        shutil.copytree(DOCS.parent / "sample_site", home / "outside/sample_site")


def test_the_air_gap_runbook_is_true(tmp_path: Path) -> None:
    runbook = AirGap(tmp_path)
    runbook.read("air-gap.md")
    assert runbook.checks >= 10


class Ceremonies(Runbook):
    """Three people, and devices that were built before any key was lost."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, {"kiosk": Place("anna"), "late": Place("anna")})
        for name in ("anna", "ben"):
            shutil.copytree(DOCS.parent / "sample_site", home / name / "sample_site")

    def folder(self, machine: str) -> Path:
        """Give the thief, who has stolen the job's key and the site, what Anna has."""
        return super().folder("anna" if machine == "thief" else machine)


def test_ceremonies_and_drills_are_true(tmp_path: Path) -> None:
    ceremonies = Ceremonies(tmp_path)
    ceremonies.read("ceremonies.md")
    assert ceremonies.checks >= 7
