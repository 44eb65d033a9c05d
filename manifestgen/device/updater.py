"""The client itself: check, install, confirm, status, and the order in which things are saved."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from manifestgen.core.capgo import load_public
from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import Keyring, TrustedManifest
from manifestgen.core.manifest import Manifest
from manifestgen.core.release import Release
from manifestgen.core.select import Install, Nothing, Reset, Running
from manifestgen.device.download import Progress
from manifestgen.device.files import explained
from manifestgen.device.home import Home
from manifestgen.device.results import Action, Outcome, Status
from manifestgen.device.run import Facts, Run
from manifestgen.device.single import ways
from manifestgen.device.state import State
from manifestgen.device.trust import Trust
from manifestgen.errors import UsageError
from manifestgen.stores import Store
from manifestgen.stores.names import check_channel

_DEFAULT_CHANNEL: Final = "production"


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
    def _run(self) -> Iterator[Run]:
        home = self._home
        with explained(home.folder):
            home.prepare()
            with home.lock():
                keyring = home.pin(self._root)
                keys = self._keys()
                state = home.state()
                channel = self._channel or state.channel or _DEFAULT_CHANNEL
                trust = Trust(home, keyring, state, self._now())
                yield Run(self._site, home, trust, channel, self._facts, keys, self._progress)

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
            f"there is no device in {state}",
            hint="name the folder that `manifestgen device install` was given as --state",
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


def _foreseen(outcome: Outcome, run: Run, install: Install, release: Release) -> Outcome:
    slot = Running(release.version, release.tree.digest)
    via, size = "kept", 0
    if not run.home.holds(slot.tree):
        job = run.job(install)
        way = ways(job, _silent)[0]
        via, size = way.name, way.size(job) or 0
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
