"""Eight processes publish into one site at once: no release is lost, no sequence used twice."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from manifestgen.config import load
from manifestgen.errors import VerificationError
from manifestgen.publish.site import Site
from manifestgen.publish.trust import load_roots
from manifestgen.stores import MemoryStore, Store, open_store
from manifestgen.stores.passing import Passing
from tests.publish.project import Said, ended, process
from tests.tools.seaweedfs import S3Server

PROCESSES = 8
Place = Callable[[], tuple[str, dict[str, str]]]

# One interpreter for all releases of a publisher: starting forty would measure that.
PUBLISHER = """
import sys
import time
from pathlib import Path
from manifestgen.cli import main

me, releases = int(sys.argv[1]), int(sys.argv[2])
build = Path(f"build-{me}")
build.mkdir()
print("ready", flush=True)
sys.stdin.readline()
for number in range(releases):
    (build / "index.html").write_text(f"<!doctype html><title>{me} {number}</title>\\n")
    code = 2
    while code == 2:  # somebody's higher version was there first: as a person, take a higher one
        version = f"1.{time.time_ns() // 1_000_000}.{me}"
        arguments = ["--version", version, "--channel", f"team-{me % 2}", "-q"]
        code = main(["publish", str(build), *arguments])
    if code:
        sys.exit(code)
    print(f"did={version}", flush=True)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "manifestgen.toml").write_text('app = "com.example.shop"\nscheme = "none"\n')
    said = ended(process(folder, "init"))
    assert said.code == 0, said.err
    return folder


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    def in_folder() -> tuple[str, dict[str, str]]:
        return str(tmp_path / "shop/site"), {}

    def in_bucket() -> tuple[str, dict[str, str]]:
        server: S3Server = request.getfixturevalue("seaweed")
        return request.getfixturevalue("location"), dict(server.environment)

    return in_folder if request.param == "folder" else in_bucket


def published_at_once(shop: Path, site: str, env: dict[str, str], releases: int) -> set[str]:
    """Let eight publishers loose; return the versions that they say they published."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(me), str(releases)],
            cwd=shop,
            env={
                **os.environ,
                **env,
                "MANIFESTGEN_SITE": site,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(PROCESSES)
    ]
    for one in running:
        assert one.stdout
        assert one.stdout.readline() == "ready\n", one.communicate()[1]
    for one in running:  # communicating with one would let it run alone
        assert one.stdin
        one.stdin.write("go\n")
        one.stdin.flush()
    said: set[str] = set()
    for one in running:
        out, err = one.communicate(timeout=3000)
        assert one.returncode == 0, err
        did = [line.removeprefix("did=") for line in out.splitlines() if line.startswith("did=")]
        assert len(did) == releases, err
        said |= set(did)
    return said


def check_all_there(shop: Path, site: str, env: dict[str, str], versions: set[str]) -> None:
    store = open_store(site)
    released = {
        entry.name.removeprefix("releases/").removesuffix(".json")
        for entry in store.names("releases/")
    }
    # A release that was overtaken before it was offered stays, and is offered to nobody.
    assert versions <= released
    offered = set()
    sequences = 0
    for channel in ("team-0", "team-1"):
        history = list(store.names(f"{channel}/history/"))
        numbers = []
        for entry in history:
            found = store.get(entry.name)
            assert found
            signed = json.loads(found.data)["signed"]
            numbers.append(signed["sequence"])
            offered |= {one["release"]["signed"]["version"] for one in signed["offers"]}
        assert numbers == list(range(1, len(history) + 1))
        sequences += len(history)
    assert offered == versions, "a release was lost"
    assert sequences == len(versions)
    said = verified(shop, site, env)
    assert said.code == 0, said.out


def verified(shop: Path, site: str, env: dict[str, str]) -> Said:
    return ended(process(shop, "verify", site, env=env))


def test_of_eight_publishers_none_loses_a_release(
    shop: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, env = place()
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    versions = published_at_once(shop, site, env, releases=5)
    assert len(versions) == PROCESSES * 5
    check_all_there(shop, site, env, versions)


class Beaten(Passing):
    """Somebody else creates every object just before us, with these bytes or the same."""

    def __init__(self, store: Store, data: bytes | None = None) -> None:
        super().__init__(store)
        self._data = data

    def create(self, name: str, data: bytes) -> None:
        self.store.create(name, self._data or data)
        self.store.create(name, data)


def test_of_two_who_begin_a_site_at_once_the_second_goes_on_only_with_the_same_root(
    shop: Path,
) -> None:
    settings = load(shop / "manifestgen.toml", {})
    chain, store = load_roots(settings), MemoryStore()
    Site(Beaten(store), chain, settings).publish_roots()
    assert [entry.name for entry in store.names()] == ["root.json", "root/1.json"]
    with pytest.raises(VerificationError, match="is not this project's root"):
        Site(Beaten(MemoryStore(), b"{}"), chain, settings).publish_roots()


@pytest.mark.full
def test_of_eight_publishers_none_loses_one_of_fifty_releases(
    shop: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, env = place()
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    versions = published_at_once(shop, site, env, releases=50)
    assert len(versions) == PROCESSES * 50
    check_all_there(shop, site, env, versions)
