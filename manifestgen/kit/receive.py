"""Import a kit: everything is verified before anything is changed, then written as a publish would.

    verify the documents → compare with the site → digest every blob into scratch
    → the project's roots → blobs → roots → releases → history, newest first → manifest.json, pages

Of a channel's history the oldest manifest that is missing is written last, and is the commit:
until then nobody who walks forward through history finds any of the new ones, and whoever finds
them finds all, with everything they lead to. An import that was killed is finished by running it
again.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from manifestgen.bundle.replace import replacing
from manifestgen.config import FILE, Settings
from manifestgen.core.limits import LIMITS
from manifestgen.core.tree import Digest, sha256
from manifestgen.errors import Error, VerificationError
from manifestgen.kit.archive import Member
from manifestgen.kit.compare import Plan, compare, here
from manifestgen.kit.contents import Kit
from manifestgen.kit.documents import Documents, Line, Trust, outlived, read_documents
from manifestgen.kit.receipt import Reached, Receipt
from manifestgen.publish.newconfig import toml_text
from manifestgen.publish.site import Head, Site
from manifestgen.publish.trust import save_root, write_file
from manifestgen.stores import Store
from manifestgen.stores.again import create_same, settle
from manifestgen.stores.digested import digested
from manifestgen.stores.names import BLOBS, blob_name, history_name
from manifestgen.stores.parallel import all_of

_WORKERS: Final = 2  # digests and disks let go of the interpreter
_WRITERS: Final = 8

_CONFIG: Final = """\
# manifestgen: over-the-air updates from plain files
app = {app}
site = {site}                  # a folder; serve it with any web server
{base_url}
channel = "{channel}"
"""
_NO_URL: Final = '# base_url = "https://updates.example.com"   # for stock Capgo plugins: this side'


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do; `notes` are for a person to read."""

    app: str
    fingerprint: Digest
    plan: Plan
    documents: Documents
    made: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything of the kit was new here."""
        return not self.plan.is_nothing


def receive(
    kit: Kit,
    trust: Trust,
    settings: Settings,
    store: Store,
    *,
    now: datetime,
    receipt: Path,
    dry_run: bool = False,
) -> Imported:
    """Import a kit into a site, and write the receipt.

    Raises:
        UsageError: nothing is trusted here yet.
        VerificationError: why the kit is refused; nothing was changed.
        ConflictError: others kept writing to the site; run it again.
    """
    documents = read_documents(kit, trust)
    app = documents.chain.keyring.root.app
    site = Site(store, documents.chain, replace(settings, app=app), dry_run)
    plan = compare(kit, documents, site)
    made: tuple[str, ...] = ()
    with _verified_blobs(kit, plan, store, dry_run=dry_run) as fresh:
        if not dry_run:
            made = _found_project(site, trust)
            _write(site, documents, plan, fresh)
    if not dry_run:
        _write_receipt(site, receipt)
    return Imported(
        app=app,
        fingerprint=sha256(documents.chain.documents[0]),
        plan=plan,
        documents=documents,
        made=made,
        notes=tuple(outlived(documents, now)),
    )


def _write_receipt(site: Site, target: Path) -> None:
    data = receipt_of(site).encode()
    try:
        with replacing(target) as file:
            file.write(data)
    except Error as error:
        raise Error(
            f"the kit is imported, but not its receipt: {error}",
            hint="run the same command again with `--receipt FILE`, a place that can be written",
        ) from error


def receipt_of(site: Site) -> Receipt:
    """Say what a site holds now."""
    found = [(channel, here(site, channel)) for channel in site.channels()]
    blobs = (entry.name.rpartition("/")[2] for entry in site.store.names(BLOBS))
    return Receipt(
        app=site.chain.keyring.root.app,
        root=len(site.chain.documents),
        root_digest=sha256(site.chain.newest),
        channels=tuple(Reached(name, one.sequence, sha256(one.data)) for name, one in found if one),
        blobs=frozenset(Digest(blob.removesuffix(".bin")) for blob in blobs),
    )


def check_blob(kit: Kit, blob: Digest, member: Member, target: Path | None = None) -> None:
    """Digest a blob of a kit, and copy it on the way if there is a `target`."""
    digest, _ = digested(kit.archive.chunks(member), target)
    if digest != blob:
        raise VerificationError(
            f"{member.name} of the kit holds other bytes than its name says",
            code="digest",
            hint="it was damaged on the way: copy it again from where it was exported",
        )


def check_blobs(kit: Kit, targets: Mapping[Digest, Path]) -> None:
    """Digest every blob of a kit, and copy those that have a target."""
    pool = ThreadPoolExecutor(_WORKERS, "blobs")
    try:
        work = [
            pool.submit(check_blob, kit, blob, member, targets.get(blob))
            for blob, member in kit.blobs.items()
        ]
        for one in work:
            one.result()
    finally:
        # After an error the blobs in the queue are not begun.
        pool.shutdown(cancel_futures=True)


@contextmanager
def _verified_blobs(
    kit: Kit, plan: Plan, store: Store, *, dry_run: bool
) -> Iterator[Mapping[Digest, Path]]:
    """Lend the blobs that the site lacks, as files in scratch, all of the kit's found right."""
    if dry_run:
        check_blobs(kit, {})
        yield {}
        return
    # Taken even if nothing is missing: it sweeps up behind an import that was killed.
    with store.scratch() as folder:
        targets = {blob: folder / blob for blob in plan.blobs}
        check_blobs(kit, targets)
        yield targets


def _found_project(site: Site, trust: Trust) -> tuple[str, ...]:
    """Remember the roots, and write settings where there are none: a first import makes a project.

    Roots come first of all: what they vouch for may then be left half-written.
    """
    settings, made = site.settings, []
    if not settings.exists:
        write_file(settings.folder / FILE, _config_text(settings).encode())
        made.append(FILE)
    known = len(trust.chain.documents) if trust.chain else 0
    for number, document in enumerate(site.chain.documents[known:], known + 1):
        save_root(settings, number, document)
        made.append(f"{settings.root_folder.relative_to(settings.folder)}/{number}.json")
    return tuple(made)


def _config_text(settings: Settings) -> str:
    url = f"base_url = {toml_text(settings.base_url)}" if settings.base_url else _NO_URL
    site = settings.site
    if "://" not in site and Path(site).is_relative_to(settings.folder):
        site = Path(site).relative_to(settings.folder).as_posix()
    return _CONFIG.format(
        app=toml_text(settings.app),
        site=toml_text(site),
        base_url=url,
        channel=settings.channel,
    )


def _write(site: Site, documents: Documents, plan: Plan, fresh: Mapping[Digest, Path]) -> None:
    _add(site.store, fresh)
    site.publish_roots()
    for name, data in plan.releases.items():
        settle(site.store, name, partial(bytes, data), limit=LIMITS.release_bytes)
    for change in plan.changes:
        for number, data in reversed(change.missing):  # the last of these is the commit
            name = history_name(change.channel, number)
            create_same(site.store, name, data, limit=LIMITS.manifest_bytes)
    for line in documents.lines:
        site.publish_head(Head(line.head, line.data))  # devices see it from here on


def _add(store: Store, fresh: Mapping[Digest, Path]) -> None:
    # Each waits for the disk more than once: side by side they wait together.
    all_of(lambda blob: store.add(blob_name(blob), fresh[blob]), fresh, threads=_WRITERS)


__all__ = ["Imported", "Line", "check_blobs", "receipt_of", "receive"]
