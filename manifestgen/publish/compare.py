"""What a device would download to get from one build to another, by each way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen import bundle
from manifestgen.bundle.fetch import fetch
from manifestgen.core import capgo, diff
from manifestgen.core.cipher import ContentKey
from manifestgen.core.release import Release
from manifestgen.core.tree import File, Tree
from manifestgen.core.version import Version
from manifestgen.errors import KeyUseError, UsageError
from manifestgen.publish.site import Site
from manifestgen.stores.names import blob_name

_WORKERS: Final = 2
_BROTLI: Final = 9  # within a few per cent of what 11 gives, in a tenth of the time


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its files, how to read them, and the bytes of its whole bundle."""

    name: str
    tree: Tree
    read: Callable[[File], bytes]
    bundle: int


@dataclass(frozen=True, slots=True)
class Way:
    """One way to get there: what is transferred, in how many requests."""

    name: str
    bytes: int
    requests: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How many files of the new side the old one has, under whatever name, and the ways to it."""

    same: int
    files: int
    ways: tuple[Way, ...]


def compare(old: Side, new: Side) -> Difference:
    """Work out every way from one side to the other; nothing is encrypted or stored."""
    there = {file.sha256 for file in old.tree.files}
    lacking = {file.sha256: file for file in new.tree.files if file.sha256 not in there}
    with ThreadPoolExecutor(_WORKERS) as pool:
        single = sum(pool.map(lambda file: _brotli(new.read(file)), lacking.values()))
        patch = diff.make(old.tree, old.read, new.tree, new.read, each=pool.map)
    return Difference(
        same=sum(file.sha256 in there for file in new.tree.files),
        files=len(new.tree.files),
        ways=(
            Way("bundle", new.bundle, 1),
            Way("files", single, len(lacking)),
            Way("patch", len(patch), 1),
        ),
    )


def open_folder(build: bundle.Build, scratch: Path) -> Side:
    """Take a build as one side; it is packed into scratch to learn its size."""
    path = scratch / f"{len(list(scratch.iterdir()))}.zip"
    with path.open("w+b") as out:
        packed = bundle.pack(build, out)
    return Side(str(build.folder), packed.tree, bundle.Contents(path).read, packed.size)


def open_version(
    site: Site, version: Version, scratch: Path, public: Callable[[], RSAPublicKey]
) -> Side:
    """Take a version of a site as one side; `public` gives the key that bundles are opened with.

    Raises:
        UsageError: there is no such version, or its bundle was pruned.
        KeyUseError: it is encrypted for another Capgo key.
        VerificationError: it is not what was signed.
    """
    found = site.release(version)
    if found is None:
        raise UsageError(
            f"{version} is neither a folder nor a release in {site.store.location}",
            hint="name a build folder, or a version that `manifestgen channel list` shows",
        )
    release = found[1]
    path = scratch / f"{release.bundle.blob}.zip"
    if not fetch(site.store, release.bundle, _key(release, public), path):
        raise UsageError(
            f"the bundle of {version} is no longer in the site",
            hint=f"{blob_name(release.bundle.blob)} was pruned; name the build folder instead",
        )
    contents = bundle.Contents(path, limit=release.tree.size)
    return Side(str(version), contents.tree(), contents.read, release.bundle.size)


def _key(release: Release, public: Callable[[], RSAPublicKey]) -> ContentKey | None:
    if release.capgo is None:
        return None
    key = public()
    if capgo.key_id(key) != release.capgo.key_id:
        raise KeyUseError(
            f"{release.version} is encrypted for the Capgo key {release.capgo.key_id}",
            hint="restore that key's public half as .manifestgen/capgo.pub.pem",
        )
    return capgo.unwrap(key, release.capgo)


def _brotli(content: bytes) -> int:
    import brotli

    return len(brotli.compress(content, quality=_BROTLI))
