"""`channel …`, `refresh` and `prune`: what devices are offered, without a new release."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from manifestgen.cli.report import (
    ChannelName,
    Output,
    Session,
    Site,
    command,
    known_channels,
    known_versions,
    one_line,
    plural,
    table,
)
from manifestgen.cli.undo import undone
from manifestgen.config import check_channel, parse_duration
from manifestgen.errors import Error, StoreError, UsageError

if TYPE_CHECKING:
    from manifestgen.config import Settings
    from manifestgen.core.manifest import Manifest, Rollout
    from manifestgen.core.version import Version
    from manifestgen.publish.channels import Desk
    from manifestgen.publish.commit import Committed
    from manifestgen.publish.site import Head

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Change nothing; show how the manifest would differ.")
]
Given = Annotated[
    str, typer.Argument(metavar="V", help="A version of this site.", autocompletion=known_versions)
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(help="Show and change what channels offer.", no_args_is_help=True)
    command(group, "list")(_list)
    command(group, "show")(_show)
    command(group, "pause")(_pause)
    command(group, "resume")(_resume)
    command(group, "rollout")(_rollout)
    command(group, "withdraw")(_withdraw)
    command(group, "rollback")(_rollback)
    command(group, "promote")(_promote)
    app.add_typer(group, name="channel")
    command(app, "refresh")(_refresh)
    command(app, "prune")(_prune)


def _list(session: Session, *, site: Site = None) -> Output:
    """List the channels and what each offers.

    Examples:
        manifestgen channel list
        manifestgen channel list --site s3://updates/app --json
    """
    desk = _desk(session, session.settings(site=site), dry_run=True)
    found = [_described(desk, name) for name in desk.site.channels()]
    rows = [["channel", "manifest", "offers", "expires"]]
    for one in found:
        offers = ", ".join(f"{offer['version']} {offer['share']:g}%" for offer in one["offers"])
        state = (offers or "nothing") + (" (paused)" if one["paused"] else "")
        rows.append([one["channel"], str(one["sequence"]), state, one["expires"]])
    return Output({"channels": found}, table(rows) if found else "nothing is published yet")


def _show(session: Session, *, site: Site = None, channel: ChannelName = None) -> Output:
    """Show one channel in full.

    Examples:
        manifestgen channel show
        manifestgen channel show --channel beta
    """
    settings = session.settings(site=site, channel=channel)
    desk = _desk(session, settings, dry_run=True)
    one = _described(desk, settings.channel)
    _warn_stale(session, desk, settings.channel)
    lines = [
        f"{one['channel']}: manifest {one['sequence']}, issued {one['issued']},"
        f" expires {one['expires']}" + (", paused" if one["paused"] else "")
    ]
    rows = [["version", "share", "for", "floor", "bytes", "notes"]]
    rows += [[one_line(str(offer[name])) for name in _COLUMNS] for offer in one["offers"]]
    lines.append(table(rows) if one["offers"] else "offers nothing")
    if one["withdrawn"]:
        lines.append(f"withdrawn: {', '.join(one['withdrawn'])}")
    return Output(one, "\n".join(lines))


_COLUMNS = ("version", "reach", "audience", "floor", "size", "notes")


def _pause(
    session: Session, *, dry_run: DryRun = False, site: Site = None, channel: ChannelName = None
) -> Output:
    """Make devices keep what they run until `channel resume`.

    Examples:
        manifestgen channel pause
        manifestgen channel pause --channel beta --dry-run
    """
    return _set_paused(session.settings(site=site, channel=channel), session, dry_run, paused=True)


def _resume(
    session: Session, *, dry_run: DryRun = False, site: Site = None, channel: ChannelName = None
) -> Output:
    """End a pause.

    Examples:
        manifestgen channel resume
        manifestgen channel resume --channel beta
    """
    return _set_paused(session.settings(site=site, channel=channel), session, dry_run, paused=False)


def _set_paused(settings: "Settings", session: Session, dry_run: bool, *, paused: bool) -> Output:
    from manifestgen.publish.channels import set_paused

    desk = _desk(session, settings, dry_run=dry_run)
    before = desk.head(settings.channel)
    done = set_paused(desk, settings.channel, paused=paused)
    will = "every device keeps what it runs"
    if not paused:
        will = f"devices take updates again: {_offered(done, desk.now)}"
    undo = [f"channel {'resume' if paused else 'pause'}{_where(settings)}"]
    return _changed(session, desk, before, done, will=will, undo=undo, dry_run=dry_run)


def _rollout(
    session: Session,
    share: Annotated[str, typer.Argument(metavar="SHARE", help="Share of devices: 25%.")],
    *,
    over: Annotated[
        str | None, typer.Option(metavar="TIME", help="Rise to it over a time: 3d, 12h.")
    ] = None,
    dry_run: DryRun = False,
    site: Site = None,
    channel: ChannelName = None,
) -> Output:
    """Set the share of devices that get the newest offer.

    Raising keeps the devices that were in; lowering moves nobody down.

    Examples:
        manifestgen channel rollout 25%
        manifestgen channel rollout 100% --over 3d
    """
    from manifestgen.publish import parse_share
    from manifestgen.publish.channels import roll_out

    settings = session.settings(site=site, channel=channel)
    points = parse_share(share)
    time = parse_duration(over) if over else None
    desk = _desk(session, settings, dry_run=dry_run)
    before = desk.head(settings.channel)
    done = roll_out(desk, settings.channel, points, time)
    will = f"devices get {_offered(done, desk.now)}"
    undo = undone(before, done.head, desk.now)
    return _changed(session, desk, before, done, will=will, undo=undo, dry_run=dry_run)


def _withdraw(
    session: Session,
    version: Given,
    *,
    undo: Annotated[
        bool, typer.Option("--undo", help="Call it withdrawn no more; `promote` offers it.")
    ] = False,
    dry_run: DryRun = False,
    site: Site = None,
    channel: ChannelName = None,
) -> Output:
    """Stop offering a version, and move devices off it.

    Examples:
        manifestgen channel withdraw 1.1.0
        manifestgen channel withdraw 1.1.0 --undo
    """
    from manifestgen.publish import parse_version
    from manifestgen.publish.channels import readmit, withdraw

    settings = session.settings(site=site, channel=channel)
    which = parse_version(version)
    desk = _desk(session, settings, dry_run=dry_run)
    before = desk.head(settings.channel)
    if undo:
        done = readmit(desk, settings.channel, which)
        will = f"devices on {which} may stay on it; it is not offered"
        back = [f"channel withdraw {which}{_where(settings)}"]
        return _changed(session, desk, before, done, will=will, undo=back, dry_run=dry_run)
    done = withdraw(desk, settings.channel, which)
    will = (
        f"devices on {which} move to {_offered(done, desk.now)}; nobody gets {which} any more"
        if done.head.manifest.offers
        else f"devices on {which} go back to the app as built; nothing is offered"
        " (`channel rollback` offers the release before)"
    )
    back = undone(before, done.head, desk.now) or [
        f"channel withdraw {which} --undo{_where(settings)}"
    ]
    return _changed(session, desk, before, done, will=will, undo=back, dry_run=dry_run)


def _rollback(
    session: Session,
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="[V]",
            help="To this version; the previous if left out.",
            autocompletion=known_versions,
        ),
    ] = None,
    *,
    dry_run: DryRun = False,
    site: Site = None,
    channel: ChannelName = None,
) -> Output:
    """Offer an older release to everyone, and withdraw the newer.

    The manifest is a newer one, as always.

    Examples:
        manifestgen channel rollback
        manifestgen channel rollback 1.0.0 --dry-run
    """
    from manifestgen.publish import parse_version
    from manifestgen.publish.channels import roll_back
    from manifestgen.publish.offers import versions

    settings = session.settings(site=site, channel=channel)
    target = parse_version(version) if version is not None else None
    desk = _desk(session, settings, dry_run=dry_run)
    shown = desk.site.shown(settings.channel)  # before `head` finishes what a killed command left
    before = desk.head(settings.channel)
    done = roll_back(desk, settings.channel, target, shown=shown)
    gone = [one for one in versions(before) if one in done.head.manifest.withdrawn]
    off = f"; those on {_listed(gone)} go back" if gone else ""
    will = f"every device gets {_offered(done, desk.now)}{off}"
    undo = undone(before, done.head, desk.now)
    return _changed(session, desk, before, done, will=will, undo=undo, dry_run=dry_run)


def _promote(
    session: Session,
    version: Given,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="C", help="The channel to offer it on.", autocompletion=known_channels
        ),
    ],
    rollout: Annotated[str, typer.Option(metavar="SHARE", help="Share of devices: 10%.")] = "100%",
    dry_run: DryRun = False,
    site: Site = None,
) -> Output:
    """Offer a release of this site on a channel.

    Nothing is packed or signed as a release again.

    Examples:
        manifestgen channel promote 1.1.0 --to production --rollout 10%
        manifestgen channel promote 1.1.0 --to beta
    """
    from manifestgen.core.manifest import Rollout
    from manifestgen.publish import parse_share, parse_version
    from manifestgen.publish.channels import promote

    settings = session.settings(site=site)
    channel = check_channel(to, "--to")
    which, share = parse_version(version), parse_share(rollout)
    desk = _desk(session, settings, dry_run=dry_run)
    before = desk.site.head(channel)
    done = promote(desk, channel, which, Rollout(share))
    will = f"devices get {_offered(done, desk.now)}"
    undo = undone(before, done.head, desk.now)
    return _changed(session, desk, before, done, will=will, undo=undo, dry_run=dry_run)


def _refresh(
    session: Session,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Sign nothing; exit 1 when half the life is gone.")
    ] = False,
    site: Site = None,
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            help="Only this channel, not all of them.",
            autocompletion=known_channels,
        ),
    ] = None,
) -> Output:
    """Sign the same offers with new times, for cron or CI.

    Of every channel, or of one.

    Examples:
        manifestgen refresh --channel production
        manifestgen refresh --check
    """
    from manifestgen.publish.channels import refresh

    settings = session.settings(site=site, channel=channel)
    desk = _desk(session, settings, dry_run=check)
    names = [settings.channel] if channel else desk.site.channels()
    if not names:
        raise UsageError("nothing is published yet", hint="run `manifestgen publish DIR`")
    if check:
        stale = [name for name in names if _is_stale(desk, name)]
        text = "\n".join(f"{name} has less than half of its life left" for name in stale)
        return Output({"stale": stale}, text or "every channel is fresh", int(bool(stale)))
    rows, data, failed = [["channel", "manifest", "expires"]], list[dict[str, object]](), []
    for name in names:
        try:
            manifest = refresh(desk, name).head.manifest
        except StoreError:
            raise
        except Error as error:  # a key that is elsewhere: the other channels must not expire for it
            failed.append(error)
            continue
        rows.append([name, str(manifest.sequence), _time(manifest.expires)])
        data.append({"channel": name, "sequence": manifest.sequence, "expires": rows[-1][2]})
    _warn_root(session, desk)
    if failed:
        session.say(*(f"{name}: signed anew, until {until}" for name, _, until in rows[1:]))
        session.say(*(f"error: {one}" for one in failed[1:]))
        raise failed[0]
    return Output({"channels": data}, table(rows))


def _prune(
    session: Session,
    *,
    keep: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Releases each channel keeps.")
    ] = None,
    grace: Annotated[
        int, typer.Option(metavar="DAYS", min=0, help="Days before anything new is deleted.")
    ] = 14,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Delete nothing; say how much would go.")
    ] = False,
    site: Site = None,
) -> Output:
    """Delete blobs that no live or recent manifest refers to.

    Examples:
        manifestgen prune --keep 5 --dry-run
        manifestgen prune --grace 30
    """
    from manifestgen.publish.prune import prune

    settings = session.settings(site=site)
    desk = _desk(session, settings, dry_run=dry_run)
    done = prune(
        desk.site,
        keep=keep or settings.keep,
        grace=timedelta(days=grace),
        now=desk.now,
        dry_run=dry_run,
    )
    verb = "would delete" if dry_run else "deleted"
    text = (
        f"{verb} {plural(len(done.deleted), 'blob')}, {plural(done.deleted_bytes, 'byte')};"
        f" {plural(done.kept, 'blob')}, {plural(done.kept_bytes, 'byte')} stay"
    )
    data = {
        "deleted": list(done.deleted),
        "bytes": done.deleted_bytes,
        "kept": done.kept,
        "kept_bytes": done.kept_bytes,
        "dry_run": dry_run,
    }
    return Output(data, text)


def _desk(session: Session, settings: "Settings", *, dry_run: bool = False) -> "Desk":
    from manifestgen.publish import open_site
    from manifestgen.publish.channels import Desk

    store = open_site(settings, dry_run=dry_run)
    return Desk.open(settings, store, ask=session.ask, now=session.now(), dry_run=dry_run)


def _changed(
    session: Session,
    desk: "Desk",
    before: "Head | None",
    done: "Committed",
    *,
    will: str,
    undo: list[str],
    dry_run: bool,
) -> Output:
    """Say what devices will do from now on, and how to undo it."""
    manifest = done.head.manifest
    back = " && ".join(session.again(f"manifestgen {step}") for step in undo)
    data = {
        "channel": manifest.channel,
        "sequence": manifest.sequence,
        "changed": done.changed,
        "devices": will,
        "undo": back if done.changed else None,
        "dry_run": dry_run,
    }
    if not done.changed:
        return Output(data, f"{manifest.channel} is so already, manifest {manifest.sequence}")
    if manifest.paused and before and before.manifest.paused:
        will = f"nothing while it is paused; after `channel resume` {will}"
    lines = [f"{manifest.channel}, manifest {manifest.sequence}: {will}"]
    if desk.settings.base_url:
        lines.append("  stock Capgo plugins get what is offered to every device, see capgo.json")
    if dry_run:
        lines += ["  nothing was changed; the manifest would differ so:"]
        lines += _difference(before.manifest if before else None, manifest)
    else:
        lines.append(f"  undo: {back}")
    return Output(data, "\n".join(lines))


def _difference(before: "Manifest | None", after: "Manifest") -> list[str]:
    import difflib
    import json

    old = json.dumps(_brief(before), indent=1, sort_keys=True) if before else ""
    new = json.dumps(_brief(after), indent=1, sort_keys=True)
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "before", "after", "", "", 1)
    return [f"  {line}".rstrip() for line in lines]


def _brief(manifest: "Manifest") -> dict[str, object]:
    """Return a manifest with each release shortened to its version."""
    value: dict[str, object] = dict(manifest.to_json())
    value["offers"] = [
        {**offer.to_json(), "release": offer.release.signed.get("version")}
        for offer in manifest.offers
    ]
    return value


def _described(desk: "Desk", channel: str) -> dict:  # type: ignore[type-arg]
    from manifestgen.publish.offers import pairs

    head = desk.head(channel)
    manifest = head.manifest
    offers = []
    for offer, release in pairs(head):
        limits = [*release.audience.described(), *offer.audience.described()]
        offers.append(
            {
                "version": str(release.version),
                "share": offer.rollout.share_at(desk.now) / 100,
                "reach": _reach(offer.rollout, desk.now),
                "audience": ", ".join(limits) or "every device",
                "mandatory": offer.mandatory,
                "floor": str(release.floor or "-"),
                "size": release.bundle.size,
                "patches": len(offer.patches),
                "notes": release.notes,
            }
        )
    return {
        "channel": channel,
        "sequence": manifest.sequence,
        "issued": _time(manifest.issued),
        "expires": _time(manifest.expires),
        "root": manifest.root,
        "paused": manifest.paused,
        "offers": offers,
        "withdrawn": [str(version) for version in manifest.withdrawn],
    }


def _offered(done: "Committed", now: datetime) -> str:
    from manifestgen.publish.offers import pairs

    parts = []
    for offer, release in pairs(done.head):
        reach = _reach(offer.rollout, now)
        parts.append(str(release.version) + ("" if reach == "100%" else f" ({reach})"))
    return ", else ".join(parts) or "nothing"


def _reach(rollout: "Rollout", now: datetime) -> str:
    """Spell a share: `10%`, or `10% → 100% by 2026-11-24T12:00:00Z` while it rises."""
    share = f"{rollout.share_at(now) / 100:g}%"
    if rollout.ramp is None or now >= rollout.ramp.end:
        return share
    return f"{share} → {rollout.share / 100:g}% by {_time(rollout.ramp.end)}"


def _listed(versions: "Sequence[Version]") -> str:
    return ", ".join(map(str, versions))


def _is_stale(desk: "Desk", channel: str) -> bool:
    manifest = desk.head(channel).manifest
    return desk.now > manifest.issued + (manifest.expires - manifest.issued) / 2


def _warn_stale(session: Session, desk: "Desk", channel: str) -> None:
    if _is_stale(desk, channel):
        session.say(
            f"warning: more than half the life of the {channel} manifest is gone",
            f"hint: run `{session.again('manifestgen refresh')}` from a scheduled job",
        )


def _warn_root(session: Session, desk: "Desk") -> None:
    root = desk.site.chain.keyring.root
    if root.issued + (root.expires - root.issued) / 2 < desk.now <= root.expires:
        session.say(
            f"warning: root {root.number} expires on {root.expires:%Y-%m-%d}, and devices then"
            " take nothing new",
            f"hint: run `{session.again('manifestgen keys renew')}` where the root key is",
        )


def _where(settings: "Settings") -> str:
    return f" --channel {settings.channel}"


def _time(moment: datetime) -> str:
    from manifestgen.core.reader import format_time

    return format_time(moment)
