"""`init`: make a project, and say what to keep safe."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifestgen.cli.report import Output, Session, command
from manifestgen.config import FILE, check_base_url
from manifestgen.core.root import APP
from manifestgen.errors import UsageError

if TYPE_CHECKING:
    from manifestgen.config import Settings


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    command(app, "init")(_init)


def _init(
    session: Session,
    *,
    app: Annotated[
        str | None, typer.Option("--app", metavar="ID", help="App id, such as com.example.app.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Where the site will be served.")
    ] = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="FILE", help="Another person's public key; repeatable."),
    ] = None,
    threshold: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many of all must sign roots and releases.")
    ] = 1,
) -> Output:
    """Make manifestgen.toml, keys and the first root.

    Nothing that exists is touched.

    With --threshold, root 1 waits for the others, who run `manifestgen keys sign`.

    Examples:
        manifestgen init --app com.example.app --base-url https://cdn.example.com/app
        manifestgen init --app com.example.app --with ben.pub.pem --threshold 2
    """
    from dataclasses import replace

    from manifestgen.cli.roots import read_public
    from manifestgen.publish import init

    settings = session.settings(base_url=check_base_url(base_url) if base_url else None)
    if app is not None:
        if not APP.fullmatch(app):
            raise UsageError(f"{app!r} is no app id", hint="write it as com.example.app")
        if settings.exists and settings.app != app:
            raise UsageError(f"this project is for {settings.app}", hint=_another_app(settings))
        settings = replace(settings, app=app)
    made = init(
        settings,
        now=session.now(),
        ask=session.ask,
        ci=session.ci,
        others=[read_public(path) for path in others or ()],
        threshold=threshold,
    )
    if not made.files and not made.waiting:
        if others or threshold > 1:
            raise UsageError(
                f"{settings.app} has a root already",
                hint="change it: `manifestgen keys add FILE --role root --threshold N`",
            )
        return Output({"app": settings.app, "made": []}, f"{settings.app} is set up already")
    data: dict[str, object] = {"app": settings.app, "made": list(made.files)}
    text = [f"set up {settings.app}", *made_lines(made.files, made.secrets), ""]
    if made.waiting:
        data["pending"] = str(made.waiting)
        path = shlex.quote(str(made.waiting))
        text.append(f"root 1 waits for the others: manifestgen keys sign {path}")
    else:
        text += ["next: manifestgen publish DIST", "      manifestgen verify"]
    return Output(data, "\n".join(text))


def _another_app(settings: "Settings") -> str:
    """Say how a project gets another app: its root is for one, and a new one is a new project."""
    if not (settings.root_folder / "1.json").exists():
        return f"change `app` in {FILE}"
    return (
        "run it in another folder; or, if no app was built with this root yet, delete"
        f" {FILE}, .manifestgen and the site, and run the same command again"
    )


def made_lines(files: tuple[str, ...], secrets: tuple[str, ...]) -> list[str]:
    """Say what was made, what to back up and what to commit."""
    lines = [f"  made {name}" for name in files]
    if secrets:
        folder = secrets[0].rpartition("/")[0]
        lines += [
            f"  back up {folder}/ where only you can read it: devices trust these keys alone",
            "  commit manifestgen.toml and the rest of .manifestgen/ (git ignores the keys)",
        ]
    return lines
