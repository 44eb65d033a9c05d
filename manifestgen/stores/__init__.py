"""A store per place where a site can live, and the layout they all share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from manifestgen.errors import UsageError
from manifestgen.stores.directory import DirectoryStore
from manifestgen.stores.interface import SMALL, Entry, Store, Stored
from manifestgen.stores.memory import MemoryStore, Overlay

if TYPE_CHECKING:
    from manifestgen.stores.s3 import S3Store

__all__ = [
    "SMALL",
    "DirectoryStore",
    "Entry",
    "MemoryStore",
    "Overlay",
    "Store",
    "Stored",
    "open_store",
]


def open_store(
    location: str | Path,
    *,
    single_publisher: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Open the store at a folder or an address; nothing is read or made yet.

    The two options are for buckets: see `S3Store`.

    Raises:
        UsageError: the location is of no kind that is known here.
    """
    text = str(location)
    scheme, separator, _ = text.partition("://")
    match scheme if separator else None:
        case "http" | "https":
            # Reading from the network is rare; urllib3 would cost every command its import.
            from manifestgen.stores.http import HttpStore

            return HttpStore(text)
        case "s3":
            return _open_bucket(text, single_publisher=single_publisher, progress=progress)
        case None:
            return _open_folder(Path(location))
        case _:
            raise UsageError(
                f"{text}: no store of this kind", hint="use a folder, `https://…` or `s3://…`"
            )


def _open_bucket(
    location: str, *, single_publisher: bool, progress: Callable[[int, int], None] | None
) -> "S3Store":
    try:
        from manifestgen.stores.s3 import S3Store
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise UsageError(
            f"{location}: buckets need an extra package", hint="pip install 'manifestgen[s3]'"
        ) from None
    return S3Store(location, single_publisher=single_publisher, progress=progress)


def _open_folder(folder: Path) -> DirectoryStore:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a site", hint="name the folder of the site")
    return DirectoryStore(folder)
