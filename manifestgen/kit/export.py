"""Make a kit of what another site lacks: all documents, and the blobs that a receipt does not list.

Everything is verified on the way out as it will be on the way in, and each blob is digested while
it is written: damage here must not be carried there.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from manifestgen.bundle.replace import replacing
from manifestgen.core.envelope import Envelope
from manifestgen.core.root import Role
from manifestgen.core.tree import Digest, sha256
from manifestgen.core.version import Version
from manifestgen.errors import UsageError, VerificationError
from manifestgen.kit.archive import END, header, padding, write_member
from manifestgen.kit.contents import NAME, Contents, Span, release_version
from manifestgen.kit.documents import (
    Documents,
    Line,
    add_offers,
    all_offered,
    needed_blobs,
    outlived,
)
from manifestgen.kit.receipt import Receipt
from manifestgen.publish.site import Head, Site
from manifestgen.publish.trust import high_water
from manifestgen.stores import Store
from manifestgen.stores.file_lists import read_file_list
from manifestgen.stores.names import blob_name, history_name, release_name, root_name

_CHUNK: Final = 1024 * 1024  # bytes read at a time


@dataclass(frozen=True, slots=True)
class Exported:
    """A kit that was written, or that there was no need for (`written`); sizes in bytes.

    `notes` say what devices on the other side will refuse.
    """

    app: str
    fingerprint: Digest
    contents: Contents
    releases: int
    blobs: int
    blob_bytes: int
    left_out: int
    size: int
    written: bool
    notes: tuple[str, ...]


def export(
    site: Site,
    target: Path,
    *,
    now: datetime,
    channels: Sequence[str] = (),
    since: Receipt | None = None,
) -> Exported:
    """Write a kit of some channels, or of all, from the beginning or since a receipt.

    Where release keys have changed since, it has all of history again, without the blobs. With
    nothing new since the receipt no file is written.

    Raises:
        UsageError: there is nothing to export, or a channel is not there.
        VerificationError: the site is damaged, or the receipt is another site's.
    """
    if since:
        _check_receipt(site, since)
    lines = [line for line in _lines(site, channels, since) if line]
    heads = [line.head for line in lines]
    releases = {release_name(version): data for version, data in _releases(site, lines)}
    needed = needed_blobs(heads, partial(read_file_list, site.store))
    there = since.blobs if since else frozenset()
    blobs = {blob: needed[blob] for blob in sorted(needed.keys() - there)}
    _check_sizes(site.store, blobs)
    documents = {**_documents(site, lines), **releases}
    contents = _contents(site, lines, documents, blobs)
    news = since is None or lines or since.root != len(site.chain.documents)
    size = _write(site.store, target, contents, documents, blobs) if news else 0
    return Exported(
        app=contents.app,
        fingerprint=sha256(site.chain.documents[0]),
        contents=contents,
        releases=len(releases),
        blobs=len(blobs),
        blob_bytes=sum(blobs.values()),
        left_out=len(needed) - len(blobs),
        size=size,
        written=bool(news),
        notes=tuple(outlived(Documents(site.chain, tuple(lines), releases), now)),
    )


def _check_receipt(site: Site, since: Receipt) -> None:
    app, known = site.chain.keyring.root.app, len(site.chain.documents)
    if since.app != app:
        raise VerificationError(
            f"the receipt is for {since.app}, and this project is {app}",
            code="wrong_app",
            hint="name the receipt of this app's last import",
        )
    if since.root > known:
        raise VerificationError(
            f"the other side has root {since.root}, and this project only {known}",
            code="root",
            hint="bring .manifestgen/root up to date with `git pull`",
        )
    if sha256(site.chain.documents[since.root - 1]) != since.root_digest:
        raise VerificationError(
            f"the other side trusts another root {since.root} than this project",
            code="root",
            hint="name the receipt of a site that imports this project's kits",
        )


def _lines(site: Site, channels: Sequence[str], since: Receipt | None) -> Iterator[Line | None]:
    for channel in sorted(set(channels)) or site.channels():
        head = site.head(channel, mark=high_water(site.settings, channel))
        if head is None and channels:
            raise UsageError(
                f"channel {channel} has no manifest yet", hint="see `manifestgen channel list`"
            )
        if head is not None:
            yield _line(site, channel, head, since)
    if not channels and not site.channels():
        raise UsageError(
            f"nothing is published at {site.store.location}", hint="publish something first"
        )


def _line(site: Site, channel: str, head: Head, since: Receipt | None) -> Line | None:
    """Return the manifests since a receipt; `None` if there are none."""
    if head.outdated:
        raise VerificationError(
            f"{channel} was signed only by keys since revoked, and no device takes it",
            code="signature",
            hint=f"run `manifestgen refresh --channel {channel}`, or export other channels",
        )
    reached = since.reached(channel) if since else None
    # Releases were signed again, long after their manifests: all of history brings them.
    whole = since is not None and _release_keys(site, since.root) != _release_keys(site)
    walked: list[tuple[int, bytes]] = []
    offered: dict[str, Envelope] = {}
    previous = head.digest
    for one in site.earlier(head):
        if reached and one.digest == reached.digest:
            reached = None
            if not whole:
                break
        if reached and one.manifest.sequence <= reached.sequence:
            raise _forked(channel, reached.sequence, head)
        walked.append((one.manifest.sequence, one.data))
        add_offers(site.chain, one.manifest, offered)
        previous = one.manifest.previous or Digest("")
    else:
        if reached:
            raise _forked(channel, reached.sequence, head)
        if previous:
            raise VerificationError(
                f"history before {history_name(channel, walked[-1][0])} is missing",
                code="history",
                hint="run `manifestgen verify`, and restore it from a copy of the site",
            )
    if not walked:
        return None
    return Line(channel, head.trusted, tuple(reversed(walked)), previous or None, offered)


def _release_keys(site: Site, root: int = 0) -> Role:
    return site.chain.keyrings[root - 1].root.release  # without a number, the newest


def _forked(channel: str, sequence: int, head: Head) -> VerificationError:
    if sequence > head.manifest.sequence:
        what = f"the other side has {channel} {sequence}, and this site only"
        return VerificationError(
            f"{what} {head.manifest.sequence}",
            code="older",
            hint="see that this is the site that was exported from before, not an old copy of it",
        )
    return VerificationError(
        f"{channel} {sequence} of the receipt is not the {sequence} of this site",
        code="fork",
        hint="the two sides have different histories: find out which is the real one",
    )


def _releases(site: Site, lines: Sequence[Line]) -> Iterator[tuple[str, bytes]]:
    """Give the stored envelopes of what was offered, by version in the order of a kit."""
    offered = all_offered(lines)
    for name in sorted(offered, key=release_version):
        version = release_version(name)
        stored = site.release_envelope(Version.parse(version))
        if stored is None or stored.signed != offered[name].signed:
            state = "is missing" if stored is None else "is not the release that was offered"
            raise VerificationError(
                f"{name} {state}",
                code="history",
                hint="run `manifestgen verify`, and restore it from a copy of the site",
            )
        yield version, stored.encode()


def _check_sizes(store: Store, blobs: Mapping[Digest, int]) -> None:
    for blob, size in blobs.items():
        there = store.size(blob_name(blob))
        if there != size:
            state = "is missing" if there is None else f"has {there} bytes, signed were {size}"
            raise _damaged(blob, state)


def _damaged(blob: Digest, state: str) -> VerificationError:
    return VerificationError(
        f"{blob_name(blob)} {state}",
        code="digest",
        hint="run `manifestgen verify`, and restore it from a copy of the site",
    )


def _documents(site: Site, lines: Sequence[Line]) -> dict[str, bytes]:
    """Return roots and manifests by name, in the order of a kit."""
    found = {root_name(n): data for n, data in enumerate(site.chain.documents, 1)}
    for line in lines:
        found |= {history_name(line.channel, number): data for number, data in line.documents}
    return found


def _contents(
    site: Site,
    lines: Sequence[Line],
    documents: Mapping[str, bytes],
    blobs: Mapping[Digest, int],
) -> Contents:
    return Contents(
        app=site.chain.keyring.root.app,
        roots=len(site.chain.documents),
        channels=tuple(Span(line.channel, line.first, line.last) for line in lines),
        files=len(documents) + len(blobs),
        size=sum(map(len, documents.values())) + sum(blobs.values()),
    )


def _write(
    store: Store,
    target: Path,
    contents: Contents,
    documents: Mapping[str, bytes],
    blobs: Mapping[Digest, int],
) -> int:
    with replacing(target) as file, ThreadPoolExecutor(1, "digest") as pool:
        write_member(file, NAME, contents.encode())
        for name, data in documents.items():
            write_member(file, name, data)
        for blob, size in blobs.items():
            _write_blob(store, file, blob, size, pool)
        file.write(END)
        return file.tell()


def _write_blob(
    store: Store, file: BinaryIO, blob: Digest, size: int, pool: ThreadPoolExecutor
) -> None:
    source = store.open(blob_name(blob))
    if source is None:
        raise _damaged(blob, "is missing")
    file.write(header(blob_name(blob), size))
    digest, left = hashlib.sha256(), size
    with source:
        while chunk := source.read(min(left + 1, _CHUNK)):
            left -= len(chunk)
            if left < 0:
                raise _damaged(blob, f"has more bytes than the {size} that were signed")
            digested = pool.submit(digest.update, chunk)
            file.write(chunk)
            digested.result()
    if left or digest.hexdigest() != blob:
        raise _damaged(blob, "holds other bytes than were signed")
    file.write(bytes(padding(size)))
