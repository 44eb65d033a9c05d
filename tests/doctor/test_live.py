"""A healthy nginx, and every way to break one: the doctor names each by its code."""

import json
import shutil
import socketserver
import ssl
import threading
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from manifestgen.doctor import Finding, Severity
from manifestgen.doctor.ask import Answer, Asker
from manifestgen.doctor.live import _transport
from tests.publish.project import Project, copy_project, ended, process
from tests.tools import caddy
from tests.tools.nginx import StartNginx

BASE = {"MANIFESTGEN_BASE_URL": "https://cdn.example.com"}


@dataclass(frozen=True, slots=True)
class Shop:
    """A published project; `config` is what `server nginx` prints, `old` the site as it was."""

    folder: Path
    old: Path
    config: str

    @property
    def site(self) -> Path:
        """The folder that is served."""
        return self.folder / "site"


@pytest.fixture(scope="module")
def shop(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Publish 1.0.0, keep a copy of the site, and publish 1.1.0."""
    folder = copy_project(published, tmp_path_factory.mktemp("live") / "shop")
    old = shutil.copytree(folder / "site", folder.with_name("old"))
    assert ended(process(folder, "publish", "dist2", env=BASE)).code == 0
    said = ended(process(folder, "server", "nginx"))
    return Shop(folder, old, said.out)


@pytest.fixture
def examined(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Finding]]:
    """Run the doctor on an address; give what it found there by code."""
    monkeypatch.setenv("MANIFESTGEN_BASE_URL", BASE["MANIFESTGEN_BASE_URL"])
    project = Project(shop.folder, monkeypatch, capsys)

    def examine(url: str, *flags: str) -> dict[str, Finding]:
        said = project("doctor", url, "--json", *flags)
        found = [Finding(**one) for one in said.json["findings"]]
        assert said.code == (1 if any(one.severity == "problem" for one in found) else 0)
        assert all(one.fix for one in found if one.severity != "ok")
        return {one.code: one for one in found if one.area == "live"}

    return examine


Examined = Callable[..., dict[str, Finding]]


def test_a_healthy_server_has_no_problem(
    shop: Shop, examined: Examined, start_nginx: StartNginx
) -> None:
    server = start_nginx(shop.site, shop.config)
    assert set(examined(server.url)) == {"live"}
    assert {line.split()[0] for line in server.requests()} <= {"GET", "POST", "OPTIONS", "HEAD"}
    assert set(examined(server.url, "--probe-writes")) == {"live"}


@dataclass(frozen=True, slots=True)
class Broken:
    """A line of the configuration put in another's place, and what is to be found."""

    old: str
    new: str
    codes: set[str]
    flags: tuple[str, ...] = ()


LOCATION = "    location / {"
SERVER = "    etag on;"
BROKEN: dict[str, Broken] = {
    "no types": Broken(SERVER, f"{SERVER} types {{ }} default_type text/plain;", {"content_type"}),
    "caches may keep manifests": Broken(
        'default "no-cache";',
        'default "max-age=300"; "~^404:" "no-cache";',
        {"cache_mutable"},
    ),
    "a shared cache may keep manifests": Broken(
        'default "no-cache";',
        'default "max-age=0, s-maxage=60"; "~^404:" no-cache;',
        {"cache_mutable"},
    ),
    "nobody tells caches anything": Broken(
        "add_header Cache-Control ", "# ", {"cache_unsaid", "cache_immutable"}
    ),
    "that a root is missing is kept": Broken(
        "~^(?:200|206|304):", "~^(?:200|206|304|404):", {"cache_missing"}
    ),
    "no CORS": Broken("add_header Access-Control-Allow-Origin ", "# ", {"cors", "cors_preflight"}),
    "OPTIONS is refused": Broken("return 204;", "return 405;", {"cors_preflight"}),
    "POST is refused": Broken("error_page 405 =200 $uri;", "", {"post_refused"}),
    "hidden files are served": Broken("        return 404;", "", {"hidden_served"}),
    "an app's fallback page": Broken(
        LOCATION, f"{LOCATION} try_files $uri /index.html;", {"page_for_missing"}
    ),
    "no ranges": Broken(SERVER, f"{SERVER} max_ranges 0;", {"no_range"}),
    "JSON is rewritten": Broken(
        LOCATION,
        f"{LOCATION} sub_filter_types application/json; sub_filter '\"signed\":' '\"signed\": ';"
        " sub_filter_once off;",
        {"transformed", "no_etag"},
    ),
    "pages are injected into": Broken(
        SERVER,
        f"{SERVER} sub_filter '<title>' '<script></script><title>';",
        {"page_differs", "no_etag"},
    ),
    "no ETag": Broken(
        SERVER, "etag off; add_header Last-Modified ''; if_modified_since off;", {"no_etag"}
    ),
    "If-None-Match is not answered": Broken(
        SERVER,
        "etag off; if_modified_since off; add_header ETag '\"x\"';",
        {"no_304"},
    ),
    "folders are listed": Broken(SERVER, f"{SERVER} autoindex on;", {"listing"}),
    "another host": Broken(
        LOCATION, f"{LOCATION} return 301 https://other.example.com$uri;", {"redirect_elsewhere"}
    ),
    "another place on this host": Broken(
        LOCATION, f"{LOCATION} rewrite ^/(production/.*) /moved/$1 redirect;", {"redirected"}
    ),
    "anybody may write": Broken(
        "        limit_except GET {\n            deny all;\n        }",
        "        dav_methods PUT DELETE;",
        {"writes_allowed"},
        ("--probe-writes",),
    ),
    "blobs are forbidden": Broken(
        SERVER, f"{SERVER} location /blobs/ {{ deny all; }}", {"not_served"}
    ),
    "everything breaks": Broken(
        SERVER, f"{SERVER} location = /root.json {{ return 500; }}", {"not_served"}
    ),
    "a login page": Broken(
        SERVER,
        f"{SERVER} location = /root.json {{ default_type text/html; return 200 '<html>'; }}",
        {"page_instead"},
    ),
    "nothing of it is right": Broken(
        SERVER,
        f"{SERVER} return 503;",
        {"not_served", "missing_status", "cors_preflight", "post_refused"},
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_breakage_is_found(
    case: str, shop: Shop, examined: Examined, start_nginx: StartNginx
) -> None:
    broken = BROKEN[case]
    assert broken.old in shop.config
    server = start_nginx(shop.site, shop.config.replace(broken.old, broken.new))
    found = examined(server.url, *broken.flags)
    assert set(found) == broken.codes
    assert not any("other.example.com" in one.fix for one in found.values()), "no advice of theirs"


def test_an_app_in_javascript_mode_needs_no_post(
    shop: Shop, examined: Examined, start_nginx: StartNginx, tmp_path: Path
) -> None:
    broken = BROKEN["POST is refused"]
    server = start_nginx(shop.site, shop.config.replace(broken.old, broken.new))
    plugins = {"CapacitorUpdater": {"autoUpdate": False}}
    (tmp_path / "capacitor.config.json").write_text(json.dumps({"plugins": plugins}))
    assert set(examined(server.url, "--app", str(tmp_path))) == {"live"}


TWELVE: dict[str, tuple[str, str]] = {
    "content_type": (SERVER, f"{SERVER} types {{ }} default_type text/plain;"),
    "cache_mutable": ('default "no-cache";', 'default "max-age=300";'),
    "cors": ("add_header Access-Control-Allow-Origin ", "# "),
    "cors_preflight": ("return 204;", "return 405;"),
    "post_refused": ("error_page 405 =200 $uri;", ""),
    "hidden_served": ("        return 404;", ""),
    "page_for_missing": (LOCATION, f"{LOCATION} try_files $uri $uri/ /index.html;"),
    "no_range": (SERVER, f"{SERVER} max_ranges 0;"),
    "transformed": (
        LOCATION,
        f"{LOCATION} sub_filter_types *; sub_filter '\"signed\":' '\"signed\": ';",
    ),
    "listing": (SERVER, f"{SERVER} autoindex on;"),
    "writes_allowed": (
        "        limit_except GET {\n            deny all;\n        }",
        "        dav_methods PUT DELETE;",
    ),
    "stale": ("", ""),
}


def test_twelve_at_once_are_all_found(
    shop: Shop, examined: Examined, start_nginx: StartNginx
) -> None:
    config = shop.config
    for old, new in TWELVE.values():
        config = config.replace(old, new, 1) if old else config
    server = start_nginx(shop.old, config)
    found = examined(server.url, "--probe-writes")
    assert len(TWELVE) == 12
    assert TWELVE.keys() <= found.keys()
    assert "live" not in found


# Several servers


def test_an_old_copy_is_stale(shop: Shop, examined: Examined, start_nginx: StartNginx) -> None:
    found = examined(start_nginx(shop.old, shop.config).url)
    assert found["stale"].sentence.startswith("production/manifest.json is number 1 there, and 2")


def edge(start_nginx: StartNginx, folder: Path, *origins: str, more: str = "") -> str:
    """Start a proxy in front of servers that take turns."""
    servers = " ".join(f"server {one.removeprefix('http://')};" for one in origins)
    config = (
        f"upstream origins {{ {servers} }}\n{more}\n"
        f"server {{ listen 80; {'proxy_cache edge;' if more else ''}"
        " location / { proxy_pass http://origins; } }"
    )
    return start_nginx(folder, config).url


def test_edges_that_disagree_are_found(
    shop: Shop, examined: Examined, start_nginx: StartNginx, tmp_path: Path
) -> None:
    old, new = (start_nginx(site, shop.config).url for site in (shop.old, shop.site))
    found = examined(edge(start_nginx, tmp_path, old, new))
    assert "6 requests for production/manifest.json got 2" in found["mixed"].sentence


def test_edges_that_agree_are_fine(
    shop: Shop, examined: Examined, start_nginx: StartNginx, tmp_path: Path
) -> None:
    one, other = (start_nginx(shop.site, shop.config).url for _ in range(2))
    assert set(examined(edge(start_nginx, tmp_path, one, other))) == {"live"}


def test_a_cache_that_asks_no_more_is_found(
    shop: Shop, examined: Examined, start_nginx: StartNginx, tmp_path: Path
) -> None:
    served = shutil.copytree(shop.old, tmp_path / "served")
    origin = start_nginx(served, shop.config).url
    cache = (
        f"proxy_cache_path {tmp_path}/cache keys_zone=edge:1m; proxy_cache_valid 200 1h;"
        " proxy_ignore_headers Cache-Control;"
    )
    url = edge(start_nginx, tmp_path, origin, more=cache)
    with urllib.request.urlopen(f"{url}/production/manifest.json") as answer:
        assert answer.status == 200
    shutil.copytree(shop.site, served, dirs_exist_ok=True)
    assert "stale_cache" in examined(url)


def test_keys_beside_the_site_are_found(
    shop: Shop, examined: Examined, start_nginx: StartNginx
) -> None:
    config = shop.config.replace("        return 404;", "")
    found = examined(f"{start_nginx(shop.folder, config).url}/site")
    assert ".manifestgen/keys/signing.pem is a private key" in found["key_served"].sentence


# What nginx cannot be told


class Odd(SimpleHTTPRequestHandler):
    """A server with a clock of its own, which may send everybody elsewhere."""

    ahead = timedelta(0)
    to: str | None = None

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Tell the time."""
        now = datetime.now(UTC) + self.ahead
        return super().date_time_string(now.timestamp() if timestamp is None else timestamp)

    def do_GET(self) -> None:
        """Answer, or send elsewhere."""
        if self.to is None:
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", self.to)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def odd_server(
    site: Path, pem: Path | None = None, **attributes: object
) -> Iterator[ThreadingHTTPServer]:
    handler = partial(type("Odder", (Odd,), attributes), directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if pem:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("minutes", "said"), [(0, None), (20, "20 minutes ahead of"), (-3000, "3000 minutes behind")]
)
def test_clocks_are_compared(
    minutes: int, said: str | None, shop: Shop, examined: Examined
) -> None:
    with odd_server(shop.site, ahead=timedelta(minutes=minutes)) as server:
        found = examined(f"http://127.0.0.1:{server.server_port}")
    assert (said in found["clock_skew"].sentence) if said else ("clock_skew" not in found)


def certificate(path: Path, *, days: int, name: str) -> Path:
    """Write a certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "doctor")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days, hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("days", "name", "code"),
    [
        pytest.param(90, "127.0.0.1", None, id="good"),
        pytest.param(5, "127.0.0.1", "tls_expires", id="expires soon"),
        pytest.param(-1, "127.0.0.1", "tls_untrusted", id="has expired"),
        pytest.param(90, "127.0.0.2", "tls_untrusted", id="another host"),
    ],
)
def test_certificates_are_judged(
    days: int,
    name: str,
    code: str | None,
    shop: Shop,
    examined: Examined,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pem = certificate(tmp_path / "pem", days=days, name=name)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with odd_server(shop.site, pem) as server:
        found = examined(f"https://127.0.0.1:{server.server_port}")
    assert {one for one in found if one.startswith("tls")} == ({code} if code else set())


def test_an_authority_that_nobody_knows_is_found(
    shop: Shop, examined: Examined, tmp_path: Path
) -> None:
    with odd_server(shop.site, certificate(tmp_path / "pem", days=9, name="127.0.0.1")) as server:
        found = examined(f"https://127.0.0.1:{server.server_port}")
    assert set(found) == {"tls_untrusted"}


def test_a_way_out_of_tls_is_found(
    shop: Shop, examined: Examined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path / "pem", days=90, name="127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with odd_server(shop.site, pem, to="http://127.0.0.1/elsewhere") as server:
        assert set(examined(f"https://127.0.0.1:{server.server_port}")) == {"redirect_plain"}


HOSTILE: dict[str, bytes] = {
    "no HTTP": b"220 mail.example.com\r\n\r\n",
    "nothing at all": b"",
    "redirects to no address": b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
    "redirects to itself": b"HTTP/1.1 302 Found\r\nLocation: \r\n\r\n",
    "a clock out of time": b"HTTP/1.1 200 OK\r\nAge: 99\r\n"
    b"Date: Sat, 31 Dec 9999 23:59:59 GMT\r\n\r\n{",
    "a date that is none": b"HTTP/1.1 200 OK\r\nDate: now\r\nAge: never\r\n\r\n[[",
    "an age without end": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=" + b"9" * 9000 + b"\r\n\r\n",
    "half an archive": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08",
    "an unknown archive": b"HTTP/1.1 200 OK\r\nContent-Encoding: zoo\r\n\r\nzoo",
    "deep JSON": b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
    "less than it says": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    "a range that is none": b"HTTP/1.1 206 Partial Content\r\nContent-Range: x\r\n\r\n{}",
}


class Saying(socketserver.StreamRequestHandler):
    """Says one thing, whatever is asked."""

    words = b""

    def handle(self) -> None:
        """Wait for the question, then say it."""
        while self.rfile.readline().strip():
            pass
        self.wfile.write(self.words)


@pytest.mark.parametrize("case", HOSTILE)
def test_whatever_a_server_says_is_a_finding(case: str, examined: Examined) -> None:
    handler = type("Said", (Saying,), {"words": HOSTILE[case]})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            found = examined(f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()
    assert any(one.severity == "problem" for one in found.values())


def test_a_bomb_is_not_inflated() -> None:
    bomb = zlib.compress(b"\0" * 200_000_000)
    assert Answer(200, {"content-encoding": "deflate"}, bomb).decoded() is None


def test_a_healthy_caddy_has_no_problem(shop: Shop, examined: Examined) -> None:
    config = ended(process(shop.folder, "server", "caddy")).out
    with caddy.serve(config) as server:
        assert set(examined(server.url, "--probe-writes")) == {"live"}


def test_nobody_at_home_is_found(examined: Examined) -> None:
    assert set(examined("http://127.0.0.1:9")) == {"unreachable"}


def test_a_plain_address_is_a_warning(shop: Shop) -> None:
    [found] = list(_transport(Asker("http://updates.example.com")))
    assert (found.code, found.severity) == ("no_tls", Severity.WARNING)


# Without a local site


def test_a_site_can_be_examined_from_anywhere(
    shop: Shop,
    start_nginx: StartNginx,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    elsewhere = Project(tmp_path / "elsewhere", monkeypatch, capsys)
    said = elsewhere.does("doctor", start_nginx(shop.site, shop.config).url)
    assert said.out.splitlines()[-1] == "0 problems, 0 warnings"
    assert not list(elsewhere.folder.iterdir())
