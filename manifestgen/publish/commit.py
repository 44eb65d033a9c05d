"""The one way a manifest comes into being: planned, signed, committed, shown.

`history/N` is created, never replaced: of two publishers one creates it, and the other plans
again on top of what it finds.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keyring import Keyring, TrustedManifest
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest, Offer
from manifestgen.errors import ConflictError, UsageError, VerificationError
from manifestgen.publish.site import Head, Site, Tip
from manifestgen.publish.trust import check_memory, high_water, raise_high_water
from manifestgen.signers import Keys, Signer
from manifestgen.signers.interface import Remembering, sign
from manifestgen.stores.names import history_name

_logger = logging.getLogger(__name__)

_TRIES = 20
# No publisher gets so far between two runs of ours, and a stolen key that did must not take us
# along, again and again: sequences end at 2**53.
_FAR = 2**44

Plan: TypeAlias = Callable[[Head | None, Manifest], Manifest | None]
"""Given the head and a manifest that only renews it, return what to publish; `None`: nothing."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What devices see now; `changed` is false if it was so already."""

    head: Head
    changed: bool


def manifest_signers(site: Site, channel: str, keys: Keys) -> list[Signer]:
    """Return who signs for a channel, or raise `KeyUseError` if they are not at hand."""
    keyring = site.chain.keyring
    role = keyring.root.manifest_role(channel)
    if role is None:
        raise UsageError(
            f"root {keyring.root.number} has no manifest key for channel {channel}",
            hint=f"run `manifestgen keys add --role manifest --channel {channel}`",
        )
    return keys.require(role, f"the {channel} manifest")


def rehearse(site: Site, channel: str, keys: Keys, *, now: datetime, plan: Plan) -> Keys:
    """Have signed what `commit` would sign now; return keys that remember the signatures.

    Keys that are elsewhere may refuse, and then nothing was written yet.
    """
    remembering = [Remembering(signer) for signer in manifest_signers(site, channel, keys)]
    mark = high_water(site.settings, channel)
    tip = site.tip(channel, mark=mark)
    manifest = plan(tip.head, _following(site, channel, tip, mark, now))
    if manifest is not None:
        sign(Envelope((), manifest.to_json()), Kind.MANIFEST, remembering)
    return Keys(remembering)


def commit(site: Site, channel: str, keys: Keys, *, now: datetime, plan: Plan) -> Committed:
    """Publish the manifest that `plan` makes of the newest one.

    Raises:
        KeyUseError: the channel's manifest keys are not at hand.
        ConflictError: others published faster than we could, many times in a row.
    """
    keyring = site.chain.keyring
    signers = manifest_signers(site, channel, keys)
    if not site.dry_run:
        check_memory(site.settings)
    mark = high_water(site.settings, channel)
    for _ in range(_TRIES):
        tip = site.tip(channel, mark=mark)
        head = tip.head
        manifest = plan(head, _following(site, channel, tip, mark, now))
        if manifest is None:
            if head is None:
                raise UsageError(f"channel {channel} has no manifest yet")
            _remember(site, head)
            site.publish_head(head)
            return Committed(head, changed=False)
        data = sign(Envelope((), manifest.to_json()), Kind.MANIFEST, signers).encode()
        committed = Head(_as_devices_see_it(keyring, data, channel), data)
        try:
            site.store.create(history_name(channel, manifest.sequence), data)  # the commit
        except ConflictError:
            continue  # somebody was faster: plan again on top of theirs
        _warn_behind(site, channel, head, mark)
        _warn_ahead(committed, now)
        _warn_root(site, channel, now)
        _remember(site, committed)
        site.publish_head(committed)  # devices see it from here on
        return Committed(committed, changed=True)
    raise ConflictError(
        f"others published to {channel} {_TRIES} times in a row",
        hint="run the same command again",
    )


def _warn_behind(site: Site, channel: str, head: Head | None, mark: int) -> None:
    """Say that what was carried on is older than what was signed here; `Site.tip` refuses some."""
    shown = head.manifest.sequence if head else 0
    if shown < mark:
        _logger.warning(
            "warning: %s had manifest %d of %s, and %d was signed here: what was published,"
            " withdrawn or paused in between is forgotten",
            *(site.store.location, shown, channel, mark),
        )


def _warn_ahead(head: Head, now: datetime) -> None:
    """Say that what was signed when some clock was fast is refused; times never go back."""
    manifest = head.manifest
    if manifest.issued - now > LIMITS.future:
        _logger.warning(
            "warning: %s %d is of %s, as the one before, and here it is %s: devices refuse it until"
            " then; if a clock was wrong, a new key in its key's place (`manifestgen keys rotate`)"
            " begins anew",
            *(
                manifest.channel,
                manifest.sequence,
                f"{manifest.issued:%Y-%m-%d}",
                f"{now:%Y-%m-%d}",
            ),
        )


def _warn_root(site: Site, channel: str, now: datetime) -> None:
    """Say that devices refuse what an expired root let sign, or that it cut a lifetime short."""
    root, wanted = site.chain.keyring.root, site.settings.channel_settings(channel).expires
    if now > root.expires:
        _logger.warning(
            "warning: root %d expired on %s, and devices take nothing new: run `manifestgen keys"
            " renew` where the root key is",
            *(root.number, f"{root.expires:%Y-%m-%d}"),
        )
    if wanted > root.lifetime:
        _logger.warning(
            "warning: manifests of %s are to count for %d days, and the root allows %d",
            *(channel, wanted.days, root.lifetime.days),
        )


def _remember(site: Site, head: Head) -> None:
    if not site.dry_run:
        raise_high_water(site.settings, head.manifest.channel, head.manifest.sequence)


def _following(site: Site, channel: str, tip: Tip, mark: int, now: datetime) -> Manifest:
    """Return the manifest that follows: the same offers, a new number and new times."""
    root, head = site.chain.keyring.root, tip.head
    if tip.following - mark >= _FAR:
        raise _stolen(f"{channel} is at manifest {tip.following - 1}, which no publisher reaches")
    lifetime = min(site.settings.channel_settings(channel).expires, root.lifetime)
    # Time never goes back, unless a key since revoked set it.
    issued = max(now, head.manifest.issued) if head and not head.outdated else now
    if issued.year == datetime.max.year:
        raise _stolen(f"{channel} was issued in the year {issued.year}")
    blank = Manifest(
        app=root.app,
        channel=channel,
        sequence=tip.following,
        issued=issued,
        expires=issued + lifetime,
        root=root.number,
        previous=head.digest if head else None,
    )
    if head is None:
        return blank
    old = head.manifest
    offers = tuple(_resigned(site, offer) for offer in old.offers)
    return replace(blank, offers=offers, withdrawn=old.withdrawn, paused=old.paused)


def _stolen(what: str) -> VerificationError:
    return VerificationError(
        what,
        code="history",
        hint="its manifest key was stolen: put another in its place with `manifestgen keys"
        " rotate`, where .manifestgen/keys/sequences.json is",
    )


def _resigned(site: Site, offer: Offer) -> Offer:
    """Take the release's envelope as stored, if the one in the offer is outdated."""
    keyring = site.chain.keyring
    with suppress(VerificationError):
        keyring.release(offer.release)
        return offer
    once = site.once_trusted(offer.release)
    stored = site.release_envelope(once.version) if once else None
    return replace(offer, release=stored) if stored else offer


def _as_devices_see_it(keyring: Keyring, data: bytes, channel: str) -> TrustedManifest:
    if len(data) > LIMITS.manifest_bytes:
        raise UsageError(
            f"the manifest would be {len(data)} bytes, devices read {LIMITS.manifest_bytes}",
            hint="offer fewer releases or patches",
        )
    return keyring.manifest(data, channel)
