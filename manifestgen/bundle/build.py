"""Read a build folder: which files the app has, and whether a bundle may hold them.

Everything in the folder belongs to the bundle, except `.DS_Store` and `Thumbs.db`, which desktops
leave behind. What nobody means to publish (a repository, a project's settings, a private key) is
refused rather than left out, because it says that the wrong folder was named. Contents are read by
`pack`; here are only names and what `stat` says of them, so that a change in between is noticed.
"""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from manifestgen.core.limits import LIMITS
from manifestgen.core.paths import check_paths
from manifestgen.errors import FormatError, UsageError

_LEFT_OUT = frozenset({".DS_Store", "Thumbs.db"})
_NOT_A_BUILD = frozenset({".git", ".manifestgen", "manifestgen.toml"})
_KEY_NAMES = (".pem", ".key", ".capgo_key_v2")
_KEY_BYTES = 64 * 1024  # no private key is larger
_WHICH_FOLDER = "name the folder that the build is written to, such as `dist` or `www`"


@dataclass(frozen=True, slots=True)
class BuildFile:
    """A file of a build as it was when the folder was read."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, path: str, found: os.stat_result) -> "BuildFile":
        """Note what `stat` found."""
        return cls(path, found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)


@dataclass(frozen=True, slots=True)
class Build:
    """A build folder and its files, sorted by the UTF-8 of their paths."""

    folder: Path
    files: tuple[BuildFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def read_build(folder: Path) -> Build:
    """List a build folder.

    Raises:
        UsageError: it is no build, cannot be read, or holds what a bundle cannot or should not.
    """
    _check_folder(folder)
    files: list[BuildFile] = []
    for path, found in _walk(folder):
        if len(files) == LIMITS.files:
            _refuse(f"{folder} has more than the {LIMITS.files} files allowed", _WHICH_FOLDER)
        files.append(BuildFile.of(path, found))
    if not files:
        _refuse(f"{folder} is empty", "build the app first")
    try:
        check_paths(file.path for file in files)
    except FormatError as error:
        raise UsageError(
            str(error), hint="rename it in the build: some device could not hold it", code="path"
        ) from None
    build = Build(folder, tuple(sorted(files, key=lambda file: file.path.encode())))
    _check_contents(build)
    return build


def version_of(folder: Path) -> str | None:
    """Return `version` of the folder's `package.json`, else of the nearest parent's that has one.

    Whether it is a version that can be published is not checked.

    Raises:
        UsageError: a `package.json` on the way is damaged.
    """
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        if version := _package_version(place / "package.json"):
            return version
    return None


def _package_version(file: Path) -> str | None:
    try:
        package = json.loads(file.read_bytes().decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        _refuse(f"{file} is not JSON", "mend it, or pass `--version`")
    except OSError as error:
        _refuse(f"{file} cannot be read: {error.strerror}", "pass `--version`")
    version = package.get("version") if isinstance(package, dict) else package
    if version is not None and not isinstance(version, str):
        _refuse(f"{file} has a version that is no string", "mend it, or pass `--version`")
    return version


def _check_folder(folder: Path) -> None:
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        _refuse(f"{folder}: no such folder", f"build the app first, then {_WHICH_FOLDER}")
    except (OSError, ValueError) as error:
        _refuse(f"{folder} cannot be read: {error}", _WHICH_FOLDER)
    if not stat.S_ISDIR(mode):
        _refuse(f"{folder} is not a folder", _WHICH_FOLDER)


def _check_contents(build: Build) -> None:
    page = next((file for file in build.files if file.path == "index.html"), None)
    if page is None:
        _refuse(f"{build.folder} has no `index.html`", _WHICH_FOLDER)
    if not page.size:
        _refuse(f"{build.folder}/index.html is empty", "build the app again, then publish")
    if build.size > LIMITS.bundle_bytes:
        _refuse(
            f"{build.folder} has {build.size} bytes, more than the {LIMITS.bundle_bytes} allowed",
            "leave large media out of the bundle and load it when it is needed",
        )


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Give every file below `folder` by its path in the bundle, in no order."""
    root = folder.resolve()
    pending = [""]
    while pending:
        prefix = pending.pop()
        for entry in _scan(folder / prefix):
            path = prefix + entry.name
            if entry.name in _NOT_A_BUILD:
                _refuse(f"{folder / path} does not belong in a bundle", _WHICH_FOLDER)
            if entry.is_dir(follow_symlinks=False):
                pending.append(path + "/")
            elif entry.name not in _LEFT_OUT:
                yield path, _stat(entry, root)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        _refuse(f"{folder} cannot be read: {error.strerror}", "make it readable, or take it out")


def _stat(entry: os.DirEntry[str], root: Path) -> os.stat_result:
    """Return the stat of a regular, readable file, also through a link that stays inside."""
    link = entry.is_symlink()
    try:
        found = os.stat(entry.path)  # noqa: PTH116 - thousands of them; a `Path` costs as much
        inside = not link or Path(entry.path).resolve().is_relative_to(root)
    except (OSError, RuntimeError) as error:
        hint = "repair it or take it out"
        _refuse(f"{entry.path} {'is a link that leads nowhere' if link else error}", hint)
    if not inside:
        _refuse(f"{entry.path} is a link that leads out of the folder", "copy the file instead")
    if link and stat.S_ISDIR(found.st_mode):
        _refuse(f"{entry.path} is a link to a folder", "copy the folder instead")
    if not stat.S_ISREG(found.st_mode):
        _refuse(f"{entry.path} is a pipe, socket or device", "take it out")
    if not os.access(entry.path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        _refuse(f"{entry.path} cannot be read: permission denied", "make it readable")
    if entry.name.endswith(_KEY_NAMES) and found.st_size <= _KEY_BYTES:
        _check_no_key(Path(entry.path))
    return found


def _check_no_key(file: Path) -> None:
    try:
        found = b"PRIVATE KEY-----" in file.read_bytes()
    except OSError as error:
        _refuse(f"{file} cannot be read: {error.strerror}", "make it readable")
    if found:
        _refuse(f"{file} holds a private key", "take it out, and replace it if it was published")


def _refuse(why: str, hint: str) -> NoReturn:
    raise UsageError(why, hint=hint)
