"""Pages for people, rendered from signed manifests; nothing here is ever signed or trusted.

Importing Jinja and compiling a template takes a seventh of what publishing a small app does, so it
happens on first use, or in `prepare` while there is something to wait for.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.manifest import Offer
from manifestgen.core.reader import format_time
from manifestgen.core.release import Release
from manifestgen.core.root import Root

if TYPE_CHECKING:
    from jinja2 import Environment

_INDEX: Final = "index.html.j2"


def prepare() -> None:
    """Get ready to render the status page; may run beside anything else."""
    _environment().get_template(_INDEX)


def index(root: Root, manifests: Sequence[TrustedManifest]) -> str:
    """Render the status page: channels, and what each offers to whom."""
    template = _environment().get_template(_INDEX)
    return template.render(root=root, channels=[_channel(one) for one in manifests])


def server(kind: str, **values: object) -> str:
    """Render a server's configuration; `kind` is `nginx` or `caddy`."""
    return _environment().get_template(f"server/{kind}.j2").render(**values)


def _channel(trusted: TrustedManifest) -> dict[str, object]:
    pairs = zip(trusted.manifest.offers, trusted.releases, strict=True)
    return {
        "manifest": trusted.manifest,
        "offers": [_offer(*pair, trusted.manifest.issued) for pair in pairs],
    }


def _offer(offer: Offer, release: object, issued: datetime) -> dict[str, object]:
    return {
        "offer": offer,
        "release": release if isinstance(release, Release) else None,
        "percent": offer.rollout.share_at(issued) / 100,
    }


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape

    here = Path(__file__).resolve().parent
    installed, checkout = here / "templates", here.parent / "templates"
    folder = installed if installed.is_dir() else checkout

    def source(name: str) -> str:
        return folder.joinpath(*name.split("/")).read_text("utf-8")

    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=select_autoescape(["html", "html.j2"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["time"] = format_time
    return environment
