"""Notice that something changed in a folder, whatever is done to the folder itself.

Notices only say "look", and at which files: what changed is found by looking. After each notice the
whole folder is looked at a few times more. So an event that is lost, or one too many, does no harm,
and the folder may be deleted, made again or replaced by another; and a system that watches folder
by folder misses what is written into a new one before it is watched.

Reading is no change: watchdog reports that files were opened and closed, and whoever reads because
of that never ends.
"""

import os
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch

QUIET: Final = 0.020
"""Seconds without a change that end a burst."""
IDLE: Final = 5.0
"""Seconds between looks when all is still."""

_WRITES: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]
# Seconds after a notice at which to look again; oftener where folders came or went.
_AGAIN = (0.5,)
_AGAIN_FOLDERS = (0.1, 0.4, 2.0)
_POLL = 0.3  # seconds between looks where the system tells nothing


class Changes(FileSystemEventHandler):
    """Tells when to look at a folder, which need not exist yet; its parent must.

    With `poll`, or where the system can watch no more folders, it is looked at every third of a
    second.
    """

    def __init__(self, folder: Path, *, poll: bool = False) -> None:
        self._folder = Path(os.path.normpath(folder.absolute()))
        self._poll = poll
        self._condition = threading.Condition()
        self._last: float | None = 0.0  # of the newest notice that nobody has taken yet
        self._again: list[float] = []
        self._folders = False
        self._touched: set[str] | None = None
        self._due: frozenset[str] | None = None
        self._stopped = False
        self._observer = None if poll else Observer()
        self._watch: ObservedWatch | None = None
        self._watched: tuple[int, int] | None = None

    @property
    def polls(self) -> bool:
        """Whether the folder is looked at again and again."""
        return self._poll

    @property
    def touched(self) -> frozenset[str] | None:
        """The files to look at, by their paths in the folder; `None` if it is all of it."""
        return self._due

    def pending(self) -> bool:
        """Tell whether something has changed that nobody has looked at yet."""
        return self._last is not None

    def start(self) -> None:
        """Watch from now on."""
        if self._observer is None:
            return
        try:
            self._observer.schedule(self, str(self._folder.parent), event_filter=_WRITES)
            self._observer.start()
        except OSError:  # out of watches: `fs.inotify.max_user_watches`
            self._give_up()
        self._arm()

    def stop(self) -> None:
        """Watch no more; whoever waits is let go. May be called from a signal handler's thread."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def close(self) -> None:
        """End the threads of the watching."""
        self.stop()
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take note of a change in the folder, or of the folder."""
        ours = os.fspath(self._folder)
        real = self._watch.path if self._watch else ours
        inside: set[str] = set()
        for path in (event.src_path, event.dest_path):
            name = os.fsdecode(path)
            for one in (ours, real):
                if name == one:
                    self.notice(folders=event.is_directory)
                    return
                if name.startswith(one + os.sep):
                    inside.add(name[len(one) + 1 :].replace(os.sep, "/"))
                    break
        if inside and event.is_directory:
            self.notice(folders=True)
        elif inside:
            self.notice(files=inside)

    def notice(self, *, files: Collection[str] | None = None, folders: bool = False) -> None:
        """Ask for a look at some files, or at everything; `folders` if one of them came or went."""
        with self._condition:
            if files is None:
                self._touched = None
            elif self._last is None:
                self._touched = set(files)
            elif self._touched is not None:
                self._touched.update(files)
            self._last = time.monotonic()
            self._folders = self._folders or folders
            self._condition.notify_all()

    def wait(self, *, at_most: float = IDLE, patience: float = 1.0) -> bool:
        """Wait until a look is due and it has been quiet; `False` once stopped.

        `at_most` is for how long, in seconds; `patience` how long a burst may last.
        """
        with self._condition:
            until = time.monotonic() + min(self._pause(), at_most)
            while self._last is None and not self._stopped:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._condition.wait(left)
            if self._last is not None:
                self._wait_for_quiet(patience)
                now = time.monotonic()
                delays = _AGAIN_FOLDERS if self._folders else _AGAIN
                self._again = [now + delay for delay in delays]
                self._folders = False
            # Before the look: what changes from here on asks for another.
            some = self._last is not None and self._touched is not None and not self._poll
            self._due = frozenset(self._touched or ()) if some else None
            self._last = self._touched = None
            self._again = [due for due in self._again if due > time.monotonic()]
            if self._stopped:
                return False
        self._arm()
        return True

    def _wait_for_quiet(self, patience: float) -> None:
        end = time.monotonic() + patience
        while not self._stopped and self._last is not None:
            left = min(self._last + QUIET, end) - time.monotonic()
            if left <= 0:
                return
            self._condition.wait(left)

    def _pause(self) -> float:
        if self._poll:
            return _POLL
        return max(0.0, self._again[0] - time.monotonic()) if self._again else IDLE

    def _arm(self) -> None:
        """Watch the folder that has the name now; one that was deleted tells nothing more."""
        now = _identity(self._folder)
        if self._observer is None or now == self._watched:
            return
        self._disarm()
        if now is None:
            return
        try:
            self._watch = self._observer.schedule(
                self, os.path.realpath(self._folder), recursive=True, event_filter=_WRITES
            )
        except FileNotFoundError:
            pass  # gone again; the parent will tell
        except OSError:
            self._give_up()
        else:
            self._watched = now
        self.notice(folders=True)  # what was written before it was watched told nobody

    def _disarm(self) -> None:
        self._watched = None
        if self._observer is not None and self._watch is not None:
            with suppress(KeyError, OSError):
                self._observer.unschedule(self._watch)
        self._watch = None

    def _give_up(self) -> None:
        self._poll = True
        observer, self._observer = self._observer, None
        if observer is not None and observer.is_alive():
            observer.stop()


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
