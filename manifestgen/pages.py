"""Pages for people, rendered from signed manifests; nothing here is ever signed or trusted.

Importing Jinja and compiling a template takes a seventh of what publishing a small app does, so it
happens on first use, or in `prepare` while there is something to wait for.

The status page is one file: styles, scripts and the JavaScript client's rules are put into it, so
that it verifies the site from a USB stick as well. It has no clock: where it says how long
something lasts, its own script counts.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.keys import KeyId, PublicKey
from manifestgen.core.manifest import FULL, Manifest, Offer
from manifestgen.core.reader import format_time
from manifestgen.core.release import Release
from manifestgen.core.root import ANY_CHANNEL, Role, Root
from manifestgen.core.tree import Digest

if TYPE_CHECKING:
    from jinja2 import Environment

_INDEX: Final = "index.html.j2"
_BANDS: Final = 4  # colours of the style sheet
_STEPS: Final = 24  # of a curve in a picture
_UNITS: Final = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB"))


class RootFile(NamedTuple):
    """A root, and the SHA-256 of its file."""

    root: Root
    digest: Digest


@dataclass(frozen=True, slots=True)
class _Bar:
    """The bundle, or a patch from `base`; `width` in percent of the channel's largest bundle."""

    size: int
    width: float
    base: Digest | None = None


@dataclass(frozen=True, slots=True)
class _OfferView:
    """An offer; `points` and `share` (from, width) are its part of the picture, if it has one."""

    offer: Offer
    release: Release | None
    reach: str
    audience: tuple[str, ...]
    bars: tuple[_Bar, ...]
    band: int
    points: str
    share: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _ChannelView:
    manifest: Manifest
    begin: datetime
    end: datetime
    steady: bool
    offers: tuple[_OfferView, ...]


@dataclass(frozen=True, slots=True)
class _KeyView:
    key: PublicKey
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _RootView:
    root: Root
    digest: Digest
    added: tuple[KeyId, ...]
    removed: tuple[KeyId, ...]


def prepare() -> None:
    """Get ready to render the status page; may run beside anything else."""
    _environment().get_template(_INDEX)
    _parts()


def index(
    chain: Sequence[RootFile], manifests: Sequence[TrustedManifest], *, others: int = 0
) -> str:
    """Render the status page from the root chain, oldest first, and each channel's manifest.

    `others` is how many more channels the site has.
    """
    template = _environment().get_template(_INDEX)
    root = chain[-1].root
    return template.render(
        root=root,
        chain=tuple(_roots(chain)),
        keys=tuple(_keys(root)),
        channels=[_channel(one) for one in manifests],
        others=others,
        **_parts(),
    )


def server(kind: str, **values: object) -> str:
    """Render a server's configuration; `kind` is `nginx` or `caddy`."""
    return _environment().get_template(f"server/{kind}.j2").render(**values)


def _channel(trusted: TrustedManifest) -> _ChannelView:
    manifest = trusted.manifest
    begin, end = _span(manifest)
    releases = [one if isinstance(one, Release) else None for one in trusted.releases]
    largest = max((one.bundle.size for one in releases if one), default=1)
    reached = dict.fromkeys(_moments(manifest, begin, end), 0.0)
    offers: list[_OfferView] = []
    for offer, release in zip(manifest.offers, releases, strict=True):
        below, shown = reached, release is not None and _is_offered(manifest, release)
        if shown:
            # Each release's rollout draws its own lots, so shares multiply.
            reached = {
                at: share + (1 - share) * offer.rollout.share_at(at) / FULL
                for at, share in below.items()
            }
        audience = (*(release.audience.described() if release else ()), *offer.audience.described())
        view = _OfferView(
            offer=offer,
            release=release,
            reach=_reach(offer, manifest.issued, later=any(one.points for one in offers)),
            audience=tuple(dict.fromkeys(audience)),
            bars=tuple(_bars(offer, release, largest)) if release else (),
            band=sum(1 for one in offers if one.points) % _BANDS,
            points=_polygon(below, reached, begin, end) if shown else "",
            share=(_percent(below[begin]), _percent(reached[begin] - below[begin])),
        )
        offers.append(view)
    steady = all(offer.rollout.ramp is None for offer in manifest.offers)
    return _ChannelView(manifest, begin, end, steady, tuple(offers))


def _is_offered(manifest: Manifest, release: Release) -> bool:
    """Tell whether devices would take an offer of this release at all."""
    right = not release.channels or manifest.channel in release.channels
    return right and release.version not in manifest.withdrawn


def _bars(offer: Offer, release: Release, largest: int) -> Iterator[_Bar]:
    def bar(size: int, base: Digest | None = None) -> _Bar:
        return _Bar(size, _percent(min(1.0, size / max(1, largest))), base)

    yield bar(release.bundle.size)
    for patch in offer.patches:
        yield bar(patch.payload.size, patch.base)


def _reach(offer: Offer, issued: datetime, later: bool) -> str:
    """Say what share an offer reaches; a later one is for whom those before it leave."""
    now, ramp = offer.rollout.share_at(issued), offer.rollout.ramp
    text = f"{now / 100:g} % of {'the rest' if later else 'devices'}"
    if ramp and now < offer.rollout.share:
        return f"{text}, rising to {offer.rollout.share / 100:g} % by {_moment(ramp.end)}"
    return text


def _span(manifest: Manifest) -> tuple[datetime, datetime]:
    """Return the time that the picture shows: the manifest's own, and all of each ramp."""
    ramps = [offer.rollout.ramp for offer in manifest.offers if offer.rollout.ramp]
    if not ramps:
        return manifest.issued, manifest.expires
    begin = min(manifest.issued, *(ramp.start for ramp in ramps))
    end = max(ramp.end for ramp in ramps)
    # A ramp of an hour would be a line at the edge of a month.
    last = max(end, manifest.issued)
    # Nothing follows the year 9999, which whoever stole a key may have signed.
    return begin, last + min((end - begin) / 4, datetime.max.replace(tzinfo=UTC) - last)


def _moments(manifest: Manifest, begin: datetime, end: datetime) -> list[datetime]:
    ramps = [offer.rollout.ramp for offer in manifest.offers if offer.rollout.ramp]
    bends = {moment for ramp in ramps for moment in (ramp.start, ramp.end)}
    # Two ramps at once make a curve; one is straight between its ends.
    count = _STEPS if len(ramps) > 1 else 1
    steps = {begin + (end - begin) * step / count for step in range(count)}
    return sorted({*bends, *steps, end})


def _polygon(
    below: Mapping[datetime, float],
    above: Mapping[datetime, float],
    begin: datetime,
    end: datetime,
) -> str:
    """Return the area between two shares in a picture of 100 by 100, its zero at the top."""
    whole = max(end - begin, timedelta(seconds=1))
    corners = [*above.items(), *reversed(list(below.items()))]
    return " ".join(
        f"{_percent((at - begin) / whole):g},{_percent(1 - share):g}" for at, share in corners
    )


def _percent(part: float) -> float:
    return round(100 * part, 2)


def _roots(chain: Sequence[RootFile]) -> Iterator[_RootView]:
    """Give each root with the keys that came and went."""
    before: set[KeyId] = set()
    for root, digest in chain:
        keys = set(root.key_map())
        yield _RootView(root, digest, tuple(sorted(keys - before)), tuple(sorted(before - keys)))
        before = keys


def _keys(root: Root) -> Iterator[_KeyView]:
    """Give each key of a root with what it may sign, the root's keys first."""
    named: list[tuple[str, Role]] = [("root", root.root), ("releases", root.release)]
    for entry in root.manifest:
        channels = ["every other channel" if c == ANY_CHANNEL else c for c in entry.channels]
        if root.manifest[0].channels == (ANY_CHANNEL,) and len(root.manifest) == 1:
            channels = ["every channel"]
        named.append((f"manifests of {', '.join(channels)}", entry.role))
    views = [
        _KeyView(
            key,
            tuple(
                f"{what} ({role.threshold} of {len(role.keys)})"
                for what, role in named
                if key.keyid in role.keys
            ),
        )
        for key in root.keys
    ]
    yield from sorted(
        views, key=lambda view: (view.key.keyid not in root.root.keys, view.key.keyid)
    )


def _size(size: int) -> str:
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.3g} {name}" if size < 1000 * unit else f"{size // unit} {name}"
    return f"{size} bytes"


def _grouped(fingerprint: str) -> str:
    """Write a fingerprint for people to read out: in groups of four."""
    return " ".join(fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4))


def _moment(moment: datetime) -> str:
    return format_time(moment).replace("T", " ")[:16] + " UTC"


@cache
def _parts() -> Mapping[str, object]:
    """Return what goes into every status page, with the digests that its policy allows alone."""
    from markupsafe import Markup

    client = Path(__file__).resolve().parent / "client" / "core.js"
    # One module: the client's file as it is, then the page's own code in a scope of its own.
    script = f"\n{client.read_text('utf-8')}\n{_source('index.js')}"
    style = f"\n{_source('index.css')}"
    return {
        "script": Markup(script),  # noqa: S704 - files of this package
        "style": Markup(style),  # noqa: S704 - files of this package
        "script_digest": _allowed(script),
        "style_digest": _allowed(style),
    }


def _allowed(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=select_autoescape(["html", "html.j2"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["time"] = format_time
    environment.filters["moment"] = _moment
    environment.filters["size"] = _size
    environment.filters["grouped"] = _grouped
    return environment


def _source(name: str) -> str:
    here = Path(__file__).resolve().parent
    installed, checkout = here / "templates", here.parent / "templates"
    folder = installed if installed.is_dir() else checkout
    return folder.joinpath(*name.split("/")).read_text("utf-8")
