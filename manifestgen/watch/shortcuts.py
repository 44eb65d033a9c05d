"""Patches from the last few builds, made while somebody waits: what changed, whole.

They obey `docs/format.md` section 18 and save nothing inside a file; `core.diff` looks for what is
alike there, for which a developer would wait. A device in the same network loads some kilobytes
instead of the bundle.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import deflate

from manifestgen.core.patch import Header, listing_line
from manifestgen.core.tree import Digest, File
from manifestgen.watch.rolling import Rolled, Rolling

BASES: Final = 3
"""From how many builds back devices are led on."""
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of changed files from which on devices load the bundle: packing them would take longer."""

_EMPTY: Final = b"\x03\x00"  # a stream of no bytes


@dataclass(frozen=True, slots=True)
class _Base:
    """A build that devices may run; `before` has what changed since, as it was then."""

    tree: Digest
    paths: tuple[str, ...]
    before: dict[str, File | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A patch in the clear, from the build `base`."""

    base: Digest
    plain: bytes


class Shortcuts:
    """Remembers the last builds, and makes the patches from each to the newest."""

    def __init__(self) -> None:
        self._bases: list[_Base] = []

    def note(self, rolled: Rolled) -> None:
        """Take note of what changed; to be told of every build, published or not."""
        for base in self._bases:
            for path, file in rolled.before.items():
                base.before.setdefault(path, file)

    def offered(self, rolled: Rolled) -> None:
        """Take note that devices are offered the newest build."""
        others = [base for base in self._bases if base.tree != rolled.tree]
        self._bases = [_Base(rolled.tree, rolled.paths), *others][:BASES]

    def make(self, rolled: Rolled, bundle: Rolling) -> Iterator[Shortcut]:
        """Make the patches that are worth having to the newest build."""
        packed: dict[tuple[File, ...], bytes] = {}
        for base in self._bases:
            comes = [file for path in sorted(base.before) if (file := bundle.file(path))]
            comes = [file for file in comes if base.before[file.path] != file]
            if base.tree == rolled.tree or sum(file.size for file in comes) > LARGEST:
                continue
            key = tuple(comes)
            if key not in packed:  # as a rule the same file was saved again and again
                packed[key] = _literals(comes, bundle)
            yield Shortcut(base.tree, _patch(base, rolled.tree, comes, packed[key], bundle.file))


def _literals(comes: list[File], bundle: Rolling) -> bytes:
    contents = [bundle.content(file.path) for file in comes]
    data = _listing(comes) + b"".join(contents)
    return bytes(deflate.deflate_compress(data, 1)) if data else _EMPTY


def _patch(
    base: _Base,
    target: Digest,
    comes: list[File],
    literals: bytes,
    now: Callable[[str], File | None],
) -> bytes:
    """Return the patch whose new side is all its own: one step, or none where nothing comes."""
    goes = [file for file in base.before.values() if file and now(file.path) != file]
    listing = _listing(comes)
    new = len(listing) + sum(file.size for file in comes)
    steps = 1 if new else 0
    # The jump goes back by what was inserted, for even where nothing is copied, no step may leave
    # the old side.
    insert, back, copy = (_spelt(number) * steps for number in (new, max(0, 2 * new - 1), 0))
    plain = [_kept(base, goes), insert, back, copy]
    packed = [_stored(stream) for stream in plain]
    header = Header(
        base=base.tree,
        target=target,
        listing=len(listing),
        new=new,
        old=len(_listing(goes)) + sum(file.size for file in goes),
        steps=steps,
        plain=(*map(len, plain), new),
        packed=(*map(len, packed), len(literals)),
    )
    return b"".join((header.encode(), *packed, literals))


def _listing(files: list[File]) -> bytes:
    return b"".join(listing_line(file.path, file.size) for file in files)


def _kept(base: _Base, goes: list[File]) -> bytes:
    """Spell how many files stay, go, stay, and so on, in the order of the base."""
    places = sorted(bisect_left(base.paths, one.path.encode(), key=str.encode) for one in goes)
    runs: list[int] = []
    at = 0
    for place in places:
        if runs and place == at:
            runs[-1] += 1
        else:
            runs += [place - at, 1]
        at = place + 1
    if at < len(base.paths):
        runs.append(len(base.paths) - at)
    return b"".join(map(_spelt, runs))


def _spelt(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


def _stored(data: bytes) -> bytes:
    return bytes(deflate.deflate_compress(data, 1)) if data else _EMPTY
