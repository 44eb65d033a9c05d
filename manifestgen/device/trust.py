"""Get from what a device trusts to a manifest it may act on, remembering each step at once.

The rules are `core.keyring`'s, in its order; here are the requests between them and what is saved
when. `root.json` is looked at once a day, and the chain is walked when it or a manifest names a
newer root. A root that cannot be had is no news; the manifest that needs it is then refused.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import Keyring, TrustedManifest, check_fresh, named_root
from manifestgen.core.limits import LIMITS
from manifestgen.core.release import Release
from manifestgen.core.version import Version
from manifestgen.device.home import Home
from manifestgen.device.state import State
from manifestgen.errors import FormatError, StoreError, VerificationError
from manifestgen.stores import Store
from manifestgen.stores.names import ROOT, manifest_name, root_name

_LOOK_EVERY: Final = timedelta(days=1)


@dataclass(slots=True)
class Trust:
    """One run's trust: it moves forward with `keyring` and `state`, both saved as they change."""

    home: Home
    keyring: Keyring
    state: State
    now: datetime
    steps: int = LIMITS.root_steps

    def accept(self, site: Store, channel: str) -> TrustedManifest:
        """Fetch the manifest of a channel and remember it, or raise and remember nothing of it."""
        looked = self._look(site)
        data = _fetch_manifest(site, channel)
        if named_root(data) > self.keyring.root.number:
            self._walk(site)
        self.keyring.check_root_fresh(self.now)
        trusted = self.keyring.manifest(data, channel)
        seen = self.home.seen(self.keyring, channel)
        running = self.running()
        check_fresh(
            trusted,
            seen=seen,
            now=self.now,
            root_issued=self.keyring.root.issued,
            running_issued=running.issued if running else None,
        )
        # Before any download: a blob withheld must not make room for an older manifest.
        self.home.save_manifest(channel, data)
        self.save(replace(self.state, checked=self.now, looked=looked))
        return trusted

    def floor(self) -> Version | None:
        """Return the lowest version that confirmed releases allow, as far as they still count."""
        confirmed = self.running() if self.state.confirmed else None
        stored = self.believed(self.state.floor)
        floors = [one.floor for one in (confirmed, stored) if one and one.floor]
        return max(floors, default=None)

    def floored(self) -> State:
        """Return the state with what runs as the holder of the floor, if it counts and is higher.

        Before what runs is left: it may have been confirmed without `confirm`, by the files it
        shares with the release before it, or because a damaged state knew no better.
        """
        slot = self.state.running
        release, held = self.running(), self.believed(self.state.floor)
        if slot is None or not self.state.confirmed or release is None or release.floor is None:
            return self.state
        if held and held.floor and held.floor >= release.floor:
            return self.state
        return replace(self.state, floor=self.home.release(slot.tree))

    def running(self) -> Release | None:
        """Return the release that runs, if the root of today stands behind it."""
        slot = self.state.running
        return self.believed(self.home.release(slot.tree)) if slot else None

    def believed(self, envelope: Envelope | None) -> Release | None:
        """Return a release that the root of today stands behind."""
        if envelope is None:
            return None
        try:
            return self.keyring.release(envelope)
        except VerificationError:
            return None

    def save(self, state: State) -> None:
        """Change the state, on disk first."""
        self.home.save_state(state)
        self.state = state

    def _look(self, site: Store) -> datetime | None:
        """Look at `root.json` if that is due; return when it was last looked at."""
        looked = self.state.looked
        if looked is not None and timedelta(0) <= self.now - looked < _LOOK_EVERY:
            return looked
        newest = _envelope(site, ROOT)
        number = newest[1].signed.get("number") if newest else None
        if type(number) is int and number > self.keyring.root.number:
            self._walk(site)
        return self.now

    def _walk(self, site: Store) -> None:
        """Follow the chain as far as it goes, and as far as one check may."""
        while self.steps > 0:
            found = _envelope(site, root_name(self.keyring.root.number + 1))
            if found is None:
                return
            self.steps -= 1
            self._adopt(found[0])

    def _adopt(self, data: bytes) -> None:
        """Move to the next root, and forget what it no longer stands behind."""
        keyring = self.keyring.follow(data)
        self.home.save_root(data)
        self.keyring = keyring
        self.home.forget_manifests(keyring)
        if self.state.floor is not None and self.believed(self.state.floor) is None:
            self.save(replace(self.state, floor=None))


def _fetch_manifest(site: Store, channel: str) -> bytes:
    stored = site.get(manifest_name(channel), limit=LIMITS.manifest_bytes)
    if stored is None:
        raise StoreError(
            f"{site.location} has no manifest of the channel {channel}",
            hint="are `--site` and `--channel` right?",
        )
    return stored.data


def _envelope(site: Store, name: str) -> tuple[bytes, Envelope] | None:
    """Fetch a root; absent, too large and no envelope are all no news."""
    try:
        stored = site.get(name, limit=LIMITS.root_bytes)
        return (
            (stored.data, Envelope.decode(stored.data, limit=LIMITS.root_bytes)) if stored else None
        )
    except FormatError:
        return None
