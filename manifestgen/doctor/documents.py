"""Documents and blobs as the live origin serves them: bytes, types, headers, parts."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import Final

from manifestgen.core.keyring import Keyring, usable
from manifestgen.doctor.ask import Answer
from manifestgen.doctor.finding import Finding
from manifestgen.doctor.origin import (
    AREA,
    ORIGIN,
    SERVER,
    Findings,
    Live,
    absent,
    cached,
    only_files,
    redirected,
    transformed,
    wrong_type,
)
from manifestgen.errors import VerificationError
from manifestgen.stores import SMALL
from manifestgen.stores.names import (
    INDEX,
    ROOT,
    blob_name,
    capgo_name,
    headers,
    history_name,
    is_immutable,
    manifest_name,
    release_name,
    root_name,
)

_FETCHES: Final = 6  # of the manifest: two edges that take turns are both seen
_WHOLE: Final = 32 * 1024 * 1024  # bytes of a blob that are fetched to compare them


def manifests(live: Live) -> Findings:
    """Fetch each manifest several times, from whichever edges answer."""
    for channel in live.local.channels:
        name = manifest_name(channel)
        plain = [live.asker.ask("GET", name, most=SMALL) for _ in range(_FETCHES)]
        busted = [
            live.asker.ask("GET", f"{name}?doctor={secrets.token_hex(4)}", most=SMALL)
            for _ in range(2)
        ]
        yield from _compared(live, channel, name, plain, busted)


def _compared(
    live: Live, channel: str, name: str, plain: Sequence[Answer], busted: Sequence[Answer]
) -> Findings:
    bodies = {answer.body for answer in plain if answer.status == 200}
    fresh = {answer.body for answer in busted if answer.status == 200}
    expected = live.expected(name)
    if len({answer.status for answer in plain}) > 1 or len(bodies) > 1:
        yield AREA.problem(
            "mixed",
            f"{len(plain)} requests for {name} got {len(bodies)} different answers, with status"
            f" {', '.join(sorted({str(answer.status) for answer in plain}))}",
            "bring all edges to the same state; upload manifests last, and purge them",
        )
    elif fresh and bodies and fresh.isdisjoint(bodies):
        yield AREA.problem(
            "stale_cache",
            f"a cache holds an older {name}: with a query that it does not know, another comes",
            f"purge it there, and let the cache ask each time ({name} is sent with no-cache)",
        )
    elif expected is not None and bodies and expected not in bodies:
        yield _differs(live, channel, name, bodies.pop(), expected)
    elif expected is None and bodies and live.local.keyring:
        yield from _verified(live.local.keyring, channel, name, bodies.pop())


def _verified(keyring: Keyring, channel: str, name: str, data: bytes) -> Findings:
    try:
        keyring.manifest(data, channel)
    except VerificationError as error:
        yield AREA.problem("not_trusted", f"{name}: {error}", "publish there what is signed here")


def _differs(live: Live, channel: str, name: str, data: bytes, expected: bytes) -> Finding:
    if _same_json(data, expected):
        return transformed(name, "the same values in other bytes")
    theirs, ours = _sequence(data), _sequence(expected)
    if theirs is None or ours is None:
        return transformed(name, "no manifest at all")
    if theirs > ours:
        return AREA.warning(
            "local_behind",
            f"{name} is number {theirs} there, and {ours} here",
            "bring the local site up to date before you publish from it",
        )
    if theirs == ours:
        return AREA.problem(
            "altered",
            f"{name} has the number {ours} there too, but another content",
            f"find out who changed it, then upload {channel}/ again",
        )
    return AREA.problem(
        "stale",
        f"{name} is number {theirs} there, and {ours} here: what was published is not live",
        "upload the site again, manifests last; purge caches",
    )


def _same_json(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except (ValueError, RecursionError):
        return False


def _sequence(data: bytes) -> int | None:
    try:
        value = json.loads(data)["signed"]["sequence"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return value if type(value) is int else None


def _names(live: Live) -> list[str]:
    """Name one document of each class; those with a local copy must be there."""
    names = [ROOT, INDEX]
    for channel, head in live.heads.items():
        names += [manifest_name(channel), history_name(channel, head.manifest.sequence)]
        names += [release_name(str(one.version)) for one in usable(head)[:1]]
        names += [capgo_name(channel)] if live.local.stock else []
    if live.local.keyring:
        names.append(root_name(live.local.keyring.root.number))
    return names or [manifest_name(live.local.channels[0])]


def documents(live: Live) -> Findings:
    """Look at one document of each class: bytes, type, caching, other origins."""
    for name in _names(live):
        answer = live.asker.ask("GET", name, {"Origin": ORIGIN}, most=SMALL)
        expected = live.expected(name)
        if answer.moved:
            yield from redirected(live.asker, name, answer)
        elif answer.status != 200:
            yield from absent(name, answer, expected)
        elif name != INDEX and answer.is_page:
            yield AREA.problem(
                "page_instead", f"{name}: a page for people comes instead", only_files()
            )
        else:
            yield from _served(name, answer)
            yield from _unchanged(live, name, answer, expected)


def _unchanged(live: Live, name: str, answer: Answer, expected: bytes | None) -> Findings:
    """Compare with the local bytes, both as sent and as compressed on the way."""
    if expected is None:
        return
    if answer.decoded() != expected and not name.endswith("/manifest.json"):
        if name == INDEX:
            yield AREA.warning(
                "page_differs",
                f"{name} differs from the local one: changed on its way, or not uploaded",
                "upload it again; if something injects into pages, see that it leaves JSON alone",
            )
        elif _same_json(answer.body, expected):
            yield transformed(name, "the same values in other bytes")
        elif is_immutable(name):
            yield AREA.problem(
                "immutable_changed",
                f"{name} differs from the local one, and may never change",
                "upload it again, and purge caches; find out who changed it",
            )
        else:
            yield AREA.problem(
                "stale", f"{name} differs from the local one", "upload the site again; purge caches"
            )
    zipped = live.asker.ask("GET", name, {"Accept-Encoding": "gzip"}, most=SMALL)
    if name != INDEX and zipped.status == 200 and zipped.decoded() != answer.decoded():
        yield transformed(name, "compressed, it holds other bytes")


def _served(name: str, answer: Answer) -> Findings:
    wanted = headers(name)
    kind = wanted.content_type.partition(";")[0]
    if answer.kind != kind:
        yield wrong_type(name, answer.kind or "no type", kind)
    yield from cached(name, answer)
    if answer.headers.get("access-control-allow-origin") not in {"*", ORIGIN}:
        yield AREA.problem(
            "cors",
            "no Access-Control-Allow-Origin is sent: web views cannot fetch the site",
            f"send `Access-Control-Allow-Origin: *`; {SERVER}",
        )
    if "etag" not in answer.headers and "last-modified" not in answer.headers:
        yield AREA.warning(
            "no_etag",
            "neither ETag nor Last-Modified is sent: each check fetches everything again",
            f"let the server send ETags; {SERVER}",
        )


def conditional(live: Live) -> Findings:
    """Ask for the manifest with its own ETag."""
    name = manifest_name(live.local.channels[0])
    tag = live.asker.ask("GET", name, most=SMALL).headers.get("etag")
    if tag:
        again = live.asker.ask("GET", name, {"If-None-Match": tag}, most=SMALL)
        if again.status != 304:
            yield AREA.warning(
                "no_304",
                f"{name}, asked for with its own ETag, is answered {again.status} and not 304",
                "let the server answer If-None-Match",
            )


# Blobs


def blob(live: Live) -> Findings:
    """Fetch the smallest bundle that is offered, whole and in part."""
    payload = live.blob()
    if payload is None:
        return
    name, size = blob_name(payload.blob), payload.size
    whole = size <= _WHOLE
    answer = live.asker.ask("GET" if whole else "HEAD", name, most=max(size, SMALL))
    if answer.status != 200:
        yield from absent(name, answer, b"")
        return
    if whole and hashlib.sha256(answer.decoded() or b"").hexdigest() != payload.blob:
        yield transformed(name, "its digest is another")
    if answer.kind.startswith("text/") or not answer.kind:
        yield wrong_type(name, answer.kind or "no type", "application/octet-stream")
    yield from cached(name, answer)
    yield from _range(live, name, size, answer.body if whole else None)


def _range(live: Live, name: str, size: int, whole: bytes | None) -> Findings:
    start, end = size // 3, min(size // 3 + 1023, size - 1)
    part = live.asker.ask("GET", name, {"Range": f"bytes={start}-{end}"}, most=max(size, SMALL))
    if part.status != 206:
        yield AREA.problem(
            "no_range",
            f"a part of {name} is answered {part.status} and not 206: a download that breaks off"
            " begins again",
            "let the server answer Range, and the cache in front of it too",
        )
    elif part.headers.get("content-range") not in {
        f"bytes {start}-{end}/{size}",
        f"bytes {start}-{end}/*",
    } or (whole is not None and part.body != whole[start : end + 1]):
        yield AREA.problem(
            "range_wrong",
            f"a part of {name} is not that part of it",
            "switch off whatever compresses or rewrites it on the way",
        )
