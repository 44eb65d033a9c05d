"""The live origin, as devices and browsers meet it, against what it should serve.

Whatever stands between the store and a phone can spoil an update in silence: caches that keep the
manifest, edges that disagree, proxies that rewrite JSON, frameworks that answer a page for what is
not there. Nothing is sent that could change anything, unless `probe_writes` asks for it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from manifestgen.core.keyring import TrustedManifest
from manifestgen.doctor.ask import Answer, Asker, UntrustedError
from manifestgen.doctor.documents import blob, conditional, documents, manifests
from manifestgen.doctor.finding import Finding
from manifestgen.doctor.origin import AREA, Findings, Live, Local, redirected
from manifestgen.doctor.questions import hidden, listing, missing, post, preflight, probed
from manifestgen.errors import StoreError, VerificationError
from manifestgen.stores import SMALL
from manifestgen.stores.names import (
    manifest_name,
)

_SOON: Final = timedelta(days=14)
_SKEW: Final = timedelta(minutes=5)
_LOCAL: Final = {"localhost", "127.0.0.1", "::1"}


def check_live(base: str, local: Local, *, probe_writes: bool = False) -> list[Finding]:
    """Examine a site at its address."""
    asker = Asker(base)
    try:
        first = asker.ask("GET", manifest_name(local.channels[0]), most=SMALL)
    except UntrustedError as error:
        fix = "have the server send a certificate for this host that devices trust, chain and all"
        return [AREA.problem("tls_untrusted", str(error), fix)]
    except StoreError as error:
        return [AREA.problem("unreachable", str(error), "check the address, DNS and the server")]
    found = [*_transport(asker), *_clock(first)]
    if first.moved:
        return [*found, *redirected(asker, manifest_name(local.channels[0]), first)]
    live = Live(asker, local, probe_writes, dict(_heads(local, asker)))
    for check in _CHECKS:
        try:
            found += check(live)
        except StoreError as error:
            fix = "look at the server's log; run the same command again"
            found.append(AREA.problem("unreachable", str(error), fix))
    return _collapsed(found) or [AREA.ok("live", f"{base} serves the site as devices need it")]


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
        yield AREA.warning(
            "no_tls",
            f"{asker.base} is not encrypted: iOS and Android refuse it, and everybody on the way"
            " sees what is fetched",
            "serve it over https, and change base_url",
        )
    ends = asker.certificate_ends()
    left = ends - datetime.now(UTC) if ends else None
    if ends and left and left < _SOON:
        yield AREA.warning(
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
        yield AREA.warning(
            "clock_skew",
            f"the server's clock is {minutes} minutes {side} this one",
            "set both by NTP: expiry is judged by clocks",
        )


_CHECKS: Final[Sequence[Callable[[Live], Findings]]] = (
    manifests,
    documents,
    conditional,
    blob,
    preflight,
    post,
    missing,
    hidden,
    listing,
    probed,
)
