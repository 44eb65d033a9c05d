"""What a channel offers, changed without touching a release: each change is one new manifest.

Whoever holds a channel's manifest key can do all of this, and nothing more: which bytes are a
version stays with the release keys. Every change says how to undo it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from manifestgen.config import Settings
from manifestgen.core.envelope import Envelope
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest, Offer, Ramp, Rollout
from manifestgen.core.release import Release
from manifestgen.core.version import Version
from manifestgen.errors import UsageError, VerificationError
from manifestgen.publish.commit import Committed, Plan, commit
from manifestgen.publish.offers import admits_everyone, on_top, pairs, versions
from manifestgen.publish.publish import load_keys
from manifestgen.publish.site import Head, Site
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
    known = {one.version for one in desk.site.recent_releases(head, 1000)}
    if version not in known | set(head.manifest.withdrawn):
        raise UsageError(
            f"{channel} never offered {version}",
            hint=f"it offers {_listed(versions(head)) or 'nothing'}",
        )

    def plan(head: Head | None, following: Manifest) -> Manifest | None:
        if version in following.withdrawn:
            return None
        offers = tuple(offer for offer, release in pairs(head) if release.version != version)
        withdrawn = _sorted({*following.withdrawn, version})
        return replace(following, offers=offers, withdrawn=withdrawn)

    return desk.change(channel, plan)


def roll_back(desk: Desk, channel: str, to: Version | None) -> Committed:
    """Offer an older release to everyone, and withdraw every newer one that is offered.

    `to` of `None` means the newest release before those offered now.
    """
    head = desk.head(channel)
    envelope, release = _target(desk, head, to)
    _check_floor(head, release)

    def plan(head: Head | None, following: Manifest) -> Manifest | None:
        bad = {version for version in versions(head) if version > release.version}
        if not bad and versions(head) == [release.version]:
            return None
        withdrawn = _sorted({*following.withdrawn, *bad} - {release.version})
        return replace(following, offers=(Offer(envelope),), withdrawn=withdrawn)

    return desk.change(channel, plan)


def promote(desk: Desk, channel: str, version: Version, rollout: Rollout) -> Committed:
    """Offer a release of this site on a channel, as it is; nothing is packed again."""
    envelope, release = _stored_release(desk, version)
    if release.channels and channel not in release.channels:
        raise UsageError(f"{version} may only be offered on {', '.join(release.channels)}")
    offer = Offer(envelope, rollout)

    def plan(head: Head | None, following: Manifest) -> Manifest | None:
        newest = max(versions(head), default=version)
        if newest > version and admits_everyone(offer, release):
            raise UsageError(
                f"{channel} offers {newest}, and no device moves down to {version} by itself",
                hint=f"run `manifestgen channel rollback {version} --channel {channel}`",
            )
        offers = tuple(on_top(offer, release, pairs(head)))
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
        lower = beneath or fallback
        return replace(following, offers=tuple(on_top(changed, release, iter(lower))))

    if not versions(desk.head(channel)):
        raise UsageError(f"{channel} offers nothing", hint="publish something first")
    return desk.change(channel, plan)


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
    """Return the last release that everybody was offered before, for those outside a share."""
    offered = set(versions(head))
    for earlier in desk.site.earlier(head):
        for offer, release in pairs(earlier):
            gone = release.version in offered or release.version in head.manifest.withdrawn
            if not gone and admits_everyone(offer, release):
                return [(Offer(offer.release), release)]
    return []


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
        hint=f"withdraw it: `manifestgen channel withdraw {newest}` sends devices to built-in",
    )


def _stored_release(desk: Desk, version: Version) -> tuple[Envelope, Release]:
    found = desk.site.release(version)
    if found is None:
        raise UsageError(f"there is no release {version} in {desk.site.store.location}")
    release = found[1]
    if desk.site.store.size(blob_name(release.bundle.blob)) != release.bundle.size:
        raise VerificationError(
            f"the bundle of {version} is no longer in the site",
            code="missing",
            hint="it was pruned: publish that build under a new version",
        )
    return found


def _check_floor(head: Head, target: Release) -> None:
    for _, release in pairs(head):
        if release.floor and release.version > target.version and target.version < release.floor:
            raise UsageError(
                f"{release.version} lets devices go back to {release.floor} at the lowest",
                hint=f"roll back to {release.floor} or later, or publish a fix",
            )


def _listed(found: list[Version]) -> str:
    return ", ".join(map(str, found))
