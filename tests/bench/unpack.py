"""`python -m tests.bench.unpack`: time to decrypt and unpack real bundles in Chromium and Node."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from manifestgen.core.release import Scheme
from manifestgen.stores.names import blob_name
from tests.device.publisher import Publisher, pem
from tests.tools import browser, builds, node
from tests.tools.nginx import serve

_HERE = Path(__file__).parent
_CLIENT = _HERE.parents[1] / "manifestgen" / "client"
_BUILDS = {"jupyterlab": "4.6.4", "n8n": "2.39.4"}
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


def table() -> str:
    """Measure each build once in each place; a bundle is unpacked once in a device's life, too."""
    rows = [
        "| build | bundle | files | where | unpacked and checked | and stored | checked again |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, version in _BUILDS.items():
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            folder = Path(scratch)
            release = _prepare(builds.build(name, version), folder)
            size = f"{release['bundle']['size'] / 1e6:.1f} MB"
            head = f"| {name} {version} | {size} | {release['tree']['files']} |"
            rows += [
                f"{head} {where} | {times['checked']:.0f} ms | {times['kept']:.0f} ms"
                f" | {times['looked']:.0f} ms |"
                for where, times in (("Chromium", _chromium(folder)), ("Node", _node(folder)))
            ]
    return "\n".join(rows)


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
    done = node.start(_HERE / "unpack.mjs", _CLIENT, folder)
    assert done.returncode == 0, done.stderr
    times: dict[str, float] = json.loads(done.stdout)
    return times


if __name__ == "__main__":
    print(table())
