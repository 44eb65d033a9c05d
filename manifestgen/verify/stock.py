"""`capgo*.json`: what stock plugins are told must be what follows from the manifest.

No signature protects these files on their way to a device. What can be checked is that the site
holds the ones its manifests call for, byte for byte.
"""

import json
import re
from functools import partial

from manifestgen.core import stock
from manifestgen.core.keyring import TrustedManifest
from manifestgen.stores.file_lists import usable_file_list
from manifestgen.stores.interface import SMALL
from manifestgen.stores.names import capgo_name
from manifestgen.verify.audit import Audit

_UNKNOWN = "https://base.invalid"
_BASE = re.compile(r"https?://[^\s?#]+")


def check_stock(audit: Audit, head: TrustedManifest, base_url: str | None) -> None:
    """Compare a channel's `capgo*.json` with its manifest; without a base URL, all but the host."""
    channel = head.manifest.channel
    lists = partial(usable_file_list, audit.store)
    answers = stock.responses(head, base_url or _UNKNOWN, lists)
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
    audit: Audit, name: str, data: bytes, answer: stock.Response, base_url: str | None
) -> None:
    wanted = stock.encode(answer)
    if base_url is None and "url" in answer:
        base = base_of(data, answer["url"].removeprefix(_UNKNOWN))
        if base is not None:
            wanted = wanted.replace(_UNKNOWN.encode(), _spelt(base))
            audit.note(name, f"points to {base}; whether that is right is not known here")
    if data != wanted:
        audit.problem(name, "capgo", "is not what follows from the manifest")


def _spelt(base: str) -> bytes:
    """Return a text as it stands between the quotes of a JSON string."""
    return json.dumps(base).encode()[1:-1]


def base_of(data: bytes, path: str) -> str | None:
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
