"""An import that dies anywhere, run again, gives the site of one that did not."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from manifestgen.core.envelope import Envelope
from manifestgen.errors import StoreError
from manifestgen.kit import Trust
from manifestgen.stores import DirectoryStore, MemoryStore
from manifestgen.stores.names import blob_name
from tests.kit.conftest import Gap
from tests.kit.sides import INSIDE_URL, Side, contents, filled, project_trust, rotates, take
from tests.publish.project import COMMAND, ended, process
from tests.publish.test_crash import check_whole
from tests.stores.faulty import FaultyStore, Killed
from tests.stores.kill_at import run_killed_at

unix = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")


@pytest.mark.parametrize("which", ["second", "full", "fresh", "rotated"])
def test_killed_in_the_store_anywhere(which: str, gap: Gap, tmp_path: Path) -> None:
    settings, receipt = gap.inside.settings, tmp_path / "receipt"
    kit = gap.second if which == "second" else gap.full
    if which == "rotated":
        rotates(gap.outside)
        kit = gap.outside.exports("rotated.kit", "--since", gap.receipt)
    trust = project_trust(settings)
    files = {} if which == "fresh" else gap.inside.files()
    whole = filled(files)
    take(kit, trust, settings, whole, receipt)
    wanted = contents(whole)
    history = {name: data for name, data in wanted.items() if "/history/" in name}
    for number in count(1):
        store = FaultyStore(filled(files), stop_before=number)
        try:
            take(kit, trust, settings, store, receipt)
        except Killed:
            check_nobody_is_misled(gap, contents(store.base), files, history, tmp_path)
        else:
            assert number > 10
            return
        take(kit, trust, settings, store.base, receipt)
        assert contents(store.base) == wanted, store.steps[-1]


def check_nobody_is_misled(
    gap: Gap,
    found: dict[str, bytes],
    before: dict[str, bytes],
    history: dict[str, bytes],
    folder: Path,
) -> None:
    """Check that what devices see is whole, and that history shows all that is new, or nothing."""
    site = folder / "site"
    shutil.rmtree(folder / "site", ignore_errors=True)
    for name, data in found.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(data)
    offered = ["1.1.0", "1.2.0"] if before else [None, "1.2.0"]
    if "root/2.json" not in found:  # the helper knows one root
        check_whole(folder, offered)
    number = sum(name in before for name in history) + 1
    if f"production/history/{number:06d}.json" in found:
        assert {name: found.get(name) for name in history} == history


@unix
def test_killed_before_some_change_to_a_file(gap: Gap, tmp_path: Path) -> None:
    assert killed_anywhere(gap, tmp_path, start=4, stride=41) > 2


@unix
@pytest.mark.full
@pytest.mark.parametrize("fresh", [False, True])
def test_killed_before_any_change_to_a_file(fresh: bool, gap: Gap, tmp_path: Path) -> None:
    assert killed_anywhere(gap, tmp_path, fresh=fresh) > 50


def killed_anywhere(
    gap: Gap, tmp_path: Path, *, start: int = 1, stride: int = 1, fresh: bool = False
) -> int:
    """Kill an import before every `stride`-th change; return how many runs were killed."""
    arguments = ["kit", "import", str(gap.full if fresh else gap.second)]
    if fresh:
        arguments += ["--fingerprint", gap.outside.fingerprint, "--base-url", INSIDE_URL]
    whole = prepared(gap, tmp_path / "whole", fresh)
    whole.does(*arguments)
    for killed, number in enumerate(count(start, stride)):
        side = prepared(gap, tmp_path / str(number), fresh)
        ran = run_killed_at(number, ["-c", COMMAND, *arguments], under=side.folder, cwd=side.folder)
        assert ran.killed or ran.code == 0, ran.stderr
        check_whole(side.folder, [None if fresh else "1.1.0", "1.2.0"])
        again = ended(process(side.folder, *arguments))
        assert again.code == 0, f"killed at {number}: {again.err}"
        assert side.files() == whole.files()
        names = {name for name in side.everything() if not name.startswith(".manifestgen/.tmp-")}
        assert {name for name in names if ".tmp" not in name} == set(whole.everything())
        assert not list(side.site.rglob(".manifestgen-tmp"))
        shutil.rmtree(side.folder)
        if not ran.killed:
            return killed
    raise AssertionError


def prepared(gap: Gap, folder: Path, fresh: bool) -> Side:
    if fresh:
        folder.mkdir()
    else:
        shutil.copytree(gap.inside.folder, folder, symlinks=True)
    return Side(folder)


def test_a_full_disk_loses_nothing(gap: Gap, tmp_path: Path) -> None:
    class Full(MemoryStore):
        room = 3

        def add(self, name: str, source: Path | bytes) -> bool:
            self.room -= 1
            if self.room < 0:
                raise StoreError("no space left on device")
            return super().add(name, source)

    settings = gap.inside.settings
    store = Full()
    for name, data in gap.inside.files().items():
        store.create(name, data)
    before = contents(store)
    with pytest.raises(StoreError):
        take(gap.second, project_trust(settings), settings, store, tmp_path / "receipt")
    now = contents(store)
    assert {name: now[name] for name in before} == before
    assert all(name.startswith("blobs/") for name in now.keys() - before.keys())
    store.room = 100
    take(gap.second, project_trust(settings), settings, store, tmp_path / "receipt")
    gap.inside.imports(gap.second)
    assert contents(store) == gap.inside.files()


def test_two_imports_at_once(gap: Gap, tmp_path: Path) -> None:
    runs = [process(gap.inside.folder, "kit", "import", str(gap.second)) for _ in range(3)]
    for run in runs:
        said = ended(run)
        assert said.code == 0, said.err
    other = Side(tmp_path / "other")
    other.imports(gap.full, "--fingerprint", gap.outside.fingerprint, "--base-url", INSIDE_URL)
    blobs = {name for name in other.files() if name.startswith("blobs/")}
    found = gap.inside.files()
    assert {name: data for name, data in found.items() if name in other.files()} == other.files()
    assert blobs <= found.keys()


def test_two_different_kits_at_once_lead_to_the_newer(gap: Gap, tmp_path: Path) -> None:
    settings = gap.inside.settings
    trust = project_trust(settings)
    store = DirectoryStore(tmp_path / "site")
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(take, kit, trust, settings, store, tmp_path / kit.stem)
            for kit in (gap.first, gap.full)
        ]
    errors = [error for run in runs if (error := run.exception())]
    assert {getattr(error, "code", error) for error in errors} <= {"conflict", "older"}
    take(gap.full, trust, settings, store, tmp_path / "receipt")
    check_whole(tmp_path, ["1.2.0"])


def test_nothing_is_moved_into_place_before_the_last_byte_is_checked(
    gap: Gap, tmp_path: Path
) -> None:
    class Watching(MemoryStore):
        def add(self, name: str, source: Path | bytes) -> bool:
            raise AssertionError(name)

    settings = gap.inside.settings
    data = bytearray(gap.full.read_bytes())
    # A list of files is read earlier, with the documents, and has a sentence of its own.
    files = (
        Envelope.decode(path.read_bytes(), limit=2**20).signed.get("files")
        for path in (gap.outside.site / "releases").iterdir()
    )
    lists = {one["blob"] for one in files if isinstance(one, dict)}
    last = max(
        (
            blob_name(path.stem)
            for path in (gap.outside.site / "blobs").rglob("*.bin")
            if path.stem not in lists
        ),
        key=lambda name: data.rfind(name.encode()),
    )
    at = data.rfind(last.encode()) + 512
    data[at] ^= 1
    kit = tmp_path / "bad.kit"
    kit.write_bytes(data)
    with pytest.raises(Exception, match="other bytes than its name says"):
        take(kit, Trust(fingerprint=gap.outside.fingerprint), settings, Watching(), tmp_path / "r")
    assert not (tmp_path / "r").exists()
