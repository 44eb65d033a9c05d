"""What is said of a project in which publishing would be of no use, or could not be remembered."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.publish.project import Project

START = 1893456000  # 2030-01-01
DAY = 86400


@pytest.fixture
def mounted(project: Project) -> Iterator[Project]:
    """A project whose keys are mounted, read-only, as secrets are in a container."""
    keys = project.folder / ".manifestgen/keys"
    try:
        subprocess.run(["mount", "--bind", keys, keys], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a folder needs root")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", keys], check=True)
        yield project
    finally:
        subprocess.run(["umount", "-l", keys], check=True)


@pytest.mark.parametrize("command", [("publish", "dist", "--version", "9.0.0"), ("refresh",)])
def test_nothing_is_signed_that_could_not_be_remembered(
    mounted: Project, command: tuple[str, ...]
) -> None:
    mounted.refuses(*command, code=6, error="sequences.json there remembers what was signed")


def test_an_expired_root_is_told_of(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project.does("refresh")
    assert "expired" not in caplog.text
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(START + 3650 * DAY))
    project.does("refresh")
    assert "devices take nothing new: run `manifestgen keys renew`" in caplog.text


def test_a_lifetime_that_the_root_cuts_short_is_told_of(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    config = project.folder / "manifestgen.toml"
    text = config.read_text("utf-8")
    assert 'expires = "30d"' in text
    config.write_text(text.replace('expires = "30d"', 'expires = "400d"'), "utf-8")
    project.does("refresh")
    assert "are to count for 400 days, and the root allows 90" in caplog.text
    assert (project.manifest().manifest.expires - project.manifest().manifest.issued).days == 90


def test_an_empty_page_is_no_app(project: Project) -> None:
    Path(project.folder / "dist/index.html").write_bytes(b"")
    project.refuses("publish", "dist", "--version", "9.0.0", code=2, error="index.html is empty")
