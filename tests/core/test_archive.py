"""Zips: written in one way, and read as if an enemy had made them."""

import contextlib
import hashlib
import io
import shutil
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from manifestgen.core.archive import (
    CHUNK,
    Entry,
    Member,
    Method,
    inflate,
    packed_chunks,
    read_members,
    tree_of,
    write_archive,
)
from manifestgen.core.limits import LIMITS
from manifestgen.core.paths import check_paths
from manifestgen.errors import FormatError

UTF8, DESCRIPTOR, ENCRYPTED = 1 << 11, 1 << 3, 1


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def member(path: str, data: bytes, method: Method = Method.DEFLATED) -> Member:
    packed = deflated(data) if method is Method.DEFLATED else data
    return Member(path, zlib.crc32(data), len(data), method, len(packed), [packed])


def written(files: dict[str, bytes], method: Method = Method.DEFLATED) -> bytes:
    out = io.BytesIO()
    ordered = sorted(files.items(), key=lambda item: item[0].encode())
    size = write_archive((member(path, data, method) for path, data in ordered), out.write)
    assert size == len(out.getvalue())
    return out.getvalue()


def contents(archive: bytes) -> dict[str, bytes]:
    file = io.BytesIO(archive)
    return {entry.path: b"".join(inflate(file, entry)) for entry in read_members(file)}


# --- what is written ---------------------------------------------------------------------------

SMALL = {"index.html": b"<html>" * 9, "a/ü.js": b"", "z.bin": bytes(range(256))}


def test_the_bytes_are_the_same_for_ever() -> None:
    archive = written({"index.html": b"<h1>hi</h1>", "é.txt": b""}, Method.STORED)
    assert archive.hex() == (
        "504b03040a000008000000002100138f10680b0000000b0000000a000000696e6465782e68746d6c"
        "3c68313e68693c2f68313e"
        "504b03040a00000800000000210000000000000000000000000006000000c3a92e747874"
        "504b010214030a000008000000002100138f10680b0000000b0000000a0000000000000000000000a481"
        "00000000696e6465782e68746d6c"
        "504b010214030a000008000000002100000000000000000000000000060000000000000000000000a481"
        "33000000c3a92e747874"
        "504b050600000000020002006c000000570000000000"
    )


def test_members_are_dated_1980_with_mode_0644_and_nothing_else() -> None:
    with zipfile.ZipFile(io.BytesIO(written(SMALL))) as archive:
        assert archive.comment == b""
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr == 0o100644 << 16
            assert info.flag_bits == UTF8
            assert info.extra == info.comment == b""


@pytest.mark.parametrize("method", Method)
def test_what_is_written_is_read_back(method: Method) -> None:
    assert contents(written(SMALL, method)) == SMALL


def test_an_archive_of_nothing_is_read_back() -> None:
    assert contents(written({})) == {}


WRONG_MEMBERS = {
    "out of order": [member("b", b""), member("a", b"")],
    "twice": [member("a", b""), member("a", b"")],
    "a path no device holds": [member("../a", b"")],
    "a path without UTF-8": [member("\ud800", b"")],
    "shorter than announced": [replace(member("a", b"abc", Method.STORED), packed=4, size=4)],
    "longer than announced": [replace(member("a", b"abc", Method.STORED), packed=2, size=2)],
    "too large": [replace(member("a", b""), size=LIMITS.bundle_bytes + 1)],
    "too large packed": [replace(member("a", b""), packed=2**32, chunks=[])],
    "too many": [member(f"{n:06}", b"") for n in range(LIMITS.files + 1)],
}


@pytest.mark.parametrize("members", WRONG_MEMBERS.values(), ids=WRONG_MEMBERS.keys())
def test_members_that_make_no_archive_are_refused(members: list[Member]) -> None:
    with pytest.raises(FormatError):
        write_archive(members, io.BytesIO().write)


def test_packed_bytes_move_to_another_archive_unchanged() -> None:
    file = io.BytesIO(written(SMALL))

    def copied() -> Iterable[Member]:
        for e in read_members(file):
            yield Member(e.path, e.crc32, e.size, e.method, e.packed, packed_chunks(file, e))

    out = io.BytesIO()
    write_archive(copied(), out.write)
    assert out.getvalue() == file.getvalue()


FILES = st.dictionaries(
    st.text(st.characters(codec="utf-8", categories=["L", "N", "Z"]), min_size=1, max_size=30).map(
        lambda text: f"f/{text}_"
    ),
    st.binary(max_size=3000),
    max_size=6,
)


@settings(max_examples=50, deadline=None)
@given(FILES, st.sampled_from(Method))
def test_what_we_write_everybody_reads(files: dict[str, bytes], method: Method) -> None:
    try:
        check_paths(files)
    except FormatError:
        reject()
    assert contents(written(files, method)) == files
    with zipfile.ZipFile(io.BytesIO(written(files, method))) as archive:
        assert archive.testzip() is None
        assert {info.filename: archive.read(info) for info in archive.infolist()} == files


@pytest.mark.skipif(not shutil.which("unzip"), reason="needs Info-ZIP")
@pytest.mark.parametrize("method", Method)
def test_info_zip_reads_what_we_write(method: Method, tmp_path: Path) -> None:
    target = tmp_path / "out.zip"
    target.write_bytes(written(SMALL, method))
    subprocess.run(["unzip", "-tqq", target], check=True)


# --- what others write -------------------------------------------------------------------------


def test_what_python_writes_is_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("assets")
        archive.mkdir("empty")
        archive.writestr("assets/ü.js", b"x" * 100)
        archive.writestr("index.html", b"<html>", compress_type=zipfile.ZIP_STORED)
    assert contents(out.getvalue()) == {"assets/ü.js": b"x" * 100, "index.html": b"<html>"}


@pytest.mark.skipif(not shutil.which("zip"), reason="needs Info-ZIP")
def test_what_info_zip_writes_is_read(tmp_path: Path) -> None:
    files = {path: data for path, data in SMALL.items() if path.isascii()}
    files["a/empty.js"] = b""
    for path, data in files.items():
        target = tmp_path / "in" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    subprocess.run(["zip", "-qr", "../out.zip", "."], cwd=tmp_path / "in", check=True)
    assert contents((tmp_path / "out.zip").read_bytes()) == files


def test_what_capgo_writes_is_read() -> None:
    # Fields as `@capgo/cli` 8.68.1 (adm-zip) writes them: version 10 for stored, 20 for deflate,
    # folders as entries, modes and times of the files.
    time = (23868, 23925)
    folder = Crafted(b"assets/", flags=UTF8, needed=10, time=time, mode=0o40755, dos=0x10)
    empty = Crafted(b"empty.txt", flags=UTF8, needed=10, time=time)
    script = Crafted(b"app.js", b"hi" * 9, 8, flags=UTF8, time=time, mode=0o100755)
    inside = Crafted(b"assets/\xc3\xbc.js", b"hello", 8, flags=UTF8, time=time)
    assert contents(zipped(script, folder, inside, empty)) == {
        "app.js": b"hi" * 9,
        "assets/ü.js": b"hello",
        "empty.txt": b"",
    }


# --- what an enemy writes ----------------------------------------------------------------------


@dataclass(frozen=True)
class Crafted:
    """One entry, every field of which can be a lie; `local_*` lie in the local header only."""

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0
    needed: int = 20
    time: tuple[int, int] = (0, 0x21)
    mode: int = 0o100644
    dos: int = 0
    extra: bytes = b""
    comment: bytes = b""
    packed: bytes | None = None
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    offset: int | None = None
    disk: int = 0
    after: bytes = b""
    local_name: bytes | None = None
    local_extra: bytes = b""
    local_size: int | None = None
    local_packed_size: int | None = None
    local_crc: int | None = None
    local_method: int | None = None
    local_flags: int | None = None
    local_magic: bytes = b"PK\x03\x04"
    magic: bytes = b"PK\x01\x02"

    @property
    def stored(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflated(self.data) if self.method == 8 else self.data

    def fields(self, *, local: bool) -> bytes:
        def pick(lie: int | None, said: int | None, truth: int) -> int:
            if local and lie is not None:
                return lie
            return truth if said is None else said

        return struct.pack(
            "<5H3I",
            self.needed,
            pick(self.local_flags, self.flags, 0),
            pick(self.local_method, self.method, 0),
            *self.time,
            pick(self.local_crc, self.crc, zlib.crc32(self.data)),
            pick(self.local_packed_size, self.packed_size, len(self.stored)),
            pick(self.local_size, self.size, len(self.data)),
        )

    def local(self) -> bytes:
        name = self.name if self.local_name is None else self.local_name
        lengths = struct.pack("<2H", len(name), len(self.local_extra))
        header = self.local_magic + self.fields(local=True) + lengths + name + self.local_extra
        return header + self.stored + self.after

    def central(self, offset: int) -> bytes:
        lengths = (len(self.name), len(self.extra), len(self.comment), self.disk, 0)
        where = offset if self.offset is None else self.offset
        return (
            self.magic
            + struct.pack("<H", 3 << 8 | 20)
            + self.fields(local=False)
            + struct.pack("<5H2I", *lengths, self.mode << 16 | self.dos, where)
            + self.name
            + self.extra
            + self.comment
        )


def zipped(
    *entries: Crafted,
    prefix: bytes = b"",
    gap: bytes = b"",
    tail: bytes = b"",
    listed: Iterable[Crafted] | None = None,
    **end: int,
) -> bytes:
    body, offsets = prefix, {}
    for entry in entries:
        offsets[entry] = len(body)
        body += entry.local()
    body += gap
    shown = list(entries if listed is None else listed)
    directory = b"".join(entry.central(offsets.get(entry, 0)) for entry in shown)
    values = {"disk": 0, "first": 0, "here": len(shown), "count": len(shown)}
    values |= {"length": len(directory), "start": len(body), "comment": 0} | end
    return body + directory + struct.pack("<4s4H2IH", b"PK\x05\x06", *values.values()) + tail


GOOD = Crafted(b"index.html", b"<html>" * 20, 8)
BOMB = deflated(bytes(30_000_000))
A, B = Crafted(b"a", b"a"), Crafted(b"b", b"b")


def extra(kind: int, data: bytes = b"") -> bytes:
    return struct.pack("<2H", kind, len(data)) + data


def changed(**fields: object) -> bytes:
    return zipped(replace(GOOD, **fields))  # type: ignore[arg-type]


def before_end(archive: bytes, data: bytes) -> bytes:
    return archive[:-22] + data + archive[-22:]


LIES: dict[str, bytes] = {
    "nothing": b"",
    "no zip": b"<!doctype html>" * 20,
    "only an end record, of nothing, elsewhere": zipped(start=5),
    "cut": zipped(GOOD)[:-1],
    "cut to the end record": zipped(GOOD)[-22:],
    "extended": zipped(GOOD) + b"\0",
    "something before": zipped(GOOD, prefix=b"#!/bin/sh\n"),
    "something before, that moves the offsets": b"MZ" + zipped(GOOD),
    "something between files": zipped(replace(A, after=b"hidden"), B),
    "something before the directory": zipped(GOOD, gap=b"hidden"),
    "something behind the directory": before_end(zipped(GOOD), b"hidden"),
    "something in the directory, behind its records": before_end(
        zipped(GOOD, length=len(GOOD.central(0)) + 6), b"hidden"
    ),
    "a second directory": zipped(GOOD) + zipped(A),
    "a comment": zipped(GOOD, tail=b"hello", comment=5),
    "a comment that holds another zip": zipped(GOOD, tail=zipped(A), comment=len(zipped(A))),
    "an end record that claims a comment": zipped(GOOD, comment=1),
    "several disks": zipped(GOOD, disk=1),
    "directory on another disk": zipped(GOOD, first=1),
    "fewer entries here than in all": zipped(GOOD, here=0),
    "zip64 by count": zipped(GOOD, here=0xFFFF, count=0xFFFF),
    "zip64 by offset": zipped(GOOD, start=0xFFFFFFFF),
    "zip64 by extra field": changed(extra=extra(1, bytes(16)), size=0xFFFFFFFF),
    "more entries than records": zipped(GOOD, here=2, count=2),
    "fewer entries than records": zipped(A, B, here=1, count=1),
    "a directory of 4 GB": zipped(GOOD, length=0xFFFFFFF0),
    "a directory that starts late": zipped(GOOD, start=len(GOOD.local()) + 1),
    "a file that is not in the directory": zipped(A, B, listed=[A]),
    "a record without a file": zipped(A, listed=[A, replace(B, offset=len(A.local()))]),
    "one file under two names": zipped(A, listed=[A, replace(B, offset=0)]),
    "one file listed twice": zipped(A, listed=[A, A]),
    "files in another order than the directory": zipped(B, A, listed=[A, B]),
    "files that overlap": zipped(replace(A, packed_size=5, size=5), B),
    "an offset past the end": changed(offset=0x7FFFFFFF),
    "a damaged directory record": changed(magic=b"PK\x01\x03"),
    "a damaged local header": changed(local_magic=b"PK\x03\x05"),
    "another name in the local header": changed(local_name=b"index.htm1"),
    "a longer name in the local header": changed(local_name=b"index.html5"),
    "another size in the local header": changed(local_size=1),
    "another packed size in the local header": changed(local_packed_size=1),
    "another CRC in the local header": changed(local_crc=1),
    "another method in the local header": changed(local_method=0),
    "encrypted in the local header only": changed(local_flags=ENCRYPTED),
    "encrypted": changed(flags=ENCRYPTED),
    "strong encryption": changed(flags=ENCRYPTED | 1 << 6),
    "masked headers": changed(flags=1 << 13),
    "a patch of another file": changed(flags=1 << 5),
    "a data descriptor": changed(
        flags=DESCRIPTOR, local_crc=0, local_size=0, local_packed_size=0, after=bytes(12)
    ),
    "method 9": changed(method=9),
    "method 12, bzip2": changed(method=12),
    "method 14, LZMA": changed(method=14),
    "method 99, AES": changed(method=99),
    "a second name in an extra field": changed(extra=extra(0x7075, b"\1....evil")),
    "a second name in a local extra field": changed(local_extra=extra(0x7075, b"\1....evil")),
    "an extra field that can hold a link": changed(extra=extra(0x756E, bytes(14))),
    "an extra field cut short": changed(extra=b"UT\x09\0"),
    "an extra field of two bytes": changed(local_extra=b"UT"),
    "a comment on a file": changed(comment=b"hi"),
    "a file on another disk": changed(disk=1),
    "a symlink": changed(mode=stat.S_IFLNK | 0o777),
    "a character device": changed(mode=stat.S_IFCHR | 0o666),
    "a block device": changed(mode=stat.S_IFBLK | 0o666),
    "a pipe": changed(mode=stat.S_IFIFO | 0o666),
    "a socket": changed(mode=stat.S_IFSOCK | 0o666),
    "a folder by mode, a file by name": changed(mode=stat.S_IFDIR | 0o755),
    "a folder by MS-DOS, a file by name": changed(dos=0x10),
    "a file by mode, a folder by name": zipped(Crafted(b"a/", mode=stat.S_IFREG | 0o644)),
    "a symlink by mode, a folder by name": zipped(Crafted(b"a/", mode=stat.S_IFLNK | 0o777)),
    "a folder with content": zipped(Crafted(b"a/", b"x", mode=0)),
    "a folder with hidden content": zipped(Crafted(b"a/", packed=b"x", size=0, mode=0)),
    "a folder with a CRC": zipped(Crafted(b"a/", crc=1, mode=0)),
    "a folder twice": zipped(*[Crafted(b"a/", mode=0, time=(n, 0x21)) for n in (0, 1)]),
    "stored, with two sizes": changed(method=0, size=5),
    "declares 4 GB": changed(size=0xFFFFFFFF),
    "declares more than there is": changed(size=len(GOOD.data) + 1),
    "declares less than there is": changed(size=len(GOOD.data) - 1),
    "declares nothing": changed(size=0, crc=0),
    "wrong CRC": changed(crc=1),
    "a packed byte too many": changed(packed=GOOD.stored + b"\0"),
    "a packed byte too few": changed(packed=GOOD.stored[:-1]),
    "two deflate streams": changed(packed=GOOD.stored * 2, data=GOOD.data * 2),
    "no deflate stream": changed(packed=b"\xff" * 20),
    "a stream with a zlib header": changed(packed=zlib.compress(GOOD.data)),
    "nothing at all as a deflate stream": changed(data=b"", packed=b""),
    "a bomb that declares little": changed(packed=BOMB, size=100),
    "a bomb that declares nothing": changed(packed=BOMB, size=0, crc=0),
    "a bomb beyond what deflate can do": changed(size=len(GOOD.stored) * 1100 + 1),
    "declared sizes beyond the limit together": zipped(
        *[Crafted(b"%d" % n, packed=bytes(1_000_000), method=8, size=2**30) for n in range(3)]
    ),
    "a name that is not ASCII, and not flagged": changed(name=b"\xc3\xa9"),
    "a name in Latin-1, flagged as UTF-8": changed(name=b"\xe9", flags=UTF8),
    "a name with an overlong slash": changed(name=b"..\xc0\xafx", flags=UTF8),
    "a name with a surrogate": changed(name=b"\xed\xa0\x80", flags=UTF8),
    "a name of 64 KB": changed(name=b"a/" * 32767),
}

NAMES: dict[str, list[bytes]] = {
    "no name": [b""],
    "root": [b"/"],
    "parent": [b"../x"],
    "parent inside": [b"a/../../x"],
    "parent as a folder": [b"../"],
    "absolute": [b"/etc/passwd"],
    "drive": [b"C:\\x"],
    "network share": [b"\\\\server\\share\\x"],
    "backslash": [b"..\\x"],
    "NUL": [b"index.html\0.png"],
    "here": [b"./x"],
    "empty segment": [b"a//b"],
    "reserved on Windows": [b"CON"],
    "reserved on Windows, as a folder": [b"nul/"],
    "trailing dot": [b"a."],
    "trailing space": [b"a "],
    "control": [b"a\x1b[2J"],
    "the same twice": [b"a", b"b", b"a"],
    "differ by case": [b"a", b"A"],
    "differ by Unicode form": ["é".encode(), "e\u0301".encode()],
    "file and folder": [b"a", b"a/b"],
    "file and folder entry": [b"a", b"A/"],
    "folder entries by case": [b"a/", b"A/"],
    "folder entry and folder by case": [b"a/", b"A/x"],
}


def read_whole(archive: bytes) -> None:
    tree_of(io.BytesIO(archive))


@pytest.mark.parametrize("archive", LIES.values(), ids=LIES.keys())
def test_an_archive_that_lies_is_refused(archive: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        read_whole(archive)
    assert caught.value.code == "archive"
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        pytest.param(LIES["stored, with two sizes"], "is stored, 5 bytes as", id="two sizes"),
        pytest.param(LIES["declares 4 GB"], "claims to unpack", id="beyond deflate"),
        pytest.param(
            before_end(zipped(length=2**24 + 1, start=0), bytes(2**24 + 1)),
            "a directory of 16777217 bytes",
            id="a large directory",
        ),
    ],
)
def test_some_lies_are_seen_before_anything_is_unpacked(archive: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        read_members(io.BytesIO(archive))


def test_an_archive_that_does_not_lie_is_read() -> None:
    """The hostile ones are this one with a change each."""
    assert contents(zipped(GOOD, A, B)) == {"index.html": GOOD.data, "a": b"a", "b": b"b"}
    times = extra(0x5455, b"\3" + bytes(8)) + extra(0x7875, bytes(11))
    assert contents(changed(extra=times[:13], local_extra=times)) == contents(changed())


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())
def test_an_archive_with_names_that_some_device_cannot_hold_is_refused(names: list[bytes]) -> None:
    entries = [Crafted(name, flags=UTF8, mode=0, time=(n, 0x21)) for n, name in enumerate(names)]
    with pytest.raises(FormatError) as caught:
        read_whole(zipped(*entries))
    assert caught.value.code == "path"


def test_more_files_than_allowed_are_refused() -> None:
    entries = [Crafted(b"%d" % n) for n in range(LIMITS.files + 1)]
    with pytest.raises(FormatError, match="more than the 20000 files"):
        read_members(io.BytesIO(zipped(*entries)))


def test_the_callers_limit_is_on_all_sizes_together() -> None:
    file = io.BytesIO(written({"a": bytes(600), "b": bytes(400)}))
    assert len(read_members(file, limit=1000)) == 2
    with pytest.raises(FormatError, match="more than the 999 bytes"):
        read_members(file, limit=999)
    with pytest.raises(FormatError, match="more than the 999 bytes"):
        tree_of(file, limit=999)


def test_a_bomb_costs_a_few_chunks_of_memory() -> None:
    file = io.BytesIO(changed(data=bytes(30_000_000), packed=BOMB))
    tracemalloc.start()
    try:
        (digested,) = tree_of(file).files
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert digested.size == 30_000_000
    assert peak < 6 * CHUNK


def test_a_bad_end_is_refused_before_the_last_chunk_is_given() -> None:
    data = bytes(CHUNK) + b"end"
    file = io.BytesIO(changed(data=data, crc=1))
    (entry,) = read_members(file)
    given_out: list[bytes] = []
    with pytest.raises(FormatError):
        given_out.extend(inflate(file, entry))
    assert len(b"".join(given_out)) < len(data)


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    file = io.BytesIO(written({"a": b"x" * 5000}, Method.STORED))
    (entry,) = read_members(file)
    file.truncate(1000)
    with pytest.raises(FormatError, match="cut short"):
        list(inflate(file, entry))


def test_entries_can_be_read_in_turn() -> None:
    files = {"a": bytes(3 * CHUNK), "b": b"b" * (2 * CHUNK)}
    file = io.BytesIO(written(files, Method.STORED))
    one, other = read_members(file)
    pairs = zip(inflate(file, one), inflate(file, other), strict=False)
    assert all(a.strip(b"\0") == b.strip(b"b") == b"" for a, b in pairs)


def test_an_entry_knows_where_its_bytes_are() -> None:
    (entry,) = read_members(io.BytesIO(written({"a": b"hello"}, Method.STORED)))
    assert entry == Entry("a", zlib.crc32(b"hello"), 5, Method.STORED, 5, 31)


def test_the_tree_says_what_the_archive_holds() -> None:
    tree = tree_of(io.BytesIO(written(SMALL)))
    assert [(f.path, f.sha256, f.size) for f in tree.files] == [
        (path, hashlib.sha256(SMALL[path]).hexdigest(), len(SMALL[path])) for path in sorted(SMALL)
    ]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_nothing_but_our_error_escapes(data: st.DataObject) -> None:
    archive = bytearray(zipped(GOOD, Crafted(b"a/", mode=0), B))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(archive) - 1))
        change: Callable[[int, int], None] = data.draw(
            st.sampled_from([archive.__setitem__, archive.insert])
        )
        change(at, data.draw(st.integers(0, 255)))
    with contextlib.suppress(FormatError):
        read_whole(bytes(archive[: data.draw(st.integers(0, len(archive)))]))


@given(st.binary(max_size=300))
def test_nothing_but_our_error_escapes_from_noise(noise: bytes) -> None:
    with contextlib.suppress(FormatError):
        read_whole(noise + zipped(start=0, length=len(noise), here=1, count=1))


def test_a_flipped_bit_never_goes_unseen() -> None:
    good = zipped(replace(GOOD, data=b"hello", method=0))
    seen = {f.sha256 for f in tree_of(io.BytesIO(good)).files}
    ignored = 0
    for at in range(len(good) * 8):
        archive = bytearray(good)
        archive[at // 8] ^= 1 << at % 8
        try:
            tree = tree_of(io.BytesIO(archive))
        except FormatError:
            continue
        ignored += 1
        assert {f.sha256 for f in tree.files} == seen
        assert len(tree.files) == 1
    # Version and maker, internal and most external attributes.
    assert ignored < 70, sys.byteorder
