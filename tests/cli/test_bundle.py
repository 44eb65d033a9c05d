"""`bundle zip`, `encrypt` and `decrypt`: what they print, and what they refuse.

How they get on with Capgo's own command line is in tests/test_capgo_interop.py.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from manifestgen.capacitor import lines_to_paste
from manifestgen.cli import main
from manifestgen.core import capgo
from manifestgen.core.archive import tree_of

SAMPLE = Path(__file__).parents[2] / "sample_site/v1"
APP = "com.example.app"
ZIP = f"{APP}_1.0.0.zip"
ENCRYPTED = f"{ZIP}_encrypted.zip"
DECRYPTED = f"{ENCRYPTED}_decrypted.zip"

Run: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Stand in the folder of an app that has keys; run commands there."""
    monkeypatch.chdir(tmp_path)
    Path("manifestgen.toml").write_text(f'app = "{APP}"\n')

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    assert run("keys", "create")[0] == 0
    return run


def said(run: Run, *arguments: str | Path) -> dict[str, Any]:
    code, out, err = run(*arguments, "--json")
    assert code == 0, (out, err)
    result: dict[str, Any] = json.loads(out)
    return result


@pytest.fixture
def zipped(run: Run) -> dict[str, Any]:
    return said(run, "bundle", "zip", SAMPLE)


@pytest.fixture
def encrypted(run: Run, zipped: dict[str, Any]) -> dict[str, Any]:
    return said(run, "bundle", "encrypt", zipped["filename"], zipped["checksum"])


def other_key(run: Run) -> Path:
    """Make a Capgo key that is not the project's."""
    assert run("keys", "create", "--only", "capgo", "--out-dir", "other")[0] == 0
    return Path("other/capgo.pem")


# --- zip ----------------------------------------------------------------------------------------


def test_zip_prints_what_capgos_cli_does(zipped: dict[str, Any]) -> None:
    data = Path(ZIP).read_bytes()
    assert list(zipped.items()) == [
        ("bundle", "1.0.0"),
        ("filename", ZIP),
        ("checksum", hashlib.sha256(data).hexdigest()),
    ]
    with Path(ZIP).open("rb") as file:
        assert "index.html" in {entry.path for entry in tree_of(file).files}


def test_zip_makes_the_same_bytes_whenever_and_under_whatever_name(
    run: Run, zipped: dict[str, Any], tmp_path: Path
) -> None:
    copy = tmp_path / "build"
    for path in SAMPLE.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(SAMPLE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            os.utime(target, (0, 0))
    again = said(run, "bundle", "zip", copy, "--name", "other", "--version", "2.0.0")
    assert again == {"bundle": "2.0.0", "filename": "other", "checksum": zipped["checksum"]}
    assert Path("other").read_bytes() == Path(ZIP).read_bytes()


def test_zip_takes_the_command_lines_of_capgos_cli(run: Run) -> None:
    made = said(run, "bundle", "zip", "com.example.other", "-p", SAMPLE, "-b", "1.2.3")
    assert made["filename"] == "com.example.other_1.2.3.zip"
    assert said(run, "bundle", "zip", "--path", SAMPLE, "-n", "x.zip")["filename"] == "x.zip"


def test_zip_takes_the_apps_web_dir_where_no_build_is_named(run: Run) -> None:
    config = json.dumps({"appId": "ignored.for.toml", "webDir": os.path.relpath(SAMPLE)})
    Path("capacitor.config.json").write_text(config)
    assert said(run, "bundle", "zip")["filename"] == ZIP


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        pytest.param([], "zip what?", id="no build"),
        pytest.param(["nowhere"], "nowhere", id="no such build"),
        pytest.param([SAMPLE, "--version", "1.2"], "1.2", id="half a version"),
        pytest.param([SAMPLE, "--name", "nowhere/x.zip"], "there is no folder", id="no folder"),
        pytest.param(["../x", "--path", SAMPLE], "is no app id", id="a path as app id"),
    ],
)
def test_zip_says_what_is_wrong(run: Run, arguments: list[str | Path], why: str) -> None:
    code, out, err = run("bundle", "zip", *arguments)
    assert (code, out) == (2, "")
    assert why in err
    assert not list(Path.cwd().glob("*.zip"))


def test_zip_never_lands_in_the_build_it_packs(run: Run, tmp_path: Path) -> None:
    build = tmp_path / "www"
    build.mkdir()
    (build / "index.html").write_text("x")
    code, _, err = run("bundle", "zip", build, "--version", "1.0.0", "--name", build / "x.zip")
    assert code == 2
    assert "inside the build" in err
    assert [path.name for path in build.iterdir()] == ["index.html"]


def test_a_zip_that_fails_leaves_the_older_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    Path("kept.zip").write_text("old")
    assert run("bundle", "zip", "www", "--version", "1.0.0", "--name", "kept.zip")[0] == 2
    assert Path("kept.zip").read_text() == "old"
    assert not list(Path.cwd().glob(".*.tmp"))


# --- encrypt ------------------------------------------------------------------------------------


def test_encrypt_prints_what_capgos_cli_does(
    zipped: dict[str, Any], encrypted: dict[str, Any]
) -> None:
    assert list(encrypted) == ["checksum", "filename", "ivSessionKey"]
    assert encrypted["filename"] == ENCRYPTED
    public = capgo.load_public(Path(".manifestgen/capgo.pub.pem").read_bytes())
    value, form = capgo.parse_checksum(encrypted["checksum"])
    assert form == "v3"
    assert capgo.recover(public, value).hex() == zipped["checksum"]
    size = Path(ZIP).stat().st_size
    assert Path(ENCRYPTED).stat().st_size == (size // 16 + 1) * 16


def test_no_two_encryptions_share_a_key(run: Run, zipped: dict[str, Any]) -> None:
    one, two = (said(run, "bundle", "encrypt", ZIP, zipped["checksum"]) for _ in range(2))
    assert one["ivSessionKey"] != two["ivSessionKey"]
    assert one["checksum"] == two["checksum"]


def test_encrypt_refuses_a_checksum_that_is_not_the_zips(
    run: Run, encrypted: dict[str, Any]
) -> None:
    before = Path(ENCRYPTED).read_bytes()
    for wrong in ("0" * 64, hashlib.sha256(b"").hexdigest()):
        code, _, err = run("bundle", "encrypt", ZIP, wrong)
        assert code == 3
        assert f"not {wrong}" in err
    assert Path(ENCRYPTED).read_bytes() == before
    assert not list(Path.cwd().glob(".*.tmp"))


@pytest.mark.parametrize("text", ["", "d87f7e0c", "z" * 64, "a" * 63, "a" * 512])
def test_encrypt_refuses_what_is_no_sha256(run: Run, zipped: dict[str, Any], text: str) -> None:
    code, _, err = run("bundle", "encrypt", ZIP, text)
    assert code == 2
    assert "64 hex digits" in err


def test_encrypt_takes_a_checksum_in_capitals(run: Run, zipped: dict[str, Any]) -> None:
    assert run("bundle", "encrypt", ZIP, zipped["checksum"].upper())[0] == 0


def test_encrypt_refuses_a_key_that_is_not_the_projects(run: Run, zipped: dict[str, Any]) -> None:
    code, _, err = run("bundle", "encrypt", ZIP, zipped["checksum"], "--key", other_key(run))
    assert code == 4
    assert "capgo.pub.pem" in err
    assert not Path(ENCRYPTED).exists()


@pytest.mark.parametrize("name", ["capacitor.config.json", "capacitor.config.ts"])
def test_encrypt_refuses_a_key_that_the_apps_configuration_does_not_have(
    run: Run, zipped: dict[str, Any], name: str
) -> None:
    other_key(run)
    pem = Path("other/capgo.pub.pem").read_text()
    config = json.dumps({"plugins": {"CapacitorUpdater": {"publicKey": pem}}})
    if name.endswith(".ts"):
        config = f"export default {{\n{lines_to_paste(pem)}\n}}"
    Path(name).write_text(config)
    code, _, err = run("bundle", "encrypt", ZIP, zipped["checksum"])
    assert code == 4
    assert name in err
    assert not Path(ENCRYPTED).exists()


@pytest.mark.parametrize("pem", ["MIIB", "-----BEGIN RSA PUBLIC KEY-----\n????\n", "{spki}"])
def test_a_configured_key_that_no_device_can_read_is_found(
    run: Run, zipped: dict[str, Any], pem: str
) -> None:
    key = rsa.RSAPublicNumbers(65537, 2**4095 + 1).public_key()  # RSA-4096, at no cost
    encoding = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = pem.format(spki=key.public_bytes(serialization.Encoding.PEM, encoding).decode())
    config = json.dumps({"plugins": {"CapacitorUpdater": {"publicKey": pem}}})
    Path("capacitor.config.json").write_text(config)
    code, _, err = run("bundle", "encrypt", ZIP, zipped["checksum"])
    assert code == 4
    assert "capacitor.config.json" in err
    Path("capacitor.config.json").unlink()
    Path("capacitor.config.ts").write_text(config)  # a program: what is no key is not one
    assert run("bundle", "encrypt", ZIP, zipped["checksum"])[0] == 0


def test_encrypt_takes_a_key_from_a_file_or_a_variable(
    run: Run, zipped: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Path(".manifestgen/keys/capgo.pem")
    monkeypatch.setenv("CAPGO_KEY", key.read_text().replace("\n", "\\n"))
    for place in (key, f"file:{key}", key.absolute(), "env:CAPGO_KEY"):
        assert run("bundle", "encrypt", ZIP, zipped["checksum"], "--key", place)[0] == 0


@pytest.mark.parametrize("option", ["--key", "--key-data"])
def test_a_key_on_the_command_line_is_refused_and_not_repeated(
    run: Run, zipped: dict[str, Any], option: str
) -> None:
    pem = Path(".manifestgen/keys/capgo.pem").read_text()
    for spelled in (pem, pem.replace("\n", "\\n"), pem.splitlines()[-2] * 9):
        code, out, err = run("bundle", "encrypt", ZIP, zipped["checksum"], f"{option}={spelled}")
        assert code == 2
        assert "env:CAPGO_KEY" in err
        assert pem.splitlines()[-2] not in out + err


def test_a_missing_key_is_exit_4(run: Run, zipped: dict[str, Any]) -> None:
    assert run("bundle", "encrypt", ZIP, zipped["checksum"], "--key", "nowhere")[0] == 4


def test_a_missing_zip_is_a_usage_error(run: Run) -> None:
    code, _, err = run("bundle", "encrypt", "nowhere.zip", "0" * 64)
    assert code == 2
    assert "nowhere.zip" in err


# --- decrypt ------------------------------------------------------------------------------------


def test_decrypt_gives_the_zip_back(run: Run, encrypted: dict[str, Any]) -> None:
    code, out, _ = run(
        *("bundle", "decrypt", ENCRYPTED, encrypted["ivSessionKey"]),
        *("--checksum", encrypted["checksum"]),
    )
    assert code == 0
    assert "checksum matches" in out
    assert Path(DECRYPTED).read_bytes() == Path(ZIP).read_bytes()


def test_decrypt_says_when_nothing_was_checked(run: Run, encrypted: dict[str, Any]) -> None:
    code, out, _ = run("bundle", "decrypt", ENCRYPTED, encrypted["ivSessionKey"])
    assert code == 0
    assert "checksum not checked" in out
    assert said(run, "bundle", "decrypt", ENCRYPTED, encrypted["ivSessionKey"])["checked"] is False


def test_decrypt_needs_no_private_key(run: Run, encrypted: dict[str, Any]) -> None:
    Path(".manifestgen/keys/capgo.pem").unlink()
    arguments = ["bundle", "decrypt", ENCRYPTED, encrypted["ivSessionKey"]]
    assert run(*arguments)[0] == 0
    public = Path(".manifestgen/capgo.pub.pem").read_text()
    Path(".manifestgen/capgo.pub.pem").unlink()
    code, _, err = run(*arguments)
    assert code == 4
    assert "--key" in err
    config = json.dumps({"plugins": {"CapacitorUpdater": {"publicKey": public}}})
    Path("capacitor.config.json").write_text(config)
    assert run(*arguments)[0] == 0


def _flip(at: int) -> Callable[[bytes], bytes]:
    def flipped(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[at] ^= 1
        return bytes(changed)

    return flipped


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_flip(0), id="first bit"),
        pytest.param(_flip(-20), id="near the end"),
        pytest.param(lambda data: data[:-1], id="cut by a byte"),
        pytest.param(lambda data: data[:-16], id="cut by a block"),
        pytest.param(lambda data: data + bytes(16), id="a block more"),
        pytest.param(lambda data: b"", id="empty"),
    ],
)
def test_decrypt_never_shows_what_is_not_what_was_encrypted(
    run: Run, encrypted: dict[str, Any], damage: Callable[[bytes], bytes]
) -> None:
    Path(ENCRYPTED).write_bytes(damage(Path(ENCRYPTED).read_bytes()))
    code, _, err = run(
        *("bundle", "decrypt", ENCRYPTED, encrypted["ivSessionKey"]),
        *("--checksum", encrypted["checksum"]),
    )
    assert code == 3
    assert "hint: " in err
    assert not Path(DECRYPTED).exists()
    assert not list(Path.cwd().glob(".*.tmp"))


@pytest.mark.parametrize(
    ("session", "checksum"),
    [
        pytest.param("", None, id="no session key"),
        pytest.param("AAAA:AAAA", None, id="a short one"),
        pytest.param(None, "a" * 64, id="a plain checksum"),
        pytest.param(None, "0" * 512, id="another checksum"),
    ],
)
def test_decrypt_refuses_odd_texts(
    run: Run, encrypted: dict[str, Any], session: str | None, checksum: str | None
) -> None:
    session = encrypted["ivSessionKey"] if session is None else session
    checksum = encrypted["checksum"] if checksum is None else checksum
    assert run("bundle", "decrypt", ENCRYPTED, session, "--checksum", checksum)[0] == 3
    assert not Path(DECRYPTED).exists()


def test_decrypt_refuses_another_public_key(run: Run, encrypted: dict[str, Any]) -> None:
    other_key(run)
    arguments = ["bundle", "decrypt", ENCRYPTED, encrypted["ivSessionKey"], "--key"]
    assert run(*arguments, "other/capgo.pub.pem")[0] == 3
    assert run(*arguments, "other/capgo.pem")[0] == 4
    assert not Path(DECRYPTED).exists()


# --- as a program -------------------------------------------------------------------------------


def test_as_a_program_json_is_alone_on_stdout(run: Run) -> None:
    program = [sys.executable, "-c", "import manifestgen.cli as c; raise SystemExit(c.main())"]
    done = subprocess.run(
        [*program, "bundle", "zip", SAMPLE, "--json"], capture_output=True, text=True, check=True
    )
    assert (list(json.loads(done.stdout)), done.stderr) == (["bundle", "filename", "checksum"], "")
    done = subprocess.run(
        [*program, "bundle", "encrypt", ZIP, "0" * 64, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert json.loads(done.stdout)["code"] == "digest"
    assert done.stderr == ""
