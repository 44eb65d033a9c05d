"""For the tests of apps: a real site that is served, published to, and made to go wrong.

In `conftest.py`:

    pytest_plugins = ["manifestgen.testing"]

and then, in a test:

    def test_the_app_survives_a_cut_line(update_site):
        update_site.publish("dist", "1.0.0")
        update_site.fault("cut:blobs/*")
        ...  # let the app check `update_site.url`, trusting `update_site.root`

Needs pytest, which is not installed with manifestgen.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from manifestgen.config import Settings, load
from manifestgen.publish import Published, Request, init, parse_version, publish, read_build
from manifestgen.publish.trust import load_roots
from manifestgen.serve import Faults, Server, Site, Visit, parse_fault
from manifestgen.serve.rendered import StockAnswers
from manifestgen.stores import DirectoryStore

__all__ = ["UpdateSite", "update_site"]

_APP = "com.example.app"


@dataclass
class UpdateSite:
    """A project of its own with a site, served on this machine for as long as a test runs."""

    settings: Settings
    url: str
    faults: Faults = field(repr=False)
    visits: list[Visit] = field(default_factory=list, repr=False)

    @property
    def folder(self) -> Path:
        """The folder of the site."""
        return self.settings.folder / self.settings.site

    @property
    def root(self) -> bytes:
        """The root that an app is built with."""
        return (self.settings.root_folder / "1.json").read_bytes()

    @property
    def key(self) -> bytes:
        """The public Capgo key that an app is built with, in PEM."""
        return self.settings.capgo_public.read_bytes()

    def publish(self, folder: str | Path, version: str, *, channel: str | None = None) -> Published:
        """Publish a build folder to everybody."""
        request = Request(
            source=read_build(self.settings, Path(folder)),
            channel=channel or self.settings.channel,
            version=parse_version(version),
        )
        store = DirectoryStore(self.folder)
        return publish(self.settings, request, store=store, ask=_nobody, now=_now())

    def fault(self, text: str) -> None:
        """Let something go wrong from now on, as `manifestgen serve --fault TEXT` does."""
        self.faults.add(parse_fault(text))

    def heal(self) -> None:
        """Let everything go well again."""
        self.faults.clear()


@pytest.fixture(scope="session")
def _update_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make keys and a root once: an RSA key takes longer than a test."""
    folder = tmp_path_factory.mktemp("manifestgen") / "project"
    folder.mkdir()
    init(Settings(folder=folder, app=_APP), now=_now(), ask=_nobody, ci=False)
    return folder


@pytest.fixture
def update_site(_update_project: Path, tmp_path: Path) -> Iterator[UpdateSite]:
    """Serve an empty site with keys of its own; see `UpdateSite`."""
    folder = tmp_path / "update-site"
    shutil.copytree(_update_project, folder)
    # What the environment says is for the project under test, not for this one.
    outer = {name: value for name, value in os.environ.items() if "MANIFESTGEN" not in name}
    settings = load(folder / "manifestgen.toml", outer)
    (folder / settings.site).mkdir()
    render = StockAnswers(DirectoryStore(folder / settings.site), lambda: load_roots(settings))
    visits: list[Visit] = []
    site = Site(folder / settings.site, render=render)
    with Server(site, heard=visits.append) as server:
        yield UpdateSite(settings, server.url, server.faults, visits)


def _nobody(_name: str) -> None:
    return None


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
