"""Vectors on bytes, signatures, roots and manifests: what is believed at all."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from manifestgen.core import canonical
from manifestgen.core.canonical import JsonObject
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest
from manifestgen.core.reader import format_time
from manifestgen.core.root import Delegation
from tests.simulator import (
    CHANNEL,
    EPOCH,
    NOW,
    P256_ORDER,
    Simulator,
    TestKey,
    changed,
    envelope,
    raw,
    role,
)
from tests.vectors.family import Family, Reference, b64

SIM = Simulator()
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)

CANONICAL_GOOD = {
    "empty object": b"{}",
    "empty list": b"[]",
    "scalars": b'[true,false,null,0,-1,""]',
    "largest and smallest integer": b"[9007199254740991,-9007199254740991]",
    "keys sorted, digits before _ before letters": b'{"a":1,"a1":2,"a_":3,"aa":4,"b":5}',
    "a key that means something in JavaScript": b'{"constructor":1,"prototype":2}',
    "newline, quote and backslash escaped, nothing else": b'"a\\nb\\"c\\\\d/"',
    "characters of two, three and four bytes": '"é€😀\u2028\ufeff"'.encode(),
    "two Unicode forms of one letter stay two strings": '["\u00e9","e\u0301"]'.encode(),
    "sixteen deep": b"[" * 16 + b"]" * 16,
}
CANONICAL_BAD = {
    "empty": b"",
    "an HTML page": b"<!doctype html><title>Sign in</title>",
    "byte order mark": b"\xef\xbb\xbf{}",
    "invalid UTF-8": b'"\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "surrogate as UTF-8": b'"\xed\xa0\x80"',
    "UTF-16": "{}".encode("utf-16-le"),
    "lone surrogate escaped": b'"\\ud800"',
    "surrogate pair escaped": b'"\\ud83d\\ude00"',
    "lone surrogate in a key": b'{"\\udc00":1}',
    "trailing newline": b"{}\n",
    "trailing bytes": b"{}x",
    "two documents": b"{}{}",
    "leading space": b" {}",
    "space after colon": b'{"a": 1}',
    "cut short": b'{"a":',
    "duplicate key": b'{"a":1,"a":1}',
    "duplicate key, deep": b'{"a":[{"b":1,"b":2}]}',
    "keys out of order": b'{"b":1,"a":1}',
    "upper case key": b'{"A":1}',
    "key that starts with _": b'{"__proto__":1}',
    "key that starts with a digit": b'{"1":1}',
    "empty key": b'{"":1}',
    "key with a dash": b'{"a-b":1}',
    "key beyond ASCII": '{"é":1}'.encode(),
    "float": b"1.5",
    "whole float": b"1.0",
    "exponent": b"1e0",
    "large exponent": b"1E400",
    "minus zero": b"-0",
    "plus": b"+1",
    "leading zero": b"01",
    "hexadecimal": b"0x10",
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus Infinity": b"-Infinity",
    "2^53": b"9007199254740992",
    "-2^53": b"-9007199254740992",
    "2^53 + 1, which JavaScript rounds": b"9007199254740993",
    "five thousand digits": b"1" * 5_000,
    "escaped slash": b'"\\/"',
    "escaped letter": b'"\\u0061"',
    "tab": b'"\\t"',
    "raw newline": b'"\n"',
    "NUL": b'"\\u0000"',
    "DEL": b'"\x7f"',
    "C1 control": '"\u0085"'.encode(),
    "comment": b"{}//",
    "trailing comma": b"[1,]",
    "single quotes": b"'a'",
    "bare word": b"true1",
    "seventeen deep": b"[" * 17 + b"]" * 17,
    "seventeen objects deep": b'{"a":' * 17 + b"1" + b"}" * 17,
    "two thousand deep": b"[" * 2_000 + b"]" * 2_000,
    "twenty thousand deep, cut": b"[" * 20_000,
}


def canonical_family() -> Family:
    """Which bytes are a document."""
    family = Family("canonical", "Bytes that are, or are not, their own canonical form.")
    for name, data in CANONICAL_GOOD.items():
        family.ok(name, "canonical", {}, data=b64(data))
    for name, data in CANONICAL_BAD.items():
        family.error(name, "canonical", "format", data=family.document(name, data))
    family.ok("as large as allowed", "canonical", {}, data=b64(b'"abc"'), limit=5)
    family.error("a byte too large", "canonical", "too_large", data=b64(b'"abcd"'), limit=5)
    family.error("too large comes first", "canonical", "too_large", data=b64(b"\xff" * 6), limit=5)
    return family


def key_family() -> Family:
    """Which keys are taken, and what their signatures are."""
    family = Family("keys", "Public keys as SPKI, and signatures by single keys.")
    for key in (TestKey.ed25519("one"), TestKey.p256("two")):
        _signatures(family, key, key.public.algorithm.value)
    ed25519 = bytes.fromhex("302a300506032b6570032100")
    p256 = TestKey.p256("two").public.spki
    bad = {
        "empty": b"",
        "Ed25519, a byte short": ed25519 + bytes(31),
        "Ed25519, a byte long": TestKey.ed25519("one").public.spki + b"\0",
        "Ed25519, all zero: order 4": ed25519 + bytes(32),
        "Ed25519, one: order 1": ed25519 + b"\1" + bytes(31),
        "Ed25519, order 2": ed25519 + b"\xec" + b"\xff" * 30 + b"\x7f",
        "Ed25519, order 2 with the sign bit": ed25519 + b"\xec" + b"\xff" * 31,
        "Ed25519, order 8": ed25519
        + bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        "Ed25519, order 8, the other": ed25519
        + bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        "Ed25519, order 4 as the field's prime": ed25519 + b"\xed" + b"\xff" * 30 + b"\x7f",
        "Ed25519, order 1 beyond the prime": ed25519 + b"\xee" + b"\xff" * 30 + b"\x7f",
        "Ed448": bytes.fromhex("3043300506032b6571033a00") + bytes(57),
        "P-256, no point of the curve": p256[:-1] + bytes([p256[-1] ^ 1]),
        # The point (0, √b), its x spelt as the field's prime.
        "P-256, x beyond the field": p256[:27]
        + bytes.fromhex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff")
        + bytes.fromhex("66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4"),
        "P-256, compressed": bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
        + bytes([2 + p256[-1] % 2])
        + p256[27:59],
        "P-384 by its curve": p256.replace(bytes.fromhex("06082a8648ce3d030107"), b"\x06\x05+..."),
    }
    for name, spki in bad.items():
        family.error(f"refused: {name}", "key", "format", spki=b64(spki))
    return family


def _signatures(family: Family, key: TestKey, name: str) -> None:
    message = "Grüße\n".encode()
    sig, spki = key.sign(message), b64(key.public.spki)
    family.ok(name, "key", {"algorithm": name, "keyid": key.keyid}, spki=spki)
    cases = {
        "signed": (sig, message, True),
        "another message": (sig, message + b" ", False),
        "one bit flipped": (bytes([sig[0] ^ 1]) + sig[1:], message, False),
        "a byte short": (sig[:-1], message, False),
        "a byte long": (sig + b"\0", message, False),
        "empty": (b"", message, False),
        "all zero": (bytes(64), message, False),
        "all ones": (b"\xff" * 64, message, False),
        "by another key": (TestKey.ed25519("three").sign(message), message, False),
    }
    if name == "p256":
        r, s = sig[:32], int.from_bytes(sig[32:], "big")
        cases["the other s"] = (r + (P256_ORDER - s).to_bytes(32, "big"), message, True)
        cases["s = 0"] = (r + bytes(32), message, False)
        cases["a zero before s"] = (r + b"\0" + sig[32:], message, False)
    else:
        s = int.from_bytes(sig[32:], "little") + 2**252 + 27742317777372353535851937790883648493
        cases["s beyond the group's order"] = (sig[:32] + s.to_bytes(32, "little"), message, False)
    for case, (signature, text, valid) in cases.items():
        given = {"sig": b64(signature), "message": b64(text)}
        family.ok(f"{name}: {case}", "signature", {"valid": valid}, spki=spki, **given)


# --- signatures -------------------------------------------------------------------------------


def signature_family() -> Family:
    """Whose signatures count, driven through releases."""
    family = Family("signatures", "Thresholds and keys, on releases under several roots.")
    one, two, three = (TestKey.ed25519(f"release {n}") for n in (1, 2, 3))
    p256, stranger = TestKey.p256("release 4"), TestKey.ed25519("stranger")
    keys = (*SIM.root_value.keys, *(key.public for key in (one, two, three, p256)))
    several = role(one, two, three, p256, threshold=2)
    root = family.document("2 of 4", SIM.root(keys=keys, release=several))
    signed = SIM.release_value("1.4.2").to_json()
    good = [key.signature(Kind.RELEASE, signed) for key in (one, two, three, p256, stranger)]
    a, b, _, d, unknown = good
    as_manifest = one.signature(Kind.MANIFEST, signed)
    other_s = (P256_ORDER - int.from_bytes(d.sig[32:], "big")).to_bytes(32, "big")
    cases = {
        "two of two": ([a, b], None),
        "Ed25519 and P-256": ([a, d], None),
        "more than enough": ([a, b, d], None),
        "any order": ([d, b, a], None),
        "an unknown key beside two good ones": ([a, unknown, b], None),
        "a broken signature beside two good ones": ([replace(a, sig=b.sig), a, b], None),
        "none": ([], "signature"),
        "threshold not met": ([a], "signature"),
        "one key signing twice": ([a, a], "signature"),
        "one key signing in two ways": ([d, replace(d, sig=d.sig[:32] + other_s)], "signature"),
        "one key under two ids": ([a, replace(a, keyid=two.keyid)], "signature"),
        "a broken signature": ([a, replace(b, sig=b.sig[:-1] + b"\0")], "signature"),
        "cut": ([a, replace(b, sig=b.sig[:-1])], "signature"),
        "P-256 as DER": ([a, replace(d, sig=b"0" + d.sig)], "signature"),
        "unknown key": ([a, unknown], "signature"),
        "a key of the root with another role": (
            [a, SIM.root_key.signature(Kind.RELEASE, signed)],
            "signature",
        ),
        "signed as another type": ([b, as_manifest], "signature"),
        "as many as allowed": ([a, b] * (LIMITS.signatures // 2), None),
        "one too many": ([a, b] * (LIMITS.signatures // 2) + [a], "format"),
    }
    for name, (signatures, code) in cases.items():
        document = family.document(name, Envelope(tuple(signatures), signed).encode())
        _release(family, name, root, document, code)
    _envelopes(family, root, Envelope((a, b), signed))
    return family


def _release(
    family: Family, name: str, root: Reference, document: Reference, code: str | None
) -> None:
    if code is None:
        family.ok(name, "release", {"version": "1.4.2"}, root=root, release=document)
    else:
        family.error(name, "release", code, root=root, release=document)


def _envelopes(family: Family, root: Reference, good: Envelope) -> None:
    """Add envelopes that are none, or of another type."""
    whole = good.to_json()
    first: Any = good.signatures[0]
    first = {"keyid": first.keyid, "sig": b64(first.sig)}
    sig = first["sig"]
    cases: dict[str, tuple[JsonObject | list[int], str]] = {
        "a list": ([1], "format"),
        "no signatures": (changed(whole, signatures=None), "format"),
        "no signed part": (changed(whole, signed=None), "format"),
        "a member beside": (changed(whole, extra=1), "format"),
        "signatures are no list": (changed(whole, signatures={}), "format"),
        "signed is a string": (changed(whole, signed="{}"), "format"),
        "a signature without key id": (changed(whole, signatures=[{"sig": sig}]), "format"),
        "a key id in upper case": (
            changed(whole, signatures=[{"keyid": "A" * 64, "sig": sig}]),
            "format",
        ),
        "base64 without padding": (
            changed(whole, signatures=[{**first, "sig": sig.rstrip("=")}]),
            "format",
        ),
        "base64 with stray bits": (
            changed(whole, signatures=[{**first, "sig": sig[:-3] + "B=="}]),
            "format",
        ),
        "base64 for URLs": (changed(whole, signatures=[{**first, "sig": "_-8="}]), "format"),
        "no type": (changed(whole, signed=changed(good.signed, type=None)), "format"),
        "type is a number": (changed(whole, signed=changed(good.signed, type=1)), "format"),
        "a newer type": (changed(whole, signed=changed(good.signed, type="release.v2")), "type"),
        "another type": (changed(whole, signed=changed(good.signed, type="manifest.v1")), "type"),
        "an unknown type": (changed(whole, signed=changed(good.signed, type="news.v1")), "type"),
        "nonsense for a type": (changed(whole, signed=changed(good.signed, type="x")), "format"),
    }
    for name, (value, code) in cases.items():
        document = family.document(name, canonical.encode(value))
        family.error(name, "release", code, root=root, release=document)


# --- releases ---------------------------------------------------------------------------------


def release_family() -> Family:
    """What a release may say."""
    family = Family("releases", "Releases that are well signed, by what they say.")
    root = family.document("root", SIM.root())
    full = SIM.release_value("1.4.2").to_json()
    tree, bundle = full["tree"], full["bundle"]
    assert isinstance(tree, dict)
    assert isinstance(bundle, dict)
    good: dict[str, JsonObject] = {
        "plain": full,
        "with everything": changed(
            full,
            platforms=["android", "ios"],
            native=[{"range": ">=3 <4"}, {"platform": "ios", "range": ">=3.1"}],
            channels=["production", "beta"],
            floor="1.2.0",
            notes="Grüße\n" + "😀" * 100,
        ),
        "with a list of single files": changed(full, files={**bundle, "plain": bundle["blob"]}),
        "unknown members": changed(full, colour="blue", extra={"a": [1]}),
        "pre-release": changed(full, version="1.4.2-rc.1"),
        "notes of 512 bytes": changed(full, notes="é" * 256),
        "largest bundle": changed(full, bundle={**bundle, "size": 2**31 - 1}),
        "earliest and latest time": changed(full, issued="0001-01-01T00:00:00Z"),
        "leap day": changed(full, issued="2028-02-29T23:59:59Z"),
    }
    for name, signed in good.items():
        document = family.document(name, raw(signed, Kind.RELEASE, SIM.release_key))
        version = signed["version"]
        family.ok(name, "release", {"version": version}, root=root, release=document)
    for name, (signed, code) in _bad_releases(full, tree, bundle).items():
        document = family.document(name, raw(signed, Kind.RELEASE, SIM.release_key))
        family.error(name, "release", code, root=root, release=document)
    large = b"x" * (LIMITS.release_bytes + 1)
    family.error(
        "too large", "release", "too_large", root=root, release=family.document("large", large)
    )
    return family


def _bad_releases(
    full: JsonObject, tree: JsonObject, bundle: JsonObject
) -> dict[str, tuple[JsonObject, str]]:
    bad = {
        f"without {name}": changed(full, **{name: None})
        for name in ("app", "bundle", "issued", "scheme", "tree", "version")
    }
    for text in ("1.4", "v1.4.2", "1.4.2+5", "01.4.2", "1.4.2-01", "1.4.2-", "1.4.2\n", "²"):
        bad[f"version {text!r}"] = changed(full, version=text)
    for text in (
        "2030-01-01 00:00:00Z",
        "2030-01-01T00:00:00",
        "2030-01-01T00:00:00+00:00",
        "2030-01-01T00:00:00.000Z",
        "2030-02-30T00:00:00Z",
        "2029-02-29T00:00:00Z",
        "2030-13-01T00:00:00Z",
        "2030-01-01T24:00:00Z",
        "2030-01-01T00:00:60Z",
        "0000-01-01T00:00:00Z",
        "+002030-01-01T00:00:00Z",
        "2030-01-01T00:00:00Z\n",
        "٢٠٣٠-01-01T00:00:00Z",
    ):
        bad[f"issued {text!r}"] = changed(full, issued=text)
    others: dict[str, JsonObject] = {
        "version is a number": changed(full, version=1),
        "version of 65 characters": changed(full, version="1.4.2-" + "a" * 59),
        "version beyond 15 digits": changed(full, version="1000000000000000.0.0"),
        "an app with a space": changed(full, app="my app"),
        "no files": changed(full, tree={**tree, "files": 0}),
        "too many files": changed(full, tree={**tree, "files": LIMITS.files + 1}),
        "a digest in upper case": changed(full, tree={**tree, "digest": "A" * 64}),
        "a digest with a newline": changed(full, tree={**tree, "digest": "a" * 64 + "\n"}),
        "a negative size": changed(full, bundle={**bundle, "size": -1}),
        "a size of true": changed(full, bundle={**bundle, "size": True}),
        "a bundle too large": changed(full, bundle={**bundle, "plain_size": 2**31}),
        "scheme capgo without its members": changed(full, scheme="capgo"),
        "no channels, spelled out": changed(full, channels=[]),
        "in the clear, yet stored otherwise": changed(full, bundle={**bundle, "plain": "0" * 64}),
        "a list of files that is none": changed(full, files=[]),
        "a list of files, stored otherwise": changed(full, files={**bundle, "plain": "0" * 64}),
        "a reserved channel": changed(full, channels=["blobs"]),
        "a channel that Windows keeps": changed(full, channels=["con"]),
        "a channel in upper case": changed(full, channels=["Beta"]),
        "no platforms, spelled out": changed(full, platforms=[]),
        "a platform in upper case": changed(full, platforms=["iOS"]),
        "a range nobody understands": changed(full, native=[{"range": "^3"}]),
        "floor is no version": changed(full, floor="1"),
        "floor is null": changed(full, floor=None) | {"floor": None},  # type: ignore[operator]
        "notes of 513 bytes": changed(full, notes="é" * 256 + "x"),
    }
    result = {name: (signed, "format") for name, signed in {**bad, **others}.items()}
    result["a scheme of the future"] = (changed(full, scheme="sealed"), "scheme")
    result["another app's"] = (changed(full, app="com.example.other"), "wrong_app")
    return result


# --- roots ------------------------------------------------------------------------------------


def root_family() -> Family:
    """The chain of roots."""
    family = Family("roots", "Trusting a root, and walking the chain from it.")
    first = family.document("root 1", SIM.root())
    family.ok("a root as built in", "trust", {"number": 1}, root=first)
    _bad_roots(family)
    _walks(family, first)
    return family


def _bad_roots(family: Family) -> None:
    full = SIM.root_value.to_json()
    keys, roles = full["keys"], full["roles"]
    assert isinstance(keys, list)
    assert isinstance(roles, dict)
    one = roles["root"]
    cases: dict[str, tuple[JsonObject, str]] = {
        "number 0": (changed(full, number=0), "format"),
        "no keys": (changed(full, keys=[]), "format"),
        "a key twice": (changed(full, keys=[*keys, keys[0]]), "format"),
        "a key under another id": (
            changed(full, keys=[{**keys[0], "keyid": "0" * 64}, *keys[1:]]),
            "format",
        ),
        "a key under another algorithm": (
            changed(full, keys=[{**keys[0], "algorithm": "p256"}, *keys[1:]]),
            "format",
        ),
        "a role with an unknown key": (
            changed(full, roles={**roles, "release": {"keys": ["0" * 64], "threshold": 1}}),
            "format",
        ),
        "a role without keys": (
            changed(full, roles={**roles, "release": {"keys": [], "threshold": 1}}),
            "format",
        ),
        "a role with a key twice": (
            changed(full, roles={**roles, "root": {**one, "keys": one["keys"] * 2}}),
            "format",
        ),
        "threshold 0": (changed(full, roles={**roles, "root": {**one, "threshold": 0}}), "format"),
        "threshold beyond the keys": (
            changed(full, roles={**roles, "root": {**one, "threshold": 2}}),
            "format",
        ),
        "a channel delegated twice": (
            changed(full, roles={**roles, "manifest": roles["manifest"] * 2}),
            "format",
        ),
        "expires before it is issued": (changed(full, expires=full["issued"]), "format"),
        "max_days 0": (changed(full, max_days=0), "format"),
        "max_days beyond ten years": (changed(full, max_days=3661), "format"),
        "a release": (SIM.release_value("1.0.0").to_json(), "type"),
    }
    for name, (signed, code) in cases.items():
        document = family.document(name, raw(signed, Kind.ROOT, SIM.root_key))
        family.error(name, "trust", code, root=document)
    unsigned = family.document("unsigned", SIM.root(by=[SIM.release_key]))
    family.error("not signed by its own key", "trust", "signature", root=unsigned)


def _walks(family: Family, first: Reference) -> None:
    old, new, manifest = SIM.root_key, TestKey.ed25519("root 2"), TestKey.ed25519("manifest 2")
    keys = tuple(key.public for key in (new, SIM.release_key, manifest))
    rotated = {
        "keys": keys,
        "root": role(new),
        "manifest": (Delegation(("*",), role(manifest)),),
        "number": 2,
    }
    root = SIM.root

    def walk(name: str, number: int, stopped: str | None, *files: bytes) -> None:
        names = [family.document(f"{name} #{n}", data) for n, data in enumerate(files, 2)]
        want = {"number": number, "stopped": stopped}
        family.ok(name, "walk", want, root=first, roots=names)

    second = root(**rotated, by=[old, new])
    third = root(**{**rotated, "number": 3}, by=[new])
    walk("no news", 1, None)
    walk("the same keys again", 2, None, root(number=2))
    walk("rotated, signed by old and new", 2, None, second)
    walk("two steps", 3, None, second, third)
    walk("signed by the old key only", 1, "signature", root(**rotated, by=[old]))
    walk("signed by the new key only", 1, "signature", root(**rotated, by=[new]))
    walk("signed by nobody", 1, "signature", raw(SIM.root_value.to_json(), Kind.ROOT))
    walk("skips a number", 1, "root_gap", root(number=3))
    walk("the same number again", 1, "root_gap", root())
    walk("another app's", 1, "wrong_app", root(number=2, app="com.example.other"))
    walk("a root that has expired is still a step", 2, None, root(number=2, expires=EPOCH + SECOND))
    walk("a manifest instead", 1, "type", SIM.manifest())
    walk("an HTML page", 1, "format", b"<!doctype html>")
    walk("what was reached before a bad root stays", 2, "signature", second, root(number=3))
    walk("the retired key signs no more", 2, "signature", second, root(number=3, by=[old]))
    many = [root(number=number) for number in range(2, 7)]
    walk("several at once", 6, None, *many)
    two_of_two = {"root": role(old, new, threshold=2), "keys": (*SIM.root_value.keys, new.public)}
    raised = root(**two_of_two, number=2, by=[old, new])
    walk("threshold raised", 2, None, raised)
    walk("threshold raised, met by one", 1, "signature", root(**two_of_two, number=2, by=[old]))
    lowered = root(number=3, by=[old])
    walk("lowering it again takes both", 2, "signature", raised, lowered)
    _recoveries(family, first, second, root(number=2))


def _recoveries(family: Family, first: Reference, rotated: bytes, same: bytes) -> None:
    kept = family.document("manifest kept", SIM.manifest(sequence=2**53 - 1))
    for name, data, keeps in (
        ("a new root with the same manifest key: what was seen is kept", same, True),
        ("a new root without the manifest key: what was seen is forgotten", rotated, False),
    ):
        family.ok(
            name,
            "walk",
            {"number": 2, "stopped": None, "keeps": keeps},
            root=first,
            roots=[family.document(name, data)],
            kept=kept,
            channel=CHANNEL,
        )


# --- manifests --------------------------------------------------------------------------------


def manifest_family() -> Family:
    """Which manifests are believed."""
    family = Family("manifests", "Manifests under one root, before freshness.")
    inside = TestKey.ed25519("inside")
    root_value = replace(
        SIM.root_value,
        number=2,
        keys=(*SIM.root_value.keys, inside.public),
        manifest=(
            Delegation(("*",), role(SIM.manifest_key)),
            Delegation(("lan",), role(inside)),
        ),
    )
    root = family.document("root", raw(root_value.to_json(), Kind.ROOT, SIM.root_key))
    for name, (data, channel) in _good_manifests(inside).items():
        _accepted(family, name, root, data, channel)
    for name, (data, code, channel) in _bad_manifests(inside).items():
        family.error(
            name,
            "manifest",
            code,
            root=root,
            manifest=family.document(name, data),
            channel=channel,
            now=format_time(NOW),
        )
    closed = replace(root_value, manifest=(Delegation(("lan",), role(inside)),))
    family.error(
        "a channel that no key may sign for",
        "manifest",
        "signature",
        root=family.document("root for lan", raw(closed.to_json(), Kind.ROOT, SIM.root_key)),
        manifest=family.document("for nobody", SIM.manifest()),
        channel=CHANNEL,
        now=format_time(NOW),
    )
    return family


def _accepted(family: Family, name: str, root: Reference, data: bytes, channel: str) -> None:
    signed = Manifest.from_json(Envelope.decode(data, limit=LIMITS.manifest_bytes).signed)
    versions = {
        "with a release that does not verify": ["signature", "1.3.0"],
        "with a release of a future scheme": ["scheme", "1.3.0"],
        "with another app's release": ["wrong_app"],
    }
    plain = [str(offer.release.signed["version"]) for offer in signed.offers]
    want = {
        "sequence": signed.sequence,
        "digest": Envelope.decode(data, limit=LIMITS.manifest_bytes).digest(),
        "issued": format_time(signed.issued),
        "releases": versions.get(name, plain),
    }
    document = family.document(name, data)
    given = {"root": root, "manifest": document, "channel": channel, "now": format_time(NOW)}
    family.ok(name, "manifest", want, **given)


def _good_manifests(inside: TestKey) -> dict[str, tuple[bytes, str]]:
    sealed = changed(SIM.release_value("1.4.2").to_json(), scheme="sealed")
    future = SIM.offer(envelope(sealed, Kind.RELEASE, [SIM.release_key]))
    other = SIM.offer(SIM.release("1.4.2", app="com.example.other"))
    unsigned = SIM.offer(SIM.release("1.4.2", by=[SIM.manifest_key]))
    full = SIM.manifest_value("1.4.2").to_json()
    return {
        "one offer": (SIM.manifest("1.4.2"), CHANNEL),
        "no offer": (SIM.manifest(), CHANNEL),
        "two offers": (SIM.manifest("1.4.2", "1.3.0"), CHANNEL),
        "with a release that does not verify": (SIM.manifest(unsigned, "1.3.0"), CHANNEL),
        "with a release of a future scheme": (SIM.manifest(future, "1.3.0"), CHANNEL),
        "with another app's release": (SIM.manifest(other), CHANNEL),
        "naming an older root": (SIM.manifest("1.4.2", root=1), CHANNEL),
        "naming the same root": (SIM.manifest("1.4.2", root=2), CHANNEL),
        "as long-lived as allowed": (SIM.manifest(expires=EPOCH + 90 * DAY), CHANNEL),
        "of a channel with a key of its own": (SIM.manifest(channel="lan", by=[inside]), "lan"),
        "unknown members": (
            raw(changed(full, colour="blue"), Kind.MANIFEST, SIM.manifest_key),
            CHANNEL,
        ),
    }


def _bad_manifests(inside: TestKey) -> dict[str, tuple[bytes, str, str]]:
    full = SIM.manifest_value("1.4.2").to_json()
    offers = full["offers"]
    assert isinstance(offers, list)
    offer = offers[0]
    shapes: dict[str, JsonObject] = {
        **{
            f"without {name}": changed(full, **{name: None})
            for name in (
                *("app", "channel", "expires", "issued"),
                *("offers", "root", "sequence", "withdrawn"),
            )
        },
        "sequence 0": changed(full, sequence=0),
        "sequence as text": changed(full, sequence="7"),
        "a reserved channel": changed(full, channel="root"),
        "previous is no digest": changed(full, previous="abc"),
        "paused is a number": changed(full, paused=1),
        "a withdrawn version that is none": changed(full, withdrawn=["1"]),
        "expires when issued": changed(full, expires=full["issued"]),
        "too many offers": changed(full, offers=offers * (LIMITS.offers + 1)),
        "too many withdrawn": changed(full, withdrawn=["1.0.0"] * (LIMITS.withdrawn + 1)),
        "an offer without a release": changed(full, offers=[{}]),
        "an embedded release with a member beside": changed(
            full, offers=[{"release": {**offer["release"], "extra": 1}}]
        ),
        "mandatory is text": changed(full, offers=[{**offer, "mandatory": "yes"}]),
    }
    week = {"start": "2030-01-01T00:00:00Z", "end": "2030-01-08T00:00:00Z"}
    rollouts: dict[str, JsonObject] = {
        "share over 100 %": {"share": 10_001},
        "share negative": {"share": -1},
        "share missing": {"salt": "x"},
        "a ramp that falls": {"share": 1000, "first": 1001, **week},
        "a ramp without its end": {"share": 1000, "first": 0, "start": week["start"]},
        "a ramp without its start": {"share": 1000, "first": 0, "end": week["end"]},
        "a ramp that ends at once": {"share": 1, "first": 0, **week, "end": week["start"]},
        "an empty salt": {"share": 1, "salt": ""},
        "a salt beyond ASCII": {"share": 1, "salt": "é"},
    }
    for name, rollout in rollouts.items():
        shapes[name] = changed(full, offers=[{**offer, "rollout": rollout}])
    result = {
        name: (raw(signed, Kind.MANIFEST, SIM.manifest_key), "format", CHANNEL)
        for name, signed in shapes.items()
    }
    good = SIM.manifest("1.4.2")
    return result | {
        "empty body": (b"", "format", CHANNEL),
        "a login page": (b"<!doctype html><form>", "format", CHANNEL),
        "too large": (b"x" * (LIMITS.manifest_bytes + 1), "too_large", CHANNEL),
        "a byte behind": (good + b"\n", "format", CHANNEL),
        "a release instead": (SIM.release("1.4.2").encode(), "type", CHANNEL),
        "signed by nobody": (SIM.manifest(by=[]), "signature", CHANNEL),
        "signed by the release key": (
            SIM.manifest(by=[SIM.release_key]),
            "signature",
            CHANNEL,
        ),
        "signed as a release": (raw(full, Kind.RELEASE, SIM.manifest_key), "signature", CHANNEL),
        "a bad signature comes before a bad shape": (
            raw(changed(full, sequence=0), Kind.MANIFEST),
            "signature",
            CHANNEL,
        ),
        "one byte altered": (
            good.replace(b'"sequence":1', b'"sequence":2'),
            "signature",
            CHANNEL,
        ),
        "another app's": (SIM.manifest(app="com.example.other"), "wrong_app", CHANNEL),
        "another channel's": (SIM.manifest(channel="beta"), "wrong_channel", CHANNEL),
        "the star's key for a channel with a key of its own": (
            SIM.manifest(channel="lan"),
            "signature",
            "lan",
        ),
        "the inside's key for an outside channel": (
            SIM.manifest(by=[inside]),
            "signature",
            CHANNEL,
        ),
        "naming a root not to be had": (SIM.manifest(root=3), "root_unknown", CHANNEL),
        "longer-lived than allowed": (
            SIM.manifest(expires=EPOCH + 90 * DAY + SECOND),
            "lifetime",
            CHANNEL,
        ),
    }


# --- freshness --------------------------------------------------------------------------------


def freshness_family() -> Family:
    """Which believed manifests are news."""
    family = Family("freshness", "One manifest against clocks and memories.")
    data = SIM.manifest("1.4.2", sequence=7)
    digest = Envelope.decode(data, limit=LIMITS.manifest_bytes).digest()
    root = family.document("root", SIM.root())
    expires = EPOCH + 30 * DAY
    year = SIM.root_value.expires
    late = {"issued": EPOCH + 40 * DAY, "expires": EPOCH + 60 * DAY}
    renewed = {"issued": year - 2 * DAY, "expires": year + DAY}
    memory: dict[str, Any] = {"sequence": 6, "digest": "0" * 64, "issued": EPOCH}
    same: dict[str, Any] = {"sequence": 7, "digest": digest, "issued": EPOCH}
    later, ahead = {**memory, "issued": expires}, {**memory, "issued": EPOCH + 39 * DAY}
    newer = {**memory, "sequence": 8}
    rows: list[tuple[str, dict[str, Any], datetime, dict[str, Any] | None, str | None]] = [
        ("first ever", {}, NOW, None, None),
        ("the next one", {}, NOW, memory, None),
        ("a gap in sequences", {}, NOW, {**memory, "sequence": 1}, None),
        ("seen before", {}, NOW, same, None),
        ("older", {}, NOW, newer, "replay"),
        ("older by far", {}, NOW, {**memory, "sequence": 2**53 - 1}, "replay"),
        ("another of the same number", {}, NOW, {**same, "digest": "0" * 64}, "equivocation"),
        ("replay comes before expiry", {}, expires, newer, "replay"),
        ("the last second", {}, expires - SECOND, None, None),
        ("expired to the second", {}, expires, None, "expired"),
        ("expired", {}, expires + DAY, None, "expired"),
        ("clock set back after a later manifest", {}, NOW, later, "expired"),
        ("seen before, expired since", {}, expires, same, "expired"),
        ("issued a day ahead", late, EPOCH + 39 * DAY, None, None),
        ("issued a day and a second ahead", late, EPOCH + 39 * DAY - SECOND, None, "future"),
        ("a clock at the root's own time", late, EPOCH, None, "future"),
        ("a clock before the root's own time", late, EPOCH - SECOND, None, None),
        ("a clock at 1970", late, EPOCH.replace(year=1970), None, None),
        ("a memory does not move the future", late, NOW, ahead, "future"),
        ("the last second of the root", renewed, year - SECOND, None, None),
        ("the root has expired", renewed, year, None, "root_expired"),
        ("an expired root comes before all else", {}, year, newer, "root_expired"),
    ]  # fmt: skip
    for name, changes, now, seen, code in rows:
        document = SIM.manifest("1.4.2", sequence=7, **changes)
        manifest = family.document(name if changes else "manifest 7", document)
        given: dict[str, Any] = {"root": root, "manifest": manifest, "channel": CHANNEL}
        given["now"] = format_time(now)
        if seen is not None:
            given["seen"] = {**seen, "issued": format_time(seen["issued"])}
        if code is not None:
            family.error(name, "manifest", code, **given)
            continue
        envelope = Envelope.decode(document, limit=LIMITS.manifest_bytes)
        issued = envelope.signed["issued"]
        want = {"sequence": 7, "digest": envelope.digest(), "issued": issued, "releases": ["1.4.2"]}
        family.ok(name, "manifest", want, **given)
    lost: list[tuple[str, dict[str, Any], datetime, datetime, str | None]] = [
        ("state lost, clock set back", {}, NOW, expires - SECOND, None),
        ("state lost, clock set back after a later release", {}, NOW, expires, "expired"),
        ("state lost, clock ahead of what runs", {}, expires, EPOCH, "expired"),
        ("state lost, a clock at 1970", late, EPOCH.replace(year=1970), EPOCH, None),
        ("what runs does not move the future", late, NOW, EPOCH + 39 * DAY, "future"),
    ]
    for name, changes, now, running, code in lost:
        document = SIM.manifest("1.4.2", sequence=7, **changes)
        envelope = Envelope.decode(document, limit=LIMITS.manifest_bytes)
        given = {
            "root": root,
            "manifest": family.document(name, document),
            "channel": CHANNEL,
            "now": format_time(now),
            "running_issued": format_time(running),
        }
        if code is not None:
            family.error(name, "manifest", code, **given)
            continue
        issued = envelope.signed["issued"]
        want = {"sequence": 7, "digest": envelope.digest(), "issued": issued, "releases": ["1.4.2"]}
        family.ok(name, "manifest", want, **given)
    resigned = envelope_with_another_signature(data)
    family.ok(
        "the same signed part under another signature is no equivocation",
        "manifest",
        {**same, "issued": format_time(EPOCH), "releases": ["1.4.2"]},
        root=root,
        manifest=family.document("signed again", resigned),
        channel=CHANNEL,
        now=format_time(NOW),
        seen={**same, "issued": format_time(EPOCH)},
    )
    return family


def envelope_with_another_signature(data: bytes) -> bytes:
    """Return the same document signed by one key more."""
    envelope = Envelope.decode(data, limit=LIMITS.manifest_bytes)
    extra = TestKey.ed25519("extra").signature(Kind.MANIFEST, envelope.signed)
    return envelope.with_signatures([extra]).encode()


def families() -> Iterator[Family]:
    """Give every family of this file."""
    yield canonical_family()
    yield key_family()
    yield signature_family()
    yield release_family()
    yield root_family()
    yield manifest_family()
    yield freshness_family()
