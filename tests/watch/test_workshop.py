"""The project beside the project: its versions, its keys, and who may be in it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from manifestgen.config import find
from manifestgen.core.version import Version
from manifestgen.errors import ConflictError, StoreError, UsageError
from manifestgen.watch import open_workshop
from manifestgen.watch.quick import QuickStore
from tests.doctor.test_keys import git
from tests.publish.project import Project, changes, snapshot

NOW = datetime(2030, 1, 1, tzinfo=UTC)

VERSIONS = {
    "nothing yet": ("1.4.3", None, "1.4.3-dev.1"),
    "one more": ("1.4.3", "1.4.3-dev.9", "1.4.3-dev.10"),
    "a new base": ("1.5.0", "1.4.3-dev.9", "1.5.0-dev.1"),
    "a base that went back": ("1.4.0", "1.4.3-dev.9", "1.4.3-dev.10"),
    "another pre-release": ("1.4.3", "1.4.3-rc.1", "1.4.4-dev.1"),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_versions_only_rise(tmp_path: Path, case: str) -> None:
    base, before, expected = VERSIONS[case]
    (tmp_path / "package.json").write_text(json.dumps({"version": base}))
    with open_workshop(find(tmp_path), tmp_path / "dist", now=NOW) as workshop:
        found = workshop.version(Version.parse(before) if before else None)
    assert str(found) == expected


@pytest.mark.parametrize(
    ("package", "first"), [("1.0.0", "1.0.1"), ("0.9.0", "1.0.1"), ("1.2.0-beta.1", "1.2.0")]
)
def test_versions_lie_above_the_last_release(project: Project, package: str, first: str) -> None:
    (project.folder / "package.json").write_text(json.dumps({"version": package}))
    with open_workshop(find(project.folder), project.folder / "out", now=NOW) as workshop:
        assert str(workshop.version(None)) == f"{first}-dev.1"


def test_its_keys_are_its_own(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MANIFESTGEN_KEY_ROOT", "file:/elsewhere.pem")
    monkeypatch.setenv("CI", "1")
    settings = find(project.folder)
    with open_workshop(settings, project.folder / "dist", now=NOW) as workshop:
        ours = workshop.chain.keyring.root.keys
    assert not {key.keyid for key in ours} & set(project.keyring().root.key_map())
    dev = project.folder / ".manifestgen/dev"
    assert (dev / ".gitignore").read_text() == "*\n"
    assert [path.name for path in (project.folder / ".manifestgen/root").iterdir()] == ["1.json"]


def test_one_at_a_time(project: Project) -> None:
    settings, dist = find(project.folder), project.folder / "dist"
    with (
        open_workshop(settings, dist, now=NOW),
        pytest.raises(ConflictError, match="watches into"),
        open_workshop(settings, dist, now=NOW),
    ):
        pass
    with open_workshop(settings, dist, now=NOW):
        pass


LINKS = {
    "the folder": "",
    "its site": "site",
    "a channel": "site/production",
    "what git ignores": ".gitignore",
    "its keys": ".manifestgen/keys",
}


@pytest.mark.parametrize("case", LINKS)
def test_a_folder_that_leads_out_of_itself_is_refused(project: Project, case: str) -> None:
    link = project.folder / ".manifestgen/dev" / LINKS[case]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(project.site)
    before = snapshot(project.folder)
    settings = find(project.folder)
    with (
        pytest.raises(UsageError, match="symbolic link"),
        open_workshop(settings, project.folder / "dist", now=NOW),
    ):
        pass
    assert changes(before, snapshot(project.folder)) == []


def test_a_folder_that_came_with_a_repository_is_refused(project: Project) -> None:
    settings = find(project.folder)
    with open_workshop(settings, project.folder / "dist", now=NOW):
        pass
    git(project, "init")
    with open_workshop(settings, project.folder / "dist", now=NOW):
        pass  # there is a repository, which ignores the folder
    git(project, "add", "--force", ".manifestgen/dev/.manifestgen/root")
    with (
        pytest.raises(UsageError, match="git tracks files"),
        open_workshop(settings, project.folder / "dist", now=NOW),
    ):
        pass


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    store = QuickStore(tmp_path / "site", tmp_path / "scratch")
    (tmp_path / "site/index.html").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot write"):
        store.add("index.html", b"page")
    assert list((tmp_path / "scratch").iterdir()) == []
