"""The live origin, as devices and browsers meet it, against what it should serve.

Whatever stands between the store and a phone can spoil an update in silence: caches that keep the
manifest, edges that disagree, proxies that rewrite JSON, frameworks that answer a page for what is
not there. Nothing is sent that could change anything, unless `probe_writes` asks for it.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from urllib.parse import urljoin, urlsplit

from manifestgen.core.keyring import Keyring, TrustedManifest, usable
from manifestgen.core.release import Payload
from manifestgen.doctor.ask import Answer, Asker, UntrustedError
from manifestgen.doctor.finding import Area, Finding
from manifestgen.errors import StoreError, VerificationError
from manifestgen.stores import SMALL, Store
from manifestgen.stores.names import (
    BLOBS,
    INDEX,
    RELEASES,
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

_AREA: Final = Area("live")
_FETCHES: Final = 6  # of the manifest: two edges that take turns are both seen
_WHOLE: Final = 32 * 1024 * 1024  # bytes of a blob that are fetched to compare them
_SOON: Final = timedelta(days=14)
_SKEW: Final = timedelta(minutes=5)
_LEAST_CACHED: Final = 86_400  # seconds, for what never changes
_ORIGIN: Final = "capacitor://localhost"
_LOCAL: Final = {"localhost", "127.0.0.1", "::1"}
_SERVER: Final = "take the configuration that `manifestgen server nginx` or `server caddy` prints"
_HIDDEN: Final = (
    ".manifestgen-lock",
    ".manifestgen/keys/signing.pem",
    ".manifestgen/keys/capgo.pem",
    ".manifestgen/keys/sequences.json",
    ".git/config",
)

Findings: TypeAlias = Iterator[Finding]


@dataclass(frozen=True, slots=True)
class Local:
    """What is known beforehand: the site behind the origin, if it is at hand, and its root."""

    store: Store | None
    keyring: Keyring | None
    channels: Sequence[str]
    stock: bool


@dataclass(frozen=True, slots=True)
class _Live:
    """One examination: who asks, what is expected, and what the documents say."""

    asker: Asker
    local: Local
    probe_writes: bool
    heads: Mapping[str, TrustedManifest]

    def expected(self, name: str) -> bytes | None:
        """Return the bytes of the local site, if there is one."""
        stored = self.local.store.get(name, limit=SMALL) if self.local.store else None
        return stored.data if stored else None

    def blob(self) -> Payload | None:
        """Return the smallest bundle that is offered."""
        found = [one.bundle for head in self.heads.values() for one in usable(head)]
        return min(found, key=lambda payload: payload.size, default=None)


def check_live(base: str, local: Local, *, probe_writes: bool = False) -> list[Finding]:
    """Examine a site at its address."""
    asker = Asker(base)
    try:
        first = asker.ask("GET", manifest_name(local.channels[0]), most=SMALL)
    except UntrustedError as error:
        fix = "have the server send a certificate for this host that devices trust, chain and all"
        return [_AREA.problem("tls_untrusted", str(error), fix)]
    except StoreError as error:
        return [_AREA.problem("unreachable", str(error), "check the address, DNS and the server")]
    found = [*_transport(asker), *_clock(first)]
    if first.moved:
        return [*found, *_redirected(asker, manifest_name(local.channels[0]), first)]
    live = _Live(asker, local, probe_writes, dict(_heads(local, asker)))
    for check in _CHECKS:
        try:
            found += check(live)
        except StoreError as error:
            fix = "look at the server's log; run the same command again"
            found.append(_AREA.problem("unreachable", str(error), fix))
    return _collapsed(found) or [_AREA.ok("live", f"{base} serves the site as devices need it")]


def _collapsed(found: list[Finding]) -> list[Finding]:
    """Tell of each kind once: what is wrong with one file is wrong with all of its kind."""
    kinds: dict[str, list[Finding]] = {}
    for one in dict.fromkeys(found):
        kinds.setdefault(one.code, []).append(one)
    return [
        replace(first, sentence=f"{first.sentence} (and {len(rest)} more of the kind)")
        if rest
        else first
        for first, *rest in kinds.values()
    ]


def _heads(local: Local, asker: Asker) -> Iterator[tuple[str, TrustedManifest]]:
    """Verify each channel's manifest, the local one where there is one."""
    for channel in local.channels if local.keyring else ():
        name = manifest_name(channel)
        stored = local.store.get(name) if local.store else None
        try:
            data = stored.data if stored else asker.ask("GET", name, most=SMALL).body
            yield channel, local.keyring.manifest(data, channel)  # type: ignore[union-attr]
        except (VerificationError, StoreError):
            continue


# The connection


def _transport(asker: Asker) -> Findings:
    parts = urlsplit(asker.base)
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        yield _AREA.warning(
            "no_tls",
            f"{asker.base} is not encrypted: iOS and Android refuse it, and everybody on the way"
            " sees what is fetched",
            "serve it over https, and change base_url",
        )
    ends = asker.certificate_ends()
    left = ends - datetime.now(UTC) if ends else None
    if ends and left and left < _SOON:
        yield _AREA.warning(
            "tls_expires",
            f"the certificate of {parts.hostname} expires on {ends:%Y-%m-%d}",
            "renew it, and let that happen by itself",
        )


def _clock(answer: Answer) -> Findings:
    date = answer.date()
    skew = date - datetime.now(UTC) if date else timedelta(0)
    if abs(skew) > _SKEW:
        minutes = round(abs(skew).total_seconds() / 60)
        side = "ahead of" if skew > timedelta(0) else "behind"
        yield _AREA.warning(
            "clock_skew",
            f"the server's clock is {minutes} minutes {side} this one",
            "set both by NTP: expiry is judged by clocks",
        )


def _redirected(asker: Asker, name: str, answer: Answer) -> Findings:
    url = f"{asker.base}/{name}"
    try:
        target = urljoin(url, answer.headers.get("location", ""))
        old, new = urlsplit(url), urlsplit(target)
    except ValueError:
        yield _AREA.problem("redirected", f"{url} redirects to no address", "answer it directly")
        return
    if (old.scheme, new.scheme) == ("https", "http"):
        yield _AREA.problem(
            "redirect_plain",
            f"{url} redirects to {target}, without encryption: devices do not follow",
            "redirect nothing from https to http",
        )
    elif old.hostname != new.hostname:
        yield _AREA.problem(
            "redirect_elsewhere",
            f"{url} redirects to {new.netloc}, and devices stay on the host they were given",
            f"set base_url to where the site lives, such as {target.removesuffix(f'/{name}')}",
        )
    else:
        yield _AREA.problem(
            "redirected",
            f"{url} redirects to {target}: one more journey at each check, and stock plugins that"
            " ask with POST are lost",
            "set base_url to the address that answers by itself",
        )


# Documents


def _manifests(live: _Live) -> Findings:
    for channel in live.local.channels:
        name = manifest_name(channel)
        plain = [live.asker.ask("GET", name, most=SMALL) for _ in range(_FETCHES)]
        busted = [
            live.asker.ask("GET", f"{name}?doctor={secrets.token_hex(4)}", most=SMALL)
            for _ in range(2)
        ]
        yield from _compared(live, channel, name, plain, busted)


def _compared(
    live: _Live, channel: str, name: str, plain: Sequence[Answer], busted: Sequence[Answer]
) -> Findings:
    bodies = {answer.body for answer in plain if answer.status == 200}
    fresh = {answer.body for answer in busted if answer.status == 200}
    expected = live.expected(name)
    if len({answer.status for answer in plain}) > 1 or len(bodies) > 1:
        yield _AREA.problem(
            "mixed",
            f"{len(plain)} requests for {name} got {len(bodies)} different answers, with status"
            f" {', '.join(sorted({str(answer.status) for answer in plain}))}",
            "bring all edges to the same state; upload manifests last, and purge them",
        )
    elif fresh and bodies and fresh.isdisjoint(bodies):
        yield _AREA.problem(
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
        yield _AREA.problem("not_trusted", f"{name}: {error}", "publish there what is signed here")


def _differs(live: _Live, channel: str, name: str, data: bytes, expected: bytes) -> Finding:
    if _same_json(data, expected):
        return _transformed(name, "the same values in other bytes")
    theirs, ours = _sequence(data), _sequence(expected)
    if theirs is None or ours is None:
        return _transformed(name, "no manifest at all")
    if theirs > ours:
        return _AREA.warning(
            "local_behind",
            f"{name} is number {theirs} there, and {ours} here",
            "bring the local site up to date before you publish from it",
        )
    if theirs == ours:
        return _AREA.problem(
            "altered",
            f"{name} has the number {ours} there too, but another content",
            f"find out who changed it, then upload {channel}/ again",
        )
    return _AREA.problem(
        "stale",
        f"{name} is number {theirs} there, and {ours} here: what was published is not live",
        "upload the site again, manifests last; purge caches",
    )


def _transformed(name: str, how: str) -> Finding:
    return _AREA.problem(
        "transformed",
        f"{name} is changed on its way: {how}",
        "switch off whatever minifies, rewrites or injects there; signed bytes must arrive as"
        " they are (Cache-Control: no-transform helps with some)",
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


def _names(live: _Live) -> list[str]:
    """Name one document of each class; those with a local copy must be there."""
    names = [ROOT, INDEX]
    for channel, head in live.heads.items():
        names += [manifest_name(channel), history_name(channel, head.manifest.sequence)]
        names += [release_name(str(one.version)) for one in usable(head)[:1]]
        names += [capgo_name(channel)] if live.local.stock else []
    if live.local.keyring:
        names.append(root_name(live.local.keyring.root.number))
    return names or [manifest_name(live.local.channels[0])]


def _documents(live: _Live) -> Findings:
    for name in _names(live):
        answer = live.asker.ask("GET", name, {"Origin": _ORIGIN}, most=SMALL)
        expected = live.expected(name)
        if answer.moved:
            yield from _redirected(live.asker, name, answer)
        elif answer.status != 200:
            yield from _absent(name, answer, expected)
        elif name != INDEX and answer.is_page:
            yield _AREA.problem(
                "page_instead", f"{name}: a page for people comes instead", _only_files()
            )
        else:
            yield from _served(name, answer)
            yield from _unchanged(live, name, answer, expected)


def _absent(name: str, answer: Answer, expected: bytes | None) -> Findings:
    if expected is not None or answer.status >= 500:
        yield _AREA.problem(
            "not_served",
            f"{name}: answered {answer.status}",
            "upload the site again, and let the server read every file of it",
        )


def _unchanged(live: _Live, name: str, answer: Answer, expected: bytes | None) -> Findings:
    """Compare with the local bytes, both as sent and as compressed on the way."""
    if expected is None:
        return
    if answer.decoded() != expected and not name.endswith("/manifest.json"):
        if name == INDEX:
            yield _AREA.warning(
                "page_differs",
                f"{name} differs from the local one: changed on its way, or not uploaded",
                "upload it again; if something injects into pages, see that it leaves JSON alone",
            )
        elif _same_json(answer.body, expected):
            yield _transformed(name, "the same values in other bytes")
        elif is_immutable(name):
            yield _AREA.problem(
                "immutable_changed",
                f"{name} differs from the local one, and may never change",
                "upload it again, and purge caches; find out who changed it",
            )
        else:
            yield _AREA.problem(
                "stale", f"{name} differs from the local one", "upload the site again; purge caches"
            )
    zipped = live.asker.ask("GET", name, {"Accept-Encoding": "gzip"}, most=SMALL)
    if name != INDEX and zipped.status == 200 and zipped.decoded() != answer.decoded():
        yield _transformed(name, "compressed, it holds other bytes")


def _served(name: str, answer: Answer) -> Findings:
    wanted = headers(name)
    kind = wanted.content_type.partition(";")[0]
    if answer.kind != kind:
        yield _wrong_type(name, answer.kind or "no type", kind)
    yield from _cached(name, answer)
    if answer.headers.get("access-control-allow-origin") not in {"*", _ORIGIN}:
        yield _AREA.problem(
            "cors",
            "no Access-Control-Allow-Origin is sent: web views cannot fetch the site",
            f"send `Access-Control-Allow-Origin: *`; {_SERVER}",
        )
    if "etag" not in answer.headers and "last-modified" not in answer.headers:
        yield _AREA.warning(
            "no_etag",
            "neither ETag nor Last-Modified is sent: each check fetches everything again",
            f"let the server send ETags; {_SERVER}",
        )


def _wrong_type(name: str, given: str, wanted: str) -> Finding:
    what = f"files such as {name} are sent as {given}, not {wanted}"
    return _AREA.problem("content_type", what, f"add the type to the server's table; {_SERVER}")


def _cached(name: str, answer: Answer) -> Findings:
    age = answer.max_age()
    if is_immutable(name):
        if age is None or age < _LEAST_CACHED:
            yield _AREA.warning(
                "cache_immutable",
                f"{name} never changes, but caches are not told so",
                f"send `Cache-Control: {headers(name).cache_control}`; {_SERVER}",
            )
    elif age is None:
        yield _AREA.problem(
            "cache_unsaid",
            f"{name} comes without Cache-Control: caches keep it for as long as they like",
            f"send `Cache-Control: no-cache`; {_SERVER}",
        )
    elif age > 0:
        yield _AREA.problem(
            "cache_mutable",
            f"caches may keep {name} for {age} s, and devices then hear old news",
            f"send `Cache-Control: no-cache`; {_SERVER}",
        )


def _conditional(live: _Live) -> Findings:
    name = manifest_name(live.local.channels[0])
    tag = live.asker.ask("GET", name, most=SMALL).headers.get("etag")
    if tag:
        again = live.asker.ask("GET", name, {"If-None-Match": tag}, most=SMALL)
        if again.status != 304:
            yield _AREA.warning(
                "no_304",
                f"{name}, asked for with its own ETag, is answered {again.status} and not 304",
                "let the server answer If-None-Match",
            )


# Blobs


def _blob(live: _Live) -> Findings:
    payload = live.blob()
    if payload is None:
        return
    name, size = blob_name(payload.blob), payload.size
    whole = size <= _WHOLE
    answer = live.asker.ask("GET" if whole else "HEAD", name, most=max(size, SMALL))
    if answer.status != 200:
        yield from _absent(name, answer, b"")
        return
    if whole and hashlib.sha256(answer.decoded() or b"").hexdigest() != payload.blob:
        yield _transformed(name, "its digest is another")
    if answer.kind.startswith("text/") or not answer.kind:
        yield _wrong_type(name, answer.kind or "no type", "application/octet-stream")
    yield from _cached(name, answer)
    yield from _range(live, name, size, answer.body if whole else None)


def _range(live: _Live, name: str, size: int, whole: bytes | None) -> Findings:
    start, end = size // 3, min(size // 3 + 1023, size - 1)
    part = live.asker.ask("GET", name, {"Range": f"bytes={start}-{end}"}, most=max(size, SMALL))
    if part.status != 206:
        yield _AREA.problem(
            "no_range",
            f"a part of {name} is answered {part.status} and not 206: a download that breaks off"
            " begins again",
            "let the server answer Range, and the cache in front of it too",
        )
    elif part.headers.get("content-range") not in {
        f"bytes {start}-{end}/{size}",
        f"bytes {start}-{end}/*",
    } or (whole is not None and part.body != whole[start : end + 1]):
        yield _AREA.problem(
            "range_wrong",
            f"a part of {name} is not that part of it",
            "switch off whatever compresses or rewrites it on the way",
        )


# Requests of other kinds


def _preflight(live: _Live) -> Findings:
    asked = {
        "Origin": _ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-none-match",
    }
    answer = live.asker.ask("OPTIONS", manifest_name(live.local.channels[0]), asked, most=SMALL)
    allowed = answer.headers.get("access-control-allow-headers", "").lower()
    origin = answer.headers.get("access-control-allow-origin")
    named = "*" in allowed or "if-none-match" in allowed
    if not 200 <= answer.status < 300 or origin not in {"*", _ORIGIN} or not named:
        yield _AREA.warning(
            "cors_preflight",
            f"OPTIONS is answered {answer.status} without leave to ask across origins",
            f"answer it 204 with the three Access-Control headers; {_SERVER}",
        )
    methods = {word.strip() for word in answer.headers.get("allow", "").upper().split(",")}
    if methods & {"PUT", "DELETE", "MKCOL"}:
        yield _writes(f"the server says that it takes {', '.join(sorted(methods))}")


def _writes(what: str) -> Finding:
    return _AREA.problem(
        "writes_allowed", f"{what}: anybody can change the site", f"refuse writes; {_SERVER}"
    )


def _probed(live: _Live) -> Findings:
    """Try to write a file of a name that nobody has, and to take it away again."""
    if not live.probe_writes:
        return
    name = f"doctor-{secrets.token_hex(8)}.txt"
    answer = live.asker.ask("PUT", name, body=b"may be deleted\n", most=SMALL)
    if answer.status in {200, 201, 202, 204}:
        there = live.asker.ask("GET", name, most=SMALL).status == 200
        live.asker.ask("DELETE", name, most=SMALL)
        if there:
            yield _writes(f"a PUT of {name} was answered {answer.status}, and the file was there")


def _post(live: _Live) -> Findings:
    if not live.local.stock:
        return
    for channel in live.local.channels:
        name = capgo_name(channel)
        expected = live.expected(name)
        if live.local.store and expected is None:
            continue
        body = json.dumps({"version_name": "builtin", "platform": "android"}).encode()
        sent = {"Content-Type": "application/json"}
        answer = live.asker.ask("POST", name, sent, body=body, most=SMALL)
        right = answer.status == 200 and not answer.is_page
        if not right or (expected is not None and answer.decoded() != expected):
            yield _AREA.problem(
                "post_refused",
                f"a POST for {name} is answered {answer.status}"
                f"{', with other bytes' if right else ''}: stock Capgo plugins ask so",
                f"{_SERVER}; where the host cannot, use JavaScript mode",
            )


def _missing(live: _Live) -> Findings:
    """Ask for what cannot be there."""
    name = f"doctor-{secrets.token_hex(8)}.json"
    answer = live.asker.ask("GET", name, most=SMALL)
    if answer.status == 200:
        yield _AREA.problem(
            "page_for_missing",
            "what is not there is answered 200: clients take a page for a document",
            _only_files(),
        )
    elif answer.status not in {403, 404, 410}:
        yield _AREA.problem(
            "missing_status",
            f"what is not there is answered {answer.status}, not 404",
            "answer 404",
        )
    number = live.local.keyring.root.number + 1 if live.local.keyring else 999_999
    later = live.asker.ask("GET", root_name(number), most=SMALL)
    age = later.max_age()
    if later.status in {403, 404, 410} and age:
        yield _AREA.problem(
            "cache_missing",
            f"that {root_name(number)} is not there yet may be kept for {age} s: devices would"
            " miss the next root",
            f"send no-cache with every 404; {_SERVER}",
        )


def _only_files() -> str:
    return "switch off the fallback to index.html for this address; answer 404"


def _hidden(live: _Live) -> Findings:
    """Ask for what must not be seen, in the site and in the folders above it."""
    nothing = live.asker.ask("GET", f".doctor-{secrets.token_hex(8)}", most=SMALL)
    for base in _above(live.asker.base):
        for name in _HIDDEN:
            answer = live.asker.ask("GET", f"{base}/{name}", most=SMALL)
            if answer.status != 200 or answer.body == nothing.body:
                continue
            if b"PRIVATE KEY-----" in answer.body:
                yield _AREA.problem(
                    "key_served",
                    f"{base}/{name} is a private key, for anybody to fetch",
                    "stop serving that folder now, then `manifestgen keys rotate` every key in it",
                )
            elif not answer.is_page:
                yield _AREA.problem(
                    "hidden_served",
                    f"{base}/{name} can be fetched",
                    f"serve the site folder alone, and nothing that begins with a dot; {_SERVER}",
                )


def _above(base: str) -> list[str]:
    """Return the addresses of a site and of the folders that hold it."""
    parts = urlsplit(base)
    origin = f"{parts.scheme}://{parts.netloc}"
    segments = [segment for segment in parts.path.split("/") if segment]
    return ["/".join([origin, *segments[:count]]) for count in range(len(segments), -1, -1)]


def _listing(live: _Live) -> Findings:
    for folder in (RELEASES, BLOBS):
        answer = live.asker.ask("GET", folder, most=SMALL)
        if answer.status == 200 and (b"Index of" in answer.body or b'href="../"' in answer.body):
            yield _AREA.warning(
                "listing",
                f"{folder} is listed for anybody, and with it releases that were never offered",
                "switch off directory listings",
            )
            return


_CHECKS: Final[Sequence[Callable[[_Live], Findings]]] = (
    _manifests,
    _documents,
    _conditional,
    _blob,
    _preflight,
    _post,
    _missing,
    _hidden,
    _listing,
    _probed,
)
