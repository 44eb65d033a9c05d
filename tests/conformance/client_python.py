"""The Python client behind the conformance protocol: `python -m tests.conformance.client_python`.

Requests and responses are described in this folder's README; each function below answers one `op`.
"""

import base64
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from manifestgen.core import canonical, capgo, cipher, keyring, paths, stock
from manifestgen.core.cipher import ContentKey
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keyring import Keyring, Seen, TrustedManifest
from manifestgen.core.keys import PublicKey
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Rollout
from manifestgen.core.patch import Patch
from manifestgen.core.reader import Reader, format_time, parse_time
from manifestgen.core.release import Release, Scheme, Wrapped
from manifestgen.core.select import (
    Decision,
    Device,
    Install,
    Memory,
    Nothing,
    Running,
    decide,
    position,
)
from manifestgen.core.tree import Digest, File, Tree, sha256
from manifestgen.core.version import Range, Version
from manifestgen.errors import VerificationError

Input: TypeAlias = Mapping[str, Any]
Result: TypeAlias = dict[str, Any]


def _canonical(given: Input) -> Result:
    canonical.decode(_bytes(given["data"]), limit=given.get("limit", LIMITS.manifest_bytes))
    return {}


def _key(given: Input) -> Result:
    key = PublicKey.from_spki(_bytes(given["spki"]))
    return {"algorithm": key.algorithm.value, "keyid": key.keyid}


def _signature(given: Input) -> Result:
    key = PublicKey.from_spki(_bytes(given["spki"]))
    return {"valid": key.verifies(_bytes(given["sig"]), _bytes(given["message"]))}


def _trust(given: Input) -> Result:
    return {"number": Keyring.trust(_bytes(given["root"])).root.number}


def _walk(given: Input) -> Result:
    """Follow roots until one is refused, then judge the kept manifest by the newest root."""
    keys, stopped = Keyring.trust(_bytes(given["root"])), None
    for data in given["roots"]:
        try:
            keys = keys.follow(_bytes(data))
        except VerificationError as error:
            stopped = error.code
            break
    result: Result = {"number": keys.root.number, "stopped": stopped}
    if "kept" in given:
        result["keeps"] = _keeps(keys, _bytes(given["kept"]), given["channel"])
    return result


def _keeps(keys: Keyring, data: bytes, channel: str) -> bool:
    envelope = Envelope.decode(data, limit=LIMITS.manifest_bytes)
    role = keys.root.manifest_role(channel)
    try:
        if role is not None:
            keyring.check_signatures(envelope, Kind.MANIFEST, keys.root, role)
    except VerificationError:
        return False
    return role is not None


def _manifest(given: Input) -> Result:
    trusted = _accept(given)
    seen = trusted.seen
    return {
        "sequence": seen.sequence,
        "digest": seen.digest,
        "issued": format_time(seen.issued),
        "releases": [
            str(one.version) if isinstance(one, Release) else one.code for one in trusted.releases
        ],
    }


def _accept(given: Input) -> TrustedManifest:
    keys, now = Keyring.trust(_bytes(given["root"])), parse_time(given["now"])
    keys.check_root_fresh(now)
    trusted = keys.manifest(_bytes(given["manifest"]), given["channel"])
    running = given.get("running_issued")
    keyring.check_fresh(
        trusted,
        seen=_seen(given),
        now=now,
        root_issued=keys.root.issued,
        running_issued=parse_time(running) if running else None,
    )
    return trusted


def _seen(given: Input) -> Seen | None:
    if "seen" not in given:
        return None
    seen = given["seen"]
    return Seen(seen["sequence"], Digest(seen["digest"]), parse_time(seen["issued"]))


def _release(given: Input) -> Result:
    keys = Keyring.trust(_bytes(given["root"]))
    envelope = Envelope.decode(_bytes(given["release"]), limit=LIMITS.release_bytes)
    return {"version": str(keys.release(envelope).version)}


def _decide(given: Input) -> Result:
    trusted = _accept(given)
    device = Device(channel=given["channel"], **given["device"])
    now = keyring.clock(parse_time(given["now"]), _seen(given))
    decision = decide(trusted, device, _memory(given["memory"]), now)
    verdicts = [
        {"version": str(one.version) if one.version else None, "reason": one.reason}
        for one in decision.verdicts
    ]
    return {**_decided(decision), "verdicts": verdicts}


def _memory(given: Input) -> Memory:
    running = given.get("running")
    return Memory(
        running=running and Running(Version.parse(running["version"]), Digest(running["tree"])),
        floor=Version.parse(given["floor"]) if "floor" in given else None,
        failed=frozenset(Digest(tree) for tree in given.get("failed", [])),
        moved=given.get("moved", False),
    )


def _decided(decision: Decision) -> Result:
    match decision:
        case Nothing(reason=reason):
            return {"decision": "nothing", "reason": reason}
        case Install(release=release, patch=patch, mandatory=mandatory):
            return {
                "decision": "install",
                "version": str(release.version),
                "patch": patch.payload.blob if patch else None,
                "mandatory": mandatory,
            }
        case _:
            return {"decision": "reset"}


def _share(given: Input) -> Result:
    rollout = Rollout.read(Reader(given["rollout"], "$"))
    return {"share": rollout.share_at(parse_time(given["now"]))}


def _position(given: Input) -> Result:
    return {"position": position(given["salt"], given["id"])}


def _version(given: Input) -> Result:
    a, b = Version.parse(given["a"]), Version.parse(given["b"])
    return {"order": (a > b) - (a < b)}


def _native(given: Input) -> Result:
    version = Version.of_native(given["text"])
    return {"version": str(version) if version else None}


def _range(given: Input) -> Result:
    wanted, version = Range.parse(given["range"]), Version.of_native(given["native"])
    return {"admits": version is not None and wanted.admits(version)}


def _paths(given: Input) -> Result:
    paths.check_paths(given["paths"])
    return {}


def _tree(given: Input) -> Result:
    tree = Tree.of([File.from_json(file, "$") for file in given["files"]])
    return {"digest": tree.digest(), "files": len(tree.files), "size": tree.size}


def _patch(given: Input) -> Result:
    """Apply a patch as a device does that has the base in memory."""
    files = {one["path"]: _bytes(one["data"]) for one in given["base"]}
    base = Tree.of(File(path, sha256(data), len(data)) for path, data in files.items())

    def read(file: File, at: int, size: int) -> bytes:
        return files[file.path][at : at + size]

    target = Digest(given["target"])
    patch = Patch(
        io.BytesIO(_bytes(given["patch"])), base, read, target=target, limit=given["limit"]
    )
    made = list(patch.kept)
    for content, chunks in patch.contents():
        data = b"".join(chunks)
        made += [File(path, sha256(data), len(data)) for path in content.paths]
    tree = Tree.of(made)
    if tree.digest() != target:
        raise VerificationError("another tree", code="tree")
    return {"digest": tree.digest(), "files": len(tree.files), "size": tree.size}


def _bundle_key(given: Input) -> Result:
    key = cipher.bundle_key(
        _bytes(given["secret"]),
        scheme=Scheme(given["scheme"]),
        app=given["app"],
        packer=given["packer"],
        tree=Digest(given["tree"]),
    )
    return _content_key(key)


def _payload_key(given: Input) -> Result:
    bundle = ContentKey(_bytes(given["key"]), _bytes(given["iv"]))
    return _content_key(cipher.payload_key(bundle, kind=given["kind"], base=Digest(given["base"])))


def _content_key(key: ContentKey) -> Result:
    return {"key": _text(key.key), "iv": _text(key.iv)}


def _decrypt(given: Input) -> Result:
    key = ContentKey(_bytes(given["key"]), _bytes(given["iv"]))
    return {"data": _text(b"".join(cipher.decrypt([_bytes(given["data"])], key)))}


def _unwrap(given: Input) -> Result:
    public = capgo.load_public(given["public"].encode())
    wrapped = Wrapped.read(Reader(given["capgo"], "$"))
    key = capgo.unwrap(public, wrapped)
    capgo.check_wrapped(public, wrapped, Digest(given["plain"]))
    return {
        **_content_key(key),
        "session_key": capgo.session_text(wrapped),
        "checksum": capgo.checksum_text(wrapped),
    }


def _stock(given: Input) -> Result:
    keys = Keyring.trust(_bytes(given["root"]))
    trusted = keys.manifest(_bytes(given["manifest"]), given["channel"])
    answers = stock.responses(trusted, given["base_url"])
    return {platform or "every": dict(answer) for platform, answer in answers.items()}


OPERATIONS: Mapping[str, Callable[[Input], Result]] = {
    "bundle_key": _bundle_key,
    "canonical": _canonical,
    "decide": _decide,
    "decrypt": _decrypt,
    "key": _key,
    "manifest": _manifest,
    "native": _native,
    "patch": _patch,
    "paths": _paths,
    "payload_key": _payload_key,
    "position": _position,
    "range": _range,
    "release": _release,
    "share": _share,
    "signature": _signature,
    "stock": _stock,
    "tree": _tree,
    "trust": _trust,
    "unwrap": _unwrap,
    "version": _version,
    "walk": _walk,
}


def answer(request: Input) -> Result:
    """Answer one request; errors that are not ours are for the runner to see as a crash."""
    operation = OPERATIONS.get(request["op"])
    if operation is None:
        return {"unsupported": True}
    try:
        return {"ok": operation(request["input"])}
    except VerificationError as error:
        return {"error": error.code}


def main(argv: Sequence[str] = ()) -> None:
    """Answer every line of standard input."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    main()
