"""`kit`: carry a site's news across an air gap in one file, and prove on the other side what it is.

Example: manifestgen kit export --to news.kit
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestgen.cli.anchor import read_root
from manifestgen.cli.report import Output, Session, Site, command, known_channels, plural, table
from manifestgen.config import check_channel
from manifestgen.errors import Error, UsageError, VerificationError

if TYPE_CHECKING:
    from manifestgen.config import Settings
    from manifestgen.kit import Exported, Imported, Inspected, Kit, Plan, Receipt, Trust
    from manifestgen.stores import Store

_SHORTEST = 32  # hex digits of a fingerprint: 128 bits, so that nobody finds another root for it
_HEX = re.compile(r"[0-9a-f]{32,64}", re.ASCII)

_File = Annotated[Path, typer.Argument(metavar="FILE", help="The kit.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(
        help="Carry a site's news across an air gap, in one file.", no_args_is_help=True
    )
    command(group, "export")(_export)
    command(group, "inspect")(_inspect)
    command(group, "import")(_import)
    app.add_typer(group, name="kit")


def _export(
    session: Session,
    *,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The kit to write.")],
    since: Annotated[
        Path | None,
        typer.Option(metavar="RECEIPT", help="Only what the receipt's site does not have."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Everything, as without --since.")] = False,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            metavar="C",
            help="Only this channel; may be repeated.",
            autocompletion=known_channels,
        ),
    ] = None,
    site: Site = None,
) -> Output:
    """Write one file with all that another site lacks.

    The import writes a receipt; with --since, the next kit leaves out what it names.

    Examples:
        manifestgen kit export --to news.kit
        manifestgen kit export --to news.kit --since news.receipt.json
    """
    from manifestgen.kit import export, read_receipt
    from manifestgen.publish import open_site
    from manifestgen.publish.site import Site as Published
    from manifestgen.publish.trust import load_roots

    if since is not None and full:
        raise UsageError("--since and --full exclude each other", hint="leave one of them out")
    settings = session.settings(site=site)
    receipt = read_receipt(since) if since is not None else None
    names = [check_channel(name, "--channel") for name in channel or ()]
    chain = load_roots(settings)
    _check_target(to, settings, since)
    source = Published(open_site(settings, dry_run=True), chain, settings, dry_run=True)
    done = export(source, to, now=session.now(), channels=names, since=receipt)
    session.say(*(f"note: {note}" for note in done.notes))
    return Output(_exported_data(done, to), _exported_text(done, to))


def _inspect(session: Session, file: _File, *, site: Site = None) -> Output:
    """Look into a kit or a receipt.

    Whether it is whole or damaged, and what it says of itself.

    Nothing in it is believed: compare its fingerprint with what its maker tells you by another
    way. Inside a project it is also said what an import would change.

    Examples:
        manifestgen kit inspect news.kit
        manifestgen kit inspect news.kit --json
    """
    from manifestgen.kit import Kit, inspect, read_receipt

    if _is_receipt(file):
        return _receipt_output(read_receipt(file))
    with Kit.open(file) as kit:
        found = inspect(kit, now=session.now())
        verdict = _verdict(session, kit, site)
    return Output(_inspected_data(found, verdict), _inspected_text(found, verdict))


def _import(
    session: Session,
    file: _File,
    *,
    site: Site = None,
    root: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Trust this root/1.json, the first time.")
    ] = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Trust the root with this fingerprint, the first time."),
    ] = None,
    receipt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write the receipt.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Where this side's is served.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be written.")
    ] = False,
) -> Output:
    """Verify a kit whole, then bring a site up to date with it.

    Trusted is the project's own root in .manifestgen/root. The first time there is none: ask
    whoever made the kit for its fingerprint, by another way than the kit came.

    Examples:
        manifestgen kit import news.kit --site site
        manifestgen kit import news.kit --dry-run
    """
    from manifestgen.kit import Kit, receive

    settings = session.settings(site=site, base_url=base_url)
    trust = _trust(settings, root, fingerprint)
    target = receipt if receipt is not None else Path(_receipt_name(file))
    _check_import(file, target)
    with Kit.open(file) as kit:
        _check_same_app(settings, kit, trust)
        done = receive(
            kit,
            trust,
            settings,
            _store(settings),
            now=session.now(),
            receipt=target,
            dry_run=dry_run,
        )
    session.say(*_founded(done, trust))
    session.say(*(f"note: {note}" for note in done.notes))
    if settings.base_url is None:
        session.say(
            "note: capgo.json was not written; stock Capgo plugins need `base_url` to be set"
        )
    return Output(_imported_data(done, target, dry_run), _imported_text(done, target, dry_run))


def _founded(done: "Imported", trust: "Trust") -> list[str]:
    """Say what a first import made, or a later one changes in who may sign what."""
    from manifestgen.publish.roots import difference

    if not done.made:
        return []
    if trust.chain is None:
        return [f"set up {done.app}", *(f"  made {name}" for name in done.made), ""]
    new = done.documents.chain.keyring.root
    return [*difference(trust.chain.keyring.root, new), ""]


def _trust(settings: "Settings", root: Path | None, fingerprint: str | None) -> "Trust":
    from manifestgen.kit import Trust
    from manifestgen.publish.trust import load_roots

    known = (settings.root_folder / "1.json").exists()
    return Trust(
        chain=load_roots(settings) if known else None,
        first=_read(root) if root is not None else None,
        fingerprint=_fingerprint(fingerprint) if fingerprint is not None else None,
    )


def _read(path: Path) -> bytes:
    from manifestgen.core.keyring import Keyring

    data = read_root(path)
    if Keyring.trust(data).root.number != 1:
        raise UsageError(
            f"--root: {path} is not the first root", hint="name root/1.json of the site"
        )
    return data


def _fingerprint(text: str) -> str:
    digits = "".join(text.split()).replace(":", "").lower()
    if not _HEX.fullmatch(digits):
        raise UsageError(
            f"--fingerprint: want {_SHORTEST} to 64 hex digits, got {len(digits)} characters",
            hint="`manifestgen kit export` prints it on the other side",
        )
    return digits


def _check_same_app(settings: "Settings", kit: "Kit", trust: "Trust") -> None:
    """Refuse another app's kit where a project is set up but has no root yet."""
    if settings.exists and trust.chain is None and settings.app != kit.contents.app:
        raise VerificationError(
            f"the kit is for {kit.contents.app}, and this project for {settings.app}",
            code="wrong_app",
            hint="import it in another folder, or change `app` in manifestgen.toml",
        )


def _store(settings: "Settings") -> "Store":
    from manifestgen.stores import open_store

    if settings.site.startswith(("http://", "https://")):
        raise UsageError(
            f"{settings.site} can only be read", hint="import into a folder and copy it there"
        )
    remote = "://" in settings.site
    return open_store(
        settings.site if remote else settings.folder / settings.site,
        single_publisher=settings.single_publisher,
    )


def _check_target(to: Path, settings: "Settings", since: Path | None) -> None:
    if to.is_dir():
        raise UsageError(f"{to} is a folder", hint="name a file: `--to news.kit`")
    if since is not None and to.resolve() == since.resolve():
        raise UsageError(f"{to} is the receipt itself", hint="name another file: `--to news.kit`")
    if "://" in settings.site:
        return
    if to.resolve().is_relative_to((settings.folder / settings.site).resolve()):
        raise UsageError(
            f"{to} lies inside the site, which is published", hint="write it somewhere else"
        )


def _check_import(file: Path, receipt: Path) -> None:
    """Refuse what would only show once all is imported."""
    if _is_receipt(file):
        raise UsageError(
            f"{file} is no kit; it looks like a receipt",
            hint="a receipt goes back, for `manifestgen kit export --to news.kit --since RECEIPT`",
        )
    if receipt.resolve() == file.resolve():
        raise UsageError(
            f"{receipt} is the kit itself", hint="name another file: `--receipt news.receipt.json`"
        )
    if receipt.is_dir() or not receipt.parent.is_dir():
        what = "is a folder" if receipt.is_dir() else "lies in a folder that is not there"
        raise UsageError(
            f"--receipt: {receipt} {what}", hint="name a file: `--receipt news.receipt.json`"
        )


def _receipt_name(file: Path) -> str:
    return f"{file.name.removesuffix('.kit')}.receipt.json"


def _is_receipt(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(1) == b"{"
    except OSError:
        return False  # opening it as a kit says why


def _verdict(session: Session, kit: "Kit", site: str | None) -> "Plan | VerificationError | None":
    """Say what importing into this project's site would change; `None` without a project."""
    from manifestgen.kit import would_import
    from manifestgen.publish.site import Site as Published

    settings = session.settings(site=site)
    if not (settings.root_folder / "1.json").exists():
        return None
    trust = _trust(settings, None, None)
    assert trust.chain is not None  # noqa: S101 - it exists
    try:
        return would_import(kit, trust, Published(_store(settings), trust.chain, settings))
    except VerificationError as error:
        return error


# What the commands say


def _span(channel: str, first: int, last: int) -> dict[str, Any]:
    return {"channel": channel, "first": first, "last": last}


def _exported_data(done: "Exported", to: Path) -> dict[str, Any]:
    return {
        "app": done.app,
        "kit": str(to) if done.written else None,
        "written": done.written,
        "fingerprint": done.fingerprint,
        "roots": done.contents.roots,
        "channels": [_span(one.channel, one.first, one.last) for one in done.contents.channels],
        "releases": done.releases,
        "blobs": {"carried": done.blobs, "bytes": done.blob_bytes, "left_out": done.left_out},
        "bytes": done.size,
        "notes": list(done.notes),
    }


def _exported_text(done: "Exported", to: Path) -> str:
    from manifestgen.kit import grouped

    if not done.written:
        return "nothing new since the receipt; no kit was written"
    left = f", {done.left_out:,} left out that the receipt names" if done.left_out else ""
    rows = [(f"  {one.channel}", _range(one.first, one.last)) for one in done.contents.channels]
    rows.append(("  releases", f"{done.releases:,}"))
    rows.append(("  blobs", f"{done.blobs:,}, {plural(done.blob_bytes, 'byte')}{left}"))
    rows.append(("  fingerprint", grouped(done.fingerprint)))
    head = f"exported {done.app} to {to}: {plural(done.size, 'byte')}"
    return "\n".join([head, table(rows)])


def _range(first: int, last: int) -> str:
    return f"manifest {first}" if first == last else f"manifests {first} to {last}"


def _inspected_data(
    found: "Inspected", verdict: "Plan | VerificationError | None"
) -> dict[str, Any]:
    from manifestgen.core.reader import format_time
    from manifestgen.kit import versions

    root = found.documents.chain.keyring.root
    return {
        "app": found.app,
        "fingerprint": found.fingerprint,
        "roots": root.number,
        "root_expires": format_time(root.expires),
        "channels": [
            {
                **_span(line.channel, line.first, line.last),
                "versions": versions(line),
                "issued": format_time(line.head.manifest.issued),
                "expires": format_time(line.head.manifest.expires),
            }
            for line in found.lines
        ],
        "releases": found.releases,
        "blobs": {"carried": found.blobs, "bytes": found.blob_bytes, "absent": found.absent},
        "bytes": found.size,
        "notes": list(found.notes),
        "import": _verdict_data(verdict),
    }


def _verdict_data(verdict: "Plan | VerificationError | None") -> dict[str, Any] | None:
    if verdict is None:
        return None
    if isinstance(verdict, Error):
        return {"refused": str(verdict), "code": verdict.code, "hint": verdict.hint}
    return {"refused": None, "changed": not verdict.is_nothing, **_plan_data(verdict)}


def _inspected_text(found: "Inspected", verdict: "Plan | VerificationError | None") -> str:
    from manifestgen.kit import grouped, versions

    root = found.documents.chain.keyring.root
    rows = [
        ("  fingerprint", grouped(found.fingerprint)),
        ("", "compare it with what the maker of the kit tells you by another way"),
        ("  root", f"{root.number}, expires {root.expires:%Y-%m-%d}"),
    ]
    for line in found.lines:
        manifest = line.head.manifest
        offers = ", ".join(versions(line)) or "nothing"
        rows.append(
            (
                f"  {line.channel}",
                f"{_range(line.first, line.last)}, offers {offers},"
                f" issued {manifest.issued:%Y-%m-%d}, expires {manifest.expires:%Y-%m-%d}",
            )
        )
    absent = f", {found.absent:,} more have to be there already" if found.absent else ""
    rows.append(("  releases", f"{found.releases:,}"))
    rows.append(("  blobs", f"{found.blobs:,}, {plural(found.blob_bytes, 'byte')}{absent}"))
    lines = [f"a whole kit of {found.app}: {plural(found.size, 'byte')}", table(rows)]
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join([*lines, *_verdict_text(verdict)])


def _verdict_text(verdict: "Plan | VerificationError | None") -> list[str]:
    if verdict is None:
        return []
    if isinstance(verdict, Error):
        return [f"this project refuses it: {verdict}"]
    if verdict.is_nothing:
        return ["nothing new for this project"]
    return ["importing it here would change", *_plan_text(verdict)]


def _receipt_output(receipt: "Receipt") -> Output:
    channels = [(one.channel, one.sequence) for one in receipt.channels]
    data = {
        "app": receipt.app,
        "root": receipt.root,
        "channels": [{"channel": name, "sequence": number} for name, number in channels],
        "blobs": len(receipt.blobs),
    }
    rows = [("  root", str(receipt.root))]
    rows += [(f"  {name}", f"manifest {number}") for name, number in channels]
    rows.append(("  blobs", f"{len(receipt.blobs):,}"))
    return Output(data, "\n".join([f"a receipt of {receipt.app}", table(rows)]))


def _plan_data(plan: "Plan") -> dict[str, Any]:
    return {
        "channels": [
            {"channel": one.channel, "before": one.before or None, "after": one.after}
            for one in plan.changes
        ],
        "roots": list(plan.roots),
        "releases": len(plan.releases),
        "blobs": {"written": len(plan.blobs), "bytes": plan.blob_bytes},
    }


def _plan_text(plan: "Plan") -> list[str]:
    rows = [
        (f"  {one.channel}", f"manifest {one.before or 'none'} -> {one.after}")
        for one in plan.changes
    ]
    rows.append(("  releases", f"{len(plan.releases):,} new or re-signed"))
    rows.append(("  blobs", f"{len(plan.blobs):,} new, {plural(plan.blob_bytes, 'byte')}"))
    return [table(rows)]


def _imported_data(done: "Imported", receipt: Path, dry_run: bool) -> dict[str, Any]:
    return {
        "app": done.app,
        "fingerprint": done.fingerprint,
        "changed": done.changed,
        **_plan_data(done.plan),
        "receipt": None if dry_run else str(receipt),
        "made": list(done.made),
        "notes": list(done.notes),
    }


def _imported_text(done: "Imported", receipt: Path, dry_run: bool) -> str:
    written = [] if dry_run else [f"receipt: {receipt}"]
    if not done.changed:
        return "\n".join([f"nothing new: all of this kit of {done.app} is here", *written])
    verb = "would import" if dry_run else "imported"
    return "\n".join([f"{verb} {done.app}", *_plan_text(done.plan), *written])
