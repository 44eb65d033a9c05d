"""`explain`: what a device would do, and why."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from manifestgen.cli.report import ChannelName, Output, Session, Site, command, table
from manifestgen.core.reader import format_time, parse_time
from manifestgen.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from manifestgen.core.keyring import TrustedManifest
    from manifestgen.core.select import Decision, Device, Memory

_FIELDS = {"id", "platform", "native", "builtin", "version", "tree", "floor", "failed", "moved"}
_REASONS = {
    "admitted": "admits it",
    "not_reached": "not tried: one above admits it",
    "untrusted": "its release does not verify",
    "channel": "its release may not be offered on this channel",
    "withdrawn": "withdrawn",
    "platform": "for other platforms",
    "native": "for other native versions",
    "failed": "failed on this device before",
    "rollout": "outside its share",
    "current": "it runs what it is offered",
    "lower": "it runs something newer, which is not withdrawn",
    "floor": "below what the device may be moved to",
    "paused": "the channel is paused",
    "no_offer": "no offer admits it",
    "builtin": "the app as built is withdrawn too",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    command(app, "explain")(_explain)


def _explain(
    session: Session,
    *,
    device: Annotated[
        str, typer.Option(metavar="JSON", help='Such as {"id":"a1","platform":"ios","native":"3"}.')
    ] = "{}",
    sample: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1_000_000, help="Try N new device ids.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="At a time: 2026-11-21T18:00:00Z.")
    ] = None,
    site: Site = None,
    channel: ChannelName = None,
) -> Output:
    """Say what a device does about a manifest, and why.

    There is a reason for every offer.

    Examples:
        manifestgen explain --device '{"id":"a1","platform":"ios","native":"3.1"}'
        manifestgen explain --sample 10000 --channel beta
    """
    from manifestgen.core.select import decide
    from manifestgen.publish import open_site
    from manifestgen.publish.channels import Desk
    from manifestgen.publish.explain import sample as take_sample

    settings = session.settings(site=site, channel=channel)
    now = _time(at) if at else session.now()
    one, memory = _device(device, settings.channel)
    desk = Desk.open(
        settings, open_site(settings, dry_run=True), ask=session.ask, now=now, dry_run=True
    )
    trusted = desk.head(settings.channel).trusted
    if sample is None:
        return _decision(trusted, decide(trusted, one, memory, now))
    if trusted.manifest.paused:
        session.say(f"note: {settings.channel} is paused, so nobody takes anything", "")
    result = take_sample(trusted, sample, now, one)
    shares = [(str(version), count, count / sample) for version, count in result.versions]
    rows = [["version", "devices", "share"]]
    rows += [[version, f"{count:,}", f"{share:.2%}"] for version, count, share in shares]
    rows.append(["none", f"{result.none:,}", f"{result.none / sample:.2%}"])
    offers = [{"version": v, "share": share, "devices": count} for v, count, share in shares]
    return Output({"offers": offers, "none": result.none}, table(rows))


def _decision(trusted: "TrustedManifest", decision: "Decision") -> Output:
    from manifestgen.core.select import Install, Nothing

    rows = [["offer", "verdict", "because"]]
    verdicts = []
    for verdict in decision.verdicts:
        version = str(verdict.version or "-")
        taken = "yes" if verdict.reason == "admitted" else "no"
        rows.append([version, taken, _REASONS[verdict.reason]])
        verdicts.append({"version": version, "reason": verdict.reason})
    if isinstance(decision, Install):
        version = str(decision.release.version)
        action, text = "install", f"installs {version}" + _now(mandatory=decision.mandatory)
        data: dict[str, object] = {"version": version, "mandatory": decision.mandatory}
    elif isinstance(decision, Nothing):
        action, text = "nothing", f"keeps what it runs: {_REASONS[decision.reason]}"
        data = {"reason": decision.reason}
    else:
        action, data = "reset", {}
        text = "goes back to the app as built: what it runs is withdrawn"
    full = {"action": action, **data, "offers": verdicts, "sequence": trusted.manifest.sequence}
    reasons = f"{table(rows)}\n" if verdicts else ""
    return Output(full, f"{reasons}the device {text}")


def _now(*, mandatory: bool) -> str:
    return ", at once (mandatory)" if mandatory else ""


_EXAMPLE = """write it as '{"id":"a1","platform":"ios","native":"3.1","version":"1.0.0"}'"""


def _device(text: str, channel: str) -> "tuple[Device, Memory]":
    try:
        value = json.loads(text)
        text.encode()
    except ValueError:
        value = None
    if not isinstance(value, dict) or not set(value) <= _FIELDS:
        raise UsageError(
            "--device: want a JSON object with any of " + ", ".join(sorted(_FIELDS)),
            hint=_EXAMPLE,
        )
    try:
        return _facts(value, channel)
    except (VerificationError, TypeError, AttributeError) as error:
        raise UsageError(f"--device: {error}", hint=_EXAMPLE) from None


def _facts(value: Mapping[str, object], channel: str) -> "tuple[Device, Memory]":
    from manifestgen.core.select import Device, Memory, Running
    from manifestgen.core.tree import Digest
    from manifestgen.core.version import Version

    texts = {name: value.get(name) for name in _FIELDS - {"failed", "moved"}}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name}: want a string")
    known = {name: str(text) for name, text in texts.items() if text is not None}
    running = None
    if "version" in known:
        running = Running(Version.parse(known["version"]), Digest(known.get("tree", "")))
    failed = value.get("failed", [])
    if not isinstance(failed, list):
        raise TypeError("failed: want a list of trees")
    floor = Version.parse(known["floor"]) if "floor" in known else None
    facts = {name: known.get(name) for name in ("id", "platform", "native", "builtin")}
    memory = Memory(running, floor, frozenset(map(Digest, failed)), value.get("moved") is True)
    return Device(channel, **facts), memory


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        example = format_time(parse_time("2026-11-21T18:00:00Z"))
        raise UsageError(f"--at: {text!r} is no time", hint=f"write it as {example}") from None
