"""Bring a site in line with a new root: the chain, then releases, then manifests."""

import shlex
from dataclasses import dataclass

from manifestgen.core.envelope import Envelope
from manifestgen.core.limits import LIMITS
from manifestgen.core.release import Release
from manifestgen.core.version import Version
from manifestgen.errors import ConflictError, KeyUseError, VerificationError
from manifestgen.publish.channels import Desk, refresh
from manifestgen.publish.pending import forget_pending, gather, release_path
from manifestgen.publish.publish import load_keys
from manifestgen.publish.site import Head
from manifestgen.stores.names import release_name


@dataclass(frozen=True, slots=True)
class Applied:
    """What was signed again, and `left`: what the keys at hand could not sign, as sentences."""

    releases: tuple[Version, ...]
    channels: tuple[str, ...]
    left: tuple[str, ...]


def apply_root(desk: Desk) -> Applied:
    """Publish the root chain and sign again what no longer verifies under its newest root.

    Signed again are the releases that channels offer, and those they keep to go back to, unless
    withdrawn. What stays unsigned is never installed by a device that has the new root.
    """
    desk.site.publish_roots()
    left: list[str] = []
    heads = {channel: desk.head(channel) for channel in desk.site.channels()}
    wanted = {version for head in heads.values() for version in _kept(desk, head)}
    resigned = [version for version in sorted(wanted) if _resign(desk, version, left)]
    refreshed = []
    for channel, head in heads.items():
        stale = any(not isinstance(one, Release) for one in head.trusted.releases)
        if head.outdated or stale or head.manifest.root != desk.site.chain.keyring.root.number:
            try:
                refresh(desk, channel)
            except KeyUseError as error:
                left.append(f"{channel}: {error}; run `manifestgen refresh` where that key is")
            else:
                refreshed.append(channel)
        else:
            desk.site.publish_head(head)  # for its pages, if a killed run was here before
    return Applied(tuple(resigned), tuple(refreshed), tuple(left))


def _kept(desk: Desk, head: Head) -> list[Version]:
    """Return the versions that a channel offers or may go back to."""
    offered = [release.version for release in desk.site.vouched(head)]
    recent = desk.site.recent_releases(head, desk.settings.keep)
    gone = set(head.manifest.withdrawn)
    return offered + [one.version for one in recent if one.version not in gone]


def _resign(desk: Desk, version: Version, left: list[str]) -> bool:
    """Sign a release again if it needs it; `False` if it did not, or could not be."""
    role = desk.site.chain.keyring.root.release
    stored = desk.site.release_envelope(version)
    release = desk.site.once_trusted(stored) if stored else None
    if stored is None or release is None:
        left.append(f"{release_name(str(version))} is missing or by no key of ours: restore it")
        return False
    if _verifies(desk, stored):
        return False
    kept = tuple(one for one in stored.signatures if one.keyid in role.keys)
    try:
        keys = load_keys(desk.settings, desk.settings.release_uris(), desk.ask)
        signers = keys.some(role, f"release {version}")
    except KeyUseError as error:
        left.append(f"{error}; run `manifestgen keys apply` where that key is")
        return False
    try:
        again = Envelope(kept, stored.signed)
        signed = gather(desk.settings, release, role, signers, again=again)
    except KeyUseError as error:
        path = shlex.quote(str(release_path(desk.settings, version)))
        left.append(f"{error}: `manifestgen keys sign {path}`, then `manifestgen keys apply`")
        return False
    name = release_name(str(version))
    there = desk.site.store.get(name, limit=LIMITS.release_bytes)
    try:
        desk.site.store.replace(name, signed.encode(), tag=there.tag if there else None)
    except ConflictError:
        left.append(f"{name} changed meanwhile; run `manifestgen keys apply` again")
        return False
    forget_pending(desk.settings, release)
    return True


def _verifies(desk: Desk, envelope: Envelope) -> bool:
    try:
        desk.site.chain.keyring.release(envelope)
    except VerificationError:
        return False
    return True
