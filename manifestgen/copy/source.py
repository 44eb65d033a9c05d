"""What is to be copied, verified from the caller's root down to which blobs it leads to.

A site with a problem in what is signed is not copied. That something has expired is none: devices
judge that by themselves, and whoever moves a site may sign it again afterwards.
"""

import shlex
from dataclasses import dataclass
from datetime import datetime

from manifestgen.copy.snapshot import Snapshot
from manifestgen.core.release import Release
from manifestgen.errors import VerificationError
from manifestgen.publish.trust import RootChain
from manifestgen.stores.names import release_name, root_name
from manifestgen.verify.anchor import Anchor
from manifestgen.verify.audit import Audit
from manifestgen.verify.blobs import Job
from manifestgen.verify.manifests import Line
from manifestgen.verify.report import Note
from manifestgen.verify.verify import Documents, Expected, blob_jobs, check_documents

_EXPIRED = {"expired", "root_expired"}


@dataclass(frozen=True, slots=True)
class Source:
    """A verified site; `notes` are for people."""

    store: Snapshot
    chain: RootChain
    documents: Documents
    jobs: tuple[Job, ...]
    notes: tuple[Note, ...]

    @property
    def app(self) -> str:
        """Whose site it is."""
        return self.chain.keyring.root.app

    @property
    def lines(self) -> tuple[Line, ...]:
        """The channels."""
        return self.documents.lines

    @property
    def releases(self) -> tuple[Release, ...]:
        """Every release that a document vouches for."""
        return (*self.documents.releases.offered, *self.documents.releases.kept)

    def document(self, name: str) -> bytes:
        """Return the bytes of a document that was verified."""
        stored = self.store.get(name)
        if stored is None:
            raise VerificationError(f"{name} is missing from {self.store.location}", code="missing")
        return stored.data

    def release(self, release: Release) -> bytes:
        """Return the file of a release."""
        return self.document(release_name(str(release.version)))


def read_source(store: Snapshot, anchor: Anchor, *, now: datetime, expected: Expected) -> Source:
    """Verify all that is signed in a site.

    Raises:
        UsageError: nothing is published there.
        VerificationError: the first thing that is wrong with it.
    """
    audit = Audit(store)
    documents = check_documents(audit, anchor, now, expected)
    jobs = tuple(blob_jobs(audit, documents))
    report = audit.report()
    for problem in report.problems:
        if problem.code not in _EXPIRED:
            raise VerificationError(
                f"{store.location}: {problem.where}: {problem.message}",
                code=problem.code,
                hint=f"nothing was copied; run `manifestgen verify {shlex.quote(store.location)}`",
            )
    expired = (Note(one.where, one.message) for one in report.problems)
    chain = _chain(store, documents)
    return Source(store, chain, documents, jobs, (*expired, *report.notes))


def _chain(store: Snapshot, documents: Documents) -> RootChain:
    numbers = range(1, documents.roots.newest.root.number + 1)
    found = (store.get(root_name(number)) for number in numbers)
    return RootChain(tuple(one.data for one in found if one), documents.roots.keyrings)
