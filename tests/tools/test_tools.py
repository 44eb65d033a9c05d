"""The helpers do what they promise, with the real programs."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.tools import builds, cache, environment, node, parts, softhsm
from tests.tools.capgo import CapgoCli, CapgoError
from tests.tools.nginx import StartNginx
from tests.tools.process import run


def test_cache_never_shows_a_folder_half_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANIFESTGEN_TEST_CACHE", str(tmp_path))
    path = cache.folder("things") / "thing"

    def break_off(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("the network went away")

    with pytest.raises(OSError, match="went away"):
        cache.once(path, break_off)
    assert list(path.parent.iterdir()) == []
    cache.once(path, lambda folder: (folder / "whole").touch())
    cache.once(path, break_off)
    assert [file.name for file in path.iterdir()] == ["whole"]


def test_a_part_that_the_set_up_missed_is_not_sought_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in parts.environment({"swagger 5.34.0": "no network"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(parts.Missing, match=r"swagger 5\.34\.0: no network"):
        builds.build("swagger", "5.34.0")


def test_what_is_missing_is_a_skip_with_the_reason() -> None:
    name = "test_a_build_holds_a_web_app[swagger-5.34.0]"
    missing = parts.environment({"swagger 5.34.0": "no network"})
    assert "swagger 5.34.0: no network" in _pytest(f"{__file__}::{name}", env=missing)


def test_full_tests_are_left_out_unless_asked_for() -> None:
    everyday = _pytest(__file__, "--collect-only", "--quiet")
    assert "swagger-5.34.0" in everyday
    assert "n8n-2.39.4" not in everyday
    assert "n8n-2.39.4" in _pytest(__file__, "--collect-only", "--quiet", "--full")


def test_nginx_serves_a_folder(tmp_path: Path, start_nginx: StartNginx) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    server = start_nginx(tmp_path)
    with urllib.request.urlopen(f"{server.url}/manifest.json", timeout=10) as answer:
        assert answer.read() == b"{}"
        assert answer.headers["Content-Type"] == "application/json"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.url}/absent", timeout=10)
    with caught.value as error:
        assert error.code == 404


def test_nginx_takes_a_configuration_as_it_is_but_for_root_and_port(
    tmp_path: Path, start_nginx: StartNginx
) -> None:
    (tmp_path / "a.json").write_text("{}")
    server = start_nginx(
        tmp_path,
        """
        map $uri $cache { default "no-cache"; ~^/blobs/ "immutable"; }
        server {
            listen 80 default_server;
            listen [::]:80;
            root /srv/site; # the root of the site;
            location ^~ /root/ { return 204; }
            location / { add_header Cache-Control $cache always; }
        }
        """,
    )
    with urllib.request.urlopen(f"{server.url}/a.json", timeout=10) as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
    with urllib.request.urlopen(f"{server.url}/root/", timeout=10) as answer:
        assert answer.status == 204


def test_nginx_says_what_is_wrong_with_a_configuration(
    tmp_path: Path, start_nginx: StartNginx
) -> None:
    with pytest.raises(RuntimeError, match='unknown directive "lisp"'):
        start_nginx(tmp_path, "server { listen 80; lisp on; }")


def test_capgo_zips_encrypts_and_decrypts(tmp_path: Path, capgo: CapgoCli) -> None:
    build = tmp_path / "dist"
    build.mkdir()
    (build / "index.html").write_text("<script src=app.js></script>")
    (build / "app.js").write_text("CapacitorUpdater.notifyAppReady()")
    keys = capgo.key_create()
    assert keys.public.read_text() == capgo.config()["plugins"]["CapacitorUpdater"]["publicKey"]

    zipped = capgo.zip(build, "1.2.3")
    encrypted = capgo.encrypt(zipped.path, zipped.checksum, keys.private)
    assert encrypted.path.read_bytes() != zipped.path.read_bytes()
    opened = capgo.decrypt(
        encrypted.path, encrypted.iv_session_key, keys.public, encrypted.checksum
    )
    assert opened.read_bytes() == zipped.path.read_bytes()

    other = capgo.encrypt(zipped.path, "00" * 32, keys.private)
    with pytest.raises(CapgoError, match="Checksum does not match"):
        capgo.decrypt(other.path, other.iv_session_key, keys.public, other.checksum)


def test_capgo_decrypts_with_the_key_it_is_given(tmp_path: Path, capgo: CapgoCli) -> None:
    (tmp_path / "some.zip").write_bytes(b"anything will do")
    first = capgo.key_create()
    mine = tmp_path / "first.pem"
    mine.write_bytes(first.private.read_bytes())
    encrypted = capgo.encrypt(tmp_path / "some.zip", "00" * 32, mine)
    first.private.unlink()
    first.public.unlink()
    second = capgo.key_create()
    with pytest.raises(CapgoError, match="with the configured public key"):
        capgo.decrypt(encrypted.path, encrypted.iv_session_key, second.public, encrypted.checksum)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        pytest.param(name, version, id=f"{name}-{version}", marks=[pytest.mark.full] * source.heavy)
        for name, source in builds.SOURCES.items()
        for version in source.versions
    ],
)
def test_a_build_holds_a_web_app(name: str, version: str) -> None:
    folder = builds.build(name, version)
    assert (folder / "index.html").is_file()
    files = [path for path in folder.rglob("*") if path.is_file()]
    suffixes = {path.suffix for path in files}
    assert ".js" in suffixes
    assert not suffixes & {".map", ".gz", ".br"}


def test_node_runs_a_script_and_its_own_tests(tmp_path: Path) -> None:
    assert node.start("-p", "1 + 1").stdout == "2\n"
    passing = tmp_path / "passing.test.mjs"
    passing.write_text('import { test } from "node:test"; test("fine", () => {});')
    node.run_tests(passing)
    failing = tmp_path / "failing.test.mjs"
    failing.write_text('import { test } from "node:test"; test("bad", () => { throw 1; });')
    with pytest.raises(AssertionError, match="bad"):
        node.run_tests(failing)


def test_a_browser_runs_scripts_of_a_served_page(
    tmp_path: Path, start_nginx: StartNginx, page: Page
) -> None:
    (tmp_path / "index.html").write_text('<p></p><script type="module" src="app.js"></script>')
    (tmp_path / "app.js").write_text('document.querySelector("p").textContent = "it runs";')
    page.goto(start_nginx(tmp_path).url)
    page.get_by_text("it runs").wait_for()


def test_softhsm_has_a_token(softhsm_token: softhsm.Token) -> None:
    pkcs11 = pytest.importorskip("pkcs11")
    token = pkcs11.lib(str(softhsm_token.module)).get_token(token_label=softhsm_token.label)
    with token.open(user_pin=softhsm_token.pin) as session:
        assert session.generate_random(64)


def _pytest(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return run(command, cwd=environment.ROOT, env={**os.environ, **(env or {})}).stdout
