"""The client itself: check, install, confirm, status, and the order in which things are saved."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from manifestgen.core.capgo import load_public
from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import Keyring, TrustedManifest, clock, usable
from manifestgen.core.manifest import Manifest
from manifestgen.core.release import Release
from manifestgen.core.select import (
    Decision,
    Device,
    Install,
    Memory,
    Nothing,
    Reset,
    Running,
    Verdict,
    decide,
)
from manifestgen.device.download import Progress
from manifestgen.device.files import explained
from manifestgen.device.home import Home
from manifestgen.device.results import Action, Outcome, Status
from manifestgen.device.stage import Job, applicable, stage
from manifestgen.device.state import State
from manifestgen.device.trust import Trust
from manifestgen.errors import UsageError
from manifestgen.stores import Store
from manifestgen.stores.names import check_channel

_LOG = logging.getLogger(__name__)
_DEFAULT_CHANNEL: Final = "production"


@dataclass(frozen=True, slots=True)
class Facts:
    """What an installation says of itself; see `core.select.Device`."""

    id: str | None = None
    platform: str | None = None
    native: str | None = None
    builtin: str | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """One run, the lock held."""

    site: Store
    home: Home
    trust: Trust
    channel: str
    facts: Facts
    keys: tuple[bytes, ...]
    progress: Progress

    @property
    def state(self) -> State:
        """The state as it is now."""
        return self.trust.state

    def roll_back(self) -> Running | None:
        """Leave a release that was not confirmed before this start; return it."""
        failed = None if self.state.confirmed else self.state.running
        if failed is None:
            return None
        previous = self.state.previous
        if previous is not None and not self.home.holds(previous.tree):
            self.trust.save(replace(self.state, previous=None))
        self._switch(self.state.rolled_back())
        _LOG.warning("%s was not confirmed; it is left and not tried again", failed.version)
        return failed

    def decide(self, trusted: TrustedManifest) -> Decision:
        """Apply the rules to this device."""
        device = Device(
            channel=self.channel,
            id=self.facts.id,
            platform=self.facts.platform,
            native=self.facts.native,
            builtin=self.facts.builtin,
        )
        memory = Memory(
            running=self.state.running,
            floor=self.trust.floor(),
            failed=frozenset(one.tree for one in self.state.failed),
            moved=self.state.channel not in {None, self.channel},
        )
        decision = decide(trusted, device, memory, clock(self.trust.now, trusted.seen))
        match decision:
            case Nothing("current", verdicts):
                return self._repair(trusted, verdicts) or decision
        return decision

    def _repair(self, trusted: TrustedManifest, verdicts: tuple[Verdict, ...]) -> Install | None:
        """Return what mends the release that runs, if its files are not what they were."""
        running = self.state.running
        if running is None or self.home.holds(running.tree):
            return None
        _LOG.warning("the files of %s were changed or removed", running.version)
        same = (one for one in usable(trusted) if one.tree.digest == running.tree)
        release = next(same, None)
        return Install(release, None, False, verdicts) if release else None

    def job(self, install: Install) -> Job:
        """Return what has to be fetched for an installation."""
        return Job(self.site, self.home, install.release, install.patch, self.keys)

    def install(self, release: Release, envelope: Envelope, job: Job) -> tuple[str, int]:
        """Fetch a release and switch to it; return the way it came and the bytes it took."""
        via, transferred = "kept", 0

        def count(size: int) -> None:
            nonlocal transferred
            transferred += size
            self.progress(size)

        slot = Running(release.version, release.tree.digest)
        if self.home.holds(slot.tree):
            self.home.save_release(slot.tree, envelope)
        else:
            staged = stage(job, count)
            self.home.settle(staged.folder, slot.tree, envelope)
            via = staged.via
        self.trust.save(replace(self.state, staged=slot))
        self._switch(replace(self.state.switched(), channel=self.channel))
        self.tidy()
        return via, transferred

    def reset(self) -> None:
        """Go back to the built-in app."""
        self._switch(replace(self.state.without_release(), channel=self.channel))
        self.tidy()

    def stay(self) -> None:
        """Note that nothing is to be done."""
        if self.state.channel != self.channel:
            self.trust.save(replace(self.state, channel=self.channel))
        self.tidy()

    def tidy(self) -> None:
        """Remove downloads that were given up, and bundles nothing leads to."""
        slots = (self.state.running, self.state.previous)
        self.home.tidy({slot.tree for slot in slots if slot})
        self.home.tidy_staging()

    def path(self) -> Path | None:
        """Return the folder that runs."""
        running = self.state.running
        return self.home.bundle(running.tree) if running else None

    def _switch(self, after: State) -> None:
        """Make `current` lead where the state will say; a kill in between is `reconcile`'s."""
        self.home.switch(after.running.tree if after.running else None)
        self.trust.save(after)


def _now() -> datetime:
    return datetime.now(UTC)


def _silent(_size: int) -> None:
    return


class Updater:
    """One device. Made anew for each run of a program or kept; nothing is held in between.

    `root` is the root document the app was built with: it counts until a newer one is pinned in
    the folder `state`. `channel` is by default the one followed so far, at first `production`.
    `key` is the app's public Capgo key in PEM, remembered from then on.
    """

    def __init__(
        self,
        site: Store,
        root: bytes,
        state: Path,
        *,
        channel: str | None = None,
        facts: Facts | None = None,
        key: bytes | None = None,
        now: Callable[[], datetime] = _now,
        progress: Progress = _silent,
    ) -> None:
        self._site = site
        self._root = root
        self._home = Home(state)
        self._channel = check_channel(channel) if channel is not None else None
        self._facts = facts or Facts()
        self._key = key
        self._now = now
        self._progress = progress

    def check(self) -> Outcome:
        """Say what `install` would do; roots and the manifest are remembered, nothing else."""
        with self._run() as run:
            trusted = run.trust.accept(self._site, run.channel)
            decision = run.decide(trusted)
            outcome = Outcome(Action.NONE, run.state.running, run.state.running, run.path())
            match decision:
                case Nothing(reason, verdicts):
                    return replace(outcome, reason=reason, reasons=verdicts)
                case Reset(verdicts):
                    return replace(outcome, action=Action.RESET, after=None, reasons=verdicts)
                case Install(release):
                    return _foreseen(outcome, run, decision, release)

    def install(self) -> Outcome:
        """Leave what was not confirmed, then do what the manifest says.

        Raises:
            VerificationError: what the site says is not to be trusted; nothing was changed.
            StoreError: the site or the disk failed; what runs still runs.
            KeyUseError: the release is encrypted for another key, or none was given.
        """
        with self._run() as run:
            before = run.state.running
            rolled_back = run.roll_back()
            trusted = run.trust.accept(self._site, run.channel)
            decision = run.decide(trusted)
            outcome = Outcome(Action.NONE, before, None, None, rolled_back=rolled_back)
            match decision:
                case Nothing(reason, verdicts):
                    run.stay()
                    outcome = replace(outcome, reason=reason, reasons=verdicts)
                case Reset(verdicts):
                    run.reset()
                    outcome = replace(outcome, action=Action.RESET, reasons=verdicts)
                case Install(release, _, mandatory, verdicts):
                    envelope = _envelope_of(trusted, release)
                    via, transferred = run.install(release, envelope, run.job(decision))
                    outcome = replace(
                        outcome,
                        action=Action.INSTALLED,
                        via=via,
                        bytes=transferred,
                        mandatory=mandatory,
                        notes=release.notes,
                        reasons=verdicts,
                    )
            return replace(outcome, after=run.state.running, path=run.path())

    def confirm(self) -> Status:
        """Say that what runs works; see `confirm`."""
        return confirm(self._home.folder, root=self._root, now=self._now)

    def status(self) -> Status:
        """Say what is known; see `status`."""
        return status(self._home.folder, root=self._root, channel=self._channel)

    @contextmanager
    def _run(self) -> Iterator[_Run]:
        home = self._home
        with explained(home.folder):
            home.prepare()
            with home.lock():
                keyring = home.pin(self._root)
                keys = self._keys()
                state = home.state()
                channel = self._channel or state.channel or _DEFAULT_CHANNEL
                trust = Trust(home, keyring, state, self._now())
                yield _Run(self._site, home, trust, channel, self._facts, keys, self._progress)

    def _keys(self) -> tuple[bytes, ...]:
        """Return the keys to open bundles with: the one given, else the one given once."""
        if self._key is not None:
            load_public(self._key)  # before it is remembered
            self._home.save_key(self._key)
            return (self._key,)
        kept = self._home.key()
        return (kept,) if kept is not None else ()


def confirm(
    state: Path, *, root: bytes | None = None, now: Callable[[], datetime] = _now
) -> Status:
    """Say that what runs works: it is kept from now on, and its floor counts.

    Raises:
        UsageError: there is no device in that folder.
    """
    home = Home(state)
    if not home.folder.is_dir():
        raise UsageError(
            f"there is no device in {state}", hint="run `manifestgen device install` first"
        )
    with explained(home.folder):
        home.prepare()
        with home.lock():
            found, keyring = home.state(), home.keyring(root)
            if not found.confirmed:
                floor = _raised(home, keyring, found, now())
                confirmed = replace(found, confirmed=True, floor=floor, staged=None)
                home.save_state(confirmed)
                # Again, so that the previous copy does not call it unconfirmed.
                home.save_state(confirmed)
            slots = (found.running, found.previous)
            home.tidy({slot.tree for slot in slots if slot})
    return status(state, root=root)


def status(state: Path, *, root: bytes | None = None, channel: str | None = None) -> Status:
    """Say what a device knows of itself; reads only, and waits for nobody."""
    home = Home(state)
    with explained(home.folder):
        found, keyring = home.state(), home.keyring(root)
        followed = channel or found.channel or _DEFAULT_CHANNEL
        manifest = _remembered(home, keyring, followed)
        running = found.running
        return Status(
            app=keyring.root.app if keyring else None,
            channel=followed,
            running=running,
            path=home.bundle(running.tree) if running else None,
            confirmed=found.confirmed,
            previous=found.previous,
            failed=found.failed,
            floor=Trust(home, keyring, found, _now()).floor() if keyring else None,
            sequence=manifest.sequence if manifest else None,
            expires=manifest.expires if manifest else None,
            root=keyring.root.number if keyring else None,
            root_expires=keyring.root.expires if keyring else None,
            checked=found.checked,
        )


def _foreseen(outcome: Outcome, run: _Run, install: Install, release: Release) -> Outcome:
    slot = Running(release.version, release.tree.digest)
    via, size = "kept", 0
    if not run.home.holds(slot.tree):
        way, payload = applicable(run.job(install))[0]
        via, size = way.name, payload.size
    return replace(
        outcome,
        action=Action.INSTALL,
        after=slot,
        via=via,
        bytes=size,
        mandatory=install.mandatory,
        notes=release.notes,
        reasons=install.verdicts,
    )


def _envelope_of(trusted: TrustedManifest, release: Release) -> Envelope:
    at = next(n for n, one in enumerate(trusted.releases) if one is release)
    return trusted.manifest.offers[at].release


def _remembered(home: Home, keyring: Keyring | None, channel: str) -> Manifest | None:
    if keyring is None or home.seen(keyring, channel) is None:
        return None
    return home.manifest(channel)


def _raised(home: Home, keyring: Keyring | None, state: State, now: datetime) -> Envelope | None:
    """Return the release whose floor counts once what runs is confirmed."""
    running = home.release(state.running.tree) if state.running else None
    if keyring is None or running is None:
        return state.floor or running
    trust = Trust(home, keyring, state, now)
    floors = [
        (release.floor, envelope)
        for envelope in (running, state.floor)
        if (release := trust.believed(envelope)) and release.floor
    ]
    return max(floors, key=lambda one: one[0])[1] if floors else None
