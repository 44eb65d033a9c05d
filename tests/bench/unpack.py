"""Decrypting and unpacking whole bundles, in Chromium and Node: in memory, then into storage."""

import json
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manifestgen.core.release import Scheme
from manifestgen.stores.names import blob_name
from tests.device.publisher import Publisher, pem
from tests.tools import browser, builds, node
from tests.tools.nginx import serve

_HERE = Path(__file__).parent
_CLIENT = _HERE.parents[1] / "manifestgen" / "client"
_IN_CHROMIUM = """\
async () => {
  const { measure } = await import('./unpack.mjs');
  const { obtain } = await import('./client/bundle.js');
  const { browserAdapter } = await import('./client/browser.js');
  const { signed, key } = await (await fetch('./release.json')).json();
  const stored = new Uint8Array(await (await fetch('./blob.bin')).arrayBuffer());
  const adapter = browserAdapter({ keys: [key] });
  return measure({ obtain, adapter, signed, key, stored });
}"""


def table(names: Sequence[str], rounds: int, scratch: Path) -> str:
    """Measure each build in each place; figures are medians of `rounds`, in turn."""
    rows = [
        "| build | bundle | files | where | decrypted, unpacked, checked | and stored |"
        " checked again |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        version = builds.SOURCES[name].versions[0]
        rows += rows_of(f"{name} {version}", builds.build(name, version), rounds, scratch / name)
    return "\n".join(rows)


def rows_of(name: str, build: Path, rounds: int, folder: Path) -> list[str]:
    """Measure one build."""
    folder.mkdir(parents=True)
    release = _prepare(build, folder)
    size = f"{release['bundle']['size'] / 1e6:.1f} MB"
    places = {"Chromium": _chromium, "Node": _node}
    runs = [{where: run(folder) for where, run in places.items()} for _ in range(rounds)]
    rows = []
    for where in places:
        times = [
            f"{statistics.median(run[where][what] for run in runs):.0f} ms"
            for what in ("checked", "kept", "looked")
        ]
        cells = [name, size, f"{release['tree']['files']:,}", where, *times]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _prepare(build: Path, folder: Path) -> dict[str, Any]:
    publisher = Publisher()
    files = {
        path.relative_to(build).as_posix(): path.read_bytes()
        for path in sorted(build.rglob("*"))
        if path.is_file()
    }
    files.setdefault("index.html", b"<!doctype html>")
    release = publisher.bundle("1.0.0", files, scheme=Scheme.CAPGO)
    signed: dict[str, Any] = json.loads(json.dumps(release.to_json()))
    blob = publisher.site.open(blob_name(release.bundle.blob))
    assert blob
    (folder / "blob.bin").write_bytes(blob.read())
    (folder / "release.json").write_text(json.dumps({"signed": signed, "key": pem().decode()}))
    (folder / "index.html").write_text("<!doctype html>")
    shutil.copy(_HERE / "unpack.mjs", folder)
    shutil.copytree(_CLIENT, folder / "client")
    return signed


def _chromium(folder: Path) -> dict[str, float]:
    with serve(folder) as server, browser.chromium() as chromium:
        page = chromium.new_page()
        page.goto(server.url)
        times: dict[str, float] = page.evaluate(_IN_CHROMIUM)
        return times


def _node(folder: Path) -> dict[str, float]:
    shutil.rmtree(folder / "home", ignore_errors=True)
    done = node.start(_HERE / "unpack.mjs", _CLIENT, folder)
    assert done.returncode == 0, done.stderr
    times: dict[str, float] = json.loads(done.stdout)
    return times
