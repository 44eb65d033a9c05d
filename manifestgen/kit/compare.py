"""A kit against the site that is to receive it: does it continue what is there, and with what?

Manifests are linked by digest, so where a kit begins in a site's history is proved and not
guessed. A kit that stops short of the site, leaves numbers out or tells another history than the
site's is refused, each with its own sentence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.limits import LIMITS
from manifestgen.core.tree import Digest, sha256
from manifestgen.errors import VerificationError
from manifestgen.kit.contents import Kit
from manifestgen.kit.documents import (
    Documents,
    Line,
    incomplete,
    list_in,
    needed_blobs,
    signed_once,
    stands,
)
from manifestgen.publish.site import Site
from manifestgen.stores import Store
from manifestgen.stores.file_lists import usable_file_list
from manifestgen.stores.names import (
    blob_name,
    history_name,
    history_prefix,
    history_sequence,
    manifest_name,
    root_name,
)

_TRIES = 64  # earlier manifests looked at for the one that a kit begins behind


@dataclass(frozen=True, slots=True)
class Here:
    """The newest manifest that a site has of a channel; `outdated`: by keys since revoked."""

    manifest: TrustedManifest
    data: bytes
    outdated: bool

    @property
    def sequence(self) -> int:
        """Its number."""
        return self.manifest.manifest.sequence


@dataclass(frozen=True, slots=True)
class Change:
    """What a kit does to one channel: from manifest `before` (0: none) to `after`.

    `missing` are the manifests that history lacks, oldest first.
    """

    channel: str
    before: int
    after: int
    missing: tuple[tuple[int, bytes], ...]
    current: bool
    """Whether devices see the kit's newest manifest already."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import will write: nothing else, and nothing of it is a surprise."""

    roots: tuple[int, ...]
    changes: tuple[Change, ...]
    releases: Mapping[str, bytes]
    blobs: tuple[Digest, ...]
    blob_bytes: int
    needed: Mapping[Digest, int]

    @property
    def is_nothing(self) -> bool:
        """Whether all of the kit is there already."""
        moved = any(change.missing or not change.current for change in self.changes)
        return not (self.roots or moved or self.releases or self.blobs)


def compare(kit: Kit, documents: Documents, site: Site) -> Plan:
    """Say what an import would write, or raise why there can be none.

    Raises:
        VerificationError: a gap, a fork, an older kit, a blob too many or too few.
    """
    _check_roots(site)
    changes = tuple(_change(site, line) for line in documents.lines)
    for channel in site.channels():
        here(site, channel)  # nothing is added beside what is not to be trusted
    needed = _needed(kit, documents, site.store)
    fresh = [blob for blob in kit.blobs if site.store.size(blob_name(blob)) != needed[blob]]
    return Plan(
        roots=tuple(_missing_roots(site)),
        changes=changes,
        releases=_changed_releases(documents, site.store),
        blobs=tuple(fresh),
        blob_bytes=sum(needed[blob] for blob in fresh),
        needed=needed,
    )


def here(site: Site, channel: str) -> Here | None:
    """Return how far a channel is, past an import or a publish that was killed."""
    stored = site.store.get(manifest_name(channel), limit=LIMITS.manifest_bytes)
    found = _verified(site, manifest_name(channel), stored.data, channel) if stored else None
    while (later := _following(site, channel, found)) is not None:
        found = later
    return found


def _following(site: Site, channel: str, found: Here | None) -> Here | None:
    number = found.sequence + 1 if found else 1
    name = history_name(channel, number)
    stored = site.store.get(name, limit=LIMITS.manifest_bytes)
    if stored is None:
        return None
    later = _verified(site, name, stored.data, channel)
    follows = later.manifest.manifest.previous == (sha256(found.data) if found else None)
    return later if follows and later.sequence == number else None


def _verified(site: Site, name: str, data: bytes, channel: str) -> Here:
    try:
        trusted = signed_once(site.chain, data, channel)
    except VerificationError as error:
        raise VerificationError(
            f"{name} of this site does not verify: {error}",
            code=error.code,
            hint="nothing was changed; run `manifestgen verify`, and restore a good copy",
        ) from None
    return Here(trusted, data, outdated=not stands(site.chain, data, channel))


def _check_roots(site: Site) -> None:
    """Refuse a site whose copy of the chain is another one, or a longer one."""
    for number, document in enumerate(site.chain.documents, 1):
        stored = site.store.get(root_name(number), limit=LIMITS.root_bytes)
        if stored and stored.data != document:
            raise VerificationError(
                f"{root_name(number)} of this site is not the root that is trusted here",
                code="root",
                hint="is this another project's site? Check `site` in manifestgen.toml",
            )
    following = root_name(len(site.chain.documents) + 1)
    if site.store.size(following) is not None:
        raise VerificationError(
            f"this site has {following}, which neither this project nor the kit knows",
            code="older",
            hint="import a newer kit, or bring .manifestgen/root up to date",
        )


def _missing_roots(site: Site) -> Iterator[int]:
    for number in range(1, len(site.chain.documents) + 1):
        if site.store.size(root_name(number)) is None:
            yield number


def _change(site: Site, line: Line) -> Change:
    found = here(site, line.channel)
    missing = tuple(_missing(site.store, line))
    if found is None:
        _check_begins(line)
    elif not found.outdated:
        _check_not_older(line, found)
        _check_continues(site.store, line, found)
    elif line.previous is not None and not _is_there(site.store, line):
        raise _gap(line, found.sequence)
    return Change(
        channel=line.channel,
        before=found.sequence if found else 0,
        after=line.last,
        missing=missing,
        current=_is_current(site.store, line),
    )


def _is_current(store: Store, line: Line) -> bool:
    stored = store.get(manifest_name(line.channel), limit=LIMITS.manifest_bytes)
    return stored is not None and stored.data == line.data


def _missing(store: Store, line: Line) -> Iterator[tuple[int, bytes]]:
    """Give the manifests that history lacks; one that differs is a fork."""
    for number, data in line.documents:
        stored = store.get(history_name(line.channel, number), limit=LIMITS.manifest_bytes)
        if stored is None:
            yield number, data
        elif stored.data != data:
            raise _fork(f"{line.channel} {number} of the kit is not the {number} that is here")


def _check_begins(line: Line) -> None:
    if line.previous is not None:
        raise VerificationError(
            f"this kit begins at {line.channel} {line.first}, and this site has no {line.channel}",
            code="gap",
            hint="export with `manifestgen kit export --full`",
        )


def _check_not_older(line: Line, found: Here) -> None:
    if line.last < found.sequence:
        raise VerificationError(
            f"the kit ends at {line.channel} {line.last}, this site is at {found.sequence} already",
            code="older",
            hint="there is nothing to do; or export a new kit on the other side",
        )


def _check_continues(store: Store, line: Line, found: Here) -> None:
    """Check that the site's newest manifest is in the kit, or the one that the kit follows."""
    if found.sequence >= line.first:
        if dict(line.documents).get(found.sequence) != found.data:
            raise _fork(f"{line.channel} {found.sequence} that is here is not in the kit's history")
        if line.previous is not None and not _is_there(store, line):
            raise _fork(
                f"{line.channel} {line.first} of the kit follows another manifest"
                " than the one that is here"
            )
    elif line.previous != sha256(found.data):
        if found.sequence + 1 == line.first:
            raise _fork(
                f"{line.channel} {line.first} of the kit follows another {found.sequence}"
                " than the one that is here"
            )
        raise _gap(line, found.sequence)


def _is_there(store: Store, line: Line) -> bool:
    """Tell whether history has the manifest that a kit begins behind."""
    names = (entry.name for entry in store.names(history_prefix(line.channel)))
    numbers = sorted((history_sequence(name) or 0 for name in names), reverse=True)
    for number in [one for one in numbers if one < line.first][:_TRIES]:
        stored = store.get(history_name(line.channel, number), limit=LIMITS.manifest_bytes)
        if stored and sha256(stored.data) == line.previous:
            return True
    return False


def _fork(what: str) -> VerificationError:
    return VerificationError(
        what,
        code="fork",
        hint="the two sides have different histories: find out which is the real one, before"
        " anything else",
    )


def _gap(line: Line, sequence: int) -> VerificationError:
    first, last = sequence + 1, line.first - 1
    missing = f"number {first} is" if first == last else f"numbers {first} to {last} are"
    if last == first + 1:
        missing = f"numbers {first} and {last} are"
    return VerificationError(
        f"this kit begins at {line.channel} {line.first}, this site ends at {sequence}:"
        f" {missing} missing",
        code="gap",
        hint=f"import the kit with {line.channel} {first} first; or export one with `--since` and"
        " the receipt of the last import, or with `--full`",
    )


def _changed_releases(documents: Documents, store: Store) -> dict[str, bytes]:
    found = {}
    for name, data in documents.releases.items():
        stored = store.get(name, limit=LIMITS.release_bytes)
        if stored is None:
            found[name] = data
        elif stored.data != data:
            there = Envelope.decode(stored.data, limit=LIMITS.release_bytes)
            ours = Envelope.decode(data, limit=LIMITS.release_bytes)
            if there.signed != ours.signed:
                raise _fork(f"{name} of the kit is not the release that is here")
            if documents.chain.improves(ours, there):
                found[name] = data
    return found


def _needed(kit: Kit, documents: Documents, store: Store) -> dict[Digest, int]:
    """Return what the kit's manifests need, once nothing is there too much or too little."""
    needed = needed_blobs(
        documents.heads, lambda release: list_in(kit, release) or usable_file_list(store, release)
    )
    check_carried(kit, needed)
    missing = [
        blob
        for blob, size in needed.items()
        if blob not in kit.blobs and store.size(blob_name(blob)) != size
    ]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise incomplete(f"{blob_name(min(missing))}{more}, which this site lacks, too")
    return needed


def check_carried(kit: Kit, needed: Mapping[Digest, int]) -> None:
    """Refuse a blob that no manifest of the kit leads to, or of another size than was signed."""
    for blob, member in kit.blobs.items():
        if blob not in needed:
            raise VerificationError(
                f"the kit holds {member.name}, which none of its manifests leads to",
                code="unlisted",
            )
        if member.size != needed[blob]:
            raise VerificationError(
                f"{member.name} of the kit has {member.size} bytes, signed were {needed[blob]}",
                code="digest",
            )
