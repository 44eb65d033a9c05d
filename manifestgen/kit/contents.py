"""What a kit holds and in what order, and `kit.json`, which says so to people.

    kit.json                      a table of contents, signed by nobody
    root/1.json …                 the whole root chain
    CHANNEL/history/NNNNNN.json   manifests that follow each other, channel by channel
    releases/VERSION.json         the releases that they offer
    blobs/HH/HASH.bin             what the newest lead to, as far as the other side may lack it

Names are those of a site, in this order, ascending within each kind and each there once: of the
same files there is one kit. Whether a file belongs is proved by signatures, never by `kit.json`;
but a kit that is not what its `kit.json` says is refused, because then something was lost.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self, TypeAlias

from manifestgen.core import canonical
from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.reader import Reader
from manifestgen.core.root import APP, is_channel, read_channel
from manifestgen.core.tree import Digest
from manifestgen.core.version import Version
from manifestgen.errors import FormatError
from manifestgen.kit.archive import Archive, Member
from manifestgen.stores.names import (
    RELEASES,
    blob_name,
    history_name,
    history_sequence,
    root_name,
)

NAME: Final = "kit.json"
TYPE: Final = "kit.v1"

_LIMIT: Final = 64 * 1024  # bytes of kit.json
_CHANNELS: Final = 256
_ROOT = re.compile(r"root/([1-9][0-9]{0,8})\.json", re.ASCII)
_RELEASE = re.compile(r"releases/(.+)\.json", re.ASCII)
_BLOB = re.compile(r"blobs/[0-9a-f]{2}/([0-9a-f]{64})\.bin", re.ASCII)

_Place: TypeAlias = tuple[int, str, int]
"""Where a name stands in the order of a kit: its kind, then by name or number."""
_KIT, _ROOTS, _HISTORY, _RELEASES, _BLOBS = range(5)


@dataclass(frozen=True, slots=True)
class Span:
    """The manifests of a channel that are there: sequences from `first` to `last`."""

    channel: str
    first: int
    last: int

    def to_json(self) -> JsonObject:
        """Return the document form."""
        return {"channel": self.channel, "first": self.first, "last": self.last}

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode one channel's span."""
        read = Reader(value, at)
        return cls(read_channel(read), read.integer("first", 1), read.integer("last", 1))


@dataclass(frozen=True, slots=True)
class Contents:
    """`kit.json`: how many files stand behind it, and the bytes of their contents (`size`)."""

    app: str
    roots: int
    channels: tuple[Span, ...]
    files: int
    size: int

    def encode(self) -> bytes:
        """Return the file's bytes, which are canonical."""
        return canonical.encode(
            {
                "app": self.app,
                "bytes": self.size,
                "channels": [span.to_json() for span in self.channels],
                "files": self.files,
                "roots": self.roots,
                "type": TYPE,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read `kit.json`, or raise `FormatError`."""
        read = Reader(canonical.decode(data, limit=_LIMIT), "$")
        if read.get("type") != TYPE:
            raise FormatError(
                f"$.type: want {TYPE}",
                code="type",
                hint="a newer manifestgen may have made this kit: install that one here, too",
            )
        return cls(
            app=read.text("app", APP, "an app id such as com.example.app"),
            roots=read.integer("roots", 1),
            channels=read.list("channels", Span.from_json, most=_CHANNELS),
            files=read.integer("files"),
            size=read.integer("bytes"),
        )


@dataclass(frozen=True, slots=True)
class Kit:
    """An archive whose outline is that of a kit; what its files say is still unknown."""

    archive: Archive
    contents: Contents
    roots: tuple[Member, ...]
    history: Mapping[str, tuple[tuple[int, Member], ...]]
    releases: tuple[Member, ...]
    blobs: Mapping[Digest, Member]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a kit, to be closed by the caller.

        Raises:
            FormatError: files are missing, doubled, out of order or of no kit.
        """
        archive = Archive(path)
        try:
            return cls._arranged(archive)
        except BaseException:
            archive.close()
            raise

    @classmethod
    def _arranged(cls, archive: Archive) -> Self:
        places = [(_place(member.name), member) for member in archive.members]
        _check_order(places)
        if not places or places[0][0][0] != _KIT:
            raise FormatError(f"the kit does not begin with {NAME}")
        contents = _decoded(archive, places[0][1])
        kit = cls(
            archive=archive,
            contents=contents,
            roots=tuple(member for place, member in places if place[0] == _ROOTS),
            history=_by_channel(places),
            releases=tuple(member for place, member in places if place[0] == _RELEASES),
            blobs={Digest(place[1]): member for place, member in places if place[0] == _BLOBS},
        )
        kit._check_contents()
        return kit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.close()

    def _check_contents(self) -> None:
        """Compare `kit.json` with what is there, in the order in which people would ask."""
        if [member.name for member in self.roots] != [
            root_name(number) for number in range(1, len(self.roots) + 1)
        ]:
            raise FormatError("the kit's roots are not 1, 2, 3 and so on", code="root_gap")
        spans = tuple(
            Span(channel, line[0][0], line[-1][0]) for channel, line in self.history.items()
        )
        behind = self.archive.members[1:]
        found = Contents(
            app=self.contents.app,
            roots=len(self.roots),
            channels=spans,
            files=len(behind),
            size=sum(member.size for member in behind),
        )
        for what in ("roots", "channels", "files", "size"):
            said, there = getattr(self.contents, what), getattr(found, what)
            if said != there:
                raise FormatError(
                    f"the kit does not hold what its {NAME} says:"
                    f" {what} {_shown(said)}, there are {_shown(there)}",
                    code="contents",
                    hint="files were lost or added on the way: export it again",
                )


def _decoded(archive: Archive, member: Member) -> Contents:
    try:
        return Contents.decode(archive.read(member, _LIMIT))
    except FormatError as error:
        raise FormatError(f"{NAME}: {error}", code=error.code, hint=error.hint) from None


def _place(name: str) -> _Place:
    """Return where a name belongs, or raise `FormatError` if no kit has it."""
    if name == NAME:
        return _KIT, "", 0
    if found := _ROOT.fullmatch(name):
        return _ROOTS, "", int(found[1])
    if (number := history_sequence(name)) is not None:
        channel = name.partition("/")[0]
        if is_channel(channel) and history_name(channel, number) == name and number:
            return _HISTORY, channel, number
    if (found := _RELEASE.fullmatch(name)) and _is_release(found[1]):
        return _RELEASES, found[1], 0
    if (found := _BLOB.fullmatch(name)) and blob_name(found[1]) == name:
        return _BLOBS, found[1], 0
    raise FormatError(f"the kit holds {name}, which belongs in no kit", code="unlisted")


def _is_release(version: str) -> bool:
    try:
        return str(Version.parse(version)) == version
    except FormatError:
        return False


def _check_order(places: Sequence[tuple[_Place, Member]]) -> None:
    for (before, _), (after, member) in pairwise(places):
        if after == before:
            raise FormatError(f"{member.name} is in the kit twice", code="order")
        if after < before:
            raise FormatError(f"{member.name} is not where it belongs in a kit", code="order")


def _by_channel(
    places: Sequence[tuple[_Place, Member]],
) -> dict[str, tuple[tuple[int, Member], ...]]:
    found: dict[str, list[tuple[int, Member]]] = {}
    for (kind, channel, number), member in places:
        if kind == _HISTORY:
            found.setdefault(channel, []).append((number, member))
    return {channel: tuple(line) for channel, line in found.items()}


def _shown(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(_spans(value)) or "none"


def _spans(value: object) -> Iterator[str]:
    for span in value if isinstance(value, tuple) else ():
        yield f"{span.channel} {span.first} to {span.last}"


def release_version(name: str) -> str:
    """Return the version that the name of a release gives."""
    return name.removeprefix(RELEASES).removesuffix(".json")
