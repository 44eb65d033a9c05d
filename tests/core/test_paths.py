"""What a bundle may call its files."""

import contextlib
import tracemalloc
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.limits import LIMITS
from manifestgen.core.paths import check_path, check_paths
from manifestgen.errors import FormatError

GOOD = [
    "index.html",
    "assets/app.3f2a.js",
    ".well-known/assetlinks.json",
    "a/.hidden/b",
    "a..b",
    "...a",
    " leading space",
    "inner space/x y.js",
    "日本語/ñandú.js",
    "emoji/😀.png",
    "console.js",
    "com.js",
    "com10",
    "COM/x",
    "lpt⁴",
    "nul-x",
    "conın$",  # dotless i: no device
    "x.con",
    "it's (1) [2] {3} #4 %20 &5 @6 !7 ~8 `9 ^0 +,;=",
    "a" * 255,
    "/".join(["a" * 255, "b" * 256])[: LIMITS.path_bytes - 1],
]

BAD = {
    "empty": "",
    "absolute": "/etc/passwd",
    "network share": "//server/share/x",
    "folder": "a/",
    "empty segment": "a//b",
    "only a slash": "/",
    "parent": "../x",
    "parent inside": "a/../b",
    "parent at the end": "a/..",
    "only parent": "..",
    "here": "./x",
    "here inside": "a/./b",
    "only here": ".",
    "backslash": "a\\b",
    "parent by backslash": "..\\x",
    "network share by backslash": "\\\\server\\share",
    "drive": "C:/x",
    "drive with backslash": "C:\\x",
    "drive without slash": "C:x",
    "alternate stream": "index.html::$DATA",
    "less": "a<b",
    "greater": "a>b",
    "quote": 'a"b',
    "pipe": "a|b",
    "question mark": "a?b",
    "star": "a*b",
    "NUL": "a\0b",
    "NUL at the end": "index.html\0.png",
    "newline": "a\nb",
    "carriage return": "a\rb",
    "escape": "a\x1b[2Jb",
    "delete": "a\x7fb",
    "C1 control": "a\x9bb",
    "lone high surrogate": "a\ud800",
    "lone low surrogate": "\udc80.js",
    "trailing dot": "a.",
    "trailing dots": "a...",
    "trailing space": "a ",
    "trailing space in a folder": "a /b",
    "trailing dot in a folder": "a./b",
    "device": "CON",
    "device in lower case": "nul",
    "device in mixed case": "pRn",
    "device with extension": "aux.js",
    "device with extensions": "aux.min.js",
    "device as folder": "con/x",
    "device inside": "a/LPT1.txt",
    "device 0": "com0",
    "device with superscript": "COM¹.txt",
    "device with superscript three": "lpt³",
    "device, space, extension": "nul .txt",
    "console input": "CONIN$",
    "console output": "conout$.log",
    "long segment": "a" * 256,
    "long segment in UTF-8": "é" * 128,
    "long path": "/".join(["abcdefg"] * 65),
}


@pytest.mark.parametrize("path", GOOD)
def test_a_name_that_every_device_holds_is_accepted(path: str) -> None:
    check_path(path)
    check_paths([path])


@pytest.mark.parametrize("path", BAD.values(), ids=BAD.keys())
def test_a_name_that_some_device_cannot_hold_is_refused(path: str) -> None:
    with pytest.raises(FormatError) as caught:
        check_path(path)
    assert caught.value.code == "path"
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()
    with pytest.raises(FormatError):
        check_paths(["index.html", path])


COLLISIONS = {
    "the same twice": ["a", "a"],
    "case": ["index.html", "Index.html"],
    "case of a folder": ["A/x", "a/y"],
    "case of an inner folder": ["r/A/x", "r/a/y"],
    "case of an outer folder": ["R/a/x", "r/a/y"],
    "Unicode form": ["é.js", unicodedata.normalize("NFD", "é.js")],
    "Unicode form of a folder": ["é/x", unicodedata.normalize("NFD", "é") + "/y"],
    "Unicode form and case": ["É", unicodedata.normalize("NFD", "é")],
    "sharp s": ["straße", "STRASSE"],
    "final sigma": ["ΟΔΟΣ", "οδοσ"],
    "final sigma before a dot": ["ς.js", "σ.js"],
    "Kelvin": ["\u212a", "k"],
    "long s": ["ſ", "s"],
    "ligature": ["ﬁ", "fi"],
    "file and folder": ["a", "a/b"],
    "folder and file": ["a/b", "a"],
    "file and far folder": ["x/y/z", "x"],
    "file and folder, with names between": ["a", "a-b", "a.js", "a b", "a/b"],
    "case of a folder, with names between": ["a/x", "a-b", "a.js", "a b", "ab/x", "A/y"],
    "case of a far folder": ["a/b/c/x", "a/b/D/x", "a/B/e/y"],
    "file and folder by case": ["A", "a/b"],
    "file and folder by Unicode form": ["é", unicodedata.normalize("NFD", "é") + "/b"],
}


@pytest.mark.parametrize("paths", COLLISIONS.values(), ids=COLLISIONS.keys())
def test_names_that_collide_on_some_device_are_refused(paths: list[str]) -> None:
    for path in paths:
        check_path(path)
    for order in (paths, paths[::-1]):
        with pytest.raises(FormatError) as caught:
            check_paths(["other.html", *order])
        assert caught.value.code == "path"


def test_one_object_given_twice_is_refused() -> None:
    path = "".join(["same", ".js"])
    with pytest.raises(FormatError, match="the same file"):
        check_paths([path, path])


def test_names_that_only_look_alike_are_accepted() -> None:
    check_paths(["a", "а", "a.js", "ab", "a-b/c", "b/a", "c/a", "c/a.js", "l", "1"])


def test_empty_folders_take_part() -> None:
    check_paths(["a/b", "c"], ["a", "d", "a/e"])
    check_paths(["a/b"], ["d", "d"])
    for folder in ("C", "A", "a/b", "../x", "a/", "A/d", "c"):
        with pytest.raises(FormatError):
            check_paths(["a/b", "c"], [folder])


def test_the_message_names_both() -> None:
    with pytest.raises(FormatError, match=r"path 'a/y': and 'A/' are the same folder"):
        check_paths(["A/x", "a/y"])


def test_too_many_files_are_refused_before_all_are_read() -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"f{read}"

    with pytest.raises(FormatError, match="more than the 20000 files") as caught:
        check_paths(endless())
    assert caught.value.code == "path"
    assert read == LIMITS.files + 1


def test_as_many_files_as_allowed_are_accepted() -> None:
    check_paths(f"f/{n % 50}/{n}" for n in range(LIMITS.files))


def test_too_many_folders_are_refused_in_no_more_memory_than_their_names_take() -> None:
    """A patch lists 20,000 of these in 75 KB; each names 250 folders, which were gigabytes once."""
    paths = [f"{n:05}" + "/a" * 250 for n in range(500)]
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="more than the 20000 folders allowed"):
            check_paths(paths)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * sum(map(len, paths))


@given(st.text(), st.text())
def test_nothing_but_our_error_escapes(one: str, other: str) -> None:
    with contextlib.suppress(FormatError):
        check_paths([one, other])


@given(st.text(min_size=1))
def test_a_path_and_its_decomposed_form_collide(path: str) -> None:
    with pytest.raises(FormatError):
        check_paths([path, unicodedata.normalize("NFD", path)])


@given(st.text(st.characters(categories=["L", "N"], max_codepoint=0x24F), min_size=1, max_size=20))
def test_a_path_and_its_other_cases_collide(path: str) -> None:
    for other in (path.upper(), path.lower(), path.title()):
        with pytest.raises(FormatError):
            check_paths([path, other])
