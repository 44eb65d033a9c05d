"""A site in a folder: kills, races, full and read-only disks, and what administrators do to it."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from manifestgen.errors import ConflictError, StoreError, UsageError
from manifestgen.stores import DirectoryStore, MemoryStore, open_store
from manifestgen.stores.http import HttpStore
from tests.stores.kill_at import run_killed_at

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals, modes and limits of Unix")

MANIFEST = "production/manifest.json"
BLOB = "blobs/ab/abcd.bin"

# What a file system without hard links answers.
NO_LINKS = """
import errno, sys
def refuse(event, args):
    if event == "os.link":
        raise PermissionError(errno.EPERM, "Operation not permitted")
sys.addaudithook(refuse)
"""


def python(code: str, *args: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-B", "-W", "error", "-c", code, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def run(code: str, *args: object) -> str:
    out, errors = (process := python(code, *args)).communicate(timeout=60)
    assert process.returncode == 0, errors
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def leftovers(site: Path) -> list[str]:
    """Return what lies hidden in a site, but for the lock while it is free."""
    hidden = [path for path in site.rglob(".*") if path.name != ".manifestgen-lock"]
    return sorted(str(path.relative_to(site)) for path in hidden)


# Races

RACE = """
import sys
from manifestgen.errors import ConflictError
from manifestgen.stores import DirectoryStore

site, me = sys.argv[1:]
store, won = DirectoryStore(site), 0
print("ready", flush=True)
sys.stdin.readline()
for n in range(20):
    try:
        store.create(f"production/history/{n:06d}.json", me.encode())
        won += 1
    except ConflictError:
        pass
    store.add(f"blobs/{n:02d}/x.bin", b"the same for all")
done = 0
while done < 5:
    found = store.get("count.json")
    try:
        value = str(int(found.data) + 1 if found else 1).encode()
        store.replace("count.json", value, tag=found.tag if found else None)
        done += 1
    except ConflictError:
        pass
print(won)
"""


@pytest.mark.parametrize("prelude", ["", NO_LINKS], ids=["hard links", "no hard links"])
def test_of_eight_processes_one_wins_each_time(tmp_path: Path, prelude: str) -> None:
    site = tmp_path / "site"
    racers = [python(prelude + RACE, site, n) for n in range(8)]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n", racer.communicate()[1]
    results = [racer.communicate("go\n", timeout=60) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 8, results
    assert sum(int(out) for out, _ in results) == 20
    assert (site / "count.json").read_bytes() == b"40"
    assert len(list((site / "production/history").iterdir())) == 20
    assert leftovers(site) == []


# Kills

SITE = "import sys; site = sys.argv[1]"
PUBLISH = """
from manifestgen.stores import DirectoryStore

store = DirectoryStore(site)
with store.scratch() as folder:
    (folder / "payload").write_bytes(b"blob")
    store.add("blobs/ab/abcd.bin", folder / "payload")
store.add("blobs/cd/cdef.bin", b"patch")
if store.size("production/history/000002.json") is None:
    store.create("production/history/000002.json", b"new")
found = store.get("production/manifest.json")
if not found or found.data != b"new":
    store.replace("production/manifest.json", b"new", tag=found.tag if found else None)
"""
BEFORE = {"production/history/000001.json": b"old", MANIFEST: b"old"}
AFTER = BEFORE | {
    BLOB: b"blob",
    "blobs/cd/cdef.bin": b"patch",
    "production/history/000002.json": b"new",
    MANIFEST: b"new",
}
ORDER = [BLOB, "blobs/cd/cdef.bin", "production/history/000002.json"]


@pytest.mark.parametrize("prelude", ["", NO_LINKS], ids=["hard links", "no hard links"])
def test_killed_at_every_change_a_site_is_whole_and_the_next_publish_heals_it(
    tmp_path: Path, prelude: str
) -> None:
    kills = 0
    for n in count(1):
        site = tmp_path / f"site-{n}"
        store = DirectoryStore(site)
        store.create("production/history/000001.json", b"old")
        store.replace(MANIFEST, b"old", tag=None)
        if prelude:  # blobs need no links, and have had their turn
            store.add(BLOB, b"blob")
            store.add("blobs/cd/cdef.bin", b"patch")
        killed = run_killed_at(n, ["-c", prelude + SITE + PUBLISH, str(site)], under=site)
        seen = {entry.name: (site / entry.name).read_bytes() for entry in store.names()}
        assert all(AFTER[name] == data for name, data in seen.items() if name != MANIFEST)
        made = [name for name in ORDER if name in seen]
        assert made == ORDER[: len(made)]
        assert seen[MANIFEST] == b"old" or len(made) == len(ORDER)
        if not killed.killed:
            assert (killed.code, killed.stderr, seen) == (0, "", AFTER)
            break
        kills += 1
        exec(PUBLISH, {"site": site})
        assert leftovers(site) == []
        assert files(site) == AFTER | {".manifestgen-lock": b""}
    assert kills > 15


def test_a_killed_process_leaves_no_lock_and_its_scratch_is_swept(tmp_path: Path) -> None:
    site = tmp_path / "site"
    code = """
import sys
from manifestgen.stores import DirectoryStore
store = DirectoryStore(sys.argv[1])
with store.scratch() as folder, store._locked():
    (folder / "half").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""
    holder = python(code, site)
    assert holder.stdout
    folder = Path(holder.stdout.readline().strip())
    impatient = DirectoryStore(site, wait=0.05)
    impatient.create("production/history/000001.json", b"needs no lock")
    with pytest.raises(StoreError, match=rf"being written by process {holder.pid} on ") as caught:
        impatient.replace(MANIFEST, b"new", tag=None)
    assert caught.value.hint == "wait for it or end it, then run the same command again"
    assert folder.exists(), "a scratch folder in use was swept"

    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert folder.exists()
    DirectoryStore(site, wait=0.05).replace(MANIFEST, b"new", tag=None)
    assert leftovers(site) == []
    assert files(site)[".manifestgen-lock"] == b""


# Disks and limits

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    folders = []

    def mount(options: str) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a small disk needs root")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)


WRITES: dict[str, Callable[[DirectoryStore, bytes], object]] = {
    "create": lambda store, data: store.create("production/history/000002.json", data),
    "replace": lambda store, data: store.replace("index.html", data, tag=None),
    "add": lambda store, data: store.add(BLOB, data),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_full_disk_is_said_and_leaves_nothing(mount: Mount, write: str) -> None:
    site = mount("size=128k") / "site"
    store = DirectoryStore(site)
    store.replace(MANIFEST, b"old", tag=None)
    before = files(site)
    with pytest.raises(StoreError, match=r"cannot write .*: no space left on device") as caught:
        WRITES[write](store, b"x" * 1_000_000)
    assert caught.value.hint == "free some space and run the same command again"
    assert (files(site), leftovers(site)) == (before, [])
    WRITES[write](store, b"x" * 1000)


@pytest.mark.parametrize("write", WRITES)
def test_a_read_only_disk_is_said_and_can_be_read(mount: Mount, write: str) -> None:
    disk = mount("size=128k")
    store = DirectoryStore(disk / "site")
    store.replace(MANIFEST, b"old", tag=None)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StoreError, match="read-only file system") as caught:
        WRITES[write](store, b"x")
    assert "mounted read-only" in (caught.value.hint or "")
    found = store.get(MANIFEST)
    assert found
    assert found.data == b"old"


def test_a_folder_of_somebody_else_is_said() -> None:
    code = """
import os, sys, tempfile
from pathlib import Path
from manifestgen.errors import StoreError
from manifestgen.stores import DirectoryStore
with tempfile.TemporaryDirectory() as folder:
    Path(folder).chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write everywhere
    for site in (folder, folder + "/site"):
        try:
            DirectoryStore(site).create("a.json", b"x")
        except StoreError as error:
            print(str(error).rpartition(": ")[2], "/", error.hint)
    if os.getuid() == 0:
        os.seteuid(0)
    print(os.listdir(folder))
"""
    told = "check with `ls -ld` who may use the folder, and with `id` who you are"
    assert run(code) == f"permission denied / {told}\n" * 2 + "[]\n"


def test_a_limit_on_file_size_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
import resource, sys
from manifestgen.errors import StoreError
from manifestgen.stores import DirectoryStore
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
store = DirectoryStore(sys.argv[1])
for write in (
    lambda: store.create("a.json", b"x" * 5000),
    lambda: store.replace("b.json", b"x" * 5000, tag=None),
    lambda: store.add("c.bin", b"x" * 5000),
):
    try:
        write()
    except StoreError as error:
        print(error, "/", error.hint)
store.create("small.json", b"x")
"""
    out = run(code, tmp_path / "site").splitlines()
    assert len(out) == 3
    assert all("file too large / " in line and "ulimit -f" in line for line in out)
    assert files(tmp_path / "site") == {"small.json": b"x"}


def test_out_of_file_handles_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
import resource, sys
from manifestgen.errors import StoreError
from manifestgen.stores import DirectoryStore
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
store = DirectoryStore(sys.argv[1])
store.replace("m.json", b"old", tag=None)
tag = store.get("m.json").tag
for free in range(6):
    held = []
    try:
        while True:
            held.append(open("/dev/null"))
    except OSError:
        pass
    for _ in range(free):
        held.pop().close()
    for call in (
        lambda: store.create(f"a{free}.json", b"a"),
        lambda: store.add(f"b{free}.bin", b"b"),
        lambda: store.replace("m.json", b"old", tag=tag),
        lambda: store.get("m.json"),
        lambda: list(store.names()),
    ):
        try:
            call()
            print("ok", free)
        except StoreError as error:
            print(str(error).rpartition(": ")[2], "/", error.hint)
    for file in held:
        file.close()
DirectoryStore(sys.argv[1]).create("at-last.json", b"fine")
"""
    site = tmp_path / "site"
    out = run(code, site).splitlines()
    told = "too many open files / raise the number of open files with `ulimit -n 4096`"
    assert set(out[:5]) == {told}
    assert out[-5:] == ["ok 5"] * 5
    assert {line for line in out if not line.startswith("ok")} == {told}
    assert leftovers(site) == []
    whole = {b"a", b"b", b"old", b"fine", b""}
    assert all(data in whole for data in files(site).values())


def test_a_file_system_without_locks_is_said(tmp_path: Path) -> None:
    code = """
import errno, sys
def refuse(event, args):
    if event == "fcntl.flock":
        raise OSError(errno.ENOLCK, "No locks available")
sys.addaudithook(refuse)
from manifestgen.errors import StoreError
from manifestgen.stores import DirectoryStore
try:
    DirectoryStore(sys.argv[1]).create("a.json", b"x")
except StoreError as error:
    print(error)
"""
    assert "this file system has no locks" in run(code, tmp_path / "site")


# What administrators do

LINKS = ["production", "production/history", MANIFEST, ".manifestgen-tmp", ".manifestgen-lock"]


@pytest.mark.parametrize("link", LINKS)
def test_nothing_is_written_through_a_link_in_the_site(tmp_path: Path, link: str) -> None:
    site, outside = tmp_path / "site", tmp_path / "outside"
    outside.mkdir()
    (site / link).parent.mkdir(parents=True)
    if link.endswith(("json", "lock")):
        (outside / "file").write_bytes(b"theirs")
        (site / link).symlink_to(outside / "file")
    else:
        (site / link).symlink_to(outside)
    before = files(outside)
    store = DirectoryStore(site)
    writes: list[Callable[[], object]] = [
        lambda: store.create("production/history/000001.json", b"1"),
        lambda: store.replace(MANIFEST, b"new", tag=None),
        lambda: store.delete("production/history/000001.json"),
    ]
    refused = 0
    for write in writes:
        try:
            write()
        except StoreError:
            refused += 1
    assert refused > 0
    assert files(outside) == before


def test_the_site_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "site").symlink_to(tmp_path / "real")
    DirectoryStore(tmp_path / "site").create(MANIFEST, b"new")
    assert (tmp_path / "real" / MANIFEST).read_bytes() == b"new"


def test_files_of_others_are_neither_listed_nor_in_the_way(tmp_path: Path) -> None:
    for name in (".htaccess", ".git/config", "my notes.txt", "blobs/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    store = DirectoryStore(tmp_path)
    assert list(store.names()) == []
    assert (store.get("pipe"), store.open("pipe"), store.size("pipe")) == (None, None, None)
    store.add(BLOB, b"x")
    assert [entry.name for entry in store.names()] == [BLOB]


def test_a_web_server_can_read_everything_but_scratch(tmp_path: Path) -> None:
    site = tmp_path / "site"
    code = """
import os, sys, tempfile
from pathlib import Path
os.umask(0o022)
from manifestgen.stores import DirectoryStore
store = DirectoryStore(sys.argv[1])
with store.scratch() as folder:
    print(oct(folder.stat().st_mode & 0o777))
    handle, private = tempfile.mkstemp(dir=folder)
    os.close(handle)
    store.add("blobs/ab/abcd.bin", Path(private))
store.create("production/history/000001.json", b"1")
store.replace("production/manifest.json", b"1", tag=None)
"""
    assert run(code, site) == "0o700\n"
    for path in site.rglob("*"):
        expected = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_payloads_in_scratch_are_moved_not_copied(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "site")
    with store.scratch() as folder:
        made = folder / "payload"
        made.write_bytes(b"x" * 100_000)
        inode = made.stat().st_ino
        store.add(BLOB, made)
    assert (tmp_path / "site" / BLOB).stat().st_ino == inode


def test_a_missing_source_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read .*gone\.zip: no such file"):
        DirectoryStore(tmp_path / "site").add(BLOB, tmp_path / "gone.zip")


def test_a_folder_in_the_place_of_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).mkdir(parents=True)
    store = DirectoryStore(tmp_path)
    assert store.get(MANIFEST) is None
    with pytest.raises(StoreError, match="cannot write"):
        store.replace(MANIFEST, b"new", tag=None)
    with pytest.raises(ConflictError):
        store.create(MANIFEST, b"new")
    assert leftovers(tmp_path) == []


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "production").write_bytes(b"x")
    with pytest.raises(StoreError, match="cannot write"):
        DirectoryStore(tmp_path).create(MANIFEST, b"new")
    with pytest.raises(StoreError, match="cannot write"):
        DirectoryStore(tmp_path / "production").create(MANIFEST, b"new")


def test_two_sites_written_alike_are_alike(tmp_path: Path) -> None:
    for name in ("one", "two"):
        exec(PUBLISH, {"site": tmp_path / name})
    assert files(tmp_path / "one") == files(tmp_path / "two")


# open_store


def test_open_store_knows_its_places(tmp_path: Path) -> None:
    assert isinstance(open_store(tmp_path / "site"), DirectoryStore)
    assert isinstance(open_store("https://cdn.example.com/app"), HttpStore)
    assert not (tmp_path / "site").exists()
    (tmp_path / "file").write_bytes(b"x")
    wrong: dict[str | Path, str] = {
        tmp_path / "file": "is a file, not a site",
        "s3://": "no address of a bucket",
        "ftp://host/x": "no store of this kind",
        "https://": "no web address",
    }
    for location, said in wrong.items():
        with pytest.raises(UsageError, match=said):
            open_store(location)


def test_every_store_says_where_it_is(tmp_path: Path) -> None:
    assert DirectoryStore(tmp_path).location == str(tmp_path)
    assert MemoryStore().location == "memory"
    assert HttpStore("http://host/app/").location == "http://host/app"
