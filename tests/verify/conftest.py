"""Sites to verify, each published once; tests tamper with copies in memory."""

from pathlib import Path

import pytest

from manifestgen.core.keys import Algorithm
from manifestgen.signers.create import create_signing_key
from tests.verify.project import SAMPLE, Files, Project, new_project, third_build


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three releases, the last one for a tenth of the devices."""
    folder = tmp_path_factory.mktemp("verify")
    project = new_project(folder / "project")
    project.publish(SAMPLE / "v2", day=1)
    third = third_build(folder / "v3")
    project.publish(third, "--version", "1.2.0", "--rollout", "10%", day=2)
    return project


@pytest.fixture
def files(project: Project) -> Files:
    """The files of that site."""
    return project.files()


@pytest.fixture(scope="session")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two releases, the second after the only key was replaced by another."""
    project = new_project(tmp_path_factory.mktemp("verify") / "rotated")
    _rotate(project)
    project.publish(SAMPLE / "v2", day=2)
    return project


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Somebody else's project, for the same app id."""
    folder: Path = tmp_path_factory.mktemp("verify") / "other" / "project"
    project = new_project(folder)
    project.publish(SAMPLE / "v2", day=1)
    return project


def _rotate(project: Project) -> None:
    old = project.anchor.keyring.root.keys[0].keyid
    path = project.settings.key_folder / "new.pem"
    create_signing_key(path, Algorithm.ED25519, None)
    new = "file:.manifestgen/keys/new.pem"
    assert project.run("keys", "rotate", old[:12], "--to", new, "-q", day=1) == 0
    config = project.folder / "manifestgen.toml"
    text = config.read_text("utf-8").replace("keys/signing.pem", "keys/new.pem")
    config.write_text(text, "utf-8")
