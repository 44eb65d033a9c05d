"""Verify a site whole; the order is that of trust, from what the caller believes to the last byte.

    root chain → manifests and history → releases → blobs → patches → capgo*.json → leftovers

Equivocation cannot be seen from one site: two sites may each be whole and contradict each other.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen.core.files import FileList
from manifestgen.core.root import ANY_CHANNEL
from manifestgen.errors import UsageError
from manifestgen.stores.file_lists import read_file_list
from manifestgen.stores.interface import Store
from manifestgen.stores.names import BLOBS, ROOT, blob_name, history_sequence, manifest_channel
from manifestgen.verify.anchor import Anchor
from manifestgen.verify.audit import ROOT_PART, Audit, part_of
from manifestgen.verify.blobs import (
    Checked,
    Job,
    bundle_jobs,
    check_blobs,
    file_jobs,
    list_jobs,
    patch_jobs,
)
from manifestgen.verify.leftovers import note_leftovers, unnamed_blobs
from manifestgen.verify.manifests import Line, check_channel, is_there
from manifestgen.verify.once import Once
from manifestgen.verify.patches import try_patches
from manifestgen.verify.releases import Releases, check_releases
from manifestgen.verify.report import Report
from manifestgen.verify.roots import Roots, check_roots
from manifestgen.verify.stock import check_stock


@dataclass(frozen=True, slots=True)
class Expected:
    """What the caller knows of a site beside its root; all of it may be left out.

    `channels` must be there. `possible` ones are looked for where the site cannot be listed.
    `capgo` is the public half of the key that bundles are wrapped with; without it they are
    digested, not decrypted.
    """

    channels: tuple[str, ...] = ()
    possible: tuple[str, ...] = ()
    base_url: str | None = None
    capgo: RSAPublicKey | None = None


_NOTHING = Expected()


@dataclass(frozen=True, slots=True)
class Documents:
    """What is signed in a site, as far as it verifies."""

    roots: Roots
    lines: tuple[Line, ...]
    releases: Releases


def verify(store: Store, anchor: Anchor, *, now: datetime, expected: Expected = _NOTHING) -> Report:
    """Check everything about a site at a time; nothing is written.

    Raises:
        UsageError: nothing is published there.
        StoreError: it cannot be read, or not to the end.
    """
    with tempfile.TemporaryDirectory() as folder:
        once = Once(store, Path(folder))
        return _verify(Audit(once), once, anchor, now, expected)


def _verify(audit: Audit, once: Once, anchor: Anchor, now: datetime, expected: Expected) -> Report:
    found = check_documents(audit, anchor, now, expected)
    once.keep(_read_again(found.lines, found.releases))
    damaged = _check_blobs(audit, once, found, expected.capgo)
    _try_patches(audit, found.lines, found.releases, expected.capgo, damaged)
    for line in found.lines:
        check_stock(audit, line.head, expected.base_url)
    note_leftovers(audit)
    return audit.report()


def check_documents(audit: Audit, anchor: Anchor, now: datetime, expected: Expected) -> Documents:
    """Check all that is signed; what is wrong with it is told to the audit.

    Raises:
        UsageError: nothing is published there.
    """
    _check_published(audit, expected)
    roots = check_roots(audit, anchor, now)
    channels = _channels(audit, roots, expected)
    found = [check_channel(audit, roots, channel, now) for channel in channels]
    lines = tuple(line for line in found if line is not None)
    return Documents(roots, lines, check_releases(audit, roots, lines))


def blob_jobs(audit: Audit, found: Documents) -> list[Job]:
    """List every blob that a document names once, those that devices need first."""
    return [*_jobs(found.lines, found.releases), *_single_jobs(audit, found.releases)]


def _channels(audit: Audit, roots: Roots, expected: Expected) -> list[str]:
    """Return the channels to check: those asked for, and those that are there."""
    if audit.listing is not None:
        there = _listed(audit)
    else:
        named = [name for entry in roots.newest.root.manifest for name in entry.channels]
        possible = dict.fromkeys([*expected.possible, *named])
        there = [one for one in possible if one != ANY_CHANNEL and is_there(audit, one)]
    channels = sorted({*expected.channels, *there})
    if channels:
        return channels
    if audit.listing is not None and expected.possible:
        return [expected.possible[0]]  # for the problem that it is not there
    raise UsageError(
        f"no channel is known at {audit.store.location}", hint="name one with `--channel`"
    )


def _listed(audit: Audit) -> list[str]:
    """Return the channels that have a manifest, or at least a history."""
    listed = audit.listed("")
    past = (name.partition("/")[0] for name in listed if history_sequence(name) is not None)
    names = {*listed, *(f"{folder}/manifest.json" for folder in past)}
    return sorted({channel for name in names if (channel := manifest_channel(name))})


def _check_published(audit: Audit, expected: Expected) -> None:
    if audit.listing is not None:
        there = bool(_listed(audit)) or any(part_of(name) == ROOT_PART for name in audit.listing)
    else:
        wanted = (*expected.channels, *expected.possible)
        there = audit.there(ROOT) or any(is_there(audit, channel) for channel in wanted)
    if not there:
        raise UsageError(
            f"nothing is published at {audit.store.location}",
            hint="name the folder or the address of a site",
        )


def _check_blobs(
    audit: Audit, once: Once, found: Documents, public: RSAPublicKey | None
) -> set[str]:
    """Check every blob; return the names of those that are not what they should be."""
    jobs = blob_jobs(audit, found)
    named = {job.blob for job in jobs}
    jobs += [Job(digest) for digest in unnamed_blobs(audit, named)]
    jobs_of = Counter(blob_name(job.blob) for job in jobs)
    once.keep(name for name, count in jobs_of.items() if count > 1)
    results = check_blobs(audit.store, jobs, public)
    for checked in results:
        _tell(audit, checked)
    return {checked.name for checked in results if checked.error}


def _read_again(lines: Sequence[Line], releases: Releases) -> Iterator[str]:
    """Give the blobs that are read when they are checked, and for what they lead to."""
    every = (*releases.kept, *releases.offered)
    bundles = {one.tree.digest: blob_name(one.bundle.blob) for one in every}
    for line in lines:
        for offer in line.head.manifest.offers:
            for patch in offer.patches:
                yield blob_name(patch.payload.blob)
                if patch.base in bundles:
                    yield bundles[patch.base]
    yield from (blob_name(one.files.blob) for one in every if one.files)


def _try_patches(
    audit: Audit,
    lines: Sequence[Line],
    releases: Releases,
    public: RSAPublicKey | None,
    damaged: set[str],
) -> None:
    heads = [line.head for line in lines]
    bases = {one.tree.digest: one for one in (*releases.kept, *releases.offered)}
    for tried in try_patches(audit.store, heads, bases, public, damaged=damaged):
        audit.problem(tried.where, tried.error.code, str(tried.error))


def _jobs(lines: Sequence[Line], releases: Releases) -> list[Job]:
    heads = [line.head for line in lines]
    past = [trusted for line in lines for trusted in line.past]
    every = [
        *bundle_jobs(releases.offered, needed=True),
        *patch_jobs(heads, needed=True),
        *list_jobs(releases.offered, needed=True),
        *list_jobs(releases.kept, needed=False),
        *bundle_jobs(releases.kept, needed=False),
        *patch_jobs(past, needed=False),
    ]
    once = {(job.blob, job.payload, job.release): job for job in reversed(every)}
    return list(reversed(once.values()))


def _single_jobs(audit: Audit, releases: Releases) -> list[Job]:
    """List every single file once, however many releases share it."""
    once: dict[object, Job] = {}
    for release in (*releases.offered, *releases.kept):
        if release.files is None:
            continue
        with audit.judging(blob_name(release.files.blob)):
            listed = read_file_list(audit.store, release) or FileList(())
            key = release.capgo and (release.capgo.session_key, release.capgo.iv)
            for job in file_jobs(release, listed, needed=release in releases.offered):
                checksum = job.single.checksum if job.single else None
                once.setdefault((job.payload, checksum, key), job)
    return list(once.values())


def _tell(audit: Audit, checked: Checked) -> None:
    name, job = checked.name, checked.job
    audit.seen.add(name)
    if checked.size is not None:
        audit.count(name, checked.size)
    elif job.needed:
        audit.problem(name, "missing", f"{job.what} is missing")
    elif job.release and not job.single:
        audit.note(name, f"{job.what} was pruned; nothing offers it now")
    if checked.error:
        what = f"{job.what}: " if job.what else ""
        audit.problem(name, checked.error.code, f"{what}{checked.error}")
    if checked.note:
        audit.note(BLOBS if checked.keyless else name, checked.note)
