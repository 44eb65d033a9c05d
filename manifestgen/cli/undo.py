"""Which commands bring back what a channel offered before a change."""

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manifestgen.core.manifest import Offer
    from manifestgen.publish.site import Head


def undone(before: "Head | None", after: "Head", now: datetime) -> list[str]:
    """Return the commands, in their order, that undo a change of offers.

    What came in is withdrawn by them where devices may run it, so that they leave it again; a ramp
    stops where it stood; what was beneath comes back before it is needed.
    """
    from manifestgen.publish.offers import admits_everyone, pairs

    channel = after.manifest.channel
    old = {release.version: (offer, release) for offer, release in pairs(before)}
    new = {release.version: offer for offer, release in pairs(after)}
    gained = [version for version in new if version not in old]
    lost = sorted(version for version in old if version not in new)
    steps, leave = [], [f"channel withdraw {version} --channel {channel}" for version in gained]
    if lost and gained and gained[0] > lost[0]:  # what came in hid what lay beneath
        if list(new) == gained and admits_everyone(*old[lost[0]]):
            leave = [f"channel rollback {lost.pop(0)} --channel {channel}"]
        steps, leave = leave, []
    elif lost and before:  # rolled back: what came in may stay where it was
        gone = before.manifest.withdrawn
        leave = [step for step, version in zip(leave, gained, strict=True) if version in gone]
    top = next(iter(new), None)
    for version, (offer, _) in old.items():
        if version == top and new[version].rollout != offer.rollout:
            steps.append(f"channel rollout {_share(offer, now)} --channel {channel}")
            lost = [one for one in lost if one > version]  # a share brings its net along
        elif version in new and new[version].rollout != offer.rollout:
            lost = [version, *lost]
    for version in lost:
        share = _share(old[version][0], now)
        some = "" if share == "100%" else f" --rollout {share}"
        steps.append(f"channel promote {version} --to {channel}{some}")
    return [*steps, *leave]


def _share(offer: "Offer", now: datetime) -> str:
    return f"{offer.rollout.share_at(now) / 100:g}%"
