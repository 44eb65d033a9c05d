"""The sample app in Chromium, updated from a site that `publish` made and nginx serves.

`screenshots` in a test's temporary folder shows what a person saw; `--basetemp DIR` keeps them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.tools import node
from tests.tools.nginx import Nginx, serve

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_site"
PORTAL = b"<!doctype html><title>Hotel</title><h1>Welcome! Please log in.</h1>"


@dataclass
class World:
    """A project with its site on one server, and the app at 1.0.0 on another."""

    folder: Path
    context: BrowserContext
    servers: ExitStack
    app: Nginx

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

    @property
    def manifest(self) -> Path:
        return self.folder / "project/site/production/manifest.json"

    def publish(self, build: str, *options: str) -> None:
        self.run("publish", self.folder / build, *options)

    def visit(self) -> Page:
        """Open the app in a new tab, once what it says of updates has come to rest."""
        page = self.context.new_page()
        page.goto(f"{self.app.url}/fieldnotes/")
        return self.settled(page)

    def reload(self, page: Page) -> Page:
        page.reload()
        return self.settled(page)

    def settled(self, page: Page) -> Page:
        expect(page.locator("#update-status")).to_have_text(
            re.compile(r"ready|Up to date|withdrawn|refused|reached|been|two things|work|seen")
        )
        return page

    def picture(self, page: Page, name: str) -> None:
        page.screenshot(path=self.folder / "screenshots" / f"{name}.png")

    def blobs(self) -> Iterator[Path]:
        return self.folder.joinpath("project/site/blobs").rglob("*.bin")


def rewrite(path: Path, data: bytes) -> None:
    """Change a file so that nginx, whose ETag is its second and its size, sees it too."""
    times = path.stat()
    path.write_bytes(data)
    os.utime(path, (times.st_atime, times.st_mtime + 10))


def build(world: Path, name: str, version: str, site: str) -> Path:
    """Prepare one build of the sample app as its makers would: the client, and where to ask."""
    folder = shutil.copytree(SAMPLE / version, world / name)
    (folder / "update.json").write_text(json.dumps({"site": site, "channel": "production"}))
    return folder


@pytest.fixture
def world(browser: Browser, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as servers:
        context = servers.enter_context(
            browser.new_context(viewport={"width": 390, "height": 700}, service_workers="allow")
        )
        project, web = tmp_path / "project", tmp_path / "web"
        for folder in (project, web, tmp_path / "screenshots"):
            folder.mkdir()
        app = servers.enter_context(serve(web))
        made = World(tmp_path, context, servers, app)
        made.run("init", "--app", "com.example.fieldnotes")
        (project / "site").mkdir()
        config = made.run("server", "nginx")
        site = servers.enter_context(serve(project / "site", config))
        for name in ("v1", "v2"):
            made.run("client", build(tmp_path, name, name, site.url), "--for", "web")
        shutil.copytree(tmp_path / "v1", web / "fieldnotes")
        made.publish("v1")
        yield made


def version(page: Page) -> str:
    return page.locator("#app-version span").inner_text()


def status(page: Page) -> str:
    return page.locator("#update-status").inner_text()


def updated(world: World) -> Page:
    """Bring a tab to 1.1.0, published, installed and confirmed."""
    page = world.visit()
    world.publish("v2")
    page = world.reload(page)
    assert status(page) == "Version 1.1.0 is ready. Restart"
    page.get_by_role("button", name="Restart").click()
    expect(page.locator("#app-version span")).to_have_text("1.1.0")
    expect(page.locator("#update-status")).to_have_text("Up to date.")
    return page


def test_without_a_site_nothing_is_asked_and_nothing_said(browser: Browser, tmp_path: Path) -> None:
    with serve(SAMPLE / "v1") as app, browser.new_context() as context:
        page = context.new_page()
        failures: list[str] = []
        page.on("requestfailed", lambda request: failures.append(request.url))
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(app.url)
        page.wait_for_load_state("networkidle")
        assert version(page) == "1.0.0"
        assert page.locator("#update-status").is_hidden()
        assert (
            page.evaluate("navigator.serviceWorker.getRegistrations().then((l) => l.length)") == 0
        )
        assert failures == []
        assert {line.split()[2] for line in app.requests()} <= {"200", "304"}


def test_an_update_shows_itself_at_the_next_start(world: World) -> None:
    page = world.visit()
    assert (version(page), status(page)) == ("1.0.0", "Up to date.")
    world.picture(page, "1-built-in")
    world.publish("v2")
    page = world.reload(page)
    assert (version(page), status(page)) == ("1.0.0", "Version 1.1.0 is ready. Restart")
    world.picture(page, "2-ready")
    page.get_by_role("button", name="Restart").click()
    expect(page.locator("#app-version span")).to_have_text("1.1.0")
    world.settled(page)
    assert status(page) == "Up to date."
    page.get_by_role("link", name="Guide").click()
    page.get_by_role("heading", name="Guide").wait_for()
    world.picture(page, "3-updated")
    assert version(world.reload(page)) == "1.1.0"


def test_an_updated_app_works_without_any_server(world: World) -> None:
    page = updated(world)
    world.context.set_offline(True)
    page = world.reload(page)
    assert (version(page), status(page)) == ("1.1.0", "The update server cannot be reached.")
    page.get_by_role("link", name="Kit").click()
    page.get_by_role("heading", name="Kit").wait_for()
    world.picture(page, "offline")


def test_a_tampered_manifest_is_refused(world: World) -> None:
    page = world.visit()
    world.publish("v2")
    data = world.manifest.read_bytes()
    rewrite(world.manifest, data.replace(b'"sequence":2', b'"sequence":9'))
    page = world.reload(page)
    assert (version(page), status(page)) == ("1.0.0", "An update was refused. (signature)")
    world.picture(page, "tampered-manifest")
    rewrite(world.manifest, data)
    assert status(world.reload(page)) == "Version 1.1.0 is ready. Restart"


def test_a_tampered_blob_is_refused(world: World) -> None:
    page = world.visit()
    world.publish("v2")
    originals = {blob: blob.read_bytes() for blob in world.blobs()}
    for blob, data in originals.items():
        blob.chmod(0o644)
        blob.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    page = world.reload(page)
    assert (version(page), status(page)) == ("1.0.0", "An update was refused. (digest)")
    world.picture(page, "tampered-blob")
    assert version(world.reload(page)) == "1.0.0"


def test_an_older_manifest_is_refused(world: World) -> None:
    older = world.manifest.read_bytes()
    page = updated(world)
    rewrite(world.manifest, older)
    page = world.reload(page)
    assert version(page) == "1.1.0"
    assert status(page) == "The update server is behind what was seen before. (replay)"
    world.picture(page, "older")


def test_an_expired_manifest_is_refused_and_the_app_runs(world: World) -> None:
    page = updated(world)
    page.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=40))
    page = world.reload(page)
    assert version(page) == "1.1.0"
    assert status(page) == "The update server has not been renewed for too long. (expired)"
    world.picture(page, "expired")


def test_a_withdrawn_release_gives_way_to_what_the_server_has(world: World) -> None:
    page = updated(world)
    world.run("channel", "withdraw", "1.1.0")
    page = world.reload(page)
    world.picture(page, "withdrawn")
    assert re.search(r"withdrawn|1\.0\.0 is ready", status(page))
    page.get_by_role("button", name="Restart").click()
    expect(page.locator("#app-version span")).to_have_text("1.0.0")
    assert status(world.settled(page)) == "Up to date."


def test_a_login_page_in_place_of_the_site_changes_nothing(world: World) -> None:
    page = updated(world)
    for name in ("production/manifest.json", "root.json"):
        rewrite(world.folder / "project/site" / name, PORTAL)
    page = world.reload(page)
    assert (version(page), status(page)) == ("1.1.0", "An update was refused. (format)")
    world.picture(page, "portal")


def test_a_release_that_never_confirms_is_left_for_good(world: World) -> None:
    page = updated(world)
    broken = shutil.copytree(world.folder / "v2", world.folder / "broken")
    for script in (broken / "assets").glob("index-*.js"):
        script.write_text("throw new Error('broken')")
    (broken / "package.json").write_text('{"name":"fieldnotes","version":"1.2.0"}')
    index = broken / "index.html"
    index.write_text(index.read_text().replace("1.1.0", "1.2.0"))
    world.publish("broken", "--version", "1.2.0")
    page = world.reload(page)
    assert status(page) == "Version 1.2.0 is ready. Restart"
    page.reload()
    assert version(page) == "1.2.0"
    world.picture(page, "broken")
    page.reload()
    assert version(page) == "1.2.0"  # this may have been another tab
    page.reload()
    assert version(page) == "1.1.0"
    assert status(world.settled(page)) == "Up to date."
    world.picture(page, "rolled-back")
    assert version(world.reload(page)) == "1.1.0"


def test_a_tab_keeps_the_release_it_started_with(world: World) -> None:
    first = world.visit()
    world.publish("v2")
    second = world.visit()
    second.get_by_role("button", name="Restart").click()
    expect(second.locator("#app-version span")).to_have_text("1.1.0")
    world.settled(second)
    # Not loaded yet; under its hash only the server has it.
    first.get_by_role("link", name="Kit").click()
    first.get_by_role("heading", name="Kit").wait_for()
    assert (version(first), version(second)) == ("1.0.0", "1.1.0")
    assert version(world.reload(first)) == "1.1.0"


def test_what_the_browser_threw_away_is_fetched_again(world: World) -> None:
    page = updated(world)
    page.evaluate(
        "caches.keys().then((names) => Promise.all(names.map((name) =>"
        " /[0-9a-f]{64}$/.test(name) && caches.delete(name))))"
    )
    page = world.reload(page)
    assert (version(page), status(page)) == ("1.0.0", "Version 1.1.0 is ready. Restart")
    page.get_by_role("button", name="Restart").click()
    expect(page.locator("#app-version span")).to_have_text("1.1.0")


def test_the_app_as_the_server_has_it_works_offline_once_seen(world: World) -> None:
    page = world.reload(world.visit())
    world.context.set_offline(True)
    page.reload()
    expect(page.locator("#app-version span")).to_have_text("1.0.0")


WITHOUT_SUBTLE = """\
async ([site, injected]) => {
  const { createUpdater } = await import('./manifestgen.js');
  const noble = await import('./noble.js');
  noble.hashes.sha512Async = async (data) => Uint8Array.from(await sha512([...data]));
  const values = new Map();
  const updater = createUpdater({
    site,
    root: await (await fetch('./root.json')).text(),
    storage: {
      get: async (key) => values.get(key) ?? null,
      set: async (key, value) => values.set(key, value),
      remove: async (key) => values.delete(key),
    },
    adapter: { current: async () => null },
    verify: injected
      ? (algorithm, spki, signature, message) =>
          noble.verifyAsync(signature, message, spki.subarray(-32), { zip215: false })
      : undefined,
  });
  return updater.check().then(({ action, version }) => [action, version], ({ code }) => code);
}"""


def test_without_webcrypto_an_injected_verifier_does(world: World) -> None:
    import hashlib

    web = world.folder / "web/fieldnotes"
    shutil.copy(node.modules() / "@noble/ed25519/index.js", web / "noble.js")
    site = json.loads((web / "update.json").read_text())["site"]
    page = world.context.new_page()
    page.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined })")
    page.expose_function("sha512", lambda data: list(hashlib.sha512(bytes(data)).digest()))
    page.goto(f"{world.app.url}/fieldnotes/")
    assert page.evaluate(WITHOUT_SUBTLE, [site, True]) == ["install", "1.0.0"]
    assert page.evaluate(WITHOUT_SUBTLE, [site, False]) == "no_crypto"
    rewrite(world.manifest, world.manifest.read_bytes().replace(b'"sequence":1', b'"sequence":2'))
    assert page.evaluate(WITHOUT_SUBTLE, [site, True]) == "signature"
