"""What Capgo's own command line writes we read, and what we write it reads: run for real.

Every test runs `@capgo/cli`, pinned in tests/tools/node/package.json, and is skipped, with the
reason, where that cannot be had.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from manifestgen.bundle import pack, read_build
from manifestgen.cli import main
from manifestgen.core import capgo
from manifestgen.core.archive import tree_of
from manifestgen.core.keyring import Keyring
from manifestgen.core.release import Release, Wrapped
from manifestgen.signers import load_wrapper
from tests.tools.capgo import APP_ID, CapgoCli, Encrypted, KeyPair, Zipped

SAMPLE = Path(__file__).parents[1] / "sample_site"
# The newest line of plugins that reads checksums of the second form alone.
OLD_PLUGIN = "7.27.8"


@dataclass(frozen=True, slots=True)
class Theirs:
    """One app of Capgo's: its keys, a zip of the sample app, and that zip encrypted."""

    cli: CapgoCli
    keys: KeyPair
    build: Path
    zipped: Zipped
    encrypted: Encrypted


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Theirs:
    cli = CapgoCli.create(tmp_path_factory.mktemp("capgo") / "app")
    keys = cli.key_create()
    build = SAMPLE / "v1"
    zipped = cli.zip(build, "1.0.0")
    return Theirs(cli, keys, build, zipped, cli.encrypt(zipped.path, zipped.checksum, keys.private))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder of a project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifestgen.toml").write_text(f'app = "{APP_ID}"\n')
    return tmp_path


@pytest.fixture
def their_project(project: Path, theirs: Theirs) -> Path:
    """Make a project whose Capgo key is theirs, made safe: their CLI leaves it open to all."""
    shutil.copy(theirs.keys.private, project / ".capgo_key_v2")
    (project / ".capgo_key_v2").chmod(0o600)
    with (project / "manifestgen.toml").open("a") as file:
        file.write('[keys]\ncapgo = "file:.capgo_key_v2"\n')
    return project


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    capsys.readouterr()
    code = main([*map(str, arguments), "--json"])
    said = capsys.readouterr()
    assert code == 0, said
    result: dict[str, Any] = json.loads(said.out)
    return result


def published(site: Path, project: Path) -> tuple[Release, Wrapped]:
    """Return what devices are offered, and how it is wrapped."""
    keyring = Keyring.trust((project / ".manifestgen/root/1.json").read_bytes())
    manifest = keyring.manifest((site / "production/manifest.json").read_bytes(), "production")
    (release,) = manifest.releases
    assert isinstance(release, Release)
    assert release.capgo
    return release, release.capgo


def test_they_decrypt_what_we_publish(
    project: Path, theirs: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "publish", theirs.build)
    release, wrapped = published(project / "site", project)
    blob = project / f"site/blobs/{release.bundle.blob[:2]}/{release.bundle.blob}.bin"
    said = theirs.cli.run(
        *("bundle", "decrypt", str(blob), capgo.session_text(wrapped)),
        *("--key", str(project / ".manifestgen/capgo.pub.pem")),
        *("--checksum", capgo.checksum_text(wrapped)),
    )
    assert "Checksum matches" in said
    plain = blob.with_name(f"{blob.name}_decrypted.zip").read_bytes()
    assert hashlib.sha256(plain).hexdigest() == release.bundle.plain


def test_they_decrypt_what_we_encrypt(
    project: Path, theirs: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "keys", "create")
    zipped = run(capsys, "bundle", "zip", theirs.build)
    made = run(capsys, "bundle", "encrypt", zipped["filename"], zipped["checksum"])
    said = theirs.cli.run(
        *("bundle", "decrypt", str(project / made["filename"]), made["ivSessionKey"]),
        *("--key", str(project / ".manifestgen/capgo.pub.pem")),
        *("--checksum", made["checksum"]),
    )
    assert "Checksum matches" in said
    plain = project / f"{made['filename']}_decrypted.zip"
    assert plain.read_bytes() == (project / zipped["filename"]).read_bytes()


def test_we_decrypt_what_they_encrypt(
    project: Path, theirs: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shutil.copy(theirs.encrypted.path, project)
    made = run(
        *(capsys, "bundle", "decrypt", source, theirs.encrypted.iv_session_key),
        *("--key", theirs.keys.public, "--checksum", theirs.encrypted.checksum),
    )
    assert made["sha256"] == theirs.zipped.checksum
    assert Path(made["filename"]).read_bytes() == theirs.zipped.path.read_bytes()


def test_what_they_encrypt_is_published_as_it_is(
    their_project: Path, theirs: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        *(capsys, "publish", "--version", "1.0.0", "--capgo-zip", theirs.encrypted.path),
        *("--iv-session-key", theirs.encrypted.iv_session_key),
        *("--checksum", theirs.encrypted.checksum),
    )
    release, wrapped = published(their_project / "site", their_project)
    assert capgo.session_text(wrapped) == theirs.encrypted.iv_session_key
    assert capgo.checksum_text(wrapped) == theirs.encrypted.checksum
    blob = their_project / f"site/blobs/{release.bundle.blob[:2]}/{release.bundle.blob}.bin"
    assert blob.read_bytes() == theirs.encrypted.path.read_bytes()
    assert release.bundle.plain == theirs.zipped.checksum
    with (their_project / "ours.zip").open("w+b") as out:
        assert release.tree.digest == pack(read_build(theirs.build), out).tree.digest()


def test_the_json_of_encrypt_is_theirs_field_for_field(
    their_project: Path, theirs: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    zipped = shutil.copy(theirs.zipped.path, their_project)
    ours = run(capsys, "bundle", "encrypt", zipped, theirs.zipped.checksum)
    said: dict[str, str] = json.loads(
        theirs.cli.run(
            *("bundle", "encrypt", str(zipped), theirs.zipped.checksum),
            *("--key", str(theirs.keys.private), "--json"),
        )
    )
    assert list(ours) == list(said)
    # RSA as it is used here is deterministic; the session key is random in both.
    assert ours["checksum"] == said["checksum"]
    assert ours["filename"] == said["filename"]
    assert [len(part) for part in ours["ivSessionKey"].split(":")] == [
        len(part) for part in said["ivSessionKey"].split(":")
    ]


def test_the_json_of_zip_is_theirs_field_for_field(
    project: Path, theirs: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bundle", "zip", APP_ID, "--path", str(theirs.build), "--bundle", "1.2.3"]
    said: dict[str, str] = json.loads(theirs.cli.run(*arguments, "--json"))
    ours = run(capsys, *arguments)
    assert list(ours) == list(said)
    assert (ours["bundle"], ours["filename"]) == (said["bundle"], said["filename"])
    for made, folder in ((ours, project), (said, theirs.cli.app)):
        data = (folder / made["filename"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == made["checksum"]


def test_the_checksum_for_old_plugins_is_theirs(
    their_project: Path,
    theirs: Theirs,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = CapgoCli.create(tmp_path_factory.mktemp("capgo") / "old")
    plugin = old.app / "node_modules/@capgo/capacitor-updater"
    plugin.unlink()
    plugin.mkdir()
    # Only these versions are looked at by the command line.
    version = {"name": "@capgo/capacitor-updater", "version": OLD_PLUGIN}
    (plugin / "package.json").write_text(json.dumps(version))
    package = (old.app / "package.json").read_text()
    (old.app / "package.json").write_text(
        json.dumps(json.loads(package) | {"dependencies": {version["name"]: OLD_PLUGIN}})
    )
    zipped = Path(shutil.copy(theirs.zipped.path, their_project))
    said = old.encrypt(zipped, theirs.zipped.checksum, theirs.keys.private)
    made = run(
        *(capsys, "bundle", "decrypt", said.path, said.iv_session_key),
        *("--checksum", said.checksum),
    )
    assert made["sha256"] == theirs.zipped.checksum
    with (their_project / "manifestgen.toml").open("a") as file:
        file.write('[capgo]\nchecksum = "v2"\n')
    ours = run(capsys, "bundle", "encrypt", zipped, theirs.zipped.checksum)
    assert ours["checksum"] == said.checksum
    assert len(said.checksum) == 344


def test_their_key_is_ours(their_project: Path, theirs: Theirs) -> None:
    wrapper = load_wrapper("file:.capgo_key_v2", folder=their_project, ask=lambda _: None)
    pem = theirs.keys.public.read_text()
    assert capgo.public_pem(wrapper.public) == pem
    configured = theirs.cli.config()["plugins"]["CapacitorUpdater"]["publicKey"]
    assert configured == pem
    # Capgo's own rule (`calcKeyId`): the body of the PEM, its first twenty characters.
    body = configured.replace("-----BEGIN RSA PUBLIC KEY-----", "").replace("\n", "")
    assert capgo.key_id(wrapper.public) == body[:20]


def test_our_key_is_theirs(
    project: Path, theirs: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "keys", "create")
    private = project / ".manifestgen/keys/capgo.pem"
    zipped = Path(shutil.copy(theirs.zipped.path, project))
    said = theirs.cli.encrypt(zipped, theirs.zipped.checksum, private)
    made = run(
        *(capsys, "bundle", "decrypt", said.path, said.iv_session_key),
        *("--checksum", said.checksum),
    )
    assert made == {
        "filename": f"{said.path}_decrypted.zip",
        "sha256": theirs.zipped.checksum,
        "checked": True,
    }


def test_their_zip_is_read_by_our_strict_reader(theirs: Theirs, tmp_path: Path) -> None:
    with (tmp_path / "ours.zip").open("w+b") as out, theirs.zipped.path.open("rb") as file:
        assert tree_of(file) == pack(read_build(theirs.build), out).tree


def test_their_key_as_their_cli_leaves_it_is_refused(
    project: Path, theirs: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert theirs.keys.private.stat().st_mode & 0o077
    arguments = [str(theirs.zipped.path), theirs.zipped.checksum, "--key"]
    assert main(["bundle", "encrypt", *arguments, str(theirs.keys.private)]) == 4
    assert f"chmod 600 {theirs.keys.private}" in capsys.readouterr().err
    assert not any(project.glob("*_encrypted.zip"))
