"""The root chain: from what the caller trusts forward to the newest root the site has.

The site's copies of roots that are trusted already must be those; what comes later must follow
from them. When a root fails, the walk ends there, as a device's does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keyring import Keyring
from manifestgen.core.keys import KeyId, PublicKey
from manifestgen.core.limits import LIMITS
from manifestgen.errors import VerificationError
from manifestgen.stores.names import ROOT, ROOTS, root_name
from manifestgen.verify.anchor import Anchor
from manifestgen.verify.audit import Audit

_SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Roots:
    """The newest keyring, and every one there was, oldest first.

    Older ones only explain signatures of the past: nothing is believed on their word.
    """

    newest: Keyring
    keyrings: tuple[Keyring, ...]

    @property
    def keys(self) -> Mapping[KeyId, PublicKey]:
        """Every key that a root ever named."""
        return {key.keyid: key for keyring in self.keyrings for key in keyring.root.keys}


def check_roots(audit: Audit, anchor: Anchor, now: datetime) -> Roots:
    """Check the site's root documents; return what they lead to, at least the anchor."""
    newest = audit.need(ROOT, LIMITS.root_bytes, "devices look there for new roots")
    claimed = _claimed(newest)
    older = _older(audit, anchor)
    later = _later(audit, anchor, claimed)
    keyrings = (*older, *(keyring for keyring, _ in later))
    keyring, document = later[-1]
    _check_newest(audit, newest, document, keyring.root.number)
    _check_fresh(audit, keyring, now)
    return Roots(keyring, keyrings)


def _older(audit: Audit, anchor: Anchor) -> list[Keyring]:
    """Check roots before the anchor's newest; devices of any age walk up through them."""
    found: list[Keyring] = []
    for number in range(1, anchor.number):
        name = root_name(number)
        data = audit.need(name, LIMITS.root_bytes, "devices follow the chain root by root")
        trusted = anchor.documents.get(number)
        if trusted is not None:
            _check_same(audit, name, data, trusted)
        document = trusted or data
        if document is None:
            found = []
            continue
        with audit.judging(name):
            found.append(_next(found, document, number))
            _check_signatures(audit, name, document, found)
    oldest = min(anchor.documents)
    if found and oldest == anchor.number:
        # The anchor is right by definition, so it is the root before it that is wrong.
        with audit.judging(root_name(oldest - 1)):
            found[-1].follow(anchor.documents[oldest])
    return found


def _later(audit: Audit, anchor: Anchor, claimed: int) -> list[tuple[Keyring, bytes]]:
    """Walk from the anchor's newest root as far as the chain holds."""
    name = root_name(anchor.number)
    trusted = anchor.documents[anchor.number]
    data = audit.need(name, LIMITS.root_bytes, "devices follow the chain root by root")
    _check_same(audit, name, data, trusted)
    walked = [(anchor.keyring, trusted)]
    listed = [_number(name) for name in audit.listed(ROOTS)]
    last = max(claimed, *listed, anchor.number)
    while True:
        keyring = walked[-1][0]
        number = keyring.root.number + 1
        following = _follow(audit, keyring, number, expected=number <= last)
        if following is None:
            _unreachable(audit, number)
            return walked
        _check_signatures(
            audit, root_name(number), following[1], [*(one for one, _ in walked), following[0]]
        )
        walked.append(following)


def _follow(
    audit: Audit, keyring: Keyring, number: int, *, expected: bool
) -> tuple[Keyring, bytes] | None:
    name = root_name(number)
    if not expected:
        return _unannounced(audit, keyring, name)
    data = audit.need(name, LIMITS.root_bytes, f"a later root is there, and {number - 1} before it")
    if data is not None:
        with audit.judging(name):
            return keyring.follow(data), data
    return None


def _unannounced(audit: Audit, keyring: Keyring, name: str) -> tuple[Keyring, bytes] | None:
    """Look for a root nobody spoke of; some servers answer a page for what they do not have."""
    if audit.listing is not None:
        return None
    try:
        stored = audit.store.get(name, limit=LIMITS.root_bytes)
        found = (keyring.follow(stored.data), stored.data) if stored else None
    except VerificationError:
        return None
    if found:
        audit.count(name, len(found[1]))
    return found


def _unreachable(audit: Audit, first: int) -> None:
    for name in audit.listed(ROOTS):
        number = _number(name)
        if number > first:
            audit.seen.add(name)
            audit.problem(name, "root_gap", f"nothing leads there: the chain ends before {first}")


def _next(before: list[Keyring], document: bytes, number: int) -> Keyring:
    keyring = before[-1].follow(document) if before else Keyring.trust(document)
    if keyring.root.number != number:
        raise VerificationError(f"holds root {keyring.root.number}", code="root_gap")
    return keyring


def _check_same(audit: Audit, name: str, data: bytes | None, trusted: bytes) -> None:
    if data is not None and data != trusted:
        audit.problem(name, "root", "is not the root that is trusted: damaged, or another project")


def _check_signatures(audit: Audit, name: str, document: bytes, chain: list[Keyring]) -> None:
    envelope = Envelope.decode(document, limit=LIMITS.root_bytes)
    keys = {key.keyid: key for keyring in chain for key in keyring.root.keys}
    audit.check_every_signature(name, envelope, Kind.ROOT, keys)


def _check_newest(audit: Audit, data: bytes | None, newest: bytes, number: int) -> None:
    if data is not None and data != newest:
        audit.problem(ROOT, "root", f"is not the same file as {root_name(number)}, the newest")


def _check_fresh(audit: Audit, keyring: Keyring, now: datetime) -> None:
    name = root_name(keyring.root.number)
    if now < keyring.root.issued:
        # A device whose clock is behind its root does not judge what is in the future.
        audit.note(name, f"issued later than the time to judge by, {now:%Y-%m-%d}")
    with audit.judging(name):
        keyring.check_root_fresh(now)
        if keyring.root.expires - now < _SOON:
            audit.note(name, f"expires soon, on {keyring.root.expires:%Y-%m-%d}")


def _claimed(data: bytes | None) -> int:
    """Return the number that `root.json` claims, to look that far; 0 if it is no root at all."""
    try:
        number = Envelope.decode(data or b"", limit=LIMITS.root_bytes).signed.get("number")
    except VerificationError:
        return 0
    return number if type(number) is int else 0


def _number(name: str) -> int:
    text = name.removeprefix(ROOTS).removesuffix(".json")
    canonical = (
        text.isascii() and text.isdigit() and len(text) < 10 and root_name(int(text)) == name
    )
    return int(text) if canonical else 0
