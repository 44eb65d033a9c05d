"""The files of a bundle; the digest names the content."""

import hashlib

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.tree import File, Tree, sha256
from manifestgen.errors import FormatError
from tests.conformance.in_process import Vector, check, vectors

PAGE = File("index.html", sha256(b"x"), 1)
PATHS = st.lists(
    st.text("ab\uff21\U00010000é.", min_size=1, max_size=4).filter(lambda path: path[-1] != "."),
    unique_by=lambda path: path.lower(),
    max_size=6,
)


@vectors("trees")
def test_vectors(vector: Vector) -> None:
    check(vector)


@given(PATHS, st.randoms())
def test_the_digest_does_not_depend_on_the_order(paths: list[str], random: object) -> None:
    files = [File(path, sha256(path.encode()), len(path)) for path in paths]
    tree = Tree.of(files)
    random.shuffle(files)  # type: ignore[attr-defined]
    assert Tree.of(files) == tree
    assert [file.path.encode() for file in tree.files] == sorted(path.encode() for path in paths)


@given(PATHS)
def test_the_digest_is_of_the_list_as_rfc_8785_writes_it(paths: list[str]) -> None:
    tree = Tree.of(File(path, sha256(b""), 0) for path in paths)
    listed = [{"path": file.path, "sha256": file.sha256, "size": 0} for file in tree.files]
    data = rfc8785.dumps({"files": listed, "type": "tree.v1"})  # type: ignore[dict-item]
    assert tree.digest() == hashlib.sha256(data).hexdigest()


def test_the_size_is_of_all_files_together() -> None:
    assert Tree.of([PAGE, File("b", sha256(b"yy"), 2)]).size == 3


def test_a_file_is_read_back() -> None:
    assert File.from_json(PAGE.to_json(), "$") == PAGE


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "A"], ["../a"], ["a\ud800"], [""]])
def test_a_tree_no_device_can_hold_is_refused(paths: list[str]) -> None:
    with pytest.raises(FormatError) as caught:
        Tree.of(File(path, sha256(b""), 0) for path in paths)
    assert caught.value.code == "path"
