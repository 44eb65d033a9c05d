"""Programs that sign: what they may print, and that one which fails leaves nothing published."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from manifestgen.core import capgo
from manifestgen.core.cipher import ContentKey
from manifestgen.core.keys import Algorithm
from manifestgen.core.tree import sha256
from manifestgen.errors import KeyUseError, UsageError
from manifestgen.signers import load_content_secret, load_signer, load_wrapper
from manifestgen.signers.create import create_capgo_key, create_signing_key
from tests.publish.project import (
    Project,
    changes,
    check_refusal,
    fresh,
    project,
    published,
    snapshot,
)

__all__ = ["fresh", "project", "published"]

# What a user would write around OpenSSL: the key stays in its file, the program uses it.
OPENSSL = """\
#!/bin/sh -eu
# sign.sh KEY OPERATION
case $2 in
public) openssl pkey -in "$1" -pubout ;;
sign) openssl dgst -sha256 -sign "$1" ;;
wrap) openssl pkeyutl -sign -inkey "$1" -pkeyopt rsa_padding_mode:pkcs1 ;;
esac
"""


def nobody(_: str) -> bytes | None:
    return None


def program(folder: Path, text: str, name: str = "sign.sh") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def p256(tmp_path: Path) -> Path:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    path = tmp_path / "p256.pem"
    create_signing_key(path, Algorithm.P256, None)
    return path


def test_a_program_signs_with_a_key_that_stays_where_it_is(p256: Path, tmp_path: Path) -> None:
    program(tmp_path, OPENSSL)
    signer = load_signer("command:./sign.sh p256.pem", folder=tmp_path, ask=nobody)
    inside = load_signer("file:p256.pem", folder=tmp_path, ask=nobody)
    assert signer.public == inside.public
    made = signer.sign(b"message" * 10_000)
    assert len(made) == 64
    assert signer.public.verifies(made, b"message" * 10_000)


def test_a_program_wraps_for_stock_devices(p256: Path, tmp_path: Path) -> None:
    create_capgo_key(tmp_path / "capgo.pem", None)
    program(tmp_path, OPENSSL)
    wrapper = load_wrapper("command:./sign.sh capgo.pem", folder=tmp_path, ask=nobody)
    inside = load_wrapper("file:capgo.pem", folder=tmp_path, ask=nobody)
    key, digest = ContentKey(bytes(range(16)), bytes(16)), sha256(b"a zip")
    assert capgo.wrap(wrapper, key, digest) == capgo.wrap(inside, key, digest)


def filed(folder: Path, algorithm: Algorithm, spell: Callable[[bytes], bytes]) -> str:
    """Make a program that prints one signature, spelled in some way; return its URI."""
    create_signing_key(folder / "key.pem", algorithm, None)
    signer = load_signer("file:key.pem", folder=folder, ask=nobody)
    (folder / "sig").write_bytes(spell(signer.sign(b"message")))
    pem = serialization.load_der_public_key(signer.public.spki).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "pub").write_bytes(pem)
    program(folder, "#!/bin/sh\nif [ $1 = public ]; then cat pub; else cat sig; fi\n")
    return "command:./sign.sh"


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(lambda it: it, id="raw"),
        pytest.param(base64.b64encode, id="base64"),
        pytest.param(lambda it: base64.encodebytes(it) + b"\n", id="base64 in lines"),
    ],
)
def test_a_signature_may_be_raw_or_base64(
    algorithm: Algorithm, spell: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    signer = load_signer(filed(tmp_path, algorithm, spell), folder=tmp_path, ask=nobody)
    assert signer.public.verifies(signer.sign(b"message"), b"message")


@pytest.mark.parametrize(
    "printed", [b"", b"x", b"x" * 63, b"x" * 65, base64.b64encode(b"x" * 63), b"\x30\x06\x02\x01"]
)
def test_what_is_no_signature_is_refused(printed: bytes, tmp_path: Path) -> None:
    uri = filed(tmp_path, Algorithm.P256, lambda _: printed)
    with pytest.raises(KeyUseError, match=rf"sign printed {len(printed)} bytes"):
        load_signer(uri, folder=tmp_path, ask=nobody).sign(b"message")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param("./nowhere.sh", "cannot start ./nowhere.sh", id="not there"),
        pytest.param("false", "false public ended with 1", id="fails"),
        pytest.param("sh -c 'echo no token >&2; exit 3'", "ended with 3: no token", id="complains"),
        pytest.param("sh -c 'kill -9 $$'", "was ended by signal 9", id="dies"),
        pytest.param("yes", "yes public printed more than 65536 bytes", id="never stops"),
        pytest.param("echo", "echo public printed no Ed25519 or P-256 key", id="says no key"),
        pytest.param("sh -c 'sleep 30; true'", "sh public was not done after 1 s", id="hangs"),
        pytest.param("sh -c 'sleep 30 & echo'", "was not done after 1 s", id="leaves one behind"),
    ],
)
def test_a_program_that_fails_says_why(
    command: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "1 s" in said:
        monkeypatch.setenv("MANIFESTGEN_COMMAND_TIMEOUT", "1s")
    with pytest.raises(KeyUseError, match=said) as refused:
        load_signer(f"command:{command}", folder=tmp_path, ask=nobody)
    assert refused.value.hint
    with pytest.raises(KeyUseError):
        load_wrapper(f"command:{command}", folder=tmp_path, ask=nobody)


@pytest.mark.parametrize("command", ["", "  ", "'"])
def test_a_command_must_be_one(command: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a key's `command:`"):
        load_signer(f"command:{command}", folder=tmp_path, ask=nobody)


def test_a_program_gets_no_secret_of_another_key(
    p256: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = ("MANIFESTGEN_KEY_ROOT", "MANIFESTGEN_PASSPHRASE", "MANIFESTGEN_PIN")
    for name in (*ours, "VAULT_TOKEN", "MANIFESTGEN_COMMAND_TIMEOUT"):
        monkeypatch.setenv(name, "60s")
    path = program(tmp_path, f"#!/bin/sh\nenv > seen\nopenssl pkey -in {p256} -pubout\n")
    load_signer(f"command:{path}", folder=tmp_path, ask=nobody)
    seen = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert seen.isdisjoint(ours)
    assert {"PATH", "VAULT_TOKEN", "MANIFESTGEN_COMMAND_TIMEOUT"} <= seen


def test_words_are_split_as_by_a_shell_and_nothing_is_expanded(tmp_path: Path) -> None:
    program(tmp_path, '#!/bin/sh\nfor one; do echo "<$one>"; done >&2; exit 1\n')
    with pytest.raises(KeyUseError) as refused:
        load_signer("command:./sign.sh 'a b' $HOME;x *", folder=tmp_path, ask=nobody)
    assert "<a b>; <$HOME;x>; <*>; <public>" in str(refused.value)


@pytest.mark.parametrize("uri", ["command:op read x", "pkcs11:object=x?module-path=/x.so"])
def test_a_content_secret_is_read_and_cannot_stay_elsewhere(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="content secret cannot be in") as refused:
        load_content_secret(uri, folder=tmp_path)
    assert "MANIFESTGEN_KEY_CONTENT" in (refused.value.hint or "")


# --- half-way -------------------------------------------------------------------------------------

# Counts how often it was asked, in a file beside it, and goes wrong at a turn that a file names.
COUNTING = """\
#!/bin/sh -eu
here=$(dirname "$0")
count=$(($(cat "$here/count") + 1)); echo $count > "$here/count"
[ $count != "$(cat "$here/turn")" ] || {wrong}
exec sh "$here/sign.sh" "$@"
"""
WRONG = {
    "fails": "exit 7",
    "hangs": "exec sleep 30",
    "lies": "{ cat > /dev/null; head -c 256 /dev/zero; exit 0; }",
}


class Counted:
    """A project all of whose keys are with a program that can be told to go wrong."""

    def __init__(self, project: Project, folder: Path, wrong: str) -> None:
        self.project = project
        self.folder = folder
        folder.mkdir()
        keys = project.folder / ".manifestgen/keys"
        for name in ("signing.pem", "capgo.pem"):
            shutil.move(keys / name, folder / name)
        program(folder, ED25519)
        program(folder, COUNTING.replace("{wrong}", WRONG[wrong]), "counting.sh")
        config = project.folder / "manifestgen.toml"
        text = config.read_text()
        for name in ("signing", "capgo"):
            at = f"file:.manifestgen/keys/{name}.pem"
            assert at in text
            text = text.replace(at, f"command:{folder}/counting.sh {folder}/{name}.pem")
        config.write_text(text)
        self.turn(0)

    def turn(self, number: int) -> None:
        (self.folder / "count").write_text("0")
        (self.folder / "turn").write_text(str(number))

    @property
    def count(self) -> int:
        return int((self.folder / "count").read_text())


ED25519 = """\
#!/bin/sh -eu
# OpenSSL signs with Ed25519 only what is in a file.
case $2 in
public) exec openssl pkey -in "$1" -pubout ;;
wrap) exec openssl pkeyutl -sign -inkey "$1" -pkeyopt rsa_padding_mode:pkcs1 ;;
esac
message=$(mktemp)
trap 'rm -f "$message"' EXIT
cat > "$message"
openssl pkeyutl -sign -inkey "$1" -rawin -in "$message"
"""

PUBLISH = ("publish", "dist2")


def served(project: Project) -> dict[str, object]:
    return snapshot(project.site)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    "command", [PUBLISH, ("refresh",), ("channel", "pause")], ids=lambda words: words[0]
)
def test_a_program_that_goes_wrong_half_way_leaves_the_site_as_it_was(
    command: tuple[str, ...],
    wrong: str,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Counted(project, tmp_path / "vault", wrong)
    rehearsal = project.copied("rehearsal")
    rehearsal.does(*command)
    turns = counted.count
    assert turns >= (6 if command == PUBLISH else 2)
    if wrong == "hangs":
        monkeypatch.setenv("MANIFESTGEN_COMMAND_TIMEOUT", "2s")
    before = served(project)
    # One that hangs costs its time: the last turn, where most has been done, stands for all.
    for turn in [turns] if wrong == "hangs" else range(1, turns + 1):
        counted.turn(turn)
        said = project(*command)
        assert said.code in {3, 4}, said
        check_refusal(said, code=said.code, error="")
        assert changes(before, served(project)) == [], f"turn {turn}"
    monkeypatch.delenv("MANIFESTGEN_COMMAND_TIMEOUT", raising=False)
    counted.turn(0)
    project.does(*command)
    project.does("verify")
    assert changes(before, served(project)) != []


def test_a_long_command_is_no_file_name(project: Project) -> None:
    command = f"command:false {'x' * 300}"
    words = ("keys", "add", command, "--role", "manifest")
    project.refuses(*words, code=4, error="false public ended with 1")


def test_no_program_is_started_for_a_public_key(project: Project) -> None:
    """Nobody who only looks wants a colleague's machine, or a PIN."""
    program(project.folder, "#!/bin/sh\ntouch started\nexit 1\n")
    config = project.folder / "manifestgen.toml"
    at = "file:.manifestgen/keys/capgo.pem"
    assert at in config.read_text()
    config.write_text(config.read_text().replace(at, "command:./sign.sh"))
    project.does("bundle", "diff", "1.0.0", "dist2")
    project.does("client", "app", "--for", "web")
    (project.folder / ".manifestgen/capgo.pub.pem").unlink()
    words = ("bundle", "diff", "1.0.0", "dist2")
    project.refuses(*words, code=4, error="capgo.pub.pem, the public half of the Capgo key")
    said = project.does("client", "other", "--for", "web")
    assert "note: without a public Capgo key the app opens no encrypted bundle" in said.err
    assert not (project.folder / "other/capgo.pub.pem").exists()
    assert not (project.folder / "started").exists()
