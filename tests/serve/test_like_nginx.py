"""The questions that nginx is asked, answered the same by `serve`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from manifestgen.serve import Server, Site
from tests.e2e.test_servers import (
    Served,
    shop,
    test_a_missing_file_may_be_asked_for_again_by_any_origin,
    test_apps_from_other_origins_may_ask,
    test_blobs_are_bytes_for_ever,
    test_downloads_can_be_resumed,
    test_files_are_served_as_what_they_are,
    test_requests_are_answered,
    test_the_front_page_is_the_status_page,
    test_the_stock_plugin_is_answered_by_post,
    test_what_has_not_changed_is_not_sent_again,
    test_what_is_not_there_yet_is_not_missing_for_ever,
    test_what_never_changes_stays_so_when_asked_again,
)
from tests.tools.nginx import Nginx

__all__ = [
    "shop",
    "test_a_missing_file_may_be_asked_for_again_by_any_origin",
    "test_apps_from_other_origins_may_ask",
    "test_blobs_are_bytes_for_ever",
    "test_downloads_can_be_resumed",
    "test_files_are_served_as_what_they_are",
    "test_requests_are_answered",
    "test_the_front_page_is_the_status_page",
    "test_the_stock_plugin_is_answered_by_post",
    "test_what_has_not_changed_is_not_sent_again",
    "test_what_is_not_there_yet_is_not_missing_for_ever",
    "test_what_never_changes_stays_so_when_asked_again",
]


@pytest.fixture(scope="module")
def served(shop: Path) -> Iterator[Served]:
    """Serve a project that has published 1.0.0 and 1.1.0."""
    blob = next((shop / "site/blobs").rglob("*.bin"))
    with Server(Site(shop / "site")) as server:
        place = Nginx(server.url, shop)
        yield Served(shop, place, f"/{blob.relative_to(shop / 'site').as_posix()}")
