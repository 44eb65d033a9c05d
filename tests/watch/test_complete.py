"""What a page needs, and whether a build has it."""

from pathlib import Path

import pytest

from manifestgen.bundle import read_build
from manifestgen.watch.complete import missing, named
from manifestgen.watch.folder import Folder

PAGES = {
    '<script src="a.js"></script>': ["a.js"],
    '<script src="/assets/a.js?v=1#x"></script>': ["assets/a.js"],
    "<SCRIPT type=module SRC=./a.js></SCRIPT>": ["a.js"],
    '<link rel="stylesheet" href="a.css">': ["a.css"],
    '<link rel="preload modulepreload" href="a.js">': ["a.js"],
    '<link rel="icon" href="icon.png"><img src="x.png">': [],
    '<script src="https://cdn.example.com/a.js"></script>': [],
    '<script src="//cdn.example.com/a.js"></script>': [],
    '<script src="data:text/javascript,1"></script>': [],
    "<script>src='a.js'</script>": [],
    '<!-- <script src="a.js"></script> -->': [],
    '<base href="/app/"><script src="/app/a.js"></script>': ["a.js"],
    '<base href="/app/"><script src="a.js"></script>': ["a.js"],
    '<base href="https://elsewhere/"><script src="a.js"></script>': [],
    '<script src="a%20b.js"></script>': ["a b.js"],
    '<script src="x/../a.js"></script>': ["a.js"],
    '<script src="http://[broken"></script>': [],
    "<script src></script><link rel=stylesheet>": [],
    "<scr": [],
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_what_it_needs(page: str) -> None:
    assert named(page) == PAGES[page]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text('<script src="cordova.js"></script><script src="a.js"></script>')
    assert missing(read_build(tmp_path)) == "a.js"
    (tmp_path / "a.js").touch()
    assert missing(read_build(tmp_path)) is None
    page.write_text("\n")
    assert missing(read_build(tmp_path)) == "nothing yet"


@pytest.mark.parametrize(
    "name", ["a.js~", ".a.js.swp", ".a.js.swx", "4913", "x/a___jb_tmp___", "#a.js#"]
)
def test_temporaries_are_left_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / name).touch()
    (tmp_path / "x/4913.js").touch()
    kept = [file.path for file in Folder(tmp_path).look().files]
    assert kept == ["index.html", "x/4913.js"]
