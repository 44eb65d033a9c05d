"""Read a release's list of single files from its site, and believe only what was signed."""

from manifestgen.core.files import LIST_BYTES, FileList
from manifestgen.core.release import Release
from manifestgen.core.tree import sha256
from manifestgen.errors import VerificationError
from manifestgen.stores.interface import Store
from manifestgen.stores.names import blob_name


def read_file_list(store: Store, release: Release) -> FileList | None:
    """Return the list that a release names; `None` if it has none, or the store lacks it.

    Raises:
        VerificationError: what is there is not what was signed.
    """
    if release.files is None:
        return None
    stored = store.get(blob_name(release.files.blob), limit=min(release.files.size, LIST_BYTES))
    if stored is None:
        return None
    if sha256(stored.data) != release.files.blob:
        raise VerificationError(f"the list of files of {release.version} is damaged", code="digest")
    return FileList.decode(stored.data, release)


def usable_file_list(store: Store, release: Release) -> FileList | None:
    """Do as `read_file_list` does; a list that is damaged is as good as none: there is a bundle."""
    try:
        return read_file_list(store, release)
    except VerificationError:
        return None
