"""`server`: print the configuration of a web server for this site."""

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from manifestgen.cli.report import Output, Session, Site, command
from manifestgen.errors import UsageError

if TYPE_CHECKING:
    from manifestgen.config import Settings

_ADDRESS = "Caddy's address for it: updates.example.com brings HTTPS, :8080 does not."


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(
        help="Print the configuration of a web server for this site.", no_args_is_help=True
    )
    command(group, "nginx")(_nginx)
    command(group, "caddy")(_caddy)
    app.add_typer(group, name="server", rich_help_panel=None)


def _nginx(
    session: Session,
    *,
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="Where it listens.")] = "80",
    name: Annotated[str, typer.Option(metavar="HOST", help="The server's name.")] = "_",
    site: Site = None,
) -> Output:
    """Print a server block for nginx.

    Examples:
        manifestgen server nginx --name updates.example.com
        manifestgen server nginx --listen 8080 --site /srv/updates
    """
    from manifestgen import pages

    settings = session.settings(site=site)
    text = pages.server("nginx", root=_for_nginx(_root(settings)), listen=listen, name=name)
    _warn(session, settings)
    return Output({"nginx": text}, text.rstrip("\n"))


def _caddy(
    session: Session,
    *,
    name: Annotated[str, typer.Option(metavar="ADDRESS", help=_ADDRESS)] = ":80",
    site: Site = None,
) -> Output:
    """Print a Caddyfile.

    Examples:
        manifestgen server caddy --name updates.example.com
        manifestgen server caddy --site /srv/updates
    """
    from manifestgen import pages

    settings = session.settings(site=site)
    text = pages.server("caddy", root=_for_caddy(_root(settings)), address=name)
    _warn(session, settings)
    return Output({"caddy": text}, text.rstrip("\n"))


def _root(settings: "Settings") -> str:
    if "://" in settings.site:
        raise UsageError(
            f"{settings.site} is no folder that a web server could serve",
            hint="name the folder that lies on the server: --site DIR",
        )
    root = str((settings.folder / settings.site).resolve())
    if not root.isprintable():
        raise UsageError(
            f"{root!r} cannot be written into a configuration", hint="rename the folder"
        )
    return root


def _for_nginx(root: str) -> str:
    return '"' + root.replace("\\", "\\\\").replace('"', '\\"').replace("$", "${dollar}") + '"'


def _for_caddy(root: str) -> str:
    # Braces are Caddy's placeholders, wherever they stand; backquotes end the only quotes in
    # which nothing else has a meaning.
    if any(char in root for char in "{}`"):
        raise UsageError(
            f"{root!r} cannot be written into a Caddyfile: it has a brace or a backquote",
            hint="rename the folder, or serve a link to it: --site LINK",
        )
    return f"`{root}`"


def _warn(session: Session, settings: "Settings") -> None:
    path = urlsplit(settings.base_url or "").path
    if path.strip("/"):
        session.say(
            f"this serves the site at /, but base_url is {settings.base_url}: serve a folder that"
            f" has the site at .{path}, or change base_url"
        )
