"""What a shell offers for the word being typed: the channels and versions of the site.

Asked at each press of Tab, so nothing is verified, no network is used, and whatever is wrong is
passed over in silence: less is offered then. What is chosen is judged by the command as always.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from manifestgen.config import Settings, find, load
from manifestgen.core.version import Version
from manifestgen.errors import Error
from manifestgen.stores.names import RELEASES, manifest_channel


def channels(given: Mapping[str, object], incomplete: str) -> list[str]:
    """Return channels of the settings and the site; `given` are the flags typed so far."""
    settings, site = _where(given)
    if settings is None:
        return []
    found = {settings.channel, *settings.channels, *_published(site)}
    return sorted(name for name in found if name.startswith(incomplete))


def versions(given: Mapping[str, object], incomplete: str) -> list[str]:
    """Return the versions that the site has releases of, the newest first."""
    _, site = _where(given)
    found = []
    with suppress(OSError):
        for path in site.glob(f"{RELEASES}*.json") if site else ():
            with suppress(Error):
                found.append(Version.parse(path.name.removesuffix(".json")))
    ordered = [str(version) for version in sorted(found, reverse=True)]
    return [text for text in ordered if text.startswith(incomplete)]


def _published(site: Path | None) -> Iterator[str]:
    with suppress(OSError):
        for path in site.glob("*/manifest.json") if site else ():
            if name := manifest_channel(f"{path.parent.name}/manifest.json"):
                yield name


def _where(given: Mapping[str, object]) -> tuple[Settings | None, Path | None]:
    """Return the settings, and the site where it is a folder."""
    config, site = given.get("config"), given.get("site")
    try:
        settings = load(Path(str(config))) if config else find(Path.cwd())
    except (Error, OSError):
        return None, None
    place = str(Path(str(site)).absolute()) if site else settings.site
    return settings, None if "://" in str(site or place) else settings.folder / place
