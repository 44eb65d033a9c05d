"""What `--dry-run` relies on: it looks like the real store, and leaves that one alone."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from manifestgen.errors import ConflictError
from manifestgen.stores import DirectoryStore, MemoryStore, Overlay


def base() -> MemoryStore:
    store = MemoryStore(now=lambda: datetime(2030, 1, 1, tzinfo=UTC))
    store.replace("production/manifest.json", b"old", tag=None)
    store.create("production/history/000001.json", b"1")
    store.add("blobs/ab/x.bin", b"blob")
    return store


def contents(store: MemoryStore | Overlay) -> dict[str, bytes]:
    return {entry.name: store.get(entry.name).data for entry in store.names()}  # type: ignore[union-attr]


def test_reads_fall_through() -> None:
    assert contents(Overlay(base())) == contents(base())


def test_writes_stay_above_and_are_listed_in_order() -> None:
    below = base()
    store = Overlay(below)
    old = store.get("production/manifest.json")
    assert old
    assert store.add("blobs/ab/x.bin", b"blob") is False
    assert store.add("blobs/cd/y.bin", b"new") is True
    store.create("production/history/000002.json", b"2")
    store.replace("production/manifest.json", b"new", tag=old.tag)
    new = store.get("production/manifest.json")
    assert new
    store.replace("production/manifest.json", b"newer", tag=new.tag)
    store.delete("production/history/000001.json")
    assert store.written == [
        "blobs/cd/y.bin",
        "production/history/000002.json",
        "production/manifest.json",
    ]
    assert store.deleted == ["production/history/000001.json"]
    assert contents(store) == {
        "blobs/ab/x.bin": b"blob",
        "blobs/cd/y.bin": b"new",
        "production/history/000002.json": b"2",
        "production/manifest.json": b"newer",
    }
    assert contents(below) == contents(base())


def test_folders_of_both_are_listed() -> None:
    store = Overlay(base())
    store.create("beta/history/000001.json", b"1")
    assert store.folders() == ["beta", "blobs", "production"]


def test_conflicts_are_those_of_the_real_store() -> None:
    store = Overlay(base())
    with pytest.raises(ConflictError):
        store.create("production/history/000001.json", b"mine")
    with pytest.raises(ConflictError):
        store.replace("production/manifest.json", b"mine", tag=None)
    assert store.written == []


def test_what_was_written_and_deleted_again_is_not_listed() -> None:
    store = Overlay(base())
    store.add("blobs/cd/y.bin", b"new")
    store.delete("blobs/cd/y.bin")
    assert (store.written, store.deleted) == ([], [])
    store.delete("blobs/ab/x.bin")
    store.add("blobs/ab/x.bin", b"blob")
    assert (store.written, store.deleted) == (["blobs/ab/x.bin"], [])


def test_not_even_a_folder_is_made(tmp_path: Path) -> None:
    store = Overlay(DirectoryStore(tmp_path / "site"))
    with store.scratch() as folder:
        (folder / "x").write_bytes(b"x")
        store.add("blobs/ab/x.bin", folder / "x")
    store.create("production/history/000001.json", b"1")
    assert list(tmp_path.iterdir()) == []
