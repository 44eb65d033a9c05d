"""Every link from one page of this project to another leads somewhere, to its heading too."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_PAGES = [
    *_ROOT.glob("*.md"),
    *sorted((_ROOT / "docs").glob("*.md")),
    _ROOT / "manifestgen/client/README.md",
    _ROOT / "sample_site/README.md",
    *sorted((_ROOT / "tests").rglob("README.md")),
]
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def anchors(page: str) -> set[str]:
    """Return what GitHub and GitLab call the headings of a page."""
    headings = _HEADING.findall(_FENCED.sub("", page))
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    dead = []
    for target, anchor in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        path = (page.parent / target) if target else page
        if not path.exists():
            dead.append(target)
        elif anchor and anchor not in anchors(path.read_text("utf-8")):
            dead.append(f"{target}#{anchor}")
    assert dead == []


def test_the_index_names_every_page() -> None:
    index = (_ROOT / "docs/README.md").read_text("utf-8")
    pages = {path.name for path in (_ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages - set(_LINK.sub(r" \1 ", index).split()) == set()
