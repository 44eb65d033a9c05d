"""Look into a kit without trusting anything: is it whole, and what does it say of itself?

It is judged by its own first root, so this finds what was damaged or lost, and nobody's lies. Only
`receive` with a root that is trusted proves who made it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from manifestgen.core.files import FileList
from manifestgen.core.keyring import usable
from manifestgen.core.limits import LIMITS
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest, sha256
from manifestgen.kit.compare import Plan, check_carried, compare
from manifestgen.kit.contents import Kit
from manifestgen.kit.documents import (
    Documents,
    Line,
    Trust,
    list_in,
    lists_of,
    needed_blobs,
    outlived,
    read_documents,
)
from manifestgen.kit.receive import check_blobs
from manifestgen.publish.site import Site


@dataclass(frozen=True, slots=True)
class Inspected:
    """A kit that is whole in itself; sizes in bytes.

    `absent` counts the blobs that its manifests need and it does not carry: the other side has to
    have them. `notes` say what has expired.
    """

    app: str
    fingerprint: Digest
    documents: Documents
    releases: int
    blobs: int
    blob_bytes: int
    absent: int
    size: int
    notes: Sequence[str]

    @property
    def lines(self) -> tuple[Line, ...]:
        """The manifests it carries, by channel."""
        return self.documents.lines


def inspect(kit: Kit, *, now: datetime) -> Inspected:
    """Check a kit whole, by nothing but itself.

    Raises:
        VerificationError: it is damaged, or was not made by one publisher.
    """
    first = kit.archive.read(kit.roots[0], LIMITS.root_bytes)
    documents = read_documents(kit, Trust(first=first))
    lists = lists_of(documents.heads)
    unknown = lists.keys() - kit.blobs.keys()  # what these lead to, the other side knows
    needed = needed_blobs(documents.heads, lambda one: _list(kit, one))
    if unknown:
        needed |= {blob: kit.blobs[blob].size for blob in kit.blobs if blob not in needed}
    check_carried(kit, needed)
    check_blobs(kit, {})
    return Inspected(
        app=documents.chain.keyring.root.app,
        fingerprint=sha256(first),
        documents=documents,
        releases=len(kit.releases),
        blobs=len(kit.blobs),
        blob_bytes=sum(member.size for member in kit.blobs.values()),
        absent=len(needed.keys() - kit.blobs.keys()),
        size=kit.archive.size,
        notes=tuple(outlived(documents, now)),
    )


def versions(line: Line) -> list[str]:
    """Return the versions that a channel's newest manifest offers, in its order."""
    return [str(one.version) for one in usable(line.head)]


def would_import(kit: Kit, trust: Trust, site: Site) -> Plan:
    """Say what importing would change, or raise why it is refused; blobs are not digested again."""
    documents = read_documents(kit, trust)
    return compare(kit, documents, Site(site.store, documents.chain, site.settings, dry_run=True))


def _list(kit: Kit, release: Release) -> FileList:
    return list_in(kit, release) or FileList(())
