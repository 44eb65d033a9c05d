"""Single files: what is here is not fetched, and whatever fails leaves the whole bundle, once."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import brotli
import pytest

from manifestgen.core.files import LIST_BYTES, FileList, SingleFile
from manifestgen.core.manifest import Offer
from manifestgen.core.release import Release, Scheme
from manifestgen.core.tree import Digest, sha256
from manifestgen.errors import StoreError
from manifestgen.stores import open_store
from manifestgen.stores.names import blob_name
from tests.device.publisher import Device, Publisher, page, pem
from tests.device.test_patch import app as patched_app
from tests.device.test_patch import stored as stored_patch
from tests.stores.web import serving
from tests.vectors.patches import Files

Change: TypeAlias = Callable[[SingleFile], SingleFile]

NOISE = random.Random(2).randbytes(60_000)  # so that a bundle is much larger than a list


def app(version: str) -> Files:
    """Return an app of which three files change, and one moves."""
    return {
        **page(version),
        "assets/style.css": f"/* {version} */".encode(),
        f"assets/moves-{version}.bin": NOISE,
        "same.bin": NOISE[::-1],
        "changes.bin": version.encode() * 3,
        "copy-of-changes.bin": version.encode() * 3,
    }


@pytest.fixture(params=Scheme)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    found: Scheme = request.param
    return found


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def device(publisher: Publisher, tmp_path: Path, scheme: Scheme) -> Device:
    """Give a device that runs 1.0.0."""
    device = Device(publisher, tmp_path / "state")
    device.key = pem()
    device.confirmed(publisher.offer("1.0.0", files=app("1.0.0"), scheme=scheme))
    return device


def release_of(publisher: Publisher, scheme: Scheme, version: str = "1.1.0") -> Release:
    made = publisher.bundle(version, app(version), scheme=scheme)
    return publisher.listed(made, app(version))


def offered(publisher: Publisher, release: Release) -> None:
    publisher.publish(Offer(publisher.sign(release)))


def entries(publisher: Publisher, release: Release) -> dict[str, SingleFile]:
    assert release.files is not None
    listed = FileList.decode(publisher.blob(release.files.blob), release)
    return {one.file.path: one for one in listed.files}


def files_of(device: Device) -> Files:
    folder = device.state / "current"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def lacking(publisher: Publisher, release: Release) -> dict[Digest, int]:
    """Return the blobs of the files that are new in 1.1.0, with their sizes."""
    new = ("index.html", "assets/style.css", "changes.bin")
    every = entries(publisher, release)
    return {every[path].blob: every[path].stored for path in new}


def installs(device: Device, via: str) -> int:
    """Install 1.1.0 and return the bytes that were transferred."""
    outcome = device.updater.install()
    assert (outcome.action.value, outcome.via) == ("installed", via)
    assert files_of(device) == app("1.1.0")
    assert not list((device.state / "staging").iterdir())
    device.updater.confirm()
    return outcome.bytes


def test_only_what_is_lacking_is_fetched(
    publisher: Publisher, device: Device, scheme: Scheme
) -> None:
    release = release_of(publisher, scheme)
    offered(publisher, release)
    assert release.files is not None
    wanted = lacking(publisher, release)
    with serving() as server:
        names = [entry.name for entry in publisher.site.names()]
        server.files = {name: one.data for name in names if (one := publisher.site.get(name))}
        device.site = open_store(server.url)
        foreseen = device.updater.check()
        server.seen.clear()
        transferred = installs(device, "files")
        paths = [path.removeprefix("/app/") for _, path, _ in server.seen if "/blobs/" in path]
    assert sorted(paths) == sorted(map(blob_name, [*wanted, release.files.blob]))
    assert transferred == release.files.size + sum(wanted.values())
    assert (foreseen.via, foreseen.bytes) == ("files", transferred)
    assert transferred < release.bundle.size / 10


def test_files_of_the_release_before_count_as_here(
    publisher: Publisher, device: Device, scheme: Scheme
) -> None:
    offered(publisher, release_of(publisher, scheme))
    installs(device, "files")
    extra = {**app("1.0.0"), "more.bin": b"more"}
    back = publisher.listed(publisher.bundle("1.2.0", extra, scheme=scheme), extra)
    offered(publisher, back)
    assert back.files is not None
    more = entries(publisher, back)["more.bin"].stored
    assert device.updater.install().bytes == back.files.size + more
    assert files_of(device) == extra


def test_the_first_install_takes_the_bundle(
    publisher: Publisher, tmp_path: Path, scheme: Scheme
) -> None:
    device = Device(publisher, tmp_path / "first")
    device.key = pem()
    release = release_of(publisher, scheme)
    offered(publisher, release)
    assert installs(device, "bundle") == release.bundle.size


def test_files_changed_on_disk_are_all_that_mending_fetches(
    publisher: Publisher, device: Device, scheme: Scheme
) -> None:
    release = release_of(publisher, scheme)
    offered(publisher, release)
    installs(device, "files")
    folder = (device.state / "current").resolve()
    (folder / "index.html").unlink()
    (folder / "index.html").symlink_to(folder / "same.bin")
    (folder / "changes.bin").write_bytes(b"evil")
    assert release.files is not None
    one = entries(publisher, release)["index.html"]
    # Of the two with the same content the other one is as it was.
    assert installs(device, "files") == release.files.size + one.stored


SPOIL: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "altered": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "altered at the front": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "cut": lambda data: data[:-1],
    "cut to nothing": lambda _: b"",
    "a login page": lambda _: b"<!doctype html>login",
}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
@pytest.mark.parametrize("path", ["list", "assets/style.css", "changes.bin"])
def test_what_is_not_as_signed_leaves_the_bundle_once(
    publisher: Publisher,
    device: Device,
    scheme: Scheme,
    path: str,
    spoil: Callable[[bytes], bytes | None],
) -> None:
    release = release_of(publisher, scheme)
    offered(publisher, release)
    assert release.files is not None
    blob = release.files.blob if path == "list" else entries(publisher, release)[path].blob
    spoilt, sizes = spoil(publisher.blob(blob)), lacking(publisher, release)
    if spoilt is None:
        publisher.site.delete(blob_name(blob))
    else:
        publisher.put(blob_name(blob), spoilt)
    wanted = release.files.size + (0 if path == "list" else sum(sizes.values()))
    assert 0 <= installs(device, "bundle") - release.bundle.size <= wanted


@pytest.mark.parametrize("path", ["list", "changes.bin"])
def test_where_the_bundle_is_gone_too_the_old_release_runs_on(
    publisher: Publisher, device: Device, scheme: Scheme, path: str
) -> None:
    release = release_of(publisher, scheme)
    offered(publisher, release)
    assert release.files is not None
    blob = release.files.blob if path == "list" else entries(publisher, release)[path].blob
    for gone in (blob, release.bundle.blob):
        publisher.site.delete(blob_name(gone))
    with pytest.raises(StoreError):
        device.install()
    assert files_of(device) == app("1.0.0")


def changed(path: str, **changes: object) -> Callable[[dict[str, SingleFile]], None]:
    """Let the list lie about one file."""

    def change(every: dict[str, SingleFile]) -> None:
        every[path] = replace(every[path], **changes)  # type: ignore[arg-type]

    return change


def swapped(every: dict[str, SingleFile]) -> None:
    """Name each other's blobs, so that all digests of what is stored are right."""
    one, other = every["index.html"], every["assets/style.css"]
    every["index.html"] = replace(one, blob=other.blob, stored=other.stored)
    every["assets/style.css"] = replace(other, blob=one.blob, stored=one.stored)


def left_out(every: dict[str, SingleFile]) -> None:
    """List one file fewer than the release has."""
    del every["index.html"]


LIES: dict[str, Callable[[dict[str, SingleFile]], None]] = {
    "two gigabytes declared": changed("index.html", stored=(2**31 - 1) // 16 * 16),
    "as many bytes as the bundle": changed("index.html", stored=1_600_000),
    "a blob that is not there": changed("index.html", blob=sha256(b"nowhere")),
    "more bytes than there are": changed("index.html", stored=160),
    "swapped": swapped,
    "one left out": left_out,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_list_that_lies_leaves_the_bundle(
    publisher: Publisher,
    device: Device,
    scheme: Scheme,
    lie: Callable[[dict[str, SingleFile]], None],
) -> None:
    release = release_of(publisher, scheme)
    every = entries(publisher, release)
    lie(every)
    release = publisher.naming(release, FileList(tuple(every.values())))
    offered(publisher, release)
    assert release.files is not None
    assert installs(device, "bundle") < release.bundle.size + release.files.size + 1000


@pytest.mark.parametrize("scheme", [Scheme.NONE])  # the same once it is decrypted
def test_a_compressed_file_that_unpacks_to_more_is_stopped(
    publisher: Publisher, device: Device, scheme: Scheme
) -> None:
    """A stream of 64 MiB in 12 KB; `size` is what the tree says."""
    release = release_of(publisher, scheme)
    every = entries(publisher, release)
    bomb = brotli.compress(bytes(2**26), quality=1)
    publisher.put(blob_name(sha256(bomb)), bomb)
    changed("index.html", blob=sha256(bomb), stored=len(bomb))(every)
    offered(publisher, publisher.naming(release, FileList(tuple(every.values()))))
    installs(device, "bundle")


def test_a_list_that_is_declared_too_large_is_not_even_fetched(
    publisher: Publisher, device: Device, scheme: Scheme
) -> None:
    release = release_of(publisher, scheme)
    assert release.files is not None
    for size in (release.bundle.size // 8 + 1, LIST_BYTES + 1, 2**31 - 1):
        listed = replace(release.files, size=size, plain_size=size)
        offered(publisher, replace(release, files=listed))
        foreseen = device.updater.check()
        assert (foreseen.via, foreseen.bytes) == ("bundle", release.bundle.size)
    assert installs(device, "bundle") == release.bundle.size


def test_a_tree_size_that_lies_is_found_out(
    publisher: Publisher, device: Device, scheme: Scheme
) -> None:
    release = release_of(publisher, scheme)
    tree = replace(release.tree, size=release.tree.size + 1)
    offered(publisher, replace(release, tree=tree))
    installs(device, "bundle")


def test_the_fewest_bytes_decide_between_a_patch_and_files(
    publisher: Publisher, tmp_path: Path
) -> None:
    device = Device(publisher, tmp_path / "patched")
    device.confirmed(publisher.offer("1.0.0", files=patched_app("1.0.0")))
    files = patched_app("1.1.0")
    release = publisher.listed(publisher.bundle("1.1.0", files), files)
    small = stored_patch(publisher, release, "1.0.0", bytes)
    large = stored_patch(publisher, release, "1.0.0", lambda data: data + NOISE[:30_000])
    for patch, way in ((small, "patch"), (large, "files")):
        publisher.publish(Offer(publisher.sign(release), patches=(patch,)))
        assert device.updater.check().via == way


def test_files_altered_while_they_are_copied_leave_the_bundle(
    publisher: Publisher, device: Device, scheme: Scheme
) -> None:
    """What was found here is read again, and may be gone or another by then."""
    release = release_of(publisher, scheme)
    offered(publisher, release)
    target = (device.state / "current").resolve() / "same.bin"
    real = publisher.site.open
    last = list(lacking(publisher, release))[-1]

    class Meddling:
        """A site at whose last answer somebody changes a file on the device."""

        def __getattr__(self, name: str) -> object:
            return getattr(publisher.site, name)

        def open(self, name: str) -> object:
            if name == blob_name(last):
                target.write_bytes(NOISE)
            return real(name)

    device.site = Meddling()  # type: ignore[assignment]
    installs(device, "bundle")


def test_what_a_killed_run_fetched_is_not_fetched_again(
    publisher: Publisher, device: Device, scheme: Scheme
) -> None:
    release = release_of(publisher, scheme)
    offered(publisher, release)
    assert release.files is not None
    blob, *others = lacking(publisher, release)
    parts = device.state / "staging" / f"{release.tree.digest}.files"
    parts.mkdir(parents=True)
    (parts / f"{blob}.part").write_bytes(publisher.blob(blob))
    sizes = lacking(publisher, release)
    assert installs(device, "files") == release.files.size + sum(sizes[one] for one in others)
