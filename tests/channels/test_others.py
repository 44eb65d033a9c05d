"""A status page that has no room for every channel, or is written by many at once."""

import pytest

from manifestgen.config import load
from manifestgen.errors import ConflictError
from manifestgen.publish.site import Site
from manifestgen.publish.trust import load_roots
from manifestgen.stores import DirectoryStore
from manifestgen.stores.interface import changed
from manifestgen.stores.passing import Passing
from tests.channels.conftest import Publisher


def test_the_page_says_how_many_channels_it_leaves_out(shop: Publisher) -> None:
    page = shop.site / "index.html"
    # The channel that is configured and was never published to has its place kept.
    assert "not shown here" not in page.read_text("utf-8")
    for extra, said in (
        (14, None),
        (16, "2 more channels are not shown"),
        (15, "1 more channel is"),
    ):
        for number in range(20):
            folder = shop.site / f"line-{number:02d}"
            if number < extra:
                folder.mkdir(exist_ok=True)
                (folder / "notes.json").write_text("{}")
            elif folder.exists():
                (folder / "notes.json").unlink()
                folder.rmdir()
        shop.does("refresh")
        text = page.read_text("utf-8")
        assert said in text if said else "not shown here" not in text


class Busy(Passing):
    """Others are always faster to write one file."""

    busy = ""

    def replace(self, name: str, data: bytes, *, tag: str | None) -> None:
        if name == self.busy:
            raise changed(name)
        self.store.replace(name, data, tag=tag)


def test_a_page_that_others_keep_writing_stops_nobody(shop: Publisher) -> None:
    settings, store = load(shop.folder / "manifestgen.toml", {}), Busy(DirectoryStore(shop.site))
    site = Site(store, load_roots(settings), settings)
    head = site.head("production")
    assert head
    for busy in ("index.html", "production/manifest.json"):
        (shop.site / busy).unlink()
        store.busy = busy
        if busy == "index.html":
            site.publish_head(head)
            continue
        with pytest.raises(ConflictError):
            site.publish_head(head)
