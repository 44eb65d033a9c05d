"""A site in a folder, written so that neither a kill nor a power cut leaves half of anything.

Every write is made of these calls, in this order:

    scratch   open `.manifestgen-tmp/R` (exclusively), lock it, mkdir `.manifestgen-tmp/R.d` (0700)
    data      open a file in R.d, write, fsync, close
    folders   mkdir each that is missing, fsync its parent
    create    link the file to its name, which fails if the name is taken
    replace   lock `.manifestgen-lock`; read and compare; rename the file to its name
    add       rename the file to its name
    settle    fsync the folder of the name
    tidy      remove R.d, then R

Readers open names only, so they see the old bytes, the new bytes or nothing. Locks are the
kernel's: they end with their process, so a lock left by a dead one is free, and a scratch folder
whose R can be locked is stale and is removed by the next writer. The folder that holds the site may
be a symbolic link; links inside it are never written through.

Known sad paths:

* No hard links (FAT on a USB stick, some network mounts): `create` takes the lock, looks, renames.
  Exclusive among processes that share the lock, which on a network mount is up to the mount.
* No locks at all: nothing is written, and the error says so.
* Killed between rename and the fsync of the folder, then a power cut within seconds: the blob may
  be gone although another publish has counted on it. File systems with a journal write both or
  neither; elsewhere `manifestgen verify` finds it, and publishing again heals it.
* A blob damaged without changing its size is not noticed here, only by `verify` and by devices.
"""

import errno
import io
import os
import platform
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from manifestgen.errors import StoreError, UsageError, os_reason
from manifestgen.stores.interface import (
    SMALL,
    Entry,
    Stored,
    changed,
    exists,
    tag_of,
    too_large,
)
from manifestgen.stores.locks import flush, try_lock
from manifestgen.stores.names import check_name

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LOCK = ".manifestgen-lock"
_TEMP = ".manifestgen-tmp"
_CLAIM = re.compile(r"[0-9a-f]{16}", re.ASCII)

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}

_HINTS = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "your quota is used up; free some space and run the same command again",
    errno.EFBIG: "the file system or `ulimit -f` does not allow files of this size",
    errno.EROFS: "the disk is mounted read-only; mount it writable, or choose another `--site`",
    errno.EACCES: "check with `ls -ld` who may use the folder, and with `id` who you are",
    errno.EPERM: "check with `ls -ld` who may use the folder, and with `id` who you are",
    errno.EMFILE: "raise the number of open files with `ulimit -n 4096`",
    errno.ENFILE: "the whole system has too many open files; end something and try again",
    errno.EXDEV: "keep the whole site on one file system",
    errno.EIO: "the disk reports damage, or was unplugged",
}


class DirectoryStore:
    """A site in a folder, which is made by the first write; until then the store is empty.

    `wait` is for how many seconds a `replace` stands in line behind other processes.
    """

    def __init__(self, folder: Path | str, *, wait: float = 30.0) -> None:
        self._root = Path(folder)
        self._wait = wait
        self._swept = False
        self._mode = 0o644

    @property
    def location(self) -> str:
        """Name the store in messages."""
        return str(self._root)

    # Reading

    def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
        """Read a small object whole; see `Store.get`."""
        file = self._open(name)
        if file is None:
            return None
        with file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise too_large(name, limit)
        return Stored(data, tag_of(data))

    def open(self, name: str) -> BinaryIO | None:
        """Open an object for reading; see `Store.open`."""
        return self._open(name)

    def size(self, name: str) -> int | None:
        """Return the size in bytes; see `Store.size`."""
        path = self._root / check_name(name)
        with _explained("read", path), suppress(FileNotFoundError, NotADirectoryError):
            found = path.stat()
            return found.st_size if stat.S_ISREG(found.st_mode) else None
        return None

    def names(self, prefix: str = "") -> Iterator[Entry]:
        """List objects by name; see `Store.names`.

        Hidden files, symbolic links and names that no site has are passed over.
        """
        folder = prefix.rpartition("/")[0]
        if folder:
            check_name(folder)
        return (entry for entry in self._walk(folder) if entry.name.startswith(prefix))

    def folders(self) -> list[str]:
        """List the folders at the top; see `Store.folders`."""
        with _explained("list", self._root), suppress(FileNotFoundError, NotADirectoryError):
            with os.scandir(self._root) as listing:
                found = [item.name for item in listing if item.is_dir(follow_symlinks=False)]
            return sorted(name for name in found if _is_name(name))
        return []

    # Writing

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend a private folder on the site's own file system; see `Store.scratch`."""
        with _explained("write in", self._root):
            self._sweep()
            claim, handle = self._claim()
        folder = claim.with_suffix(".d")
        try:
            with _explained("write in", self._root):
                # Closed to the web server: what lies here may not be encrypted yet.
                folder.mkdir(mode=0o700)
            yield folder
        finally:
            _discard(claim, folder, handle)

    def add(self, name: str, source: Path | bytes) -> bool:
        """Write a content-addressed object; see `Store.add`."""
        if self.size(name) == _size_of(source):
            return False
        if isinstance(source, Path) and source.is_relative_to(self._root / _TEMP):
            self._move(source, name)
            return True
        with self._filled(name, source) as temp:
            self._move(temp, name)
        return True

    def create(self, name: str, data: bytes) -> None:
        """Write an object that must not exist yet; see `Store.create`."""
        with self._filled(name, data) as temp, _explained("write", self._root / name):
            final = self._place(name)
            try:
                os.link(temp, final)
            except FileExistsError:
                raise exists(name) from None
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._create_without_links(temp, final, name)
            _sync_folder(final.parent)

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        """Write a mutable object if it still has `tag`; see `Store.replace`."""
        with self._filled(name, data) as temp, _explained("write", self._root / name):
            final = self._place(name)
            with self._locked():
                if final.is_symlink():
                    raise _is_link(final)
                found = self.get(name)
                if tag != (found.tag if found else None):
                    raise changed(name)
                temp.replace(final)
            _sync_folder(final.parent)

    def delete(self, name: str) -> None:
        """Remove an object; see `Store.delete`."""
        path = self._root / check_name(name)
        for folder in path.parents[: name.count("/")]:
            if folder.is_symlink():
                raise _is_link(folder)
        with _explained("delete", path), suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()

    # The calls the module's docstring lists

    @contextmanager
    def _filled(self, name: str, source: Path | bytes) -> Iterator[Path]:
        """Lend a durable file of the given bytes, gone on leaving unless moved or linked."""
        check_name(name)
        with self.scratch() as folder:
            temp = folder / "data"
            with _explained("write", self._root / name), temp.open("xb") as file:
                if isinstance(source, bytes):
                    file.write(source)
                else:
                    _copy(source, file)
                file.flush()
                flush(file.fileno())
            yield temp

    def _move(self, temp: Path, name: str) -> None:
        with _explained("write", self._root / check_name(name)):
            # Windows flushes only what it could also write, hence not "rb".
            with temp.open("r+b") as file:
                flush(file.fileno())
            # Made by `tempfile`, it is 0600, and no web server could read it. FAT has no modes, and
            # file systems in user space may not know the call.
            with suppress(OSError):
                temp.chmod(self._mode)
            final = self._place(name)
            temp.replace(final)
            _sync_folder(final.parent)

    def _create_without_links(self, temp: Path, final: Path, name: str) -> None:
        with self._locked():
            if os.path.lexists(final):
                raise exists(name)
            temp.rename(final)

    def _place(self, name: str) -> Path:
        """Return the path of a name, its folders made, none of them a symbolic link."""
        folder = self._root
        for part in name.split("/")[:-1]:
            folder = folder / part
            _make_folder(folder)
        return self._root / name

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the site; only ever for a comparison and a rename."""
        path = self._root / _LOCK
        handle = os.open(path, os.O_RDWR | os.O_CREAT | _NOFOLLOW | _BINARY, 0o666)
        try:
            self._wait_for(handle, path)
            _sign(handle, f"process {os.getpid()} on {platform.node()}")
            try:
                yield
            finally:
                _sign(handle, "")
        finally:
            os.close(handle)

    def _wait_for(self, handle: int, path: Path) -> None:
        until = time.monotonic() + self._wait
        while not _lock(handle, path):
            if time.monotonic() >= until:
                holder = path.read_text("utf-8", "replace")[:200] or "another process"
                raise StoreError(
                    f"{self._root} is being written by {holder}",
                    hint="wait for it or end it, then run the same command again",
                )
            time.sleep(0.02)

    def _claim(self) -> tuple[Path, int]:
        """Make and lock the file that shows a scratch folder is in use."""
        temp = self._root / _TEMP
        for _ in range(1000):
            self._root.mkdir(parents=True, exist_ok=True)
            claim = temp / secrets.token_hex(8)
            try:
                _make_folder(temp, durable=False)
                handle = os.open(claim, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
            except (FileNotFoundError, FileExistsError):
                continue  # another writer was done and took the empty folder away
            # The mode says what the umask allows; asking for the umask would mean setting it.
            self._mode = stat.S_IMODE(os.fstat(handle).st_mode)
            if _still_mine(handle, claim):
                return claim, handle
            os.close(handle)  # a sweep got hold of it before it was locked
        raise StoreError(f"cannot make a temporary folder in {temp}")

    def _sweep(self) -> None:
        """Remove what killed processes left behind; once is enough."""
        if self._swept:
            return
        self._swept = True
        temp = self._root / _TEMP
        if temp.is_symlink():
            raise _is_link(temp)  # else files would be swept that are nobody's leftovers
        with suppress(FileNotFoundError, NotADirectoryError):
            for claim in list(temp.iterdir()):
                if _CLAIM.fullmatch(claim.name):
                    _remove_if_stale(claim)

    # Small change

    def _open(self, name: str) -> io.BufferedReader | None:
        path = self._root / check_name(name)
        with _explained("read", path), suppress(FileNotFoundError, NotADirectoryError):
            # Looked at first, because opening a pipe would wait for ever.
            return io.BufferedReader(_File(path)) if path.is_file() else None
        return None

    def _walk(self, folder: str) -> Iterator[Entry]:
        path = self._root / folder
        with _explained("list", path), suppress(FileNotFoundError, NotADirectoryError):
            with os.scandir(path) as listing:
                # What lies in `a/` comes after `a.json` and before `a0`: sorted folder by folder,
                # names come in order, and only one folder at a time is held in memory.
                found = sorted(listing, key=_place_in_order)
            for item in found:
                name = f"{folder}/{item.name}" if folder else item.name
                if not _is_name(name):
                    continue
                if item.is_dir(follow_symlinks=False):
                    yield from self._walk(name)
                elif item.is_file(follow_symlinks=False):
                    yield from _entry(name, item)


class _File(io.FileIO):
    """A file whose reader hears of a broken disk as `StoreError`."""

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        with _explained("read", Path(str(self.name))):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _explained("read", Path(str(self.name))):
            return super().readall()


@contextmanager
def _explained(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os_reason(error)
        hint = _HINTS.get(error.errno or 0)
        raise StoreError(f"cannot {doing} {path}: {reason}", hint=hint) from error


def _is_link(path: Path) -> StoreError:
    return StoreError(
        f"{path} is a symbolic link, and nothing is written through links inside a site",
        hint="put the files there, or make the site's own folder the link",
    )


def _make_folder(folder: Path, *, durable: bool = True) -> None:
    try:
        folder.mkdir()
    except FileExistsError:
        if folder.is_symlink():
            raise _is_link(folder) from None
        if not folder.is_dir():
            raise
        return
    if durable:
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # pragma: no cover
        return  # Windows opens no folders
    handle = os.open(folder, os.O_RDONLY)
    try:
        flush(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> bool:
    try:
        return try_lock(handle)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise StoreError(
            f"cannot lock {path}: this file system has no locks",
            hint="publish into a local folder and copy the whole site from there",
        ) from error


def _sign(handle: int, holder: str) -> None:
    """Write into the lock who holds it; only a message depends on it, so failing is fine."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, holder.encode())


def _still_mine(handle: int, path: Path) -> bool:
    """Lock an open file, and tell whether it is still the one at `path`."""
    if not _lock(handle, path):
        return False
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _remove_if_stale(claim: Path) -> None:
    # Whatever goes wrong here is somebody else's file, or the next sweep's.
    with suppress(OSError):
        handle = os.open(claim, os.O_RDWR | _NOFOLLOW | _BINARY)
        if _still_mine(handle, claim):
            _discard(claim, claim.with_suffix(".d"), handle)
        else:
            os.close(handle)


def _discard(claim: Path, folder: Path, handle: int) -> None:
    """Remove a scratch folder, and then the claim to it: never a folder that nobody claims."""
    shutil.rmtree(folder, ignore_errors=True)
    os.close(handle)
    with suppress(OSError):
        if not folder.exists():
            claim.unlink(missing_ok=True)
            claim.parent.rmdir()


def _size_of(source: Path | bytes) -> int:
    if isinstance(source, bytes):
        return len(source)
    with _explained("read", source):
        return source.stat().st_size


def _copy(source: Path, target: BinaryIO) -> None:
    with _explained("read", source), source.open("rb") as file:
        shutil.copyfileobj(file, target, 1 << 20)


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except UsageError:
        return False
    return True


def _place_in_order(item: "os.DirEntry[str]") -> str:
    return f"{item.name}/" if item.is_dir(follow_symlinks=False) else item.name


def _entry(name: str, item: "os.DirEntry[str]") -> Iterator[Entry]:
    with suppress(FileNotFoundError):  # deleted since it was listed
        found = item.stat()
        yield Entry(name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
