"""New key files: exclusive, closed to others, durable, and no surprise to the folder."""

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from manifestgen.core.keys import Algorithm
from manifestgen.errors import KeyUseError
from manifestgen.signers import load_content_secret, load_signer, load_wrapper
from manifestgen.signers.create import (
    create_capgo_key,
    create_content_secret,
    create_signing_key,
    make_key_folder,
    write_secret,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("passphrase", [None, b"horse"])
def test_what_is_created_loads_and_is_closed_to_others(
    passphrase: bytes | None, tmp_path: Path
) -> None:
    before = os.umask(0)  # the least that could help
    try:
        for algorithm in Algorithm:
            create_signing_key(tmp_path / f"{algorithm}.pem", algorithm, passphrase)
        create_capgo_key(tmp_path / "capgo.pem", passphrase)
        create_content_secret(tmp_path / "content.key")
    finally:
        os.umask(before)
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}
    for algorithm in Algorithm:
        uri = f"file:{algorithm}.pem"
        signer = load_signer(uri, folder=tmp_path, ask=lambda _: passphrase)
        assert signer.public.algorithm is algorithm
    wrapper = load_wrapper("file:capgo.pem", folder=tmp_path, ask=lambda _: passphrase)
    assert wrapper.public.key_size == 2048
    assert len(load_content_secret("file:content.key", folder=tmp_path)) == 32


def test_the_form_of_a_capgo_key_is_the_one_of_capgos_cli(tmp_path: Path) -> None:
    create_capgo_key(tmp_path / "open.pem", None)
    assert (tmp_path / "open.pem").read_text().startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    create_capgo_key(tmp_path / "closed.pem", b"horse")
    assert (tmp_path / "closed.pem").read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY")


def test_nothing_is_written_over_another_key_nor_through_a_link(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", b"first")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("key", "link"):
        with pytest.raises(KeyUseError, match="exists and is not overwritten"):
            write_secret(tmp_path / name, b"second")
    assert (tmp_path / "key").read_bytes() == b"first"
    assert not (tmp_path / "elsewhere").exists()


def test_half_a_key_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyUseError, match="no space left"):
        write_secret(tmp_path / "key", b"secret")
    assert not (tmp_path / "key").exists()


def test_no_key_is_made_on_a_disk_without_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a stick with FAT has it: whatever is asked for, files are 0755."""
    made = tempfile.mkstemp

    def on_a_stick(**options: Any) -> tuple[int, str]:
        handle, name = made(**options)
        Path(name).chmod(0o755)
        return handle, name

    monkeypatch.setattr(tempfile, "mkstemp", on_a_stick)
    with pytest.raises(KeyUseError, match="knows no permissions") as refused:
        write_secret(tmp_path / "key", b"secret")
    assert "--out-dir" in (refused.value.hint or "")
    assert list(tmp_path.iterdir()) == []


def test_a_passphrase_has_a_length_that_can_be_used(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "most", Algorithm.ED25519, b"a" * 1023)
    for number, make in enumerate((_signing, create_capgo_key)):
        with pytest.raises(KeyUseError, match="has 1,024 bytes; OpenSSL takes 1,023"):
            make(tmp_path / str(number), b"a" * 1024)
    assert [path.name for path in tmp_path.iterdir()] == ["most"]


def _signing(path: Path, passphrase: bytes) -> None:
    create_signing_key(path, Algorithm.P256, passphrase)


def test_a_new_key_folder_is_closed_and_hidden_from_git(tmp_path: Path) -> None:
    assert make_key_folder(tmp_path / "new")
    assert make_key_folder(tmp_path / "new")
    assert mode(tmp_path / "new") == 0o700
    assert "*" in (tmp_path / "new/.gitignore").read_text().splitlines()


def test_a_projects_key_folder_is_closed_even_if_it_was_there(tmp_path: Path) -> None:
    folder = tmp_path / ".manifestgen/keys"
    folder.mkdir(parents=True, mode=0o755)
    assert make_key_folder(folder)
    assert mode(folder) == 0o700
    assert (folder / ".gitignore").exists()


def test_a_folder_that_is_there_for_something_else_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert not make_key_folder(tmp_path)
    assert mode(tmp_path) == 0o755
    assert not (tmp_path / ".gitignore").exists()
