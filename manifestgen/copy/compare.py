"""What the other side lacks, and why a copy would take it backwards.

A copy only ever goes forward: what the other side has must be what this side has or once had. So a
target that is newer, that tells another history or that is another project's is refused, with
nothing written.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from manifestgen.copy.source import Source
from manifestgen.core.envelope import Envelope
from manifestgen.core.limits import LIMITS
from manifestgen.core.tree import Digest
from manifestgen.errors import UsageError, VerificationError
from manifestgen.publish.site import Site
from manifestgen.stores import Store
from manifestgen.stores.names import (
    BLOBS,
    blob_name,
    history_name,
    history_prefix,
    history_sequence,
    manifest_name,
    release_name,
    root_name,
)
from manifestgen.verify.manifests import Line


@dataclass(frozen=True, slots=True)
class Change:
    """What a copy does to one channel: from manifest `before` (0: none) to `after`.

    `missing` are the sequences that history lacks, the newest first.
    """

    channel: str
    before: int
    after: int
    missing: tuple[int, ...]
    current: bool
    """Whether devices see the newest manifest already."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a copy will write: names of releases, and blobs with their signed sizes."""

    roots: tuple[int, ...]
    changes: tuple[Change, ...]
    releases: tuple[str, ...]
    blobs: Mapping[Digest, int]
    needed: frozenset[Digest]
    """Those of all blobs that devices may ask for now; others may have been pruned."""

    @property
    def is_nothing(self) -> bool:
        """Whether the other side has all of it."""
        moved = any(change.missing or not change.current for change in self.changes)
        return not (self.roots or self.releases or self.blobs or moved)


def compare(source: Source, target: Site) -> Plan:
    """Say what a copy has to write.

    Raises:
        UsageError: it is the target that is newer.
        VerificationError: the target is another site, or holds what this one never had.
    """
    roots = tuple(_missing_roots(source, target.store))
    changes = tuple(_change(source, target.store, line) for line in source.lines)
    copied = {change.channel for change in changes}
    for channel in target.channels():
        if channel not in copied:
            target.shown(channel)  # nothing is put beside what is not to be trusted
    return Plan(
        roots=roots,
        changes=changes,
        releases=tuple(_changed_releases(source, target.store)),
        blobs=_missing_blobs(source, target.store),
        needed=frozenset(job.blob for job in source.jobs if job.needed),
    )


def _missing_roots(source: Source, target: Store) -> Iterator[int]:
    documents = source.chain.documents
    for number, document in enumerate(documents, 1):
        stored = target.get(root_name(number), limit=LIMITS.root_bytes)
        if stored is None:
            yield number
        elif stored.data != document:
            raise VerificationError(
                f"{root_name(number)} of {target.location} is another one: it is not a copy of"
                f" {source.store.location}",
                code="root",
                hint="copy into a place of its own",
            )
    if target.size(root_name(len(documents) + 1)) is not None:
        raise _newer(source, target, f"has {root_name(len(documents) + 1)}")


def _change(source: Source, target: Store, line: Line) -> Change:
    channel, head = line.channel, line.head.manifest.sequence
    there = _history(target, channel)
    shown = target.get(manifest_name(channel), limit=LIMITS.manifest_bytes)
    before = _sequence(target, channel, shown.data) if shown else 0
    newest = max([before, *there])
    if newest > head:
        raise _newer(source, target, f"is at {channel} {newest}, and here {head} is the newest")
    if shown and shown.data != _ours(source, target, channel, before):
        raise _fork(target, manifest_name(channel))
    for number, size in there.items():
        if len(_ours(source, target, channel, number)) != size:
            raise _fork(target, history_name(channel, number))
    # Manifests are linked by digest: with this one, all before it are the same.
    if there and _stored(target, channel, max(there)) != _ours(source, target, channel, max(there)):
        raise _fork(target, history_name(channel, max(there)))
    walked = [one.manifest.sequence for one in (line.head, *line.past)]
    missing = tuple(number for number in walked if number not in there)
    return Change(channel, before, head, missing, current=before == head)


def _history(target: Store, channel: str) -> dict[int, int]:
    """Return the sequences that a store has of a channel, with the sizes of their files."""
    found = {}
    for entry in target.names(history_prefix(channel)):
        number = history_sequence(entry.name)
        if number is not None:
            found[number] = entry.size
    return found


def _sequence(target: Store, channel: str, data: bytes) -> int:
    """Return the number that a manifest claims; whether it is one of ours is seen by its bytes."""
    try:
        number = Envelope.decode(data, limit=LIMITS.manifest_bytes).signed.get("sequence")
    except VerificationError:
        number = None
    if type(number) is not int or number < 1:
        raise _fork(target, manifest_name(channel))
    return number


def _ours(source: Source, target: Store, channel: str, number: int) -> bytes:
    """Return what this side has under a sequence, also where a later manifest disowned it."""
    name = history_name(channel, number)
    stored = source.store.get(name, limit=LIMITS.manifest_bytes)
    if stored is None:
        raise _fork(target, name)
    return stored.data


def _stored(target: Store, channel: str, number: int) -> bytes | None:
    stored = target.get(history_name(channel, number), limit=LIMITS.manifest_bytes)
    return stored.data if stored else None


def _changed_releases(source: Source, target: Store) -> Iterator[str]:
    for release in source.releases:
        name = release_name(str(release.version))
        stored = target.get(name, limit=LIMITS.release_bytes)
        ours = source.release(release)
        if stored is None:
            yield name
        elif stored.data != ours:
            there, here = _decoded(stored.data), _decoded(ours)
            if there is None or here is None or there.signed != here.signed:
                raise _fork(target, name)
            if source.chain.improves(here, there):
                yield name  # signed again since, by newer keys


def _decoded(data: bytes) -> Envelope | None:
    try:
        return Envelope.decode(data, limit=LIMITS.release_bytes)
    except VerificationError:
        return None


def _missing_blobs(source: Source, target: Store) -> dict[Digest, int]:
    wanted = {job.blob: job.payload.size for job in source.jobs if job.payload}
    names = {blob_name(blob): blob for blob in wanted}
    there = {names[entry.name]: entry.size for entry in target.names(BLOBS) if entry.name in names}
    return {blob: size for blob, size in wanted.items() if there.get(blob) != size}


def _newer(source: Source, target: Store, how: str) -> UsageError:
    return UsageError(
        f"{target.location} is newer than {source.store.location}: it {how}",
        hint="copy the other way round, or from where the newest was published",
    )


def _fork(target: Store, name: str) -> VerificationError:
    return VerificationError(
        f"{name} of {target.location} is not what is to be copied: the two have different"
        " histories",
        code="fork",
        hint="find out which is the real one, before anything else",
    )
