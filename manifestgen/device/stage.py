"""Get a release into a folder in staging: the ways to do it, tried in order, the whole bundle last.

A way names a payload and makes a tree of its plain bytes. What all have in common is here: room on
the disk, the download, the stored digest before anything is decrypted, the plain digest after, and
the tree's digest before anybody may switch to it.
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
from manifestgen.errors import KeyUseError, StoreError, VerificationError
from manifestgen.stores import Store

_LOG = logging.getLogger(__name__)
_SLACK: Final = 1024 * 1024  # bytes for names, folders and the state itself


@dataclass(frozen=True, slots=True)
class Job:
    """One release to be had; `keys` are public keys in PEM, one of which opens it."""

    site: Store
    home: Home
    release: Release
    patch: Patch | None = None
    keys: tuple[bytes, ...] = ()


class Way(Protocol):
    """One way to get a release."""

    @property
    def name(self) -> str:
        """The way in one word, for reports."""
        ...

    def payload(self, job: Job) -> Payload | None:
        """Return what would be downloaded, or `None` if this way does not apply."""
        ...

    def key(self, job: Job, content: ContentKey) -> ContentKey:
        """Return the payload's key, given the release's."""
        ...

    def build(self, job: Job, plain: Path, into: Path) -> Tree:
        """Make the folder `into` of the plain payload; return what was made, unchecked."""
        ...


@dataclass(frozen=True, slots=True)
class WholeBundle:
    """The release's own bundle: works for everybody."""

    name: str = "bundle"

    def payload(self, job: Job) -> Payload:
        """Return the bundle."""
        return job.release.bundle

    def key(self, job: Job, content: ContentKey) -> ContentKey:
        """Return the content key itself."""
        return content

    def build(self, job: Job, plain: Path, into: Path) -> Tree:
        """Unpack."""
        with plain.open("rb") as file:
            return unpack(file, into, limit=job.release.tree.size)


@dataclass(frozen=True, slots=True)
class FromRunning:
    """A patch from the release that runs, where there is one and it is worth it."""

    name: str = "patch"

    def payload(self, job: Job) -> Payload | None:
        """Return the patch, unless the bundle is as small."""
        if job.patch is None or job.patch.payload.size >= job.release.bundle.size:
            return None
        return job.patch.payload

    def key(self, job: Job, content: ContentKey) -> ContentKey:
        """Derive the patch's key."""
        return (
            content
            if job.patch is None
            else payload_key(content, kind="patch", base=job.patch.base)
        )

    def build(self, job: Job, plain: Path, into: Path) -> Tree:
        """Apply the patch to the base as it is on disk; it must still be what was installed."""
        base = job.home.bundle(job.patch.base) if job.patch else into
        try:
            tree = files.tree_of(base)
        except OSError as error:
            raise VerificationError(
                f"the base of the patch cannot be read: {error.strerror or error}", code="patch"
            ) from error
        with plain.open("rb") as file:
            return apply_patch(
                file,
                base,
                tree,
                into,
                target=job.release.tree.digest,
                limit=job.release.tree.size,
            )


WAYS: Final[tuple[Way, ...]] = (FromRunning(), WholeBundle())
"""Cheapest first."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A checked folder in staging, and the way it came."""

    folder: Path
    via: str


def applicable(job: Job, ways: Sequence[Way] = WAYS) -> list[tuple[Way, Payload]]:
    """Return the ways that apply, with what each would download."""
    found = ((way, way.payload(job)) for way in ways)
    return [(way, payload) for way, payload in found if payload is not None]


def stage(job: Job, progress: Progress, ways: Sequence[Way] = WAYS) -> Staged:
    """Get a release by the first way that works.

    Raises:
        KeyUseError: it is encrypted, and no key was given.
        StoreError, VerificationError: the last way failed, too.
    """
    content = _content_key(job)
    *others, last = applicable(job, ways)
    for way, payload in others:
        try:
            return _stage(job, way, payload, content, progress)
        except (StoreError, VerificationError) as error:
            _LOG.info("no %s: %s", way.name, error)
    return _stage(job, *last, content, progress)


def _stage(
    job: Job, way: Way, payload: Payload, content: ContentKey | None, progress: Progress
) -> Staged:
    staging = job.home.staging
    part, folder = staging / f"{payload.blob}.part", staging / "tree"
    job.home.tidy_staging(keep=part)
    _check_room(job, payload, part)
    download(job.site, payload, part, progress)
    key = None if content is None else way.key(job, content)
    tree = way.build(job, _plain(payload, part, key), folder)
    if tree.digest() != job.release.tree.digest:
        files.remove(folder)
        raise VerificationError(
            f"the {way.name} of {job.release.version} holds other files than were signed",
            code="tree",
        )
    return Staged(folder, way.name)


def _content_key(job: Job) -> ContentKey | None:
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


def _plain(payload: Payload, part: Path, key: ContentKey | None) -> Path:
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


def _check_room(job: Job, payload: Payload, part: Path) -> None:
    decrypted = payload.plain_size if job.release.capgo else 0
    needed = payload.size - kept(part) + decrypted + job.release.tree.size + _SLACK
    free = shutil.disk_usage(job.home.folder).free
    if free < needed:
        raise StoreError(
            f"{job.home.folder} has {free} bytes free; {needed} are needed",
            hint="make room and run the same command again",
            code="full",
        )
