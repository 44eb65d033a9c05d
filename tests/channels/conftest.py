"""Projects to change channels in, and their devices."""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from manifestgen.cli import main
from tests.channels.fleet import Fleet, manifest_of
from tests.publish.project import Said, changes, check_refusal, copy_project, snapshot

START = datetime(2030, 1, 1, tzinfo=UTC)
CONFIG = """\
app = "com.example.shop"
scheme = "none"
patches = 0
[channels.production]
expires = "30d"
[channels.nightly]
expires = "2d"
"""


class Publisher:
    """A project folder whose clock the test sets; commands run in this process."""

    def __init__(self, folder: Path, now: datetime = START) -> None:
        self.folder = folder
        self.site = folder / "site"
        self.now = now

    def run(self, *arguments: str | Path) -> Said:
        """Run a command, whatever comes of it."""
        out, err = StringIO(), StringIO()
        time = {"SOURCE_DATE_EPOCH": str(int(self.now.timestamp()))}
        with (
            patch.dict(os.environ, time),
            chdir(self.folder),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = main([str(one) for one in arguments])
        return Said(code, out.getvalue(), err.getvalue())

    def does(self, line: str, *more: str | Path) -> Said:
        """Run a command that works, written as one line."""
        said = self.run(*line.split(), *more)
        assert said.code == 0, said
        return said

    def data(self, line: str, *more: str | Path) -> Any:
        """Run a command that works, and return the fields of `--json`."""
        return self.does(line, *more, "--json").json

    def refuses(self, line: str, *, code: int, error: str) -> Said:
        """Run a command that must refuse, with nothing changed anywhere."""
        before = snapshot(self.folder)
        said = self.run(*line.split())
        check_refusal(said, code=code, error=error)
        assert changes(before, snapshot(self.folder)) == []
        return said

    def publish(self, version: str, *options: str) -> None:
        """Publish a build that names its version."""
        build = self.folder / "dist" / version
        if not build.exists():
            build.mkdir(parents=True)
            (build / "index.html").write_text(f"<!doctype html><title>{version}</title>\n")
        self.does(f"publish --version {version}", build, *options)

    def later(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)

    def undo(self, said: Said) -> None:
        """Do what a command said would undo it."""
        for step in said.json["undo"].split(" && "):
            program, *arguments = step.split()
            assert program == "manifestgen"
            done = self.run(*arguments)
            assert done.code == 0, done

    def fleet(self, count: int = 400, **facts: Any) -> Fleet:
        """Make devices that were built with root 1."""
        return Fleet.of(self.folder, count, **facts)

    def offers(self, channel: str = "production") -> list[tuple[str, float]]:
        """Return versions and shares in %, as `channel show` has them."""
        shown = self.data(f"channel show --channel {channel}")
        return [(one["version"], one["share"]) for one in shown["offers"]]

    def withdrawn(self, channel: str = "production") -> list[str]:
        """Return the withdrawn versions."""
        return [str(one) for one in manifest_of(self.site, channel).withdrawn]

    def blobs(self) -> set[str]:
        """Return the names of the site's blobs."""
        return {path.name for path in (self.site / "blobs").rglob("*.bin")}

    def copy(self, name: str) -> "Publisher":
        """Give somebody else a folder of their own: the project without keys and site."""
        folder = self.folder.parent / name
        hidden = shutil.ignore_patterns("keys", "site", "pending", "dist", "*.pem")
        shutil.copytree(self.folder, folder, ignore=hidden)
        return Publisher(folder, self.now)

    def configure(self, text: str) -> None:
        """Write manifestgen.toml."""
        (self.folder / "manifestgen.toml").write_text(text)

    def marks(self) -> Mapping[str, int]:
        """Return the highest sequences signed here."""
        path = self.folder / ".manifestgen/keys/sequences.json"
        found: Mapping[str, int] = json.loads(path.read_text())
        return found


def new_project(folder: Path) -> Publisher:
    """Make a project with nothing published."""
    folder.mkdir()
    made = Publisher(folder)
    made.configure(CONFIG)
    made.does("init")
    return made


@pytest.fixture(scope="session")
def shop_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project once for all tests that begin with it."""
    made = new_project(tmp_path_factory.mktemp("template") / "shop")
    made.publish("1.0.0")
    made.publish("1.1.0", "--rollout", "10%")
    return made.folder


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """Give a project with nothing published."""
    return new_project(tmp_path / "shop")


@pytest.fixture
def shop(tmp_path: Path, shop_template: Path) -> Publisher:
    """Give a project that offers 1.0.0 to everybody and 1.1.0 to 10 %."""
    return Publisher(copy_project(shop_template, tmp_path / "shop"))
