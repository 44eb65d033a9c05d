"""Get a release into a folder in staging: the cheapest way, and the whole bundle where that fails.

A way says what it would download and makes a tree of it. What all have in common is here: room on
the disk, the download, the stored digest before anything is decrypted, the plain digest after, and
the tree's digest before anybody may switch to it. `single` has the way by single files.
"""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from manifestgen.bundle.patched import apply_patch
from manifestgen.bundle.unpack import unpack
from manifestgen.core import capgo
from manifestgen.core.cipher import ContentKey, decrypt, payload_key
from manifestgen.core.manifest import Patch
from manifestgen.core.release import Payload, Release
from manifestgen.core.tree import Digest, Tree
from manifestgen.device import files
from manifestgen.device.download import Progress, chunks, download, kept
from manifestgen.device.home import Home
from manifestgen.errors import Error, KeyUseError, StoreError, VerificationError
from manifestgen.stores import Store

_LOG = logging.getLogger(__name__)
_SLACK: Final = 1024 * 1024  # bytes for names, folders and the state itself


@dataclass(frozen=True, slots=True)
class Job:
    """One release to be had.

    `keys` are public keys in PEM, one of which opens it. `held` are folders of releases that may
    be here, whose files need not come again.
    """

    site: Store
    home: Home
    release: Release
    patch: Patch | None = None
    keys: tuple[bytes, ...] = ()
    held: tuple[Path, ...] = ()


class Way(Protocol):
    """One way to get a release."""

    @property
    def name(self) -> str:
        """The way in one word, for reports."""
        ...

    def size(self, job: Job) -> int | None:
        """Return how many bytes would be downloaded, or `None` if this way does not apply."""
        ...

    def get(self, job: Job, content: ContentKey | None, progress: Progress, into: Path) -> Tree:
        """Download, and make the folder `into` of it; return what was made, unchecked."""
        ...


@dataclass(frozen=True, slots=True)
class WholeBundle:
    """The release's own bundle: works for everybody."""

    name: str = "bundle"

    def size(self, job: Job) -> int:
        """Return the bundle's."""
        return job.release.bundle.size

    def get(self, job: Job, content: ContentKey | None, progress: Progress, into: Path) -> Tree:
        """Unpack."""
        plain = _plain(job, job.release.bundle, content, progress)
        with plain.open("rb") as file:
            return unpack(file, into, limit=job.release.tree.size)


@dataclass(frozen=True, slots=True)
class FromRunning:
    """A patch from the release that runs, where there is one and it is worth it."""

    name: str = "patch"

    def size(self, job: Job) -> int | None:
        """Return the patch's, unless the bundle is as small."""
        if job.patch is None or job.patch.payload.size >= job.release.bundle.size:
            return None
        return job.patch.payload.size

    def get(self, job: Job, content: ContentKey | None, progress: Progress, into: Path) -> Tree:
        """Apply the patch to the base as it is on disk; it must still be what was installed."""
        patch = job.patch
        if patch is None:
            raise VerificationError("there is no patch", code="patch")
        key = content and payload_key(content, kind="patch", base=patch.base)
        plain = _plain(job, patch.payload, key, progress)
        base = job.home.bundle(patch.base)
        try:
            tree = files.tree_of(base)
        except OSError as error:
            raise VerificationError(
                f"the base of the patch cannot be read: {error.strerror or error}", code="patch"
            ) from error
        wanted = job.release.tree
        with plain.open("rb") as file:
            return apply_patch(file, base, tree, into, target=wanted.digest, limit=wanted.size)


@dataclass(frozen=True, slots=True)
class Staged:
    """A checked folder in staging, and the way it came."""

    folder: Path
    via: str


def stage(job: Job, progress: Progress, ways: Sequence[Way]) -> Staged:
    """Get a release by the first way that works.

    Raises:
        KeyUseError: it is encrypted, and no key was given.
        Error: the last way failed, too.
    """
    content = content_key(job)
    *others, last = ways
    for way in others:
        try:
            return _stage(job, way, content, progress)
        except Error as error:  # of the disk, too: names that it cannot hold come of a bad patch
            _LOG.info("no %s: %s", way.name, error)
    return _stage(job, last, content, progress)


def _stage(job: Job, way: Way, content: ContentKey | None, progress: Progress) -> Staged:
    folder = job.home.staging / "tree"
    files.remove(folder)
    tree = way.get(job, content, progress, folder)
    if tree.digest() != job.release.tree.digest:
        files.remove(folder)
        raise VerificationError(
            f"the {way.name} of {job.release.version} holds other files than were signed",
            code="tree",
        )
    return Staged(folder, way.name)


def content_key(job: Job) -> ContentKey | None:
    """Return what opens a release, if it is encrypted; raise `KeyUseError` if no key was given."""
    wrapped = job.release.capgo
    if wrapped is None:
        return None
    if not job.keys:
        raise KeyUseError(
            f"release {job.release.version} is encrypted, and there is no key to open it",
            hint="pass the app's public key with `--key capgo.pub.pem`",
        )
    keys = [capgo.load_public(pem) for pem in job.keys]
    fitting = (key for key in keys if capgo.key_id(key) == wrapped.key_id)
    return capgo.unwrap(next(fitting, keys[0]), wrapped)


def _plain(job: Job, payload: Payload, key: ContentKey | None, progress: Progress) -> Path:
    """Download a payload; what else is in staging is removed."""
    part = job.home.staging / f"{payload.blob}.part"
    job.home.tidy_staging(keep=part)
    decrypted = payload.plain_size if job.release.capgo else 0
    check_room(job, payload.size - kept(part) + decrypted)
    download(job.site, payload, part, progress)
    return _opened(payload, part, key)


def _opened(payload: Payload, part: Path, key: ContentKey | None) -> Path:
    """Return a file of the plain bytes that were signed: decrypted, or the part itself."""
    if key is None:
        if (payload.plain, payload.plain_size) != (payload.blob, payload.size):
            raise VerificationError("signed as encrypted and not encrypted at once", code="digest")
        return part
    plain = part.with_suffix(".plain")
    digest, size = hashlib.sha256(), 0
    with plain.open("wb") as file:
        for chunk in decrypt(chunks(part), key):
            digest.update(chunk)
            size += file.write(chunk)
    if Digest(digest.hexdigest()) != payload.plain or size != payload.plain_size:
        files.remove(plain)
        raise VerificationError(
            f"blob {payload.blob[:12]} decrypts to other bytes than were signed", code="digest"
        )
    return plain


def check_room(job: Job, more: int) -> None:
    """Raise `StoreError` unless a release's files and so many bytes more find room on the disk."""
    needed = more + job.release.tree.size + _SLACK
    free = shutil.disk_usage(job.home.folder).free
    if free < needed:
        raise StoreError(
            f"{job.home.folder} has {free} bytes free; {needed} are needed",
            hint="make room and run the same command again",
            code="full",
        )
