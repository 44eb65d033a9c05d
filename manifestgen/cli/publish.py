"""`publish`: from a build folder to the manifest devices see."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifestgen.cli import again
from manifestgen.cli.project import made_lines
from manifestgen.cli.report import (
    ChannelName,
    Output,
    Session,
    Site,
    command,
    known_versions,
    reason,
)
from manifestgen.core.release import Scheme
from manifestgen.errors import StoreError, UsageError

if TYPE_CHECKING:
    from manifestgen.bundle import Build
    from manifestgen.config import Settings
    from manifestgen.core.audience import Audience
    from manifestgen.core.manifest import Rollout
    from manifestgen.core.version import Version
    from manifestgen.publish import CapgoZip, Published, Request
    from manifestgen.publish.patches import Made

_TAKE_OUT = "take `base_url` out of manifestgen.toml"
_CAPGO_ZIP = "Instead of DIR: a zip that Capgo's CLI encrypted."


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    command(app, "publish")(_publish)


def _publish(
    session: Session,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The build: a folder with index.html.")
    ] = None,
    *,
    version: Annotated[
        str | None, typer.Option(metavar="V", help="Its version, if not in a package.json.")
    ] = None,
    rollout: Annotated[str, typer.Option(metavar="SHARE", help="Share of devices: 10%.")] = "100%",
    platform: Annotated[
        list[str] | None, typer.Option(metavar="P", help="Only this platform; may be repeated.")
    ] = None,
    native: Annotated[
        list[str] | None,
        typer.Option(metavar="RANGE", help="Only these native versions: 'ios:>=3 <4'."),
    ] = None,
    floor: Annotated[
        str | None,
        typer.Option(
            metavar="V", help="Lowest version devices may return to.", autocompletion=known_versions
        ),
    ] = None,
    mandatory: Annotated[bool, typer.Option("--mandatory", help="Apps should not wait.")] = False,
    notes: Annotated[
        str, typer.Option(metavar="TEXT|@FILE", help="Release notes, at most 512 bytes.")
    ] = "",
    patches: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=16, help="Patches from N earlier releases; 0: none."),
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(metavar="S", help="capgo, or none to leave bundles readable.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Where the site is served.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be written.")
    ] = False,
    capgo_zip: Annotated[
        Path | None, typer.Option("--capgo-zip", metavar="ZIP", help=_CAPGO_ZIP)
    ] = None,
    iv_session_key: Annotated[
        str | None, typer.Option("--iv-session-key", metavar="K", help="What the CLI printed.")
    ] = None,
    checksum: Annotated[
        str | None, typer.Option("--checksum", metavar="H", help="What the CLI printed.")
    ] = None,
    site: Site = None,
    channel: ChannelName = None,
) -> Output:
    """Pack, encrypt and sign a build, and offer it to devices.

    The first time, this makes manifestgen.toml and keys, and says what to back up.

    Examples:
        manifestgen publish dist/ --rollout 10%
        manifestgen publish dist/ --channel beta --native 'ios:>=3 <4'
    """
    from manifestgen.publish import Request, init, open_site, parse_share, parse_version, publish

    started = time.perf_counter()
    settings = session.settings(site=site, channel=channel, base_url=base_url)
    if scheme is not None:
        settings = replace(settings, scheme=_scheme(scheme))
    if patches is not None:
        settings = replace(settings, patches=patches)
    source = _source(settings, folder, capgo_zip, iv_session_key, checksum)
    request = Request(
        source=source,
        channel=settings.channel,
        version=parse_version(version) if version is not None else _version(folder),
        audience=_audience(platform, native),
        rollout=_rollout(parse_share(rollout)),
        mandatory=mandatory,
        floor=parse_version(floor) if floor is not None else None,
        notes=_notes(notes),
    )
    now = session.now()
    if dry_run and not (settings.root_folder / "1.json").exists():
        raise UsageError(
            "there is no project here yet, and a dry run makes none", hint="run `manifestgen init`"
        )
    made = init(settings, now=now, ask=session.ask, ci=session.ci)
    if made.files:
        session.say(f"set up {settings.app}", *made_lines(made.files, made.secrets), "")
        settings = replace(settings, exists=True)
    # A root made just now has signed nothing yet, so there is no live site to continue.
    live = replace(settings, base_url=None) if made.files else settings
    with session.progress("packing", _size(source)) as progress:
        store = open_site(live, dry_run=dry_run, progress=progress.sent if progress else None)
        with _hinting(live, "leave --base-url out" if base_url else _TAKE_OUT):
            done = publish(
                settings,
                request,
                store=store,
                ask=session.ask,
                now=now,
                progress=progress,
                dry_run=dry_run,
            )
    seconds = round(time.perf_counter() - started, 3)
    session.say(*(f"note: {note}" for note in done.patched.notes))
    if done.unlisted:
        session.say(f"note: capgo.json lists no single files: {done.unlisted}")
    if settings.base_url is None:
        session.say(
            "note: capgo.json was not written; stock Capgo plugins need `base_url` to be set", ""
        )
    text = again.completed(_text(done, settings, seconds, request, dry_run), session.used)
    return Output(_data(done, seconds), text)


@contextmanager
def _hinting(settings: "Settings", without: str) -> Iterator[None]:
    """Say what to do where nothing answers at `base_url` yet, as before a first publish."""
    try:
        yield
    except StoreError as error:
        live = settings.base_url and str(error).startswith(f"{settings.base_url}/")
        if not live or ": answered " in str(error):  # it runs, and is not well
            raise
        # Whoever publishes without looking there starts a second history.
        hint = (
            "publishing goes on from what is live there: once there is something, run this again"
            " when it answers; before the first publish, start the server, a 404 will do, or"
            f" {without} until it runs"
        )
        raise StoreError(str(error), hint=hint, code=error.code) from None


def _source(
    settings: "Settings",
    folder: Path | None,
    capgo_zip: Path | None,
    session_key: str | None,
    checksum: str | None,
) -> "Build | CapgoZip":
    from manifestgen.publish import CapgoZip, read_build

    if folder is not None and capgo_zip is None:
        return read_build(settings, folder)
    if capgo_zip is None or folder is not None:
        raise UsageError("publish what?", hint="name a build: `manifestgen publish dist/`")
    if session_key is None or checksum is None:
        raise UsageError(
            "--capgo-zip needs --iv-session-key and --checksum",
            hint="give what `bundle encrypt --json` printed as ivSessionKey and checksum",
        )
    if not capgo_zip.is_file():
        raise UsageError(f"{capgo_zip}: no such file", hint="name what `bundle encrypt` wrote")
    return CapgoZip(capgo_zip, session_key, checksum)


def _version(folder: Path | None) -> "Version":
    from manifestgen.publish import version_beside

    if folder is None:
        raise UsageError(
            "--capgo-zip needs --version", hint="give the one in the zip's package.json"
        )
    return version_beside(folder)


def _size(source: "Build | CapgoZip") -> int:
    files = getattr(source, "files", ())
    return sum(file.size for file in files)


def _audience(platforms: list[str] | None, native: list[str] | None) -> "Audience":
    from manifestgen.core.audience import PLATFORM, Audience, NativeRange
    from manifestgen.errors import FormatError

    for name in platforms or ():
        if not PLATFORM.fullmatch(name):
            raise UsageError(f"{name!r} is no platform", hint="write it as ios or android")
    try:
        ranges = tuple(NativeRange.parse(text) for text in native or ())
    except FormatError as error:
        raise UsageError(f"--native: {error}", hint="write it as 'ios:>=3 <4'") from None
    return Audience(tuple(platforms or ()), ranges)


def _rollout(share: int) -> "Rollout":
    from manifestgen.core.manifest import Rollout

    return Rollout(share)


def _scheme(text: str) -> Scheme:
    try:
        return Scheme(text)
    except ValueError:
        raise UsageError(f"--scheme: {text!r} is unknown", hint="use capgo or none") from None


def _notes(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--notes: cannot read {text[1:]}: {reason(error)}",
            hint="name a file in UTF-8 after the @, or write the notes themselves without one",
        ) from None


def _data(done: "Published", seconds: float) -> dict[str, object]:
    return {
        "app": done.app,
        "channel": done.channel,
        "version": str(done.version),
        "sequence": done.sequence,
        "tree": done.tree,
        "manifest": done.manifest,
        "release": done.release,
        "blobs": {
            "written": done.blobs_written,
            "reused": done.blobs_reused,
            "bytes": done.blob_bytes,
        },
        "patches": [_patch(one) for one in done.patched.patches],
        "changed": done.changed,
        "seconds": seconds,
        "notes": list(done.patched.notes),
        "files": {"listed": done.files_listed, "written": done.files_written},
    }


def _patch(made: "Made") -> dict[str, object]:
    payload = made.patch.payload
    fields: dict[str, object] = {
        "from": str(made.version),
        "bytes": payload.size,
        "blob": payload.blob,
    }
    return fields if made.seconds is None else {**fields, "seconds": made.seconds}


def _patches(done: "Published") -> list[str]:
    patches = [f"{one.patch.payload.size:,} from {one.version}" for one in done.patched.patches]
    return [f"  patches   {', '.join(patches)}"] if patches else []


def _files(done: "Published") -> list[str]:
    if not done.files_listed:
        return []
    return [f"  files     {done.files_listed:,} listed, {done.files_written:,} of them new"]


def _text(
    done: "Published", settings: "Settings", seconds: float, request: "Request", dry_run: bool
) -> str:
    what = f"{done.app} {done.version}"
    if not done.offered:
        return f"{what} is already published; {done.channel} has moved on to a newer version"
    if not done.changed:
        there = f"{what} is already published to {done.channel}, manifest {done.sequence}"
        if done.share == request.rollout.share:
            return there
        return (
            f"{there}, and reaches {done.share / 100:g}% of devices;"
            f" `manifestgen channel rollout {request.rollout.share / 100:g}%` changes that"
        )
    verb = "would publish" if dry_run else "published"
    sealed = "in the clear" if settings.scheme is Scheme.NONE else "encrypted"
    again = ", already there" if done.blobs_reused else ""
    return "\n".join(
        [
            f"{verb} {what} to {done.channel} in {seconds:.2f} s",
            f"  manifest  {settings.site}/{done.channel}/manifest.json, number {done.sequence}",
            f"  bundle    {done.blob_bytes:,} bytes, {sealed}{again}",
            *_patches(done),
            *_files(done),
            *_paused(done),
        ]
    )


def _paused(done: "Published") -> list[str]:
    if not done.paused:
        return []
    return ["  paused    devices get it after `manifestgen channel resume`"]
