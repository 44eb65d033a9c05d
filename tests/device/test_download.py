"""What arrives, and what does not: cuts, resumes, altered blobs, hostile archives."""

import io
import random
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from manifestgen.core.cipher import ContentKey
from manifestgen.core.manifest import Offer
from manifestgen.core.release import Payload, Release, Scheme
from manifestgen.core.tree import Tree, sha256
from manifestgen.device.download import Progress
from manifestgen.device.files import tree_of
from manifestgen.device.home import Home
from manifestgen.device.stage import Job, WholeBundle, stage
from manifestgen.errors import Error, FormatError, KeyUseError, StoreError, VerificationError
from manifestgen.stores import DirectoryStore, MemoryStore, open_store
from manifestgen.stores.names import blob_name, manifest_name
from tests.device.publisher import Device, Publisher, page, pem, wrapper
from tests.simulator import CHANNEL
from tests.stores.web import Request, Web, serving

BIG = {**page("1.0.0"), "big.bin": bytes(n * n % 251 for n in range(300_000))}


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def device(publisher: Publisher, tmp_path: Path) -> Device:
    made = Device(publisher, tmp_path / "state")
    made.key = pem()
    return made


def refused(device: Device) -> Error:
    """Install; nothing that runs may have changed."""
    version = device.version
    with pytest.raises(Error) as caught:
        device.install()
    assert device.version == version
    assert not device.updater.status().failed
    return caught.value


# Bytes


ALTERED: dict[str, Callable[[bytes], bytes]] = {
    "the first byte": lambda blob: bytes([blob[0] ^ 1]) + blob[1:],
    "a byte of the first block": lambda blob: blob[:9] + bytes([blob[9] ^ 0x40]) + blob[10:],
    "a byte in the middle": lambda blob: (
        blob[: len(blob) // 2] + bytes([blob[len(blob) // 2] ^ 0x80]) + blob[len(blob) // 2 + 1 :]
    ),
    "the last byte": lambda blob: blob[:-1] + bytes([blob[-1] ^ 1]),
    "two blocks exchanged": lambda blob: blob[16:32] + blob[:16] + blob[32:],
    "a block repeated": lambda blob: blob[:32] + blob[16:32] + blob[48:],
    "other bytes of the same size": lambda blob: bytes(len(blob)),
}


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_an_altered_blob(device: Device, scheme: Scheme, alter: Callable[[bytes], bytes]) -> None:
    device.confirmed("0.9.0")
    release = device.publisher.bundle("1.0.0", scheme=scheme)
    name = blob_name(release.bundle.blob)
    good = device.publisher.blob(release.bundle.blob)
    device.publisher.publish(Offer(device.publisher.sign(release)))
    device.publisher.put(name, alter(good))
    error = refused(device)
    assert (type(error), error.code) == (VerificationError, "digest")
    assert not list((device.state / "staging").iterdir())
    device.publisher.put(name, good)
    assert device.install() == "installed"


@pytest.mark.parametrize("kept", [0, 1, 15, 16, 100])
def test_a_blob_cut_short_goes_on_where_it_ended(device: Device, kept: int) -> None:
    release = device.publisher.bundle("1.0.0", scheme=Scheme.CAPGO)
    name, good = blob_name(release.bundle.blob), device.publisher.blob(release.bundle.blob)
    device.publisher.publish(Offer(device.publisher.sign(release)))
    device.publisher.put(name, good[:kept])
    assert isinstance(refused(device), StoreError)
    device.publisher.put(name, good)
    outcome = device.updater.install()
    assert (outcome.action.value, outcome.bytes) == ("installed", len(good) - kept)


def test_bytes_beyond_the_signed_size_are_not_read(device: Device) -> None:
    release = device.publisher.bundle("1.0.0")
    blob = device.publisher.blob(release.bundle.blob)
    device.publisher.put(blob_name(release.bundle.blob), blob + b"more")
    device.publisher.publish(Offer(device.publisher.sign(release)))
    assert device.updater.install().bytes == len(blob)


@pytest.mark.parametrize("rubbish", [b"x", b"x" * 100, b"x" * 100_000])
def test_a_rest_of_something_else_is_found_out_and_fetched_whole(
    device: Device, rubbish: bytes
) -> None:
    release = device.publisher.bundle("1.0.0")
    device.publisher.publish(Offer(device.publisher.sign(release)))
    part = device.state / "staging" / f"{release.bundle.blob}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(rubbish)
    assert device.install() == "installed"


LIES: dict[str, tuple[Callable[[Payload], Payload], str]] = {
    "a plain size too small": (lambda p: replace(p, plain_size=p.plain_size - 1), "digest"),
    "a plain size too large": (lambda p: replace(p, plain_size=p.plain_size + 1), "digest"),
    "a size too small": (lambda p: replace(p, size=p.size - 16), "digest"),
    "a size too large": (lambda p: replace(p, size=p.size + 16), "store"),
}


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize(("lie", "code"), LIES.values(), ids=LIES)
def test_a_release_that_lies_about_its_bundle(
    device: Device, scheme: Scheme, lie: Callable[[Payload], Payload], code: str
) -> None:
    release = device.publisher.bundle("1.0.0", scheme=scheme)
    device.publisher.publish(
        Offer(device.publisher.sign(replace(release, bundle=lie(release.bundle))))
    )
    assert refused(device).code == code


def test_a_plain_digest_that_is_another(device: Device) -> None:
    release = device.publisher.bundle("1.0.0", scheme=Scheme.CAPGO)
    bundle = replace(release.bundle, plain=sha256(b""))
    device.publisher.publish(Offer(device.publisher.sign(replace(release, bundle=bundle))))
    assert refused(device).code == "digest"


def test_a_release_in_the_clear_whose_plain_digest_is_another_is_no_release(device: Device) -> None:
    release = device.publisher.bundle("1.0.0", scheme=Scheme.NONE)
    bundle = replace(release.bundle, plain=sha256(b""))
    device.publisher.publish(Offer(device.publisher.sign(replace(release, bundle=bundle))))
    assert device.install() == "none"


def test_a_release_that_lies_about_its_tree(device: Device) -> None:
    release = device.publisher.bundle("1.0.0")
    tree = replace(release.tree, digest=sha256(b"another"))
    device.publisher.publish(Offer(device.publisher.sign(replace(release, tree=tree))))
    assert refused(device).code == "tree"
    tree = replace(release.tree, size=release.tree.size - 1)
    device.publisher.publish(Offer(device.publisher.sign(replace(release, tree=tree))))
    assert refused(device).code == "archive"


# Keys


def test_a_key_that_is_no_key(device: Device) -> None:
    device.publisher.publish(device.publisher.offer("1.0.0", scheme=Scheme.CAPGO))
    device.key = b"-----BEGIN NOTHING-----\n"
    assert isinstance(refused(device), KeyUseError)
    assert not (device.state / "capgo.pub.pem").exists()
    device.key = pem()
    assert device.install() == "installed"


def test_the_key_of_another_app(device: Device) -> None:
    release = device.publisher.bundle("1.0.0", scheme=Scheme.CAPGO)
    assert release.capgo is not None
    for changed in (
        replace(release.capgo, key_id="A" * 20),
        replace(release.capgo, session_key=bytes(256)),
        replace(release.capgo, session_key=release.capgo.checksum),
    ):
        offer = Offer(device.publisher.sign(replace(release, capgo=changed)))
        device.publisher.publish(offer)
        assert refused(device).code == "decrypt"


def test_another_iv_decrypts_to_other_bytes(device: Device) -> None:
    release = device.publisher.bundle("1.0.0", scheme=Scheme.CAPGO)
    assert release.capgo is not None
    capgo = replace(release.capgo, iv=bytes(16))
    device.publisher.publish(Offer(device.publisher.sign(replace(release, capgo=capgo))))
    assert refused(device).code == "digest"


def test_the_key_in_either_spelling(device: Device) -> None:
    from cryptography.hazmat.primitives import serialization

    device.key = wrapper().public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    device.confirmed(device.publisher.offer("1.0.0", scheme=Scheme.CAPGO))


# Archives, signed by a real release key


def _zip(*members: tuple[str, bytes], mode: int = 0o100644) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.create_system = 3
            archive.writestr(info, data)
    return out.getvalue()


def _declared(size: int) -> bytes:
    data = bytearray(_zip(("index.html", b"x" * 1000)))
    struct.pack_into("<I", data, 22, size)
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, size)
    return bytes(data)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a parent": (_zip(("../../current", b"x")), "path"),
    "an absolute path": (_zip(("/etc/passwd", b"x")), "path"),
    "a drive": (_zip(("C:/x", b"x")), "path"),
    "a backslash": (_zip(("a\\..\\..\\x", b"x")), "path"),
    "a dot": (_zip(("./index.html", b"x")), "path"),
    "a Windows device": (_zip(("con.js", b"x")), "path"),
    "a trailing dot": (_zip(("index.html.", b"x")), "path"),
    "names that differ by case": (_zip(("a", b"x"), ("A", b"y")), "path"),
    "a file that is a folder too": (_zip(("a", b"x"), ("a/b", b"y")), "path"),
    "a symbolic link": (_zip(("index.html", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "archive"),
    "a device": (_zip(("index.html", b""), mode=stat.S_IFCHR | 0o666), "archive"),
    "more than the tree holds": (_zip(("index.html", b"x" * 1_000_000)), "archive"),
    "a declared gigabyte": (_declared(2**30), "archive"),
    "bytes in front": (b"#!/bin/sh\n" + _zip(("index.html", b"x")), "archive"),
    "bytes behind": (_zip(("index.html", b"x")) + b"x", "archive"),
    "no zip": (b"<!doctype html>", "archive"),
    "other files": (_zip(("index.html", b"x")), "tree"),
    "no files": (_zip(), "tree"),
}


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize(("zipped", "code"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive(
    device: Device, tmp_path: Path, scheme: Scheme, zipped: bytes, code: str
) -> None:
    device.confirmed("0.9.0")
    outside = {path for path in tmp_path.rglob("*") if device.state not in path.parents}
    device.publisher.publish(device.publisher.offer("1.0.0", scheme=scheme, zipped=zipped))
    error = refused(device)
    assert (isinstance(error, VerificationError), error.code) == (True, code)
    assert outside == {path for path in tmp_path.rglob("*") if device.state not in path.parents}
    assert len([path for path in (device.state / "bundles").iterdir() if path.is_dir()]) == 1


# Ways


class _Broken:
    """A way that always fails after its download, and counts how often it was tried."""

    name = "broken"

    def __init__(self, error: Error) -> None:
        self.error = error
        self.tried = 0

    def size(self, job: Job) -> int:
        return job.release.bundle.size

    def get(self, job: Job, content: ContentKey | None, progress: Progress, into: Path) -> Tree:
        self.tried += 1
        into.mkdir()
        (into / "half").write_bytes(b"")
        raise self.error


@pytest.mark.parametrize("error", [FormatError("no"), StoreError("no"), Error("no")])
def test_a_cheaper_way_that_fails_gives_way_to_the_whole_bundle(
    device: Device, tmp_path: Path, error: Error
) -> None:
    release = device.publisher.bundle("1.1.0")
    home = Home(tmp_path / "home")
    home.prepare()
    broken = _Broken(error)
    staged = stage(Job(device.site, home, release), lambda _size: None, (broken, WholeBundle()))
    assert (staged.via, broken.tried) == ("bundle", 1)
    assert tree_of(staged.folder).digest() == release.tree.digest
    with pytest.raises(type(error)):
        stage(Job(device.site, home, release), lambda _size: None, (broken,))


# Transport


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


def _ranged(request: Request) -> None:
    """Serve like a plain web server: ranges without conditions, too."""
    data = request.web.files.get(request.path.removeprefix("/app/"))
    wanted = request.headers.get("Range")
    if data is None or wanted is None:
        request.serve()
        return
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
    request.reply(206, data[start:], headers)


def _load(web: Web, publisher: Publisher, release: Release) -> None:
    site = publisher.site
    names = [entry.name for entry in site.names()]
    web.files = {name: stored.data for name in names if (stored := site.get(name))}
    assert blob_name(release.bundle.blob) in web.files


@pytest.mark.parametrize("server", [None, _ranged], ids=["no ranges", "ranges"])
def test_over_http(device: Device, web: Web, server: Callable[[Request], None] | None) -> None:
    release = device.publisher.bundle("1.0.0", BIG, scheme=Scheme.CAPGO)
    device.publisher.publish(Offer(device.publisher.sign(release)))
    _load(web, device.publisher, release)
    web.always = server
    device.site = open_store(web.url)
    blob = blob_name(release.bundle.blob)
    good = web.files[blob]
    part = device.state / "staging" / f"{release.bundle.blob}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(good[:1000])
    outcome = device.updater.install()
    assert outcome.action.value == "installed"
    assert outcome.bytes == len(good) - (1000 if server else 0)
    device.updater.confirm()
    del web.files[manifest_name(CHANNEL)]
    with pytest.raises(StoreError):
        device.install()


def test_a_long_rest_is_taken_to_its_end(device: Device, web: Web) -> None:
    content = {**BIG, "film.bin": random.Random(1).randbytes(3_000_000)}
    release = device.publisher.bundle("1.0.0", content)
    device.publisher.publish(Offer(device.publisher.sign(release)))
    _load(web, device.publisher, release)
    web.always = _ranged
    device.site = open_store(web.url)
    part = device.state / "staging" / f"{release.bundle.blob}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(web.files[blob_name(release.bundle.blob)][:1000])
    assert device.updater.install().bytes == release.bundle.size - 1000
    assert [path for _, path, headers in web.seen if "range" in headers] == [
        f"/app/{blob_name(release.bundle.blob)}"
    ]


def test_a_wrong_range_is_not_believed(device: Device, web: Web) -> None:
    release = device.publisher.bundle("1.0.0", BIG)
    device.publisher.publish(Offer(device.publisher.sign(release)))
    _load(web, device.publisher, release)
    good = web.files[blob_name(release.bundle.blob)]

    def shifted(request: Request) -> None:
        if request.headers.get("Range"):
            headers = {"Content-Range": f"bytes 7-{len(good) - 1}/{len(good)}"}
            request.reply(206, good[7:], headers)
        else:
            request.serve()

    web.always = shifted
    device.site = open_store(web.url)
    part = device.state / "staging" / f"{release.bundle.blob}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(good[:1000])
    assert device.updater.install().bytes == len(good)


def test_a_range_of_another_object_is_found_out(device: Device, web: Web) -> None:
    release = device.publisher.bundle("1.0.0", BIG)
    device.publisher.publish(Offer(device.publisher.sign(release)))
    _load(web, device.publisher, release)
    good = web.files[blob_name(release.bundle.blob)]

    def other(request: Request) -> None:
        if request.headers.get("Range"):
            headers = {"Content-Range": f"bytes 1000-{len(good) - 1}/{len(good)}"}
            request.reply(206, bytes(len(good) - 1000), headers)
        else:
            request.serve()

    web.always = other
    device.site = open_store(web.url)
    part = device.state / "staging" / f"{release.bundle.blob}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(good[:1000])
    assert device.install() == "installed"


def test_from_a_folder(tmp_path: Path) -> None:
    publisher = Publisher(DirectoryStore(tmp_path / "site"))
    device = Device(publisher, tmp_path / "state")
    release = publisher.bundle("1.0.0", BIG)
    publisher.publish(Offer(publisher.sign(release)))
    part = device.state / "staging" / f"{release.bundle.blob}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(publisher.blob(release.bundle.blob)[:1000])
    assert device.updater.install().bytes == release.bundle.size - 1000


class _Cutting(MemoryStore):
    """A store whose connection breaks after so many bytes, each time it is opened."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def open(self, name: str) -> BinaryIO | None:
        found = super().open(name)
        return _Cut(found.read(), self.after) if found else None


class _Cut(io.BytesIO):
    def __init__(self, data: bytes, after: int) -> None:
        super().__init__(data)
        self.left = after

    def read(self, size: int | None = -1, /) -> bytes:
        if self.left == 0:
            raise StoreError("the connection was cut")
        data = super().read(min(self.left, -1 if size is None else size))
        self.left -= len(data)
        return data


def test_cuts_are_healed_while_they_let_something_through(tmp_path: Path) -> None:
    publisher = Publisher(_Cutting(100_000))
    device = Device(publisher, tmp_path / "state")
    release = publisher.bundle("1.0.0", BIG)
    publisher.publish(Offer(publisher.sign(release)))
    assert release.bundle.size > 0
    outcome = device.updater.install()
    assert (outcome.action.value, outcome.bytes) == ("installed", release.bundle.size)


def test_a_trickle_goes_on_run_by_run(tmp_path: Path) -> None:
    publisher = Publisher(_Cutting(100))
    device = Device(publisher, tmp_path / "state")
    release = publisher.bundle("1.0.0")
    publisher.publish(Offer(publisher.sign(release)))
    runs = 1
    while True:
        try:
            device.install()
        except StoreError:
            runs += 1
        else:
            break
    assert runs == -(-release.bundle.size // 100)
