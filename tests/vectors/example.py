"""The worked example of `docs/format.md`: real documents, and their bytes.

In the page a line `<!-- example: NAME -->` stands before a code block whose content is written
here, so that no example can be out of date.
"""

import json
import re
from collections.abc import Mapping

from manifestgen.core.audience import Audience, NativeRange
from manifestgen.core.envelope import Envelope, Kind, pae
from manifestgen.core.files import Encoding, FileList, SingleFile
from manifestgen.core.keyring import Keyring
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Rollout
from manifestgen.core.select import position
from manifestgen.core.tree import File, Tree, sha256
from manifestgen.core.version import Version
from manifestgen.kit.contents import Contents, Span
from manifestgen.kit.receipt import Reached, Receipt
from tests.simulator import CHANNEL, Simulator, tree_digest
from tests.vectors.decisions import patch
from tests.vectors.values import capgo_release

SIM = Simulator()
KIT = Contents(SIM.app, 1, (Span("production", 41, 42),), files=6, size=63_616)

_SLOT = re.compile(r"^(<!-- example: ([a-z-]+) -->\n```[a-z]+\n)(?:.*?\n)?^```$", re.DOTALL | re.M)


def manifest() -> bytes:
    """Return the page's manifest: one plain release to a quarter of the devices."""
    release = SIM.release(
        "1.4.2",
        audience=Audience(native=(NativeRange.parse("ios:>=3 <4"),)),
        floor=Version.parse("1.2.0"),
        notes="Faster start",
    )
    offer = SIM.offer(release, rollout=Rollout(2500), patches=(patch("1.4.1", "1.4.2"),))
    return SIM.manifest(offer, sequence=42, previous=sha256(b"manifest 41"))


def examples() -> Mapping[str, str]:
    """Return the content of every example by name."""
    envelope = Envelope.decode(manifest(), limit=LIMITS.manifest_bytes)
    keyring = Keyring.trust(SIM.root())
    trusted = keyring.manifest(manifest(), CHANNEL)
    signed = trusted.manifest.to_json()
    message = envelope.message(Kind.MANIFEST)
    tree = Tree.of([File("index.html", sha256(b"<!doctype html>"), 15)])
    single = SingleFile(tree.files[0], tree.files[0].sha256, 15, Encoding.NONE)
    return {
        "manifest-bytes": manifest().decode(),
        "manifest": _pretty(envelope.to_json()),
        "files": FileList((single,)).encode().decode(),
        "manifest-facts": "\n".join(
            [
                f"length of the file             {len(manifest())}",
                f"SHA-256 of the file            {sha256(manifest())}",
                f"SHA-256 of `signed`            {envelope.digest()}",
                f"what the signature covers      {message[:62].decode()}…",
                f"SHA-256 of what it covers      {sha256(message)}",
                f"position of device-1           {position('1.4.2', 'device-1')}",
                f"tree of 1.4.2                  {tree_digest('1.4.2')}",
            ]
        ),
        "pae": pae("application/vnd.manifestgen.root.v1+json", b"{}").decode(),
        "manifest-signed": _pretty({**signed, "offers": []}),
        "root": SIM.root().decode(),
        "root-signed": _pretty(SIM.root_value.to_json()),
        "release-signed": _pretty(capgo_release("1.4.2").signed),
        "kit": KIT.encode().decode(),
        "receipt": _receipt().encode().decode().rstrip("\n"),
        "tree": tree.encode().decode(),
        "tree-digest": tree.digest(),
    }


def _receipt() -> Receipt:
    """Return what an import of the page's manifest could answer."""
    return Receipt(
        app=SIM.app,
        root=1,
        root_digest=sha256(SIM.root()),
        channels=(Reached("production", 42, sha256(manifest())),),
        blobs=frozenset({sha256(b"<!doctype html>")}),
    )


def fill(page: str) -> str:
    """Return the page with every example as it is now."""
    content = examples()
    return _SLOT.sub(lambda slot: f"{slot[1]}{content[slot[2]]}\n```", page)


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
