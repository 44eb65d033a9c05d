"""Sites behind web servers that are slow, broken, hostile or merely behind a proxy."""

import gzip
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from manifestgen import __version__
from manifestgen.doctor.ask import Asker
from manifestgen.errors import FormatError, StoreError, UsageError
from manifestgen.stores.http import HttpStore, Patience
from tests.stores.web import Fault, Request, Web, serving

MANIFEST = "production/manifest.json"
BLOB = "blobs/ab/abcd.bin"
BYTES = bytes(range(256)) * 1200  # 300 KB

# Tests fail by these only where the server stays silent on purpose.
QUICK = Patience(connect=5, silence=5, backoff=0.001, longest_pause=0.002)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        web.files = {MANIFEST: b'{"signed":{}}', BLOB: BYTES}
        yield web


def store(web: Web, patience: Patience = QUICK) -> HttpStore:
    return HttpStore(web.url, patience=patience)


def download(web: Web, patience: Patience = QUICK) -> bytes:
    with store(web, patience).open(BLOB) or pytest.fail("absent") as file:
        return file.read()


def answer(status: int, body: bytes = b"", **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: request.reply(status, body, named)


def hang_up(request: Request) -> None:
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)


# Documents


def test_a_document_comes_back_with_its_tag(web: Web) -> None:
    found = store(web).get(MANIFEST)
    assert found
    assert found.data == web.files[MANIFEST]
    assert found.tag.startswith('"')
    method, path, headers = web.seen[0]
    assert (method, path) == ("GET", f"/app/{MANIFEST}")
    assert headers["user-agent"] == f"manifestgen/{__version__}"
    assert headers["accept-encoding"] == "identity"
    assert "cookie" not in headers


@pytest.mark.parametrize("status", [403, 404, 410])
def test_absent_is_none(web: Web, status: int) -> None:
    web.always = answer(status, b"<Error/>")
    site = store(web)
    assert (site.get(MANIFEST), site.open(BLOB), site.size(BLOB)) == (None, None, None)


def test_sizes_are_asked_for_without_the_bytes(web: Web) -> None:
    assert store(web).size(BLOB) == len(BYTES)
    assert [method for method, _, _ in web.seen] == ["HEAD"]
    web.always = answer(200, b"zip", Content_Encoding="gzip")
    with pytest.raises(StoreError, match="does not say its size"):
        store(web).size(BLOB)


def test_an_unchanged_document_costs_a_304(web: Web) -> None:
    site = store(web)
    known = site.get(MANIFEST)
    assert known
    assert site.get_if_changed(MANIFEST, known) is known
    assert web.seen[-1][2]["if-none-match"] == known.tag
    web.files[MANIFEST] = b"new"
    changed = site.get_if_changed(MANIFEST, known)
    assert changed
    assert changed.data == b"new"
    del web.files[MANIFEST]
    assert site.get_if_changed(MANIFEST, known) is None


def test_where_a_proxy_strips_etags_an_unchanged_document_is_still_recognised(web: Web) -> None:
    web.etags = False
    known = store(web).get(MANIFEST)
    assert known
    assert known.tag == ""
    assert store(web).get_if_changed(MANIFEST, known) is known
    assert "if-none-match" not in web.seen[-1][2]


def test_a_login_page_is_bytes_like_any_other(web: Web) -> None:
    web.always = answer(200, b"<html>log in</html>", Content_Type="text/html", Set_Cookie="a=b")
    site = store(web)
    assert site.get(MANIFEST) == site.get(MANIFEST)
    assert "cookie" not in web.seen[-1][2]


@pytest.mark.parametrize("announced", [True, False])
def test_an_endless_document_stops_at_the_limit(web: Web, announced: bool) -> None:
    def endless(request: Request) -> None:
        request.close_connection = True
        request.send_response(200)
        if announced:
            request.send_header("Content-Length", "10000000000")
        request.end_headers()
        while not request.web.closing.is_set():
            request.wfile.write(b"x" * 65536)

    web.always = endless
    with pytest.raises(FormatError, match=r"manifest\.json: more than 100000 bytes"):
        store(web).get(MANIFEST, limit=100_000)
    assert len(web.seen) == 1


def test_what_a_proxy_compressed_is_undone(web: Web) -> None:
    web.always = answer(200, gzip.compress(BYTES), Content_Encoding="gzip", ETag='"z"')
    found = store(web).get(MANIFEST)
    assert found
    assert found.data == BYTES
    assert download(web) == BYTES


def test_a_bomb_stops_at_the_limit(web: Web) -> None:
    web.always = answer(200, gzip.compress(b"\0" * 20_000_000), Content_Encoding="gzip")
    with pytest.raises(FormatError, match="more than 1000000 bytes"):
        store(web).get(MANIFEST, limit=1_000_000)


# Passing failures


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(hang_up, id="hangs up"),
        pytest.param(answer(503), id="503"),
        pytest.param(answer(429, b"", Retry_After="86400"), id="429, try tomorrow"),
        pytest.param(answer(502, b"<html>"), id="502"),
        pytest.param(lambda r: r.reply(200, BYTES, cut_after=10), id="cut in the middle"),
        pytest.param(lambda r: r.drip(b"not http at all\r\n\r\n", 0), id="no HTTP"),
    ],
)
def test_a_passing_failure_is_tried_again_and_a_lasting_one_is_said(web: Web, fault: Fault) -> None:
    web.faults.extend([fault, fault, fault])
    assert store(web).get(MANIFEST)
    assert len(web.seen) == 4
    web.always = fault
    with pytest.raises(StoreError, match=r"^http://127\.0\.0\.1:\d+/app/production/manif"):
        store(web).get(MANIFEST)
    assert len(web.seen) == 8


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "answered 401"), (400, "answered 400"), (206, "answered 206"), (304, "answered 304")],
)
def test_a_lasting_refusal_is_not_tried_again(web: Web, status: int, said: str) -> None:
    web.always = answer(status)
    with pytest.raises(StoreError, match=said):
        store(web).get(MANIFEST)
    assert len(web.seen) == 1


def test_nobody_listening_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but does not listen
        port = taken.getsockname()[1]
        with pytest.raises(StoreError, match="no connection: connection refused") as caught:
            HttpStore(f"http://127.0.0.1:{port}", patience=QUICK).get(MANIFEST)
    assert "check the address" in (caught.value.hint or "")


def test_an_unknown_host_is_said() -> None:
    with pytest.raises(StoreError, match="the name of the host is not known"):
        HttpStore("http://nowhere.invalid", patience=QUICK).get(MANIFEST)


# Slow retrieval

SLOW = Patience(silence=5, slowest=100_000, grace=0.1, backoff=0.001)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 5000, id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 50_000, id="body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 9000,
            id="chunks",
        ),
    ],
)
def test_a_trickle_is_given_up_at_once(web: Web, data: bytes) -> None:
    web.always = lambda request: request.drip(data, 0.005)
    with pytest.raises(StoreError, match="less than 100000 bytes a second"):
        store(web, SLOW).get(MANIFEST)
    with pytest.raises(StoreError, match="less than 100000 bytes a second"):
        download(web, SLOW)
    assert len(web.seen) == 2


HEAD = b"HTTP/1.1 200 OK\r\n"
UNENDING = {
    "informal answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n"),
    # A gzip header, then empty blocks that are not the last one.
    "compressed": (
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + b"\x1f\x8b\x08" + bytes(7),
        b"\0\0\0\xff\xff",
    ),
}


def endless(begin: bytes, again: bytes) -> Fault:
    def flood(request: Request) -> None:
        request.close_connection = True
        request.wfile.write(begin)
        while not request.web.closing.is_set():
            request.wfile.write(again * 1000)

    return flood


@pytest.mark.parametrize("kind", UNENDING)
def test_endless_nothing_is_given_up(web: Web, kind: str) -> None:
    web.always = endless(*UNENDING[kind])
    with pytest.raises(StoreError, match="far more than the answer"):
        store(web, QUICK).get(MANIFEST)
    with pytest.raises(StoreError, match="far more than the answer"):
        download(web, QUICK)
    assert len(web.seen) == 2


@pytest.mark.parametrize("kind", ["informal answers", "trailers"])
def test_the_doctor_gives_endless_nothing_up(web: Web, kind: str) -> None:
    web.always = endless(*UNENDING[kind])
    with pytest.raises(StoreError, match="far more than the answer"):
        Asker(web.url).ask("GET", MANIFEST)


def test_a_slow_reader_is_not_held_against_the_server(web: Web) -> None:
    ticks = Patience(silence=5, slowest=10**9, grace=0.5, backoff=0.001)
    with store(web, ticks).open(BLOB) or pytest.fail("absent") as file:
        first = file.read(1000)
        web.closing.wait(0.6)
        assert first + file.read() == BYTES


def test_silence_is_given_up(web: Web) -> None:
    def silent(request: Request) -> None:
        request.web.closing.wait(10)

    web.always = silent
    patience = Patience(silence=0.5, retries=1, backoff=0.001)
    with pytest.raises(StoreError, match=r"nothing came for 0\.5 s"):
        store(web, patience).get(MANIFEST)
    assert len(web.seen) == 2


def test_the_deadline_of_a_document_covers_its_retries(web: Web) -> None:
    web.always = answer(503)
    with pytest.raises(StoreError, match="answered 503"):
        store(web, Patience(document=30, backoff=60, longest_pause=60, retries=1000)).get(MANIFEST)
    assert len(web.seen) == 1
    web.always = None
    with pytest.raises(StoreError, match="not read within 0 s"):
        store(web, Patience(document=0)).get(MANIFEST)


# Redirects


def redirect(location: str, status: int = 302) -> Fault:
    return answer(status, b"", Location=location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_on_the_same_host_are_followed(web: Web, status: int) -> None:
    web.files["elsewhere.json"] = b"found"
    web.faults.extend([redirect("/app/one", status), redirect(f"{web.url}/elsewhere.json")])
    found = store(web).get(MANIFEST)
    assert found
    assert found.data == b"found"


@pytest.mark.parametrize(
    "location",
    [
        "http://other.example/app/production/manifest.json",
        "//other.example/x",
        "http://127.0.0.1:1/app",
        "http://127.0.0.1.nip.example/",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http://user@127.0.0.1/x",
    ],
)
def test_redirects_elsewhere_are_refused(web: Web, location: str) -> None:
    web.always = redirect(location)
    with pytest.raises(StoreError, match="and only the same host is followed"):
        store(web).get(MANIFEST)
    with pytest.raises(StoreError, match="and only the same host is followed"):
        store(web).open(BLOB)
    assert len(web.seen) == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(redirect(f"/app/{MANIFEST}"), "more than 5 redirects", id="loop"),
        pytest.param(answer(302), "redirects to nowhere", id="nowhere"),
        pytest.param(redirect("http://[::1"), "which is no address", id="nonsense"),
        pytest.param(redirect("http://127.0.0.1:99999/"), "which is no address", id="no port"),
    ],
)
def test_redirects_that_lead_nowhere(web: Web, fault: Fault, said: str) -> None:
    web.always = fault
    with pytest.raises(StoreError, match=said):
        store(web).get(MANIFEST)
    assert len(web.seen) <= 6


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """Serve over TLS with a certificate that the environment trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "authority.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with serving(context) as web:
        web.files = {MANIFEST: b"over tls", BLOB: BYTES}
        yield web


def test_https_is_read_and_http_may_lead_to_it(web: Web, secure: Web) -> None:
    web.always = redirect(f"{secure.url}/{MANIFEST}", 301)
    for site in (store(secure), store(web)):
        found = site.get(MANIFEST)
        assert found
        assert found.data == b"over tls"
    secure.faults.append(lambda request: request.reply(200, BYTES, cut_after=1000))
    assert download(secure) == BYTES


def test_https_never_leads_to_http(web: Web, secure: Web) -> None:
    secure.always = redirect(f"{web.url}/{MANIFEST}")
    with pytest.raises(StoreError, match=r"redirects to http://127\.0\.0\.1"):
        store(secure).get(MANIFEST)
    assert web.seen == []


def test_an_unknown_certificate_is_refused(secure: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(StoreError, match="its certificate is not trusted: ") as caught:
        store(secure).get(MANIFEST)
    assert "SSL_CERT_FILE" in (caught.value.hint or "")
    assert secure.seen == []


# Downloads that are cut


def cut(after: int, **headers: str) -> Fault:
    """Serve as always, but hang up after so many bytes of the body."""

    def fault(request: Request) -> None:
        reply = request.reply
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request.reply = lambda status, body, h=None: reply(  # type: ignore[method-assign,assignment,misc]
            status, body, {**(h or {}), **named}, cut_after=after
        )
        request.serve()

    return fault


def ranges(web: Web) -> list[str]:
    return [headers.get("range", "") for _, _, headers in web.seen]


def test_a_download_goes_on_where_it_was_cut(web: Web) -> None:
    web.faults.extend([cut(100_000), cut(50_000)])
    assert download(web) == BYTES
    assert ranges(web) == ["", "bytes=100000-", "bytes=150000-"]
    assert web.seen[1][2]["if-range"].startswith('"')


def test_a_download_cut_before_its_first_byte_starts_again(web: Web) -> None:
    web.faults.append(cut(0))
    assert download(web) == BYTES
    assert ranges(web) == ["", ""]


def test_progress_earns_new_retries_and_none_runs_out(web: Web) -> None:
    web.faults.extend([cut(40_000)] * 7)
    assert download(web, Patience(retries=1, progress=30_000, backoff=0.001)) == BYTES
    web.always = cut(10)
    with pytest.raises(StoreError, match="the connection was cut"):
        download(web, Patience(retries=3, backoff=0.001))
    assert len(web.seen) == 8 + 4


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(lambda r: r.reply(200, BYTES), id="Range ignored"),
        pytest.param(answer(416), id="Range refused"),
        pytest.param(
            answer(206, BYTES[100:], Content_Range="bytes 100-307199/307200"), id="another range"
        ),
        pytest.param(
            answer(206, BYTES[100_000:], Content_Range="bytes 100000-307199/999999"),
            id="of another size",
        ),
        pytest.param(
            answer(206, BYTES[100_000:], Content_Range=f"bytes {'0' * 5000}-1/{'9' * 5000}"),
            id="of endless numbers",
        ),
        pytest.param(answer(206, BYTES[100_000:]), id="no Content-Range"),
        pytest.param(answer(206, BYTES[100_000:], Content_Range="pages 1-2/3"), id="in pages"),
        pytest.param(
            answer(206, b"x", Content_Range="bytes 100000-307199/307200", ETag='"x"'),
            id="of another version",
        ),
        pytest.param(
            answer(206, b"x", Content_Range="bytes 100000-307199/307200", Content_Encoding="gzip"),
            id="of something encoded",
        ),
        pytest.param(answer(503), id="not now"),
        pytest.param(hang_up, id="hangs up"),
    ],
)
def test_what_is_not_provably_the_rest_is_not_taken_for_it(web: Web, second: Fault) -> None:
    web.faults.extend([cut(100_000), second])
    assert download(web) == BYTES
    assert len(web.seen) >= 2


def test_a_part_of_the_rest_is_taken_and_the_rest_of_it_asked_for(web: Web) -> None:
    part = answer(206, BYTES[100_000:200_000], Content_Range="bytes 100000-199999/307200")
    web.faults.extend([cut(100_000), part])
    assert download(web) == BYTES
    assert ranges(web)[-2:] == ["bytes=100000-", "bytes=200000-"]


@pytest.mark.parametrize("tag", ["", 'W/"weak"'], ids=["no ETag", "a weak ETag"])
def test_without_a_strong_etag_it_starts_again_and_compares(web: Web, tag: str) -> None:
    web.etags = False
    headers = {"ETag": tag} if tag else {}
    web.faults.extend([cut(100_000, **headers), cut(50_000, **headers), cut(200_000, **headers)])
    assert download(web) == BYTES
    assert ranges(web) == [""] * 4


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("new", [b"other" * 70_000, b"short"], ids=["as long", "shorter"])
def test_what_changed_in_the_middle_is_refused(web: Web, etags: bool, new: bytes) -> None:
    web.etags = etags

    def change(request: Request) -> None:
        cut(100_000)(request)
        request.web.files[BLOB] = new

    web.faults.append(change)
    with pytest.raises(StoreError, match="changed while it was being downloaded"):
        download(web)


def test_what_vanished_in_the_middle_is_said(web: Web) -> None:
    web.faults.extend([cut(100_000), answer(404), answer(404)])
    with pytest.raises(StoreError, match="vanished while it was being downloaded"):
        download(web)


def test_what_was_opened_can_be_left_half_read(web: Web) -> None:
    site = store(web)
    with site.open(BLOB) or pytest.fail("absent") as file:
        assert file.read(3) == BYTES[:3]
    assert site.get(MANIFEST)


# Addresses, proxies, and writing


@pytest.mark.parametrize(
    "address",
    [
        *("http://", "https:///x", "http://host:99999", "http://host:0/", "http://[::1"),
        *("https://user:secret@host/", "https://host/?token=secret", "https://host/#secret"),
        "ftp://host",
    ],
)
def test_addresses_that_are_none_are_refused_without_their_secrets(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        HttpStore(address)
    assert "secret" not in str(caught.value)


def test_a_proxy_of_the_environment_is_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:word@127.0.0.1:{web.port}")
    web.always = answer(200, b"through the proxy")
    found = HttpStore("http://updates.example/app", patience=QUICK).get(MANIFEST)
    assert found
    assert found.data == b"through the proxy"
    _, path, headers = web.seen[0]
    assert path == f"http://updates.example/app/{MANIFEST}"
    assert headers["proxy-authorization"] == "Basic bWU6d29yZA=="
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    web.always = None
    assert store(web).get(MANIFEST)
    assert web.seen[-1][1] == f"/app/{MANIFEST}"


def test_a_proxy_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1080")
    with pytest.raises(UsageError, match="a socks5 proxy cannot be used") as caught:
        HttpStore("https://host/app")
    assert "NO_PROXY" in (caught.value.hint or "")


def test_nothing_is_written(web: Web) -> None:
    site = store(web)
    writes: list[Callable[[], object]] = [
        site.scratch,
        site.names,
        lambda: site.add(BLOB, b""),
        lambda: site.create(MANIFEST, b""),
        lambda: site.replace(MANIFEST, b"", tag=None),
        lambda: site.delete(MANIFEST),
    ]
    for write in writes:
        with pytest.raises(StoreError) as caught:
            write()
        assert "behind it" in (caught.value.hint or "")
    assert site.folders() == []
    assert web.seen == []
