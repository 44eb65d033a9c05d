"""A full or read-only disk and too few handles: said with exit code 6, nothing broken, healed."""

import resource
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.publish.project import Project, copy_project, ended, process

FULL = "no space left on device"
READ_ONLY = "mount it writable"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a small disk at the project's `site`."""
    folder = tmp_path / "shop/site"
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    folder.mkdir(parents=True)
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def on_disk(
    disk: Path,
    published: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Project:
    """Give a project whose site is on that disk."""
    for path in published.iterdir():
        if path.name != "site":
            subprocess.run(["cp", "-a", str(path), str(disk.parent)], check=True)
    project = Project(disk.parent, monkeypatch, capsys)
    (project.folder / ".manifestgen/keys/sequences.json").unlink()
    project.publishes("dist")
    return project


def leftovers(project: Project) -> list[Path]:
    return list(project.site.rglob(".manifestgen-tmp"))


COMMANDS = {
    "publish": ("publish", "dist2"),
    "pause": ("channel", "pause"),
    "refresh": ("refresh",),
    "copy": ("site", "copy", "../other", "site"),
}


def _elsewhere(project: Project) -> None:
    """Give the copy something newer to bring."""
    other = project.folder.parent / "other"
    if not other.exists():
        subprocess.run(["cp", "-a", str(project.site), str(other)], check=True)
        project.publishes("dist2", "--site", "../other")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_is_full_at_any_moment(name: str, on_disk: Project) -> None:
    if name == "copy":
        _elsewhere(on_disk)
    filler = on_disk.site / ".filler"
    refused = 0
    for free in range(0, 40_960, 4096):
        fill(on_disk.site, filler, free)
        said = on_disk(*COMMANDS[name])
        if said.code == 0:
            break
        refused += 1
        assert said.code == 6, said
        assert FULL in said.err
        assert leftovers(on_disk) == []
        assert_sound(on_disk)
    filler.unlink()
    assert refused > 0
    on_disk.does(*COMMANDS[name])
    on_disk.does("verify")


def fill(site: Path, filler: Path, free: int) -> None:
    """Leave so many bytes free."""
    filler.unlink(missing_ok=True)
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - free))


def assert_sound(project: Project) -> None:
    """Check that devices see a whole site; the last steps of a commit may still be to come."""
    said = project("verify", "--json")
    codes = {one["code"] for one in said.json.get("problems", [])}
    assert codes <= {"history", "capgo"}, said.out
    assert project.offered() in (["1.0.0"], ["1.1.0"])


@pytest.mark.parametrize("name", ["publish", "pause", "refresh"])
def test_a_disk_that_became_read_only(name: str, on_disk: Project) -> None:
    remount = ["mount", "-o"]
    subprocess.run([*remount, "remount,ro", str(on_disk.site)], check=True)
    said = on_disk(*COMMANDS[name])
    assert (said.code, READ_ONLY in said.err) == (6, True), said
    on_disk.does("verify")
    subprocess.run([*remount, "remount,rw", str(on_disk.site)], check=True)
    on_disk.does(*COMMANDS[name])
    on_disk.does("verify")


def limited(handles: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (handles, handles))


Limit = Callable[[], None]


def test_too_few_handles(published: Path, tmp_path: Path) -> None:
    folder = copy_project(published, tmp_path / "shop")
    codes = []
    for handles in range(8, 40, 4):
        limit: Limit = partial(limited, handles)
        said = ended(process(folder, "publish", "dist2", first=limit))
        codes.append(said.code)
        verified = ended(process(folder, "verify"))
        assert verified.code in (0, 3), verified
        if said.code == 0:
            break
        assert "Traceback" not in said.err, f"{handles} handles: {said.err}"
        assert said.code in (1, 6), said
    assert codes[-1] == 0
    assert ended(process(folder, "verify")).code == 0
