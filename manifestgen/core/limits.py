"""Every limit of the protocol, in one place, each with its unit and its reason."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds that every client enforces before it spends memory or time."""

    manifest_bytes: int = 256 * 1024
    """3 KB is usual; a device reads this much before it knows whether to believe any of it."""
    release_bytes: int = 64 * 1024
    """One release envelope, a dozen signatures included."""
    root_bytes: int = 128 * 1024
    """One root envelope with 64 keys."""
    depth: int = 16
    """Nested JSON containers; ours need eight. Keeps every recursive reader off its stack."""
    signatures: int = 32
    """Per envelope: an old and a new root threshold of sixteen."""
    keys: int = 64
    """Per root."""
    offers: int = 16
    """Per manifest: each costs the device one signature check."""
    patches: int = 16
    """Per offer."""
    withdrawn: int = 64
    """Versions per manifest."""
    notes_bytes: int = 512
    """Release notes as UTF-8: the manifest is fetched at every check."""
    root_steps: int = 64
    """Root documents walked in one check."""
    future: timedelta = timedelta(hours=24)
    """How far ahead of a device's clock a manifest may say it was issued."""
    files: int = 20_000
    """Per bundle; the largest real build we measure has 4,859."""
    folders: int = 20_000
    """Per bundle, those above its files and those in them: each takes a device a call to make."""
    path_bytes: int = 512
    """One path in a bundle, as UTF-8."""
    bundle_bytes: int = 2**31 - 1
    """A bundle, packed or unpacked: what a 32-bit device can hold in one file."""


LIMITS: Final = Limits()
