"""Open the site a command works on."""

from collections.abc import Callable

from manifestgen.config import Settings
from manifestgen.errors import UsageError
from manifestgen.stores import Overlay, Store, open_store
from manifestgen.stores.names import root_name


def open_site(
    settings: Settings,
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Open the configured site; a folder without a root continues the live site at `base_url`.

    So a CI job needs nothing but the keys: what is not in its folder is read from the web server,
    verified like everything else, and only what is new is written. A live site that answers 404
    is a first publish. A bucket tells `progress` what it was sent. With `dry_run` the site may be a
    web server, which can be read and no more.

    Raises:
        StoreError: the live site cannot be reached; going on would start a second history.
    """
    if settings.site.startswith(("http://", "https://")):
        if dry_run:  # looking needs no place to write to
            return Overlay(open_store(settings.site))
        raise UsageError(
            f"{settings.site} can only be read", hint="publish into a folder and copy it there"
        )
    remote = "://" in settings.site
    store = open_store(
        settings.site if remote else settings.folder / settings.site,
        single_publisher=settings.single_publisher,
        progress=progress,
    )
    # The root is what a first publish writes first, and what continuing a live site never copies:
    # the leftovers of an interrupted job, or a stray file, are no site of their own.
    if settings.base_url and not remote and store.size(root_name(1)) is None:
        store = Overlay(open_store(settings.base_url), store)
    return Overlay(store) if dry_run else store
