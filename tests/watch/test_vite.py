"""A real Vite project, built in watch mode and edited; a device follows every edit."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from manifestgen.device import Updater
from manifestgen.serve import Server, Site
from manifestgen.stores import open_store
from tests.serve.asking import wait_for
from tests.tools import node
from tests.watch.watching import watching

SOURCE = Path(__file__).parents[2] / "sample_site" / "source"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Path]:
    """Copy the sample app, and let Vite build it at each change."""
    folder = tmp_path / "app"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    node.npm("install", cwd=folder)
    vite = folder / "node_modules/vite/bin/vite.js"
    command = [str(node.program()), str(vite), "build", "--watch", "--mode", "v2"]
    command += ["--outDir", "dist", "--emptyOutDir"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        yield folder
        running.terminate()


@dataclass(frozen=True, slots=True)
class Phone:
    """A device that looks for updates until it shows a text."""

    updater: Updater
    state: Path
    text: str

    def shows(self) -> bool:
        """Take what there is, and tell whether that is it."""
        self.updater.install()
        self.updater.confirm()
        scripts = (self.state / "current").resolve().glob("assets/*.js")
        return any(self.text in path.read_text() for path in scripts)


def test_a_device_follows_every_edit(app: Path, tmp_path: Path) -> None:
    page = app / "src" / "main.js"
    source = page.read_text()
    with watching(app / "dist") as watch, Server(Site(watch.workshop.site)) as server:
        wait_for(lambda: bool(watch.printed), seconds=60)
        project = watch.workshop.settings
        updater = Updater(
            open_store(server.url),
            (project.root_folder / "1.json").read_bytes(),
            tmp_path / "phone",
            key=project.capgo_public.read_bytes(),
        )
        for number in range(10):
            mark = f"edit number {number} of ten"
            page.write_text(f"{source}\ndocument.body.dataset.mark = {mark!r};\n")
            phone = Phone(updater, tmp_path / "phone", mark)
            wait_for(phone.shows, seconds=60)
    assert watch.refused == []
