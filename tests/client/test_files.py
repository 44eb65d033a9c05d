"""Single files through the stock plugin, from `publish` to the adapter."""

import base64
import json
import time
from pathlib import Path

import pytest

from manifestgen.core.envelope import Envelope
from manifestgen.core.limits import LIMITS
from manifestgen.core.release import Release
from tests.publish.project import Project, fresh
from tests.publish.test_delta import answer, configured, delta_build
from tests.tools import node

__all__ = ["fresh"]

HERE = Path(__file__).resolve().parent


@pytest.fixture
def sites(fresh: Project, tmp_path: Path) -> Path:
    """Write what the Node test visits: a site that lists single files."""
    configured(fresh)
    delta_build(fresh.folder / "one")
    fresh.publishes("one", "--version", "1.0.0")
    site = fresh.folder / "site"
    files = {
        path.relative_to(site).as_posix(): base64.b64encode(path.read_bytes()).decode()
        for path in site.rglob("*")
        if path.is_file()
    }
    stored = (site / "releases/1.0.0.json").read_bytes()
    signed = Envelope.decode(stored, limit=LIMITS.release_bytes).signed
    listed = Release.from_json(signed).files
    assert listed is not None
    value = {
        "root": (fresh.folder / ".manifestgen/root/1.json").read_text(),
        "key": (fresh.folder / ".manifestgen/capgo.pub.pem").read_text(),
        "now": int(time.time() * 1000),
        "sites": {"delta": files},
        "versions": {
            "list": listed.blob,
            "files": sorted(one["file_name"] for one in answer(fresh)["manifest"]),
        },
    }
    path = tmp_path / "sites.json"
    path.write_text(json.dumps(value))
    return path


def test_the_plugin_fetches_single_files_or_the_bundle(sites: Path) -> None:
    node.run_tests(HERE / "files.test.js", env={"SITES": str(sites)})
