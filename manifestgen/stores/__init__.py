"""A store per place where a site can live, and the layout they all share."""

from pathlib import Path

from manifestgen.errors import UsageError
from manifestgen.stores.directory import DirectoryStore
from manifestgen.stores.interface import SMALL, Entry, Store, Stored
from manifestgen.stores.memory import MemoryStore, Overlay

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


def open_store(location: str | Path) -> Store:
    """Open the store at a folder or an address; nothing is read or made yet.

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
            raise UsageError(
                f"{text}: buckets need an extra package", hint="pip install 'manifestgen[s3]'"
            )
        case None:
            return _open_folder(Path(location))
        case _:
            raise UsageError(
                f"{text}: no store of this kind", hint="use a folder, `https://…` or `s3://…`"
            )


def _open_folder(folder: Path) -> DirectoryStore:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a site", hint="name the folder of the site")
    return DirectoryStore(folder)
