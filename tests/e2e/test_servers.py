"""A site behind real web servers, configured by nothing but what `server` prints.

One table of requests for all of them: what is right for devices does not depend on the server.
"""

import hashlib
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.publish.project import SAMPLE, Project, copy_project, ended, process
from tests.tools import builds, caddy, nginx
from tests.tools.nginx import StartNginx

FOREVER = "public, max-age=31536000, immutable"
ASK = "no-cache"
JSON = "application/json"
# Servers may put it as they like.
REFUSED = {403, 405}
UNLISTED = {403, 404}
OUTSIDE = {400, 404}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Served:
    """A published project, and the server in front of its site."""

    folder: Path
    server: nginx.Nginx | caddy.Caddy
    blob: str

    @property
    def site(self) -> Path:
        """The folder that is served."""
        return self.folder / "site"

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Send one request, following nothing."""
        address = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        try:
            connection.request(method, path, body or None, dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def shop(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project that has published 1.0.0 and 1.1.0."""
    folder = copy_project(published, tmp_path_factory.mktemp("servers") / "shop")
    url = {"MANIFESTGEN_BASE_URL": "https://cdn.example.com"}
    assert ended(process(folder, "publish", "dist2", env=url)).code == 0
    (folder / "site/.well-known").mkdir()
    for name in (".well-known/assetlinks.json", ".manifestgen-lock", "production/.hidden"):
        (folder / "site" / name).write_text("[]")
    (folder / "site/.well-known/.hidden").write_text("[]")
    return folder


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def served(request: pytest.FixtureRequest, shop: Path) -> Iterator[Served]:
    """Serve that project with each server."""
    config = ended(process(shop, "server", request.param))
    assert config.code == 0
    blob = next((shop / "site/blobs").rglob("*.bin"))
    with running(request.param, shop / "site", config.out) as server:
        yield Served(shop, server, f"/{blob.relative_to(shop / 'site').as_posix()}")


def running(
    kind: str, site: Path, config: str
) -> AbstractContextManager[nginx.Nginx | caddy.Caddy]:
    return nginx.serve(site, config) if kind == "nginx" else caddy.serve(config)


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


REQUESTS: dict[str, tuple[str, str, set[int]]] = {
    "the stock plugin's question": ("POST", "/production/capgo.json", {200}),
    "its question to no channel": ("POST", "/nightly/capgo.json", {404}),
    "POST of anything else": ("POST", "/production/manifest.json", REFUSED),
    "POST of a page": ("POST", "/", REFUSED),
    "POST in history": ("POST", "/production/history/000001.json", REFUSED),
    "PUT": ("PUT", "/production/manifest.json", REFUSED),
    "PUT of the stock answer": ("PUT", "/production/capgo.json", REFUSED),
    "PUT of something new": ("PUT", "/production/new.json", REFUSED),
    "DELETE": ("DELETE", "/production/manifest.json", REFUSED),
    "PATCH": ("PATCH", "/root.json", REFUSED),
    "PROPFIND": ("PROPFIND", "/", REFUSED),
    "MKCOL": ("MKCOL", "/new", REFUSED),
    "the lock": ("GET", "/.manifestgen-lock", {404}),
    "the lock, encoded": ("GET", "/%2emanifestgen-lock", {404}),
    "the lock, behind two slashes": ("GET", "//.manifestgen-lock", {404}),
    "unfinished files": ("GET", "/.manifestgen-tmp/x", {404}),
    "hidden files anywhere": ("GET", "/production/.hidden", {404}),
    "hidden files among what phones look for": ("GET", "/.well-known/.hidden", {404}),
    "a hidden file by POST": ("POST", "/.manifestgen-lock", {404}),
    "what phones look for": ("GET", "/.well-known/assetlinks.json", {200}),
    "no such file": ("GET", "/production/nothing.json", {404}),
    "no such channel": ("GET", "/nightly/manifest.json", {404}),
    "a listing": ("GET", "/releases/", UNLISTED),
    "a listing of blobs": ("GET", "/blobs/", UNLISTED),
    "a way out": ("GET", "/../manifestgen.toml", OUTSIDE),
    "a way out, encoded": ("GET", "/%2e%2e/manifestgen.toml", OUTSIDE),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_requests_are_answered(served: Served, case: str) -> None:
    method, path, statuses = REQUESTS[case]
    body = b'{"version_name":"builtin"}' if method in {"POST", "PUT", "PATCH"} else b""
    answer = served.ask(method, path, {"Content-Type": JSON} if body else {}, body)
    assert answer.status in statuses
    assert not (served.site / "production/new.json").exists()
    assert not (served.site / "new").exists()
    assert (served.site / "production/manifest.json").exists()


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
    stale = served.ask("POST", "/production/capgo.json", {"If-None-Match": '"stale"'}, body)
    assert (stale.status, stale.body) == (200, answer.body)
    # The plugin asks unconditionally; a proxy that adds the header gets a whole answer or none.
    known = {"If-None-Match": answer.headers["etag"]}
    assert served.ask("POST", "/production/capgo.json", known, body).status in {200, 304}


@pytest.mark.parametrize("path", ["/production/manifest.json", "/production/capgo.json"])
def test_what_has_not_changed_is_not_sent_again(served: Served, path: str) -> None:
    tag = served.ask("GET", path).headers["etag"]
    answer = served.ask("GET", path, {"If-None-Match": tag})
    assert (answer.status, answer.body, answer.headers["cache-control"]) == (304, b"", ASK)
    assert answer.headers["access-control-allow-origin"] == "*"


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


def test_the_server_has_nothing_to_complain_about(served: Served) -> None:
    said = served.server.errors()
    assert not any(word in said for word in ("[warn]", "[emerg]", '"level":"error"'))
    assert "Caddyfile input is not formatted" not in said


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "dol$lar", "spa ce", "semi;colon", "ü"])
def test_nginx_serves_a_site_of_any_name(
    project: Project, name: str, tmp_path: Path, start_nginx: StartNginx
) -> None:
    site = project.site.rename(project.folder / name)
    text = project.does("server", "nginx", "--site", site).out
    [root] = [line.strip() for line in text.splitlines() if line.strip().startswith("root ")]
    # Out of the fixture's sight, which would put a root of its own here.
    (tmp_path / "root.conf").write_text(root)
    server = start_nginx(tmp_path, text.replace(root, f"include {tmp_path}/root.conf;"))
    served = Served(project.folder, server, "")
    assert served.ask("GET", "/root.json").body == (site / "root.json").read_bytes()


def test_caddy_serves_a_site_of_any_name(project: Project) -> None:
    # One folder with them all: starting Caddy takes a while.
    site = project.site.rename(project.folder / 'quo"te back\\slash dol$lar semi;colon # ü [x] *')
    with caddy.serve(project.does("server", "caddy", "--site", site).out) as server:
        served = Served(project.folder, server, "")
        assert served.ask("GET", "/root.json").body == (site / "root.json").read_bytes()
        assert served.ask("GET", "/.manifestgen-lock").status == 404


@pytest.mark.parametrize("name", ["a{b}", "{$HOME}", "back`quote"])
def test_what_a_caddyfile_cannot_say_is_refused(project: Project, name: str) -> None:
    project.site.rename(project.folder / name)
    said = ("server", "caddy", "--site", project.folder / name)
    project.refuses(*said, code=2, error="cannot be written into a Caddyfile")


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_only_a_folder_can_be_served(project: Project, kind: str) -> None:
    said = ("server", kind, "--site", "s3://bucket/app")
    project.refuses(*said, code=2, error="s3://bucket/app is no folder that a web server could")


def test_a_base_url_with_a_path_is_pointed_out(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert project.does("server", "caddy").err == ""
    monkeypatch.setenv("MANIFESTGEN_BASE_URL", "https://cdn.example.com/app")
    assert "base_url is https://cdn.example.com/app" in project.does("server", "nginx").err


def test_the_configuration_names_the_site(project: Project) -> None:
    said = project.does("server", "nginx", "--listen", "8443 ssl", "--name", "updates.example.com")
    assert f'root "{project.site}";' in said.out
    assert "listen 8443 ssl;" in said.out
    assert "server_name updates.example.com;" in said.out
    said = project.does("server", "caddy", "--name", "updates.example.com")
    assert f"root * `{project.site}`" in said.out
    assert "\nupdates.example.com {\n" in said.out


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
