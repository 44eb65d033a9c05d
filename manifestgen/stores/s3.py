"""A site in a bucket: AWS, R2, MinIO, SeaweedFS, Ceph, whatever speaks S3 and honours conditions.

Every write is one request, which the service carries out whole or not at all:

    create    PUT with `If-None-Match: *`
    replace   PUT with `If-Match`, the ETag that was read
    add       as `create` while it fits into one part; else in parts, which know no condition and
              need none: whoever writes a blob writes the same bytes

A store that ignores conditions, as some do without a word, would let two publishers overwrite each
other's commit. So the first write of each run tries both on an object of its own, `PROBE`, which
stays: two small requests, and nobody needs the right to delete in order to publish.

Known sad paths:

* An answer is lost on the way back: the request is made again, and if the service then says that
  somebody was first, it was us if the bytes are ours.
* Parts of an upload that was killed stay in the bucket, unseen, until a rule for incomplete
  uploads removes them.
* Without the right to list, AWS answers 403 for what is not there; that is an error here, since
  taking it for an empty site would begin a second history.
* `obstore` follows the endpoint's redirects to other hosts (never out of https, unless plain http
  is allowed) and reads what comes with an error whole; it has no options for either. What is read
  is verified as ever; of what is secret a redirect gets a session token, which the endpoint has.
"""

import io
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, TypeAlias

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store as Bucket

from manifestgen import __version__
from manifestgen.errors import ConflictError, StoreError, UsageError
from manifestgen.stores.interface import SMALL, Entry, Stored, changed, exists, too_large
from manifestgen.stores.interruptible import interruptibly
from manifestgen.stores.memory import temporary_folder
from manifestgen.stores.names import check_name, headers
from manifestgen.stores.parallel import AT_ONCE, all_of
from manifestgen.stores.s3_access import Access, find_access, parse_location
from manifestgen.stores.s3_errors import PassingError, Unsupported, is_no_bucket, translated

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import Attributes, UpdateVersion

    Mode: TypeAlias = Literal["create", "overwrite"] | UpdateVersion

PROBE: Final = ".manifestgen-probe"
"""What conditions are tried on. No name of a site, so nothing lists, serves or prunes it."""

_PROBED: Final = b"manifestgen tries on this object whether the store honours conditions\n"
_STALE: Final = '"00000000000000000000000000000000"'  # no bytes of ours have this MD5
_CHUNK: Final = 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to put up with a service; times in seconds, sizes in bytes."""

    connect: float = 10.0
    """Until a connection stands."""
    silence: float = 30.0
    """Between two pieces of an answer."""
    upload: float = 300.0
    """For one request that carries bytes: four parts at a time need 70 KB/s."""
    retries: int = 7
    """After connection errors, cuts and answers that ask for another try."""
    backoff: float = 0.2
    """Before the first retry, at most; doubled each time."""
    longest_pause: float = 8.0
    whole: float = 120.0
    """For one request with all its retries; signatures are good for five minutes."""
    part: int = 5 * 1024 * 1024
    """Of an upload; the smallest that the protocol allows, so that memory stays small."""
    parts: int = 4
    """In flight at a time, for one object."""


class S3Store:
    """A site in a bucket, below a prefix; threads may share it.

    `progress` is told how many bytes of blobs were sent, and of how many known so far. With
    `single_publisher` a store that ignores conditions is looked at before each write instead, which
    is safe for one publisher at a time only.
    """

    def __init__(
        self,
        location: str,
        *,
        single_publisher: bool = False,
        progress: Callable[[int, int], None] | None = None,
        access: Access | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._bucket, self._prefix = parse_location(location)
        self._single = single_publisher
        self._progress = progress
        self._patience = patience or Patience()
        self._access = access or find_access()
        self._reader = self._client(self._patience.retries, self._patience.silence)
        self._sender = self._client(self._patience.retries, self._patience.upload)
        # Its retries are ours: whether a request was made twice decides what 412 means.
        self._writer = self._client(0, self._patience.upload)
        self._honours: bool | None = None
        self._probing = Lock()
        self._counting = Lock()
        self._sent = self._known = 0

    @property
    def location(self) -> str:
        """Name the store in messages: its address."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    # Reading

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        """Read a small object whole; see `Store.get`. The tag is its ETag."""
        with self._explained("read", check_name(name)):
            try:
                found = interruptibly(obstore.get, self._reader, name)
            except FileNotFoundError as error:
                self._check_bucket(error)
                return None
            if found.meta["size"] > limit:
                raise too_large(name, limit)
            return Stored(bytes(interruptibly(found.bytes)), found.meta["e_tag"] or "")

    def open(self, name: str) -> BinaryIO | None:
        """Open an object for reading; cuts are healed by ranges. See `Store.open`."""
        with self._explained("read", check_name(name)):
            try:
                found = interruptibly(obstore.get, self._reader, name)
            except FileNotFoundError as error:
                self._check_bucket(error)
                return None
            pieces = iter(found.stream(_CHUNK))
        return io.BufferedReader(_Download(pieces, lambda: self._explained("read", name)))

    def size(self, name: str) -> int | None:
        """Return the size in bytes; see `Store.size`."""
        with self._explained("read", check_name(name)), suppress(FileNotFoundError):
            return interruptibly(obstore.head, self._reader, name)["size"]
        return None

    def names(self, prefix: str = "") -> Iterator[Entry]:
        """List objects by name; see `Store.names`. Names that no site has are passed over."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_name(folder)
        return _sorted(self._listed(folder, prefix), len(folder) + 1 if folder else 0)

    def folders(self) -> list[str]:
        """List the folders at the top; see `Store.folders`."""
        with self._explained("list", ""):
            found = interruptibly(obstore.list_with_delimiter, self._reader)
        return sorted(name for name in found["common_prefixes"] if _is_name(name))

    # Writing

    def scratch(self) -> AbstractContextManager[Path]:
        """Lend a private folder of this machine's; see `Store.scratch`."""
        return temporary_folder()

    def add(self, name: str, source: Path | bytes) -> bool:
        """Write a content-addressed object; see `Store.add`."""
        return self.add_all({name: source}) == 1

    def add_all(self, sources: Mapping[str, Path | bytes]) -> int:
        """Add blobs many at a time; see `Batching`."""
        sizes = {check_name(name): _size_of(source) for name, source in sources.items()}
        self.check_conditions()
        self._tell(0, sum(sizes.values()))
        if len(sizes) == 1:
            return sum(map(self._add, sources, sources.values(), sizes.values()))
        jobs = zip(sources, sources.values(), sizes.values(), strict=True)
        return sum(all_of(lambda job: self._add(*job), jobs, threads=AT_ONCE))

    def create(self, name: str, data: bytes) -> None:
        """Write an object that must not exist yet; see `Store.create`."""
        if not self._put(check_name(name), data, None):
            raise exists(name)

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        """Write a mutable object if it still has `tag`; see `Store.replace`."""
        if not self._put(check_name(name), data, tag):
            raise changed(name)

    def delete(self, name: str) -> None:
        """Remove an object; see `Store.delete`."""
        with self._explained("delete", check_name(name)), suppress(FileNotFoundError):
            interruptibly(obstore.delete, self._reader, name)

    # Conditions

    def check_conditions(self) -> bool:
        """Tell whether the store honours conditions, which is tried once.

        Raises:
            StoreError: it does not, and nobody said that there is only one publisher.
        """
        with self._probing:
            if self._honours is None:
                self._honours = self._probe()
        if not self._honours and not self._single:
            raise StoreError(
                f"{self.location}: this store ignores conditions, so two publishers could"
                " overwrite each other",
                hint="use another store; or, if you alone publish here and never twice at a time,"
                " say `single_publisher = true` in manifestgen.toml or `--single-publisher`",
                code="no_conditions",
            )
        return self._honours

    def _probe(self) -> bool:
        # The first `create` makes the object where there is none, and then proves nothing.
        created = self._is_refused("create") or self._is_refused("create")
        return created and self._is_refused({"e_tag": _STALE})

    def _is_refused(self, mode: "Mode") -> bool:
        try:
            self._patiently(PROBE, lambda: self._send(PROBE, _PROBED, mode))
        except (AlreadyExistsError, PreconditionError):
            return True
        except Unsupported:
            return False
        return False

    def _put(self, name: str, data: bytes, tag: str | None) -> bool:
        """Write an object that is absent, or has this tag; `False` if it is or has not."""
        if not self.check_conditions():
            there = self._tag(name)
            if there == tag:
                self._overwrite(name, data)
            return there == tag
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            self._send(name, data, "create" if tag is None else {"e_tag": tag})

        try:
            self._patiently(name, attempt)
        except (AlreadyExistsError, PreconditionError):
            # Bytes like ours are our own doing only where an answer was lost.
            return attempts > 1 and self._is_there(name, data)
        return True

    def _is_there(self, name: str, data: bytes) -> bool:
        there = self.get(name)
        return there is not None and there.data == data

    def _tag(self, name: str) -> str | None:
        with self._explained("read", name), suppress(FileNotFoundError):
            return interruptibly(obstore.head, self._reader, name)["e_tag"]
        return None

    def _overwrite(self, name: str, data: bytes) -> None:
        self._patiently(name, lambda: self._send(name, data, "overwrite"))

    # Blobs

    def _add(self, name: str, source: Path | bytes, size: int) -> bool:
        if size > self._patience.part:
            return self._add_large(name, source, size)
        added = self._add_small(name, source if isinstance(source, bytes) else source.read_bytes())
        self._tell(size)
        return added

    def _add_small(self, name: str, data: bytes) -> bool:
        # Asking first would make two requests of one, for what as a rule is not there.
        if self._put(name, data, None):
            return True
        if self.size(name) == len(data):
            return False
        self._overwrite(name, data)
        return True

    def _add_large(self, name: str, source: Path | bytes, size: int) -> bool:
        if self.size(name) == size:
            self._tell(size)
            return False
        with self._explained("write", name), _opened(source) as file:
            interruptibly(
                obstore.put,
                self._sender,
                name,
                self._told(file),
                attributes=_attributes(name),
                use_multipart=True,
                chunk_size=self._patience.part,
                max_concurrency=self._patience.parts,
            )
        return True

    def _told(self, file: BinaryIO) -> Iterator[bytes]:
        while chunk := file.read(_CHUNK):
            yield chunk
            self._tell(len(chunk))

    def _tell(self, sent: int, known: int = 0) -> None:
        with self._counting:
            self._sent += sent
            self._known += known
            if self._progress:
                self._progress(self._sent, self._known)

    # Requests

    def _client(self, retries: int, silence: float) -> Bucket:
        patience = self._patience
        return Bucket(
            self._bucket,
            prefix=self._prefix or None,
            config=self._access.config,
            client_options={
                **self._access.client_options,
                "connect_timeout": timedelta(seconds=patience.connect),
                # Silence counts, not the whole: a bundle takes as long as it takes.
                "read_timeout": timedelta(seconds=silence),
                "timeout": timedelta(hours=12),
                "user_agent": f"manifestgen/{__version__}",
            },
            retry_config={
                "max_retries": retries,
                "backoff": {
                    "init_backoff": timedelta(seconds=patience.backoff),
                    "max_backoff": timedelta(seconds=patience.longest_pause),
                },
                "retry_timeout": timedelta(seconds=patience.whole),
            },
        )

    def _listed(self, folder: str, prefix: str) -> Iterator[Entry]:
        with self._explained("list", prefix):
            pages = iter(obstore.list(self._reader, folder or None, chunk_size=1000))
            while (page := interruptibly(next, pages, None)) is not None:
                for found in page:
                    name = found["path"]
                    if name.startswith(prefix) and _is_name(name):
                        yield Entry(name, found["size"], found["last_modified"])

    def _send(self, name: str, data: bytes, mode: "Mode") -> None:
        interruptibly(
            obstore.put,
            self._writer,
            name,
            data,
            mode=mode,
            attributes=_attributes(name),
            use_multipart=False,
        )

    def _patiently(self, name: str, attempt: Callable[[], None]) -> None:
        patience, failures = self._patience, 0
        until = time.monotonic() + patience.whole
        while True:
            try:
                with self._explained("write", name):
                    attempt()
            except PassingError as error:
                failures += 1
                pause = min(patience.backoff * 2.0**failures, patience.longest_pause)
                if failures > patience.retries or time.monotonic() + pause > until:
                    raise
                _log.info("%s; trying again", error)
                # At random, so that sixteen threads do not come back as one.
                time.sleep(random.uniform(0.5, 1) * pause)  # noqa: S311
            else:
                return

    def _check_bucket(self, error: Exception) -> None:
        """Tell a missing bucket from an object that is not there."""
        if is_no_bucket(error):
            raise translated(error, self.location, "read", "") from error

    @contextmanager
    def _explained(self, action: str, name: str) -> Iterator[None]:
        """Turn what the service says into our errors; 412 is for the caller, absence may be."""
        try:
            yield
        except (AlreadyExistsError, PreconditionError, StoreError, UsageError, ConflictError):
            raise
        except FileNotFoundError as error:
            if action == "write" or is_no_bucket(error):
                raise translated(error, self.location, action, name) from error
            raise
        except (BaseError, OSError, ValueError) as error:
            raise translated(error, self.location, action, name) from error


class _Download(io.RawIOBase):
    """The body of one object, in pieces; `obstore` asks for the rest if it is cut."""

    def __init__(
        self,
        pieces: Iterator["bytes | memoryview"],
        explained: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__()
        self._pieces = pieces
        self._explained = explained
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        target = memoryview(buffer).cast("B")
        while not self._left:
            with self._explained():
                piece = interruptibly(next, self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece).cast("B")
        count = min(len(target), len(self._left))
        target[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _sorted(found: Iterable[Entry], start: int) -> Iterator[Entry]:
    """Sort a listing with no more than a folder of it in memory, a whole site aside.

    AWS sorts whole names. SeaweedFS goes folder by folder, "a/x" before "a-b/x": what comes between
    as a name comes right behind the folder, so the folder is held back until names are past it.
    `start` is where names go on behind the folder that is listed.
    """
    held: list[Entry] = []
    past = ""  # from here on nothing comes that belongs before what is held
    for entry in found:
        if entry.name >= past:
            yield from sorted(held, key=_name)
            held.clear()
        held.append(entry)
        at = entry.name.find("/", start)
        past = max(past, entry.name if at < 0 else f"{entry.name[:at]}0")  # "0" follows "/"
    yield from sorted(held, key=_name)


def _name(entry: Entry) -> str:
    return entry.name


def _size_of(source: Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size


@contextmanager
def _opened(source: Path | bytes) -> Iterator[BinaryIO]:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        yield file


def _attributes(name: str) -> "Attributes":
    said = headers(name)
    return {"Content-Type": said.content_type, "Cache-Control": said.cache_control}


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except UsageError:
        return False
    return True
