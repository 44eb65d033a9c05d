"""A real app goes from one release to the next by the patch that `publish` made, or without it."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.tools import builds, node
from tests.tools.nginx import serve

SCRIPT = Path(__file__).with_name("patched.mjs")
OLD, NEW = "5.34.0", "5.34.1"


@dataclass
class Project:
    """A project whose site a server has; devices know it by the client in `web/app`."""

    folder: Path
    url: str = ""

    def run(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            [Path(sys.executable).with_name("manifestgen"), *arguments],
            cwd=self.folder / "project",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def publish(self, version: str) -> None:
        self.run("publish", builds.build("swagger", version), "--version", version)

    def patch(self) -> Path:
        manifest = json.loads((self.folder / "project/site/production/manifest.json").read_text())
        [patch] = manifest["signed"]["offers"][0]["patches"]
        return self.folder / f"project/site/blobs/{patch['blob'][:2]}/{patch['blob']}.bin"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    for folder in ("project/site", "web/app"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "web/app/index.html").write_text("<!doctype html>")
    made = Project(tmp_path)
    made.run("init", "--app", "com.example.app")
    made.run("client", tmp_path / "web/app")
    made.publish(OLD)
    with serve(tmp_path / "project/site", made.run("server", "nginx")) as server:
        made.url = server.url
        yield made


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def in_node(project: Project) -> dict[str, Any]:
    folder = project.folder / "device"
    done = node.start(SCRIPT, project.folder / "web/app", folder, project.url)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("spoil", "via"),
    [
        pytest.param(None, "patch", id="by the patch"),
        pytest.param(flip, "bundle", id="by the bundle where the patch is damaged"),
        pytest.param(Path.unlink, "bundle", id="by the bundle where the patch is missing"),
    ],
)
def test_node_is_updated(project: Project, spoil: Callable[[Path], None] | None, via: str) -> None:
    assert in_node(project)["via"] == "bundle"
    project.publish(NEW)
    size = project.patch().stat().st_size
    if spoil:
        spoil(project.patch())
    found = in_node(project)
    assert (found["via"], found["version"]) == (via, NEW)
    assert (found["bytes"] == size) is (via == "patch")
    assert contents(Path(found["path"])) == contents(builds.build("swagger", NEW))


UPDATE = """\
async (site) => {
  const { createUpdater } = await import('/app/manifestgen.js');
  const { browserAdapter, browserStorage } = await import('/app/browser.js');
  const text = async (name) => (await fetch(`/app/${name}`)).text();
  const adapter = browserAdapter({
    worker: '/app/worker.js',
    keys: [await text('capgo.pub.pem')],
  });
  const root = await text('root.json');
  const updater = createUpdater({ site, root, storage: browserStorage(), adapter });
  await updater.confirm();
  const { via } = await updater.download();
  return [via, (await updater.apply()).version];
}"""
SERVED = """\
async (paths) => Object.fromEntries(await Promise.all(paths.map(async (path) => {
  const data = new Uint8Array(await (await fetch(`/app/${path}`)).arrayBuffer());
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
  return [path, Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')];
})))"""


def open_app(browser: Browser, url: str) -> Page:
    page = browser.new_context(service_workers="allow").new_page()
    page.goto(f"{url}/app/")
    return page


@pytest.mark.parametrize(
    ("spoil", "via"),
    [
        pytest.param(None, "patch", id="by the patch"),
        pytest.param(flip, "bundle", id="by the bundle where the patch is damaged"),
    ],
)
def test_chromium_is_updated(
    project: Project, browser: Browser, spoil: Callable[[Path], None] | None, via: str
) -> None:
    with serve(project.folder / "web") as web:
        page = open_app(browser, web.url)
        assert page.evaluate(UPDATE, project.url) == ["bundle", OLD]
        page.reload()
        project.publish(NEW)
        if spoil:
            spoil(project.patch())
        assert page.evaluate(UPDATE, project.url) == [via, NEW]
        page.reload()
        wanted = contents(builds.build("swagger", NEW))
        hashes = {path: hashlib.sha256(data).hexdigest() for path, data in wanted.items()}
        assert page.evaluate(SERVED, list(hashes)) == hashes
        page.context.close()
