"""Blobs that wait: read like the rest, written when told to, and else gone without a trace."""

from pathlib import Path

import pytest

from manifestgen.stores import DirectoryStore
from manifestgen.stores.waiting import waiting
from tests.publish.project import snapshot

OLD, NEW, FILE = "blobs/aa/old.bin", "blobs/bb/new.bin", "blobs/cc/file.bin"


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path / "site")
    made.add(OLD, b"old")
    return made


def test_what_waits_is_read_like_the_rest(store: DirectoryStore) -> None:
    with waiting(store) as unsure, unsure.scratch() as scratch:
        (scratch / "file").write_bytes(b"a file")  # by a link, so that nothing is copied
        assert unsure.add(NEW, b"new")
        assert unsure.add(FILE, scratch / "file")
        assert not unsure.add(OLD, b"old")
        assert not unsure.add(NEW, b"new")
        assert [unsure.size(name) for name in (OLD, NEW, FILE)] == [3, 3, 6]
        for name, data in ((OLD, b"old"), (NEW, b"new"), (FILE, b"a file")):
            got, opened = unsure.get(name), unsure.open(name)
            assert got
            assert got.data == data
            assert opened
            with opened:
                assert opened.read() == data
        assert store.size(NEW) is store.size(FILE) is None


def test_what_nobody_wrote_is_gone(store: DirectoryStore, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    with waiting(store) as unsure:
        unsure.add(NEW, b"new")
    assert snapshot(tmp_path) == before


def test_what_is_written_is_all_there(store: DirectoryStore, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"a file")
    with waiting(store) as unsure:
        unsure.add(NEW, b"new")
        unsure.add(FILE, tmp_path / "kept")
        unsure.create("root/1.json", b"root")
        assert store.size("root/1.json") == 4  # documents do not wait
        unsure.write()
    found = {entry.name: entry.size for entry in store.names()}
    assert found == {OLD: 3, NEW: 3, FILE: 6, "root/1.json": 4}
    assert (tmp_path / "kept").read_bytes() == b"a file"
    (tmp_path / "kept").write_bytes(b"another file")
    got = store.get(FILE)
    assert got
    assert got.data == b"a file"
