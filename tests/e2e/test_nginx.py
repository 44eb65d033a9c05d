"""A site behind real nginx, configured by nothing but what `server nginx` prints."""

import hashlib
import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.publish.project import SAMPLE, Project, copy_project, ended, process
from tests.tools import builds
from tests.tools.nginx import Nginx, StartNginx, serve

FOREVER = "public, max-age=31536000, immutable"
ASK = "no-cache"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What nginx answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Served:
    """A published project, and the nginx in front of its site."""

    folder: Path
    nginx: Nginx
    blob: str

    @property
    def site(self) -> Path:
        """The folder that is served."""
        return self.folder / "site"

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Send one request, following nothing."""
        address = urlsplit(self.nginx.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        try:
            connection.request(method, path, body or None, dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def served(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a project that has published 1.0.0 and 1.1.0."""
    folder = copy_project(published, tmp_path_factory.mktemp("nginx") / "shop")
    url = {"MANIFESTGEN_BASE_URL": "https://cdn.example.com/app"}
    assert ended(process(folder, "publish", "dist2", env=url)).code == 0
    config = ended(process(folder, "server", "nginx"))
    assert config.code == 0
    (folder / "site/.well-known").mkdir()
    (folder / "site/.well-known/assetlinks.json").write_text("[]")
    blob = next((folder / "site/blobs").rglob("*.bin"))
    with serve(folder / "site", config.out) as nginx:
        yield Served(folder, nginx, f"/{blob.relative_to(folder / 'site').as_posix()}")


FILES = {
    "manifest": ("/production/manifest.json", ASK, JSON),
    "answer for stock plugins": ("/production/capgo.json", ASK, JSON),
    "history": ("/production/history/000001.json", FOREVER, JSON),
    "release": ("/releases/1.1.0.json", ASK, JSON),
    "root": ("/root/1.json", FOREVER, JSON),
    "newest root": ("/root.json", ASK, JSON),
    "status page": ("/index.html", ASK, "text/html"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_are_served_as_what_they_are(served: Served, case: str) -> None:
    path, cache, kind = FILES[case]
    answer = served.ask("GET", path)
    assert answer.status == 200
    assert answer.body == (served.site / path[1:]).read_bytes()
    check_headers(answer, cache, kind)
    head = served.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.body))
    check_headers(head, cache, kind)


def check_headers(answer: Answer, cache: str, kind: str) -> None:
    assert answer.headers["cache-control"] == cache
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["etag"]


def test_blobs_are_bytes_for_ever(served: Served) -> None:
    answer = served.ask("GET", served.blob)
    check_headers(answer, FOREVER, "application/octet-stream")
    assert hashlib.sha256(answer.body).hexdigest() == Path(served.blob).stem


def test_the_front_page_is_the_status_page(served: Served) -> None:
    answer = served.ask("GET", "/")
    assert (answer.status, answer.body) == (200, (served.site / "index.html").read_bytes())
    assert answer.headers["cache-control"] == ASK


REQUESTS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "the stock plugin's question": (
        *("POST", "/production/capgo.json"),
        *({"Content-Type": "application/json"}, 200),
    ),
    "its question with a stale ETag": (
        *("POST", "/production/capgo.json"),
        *({"If-None-Match": '"stale"'}, 200),
    ),
    "PUT": ("PUT", "/production/manifest.json", {}, 403),
    "DELETE": ("DELETE", "/production/manifest.json", {}, 403),
    "PROPFIND": ("PROPFIND", "/", {}, 403),
    "the lock": ("GET", "/.manifestgen-lock", {}, 404),
    "unfinished files": ("GET", "/.manifestgen-tmp/x", {}, 404),
    "hidden files anywhere": ("GET", "/production/.hidden", {}, 404),
    "a hidden file by POST": ("POST", "/.manifestgen-lock", {}, 404),
    "what phones look for": ("GET", "/.well-known/assetlinks.json", {}, 200),
    "no such file": ("GET", "/production/nothing.json", {}, 404),
    "no such file by POST": ("POST", "/production/nothing.json", {}, 404),
    "no such channel": ("GET", "/nightly/manifest.json", {}, 404),
    "a listing": ("GET", "/releases/", {}, 403),
    "a way out": ("GET", "/../manifestgen.toml", {}, 400),
    "a way out, encoded": ("GET", "/%2e%2e/manifestgen.toml", {}, 400),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_requests_are_answered(served: Served, case: str) -> None:
    method, path, headers, status = REQUESTS[case]
    body = b'{"version_name":"builtin"}' if method in {"POST", "PUT"} else b""
    assert served.ask(method, path, headers, body).status == status


def test_a_missing_file_may_be_asked_for_again_by_any_origin(served: Served) -> None:
    answer = served.ask("GET", "/production/nothing.json")
    assert answer.headers["cache-control"] == ASK
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/root/2.json", f"/blobs/00/{'0' * 64}.bin"])
def test_what_is_not_there_yet_is_not_missing_for_ever(served: Served, path: str) -> None:
    answer = served.ask("GET", path)
    assert (answer.status, answer.headers["cache-control"]) == (404, ASK)


def test_the_stock_plugin_is_answered_by_post(served: Served) -> None:
    body = json.dumps({"app_id": "local.shop", "version_name": "1.0.0"}).encode()
    answer = served.ask("POST", "/production/capgo.json", {"Content-Type": JSON}, body)
    assert answer.status == 200
    assert answer.body == (served.site / "production/capgo.json").read_bytes()
    assert json.loads(answer.body)["version"] == "1.1.0"
    check_headers(answer, ASK, JSON)


@pytest.mark.parametrize("path", ["/production/manifest.json", "/production/capgo.json"])
def test_what_has_not_changed_is_not_sent_again(served: Served, path: str) -> None:
    tag = served.ask("GET", path).headers["etag"]
    answer = served.ask("GET", path, {"If-None-Match": tag})
    assert (answer.status, answer.body, answer.headers["cache-control"]) == (304, b"", ASK)
    assert answer.headers["access-control-allow-origin"] == "*"
    posted = served.ask("POST", path, {"If-None-Match": tag}, b"{}")
    # The plugin asks unconditionally; a proxy that adds the header gets a whole answer or none.
    assert posted.status in {200, 304}


def test_what_never_changes_stays_so_when_asked_again(served: Served) -> None:
    tag = served.ask("GET", served.blob).headers["etag"]
    answer = served.ask("GET", served.blob, {"If-None-Match": tag})
    assert (answer.status, answer.headers["cache-control"]) == (304, FOREVER)


def test_downloads_can_be_resumed(served: Served) -> None:
    whole = served.ask("GET", served.blob)
    tag = whole.headers["etag"]
    part = served.ask("GET", served.blob, {"Range": "bytes=100-", "If-Range": tag})
    assert part.status == 206
    assert part.body == whole.body[100:]
    size = len(whole.body)
    assert part.headers["content-range"] == f"bytes 100-{size - 1}/{size}"
    assert part.headers["cache-control"] == FOREVER
    changed = served.ask("GET", served.blob, {"Range": "bytes=100-", "If-Range": '"other"'})
    assert (changed.status, changed.body) == (200, whole.body)
    beyond = served.ask("GET", served.blob, {"Range": f"bytes={size}-"})
    assert beyond.status == 416


def test_apps_from_other_origins_may_ask(served: Served) -> None:
    answer = served.ask(
        "OPTIONS",
        "/production/manifest.json",
        {
            "Origin": "capacitor://localhost",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "if-none-match",
        },
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "GET" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"]


def test_nginx_has_nothing_to_complain_about(served: Served) -> None:
    assert "[warn]" not in served.nginx.errors()
    assert "[emerg]" not in served.nginx.errors()


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "dol$lar", "spa ce", "semi;colon", "ü"])
def test_a_site_of_any_name_is_served(
    project: Project, name: str, tmp_path: Path, start_nginx: StartNginx
) -> None:
    site = project.site.rename(project.folder / name)
    text = project.does("server", "nginx", "--site", site).out
    [root] = [line.strip() for line in text.splitlines() if line.strip().startswith("root ")]
    # Out of the fixture's sight, which would put a root of its own here.
    (tmp_path / "root.conf").write_text(root)
    nginx = start_nginx(tmp_path, text.replace(root, f"include {tmp_path}/root.conf;"))
    served = Served(project.folder, nginx, "")
    assert served.ask("GET", "/root.json").body == (site / "root.json").read_bytes()


def test_the_configuration_names_the_site(project: Project) -> None:
    said = project.does("server", "nginx", "--listen", "8443 ssl", "--name", "updates.example.com")
    assert f'root "{project.site}";' in said.out
    assert "listen 8443 ssl;" in said.out
    assert "server_name updates.example.com;" in said.out


# Verified and installed over HTTP


def tree(folder: Path) -> dict[str, bytes]:
    """Return a folder's files."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


class Device:
    """A device that follows a site over HTTP."""

    def __init__(self, project: Project, url: str) -> None:
        self.project = project
        root = project.folder / ".manifestgen/root/1.json"
        self.state = project.folder.parent / "device"
        self.flags = ("--site", url, "--root", root, "--state", self.state, "--json")

    def installs(self) -> dict[str, object]:
        """Look for news, install them, and confirm that they work."""
        data: dict[str, object] = self.project.does("device", "install", *self.flags).json
        self.project.does("device", "confirm", "--state", self.state)
        return data

    def runs(self) -> dict[str, bytes]:
        """Return the files that the app is served from."""
        return tree((self.state / "current").resolve())


def serve_site(project: Project, start_nginx: StartNginx) -> str:
    """Serve a project's site with its own configuration, and return the address."""
    return start_nginx(project.site, project.does("server", "nginx").out).url


def test_a_device_goes_from_nothing_to_v1_to_v2(fresh: Project, start_nginx: StartNginx) -> None:
    fresh.publishes(SAMPLE / "v1")
    url = serve_site(fresh, start_nginx)
    device = Device(fresh, url)
    assert fresh.does("verify", url, "--json").json["ok"] is True
    first = device.installs()
    assert (first["action"], first["from"], first["to"]) == ("installed", None, "1.0.0")
    assert device.runs() == tree(SAMPLE / "v1")
    assert device.installs()["action"] == "none"
    fresh.publishes(SAMPLE / "v2")
    second = device.installs()
    assert (second["action"], second["from"], second["to"]) == ("installed", "1.0.0", "1.1.0")
    assert device.runs() == tree(SAMPLE / "v2")
    assert fresh.does("verify", url, "--json").json["ok"] is True


@pytest.mark.parametrize(("name", "version"), [("swagger", "5.34.0"), ("jupyterlab", "4.6.4")])
def test_a_real_build_arrives_byte_for_byte(
    fresh: Project, start_nginx: StartNginx, name: str, version: str
) -> None:
    source = builds.build(name, version)
    fresh.publishes(source, "--version", version)
    url = serve_site(fresh, start_nginx)
    assert fresh.does("verify", url, "--json").json["problems"] == []
    device = Device(fresh, url)
    assert device.installs()["to"] == version
    left_out = {".DS_Store", "Thumbs.db"}
    expected = {path: data for path, data in tree(source).items() if path not in left_out}
    assert device.runs() == expected
