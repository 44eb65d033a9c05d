"""What is printed to be pasted works as it is printed, with the options in use."""

import re
import shlex
from pathlib import Path

import pytest

from manifestgen.cli.again import again, completed
from tests.publish.project import Project, changes, check_refusal, site_files, snapshot

USED = {"--config": "app/m.toml", "--site": "s3://updates/my app", "--channel": "beta"}
SITE = "--site 's3://updates/my app'"


@pytest.mark.parametrize(
    ("line", "completes"),
    [
        ("channel withdraw 1.0.0", f"--config app/m.toml {SITE} --channel beta"),
        ("channel resume --channel production", f"--config app/m.toml {SITE}"),
        ("channel promote 1.0.0 --to beta", f"--config app/m.toml {SITE}"),
        ("publish DIR", f"--config app/m.toml {SITE} --channel beta"),
        ("verify", "'s3://updates/my app' --config app/m.toml"),
        ("verify mirror", "--config app/m.toml"),
        ("refresh", f"--config app/m.toml {SITE}"),
        ("prune", f"--config app/m.toml {SITE}"),
        ("keys sign", "--config app/m.toml"),
        ("keys add FILE --role manifest", f"--config app/m.toml {SITE}"),
        ("client DIR", "--config app/m.toml"),
        ("init", ""),
        ("device install", ""),
        ("no such", ""),
        ("channel nosuch", ""),
    ],
)
def test_a_command_gets_the_options_it_takes(line: str, completes: str) -> None:
    assert again(f"manifestgen {line}", USED) == f"manifestgen {line} {completes}".strip()


def test_each_of_several_commands_gets_its_own() -> None:
    line = "manifestgen site copy a b && manifestgen refresh --site b && cp b c"
    assert again(line, {"--config": "m.toml", "--site": "a"}) == (
        "manifestgen site copy a b --config m.toml"
        " && manifestgen refresh --site b --config m.toml && cp b c"
    )


def test_nothing_is_added_where_nothing_is_in_use() -> None:
    text = "run `manifestgen refresh`, or say `single_publisher = true`"
    assert completed(text, {}) == text
    assert completed(text, {"--config": "m.toml"}) == (
        "run `manifestgen refresh --config m.toml`, or say `single_publisher = true`"
    )
    assert again("manifestgen prune", {"--single-publisher": ""}) == (
        "manifestgen prune --single-publisher"
    )


def elsewhere(project: Project) -> Project:
    """Stand beside the project, in a folder with a project of its own."""
    folder = project.folder.parent / "other place"
    folder.mkdir()
    return Project(folder, project._monkeypatch, project._capsys)


def test_a_hint_works_where_the_command_was_typed(project: Project) -> None:
    other = elsewhere(project)
    config, site = project.folder / "manifestgen.toml", project.folder / "the site"
    flags: list[str | Path] = ["--config", config, "--site", site, "--channel", "beta"]
    build, older = project.folder / "dist2", project.folder / "dist"
    other.publishes(build, *flags)
    said = other("publish", older, *flags)
    assert said.code == 2
    [pasted] = re.findall(r"`manifestgen ([^`]+)`", said.err)
    other.does(*shlex.split(pasted))
    assert b'"withdrawn":["1.1.0"]' in site_files(site)["beta/manifest.json"]


def test_what_undoes_a_change_undoes_it_there(project: Project) -> None:
    other = elsewhere(project)
    config = project.folder / "manifestgen.toml"
    flags: list[str | Path] = ["--config", config, "--site", project.site]
    said = other.does("channel", "pause", *flags, "--json").json
    before = snapshot(other.folder)
    other.does(*shlex.split(said["undo"])[1:])
    assert not project.manifest().manifest.paused
    assert changes(before, snapshot(other.folder)) == []


def test_what_publish_says_of_a_pause_names_the_channel(project: Project) -> None:
    project.publishes("dist", "--channel", "beta")
    project.does("channel", "pause", "--channel", "beta")
    said = project.does("publish", "dist2", "--channel", "beta").out
    [pasted] = re.findall(r"`manifestgen ([^`]+)`", said)
    project.does(*shlex.split(pasted))
    assert not project.manifest("beta").manifest.paused


def test_help_is_offered_of_the_command_that_was_meant(project: Project) -> None:
    for line, named in (
        ("channel promote 1.0.0", "channel promote"),
        ("publish dist --rollout", "publish"),
        ("channel rolback", "channel"),
        ("serve --port 80abc", "serve"),
    ):
        said = project(*line.split())
        check_refusal(said, code=2, error="")
        assert said.err.endswith(f"hint: run `manifestgen {named} --help`\n")


def test_the_hint_for_a_missing_project_names_no_file_that_is_missing(
    fresh: Project, tmp_path: Path
) -> None:
    said = fresh.refuses("verify", "--config", tmp_path / "no.toml", code=2, error="there is no")
    assert "no.toml" not in said.err.splitlines()[1]


def test_paths_with_spaces_are_quoted(project: Project) -> None:
    root = project.folder / ".manifestgen/root/1.json"
    flags: list[str | Path] = ["--root", root, "--state", "the lobby"]
    said = project.does("device", "install", "--site", project.site, *flags).out
    _, _, pasted = said.strip().rpartition("manifestgen ")
    assert shlex.split(pasted) == ["device", "confirm", "--state", "the lobby"]
    project.does(*shlex.split(pasted))
    said = project.does("bundle", "zip", "dist", "--name", "the zip.zip").out
    _, _, pasted = said.strip().rpartition("manifestgen ")
    project.does(*shlex.split(pasted))
    project.does("keys", "create", "--only", "signing", "--out-dir", "ben")
    public = project.folder / "ben.pub.pem"
    public.write_text(project.does("keys", "export", "file:ben/signing.pem").out)
    other = elsewhere(project)
    said = other.does("init", "--with", public, "--threshold", "2").out
    _, _, pasted = said.strip().rpartition("manifestgen ")
    other.does(*shlex.split(pasted), "--dry-run")
