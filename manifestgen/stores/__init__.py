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
    if "://" in text:
        raise UsageError(f"{text}: no store of this kind", hint="use a folder")
    folder = Path(location)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a site", hint="name the folder of the site")
    return DirectoryStore(folder)
