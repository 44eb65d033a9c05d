"""A build folder becomes a zip, and a zip a folder again."""

import contextlib
import hashlib
import io
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import pytest

from manifestgen.bundle import (
    PACKER,
    Packed,
    Squeezed,
    pack,
    read_build,
    squeeze,
    unpack,
    version_of,
)
from manifestgen.core.archive import Member, Method, inflate, read_members, tree_of, write_archive
from manifestgen.core.limits import LIMITS
from manifestgen.core.tree import sha256
from manifestgen.errors import Error, FormatError, UsageError

APP = {
    "index.html": b"<!doctype html>" * 20,
    "assets/app.js": b"console.log(1);" * 500,
    "assets/deep/er/x.css": b"a{}" * 100,
    "assets/logo.png": b"\x89PNG" * 300,
    "assets/noise.bin": hashlib.sha512(b"noise").digest(),
    "empty.txt": b"",
    ".well-known/x.json": b"{}",
    "ünï côdé/日本.txt": b"text " * 50,
    "Zebra.txt": b"sorts before lower case",
}


def made(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def packed(folder: Path, workers: int = 2) -> tuple[Packed, bytes]:
    out = io.BytesIO()
    result = pack(read_build(folder), out, workers=workers)
    return result, out.getvalue()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return made(tmp_path / "www", APP)


# --- reading a build ---------------------------------------------------------------------------


def test_a_build_is_listed_sorted_by_utf8(app: Path) -> None:
    build = read_build(app)
    assert [file.path for file in build.files] == sorted(APP, key=str.encode)
    assert build.size == sum(map(len, APP.values()))
    assert {file.path: file.size for file in build.files} == {k: len(v) for k, v in APP.items()}


def test_what_desktops_leave_behind_is_left_out_and_nothing_else(app: Path) -> None:
    made(app, {".DS_Store": b"x", "assets/Thumbs.db": b"x", ".hidden": b"x", "a.map": b"x"})
    assert {file.path for file in read_build(app).files} == {*APP, ".hidden", "a.map"}


def test_a_folder_may_be_named_through_a_link_and_relative(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(app.parent)
    Path("link").symlink_to("www")
    assert packed(Path("link")) == packed(Path("www")) == packed(app)


def test_a_link_to_a_file_inside_is_read_as_that_file(app: Path) -> None:
    (app / "assets/copy.js").symlink_to("app.js")
    _, archive = packed(app)
    with zipfile.ZipFile(io.BytesIO(archive)) as read:
        assert read.read("assets/copy.js") == APP["assets/app.js"]
        assert stat.S_ISREG(read.getinfo("assets/copy.js").external_attr >> 16)


def link(target: str, name: str = "link") -> Callable[[Path], None]:
    return lambda app: (app / name).symlink_to(target)


def with_files(**files: bytes) -> Callable[[Path], object]:
    return lambda app: made(app, {path.replace("__", "."): data for path, data in files.items()})


def named(*paths: str) -> Callable[[Path], object]:
    return lambda app: made(app, dict.fromkeys(paths, b"x"))


def a_socket(app: Path) -> None:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(app)  # the path of a socket is short
        try:
            listener.bind("s")
        finally:
            os.chdir(here)


def a_name_without_utf8(app: Path) -> None:
    try:
        (app / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system has no such names")


def emptied(app: Path) -> None:
    shutil.rmtree(app)
    app.mkdir()


def only_junk(app: Path) -> None:
    emptied(app)
    (app / ".DS_Store").touch()


def a_file_instead(app: Path) -> None:
    shutil.rmtree(app)
    app.touch()


KEY = b"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n"
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index.html": (lambda app: (app / "index.html").unlink(), "has no `index.html`"),
    "empty": (emptied, "www is empty"),
    "only junk": (only_junk, "www is empty"),
    "no such folder": (shutil.rmtree, "www: no such folder"),
    "a file": (a_file_instead, "www is not a folder"),
    "a link out": (link("../secret"), "link is a link that leads out of the folder"),
    "an absolute link out": (link("/etc/passwd"), "leads out of the folder"),
    "a link to a folder inside": (link("assets"), "link is a link to a folder"),
    "a link to a folder outside": (link(".."), "leads out of the folder"),
    "a link to nothing": (link("nothing"), "link is a link that leads nowhere"),
    "a link to itself": (link("link"), "link is a link that leads nowhere"),
    "a pipe": (lambda app: os.mkfifo(app / "p"), "p is a pipe, socket or device"),
    "a socket": (a_socket, "s is a pipe, socket or device"),
    "a repository": (named(".git/HEAD"), r"\.git does not belong"),
    "a repository's file": (named(".git"), r"\.git does not belong"),
    "a repository inside": (named("assets/.git/HEAD"), r"assets/\.git does not belong"),
    "a project": (named("manifestgen.toml"), r"manifestgen\.toml does not belong"),
    "keys": (named(".manifestgen/keys/content.key"), r"\.manifestgen does not belong"),
    "a private key": (with_files(signing__pem=KEY), r"signing\.pem holds a private key"),
    "Capgo's key": (with_files(__capgo_key_v2=KEY), r"capgo_key_v2 holds a private key"),
    "names that differ by case": (named("a.js", "A.js"), "the same file on some devices"),
    "a reserved name": (named("aux.js"), "a device on Windows"),
    "a backslash": (named("a\\b"), r"the character `\\`"),
    "a newline": (named("a\nb"), r"U\+000A"),
    "a name that is no UTF-8": (a_name_without_utf8, r"U\+DCE9"),
}


@pytest.mark.parametrize(("spoil", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_a_folder_that_makes_no_bundle_is_refused(
    app: Path, spoil: Callable[[Path], object], why: str
) -> None:
    made(app.parent, {"secret": b"x"})
    spoil(app)
    with pytest.raises(UsageError, match=why) as caught:
        read_build(app)
    assert caught.value.hint


def test_certificates_and_large_or_public_pem_files_are_no_private_keys(app: Path) -> None:
    made(app, {"ca.pem": b"-----BEGIN CERTIFICATE-----", "large.key": b" " * 65536 + KEY})
    read_build(app)


def test_more_files_than_the_limit_are_refused(app: Path) -> None:
    one = app / "0"
    one.touch()
    with contextlib.suppress(OSError):  # hard links are quick to make
        for n in range(LIMITS.files):
            os.link(one, app / f"f{n}")
    with pytest.raises(UsageError, match="more than the 20000 files"):
        read_build(app)


def test_more_bytes_than_the_limit_are_refused(app: Path) -> None:
    with (app / "hole.bin").open("wb") as file:
        file.truncate(LIMITS.bundle_bytes)
    with pytest.raises(UsageError, match="more than the 2147483647 allowed"):
        read_build(app)


@contextlib.contextmanager
def somebody() -> Iterator[None]:
    """Be a user to whom permissions apply."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("path", ["assets/app.js", "assets"])
def test_what_may_not_be_read_is_named(path: str) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own are closed to others
        Path(place).chmod(0o755)
        app = made(Path(place) / "www", APP)
        (app / path).chmod(0)
        with somebody(), pytest.raises(UsageError, match=f"{path} cannot be read"):
            read_build(app)
        (app / path).chmod(0o755)


# --- packing -----------------------------------------------------------------------------------


def test_the_zip_holds_the_build_and_the_result_says_what_it_is(app: Path) -> None:
    result, archive = packed(app)
    assert result.sha256 == sha256(archive)
    assert result.size == len(archive)
    assert result.tree == tree_of(io.BytesIO(archive))
    assert result.packer == PACKER
    with zipfile.ZipFile(io.BytesIO(archive)) as read:
        assert {info.filename: read.read(info) for info in read.infolist()} == APP


@pytest.mark.skipif(not shutil.which("unzip"), reason="needs Info-ZIP")
def test_info_zip_reads_it(app: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.zip"
    target.write_bytes(packed(app)[1])
    subprocess.run(["unzip", "-tqq", target], check=True)


def test_the_packer_is_named_with_its_version() -> None:
    name, _, version = PACKER.partition("/")
    assert name == "zip1"
    assert version.startswith("deflate-0.")


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the number of threads, the order of creation, times, modes and place."""
    files = APP | {f"assets/{n}.js": b"%d" % n * (n * 997 % 90_000) for n in range(150)}
    first = made(tmp_path / "a", files)
    second = made(tmp_path / "b", dict(reversed(files.items())))
    for n, path in enumerate(sorted(second.rglob("*"))):
        os.utime(path, (n, n))
        if path.is_file():
            path.chmod(0o755)
    assert packed(first, 1) == packed(second, 2) == packed(first, 7)


METHODS = [
    pytest.param("a.js", b"a" * 100, Method.DEFLATED, id="shrinks"),
    pytest.param("a.js", b"a", Method.STORED, id="too small to shrink"),
    pytest.param("a.js", b"", Method.STORED, id="empty"),
    pytest.param("a.js", os.urandom(5000), Method.STORED, id="noise"),
    pytest.param("a.png", b"a" * 100, Method.STORED, id="compressed by its name"),
    pytest.param("a.WOFF2", b"a" * 100, Method.STORED, id="whatever the case"),
    pytest.param("png", b"a" * 100, Method.DEFLATED, id="no ending"),
    pytest.param("a.svg", b"a" * 100, Method.DEFLATED, id="an image of text"),
]


@pytest.mark.parametrize(("path", "content", "method"), METHODS)
def test_what_deflate_does_not_shrink_is_stored(path: str, content: bytes, method: Method) -> None:
    squeezed = squeeze(path, content)
    assert squeezed.method is method
    assert len(squeezed.data) <= len(content)
    assert (squeezed.data == content) == (method is Method.STORED)


def test_large_files_go_first_and_the_zip_stays_the_same(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (app / "z.js").write_bytes(b"z" * 5000)
    (app / "a.js").write_bytes(b"a" * 4000)
    pack_module = import_module("manifestgen.bundle.pack")  # `pack` is the function, too
    whole = packed(app)
    begun: list[str] = []
    squeezed = pack_module.squeeze

    def noted(path: str, content: bytes) -> Squeezed:
        begun.append(path)
        made: Squeezed = squeezed(path, content)
        return made

    monkeypatch.setattr(pack_module, "_LARGE", 2000)
    monkeypatch.setattr(pack_module, "squeeze", noted)
    monkeypatch.setattr(pack_module, "_BATCH_FILES", 1)
    assert packed(app, workers=1) == whole
    assert begun[:3] == ["assets/app.js", "z.js", "a.js"]


def test_progress_is_told_every_byte(app: Path) -> None:
    told: list[int] = []
    pack(read_build(app), io.BytesIO(), progress=told.append)
    assert told == [len(APP[path]) for path in sorted(APP, key=str.encode)]


@pytest.mark.parametrize("name", ["large.wasm", "large.mp4"])
def test_a_file_too_large_for_memory_goes_in_by_streaming(app: Path, name: str) -> None:
    size = 33 * 1024 * 1024
    with (app / name).open("wb") as file:
        file.write(b"start")
        file.truncate(size)
    result, archive = packed(app)
    file_in = {file.path: file for file in result.tree.files}[name]
    assert file_in.size == size
    assert file_in.sha256 == sha256(b"start" + bytes(size - 5))
    (entry,) = (e for e in read_members(io.BytesIO(archive)) if e.path == name)
    assert entry.method is (Method.STORED if name.endswith("mp4") else Method.DEFLATED)
    assert result.tree == tree_of(io.BytesIO(archive))
    assert result.packer.startswith(f"{PACKER}/zlib-")
    assert packed(app, 1)[0] == result


def touch(path: Path) -> None:
    path.write_bytes(path.read_bytes())
    os.utime(path, (1, 1))


def replace(path: Path) -> None:
    found = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(path)


def a_folder_now(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "shrunk": lambda path: path.write_bytes(b""),
    "written again": touch,
    "replaced by its like": replace,
    "gone": Path.unlink,
    "a folder now": a_folder_now,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_build_that_changes_while_it_is_read_is_refused(
    app: Path, change: Callable[[Path], object]
) -> None:
    build = read_build(app)
    change(app / "assets/app.js")
    with pytest.raises(Error, match=r"assets/app\.js changed while it was read") as caught:
        pack(build, io.BytesIO())
    assert caught.value.hint == (
        "wait until the build is finished, then run the same command again"
    )
    assert caught.value.exit_code == 1


class _Full(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_stops_the_packing(app: Path) -> None:
    made(app, {f"f{n}": b"x" for n in range(500)})
    with pytest.raises(Error, match="No space left") as caught:
        pack(read_build(app), _Full())
    assert caught.value.hint


# --- unpacking ---------------------------------------------------------------------------------


def archived(app: Path) -> BinaryIO:
    return io.BytesIO(packed(app)[1])


def found(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_is_packed_unpacks(app: Path, tmp_path: Path) -> None:
    tree = unpack(archived(app), tmp_path / "new/out")
    assert found(tmp_path / "new/out") == APP
    assert tree == packed(app)[0].tree
    assert not (tmp_path / "new/out/index.html").stat().st_mode & 0o133


def test_an_empty_folder_is_filled(app: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    unpack(archived(app), tmp_path / "out")
    assert found(tmp_path / "out") == APP


def test_a_folder_with_something_in_it_is_left_alone(app: Path, tmp_path: Path) -> None:
    made(tmp_path / "out", {"mine": b"x"})
    with pytest.raises(UsageError, match="out is not empty"):
        unpack(archived(app), tmp_path / "out")
    assert found(tmp_path / "out") == {"mine": b"x"}


def test_a_file_in_the_way_is_left_alone(app: Path, tmp_path: Path) -> None:
    made(tmp_path, {"out": b"x"})
    with pytest.raises(Error, match="out cannot be written"):
        unpack(archived(app), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"x"


def test_folders_without_files_are_not_made(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.mkdir("empty")
        archive.mkdir("a")
        archive.writestr("a/b/c", b"x")
    unpack(out, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == ["a", "b", "c"]


def damaged(app: Path) -> BinaryIO:
    """Break the content of the last file, which shows only after the others are written."""
    data = bytearray(packed(app)[1])
    last = read_members(io.BytesIO(data))[-1]
    data[last.offset + 3] ^= 1
    return io.BytesIO(data)


def escaping(_app: Path) -> BinaryIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("index.html", b"x")
        archive.writestr("../escaped", b"x")
    return out


@pytest.mark.parametrize("make", [damaged, escaping])
def test_a_bad_archive_leaves_nothing_behind(
    make: Callable[[Path], BinaryIO], app: Path, tmp_path: Path
) -> None:
    with pytest.raises(FormatError):
        unpack(make(app), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["www"]


def test_the_limit_is_checked_before_anything_is_written(app: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="more than the 100 bytes"):
        unpack(archived(app), tmp_path / "out", limit=100)
    assert not (tmp_path / "out").exists()


def test_a_member_can_be_made_from_what_is_already_squeezed(app: Path) -> None:
    """An unchanged file costs no second deflate."""
    _, archive = packed(app)
    file = io.BytesIO(archive)

    def again() -> Iterator[Member]:
        for e in read_members(file):
            data = squeeze(e.path, b"".join(inflate(file, e))).data
            yield Member(e.path, e.crc32, e.size, e.method, len(data), (data,))

    out = io.BytesIO()
    write_archive(again(), out.write)
    assert out.getvalue() == archive


# --- versions ----------------------------------------------------------------------------------

VERSIONS = [
    pytest.param({"p/www/package.json": '{"version":"1.2.3"}'}, "1.2.3", id="its own"),
    pytest.param({"p/package.json": '{"version":"1.2.3"}'}, "1.2.3", id="its parent's"),
    pytest.param({"package.json": '{"version":"1"}'}, "1", id="not looked at"),
    pytest.param(
        {"p/www/package.json": '{"version":"2.0.0"}', "p/package.json": "broken"},
        "2.0.0",
        id="its own before its parent's",
    ),
    pytest.param(
        {"p/www/package.json": '{"type":"module"}', "p/package.json": '{"version":"1.2.3"}'},
        "1.2.3",
        id="the nearest that has one",
    ),
    pytest.param({"p/package.json": '\ufeff{"version":"1.2.3"}'}, "1.2.3", id="byte order mark"),
]


@pytest.mark.parametrize(("files", "version"), VERSIONS)
def test_the_version_is_the_nearest(tmp_path: Path, files: dict[str, str], version: str) -> None:
    (tmp_path / "p/www").mkdir(parents=True)
    made(tmp_path, {path: text.encode() for path, text in files.items()})
    assert version_of(tmp_path / "p/www") == version


def test_there_may_be_no_version(tmp_path: Path) -> None:
    made(tmp_path, {"package.json": b"{}"})
    assert version_of(tmp_path) is None


DAMAGED = {
    "no JSON": b"{",
    "no UTF-8": b'{"version":"\xff"}',
    "deep": b"[" * 100_000,
    "a number": b'{"version":1}',
    "a list": b"[]",
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_package_json_is_named(tmp_path: Path, data: bytes) -> None:
    made(tmp_path, {"package.json": data, "www/index.html": b""})
    with pytest.raises(UsageError, match=r"package\.json") as caught:
        version_of(tmp_path / "www")
    assert caught.value.hint
