"""Keys in every form in which people and CI systems deliver them."""

import base64
import io
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from manifestgen.cli.report import Session
from manifestgen.config import load
from manifestgen.core import capgo
from manifestgen.core.capgo import check_wrapped, recover
from manifestgen.core.cipher import ContentKey
from manifestgen.core.keys import Algorithm, PublicKey
from manifestgen.core.tree import sha256
from manifestgen.errors import Error, KeyUseError, UsageError
from manifestgen.signers import (
    load_capgo_public,
    load_content_secret,
    load_signer,
    load_wrapper,
)
from manifestgen.signers.interface import TokenName

_Private: TypeAlias = (
    ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
)
PASSPHRASE = b"correct horse"
_FORM = serialization.PrivateFormat


@cache
def private(name: str) -> _Private:
    match name:
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "ed448":
            return ed448.Ed448PrivateKey.generate()
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case _:
            return rsa.generate_private_key(65537, int(name.removeprefix("rsa")))


def pem(name: str, form: _FORM = _FORM.PKCS8, passphrase: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return private(name).private_bytes(serialization.Encoding.PEM, form, encryption)


def spki(name: str) -> bytes:
    return (
        private(name)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def nobody(_: str) -> bytes | None:
    return None


def secret_file(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    path.chmod(0o600)
    return f"file:{path.name}"


def from_file(material: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return secret_file(folder / "key", material)


def from_environment(material: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("A_KEY", material.decode())
    return "env:A_KEY"


def from_stdin(material: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(material)))
    return "stdin"


_Place: TypeAlias = Callable[[bytes, Path, pytest.MonkeyPatch], str]
_Spelling: TypeAlias = Callable[[bytes], bytes]

PLACES = [
    pytest.param(from_file, id="file"),
    pytest.param(from_environment, id="environment"),
    pytest.param(from_stdin, id="stdin"),
]
SPELLINGS = [
    pytest.param(lambda it: it, id="as it is"),
    pytest.param(lambda it: b"\n  " + it.rstrip(), id="space around"),
    pytest.param(lambda it: it.replace(b"\n", b"\r\n"), id="crlf"),
    pytest.param(lambda it: it.replace(b"\n", b"\\n"), id="newlines escaped"),
    pytest.param(lambda it: it.replace(b"\n", b"\\r\\n"), id="crlf escaped"),
    pytest.param(lambda it: b'"' + it.replace(b"\n", b"\\n") + b'"', id="escaped and quoted"),
    pytest.param(lambda it: b"\xef\xbb\xbf" + it, id="byte order mark"),
    pytest.param(base64.b64encode, id="base64"),
    pytest.param(base64.encodebytes, id="base64 in lines"),
    pytest.param(lambda it: base64.b64encode(it.replace(b"\n", b"\r\n")), id="base64 of crlf"),
    pytest.param(lambda it: base64.b64encode(it.replace(b"\n", b"\\n")), id="base64 of escaped"),
]


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["open", "passphrase"])
@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("place", PLACES)
def test_a_signing_key_is_read_wherever_and_however_it_is_delivered(
    place: _Place,
    spell: _Spelling,
    passphrase: bytes | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = place(spell(pem("ed25519", passphrase=passphrase)), tmp_path, monkeypatch)
    signer = load_signer(uri, folder=tmp_path, ask=lambda _: passphrase)
    assert signer.public == PublicKey(Algorithm.ED25519, spki("ed25519"))
    assert signer.public.verifies(signer.sign(b"message"), b"message")
    assert not signer.public.verifies(signer.sign(b"message"), b"another")


@pytest.mark.parametrize(
    ("form", "passphrase"),
    [
        pytest.param(_FORM.PKCS8, None, id="PKCS#8"),
        pytest.param(_FORM.PKCS8, PASSPHRASE, id="PKCS#8 with a passphrase"),
        pytest.param(_FORM.TraditionalOpenSSL, None, id="PKCS#1, as Capgo's CLI writes it"),
        pytest.param(_FORM.TraditionalOpenSSL, PASSPHRASE, id="PKCS#1 with a passphrase"),
    ],
)
@pytest.mark.parametrize("spell", SPELLINGS)
def test_a_capgo_key_is_read_in_every_form(
    form: _FORM, passphrase: bytes | None, spell: _Spelling, tmp_path: Path
) -> None:
    uri = secret_file(tmp_path / "key", spell(pem("rsa2048", form, passphrase)))
    wrapper = load_wrapper(uri, folder=tmp_path, ask=lambda _: passphrase)
    key, plain = ContentKey(bytes(range(16)), bytes(16)), sha256(b"a zip")
    wrapped = capgo.wrap(wrapper, key, plain)
    check_wrapped(wrapper.public, wrapped, plain)
    assert recover(wrapper.public, wrapped.session_key) == key.key


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize(
    "form", [serialization.PublicFormat.PKCS1, serialization.PublicFormat.SubjectPublicKeyInfo]
)
def test_a_public_capgo_key_is_read_in_both_forms_and_may_be_open_to_all(
    form: serialization.PublicFormat, spell: _Spelling, tmp_path: Path
) -> None:
    key = private("rsa2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    (tmp_path / "key.pub").write_bytes(spell(public))
    (tmp_path / "key.pub").chmod(0o644)
    found = load_capgo_public("file:key.pub", folder=tmp_path)
    assert found.public_numbers() == key.public_key().public_numbers()
    # Whatever came in, what apps are given is PKCS#1: the other form crashes Android's plugin.
    assert capgo.public_pem(found).startswith("-----BEGIN RSA PUBLIC KEY-----\n")


def test_p256_signatures_are_64_raw_bytes(tmp_path: Path) -> None:
    for form in (_FORM.PKCS8, _FORM.TraditionalOpenSSL):
        uri = secret_file(tmp_path / "key", pem("p256", form))
        signer = load_signer(uri, folder=tmp_path, ask=nobody)
        assert signer.public == PublicKey(Algorithm.P256, spki("p256"))
        made = signer.sign(b"message")
        assert len(made) == 64
        assert signer.public.verifies(made, b"message")


@pytest.mark.parametrize("name", ["rsa2048", "p384", "ed448"])
def test_no_other_algorithm_signs(name: str, tmp_path: Path) -> None:
    uri = secret_file(tmp_path / "key", pem(name))
    with pytest.raises(KeyUseError, match=r"Ed25519 (or|nor) P-256"):
        load_signer(uri, folder=tmp_path, ask=nobody)


@pytest.mark.parametrize("name", ["rsa4096", "rsa1024", "ed25519", "p256"])
def test_a_capgo_key_is_rsa_2048_alone(name: str, tmp_path: Path) -> None:
    uri = secret_file(tmp_path / "key", pem(name))
    with pytest.raises(KeyUseError, match="no RSA-2048 key"):
        load_wrapper(uri, folder=tmp_path, ask=nobody)


@pytest.mark.parametrize("form", [_FORM.PKCS8, _FORM.TraditionalOpenSSL])
def test_a_passphrase_is_needed_and_must_be_the_one(form: _FORM, tmp_path: Path) -> None:
    uri = secret_file(tmp_path / "key", pem("rsa2048", form, PASSPHRASE))
    with pytest.raises(KeyUseError, match="needs a passphrase") as missing:
        load_wrapper(uri, folder=tmp_path, ask=nobody)
    assert "MANIFESTGEN_PASSPHRASE" in (missing.value.hint or "")
    with pytest.raises(KeyUseError, match="needs a passphrase"):  # somebody pressed Enter
        load_wrapper(uri, folder=tmp_path, ask=lambda _: b"")
    with pytest.raises(KeyUseError, match="does not open") as wrong:
        load_wrapper(uri, folder=tmp_path, ask=lambda _: b"wrong horse")
    assert "horse" not in str(wrong.value)


def test_a_key_without_a_passphrase_asks_for_none(tmp_path: Path) -> None:
    uri = secret_file(tmp_path / "key", pem("ed25519"))

    def ask(name: str) -> bytes:
        raise AssertionError(name)

    load_signer(uri, folder=tmp_path, ask=ask)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666])
def test_a_private_key_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    uri = secret_file(tmp_path / "key", pem("ed25519"))
    (tmp_path / "key").chmod(mode)
    with pytest.raises(KeyUseError, match="can be read by others") as refused:
        load_signer(uri, folder=tmp_path, ask=nobody)
    assert refused.value.hint == f"run `chmod 600 {tmp_path / 'key'}`"


def test_where_chmod_does_nothing_the_hint_says_what_does(tmp_path: Path) -> None:
    uri = secret_file(tmp_path / "key", pem("ed25519"))
    (tmp_path / "key").chmod(0o755)  # what every file on a stick looks like
    with pytest.raises(KeyUseError, match="can be read by others") as refused:
        load_signer(uri, folder=tmp_path, ask=nobody)
    assert "umask=077" in (refused.value.hint or "")


def test_a_key_may_be_a_link_to_one(tmp_path: Path) -> None:
    secret_file(tmp_path / "real", pem("ed25519"))
    (tmp_path / "link").symlink_to("real")
    load_signer("file:link", folder=tmp_path, ask=nobody)
    (tmp_path / "real").chmod(0o644)
    with pytest.raises(KeyUseError, match="link can be read by others"):
        load_signer("file:link", folder=tmp_path, ask=nobody)
    (tmp_path / "real").unlink()
    with pytest.raises(KeyUseError, match="there is no key at"):
        load_signer("file:link", folder=tmp_path, ask=nobody)


@pytest.mark.parametrize("name", ["a key", TokenName("a token")], ids=["passphrase", "PIN"])
def test_what_guards_a_key_is_read_by_the_rule_of_keys(name: str, tmp_path: Path) -> None:
    path = tmp_path / "guard"
    variable = f"MANIFESTGEN_{'PIN' if isinstance(name, TokenName) else 'PASSPHRASE'}_FILE"
    session = Session(environ={variable: str(path)})
    with pytest.raises(KeyUseError, match=f"at {path}") as refused:
        session.ask(name)
    assert refused.value.hint == f"correct {variable}"
    path.write_text("secret\n")
    for mode in (0o640, 0o604, 0o644):
        path.chmod(mode)
        with pytest.raises(KeyUseError, match="can be read by others") as refused:
            session.ask(name)
        assert refused.value.hint == f"run `chmod 600 {path}`"
    path.chmod(0o600)
    assert session.ask(name) == b"secret"


@pytest.mark.parametrize("uri", ["file:nowhere.pem", "env:NO_SUCH_VARIABLE", "env:EMPTY"])
def test_a_missing_key_is_named_by_its_place(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(KeyUseError, match=uri.partition(":")[2]):
        load_signer(uri, folder=tmp_path, ask=nobody)


@pytest.mark.parametrize(
    "material",
    [
        pytest.param(b"c2VjcmV0" * 20, id="base64 of something else"),
        pytest.param(b"very-secret-text", id="no base64"),
        pytest.param(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n", id="no end"),
        pytest.param(
            b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----", id="no key in it"
        ),
        pytest.param(b"\xff\xfe\x00secret", id="bytes"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_malformed_keys_are_refused_and_never_repeated(material: bytes, tmp_path: Path) -> None:
    uri = secret_file(tmp_path / "key", material)
    for load_one in (load_signer, load_wrapper):
        with pytest.raises(KeyUseError, match="holds no private key") as refused:
            load_one(uri, folder=tmp_path, ask=nobody)
        said = f"{refused.value!r} {refused.value} {refused.value.hint}"
        assert "secret" not in said
        assert "c2VjcmV0" not in said


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    signer = load_signer(secret_file(tmp_path / "a", pem("ed25519")), folder=tmp_path, ask=nobody)
    wrapper = load_wrapper(secret_file(tmp_path / "b", pem("rsa2048")), folder=tmp_path, ask=nobody)
    for thing in (signer, wrapper):
        assert "private" not in repr(thing).lower()
    assert repr(ContentKey(b"k" * 16, b"i" * 16)) == "ContentKey()"


def test_a_content_secret_is_64_hex_digits_and_never_repeated(tmp_path: Path) -> None:
    uri = secret_file(tmp_path / "key", b"ab" * 32 + b"\n")
    assert load_content_secret(uri, folder=tmp_path) == b"\xab" * 32
    uri = secret_file(tmp_path / "key", b"abc123" * 10)
    with pytest.raises(KeyUseError, match="no content secret") as refused:
        load_content_secret(uri, folder=tmp_path)
    assert "abc123" not in str(refused.value)


@pytest.mark.parametrize(
    "pasted",
    [
        pytest.param(lambda it: it.decode(), id="PEM"),
        pytest.param(lambda it: base64.b64encode(it).decode(), id="base64"),
        pytest.param(lambda it: it.decode().replace("\n", "\\n"), id="escaped"),
    ],
)
@pytest.mark.parametrize("name", ["root", "capgo", "content"])
def test_a_key_pasted_where_its_place_belongs_is_not_repeated(
    name: str, pasted: Callable[[bytes], str], tmp_path: Path
) -> None:
    key = pasted(pem("ed25519"))
    body = pem("ed25519").splitlines()[1].decode()[20:]  # the algorithm comes first
    config = tmp_path / "manifestgen.toml"
    config.write_text(f"[keys]\n{name} = '''{key}'''\n")
    with pytest.raises(UsageError, match="want file:PATH") as refused:
        load(config, {})
    _assert_silent(refused.value, key, body)
    with pytest.raises(UsageError, match="no place for a key") as refused:
        load_signer(key, folder=tmp_path, ask=nobody)
    _assert_silent(refused.value, key, body)


def _assert_silent(error: Error, *secrets: str) -> None:
    said = f"{error!r} {error} {error.hint}"
    assert "PRIVATE" not in said
    for secret in secrets:
        assert secret[:16] not in said
