"""The site as it lies in its store, and the project's own trust: dates, numbers, leftovers.

Every document is verified; of blobs only presence and size are looked at, `verify` reads them.
"""

import os
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from manifestgen import git
from manifestgen.capacitor import find_config
from manifestgen.config import Settings
from manifestgen.core.release import Scheme
from manifestgen.core.root import Root
from manifestgen.doctor.finding import Area, Finding, typed
from manifestgen.errors import StoreError, UsageError, os_reason
from manifestgen.publish.prune import DEFAULT_GRACE
from manifestgen.publish.trust import high_water
from manifestgen.stores import Store
from manifestgen.stores.locks import try_lock
from manifestgen.stores.names import ROOT, ROOTS, blob_name, capgo_name, manifest_channel
from manifestgen.verify import Anchor, Expected
from manifestgen.verify.audit import Audit
from manifestgen.verify.blobs import Job
from manifestgen.verify.leftovers import note_leftovers, unnamed_blobs
from manifestgen.verify.manifests import Line
from manifestgen.verify.stock import check_stock
from manifestgen.verify.verify import Documents, blob_jobs, check_documents

_AREA: Final = Area("site")
_ROOT_SOON: Final = timedelta(days=60)
_SOON: Final = timedelta(days=7)
_SKEW: Final = timedelta(minutes=5)
_DAY: Final = timedelta(hours=24)
_MEGABYTE: Final = 1_000_000

_FIXES: Final = {
    "expired": "publish again, or `manifestgen refresh`; run that from a scheduled job",
    "root_expired": "`manifestgen keys renew`",
    "future": "set this clock right; if it is right, the key that signed it may be stolen:"
    " `manifestgen keys revoke`",
    "capgo": "publish again, or `manifestgen refresh`, with the right base_url",
    "missing": "restore it from a good copy; nothing else brings it back",
}
_RESTORE: Final = "`manifestgen verify` says more; restore it from a good copy"
_RENEW: Final = "`manifestgen refresh` writes it again"
_REBUILD: Final = "publish that build again, or restore it from a good copy"
_PATCH: Final = "restore it from a good copy; without it devices load the bundle"


def check_site(settings: Settings, store: Store, anchor: Anchor, now: datetime) -> list[Finding]:
    """Examine what is published, as far as it can be listed and read."""
    audit = Audit(store)
    possible = tuple(dict.fromkeys([settings.channel, *settings.channels]))
    try:
        found = check_documents(audit, anchor, now, Expected(possible=possible))
    except UsageError as error:
        # With a base URL, publishing goes on from what is live, as in a fresh CI job.
        make = _AREA.warning if settings.base_url else _AREA.problem
        return [make("not_published", str(error), "`manifestgen publish DIR`")]
    for line in found.lines:
        check_stock(audit, line.head, settings.base_url)
    jobs = blob_jobs(audit, found)
    findings = [
        *_root(settings, anchor.keyring.root, found.roots.newest.root, now),
        *(one for line in found.lines for one in _line(settings, line, now)),
        *_blobs(audit, jobs),
        *_orphans(audit, jobs, now),
        *_stock(settings, audit, found),
        *_leftovers(audit),
        *_documents(audit),
        *_conditions(settings, store),
        *_waiting(settings),
    ]
    return findings or [_AREA.ok("site", f"{store.location} is whole, current and tidy")]


def _root(settings: Settings, trusted: Root, root: Root, now: datetime) -> Iterator[Finding]:
    left = root.expires - now
    if root.issued - now > _SKEW:
        yield _AREA.problem(
            "clock_behind",
            f"this clock says {now:%Y-%m-%d %H:%M} UTC, before root {root.number} was made on"
            f" {root.issued:%Y-%m-%d %H:%M}",
            "set this clock right",
        )
    if timedelta(0) < left < _ROOT_SOON:
        yield _AREA.warning(
            "root_expires",
            f"root {root.number} expires on {root.expires:%Y-%m-%d}, in {left.days} days",
            "`manifestgen keys renew`, while its keys are at hand",
        )
    if root.number > trusted.number:
        yield _AREA.warning(
            "root_behind",
            f"the project's roots end at {trusted.number}, the site's at {root.number}",
            "fetch .manifestgen/root from whoever changed the keys, usually by `git pull`",
        )
    if root.app != settings.app:
        yield _AREA.problem(
            "app_differs",
            f"the root is of {root.app}, manifestgen.toml of {settings.app}",
            f'app = "{root.app}" in manifestgen.toml',
        )
    first = settings.root_folder / "1.json"
    if first.exists() and not git.ignored(settings.folder / "manifestgen.toml"):
        for path in sorted(settings.root_folder.glob("*.json")):
            if not git.tracked(path):
                yield _AREA.warning(
                    "root_not_in_git",
                    f"git does not track {path}, which every verifier trusts",
                    typed("git add", path),
                )


def _line(settings: Settings, line: Line, now: datetime) -> Iterator[Finding]:
    manifest, channel = line.head.manifest, line.channel
    left, lifetime = manifest.expires - now, manifest.expires - manifest.issued
    if timedelta(0) < left < min(_SOON, lifetime / 3):
        yield _AREA.warning(
            "manifest_expires",
            f"the {channel} manifest expires on {manifest.expires:%Y-%m-%d %H:%M} UTC",
            f"`manifestgen refresh --channel {channel}`, from a scheduled job",
        )
    if _SKEW < manifest.issued - now <= _DAY:
        yield _AREA.warning(
            "manifest_ahead",
            f"the {channel} manifest was issued at {manifest.issued:%Y-%m-%d %H:%M} UTC, and this"
            f" clock says {now:%Y-%m-%d %H:%M}",
            "set the clocks of whoever publishes right",
        )
    if not settings.key_folder.is_dir():
        return
    mark = high_water(settings, channel)
    # `watch` takes numbers for its site in advance.
    in_advance = settings.folder.parent.name == settings.state.name
    if mark > manifest.sequence and not in_advance:
        yield _AREA.problem(
            "site_behind",
            f"the {channel} manifest is number {manifest.sequence}, but {mark} was signed here:"
            " devices that have seen it take nothing older",
            "restore the newer site; else `manifestgen refresh`, which goes on after that number or"
            " says how",
        )
    elif mark < manifest.sequence:
        yield _AREA.warning(
            "mark_behind",
            f"the {channel} manifest is number {manifest.sequence}, and {mark} is the last that"
            " was signed here",
            "fine if somebody else publishes too; else a stolen key did: `manifestgen keys revoke`",
        )


def _blobs(audit: Audit, jobs: list[Job]) -> Iterator[Finding]:
    if audit.listing is None:
        return
    for name, job in {blob_name(job.blob): job for job in jobs if job.needed}.items():
        entry = audit.listing.get(name)
        fix = _PATCH if job.what.startswith("a patch") else _REBUILD
        if entry is None:
            yield _AREA.problem("blob_missing", f"{name}: {job.what} is missing", fix)
        elif job.payload and entry.size != job.payload.size:
            yield _AREA.problem(
                "blob_damaged",
                f"{name}: {job.what} has {entry.size} bytes, and {job.payload.size} were signed",
                fix,
            )
        if job.payload:
            audit.seen.add(name)


def _orphans(audit: Audit, jobs: list[Job], now: datetime) -> Iterator[Finding]:
    listing = audit.listing or {}
    audit.seen |= {blob_name(job.blob) for job in jobs}
    names = [blob_name(digest) for digest in unnamed_blobs(audit, {job.blob for job in jobs})]
    # Younger ones may belong to a publish that is under way.
    old = [listing[name] for name in names if now - listing[name].modified >= DEFAULT_GRACE]
    if old:
        size = sum(entry.size for entry in old) / _MEGABYTE
        yield _AREA.warning(
            "orphan_blobs",
            f"nothing refers to {len(old)} blobs of {size:.1f} MB",
            "`manifestgen prune`",
        )


def _stock(settings: Settings, audit: Audit, found: Documents) -> Iterator[Finding]:
    if settings.base_url or settings.scheme is not Scheme.CAPGO:
        return
    names = [capgo_name(line.channel) for line in found.lines]
    config = find_config(settings.folder)
    answered = any(name in (audit.listing or ()) for name in names)
    if answered or (config and "CapacitorUpdater" in config.text):
        yield _AREA.warning(
            "no_base_url",
            "base_url is not set, so capgo.json is not written: stock plugins hear nothing new",
            'base_url = "https://…" in manifestgen.toml; not needed in JavaScript mode',
        )


def _documents(audit: Audit) -> Iterator[Finding]:
    for one in audit.report().problems:
        fix = _FIXES.get(one.code, _RESTORE)
        if one.code == "missing" and _is_written_anew(one.where):
            fix = _RENEW
        yield _AREA.problem(one.code, f"{one.where}: {one.message}", fix)


def _is_written_anew(name: str) -> bool:
    """Tell whether publishers write an object wherever it lacks, from what they know."""
    channel = manifest_channel(name)
    return name == ROOT or name.startswith(ROOTS) or channel is not None or _is_stock(name)


def _leftovers(audit: Audit) -> Iterator[Finding]:
    audit.seen |= {name for name in audit.listing or () if _is_stock(name)}
    before = len(audit.report().notes)
    note_leftovers(audit)
    names = [
        note.where for note in audit.report().notes[before:] if "no part of a site" in note.message
    ]
    if names:
        yield _AREA.warning(
            "leftovers",
            f"no part of a site: {', '.join(names)}",
            "move them elsewhere, if nobody serves them on purpose",
        )


def _is_stock(name: str) -> bool:
    return name.rpartition("/")[2].startswith("capgo")


def _conditions(settings: Settings, store: Store) -> Iterator[Finding]:
    """See whether the store can keep two publishers apart."""
    check = getattr(store, "check_conditions", None)
    if check is not None:
        yield from _bucket(check)
    elif "://" not in settings.site:
        yield from _disk(settings.folder / settings.site)


def _bucket(check: object) -> Iterator[Finding]:
    try:
        honours = callable(check) and check()
    except StoreError as error:
        yield _AREA.problem("no_conditions", str(error), error.hint or "use another store")
        return
    if not honours:
        yield _AREA.warning(
            "no_conditions",
            "this store ignores conditions, so two publishers could overwrite each other",
            "never publish twice at a time, or use another store",
        )


def _disk(folder: Path) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryDirectory(prefix=".manifestgen-doctor-", dir=folder) as name:
            yield from _tried(Path(name))
    except OSError as error:
        yield _AREA.warning(
            "not_writable",
            f"nothing can be written to {folder}: {os_reason(error)}",
            "fine where nobody publishes; else give yourself the right to write there",
        )


def _tried(folder: Path) -> Iterator[Finding]:
    probe = folder / "probe"
    with probe.open("wb") as file:
        try:
            try_lock(file.fileno())
        except OSError:
            yield _AREA.problem(
                "no_locks",
                f"{folder.parent} is on a file system without locks: nothing can be published",
                "put the site on a local disk, and copy it from there",
            )
    try:
        os.link(probe, folder / "link")
    except OSError:
        yield _AREA.warning(
            "no_links",
            f"{folder.parent} is on a file system without hard links",
            "publish from one machine at a time, or put the site on a local disk",
        )


def _waiting(settings: Settings) -> Iterator[Finding]:
    for path in sorted((settings.state / "pending").glob("*.json")):
        yield _AREA.warning(
            "pending",
            f"{path} waits for signatures",
            f"{typed('manifestgen keys sign', path)}; or delete it, if it is not wanted any more",
        )
