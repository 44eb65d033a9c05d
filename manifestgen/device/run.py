"""The steps of one run, each of which leaves the state folder in a state that the next run reads.

What `current` leads to changes in one place, `Run._switch`; everything before it is preparation and
everything after it is tidying. `updater` says which steps are taken.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import TrustedManifest, clock, usable
from manifestgen.core.release import Release
from manifestgen.core.select import (
    Decision,
    Device,
    Install,
    Memory,
    Nothing,
    Running,
    Verdict,
    decide,
)
from manifestgen.device.download import Progress
from manifestgen.device.home import Home
from manifestgen.device.single import ways
from manifestgen.device.stage import Job, stage
from manifestgen.device.state import State
from manifestgen.device.trust import Trust
from manifestgen.stores import Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """What an installation says of itself; see `core.select.Device`."""

    id: str | None = None
    platform: str | None = None
    native: str | None = None
    builtin: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run, the lock held: the steps that change what a device has."""

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
        _LOG.info("%s was not confirmed; it is left and not tried again", failed.version)
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
        _LOG.info("the files of %s were changed or removed", running.version)
        same = (one for one in usable(trusted) if one.tree.digest == running.tree)
        release = next(same, None)
        return Install(release, None, False, verdicts) if release else None

    def job(self, install: Install) -> Job:
        """Return what has to be fetched for an installation."""
        slots = (self.state.running, self.state.previous)
        held = tuple(self.home.bundle(slot.tree) for slot in slots if slot)
        return Job(self.site, self.home, install.release, install.patch, self.keys, held)

    def install(self, release: Release, envelope: Envelope, job: Job) -> tuple[str, int]:
        """Fetch a release and switch to it; return the way it came and the bytes it took."""
        via, transferred = "kept", 0

        def count(size: int) -> None:
            nonlocal transferred
            transferred += size
            self.progress(size)

        slot = Running(release.version, release.tree.digest)
        floored = self.trust.floored()  # before the envelope beside the same files is replaced
        if self.home.holds(slot.tree):
            self.home.save_release(slot.tree, envelope)
        else:
            staged = stage(job, count, ways(job, count))
            self.home.settle(staged.folder, slot.tree, envelope)
            via = staged.via
        self.trust.save(replace(floored, staged=slot))
        self._switch(replace(self.state.switched(), channel=self.channel))
        self.tidy()
        return via, transferred

    def reset(self) -> None:
        """Go back to the built-in app."""
        self._switch(replace(self.trust.floored().without_release(), channel=self.channel))
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
