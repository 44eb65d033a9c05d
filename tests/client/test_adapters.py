"""The JavaScript adapters, on Node: they refuse, unpack and remember as the Python client does."""

import base64
import io
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from manifestgen.core import capgo
from manifestgen.core.archive import Method, tree_of
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Offer
from manifestgen.core.release import Scheme
from manifestgen.errors import FormatError
from manifestgen.stores.names import blob_name
from tests.core import test_archive as zips
from tests.device.publisher import Publisher, page, pem
from tests.device.test_patch import app, patched
from tests.simulator import NOW, TestKey
from tests.tools import node

HERE = Path(__file__).parent


def archives() -> Iterator[tuple[str, bytes, int]]:
    """Give the archives of the Python reader's own tests, each with a name and a limit."""
    most = LIMITS.bundle_bytes
    for name, data in zips.LIES.items():
        yield f"lie: {name}", data, most
    for name, names in zips.NAMES.items():
        entries = [
            zips.Crafted(one, flags=zips.UTF8, mode=0, time=(n, 0x21))
            for n, one in enumerate(names)
        ]
        yield f"names: {name}", zips.zipped(*entries), most
    for method in Method:
        yield f"good: {method.name}", zips.written(zips.SMALL, method), most
    yield "good: nothing", zips.written({}), most
    yield "good: beyond U+FFFF", zips.written({"\U00010000.js": b"a", "\uff21.js": b"b"}), most
    yield "good: a byte order mark in a name", zips.written({"\ufeffa.js": b"a"}), most
    yield (
        "a device before U+2028",
        zips.zipped(zips.Crafted("nul.\u2028".encode(), flags=2048)),
        most,
    )
    yield "exactly the limit", zips.written({"a": bytes(600), "b": bytes(400)}), 1000
    yield "over the limit", zips.written({"a": bytes(600), "b": bytes(400)}), 999
    yield "a folder and files", zips.zipped(zips.Crafted(b"a/", mode=0o40755), zips.GOOD), most


def mutations(count: int) -> Iterator[tuple[str, bytes, int]]:
    """Give good archives with a few bytes changed, the same ones each time."""
    chance = random.Random(4)
    good = zips.zipped(zips.GOOD, zips.Crafted(b"a/", mode=0), zips.B)
    for number in range(count):
        data = bytearray(good)
        for _ in range(chance.randint(1, 2)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        yield f"mutation {number}", bytes(data), LIMITS.bundle_bytes


def python_says(data: bytes, limit: int) -> dict[str, str]:
    try:
        return {"ok": tree_of(io.BytesIO(data), limit=limit).digest()}
    except FormatError as error:
        return {"error": error.code}


def hostile(path: Path) -> Path:
    cases = [
        {
            "name": name,
            "archive": base64.b64encode(data).decode(),
            "limit": limit,
            "want": python_says(data, limit),
        }
        for name, data, limit in (*archives(), *mutations(400))
    ]
    path.write_text(json.dumps(cases))
    return path


def spki(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def release(path: Path) -> Path:
    """Write one encrypted release with all that is needed to get it."""
    publisher = Publisher()
    made = publisher.bundle("1.1.0", scheme=Scheme.CAPGO)
    stored = publisher.site.get(blob_name(made.bundle.blob))
    assert stored
    other = rsa.generate_private_key(65537, 2048).public_key()
    value: dict[str, Any] = {
        "signed": made.to_json(),
        "blob": base64.b64encode(stored.data).decode(),
        "key": pem().decode(),
        "otherKey": capgo.public_pem(other),
        "smallKey": capgo.public_pem(rsa.generate_private_key(65537, 1024).public_key()),
        "ecKey": spki(ec.generate_private_key(ec.SECP256R1()).public_key()),
        "files": {name: base64.b64encode(data).decode() for name, data in page("1.1.0").items()},
    }
    path.write_text(json.dumps(value))
    return path


def sites(path: Path) -> Path:
    """Write a site for each situation a device may find, signed by one publisher."""
    found: dict[str, dict[str, str]] = {}
    publisher = Publisher()
    publisher.put("root.json", publisher.root)

    def remember(name: str) -> None:
        found[name] = {
            entry.name: base64.b64encode(stored.data).decode()
            for entry in publisher.site.names()
            if (stored := publisher.site.get(entry.name))
        }

    def offer(version: str, **changes: Any) -> Offer:
        return publisher.offer(version, scheme=Scheme.CAPGO, **changes)

    def patch(old: str = "1.1.0", **changes: Any) -> Offer:
        return patched(publisher, old, "1.2.0", scheme=Scheme.CAPGO, **changes)

    def publish(name: str, *offers: Offer, **changes: Any) -> None:
        publisher.publish(*offers, **changes)
        remember(name)

    publish("first", offer("1.1.0"))
    publish("second", offer("1.2.0"))
    publish("third", offer("1.3.0"))
    publish("mandatory", replace(offer("1.2.0"), mandatory=True))
    publish("withdrawn", withdrawn=("1.1.0",))
    publish("plain", publisher.offer("1.1.0"))
    publish("headless", offer("1.1.0", zipped=zips.written({"start.html": b"x"})))
    publish("slip", offer("1.1.0", zipped=zips.zipped(zips.Crafted(b"../index.html", b"x"))))
    publish("other files", offer("1.1.0", zipped=zips.written({"index.html": b"other"})))
    mixed = publisher.bundle("1.1.0", scheme=Scheme.CAPGO)
    other = publisher.bundle("1.2.0", scheme=Scheme.CAPGO)
    assert mixed.capgo
    assert other.capgo
    swapped = replace(mixed, capgo=replace(mixed.capgo, checksum=other.capgo.checksum))
    publish("mixed", Offer(publisher.sign(swapped)))
    publish("base", offer("1.1.0", files=app("1.1.0")))
    publish("patched", patch())
    # Signed as it is, so that nothing is wrong before it is applied.
    publish("badly patched", patch(spoil=lambda _: bytes(200)))
    good, wrong = patch(), patch(old="1.3.0")
    swapped_base = replace(wrong.patches[0], base=good.patches[0].base)
    publish("patched from another base", replace(good, patches=(swapped_base,)))
    publish("forged", offer("1.1.0"), by=(TestKey.ed25519("stranger"),))

    value = {
        "root": publisher.root.decode(),
        "key": pem().decode(),
        "now": int(NOW.timestamp() * 1000),
        "sites": found,
    }
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize("file", ["capgo.test.js", "node.test.js"])
def test_releases_are_switched_to_and_left(file: str, tmp_path: Path) -> None:
    node.run_tests(HERE / file, env={"SITES": str(sites(tmp_path / "sites.json"))})


def test_bundles_are_read_as_the_python_client_reads_them(tmp_path: Path) -> None:
    env = {
        "HOSTILE": str(hostile(tmp_path / "hostile.json")),
        "RELEASE": str(release(tmp_path / "release.json")),
    }
    node.run_tests(HERE / "bundle.test.js", env=env)
