"""Documents that gather signatures: what a courier, or a dry run, must not do to them."""

import os
from pathlib import Path
from typing import Any

import pytest

from manifestgen.cli import roots
from manifestgen.core.canonical import Json
from manifestgen.core.envelope import Envelope
from manifestgen.core.keys import Algorithm
from manifestgen.core.limits import LIMITS
from manifestgen.signers.create import create_signing_key
from tests.publish.project import Project, check_refusal


@pytest.fixture
def shared(project: Project) -> Project:
    """A project whose releases and roots need a second key, which lies beside it."""
    second = project.folder / "second.pem"
    create_signing_key(second, Algorithm.ED25519, None)
    for role in ("release", "root"):
        project.does("keys", "add", "file:second.pem", "--role", role, "--threshold", "2")
    return project


def pending(project: Project, name: str) -> Path:
    return project.folder / ".manifestgen/pending" / name


def tamper(path: Path, **members: Json) -> None:
    """Change a document and take off the signatures that would tell."""
    envelope = Envelope.decode(path.read_bytes(), limit=LIMITS.root_bytes)
    path.write_bytes(Envelope((), {**envelope.signed, **members}).encode())


def test_a_dry_run_neither_writes_nor_drops_what_others_sign(shared: Project) -> None:
    waiting = pending(shared, "release-1.1.0.json")
    said = shared("publish", "dist2", "--dry-run")
    check_refusal(said, code=4, error="has 1 of the 2 signatures")
    assert not waiting.exists()
    assert shared("publish", "dist2").code == 4
    shared.does("keys", "sign", waiting, "--key", "file:second.pem")
    signed = waiting.read_bytes()
    assert "would publish" in shared.does("publish", "dist2", "--dry-run").out
    assert waiting.read_bytes() == signed
    shared.does("publish", "dist2")
    assert not waiting.exists()


def test_a_release_that_came_back_with_a_later_time_is_not_signed(shared: Project) -> None:
    assert shared("publish", "dist2").code == 4
    tamper(pending(shared, "release-1.1.0.json"), issued="2098-01-01T00:00:00Z")
    shared.refuses("publish", "dist2", code=3, error="issued on 2098-01-01 00:00 UTC")


@pytest.mark.parametrize(
    ("issued", "expires"),
    [
        pytest.param("2098-01-01T00:00:00Z", "2100-01-01T00:00:00Z", id="still to come"),
        pytest.param("2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z", id="gone in a second"),
        pytest.param("2020-01-01T00:00:00Z", "9999-01-01T00:00:00Z", id="never gone"),
    ],
)
def test_a_root_that_came_back_with_other_times_is_not_signed(
    shared: Project, issued: str, expires: str
) -> None:
    shared.does("keys", "renew")
    waiting = next(pending(shared, "").iterdir())
    tamper(waiting, issued=issued, expires=expires)
    shared.refuses("keys", "renew", code=3, error="which is not what was asked for")
    shown = shared("keys", "sign", waiting, "--key", "file:second.pem").err
    assert f"valid from {issued[:10]} until {expires[:10]}" in shown


def test_what_is_signed_is_what_was_shown_whoever_writes_meanwhile(
    shared: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.does("keys", "renew")
    waiting = next(pending(shared, "").iterdir())
    shown = Envelope.decode(waiting.read_bytes(), limit=LIMITS.root_bytes)
    signers = roots._signers

    def slow(*arguments: Any) -> Any:
        """Take as long as it takes to type a passphrase; the file lies where others write."""
        tamper(waiting, expires="9999-01-01T00:00:00Z")
        return signers(*arguments)

    monkeypatch.setattr(roots, "_signers", slow)
    shared.does("keys", "sign", waiting, "--key", "file:second.pem")
    signed = (shared.folder / ".manifestgen/root").glob("*.json")
    newest = max(signed, key=lambda path: int(path.stem)).read_bytes()
    assert Envelope.decode(newest, limit=LIMITS.root_bytes).signed == shown.signed


def test_a_document_that_does_not_end_is_refused(shared: Project, tmp_path: Path) -> None:
    endless = tmp_path / "endless.json"
    with endless.open("wb") as file:
        file.truncate(1 << 40)
    shared.refuses("keys", "sign", endless, code=3, error="more than")


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_an_audit_starts_no_program_that_a_project_names(project: Project) -> None:
    program = project.folder / "sign.sh"
    program.write_text("#!/bin/sh\ntouch started\n")
    program.chmod(0o755)
    (project.folder / ".manifestgen/capgo.pub.pem").unlink()
    config = project.folder / "manifestgen.toml"
    text = config.read_text()
    config.write_text(text.replace('"file:.manifestgen/keys/capgo.pem"', '"command:./sign.sh"'))
    assert "command:" in config.read_text()
    assert "decryption was not checked" in project.does("verify").out
    assert not (project.folder / "started").exists()
