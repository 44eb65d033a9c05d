"""`bundle diff` says what devices would download, by each way, and writes nothing."""

from pathlib import Path
from typing import Any

import pytest

from tests.publish.project import Project, fresh, snapshot

__all__ = ["fresh"]

CODE = "".join(f"function f{n}(a){{return a*{n * n}}}\n" for n in range(3000))


def build(folder: Path, version: int) -> Path:
    """Write a build whose two chunks change a little, and their names."""
    folder.mkdir()
    (folder / "index.html").write_text(f'<!doctype html><script src="app-{version}.js">')
    for chunk in ("app", "lib"):
        (folder / f"{chunk}-{version}.js").write_text(CODE.replace("f77(", f"{chunk}{version}("))
    (folder / "logo.svg").write_text("<svg/>")
    return folder


@pytest.fixture
def project(fresh: Project) -> Project:
    """Give a project with two builds, published as 1.0.0 and 1.1.0."""
    for version in (1, 2):
        build(fresh.folder / f"v{version}", version)
        fresh.does("publish", f"v{version}", "--version", f"1.{version - 1}.0")
    return fresh


def ways(said: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {one["way"]: (one["bytes"], one["requests"]) for one in said["ways"]}


@pytest.mark.parametrize(
    ("old", "new"), [("v1", "v2"), ("1.0.0", "1.1.0"), ("1.0.0", "v2"), ("v1", "1.1.0")]
)
def test_versions_and_folders_compare_alike(project: Project, old: str, new: str) -> None:
    before = snapshot(project.folder)
    said = project.does("bundle", "diff", old, new, "--json").json
    assert (said["from"], said["to"], said["files"], said["same"]) == (old, new, 4, 1)
    found = ways(said)
    assert list(found) == ["bundle", "files", "patch"]
    assert [requests for _, requests in found.values()] == [1, 3, 1]
    assert found["patch"][0] < found["files"][0] < found["bundle"][0]
    assert found["patch"][0] < 500
    assert snapshot(project.folder) == before


def test_people_get_a_table(project: Project) -> None:
    lines = project.does("bundle", "diff", "1.0.0", "v2").out.splitlines()
    assert lines[0] == "1.0.0 → v2: 1 of 4 files are there already"
    assert [line.split()[0] for line in lines[1:]] == ["way", "bundle", "files", "patch"]


def test_nothing_to_do_costs_nothing(project: Project) -> None:
    found = ways(project.does("bundle", "diff", "1.0.0", "v1", "--json").json)
    assert found["files"] == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("1.0.0", "9.9.9"), "9.9.9 is neither a folder nor a release"),
        (("nowhere", "1.0.0"), "nowhere: no such folder, and no version"),
        (("v1", "site"), "site is the site, and no build"),
    ],
)
def test_what_cannot_be_compared(project: Project, arguments: tuple[str, str], error: str) -> None:
    said = project("bundle", "diff", *arguments)
    assert said.code == 2
    assert error in said.err


def test_a_pruned_bundle_is_said(project: Project) -> None:
    for blob in project.site.rglob("*.bin"):
        blob.unlink()
    said = project("bundle", "diff", "1.0.0", "1.1.0")
    assert said.code == 2
    assert "the bundle of 1.0.0 is no longer in the site" in said.err
