"""Put the same questions, made by chance, to the Python and the JavaScript client.

A question is a request of the conformance protocol. Documents are made, bent in a member or a few
and signed again (so that what lies behind the signature is reached), or damaged in a few bytes.
Everything comes from one seed: `questions(seed)` gives the same ones each time.
"""

import base64
import json
import random
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from manifestgen.core.audience import Audience, NativeRange
from manifestgen.core.canonical import Json, JsonObject
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.manifest import FULL, Manifest, Offer, Patch, Ramp, Rollout
from manifestgen.core.reader import format_time
from manifestgen.core.release import Payload, Release, Scheme, TreeRef, Wrapped
from manifestgen.core.root import Delegation, Root
from manifestgen.core.tree import Digest, sha256
from manifestgen.core.version import Range, Version
from manifestgen.errors import FormatError
from tests.conformance import client_python
from tests.simulator import APP, CHANNEL, EPOCH, TestKey, envelope, role, tree_digest
from tests.tools import node

Question: TypeAlias = Mapping[str, Any]

CLIENT: Final = Path(__file__).parents[1] / "conformance" / "client_javascript.mjs"

_KEYS = [TestKey.ed25519(name) for name in ("root", "release", "manifest", "other")]
_KEYS += [TestKey.p256(name) for name in ("hardware", "cloud")]
_VERSIONS = ["0.9.9", "1.0.0", "1.4.0", "1.4.2", "1.5.0-rc.1", "1.5.0-rc.2", "1.10.0", "2.0.0"]
_PLATFORMS = ["ios", "android", "electron"]
_RANGES = [">=3", ">=3 <4", "<4", "=3.1.0", ">3.1.0", "<=3.1.0-rc.1", ">=3.1.0-rc.1 <3.2"]
_NATIVES = [
    "3",
    "3.1",
    "3.1.0",
    "03.1.0.7",
    "3.1.0-rc.1",
    "4.0.0",
    "2.9",
    "",
    "x",
    "3.1.0+7",
    "１.0",
]
_ODD: list[Json] = [
    *(None, True, False, 0, -1, 1, 2**53 - 1, -(2**53) + 1, "", "x", "1.0.0", "*", "production"),
    *("2030-02-30T00:00:00Z", "2030-01-01T24:00:00Z", "0000-01-01T00:00:00Z", "none", "capgo"),
    *(
        "sealed",
        "AA==",
        "AB==",
        "AA",
        "A A=",
        "root",
        "\U0001f600",
        "é" * 256,
        "line\nline",
        "0" * 64,
    ),
    *(
        "history",
        "com1",
        "2030-01-01T00:00:00Z",
        "root.v1",
        "manifest.v2",
        "manifest.v1\n",
        "1.0.0\n",
    ),
    *([], [None], {}, {"a": 1}, [[]], ["x"], [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]),
]
_BYTES = [
    b'"',
    b"{",
    b"}",
    b",",
    b"0",
    b"-0",
    b"1.0",
    b"1e3",
    b" ",
    b"\xff",
    b"\\u0061",
    b"\xef\xbb\xbf",
]
_NAMES = ["constructor", "a", "native", "platforms"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A question with two answers."""

    question: Question
    python: object
    javascript: object


def disagreements(count: int, seed: int) -> list[Disagreement]:
    """Ask both clients so many questions, and return those they answer differently."""
    with subprocess.Popen(
        [node.program(), "--no-warnings", CLIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="ascii",
    ) as process:
        found = list(_compare(process, questions(seed, count)))
        assert process.stdin
        process.stdin.close()
    return found


def questions(seed: int, count: int) -> Iterator[Question]:
    """Make questions."""
    chance = random.Random(seed)
    kinds: list[Callable[[random.Random], Question]] = [
        *([_decide] * 8 + [_manifest] * 5 + [_bent_manifest] * 4),
        *(_bent_release, _bent_root, _damaged, _walk, _scalar),
    ]
    for _ in range(count):
        yield chance.choice(kinds)(chance)


def _compare(process: "subprocess.Popen[str]", asked: Iterable[Question]) -> Iterator[Disagreement]:
    assert process.stdin
    assert process.stdout
    for question in asked:
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        python, javascript = client_python.answer(question), json.loads(line) if line else None
        if python != javascript:
            yield Disagreement(question, python, javascript)
        if not line:
            return  # it crashed, and says why itself


# Questions


def _decide(chance: random.Random) -> Question:
    asked = _manifest(chance, good=0.9)["input"]
    device = {
        "id": chance.choice(["device-1", "device-2", "", "\ud800", f"device-{chance.random()}"]),
        "platform": chance.choice([*_PLATFORMS, "", "web"]),
        "native": chance.choice(_NATIVES),
        "builtin": chance.choice([*_VERSIONS, *_NATIVES]),
    }
    memory: dict[str, Any] = {}
    if chance.random() < 0.7:
        version = chance.choice(_VERSIONS)
        memory["running"] = {"version": version, "tree": tree_digest(chance.choice([version, "x"]))}
    if chance.random() < 0.4:
        memory["floor"] = chance.choice(_VERSIONS)
    if chance.random() < 0.4:
        memory["failed"] = [tree_digest(one) for one in chance.sample(_VERSIONS, 2)]
    if chance.random() < 0.3:
        memory["moved"] = chance.random() < 0.7
    return _question("decide", **asked, device=_some(chance, device), memory=memory)


def _manifest(chance: random.Random, good: float = 0.6) -> Question:
    root, signers = _root(chance)
    value = _manifest_value(chance, root, good)
    by = signers["manifest"] if chance.random() < good else chance.sample(_KEYS, 2)
    data = envelope(value.to_json(), Kind.MANIFEST, by).encode()
    return _manifest_question(chance, root, signers, data, good)


def _bent_manifest(chance: random.Random) -> Question:
    root, signers = _root(chance)
    signed = _bent(chance, _manifest_value(chance, root, 1).to_json())
    data = _signed(signed, Kind.MANIFEST, signers["manifest"])
    return _manifest_question(chance, root, signers, data, 1)


def _bent_release(chance: random.Random) -> Question:
    root, signers = _root(chance)
    data = _signed(_bent(chance, _release(chance).to_json()), Kind.RELEASE, signers["release"])
    return _question("release", root=_file(root, signers), release=_text(data))


def _bent_root(chance: random.Random) -> Question:
    root, signers = _root(chance)
    return _question(
        "trust", root=_text(_signed(_bent(chance, root.to_json()), Kind.ROOT, signers["root"]))
    )


def _damaged(chance: random.Random) -> Question:
    root, signers = _root(chance)
    whole = envelope(_manifest_value(chance, root, 1).to_json(), Kind.MANIFEST, signers["manifest"])
    data = bytearray(whole.encode())
    for _ in range(chance.randint(1, 2)):
        start = chance.randrange(len(data))
        data[start : start + chance.randint(0, 2)] = chance.choice([*_BYTES, chance.randbytes(1)])
    return _question("canonical", data=_text(bytes(data)))


def _walk(chance: random.Random) -> Question:
    root, signers = _root(chance)
    kept = envelope(_manifest_value(chance, root, 1).to_json(), Kind.MANIFEST, signers["manifest"])
    files, number = [], root.number
    first, old = _file(root, signers), signers["root"]
    for _ in range(chance.randint(0, 4)):
        number += 1 if chance.random() < 0.9 else 2
        following, signers = _root(chance)
        app = following.app if chance.random() < 0.95 else "com.example.other"
        following = replace(following, number=number, app=app)
        by = [*old, *signers["root"]] if chance.random() < 0.85 else chance.sample(_KEYS, 3)
        files.append(_text(envelope(following.to_json(), Kind.ROOT, by).encode()))
        old = signers["root"]
    return _question("walk", root=first, roots=files, kept=_text(kept.encode()), channel=CHANNEL)


def _scalar(chance: random.Random) -> Question:
    pieces = [
        "0",
        "1",
        "3",
        "10",
        "01",
        ".",
        "-",
        "rc",
        "9" * 15,
        "9" * 16,
        "+",
        " ",
        "<",
        ">",
        "=",
        ">=",
    ]
    text = "".join(chance.choices(pieces, k=chance.randint(1, 9)))
    version = chance.choice([text, _near_version(chance)])
    match chance.randrange(5):
        case 0:
            return _question("version", a=version, b=_near_version(chance))
        case 1:
            return _question("native", text=version)
        case 2:
            wanted = chance.choice([text, *_RANGES, f">={version}", f"<{version} >={version}"])
            return _question("range", range=wanted, native=chance.choice([version, *_NATIVES]))
        case 3:
            letters = "aé\u2028\U0001f600\0"
            return _question("position", salt=version, id="".join(chance.choices(letters, k=6)))
        case _:
            rollout = _bent(chance, _rollout(chance).to_json()) if chance.random() < 0.5 else None
            rollout = rollout or _rollout(chance).to_json()
            return _question("share", rollout=rollout, now=_moment(chance))


# Values


def _root(chance: random.Random) -> tuple[Root, dict[str, list[TestKey]]]:
    """Return a root, and who may sign as each role."""
    signers = {
        name: chance.sample(_KEYS, chance.choice([1, 1, 2]))
        for name in ("root", "release", "manifest")
    }
    entries = [Delegation(("*",), role(*signers["manifest"], threshold=len(signers["manifest"])))]
    if chance.random() < 0.3:
        entries.append(Delegation((CHANNEL,), role(*signers["manifest"])))
    value = Root(
        app=APP,
        number=chance.choice([1, 1, 2]),
        issued=EPOCH,
        expires=EPOCH + timedelta(days=365),
        max_days=chance.choice([30, 90, 90, 90, 90]),
        keys=tuple(key.public for key in _KEYS),
        root=role(*signers["root"], threshold=len(signers["root"])),
        release=role(*signers["release"]),
        manifest=tuple(entries),
    )
    return value, signers


def _manifest_value(chance: random.Random, root: Root, good: float) -> Manifest:
    def odd() -> bool:
        return chance.random() > 1 - (1 - good) / 5

    offers = [_offer(chance) for _ in range(chance.choice([0, 1, 1, 2, 3]))]
    issued = EPOCH + timedelta(hours=chance.choice([0, 0, 0, 1, 40, 49]))
    return Manifest(
        app="com.example.other" if odd() else APP,
        channel="beta" if odd() else CHANNEL,
        sequence=chance.randint(1, 3),
        issued=issued,
        expires=issued + timedelta(days=chance.choice([30, 30, 30, 31, 90])),
        root=root.number + (1 if odd() else 0),
        previous=sha256(b"") if chance.random() < 0.5 else None,
        offers=tuple(offers),
        withdrawn=tuple(map(Version.parse, chance.sample(_VERSIONS, chance.choice([0, 0, 1, 3])))),
        paused=chance.random() < 0.05,
    )


def _offer(chance: random.Random) -> Offer:
    by = [key for key in _KEYS if chance.random() < 0.8]
    release = envelope(_release(chance).to_json(), Kind.RELEASE, by)
    bases = chance.sample(_VERSIONS, chance.choice([0, 0, 2]))
    return Offer(
        release,
        rollout=_rollout(chance) if chance.random() < 0.5 else Rollout(),
        audience=_audience(chance),
        mandatory=chance.random() < 0.2,
        patches=tuple(Patch(tree_digest(base), _payload(base)) for base in bases),
    )


def _release(chance: random.Random) -> Release:
    version = chance.choice(_VERSIONS)
    sealed = chance.random() < 0.3
    wrapped = Wrapped(b"i" * 16, b"s" * 256, b"c" * 256, chance.choice(["v2", "v3"]), "M" * 20)
    return Release(
        app=APP if chance.random() < 0.97 else "com.example.other",
        version=Version.parse(version),
        issued=EPOCH,
        tree=TreeRef(tree_digest(version), 1, 36),
        scheme=Scheme.CAPGO if sealed else Scheme.NONE,
        bundle=_payload(version),
        capgo=wrapped if sealed else None,
        audience=_audience(chance),
        channels=chance.choice([(), (), (), (), (CHANNEL,), ("beta", CHANNEL), ("beta",)]),
        floor=Version.parse(chance.choice(_VERSIONS)) if chance.random() < 0.3 else None,
        notes=chance.choice(["", "", "Faster", "Schneller\n\U0001f680"]),
    )


def _payload(name: str) -> Payload:
    return Payload(sha256(name.encode()), 180, sha256(name.encode()), 180)


def _audience(chance: random.Random) -> Audience:
    platforms: tuple[str, ...] = ()
    if chance.random() < 0.2:
        platforms = tuple(chance.sample(_PLATFORMS, chance.randint(1, 2)))
    ranges = [
        NativeRange(Range.parse(chance.choice(_RANGES)), chance.choice([None, *_PLATFORMS]))
        for _ in range(chance.choice([0, 0, 0, 0, 1, 2]))
    ]
    return Audience(platforms, tuple(ranges))


def _rollout(chance: random.Random) -> Rollout:
    share = chance.choice([0, 1, 5000, FULL - 1, FULL, chance.randint(0, FULL)])
    salt = chance.choice([None, "salt", " "])
    if chance.random() < 0.5:
        return Rollout(share, None, salt)
    start = EPOCH + timedelta(seconds=chance.randint(-10, 10))
    length = chance.choice([1, 3, 86400, 10**6, 10**10])
    return Rollout(
        share, Ramp(chance.randint(0, share), start, start + timedelta(seconds=length)), salt
    )


# Damage


def _bent(chance: random.Random, document: JsonObject) -> JsonObject:
    """Return a copy with one or two members replaced, removed, doubled or added."""
    copy: Any = deepcopy(document)
    for _ in range(chance.randint(1, 2)):
        holder, name = chance.choice(list(_places(copy)))
        match chance.randrange(6):
            case 0:
                del holder[name]
            case 1 if isinstance(holder, list):
                holder.extend([holder[name]] * chance.choice([1, 16, 64]))
            case 1:
                holder[chance.choice(_NAMES)] = chance.choice(_ODD)
            case 2 if isinstance(holder[name], str):
                at = chance.randint(0, len(holder[name]))
                holder[name] = (
                    holder[name][:at] + chance.choice(["0", "A", ".", "\n"]) + holder[name][at:]
                )
            case 2 if type(holder[name]) is int:
                holder[name] = max(0, holder[name] + chance.choice([-1, 1, 10_000]))
            case _:
                holder[name] = deepcopy(chance.choice(_ODD))
        if not any(True for _ in _places(copy)):
            break
    return dict(copy)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    names: Iterable[Any] = ()
    if isinstance(value, dict):
        names = list(value)
    elif isinstance(value, list):
        names = range(len(value))
    for name in names:
        yield value, name
        yield from _places(value[name])


def _signed(signed: JsonObject, kind: Kind, by: Iterable[TestKey]) -> bytes:
    """Sign a bent document; one without a canonical form goes unsigned."""
    try:
        return envelope(signed, kind, by).encode()
    except FormatError:
        return json.dumps({"signatures": [], "signed": dict(signed)}, sort_keys=True).encode()


# Questions in the protocol's form


def _manifest_question(
    chance: random.Random, root: Root, signers: dict[str, list[TestKey]], data: bytes, good: float
) -> Question:
    asked: dict[str, Any] = {
        "root": _file(root, signers),
        "manifest": _text(data),
        "channel": CHANNEL,
        "now": _moment(chance)
        if chance.random() > good
        else format_time(EPOCH + timedelta(days=2)),
    }
    if chance.random() < 0.4:
        digest = chance.choice([Digest("0" * 64), _digest(data)])
        issued = format_time(EPOCH + timedelta(days=chance.choice([0, 0, 1, 40])))
        asked["seen"] = {"sequence": chance.randint(1, 3), "digest": digest, "issued": issued}
    return _question("manifest", **asked)


def _digest(data: bytes) -> Digest:
    try:
        return Envelope.decode(data, limit=len(data)).digest()
    except FormatError:
        return Digest("1" * 64)


def _moment(chance: random.Random) -> str:
    days = chance.choice([-20_000, -1, 0, 1, 2, 29, 30, 31, 364, 365, 3650])
    moment: datetime = EPOCH + timedelta(days=days, seconds=chance.choice([-1, 0, 1, 500]))
    return format_time(moment)


def _near_version(chance: random.Random) -> str:
    pre = ["", "-0", "-1", "-rc", "-rc.1", "-rc.10", "-rc.1.x", "-a-b", "--", "-01a", "-A", "-1.2"]
    numbers = [chance.choice(["0", "1", "2", "10", "9" * 15]) for _ in range(3)]
    return ".".join(numbers) + chance.choice(pre)


def _file(root: Root, signers: dict[str, list[TestKey]]) -> str:
    return _text(envelope(root.to_json(), Kind.ROOT, signers["root"]).encode())


def _some(chance: random.Random, members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if chance.random() < 0.8}


def _question(op: str, **given: Any) -> Question:
    return {"op": op, "input": given}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
