"""`device`: the Python client, for kiosks and Linux devices."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from manifestgen.cli.anchor import read_key, read_root
from manifestgen.cli.report import Output, Session, command

if TYPE_CHECKING:
    from datetime import datetime

    from manifestgen.core.select import Running, Verdict
    from manifestgen.device import Outcome, Status, Updater

_SiteName: TypeAlias = Annotated[str, typer.Option("--site", metavar="DIR|URL", help="The site.")]
_Root: TypeAlias = Annotated[
    Path, typer.Option("--root", metavar="FILE", help="The root the app was built with.")
]
_State: TypeAlias = Annotated[
    Path, typer.Option("--state", metavar="DIR", help="Where the device keeps what it has.")
]
_Channel: TypeAlias = Annotated[
    str | None,
    typer.Option("--channel", metavar="C", help="By default the one followed so far."),
]
_Id: TypeAlias = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="Its id, for staged rollouts.")
]
_Platform: TypeAlias = Annotated[
    str | None, typer.Option("--platform", metavar="P", help="Its platform, such as linux.")
]
_Native: TypeAlias = Annotated[
    str | None, typer.Option("--native", metavar="V", help="The version of the native app.")
]
_Builtin: TypeAlias = Annotated[
    str | None, typer.Option("--builtin", metavar="V", help="The version built into the app.")
]
_Key: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="The app's public Capgo key; by default capgo.pub.pem."
    ),
]
_Unused: TypeAlias = Annotated[str | None, typer.Option(hidden=True)]

_KEY_NAME = "capgo.pub.pem"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(
        help="Install releases on this machine: a kiosk, a Linux device.",
        no_args_is_help=True,
    )
    command(group, "check")(_check)
    command(group, "install")(_install)
    command(group, "confirm")(_confirm)
    command(group, "status")(_status)
    app.add_typer(group, name="device", rich_help_panel=None)


def _check(
    _session: Session,
    *,
    site: _SiteName,
    root: _Root,
    state: _State,
    channel: _Channel = None,
    id_: _Id = None,
    platform: _Platform = None,
    native: _Native = None,
    builtin: _Builtin = None,
    key: _Key = None,
) -> Output:
    """Say what `install` would do. Only roots and the manifest are remembered.

    Examples:
        manifestgen device check --site https://cdn.example/app --root 1.json --state kiosk
        manifestgen device check --site site --root 1.json --state kiosk --id lobby-1
    """
    facts = (id_, platform, native, builtin)
    updater = _updater(site, root, state, channel=channel, key=key, facts=facts)
    return _outcome(updater.check(), state)


def _install(
    _session: Session,
    *,
    site: _SiteName,
    root: _Root,
    state: _State,
    channel: _Channel = None,
    id_: _Id = None,
    platform: _Platform = None,
    native: _Native = None,
    builtin: _Builtin = None,
    key: _Key = None,
) -> Output:
    """Install what the site offers.

    Run it at each start, before the app.

    A release that was not confirmed since it was installed has failed: the one before it is back,
    and it is not tried again. Serve the app from the folder `current` in the state folder.

    Examples:
        manifestgen device install --site https://cdn.example/app --root 1.json --state kiosk
        manifestgen device install --site /mnt/site --root 1.json --state kiosk --channel beta
    """
    facts = (id_, platform, native, builtin)
    updater = _updater(site, root, state, channel=channel, key=key, facts=facts)
    return _outcome(updater.install(), state)


def _confirm(
    _session: Session,
    *,
    state: _State,
    root: Annotated[Path | None, typer.Option(hidden=True)] = None,
    site: _Unused = None,
    channel: _Unused = None,
    id_: Annotated[str | None, typer.Option("--id", hidden=True)] = None,
    platform: _Unused = None,
    native: _Unused = None,
    builtin: _Unused = None,
    key: _Unused = None,
) -> Output:
    """Say that the release that runs works.

    Without this the next `install` leaves it.

    Examples:
        manifestgen device confirm --state kiosk
        manifestgen device confirm --state kiosk --json
    """
    from manifestgen import device

    return _known(device.confirm(state, root=read_root(root) if root else None))


def _status(
    _session: Session,
    *,
    state: _State,
    root: Annotated[Path | None, typer.Option(hidden=True)] = None,
    site: _Unused = None,
    channel: _Channel = None,
    id_: Annotated[str | None, typer.Option("--id", hidden=True)] = None,
    platform: _Unused = None,
    native: _Unused = None,
    builtin: _Unused = None,
    key: _Unused = None,
) -> Output:
    """Say what runs, what failed, and how fresh it all is.

    Examples:
        manifestgen device status --state kiosk
        manifestgen device status --state kiosk --json
    """
    from manifestgen import device

    given = read_root(root) if root else None
    return _known(device.status(state, root=given, channel=channel))


def _updater(
    site: str,
    root: Path,
    state: Path,
    *,
    channel: str | None,
    key: Path | None,
    facts: tuple[str | None, str | None, str | None, str | None],
) -> "Updater":
    from manifestgen.device import Facts, Updater
    from manifestgen.stores import open_store

    return Updater(
        open_store(site),
        read_root(root),
        state,
        channel=channel,
        facts=Facts(*facts),
        key=read_key(key) if key else _key_near(root),
    )


def _key_near(root: Path) -> bytes | None:
    """Find the key where a project has it, above its folder of roots, or beside the root."""
    folder = root.absolute().parent
    for place in (folder / _KEY_NAME, folder.parent / _KEY_NAME):
        if place.is_file():
            return read_key(place)
    return None


def _outcome(done: "Outcome", state: Path) -> Output:
    data = {
        "action": done.action.value,
        "from": _version(done.before),
        "to": _version(done.after),
        "via": done.via,
        "bytes": done.bytes,
        "path": str(done.path) if done.path else None,
        "reason": done.reason,
        "reasons": [_verdict(one) for one in done.reasons],
        "mandatory": done.mandatory,
        "notes": done.notes,
        "rolled_back": _version(done.rolled_back),
    }
    return Output(data, "\n".join(_lines(done, state)))


def _lines(done: "Outcome", state: Path) -> Sequence[str]:
    lines = []
    if done.rolled_back:
        lines.append(f"{done.rolled_back.version} was not confirmed and is left for good")
    came = "still here" if done.via == "kept" else f"{done.via}, {done.bytes:,} bytes"
    match done.action.value:
        case "install":
            lines.append(f"would install {_name(done.after)} ({came})")
        case "installed":
            lines.append(f"installed {_name(done.after)} ({came})")
            here = shlex.quote(str(state))
            lines.append(f"  confirm it once it works: manifestgen device confirm --state {here}")
        case "reset":
            lines.append("the built-in app is to run: what ran was withdrawn")
        case _:
            lines.append(f"nothing to do: {_name(done.after)} runs ({done.reason})")
    if done.action.value in {"none", "reset"}:
        lines += [f"  {one.version or 'an offer'}: {one.reason}" for one in done.reasons]
    return lines


def _known(found: "Status") -> Output:
    data = {
        "app": found.app,
        "channel": found.channel,
        "version": _version(found.running),
        "tree": found.running.tree if found.running else None,
        "path": str(found.path) if found.path else None,
        "confirmed": found.confirmed,
        "previous": _slot(found.previous),
        "failed": [_slot(one) for one in found.failed],
        "floor": str(found.floor) if found.floor else None,
        "sequence": found.sequence,
        "expires": _time(found.expires),
        "root": found.root,
        "root_expires": _time(found.root_expires),
        "checked": _time(found.checked),
    }
    rows = [
        f"{found.app or 'no app yet'}, channel {found.channel}",
        f"  running    {_name(found.running)}{'' if found.confirmed else ', not confirmed'}",
        f"  path       {found.path or 'none'}",
        f"  previous   {_name(found.previous)}",
        f"  failed     {', '.join(str(one.version) for one in found.failed) or 'none'}",
        f"  manifest   {found.sequence or 'none'}, expires {_time(found.expires) or 'never'}",
        f"  root       {found.root or 'none'}, expires {_time(found.root_expires) or 'never'}",
        f"  checked    {_time(found.checked) or 'never'}",
    ]
    return Output(data, "\n".join(rows))


def _verdict(one: "Verdict") -> dict[str, str | None]:
    return {"version": str(one.version) if one.version else None, "reason": one.reason}


def _slot(one: "Running | None") -> dict[str, str] | None:
    return {"version": str(one.version), "tree": one.tree} if one else None


def _version(one: "Running | None") -> str | None:
    return str(one.version) if one else None


def _name(one: "Running | None") -> str:
    return str(one.version) if one else "the built-in app"


def _time(moment: "datetime | None") -> str | None:
    from manifestgen.core.reader import format_time

    return format_time(moment) if moment else None
