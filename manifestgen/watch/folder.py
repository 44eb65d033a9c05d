"""The files of a build folder, looked at again where somebody said that something changed.

A look at some files finds what a look at the whole folder would, or is one: wherever a name or a
file is not of the plainest kind, `bundle.read_build` has to judge it.
"""

import os
import stat
from bisect import bisect_left, insort
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from manifestgen import bundle
from manifestgen.bundle import Build, BuildFile
from manifestgen.core.limits import LIMITS
from manifestgen.core.paths import check_path
from manifestgen.errors import FormatError
from manifestgen.watch.complete import is_temporary

_PLAIN: Final = (".html", ".js", ".mjs", ".css", ".json", ".map", ".svg", ".png", ".txt", ".wasm")
"""Endings of files in which nobody keeps a private key, and that no desktop leaves behind."""


class Folder:
    """A build folder, without the files that editors keep for a moment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[BuildFile] | None = None
        self._keys: set[str] = set()  # what paths have in common that some device takes for one
        self._folders: set[str] = set()
        self._plain = False  # whether all paths are ASCII

    def look(self, touched: Iterable[str] | None = None) -> Build:
        """Return what the folder holds; other files than those `touched` are as they were.

        Raises:
            UsageError: it is no build, or holds what a bundle cannot or should not.
        """
        files = self._files
        self._files = None  # after a failure nothing is as it was
        if files is None or touched is None or not self._look_at(files, touched):
            files = self._look_at_all()
        self._files = files
        return Build(self._folder, tuple(files))

    def _look_at_all(self) -> list[BuildFile]:
        found = bundle.read_build(self._folder).files
        files = [file for file in found if not is_temporary(file.path)]
        self._keys = {file.path.lower() for file in files}
        self._folders = {file.path.rpartition("/")[0] for file in files}
        self._keys |= {name.lower() for name in _above(self._folders)}
        self._plain = all(file.path.isascii() for file in files)
        return files

    def _look_at(self, files: list[BuildFile], touched: Iterable[str]) -> bool:
        """Bring some files up to date; `False` if the whole folder has to be looked at."""
        for path in touched:
            if is_temporary(path):
                continue
            if not self._plain or not path.isascii() or not path.lower().endswith(_PLAIN):
                return False
            index = bisect_left(files, path, key=_path)
            there = index < len(files) and files[index].path == path
            try:
                found = os.lstat(f"{self._folder}/{path}")
            except OSError:
                if there:
                    self._keys.discard(files.pop(index).path.lower())
                continue
            if not stat.S_ISREG(found.st_mode):
                return False
            file = BuildFile.of(path, found)
            if there:
                files[index] = file
            elif not self._may_come(path):
                return False
            else:
                insort(files, file, key=_path)
                self._keys.add(path.lower())
        return any(one.path == "index.html" for one in files) and len(files) <= LIMITS.files

    def _may_come(self, path: str) -> bool:
        """Tell whether a new file is certainly allowed: in a folder there is, and like no other."""
        try:
            check_path(path)
        except FormatError:
            return False
        return path.rpartition("/")[0] in self._folders and path.lower() not in self._keys


def _above(folders: Iterable[str]) -> Iterable[str]:
    """Give folders and those that they are in."""
    for name in folders:
        while name:
            yield name
            name = name.rpartition("/")[0]  # noqa: PLW2901


def _path(file: BuildFile) -> str:
    return file.path  # all are ASCII, and in the order of their bytes
