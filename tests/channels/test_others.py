"""A site of more channels than its status page has room for says so."""

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
