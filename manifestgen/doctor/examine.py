"""The whole examination: each area by itself, so that what breaks one hides no other."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from manifestgen.capacitor import find_config
from manifestgen.config import Settings
from manifestgen.core.release import Scheme
from manifestgen.doctor.app import check_app, is_automatic
from manifestgen.doctor.finding import Area, Finding
from manifestgen.doctor.keys import check_keys
from manifestgen.doctor.live import check_live
from manifestgen.doctor.origin import Local
from manifestgen.doctor.site import check_site
from manifestgen.errors import Error
from manifestgen.publish.trust import RootChain, load_roots
from manifestgen.stores import Store, open_store
from manifestgen.stores.names import manifest_channel, manifest_name
from manifestgen.verify import Anchor

_SITE: Final = Area("site")
_MEND: Final = "mend that, then run the same command again"


@dataclass(frozen=True, slots=True)
class Request:
    """What to look at beside the project itself."""

    url: str | None = None
    app: Path | None = None
    probe_writes: bool = False


def examine(settings: Settings, request: Request, now: datetime) -> list[Finding]:
    """Look at keys, site, live origin and app, as far as each is there."""
    found: list[Finding] = []
    chain = _chain(settings, found) if settings.exists or settings.state.is_dir() else None
    store = open_store(_location(settings), single_publisher=settings.single_publisher)
    if settings.exists or chain:
        root = chain.keyring.root if chain else None
        found += _explained("keys", lambda: list(check_keys(settings, root)))
    if chain:
        anchor = Anchor.of(*chain.documents)
        found += _explained("site", lambda: check_site(settings, store, anchor, now))
    app = request.app or _app_folder(settings)
    if url := request.url or settings.base_url:
        probe = request.probe_writes
        found += _explained(
            "live", lambda: check_live(url, _local(settings, chain, store, app), probe_writes=probe)
        )
    if app:
        found += _explained("app", lambda: check_app(settings, app))
    return found


def _explained(area: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """Make a finding of whatever kept an area from being examined."""
    try:
        return check()
    except Error as error:
        return [Area(area).problem(error.code, str(error), error.hint or _MEND)]
    except OSError as error:
        what = f"cannot use {error.filename or 'the disk'}: {error.strerror or error}"
        return [Area(area).problem("unreadable", what, _MEND)]


def _chain(settings: Settings, found: list[Finding]) -> RootChain | None:
    try:
        return load_roots(settings)
    except Error as error:
        code = "no_root" if not (settings.root_folder / "1.json").exists() else "root_damaged"
        found.append(_SITE.problem(code, str(error), error.hint or _MEND))
        return None


def _location(settings: Settings) -> str | Path:
    return settings.site if "://" in settings.site else settings.folder / settings.site


def _app_folder(settings: Settings) -> Path | None:
    return settings.folder if find_config(settings.folder) else None


def _local(settings: Settings, chain: RootChain | None, store: Store, app: Path | None) -> Local:
    """Say what is known of the site behind an address."""
    remote = store.location.startswith(("http://", "https://"))
    folders = [] if remote else store.folders()
    channels = [name for name in folders if manifest_channel(f"{name}/manifest.json")]
    there = [name for name in channels if store.get(manifest_name(name))]
    keyring = chain.keyring if chain else None
    written = settings.base_url is not None and settings.scheme is Scheme.CAPGO
    return Local(
        store=store if there else None,
        keyring=keyring,
        channels=sorted(there) or [settings.channel],
        stock=written and (app is None or is_automatic(app)),
    )
