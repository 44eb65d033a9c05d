"""One run of `verify`: documents read once and counted, problems and notes collected.

What a document means is for the modules that ask for it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keys import KeyId, PublicKey
from manifestgen.errors import VerificationError
from manifestgen.stores.interface import Entry, Store, Stored
from manifestgen.stores.names import BLOBS, CLIENT, INDEX, RELEASES, ROOT, ROOTS
from manifestgen.stores.parallel import LOCAL, workers
from manifestgen.verify.ahead import ahead
from manifestgen.verify.report import Note, Part, Problem, Report

ROOT_PART: Final = "root chain"
_PARTS = {ROOT: ROOT_PART, ROOTS: ROOT_PART, RELEASES: "releases", BLOBS: "blobs"}
_OWN = (INDEX, CLIENT)


class _Get(Protocol):
    def __call__(self, name: str, *, limit: int) -> Stored | None: ...


class Audit:
    """Reads from a store and remembers what it found; `listing` is `None` where none can be had."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.listing: Mapping[str, Entry] | None = _listing(store)
        self.seen: set[str] = set()
        self._get: _Get = store.get
        self._files: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._problems: list[Problem] = []
        self._notes: list[Note] = []

    @contextmanager
    def reading_ahead(self, names: Iterable[str], limit: int) -> Iterator[None]:
        """Fetch documents several at a time that are going to be read in about this order."""
        if workers(self.store) == LOCAL:
            yield
            return
        with ahead(self.store, names, limit) as reader:
            self._get = reader.get
            try:
                yield
            finally:
                self._get = self.store.get

    def look(self, name: str, limit: int) -> bytes | None:
        """Read a document that may be missing; one that is too large counts as read, and bad."""
        self.seen.add(name)
        with self.judging(name):
            stored = self._get(name, limit=limit)
            if stored is not None:
                self.count(name, len(stored.data))
                return stored.data
        return None

    def need(self, name: str, limit: int, why: str) -> bytes | None:
        """Read a document that must be there; `None` once the problem has been noted."""
        before = len(self._problems)
        data = self.look(name, limit)
        if data is None and len(self._problems) == before:
            self.problem(name, "missing", f"missing: {why}")
        return data

    def peek(self, name: str, limit: int) -> bytes | None:
        """Read what need not be there, nor be a document if it is; nothing is counted."""
        try:
            stored = self._get(name, limit=limit)
        except VerificationError:
            return None
        return stored.data if stored else None

    def there(self, name: str) -> bool:
        """Tell whether a document is there, whatever it says."""
        try:
            return self.store.get(name) is not None
        except VerificationError:
            return True

    def listed(self, prefix: str) -> list[str]:
        """Return the names there are under a prefix, sorted; none where nothing can be listed."""
        return sorted(name for name in self.listing or () if name.startswith(prefix))

    def count(self, name: str, size: int) -> None:
        """Count a file as read."""
        self._files[part_of(name)] += 1
        self._bytes[part_of(name)] += size

    def problem(self, where: str, code: str, message: str) -> None:
        """Record a reason not to trust the site; the same one is not told twice."""
        found = Problem(where, code, message)
        if found not in self._problems:
            self._problems.append(found)

    def note(self, where: str, message: str) -> None:
        """Record something that no device minds."""
        found = Note(where, message)
        if found not in self._notes:
            self._notes.append(found)

    def judging(self, where: str) -> "_Judging":
        """Turn a `VerificationError` of a `with` block into a problem of the file `where`."""
        return _Judging(self, where)

    def check_every_signature(
        self, where: str, envelope: Envelope, kind: Kind, keys: Mapping[KeyId, PublicKey]
    ) -> None:
        """Complain of each signature that is wrong or by nobody known.

        Devices ignore those as long as the threshold is met; in a site they are damage, and some
        day the threshold may need them.
        """
        message = envelope.message(kind)
        for signature in envelope.signatures:
            short = signature.keyid[:12]
            if signature.keyid not in keys:
                self.problem(where, "signature", f"signed by {short}, a key that no root names")
            elif not keys[signature.keyid].verifies(signature.sig, message):
                self.problem(where, "signature", f"the signature by {short} is wrong")

    def report(self) -> Report:
        """Sum up."""
        problems = Counter(part_of(problem.where) for problem in self._problems)
        parts = tuple(
            Part(name, self._files[name], self._bytes[name], problems[name])
            for name in sorted(self._files | problems, key=_rank)
        )
        return Report(
            documents=sum(part.files for part in parts if part.name != "blobs"),
            blobs=self._files["blobs"],
            bytes=sum(part.bytes for part in parts),
            problems=tuple(self._problems),
            notes=tuple(self._notes),
            parts=parts,
        )


@dataclass(frozen=True, slots=True)
class _Judging:
    # No generator: type checkers would not believe that the block may end early.
    audit: Audit
    where: str

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, VerificationError):
            return False
        self.audit.problem(self.where, error.code, str(error))
        return True


def part_of(name: str) -> str:
    """Name the part of the site that a file belongs to: for a channel its own name."""
    folder, slash, _ = name.partition("/")
    return _PARTS.get(folder + slash, folder)


def _rank(part: str) -> tuple[int, str]:
    order = [ROOT_PART, "releases", "blobs", *_OWN]
    # Channels come after the roots that they hang on, and before what they lead to.
    return (order.index(part) * 2 if part in order else 1, part)


def _listing(store: Store) -> Mapping[str, Entry] | None:
    # Asking whether it raises would take a broken disk for a web server.
    if store.location.startswith(("http://", "https://")):
        return None
    return {entry.name: entry for entry in store.names()}


def shorten(names: Collection[str], most: int = 10) -> Iterator[str]:
    """Give the first names, then how many more there are."""
    ordered = sorted(names)
    yield from ordered[:most]
    if len(ordered) > most:
        yield f"and {len(ordered) - most} more"
