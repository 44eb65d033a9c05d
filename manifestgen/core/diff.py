"""Make the patches that `patch` applies: the same trees give the same bytes.

Bundlers name chunks by their content, so one edit renames hundreds of files. What is compared is
therefore not file with file but all contents that went away, together, with all that came. Where
the two are alike is HDiffPatch's to find (`hdiffpatch`); only its list of covers is used. What
differs inside a cover is then sent as bytes, not as differences: in text the same names keep
returning, and deflate finds them again. That made every patch we measured smaller, and left a
format without a second layer.

The contents of both sides are handed over group by group, so that memory holds two groups with
their suffix arrays (four bytes for each of the old side) and never the whole.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple, Protocol, TypeAlias, TypeVar

from manifestgen.core.patch import LISTING_BYTES, Content, Header, listing_line
from manifestgen.core.tree import Digest, File, Tree
from manifestgen.errors import Error

A = TypeVar("A")
B = TypeVar("B")

Contents: TypeAlias = Callable[[File], bytes]
"""Return the content of a file of a tree, or raise; called from several threads."""

_GROUP: Final = 12 * 1024 * 1024  # bytes of the old side that are compared at once
# The same where each new file has an old one of its name, and will be most like that: smaller
# groups are sorted faster, and by two threads. Elsewhere they would find up to 70 % less.
_GROUP_NAMED: Final = 1024 * 1024
_SCANNED: Final = 1024 * 1024  # bytes of a cover that are looked at together
# Lone equal bytes between two different ones cost more as a copy than as a literal.
_DIFFERENT = re.compile(rb"[^\0]+(?:\0[^\0]+)*")
_LEVEL: Final = 12  # libdeflate's best: 3 % smaller than zlib's
_NEIGHBOURS: Final = 6  # names on either side that are looked at
_RETRIED: Final = 256 * 1024  # bytes of literals up to which a second order is tried


class Mapper(Protocol):
    """`map`, or the `map` of an executor."""

    def __call__(self, work: Callable[[A], B], items: Iterable[A], /) -> Iterable[B]:
        """Do the work on each item; results come in the order of the items."""
        ...


class _Step(NamedTuple):  # made by the hundred thousand, in a third of a dataclass's time
    """Append `insert`, then `copy` bytes of the old side from `at` on."""

    insert: bytes
    at: int
    copy: int


@dataclass(frozen=True, slots=True)
class _Made:
    """One content of the new side: where it belongs, and the steps that make it."""

    content: Content
    steps: tuple[_Step, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    """Files to compare: `old` ones lie one after another in the old side, from `offset` on."""

    old: tuple[File, ...]
    offsets: tuple[int, ...]
    new: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class _Sorted:
    """What becomes of all files: base files kept or `gone`, and target contents by kind."""

    kept: frozenset[str]
    gone: tuple[File, ...]
    paths: Mapping[Digest, tuple[str, ...]]
    moved: tuple[File, ...]
    new: tuple[File, ...]


def make(
    base: Tree,
    read_base: Contents,
    target: Tree,
    read_target: Contents,
    *,
    each: Mapper = map,
) -> bytes:
    """Return the patch that turns `base` into `target`.

    `each` may be the `map` of a thread pool; two threads are what the limits on memory allow.

    Raises:
        Error: the sides are larger than a patch can be.
    """
    found = _sort(base, target)
    starts = _starts(found.gone)
    groups = _groups(found, starts)

    def compare(group: _Group) -> list[_Made]:
        return _compare(group, found.paths, read_base, read_target)

    made = _moved(found, starts)
    made += [one for group in each(compare, groups) for one in group]
    return _smallest(base, target, found, made, each)


# --- what is compared with what ---------------------------------------------------------------


def _sort(base: Tree, target: Tree) -> _Sorted:
    there = {file.path: file.sha256 for file in base.files}
    kept = {file.path for file in target.files if there.get(file.path) == file.sha256}
    wanted = [file for file in target.files if file.path not in kept]
    gone = {file.sha256 for file in base.files if file.path not in kept}
    # A content that stays where it is and is wanted elsewhere, too, is taken from the old side:
    # its own file goes, and comes back.
    sources = {file.sha256: file for file in reversed(base.files) if file.sha256 not in gone}
    back = {sources[file.sha256].path for file in wanted if file.sha256 in sources and file.size}
    kept -= back
    wanted = [file for file in target.files if file.path not in kept]
    old = tuple(file for file in base.files if file.path not in kept)
    contents = {file.sha256 for file in old}
    paths: dict[Digest, tuple[str, ...]] = {}
    for file in wanted:
        paths[file.sha256] = (*paths.get(file.sha256, ()), file.path)
    first = [file for file in wanted if paths[file.sha256][0] == file.path]
    return _Sorted(
        kept=frozenset(kept),
        gone=old,
        paths=paths,
        moved=tuple(file for file in first if file.sha256 in contents),
        new=tuple(file for file in first if file.sha256 not in contents),
    )


def _starts(gone: Sequence[File]) -> dict[str, int]:
    """Return where each file begins in the old side, by path."""
    at = sum(len(listing_line(file.path, file.size)) for file in gone)
    starts = {}
    for file in gone:
        starts[file.path] = at
        at += file.size
    if at >= 2**32:
        raise Error("the old side of the patch is 4 GiB or more")
    return starts


def _moved(found: _Sorted, starts: Mapping[str, int]) -> list[_Made]:
    """Copy whole what the old side has under other names."""
    sources = {file.sha256: starts[file.path] for file in found.gone}
    return [
        _Made(
            Content(found.paths[file.sha256], file.size),
            (_Step(b"", sources[file.sha256], file.size),) if file.size else (),
        )
        for file in found.moved
    ]


def _groups(found: _Sorted, starts: Mapping[str, int]) -> list[_Group]:
    """Cut the old side into groups, and put each new file where the old one most like it is."""
    here = {file.sha256 for file in found.moved}
    once = {file.sha256: file for file in reversed(found.gone)}
    old = [file for file in found.gone if file.sha256 not in here and once[file.sha256] is file]
    names = [file.path for file in old]
    near = {file.path: _nearest(file, old, names) for file in found.new}
    named = {file.path for file in found.new} <= set(names)
    cuts = _cuts(old, _GROUP_NAMED if named else _GROUP)
    groups: list[_Group] = []
    for first, last in pairwise(cuts):
        new = [file for file in found.new if first <= near[file.path] < last]
        groups.append(
            _Group(
                old=tuple(old[first:last]),
                offsets=tuple(starts[file.path] for file in old[first:last]),
                new=tuple(sorted(new, key=lambda file: near[file.path])),  # and then by path
            )
        )
    return groups


def _cuts(old: Sequence[File], most: int) -> list[int]:
    """Return where groups of about the same size begin, and the end."""
    total = sum(file.size for file in old)
    count = max(1, -(-total // most))
    cuts, before = [0], 0
    for number, file in enumerate(old):
        if number and before * count >= total * len(cuts) and len(cuts) < count:
            cuts.append(number)
        before += file.size
    return [*cuts, max(1, len(old))]  # a new file finds the number 0 where there is no old one


def _nearest(file: File, old: Sequence[File], names: Sequence[str]) -> int:
    """Return the number of the old file most like a new one, by kind, name, then size."""
    at = bisect_left(names, file.path)
    near = range(max(0, at - _NEIGHBOURS), min(len(old), at + _NEIGHBOURS))

    def likeness(number: int) -> tuple[bool, int, int]:
        other = old[number]
        alike = _common(other.path, file.path)
        return _ending(other.path) == _ending(file.path), alike, -abs(other.size - file.size)

    return max(near, key=likeness, default=0)


def _ending(path: str) -> str:
    return path[path.rfind(".") :]


def _common(one: str, other: str) -> int:
    """Return how many characters two names begin with alike."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


# --- comparing --------------------------------------------------------------------------------


def _compare(
    group: _Group,
    paths: Mapping[Digest, tuple[str, ...]],
    read_base: Contents,
    read_target: Contents,
) -> list[_Made]:
    old = b"".join(map(read_base, group.old))
    new = b"".join(map(read_target, group.new))
    starts, at = [], 0
    for file in group.old:
        starts.append(at)
        at += file.size
    shifts = [there - here for there, here in zip(group.offsets, starts, strict=True)]
    covers = _covers(old, new)
    made = []
    begin = 0
    for file in group.new:
        end = begin + file.size
        steps = _steps(old, new, _within(covers, begin, end), begin, end)
        placed = _placed(steps, starts, shifts)
        made.append(_Made(Content(paths[file.sha256], file.size), tuple(placed)))
        begin = end
    return made


@dataclass(slots=True)
class _Covers:
    """Places where both sides are alike, as (old, new, size), and the first not yet used up."""

    found: list[tuple[int, int, int]]
    at: int = 0


def _covers(old: bytes, new: bytes) -> _Covers:
    if not old or not new:
        return _Covers([])
    import hdiffpatch

    # It would apply the patch to see whether it works, in twice the memory; we only take the
    # covers, and look at every byte of them ourselves.
    return _Covers(list(_read_covers(hdiffpatch.diff(old, new, validate=False))))


def _read_covers(diff: bytes) -> Iterator[tuple[int, int, int]]:
    """Read the covers of an uncompressed HDIFF13.

    After the header, eleven numbers: sizes of the new and the old side, number of covers, and for
    each of four buffers (covers first) its size and its compressed size. A cover is the distance
    of its old position from the end of the cover before, with its sign in front, that of its new
    position, and its size. Numbers have seven bits a byte, the highest first.
    """
    at = diff.index(b"\0") + 1
    numbers = []
    for _ in range(11):
        number, at = _number(diff, at, 7)
        numbers.append(number)
    old_end = new_end = 0
    for _ in range(numbers[2]):
        back = diff[at] >> 7
        old, at = _number(diff, at, 6)
        new, at = _number(diff, at, 7)
        size, at = _number(diff, at, 7)
        old, new = old_end + (-old if back else old), new_end + new
        yield old, new, size
        old_end, new_end = old + size, new + size


def _number(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """Return a number whose first byte holds so many bits of it, and where it ends."""
    more = 1 << bits
    byte = data[at]
    value = byte & (more - 1)
    while byte & more:
        at, more = at + 1, 0x80
        byte = data[at]
        value = value << 7 | byte & 0x7F
    return value, at + 1


def _within(covers: _Covers, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Give the parts of covers that lie in one new file; files are asked for in order."""
    while covers.at < len(covers.found):
        old, new, size = covers.found[covers.at]
        if new >= end:
            return
        skip = max(0, begin - new)
        last = min(new + size, end)
        if last > new + skip:
            yield old + skip, new + skip, last - new - skip
        if new + size > end:
            return
        covers.at += 1


def _steps(
    old: bytes, new: bytes, covers: Iterable[tuple[int, int, int]], begin: int, end: int
) -> Iterator[_Step]:
    """Turn covers, which may hold differing bytes, into inserts and exact copies."""
    done = begin
    for old_at, new_at, size in covers:
        for start, stop in _equal(old, new, old_at, new_at, size):
            yield _Step(new[done : new_at + start], old_at + start, stop - start)
            done = new_at + stop
    if done < end:
        yield _Step(new[done:end], -1, 0)


def _equal(
    old: bytes, new: bytes, old_at: int, new_at: int, size: int
) -> Iterator[tuple[int, int]]:
    """Give the runs of a cover in which both sides are the same, from its start."""
    begin = 0
    for first in range(0, size, _SCANNED):
        last = min(size, first + _SCANNED)
        before, after = old[old_at + first : old_at + last], new[new_at + first : new_at + last]
        if before == after:  # as most are, and seen far sooner than where they differ
            continue
        both = int.from_bytes(before, "little") ^ int.from_bytes(after, "little")
        differing = both.to_bytes(last - first, "little")
        for found in _DIFFERENT.finditer(differing):
            if first + found.start() > begin:
                yield begin, first + found.start()
            begin = first + found.end()
    if begin < size:
        yield begin, size


def _placed(steps: Iterable[_Step], starts: list[int], shifts: list[int]) -> Iterator[_Step]:
    """Move copies from a group's own positions to those in the old side.

    Other files may lie between those of a group, so a copy across two becomes two.
    """
    for step in steps:
        insert, at, left = step.insert, step.at, step.copy
        if not left:
            yield step
        while left:
            number = bisect_right(starts, at) - 1
            end = starts[number + 1] if number + 1 < len(starts) else at + left
            part = min(left, end - at)
            yield _Step(insert, at + shifts[number], part)
            insert, at, left = b"", at + part, left - part


# --- writing ----------------------------------------------------------------------------------


def _smallest(base: Tree, target: Tree, found: _Sorted, made: list[_Made], each: Mapper) -> bytes:
    """Write the patch in the order of names, and in that of literals where it may pay."""
    patch = _write(base, target, found, made, each)
    if sum(map(_by_literals, made)) <= _RETRIED:
        again = _write(base, target, found, sorted(made, key=_by_literals), each)
        return min(patch, again, key=len)
    return patch


def _by_literals(one: _Made) -> int:
    """Bring together what needs as many bytes of its own: often one code, built twice.

    Deflate looks back 32 KiB, so twins must be neighbours for the second to cost nothing.
    """
    return sum(len(step.insert) for step in one.steps)


def _write(base: Tree, target: Tree, found: _Sorted, made: list[_Made], each: Mapper) -> bytes:
    old_listing = b"".join(listing_line(file.path, file.size) for file in found.gone)
    listing = b"".join(_lines(one.content) for one in made)
    covers = iter(_covers(old_listing, listing).found)
    steps = list(_steps(old_listing, listing, covers, 0, len(listing)))
    joined = _joined([*steps, *(step for one in made for step in one.steps)])
    plain = (_runs(base, found.kept), *_columns(joined))
    packed = tuple(each(_deflate, plain))
    new = len(listing) + sum(one.content.size for one in made)
    if new >= 2**32 or len(listing) > LISTING_BYTES:
        raise Error("the new side of the patch is larger than a patch can be")
    header = Header(
        base=base.digest(),
        target=target.digest(),
        listing=len(listing),
        new=new,
        old=len(old_listing) + sum(file.size for file in found.gone),
        steps=len(joined),
        plain=tuple(map(len, plain)),
        packed=tuple(map(len, packed)),
    )
    return b"".join((header.encode(), *packed))


def _lines(content: Content) -> bytes:
    first, *others = content.paths
    return listing_line(first, content.size) + b"".join(f"{path}\t=\n".encode() for path in others)


def _joined(steps: Iterable[_Step]) -> list[_Step]:
    """Make one step of two where the second only goes on with what the first did."""
    joined: list[_Step] = []
    for step in steps:
        last = joined[-1] if joined else None
        if last and not last.copy:
            joined[-1] = _Step(last.insert + step.insert, step.at, step.copy)
        elif last and not step.insert and step.at == last.at + last.copy:
            joined[-1] = _Step(last.insert, last.at, last.copy + step.copy)
        else:
            joined.append(step)
    return joined


def _columns(steps: Iterable[_Step]) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the inserts' sizes, the jumps, the copies' sizes and the literals."""
    inserts, jumps, copies, literals = bytearray(), bytearray(), bytearray(), bytearray()
    at = 0
    for step in steps:
        insert = len(step.insert)
        # Where nothing is copied, the jump undoes the insert, so that no position is out of range.
        jump = step.at - at - insert if step.copy else -insert
        _spell(insert, inserts)
        _spell(-2 * jump - 1 if jump < 0 else 2 * jump, jumps)
        _spell(step.copy, copies)
        literals += step.insert
        at += insert + jump + step.copy
    return bytes(inserts), bytes(jumps), bytes(copies), bytes(literals)


def _runs(base: Tree, kept: frozenset[str]) -> bytes:
    """Return how many files stay, go, stay …, in the order of the base."""
    spelt = bytearray()
    runs = [0]
    stays = True
    for file in base.files:
        if (file.path in kept) != stays:
            stays = not stays
            runs.append(0)
        runs[-1] += 1
    for run in runs:
        _spell(run, spelt)
    return bytes(spelt)


def _spell(number: int, out: bytearray) -> None:
    if number < 0x80:
        out.append(number)
        return
    low = [number & 0x7F]
    while number := number >> 7:
        low.append(number & 0x7F | 0x80)
    out += bytes(reversed(low))


def _deflate(data: bytes) -> bytes:
    import deflate

    return bytes(deflate.deflate_compress(data, _LEVEL))
