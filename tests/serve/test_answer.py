"""What `serve` answers where nginx is not asked the same in `test_like_nginx`."""

import http.client
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifestgen.cli.serve import site_of
from manifestgen.config import find
from manifestgen.serve import Server, Site, Visit
from manifestgen.serve.answer import Answer, Part, Request, _described, name_of
from manifestgen.serve.faults import body_of
from tests.publish.project import Project
from tests.serve.asking import ask, wait_for

BIG = bytes(range(256)) * 4096  # sent by handle, not from memory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "blobs/ab").mkdir(parents=True)
    (site / "production").mkdir()
    (site / "blobs/ab/ab.bin").write_bytes(BIG)
    (site / "blobs/ab/small.bin").write_bytes(b"0123456789")
    (site / "production/manifest.json").write_text("{}")
    (tmp_path / "secret").write_text("secret")
    return site


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    with Server(Site(folder)) as server:
        yield server.url


def told(folder: Path, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Site(folder).answer(Request(method, path, names))
    return answer.status, body_of(answer) if answer.status < 300 else b""


NAMES = {
    "/": "",
    "/a/b": "a/b",
    "/a/b?c=/../d#e": "a/b",
    "//a///b": "a/b",
    "/a/./b": "a/b",
    "/a/../b": "b",
    "/a/b/..": "a/",
    "/a/": "a/",
    "/%61": "a",
    "/%2561": "%61",
}


@pytest.mark.parametrize("target", NAMES)
def test_a_path_means_one_name(target: str) -> None:
    assert name_of(target) == NAMES[target]


OUTSIDE = {
    "plain": ("/../secret", 400),
    "encoded": ("/%2e%2e/secret", 400),
    "encoded slash": ("/..%2fsecret", 400),
    "from within": ("/blobs/../../secret", 400),
    "twice encoded": ("/%252e%252e/secret", 404),
    "backslash": ("/..%5csecret", 404),
    "absolute": ("//etc/passwd", 404),
    "an address": ("http://elsewhere/secret", 400),
    "null": ("/production/manifest.json%00.html", 400),
    "no UTF-8": ("/%ff", 404),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_nothing_outside_is_served(folder: Path, case: str) -> None:
    path, status = OUTSIDE[case]
    assert told(folder, path) == (status, b"")


def test_links_are_followed_inside_only(folder: Path) -> None:
    (folder / "out").symlink_to(folder.parent / "secret")
    (folder / "up").symlink_to(folder.parent)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / ".hidden").write_text("hidden")
    (folder / "shown").symlink_to(folder / ".hidden")
    (folder / "in").symlink_to(folder / "production")
    for path in ("/out", "/up/secret", "/loop", "/shown"):
        assert told(folder, path) == (404, b""), path
    assert told(folder, "/in/manifest.json") == (200, b"{}")


def test_a_pipe_holds_nobody_up(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert told(folder, "/pipe") == (404, b"")


def test_a_folder_without_its_slash_is_elsewhere(url: str) -> None:
    answer = ask(url, "/blobs")
    assert (answer.status, answer.headers["location"]) == (301, "/blobs/")
    assert ask(url, "/blobs/").status == 403
    assert ask(url, "/").status == 403  # no index.html here


RANGES = {
    "bytes=2-4": (206, b"234"),
    "bytes=7-": (206, b"789"),
    "bytes=-3": (206, b"789"),
    "bytes=-99": (206, b"0123456789"),
    "bytes=5-99": (206, b"56789"),
    "bytes=10-": (416, b""),
    "bytes=-0": (416, b""),
    "bytes=5-2": (416, b""),
    "bytes=1-2,4-5": (200, b"0123456789"),
    "bytes=-": (200, b"0123456789"),
    f"bytes={'9' * 5000}-": (200, b"0123456789"),
    "lines=1-2": (200, b"0123456789"),
}


@pytest.mark.parametrize("wanted", RANGES)
def test_parts_are_given(folder: Path, wanted: str) -> None:
    assert told(folder, "/blobs/ab/small.bin", range=wanted) == RANGES[wanted]


def test_a_part_of_a_large_file(url: str) -> None:
    answer = ask(url, "/blobs/ab/ab.bin", headers={"Range": "bytes=1000-500000"})
    assert answer.status == 206
    assert answer.body == BIG[1000:500001]
    assert answer.headers["content-range"] == f"bytes 1000-500000/{len(BIG)}"


TAGS = {"the tag": "{}", "any": "*", "one of several": '"x", {}', "a weak one": "W/{}"}


@pytest.mark.parametrize("case", TAGS)
def test_what_is_known_is_not_sent(url: str, case: str) -> None:
    tag = ask(url, "/blobs/ab/ab.bin").headers["etag"]
    answer = ask(url, "/blobs/ab/ab.bin", headers={"If-None-Match": TAGS[case].format(tag)})
    assert (answer.status, answer.body) == (304, b"")


def test_a_file_of_the_same_size_and_time_has_another_tag(folder: Path, url: str) -> None:
    file = folder / "production/manifest.json"
    first = ask(url, "/production/manifest.json").headers["etag"]
    found = file.stat()
    file.with_name("new").write_text("[]")
    file.with_name("new").replace(file)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert ask(url, "/production/manifest.json").headers["etag"] != first


def test_what_is_renamed_over_a_file_is_not_mixed_into_the_answer(folder: Path) -> None:
    file = folder / "blobs/ab/ab.bin"
    answer = Site(folder).answer(Request("GET", "/blobs/ab/ab.bin"))
    file.with_name("new").write_bytes(b"x" * len(BIG))
    file.with_name("new").replace(file)
    assert body_of(answer) == BIG


def test_readers_never_see_half_a_document(folder: Path, url: str) -> None:
    file = folder / "production/manifest.json"
    texts = [json.dumps([number] * (number * 700)).encode() for number in range(1, 30)]
    done = threading.Event()

    def replace() -> None:
        while not done.is_set():
            for text in texts:
                file.with_name("new").write_bytes(text)
                file.with_name("new").replace(file)

    writer = threading.Thread(target=replace)
    file.write_bytes(texts[0])
    writer.start()
    try:
        seen = {ask(url, "/production/manifest.json").body for _ in range(100)}
    finally:
        done.set()
        writer.join()
    assert seen <= set(texts)


def test_a_connection_serves_many_requests(folder: Path, url: str) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    for method, path, status in [
        ("POST", "/production/manifest.json", 403),
        ("HEAD", "/blobs/ab/ab.bin", 200),
        ("GET", "/nothing", 404),
        ("PUT", "/production/manifest.json", 403),
        ("OPTIONS", "/production/manifest.json", 204),
        ("GET", "/production/manifest.json", 200),
    ]:
        connection.request(method, path, b"{}" if method in {"POST", "PUT"} else None)
        response = connection.getresponse()
        response.read()
        assert response.status == status, (method, path)
    connection.close()
    assert (folder / "production/manifest.json").read_text() == "{}"


def test_too_long_a_body_is_refused(url: str) -> None:
    assert ask(url, "/production/manifest.json", "POST", body=b" " * 65_537).status == 413
    chunked = {"Transfer-Encoding": "chunked"}
    assert ask(url, "/production/manifest.json", "POST", chunked, b"0\r\n\r\n").status == 411


def handles() -> int:
    """Count this process's open handles, where the system says."""
    listing = Path("/proc/self/fd")
    return len(list(listing.iterdir())) if listing.exists() else 0


def test_a_large_answer_leaves_no_handle_open(folder: Path) -> None:
    before = handles()
    site = Site(folder)
    tag = site.answer(Request("HEAD", "/blobs/ab/ab.bin"))
    tag.close()
    for headers in ({}, {"range": "bytes=9999999999-"}, {"if-none-match": tag.headers["ETag"]}):
        answer: Answer = site.answer(Request("GET", "/blobs/ab/ab.bin", headers))
        answer.close()
        assert not isinstance(answer.body, Part) or answer.body.file.closed
    assert handles() == before


# `capgo.json`, where there is no base_url


@pytest.fixture
def rendered(project: Project) -> Iterator[str]:
    assert not (project.site / "production/capgo.json").exists()
    settings = find(project.folder)
    with Server(site_of(settings)) as server:
        yield server.url


def test_the_stock_plugin_hears_the_address_it_used(project: Project, rendered: str) -> None:
    host = {"Host": "192.168.1.20:8000"}
    answer = ask(rendered, "/production/capgo.json", "POST", host, b"{}")
    assert answer.status == 200
    facts = json.loads(answer.body)
    release = project.manifest().releases[0]
    assert facts["version"] == "1.0.0"
    assert facts["url"].startswith("http://192.168.1.20:8000/blobs/")
    assert facts["url"].endswith(f"{release.bundle.blob}.bin")  # type: ignore[union-attr]
    again = {**host, "If-None-Match": answer.headers["etag"]}
    assert ask(rendered, "/production/capgo.json", "POST", again).status == 304
    assert ask(rendered, "/production/capgo-ios.json", "POST", host).status == 200
    assert ask(rendered, "/beta/capgo.json", "POST", host).status == 404
    assert ask(rendered, "/production/capgo-tv.json", "POST", host).status == 404


@pytest.mark.parametrize("host", ["evil/path", 'a"b', "a b", "user@host", "host:port"])
def test_an_address_that_is_none_gets_nothing(rendered: str, host: str) -> None:
    assert ask(rendered, "/production/capgo.json", "POST", {"Host": host}).status == 404


def test_nothing_is_made_of_a_manifest_that_does_not_verify(
    project: Project, rendered: str
) -> None:
    file = project.site / "production/manifest.json"
    file.write_bytes(file.read_bytes().replace(b'"1.0.0"', b'"9.0.0"'))
    assert ask(rendered, "/production/capgo.json", "POST").status == 404


# Who asks


def _wait_for_more(seen: list[Visit], before: int) -> None:
    wait_for(lambda: len(seen) > before)


def test_devices_are_told_apart(folder: Path) -> None:
    seen: list[Visit] = []
    body = json.dumps({"device_id": "pixel", "version_name": "1.2.3"}).encode()
    path, agent = "/production/manifest.json", {"User-Agent": "okhttp/4"}
    with Server(Site(folder), heard=seen.append) as server:
        for asked, method, headers, sent in (
            (path, "POST", agent, body),
            ("/blobs/ab/ab.bin", "GET", agent, None),
            (f"{path}?device=tablet&version=2.0.0", "GET", {"User-Agent": "x/1"}, None),
            (path, "GET", {"User-Agent": "Mozilla (iPhone) Safari/1"}, None),
            (path, "POST", {}, b'{"device_id":"\\u001b[2J","version_name":7}'),
            (path, "POST", {}, b'{"device_id":[1]}'),
        ):
            before = len(seen)
            ask(server.url, asked, method, headers, sent)
            _wait_for_more(seen, before)  # a visit is told of after its answer was sent
    names = [str(visit.device) for visit in seen]
    assert names[:4] == [
        "pixel (1.2.3)",
        "pixel (1.2.3)",
        "tablet (2.0.0)",
        "Safari on iPhone at 127.0.0.1",
    ]
    assert all(visit.line().isprintable() for visit in seen)
    assert (seen[1].bytes, seen[1].path, seen[1].status) == (len(BIG), "/blobs/ab/ab.bin", 200)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that cannot be read")
def test_a_file_that_cannot_be_read_is_closed_once() -> None:
    handle = os.open("/proc/self/mem", os.O_RDONLY)
    with pytest.raises(OSError, match="Input/output error"):
        _described("a", handle)
    os.close(handle)
