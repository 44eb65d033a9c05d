"""Keys in a token, with SoftHSM: sign, wrap, be made, and be refused without harm."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from manifestgen.core import capgo
from manifestgen.core.cipher import ContentKey
from manifestgen.core.keys import Algorithm
from manifestgen.core.release import V2, V3
from manifestgen.core.tree import sha256
from manifestgen.errors import KeyUseError, UsageError
from manifestgen.signers import load_signer, load_wrapper
from manifestgen.signers.hsm import check_tries, create_in_token, forget_tokens
from manifestgen.signers.pkcs11_uri import KeyUri
from tests.publish.project import Project, changes, ended, fresh, process, snapshot
from tests.tools import softhsm
from tests.tools.softhsm import Token

__all__ = ["fresh"]

pkcs11 = pytest.importorskip("pkcs11")

Make: TypeAlias = Callable[[str, Algorithm | None], str]
_KINDS = pytest.mark.parametrize("algorithm", Algorithm)


def right(_: str) -> bytes:
    return b"1234"


def nobody(_: str) -> bytes | None:
    return None


@pytest.fixture
def token(softhsm_token: Token) -> Iterator[Token]:
    """Give the token to one test, which leaves no key in it and no session open."""
    forget_tokens()
    yield softhsm_token
    forget_tokens()
    found = pkcs11.lib(str(softhsm_token.module)).get_token(token_label=softhsm_token.label)
    with found.open(rw=True, user_pin=softhsm_token.pin) as session:
        for one in list(session.get_objects()):
            one.destroy()


def uri_of(token: Token, label: str, more: str = "") -> str:
    return f"pkcs11:token={token.label};object={label}?module-path={token.module}{more}"


@pytest.fixture
def make(token: Token, tmp_path: Path) -> Make:
    def made(label: str, algorithm: Algorithm | None) -> str:
        return create_in_token(uri_of(token, label), tmp_path, right, algorithm)

    return made


@_KINDS
def test_a_key_in_a_token_signs(algorithm: Algorithm, make: Make, tmp_path: Path) -> None:
    uri = make("k", algorithm)
    signer = load_signer(uri, folder=tmp_path, ask=right)
    assert signer.public.algorithm is algorithm
    for message in (b"message", b"long" * 10_000):
        made = signer.sign(message)
        assert len(made) == 64
        assert signer.public.verifies(made, message)
    # The same key again, from its token, in a session of its own.
    forget_tokens()
    assert load_signer(uri, folder=tmp_path, ask=right).public == signer.public


def test_a_key_in_a_token_wraps_for_stock_devices(make: Make, tmp_path: Path) -> None:
    wrapper = load_wrapper(make("k", None), folder=tmp_path, ask=right)
    key, digest = ContentKey(bytes(range(16)), bytes(16)), sha256(b"a zip")
    for form in (V3, V2):
        wrapped = capgo.wrap(wrapper, key, digest, form)
        assert capgo.unwrap(wrapper.public, wrapped) == key
        assert capgo.wrap(wrapper, key, digest, form) == wrapped  # type 1 padding has no chance


def test_a_key_may_want_the_pin_each_time(token: Token, tmp_path: Path) -> None:
    """As the signature slot of a PIV card does."""
    found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
    curve = {pkcs11.Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}
    with found.open(rw=True, user_pin=token.pin) as session:
        session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True).generate_keypair(
            store=True,
            label="piv",
            id=b"1",
            private_template={pkcs11.Attribute.ALWAYS_AUTHENTICATE: True},
        )
    signer = load_signer(uri_of(token, "piv"), folder=tmp_path, ask=right)
    for message in (b"one", b"two"):
        assert signer.public.verifies(signer.sign(message), message)


@pytest.mark.parametrize("algorithm", [*Algorithm, None])
def test_a_key_that_is_made_never_leaves_its_token(
    algorithm: Algorithm | None, make: Make, token: Token
) -> None:
    make("k", algorithm)
    forget_tokens()
    found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
    with found.open(user_pin=token.pin) as session:
        key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label="k")
        names = ("PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL")
        assert [key[pkcs11.Attribute[name]] for name in names] == [True] * 5
        assert not key[pkcs11.Attribute.EXTRACTABLE]
        assert not key[pkcs11.Attribute.DECRYPT]


def test_no_key_is_made_over_another(make: Make, token: Token) -> None:
    make("k", Algorithm.P256)
    for algorithm in (*Algorithm, None):
        with pytest.raises(KeyUseError, match="k in token manifestgen exists"):
            make("k", algorithm)


def test_each_kind_is_used_for_its_purpose_alone(make: Make, tmp_path: Path) -> None:
    with pytest.raises(KeyUseError, match="no signing key"):
        load_signer(make("capgo", None), folder=tmp_path, ask=right)
    with pytest.raises(KeyUseError, match="no RSA-2048 key"):
        load_wrapper(make("signing", Algorithm.ED25519), folder=tmp_path, ask=right)


def test_other_curves_and_sizes_are_refused(token: Token, tmp_path: Path) -> None:
    found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
    secp256k1 = bytes.fromhex("06052b8104000a")
    with found.open(rw=True, user_pin=token.pin) as session:
        curve = session.create_domain_parameters(
            pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: secp256k1}, local=True
        )
        curve.generate_keypair(store=True, label="koblitz", id=b"1")
        session.generate_keypair(pkcs11.KeyType.RSA, 1024, store=True, label="short", id=b"2")
    with pytest.raises(KeyUseError, match="no signing key"):
        load_signer(uri_of(token, "koblitz"), folder=tmp_path, ask=right)
    with pytest.raises(KeyUseError, match="no RSA-2048 key"):
        load_wrapper(uri_of(token, "short"), folder=tmp_path, ask=right)


def test_a_wrong_pin_is_tried_once(make: Make, token: Token, tmp_path: Path) -> None:
    uri = make("k", Algorithm.ED25519)
    forget_tokens()
    asked: list[str] = []

    def wrong(name: str) -> bytes:
        asked.append(name)
        return b"99990"

    for load_one in (load_signer, load_wrapper, load_signer):
        with pytest.raises(KeyUseError, match="the PIN of token manifestgen is wrong") as refused:
            load_one(uri, folder=tmp_path, ask=wrong)
        assert "9999" not in f"{refused.value!r} {refused.value.hint}"
    assert asked == ["token manifestgen"]
    with pytest.raises(KeyUseError, match="is wrong"):  # whatever anybody says now
        load_signer(uri, folder=tmp_path, ask=right)


@pytest.mark.parametrize(
    ("flag", "said"),
    [("USER_PIN_LOCKED", "is locked after too many"), ("USER_PIN_FINAL_TRY", "so none is tried")],
)
def test_a_token_that_is_locked_or_nearly_is_left_alone(flag: str, said: str) -> None:
    uri = KeyUri("/m.so", token="mine", object="k")
    check_tries(uri, int(pkcs11.TokenFlag.USER_PIN_COUNT_LOW))
    with pytest.raises(KeyUseError, match=said) as refused:
        check_tries(uri, int(pkcs11.TokenFlag[flag] | pkcs11.TokenFlag.LOGIN_REQUIRED))
    assert "token mine" in str(refused.value)
    assert refused.value.hint


def test_a_pin_is_needed_and_read_from_where_the_uri_says(
    make: Make, token: Token, tmp_path: Path
) -> None:
    make("k", Algorithm.ED25519)
    forget_tokens()
    with pytest.raises(KeyUseError, match="needs its PIN") as refused:
        load_signer(uri_of(token, "k"), folder=tmp_path, ask=nobody)
    assert "MANIFESTGEN_PIN" in (refused.value.hint or "")
    source = uri_of(token, "k", "&pin-source=file:pin")
    with pytest.raises(KeyUseError, match="there is no PIN at"):
        load_signer(source, folder=tmp_path, ask=right)
    (tmp_path / "pin").write_text("1234\n")
    (tmp_path / "pin").chmod(0o644)
    with pytest.raises(KeyUseError, match="can be read by others"):
        load_signer(source, folder=tmp_path, ask=right)
    (tmp_path / "pin").chmod(0o600)
    load_signer(source, folder=tmp_path, ask=nobody)


# The binding ends its search in a destructor, too, and cannot tell anybody that it failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_session_that_breaks_is_an_error_once(make: Make, tmp_path: Path) -> None:
    from manifestgen.signers import hsm

    signer = load_signer(make("k", Algorithm.ED25519), folder=tmp_path, ask=right)
    for login in hsm._logins.values():
        login.session.close()  # as when a token is pulled out and put back
    with pytest.raises(KeyUseError, match="token manifestgen refused to use k"):
        signer.sign(b"message")
    assert signer.public.verifies(signer.sign(b"message"), b"message")


def test_a_pin_is_in_no_repr(make: Make, tmp_path: Path) -> None:
    uri = make("k", Algorithm.ED25519)
    signer = load_signer(uri, folder=tmp_path, ask=right)
    from manifestgen.signers import hsm

    assert hsm._logins
    assert "1234" not in repr(signer) + repr(hsm._logins)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"token": "other"}, "none of the tokens"),
        ({"object": "other"}, "there is no private key other"),
        ({"module-path": "/nowhere.so"}, "cannot load the PKCS#11 module /nowhere.so"),
        ({"module-path": "/etc/hostname"}, "cannot load the PKCS#11 module"),
    ],
)
def test_what_is_not_there_is_named(
    change: dict[str, str], said: str, make: Make, tmp_path: Path
) -> None:
    uri = make("k", Algorithm.ED25519)
    for name, value in change.items():
        uri = re.sub(rf"{name}=[^;?&]*", f"{name}={value}", uri)
    with pytest.raises(KeyUseError, match=said) as refused:
        load_signer(uri, folder=tmp_path, ask=right)
    assert refused.value.hint


def test_of_two_tokens_with_one_label_none_is_guessed(
    fresh: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two").mkdir()
    token = softhsm.create(tmp_path / "two")
    softhsm.initialise(token)
    monkeypatch.setenv("SOFTHSM2_CONF", str(token.config))  # for processes: ours has its module
    monkeypatch.setenv("MANIFESTGEN_PIN", token.pin)
    said = ended(process(fresh.folder, "keys", "export", uri_of(token, "k")))
    assert (said.code, said.err.splitlines()[0]) == (
        4,
        f"error: 2 tokens behind {token.module} fit what the key's URI says of token manifestgen",
    )
    more = re.findall(r";serial=[0-9a-f]+", said.err.splitlines()[1])
    assert len(set(more)) == 2
    for one in more:
        said = ended(process(fresh.folder, "keys", "export", uri_of(token, f"k{one}")))
        assert said.err.startswith("error: there is no private key k in token manifestgen")


def test_without_the_extra_its_name_is_said(
    token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyUseError, match="extra package") as refused:
        load_signer(uri_of(token, "k"), folder=tmp_path, ask=right)
    assert refused.value.hint == "pip install 'manifestgen[hsm]'"


# --- a project ------------------------------------------------------------------------------------


@pytest.fixture
def safe(fresh: Project, token: Token, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give a new project whose signing and Capgo keys are in a token."""
    monkeypatch.setenv("MANIFESTGEN_PIN", token.pin)
    for kind in ("signing", "capgo"):
        fresh.does("keys", "create", "--in", uri_of(token, kind), "--only", kind)
    fresh.does("init")
    return fresh


def test_a_project_wholly_in_a_token(
    safe: Project, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = sorted(path.name for path in (safe.folder / ".manifestgen/keys").iterdir())
    assert keys == [".gitignore", "content.key"]
    safe.does("publish", "dist")
    safe.does("refresh")
    first = safe.keyring().root.keys[0].keyid
    to = uri_of(token, "next")
    made = safe.does("keys", "create", "--in", to, "--only", "signing", "--algorithm", "p256")
    assert f'root = "{to}"' in made.out
    safe.does("keys", "rotate", first[:12], "--to", to)
    safe.does("verify")
    config = safe.folder / "manifestgen.toml"
    config.write_text(config.read_text().replace("object=signing", "object=next"))
    safe.does("refresh")
    safe.does("verify")
    # Nobody gets by without the PIN, and nothing changes for trying.
    forget_tokens()
    monkeypatch.delenv("MANIFESTGEN_PIN")
    safe.refuses("refresh", code=4, error="token manifestgen needs its PIN")


def test_a_wrong_pin_or_no_module_leaves_the_site_as_it_was(
    safe: Project, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe.does("publish", "dist")
    (safe.folder / "dist/package.json").write_text('{"version": "1.1.0"}')
    config = safe.folder / "manifestgen.toml"
    right_config = config.read_text()
    before = snapshot(safe.site)
    for command in (("publish", "dist"), ("refresh",), ("keys", "renew")):
        forget_tokens()
        monkeypatch.setenv("MANIFESTGEN_PIN", "99990")
        safe.refuses(*command, code=4, error="the PIN of token manifestgen is wrong")
        forget_tokens()
        monkeypatch.setenv("MANIFESTGEN_PIN", token.pin)
        config.write_text(right_config.replace(str(token.module), "/nowhere.so"))
        safe.refuses(*command, code=4, error="cannot load the PKCS#11 module /nowhere.so")
        config.write_text(right_config)
        assert changes(before, snapshot(safe.site)) == []
    safe.does("publish", "dist")
    safe.does("verify")


def test_a_key_in_a_token_takes_no_others_place(safe: Project, token: Token) -> None:
    before = snapshot(safe.folder)
    again = safe.does("keys", "create", "--in", uri_of(token, "b"), "--only", "capgo", "--json")
    assert again.json["written"] is False
    assert again.json["capgo"]["public"].startswith("-----BEGIN RSA PUBLIC KEY-----")
    safe.does("keys", "create", "--in", uri_of(token, "c"))
    assert changes(before, snapshot(safe.folder)) == []


def test_settings_that_are_there_stay(fresh: Project, token: Token, monkeypatch: Any) -> None:
    monkeypatch.setenv("MANIFESTGEN_PIN", token.pin)
    config = fresh.folder / "manifestgen.toml"
    config.write_text('app = "com.example.shop"\n\n[channels.beta]\nexpires = "2d" # short\n')
    fresh.does("keys", "create", "--in", uri_of(token, "k"))
    assert config.read_text() == (
        'app = "com.example.shop"\n\n[channels.beta]\nexpires = "2d" # short\n'
        f'\n[keys]\nroot = "{uri_of(token, "k")}"\n'
    )
    config.write_text('keys = { content = "file:c.key" }\n')
    said = fresh.does("keys", "create", "--in", uri_of(token, "l"), "--json")
    assert said.json["written"] is False
    assert config.read_text() == 'keys = { content = "file:c.key" }\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "content"], "the content secret cannot be in a token"),
        (["--only", "signing", "--only", "capgo"], "--in makes one key at a time"),
        (["--passphrase"], "--in makes a key in a token"),
    ],
)
def test_what_a_token_cannot_hold_is_refused(
    words: list[str], said: str, fresh: Project, token: Token
) -> None:
    fresh.refuses("keys", "create", "--in", uri_of(token, "k"), *words, code=2, error=said)


def test_a_uri_without_a_label_makes_no_key(token: Token, tmp_path: Path) -> None:
    uri = f"pkcs11:token={token.label};id=%01?module-path={token.module}"
    with pytest.raises(UsageError, match="the new key has no label"):
        create_in_token(uri, tmp_path, right, None)


def test_a_process_ends_well_with_a_token_in_use(safe: Project) -> None:
    said = ended(process(safe.folder, "publish", "dist"))
    assert said.code == 0, said.err
    assert "Error" not in said.err
