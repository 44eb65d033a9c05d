"""What a channel offers, changed without touching a release: each change is one new manifest.

Whoever holds a channel's manifest key can do all of this, and nothing more: which bytes are a
version stays with the release keys. Every change says how to undo it.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from manifestgen.config import Settings
from manifestgen.core.envelope import Envelope
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest, Offer, Patch, Ramp, Rollout
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest
from manifestgen.core.version import Version
from manifestgen.errors import KeyUseError, UsageError, VerificationError
from manifestgen.publish.commit import Committed, Plan, commit
from manifestgen.publish.keyfiles import capgo_public
from manifestgen.publish.offers import admits_everyone, on_top, pairs, versions
from manifestgen.publish.patches import patches_for
from manifestgen.publish.publish import load_keys
from manifestgen.publish.site import LOOK_BACK, Head, Site
from manifestgen.publish.trust import high_water, load_roots
from manifestgen.signers import Ask
from manifestgen.stores import Store
from manifestgen.stores.names import blob_name


@dataclass(frozen=True, slots=True)
class Desk:
    """What a change needs: the project, its site, keys when they are asked for, and the time."""

    settings: Settings
    site: Site
    ask: Ask
    now: datetime

    @classmethod
    def open(
        cls, settings: Settings, store: Store, *, ask: Ask, now: datetime, dry_run: bool = False
    ) -> "Desk":
        """Take place at a project's site."""
        site = Site(store, load_roots(settings), settings, dry_run)
        return cls(settings, site, ask, now)

    def head(self, channel: str) -> Head:
        """Return a channel's newest manifest, or raise `UsageError`."""
        head = self.site.head(channel, mark=high_water(self.settings, channel))
        if head is None:
            raise UsageError(
                f"nothing is published to {channel}",
                hint=f"run `manifestgen publish DIR --channel {channel}`",
            )
        return head

    def change(self, channel: str, plan: Plan) -> Committed:
        """Commit a change to a channel."""
        keys = load_keys(self.settings, self.settings.manifest_uris(channel), self.ask)
        self.site.publish_roots()
        return commit(self.site, channel, keys, now=self.now, plan=plan)


def set_paused(desk: Desk, channel: str, *, paused: bool) -> Committed:
    """Pause a channel (devices keep what they run) or resume it."""
    desk.head(channel)

    def plan(head: Head | None, following: Manifest) -> Manifest | None:
        if head and head.manifest.paused == paused:
            return None
        return replace(following, paused=paused)

    return desk.change(channel, plan)


def refresh(desk: Desk, channel: str) -> Committed:
    """Sign the same offers again with new times."""
    desk.head(channel)
    return desk.change(channel, lambda _, following: following)


def withdraw(desk: Desk, channel: str, version: Version) -> Committed:
    """Stop offering a version; devices that run it move off it."""
    head = desk.head(channel)
    # Any release of the site: devices may have come from another channel, or a year ago.
    if desk.site.release_envelope(version) is None:
        raise UsageError(
            f"there is no release {version} in {desk.site.store.location}",
            hint=f"{channel} offers {_listed(versions(head)) or 'nothing'}",
        )

    left = _left(desk, head, version)

    def plan(head: Head | None, following: Manifest) -> Manifest | None:
        if version in following.withdrawn:
            return None
        offers = tuple(
            replace(offer, patches=left.get(release.version, offer.patches))
            for offer, release in pairs(head)
            if release.version != version
        )
        withdrawn = _sorted({*following.withdrawn, version})
        return replace(following, offers=offers, withdrawn=withdrawn)

    return desk.change(channel, plan)


def readmit(desk: Desk, channel: str, version: Version) -> Committed:
    """Call a version withdrawn no more, without offering it: devices that run it may stay."""
    head = desk.head(channel)
    if version not in head.manifest.withdrawn:
        raise UsageError(
            f"{version} is not withdrawn from {channel}",
            hint=f"withdrawn are {_listed(list(head.manifest.withdrawn)) or 'none'}",
        )

    def plan(_: Head | None, following: Manifest) -> Manifest | None:
        left = tuple(one for one in following.withdrawn if one != version)
        return replace(following, withdrawn=left) if left != following.withdrawn else None

    return desk.change(channel, plan)


def roll_back(
    desk: Desk, channel: str, to: Version | None, *, shown: Head | None = None
) -> Committed:
    """Offer an older release to everyone, and withdraw every newer one that is offered.

    `to` of `None` means the newest release before those offered now; but if a command that did
    just that was killed before it was done, then not one release further. `shown` is what devices
    saw when this one began.
    """
    head = desk.head(channel)
    if to is None and shown and _was_interrupted(desk, shown, head):
        desk.site.publish_head(head)
        return Committed(head, changed=False)
    envelope, release = _target(desk, head, to)
    _check_allowed(channel, release)
    newest = max(versions(head), default=release.version)
    if release.version > newest:
        raise UsageError(
            f"{release.version} is newer than {newest}, which {channel} offers",
            hint=f"run `manifestgen channel promote {release.version} --to {channel}`",
        )
    _check_floor(head, release)
    offer = Offer(envelope)
    if versions(head) != [release.version]:
        there = _terms_there(desk, head, envelope, release.version).patches
        offer = replace(offer, patches=_patches(desk, head, release, there))

    def plan(head: Head | None, following: Manifest) -> Manifest | None:
        bad = {version for version in versions(head) if version > release.version}
        if not bad and versions(head) == [release.version]:
            return None
        withdrawn = _sorted({*following.withdrawn, *bad} - {release.version})
        return replace(following, offers=(offer,), withdrawn=withdrawn)

    return desk.change(channel, plan)


def _was_interrupted(desk: Desk, shown: Head, head: Head) -> bool:
    """Tell whether the newest manifest rolled back, and what follows from it was not written."""
    if shown.digest != head.digest:
        return _rolled_back(shown, head)
    before = next(islice(desk.site.earlier(head), 1, None), None)
    return before is not None and _rolled_back(before, head) and not desk.site.is_rendered(head)


def _rolled_back(before: Head, head: Head) -> bool:
    """Tell whether a manifest is the one before it rolled back."""
    was, now = versions(before), versions(head)
    bad = {version for version in was if len(now) == 1 and version > now[0]}
    return (
        head.manifest.previous == before.digest
        and bool(bad)
        and bad <= set(head.manifest.withdrawn) - set(before.manifest.withdrawn)
    )


def promote(desk: Desk, channel: str, version: Version, rollout: Rollout) -> Committed:
    """Offer a release of this site on a channel, as it is; nothing is packed again."""
    envelope, release = _stored_release(desk, version)
    _check_allowed(channel, release)
    head = desk.site.head(channel, mark=high_water(desk.settings, channel))
    if versions(head)[:1] == [version]:
        return roll_out(desk, channel, rollout.share, None)
    offer = replace(_terms_there(desk, head, envelope, version), rollout=rollout)
    offer = replace(offer, patches=_patches(desk, head, release, offer.patches))

    def plan(head: Head | None, following: Manifest) -> Manifest | None:
        offers = tuple(on_top(offer, release, pairs(head)))
        if offer not in offers:
            newest = max(versions(head))
            raise UsageError(
                f"{channel} offers {newest}, and no device moves down to {version} by itself",
                hint=f"run `manifestgen channel rollback {version} --channel {channel}`",
            )
        withdrawn = tuple(one for one in following.withdrawn if one != version)
        if head and (offers, withdrawn) == (head.manifest.offers, head.manifest.withdrawn):
            return None
        return replace(following, offers=offers, withdrawn=withdrawn)

    return desk.change(channel, plan)


def roll_out(desk: Desk, channel: str, share: int, over: timedelta | None) -> Committed:
    """Set the share of the offer on top, at once or growing `over` a time.

    Raising keeps the devices that were in; lowering moves nobody down.
    """
    fallback = _fallback(desk, desk.head(channel))

    def plan(head: Head | None, following: Manifest) -> Manifest | None:
        (offer, release), *beneath = list(pairs(head))
        rollout = _rollout(offer.rollout, share, over, desk.now)
        if rollout == offer.rollout:
            return None
        changed = replace(offer, rollout=rollout)
        return replace(following, offers=tuple(on_top(changed, release, beneath or fallback)))

    if not versions(desk.head(channel)):
        raise UsageError(f"{channel} offers nothing", hint="publish something first")
    return desk.change(channel, plan)


def _left(desk: Desk, head: Head, withdrawn: Version) -> dict[Version, tuple[Patch, ...]]:
    """Return the patches of the offers that are left, to which devices move from `withdrawn`."""
    if withdrawn not in versions(head):
        return {}
    return {
        release.version: _patches(desk, head, release, offer.patches)
        for offer, release in pairs(head)
        if release.version != withdrawn
    }


def _rollout(old: Rollout, share: int, over: timedelta | None, now: datetime) -> Rollout:
    if over is None:
        return replace(old, share=share, ramp=None)
    first = old.share_at(now)
    if share <= first:
        raise UsageError(
            f"the share is {first / 100:g}% now, and a ramp only rises",
            hint="leave --over out to lower it at once",
        )
    return replace(old, share=share, ramp=Ramp(first, now, now + over))


def _fallback(desk: Desk, head: Head) -> list[tuple[Offer, Release]]:
    """Return what lay beneath the offers of now when there was a net: for those outside a share."""
    top = max(versions(head), default=None)
    for earlier in islice(desk.site.earlier(head), LOOK_BACK):
        found = [
            (offer, release)
            for offer, release in _still_good(desk, earlier)
            if top and release.version < top and release.version not in head.manifest.withdrawn
        ]
        if any(admits_everyone(*pair) for pair in found):
            return found
    return []


def _still_good(desk: Desk, earlier: Head) -> Iterator[tuple[Offer, Release]]:
    """Give an earlier manifest's offers as they could be made today."""
    for offer in earlier.manifest.offers:
        once = desk.site.once_trusted(offer.release)
        with suppress(VerificationError, UsageError):
            if once:
                envelope, release = _stored_release(desk, once.version)
                patches = _present(desk, offer.patches)
                yield replace(offer, release=envelope, patches=patches), release


def _terms_there(desk: Desk, head: Head | None, envelope: Envelope, version: Version) -> Offer:
    """Return an offer as the channel had it last (for whom, how urgent), else a plain one."""
    for earlier in islice(desk.site.earlier(head), LOOK_BACK):
        for offer in earlier.manifest.offers:
            once = desk.site.once_trusted(offer.release)
            if once and once.version == version:
                return replace(offer, release=envelope, patches=_present(desk, offer.patches))
    return Offer(envelope)


def _present(desk: Desk, patches: tuple[Patch, ...]) -> tuple[Patch, ...]:
    size = desk.site.store.size
    return tuple(one for one in patches if size(blob_name(one.payload.blob)) == one.payload.size)


def _patches(
    desk: Desk, head: Head | None, release: Release, there: tuple[Patch, ...]
) -> tuple[Patch, ...]:
    """Return patches from what this channel's devices may run, and those there were."""
    public = None
    if release.capgo:
        with suppress(KeyUseError):  # then only those made before
            public = capgo_public(desk.settings, desk.ask)
    found = patches_for(desk.site, head, release, public=public).payloads()
    by_base: dict[Digest, Patch] = {}
    for patch in (*found, *there):
        by_base.setdefault(patch.base, patch)
    return tuple(by_base.values())[: LIMITS.patches]


def _sorted(withdrawn: set[Version]) -> tuple[Version, ...]:
    # Where there is no more room, the lowest go: devices that old meet newer offers first.
    return tuple(sorted(withdrawn)[-LIMITS.withdrawn :])


def _target(desk: Desk, head: Head, to: Version | None) -> tuple[Envelope, Release]:
    if to is not None:
        return _stored_release(desk, to)
    offered = versions(head)
    newest = max(offered, default=None)
    for release in desk.site.recent_releases(head, 1000):
        below = newest is None or release.version < newest
        if below and release.version not in head.manifest.withdrawn:
            return _stored_release(desk, release.version)
    raise UsageError(
        f"{head.manifest.channel} has no earlier release to go back to",
        hint=f"`manifestgen channel withdraw {newest}` sends devices to the app as built"
        if newest
        else "publish a fix under a higher version",
    )


def _stored_release(desk: Desk, version: Version) -> tuple[Envelope, Release]:
    found = desk.site.release(version)
    if found is None:
        raise UsageError(
            f"there is no release {version} in {desk.site.store.location}",
            hint="see `manifestgen channel list` for what is offered",
        )
    release = found[1]
    if desk.site.store.size(blob_name(release.bundle.blob)) != release.bundle.size:
        raise VerificationError(
            f"the bundle of {version} is no longer in the site",
            code="missing",
            hint="it was pruned, or no kit carried it: publish that build under a new version",
        )
    return found


def _check_allowed(channel: str, release: Release) -> None:
    if release.channels and channel not in release.channels:
        raise UsageError(
            f"{release.version} may only be offered on {', '.join(release.channels)}",
            hint="that is signed into the release; publish the build under a new version",
        )


def _check_floor(head: Head, target: Release) -> None:
    for _, release in pairs(head):
        if release.floor and release.version > target.version and target.version < release.floor:
            raise UsageError(
                f"{release.version} lets devices go back to {release.floor} at the lowest",
                hint=f"roll back to {release.floor} or later, or publish a fix",
            )


def _listed(found: list[Version]) -> str:
    return ", ".join(map(str, found))
