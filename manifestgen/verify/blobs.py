"""Blobs: what is stored is what was signed, and so is what a device gets out of it.

Each is streamed once: digested, decrypted with the public key alone into a temporary file, and
from there read as a device reads it. Nothing is parsed before the digest of the stored bytes has
been found right. Several at a time: see `stores.parallel`.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen.core import capgo, cipher
from manifestgen.core.archive import tree_of
from manifestgen.core.files import Encoding, FileList, SingleFile, decompress
from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.limits import LIMITS
from manifestgen.core.release import Payload, Release, Wrapped
from manifestgen.core.tree import Digest
from manifestgen.errors import VerificationError
from manifestgen.stores.interface import Store
from manifestgen.stores.names import blob_name
from manifestgen.stores.parallel import in_turn, workers
from manifestgen.stores.scratch import scratch_explained

_CHUNK: Final = 1024 * 1024  # bytes read at a time


@dataclass(frozen=True, slots=True)
class Job:
    """A blob to check: against a `payload`, and as a release's bundle where there is a `release`.

    `payload` is `None` for a blob that no document names; then only its name speaks. A `needed`
    one must be there. `what` says in messages what it is. With a `single`, it is that file of the
    release, and not its bundle.
    """

    blob: Digest
    payload: Payload | None = None
    release: Release | None = None
    needed: bool = False
    what: str = ""
    single: SingleFile | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a job; `size` is in bytes, `None` for a blob that is not there.

    `keyless` marks a note that is true of every blob, because no Capgo key is known.
    """

    job: Job
    size: int | None
    error: VerificationError | None = None
    note: str | None = None
    keyless: bool = False

    @property
    def name(self) -> str:
        """Where the blob lies."""
        return blob_name(self.job.blob)


def bundle_jobs(releases: Iterable[Release], *, needed: bool) -> Iterator[Job]:
    """Make the jobs for releases' bundles."""
    for one in releases:
        yield Job(one.bundle.blob, one.bundle, one, needed, f"the bundle of {one.version}")


def list_jobs(releases: Iterable[Release], *, needed: bool) -> Iterator[Job]:
    """Make the jobs for lists of single files; `file_jobs` are for what is in them."""
    for one in releases:
        if one.files:
            what = f"the list of files of {one.version}"
            yield Job(one.files.blob, one.files, None, needed, what)


def file_jobs(release: Release, listed: FileList, *, needed: bool) -> Iterator[Job]:
    """Make the jobs for the single files of a release."""
    for one in listed.files:
        payload = Payload(one.blob, one.stored, one.file.sha256, one.file.size)
        what = f"{one.file.path!r} of {release.version}"
        yield Job(one.blob, payload, release, needed, what, one)


def patch_jobs(manifests: Iterable[TrustedManifest], *, needed: bool) -> Iterator[Job]:
    """Make the jobs for patches: as stored only; what they make of their base is for `patches`."""
    for trusted in manifests:
        for offer, release in zip(trusted.manifest.offers, trusted.releases, strict=True):
            if isinstance(release, Release):
                for patch in offer.patches:
                    what = f"a patch to {release.version}"
                    yield Job(patch.payload.blob, patch.payload, None, needed, what)


def check_blobs(store: Store, jobs: Sequence[Job], public: RSAPublicKey | None) -> list[Checked]:
    """Do all jobs, several at a time; results come in the order of the jobs."""
    with ThreadPoolExecutor(workers(store), "blobs") as pool:
        return list(in_turn(pool, lambda job: check_blob(store, job, public), jobs))


def check_blob(store: Store, job: Job, public: RSAPublicKey | None) -> Checked:
    """Check one blob.

    Raises:
        StoreError: it cannot be read at all.
    """
    file = store.open(blob_name(job.blob))
    if file is None:
        return Checked(job, None)
    with file:
        stored = _Measured(file, job.payload.size if job.payload else LIMITS.bundle_bytes)
        try:
            note = _judge(stored, job, public)
        except VerificationError as error:
            return Checked(job, stored.size, error)
    return Checked(job, stored.size, None, note, keyless=public is None)


def _judge(stored: "_Measured", job: Job, public: RSAPublicKey | None) -> str | None:
    if job.release is None:
        _drain(stored)
        stored.check(job.blob, job.payload)
        return None
    release = job.release
    if job.single:
        return _judge_single(stored, job, job.single, release.capgo, public)
    if release.capgo is None:
        _check_content(stored, job.blob, release, stored)
        return None
    if public is None:
        _drain(stored)
        stored.check(job.blob, release.bundle)
        return "decryption was not checked: no Capgo public key is known; name one with `--key`"
    if not job.needed and release.capgo.key_id != capgo.key_id(public):
        _drain(stored)
        stored.check(job.blob, release.bundle)
        return "not decrypted: it was encrypted for apps of another Capgo key"
    _check_content(stored, job.blob, release, _decrypted(stored, release.capgo, public))
    capgo.check_wrapped(public, release.capgo, release.bundle.plain)
    return None


def _judge_single(
    stored: "_Measured",
    job: Job,
    single: SingleFile,
    wrapped: Wrapped | None,
    public: RSAPublicKey | None,
) -> str | None:
    if wrapped and (public is None or wrapped.key_id != capgo.key_id(public)):
        _drain(stored)
        stored.check(job.blob, job.payload)
        return None  # that it was not decrypted is told of the bundle
    digest, problem = hashlib.sha256(), None
    try:
        plain = _decrypted(stored, wrapped, public) if wrapped and public else iter(stored)
        if single.encoding is Encoding.BROTLI:
            plain = decompress(plain, single.file.size)
        for chunk in plain:
            digest.update(chunk)
    except VerificationError as error:
        problem = error
    _drain(stored)
    stored.check(job.blob, job.payload)
    if problem:
        raise problem
    if digest.hexdigest() != single.file.sha256:
        raise VerificationError("it holds another content than was signed", code="digest")
    if wrapped and public and single.checksum:
        capgo.check_digest(public, single.checksum, single.file.sha256, wrapped.form)
    return None


def _decrypted(stored: "_Measured", wrapped: Wrapped, public: RSAPublicKey) -> Iterator[bytes]:
    """Give the decrypted chunks; the stored ones have all gone by before an error is raised."""
    try:
        yield from cipher.decrypt(stored, capgo.unwrap(public, wrapped))
    except VerificationError:
        _drain(stored)
        raise


def _check_content(
    stored: "_Measured", blob: Digest, release: Release, plain: Iterable[bytes]
) -> None:
    with tempfile.TemporaryFile() as file:
        problem = _copy(plain, file)
        stored.check(blob, release.bundle)
        if problem:
            raise problem
        file.seek(0)
        whole = _Measured(file, release.bundle.plain_size)
        _drain(whole)
        if (whole.digest, whole.size) != (release.bundle.plain, release.bundle.plain_size):
            raise VerificationError("it decrypts to other bytes than were signed", code="digest")
        _check_tree(file, release)


def _check_tree(file: BinaryIO, release: Release) -> None:
    tree = tree_of(file, limit=release.tree.size)
    found = tree.digest(), len(tree.files), tree.size
    if found != (release.tree.digest, release.tree.files, release.tree.size):
        raise VerificationError(
            f"the files in it are not the tree that release {release.version} signed", code="tree"
        )


def _copy(chunks: Iterable[bytes], file: BinaryIO) -> VerificationError | None:
    """Write decrypted chunks; return rather than raise why they do not decrypt.

    Whether the stored bytes are those that were signed is the better thing to say first.
    """
    iterator = iter(chunks)
    while True:
        try:
            chunk = next(iterator, None)
        except VerificationError as error:
            return error
        if chunk is None:
            return None
        with scratch_explained():
            file.write(chunk)


def _drain(chunks: Iterable[bytes]) -> None:
    for _ in chunks:
        pass


class _Measured:
    """The chunks of a file, digested as they go by; a byte beyond `limit` is the last one read."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._digest = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(min(_CHUNK, self._limit + 1 - self.size)):
            self._digest.update(chunk)
            self.size += len(chunk)
            yield chunk

    @property
    def digest(self) -> Digest:
        """The SHA-256 of what went by."""
        return Digest(self._digest.hexdigest())

    def check(self, blob: Digest, payload: Payload | None) -> None:
        """Raise `VerificationError` (`digest`) unless all that went by is that blob."""
        if payload is not None and self.size != payload.size:
            found = f"more than {payload.size}" if self.size > payload.size else str(self.size)
            raise VerificationError(f"has {found} bytes, {payload.size} were signed", code="digest")
        if self.digest != blob:
            raise VerificationError(
                f"its SHA-256 begins {self.digest[:12]}, which is not its name", code="digest"
            )
