"""Tell whether a build is whole: every script and style that `index.html` names is there.

Bundlers write one file after another, and `index.html` at any time. A build that names what is
not there is one under way, or one that failed half-way.
"""

import fnmatch
import re
from html.parser import HTMLParser
from typing import Final
from urllib.parse import unquote, urlsplit

from manifestgen.bundle import Build

# What editors write beside a file while they save it.
_TEMPORARY: Final = ("*~", ".*.sw?", ".*.swpx", "4913", "*___jb_tmp___", "*___jb_old___", "#*#")
# Written by the native build, not by the bundler.
_NATIVE: Final = frozenset({"cordova.js", "cordova_plugins.js"})
_RELATIONS: Final = frozenset({"stylesheet", "modulepreload"})
_LARGEST: Final = 4 * 1024 * 1024  # bytes of an index.html that are read


def is_temporary(path: str) -> bool:
    """Tell by its name whether a file is one that editors keep for a moment."""
    return _IS_TEMPORARY(path) is not None


def missing(build: Build) -> str | None:
    """Name what `index.html` needs and the build lacks, or return `None`."""
    with (build.folder / "index.html").open("rb") as file:
        text = file.read(_LARGEST).decode("utf-8", "replace")
    if not text.strip():
        return "nothing yet"
    there = {file.path for file in build.files}
    return next((one for one in named(text) if one not in there and one not in _NATIVE), None)


def named(text: str) -> list[str]:
    """Return the paths of scripts and styles that a page loads from its own folder."""
    page = _Page()
    page.feed(text)
    page.close()
    base = urlsplit(page.base)
    if base.netloc:
        return []
    prefix = base.path.rpartition("/")[0].strip("/")
    paths = (_path(link, prefix) for link in page.links)
    return [path for path in paths if path]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of what is loaded."""
        values = {name: value or "" for name, value in attrs}
        if tag == "script" and values.get("src"):
            self.links.append(values["src"])
        elif tag == "link" and values.get("href"):
            if _RELATIONS & set(values.get("rel", "").lower().split()):
                self.links.append(values["href"])
        elif tag == "base":
            self.base = self.base or values.get("href", "")


def _path(link: str, prefix: str) -> str | None:
    """Return the path in the build that a link means; `None` for another server's."""
    try:
        found = urlsplit(link.strip())
    except ValueError:
        return None
    if found.scheme or found.netloc or not found.path:
        return None
    path = unquote(found.path)
    if path.startswith("/") and prefix:
        # An app that is built for a folder of the server names it; the bundle has it not.
        path = path[1:].removeprefix(f"{prefix}/")
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in {"", ".", ".."}:
            parts.append(part)
    return "/".join(parts)


_IS_TEMPORARY = re.compile(
    "(?:.*/)?(?:" + "|".join(fnmatch.translate(one) for one in _TEMPORARY) + ")"
).match
