"""Get a release by its single files: those that no release here holds, the others from the disk.

The list of them has to be fetched before anybody knows how many bytes that will be, so it is looked
at only where it is small beside what the cheapest other way would take.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manifestgen.bundle.unpack import filling, write
from manifestgen.core.cipher import ContentKey, decrypt
from manifestgen.core.files import LIST_BYTES, Encoding, FileList, SingleFile, decompress
from manifestgen.core.release import Payload
from manifestgen.core.tree import Digest, File, Tree
from manifestgen.device import files
from manifestgen.device.download import Progress, chunks, download, kept
from manifestgen.device.stage import FromRunning, Job, Way, WholeBundle, check_room
from manifestgen.errors import StoreError, VerificationError
from manifestgen.stores.file_lists import read_file_list

_LOG = logging.getLogger(__name__)
_LOOK: Final = 8  # how many times smaller than the cheapest other way a list has to be
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def ways(job: Job, progress: Progress) -> list[Way]:
    """Return the way of the fewest bytes, and behind it the whole bundle."""
    patch, bundle = FromRunning(), WholeBundle()
    cheapest = patch.size(job)
    below = bundle.size(job) if cheapest is None else cheapest
    found = _look(job, below, progress)
    if found is not None:
        return [found, bundle]
    return [bundle] if cheapest is None else [patch, bundle]


@dataclass(frozen=True, slots=True)
class SingleFiles:
    """The files that are lacking, each once; `here` says where the others lie."""

    listed: FileList
    list_bytes: int
    lacking: tuple[SingleFile, ...]
    here: Mapping[Digest, Path]
    name: str = "files"

    def size(self, _job: Job) -> int:
        """Return what the list took and what the files will."""
        return self.list_bytes + sum(one.stored for one in self.lacking)

    def get(self, job: Job, content: ContentKey | None, progress: Progress, into: Path) -> Tree:
        """Fetch what is lacking, then write every content under its names."""
        parts = job.home.staging / f"{job.release.tree.digest}.files"
        job.home.tidy_staging(keep=parts)
        parts.mkdir(exist_ok=True)
        check_room(job, sum(one.stored - kept(_part(parts, one)) for one in self.lacking))
        for one in self.lacking:
            download(job.site, _payload(one), _part(parts, one), progress)
        by_content: dict[Digest, list[SingleFile]] = {}
        for one in self.listed.files:
            by_content.setdefault(one.file.sha256, []).append(one)
        lacking = {one.file.sha256: one for one in self.lacking}
        with filling(into, [one.file.path for one in self.listed.files]):
            made: list[File] = []
            for digest, same in by_content.items():
                if digest in lacking:
                    source = _plain(lacking[digest], parts, content)
                else:
                    source = _read(self.here[digest])
                made += _written(into, same, source)
        files.remove(parts)
        return Tree.of(made)


def _look(job: Job, below: int, progress: Progress) -> SingleFiles | None:
    """Return this way if it takes fewer than `below` bytes; what is in its way is no error."""
    payload = job.release.files
    if payload is None or payload.size > min(LIST_BYTES, below // _LOOK):
        return None
    here = _here(job)
    if not here:
        return None  # as many requests as there are files, for hardly less than the bundle
    try:
        found = _with_list(job, payload, here, progress)
    except (StoreError, VerificationError) as error:
        _LOG.info("no files: %s", error)
        return None
    return found if found and found.size(job) < below else None


def _with_list(
    job: Job, payload: Payload, here: Mapping[Digest, Path], progress: Progress
) -> SingleFiles | None:
    listed = read_file_list(job.site, job.release)
    if listed is None:
        return None
    progress(payload.size)
    if sum(one.file.size for one in listed.files) != job.release.tree.size:
        raise VerificationError("the files listed are not as large as was signed", code="tree")
    lacking = {one.file.sha256: one for one in listed.files if one.file.sha256 not in here}
    return SingleFiles(listed, payload.size, tuple(lacking.values()), here)


def _here(job: Job) -> dict[Digest, Path]:
    """Return the contents that are here, as they are on the disk now, whatever was installed."""
    found: dict[Digest, Path] = {}
    for folder in job.held:
        for file in files.regular(folder):
            found.setdefault(file.sha256, folder / file.path)
    return found


def _payload(one: SingleFile) -> Payload:
    return Payload(one.blob, one.stored, one.file.sha256, one.file.size)


def _part(parts: Path, one: SingleFile) -> Path:
    return parts / f"{one.blob}.part"


def _plain(one: SingleFile, parts: Path, content: ContentKey | None) -> Iterator[bytes]:
    """Undo what was done to a file before it was stored; its digest is compared where it ends."""
    stored = chunks(_part(parts, one))
    plain = stored if content is None else decrypt(stored, content)
    return decompress(plain, one.file.size) if one.encoding is Encoding.BROTLI else plain


def _read(path: Path) -> Iterator[bytes]:
    """Read a file that is here, and may not be for long."""
    try:
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            while chunk := file.read(files.CHUNK):
                yield chunk
    except OSError as error:
        raise VerificationError(
            f"{path} cannot be read: {error.strerror or error}", code="digest"
        ) from error


def _written(into: Path, same: list[SingleFile], source: Iterator[bytes]) -> list[File]:
    made = write(into, [one.file.path for one in same], source)
    for one, file in zip(same, made, strict=True):
        if file != one.file:
            raise VerificationError(
                f"{one.file.path!r} holds other bytes than were signed", code="digest"
            )
    return made
