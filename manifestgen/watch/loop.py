"""Wait for a change, wait until it is quiet, look, and publish what is whole.

A build that is not whole is left alone: as a rule it is one under way. Only when it stays so is it
said why, once, and what was published last goes on being offered.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from manifestgen import bundle
from manifestgen.errors import Error, os_reason
from manifestgen.watch.changes import IDLE, Changes
from manifestgen.watch.complete import missing
from manifestgen.watch.folder import Folder
from manifestgen.watch.press import Press, Printed

_logger = logging.getLogger(__name__)

PATIENCE: Final = 1.0
"""Seconds that a build may be incomplete before anybody is told."""

_TICK = 12_000_000  # nanoseconds; no better do file systems tell times apart


@dataclass(frozen=True, slots=True)
class Held:
    """Why what lies in the folder is not published; what was published last still is."""

    why: str


News: TypeAlias = Printed | Held
Listener: TypeAlias = Callable[[News], None]


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class Loop:
    """Publishes a folder whenever it has changed, until its `changes` are stopped."""

    def __init__(
        self,
        folder: Path,
        press: Press,
        changes: Changes,
        heard: Listener,
        *,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._folder = Folder(folder)
        self._press = press
        self._changes = changes
        self._heard = heard
        self._now = now
        self._done: tuple[bundle.BuildFile, ...] | None = None
        self._settled = False
        self._why: str | None = None
        self._since = 0.0
        self._told: str | None = None

    def run(self) -> None:
        """Publish until stopped; no error ends it, since the next save may mend it."""
        try:
            self._run()
        finally:
            self._tidy()

    def _run(self) -> None:
        while self._changes.wait(at_most=PATIENCE / 2 if self._why else IDLE):
            touched = self._changes.touched
            self.look(touched)
            self._refresh()
            if touched is None and not self._why:
                self._tidy()

    def look(self, touched: frozenset[str] | None = None) -> None:
        """Look at the folder, or at some files of it, and publish it if it is whole and new."""
        began = time.time_ns()
        thorough = touched is None
        try:
            build = self._folder.look(touched)
            if build.files == self._done and (self._settled or not thorough):
                self._why = None
                return
            if lacking := missing(build):
                self._hold(f"index.html names {lacking}, which is not there")
                return
            printed = self._press.publish(build, now=self._now(), thorough=thorough)
        except (Error, OSError) as error:
            self._hold(_said(error))
            return
        # A file changed just now may change again under the same time: it is looked at once more.
        self._settled = all(file.mtime_ns < began - _TICK for file in build.files)
        self._done = build.files
        self._why = self._told = None
        if printed:
            self._heard(printed)

    def _hold(self, why: str) -> None:
        """Take note of why nothing is published, and tell once it has been so for a while."""
        _logger.info("not published: %s", why)
        now = time.monotonic()
        if why != self._why:
            self._why, self._since = why, now
        if now - self._since >= PATIENCE and why != self._told:
            self._told = why
            self._heard(Held(why))

    def _tidy(self) -> None:
        try:
            self._press.tidy(self._changes.pending)
        except (Error, OSError) as error:
            self._hold(_said(error))

    def _refresh(self) -> None:
        now = self._now()
        if self._press.stale(now):
            try:
                self._press.refresh(now)
            except (Error, OSError) as error:
                self._hold(_said(error))


def _said(error: Error | OSError) -> str:
    if isinstance(error, OSError):
        where = error.filename or "the disk"
        return f"cannot use {where}: {os_reason(error)}"
    return str(error)
