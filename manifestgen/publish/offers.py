"""How offers lie on top of one another: each catches the devices that those above let through."""

from collections.abc import Iterable, Iterator

from manifestgen.core.audience import EVERYONE
from manifestgen.core.manifest import FULL, Offer
from manifestgen.core.release import Release
from manifestgen.core.version import Version
from manifestgen.publish.site import Head


def admits_everyone(offer: Offer, release: Release) -> bool:
    """Tell whether an offer leaves no device for those beneath it."""
    whole = offer.rollout.ramp is None and offer.rollout.share == FULL
    return whole and offer.audience == EVERYONE and release.audience == EVERYONE


def pairs(head: Head | None) -> Iterator[tuple[Offer, Release]]:
    """Give a channel's offers with their releases, those that verify."""
    if head is None:
        return
    for offer, release in zip(head.manifest.offers, head.trusted.releases, strict=True):
        if isinstance(release, Release):
            yield offer, release


def versions(head: Head | None) -> list[Version]:
    """Return the versions that a channel offers, in order."""
    return [release.version for _, release in pairs(head)]


def on_top(offer: Offer, release: Release, others: Iterable[tuple[Offer, Release]]) -> list[Offer]:
    """Lay an offer on top of those of lower versions, in the place of one of its own version.

    Higher ones stay above: no device moves down for an offer that comes before a newer one. Those
    that no device can reach any more fall away.
    """
    rest = [pair for pair in others if pair[1].version != release.version]
    above = [pair for pair in rest if pair[1].version > release.version]
    beneath = [pair for pair in rest if pair[1].version < release.version]
    stack: list[Offer] = []
    for one, its_release in (*above, (offer, release), *beneath):
        stack.append(one)
        if admits_everyone(one, its_release):
            break
    return stack
