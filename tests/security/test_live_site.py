"""What the web server of a live site must not make its publisher sign."""

import shutil

import pytest

from tests.publish.project import Project, check_refusal, web_server


@pytest.mark.parametrize(
    "command", [["refresh", "--channel", "production"], ["publish", "dist3", "--version", "1.2.0"]]
)
def test_a_stale_server_does_not_bring_back_what_was_withdrawn(
    project: Project, command: list[str]
) -> None:
    shutil.copytree(project.folder / "dist", project.folder / "dist3")
    stale = project.copied("stale")
    project.does("publish", "dist2")
    project.does("channel", "withdraw", "1.0.0")
    shutil.rmtree(project.site)
    with web_server(stale.site) as url:
        config = project.folder / "manifestgen.toml"
        config.write_text(f'base_url = "{url}"\n{config.read_text()}')
        check_refusal(project(*command), code=3, error="shows manifest 1 of production; 3 was")
    assert not list(project.site.rglob("*.json"))


def test_a_job_with_its_keys_in_variables_may_remember_what_it_signed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = project.copied("stale")
    keys = project.folder / ".manifestgen/keys"
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("MANIFESTGEN_KEY_ROOT", "env:PEM")
    monkeypatch.setenv("PEM", (keys / "signing.pem").read_text())
    shutil.rmtree(keys)
    keys.mkdir(mode=0o700)
    project.does("channel", "withdraw", "1.0.0")
    assert (keys / "sequences.json").exists()
    shutil.rmtree(project.site)
    with web_server(stale.site) as url:
        config = project.folder / "manifestgen.toml"
        config.write_text(f'base_url = "{url}"\n{config.read_text()}')
        check_refusal(project("refresh"), code=3, error="shows manifest 1 of production; 2 was")
        (keys / "sequences.json").unlink()
        project.does("refresh")
    assert project.offered() == ["1.0.0"], "without a memory it goes by what the server shows"


def test_a_copy_that_was_restored_is_carried_on_from(project: Project) -> None:
    backup = project.copied("backup")
    project.does("publish", "dist2")
    shutil.rmtree(project.site)
    shutil.copytree(backup.site, project.site)
    assert project.publishes("dist2")["sequence"] == 3
