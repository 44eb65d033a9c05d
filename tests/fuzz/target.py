"""What the fuzzer drives: bytes from anywhere, into the readers that every device has.

The first byte chooses the reader. Whatever the bytes, a reader answers or raises `FormatError` or
`VerificationError`, and what it accepts it writes again as the same bytes. Random bytes are hardly
ever canonical JSON, so documents are also tried after being brought into canonical form.
"""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from manifestgen.core import canonical
from manifestgen.core.archive import tree_of
from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import named_root
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest
from manifestgen.core.release import Release
from manifestgen.core.root import Root
from manifestgen.errors import FormatError, VerificationError
from tests.simulator import Simulator

_KEYRING = Simulator().keyring()


def canonical_json(data: bytes) -> None:
    """Read a document: what is accepted is its own canonical form."""
    value = canonical.decode(data, limit=LIMITS.manifest_bytes)
    assert canonical.encode(value) == data


def envelope(data: bytes) -> None:
    """Read an envelope and verify it, as a manifest, a release and a root."""
    read = Envelope.decode(data, limit=LIMITS.manifest_bytes)
    assert read.encode() == data
    with suppress(VerificationError):
        _KEYRING.release(read)
    with suppress(VerificationError):
        _KEYRING.follow(data)
    with suppress(VerificationError):
        named_root(data)
    _KEYRING.manifest(data, "production")


def members(data: bytes) -> None:
    """Read the signed parts, signatures aside: a thief of keys may write anything there."""
    value = json.loads(data)
    data = canonical.encode(value)
    value = canonical.decode(data, limit=LIMITS.manifest_bytes)
    kinds: list[Callable[[canonical.Json], Root | Release | Manifest]]
    kinds = [Root.from_json, Release.from_json, Manifest.from_json]
    for kind in kinds:
        with suppress(VerificationError):
            read = kind(value)
            assert kind(read.to_json()) == read


def archive(data: bytes) -> None:
    """Read a zip; everything in it is inflated."""
    tree_of(io.BytesIO(data), limit=1 << 20)


READERS: Final = (canonical_json, envelope, members, archive)


def one_input(data: bytes) -> None:
    """Try one input."""
    if not data:
        return
    reader = READERS[data[0] % len(READERS)]
    # Not JSON at all is the wrapper's answer, for `members` alone.
    expected = (VerificationError, ValueError, RecursionError)[: 3 if reader is members else 1]
    with suppress(*expected):
        reader(data[1:])


def seeds() -> dict[str, bytes]:
    """Return inputs that each reader accepts, for the fuzzer to begin with."""
    import zipfile

    sim = Simulator()
    manifest = sim.manifest(sim.offer("1.1.0"), "1.0.0")
    documents = {"manifest": manifest, "release": sim.release("1.0.0").encode(), "root": sim.root()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("index.html"), "<!doctype html>" * 9)
        file.writestr(zipfile.ZipInfo("assets/app.js"), "")
    found = {"zip": b"\x03" + packed.getvalue()}
    for name, data in documents.items():
        found[f"json-{name}"] = b"\x00" + data
        found[f"envelope-{name}"] = b"\x01" + data
        signed = Envelope.decode(data, limit=LIMITS.manifest_bytes).signed
        found[f"members-{name}"] = b"\x02" + canonical.encode(signed)
    return found


def accepts(data: bytes) -> bool:
    """Tell whether a reader accepts an input."""
    try:
        READERS[data[0] % len(READERS)](data[1:])
    except FormatError:
        return False
    except VerificationError as error:
        return error.code in {"type", "signature"}
    return True
