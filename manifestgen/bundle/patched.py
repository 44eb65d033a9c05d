"""Make the folder of a new release, or just its tree, out of that of an old one and a patch."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from manifestgen.bundle.chunks import digest_of
from manifestgen.bundle.unpack import filling, write
from manifestgen.core.archive import inflate, read_members
from manifestgen.core.patch import CHUNK, Patch
from manifestgen.core.tree import Digest, File, Tree
from manifestgen.errors import FormatError

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def apply_patch(
    patch: BinaryIO, base: Path, tree: Tree, into: Path, *, target: Digest, limit: int
) -> Tree:
    """Write the files of a target into a folder that is empty or not there yet.

    `tree` is that of the folder `base`, as it is now. What came of it is returned, and whether it
    is the target is the caller's to compare. `limit` is on the sizes of all files together.
    Everything is on disk when this returns; on failure the folder is gone again.

    Raises:
        FormatError: the patch is not to be trusted or for other trees, or the base cannot be read.
        UsageError: the folder has something in it.
        Error: the disk is full, or another reason why the folder cannot be written.
    """
    with _Reader(base).opened() as reader:
        opened = Patch(patch, tree, reader.read, target=target, limit=limit)
        paths = [file.path for file in opened.kept]
        paths += [path for content in opened.made for path in content.paths]
        with filling(into, paths):
            made = [write(into, (file.path,), reader.chunks(file))[0] for file in opened.kept]
            for content, chunks in opened.contents():
                made += write(into, content.paths, chunks)
            return Tree.of(made)


class Flat:
    """The contents of a zip, one after the other in one file: thousands of files take long to make.

    `held` is empty, and can be read. `limit` is on the sizes of all contents together.

    Raises:
        FormatError: the zip is not to be trusted, see `core.archive`.
    """

    def __init__(self, archive: BinaryIO, held: BinaryIO, *, limit: int) -> None:
        self._held = held
        self._starts: dict[str, int] = {}
        files = []
        for entry in read_members(archive, limit=limit):
            self._starts[entry.path] = held.tell()
            sha256 = digest_of(_copied(inflate(archive, entry), held))
            files.append(File(entry.path, sha256, entry.size))
        self.tree = Tree.of(files)

    def read(self, file: File, at: int, size: int) -> bytes:
        """Read a part of a file."""
        self._held.seek(self._starts[file.path] + at)
        return self._held.read(min(size, file.size - at))


def patched_tree(patch: BinaryIO, base: Flat, *, target: Digest, limit: int) -> Tree:
    """Return the tree that a patch makes, and make nothing; see `apply_patch`.

    Raises:
        FormatError: the patch is not to be trusted or for other trees.
    """
    opened = Patch(patch, base.tree, base.read, target=target, limit=limit)
    made = list(opened.kept)
    for content, chunks in opened.contents():
        sha256 = digest_of(chunks)
        made += [File(path, sha256, content.size) for path in content.paths]
    return Tree.of(made)


def _copied(chunks: Iterable[bytes], out: BinaryIO) -> Iterator[bytes]:
    for chunk in chunks:
        out.write(chunk)
        yield chunk


class _Reader:
    """Reads from the files of a folder, one of which is open at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: str | None = None
        self._handle = -1

    @contextmanager
    def opened(self) -> Iterator["_Reader"]:
        """Close what is open in the end."""
        try:
            yield self
        finally:
            self._close()

    def read(self, file: File, at: int, size: int) -> bytes:
        """Read a part of a file."""
        try:
            if self._path != file.path:
                self._close()
                self._handle, self._path = os.open(self._folder / file.path, _FLAGS), file.path
            os.lseek(self._handle, at, os.SEEK_SET)
            return os.read(self._handle, size)
        except OSError as error:
            _refuse(file, error.strerror or str(error))

    def chunks(self, file: File) -> Iterator[bytes]:
        """Read a file whole."""
        at = 0
        while at < file.size:
            chunk = self.read(file, at, min(CHUNK, file.size - at))
            if not chunk:
                _refuse(file, "it ends early")
            at += len(chunk)
            yield chunk

    def _close(self) -> None:
        if self._path is not None:
            os.close(self._handle)
            self._path = None


def _refuse(file: File, why: str) -> NoReturn:
    raise FormatError(f"{file.path} of the base cannot be read: {why}", code="patch")
