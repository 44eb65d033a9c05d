"""Live reload: a tab in Chromium shows each save, and nobody touches it.

`-s` prints how long it took.
"""

import json
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect

from manifestgen.serve import Server, Site
from tests.publish.project import SAMPLE, ended, process
from tests.serve.asking import wait_for
from tests.tools.nginx import serve
from tests.watch.test_command import Started
from tests.watch.test_vite import app
from tests.watch.watching import watching

__all__ = ["app"]

DEV = ".manifestgen/dev/manifestgen.toml"
PATIENT = 60_000  # milliseconds; a shared machine may be slow, and no time is promised here


def make_live(folder: Path, site: str, project: Path) -> None:
    """Put the client and its settings into a build, as the guide says."""
    said = ended(process(project, "client", str(folder), "--for", "web", "--config", DEV))
    assert said.code == 0, said.err
    settings = {"site": site, "channel": "production", "live": True}
    (folder / "update.json").write_text(json.dumps(settings))


def opened(context: BrowserContext, url: str) -> Page:
    """Open the app in a tab that follows saves."""
    page = context.new_page()
    page.goto(url)
    status(page, "Following each save.")
    return page


def painted(page: Page) -> float:
    """Return when the page as it is was first seen, by the clock: Playwright looks more rarely."""
    paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    return float(page.evaluate(f"performance.timeOrigin + ({paint})")) / 1000


def status(page: Page, text: str) -> None:
    expect(page.locator("#update-status")).to_have_text(text, timeout=PATIENT)


def shows(page: Page, text: str) -> None:
    expect(page.locator("#app-version span")).to_have_text(text, timeout=PATIENT)


def save(built: Path, text: str) -> None:
    """Change what the footer says, as an editor saves."""
    page = (SAMPLE / "v2/index.html").read_text("utf-8")
    (built / "index.html").write_text(page.replace("<span>1.1.0<", f"<span>{text}<"), "utf-8")


@contextmanager
def tabs(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(service_workers="allow") as context:
        yield context


def test_tabs_show_each_save(browser: Browser, tmp_path: Path) -> None:
    project = tmp_path / "shop"
    built = shutil.copytree(SAMPLE / "v2", project / "built")
    watch = Started(project, "--serve", "--port", "0")
    url = watch.says(" at http://").partition(" at ")[2].split()[0]
    watch.says("dev.1 ")
    make_live(built, f"{url}/?device=tab", project)
    times = []
    with serve(built) as server, tabs(browser) as context:
        page = opened(context, server.url)
        for number in range(5):
            began = time.time()
            save(built, f"save {number}")
            shows(page, f"save {number}")
            times.append(painted(page) - began)
        print(f"from save to sight: {statistics.median(times):.2f} s")
        watch.says("is known to tab")

        other = opened(context, server.url)
        save(built, "two tabs")
        for one in (page, other):
            shows(one, "two tabs")

        # A half-written build is not published, and the tab goes on with the last.
        save(built, "half")
        (built / "index.html").write_text('<script type="module" src="gone.js"></script>')
        watch.says("not published")
        watch.ends()
        status(page, "The update server cannot be reached.")
        shows(page, "two tabs")

        save(built, "after the break")
        watch = Started(project, "--serve", "--port", url.rpartition(":")[2])
        for one in (page, other):
            shows(one, "after the break")
            status(one, "Following each save.")
        watch.ends()


def test_a_tab_follows_every_edit_of_a_vite_project(app: Path, browser: Browser) -> None:
    source = app / "src/main.js"
    code = source.read_text("utf-8")

    def edit(mark: str) -> None:
        source.write_text(f"{code}\ndocument.body.dataset.mark = {mark!r};\n", "utf-8")

    times = []
    dist = app / "dist"
    with watching(dist) as watch, Server(Site(watch.workshop.site)) as site:
        wait_for(lambda: bool(watch.printed), seconds=60)
        make_live(app / "public", site.url, app)
        count = len(watch.printed)
        edit("ready")
        wait_for(lambda: any("ready" in one.read_text() for one in dist.glob("assets/index-*.js")))
        # What is published is whole.
        wait_for(lambda: len(watch.printed) > count and (dist / "update.json").exists())
        with serve(dist) as server, tabs(browser) as context:
            page = opened(context, server.url)
            for number in range(10):
                began = time.time()
                edit(f"edit {number}")
                expect(page.locator("body")).to_have_attribute(
                    "data-mark", f"edit {number}", timeout=PATIENT
                )
                times.append(painted(page) - began)
            # It is the release that runs, not what the app's own server has.
            offered = watch.offered()
            assert offered
            names = page.evaluate("caches.keys()")
            assert any(name.endswith(offered) for name in names), names
    print(f"from edit to sight: {statistics.median(times):.2f} s")
    assert watch.refused == []
