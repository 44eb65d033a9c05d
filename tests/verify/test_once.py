"""Each blob is asked for once, whatever it is read for, and none is held in memory."""

import io
import tracemalloc
from collections import Counter
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, BinaryIO

import pytest

from manifestgen.errors import FormatError
from manifestgen.stores import MemoryStore
from manifestgen.stores.http import HttpStore
from manifestgen.verify import Expected
from manifestgen.verify.once import Once
from tests.stores.web import Web, serving
from tests.verify.project import SAMPLE, Project, manifest_of, new_project, third_build

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def asked(web: Web) -> Counter[str]:
    """Count what was asked for, blobs alone."""
    paths = (path.removeprefix("/app/") for _, path, _ in web.seen)
    return Counter(path for path in paths if path.startswith("blobs/"))


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three releases with patches, in the clear, so that each base has two."""
    folder = tmp_path_factory.mktemp("clear")
    project = new_project(folder / "project", "--scheme", "none")
    project.publish(SAMPLE / "v2", "--scheme", "none", day=1)
    third = third_build(folder / "v3")
    project.publish(third, "--version", "1.2.0", "--scheme", "none", "--rollout", "10%", day=2)
    return project


@pytest.mark.parametrize("scheme", ["capgo", "none"])
def test_every_blob_is_asked_for_once(project: Project, clear: Project, scheme: str) -> None:
    site = project if scheme == "capgo" else clear
    files = site.files()
    bases = Counter(one.base for offer in manifest_of(files).offers for one in offer.patches)
    assert max(bases.values()) > 1
    keyless = Expected(possible=("production",), base_url=site.settings.base_url)
    with serving() as web:
        web.files = files
        expected = keyless if scheme == "none" else site.expected
        report = site.verify(HttpStore(web.url), expected=expected)
    assert report.ok
    assert asked(web) == {name: 1 for name in files if name.startswith("blobs/")}


def test_what_is_missing_is_asked_for_once(project: Project) -> None:
    files = project.files()
    [blob, *_] = [one.payload.blob for one in manifest_of(files).offers[0].patches]
    name = f"blobs/{blob[:2]}/{blob}.bin"
    with serving() as web:
        web.files = {one: data for one, data in files.items() if one != name}
        report = project.verify(HttpStore(web.url))
    assert [(one.where, one.code) for one in report.problems] == [(name, "missing")]
    assert asked(web)[name] == 1


class _Slow(MemoryStore):
    """A store that counts, and of whose objects most is never in memory."""

    def __init__(self, size: int = 0) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.size_of_all = size

    def open(self, name: str) -> BinaryIO | None:
        self.opened.append(name)
        return io.BufferedReader(_Zeros(self.size_of_all))


class _Zeros(io.RawIOBase):
    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        target = memoryview(buffer).cast("B")
        size = min(len(target), self.left)
        target[:size] = bytes(size)
        self.left -= size
        return size


def _length(file: BinaryIO | None) -> int:
    assert file is not None
    with file:
        size = 0
        while chunk := file.read(64 * 1024):
            size += len(chunk)
    return size


def test_memory_stays_flat(tmp_path: Path) -> None:
    store = _Slow(32 * 2**20)
    once = Once(store, tmp_path)
    once.keep(["a"])
    tracemalloc.start()
    try:
        assert [_length(once.open("a")) for _ in range(3)] == [32 * 2**20] * 3
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert store.opened == ["a"]


def test_others_wait_for_the_first_reader(tmp_path: Path) -> None:
    store = _Slow(100)
    once = Once(store, tmp_path)
    once.keep(["a"])
    first = once.open("a")
    found: list[int] = []
    others = [Thread(target=lambda: found.append(_length(once.open("a")))) for _ in range(4)]
    for other in others:
        other.start()
    assert _length(first) == 100
    for other in others:
        other.join()
    assert found == [100] * 4
    assert store.opened == ["a"]


def test_what_was_not_read_to_its_end_is_not_kept(tmp_path: Path) -> None:
    store = _Slow(100_000)
    once = Once(store, tmp_path)
    once.keep(["a"])
    file = once.open("a")
    assert file is not None
    with file:
        file.read(10)
    assert _length(once.open("a")) == 100_000
    assert _length(once.open("a")) == 100_000
    assert store.opened == ["a", "a"]


def test_a_limit_holds_for_what_is_kept(tmp_path: Path) -> None:
    store = _Slow(100)
    once = Once(store, tmp_path)
    once.keep(["a"])
    for _ in range(2):
        with pytest.raises(FormatError, match="more than 99 bytes"):
            once.get("a", limit=99)
        stored = once.get("a", limit=100)
        assert stored is not None
        assert stored.data == bytes(100)


def test_the_rest_is_passed_on(tmp_path: Path) -> None:
    store = _Slow(5)
    once = Once(store, tmp_path)
    assert [_length(once.open("b")) for _ in range(2)] == [5, 5]
    assert store.opened == ["b", "b"]
    assert list(tmp_path.iterdir()) == []
