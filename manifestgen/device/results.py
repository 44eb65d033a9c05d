"""What the client answers: plain values for programs and for the command line."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from manifestgen.core.select import Running, Verdict
from manifestgen.core.version import Version


class Action(StrEnum):
    """What was done, or by `check` would be."""

    NONE = "none"
    INSTALL = "install"
    INSTALLED = "installed"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a check or an installation.

    `before` and `after` are what ran and what runs now; `None` is the built-in app. `via` is how
    the release came (`bundle`, `files`, `patch`, or `kept` if it was still here), `bytes` what was
    transferred for it; `check` says what would be. `path` is the folder that runs. `reason` is
    why nothing is done, `reasons` says of every offer what came of it. `rolled_back` is a release
    that was found unconfirmed and left.
    """

    action: Action
    before: Running | None
    after: Running | None
    path: Path | None
    via: str | None = None
    bytes: int = 0
    mandatory: bool = False
    notes: str = ""
    reason: str | None = None
    reasons: tuple[Verdict, ...] = ()
    rolled_back: Running | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What a device knows of itself, without asking anybody."""

    app: str | None
    channel: str
    running: Running | None
    path: Path | None
    confirmed: bool
    previous: Running | None
    failed: tuple[Running, ...]
    floor: Version | None
    sequence: int | None
    expires: datetime | None
    root: int | None
    root_expires: datetime | None
    checked: datetime | None
