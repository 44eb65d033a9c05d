"""The receipt of an import: what is on the other side now, so that the next kit may leave it out.

Nobody signs it and nobody need believe it: a wrong one makes a kit that the other side refuses.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from manifestgen.core import canonical
from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.reader import Reader, text_item
from manifestgen.core.root import APP, read_channel
from manifestgen.core.tree import Digest
from manifestgen.errors import FormatError, UsageError, os_reason

TYPE: Final = "receipt.v1"
LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a receipt: a million blobs."""

_CHANNELS: Final = 256
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a channel got: the sequence and digest of its newest manifest file."""

    channel: str
    sequence: int
    digest: Digest

    def to_json(self) -> JsonObject:
        """Return the document form."""
        return {"channel": self.channel, "digest": self.digest, "sequence": self.sequence}

    @classmethod
    def from_json(cls, value: Json, at: str) -> Self:
        """Decode one channel."""
        read = Reader(value, at)
        return cls(read_channel(read), read.integer("sequence", 1), Digest(read.digest("digest")))


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a site holds: `root` is the number of its newest root, `root_digest` that file's."""

    app: str
    root: int
    root_digest: Digest
    channels: tuple[Reached, ...]
    blobs: frozenset[Digest]

    def encode(self) -> bytes:
        """Return the file's bytes: canonical, and a line end for the programs that want one."""
        fields: JsonObject = {
            "app": self.app,
            "blobs": sorted(self.blobs),
            "channels": [one.to_json() for one in self.channels],
            "root": {"digest": self.root_digest, "number": self.root},
            "type": TYPE,
        }
        return canonical.encode(fields) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a receipt, or raise `FormatError`; white space behind it is forgiven."""
        read = Reader(canonical.decode(data.rstrip(), limit=LIMIT), "$")
        if read.get("type") != TYPE:
            raise FormatError(f"$.type: want {TYPE}", code="type")
        root = read.object("root")
        blobs = read.list("blobs", text_item(_DIGEST, "a digest"), most=LIMIT)
        return cls(
            app=read.text("app", APP, "an app id such as com.example.app"),
            root=root.integer("number", 1),
            root_digest=Digest(root.digest("digest")),
            channels=read.list("channels", Reached.from_json, most=_CHANNELS),
            blobs=frozenset(Digest(blob) for blob in blobs),
        )

    def reached(self, channel: str) -> Reached | None:
        """Return how far a channel got, `None` if it is not there."""
        return next((one for one in self.channels if one.channel == channel), None)


def read_receipt(path: Path) -> Receipt:
    """Read a receipt's file.

    Raises:
        UsageError: it cannot be read.
        FormatError: it is no receipt.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {os_reason(error)}",
            hint="name the receipt that `manifestgen kit import` wrote",
        ) from None
    try:
        return Receipt.decode(data)
    except FormatError as error:
        raise FormatError(
            f"{path} is no receipt: {error}",
            code=error.code,
            hint="name the receipt that `manifestgen kit import` wrote, or export with `--full`",
        ) from None
