"""Vectors on what a device does about a manifest that it believes."""

# ruff: noqa: E501 - a row of a table reads as one line

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from manifestgen.core.audience import EVERYONE, Audience, NativeRange
from manifestgen.core.manifest import Offer, Patch, Ramp, Rollout
from manifestgen.core.reader import format_time
from manifestgen.core.release import Payload
from manifestgen.core.tree import sha256
from manifestgen.core.version import Version
from tests.simulator import CHANNEL, EPOCH, NOW, Simulator, tree_digest
from tests.vectors.family import Family

SIM = Simulator()
V = Version.parse
PHONE = {"id": "device-1", "platform": "ios", "native": "3.1.0", "builtin": "1.0.0"}
WEEK = Ramp(1000, EPOCH, EPOCH + timedelta(days=7))


@dataclass(frozen=True, slots=True)
class Row:
    """One situation; `want` is the decision in short, and the reasons of the offers in order.

    `install 1.4.2`, `reset`, or the reason for doing nothing.
    """

    name: str
    offers: Sequence[Offer | str]
    want: str
    reasons: str
    device: Mapping[str, str] = field(default_factory=lambda: PHONE)
    memory: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    now: datetime = NOW
    mandatory: bool = False
    patch: str | None = None
    issued: datetime | None = None


def running(version: str, **more: Any) -> dict[str, Any]:
    """Return the memory of a device that runs a release."""
    return {"running": {"version": version, "tree": tree_digest(version)}, **more}


def patch(base: str, to: str) -> Patch:
    """Return a patch between two versions."""
    blob = sha256(f"patch {base} {to}".encode())
    return Patch(tree_digest(base), Payload(blob, 90, blob, 90))


def _without(*names: str) -> dict[str, str]:
    return {name: value for name, value in PHONE.items() if name not in names}


def _to(version: str, *, audience: Audience = EVERYONE, **changes: Any) -> Offer:
    """Return an offer whose *release* is changed."""
    return SIM.offer(SIM.release(version, audience=audience, **changes))


def _share(version: str, share: int, **more: Any) -> Offer:
    return SIM.offer(version, rollout=Rollout(share, **more))


def _native(*texts: str) -> Audience:
    return Audience(native=tuple(NativeRange.parse(text) for text in texts))


IOS, ANDROID = Audience(("ios",)), Audience(("android",))
UNSIGNED = SIM.offer(SIM.release("1.5.0", by=[SIM.manifest_key]))
WITHDRAWN = {"withdrawn": (V("1.4.2"),)}
ON_142 = running("1.4.2")
FAILED = {"failed": [tree_digest("1.4.2")]}

# fmt: off
MOVES = [
    Row("first update", ["1.4.2"], "install 1.4.2", "admitted"),
    Row("higher than what runs", ["1.4.2"], "install 1.4.2", "admitted", memory=running("1.3.0")),
    Row("what runs", ["1.4.2"], "current", "admitted", memory=ON_142),
    Row("what is built in", ["1.0.0"], "current", "admitted"),
    Row("lower than what runs", ["1.3.0"], "lower", "admitted", memory=ON_142),
    Row("lower than what is built in", ["0.9.0"], "lower", "admitted"),
    Row("a pre-release of what runs", ["1.4.2-rc.1"], "lower", "admitted", memory=ON_142),
    Row("an unreadable built-in version is 0.0.0", ["0.1.0"], "install 0.1.0", "admitted", device=PHONE | {"builtin": "builtin"}),
    Row("no built-in version is 0.0.0", ["0.1.0"], "install 0.1.0", "admitted", device=_without("builtin")),
    Row("a built-in version of four parts", ["3.1.4"], "current", "admitted", device=PHONE | {"builtin": "3.1.4.15"}),
    Row("the first that admits wins, not the highest", ["1.3.0", "1.4.2"], "install 1.3.0", "admitted not_reached"),
    Row("mandatory is told", [SIM.offer("1.4.2", mandatory=True)], "install 1.4.2", "admitted", mandatory=True),
    Row("no offers", [], "no_offer", ""),
    Row("no offers for an installed release", [], "no_offer", "", memory=ON_142),
    Row("paused: no reasons at all", ["1.4.2"], "paused", "", manifest={"paused": True}),
    Row("paused keeps even what is withdrawn", ["1.3.0"], "paused", "", memory=ON_142, manifest={"paused": True, **WITHDRAWN}),
]
ROLLBACKS = [
    Row("roll back off a withdrawn release", ["1.3.0"], "install 1.3.0", "admitted", memory=ON_142, manifest=WITHDRAWN),
    Row("a withdrawn built-in version may go down", ["0.9.0"], "install 0.9.0", "admitted", manifest={"withdrawn": (V("1.0.0"),)}),
    Row("withdrawn and offered at once", ["1.4.2", "1.3.0"], "install 1.3.0", "withdrawn admitted", manifest=WITHDRAWN),
    Row("withdrawn, offered at once and running", ["1.4.2"], "reset", "withdrawn", memory=ON_142, manifest=WITHDRAWN),
    Row("another version is withdrawn", ["1.3.0"], "lower", "admitted", memory=running("1.4.1"), manifest=WITHDRAWN),
    Row("withdrawn, at the floor", ["1.3.0"], "install 1.3.0", "admitted", memory=running("1.4.2", floor="1.3.0"), manifest=WITHDRAWN),
    Row("withdrawn, below the floor", ["1.3.0"], "floor", "admitted", memory=running("1.4.2", floor="1.3.1"), manifest=WITHDRAWN),
    Row("the floor stops the winner, later offers are not tried", ["1.3.0", "1.3.5"], "floor", "admitted not_reached", memory=running("1.4.2", floor="1.3.1"), manifest=WITHDRAWN),
    Row("higher than built in, below the floor", ["1.2.0"], "floor", "admitted", memory={"floor": "1.3.0"}),
    Row("what runs is below the floor and stays", ["1.2.0"], "current", "admitted", memory=running("1.2.0", floor="1.3.0")),
    Row("withdrawn, and nothing else is offered", [], "reset", "", memory=ON_142, manifest=WITHDRAWN),
    Row("withdrawn, and the built-in version is at the floor", [], "reset", "", memory=running("1.4.2", floor="1.0.0"), manifest=WITHDRAWN),
    Row("withdrawn, and the built-in version is below the floor", [], "floor", "", memory=running("1.4.2", floor="1.0.1"), manifest=WITHDRAWN),
    Row("withdrawn, and the built-in version too", [], "builtin", "", memory=ON_142, manifest={"withdrawn": (V("1.0.0"), V("1.4.2"))}),
    Row("withdrawn, and the built-in version is unreadable", [], "reset", "", memory=ON_142, manifest=WITHDRAWN, device=PHONE | {"builtin": "x"}),
    Row("withdrawn, and an unreadable built-in version is below any floor", [], "floor", "", memory=running("1.4.2", floor="0.0.1"), manifest=WITHDRAWN, device=_without("builtin")),
    Row("only the built-in version is withdrawn: it stays", [], "no_offer", "", manifest={"withdrawn": (V("1.0.0"),)}),
    Row("withdrawn, and outside every offer", [SIM.offer("1.5.0", audience=ANDROID)], "reset", "platform", memory=ON_142, manifest=WITHDRAWN),
    Row("withdrawn, and a newer release mends it", ["1.4.3"], "install 1.4.3", "admitted", memory=ON_142, manifest=WITHDRAWN),
    Row("lower, at the first check after changing channel", ["1.3.0"], "install 1.3.0", "admitted", memory=ON_142 | {"moved": True}),
    Row("after changing channel, the floor still binds", ["1.3.0"], "floor", "admitted", memory=running("1.4.2", floor="1.4.0", moved=True)),
    Row("after changing channel, no offer is no reason to reset", [], "no_offer", "", memory=ON_142 | {"moved": True}),
]
AUDIENCES = [
    Row("the release is for another platform", [_to("1.4.2", audience=ANDROID)], "no_offer", "platform"),
    Row("the release is for this platform", [_to("1.4.2", audience=IOS)], "install 1.4.2", "admitted"),
    Row("the offer narrows to another platform", [SIM.offer("1.4.2", audience=ANDROID)], "no_offer", "platform"),
    Row("an offer cannot widen its release", [SIM.offer(SIM.release("1.4.2", audience=ANDROID), audience=IOS)], "no_offer", "platform"),
    Row("no platform, and one is named", [_to("1.4.2", audience=IOS)], "no_offer", "platform", device=_without("platform")),
    Row("no platform, and none is named", ["1.4.2"], "install 1.4.2", "admitted", device=_without("platform")),
    Row("no platform, and a range names one", [_to("1.4.2", audience=_native("android:>=3"))], "no_offer", "platform", device=_without("platform")),
    Row("inside the native range", [_to("1.4.2", audience=_native(">=3 <4"))], "install 1.4.2", "admitted"),
    Row("above the native range", [_to("1.4.2", audience=_native(">=2 <3"))], "no_offer", "native"),
    Row("below the native range", [SIM.offer("1.4.2", audience=_native(">=3.2"))], "no_offer", "native"),
    Row("a range for another platform does not count", [_to("1.4.2", audience=_native("android:>=9"))], "install 1.4.2", "admitted"),
    Row("a range for this platform counts", [_to("1.4.2", audience=_native("android:>=3", "ios:>=9"))], "no_offer", "native"),
    Row("all ranges that apply must admit", [_to("1.4.2", audience=_native(">=3", "ios:<3.1"))], "no_offer", "native"),
    Row("no native version, and a range", [_to("1.4.2", audience=_native(">=0"))], "no_offer", "native", device=_without("native")),
    Row("an unreadable native version, and a range", [_to("1.4.2", audience=_native(">=0"))], "no_offer", "native", device=PHONE | {"native": "three"}),
    Row("an unreadable native version, and no range that applies", [_to("1.4.2", audience=_native("android:>=0"))], "install 1.4.2", "admitted", device=PHONE | {"native": ""}),
    Row("platform comes before native", [_to("1.4.2", audience=Audience(("android",), _native(">=9").native))], "no_offer", "platform"),
    Row("a channel that the release allows", [_to("1.4.2", channels=("beta", CHANNEL))], "install 1.4.2", "admitted"),
    Row("a channel that the release does not allow", [_to("1.4.2", channels=("beta",))], "no_offer", "channel"),
    Row("channel comes before withdrawn", [_to("1.4.2", channels=("beta",))], "no_offer", "channel", manifest=WITHDRAWN),
    Row("a release that does not verify is skipped", [UNSIGNED, "1.4.2"], "install 1.4.2", "untrusted admitted"),
    Row("behind the winner, untrusted is still said", ["1.4.2", UNSIGNED, "1.3.0"], "install 1.4.2", "admitted untrusted not_reached"),
    Row("only a release that does not verify", [UNSIGNED], "no_offer", "untrusted"),
]
FAILURES = [
    Row("failed here: the next offer", ["1.4.2", "1.3.0"], "install 1.3.0", "failed admitted", memory=FAILED),
    Row("failed here, nothing else", ["1.4.2"], "no_offer", "failed", memory=FAILED),
    Row("failed by tree, whatever the version", [_to("1.4.3", tree=SIM.release_value("1.4.2").tree)], "no_offer", "failed", memory=FAILED),
    Row("failed, then built anew with the same version", [_to("1.4.2", tree=SIM.release_value("1.4.3").tree)], "install 1.4.2", "admitted", memory=FAILED),
    Row("no loop between roll-back and failure", ["1.4.2", "1.3.0"], "reset", "withdrawn failed", memory=running("1.4.2", failed=[tree_digest("1.3.0")]), manifest=WITHDRAWN),
    Row("failed comes before rollout", [_share("1.4.2", 0)], "no_offer", "failed", memory=FAILED),
    Row("failed comes after platform", [SIM.offer("1.4.2", audience=ANDROID)], "no_offer", "platform", memory=FAILED),
]
# `device-1` stands at 6339 of 10,000 under the salt `1.4.2`, and at 8346 under `again`.
ROLLOUTS = [
    Row("share 0", [_share("1.4.2", 0)], "no_offer", "rollout"),
    Row("share at its position", [_share("1.4.2", 6339)], "no_offer", "rollout"),
    Row("share just above its position", [_share("1.4.2", 6340)], "install 1.4.2", "admitted"),
    Row("outside: the previous release", [_share("1.4.2", 100), "1.3.0"], "install 1.3.0", "rollout admitted"),
    Row("share lowered: who has it keeps it", [_share("1.4.2", 100), "1.3.0"], "lower", "rollout admitted", memory=ON_142),
    Row("another salt, just outside", [_share("1.4.2", 8346, salt="again")], "no_offer", "rollout"),
    Row("another salt, just inside", [_share("1.4.2", 8347, salt="again")], "install 1.4.2", "admitted"),
    Row("no id at full share", [_share("1.4.2", 10_000)], "install 1.4.2", "admitted", device=_without("id")),
    Row("no id below full share", [_share("1.4.2", 9_999)], "no_offer", "rollout", device=_without("id")),
    Row("an id that is empty is an id", [_share("1.4.2", 9_999)], "install 1.4.2", "admitted", device=PHONE | {"id": ""}),
    Row("an id with a lone surrogate is none", [_share("1.4.2", 9_999)], "no_offer", "rollout", device=PHONE | {"id": "a\ud800"}),
    Row("an id with a lone surrogate at full share", ["1.4.2"], "install 1.4.2", "admitted", device=PHONE | {"id": "\udfff"}),
    Row("a ramp not far enough", [_share("1.4.2", 10_000, ramp=WEEK)], "no_offer", "rollout"),
    Row("a ramp far enough", [_share("1.4.2", 10_000, ramp=WEEK)], "install 1.4.2", "admitted", now=EPOCH + timedelta(days=6)),
    Row("a ramp with the clock set back goes by the newest manifest", [_share("1.4.2", 10_000, ramp=WEEK)], "install 1.4.2", "admitted", now=EPOCH, issued=EPOCH + timedelta(days=6)),
    Row("a ramp that is over, without an id", [_share("1.4.2", 10_000, ramp=WEEK)], "install 1.4.2", "admitted", device=_without("id"), now=WEEK.end),
    Row("a ramp in its last second, without an id", [_share("1.4.2", 10_000, ramp=WEEK)], "no_offer", "rollout", device=_without("id"), now=WEEK.end - timedelta(seconds=1)),
]
PATCHED = SIM.offer("1.4.2", patches=(patch("1.3.0", "1.4.2"), patch("1.2.0", "1.4.2")))
PATCHES = [
    Row("a patch from what runs", [PATCHED], "install 1.4.2", "admitted", memory=running("1.2.0"), patch="1.2.0"),
    Row("no patch from what runs", [PATCHED], "install 1.4.2", "admitted", memory=running("1.1.0")),
    Row("no patch from the built-in app", [PATCHED], "install 1.4.2", "admitted", device=PHONE | {"builtin": "1.2.0"}),
]
# fmt: on


def decide_family() -> Family:
    """What a device does."""
    family = Family("decide", "One manifest, one device and its memory: what to do, and why.")
    root = family.document("root", SIM.root())
    for row in (*MOVES, *ROLLBACKS, *AUDIENCES, *FAILURES, *ROLLOUTS, *PATCHES):
        data = SIM.manifest(*row.offers, sequence=7, **row.manifest)
        given: dict[str, Any] = {
            "root": root,
            "manifest": family.document(row.name, data),
            "channel": CHANNEL,
            "now": format_time(row.now),
            "device": dict(row.device),
            "memory": dict(row.memory),
        }
        if row.issued:
            seen = {"sequence": 6, "digest": "0" * 64, "issued": format_time(row.issued)}
            given["seen"] = seen
        family.ok(row.name, "decide", _wanted(row), **given)
    return family


def _wanted(row: Row) -> dict[str, Any]:
    offers = SIM.manifest_value(*row.offers).offers
    verdicts = [
        {
            "version": None if reason == "untrusted" else offer.release.signed["version"],
            "reason": reason,
        }
        for offer, reason in zip(offers, row.reasons.split(), strict=bool(row.reasons))
    ]
    kind, _, version = row.want.partition(" ")
    if kind == "install":
        blob = patch(row.patch, version).payload.blob if row.patch else None
        decision = {
            "decision": kind,
            "version": version,
            "patch": blob,
            "mandatory": row.mandatory,
        }
    elif kind == "reset":
        decision = {"decision": "reset"}
    else:
        decision = {"decision": "nothing", "reason": kind}
    return {**decision, "verdicts": verdicts}


def families() -> Iterator[Family]:
    """Give every family of this file."""
    yield decide_family()
