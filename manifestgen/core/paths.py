r"""What a bundle may call its files: only names that every device holds, each as a file of its own.

A path is one string, the same in a zip, a tree and a patch. A client in any language applies the
same rules.

One path:

1. It is not empty and, as UTF-8, at most `Limits.path_bytes` long.
2. It has no lone surrogate (U+D800–DFFF), no control character (U+0000–001F, U+007F–009F; the
   newline too) and none of `\ < > : " | ? *`. So it has no drive, no UNC share, no alternate
   stream, and one kind of separator.
3. `/` splits it into segments, none empty: no `/` first, last or twice in a row.
4. No segment is `.` or `..`, ends in a dot or a space, or is longer than 255 bytes of UTF-8.
   Windows drops such endings, so `a.` would write over `a`. A leading space or dot is fine.
5. No segment is a Windows device. Of the segment up to its first dot, without trailing spaces
   and whatever the case of its ASCII letters: CON, PRN, AUX, NUL, CONIN$, CONOUT$, and COM or LPT
   followed by one of 0–9 ¹ ² ³.

All paths of one bundle, at most `Limits.files` of them: let `key(p)` be `p` in NFC, then in upper
case, then in lower case, by Unicode's full mappings without a locale (in JavaScript
`p.normalize("NFC").toUpperCase().toLowerCase()`). Upper first makes `ß` meet `ss` and `ς` meet
`σ`, as some file systems do.

6. No two paths have the same key: on a phone that ignores case one would overwrite the other.
7. No path has the key of a directory that another path is in: one name cannot be both.
8. Directories with the same key are spelt the same: `A/x` and `a/y` are one folder on some
   devices and two on others, so the web server's answers would depend on the device.
9. All directories that they name, each counted once, are at most `Limits.folders`: 75 KB of a
   patch could name five million.

Unicode grows: for characters newer than a client's tables the key may keep two names apart that a
newer client refuses. Files are therefore also created exclusively wherever they are written.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import NoReturn

from manifestgen.core.limits import LIMITS
from manifestgen.errors import FormatError

_END = "\0"  # of a segment in a key: no path has it, and nothing sorts before it
SEGMENT_BYTES = 255  # what ext4, APFS and NTFS give a name, in the smallest of their units

_FORBIDDEN = re.compile('[\x00-\x1f\x7f-\x9f\ud800-\udfff\\\\<>:"|?*]')
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\..*)?",
    # ASCII: else `ı` would count as `i`, which Windows and JavaScript do not say.
    re.ASCII | re.IGNORECASE,
)


def check_path(path: str) -> None:
    """Raise `FormatError` (code `path`) unless every device can hold a file of this name."""
    if not path:
        _refuse(path, "empty")
    if found := _FORBIDDEN.search(path):
        _refuse(path, f"has the character {_character(found.group())}")
    if (size := len(path.encode())) > LIMITS.path_bytes:
        _refuse(path, f"{size} bytes long, more than the {LIMITS.path_bytes} allowed")
    for segment in path.split("/"):
        if fault := _segment_fault(segment):
            _refuse(path, fault)


def check_paths(paths: Iterable[str], empty_folders: Iterable[str] = ()) -> None:
    """Raise `FormatError` (code `path`) unless one bundle can hold all these on every device.

    `empty_folders` are folders that need hold none of the files, as an archive may name them.
    """
    found: list[tuple[str, str]] = []
    for folder in empty_folders:
        check_path(folder)
        found.append((_key(folder + "/"), folder + "/"))
    most = len(found) + LIMITS.files
    for path in paths:
        check_path(path)
        if len(found) == most:
            raise FormatError(f"more than the {LIMITS.files} files allowed", code="path")
        found.append((_key(path), path))
    # Sorted, whatever collides stands side by side: a name before all that is in it, since its end
    # sorts first. A table of folders would take gigabytes for some lists of 75 KB, compressed.
    found.sort()
    folders = sum(_new_folders(one, other) for one, other in pairwise([("", ""), *found]))
    if folders > LIMITS.folders:
        raise FormatError(f"more than the {LIMITS.folders} folders allowed", code="path")


def _new_folders(one: tuple[str, str], other: tuple[str, str]) -> int:
    """Return how many folders the second path is in, and the first is not; each has its key.

    Two that collide are refused, and two whose folders do.
    """
    (key, path), (next_key, next_path) = one, other
    folders, next_folders = path.split("/")[:-1], next_path.split("/")[:-1]
    if key == next_key and not key.endswith(_END):
        _collide(next_path, path, "the same file")
    if next_key.startswith(key + _END):
        folder = "/".join(next_folders[: key.count(_END) + 1])
        _collide(path, folder + "/", "a file and a folder of one name")
    if folders == next_folders:
        return 0
    # Neither NFC nor the case mappings look across `/`, so a key has the segments of its path.
    keys = zip(key.split(_END), next_key.split(_END), strict=False)
    shared = 0
    for (mine, its), name, next_name in zip(keys, folders, next_folders, strict=False):
        if mine != its:
            break
        shared += 1
        if name != next_name:
            folder = "/".join(folders[:shared])
            _collide(next_path, folder + "/", "the same folder, spelt in two ways")
    return len(next_folders) - shared


def _key(path: str) -> str:
    """Return what two paths have in common when some device takes them for one."""
    if path.isascii():  # the same result, four times as fast
        return path.lower().replace("/", _END)
    return unicodedata.normalize("NFC", path).upper().lower().replace("/", _END)


def _segment_fault(segment: str) -> str | None:
    if not segment:
        return "starts or ends with `/`, or has two in a row"
    if segment in {".", ".."}:
        return f"has the segment `{segment}`"
    if segment[-1] in ". ":
        return "has a segment that ends in a dot or a space, which Windows drops"
    if len(segment.encode()) > SEGMENT_BYTES:
        return f"has a segment longer than {SEGMENT_BYTES} bytes"
    if _RESERVED.fullmatch(segment):
        return f"has the segment `{segment}`, a device on Windows"
    return None


def _character(character: str) -> str:
    return f"`{character}`" if character.isprintable() else f"U+{ord(character):04X}"


def _collide(path: str, other: str, why: str) -> NoReturn:
    _refuse(path, f"and {_shown(other)} are {why} on some devices")


def _refuse(path: str, why: str) -> NoReturn:
    raise FormatError(f"path {_shown(path)}: {why}", code="path")


def _shown(path: str) -> str:
    text = repr(path)  # escapes whatever would move a terminal's cursor
    return text if len(text) <= 120 else f"{text[:80]}...{text[-30:]}"
