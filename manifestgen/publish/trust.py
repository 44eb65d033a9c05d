"""The project's own trust: its root chain, and the sequences it has signed.

The chain lies in `.manifestgen/root/`, committed to git. The high-water mark lies beside the keys:
whoever can sign must remember what was signed, so that a site restored from a backup is never
given the same sequence twice.
"""

import json
import os
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manifestgen.config import Settings
from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import Keyring
from manifestgen.errors import ConflictError, StoreError, UsageError, VerificationError, os_reason
from manifestgen.stores import DirectoryStore

_MARKS: Final = "sequences.json"
_TEMPORARY: Final = ".tmp-"
_LEFT: Final = re.compile(r"\.tmp-[a-z0-9_]{8}", re.ASCII)  # as `mkstemp` names them
_ABANDONED: Final = 60.0  # seconds; nobody takes so long to write a document


@dataclass(frozen=True, slots=True)
class RootChain:
    """Root documents from number 1 upwards, each verified by the one before."""

    documents: tuple[bytes, ...]
    keyrings: tuple[Keyring, ...]

    @property
    def newest(self) -> bytes:
        """The document that holds now."""
        return self.documents[-1]

    @property
    def keyring(self) -> Keyring:
        """The keys that hold now."""
        return self.keyrings[-1]

    def extended(self, document: bytes) -> "RootChain":
        """Return the chain with the next root, or raise `VerificationError`."""
        keyring = self.keyring.follow(document)
        return RootChain((*self.documents, document), (*self.keyrings, keyring))

    def improves(self, release: Envelope, stored: Envelope) -> bool:
        """Tell whether a release may take the place of the same one with other signatures.

        Only older ones lose by it: whoever carries documents may have kept those of revoked keys.
        """
        return self._stands(release) or not self._stands(stored)

    def _stands(self, release: Envelope) -> bool:
        try:
            self.keyring.release(release)
        except VerificationError:
            return False
        return True


def load_roots(settings: Settings) -> RootChain:
    """Read and verify the project's root chain.

    Raises:
        UsageError: there is none.
        VerificationError: a document in it was damaged or is not signed by the one before.
    """
    folder = settings.root_folder
    try:
        documents = [(folder / "1.json").read_bytes()]
        while (folder / f"{len(documents) + 1}.json").exists():
            documents.append((folder / f"{len(documents) + 1}.json").read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"there is no root in {folder}", hint="run `manifestgen init`, or restore it from git"
        ) from None
    return _verified(documents, folder)


def save_root(settings: Settings, number: int, document: bytes) -> None:
    """Add a verified root to the project's chain."""
    settings.root_folder.mkdir(parents=True, exist_ok=True)
    write_file(settings.root_folder / f"{number}.json", document)


def high_water(settings: Settings, channel: str) -> int:
    """Return the highest sequence this machine has signed for a channel, 0 for none."""
    return _marks(settings).get(channel, 0)


def check_memory(settings: Settings) -> None:
    """Raise `StoreError` if what is signed could not be remembered, as beside mounted secrets."""
    folder = settings.key_folder
    effective = os.access in os.supports_effective_ids
    if folder.is_dir() and not os.access(folder, os.W_OK, effective_ids=effective):
        raise StoreError(
            f"{folder} cannot be written, and {_MARKS} there remembers what was signed",
            hint="make it writable; keys that are mounted read-only belong elsewhere, named in"
            " `[keys]` of manifestgen.toml",
        )


def raise_high_water(settings: Settings, channel: str, sequence: int) -> None:
    """Remember a sequence; without a key folder (CI with keys in variables) there is no memory."""
    while settings.key_folder.is_dir() and high_water(settings, channel) < sequence:
        store = DirectoryStore(settings.key_folder)
        found = store.get(_MARKS)
        marks = _marks(settings) | {channel: sequence}
        text = json.dumps(marks, indent=2, sort_keys=True) + "\n"
        with suppress(ConflictError):  # another process remembered one of its own: once more
            store.replace(_MARKS, text.encode(), tag=found.tag if found else None)


def write_file(path: Path, data: bytes) -> None:
    """Replace a file of the project: temporary file, fsync, rename, fsync of the folder.

    What a killed process left behind here is removed.
    """
    try:
        _sweep(path.parent)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with suppress(OSError):  # a stick may know no permissions
                Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        if os.name == "posix":
            _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {os_reason(error)}",
            hint=f"see with `ls -ld {path.parent}` who may write there, and with `df -h` for room",
        ) from None


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):  # another process was faster
            # The folder may be a stick, with files of others.
            ours = _LEFT.fullmatch(left.name)
            if ours and time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _verified(documents: list[bytes], folder: Path) -> RootChain:
    try:
        chain = RootChain((documents[0],), (Keyring.trust(documents[0]),))
        for document in documents[1:]:
            chain = chain.extended(document)
    except VerificationError as error:
        raise VerificationError(
            f"the root chain in {folder} does not verify: {error}",
            code=error.code,
            hint="restore it from git",
        ) from None
    return chain


def _marks(settings: Settings) -> dict[str, int]:
    path = settings.key_folder / _MARKS
    try:
        marks = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {os_reason(error)}",
            hint=f"see with `ls -l {path}` who may read it, and with `id` who you are",
        ) from None
    except ValueError:
        marks = None
    if not isinstance(marks, dict) or not all(type(mark) is int for mark in marks.values()):
        raise UsageError(
            f"{path} is damaged",
            hint="restore it from your backup; without it a restored site may repeat a sequence",
        )
    return marks
