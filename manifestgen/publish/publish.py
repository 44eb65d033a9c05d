"""Publish a build: from the folder to the file devices see, in the order it happens.

    verify the site → pack → encrypt → sign the release → blobs → release → commit the manifest

Everything before the commit is invisible to devices, and what a killed run leaves behind is
re-used or swept by the next.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Final

from manifestgen import bundle, pages
from manifestgen.config import FILE, Settings
from manifestgen.core.audience import EVERYONE, Audience
from manifestgen.core.envelope import Envelope
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import EVERY_DEVICE, FULL, Manifest, Offer, Rollout
from manifestgen.core.release import Release, Scheme
from manifestgen.core.tree import Digest
from manifestgen.core.version import Version
from manifestgen.errors import ConflictError, UsageError, VerificationError
from manifestgen.publish.commit import commit, manifest_signers, rehearse
from manifestgen.publish.keyfiles import capgo_public, check_installed
from manifestgen.publish.offers import admits_everyone, on_top, pairs, versions
from manifestgen.publish.patches import Patched, patches_for
from manifestgen.publish.pending import forget_pending, gather
from manifestgen.publish.release import Sealed, Sealing, Terms, sealed_build, sealed_capgo_zip
from manifestgen.publish.site import Head, Site
from manifestgen.publish.trust import check_memory, high_water, load_roots
from manifestgen.signers import (
    Ask,
    Keys,
    Signer,
    is_elsewhere,
    load_content_secret,
    load_signer,
    load_wrapper,
)
from manifestgen.stores import Store
from manifestgen.stores.names import blob_name, history_name, release_name
from manifestgen.stores.waiting import waiting

FLOOR_DEPTH: Final = 3
"""A release's default floor is the channel's third-last release, itself counted."""

_NEARLY: Final = re.compile(
    r"[vV]?([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?(-[0-9A-Za-z.-]+)?(?:\+.*)?"
)

Progress = Callable[[int], None]
"""Told the bytes of the build that were packed since the last call."""


@dataclass(frozen=True, slots=True)
class CapgoZip:
    """What Capgo's CLI printed of a zip that it encrypted."""

    path: Path
    iv_session_key: str
    checksum: str


@dataclass(frozen=True, slots=True)
class Request:
    """What to publish, and to whom; what no device would take is a `UsageError` here."""

    source: bundle.Build | CapgoZip
    channel: str
    version: Version
    audience: Audience = EVERYONE
    rollout: Rollout = EVERY_DEVICE
    mandatory: bool = False
    floor: Version | None = None
    notes: str = ""

    def __post_init__(self) -> None:
        size = len(self.notes.encode("utf-8", "surrogateescape"))
        if size > LIMITS.notes_bytes:
            raise UsageError(
                f"the notes are {size} bytes long, devices read {LIMITS.notes_bytes}",
                hint="shorten them, and link to the rest",
            )
        if not all(char.isprintable() or char in "\n " for char in self.notes):
            raise UsageError("the notes hold control characters", hint="use plain text")
        if self.floor is not None and self.floor > self.version:
            raise UsageError(
                f"the floor {self.floor} is above {self.version} itself",
                hint="name the lowest version that devices may go back to",
            )


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did; `changed` is false when all of it was there already.

    `offered` is false where the channel has moved on to something newer since; `share` is what
    reaches devices now, in basis points. `unlisted` says why no single files are listed where they
    were asked for.
    """

    app: str
    channel: str
    version: Version
    sequence: int
    tree: Digest
    manifest: str
    release: str
    blobs_written: int
    blobs_reused: int
    blob_bytes: int
    changed: bool
    offered: bool
    paused: bool
    share: int
    patched: Patched
    files_listed: int
    files_written: int
    unlisted: str | None


def publish(
    settings: Settings,
    request: Request,
    *,
    store: Store,
    ask: Ask,
    now: datetime,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> Published:
    """Publish one version to one channel.

    Raises:
        UsageError: the build, the version or a setting is wrong.
        VerificationError: what is on the site is not this project's; nothing was added.
        KeyUseError: a key is missing or is not in the root.
        ConflictError: others kept publishing.
    """
    chain = load_roots(settings)
    _check_app(chain.keyring.root.app, settings)
    site = Site(store, chain, settings, dry_run)
    release_role = chain.keyring.root.release
    release_signers = load_keys(settings, settings.release_uris(), ask).some(
        release_role, "a release"
    )
    manifest_keys = load_keys(settings, settings.manifest_uris(request.channel), ask)
    manifest_signers(site, request.channel, manifest_keys)
    if not dry_run:
        check_memory(settings)
    head = site.head(request.channel, mark=high_water(settings, request.channel))
    uris = (*settings.release_uris(), *settings.manifest_uris(request.channel))
    asked = any(map(is_elsewhere, uris))
    with (
        _meanwhile(pages.prepare),
        _sealed(site, request, head, ask, progress) as (sealed, sealing),
        waiting(store) if asked else nullcontext() as unsure,
    ):
        existing = site.release(request.version)
        if existing:
            envelope, release = existing
            _check_same(release, sealed)
        else:
            floor = _floor(site, head, request)
            terms = Terms(request.version, request.audience, floor, request.notes)
            made = sealed.release(terms, sealing, now)
            envelope = gather(settings, made, release_role, release_signers, dry_run=dry_run)
            release = Release.from_json(envelope.signed)
        planned = _Plan(_offer(request, envelope, release), release, known=existing is not None)
        patched = Patched()
        news = planned.is_news(head)  # what must be refused is refused before anything is written
        if not unsure:
            site.publish_roots()
        blobs = unsure or store
        written = _store_bundle(blobs, release, sealed)
        files_written = sealed.add_files_to(blobs, release)
        if news:
            patched = patches_for(
                replace(site, store=blobs), head, release, public=sealing.public, tree=sealed.tree
            )
            planned = planned.with_patches(patched)
        if unsure:  # all signatures first
            manifest_keys = rehearse(site, request.channel, manifest_keys, now=now, plan=planned)
            site.publish_roots()
            unsure.write()
    if not existing:
        _store_release(site, release, envelope)
        if not dry_run:  # what others have signed is still needed
            forget_pending(settings, release)
    done = commit(site, request.channel, manifest_keys, now=now, plan=planned)
    sequence = done.head.manifest.sequence
    return Published(
        app=settings.app,
        channel=request.channel,
        version=release.version,
        sequence=sequence,
        tree=release.tree.digest,
        manifest=history_name(request.channel, sequence),
        release=release_name(str(release.version)),
        blobs_written=int(written),
        blobs_reused=int(not written),
        blob_bytes=release.bundle.size,
        changed=done.changed,
        offered=release.version in versions(done.head),
        paused=done.head.manifest.paused,
        share=_share(done.head, release.version, now),
        patched=patched if done.changed else Patched(),
        files_listed=release.tree.files if release.files else 0,
        files_written=files_written,
        unlisted=sealed.unlisted,
    )


def _check_app(app: str, settings: Settings) -> None:
    """Refuse to sign, for another app than the root's, what no device of either would take."""
    if app != settings.app:
        raise UsageError(
            f"the root is of {app}, {FILE} of {settings.app}",
            hint=f'set `app = "{app}"` in {FILE}; another app takes a project in a folder of its'
            " own, with `manifestgen init`",
        )


def _share(head: Head, version: Version, now: datetime) -> int:
    shares = (o.rollout.share_at(now) for o, release in pairs(head) if release.version == version)
    return next(shares, 0)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Puts an offer on top of what a channel offers, and keeps beneath it what is still needed."""

    offer: Offer
    release: Release
    known: bool

    def with_patches(self, patched: Patched) -> "_Plan":
        """Return the same with patches in the offer."""
        return replace(self, offer=replace(self.offer, patches=patched.payloads()))

    def __call__(self, head: Head | None, following: Manifest) -> Manifest | None:
        if not self.is_news(head):
            return None
        return replace(following, offers=tuple(on_top(self.offer, self.release, pairs(head))))

    def is_news(self, head: Head | None) -> bool:
        """Tell whether the channel lacks this offer; `UsageError` if it cannot be made there."""
        if head is None:
            return True
        version = self.release.version
        if version in head.manifest.withdrawn:
            raise UsageError(
                f"{version} was withdrawn from {head.manifest.channel}",
                hint="publish the fix under a higher version",
            )
        return version not in versions(head) and not self._overtaken(head)

    def _overtaken(self, head: Head) -> bool:
        """Tell whether the channel already offers everybody something newer."""
        version = self.release.version
        newer = [
            release.version
            for offer, release in pairs(head)
            if release.version > version and admits_everyone(offer, release)
        ]
        if not newer or self.known:
            return bool(newer)
        newest = max(newer)
        raise UsageError(
            f"{head.manifest.channel} offers {newest}, and no device moves down to"
            f" {version} by itself",
            hint=f"publish a version above {newest}, or withdraw it with"
            f" `manifestgen channel withdraw {newest}`",
        )


def _offer(request: Request, envelope: Envelope, release: Release) -> Offer:
    # A release made now holds the audience; an earlier one is narrowed where it is offered.
    narrowed = EVERYONE if request.audience == release.audience else request.audience
    return Offer(envelope, request.rollout, narrowed, mandatory=request.mandatory)


def _floor(site: Site, head: Head | None, request: Request) -> Version | None:
    if request.floor is not None:
        return request.floor
    before = site.recent_releases(head, FLOOR_DEPTH - 1)
    if len(before) < FLOOR_DEPTH - 1:
        return None
    return min(before[-1].version, request.version)


def _check_same(release: Release, sealed: Sealed) -> None:
    if release.tree.digest != sealed.digest:
        raise UsageError(
            f"{release.version} is published already, with other content",
            hint="a version never changes; publish this build under a higher version",
        )


def _store_bundle(store: Store, release: Release, sealed: Sealed) -> bool:
    """Store a release's blob; `False` if it is there already."""
    if release.bundle == sealed.payload:
        return sealed.add_to(store)
    # The same tree, packed or encrypted otherwise: the release names the blob of then.
    if store.size(blob_name(release.bundle.blob)) != release.bundle.size:
        raise VerificationError(
            f"the bundle of {release.version} is missing from the site",
            code="missing",
            hint="restore the site from a copy, or publish this build under a higher version",
        )
    return False


def _store_release(site: Site, release: Release, envelope: Envelope) -> None:
    name = release_name(str(release.version))
    try:
        site.store.create(name, envelope.encode())
    except ConflictError:
        there = site.release(release.version)
        if there is None or there[1].tree != release.tree:
            raise ConflictError(
                f"somebody else is publishing {release.version} with other content",
                hint="publish this build under a higher version",
            ) from None


@contextmanager
def _meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do something beside the body, which needs it only afterwards.

    Packing deflates without the interpreter's lock; what needs the lock costs no time meanwhile.
    """

    def run() -> None:
        with suppress(Exception):  # whoever needs it does it again, and tells what is wrong
            work()

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def _sealed(
    site: Site, request: Request, head: Head | None, ask: Ask, progress: Progress | None
) -> Iterator[tuple[Sealed, Sealing]]:
    source, store, settings = request.source, site.store, site.settings
    if isinstance(source, CapgoZip):
        public = capgo_public(settings, ask)
        sealing = Sealing(Scheme.CAPGO, settings.app, opener=public)
        with sealed_capgo_zip(
            store,
            source.path,
            session=source.iv_session_key,
            checksum=source.checksum,
            public=public,
        ) as sealed:
            yield sealed, sealing
        return
    sealing = _sealing(settings, ask)
    folder = settings.state / "cache"
    cache = bundle.Cache(folder, packer=bundle.PACKER_LARGE, secret=sealing.secret)
    with sealed_build(
        store,
        source,
        sealing,
        progress,
        cache=cache,
        keep=not site.dry_run,
        earlier=[release for _, release in pairs(head)],
    ) as sealed:
        yield sealed, sealing


def _sealing(settings: Settings, ask: Ask) -> Sealing:
    if settings.scheme is Scheme.NONE:
        return Sealing(Scheme.NONE, settings.app, delta=settings.delta)
    wrapper = load_wrapper(settings.capgo_key, folder=settings.folder, ask=ask)
    check_installed(settings, wrapper.public)
    secret = load_content_secret(settings.content_key, folder=settings.folder)
    return Sealing(
        settings.scheme, settings.app, settings.checksum, secret, wrapper, delta=settings.delta
    )


def read_build(settings: Settings, folder: Path) -> bundle.Build:
    """Read a build folder, which must lie apart from the site; nothing is changed."""
    build = bundle.read_build(folder)
    _check_apart(build.folder, settings)
    return build


def _check_apart(folder: Path, settings: Settings) -> None:
    if "://" in settings.site:
        return
    site, build = (settings.folder / settings.site).resolve(), folder.resolve()
    if site == build and (site / "root.json").is_file():
        raise UsageError(
            f"{folder} is the site, and no build",
            hint="name the folder that the build is written to, such as `dist` or `www`",
        )
    if site == build or site.is_relative_to(build):
        raise UsageError(
            f"the site {settings.site} lies inside the build, which would publish itself",
            hint="put the site elsewhere: `site` in manifestgen.toml, or --site",
        )
    if build.is_relative_to(site):
        raise UsageError(
            f"the build {folder} lies inside the site, which is published",
            hint="build into a folder of its own",
        )


def load_keys(settings: Settings, uris: tuple[str, ...], ask: Ask) -> Keys:
    """Load the signers at some URIs, each once."""
    loaded: dict[str, Signer] = {
        uri: load_signer(uri, folder=settings.folder, ask=ask) for uri in dict.fromkeys(uris)
    }
    return Keys(tuple(loaded.values()))


def version_beside(folder: Path) -> Version:
    """Return the version that the build's `package.json` or the nearest above it names."""
    text = bundle.version_of(folder)
    if text is None:
        raise UsageError(
            "no version: neither the build nor a folder above it has a package.json that names one",
            hint="give it with --version 1.4.2",
        )
    return parse_version(text)


def parse_version(text: str) -> Version:
    """Read a version that a person wrote, or raise `UsageError`."""
    try:
        return Version.parse(text)
    except VerificationError as error:
        raise UsageError(str(error), hint=f"write it as {_nearest(text)}") from None


def _nearest(text: str) -> str:
    """Return what was meant by `v1.2`, `1.2.0+7` or `01.2.3`, else an example."""
    if found := _NEARLY.fullmatch(text.strip()):
        numbers = ".".join(str(int(number or 0)) for number in found.groups()[:3])
        with suppress(VerificationError):
            return str(Version.parse(f"{numbers}{found[4] or ''}"))
    return "1.4.2 or 1.5.0-beta.1"


def parse_share(text: str) -> int:
    """Read `10%` or `0.5%` as basis points, or raise `UsageError`."""
    number, percent, rest = text.partition("%")
    try:
        share = round(float(number) * 100) if percent and not rest else -1
        exact = abs(float(number) * 100 - share) < 1e-6
    except (ValueError, OverflowError):
        share, exact = -1, False
    if not 0 <= share <= FULL or not exact:
        raise UsageError(f"{text!r} is no share", hint="write it as 10% or 0.5%, up to 100%")
    return share
