"""Patches: what is made can be applied, what is refused is refused before it costs anything."""

import io
import random
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestgen.core import diff
from manifestgen.core.diff import make
from manifestgen.core.patch import HEADER, Patch, Read, read_header
from manifestgen.core.tree import Digest, File, Tree, sha256
from manifestgen.errors import FormatError, VerificationError
from tests.conformance.in_process import Vector, check, vectors
from tests.tools import builds
from tests.vectors.patches import BASE, EXAMPLE, TARGET, Files, Plan, old_side, tree_of

PAIRS = [
    (name, source.versions[at], source.versions[at + 1])
    for name, source in builds.SOURCES.items()
    for at in range(2)
]


@vectors("patches")
def test_vectors(vector: Vector) -> None:
    check(vector)


def made(base: Files, target: Files) -> bytes:
    return make(
        tree_of(base),
        lambda file: base[file.path],
        tree_of(target),
        lambda file: target[file.path],
    )


def applied(patch: bytes, base: Files, target: Tree) -> Files:
    opened = Patch(
        io.BytesIO(patch),
        tree_of(base),
        lambda file, at, size: base[file.path][at : at + size],
        target=target.digest(),
        limit=target.size,
    )
    found = {file.path: base[file.path] for file in opened.kept}
    for content, chunks in opened.contents():
        data = b"".join(chunks)
        found |= dict.fromkeys(content.paths, data)
    return found


def round_trip(base: Files, target: Files) -> bytes:
    patch = made(base, target)
    assert applied(patch, base, tree_of(target)) == target
    return patch


TEXT = b"".join(b"function f%d(a){return a+%d}\n" % (n, n * n) for n in range(2000))


@pytest.mark.parametrize(
    ("base", "target", "most"),
    [
        pytest.param(BASE, BASE, 160, id="nothing changes"),
        pytest.param(BASE, TARGET, 200, id="one file changes"),
        pytest.param(BASE, {}, 160, id="everything goes"),
        pytest.param({}, BASE, 200, id="everything comes"),
        pytest.param({"a-1.js": TEXT}, {"a-2.js": TEXT}, 200, id="a file is renamed"),
        pytest.param({"a": TEXT}, {"a": TEXT, "b": TEXT}, 200, id="a file is copied"),
        pytest.param({"a": TEXT, "b": TEXT}, {"b": TEXT}, 160, id="one of two alike goes"),
        pytest.param({"a": TEXT, "b": b"x"}, {"a": b"x", "b": TEXT}, 200, id="two change places"),
        pytest.param({"a": b""}, {"b": b""}, 200, id="an empty file is renamed"),
        pytest.param({"a": b""}, {"a": b"", "b": b""}, 200, id="an empty file is copied"),
        pytest.param({"a": TEXT}, {"a": b""}, 200, id="a file becomes empty"),
        pytest.param(
            {"a": TEXT[:30_000], "b": TEXT[30_000:]}, {"c": TEXT}, 200, id="two become one"
        ),
        pytest.param(
            {"c": TEXT}, {"a": TEXT[:30_000], "b": TEXT[30_000:]}, 200, id="one becomes two"
        ),
        pytest.param({}, {"a": TEXT, "b": TEXT, "c": TEXT}, 20_000, id="a content comes thrice"),
        pytest.param({"a.js": TEXT}, {"a.js": TEXT.replace(b"f7", b"g7")}, 1000, id="many names"),
        pytest.param({"ä/ö.js": TEXT}, {"ä/ü.js": TEXT + b"!"}, 250, id="names beyond ASCII"),
    ],
)
def test_a_patch_leads_to_the_target_and_is_small(base: Files, target: Files, most: int) -> None:
    assert len(round_trip(base, target)) <= most


def test_the_example_of_the_page_is_what_it_says() -> None:
    assert old_side(BASE, EXAMPLE.kept) == b"index.html\t4\nold\n"
    assert EXAMPLE.streams()[0] == b"\0\1\1"
    assert applied(EXAMPLE.encode(), BASE, tree_of(TARGET)) == TARGET


@pytest.mark.parametrize("seed", range(3))
def test_the_same_trees_give_the_same_bytes(seed: int) -> None:
    chance = random.Random(seed)
    base, target = _shuffled(chance, 40), _shuffled(chance, 40)
    with ThreadPoolExecutor(2) as pool:
        threaded = make(
            tree_of(base),
            lambda file: base[file.path],
            tree_of(target),
            lambda file: target[file.path],
            each=pool.map,
        )
    assert threaded == made(base, target) == round_trip(base, target)


def _shuffled(chance: random.Random, count: int) -> Files:
    """Make files of pieces of one text, so that trees have much in common."""
    files = {}
    for number in range(count):
        starts = [chance.randrange(len(TEXT)) for _ in range(chance.randrange(4))]
        pieces = [TEXT[at : at + chance.randrange(5000)] for at in starts]
        files[f"f{number % 7}/{chance.randrange(10**6)}.js"] = b"".join(pieces)
    return files


@pytest.mark.parametrize(("group", "added"), [("_GROUP_NAMED", ""), ("_GROUP", "new")])
def test_what_is_larger_than_a_group_is_compared_in_groups(
    monkeypatch: pytest.MonkeyPatch, group: str, added: str
) -> None:
    compared: list[int] = []
    compare = diff._compare

    def counted(group: diff._Group, *rest: Any) -> list[diff._Made]:
        compared.append(len(group.old))
        return compare(group, *rest)

    monkeypatch.setattr(diff, "_compare", counted)
    monkeypatch.setattr(diff, group, 20_000)
    chance = random.Random(5)
    base = _shuffled(chance, 60)
    target = {path + added: data[::-1][:100][::-1] + data for path, data in base.items()}
    assert len(round_trip(base, target)) < sum(map(len, target.values())) / 3
    assert len(compared) > 5


def _valid(files: Files) -> bool:
    try:
        tree_of(files)
    except FormatError:
        return False
    return True


SMALL = st.dictionaries(
    st.text("abcäß-.", min_size=1, max_size=4).filter(
        lambda name: name.strip(".") == name and not name.endswith(" ")
    ),
    st.binary(max_size=20) | st.sampled_from([TEXT[:500], TEXT[100:700], b"same", b""]),
    max_size=6,
).filter(_valid)


@given(SMALL, SMALL)
def test_any_two_trees(base: Files, target: Files) -> None:
    round_trip(base, target)


@pytest.mark.full
@settings(max_examples=2000)
@given(SMALL, SMALL)
def test_any_two_trees_often(base: Files, target: Files) -> None:
    round_trip(base, target)


REAL = {"a.js": TEXT, "b.css": b"body{}", "keep": b"k"}
NEXT = {"a2.js": TEXT.replace(b"f1", b"g1"), "b.css": b"body{margin:0}", "keep": b"k"}


@given(st.data())
def test_a_patch_with_damaged_bytes_is_refused_and_nothing_else_happens(
    data: st.DataObject,
) -> None:
    patch = bytearray(made(REAL, NEXT))
    for _ in range(data.draw(st.integers(1, 3))):
        patch[data.draw(st.integers(0, len(patch) - 1))] ^= data.draw(st.integers(1, 255))
    _refused_or_right(bytes(patch))


@given(st.integers(0, 2000), st.integers(0, 200))
def test_a_patch_with_a_part_taken_out_is_refused(at: int, size: int) -> None:
    patch = made(REAL, NEXT)
    _refused_or_right(patch[:at] + patch[at + size :])


def _refused_or_right(patch: bytes) -> None:
    """Whatever came of it, the digest of the tree has the last word."""
    code = "patch"
    try:
        applied(patch, REAL, tree_of(NEXT))
    except VerificationError as error:
        code = error.code
    assert code == "patch"


def test_what_a_patch_declares_is_not_allocated() -> None:
    """Two megabytes of deflated zeros declare two gigabytes of literals, and are no patch."""
    import zlib

    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join([*(stream.compress(bytes(2**20)) for _ in range(2000)), stream.flush()])
    data = EXAMPLE.encode(packed={0: b"\3\0", 4: bomb})
    tracemalloc.start()
    try:
        with pytest.raises(FormatError) as caught:
            applied(data, BASE, tree_of(TARGET))
        assert caught.value.code == "patch"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def _plain(**sizes: int) -> Callable[[], bytes]:
    """Declare other plain sizes of the example's streams, by their names."""
    names = ("kept", "inserts", "jumps", "copies", "literals")
    found = dict(zip(names, read_header(io.BytesIO(EXAMPLE.encode())).plain, strict=True))
    return lambda: EXAMPLE.declaring(plain=tuple((found | sizes).values()))


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        pytest.param(lambda: EXAMPLE.declaring(new=2**24), "declares 16777216 bytes", id="bytes"),
        pytest.param(
            lambda: EXAMPLE.declaring(listing=2**24 + 1, new=2**24 + 2),
            "declares 16777218 bytes",
            id="a list",
        ),
        pytest.param(
            _plain(literals=8801), "claims to unpack 8 bytes to 8801", id="beyond deflate"
        ),
        pytest.param(_plain(kept=16), "more than the trees can hold", id="runs"),
        pytest.param(_plain(literals=18), "more than the trees can hold", id="literals"),
        pytest.param(_plain(jumps=1), "columns that 2 steps do not fill", id="a short column"),
        pytest.param(_plain(copies=11), "columns that 2 steps do not fill", id="a long column"),
    ],
)
def test_more_than_is_allowed_is_refused_as_soon_as_declared(
    patch: Callable[[], bytes], why: str
) -> None:
    with pytest.raises(FormatError, match=why):
        applied(patch(), BASE, tree_of(TARGET))


def test_a_list_of_millions_of_lines_is_refused_before_they_are_made() -> None:
    listing = b"\n" * 2**21
    plan = Plan({}, {}, (0,), listing, ((listing, -len(listing), 0),))
    packed = [zlib.compress(stream, wbits=-15) for stream in plan.streams()]
    data = plan.header(plan.streams(), packed).encode() + b"".join(packed)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="a damaged list, or one of too many"):
            applied(data, {}, tree_of({}))
        assert tracemalloc.get_traced_memory()[1] < 6 * len(listing)
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_what_is_made() -> None:
    base = {"a": random.Random(1).randbytes(8 * 2**20)}
    target = {"b": base["a"] + b"!"}
    patch = made(base, target)
    tree = tree_of(target)
    opened = Patch(
        io.BytesIO(patch),
        tree_of(base),
        lambda file, at, size: base[file.path][at : at + size],
        target=tree.digest(),
        limit=tree.size,
    )
    tracemalloc.start()
    try:
        made_of = [sum(map(len, chunks)) for _, chunks in opened.contents()]
        assert made_of == [tree.size]
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


def _apply_with(read: Read) -> None:
    target = tree_of(TARGET).digest()
    opened = Patch(io.BytesIO(EXAMPLE.encode()), tree_of(BASE), read, target=target)
    for _, chunks in opened.contents():
        b"".join(chunks)


def test_a_base_that_ends_early_is_refused() -> None:
    with pytest.raises(FormatError, match="ends early"):
        _apply_with(lambda *_: b"")


def test_a_failing_disk_is_no_fault_of_the_patch() -> None:
    def read(file: File, at: int, size: int) -> bytes:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        _apply_with(read)


def test_a_header_says_back_what_it_read() -> None:
    data = made(REAL, NEXT)
    assert read_header(io.BytesIO(data)).encode() == data[: HEADER.size]


# --- real builds ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        pytest.param(
            *pair,
            id=" ".join(pair),
            marks=[pytest.mark.full] if builds.SOURCES[pair[0]].heavy else [],
        )
        for pair in PAIRS
    ],
)
def test_every_patch_of_real_builds(name: str, old: str, new: str) -> None:
    before, after = builds.build(name, old), builds.build(name, new)
    base, target = _folder(before), _folder(after)
    with ThreadPoolExecutor(2) as pool:
        patch = make(
            base,
            lambda file: (before / file.path).read_bytes(),
            target,
            lambda file: (after / file.path).read_bytes(),
            each=pool.map,
        )
    assert _tree_made(patch, before, base, target) == target
    assert len(patch) < target.size / 10


def _folder(folder: Path) -> Tree:
    files = (path for path in folder.rglob("*") if path.is_file())
    return Tree.of(_file(path.relative_to(folder).as_posix(), path.read_bytes()) for path in files)


def _file(path: str, data: bytes) -> File:
    return File(path, sha256(data), len(data))


def _tree_made(patch: bytes, folder: Path, base: Tree, target: Tree) -> Tree:
    def read(file: File, at: int, size: int) -> bytes:
        with (folder / file.path).open("rb") as opened:
            opened.seek(at)
            return opened.read(size)

    opened = Patch(io.BytesIO(patch), base, read, target=Digest(target.digest()), limit=target.size)
    files = list(opened.kept)
    for content, chunks in opened.contents():
        data = b"".join(chunks)
        files += [_file(path, data) for path in content.paths]
    return Tree.of(files)
