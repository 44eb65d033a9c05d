"""`serve`: the site on this machine or in this network, as a web server would serve it."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifestgen.cli.report import Output, Session, Site, command, plural
from manifestgen.errors import UsageError

if TYPE_CHECKING:
    from manifestgen.config import Settings
    from manifestgen.serve import Server, Visit
    from manifestgen.serve import Site as ServedSite

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with what was asked for


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    command(app, "serve")(_serve)


def _serve(
    session: Session,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The site, if not the configured.")
    ] = None,
    *,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="0.0.0.0 lets phones in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0: any.")] = 8000,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[:PATH][@SHARE]",
            help="slow, cut, 503, stale, missing, flip or portal; may be repeated.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Tell of unchanged files (304) too.")
    ] = False,
    site: Site = None,
) -> Output:
    """Serve the site as nginx would, and say who fetches what.

    Until Ctrl-C, with the headers of `server nginx`.

    Without base_url in the settings, capgo.json is made for the address the device uses.

    Examples:
        manifestgen serve --port 8080
        manifestgen serve --host 0.0.0.0 --fault 'cut:blobs/*@30%'
    """
    from manifestgen.serve import Faults, Server, parse_fault

    if folder is not None and site is not None:
        raise UsageError("the site is named twice", hint="leave out --site or DIR")
    settings = session.settings(site=str(folder) if folder is not None else site)
    faults = Faults([parse_fault(text) for text in fault or ()])
    tally = Tally(session, every=every)
    with (
        until_interrupted() as interrupted,
        Server(site_of(settings), host=host, port=port, faults=faults, heard=tally.heard) as server,
    ):
        session.say(*introduction(server, host, settings.site))
        interrupted.wait()
    count = f"{plural(tally.count, 'request')} of {plural(len(tally.devices), 'device')}"
    return Output(
        {"url": server.url, "requests": tally.count, "devices": sorted(tally.devices)},
        f"answered {count}",
    )


class Tally:
    """Counts requests and tells of them, a line each."""

    def __init__(self, session: Session, *, every: bool) -> None:
        self.count = 0
        self.devices: set[str] = set()
        self._session = session
        self._every = every
        self._lock = threading.Lock()

    def heard(self, visit: "Visit") -> None:
        """Take note of a request; a poll that found nothing new is not worth a line."""
        with self._lock:
            self.count += 1
            self.devices.add(visit.device.name)
            if self._every or visit.status != 304:
                self._session.say(f"{datetime.now():%H:%M:%S} {visit.line()}")


def site_of(settings: "Settings") -> "ServedSite":
    """Return the site to answer for; `capgo.json` is made where a project can verify it."""
    from manifestgen.publish.trust import load_roots
    from manifestgen.serve import Site
    from manifestgen.serve.rendered import StockAnswers
    from manifestgen.stores import open_store

    if "://" in settings.site:
        raise UsageError(f"{settings.site} is no folder", hint="name the folder of a site")
    folder = settings.folder / settings.site
    if not folder.is_dir():
        raise UsageError(
            f"there is no site in {folder}", hint="publish first, or name the folder of the site"
        )
    return Site(folder, render=StockAnswers(open_store(folder), lambda: load_roots(settings)))


def introduction(server: "Server", host: str, site: str) -> Iterator[str]:
    """Say where the site is to be found, for the phone as well."""
    from manifestgen.serve import lan_address

    yield f"serving {site} at {server.url} (Ctrl-C ends it)"
    if host not in _EVERYWHERE:
        return
    address = lan_address()
    if address is None:
        yield "this machine seems to be on no network"
        return
    url = f"http://{address}:{server.port}"
    yield f"in your network at {url}"
    if sys.stderr.isatty():
        yield from _qr_code(url)


def _qr_code(url: str) -> Iterator[str]:
    import io

    import segno

    drawn = io.StringIO()
    segno.make(url, micro=False, error="l").terminal(drawn, compact=True)
    yield from drawn.getvalue().splitlines()


@contextmanager
def until_interrupted() -> "Iterator[threading.Event]":
    """Give an event that Ctrl-C, and a polite `kill`, set: the usual way for this to end.

    A second Ctrl-C ends the program where it stands.
    """
    interrupted = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    before: dict[signal.Signals, Callable[..., object] | int | None] = {}
    if threading.current_thread() is threading.main_thread():
        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
