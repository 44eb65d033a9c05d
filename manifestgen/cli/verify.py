"""`verify`: check a published site whole, and say what is wrong with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestgen.cli.anchor import WHERE, read_key, read_root
from manifestgen.cli.report import Output, Session, command, one_line, plural, table
from manifestgen.errors import KeyUseError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from manifestgen.config import Settings
    from manifestgen.stores import Store
    from manifestgen.verify import Anchor, Report

_AT = "Judge expiry at this time: 2030-01-31T12:00:00Z."


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    command(app, "verify")(_verify)


def _verify(
    session: Session,
    site: Annotated[
        str | None, typer.Argument(metavar="SITE|URL", help="The site, if not the configured.")
    ] = None,
    *,
    root: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Trust this root, not the project's.")
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help=_AT)] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The Capgo public key that apps carry.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Where the site is served.")
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(metavar="C", help="This channel must be there; all there are are checked."),
    ] = None,
) -> Output:
    """Check all that devices and auditors would.

    That is: roots, signatures, history, every blob.

    Trusted is the project's own root in .manifestgen/root, or FILE; never the site's copy.

    Examples:
        manifestgen verify
        manifestgen verify https://cdn.example.com/app --root root.json
    """
    from manifestgen.verify import Expected, verify

    settings = session.settings(site=site, channel=channel, base_url=base_url)
    now = _time(at) if at is not None else session.now()
    anchor = trusted_anchor(settings, root)
    expected = Expected(
        channels=(channel,) if channel else (),
        possible=tuple(dict.fromkeys([settings.channel, *settings.channels])),
        base_url=settings.base_url,
        capgo=_capgo_key(settings, key),
    )
    report = verify(_store(settings), anchor, now=now, expected=expected)
    return Output(_data(report), _text(report), exit_code=0 if report.ok else 3)


def _time(text: str) -> "datetime":
    from manifestgen.core.reader import parse_time

    try:
        return parse_time(text)
    except ValueError:
        raise UsageError(
            f"--at: {text!r} is no time", hint="write it as 2030-01-31T12:00:00Z"
        ) from None


def _store(settings: "Settings") -> "Store":
    from manifestgen.stores import open_store

    remote = "://" in settings.site
    return open_store(settings.site if remote else settings.folder / settings.site)


def trusted_anchor(settings: "Settings", root: Path | None) -> "Anchor":
    """Return what the user trusts: a named root, else the project's own chain."""
    from manifestgen.publish.trust import load_roots
    from manifestgen.verify import Anchor

    if root is not None:
        return Anchor.of(read_root(root))
    if not (settings.root_folder / "1.json").exists():
        raise UsageError(
            "there is no root to trust, and the site's own proves nothing",
            hint=f"go to the folder of the project, or with --root {WHERE}",
        )
    return Anchor.of(*load_roots(settings).documents)


def _capgo_key(settings: "Settings", key: Path | None) -> "RSAPublicKey | None":
    """Return the named key, else the project's; `None` where bundles cannot be decrypted."""
    from manifestgen.core import capgo

    path = key if key is not None else settings.capgo_public
    if key is not None or path.exists():
        return capgo.load_public(read_key(path))
    from manifestgen.signers import is_elsewhere, load_wrapper

    if is_elsewhere(settings.capgo_key):
        return None  # an audit starts no program, and loads no library, that its object names
    try:
        # Nobody is asked for a passphrase: a public key is all that is wanted.
        return load_wrapper(settings.capgo_key, folder=settings.folder, ask=lambda _: None).public
    except (KeyUseError, UsageError):
        return None


def _data(report: "Report") -> dict[str, Any]:
    return {
        "ok": report.ok,
        "documents": report.documents,
        "blobs": report.blobs,
        "bytes": report.bytes,
        "problems": [
            {"where": one.where, "code": one.code, "message": one.message}
            for one in report.problems
        ],
        "notes": [{"where": one.where, "message": one.message} for one in report.notes],
    }


def _text(report: "Report") -> str:
    rows = [
        (part.name, plural(part.files, "file"), plural(part.bytes, "byte"), _state(part.problems))
        for part in report.parts
    ]
    lines = [table(rows)] if rows else []
    lines += [one_line(f"note: {note.where}: {note.message}") for note in report.notes]
    lines += [
        one_line(f"problem: {one.where}: {one.message} ({one.code})") for one in report.problems
    ]
    documents, blobs = plural(report.documents, "document"), plural(report.blobs, "blob")
    total = f"{documents}, {blobs}, {plural(report.bytes, 'byte')}"
    lines.append(f"{'verified' if report.ok else 'not to be trusted'}: {total}")
    return "\n".join(lines)


def _state(problems: int) -> str:
    return plural(problems, "problem") if problems else "ok"
