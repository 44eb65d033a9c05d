"""What a kit's documents prove: roots first, then manifests, then releases, then which blobs.

Every manifest was signed by a root of the chain, names the one before it by digest, and the newest
of each channel stands by today's keys. What is left over is refused. The site that is to receive
all this is not looked at here: see `compare`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from manifestgen.core.envelope import Envelope
from manifestgen.core.files import LIST_BYTES, FileList
from manifestgen.core.keyring import Keyring, TrustedManifest, check_fresh, usable
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest, sha256
from manifestgen.errors import UsageError, VerificationError
from manifestgen.kit.archive import Member
from manifestgen.kit.contents import Kit, release_version
from manifestgen.publish.trust import RootChain
from manifestgen.stores.names import blob_name, history_name, release_name, root_name

Lists: TypeAlias = Callable[[Release], FileList | None]
"""Gives the list of single files that a release names; `None` if it cannot be had."""

_FULL = "export it with `manifestgen kit export --full`"


@dataclass(frozen=True, slots=True)
class Trust:
    """What a person or a project trusts before a kit is read.

    `chain` is the project's; `first` is root 1 as a file; `fingerprint` the beginning of root 1's
    SHA-256, as a person typed it. What is given must agree.
    """

    chain: RootChain | None = None
    first: bytes | None = None
    fingerprint: str | None = None

    def check(self, first: bytes) -> None:
        """Raise unless this is the first root that is trusted.

        Raises:
            UsageError: nothing is trusted.
        """
        if self.chain is None and self.first is None and self.fingerprint is None:
            raise UsageError(
                "nothing here says whom to trust, and a kit's own root proves nothing",
                hint="ask whoever made the kit for its fingerprint, by another way than the kit"
                " came: `--fingerprint HEX`",
            )
        digest = sha256(first)
        if self.fingerprint is not None and not digest.startswith(self.fingerprint):
            raise VerificationError(
                # The kit's own is not shown: it would be copied, where it has to be asked for.
                "the kit's fingerprint is not the one given",
                code="root",
                hint="ask again by another way; if that does not help, somebody changed the kit",
            )
        trusted = self.first if self.chain is None else self.chain.documents[0]
        if trusted is not None and trusted != first:
            raise _other_root(1)
        if self.first is not None and self.first != first:
            raise VerificationError("the root given with --root is not the kit's", code="root")


@dataclass(frozen=True, slots=True)
class Line:
    """A channel's manifests as a kit carries them, oldest first, by sequence.

    `offered` are the releases that any of them offers, by the names of their files.
    """

    channel: str
    head: TrustedManifest
    documents: tuple[tuple[int, bytes], ...]
    previous: Digest | None
    offered: Mapping[str, Envelope]

    @property
    def first(self) -> int:
        """The oldest sequence."""
        return self.documents[0][0]

    @property
    def last(self) -> int:
        """The newest sequence."""
        return self.documents[-1][0]

    @property
    def data(self) -> bytes:
        """The newest manifest's file."""
        return self.documents[-1][1]


@dataclass(frozen=True, slots=True)
class Documents:
    """All documents of a kit, verified; `releases` are files by their names."""

    chain: RootChain
    lines: tuple[Line, ...]
    releases: Mapping[str, bytes]

    @property
    def heads(self) -> tuple[TrustedManifest, ...]:
        """The newest manifest of each channel."""
        return tuple(line.head for line in self.lines)


def read_documents(kit: Kit, trust: Trust) -> Documents:
    """Verify every document of a kit.

    Raises:
        UsageError: nothing is trusted to begin with.
        VerificationError: the first thing that is not as it has to be.
    """
    chain = _chain(kit, trust)
    lines = tuple(_line(kit, chain, channel) for channel in kit.history)
    return Documents(chain, lines, _releases(kit, chain, lines))


def needed_blobs(heads: Iterable[TrustedManifest], lists: Lists) -> dict[Digest, int]:
    """Return every blob that devices may ask for, with its signed size.

    Raises:
        VerificationError: a list of single files is missing, or a blob has two sizes.
    """
    found: dict[Digest, int] = {}
    for blob, size in _needed(heads, lists):
        if found.setdefault(blob, size) != size:
            raise VerificationError(
                f"{blob_name(blob)} was signed as {found[blob]} bytes and as {size}", code="digest"
            )
    return found


def lists_of(heads: Iterable[TrustedManifest]) -> dict[Digest, Release]:
    """Return the releases that have a list of single files, by the list's blob."""
    return {one.files.blob: one for head in heads for one in usable(head) if one.files is not None}


def decode_list(data: bytes, release: Release) -> FileList:
    """Read a list of single files that is what a release signed."""
    if release.files is None or sha256(data) != release.files.blob:
        raise VerificationError(
            f"the list of files of {release.version} is not what was signed", code="digest"
        )
    return FileList.decode(data, release)


def list_in(kit: Kit, release: Release) -> FileList | None:
    """Return a release's list of single files, if the kit carries it."""
    member = kit.blobs.get(release.files.blob) if release.files else None
    return decode_list(kit.archive.read(member, LIST_BYTES), release) if member else None


def incomplete(what: str) -> VerificationError:
    """Make the error of a kit that leaves out what is not here either."""
    return VerificationError(f"the kit lacks {what}", code="incomplete", hint=_FULL)


def grouped(fingerprint: str) -> str:
    """Write a fingerprint for people to read out: in groups of four."""
    return " ".join(fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4))


def signed_once(chain: RootChain, data: bytes, channel: str) -> TrustedManifest:
    """Verify a manifest by the keys of any time, the newest first."""
    refused: VerificationError | None = None
    for keyring in reversed(chain.keyrings):
        try:
            return keyring.manifest(data, channel)
        except VerificationError as error:
            refused = refused or error
    raise refused or VerificationError("no root", code="signature")


def stands(chain: RootChain, data: bytes, channel: str) -> bool:
    """Tell whether devices that know the newest root would take a manifest."""
    try:
        chain.keyring.manifest(data, channel)
    except VerificationError:
        return False
    return True


def outlived(documents: Documents, now: datetime) -> Iterator[str]:
    """Say what devices refuse by the time it is now; it may be the clock that is wrong.

    It is carried all the same: a channel of the other side's own can still offer its releases.
    """
    root = documents.chain.keyring.root
    today = f"here it is {now:%Y-%m-%d}: if that is right, devices take nothing new of it"
    try:
        documents.chain.keyring.check_root_fresh(now)
    except VerificationError as error:
        yield f"{error}, and {today}"
    for head in documents.heads:
        manifest = head.manifest
        if manifest.issued - now > LIMITS.future:
            issued = f"{manifest.issued:%Y-%m-%d}"
            yield f"the {manifest.channel} manifest was issued on {issued}, and {today}"
            continue
        try:
            check_fresh(head, seen=None, now=now, root_issued=root.issued)
        except VerificationError as error:
            yield f"{error}, and {today}"


def _needed(heads: Iterable[TrustedManifest], lists: Lists) -> Iterator[tuple[Digest, int]]:
    for head in heads:
        for offer, release in zip(head.manifest.offers, head.releases, strict=True):
            if isinstance(release, VerificationError):
                continue  # devices skip it
            payloads = [release.bundle, *(patch.payload for patch in offer.patches)]
            if release.files:
                payloads.append(release.files)
                listed = lists(release)
                if listed is None:
                    raise incomplete(f"{blob_name(release.files.blob)}, a list of files")
                yield from ((one.blob, one.stored) for one in listed.files)
            yield from ((payload.blob, payload.size) for payload in payloads)


def _chain(kit: Kit, trust: Trust) -> RootChain:
    """Join the kit's roots to the trusted ones: one of the two continues the other."""
    _check_app(kit, trust)
    first = kit.archive.read(kit.roots[0], LIMITS.root_bytes)
    trust.check(first)
    chain = trust.chain or RootChain((first,), (_first(first),))
    if chain.keyrings[0].root.app != kit.contents.app:
        raise _wrong_app(kit.contents.app, chain.keyrings[0].root.app)
    for number, member in enumerate(kit.roots, 1):
        # One at a time: there may be very many, and nobody has signed them yet.
        document = kit.archive.read(member, LIMITS.root_bytes)
        if number > len(chain.documents):
            with _judging(root_name(number)):
                chain = chain.extended(document)
        elif document != chain.documents[number - 1]:
            raise _other_root(number)
    return chain


def _check_app(kit: Kit, trust: Trust) -> None:
    """Say that a kit is another app's before saying that its root is another one."""
    if trust.chain and trust.chain.keyring.root.app != kit.contents.app:
        raise _wrong_app(kit.contents.app, trust.chain.keyring.root.app)


def _wrong_app(kit: str, here: str) -> VerificationError:
    return VerificationError(
        f"the kit is for {kit}, and here {here} is trusted",
        code="wrong_app",
        hint="import it where that app's manifestgen.toml is, or name it with `--config`",
    )


def _other_root(number: int) -> VerificationError:
    return VerificationError(
        f"{root_name(number)} of the kit is not the one that is trusted here",
        code="root",
        hint="is it another project's kit? Compare the fingerprints: `manifestgen kit inspect`",
    )


def _first(document: bytes) -> Keyring:
    with _judging(root_name(1)):
        keyring = Keyring.trust(document)
    if keyring.root.number != 1:
        raise VerificationError(
            f"{root_name(1)} of the kit holds root {keyring.root.number}", code="root_gap"
        )
    return keyring


def _line(kit: Kit, chain: RootChain, channel: str) -> Line:
    documents: list[tuple[int, bytes]] = []
    trusted: TrustedManifest | None = None
    previous = None
    offered: dict[str, Envelope] = {}
    for number, member in kit.history[channel]:
        data = kit.archive.read(member, LIMITS.manifest_bytes)
        with _judging(member.name):
            found = signed_once(chain, data, channel)
        if found.manifest.sequence != number:
            raise VerificationError(
                f"{member.name} of the kit holds manifest {found.manifest.sequence}", code="history"
            )
        if trusted is None:
            previous = found.manifest.previous
        else:
            _check_follows(chain, trusted, documents[-1], found)
        with _judging(member.name):
            add_offers(chain, found.manifest, offered)
        documents.append((number, data))
        trusted = found
    head = _newest(chain, channel, documents[-1])
    return Line(channel, head, tuple(documents), previous, offered)


def _check_follows(
    chain: RootChain,
    trusted: TrustedManifest,
    before: tuple[int, bytes],
    found: TrustedManifest,
) -> None:
    manifest = found.manifest
    name = history_name(manifest.channel, manifest.sequence)
    if manifest.previous != sha256(before[1]):
        raise VerificationError(
            f"{name} of the kit does not follow manifest {before[0]} of it", code="history"
        )
    # A key since revoked may have set any time; the publisher then began again from its own.
    if manifest.issued < trusted.manifest.issued and stands(chain, before[1], manifest.channel):
        raise VerificationError(
            f"{name} of the kit was issued before manifest {before[0]}", code="history"
        )


def _newest(chain: RootChain, channel: str, newest: tuple[int, bytes]) -> TrustedManifest:
    """Verify a head as devices will: by the newest root alone."""
    try:
        return chain.keyring.manifest(newest[1], channel)
    except VerificationError as error:
        raise VerificationError(
            f"the kit ends at {channel} {newest[0]}, which devices refuse: {error}",
            code=error.code,
            hint="run `manifestgen refresh` on the other side, and export again",
        ) from None


def _releases(kit: Kit, chain: RootChain, lines: Sequence[Line]) -> dict[str, bytes]:
    offered = all_offered(lines)
    current = {release_name(str(one.version)) for line in lines for one in usable(line.head)}
    found = {}
    for member in kit.releases:
        data = kit.archive.read(member, LIMITS.release_bytes)
        found[member.name] = data
        with _judging(member.name):
            keyrings = chain.keyrings[-1:] if member.name in current else chain.keyrings
            _check_release(keyrings, member, data, offered)
    for name in offered:
        if name not in found:
            raise incomplete(name)
    return found


def _check_release(
    keyrings: Sequence[Keyring], member: Member, data: bytes, offered: Mapping[str, Envelope]
) -> None:
    envelope = Envelope.decode(data, limit=LIMITS.release_bytes)
    release = _vouched(keyrings, envelope)
    if str(release.version) != release_version(member.name):
        raise VerificationError(f"holds release {release.version}", code="release")
    if member.name not in offered:
        raise VerificationError("no manifest of the kit offers it", code="unlisted")
    if envelope.signed != offered[member.name].signed:
        raise VerificationError("says something else than what is offered", code="release")


def add_offers(chain: RootChain, manifest: Manifest, found: dict[str, Envelope]) -> None:
    """Add the releases that a manifest offers and a root of the chain vouches for, by name.

    Raises:
        VerificationError: the same version was another release before.
    """
    for offer in manifest.offers:
        try:
            version = _vouched(chain.keyrings, offer.release).version
        except VerificationError:
            continue  # devices skipped it
        if found.setdefault(release_name(str(version)), offer.release).signed != (
            offer.release.signed
        ):
            raise _two_releases(str(version))


def all_offered(lines: Iterable[Line]) -> dict[str, Envelope]:
    """Return the releases of all channels by name; a version is one release everywhere."""
    found: dict[str, Envelope] = {}
    for line in lines:
        for name, envelope in line.offered.items():
            if found.setdefault(name, envelope).signed != envelope.signed:
                raise _two_releases(name)
    return found


def _two_releases(what: str) -> VerificationError:
    return VerificationError(f"two different releases were offered as {what}", code="release")


def _vouched(keyrings: Sequence[Keyring], envelope: Envelope) -> Release:
    """Verify a release by the keys of any of these times, the newest first."""
    *before, newest = keyrings
    try:
        return newest.release(envelope)
    except VerificationError as error:
        for keyring in reversed(before):
            with suppress(VerificationError):
                return keyring.release(envelope)
        raise error from None


@contextmanager
def _judging(name: str) -> Iterator[None]:
    """Let the error of a check name the file."""
    try:
        yield
    except VerificationError as error:
        raise VerificationError(
            f"{name} of the kit: {error}",
            code=error.code,
            hint=error.hint or "nothing was changed; export it again, and ask who had it since",
        ) from None
