"""What lies in a site that nothing accounts for: worth a note, since no device ever asks for it."""

import re

from manifestgen.core.tree import Digest
from manifestgen.stores.names import BLOBS, CLIENT, INDEX, blob_name
from manifestgen.verify.audit import Audit, shorten

_DIGEST = re.compile(r"[0-9a-f]{64}")


def unnamed_blobs(audit: Audit, named: set[Digest]) -> list[Digest]:
    """Return the blobs in the listing that no document names, and note how much they are."""
    found, total = [], 0
    for name in audit.listed(BLOBS):
        digest = Digest(name.rpartition("/")[2].removesuffix(".bin"))
        if not _DIGEST.fullmatch(digest) or blob_name(digest) != name:
            continue
        audit.seen.add(name)
        if digest not in named:
            found.append(digest)
            total += audit.listing[name].size if audit.listing else 0
    for text in shorten([blob_name(digest) for digest in found]):
        audit.note(text, "nothing refers to it; `manifestgen prune` removes it in time")
    return found


def note_leftovers(audit: Audit) -> None:
    """Note files that are no part of a site, and those that are never verified."""
    if not audit.there(INDEX):
        audit.note(INDEX, "missing: people who open the site see no page")
    unknown = {
        name
        for name in audit.listing or ()
        if name not in audit.seen and name != INDEX and not name.startswith(CLIENT)
    }
    for text in shorten(unknown):
        audit.note(text, "no part of a site; not checked")
    if audit.listed(CLIENT):
        audit.note(CLIENT, "not checked: apps carry a client of their own")
