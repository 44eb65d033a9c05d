"""`server`: print the configuration of a web server for this site."""

from pathlib import Path
from typing import Annotated

import typer

from manifestgen.cli.report import Output, Session, Site, command


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(
        help="Print the configuration of a web server for this site.", no_args_is_help=True
    )
    command(group, "nginx")(_nginx)
    app.add_typer(group, name="server", rich_help_panel=None)


def _nginx(
    session: Session,
    *,
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="Where it listens.")] = "80",
    name: Annotated[str, typer.Option(metavar="HOST", help="The server's name.")] = "_",
    site: Site = None,
) -> Output:
    """Print a server block for nginx.

    Example: manifestgen server nginx --name updates.example.com
    """
    from manifestgen import pages

    settings = session.settings(site=site)
    root = (settings.folder / settings.site).resolve()
    text = pages.server("nginx", root=_quoted(root), listen=listen, name=name)
    return Output({"nginx": text}, text.rstrip("\n"))


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"').replace("$", "${dollar}") + '"'
