"""The single files of a release: a list of blobs, one for each content, that devices may pick from.

The release signs the list (`Release.files`), and the list says of each file of the tree which blob
holds it and how: compressed with brotli or not, then encrypted like the bundle, under the bundle's
own key and IV, because the stock plugin knows one of each for everything that it is told of at
once. The list itself is in the clear: `capgo.json` shows the same to whoever serves it.

Devices tell a compressed file by a `.br` behind its name, which they take off again. From that
follow two rules that no list may break, see `must_compress`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from manifestgen.core import canonical
from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.limits import LIMITS
from manifestgen.core.reader import Reader, encode_bytes
from manifestgen.core.release import AES_BLOCK, RSA_BYTES, Release
from manifestgen.core.tree import Digest, File, Tree
from manifestgen.errors import FormatError, VerificationError

LIST_BYTES: Final = 4 * 1024 * 1024
"""A list is at most so large; publishers stop far below, see `why_not`."""

QUALITY: Final = 9
"""Of brotli: 7 % larger than what 11 gives, in a fourteenth of the time (17 MB: 3 s, not 40 s)."""

ANSWER_BYTES: Final = 512 * 1024
"""The most that listing files may add to `capgo.json`."""
ANSWER_SHARE: Final = 16
"""How many times smaller than the bundle that is: plugins fetch `capgo.json` each time an app comes
to the front, dozens of times for each update."""

_ENTRY_BYTES = 850  # of `capgo.json` for a file, beside its path: the wrapped digest has 512
_TYPE: Final = "files.v1"
_SUFFIX: Final = ".br"
_CHUNK = 256 * 1024


class Encoding(StrEnum):
    """What was done to a file before it was encrypted."""

    BROTLI = "br"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class SingleFile:
    """One file: `stored` bytes of `blob` hold it; `checksum` is its digest as the plugin wants it.

    That is 256 bytes, wrapped like the bundle's; `None` in the clear.
    """

    file: File
    blob: Digest
    stored: int
    encoding: Encoding
    checksum: bytes | None = None

    @property
    def name(self) -> str:
        """What stock plugins know the file as."""
        return self.file.path + (_SUFFIX if self.encoding is Encoding.BROTLI else "")

    def to_json(self) -> JsonObject:
        """Return the document form."""
        members: dict[str, Json] = {
            **self.file.to_json(),
            "blob": self.blob,
            "encoding": self.encoding.value,
            "stored": self.stored,
        }
        if self.checksum is not None:
            members["checksum"] = encode_bytes(self.checksum)
        return members

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode one file."""
        read = Reader(value, at)
        one = cls(
            file=File.from_json(value, at),
            blob=Digest(read.digest("blob")),
            stored=read.integer("stored", 0, LIMITS.bundle_bytes),
            encoding=_encoding(read),
            checksum=read.bytes("checksum", RSA_BYTES) if read.has("checksum") else None,
        )
        one.check(at)
        return one

    def check(self, at: str) -> None:
        """Raise `FormatError` if a device could make nothing or something else of it."""
        plain = self.encoding is Encoding.NONE
        if plain and must_compress(self.file):
            raise FormatError(f"{at}.encoding: {self.file.path!r} cannot be left uncompressed")
        if self.checksum is not None and (not self.stored or self.stored % AES_BLOCK):
            raise FormatError(f"{at}.stored: {self.stored} bytes cannot be encrypted ones")
        if plain and self.checksum is None:
            same = (self.blob, self.stored) == (self.file.sha256, self.file.size)
        else:
            size = self.file.size // AES_BLOCK * AES_BLOCK + AES_BLOCK
            same = not plain or self.stored == size
        if not same:
            raise FormatError(f"{at}: what is stored cannot be the file as it is")


@dataclass(frozen=True, slots=True)
class FileList:
    """Every file of a tree, in the tree's order."""

    files: tuple[SingleFile, ...]

    @property
    def tree(self) -> Tree:
        """What the files are together."""
        return Tree(tuple(one.file for one in self.files))

    def encode(self) -> bytes:
        """Return the canonical bytes that are stored, and that a release names by digest."""
        return canonical.encode({"files": [one.to_json() for one in self.files], "type": _TYPE})

    @classmethod
    def decode(cls, data: bytes, release: Release) -> Self:
        """Read the list of a release; that its digest is the one signed is the caller's to check.

        Raises:
            FormatError: it is no such list.
            VerificationError: it lists other files than the release has.
        """
        read = Reader(canonical.decode(data, limit=LIST_BYTES), "$")
        if read.get("type") != _TYPE:
            raise FormatError("$.type: want files.v1", code="type")
        found = cls(read.list("files", SingleFile.from_json, most=LIMITS.files))
        wrapped = {one.checksum is not None for one in found.files}
        if wrapped != {release.capgo is not None}:
            raise FormatError("$.files: wrapped digests are there under `capgo` alone, and in each")
        tree = found.tree
        if Tree.of(tree.files) != tree or tree.digest() != release.tree.digest:
            raise VerificationError(
                f"it lists other files than release {release.version} has", code="tree"
            )
        return found


def must_compress(file: File) -> bool:
    """Tell whether a file has to be compressed, whether or not that makes it smaller.

    Plugins refuse an encrypted file of no bytes, and take `.br` for theirs: a file that is called
    so itself gets a second one.
    """
    return not file.size or file.path.lower().endswith(_SUFFIX)


def why_not(tree: Tree, bundle_bytes: int) -> str | None:
    """Say why listing the files of a bundle of that size does not pay; `None` if it does."""
    size = sum(_ENTRY_BYTES + len(file.path.encode()) for file in tree.files)
    told = f"listing {len(tree.files)} files would add {size:,} bytes to capgo.json"
    if size > ANSWER_BYTES:
        return f"{told}, at most {ANSWER_BYTES:,} are sensible"
    if size * ANSWER_SHARE > bundle_bytes:
        return f"{told}, which does not pay for a bundle of {bundle_bytes:,}"
    return None


def compress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Compress a stream as devices undo it; nothing becomes one byte."""
    import brotli

    compressor = brotli.Compressor(quality=QUALITY)
    for chunk in chunks:
        yield compressor.process(chunk)
    yield compressor.finish()


def decompress(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Undo `compress`, a piece at a time, or raise `VerificationError` (`archive`).

    What was yielded before the error is worthless. More than `size` bytes are never made.
    """
    import brotli

    stream = brotli.Decompressor()
    try:
        for chunk in chunks:
            if chunk and stream.is_finished():
                raise VerificationError("bytes follow its brotli stream", code="archive")
            piece = stream.process(chunk, output_buffer_limit=_CHUNK)
            while piece:  # it takes a chunk whole, and gives what comes of it a piece at a time
                size -= len(piece)
                if size < 0:
                    raise VerificationError("it unpacks to more than was signed", code="archive")
                yield piece
                piece = stream.process(b"", output_buffer_limit=_CHUNK)
    except brotli.error:
        raise VerificationError("it is no whole brotli stream", code="archive") from None
    if not stream.is_finished():
        raise VerificationError("its brotli stream ends early", code="archive")


def _encoding(read: Reader) -> Encoding:
    value = read.get("encoding")
    try:
        return Encoding(value)  # type: ignore[arg-type] # which is what is being found out
    except ValueError:
        raise FormatError(f"{read.at}.encoding: want br or none, got {value!r}") from None
