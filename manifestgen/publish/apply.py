"""Bring a site in line with a new root: the chain, then releases, then manifests."""

from dataclasses import dataclass

from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keyring import check_signatures
from manifestgen.core.limits import LIMITS
from manifestgen.core.release import Release
from manifestgen.core.version import Version
from manifestgen.errors import ConflictError, KeyUseError, VerificationError
from manifestgen.publish.channels import Desk, refresh
from manifestgen.publish.publish import load_keys
from manifestgen.signers.interface import sign
from manifestgen.stores.names import release_name


@dataclass(frozen=True, slots=True)
class Applied:
    """What was signed again, and `left`: what the keys at hand could not sign, as sentences."""

    releases: tuple[Version, ...]
    channels: tuple[str, ...]
    left: tuple[str, ...]


def apply_root(desk: Desk) -> Applied:
    """Publish the root chain and sign again what no longer verifies under its newest root.

    Only releases that channels still offer or keep are signed again; what stays unsigned is never
    installed by a device that has the new root.
    """
    desk.site.publish_roots()
    left: list[str] = []
    channels = desk.site.channels()
    heads = {channel: desk.head(channel) for channel in channels}
    wanted: dict[Version, tuple[Envelope, Release]] = {}
    for head in heads.values():
        for offer in head.manifest.offers:
            if once := desk.site.once_trusted(offer.release):
                wanted[once.version] = (offer.release, once)
    resigned = [version for version in sorted(wanted) if _resign(desk, *wanted[version], left)]
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
    return Applied(tuple(resigned), tuple(refreshed), tuple(left))


def _resign(desk: Desk, envelope: Envelope, release: Release, left: list[str]) -> bool:
    """Sign a release again if it needs it; `False` if it did not, or could not be."""
    root = desk.site.chain.keyring.root
    stored = desk.site.release_envelope(release.version) or envelope
    try:
        check_signatures(stored, Kind.RELEASE, root, root.release)
    except VerificationError:
        pass
    else:
        return False
    try:
        keys = load_keys(desk.settings, desk.settings.release_uris(), desk.ask)
        signers = keys.require(root.release, f"release {release.version}")
    except KeyUseError as error:
        left.append(f"{error}; run `manifestgen keys apply` where that key is")
        return False
    kept = [one for one in stored.signatures if one.keyid in root.release.keys]
    again = sign(Envelope(tuple(kept), stored.signed), Kind.RELEASE, signers)
    name = release_name(str(release.version))
    there = desk.site.store.get(name, limit=LIMITS.release_bytes)
    try:
        desk.site.store.replace(name, again.encode(), tag=there.tag if there else None)
    except ConflictError:
        left.append(f"{name} changed meanwhile; run `manifestgen keys apply` again")
        return False
    return True
