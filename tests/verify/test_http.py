"""A site behind a real web server: nothing can be listed, and everything may be a lie."""

from collections.abc import Iterator
from dataclasses import replace
from threading import Event

import pytest

from manifestgen.errors import StoreError, UsageError
from manifestgen.stores.http import HttpStore, Patience
from manifestgen.verify.ahead import ahead
from tests.stores.web import Request, Web, serving
from tests.verify.project import Files, Project

HASTY = Patience(connect=2, silence=2, retries=0, backoff=0.01)


def one_of_each(files: Files) -> list[str]:
    """Return one name of each folder: the test server takes its time over every request."""
    served = (name for name in files if name != "index.html")
    last = {name.partition("/")[0]: name for name in served}
    return [*last.values(), "production/history/000001.json"]


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        yield web


def test_a_whole_site(project: Project, rotated: Project, web: Web) -> None:
    for site in (project, rotated):
        web.files = site.files()
        report = site.verify(HttpStore(web.url))
        assert report.ok
        assert report.notes == ()
        assert report.documents + report.blobs == len(web.files) - 1  # the page is not read


def test_only_reading(project: Project, files: Files, web: Web) -> None:
    web.files = files
    project.verify(HttpStore(web.url))
    assert {method for method, _, _ in web.seen} <= {"GET", "HEAD"}


def test_one_byte_flipped(project: Project, files: Files, web: Web) -> None:
    store = HttpStore(web.url)
    for name in one_of_each(files):
        data = bytearray(files[name])
        data[len(data) // 2] ^= 1
        web.files = {**files, name: bytes(data)}
        report = project.verify(store)
        assert [problem.where for problem in report.problems] == [name]


def test_a_file_deleted(project: Project, files: Files, web: Web) -> None:
    store = HttpStore(web.url)
    for name in one_of_each(files):
        web.files = {other: files[other] for other in files if other != name}
        report = project.verify(store)
        named = {problem.where for problem in report.problems}
        noted = {note.where for note in report.notes}
        assert name in named or (name.startswith("blobs/") and noted == {name})


def test_a_server_that_answers_a_page_for_what_it_does_not_have(
    project: Project, files: Files, web: Web
) -> None:
    def page(request: Request) -> None:
        if request.path.removeprefix("/app/") in files:
            request.serve()
        else:
            request.reply(200, b"<!doctype html><title>An app</title>")

    web.files, web.always = files, page
    expected = replace(project.expected, possible=("production", "beta"))
    assert project.verify(HttpStore(web.url), expected=expected).ok


def test_a_login_page_for_everything(project: Project, web: Web) -> None:
    web.always = lambda request: request.reply(200, b"<!doctype html><title>Sign in</title>")
    with pytest.raises(UsageError, match="no channel is known"):
        project.verify(HttpStore(web.url))


def test_an_old_manifest_in_some_cache(project: Project, files: Files, web: Web) -> None:
    manifest, second = "production/manifest.json", "production/history/000002.json"
    web.files = {**files, manifest: files[second]}
    report = project.verify(HttpStore(web.url))
    assert [(one.where, one.code) for one in report.problems] == [(manifest, "history")]


def test_history_is_fetched_before_it_is_judged(project: Project, files: Files, web: Web) -> None:
    together, waiting = Event(), []

    def gathered(request: Request) -> None:
        if "/history/" in request.path:
            waiting.append(request.path)
            if len(waiting) == 3:
                together.set()
            if not together.wait(20):
                request.reply(500, b"")
                return
        request.serve()

    web.files, web.always = files, gathered
    expected = replace(project.expected, channels=("production",), possible=())
    assert project.verify(HttpStore(web.url, patience=HASTY), expected=expected).ok


def test_what_nobody_asks_for_may_fail(project: Project, files: Files, web: Web) -> None:
    def broken(request: Request) -> None:
        if request.path.endswith("history/000001.json"):
            request.reply(500, b"")
        else:
            request.serve()

    web.files, web.always = files, broken
    store = HttpStore(web.url, patience=HASTY)
    names = [f"production/history/00000{number}.json" for number in (3, 2, 1)]
    with ahead(store, names, 1_000_000) as reader:
        assert reader.get(names[0], limit=1_000_000)
        assert reader.get(names[1], limit=1_000_000)
    with ahead(store, names, 1_000_000) as reader, pytest.raises(StoreError, match="answered 500"):
        reader.get(names[2], limit=1_000_000)


def test_nothing_there(project: Project, web: Web) -> None:
    with pytest.raises(UsageError, match="nothing is published at"):
        project.verify(HttpStore(web.url))


def test_nobody_there(project: Project, web: Web) -> None:
    with pytest.raises(StoreError):
        project.verify(HttpStore("http://127.0.0.1:9/app", patience=HASTY))


def test_a_server_that_breaks_down_over_a_blob(project: Project, files: Files, web: Web) -> None:
    """Not verified to the end is no verdict at all."""

    def broken(request: Request) -> None:
        if "/blobs/" in request.path:
            request.reply(500, b"")
        else:
            request.serve()

    web.files, web.always = files, broken
    with pytest.raises(StoreError, match="answered 500"):
        project.verify(HttpStore(web.url, patience=HASTY))


def test_a_blob_without_end(project: Project, files: Files, web: Web) -> None:
    name = next(name for name in files if name.startswith("blobs/"))
    web.files = {**files, name: files[name] + bytes(20_000_000)}
    report = project.verify(HttpStore(web.url))
    assert [(one.where, one.code) for one in report.problems] == [(name, "digest")]
    assert report.bytes < 1_000_000
