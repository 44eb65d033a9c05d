"""Applying patches: Python, Node and Chromium make the same release of the same patch.

Python installs: it checks the manifest, decrypts, makes, checks and stores durably, in one figure.
The JavaScript client is measured twice: what it computes, with the old files in memory and the new
ones dropped, and the whole of staging, which reads from and writes to a folder or Cache Storage.
"""

import json
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from manifestgen.device import Updater
from manifestgen.stores import DirectoryStore
from tests.bench.pairs import Pair, Project
from tests.tools import browser, node
from tests.tools.nginx import serve

_HERE = Path(__file__).parent
_IN_CHROMIUM = """\
async (rounds) => {
  const { measure } = await import('./apply.mjs');
  const { planOf } = await import('./unpack.mjs');
  const { obtain } = await import('./client/bundle.js');
  const { browserAdapter } = await import('./client/browser.js');
  const bytes = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
  const read = (name) => bytes('./' + name.split('/').map(encodeURIComponent).join('/'));
  const { key } = await (await fetch('./releases.json')).json();
  const adapter = browserAdapter({ keys: [key] });
  return measure({ client: { obtain, planOf }, tools: {}, adapter, read, rounds });
}"""


def table(pairs: Sequence[Pair], rounds: int, scratch: Path) -> str:
    """Measure every pair; figures are medians of `rounds`."""
    lines = [
        "| pair | patch | files | MB | Python installs | Node, in memory | and stored |"
        " Chromium, in memory | and stored |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for number, pair in enumerate(pairs):
        lines.append(_row(pair, rounds, scratch / str(number)))
    return "\n".join(lines)


def _row(pair: Pair, rounds: int, scratch: Path) -> str:
    project = Project.create(scratch / "project")
    page = _prepared(pair, project, scratch / "page")
    offer = project.offer()
    size, tree = offer["patches"][0]["size"], offer["release"]["signed"]["tree"]
    times: list[list[float]] = [[], [], [], [], []]
    for number in range(rounds):
        inside = (_python(project, scratch / f"state-{number}"), *_node(page), *_chromium(page))
        for column, milliseconds in zip(times, inside, strict=True):
            column.append(milliseconds)
    cells = [f"{statistics.median(column):.0f} ms" for column in times]
    return (
        f"| {pair.name} | {size:,} | {tree['files']:,} | {tree['size'] / 1e6:.1f} |"
        f" {' | '.join(cells)} |"
    )


def _prepared(pair: Pair, project: Project, page: Path) -> Path:
    """Publish both releases, and put all that the scripts read into one folder."""
    project.publish(pair.old, "1.0.0")
    old = project.offer()["release"]["signed"]
    # The site as it was then is what Python starts from.
    shutil.copytree(project.folder / "site", project.folder / "before")
    project.publish(pair.new, "1.1.0")
    offer = project.offer()
    [patch] = offer["patches"]
    page.mkdir()
    project.run("client", page / "client")
    shutil.copytree(pair.old, page / "old")
    files = [path.relative_to(page / "old").as_posix() for path in _files(page / "old")]
    releases = {
        "key": project.key.read_text(),
        "old": old,
        "fresh": offer["release"]["signed"],
        "patch": patch,
        "files": files,
    }
    (page / "releases.json").write_text(json.dumps(releases))
    (page / "bundle.bin").write_bytes(project.blob(old["bundle"]["blob"]))
    (page / "patch.bin").write_bytes(project.blob(patch["blob"]))
    (page / "index.html").write_text("<!doctype html>")
    for script in ("apply.mjs", "unpack.mjs"):
        shutil.copy(_HERE / script, page)
    return page


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _python(project: Project, state: Path) -> float:
    root, key = project.root.read_bytes(), project.key.read_bytes()

    def updater(site: str) -> Updater:
        return Updater(DirectoryStore(project.folder / site), root, state, key=key)

    updater("before").install()
    updater("before").confirm()
    began = time.perf_counter()
    outcome = updater("site").install()
    milliseconds = (time.perf_counter() - began) * 1000
    assert outcome.via == "patch"
    return milliseconds


def _node(page: Path) -> tuple[float, float]:
    shutil.rmtree(page / "home", ignore_errors=True)
    done = node.start(page / "apply.mjs", page, "1")
    assert done.returncode == 0, done.stderr
    times = json.loads(done.stdout)
    return times["checked"], times["kept"]


def _chromium(page: Path) -> tuple[float, float]:
    with serve(page) as server, browser.chromium() as chromium:
        opened = chromium.new_page()
        opened.goto(server.url)
        times = opened.evaluate(_IN_CHROMIUM, 1)
        return times["checked"], times["kept"]
