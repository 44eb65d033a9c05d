"""`site copy`: mirror a site, or move it to another store.

Example: manifestgen site copy site /mnt/mirror/site
"""

from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestgen.cli.report import Output, Session, command, plural
from manifestgen.config import check_channel
from manifestgen.errors import UsageError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from manifestgen.copy import Copied, Plan, Progress
    from manifestgen.stores import Store


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(help="Copy whole sites between stores.", no_args_is_help=True)
    # Without a second command typer would take `copy` for an argument of the group.
    group.callback()(lambda: None)
    command(group, "copy")(_copy)
    app.add_typer(group, name="site")


def _copy(
    session: Session,
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="A folder, s3://… or https://… to copy.")
    ],
    target: Annotated[str, typer.Argument(metavar="TO", help="A folder or s3://… to copy to.")],
    *,
    root: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Trust this root, not the project's.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Where TO is served.")
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", metavar="C", help="Copy this one too; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be copied.")
    ] = False,
) -> Output:
    """Bring TO up to date with FROM, verifying as it goes.

    What is there is not sent again.

    Interrupted, it goes on where it stopped. A TO that is newer or another site is refused. A web
    server lists no channels: those of this project and of its root are copied, and every C.

    Examples:
        manifestgen site copy https://cdn.example.com/app /mnt/usb/site
        manifestgen site copy site s3://updates/app --dry-run
    """
    from contextlib import ExitStack

    from manifestgen.cli.verify import trusted_anchor
    from manifestgen.copy import copy_site

    settings = session.settings(base_url=base_url)
    trusted = trusted_anchor(settings, root)
    here = _open(source)
    there = _open(target, single_publisher=settings.single_publisher)
    _check_apart(source, target)
    with ExitStack() as stack:
        done = copy_site(
            here,
            there,
            trusted,
            settings,
            now=session.now(),
            channels=tuple(check_channel(name, "--channel") for name in channel or ()),
            watch=lambda plan: _progress(session, stack, plan),
            dry_run=dry_run,
        )
    return Output(_data(done, source, target, dry_run), _text(done, source, target, dry_run))


def _open(location: str, *, single_publisher: bool = False) -> "Store":
    from manifestgen.stores import open_store

    # A path on the command line is relative to where the person stands.
    place = location if "://" in location else Path(location).absolute()
    return open_store(place, single_publisher=single_publisher)


def _check_apart(source: str, target: str) -> None:
    if target.startswith(("http://", "https://")):
        raise UsageError(
            f"{target} can only be read", hint="copy into the folder or bucket that it serves"
        )
    one, other = _place(source), _place(target)
    if one == other:
        raise UsageError(f"{source} is both FROM and TO", hint="name two different places")
    if one in other.parents or other in one.parents:
        raise UsageError(
            f"of {source} and {target} one lies inside the other", hint="name a place beside it"
        )


def _place(location: str) -> PurePath:
    """Return a path to compare: in a bucket its own, which cannot be one of a folder."""
    return PurePosixPath(location) if "://" in location else Path(location).resolve()


def _progress(session: Session, stack: "ExitStack", plan: "Plan") -> "Progress | None":
    return stack.enter_context(session.progress("copying", sum(plan.blobs.values())))


def _data(done: "Copied", source: str, target: str, dry_run: bool) -> dict[str, Any]:
    plan = done.plan
    return {
        "app": done.app,
        "from": source,
        "to": target,
        "changed": done.changed,
        "roots": list(plan.roots),
        "channels": [
            {
                "channel": one.channel,
                "before": one.before,
                "after": one.after,
                "manifests": len(one.missing),
            }
            for one in plan.changes
        ],
        "releases": len(plan.releases),
        "blobs": len(plan.blobs) - done.pruned,
        "bytes": sum(plan.blobs.values()),
        "pruned": done.pruned,
        "base_url": done.base_url,
        "dry_run": dry_run,
        "notes": list(done.notes),
    }


def _text(done: "Copied", source: str, target: str, dry_run: bool) -> str:
    plan = done.plan
    lines = [f"note: {note}" for note in done.notes]
    if done.pruned:
        lines.append(f"note: {plural(done.pruned, 'blob')} of earlier releases were pruned there")
    if not done.changed:
        return "\n".join([*lines, f"{target} has all of {source}"])
    documents = len(plan.roots) + len(plan.releases)
    documents += sum(len(one.missing) for one in plan.changes)
    blobs = plural(len(plan.blobs) - done.pruned, "blob")
    verb = "would copy" if dry_run else "copied"
    lines.append(
        f"{verb} {done.app} from {source} to {target}: {blobs},"
        f" {plural(sum(plan.blobs.values()), 'byte')}, {plural(documents, 'document')}"
    )
    lines += [f"  {one.channel}  {one.before or 'nothing'} → {one.after}" for one in plan.changes]
    if done.base_url:
        whose = f", as that of {source} does: `--base-url` names another" if done.believed else ""
        lines.append(f"  capgo.json points to {done.base_url}{whose}")
    return "\n".join(lines)
