"""The single files of a release: found again in an earlier list, or compressed and encrypted.

An entry of an earlier list serves again where a release that verifies by today's root named that
list, under the same key, and the blob is still there in its size. Its wrapped digest is opened with
the public key and compared with the content's, so nothing is signed on the word of a file.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Final, TypeAlias

from manifestgen import bundle
from manifestgen.bundle.chunks import chunks_of
from manifestgen.core import capgo, cipher, files
from manifestgen.core.cipher import ContentKey
from manifestgen.core.files import Encoding, FileList, SingleFile
from manifestgen.core.release import Payload, Release, Wrapped
from manifestgen.core.tree import Digest, File, Tree, sha256
from manifestgen.errors import Error, VerificationError
from manifestgen.stores import Store
from manifestgen.stores.batch import add_all
from manifestgen.stores.file_lists import usable_file_list
from manifestgen.stores.names import blob_name
from manifestgen.stores.parallel import LOCAL, all_of, askers, in_turn, workers

_WORKERS: Final = 4  # brotli and ciphers let go of the interpreter

_Kind: TypeAlias = tuple[Digest, bool, bool]
"""All that the blob of a file depends on, under one key."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A list ready to be stored, and the blobs that the site lacks, as files in scratch."""

    data: bytes
    count: int
    fresh: Mapping[Digest, Path]

    @property
    def payload(self) -> Payload:
        """What a release says of it."""
        digest, size = sha256(self.data), len(self.data)
        return Payload(digest, size, digest, size)

    def add_to(self, store: Store) -> int:
        """Store the blobs, then the list that names them; return how many were not there."""
        added = add_all(store, {blob_name(blob): path for blob, path in self.fresh.items()})
        store.add(blob_name(self.payload.blob), self.data)
        return added


@dataclass(frozen=True, slots=True)
class Wrapping:
    """Under what files are encrypted, and who wraps their digests."""

    key: ContentKey
    wrapped: Wrapped
    wrapper: capgo.Wrapper


def list_files(
    store: Store,
    build: bundle.Build,
    tree: Tree,
    wrapping: Wrapping | None,
    *,
    scratch: Path,
    earlier: Iterable[Release] = (),
) -> Listed:
    """Make the list of a build's files, and the blobs that no `earlier` release has.

    Raises:
        Error: a file changed since it was packed.
    """
    wrapped = wrapping.wrapped if wrapping else None
    kinds = {_kind(file): file for file in tree.files}
    known = _known(store, earlier, wrapped)
    there = _there(store, [known[kind] for kind in kinds if kind in known])
    made: dict[_Kind, tuple[SingleFile, Path | None]]
    made = {one: (known[one], None) for one in kinds if known.get(one) in there}
    lacking = {one: file for one, file in kinds.items() if one not in made}
    made |= _made(_Work(build, wrapping, scratch), lacking)
    entries = [replace(made[_kind(file)][0], file=file) for file in tree.files]
    fresh = {one.blob: path for one, path in made.values() if path}
    return Listed(FileList(tuple(_wrapped(entries, known, wrapping))).encode(), len(entries), fresh)


@dataclass(frozen=True, slots=True)
class _Work:
    build: bundle.Build
    wrapping: Wrapping | None
    scratch: Path

    def make(self, file: File) -> tuple[SingleFile, Path]:
        """Return how a file is stored, and the blob to add."""
        place = self.scratch / "-".join(map(str, _kind(file)))
        squeezed = self._squeezed(file, place.with_suffix(".br"))
        chunks = _chunks(squeezed) if squeezed else self._content(file)
        if self.wrapping:
            chunks = cipher.encrypt(chunks, self.wrapping.key)
        blob, stored = write(place, chunks)
        if squeezed:
            squeezed.unlink()
        return SingleFile(file, blob, stored, Encoding.BROTLI if squeezed else Encoding.NONE), place

    def _squeezed(self, file: File, place: Path) -> Path | None:
        """Compress a file, if that is needed or makes it smaller."""
        must = files.must_compress(file)
        if bundle.is_compressed(file.path) and not must:
            return None
        _, size = write(place, files.compress(self._content(file)))
        return place if must or size < file.size else None

    def _content(self, file: File) -> Iterator[bytes]:
        """Give a file's content, which must be what was packed."""
        digest = hashlib.sha256()
        path = self.build.folder / file.path
        try:
            for chunk in _chunks(path):
                digest.update(chunk)
                yield chunk
        except OSError as error:
            raise Error(f"{path} cannot be read: {error.strerror}") from error
        if digest.hexdigest() != file.sha256:
            raise bundle.changed(path)


def _made(work: _Work, kinds: Mapping[_Kind, File]) -> dict[_Kind, tuple[SingleFile, Path]]:
    made = all_of(work.make, kinds.values(), threads=_WORKERS)
    return dict(zip(kinds, made, strict=True))


def _kind(file: File) -> _Kind:
    return file.sha256, files.must_compress(file), bundle.is_compressed(file.path)


def _known(
    store: Store, earlier: Iterable[Release], wrapped: Wrapped | None
) -> dict[_Kind, SingleFile]:
    """Return the entries of earlier lists that were made under the same key."""
    known: dict[_Kind, SingleFile] = {}
    for release in earlier:
        if _under(release.capgo) == _under(wrapped):
            found = usable_file_list(store, release)
            for one in found.files if found else ():
                known.setdefault(_kind(one.file), one)
    return known


def _there(store: Store, listed: Sequence[SingleFile]) -> set[SingleFile]:
    """Return the entries whose blobs the site still has, in their size."""

    def is_there(one: SingleFile) -> bool:
        return store.size(blob_name(one.blob)) == one.stored

    if workers(store) == LOCAL:  # a thread would cost more than asking a disk
        return set(filter(is_there, listed))
    with ThreadPoolExecutor(askers(store), "sizes") as pool:
        return set(compress(listed, in_turn(pool, is_there, listed)))


def _under(wrapped: Wrapped | None) -> tuple[bytes, bytes, str, str] | None:
    if wrapped is None:
        return None
    return wrapped.session_key, wrapped.iv, wrapped.form, wrapped.key_id


def _wrapped(
    entries: Sequence[SingleFile], known: Mapping[_Kind, SingleFile], wrapping: Wrapping | None
) -> Iterator[SingleFile]:
    """Give each entry its wrapped digest: that of an earlier list if it opens, else a new one."""
    if wrapping is None:
        yield from entries
        return
    done = {one.file.sha256: one.checksum for one in known.values() if one.checksum}
    checked: dict[Digest, bytes] = {}
    for one in entries:
        digest = one.file.sha256
        if digest not in checked:
            checked[digest] = _checksum(wrapping, digest, done.get(digest))
        yield replace(one, checksum=checked[digest])


def _checksum(wrapping: Wrapping, digest: Digest, before: bytes | None) -> bytes:
    form = wrapping.wrapped.form
    if before is not None:
        try:
            capgo.check_digest(wrapping.wrapper.public, before, digest, form)
        except VerificationError:
            pass
        else:
            return before
    return capgo.wrap_digest(wrapping.wrapper, digest, form)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from chunks_of(file)


def write(path: Path, chunks: Iterable[bytes]) -> tuple[Digest, int]:
    """Write a scratch file; return its SHA-256 and size."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return Digest(digest.hexdigest()), size
