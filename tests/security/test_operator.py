"""Mistakes of whoever runs the commands, which must not cost a key or a blob."""

import shutil

import pytest

from tests.publish.project import Project, snapshot


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('[keys]\nmanifest = "{}"', id="manifest"),
        pytest.param('[keys]\nrelease = "{}"', id="release"),
        pytest.param('[channels.beta]\nkeys = "{}"\n[keys]', id="a channel of its own"),
    ],
)
def test_no_key_of_any_role_lies_in_the_site(project: Project, line: str) -> None:
    key = project.site / "signing.pem"
    shutil.copy2(project.folder / ".manifestgen/keys/signing.pem", key)
    config = project.folder / "manifestgen.toml"
    config.write_text(config.read_text().replace("[keys]", line.format("file:site/signing.pem")))
    project.refuses("publish", "dist2", code=2, error="lies inside the site, which is published")


def test_prune_keeps_what_a_channel_without_its_manifest_needs(project: Project) -> None:
    (project.site / "production/manifest.json").unlink()
    blobs = snapshot(project.site / "blobs")
    project.does("prune", "--grace", "0")
    assert snapshot(project.site / "blobs") == blobs
    assert project.offered() == ["1.0.0"]


@pytest.mark.parametrize(
    "command", ["channel list", "channel show", "refresh --check", "prune --dry-run", "explain"]
)
def test_what_only_looks_writes_nothing_not_even_what_is_left_to_finish(
    project: Project, command: str
) -> None:
    live = project.site / "production/manifest.json"
    before = live.read_bytes()
    project.does("refresh")
    live.write_bytes(before)
    known = snapshot(project.folder)
    project.does(*command.split())
    assert snapshot(project.folder) == known
