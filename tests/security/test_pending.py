"""Documents that gather signatures: what a courier, or a dry run, must not do to them."""

from pathlib import Path

import pytest

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
