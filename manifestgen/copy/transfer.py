"""Write a copy in the order of a publish, so that devices of the other side never miss anything.

    verify the source → compare → blobs → releases → roots → history → manifest.json, pages

Every blob is digested on its way, and only a whole one gets its name. Of a channel's history the
oldest manifest that is missing is written last: whoever walks forward finds none of the new ones,
or all. A copy that was killed is finished by running it again; what is there is not sent twice.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from manifestgen.config import Settings
from manifestgen.copy.compare import Plan, compare
from manifestgen.copy.snapshot import snapshot
from manifestgen.copy.source import Source, read_source
from manifestgen.core import stock
from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.limits import LIMITS
from manifestgen.core.tree import Digest
from manifestgen.errors import UsageError, VerificationError
from manifestgen.publish.site import Head, Site
from manifestgen.stores import Store
from manifestgen.stores.again import create_same, settle
from manifestgen.stores.digested import digested
from manifestgen.stores.names import blob_name, capgo_name, history_name, manifest_name
from manifestgen.stores.parallel import in_turn, workers
from manifestgen.verify.anchor import Anchor
from manifestgen.verify.stock import base_of
from manifestgen.verify.verify import Expected

Progress: TypeAlias = Callable[[int], None]
"""Told the bytes that were copied since the last call."""
Watch: TypeAlias = Callable[[Plan], "Progress | None"]
"""Told what is going to be written, once that is known."""

_CHUNK: Final = 1024 * 1024
_UNKNOWN: Final = "https://base.invalid"


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did, or would do.

    `pruned` counts blobs that only the past needs and that are gone; `base_url` is what
    `capgo.json` points to now, `None` where there is none; `believed` tells that it was taken from
    the source's, which nobody signed.
    """

    app: str
    plan: Plan
    pruned: int
    base_url: str | None
    believed: bool
    notes: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was missing."""
        return not self.plan.is_nothing


def copy_site(
    source: Store,
    target: Store,
    anchor: Anchor,
    settings: Settings,
    *,
    now: datetime,
    channels: tuple[str, ...] = (),
    watch: Watch = lambda _: None,
    dry_run: bool = False,
) -> Copied:
    """Bring `target` up to date with a site that is verified by `anchor`.

    Where `settings` know no `base_url`, `capgo.json` goes on pointing where the source's does.

    Raises:
        UsageError: nothing is published there, or it is the target that is newer.
        VerificationError: the source is not to be trusted, or the target is no copy of it.
        ConflictError: others kept writing to the target.
    """
    possible = tuple(dict.fromkeys([*channels, settings.channel, *settings.channels]))
    with snapshot(source) as view:
        found = read_source(
            view, anchor, now=now, expected=Expected(channels=channels, possible=possible)
        )
        base = settings.base_url or _published_base(found)
        site = Site(target, found.chain, replace(settings, app=found.app, base_url=base), dry_run)
        plan = compare(found, site)
        _check_base(found, site, base)
        pruned = 0 if dry_run else _write(found, site, plan, watch(plan))
    notes = tuple(f"{one.where}: {one.message}" for one in found.notes)
    believed = base is not None and settings.base_url is None
    return Copied(found.app, plan, pruned, base, believed, notes)


def _write(source: Source, site: Site, plan: Plan, progress: Progress | None) -> int:
    pruned = _copy_blobs(source, site.store, plan, progress)
    for name in plan.releases:
        make = partial(source.document, name)
        settle(site.store, name, make, limit=LIMITS.release_bytes)
    if plan.roots:
        site.publish_roots()
    for change in plan.changes:
        for number in change.missing:  # the last of these is the commit
            name = history_name(change.channel, number)
            create_same(site.store, name, source.document(name), limit=LIMITS.manifest_bytes)
    if not plan.roots:
        site.publish_roots()  # for `root.json`, which a killed copy may have left behind
    for line in source.lines:
        data = source.document(manifest_name(line.channel))
        site.publish_head(Head(line.head, data))  # devices see it from here on
    return pruned


def _copy_blobs(source: Source, target: Store, plan: Plan, progress: Progress | None) -> int:
    """Copy blobs, several at a time; return how many of those that may be gone are gone."""
    with target.scratch() as scratch:

        def copied(job: tuple[Digest, int]) -> bool:
            blob, size = job
            done = _copy_blob(source.store, target, blob, size, scratch)
            if not done and blob in plan.needed:
                raise VerificationError(
                    f"{blob_name(blob)} is missing from {source.store.location}, and devices"
                    " may ask for it",
                    code="missing",
                    hint="restore it from a good copy; what was copied so far stays",
                )
            if progress:
                progress(size)
            return done

        with ThreadPoolExecutor(max(workers(source.store), workers(target))) as pool:
            return sum(not done for done in in_turn(pool, copied, plan.blobs.items()))


def _copy_blob(source: Store, target: Store, blob: Digest, size: int, scratch: Path) -> bool:
    """Copy one blob; `False` if it is not there. Nothing is added that is not what was signed."""
    file = source.open(blob_name(blob))
    if file is None:
        return False
    place = scratch / blob
    with closing(file):
        found = digested(_chunks(file, size), place)
    if found != (blob, size):
        raise VerificationError(
            f"{blob_name(blob)} of {source.location} is not what was signed",
            code="digest",
            hint="restore it from a good copy; what was copied so far stays",
        )
    target.add(blob_name(blob), place)
    place.unlink(missing_ok=True)
    return True


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Give a blob's bytes, and of one that goes on beyond its size no more than one too many."""
    left = size + 1
    while chunk := file.read(min(_CHUNK, left)):
        left -= len(chunk)
        yield chunk


def _published_base(source: Source) -> str | None:
    """Return where the source's `capgo.json` says the site is, if one names the right blob.

    Plugins that read it trust whoever serves it: so does its copy.
    """
    for line in source.lines:
        url = _answer_url(line.head)
        stored = source.store.get(capgo_name(line.channel)) if url else None
        base = base_of(stored.data, url.removeprefix(_UNKNOWN)) if stored and url else None
        if base is not None:
            return base
    return None


def _check_base(source: Source, site: Site, base: str | None) -> None:
    """Refuse to leave a `capgo.json` behind that points to what was."""
    stale = [
        name
        for line in source.lines
        if base is None and site.store.size(name := capgo_name(line.channel)) is not None
    ]
    if stale:
        raise UsageError(
            f"{stale[0]} of {site.store.location} would not be brought up to date: it is not known"
            " where that site is served",
            hint="name it with --base-url https://cdn.example.com/app",
        )


def _answer_url(head: TrustedManifest) -> str | None:
    url = stock.responses(head, _UNKNOWN)[None].get("url")
    return url if isinstance(url, str) else None
