"""What else an origin is asked: other methods, other origins, what is not to be seen."""

import json
import secrets
from typing import Final
from urllib.parse import urlsplit

from manifestgen.doctor.finding import Finding
from manifestgen.doctor.origin import AREA, ORIGIN, SERVER, Findings, Live, only_files
from manifestgen.stores import SMALL
from manifestgen.stores.names import (
    BLOBS,
    RELEASES,
    capgo_name,
    manifest_name,
    root_name,
)

_HIDDEN: Final = (
    ".manifestgen-lock",
    ".manifestgen/keys/signing.pem",
    ".manifestgen/keys/capgo.pem",
    ".manifestgen/keys/sequences.json",
    ".git/config",
)


def preflight(live: Live) -> Findings:
    """Ask as a browser does before it asks across origins."""
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-none-match",
    }
    answer = live.asker.ask("OPTIONS", manifest_name(live.local.channels[0]), asked, most=SMALL)
    allowed = answer.headers.get("access-control-allow-headers", "").lower()
    origin = answer.headers.get("access-control-allow-origin")
    named = "*" in allowed or "if-none-match" in allowed
    if not 200 <= answer.status < 300 or origin not in {"*", ORIGIN} or not named:
        yield AREA.warning(
            "cors_preflight",
            f"OPTIONS is answered {answer.status} without leave to ask across origins",
            f"answer it 204 with the three Access-Control headers; {SERVER}",
        )
    methods = {word.strip() for word in answer.headers.get("allow", "").upper().split(",")}
    if methods & {"PUT", "DELETE", "MKCOL"}:
        yield _writes(f"the server says that it takes {', '.join(sorted(methods))}")


def _writes(what: str) -> Finding:
    return AREA.problem(
        "writes_allowed", f"{what}: anybody can change the site", f"refuse writes; {SERVER}"
    )


def probed(live: Live) -> Findings:
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


def post(live: Live) -> Findings:
    """Ask as the stock plugin does."""
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
            yield AREA.problem(
                "post_refused",
                f"a POST for {name} is answered {answer.status}"
                f"{', with other bytes' if right else ''}: stock Capgo plugins ask so",
                f"{SERVER}; where the host cannot, use JavaScript mode",
            )


def missing(live: Live) -> Findings:
    """Ask for what cannot be there."""
    name = f"doctor-{secrets.token_hex(8)}.json"
    answer = live.asker.ask("GET", name, most=SMALL)
    if answer.status == 200:
        yield AREA.problem(
            "page_for_missing",
            "what is not there is answered 200: clients take a page for a document",
            only_files(),
        )
    elif answer.status not in {403, 404, 410}:
        yield AREA.problem(
            "missing_status",
            f"what is not there is answered {answer.status}, not 404",
            "answer 404",
        )
    number = live.local.keyring.root.number + 1 if live.local.keyring else 999_999
    later = live.asker.ask("GET", root_name(number), most=SMALL)
    age = later.max_age()
    if later.status in {403, 404, 410} and age:
        yield AREA.problem(
            "cache_missing",
            f"that {root_name(number)} is not there yet may be kept for {age} s: devices would"
            " miss the next root",
            f"send no-cache with every 404; {SERVER}",
        )


def hidden(live: Live) -> Findings:
    """Ask for what must not be seen, in the site and in the folders above it."""
    nothing = live.asker.ask("GET", f".doctor-{secrets.token_hex(8)}", most=SMALL)
    for base in _above(live.asker.base):
        for name in _HIDDEN:
            answer = live.asker.ask("GET", f"{base}/{name}", most=SMALL)
            if answer.status != 200 or answer.body == nothing.body:
                continue
            if b"PRIVATE KEY-----" in answer.body:
                yield AREA.problem(
                    "key_served",
                    f"{base}/{name} is a private key, for anybody to fetch",
                    "stop serving that folder now, then `manifestgen keys rotate` every key in it",
                )
            elif not answer.is_page:
                yield AREA.problem(
                    "hidden_served",
                    f"{base}/{name} can be fetched",
                    f"serve the site folder alone, and nothing that begins with a dot; {SERVER}",
                )


def _above(base: str) -> list[str]:
    """Return the addresses of a site and of the folders that hold it."""
    parts = urlsplit(base)
    origin = f"{parts.scheme}://{parts.netloc}"
    segments = [segment for segment in parts.path.split("/") if segment]
    return ["/".join([origin, *segments[:count]]) for count in range(len(segments), -1, -1)]


def listing(live: Live) -> Findings:
    """Ask for folders."""
    for folder in (RELEASES, BLOBS):
        answer = live.asker.ask("GET", folder, most=SMALL)
        if answer.status == 200 and (b"Index of" in answer.body or b'href="../"' in answer.body):
            yield AREA.warning(
                "listing",
                f"{folder} is listed for anybody, and with it releases that were never offered",
                "switch off directory listings",
            )
            return
