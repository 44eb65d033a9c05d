"""What a device remembers between runs, and how it changes. No files here.

Which manifest was accepted last is not part of it: that is kept whole, for a new root to judge.
What runs is told by the link `current` alone; `reconcile` makes a state agree with it after a
kill, after damage, or after somebody restored an old copy.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

from manifestgen.core import canonical
from manifestgen.core.canonical import Json
from manifestgen.core.envelope import Envelope
from manifestgen.core.limits import LIMITS
from manifestgen.core.reader import Reader, format_time
from manifestgen.core.release import read_version
from manifestgen.core.root import is_channel
from manifestgen.core.select import Running
from manifestgen.core.tree import Digest
from manifestgen.errors import FormatError

MAX_FAILED: Final = 64
"""Trees remembered as failed; the oldest is forgotten, or the file would grow for ever."""
MAX_BYTES: Final = LIMITS.manifest_bytes + 64 * 1024
"""One release envelope as a manifest may hold it, and everything else many times over."""

_TYPE: Final = "device.v1"


@dataclass(frozen=True, slots=True)
class State:
    """One moment of a device.

    `running` is `None` for the built-in app. `confirmed` says of `running` that it works, and is
    true of the built-in app. `previous` is where an unconfirmed release falls back to. `staged`
    is a release about to be switched to. `floor` is the confirmed release whose floor counts.
    `checked` and `looked` are the last accepted manifest and the last look at `root.json`.
    """

    channel: str | None = None
    running: Running | None = None
    confirmed: bool = True
    previous: Running | None = None
    staged: Running | None = None
    failed: tuple[Running, ...] = ()
    floor: Envelope | None = None
    checked: datetime | None = None
    looked: datetime | None = None

    def switched(self) -> Self:
        """Return the state after the switch to what was staged.

        The same files under another version have nothing new to prove.
        """
        if _tree(self.staged) == _tree(self.running):
            return replace(self, running=self.staged, staged=None)
        return replace(
            self, running=self.staged, confirmed=False, previous=self.running, staged=None
        )

    def rolled_back(self) -> Self:
        """Return the state after what runs has failed and the previous release is back."""
        failed = self.failed
        if self.running is not None:
            others = (one for one in failed if one.tree != self.running.tree)
            failed = (*others, self.running)[-MAX_FAILED:]
        return replace(
            self, running=self.previous, confirmed=True, previous=None, staged=None, failed=failed
        )

    def without_release(self) -> Self:
        """Return the state after going back to the built-in app."""
        return replace(self, running=None, confirmed=True, previous=None, staged=None)

    def reconcile(self, current: Digest | None, described: Running | None) -> Self:
        """Make the state agree with the tree that `current` leads to.

        `described` is what lies beside that tree, for when this state does not know it. A release
        found so counts as confirmed: nothing says that it failed.
        """
        if current == _tree(self.running):
            return self
        if current is not None and current == _tree(self.staged):
            return self.switched()  # killed between the switch and its record
        if not self.confirmed and current == _tree(self.previous):
            return self.rolled_back()  # killed between the way back and its record
        return replace(self, running=described, confirmed=True, previous=None, staged=None)

    def encode(self) -> bytes:
        """Return the file's bytes."""
        members: dict[str, Json] = {
            "confirmed": self.confirmed,
            "failed": [_slot(one) for one in self.failed],
            "type": _TYPE,
        }
        for name in ("running", "previous", "staged"):
            slot: Running | None = getattr(self, name)
            if slot is not None:
                members[name] = _slot(slot)
        for name in ("checked", "looked"):
            moment: datetime | None = getattr(self, name)
            if moment is not None:
                members[name] = format_time(moment)
        if self.channel is not None:
            members["channel"] = self.channel
        if self.floor is not None:
            members["floor"] = self.floor.to_json()
        return canonical.encode(members)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a state, or raise `FormatError`: damaged, or a newer client's."""
        read = Reader(canonical.decode(data, limit=MAX_BYTES), "$")
        if read.get("type") != _TYPE:
            raise FormatError(f"$.type: want {_TYPE}")
        return cls(
            channel=_channel(read),
            running=_read_slot(read, "running"),
            confirmed=read.flag("confirmed"),
            previous=_read_slot(read, "previous"),
            staged=_read_slot(read, "staged"),
            failed=read.list("failed", _slot_item, most=MAX_FAILED),
            floor=Envelope.from_json(read.get("floor"), "$.floor") if read.has("floor") else None,
            checked=read.time("checked") if read.has("checked") else None,
            looked=read.time("looked") if read.has("looked") else None,
        )


def _tree(slot: Running | None) -> Digest | None:
    return slot.tree if slot else None


def _slot(slot: Running) -> Json:
    return {"tree": slot.tree, "version": str(slot.version)}


def _slot_item(value: Json, at: str) -> Running:
    read = Reader(value, at)
    return Running(read_version(read, "version"), Digest(read.digest("tree")))


def _read_slot(read: Reader, name: str) -> Running | None:
    return _slot_item(read.get(name), f"$.{name}") if read.has(name) else None


def _channel(read: Reader) -> str | None:
    if not read.has("channel"):
        return None
    channel = read.string("channel", most=64)
    if not is_channel(channel):
        raise FormatError(f"$.channel: {channel!r} is no channel name")
    return channel
