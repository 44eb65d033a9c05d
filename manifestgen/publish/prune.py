"""Delete blobs that nothing refers to any more.

Kept is whatever a digest in a manifest could mean, so that this code cannot be wrong about a field
it does not know: every 64 hex digits in every manifest that is unexpired, recent, or belongs to
the last releases of a channel, and in the lists of single files that these lead to. A blob younger
than the grace time may belong to a publish that is under way. Documents are never deleted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from manifestgen.core.files import LIST_BYTES
from manifestgen.core.tree import Digest
from manifestgen.core.version import Version
from manifestgen.errors import VerificationError
from manifestgen.publish.site import Head, Site
from manifestgen.stores.names import BLOBS, blob_name, history_name

DEFAULT_GRACE: Final = timedelta(days=14)

_DIGEST = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went (or would go), and what stayed; sizes in bytes."""

    deleted: tuple[str, ...]
    deleted_bytes: int
    kept: int
    kept_bytes: int


def prune(
    site: Site, *, keep: int, grace: timedelta, now: datetime, dry_run: bool = False
) -> Pruned:
    """Delete what no live or recent manifest refers to.

    Raises:
        VerificationError: history is not whole, so nobody can tell what is still needed.
    """
    needed = {
        name for channel in site.channels() for name in _needed(site, channel, keep, grace, now)
    }
    gone: list[str] = []
    gone_bytes = kept = kept_bytes = 0
    for entry in site.store.names(BLOBS):  # one after the other, however many there are
        digest = entry.name.rpartition("/")[2].removesuffix(".bin")
        if digest in needed or now - entry.modified < grace:
            kept, kept_bytes = kept + 1, kept_bytes + entry.size
            continue
        if not dry_run:
            site.store.delete(entry.name)
        gone.append(entry.name)
        gone_bytes += entry.size
    return Pruned(tuple(gone), gone_bytes, kept, kept_bytes)


def _needed(site: Site, channel: str, keep: int, grace: timedelta, now: datetime) -> Iterator[str]:
    """Give the digests that a channel still needs."""
    releases: set[Version] = set()
    lists: set[Digest] = set()
    oldest: Head | None = None
    for head in site.earlier(site.head(channel)):
        oldest = head
        recent = max(head.manifest.expires, head.manifest.issued + grace) > now
        if not recent and len(releases) >= keep and _settled(site, head, now):
            return
        vouched = list(site.vouched(head))
        releases |= {release.version for release in vouched}
        yield from (found.decode() for found in _DIGEST.findall(head.data))
        for digest in {release.files.blob for release in vouched if release.files} - lists:
            lists.add(digest)
            # Unchecked: what a damaged one still names is kept as well.
            stored = site.store.get(blob_name(digest), limit=LIST_BYTES)
            yield from (found.decode() for found in _DIGEST.findall(stored.data if stored else b""))
    if oldest and oldest.manifest.previous is not None:
        raise VerificationError(
            f"history before {history_name(channel, oldest.manifest.sequence)} is missing",
            code="history",
            hint="restore it from a copy of the site; nothing was deleted",
        )


def _settled(site: Site, head: Head, now: datetime) -> bool:
    """Tell whether nothing older can be unexpired: no manifest outlives what root allows."""
    longest = max(keyring.root.lifetime for keyring in site.chain.keyrings)
    return head.manifest.issued + longest <= now
