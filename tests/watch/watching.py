"""A watch under way in this process, on real files."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from manifestgen import bundle
from manifestgen.config import find
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest
from manifestgen.watch import Changes, Held, Loop, News, Press, Printed, Workshop, open_workshop
from tests.serve.asking import wait_for


@dataclass
class Watching:
    """What a test sees of it."""

    folder: Path
    press: Press
    workshop: Workshop
    changes: Changes
    news: list[News] = field(default_factory=list)

    @property
    def printed(self) -> list[Printed]:
        """What was published."""
        return [one for one in self.news if isinstance(one, Printed)]

    @property
    def held(self) -> list[str]:
        """Why something was not."""
        return [one.why for one in self.news if isinstance(one, Held)]

    @property
    def refused(self) -> list[str]:
        """Why something was not, for another reason than that it was still being written.

        How long that takes is up to the machine.
        """
        passing = (
            "no such folder",
            "not there",
            "nothing yet",
            "cannot be read",
            "has no `index.html`",
        )
        return [why for why in self.held if not any(one in why for one in passing)]

    def offered(self) -> Digest | None:
        """Return the tree that devices are offered."""
        head = self.press.head
        release = head.trusted.releases[0] if head and head.trusted.releases else None
        return release.tree.digest if isinstance(release, Release) else None

    def settles(self) -> None:
        """Wait until the folder as it is now is what is offered."""
        wanted = tree(self.folder)
        wait_for(lambda: self.offered() == wanted)


def tree(folder: Path) -> Digest:
    """Return the digest of what is in a folder."""
    return bundle.pack(bundle.read_build(folder), io.BytesIO()).tree.digest()


def build(folder: Path, text: str = "one", files: int = 3) -> Path:
    """Write a build as a bundler does: its page first, what it names later."""
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    page = f'<!doctype html><script type="module" src="/assets/app-{text}.js"></script>'
    (folder / "index.html").write_text(page)
    for number in range(files - 2):
        (folder / f"assets/chunk-{number}.js").write_text(f"// {text} {number}")
    (folder / f"assets/app-{text}.js").write_text(f"document.body.append({text!r})")
    return folder


def save(path: Path, text: str) -> None:
    """Change a file as an editor does that never leaves half of one: beside, then over."""
    beside = path.with_name(f"{path.name}~")
    beside.write_text(text)
    beside.replace(path)


@contextmanager
def watching(folder: Path, *, poll: bool = False) -> Iterator[Watching]:
    """Watch a folder until left."""

    def now() -> datetime:
        return datetime.now(UTC).replace(microsecond=0)

    with open_workshop(find(folder.parent), folder, now=now()) as workshop:
        changes = Changes(folder, poll=poll)
        watch = Watching(folder, Press(workshop, now=now()), workshop, changes)
        loop = Loop(folder, watch.press, changes, watch.news.append)
        changes.start()
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            yield watch
        finally:
            changes.stop()
            thread.join()
            changes.close()
