"""`watch`: each save of a developer, signed and published to a site of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifestgen.cli.report import Output, Session, command, plural
from manifestgen.cli.serve import Tally, introduction, until_interrupted
from manifestgen.errors import UsageError

if TYPE_CHECKING:
    from manifestgen.config import Settings
    from manifestgen.serve import Site, Visit
    from manifestgen.watch import Loop, News, Press, Workshop


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    command(app, "watch")(_watch)


def _watch(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that is built into.")],
    *,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the development site.")] = False,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="With --serve: 0.0.0.0 lets phones in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="With --serve; 0: any.")
    ] = 8000,
    poll: Annotated[
        bool, typer.Option("--poll", help="Look again and again: network mounts, containers.")
    ] = False,
) -> Output:
    """Publish each change of a build to a development site.

    Until Ctrl-C.

    The site, its keys and its root are in .manifestgen/dev/; production never hears of them.

    Examples:
        manifestgen watch dist --serve
        manifestgen watch dist --serve --host 0.0.0.0
    """
    from manifestgen.watch import Changes, Loop, Press, open_workshop

    settings = session.settings()
    _check(folder, settings)
    with until_interrupted() as interrupted, ExitStack() as stack:
        workshop = stack.enter_context(open_workshop(settings, folder, now=session.now()))
        changes = Changes(folder, poll=poll)
        press = Press(workshop, now=session.now(), hurry=changes.notice)
        teller = Teller(session, press)
        served = _served(session, _site(workshop, press), teller, host, port)
        url = stack.enter_context(served) if serve else None
        changes.start()
        stack.callback(changes.close)
        session.say(f"watching {folder}, publishing to {_shown(workshop.site)} (Ctrl-C ends it)")
        if changes.polls and not poll:
            session.say("note: the system can watch no more folders; looking again and again")
        running = _Running(Loop(folder, press, changes, teller.news), interrupted)
        interrupted.wait()
        changes.stop()
        running.end()
    version = str(press.version) if press.version else None
    return Output(
        {"published": teller.count, "version": version, "site": str(workshop.site), "url": url},
        f"published {plural(teller.count, 'time')}; {version or 'nothing'} is offered",
    )


def _check(folder: Path, settings: "Settings") -> None:
    """Refuse a folder that can never be watched; one that is not built yet can be."""
    if not folder.absolute().parent.is_dir():
        raise UsageError(
            f"there is no folder {folder.absolute().parent}",
            hint="name the folder that your bundler writes to, such as `dist` or `www`",
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="name the folder that the build is written to")
    if settings.state.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"{folder} holds the project itself", hint="name the folder that is built into: dist"
        )


@contextmanager
def _served(
    session: Session, site: "Site", teller: "Teller", host: str, port: int
) -> Iterator[str]:
    from manifestgen.serve import Server

    with Server(site, host=host, port=port, heard=teller.visit) as server:
        session.say(*introduction(server, host, _shown(site.folder)))
        yield server.url


def _site(workshop: "Workshop", press: "Press") -> "Site":
    from manifestgen.serve.rendered import StockAnswers
    from manifestgen.watch import WaitingSite

    render = StockAnswers(workshop.store, lambda: workshop.chain)
    return WaitingSite(workshop.site, press.wait_for, render=render)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


class _Running:
    """The loop in a thread, so that Ctrl-C waits for the step that is under way."""

    def __init__(self, loop: "Loop", interrupted: threading.Event) -> None:
        self._loop = loop
        self._interrupted = interrupted
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run()
        except BaseException as failure:
            self._failure = failure
            self._interrupted.set()

    def end(self) -> None:
        """Wait for the loop, and raise what ended it."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure


class Teller:
    """Tells of what is published, a line each, and which devices have it."""

    def __init__(self, session: Session, press: "Press") -> None:
        self.count = 0
        self._session = session
        self._press = press
        self._tally = Tally(session, every=False)
        self._lock = threading.Lock()
        self._tag = ""
        self._since = time.monotonic()
        self._reached: set[str] = set()
        self._look()

    def news(self, news: "News") -> None:
        """Say what was published, or why nothing is."""
        from manifestgen.watch import Held

        if isinstance(news, Held):
            self._say(f"not published: {news.why}")
            return
        with self._lock:
            self.count += 1
            before = f", {plural(len(self._reached), 'device')} had the last" if self._tag else ""
            self._look()
        what = _described(news.changed, news.removed)
        size, milliseconds = f"{news.bytes:,} bytes", f"{news.seconds * 1000:.0f} ms"
        self._say(f"{news.version} {what}, {size}, {milliseconds}{before}")

    def visit(self, visit: "Visit") -> None:
        """Say when a device hears of the newest manifest, and what else is fetched."""
        manifest = visit.path.rpartition("/")[2] in {"manifest.json", "capgo.json"}
        if not manifest or visit.fault:
            self._tally.heard(visit)
            return
        with self._lock:
            current = visit.path.endswith("/capgo.json") or visit.tag == self._tag
            new = current and visit.status in {200, 304} and visit.device.name not in self._reached
            if new:
                self._reached.add(visit.device.name)
            after = time.monotonic() - self._since
        if new and self._press.version:
            self._say(f"{self._press.version} is known to {visit.device}, {after:.1f} s later")

    def _look(self) -> None:
        from manifestgen.serve.answer import tag_of

        self._reached = set()
        self._since = time.monotonic()
        self._tag = tag_of(self._press.head.data) if self._press.head else ""

    def _say(self, text: str) -> None:
        from manifestgen.serve.visits import printable

        self._session.say(f"{datetime.now():%H:%M:%S} {printable(text)}")


def _described(changed: tuple[str, ...], removed: tuple[str, ...]) -> str:
    text = plural(len(changed), "file") if len(changed) > 3 else ", ".join(changed)
    gone = f"{len(removed)} gone" if removed else ""
    return ", ".join(part for part in (text, gone) if part) or "the same files"
