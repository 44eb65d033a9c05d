"""Lists of single files: every trap of the stock plugin, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from manifestgen.core import canonical
from manifestgen.core.canonical import Json
from manifestgen.core.cipher import delta_key
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.files import (
    ANSWER_BYTES,
    LIST_BYTES,
    Encoding,
    FileList,
    SingleFile,
    compress,
    decompress,
    must_compress,
    why_not,
)
from manifestgen.core.manifest import Rollout
from manifestgen.core.release import Payload, Release, Scheme, TreeRef, Wrapped
from manifestgen.core.stock import responses
from manifestgen.core.tree import File, Tree, sha256
from manifestgen.errors import FormatError, VerificationError
from tests.simulator import Simulator, envelope

SIM = Simulator()
WRAPPED = Wrapped(bytes(16), bytes(256), bytes(256), "v3", "M" * 20)
CHECKSUM = bytes(range(256))


def file(path: str, content: bytes = b"content") -> File:
    return File(path, sha256(content), len(content))


def single(
    path: str, content: bytes = b"content", *, encoding: Encoding = Encoding.BROTLI
) -> SingleFile:
    return SingleFile(file(path, content), sha256(path.encode()), 32, encoding, CHECKSUM)


def plain(path: str, content: bytes = b"content") -> SingleFile:
    return SingleFile(file(path, content), sha256(content), len(content), Encoding.NONE)


def release_of(*files: SingleFile, wrapped: Wrapped | None = WRAPPED, **more: Any) -> Release:
    tree = Tree.of(one.file for one in files)
    data = FileList(files).encode()
    payload = Payload(sha256(data), len(data), sha256(data), len(data))
    return SIM.release_value(
        "1.4.2",
        tree=TreeRef(tree.digest(), len(files), tree.size),
        scheme=Scheme.CAPGO if wrapped else Scheme.NONE,
        capgo=wrapped,
        files=payload,
        **more,
    )


def signed(release: Release) -> Envelope:
    return envelope(release.to_json(), Kind.RELEASE, [SIM.release_key])


@pytest.mark.parametrize(
    ("path", "content", "must"),
    [
        pytest.param("app.js", b"x", False, id="as a rule"),
        pytest.param("empty.txt", b"", True, id="an empty file cannot be encrypted as it is"),
        pytest.param("app.js.br", b"x", True, id="the plugin takes .br off"),
        pytest.param("APP.JS.BR", b"x", True, id="whatever its case"),
        pytest.param("abr", b"x", False, id="no suffix"),
    ],
)
def test_what_must_be_compressed(path: str, content: bytes, must: bool) -> None:
    assert must_compress(file(path, content)) is must


def test_names_say_what_the_plugin_has_to_undo() -> None:
    assert single("app.js").name == "app.js.br"
    assert single("app.js.br").name == "app.js.br.br"
    assert single("logo.png", encoding=Encoding.NONE).name == "logo.png"


def test_nothing_becomes_what_the_library_makes_of_it() -> None:
    assert b"".join(compress([])) == b"".join(compress([b""])) == b"\x3b"
    assert b"".join(decompress([b"\x3b"], 0)) == b""


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000, 3_000_000])
def test_what_was_compressed_comes_back(size: int) -> None:
    content = (b"let a = 1;\n" * (size // 11 + 1))[:size]
    packed = b"".join(compress([content[:100], content[100:]]))
    pieces = [packed[at : at + 7] for at in range(0, len(packed), 7)]
    assert b"".join(decompress(pieces, size)) == b"".join(decompress([packed], size)) == content
    with pytest.raises(VerificationError, match="bytes follow"):
        b"".join(decompress([*pieces, b"x"], size))


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        pytest.param(b"", "ends early", id="nothing"),
        pytest.param(b"".join(compress([b"x" * 1000]))[:-1], "ends early", id="cut"),
        pytest.param(b"".join(compress([b"x" * 1000])) + b"x", "no whole", id="bytes behind it"),
        pytest.param(b"\xff" * 40, "no whole", id="noise"),
        pytest.param(b"".join(compress([b"x" * 1001])), "more than", id="a byte more"),
        pytest.param(b"".join(compress([bytes(2**24)])), "more than", id="a bomb"),
    ],
)
def test_what_is_no_stream_of_the_size_is_refused(packed: bytes, why: str) -> None:
    with pytest.raises(VerificationError, match=why):
        b"".join(decompress([packed], 1000))


def test_a_list_says_the_same_again() -> None:
    files = (single("a.js"), single("b.txt", b""), single("c.png", encoding=Encoding.NONE))
    files = (*files[:2], SingleFile(files[2].file, files[2].blob, 16, Encoding.NONE, CHECKSUM))
    found = FileList(files)
    assert FileList.decode(found.encode(), release_of(*files)) == found


def test_a_list_in_the_clear_names_files_by_their_own_digest() -> None:
    files = (plain("a.png"), SingleFile(file("b.js"), sha256(b"br"), 2, Encoding.BROTLI))
    assert (
        FileList.decode(FileList(files).encode(), release_of(*files, wrapped=None)).files == files
    )


def changed(one: SingleFile, **members: Json) -> bytes:
    value = {**one.to_json(), **{n: what for n, what in members.items() if what is not None}}
    for name, what in members.items():
        if what is None:
            del value[name]
    return canonical.encode({"files": [value], "type": "files.v1"})


GOOD = single("a.js")
PLAIN = SingleFile(file("a.png"), sha256(b"a"), 16, Encoding.NONE, CHECKSUM)


@pytest.mark.parametrize(
    ("data", "release"),
    [
        pytest.param(b"[]", release_of(GOOD), id="no object"),
        pytest.param(b'{"files":[],"type":"files.v2"}', release_of(GOOD), id="another type"),
        pytest.param(b'{"files":[]}', release_of(GOOD), id="no type"),
        pytest.param(b'{"files":[],"type":"files.v1"}', release_of(GOOD), id="no files"),
        pytest.param(FileList((GOOD,)).encode() + b"\n", release_of(GOOD), id="not canonical"),
        pytest.param(changed(GOOD, encoding="gzip"), release_of(GOOD), id="unknown encoding"),
        pytest.param(changed(GOOD, encoding=[]), release_of(GOOD), id="an encoding that is a list"),
        pytest.param(changed(GOOD, stored=33), release_of(GOOD), id="no size of AES"),
        pytest.param(changed(GOOD, stored=0), release_of(GOOD), id="stored as nothing"),
        pytest.param(changed(GOOD, checksum=None), release_of(GOOD), id="not wrapped"),
        pytest.param(changed(GOOD, checksum="AAAA"), release_of(GOOD), id="wrapped otherwise"),
        pytest.param(changed(GOOD, path="../a.js"), release_of(GOOD), id="a path out of here"),
        pytest.param(changed(GOOD, path="b.js"), release_of(GOOD), id="another tree"),
        pytest.param(
            changed(GOOD, sha256=sha256(b"other")), release_of(GOOD), id="another content"
        ),
        pytest.param(changed(PLAIN, stored=32), release_of(PLAIN), id="not the file's size"),
        pytest.param(
            FileList((single("b.js"), single("a.js"))).encode(),
            release_of(single("a.js"), single("b.js")),
            id="out of order",
        ),
        pytest.param(FileList((GOOD, GOOD)).encode(), release_of(GOOD), id="the same file twice"),
        pytest.param(
            changed(single("a.js.br", encoding=Encoding.NONE), stored=16),
            release_of(single("a.js.br")),
            id="a name that the plugin would shorten",
        ),
        pytest.param(
            changed(single("a.txt", b"", encoding=Encoding.NONE), stored=16),
            release_of(single("a.txt", b"")),
            id="nothing, encrypted as it is",
        ),
        pytest.param(
            changed(plain("a.js"), blob="0" * 64),
            release_of(plain("a.js"), wrapped=None),
            id="in the clear, yet another blob",
        ),
        pytest.param(
            changed(GOOD), release_of(GOOD, wrapped=None), id="wrapped, though in the clear"
        ),
    ],
)
def test_a_list_that_is_none_or_another_releases_is_refused(data: bytes, release: Release) -> None:
    with pytest.raises(VerificationError):
        FileList.decode(data, release)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        pytest.param((single("../a.js"),), "path", id="a path out of here"),
        pytest.param((single("a.js"), single("A.js")), "path", id="two paths that collide"),
        pytest.param((single("b.js"), single("a.js")), "tree", id="out of order"),
    ],
)
def test_a_list_that_no_tree_can_be_is_refused_though_its_digest_was_signed(
    files: tuple[SingleFile, ...], code: str
) -> None:
    listed = FileList(files)
    release = release_of(single("other"))
    release = replace(release, tree=replace(release.tree, digest=listed.tree.digest()))
    with pytest.raises(VerificationError) as caught:
        FileList.decode(listed.encode(), release)
    assert caught.value.code == code


def test_a_list_of_another_type_is_refused_whatever_it_lists() -> None:
    data = FileList((GOOD,)).encode().replace(b"files.v1", b"files.v2")
    with pytest.raises(VerificationError) as caught:
        FileList.decode(data, release_of(GOOD))
    assert caught.value.code == "type"


def test_the_key_of_an_apps_files_is_the_same_for_ever() -> None:
    key = delta_key(bytes(32), scheme=Scheme.CAPGO, app="com.example.app", key_id="M" * 20)
    assert (
        key.key + key.iv
    ).hex() == "f179c1016ed48f55ccc8f259aa90edfff8dd37664835a4499f408bb86d5eda92"


def test_a_list_has_a_limit() -> None:
    with pytest.raises(FormatError, match=str(LIST_BYTES)):
        FileList.decode(bytes(LIST_BYTES + 1), release_of(GOOD))


@pytest.mark.parametrize(
    ("files", "bundle", "why"),
    [
        pytest.param(300, 5_000_000, None, id="an app of some size"),
        pytest.param(300, 4_000_000, "does not pay", id="a small one"),
        pytest.param(700, 100_000_000, f"at most {ANSWER_BYTES:,}", id="too many files"),
    ],
)
def test_files_are_listed_where_that_pays(files: int, bundle: int, why: str | None) -> None:
    tree = Tree.of(file(f"{number}.js") for number in range(files))
    said = why_not(tree, bundle)
    assert said is None if why is None else why in (said or "")


def test_a_release_may_name_a_list() -> None:
    release = release_of(GOOD)
    assert Release.from_json(release.to_json()) == release
    assert "files" not in SIM.release_value("1.4.2").to_json()


def test_a_release_refuses_a_list_that_is_not_in_the_clear() -> None:
    value = release_of(GOOD).to_json()
    members = value["files"]
    assert isinstance(members, dict)
    with pytest.raises(FormatError, match=r"\.files: in the clear"):
        Release.from_json({**value, "files": {**members, "plain": "0" * 64}})


def test_the_plugin_is_told_of_every_file() -> None:
    files = (PLAIN, single("empty.txt", b""), single("x.js.br"))
    release = release_of(*files)
    trusted = SIM.trusted(SIM.offer(signed(release)))
    answer = responses(trusted, "https://x/", lambda _: FileList(files))[None]
    assert [one["file_name"] for one in answer["manifest"]] == [
        *("a.png", "empty.txt.br", "x.js.br.br")
    ]
    assert {one["file_hash"] for one in answer["manifest"]} == {CHECKSUM.hex()}
    first = answer["manifest"][0]["download_url"]
    assert first == f"https://x/blobs/{files[0].blob[:2]}/{files[0].blob}.bin"
    assert {"version", "url", "checksum", "session_key"} < set(answer)


def test_without_the_list_the_plugin_takes_the_bundle() -> None:
    trusted = SIM.trusted(SIM.offer(signed(release_of(GOOD))))
    assert "manifest" not in responses(trusted, "https://x")[None]


def test_the_plugin_is_told_of_no_files_of_a_staged_release() -> None:
    offer = SIM.offer(signed(release_of(GOOD)), rollout=Rollout(9999))
    answers = responses(SIM.trusted(offer), "https://x", lambda _: FileList((GOOD,)))
    assert all("manifest" not in answer for answer in answers.values())
