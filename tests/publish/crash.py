"""Every command that changes a site, killed or refused at every operation of its store.

A command runs in this process over a site in memory; keys, roots and sequences are real files.
After each death three things are looked at: that the site verifies but for what the last step of a
commit still has to bring up to date, that devices see the old or the new manifest and nothing
between, and that the same command, run again, ends where an undisturbed one does.

`python -m tests.publish.crash_table` prints the table.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final, Self, TypeAlias, TypeVar

from manifestgen.config import Settings, load
from manifestgen.copy import copy_site
from manifestgen.core.manifest import EVERY_DEVICE
from manifestgen.core.version import Version
from manifestgen.errors import ConflictError, StoreError, UsageError
from manifestgen.kit import Kit, Trust, receive
from manifestgen.publish import Request, publish, read_build
from manifestgen.publish.apply import apply_root
from manifestgen.publish.channels import (
    Desk,
    promote,
    readmit,
    refresh,
    roll_back,
    roll_out,
    set_paused,
    withdraw,
)
from manifestgen.publish.prune import prune
from manifestgen.publish.trust import load_roots
from manifestgen.stores import SMALL, DirectoryStore, Entry, MemoryStore, Store, Stored
from manifestgen.verify import Anchor, Expected, verify
from tests.channels.conftest import Publisher
from tests.publish.project import changes, copy_project
from tests.stores.faulty import FaultyStore, Killed

URL: Final = "https://cdn.example.com/app"
# `manifest.json`, `capgo.json` and the releases that a new root has signed again follow the commit.
PASSING: Final = {"history", "capgo", "signature", "root", "root_unknown", "missing"}

CONFIG: Final = f"""\
app = "com.example.shop"
scheme = "none"
base_url = "{URL}"
patches = 1
[channels.production]
expires = "30d"
"""

V = Version.parse
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """A project, the sites it had, and the time."""

    folder: Path
    now: datetime
    site: MemoryStore

    @property
    def settings(self) -> Settings:
        return load(self.folder / "manifestgen.toml", {})

    def desk(self, store: Store) -> Desk:
        return Desk.open(self.settings, store, ask=lambda _: None, now=self.now)


Run: TypeAlias = Callable[[World, Store], object]


@dataclass(frozen=True, slots=True)
class Command:
    """What is run, on which of the worlds; `repeats` if each run makes a new manifest.

    `lags` if it refuses to do again what is done: then the page waits for the next change.
    """

    world: str
    run: Run
    repeats: bool = False
    lags: bool = False


def _publish(world: World, store: Store) -> object:
    request = Request(
        read_build(world.settings, world.folder / "dist/1.3.0"), "production", V("1.3.0")
    )
    return publish(world.settings, request, store=store, ask=lambda _: None, now=world.now)


def _readmit(world: World, store: Store) -> object:
    try:
        return readmit(world.desk(store), "beta", V("1.0.0"))
    except UsageError as error:
        # Whoever readmits a second time is told so; what was half done is finished all the same.
        if "1.0.0 is not withdrawn" not in str(error):
            raise
        return None


def _prune(world: World, store: Store) -> object:
    return prune(world.desk(store).site, keep=1, grace=timedelta(0), now=world.now)


def _import(world: World, store: Store) -> object:
    trust = Trust(chain=load_roots(world.settings))
    receipt = world.folder / "news.receipt.json"
    with Kit.open(world.folder / "news.kit") as kit:
        return receive(kit, trust, world.settings, store, now=world.now, receipt=receipt)


def _copy(world: World, store: Store) -> object:
    anchor = Anchor.of(*load_roots(world.settings).documents)
    source = DirectoryStore(world.folder / "newer")
    return copy_site(source, store, anchor, world.settings, now=world.now)


COMMANDS: Final[dict[str, Command]] = {
    "publish": Command("base", _publish),
    "first publish": Command("empty", _publish),
    "channel pause": Command("base", lambda w, s: set_paused(w.desk(s), "production", paused=True)),
    "channel rollout": Command("base", lambda w, s: roll_out(w.desk(s), "beta", 5000, None)),
    "channel withdraw": Command("base", lambda w, s: withdraw(w.desk(s), "production", V("1.2.0"))),
    "channel readmit": Command("base", _readmit, lags=True),
    "channel rollback": Command(
        "base", lambda w, s: roll_back(w.desk(s), "production", V("1.1.0"))
    ),
    "channel promote": Command(
        "base", lambda w, s: promote(w.desk(s), "nightly", V("1.2.0"), EVERY_DEVICE)
    ),
    "refresh": Command("base", lambda w, s: refresh(w.desk(s), "production"), repeats=True),
    "prune": Command("late", _prune),
    "keys apply": Command("rotated", lambda w, s: apply_root(w.desk(s))),
    "kit import": Command("receiving", _import),
    "first kit import": Command("receiving nothing", _import),
    "site copy": Command("receiving", _copy),
}


# The worlds


def make_worlds(folder: Path) -> dict[str, World]:
    """Make every world that a command begins in."""
    made = Publisher(folder / "shop")
    made.folder.mkdir(parents=True)
    made.configure(CONFIG)
    made.does("init")
    empty = _kept(made, folder / "empty")
    made.configure(CONFIG.replace("base_url", "# base_url"))  # else it continues a live site
    made.publish("1.0.0")
    made.configure(CONFIG)
    made.publish("1.1.0")
    made.does("channel promote 1.1.0 --to beta --rollout 10%")
    made.does("channel withdraw 1.0.0 --channel beta")
    made.does("channel promote 1.1.0 --to beta --rollout 10%")
    older = _kept(made, folder / "older")
    made.publish("1.2.0")
    made.does("channel rollout 20% --channel beta")
    base = _kept(made, folder / "base")
    worlds = {"empty": empty, "base": base}
    worlds["receiving"] = _receiving(made, older, folder / "receiving")
    worlds["receiving nothing"] = _receiving(made, empty, folder / "nothing")
    made.later(days=200)
    worlds["late"] = _kept(made, folder / "late")
    rotated = _kept(made, folder / "rotated")
    made.does("keys create --only signing --out-dir new")
    old = made.data("keys list")["keys"][0]["keyid"]
    made.does(f"keys rotate {old} --to file:new/signing.pem")
    _replace(made.folder, rotated.folder)
    keys = '[keys]\nroot = ["file:.manifestgen/keys/signing.pem", "file:new/signing.pem"]\n'
    (rotated.folder / "manifestgen.toml").write_text(f"{CONFIG}{keys}")
    worlds["rotated"] = rotated
    return worlds


def _kept(made: Publisher, folder: Path) -> World:
    """Keep a project as it is now, its site in memory, with the build of 1.3.0."""
    _replace(made.folder, folder)
    build = folder / "dist/1.3.0"
    build.mkdir(parents=True, exist_ok=True)
    (build / "index.html").write_text("<!doctype html><title>1.3.0</title>\n")
    return World(folder, made.now, in_memory(DirectoryStore(made.site)))


def _receiving(made: Publisher, before: World, folder: Path) -> World:
    """Keep the project without its keys, on a site as it was before; with news to bring there."""
    _replace(made.folder, folder)
    shutil.rmtree(folder / ".manifestgen/keys")
    shutil.copytree(made.site, folder / "newer")
    made.does("kit export --to", folder / "news.kit")
    return World(folder, made.now, before.site)


def _replace(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("site"))


def in_memory(store: Store) -> MemoryStore:
    """Copy a site into memory."""
    made = MemoryStore()
    for name, data in contents(store).items():
        made.create(name, data)
    return made


def contents(store: Store) -> dict[str, bytes]:
    """Return every object of a store."""
    found = {}
    for entry in store.names():
        file = store.open(entry.name)
        assert file
        with file:
            found[entry.name] = file.read()
    return found


# Deaths


class CutStore:
    """`base` whose network is cut at the n-th operation, reads included, and stays so.

    With `blip` only that one operation fails. A write may have been done when the cut comes.
    """

    def __init__(self, base: Store, at: int, *, done: bool, blip: bool = False) -> None:
        self.base = base
        self.at = at
        self.operations = 0
        self._done = done
        self._blip = blip

    @property
    def location(self) -> str:
        return self.base.location

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        self._step()
        return self.base.get(name, limit=limit)

    def open(self, name: str) -> BinaryIO | None:
        self._step()
        return self.base.open(name)

    def size(self, name: str) -> int | None:
        self._step()
        return self.base.size(name)

    def names(self, prefix: str = "") -> Iterator[Entry]:
        self._step()
        return self.base.names(prefix)

    def folders(self) -> list[str]:
        self._step()
        return self.base.folders()

    def scratch(self) -> AbstractContextManager[Path]:
        return self.base.scratch()

    def add(self, name: str, source: Path | bytes) -> bool:
        return self._write(lambda: self.base.add(name, source))

    def create(self, name: str, data: bytes) -> None:
        self._write(lambda: self.base.create(name, data))

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        self._write(lambda: self.base.replace(name, data, tag=tag))

    def delete(self, name: str) -> None:
        self._write(lambda: self.base.delete(name))

    def _write(self, change: Callable[[], T]) -> T:
        if self._done and self.operations + 1 == self.at:
            change()  # the answer is what was lost
        self._step()
        return change()

    def _step(self) -> None:
        self.operations += 1
        if self._cut:
            raise StoreError("the network is cut", hint="mend it")

    @property
    def _cut(self) -> bool:
        return self.operations == self.at if self._blip else self.operations >= self.at


@dataclass(slots=True)
class Tried:
    """What came of a command: store operations, deaths, and what was seen after each."""

    operations: int = 0
    deaths: int = 0
    seen: Counter[str] = field(default_factory=Counter)


def killed_everywhere(world: World, command: Command, scratch: Path) -> Tried:
    """Kill a command before and after every change it makes."""
    judge = _Judge.of(world, command, scratch)
    tried = Tried()
    for number in count(1):
        with _begun(world, scratch) as (one, site):
            store = FaultyStore(site, stop_before=number)
            try:
                command.run(one, store)
            except Killed:
                judge.check(one, site, f"killed at {store.steps[-1]}", tried)
            else:
                tried.operations = len(store.steps) // 2
                return tried
    raise AssertionError


def cut_everywhere(
    world: World, command: Command, scratch: Path, *, done: bool, blip: bool = False
) -> Tried:
    """Cut the network at every operation of a command, reads included."""
    judge = _Judge.of(world, command, scratch)
    tried = Tried()
    for number in count(1):
        with _begun(world, scratch) as (one, site):
            store = CutStore(site, number, done=done, blip=blip)
            try:
                command.run(one, store)
            except StoreError:
                judge.check(one, site, f"cut at operation {number}", tried)
            except ConflictError:
                assert done, f"a conflict with nobody, cut at operation {number}"
                judge.check(one, site, f"answer lost at operation {number}", tried)
            else:
                if store.operations < number:
                    tried.operations = store.operations
                    return tried
                judge.check(one, site, f"went on after a cut at operation {number}", tried)
    raise AssertionError


@contextmanager
def _begun(world: World, scratch: Path) -> Iterator[tuple[World, MemoryStore]]:
    folder = Path(tempfile.mkdtemp(dir=scratch)) / "project"
    try:
        copy_project(world.folder, folder)
        yield replace(world, folder=folder), in_memory(world.site)
    finally:
        shutil.rmtree(folder.parent)


@dataclass(frozen=True, slots=True)
class _Judge:
    command: Command
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    known: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, world: World, command: Command, scratch: Path) -> Self:
        """Run the command undisturbed, to know where it ends."""
        with _begun(world, scratch) as (one, site):
            before = contents(site)
            known = frozenset(problems(one, site)) if before else frozenset()
            command.run(one, site)
            return cls(command, before, contents(site), known)

    def check(self, world: World, site: MemoryStore, where: str, tried: Tried) -> None:
        """Look at a site after a death, run the command again, and look once more."""
        tried.deaths += 1
        seen = contents(site)
        tried.seen[self._state(seen, where)] += 1
        if any(name.endswith("/manifest.json") for name in seen):
            fresh = set(problems(world, site)) - self.known
            bad = {one for one in fresh if not _is_passing(one)}
            assert not bad, f"{where}: {sorted(bad)}"
        self.command.run(world, site)
        left = {one for one in problems(world, site) if one[1] not in EXPIRED}
        assert not left, f"{where}, then again: {sorted(left)}"
        if self.command.repeats:
            self._check_sequences(contents(site), where)
        else:
            lagging = {"index.html"} if self.command.lags else set()
            differing = set(changes(self.after, contents(site))) - lagging
            assert not differing, f"{where}, then again: {differing}"

    def _state(self, seen: Mapping[str, bytes], where: str) -> str:
        """Tell whether devices see the old or the new; each blob that either needs is there."""
        states = set()
        for name in {*self.before, *self.after}:
            if name.endswith("/manifest.json"):
                old, new = self.before.get(name), self.after.get(name)
                found = seen.get(name)
                assert found in (old, new), f"{where}: {name} is neither old nor new"
                self._check_whole(found, seen, where)
                if old != new:
                    states.add("new" if found == new else "old")
        return " and ".join(sorted(states)) or "the same"

    def _check_whole(self, manifest: bytes | None, seen: Mapping[str, bytes], where: str) -> None:
        for name in {**self.before, **self.after}:
            named = Path(name).stem.encode() in (manifest or b"")
            if name.startswith("blobs/") and named:
                assert name in seen, f"{where}: {name} is offered, and not there"

    def _check_sequences(self, found: Mapping[str, bytes], where: str) -> None:
        numbers = sorted(name for name in found if name.startswith("production/history/"))
        assert len(numbers) - sum(name in self.before for name in numbers) in (1, 2), where


EXPIRED: Final = {"expired", "root_expired"}


def _is_passing(problem: tuple[str, str]) -> bool:
    """Tell whether a problem is one of a commit whose last steps are still to be done."""
    where, code = problem
    return code in PASSING and not where.startswith("blobs/")


def problems(world: World, store: Store) -> Iterator[tuple[str, str]]:
    """Verify a site from the project's own root."""
    anchor = Anchor.of(*load_roots(world.settings).documents)
    report = verify(store, anchor, now=world.now, expected=Expected(base_url=URL))
    yield from ((one.where, one.code) for one in report.problems)
