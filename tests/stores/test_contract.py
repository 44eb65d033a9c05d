"""What every writable store promises; the stores of tests included, or they would prove nothing."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from manifestgen.errors import ConflictError, FormatError, UsageError
from manifestgen.stores import DirectoryStore, MemoryStore, Overlay, Store
from tests.stores.faulty import FaultyStore

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "directory": lambda folder: DirectoryStore(folder / "site"),
    "overlay on memory": lambda _: Overlay(MemoryStore()),
    "overlay on a directory": lambda folder: Overlay(DirectoryStore(folder / "site")),
    "a directory over memory": lambda folder: Overlay(
        MemoryStore(), DirectoryStore(folder / "site")
    ),
    "faulty": lambda _: FaultyStore(MemoryStore()),
}

MANIFEST = "production/manifest.json"
HISTORY = "production/history/000001.json"
BLOB = "blobs/ab/abcd.bin"


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


def read(store: Store, name: str) -> bytes | None:
    found = store.get(name)
    return found.data if found else None


def tag(store: Store, name: str) -> str | None:
    found = store.get(name)
    return found.tag if found else None


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert store.get(MANIFEST) is None
    assert store.open(MANIFEST) is None
    assert store.size(MANIFEST) is None
    assert list(store.names()) == []
    assert store.folders() == []
    store.delete(MANIFEST)


@pytest.mark.parametrize("data", [b"", b"{}", b"\x00" * 300_000], ids=["empty", "small", "large"])
def test_what_is_written_comes_back(store: Store, data: bytes) -> None:
    store.create(HISTORY, data)
    store.replace(MANIFEST, data, tag=None)
    store.add(BLOB, data)
    for name in (HISTORY, MANIFEST, BLOB):
        assert read(store, name) == data
        assert store.size(name) == len(data)
        with store.open(name) or pytest.fail(f"{name} is gone") as file:
            assert file.read() == data


def test_a_part_of_a_name_is_no_object(store: Store) -> None:
    store.create(HISTORY, b"{}")
    for name in ("production", "production/history", f"{HISTORY}/x"):
        assert store.get(name) is None
        assert store.open(name) is None
        assert store.size(name) is None


def test_create_refuses_what_is_there(store: Store) -> None:
    store.create(HISTORY, b"first")
    with pytest.raises(ConflictError, match=r"000001\.json exists already"):
        store.create(HISTORY, b"second")
    assert read(store, HISTORY) == b"first"


@pytest.mark.parametrize(
    ("there", "expected", "succeeds"),
    [
        pytest.param(None, None, True, id="absent as expected"),
        pytest.param(b"old", None, False, id="there against expectation"),
        pytest.param(b"old", b"old", True, id="still what was read"),
        pytest.param(b"new", b"old", False, id="changed since"),
        pytest.param(None, b"old", False, id="deleted since"),
    ],
)
def test_replace_compares(
    store: Store, there: bytes | None, expected: bytes | None, succeeds: bool
) -> None:
    known = None
    if expected is not None:
        store.replace(MANIFEST, expected, tag=None)
        known = tag(store, MANIFEST)
        store.delete(MANIFEST)
    if there is not None:
        store.replace(MANIFEST, there, tag=None)
    if succeeds:
        store.replace(MANIFEST, b"mine", tag=known)
        assert read(store, MANIFEST) == b"mine"
    else:
        with pytest.raises(ConflictError, match="changed in the meantime"):
            store.replace(MANIFEST, b"mine", tag=known)
        assert read(store, MANIFEST) == there


def test_a_tag_changes_with_the_bytes(store: Store) -> None:
    store.replace(MANIFEST, b"one", tag=None)
    first = tag(store, MANIFEST)
    assert tag(store, MANIFEST) == first
    store.replace(MANIFEST, b"two", tag=first)
    assert tag(store, MANIFEST) != first


def test_add_writes_once(store: Store) -> None:
    assert store.add(BLOB, b"bytes") is True
    assert store.add(BLOB, b"bytes") is False
    assert read(store, BLOB) == b"bytes"


def test_add_heals_a_blob_of_another_size(store: Store) -> None:
    store.add(BLOB, b"cut sho")
    assert store.add(BLOB, b"cut short no more") is True
    assert read(store, BLOB) == b"cut short no more"


def test_add_consumes_files_in_scratch(store: Store) -> None:
    with store.scratch() as folder:
        made = folder / "payload"
        made.write_bytes(b"bytes")
        assert store.add(BLOB, made) is True
    assert read(store, BLOB) == b"bytes"


def test_add_leaves_files_elsewhere_alone(store: Store, tmp_path: Path) -> None:
    given = tmp_path / "mine.zip"
    given.write_bytes(b"bytes")
    assert store.add(BLOB, given) is True
    given.write_bytes(b"edited afterwards")
    assert read(store, BLOB) == b"bytes"


def test_scratch_folders_are_apart_and_go_away(store: Store) -> None:
    with store.scratch() as one, store.scratch() as two:
        assert one != two
        (one / "folder").mkdir()
        (one / "folder/file").write_bytes(b"x")
        assert list(two.iterdir()) == []
        assert list(store.names()) == []
    assert not one.exists()
    with pytest.raises(KeyboardInterrupt), store.scratch() as three:
        raise KeyboardInterrupt
    assert not three.exists()


def test_get_stops_at_its_limit(store: Store) -> None:
    store.create(HISTORY, b"12345")
    assert store.get(HISTORY, limit=5) is not None
    with pytest.raises(FormatError, match=r"000001\.json: more than 4 bytes"):
        store.get(HISTORY, limit=4)


def test_names_are_listed_by_prefix_and_sorted(store: Store) -> None:
    names = ["a-b/x.json", "a/x.json", "a/y/z.json", "index.html", "a/x-1.json"]
    for name in names:
        store.add(name, name.encode())
    assert [entry.name for entry in store.names()] == sorted(names)
    assert [entry.name for entry in store.names("a/")] == ["a/x-1.json", "a/x.json", "a/y/z.json"]
    assert [entry.name for entry in store.names("a/x")] == ["a/x-1.json", "a/x.json"]
    assert list(store.names("b/")) == []
    assert [entry.size for entry in store.names("index")] == [10]
    assert all(entry.modified.utcoffset() == timedelta(0) for entry in store.names())


def test_the_folders_at_the_top_are_listed(store: Store) -> None:
    for name in ("production/manifest.json", "beta/history/000001.json", "index.html", BLOB):
        store.add(name, b"x")
    assert store.folders() == ["beta", "blobs", "production"]


def test_objects_can_be_deleted_while_they_are_listed(store: Store) -> None:
    for n in range(5):
        store.add(f"blobs/0{n}/x.bin", b"x")
    for entry in store.names("blobs/"):
        store.delete(entry.name)
    assert list(store.names()) == []


def test_what_was_deleted_can_be_made_again(store: Store) -> None:
    store.create(HISTORY, b"one")
    store.delete(HISTORY)
    assert store.get(HISTORY) is None
    store.create(HISTORY, b"two")
    assert read(store, HISTORY) == b"two"


def test_a_reader_keeps_the_version_it_opened(store: Store) -> None:
    store.replace(MANIFEST, b"old", tag=None)
    with store.open(MANIFEST) or pytest.fail("gone") as file:
        store.replace(MANIFEST, b"new", tag=tag(store, MANIFEST))
        assert file.read() == b"old"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../outside",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        ".hidden",
        "a/.manifestgen-lock",
        "a\\b",
        "C:/x",
        "a\x00b",
        "a\n",
        "a b",
        "é",
        "dot.",
        "dot./x",
        "-flag",
        "x" * 201,
        "/".join(["long"] * 120),
    ],
)
def test_other_names_are_refused_everywhere(store: Store, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.get(name),
        lambda: store.open(name),
        lambda: store.size(name),
        lambda: store.add(name, b""),
        lambda: store.create(name, b""),
        lambda: store.replace(name, b"", tag=None),
        lambda: store.delete(name),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="is no name of a file in a site"):
            call()


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_threads_have_one_winner(kind: str, tmp_path: Path) -> None:
    one_thread_wins(STORES[kind](tmp_path), 4)


def one_thread_wins(store: Store, count: int) -> None:
    """Let threads create, then replace at once: what is there is what the one winner wrote."""
    store.replace(MANIFEST, b"start", tag=None)
    read_tag = tag(store, MANIFEST)
    ready, won = threading.Barrier(count), []

    def run(me: bytes) -> None:
        ready.wait()
        calls: dict[str, Callable[[], None]] = {
            "create": lambda: store.create(HISTORY, me),
            "replace": lambda: store.replace(MANIFEST, me, tag=read_tag),
        }
        for what, call in calls.items():
            try:
                call()
            except ConflictError:
                continue
            won.append((what, me))

    threads = [threading.Thread(target=run, args=(str(n).encode(),)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [("create", read(store, HISTORY)), ("replace", read(store, MANIFEST))]
