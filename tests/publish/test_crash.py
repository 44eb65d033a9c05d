"""Publishing killed anywhere leaves the old or the new state, and the next command finishes.

Two ways to die: in a store, before or after any change it is asked for; and in the operating
system, by SIGKILL before any change to a file of the project or the site.
"""

import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest

from manifestgen.config import find
from manifestgen.core.keyring import Keyring, usable
from manifestgen.core.manifest import referenced_blobs
from manifestgen.core.version import Version
from manifestgen.publish import Published, Request, publish, read_build
from manifestgen.stores import DirectoryStore, Store
from manifestgen.stores.names import blob_name, history_name
from tests.publish.project import COMMAND, build, copy_project, ended, process
from tests.stores.faulty import FaultyStore, Killed
from tests.stores.kill_at import run_killed_at

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MANIFEST = "production/manifest.json"
URL = "https://cdn.example.com/app"


def run(folder: Path, store: Store, version: str = "1.1.0") -> Published:
    """Publish `dist2` of a project, in this process."""
    settings = find(folder, {"MANIFESTGEN_BASE_URL": URL})
    request = Request(
        source=read_build(settings, folder / "dist2"),
        channel="production",
        version=Version.parse(version),
    )
    return publish(settings, request, store=store, ask=lambda _: None, now=NOW)


def check_whole(folder: Path, versions: Sequence[str | None]) -> None:
    """Check that devices see one of `versions`, and that everything it leads to is there."""
    site = folder / "site"
    manifest = site / MANIFEST
    if not manifest.exists():
        assert None in versions
        return
    keyring = Keyring.trust((site / "root/1.json").read_bytes())
    trusted = keyring.manifest(manifest.read_bytes(), "production")
    releases = usable(trusted)
    assert [str(release.version) for release in releases] in [[one] for one in versions]
    assert len(releases) == len(trusted.releases)
    for digest in referenced_blobs(trusted.manifest, [one.bundle for one in releases]):
        assert sha256((site / blob_name(digest)).read_bytes()).hexdigest() == digest
    for release in releases:
        assert (site / f"releases/{release.version}.json").is_file()
    same = site / history_name("production", trusted.manifest.sequence)
    assert same.read_bytes() == manifest.read_bytes()


def check_history(folder: Path, sequences: int) -> None:
    """Check that history has no gap, each manifest following the one before."""
    history = folder / "site/production/history"
    names = sorted(path.name for path in history.iterdir())
    assert names == [f"{number:06d}.json" for number in range(1, sequences + 1)]
    data, previous = b"", None
    for name in names:
        data = (history / name).read_bytes()
        assert json.loads(data)["signed"].get("previous") == previous
        previous = sha256(data).hexdigest()
    assert (folder / "site" / MANIFEST).read_bytes() == data


def check_finished(folder: Path, version: str, sequences: int) -> None:
    """Check what a site has to be once a publish went through."""
    check_whole(folder, [version])
    check_history(folder, sequences)
    site = folder / "site"
    assert json.loads((site / "production/capgo.json").read_text())["version"] == version
    assert f"releases/{version}.json" in (site / "index.html").read_text()
    assert (site / "root.json").read_bytes() == (site / "root/1.json").read_bytes()
    assert not list(site.rglob(".manifestgen-tmp"))


# In the store


def steps(first: bool, published: Path, folder: Path) -> list[str]:
    store = FaultyStore(DirectoryStore(prepared(first, published, folder) / "site"))
    run(folder, store)
    return store.steps


def prepared(first: bool, published: Path, folder: Path) -> Path:
    """Copy the project; for a first publish, without its site."""
    copy_project(published, folder)
    if first:
        shutil.rmtree(folder / "site")
        (folder / ".manifestgen/keys/sequences.json").unlink()
    return folder


@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_killed_in_the_store_anywhere(first: bool, published: Path, tmp_path: Path) -> None:
    every = steps(first, published, tmp_path / "whole")
    before, sequences = ([None], 1) if first else (["1.0.0"], 2)
    commit = every.index(f"created {history_name('production', sequences)}") + 1
    for number in range(1, len(every) + 1):
        folder = prepared(first, published, tmp_path / str(number))
        store = FaultyStore(DirectoryStore(folder / "site"), stop_before=number)
        with pytest.raises(Killed, match=every[number - 1]):
            run(folder, store)
        check_whole(folder, [*before, "1.1.0"])
        done = run(folder, DirectoryStore(folder / "site"))
        check_finished(folder, "1.1.0", sequences)
        assert (done.sequence, done.offered) == (sequences, True)
        assert done.changed == (number < commit), every[number - 1]


def test_killed_in_the_store_then_something_newer(published: Path, tmp_path: Path) -> None:
    every = steps(False, published, tmp_path / "whole")
    for number in range(1, len(every) + 1):
        folder = prepared(False, published, tmp_path / str(number))
        with pytest.raises(Killed):
            run(folder, FaultyStore(DirectoryStore(folder / "site"), stop_before=number))
        done = run(folder, DirectoryStore(folder / "site"), "1.2.0")
        check_finished(folder, "1.2.0", done.sequence)
        shutil.rmtree(folder)


def test_killed_while_finishing_what_was_killed(published: Path, tmp_path: Path) -> None:
    folder = prepared(False, published, tmp_path / "shop")
    run(folder, DirectoryStore(folder / "site"))
    for name in (MANIFEST, "production/capgo.json", "index.html"):
        (folder / "site" / name).unlink()
    for number in count(1):
        try:
            run(folder, FaultyStore(DirectoryStore(folder / "site"), stop_before=number))
        except Killed:
            check_whole(folder, [None, "1.1.0"])
        else:
            break
    check_finished(folder, "1.1.0", 2)


# In the operating system


def killed_anywhere(
    published: Path, tmp_path: Path, *, what: str, start: int = 1, stride: int = 1
) -> int:
    """Kill a publish before every `stride`-th change; return how many runs were killed."""
    for killed, number in enumerate(count(start, stride)):
        folder = tmp_path / str(number)
        if what == "fresh":
            build(folder / "dist2", version="1.1.0")
        else:
            prepared(what == "first", published, folder)
        own = {"MANIFESTGEN_BASE_URL": URL} if what == "second" else {}
        arguments = ["-c", COMMAND, "publish", "dist2"]
        env = {**os.environ, **own}
        ran = run_killed_at(number, arguments, under=folder, cwd=folder, env=env)
        assert ran.killed or ran.code == 0, ran.stderr
        check_whole(folder, ["1.0.0", "1.1.0"] if what == "second" else [None, "1.1.0"])
        again = ended(process(folder, "publish", "dist2", env=own))
        assert again.code == 0, f"killed at {number}: {again.err}"
        check_whole(folder, ["1.1.0"])
        check_history(folder, 2 if what == "second" else 1)
        assert not list((folder / "site").rglob(".manifestgen-tmp"))
        assert not list(folder.rglob(".tmp-*")) or ran.killed
        shutil.rmtree(folder)
        if not ran.killed:
            return killed
    raise AssertionError


@pytest.mark.parametrize("what", ["second", "fresh"])
def test_killed_before_some_change_to_a_file(what: str, published: Path, tmp_path: Path) -> None:
    assert killed_anywhere(published, tmp_path, what=what, start=3, stride=17) > 3


@pytest.mark.full
@pytest.mark.parametrize("what", ["second", "first", "fresh"])
def test_killed_before_any_change_to_a_file(what: str, published: Path, tmp_path: Path) -> None:
    killed = killed_anywhere(published, tmp_path, what=what)
    print(f"{what}: killed at each of {killed} changes")
    assert killed > 50
