"""Two consecutive builds of an app, and a project that has published both."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench.measure import Command, Run, measured
from tests.tools import builds

_ROOT = Path(__file__).parents[2]
_MAIN = "import sys; from manifestgen.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Pair:
    """A build and the one after it."""

    name: str
    old: Path
    new: Path


SAMPLE = Pair("sample v1 → v2", _ROOT / "sample_site" / "v1", _ROOT / "sample_site" / "v2")


def pairs(names: Sequence[str], most: int = 2) -> list[Pair]:
    """Return the first pairs of each app's consecutive releases, at most `most` of each."""
    return [
        Pair(f"{name} {old} → {new}", builds.build(name, old), builds.build(name, new))
        for name in names
        for old, new in list(pairwise(builds.SOURCES[name].versions))[:most]
    ]


@dataclass(frozen=True, slots=True)
class Project:
    """A project in a folder of its own, driven by whole processes."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Project":
        """Make a project with keys and nothing published."""
        folder.mkdir(parents=True)
        project = cls(folder)
        project.run("init", "--app", "com.example.bench")
        return project

    @property
    def root(self) -> Path:
        """The root that apps are built with."""
        return self.folder / ".manifestgen" / "root" / "1.json"

    @property
    def key(self) -> Path:
        """The public key that apps open bundles with."""
        return self.folder / ".manifestgen" / "capgo.pub.pem"

    def run(self, *arguments: str | Path) -> Run:
        """Run one command of ours to its end."""
        command = [sys.executable, "-c", _MAIN, *map(str, arguments)]
        return measured(Command(command, self.folder, {"CI": ""}))

    def publish(self, build: Path, version: str) -> Run:
        """Publish a build."""
        return self.run("publish", build, "--version", version)

    def install(self, state: Path) -> Run:
        """Install what is offered, on a device that keeps its state in that folder."""
        given = ("--site", "site", "--root", self.root, "--state", state, "--key", self.key)
        return self.run("device", "install", *given)

    def confirm(self, state: Path) -> None:
        """Say on that device that what was installed works."""
        self.run("device", "confirm", "--state", state)

    def offer(self) -> dict[str, Any]:
        """Return what is offered now, as the manifest has it."""
        manifest = json.loads((self.folder / "site/production/manifest.json").read_text())
        offer: dict[str, Any] = manifest["signed"]["offers"][0]
        return offer

    def blob(self, digest: str) -> bytes:
        """Return a blob's bytes."""
        return (self.folder / f"site/blobs/{digest[:2]}/{digest}.bin").read_bytes()
