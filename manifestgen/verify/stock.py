"""`capgo*.json`: what stock plugins are told must be what follows from the manifest.

No signature protects these files on their way to a device. What can be checked is that the site
holds the ones its manifests call for, byte for byte.
"""

import json
import re
from collections.abc import Mapping

from manifestgen.core import stock
from manifestgen.core.keyring import TrustedManifest
from manifestgen.stores.interface import SMALL
from manifestgen.stores.names import capgo_name
from manifestgen.verify.audit import Audit

_BASE = re.compile(r"https?://[^\s?#]+")


def check_stock(audit: Audit, head: TrustedManifest, base_url: str | None) -> None:
    """Compare a channel's `capgo*.json` with its manifest; without a base URL, all but the host."""
    channel = head.manifest.channel
    answers = stock.responses(head, base_url or "https://base.invalid")
    for platform in (None, *stock.PLATFORMS):
        name = capgo_name(channel, platform)
        if platform not in answers and _is_absent(audit, name):
            continue
        data = audit.look(name, SMALL)
        answer = answers.get(platform, answers[None])
        if data is not None:
            _check(audit, name, data, answer, base_url)
        elif base_url is not None and platform in answers:
            audit.problem(name, "missing", "missing: stock Capgo plugins ask for it")


def _is_absent(audit: Audit, name: str) -> bool:
    """Tell whether a file that need not be there is not; a web server's page for people is none."""
    return audit.listing is None and not (audit.peek(name, SMALL) or b"").startswith(b"{")


def _check(
    audit: Audit, name: str, data: bytes, answer: Mapping[str, str], base_url: str | None
) -> None:
    if base_url is None and "url" in answer:
        path = answer["url"].removeprefix("https://base.invalid")
        base = _base(data, path)
        if base is not None:
            answer = {**answer, "url": base + path}
            audit.note(name, f"points to {base}; whether that is right is not known here")
    if data != stock.encode(answer):
        audit.problem(name, "capgo", "is not what follows from the manifest")


def _base(data: bytes, path: str) -> str | None:
    """Return where a file says the site is, if it then names the right blob."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    url = found.get("url") if isinstance(found, dict) else None
    if not isinstance(url, str) or not url.endswith(path) or not _BASE.fullmatch(url):
        return None
    if not url.isprintable():  # it is going to be shown, and a terminal would obey it
        return None
    return url.removesuffix(path)
