"""The project in `.manifestgen/dev/`: a site, keys and a root that production never hears of.

It is a project like any other, so every command works on it with
`--config .manifestgen/dev/manifestgen.toml`. Its keys are made when it is, also where no keys may
be made otherwise, and nothing is lost with it: whoever deletes the folder gets a new one.
"""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from manifestgen import git
from manifestgen.bundle import version_of
from manifestgen.config import Channel, Settings
from manifestgen.core.version import Version
from manifestgen.errors import (
    ConflictError,
    FormatError,
    StoreError,
    UsageError,
    VerificationError,
)
from manifestgen.publish import init, version_beside
from manifestgen.publish.trust import RootChain, load_roots
from manifestgen.stores import DirectoryStore, Store
from manifestgen.stores.locks import try_lock
from manifestgen.stores.names import RELEASES
from manifestgen.watch.quick import QuickStore

EXPIRES: Final = timedelta(hours=2)
"""How long a development manifest is good for; it is renewed at half time."""
MARK: Final = "dev"
"""The first pre-release identifier of development versions."""

_RELEASE = re.compile(rf"{RELEASES}(.+)\.json")


@dataclass(frozen=True, slots=True)
class Workshop:
    """A development project, its site, and the version that its own lie below."""

    settings: Settings
    chain: RootChain
    store: Store
    base: Version

    @property
    def site(self) -> Path:
        """The folder of the site."""
        return self.settings.folder / self.settings.site

    def version(self, before: Version | None, sequence: int = 1) -> Version:
        """Return the next development version, above the one `before`.

        Where that is lost, devices may still run it: `sequence`, which is not, is at least as high
        as the number of any that there was.
        """
        first = replace(self.base, pre=(MARK, "1" if before else str(sequence)))
        if before is None or before < first:
            return first
        core = replace(before, pre=())
        if len(before.pre) != 2 or before.pre[0] != MARK or not before.pre[1].isdigit():
            return replace(core, patch=core.patch + 1, pre=(MARK, "1"))
        return replace(core, pre=(MARK, str(int(before.pre[1]) + 1)))


@contextmanager
def open_workshop(project: Settings, folder: Path, *, now: datetime) -> Iterator[Workshop]:
    """Open a project's development site, and make it if there is none; one at a time.

    Raises:
        ConflictError: another process watches into it.
        UsageError: it came with somebody's repository or archive, and was not made here.
    """
    settings = development(project)
    _check_ours(settings.folder)
    settings.folder.mkdir(parents=True, exist_ok=True)
    ignore = settings.folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    with _locked(settings.folder):
        init(settings, now=now, ask=_nobody, ci=False)
        chain = _chain(settings)
        store = QuickStore(settings.folder / settings.site, settings.folder / ".tmp")
        yield Workshop(settings, chain, store, _base(project, folder))


def _check_ours(folder: Path) -> None:
    """Refuse a folder that came from elsewhere: others have its keys, or its links lead out of it.

    What is written, and deleted, in a development site goes through no lock and no check of links.
    """
    if git.tracked(folder):
        raise UsageError(
            f"git tracks files in {folder}: whoever put them there has its keys",
            hint=f"`git rm -r --cached {shlex.quote(str(folder))}`, then delete it; another is"
            " made",
        )
    link = next(_links(folder), None)
    if link:
        raise UsageError(
            f"{link} is a symbolic link, and nothing is written through those",
            hint=f"delete {folder}; it is made again",
        )


def _links(folder: Path) -> Iterator[Path]:
    if folder.is_symlink():
        yield folder
    for where, folders, files in os.walk(folder):
        yield from (path for name in (*folders, *files) if (path := Path(where, name)).is_symlink())


def development(project: Settings) -> Settings:
    """Return the settings of a project's development site.

    Keys are its own, whatever the environment or the file names for production.
    """
    return Settings(
        folder=project.state / "dev",
        app=project.app,
        channel=project.channel,
        scheme=project.scheme,
        checksum=project.checksum,
        patches=0,
        channels={project.channel: Channel(EXPIRES)},
    )


def _chain(settings: Settings) -> RootChain:
    chain = load_roots(settings)
    app = chain.keyring.root.app
    if app != settings.app:
        raise VerificationError(
            f"the development site in {settings.folder} is for {app}, not {settings.app}",
            code="wrong_app",
            hint=f"delete {settings.folder}; it is made again",
        )
    return chain


def _base(project: Settings, folder: Path) -> Version:
    """Return the version to come: `package.json`'s, or the one after the last release."""
    named = replace(version_beside(folder), pre=()) if version_of(folder) else Version(0, 0, 1)
    released = max(_released(project), default=None)
    if released is None or named > released:
        return named
    core = replace(released, pre=())
    return core if released.pre else replace(core, patch=core.patch + 1)


def _released(project: Settings) -> Iterator[Version]:
    """Give the versions in a project's site, by name: nothing rests on them but a number."""
    if "://" in project.site:
        return
    with suppress(StoreError):
        for entry in DirectoryStore(project.folder / project.site).names(RELEASES):
            found = _RELEASE.fullmatch(entry.name)
            with suppress(FormatError):
                if found:
                    yield Version.parse(found[1])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder / ".watch-lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if not try_lock(handle):
            holder = path.read_text("ascii", "replace")[:20]
            raise ConflictError(
                f"process {holder or '?'} watches into {folder} already",
                hint="end it first: one site, one watch",
            )
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def _nobody(_name: str) -> None:
    return None
