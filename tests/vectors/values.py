"""Vectors on single values: positions, shares, versions, paths, trees, keys, Capgo's wrapping."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo

from manifestgen.core import capgo, cipher
from manifestgen.core.audience import Audience, NativeRange
from manifestgen.core.envelope import Envelope
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Ramp, Rollout
from manifestgen.core.reader import format_time
from manifestgen.core.release import V2, V3, Payload, Scheme
from manifestgen.core.tree import sha256
from manifestgen.core.version import Version
from tests.simulator import CHANNEL, EPOCH, Simulator, tree_digest
from tests.vectors.family import Family, b64

SIM = Simulator()
CAPGO_KEY: Final = Path(__file__).parent / "capgo-test-key.pem"


class TestWrapper:
    """The Capgo test key, as `capgo.wrap` wants one."""

    __test__ = False

    def __init__(self, pem: bytes) -> None:
        private = serialization.load_pem_private_key(pem, None)
        assert isinstance(private, RSAPrivateKey)
        self._private = private

    @property
    def public(self) -> RSAPublicKey:
        """The key that installed apps carry."""
        return self._private.public_key()

    def wrap(self, payload: bytes) -> bytes:
        """Do what Node calls `privateEncrypt`."""
        return self._private.sign(payload, padding.PKCS1v15(), NoDigestInfo())


# --- rollouts ---------------------------------------------------------------------------------

IDS = (
    *(f"device-{n}" for n in range(30)),
    *(f"{n:08x}-0000-4000-8000-{n * 7919:012x}" for n in range(20)),
    *(
        "",
        " ",
        "a",
        "A",
        "a ",
        "0",
        "é",
        "e\u0301",
        "ß",
        "ＦＵＬＬ",
        "日本語",
        "😀",
        "👩‍👩‍👧",
        "\n",
        "a\0b",
    ),
    "\ufeffid",
    "x" * 1000,
)


def rollout_family() -> Family:
    """Where devices stand, and how far a ramp is."""
    family = Family("rollout", "Positions of devices, and shares of ramps.")
    for device in IDS:
        name = ascii(device) if len(device) < 100 else "a long id"
        family.computed(f"{name} under 1.4.2", "position", salt="1.4.2", id=device)
    for salt in ("1.4.3", "a", "again, please", "~"):
        family.computed(f"'device-1' under {salt}", "position", salt=salt, id="device-1")
    plain, held = {"share": 250}, {"share": 250, "salt": "x"}
    for name, rollout in (("no ramp", plain), ("no ramp, a salt", held)):
        family.ok(name, "share", {"share": 250}, rollout=rollout, now=format_time(EPOCH))
    _ramps(family)
    return family


def _ramps(family: Family) -> None:
    rows: list[tuple[str, int, int, int, int, int]] = [
        ("long before", 1000, 10_000, 100, -10_000_000, 1000),
        ("at its start", 1000, 10_000, 100, 0, 1000),
        ("after a second", 1000, 10_000, 100, 1, 1090),
        ("floored", 0, 10_000, 3, 1, 3333),
        ("floored again", 0, 10_000, 3, 2, 6666),
        ("a second before its end", 0, 10_000, 100_000, 99_999, 9999),
        ("at its end", 0, 10_000, 3, 3, 10_000),
        ("long after", 0, 9_999, 3, 10_000_000, 9_999),
        ("to less than everybody", 100, 300, 4, 3, 250),
        ("that does not rise", 500, 500, 10, 5, 500),
        ("of one second, before", 0, 1, 1, 0, 0),
        ("of one second, after", 0, 1, 1, 1, 1),
    ]
    for name, first, share, length, elapsed, want in rows:
        end = EPOCH + timedelta(seconds=length)
        given = Rollout(share, Ramp(first, EPOCH, end)).to_json()
        now = format_time(EPOCH + timedelta(seconds=elapsed))
        family.ok(f"a ramp {name}", "share", {"share": want}, rollout=given, now=now)
    ages = {"first": 0, "share": 10_000, "start": "0001-01-01T00:00:00Z"}
    rollout: dict[str, Any] = {**ages, "end": "9999-12-31T23:59:59Z"}
    family.computed("a ramp of ages", "share", rollout=rollout, now="5000-06-07T08:09:10Z")
    bad: dict[str, dict[str, Any]] = {
        "a share over 100 %": {"share": 10_001},
        "a ramp that falls": {**rollout, "share": 5, "first": 6},
        "a ramp that ends as it starts": {**rollout, "end": ages["start"]},
    }
    for name, one in bad.items():
        family.error(name, "share", "format", rollout=one, now=format_time(EPOCH))


# --- versions ---------------------------------------------------------------------------------

ASCENDING = (
    *("0.0.0-0", "0.0.0", "0.0.1", "0.1.0", "1.0.0-0", "1.0.0-1", "1.0.0-2", "1.0.0-10"),
    *("1.0.0-999999999999999", "1.0.0--", "1.0.0-00a", "1.0.0-1a", "1.0.0-A", "1.0.0-Z"),
    *("1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.1.0", "1.0.0-alpha.beta", "1.0.0-beta"),
    *("1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.1.0", "1.2.0"),
    *("1.10.0", "2.0.0", "10.0.0", "999999999999999.0.0"),
)
NO_VERSIONS = (
    *("", "1", "1.2", "1.2.3.4", "v1.2.3", " 1.2.3", "1.2.3 ", "1.2.3\n", "01.2.3", "1.2.03"),
    *("1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3-a_b", "1.2.3+5", "1.2.3-a+5", "1.2.-3"),
    *("1.2.3-é", "１.2.3", "1000000000000000.0.0", "1.2.3-1000000000000000", "1.2.3-" + "a" * 59),
)
NATIVE = {
    "3": "3.0.0",
    "3.1": "3.1.0",
    "3.1.4": "3.1.4",
    "3.1.4.15": "3.1.4",
    "3.1.4.15.9": "3.1.4",
    "03.01.04": "3.1.4",
    "3.1.4-beta.2": "3.1.4-beta.2",
    "2030.01.05": "2030.1.5",
    "": None,
    "builtin": None,
    "3.": None,
    ".3": None,
    "3..1": None,
    "3.1.4+5": None,
    "3.1-beta": None,
    "3 ": None,
    "v3": None,
    "-3": None,
    "٣": None,
    "1000000000000000": None,
    "3" + ".1" * 31: "3.1.1",
    "3" + ".1" * 32: None,
    "\ud800": None,
}
RANGES = (
    (">=3", "3.0.0", True),
    (">=3", "2.9.9", False),
    (">=3", "3.0.0-rc.1", False),
    (">=3.1", "3.0.9", False),
    (">=3.1", "3.1.0", True),
    ("<4", "3.99.99", True),
    ("<4", "4.0.0", False),
    ("<4", "4.0.0-rc.1", True),
    (">=3 <4", "3.5", True),
    (">=3 <4", "4", False),
    (">=3 <4 <5 >=2", "3", True),
    (">3.0.0", "3.0.0", False),
    (">3.0.0", "3.0.1", True),
    ("<=3.0.0", "3.0.0", True),
    ("<=3.0.0", "3.0.0.9", True),
    ("=3.1.0", "3.1", True),
    ("=3.1.0", "3.1.1", False),
    (">=3.1.0-beta.2", "3.1.0-beta.10", True),
    (">=3.1.0-beta.2", "3.1.0-alpha", False),
    (">=4 <3", "3.5.0", False),
    (">=3", "nonsense", False),
)
NO_RANGES = (
    *("", " ", ">=", "3", "^3", "~3", "*", "3.x", "==3.0.0", "=>3", "!=3.0.0", ">= 3", ">=3  <4"),
    *(" >=3", ">=3 ", ">=3,<4", ">=3 || <2", ">=03", ">=3.1.4.5", ">=v3", ">3", "<=3.1", "=3"),
    *(">=3-beta", ">=3.1.0-", ">=3.1.0+5", ">=1 >=1 >=1 >=1 >=1", ">=3.0.0-" + "a" * 121),
)


def version_family() -> Family:
    """How versions are read, ordered and admitted."""
    family = Family("versions", "Versions, their order, native versions and ranges.")
    for low, high in pairwise(ASCENDING):
        family.ok(f"{low} < {high}", "version", {"order": -1}, a=low, b=high)
        family.ok(f"{high} > {low}", "version", {"order": 1}, a=high, b=low)
    family.ok("equal", "version", {"order": 0}, a="1.0.0-rc.1", b="1.0.0-rc.1")
    for text in NO_VERSIONS:
        family.error(f"{text!a} is no version", "version", "format", a=text, b="1.0.0")
    for text, version in NATIVE.items():
        family.ok(f"native {text!a}", "native", {"version": version}, text=text)
    for wanted, native, admits in RANGES:
        family.ok(
            f"{wanted} and {native}", "range", {"admits": admits}, range=wanted, native=native
        )
    for wanted in NO_RANGES:
        family.error(f"{wanted!a} is no range", "range", "format", range=wanted, native="3.0.0")
    return family


# --- trees ------------------------------------------------------------------------------------


def _deep(folders: int) -> list[str]:
    """Return paths that are in so many folders together."""
    most = 254  # what a path of 512 bytes has room for
    depths = [most] * (folders // most) + [folders % most]
    return [f"{n:02}" + "/a" * depth for n, depth in enumerate(depths)]


PATHS_GOOD: dict[str, Sequence[str]] = {
    "no files": [],
    "one": ["index.html"],
    "folders": ["a/b/c.js", "a/b/d.js", "a/c.js"],
    "as many folders as there may be": _deep(LIMITS.folders),
    "dots inside": [".well-known/x", "a..b", "...a"],
    "spaces": [" leading", "in ner"],
    "beyond ASCII": ["日本語/ñandú.js", "😀.png"],
    "nearly a device": ["console.js", "com10", "COM/x", "lpt⁴", "conin"],
    "a segment of 255 bytes": ["é" * 127 + "x"],
    "a path of 512 bytes": ["a" * 255 + "/" + "b" * 254 + "/c"],
    "the same letters, other names": ["a/b", "ab"],
}
PATHS_BAD: dict[str, Sequence[str]] = {
    "empty": [""],
    "a folder too many": _deep(LIMITS.folders + 1),
    "up": ["../x"],
    "up inside": ["a/../x"],
    "here": ["./x"],
    "absolute": ["/x"],
    "ends in a slash": ["x/"],
    "two slashes": ["a//b"],
    "drive": ["C:\\x"],
    "drive with a slash": ["C:/x"],
    "UNC": ["\\\\host\\x"],
    "backslash": ["a\\b"],
    "alternate stream": ["a:b"],
    "NUL": ["a\0b"],
    "newline": ["a\nb"],
    "DEL": ["a\x7f"],
    "C1 control": ["a\x85"],
    "lone surrogate": ["a\ud800"],
    "star": ["*"],
    "question mark": ["a?b"],
    "quote": ['a"b'],
    "less": ["<a"],
    "bar": ["a|b"],
    "trailing dot": ["a."],
    "trailing dot in a folder": ["a./b"],
    "trailing space": ["a "],
    "a segment of 256 bytes": ["é" * 128],
    "a path of 513 bytes": ["a" * 255 + "/" + "b" * 255 + "/c"],
    "device": ["CON"],
    "device in lower case": ["con"],
    "device with a suffix": ["nul.tar.gz"],
    "device with a space before its suffix": ["aux .txt"],
    "device as a folder": ["x/com1/y"],
    "device with a superscript": ["LPT¹"],
    "device CONIN$": ["conin$"],
    "the same twice": ["a", "a"],
    "case": ["a", "A"],
    "case of a folder": ["A/x", "a/y"],
    "sharp s": ["straße", "STRASSE"],
    "final sigma": ["ς", "σ"],
    "Unicode forms": ["é", "e\u0301"],
    "Unicode forms and case": ["É", "e\u0301"],
    "dotless i": ["i", "ı"],
    "Kelvin": ["K", "k"],
    "a file and a folder": ["a", "a/b"],
    "a file and a folder by case": ["A", "a/b"],
}


def tree_family() -> Family:
    """Which trees there can be, and their digests."""
    family = Family("trees", "Paths of one bundle, and digests of trees.")
    for name, paths in PATHS_GOOD.items():
        family.ok(f"accepted: {name}", "paths", {}, paths=list(paths))
    for name, paths in PATHS_BAD.items():
        family.error(f"refused: {name}", "paths", "path", paths=list(paths))
        family.error(f"refused in any order: {name}", "paths", "path", paths=list(paths)[::-1])
    empty: dict[str, object] = {"path": "empty.txt", "sha256": sha256(b""), "size": 0}
    page: dict[str, object] = {
        "path": "index.html",
        "sha256": sha256(b"<!doctype html>"),
        "size": 15,
    }
    # By UTF-16 code units, as JavaScript sorts, these two would come the other way round.
    astral = [{**page, "path": path} for path in ("\uff21.js", "\U00010000.js")]
    for name, files in {
        "no files": [],
        "an empty file": [empty],
        "two files": [empty, page],
        "two files, the other way round": [page, empty],
        "sorted by UTF-8": astral,
        "sorted by UTF-8, whatever the order": astral[::-1],
        "dot before slash": [{**page, "path": path} for path in ("a/b", "a.b", "a-b")],
        "a quote's cousin": [{**page, "path": "it's.js"}],
    }.items():
        family.computed(f"tree of {name}", "tree", files=files)
    no_trees: list[tuple[str, dict[str, object], str]] = [
        ("a path that leads out", {**page, "path": "../x"}, "path"),
        ("a size below zero", {**page, "size": -1}, "format"),
        ("a file too large", {**page, "size": 2**31}, "format"),
        ("a digest in upper case", {**page, "sha256": "A" * 64}, "format"),
        ("a path that is a number", {**page, "path": 1}, "format"),
        ("a path far too long", {**page, "path": "x" * 513}, "format"),
    ]
    for name, file, code in no_trees:
        family.error(f"no tree: {name}", "tree", code, files=[file])
    return family


# --- encryption -------------------------------------------------------------------------------


def cipher_family() -> Family:
    """Keys and bytes of encrypted payloads."""
    family = Family("cipher", "HKDF, AES-128-CBC and Capgo's RSA wrapping. All keys are test keys.")
    secret, tree, base = bytes(range(32)), tree_digest("1.4.2"), tree_digest("1.3.0")
    packer = "zip-1"
    given = {"scheme": "capgo", "app": SIM.app, "packer": packer, "tree": tree}
    family.computed("the key of a bundle", "bundle_key", secret=b64(secret), **given)
    for other, value in (("app", "com.example.other"), ("packer", "zip-2"), ("tree", base)):
        changed = {**given, other: value}
        family.computed(f"of another {other}", "bundle_key", secret=b64(secret), **changed)
    key = cipher.bundle_key(secret, scheme=Scheme.CAPGO, app=SIM.app, packer=packer, tree=tree)
    encoded = {"key": b64(key.key), "iv": b64(key.iv)}
    for kind in ("patch", "file"):
        family.computed(f"the key of a {kind}", "payload_key", **encoded, kind=kind, base=base)
    for size in (0, 1, 15, 16, 17, 1000):
        plain = bytes(n % 251 for n in range(size))
        stored = b"".join(cipher.encrypt([plain], key))
        want = {"data": b64(plain)}
        family.ok(f"{size} bytes decrypt", "decrypt", want, **encoded, data=b64(stored))
    stored = b"".join(cipher.encrypt([b"x" * 20], key))
    for name, data in {
        "nothing": b"",
        "half a block": stored[:8],
        "cut": stored[:16],
        "a byte longer": stored + b"\0",
        "the last byte altered": stored[:-1] + bytes([stored[-1] ^ 1]),
    }.items():
        family.error(f"{name} does not decrypt", "decrypt", "decrypt", **encoded, data=b64(data))
    _wrapping(family, key)
    return family


def _wrapping(family: Family, key: cipher.ContentKey) -> None:
    wrapper = TestWrapper(CAPGO_KEY.read_bytes())
    pem, plain, other = capgo.public_pem(wrapper.public), sha256(b"bundle"), sha256(b"other")
    spki = wrapper.public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    v3, v2 = (capgo.wrap(wrapper, key, plain, form) for form in (V3, V2))
    for name, wrapped, public in (
        ("v3", v3, pem),
        ("v2", v2, pem),
        ("v3 with the key as SPKI", v3, spki),
    ):
        want = {
            "key": b64(key.key),
            "iv": b64(key.iv),
            "session_key": f"{b64(key.iv)}:{b64(wrapped.session_key)}",
            "checksum": wrapped.checksum.hex() if wrapped.form == "v3" else b64(wrapped.checksum),
        }
        given: dict[str, Any] = {"public": public, "capgo": wrapped.to_json(), "plain": plain}
        family.ok(f"unwrap {name}", "unwrap", want, **given)
    members = dict(v3.to_json())
    long_key = wrapper.wrap(bytes(17))
    digest_info = wrapper.wrap(bytes.fromhex("3031300d060960864801650304020105000420") + bytes(32))
    for name, changes, digest, code in (
        ("another bundle's checksum", {}, other, "digest"),
        ("v3 said to be v2", {"form": "v2"}, plain, "digest"),
        ("another key id", {"key_id": "MIIBCgKCAQEAAAAAAAAA"}, plain, "decrypt"),
        ("a session key of 17 bytes", {"session_key": b64(long_key)}, plain, "decrypt"),
        ("a session key of zeros", {"session_key": b64(bytes(256))}, plain, "decrypt"),
        ("a session key beyond the modulus", {"session_key": b64(b"\xff" * 256)}, plain, "decrypt"),
        ("a checksum with a DigestInfo", {"checksum": b64(digest_info)}, plain, "digest"),
        ("a session key of 255 bytes", {"session_key": b64(bytes(255))}, plain, "format"),
        ("an IV of 15 bytes", {"iv": b64(bytes(15))}, plain, "format"),
        ("an unknown form", {"form": "v4"}, plain, "format"),
        ("no key id", {"key_id": ""}, plain, "format"),
    ):
        bad = {"public": pem, "capgo": {**members, **changes}, "plain": digest}
        family.error(f"unwrap: {name}", "unwrap", code, **bad)


# --- the stock plugin -------------------------------------------------------------------------


def capgo_release(version: str, **changes: Any) -> Envelope:
    """Return a release of scheme `capgo`, wrapped with the test key."""
    key = cipher.ContentKey(bytes(range(16)), bytes(range(16, 32)))
    value = SIM.release_value(version)
    plain, size = value.bundle.plain, value.bundle.plain_size
    bundle = Payload(sha256(b"stored " + version.encode()), size // 16 * 16 + 16, plain, size)
    wrapped = capgo.wrap(TestWrapper(CAPGO_KEY.read_bytes()), key, plain)
    return SIM.release(version, scheme=Scheme.CAPGO, bundle=bundle, capgo=wrapped, **changes)


def stock_family() -> Family:
    """What the stock plugin is told."""
    family = Family("stock", "`capgo.json` from a manifest.")
    root = family.document("root", SIM.root())
    ios, native = Audience(("ios",)), Audience(native=(NativeRange.parse("ios:>=3"),))
    ramp = Ramp(0, EPOCH - timedelta(days=3), EPOCH)
    coming = Ramp(0, EPOCH, EPOCH + timedelta(days=3))
    staged, withdrawn = Rollout(9_999), (Version.parse("1.4.2"),)
    old, secret = SIM.offer("1.3.0"), SIM.offer(capgo_release("1.4.2"))
    for name, offers, changes in (
        ("plain", ["1.4.2"], {}),
        ("encrypted", [secret], {}),
        ("staged: the next offer", [SIM.offer("1.4.2", rollout=staged), old], {}),
        ("staged alone: silent", [SIM.offer("1.4.2", rollout=staged)], {}),
        ("a ramp that is over", [SIM.offer("1.4.2", rollout=Rollout(10_000, ramp))], {}),
        ("a ramp that is not", [SIM.offer("1.4.2", rollout=Rollout(10_000, coming)), old], {}),
        ("one platform", [SIM.offer("1.4.2", audience=ios), old], {}),
        ("one platform alone", [SIM.offer(SIM.release("1.4.2", audience=ios))], {}),
        ("a native range", [SIM.offer("1.4.2", audience=native), old], {}),
        ("untrusted", [SIM.offer(SIM.release("1.4.2", by=[])), old], {}),
        ("another channel's", [SIM.offer(SIM.release("1.4.2", channels=("beta",))), old], {}),
        ("withdrawn and offered", ["1.4.2", old], {"withdrawn": withdrawn}),
        ("withdrawn and nothing offered: built-in", [], {"withdrawn": withdrawn}),
        ("nothing offered: silent", [], {}),
        ("paused: silent", ["1.4.2"], {"paused": True}),
    ):
        manifest = family.document(name, SIM.manifest(*offers, **changes))
        url = "https://cdn.example.com/app/"
        family.computed(name, "stock", root=root, manifest=manifest, channel=CHANNEL, base_url=url)
    return family


def families() -> Iterator[Family]:
    """Give every family of this file."""
    yield rollout_family()
    yield version_family()
    yield tree_family()
    yield cipher_family()
    yield stock_family()
